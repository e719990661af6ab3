//! No key in any log, at any level, however it came.

use std::io::Write;
use std::sync::{Arc, LazyLock};

use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tidings_hub::Limits;
use tidings_server::gate::{GateConfig, KeyConfig, keys};
use tokio::net::TcpStream;

use crate::support::{config, start_with};

/// Everything that all tests of this binary log.
static LOGGED: LazyLock<Arc<Mutex<Vec<u8>>>> = LazyLock::new(|| {
    let logged = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&logged);
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || Sink(Arc::clone(&sink)))
        .finish();
    tracing::subscriber::set_global_default(subscriber).expect("only this module sets it");
    logged
});

struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_key_is_in_no_log() {
    const KEY: &str = "a-secret-that-no-log-has";
    // Such a key is tried and wrong: it is somebody's secret all the same.
    const WRONG: &str = "another-secret-that-no-log-has";
    let logged = Arc::clone(&LOGGED);
    let mut config = config();
    let hash = keys::hash(KEY).unwrap();
    let everything = vec!["**".to_owned()];
    config.gate = GateConfig {
        keys: vec![KeyConfig { name: "owner".into(), hash, publish: everything, ..KeyConfig::default() }],
        ..GateConfig::default()
    };
    let server = start_with(config, Limits::default(), axum::Router::new());
    for key in [KEY, WRONG] {
        for head in [
            format!("POST /topics/marked-target?access_token={key}"),
            format!("POST /topics/marked-target?%61ccess%5Ftoken={key}&event=x"),
            format!("POST /topics/marked-target?access_token={key}\r\nHost: evil.com"),
            format!("POST /topics/marked-target?access_token={key}\r\nOrigin: https://evil.com"),
            format!("POST /topics/marked-target?unknown=1&access_token={key}"),
            format!("POST /topics/marked-target\r\nAuthorization: Bearer {key}"),
            format!("POST /topics/marked-target\r\nAuthorization: {key}"),
            format!("POST /topics/marked-target\r\nCookie: tidings_key={key}"),
            format!("GET /nothing?access_token={key}"),
            format!("GET /topics/a b?access_token={key}"),
            format!("GET /topics/a\r\nAuthorization : Bearer {key}"),
        ] {
            server.ask(&head, "x").await;
        }
        server.ask_admin(&format!("GET /metrics?access_token={key}")).await;
        let stream = TcpStream::connect(server.addr).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let driver = tokio::spawn(connection);
        let request =
            http::Request::post(format!("http://localhost/topics/marked-target?access_token={key}"))
                .header("cookie", format!("tidings_key={key}"))
                .body(Full::new(bytes::Bytes::from("x")))
                .unwrap();
        sender.send_request(request).await.unwrap();
        drop(sender);
        driver.await.unwrap().unwrap();
    }
    let text = String::from_utf8_lossy(&logged.lock()).into_owned();
    assert!(text.contains("/topics/marked-target?access_token=***"), "requests are logged");
    assert!(text.contains("who=\"owner\""), "and who it was");
    for secret in [KEY, WRONG] {
        if let Some(place) = text.find(secret) {
            panic!("{}", &text[place.saturating_sub(300)..place]);
        }
    }
}
