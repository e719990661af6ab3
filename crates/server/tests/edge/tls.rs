//! TLS: what ALPN finds, on a certificate from files and on one that was made.

use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use tidings_hub::Limits;
use tidings_server::TlsConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Running, config, eventually, start_with};

struct Secure {
    server: Running,
    cert: CertificateDer<'static>,
    _dir: tempfile::TempDir,
}

fn secure() -> Secure {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut config = config();
    config.tls = Some(TlsConfig::Files { cert, key });
    config.handshake_ms = 300;
    let server = start_with(config, Limits::default(), axum::Router::new());
    Secure { server, cert: made.cert.der().clone(), _dir: dir }
}

impl Secure {
    async fn connect(&self, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.cert.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        let mut client = builder.with_root_certificates(roots).with_no_client_auth();
        client.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let stream = TcpStream::connect(self.server.addr).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap()
    }
}

#[tokio::test]
async fn alpn_finds_the_version() {
    let secure = secure();
    let check = async |alpn: &[&[u8]], expected: Option<&[u8]>| {
        let stream = secure.connect(alpn).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), expected);
        stream
    };
    let stream = check(&[b"h2", b"http/1.1"], Some(b"h2")).await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let publish = http::Request::post("https://localhost/topics/a")
        .body(Full::new(bytes::Bytes::from("over h2")))
        .unwrap();
    assert_eq!(sender.send_request(publish).await.unwrap().status(), 200);
    // Many streams on one connection, each with its own answer.
    let mut streams = Vec::new();
    for _ in 0..20 {
        let head =
            http::Request::get("https://localhost/topics/a?from=start").header("accept", "text/event-stream");
        let mut stream = sender.send_request(head.body(Full::default()).unwrap()).await.unwrap().into_body();
        let mut seen = String::new();
        while !seen.contains("data: over h2\n") {
            let frame = stream.frame().await.unwrap().unwrap();
            seen.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
        streams.push(stream);
    }
    let app = &secure.server.app;
    assert_eq!((app.hub.stats().subscribers, app.counters.connections()), (20, 1));
    drop(streams);
    eventually("dropped streams are let go", || app.hub.stats().subscribers == 0).await;
    drop(sender);
    driver.await.unwrap().unwrap();

    for alpn in [&[&b"http/1.1"[..]][..], &[]] {
        let mut stream = check(alpn, alpn.first().copied()).await;
        stream
            .write_all(b"HEAD /topics/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }
}

#[tokio::test]
async fn handshakes_that_fail_or_stall_are_counted_and_end() {
    let secure = secure();
    let mut plain = TcpStream::connect(secure.server.addr).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut bytes = Vec::new();
    _ = plain.read_to_end(&mut bytes).await;
    assert!(!bytes.starts_with(b"HTTP/"), "no plain answer on a TLS listener");
    let mut silent = TcpStream::connect(secure.server.addr).await.unwrap();
    _ = silent.read_to_end(&mut bytes).await;
    eventually("both counted", || secure.server.app.counters.tls_failures() == 2).await;
    eventually("both gone", || secure.server.app.counters.connections() == 0).await;
}

#[tokio::test]
async fn a_made_certificate_serves() {
    let mut config = config();
    config.tls = Some(TlsConfig::SelfSigned { hosts: vec!["hub.test".into()], dir: None });
    let (hub, _) = crate::support::hub(Limits::default());
    let server = tidings_server::Server::bind(config, hub).unwrap();
    let fingerprint = server.fingerprint().unwrap();
    assert_eq!(fingerprint.split(':').count(), 32, "{fingerprint}");
    assert!(server.local_addrs()[0].port() > 0);
}
