//! What a server refuses to be, and how many it lets in.

use std::time::Duration;

use tidings_hub::Limits;
use tidings_server::gate::{AnonymousConfig, GateConfig, GateConfigError};
use tidings_server::{Server, ServerError, TlsConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{config, eventually, hub, read_until, start_with};

#[tokio::test]
async fn others_wait_when_all_places_are_taken() {
    let mut config = config();
    config.connections_max = 2;
    let server = start_with(config, Limits::default(), axum::Router::new());
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = server.open("GET /topics/a\r\nAccept: text/event-stream").await;
        read_until(&mut stream, "\r\n\r\n").await;
        streams.push(stream);
    }
    // The third one is connected by the system and not answered, until one leaves.
    let mut third = server.open("GET /topics/a\r\nAccept: application/json").await;
    let mut byte = [0];
    let waited = tokio::time::timeout(Duration::from_millis(200), third.read(&mut byte)).await;
    assert!(waited.is_err(), "nothing came yet");
    assert_eq!(server.app.counters.connections(), 2);
    assert!(server.app.counters.connections_waited() > 0);
    // The admin surface has places of its own, and says why nobody should come.
    assert!(server.ask_admin("GET /readyz").await.body.contains("\"connections\""));
    drop(streams.pop());
    assert!(read_until(&mut third, "}").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn connections_are_counted_however_they_end() {
    let server = start_with(config(), Limits::default(), axum::Router::new());
    for bytes in
        [&b""[..], b"G", b"GET / HTTP/1.1\r\n", b"nonsense\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nx"]
    {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        stream.write_all(bytes).await.unwrap();
    }
    eventually("all were seen", || server.app.counters.connections_accepted() == 5).await;
    eventually("all are gone", || server.app.counters.connections() == 0).await;
    assert_eq!(server.ask("GET /topics/a?format=json", "").await.status, 200);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_that_stalls_is_cut_and_holds_nothing() {
    let mut config = config();
    config.stall_ms = 300;
    let server = start_with(config, Limits::default(), axum::Router::new());
    let mut stalled = server.open("GET /topics/a\r\nAccept: text/event-stream").await;
    read_until(&mut stalled, "\r\n\r\n").await;
    // More than the buffers of both systems take.
    let event = "x".repeat(900 << 10);
    for _ in 0..20 {
        assert_eq!(server.ask("POST /topics/a", &event).await.status, 200);
    }
    eventually("the stalled stream is gone", || server.app.hub.stats().subscribers == 0).await;
    eventually("its connection too", || server.app.counters.connections() == 0).await;
}

#[tokio::test]
async fn a_server_that_is_dropped_takes_its_connections_along() {
    let server = Server::bind(config(), hub(Limits::default()).0).unwrap();
    let (addr, app) = (server.local_addrs()[0], std::sync::Arc::clone(server.app()));
    let run = tokio::spawn(server.run(std::future::pending()));
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"GET /topics/a HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    run.abort();
    eventually("nothing is left", || app.counters.connections() == 0 && app.hub.stats().subscribers == 0)
        .await;
}

#[tokio::test]
async fn a_start_that_cannot_be_says_what_to_do() {
    let bind = |change: &dyn Fn(&mut tidings_server::ServerConfig)| {
        let mut config = config();
        change(&mut config);
        Server::bind(config, hub(Limits::default()).0).map(|_| ())
    };
    let open = "0.0.0.0:0".parse().unwrap();
    let exposed = bind(&|config| config.listen.push(open)).unwrap_err();
    assert!(matches!(exposed, ServerError::Gate(GateConfigError::Exposed { .. })), "{exposed:?}");
    assert!(exposed.to_string().contains("anonymous"), "{exposed}");
    assert!(bind(&|config| config.admin = Some(open)).is_err(), "the admin listener is no exception");
    let policy = GateConfig { anonymous: Some(AnonymousConfig::default()), ..GateConfig::default() };
    assert!(bind(&|config| (config.listen[0], config.gate) = (open, policy.clone())).is_ok());

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let message = bind(&|config| config.listen = vec![addr]).unwrap_err().to_string();
    assert!(message.contains(&addr.to_string()) && message.contains("another program"), "{message}");

    let tls = TlsConfig::Files { cert: "no-such-cert.pem".into(), key: "no-such-key.pem".into() };
    let message = bind(&|config| config.tls = Some(tls.clone())).unwrap_err().to_string();
    assert!(message.contains("no-such-cert.pem"), "{message}");
}

#[test]
fn without_a_runtime_there_is_an_error_and_no_panic() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let hub = runtime.block_on(async { hub(Limits::default()).0 });
    assert!(matches!(Server::bind(config(), hub).map(|_| ()), Err(ServerError::NoRuntime)));
}

#[tokio::test]
async fn several_addresses_are_listened_on() {
    let mut config = config();
    config.listen = vec!["127.0.0.1:0".parse().unwrap(), "127.0.0.2:0".parse().unwrap()];
    let server = Server::bind(config, hub(Limits::default()).0).unwrap();
    let addrs = server.local_addrs().to_vec();
    tokio::spawn(server.run(std::future::pending()));
    assert_eq!(addrs.len(), 2);
    for addr in addrs {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(b"HEAD /topics/a HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        assert!(read_until(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    }
}
