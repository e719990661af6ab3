//! Clients that are slow, malformed or mean, on a reactor and without: bounded, told where they can be told, and no harm to
//! anybody else.

use std::time::Duration;

use tidings_hub::Limits;
use tidings_server::Descriptors;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{PATIENCE, Running, config, eventually, read_until, start_with};

/// A number of reactors, and where their descriptors are.
type Reactors = (usize, Descriptors);

/// The ways in which plain HTTP/1.1 is served.
const WAYS: [Reactors; 3] = [(0, Descriptors::Shared), (1, Descriptors::Shared), (1, Descriptors::Own)];

fn start(reactors: Reactors) -> Running {
    let mut config = config();
    (config.reactors, config.reactor_descriptors) = reactors;
    config.head_ms = 60_000;
    start_with(config, Limits::default(), axum::Router::new())
}

async fn connect(server: &Running) -> TcpStream {
    let socket = TcpStream::connect(server.addr).await.unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

/// All that comes until the end.
async fn all(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is an end too.
    _ = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut bytes)).await.expect("an end");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_request_may_come_in_any_two_parts_and_byte_by_byte() {
    for reactors in WAYS {
        let server = start(reactors);
        let publish = "POST /topics/a?event=x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello";
        for cut in 1..publish.len() {
            let mut socket = connect(&server).await;
            socket.write_all(&publish.as_bytes()[..cut]).await.unwrap();
            tokio::time::sleep(Duration::from_micros(200)).await;
            socket.write_all(&publish.as_bytes()[cut..]).await.unwrap();
            let answer = read_until(&mut socket, "}\n").await;
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"count\":1"), "{cut}: {answer}");
        }
        let mut socket = connect(&server).await;
        let subscribe = "GET /topics/a HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
        for byte in subscribe.as_bytes() {
            socket.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert!(read_until(&mut socket, "id: ").await.contains("text/event-stream"), "{reactors:?}");
        assert_eq!(server.ask("POST /topics/a", "seen").await.status, 200);
        read_until(&mut socket, "data: seen\n\n").await;
    }
}

#[tokio::test]
async fn a_length_with_two_meanings_is_refused_and_hides_no_request() {
    let hidden = "POST /topics/hidden HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx";
    for reactors in WAYS {
        let server = start(reactors);
        for lines in [
            format!("Content-Length: {}\r\nTransfer-Encoding: chunked", hidden.len() + 5),
            "Transfer-Encoding: chunked\r\nContent-Length: 5".to_owned(),
            format!("Content-Length: 5\r\nContent-Length: {}", hidden.len() + 5),
            "Content-Length: 5\r\n Content-Length: 9".to_owned(),
            "Content-Length : 5".to_owned(),
            "Content-Length: +5".to_owned(),
        ] {
            let mut socket = connect(&server).await;
            let request =
                format!("POST /topics/open HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n0\r\n\r\n{hidden}");
            socket.write_all(request.as_bytes()).await.unwrap();
            let answer = all(&mut socket).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{reactors:?} {lines}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{reactors:?} {lines}: {answer}");
        }
        let history = server.ask("GET /topics/hidden?format=json", "").await;
        assert!(history.body.contains("\"events\":[]"), "{}", history.body);
    }
}

#[tokio::test]
async fn heads_without_an_end_are_refused() {
    for reactors in WAYS {
        let server = start(reactors);
        let mut socket = connect(&server).await;
        socket.write_all(b"GET /topics/a HTTP/1.1\r\nHost: localhost\r\n").await.unwrap();
        let line = format!("X-Filler: {}\r\n", "y".repeat(1_000));
        for _ in 0..200 {
            // It is closed at some point, which is the point.
            if socket.write_all(line.as_bytes()).await.is_err() {
                break;
            }
        }
        let answer = all(&mut socket).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{reactors:?}: {answer}");
        eventually("it is gone", || server.app.counters.connections() == 0).await;
        let many = "X-A: b\r\n".repeat(200);
        let mut socket = connect(&server).await;
        let request = format!("GET /topics/a HTTP/1.1\r\nHost: localhost\r\n{many}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        assert!(all(&mut socket).await.starts_with("HTTP/1.1 431 "), "{reactors:?}");
    }
}

#[tokio::test]
async fn a_crowd_that_says_nothing_is_sent_away_and_the_others_are_served() {
    for reactors in WAYS {
        let mut config = config();
        (config.reactors, config.reactor_descriptors) = reactors;
        config.handshake_ms = 500;
        let server = start_with(config, Limits::default(), axum::Router::new());
        let mut reader = server.open("GET /topics/a\r\nAccept: text/event-stream").await;
        read_until(&mut reader, "id: ").await;
        let mut crowd = Vec::new();
        for _ in 0..1_000 {
            crowd.push(TcpStream::connect(server.addr).await.unwrap());
        }
        assert_eq!(server.ask("POST /topics/a", "meanwhile").await.status, 200);
        read_until(&mut reader, "data: meanwhile\n\n").await;
        eventually("all are gone but one", || server.app.counters.connections() == 1).await;
        drop(crowd);
    }
}

#[tokio::test]
async fn garbage_and_resets_in_a_stream_hurt_nobody_else() {
    for reactors in WAYS {
        let server = start(reactors);
        let open = "GET /topics/a HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
        let mut quiet = connect(&server).await;
        quiet.write_all(open.as_bytes()).await.unwrap();
        read_until(&mut quiet, "id: ").await;
        for round in 0..20 {
            let mut loud = connect(&server).await;
            loud.write_all(format!("{open}\x16\x03garbage {round}\r\n\r\n").as_bytes()).await.unwrap();
            read_until(&mut loud, "id: ").await;
            let big = "x".repeat(200_000);
            assert_eq!(server.ask("POST /topics/a", &format!("{round} {big}")).await.status, 200);
            // In the middle of a frame.
            let mut some = [0; 1_000];
            _ = loud.read(&mut some).await;
            loud.set_zero_linger().unwrap();
            drop(loud);
            read_until(&mut quiet, &format!("data: {round} xxx")).await;
        }
        // The HTTP library does not look at a connection with a request in its buffer until it writes to it.
        assert_eq!(server.ask("POST /topics/a", "last").await.status, 200);
        eventually("one stream is left", || server.app.hub.subscribers() == 1).await;
    }
}
