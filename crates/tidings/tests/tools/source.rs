//! An event stream of somebody else's: numbered events over plain HTTP/1.1, from a server that can be stopped and
//! started again on its port. What it would send is a function of the number, so a restart loses nothing of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

/// How the source behaves.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    /// The block of an event.
    pub(crate) block: fn(usize) -> String,
    /// Whether the event that the client names is sent once more.
    pub(crate) replays_last: bool,
    /// 204 to whoever has seen so many.
    pub(crate) ends_after: usize,
}

/// The server.
pub(crate) struct Source {
    pub(crate) addr: SocketAddr,
    manner: Manner,
    /// Events that exist by now: it grows with time, not with connections.
    made: Arc<AtomicUsize>,
    serving: Option<JoinHandle<()>>,
}

impl Source {
    /// Starts it on a free port; it makes an event each 2 ms.
    pub(crate) async fn start(manner: Manner) -> Self {
        let made = Arc::new(AtomicUsize::new(0));
        let clock = Arc::clone(&made);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(2)).await;
                if clock.load(Ordering::Relaxed) < manner.ends_after {
                    clock.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let listener = listen("127.0.0.1:0".parse().unwrap());
        let addr = listener.local_addr().unwrap();
        let mut source = Self { addr, manner, made, serving: None };
        source.serve(listener);
        source
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/stream", self.addr)
    }

    /// How many events there are by now.
    pub(crate) fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    /// Cuts all connections, in the middle of whatever they are, and listens no more.
    pub(crate) async fn stop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            _ = serving.await;
        }
    }

    /// Listens again.
    pub(crate) fn restart(&mut self) {
        self.serve(listen(self.addr));
    }

    fn serve(&mut self, listener: TcpListener) {
        let (manner, made) = (self.manner, Arc::clone(&self.made));
        self.serving = Some(tokio::spawn(async move {
            // The tasks end with this set, and it with the server.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(answer(stream, manner, Arc::clone(&made)));
            }
        }));
    }
}

fn listen(addr: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(addr).unwrap();
    socket.listen(64).unwrap()
}

async fn answer(stream: TcpStream, manner: Manner, made: Arc<AtomicUsize>) {
    let mut stream = BufReader::new(stream);
    let mut seen = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        if line == "\r\n" {
            break;
        }
        if let Some(id) = line.to_ascii_lowercase().strip_prefix("last-event-id:") {
            seen = id.trim().rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        }
    }
    if seen >= manner.ends_after {
        _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
        return;
    }
    let head =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\nretry: 20\n\n";
    if stream.write_all(head).await.is_err() {
        return;
    }
    let mut next = if manner.replays_last { seen.max(1) } else { seen + 1 };
    loop {
        while next <= made.load(Ordering::Relaxed) {
            if stream.write_all((manner.block)(next).as_bytes()).await.is_err() {
                return;
            }
            next += 1;
        }
        if next > manner.ends_after {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
