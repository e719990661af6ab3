//! `tidings-counts-publish TIMES`: publishes over HTTP to a server with one reactor, in the same process. A program of
//! its own: the server is compiled without optimizing for tests, and what the other paths share with it would be too.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::ExitCode;

use tidings_server::{Server, ServerConfig};
use tokio::sync::oneshot;

/// Connections that publish at once: many, so that how often the reactor and the log wake for them says little.
const CONNECTIONS: usize = 64;

fn main() -> ExitCode {
    let Some(Ok(times)) = std::env::args().nth(1).map(|times| times.parse()) else {
        eprintln!("tidings-counts-publish TIMES");
        return ExitCode::FAILURE;
    };
    run(times);
    ExitCode::SUCCESS
}

/// Publishes so many events of 100 bytes, each by a request of its own.
fn run(times: u64) {
    let config = ServerConfig {
        listen: vec!["127.0.0.1:0".parse().expect("an address")],
        admin: None,
        drain_ms: 0,
        reactors: 1,
        ..ServerConfig::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let server = {
        let _inside = runtime.enter();
        Server::bind(config, tidings_counts::hub()).expect("there is a port")
    };
    let addr = server.local_addrs()[0];
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        runtime.block_on(server.run(async { drop(stopped.await) }));
    });

    let request = format!(
        "POST /topics/counts HTTP/1.1\r\nHost: {addr}\r\nUser-Agent: counts\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n{}",
        "x".repeat(100)
    );
    let mut sockets: Vec<_> =
        (0..CONNECTIONS).map(|_| TcpStream::connect(addr).expect("it listens")).collect();
    let mut buffer = [0; 4_096];
    for _ in 0..times.div_ceil(CONNECTIONS as u64) {
        for socket in &mut sockets {
            socket.write_all(request.as_bytes()).expect("it reads");
        }
        for socket in &mut sockets {
            let read = socket.read(&mut buffer).expect("it answers");
            let answer = &buffer[..read];
            assert!(
                answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"}\n"),
                "one write has the answer"
            );
        }
    }
    drop(stop);
    thread.join().expect("it ends in order");
}
