//! A way to the hub that loses answers: requests arrive, what comes back is cut off now and then.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Answers that pass on each connection before one is lost with it.
const PASS: usize = 2;

/// Starts it; everything that comes is put through to `hub`.
pub(crate) async fn lossy_way(hub: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(through(client, hub));
        }
    });
    addr
}

async fn through(client: TcpStream, hub: SocketAddr) {
    let Ok(hub) = TcpStream::connect(hub).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_hub, mut to_hub) = hub.into_split();
    let requests = tokio::spawn(async move {
        _ = tokio::io::copy(&mut from_client, &mut to_hub).await;
    });
    let mut chunk = vec![0; 64 << 10];
    for _ in 0..PASS {
        // Answers to publishes are small and wait for each other: a chunk is an answer.
        let Ok(length @ 1..) = from_hub.read(&mut chunk).await else { break };
        if to_client.write_all(&chunk[..length]).await.is_err() {
            break;
        }
    }
    // The next answer exists, so its request was carried out; nobody will see it.
    _ = from_hub.read(&mut chunk).await;
    requests.abort();
}
