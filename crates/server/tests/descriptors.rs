//! A process that runs out of descriptors pauses, says so, and goes on when there are some again. Alone in its
//! process, since it takes them all.
#![cfg(unix)]

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidings_hub::{Hub, Limits, SystemClock};
use tidings_server::{Server, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[path = "edge/store.rs"]
#[expect(dead_code, reason = "this test needs no more of the store than that it is one")]
mod store;

#[tokio::test]
async fn running_out_of_descriptors_pauses_accepting() {
    let hub = Hub::open(store::Store::new(), Arc::new(SystemClock::new()), Limits::default()).unwrap();
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    let server = Server::bind(ServerConfig { listen, admin: None, ..ServerConfig::default() }, hub).unwrap();
    let (addr, app) = (server.local_addrs()[0], Arc::clone(server.app()));
    let run = tokio::spawn(server.run(std::future::pending()));
    tokio::task::yield_now().await;

    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(200), maximum: before.maximum }).unwrap();
    let mut held: Vec<File> = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        held.push(file);
    }
    // One is left for this end of the connection, none for the server's.
    drop(held.pop());
    let mut client = TcpStream::connect(addr).await.unwrap();
    client.write_all(b"HEAD /topics/a HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    let errors = app.counters.accept_errors();
    assert!((2..=8).contains(&errors), "it tries again, and not in a loop that spins: {errors}");
    assert!(!run.is_finished());

    drop(held);
    let mut answer = [0; 15];
    tokio::time::timeout(Duration::from_secs(10), client.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
}
