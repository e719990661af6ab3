//! The same fan-out over WebSocket, as a good engineer would write it with tokio-tungstenite: a broadcast channel, a task
//! for each client, an event's bytes shared by all, and one flush for all events that are there. Stores nothing.
//!
//! `tidings-peer-websocket PORT`. A handshake subscribes to everything; the body of a `POST` is an event's data, or, as
//! `text/event-stream`, some events.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";

fn main() {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(4_102u16);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    runtime.block_on(async {
        let (events, _) = broadcast::channel(1_024);
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], port).into()).expect("a free port");
        // Room for many who come at once.
        let listener = socket.listen(4_096).expect("a listener");
        loop {
            let Ok((socket, _)) = listener.accept().await else { continue };
            _ = socket.set_nodelay(true);
            tokio::spawn(serve(socket, events.clone()));
        }
    });
}

async fn serve(socket: TcpStream, events: broadcast::Sender<Utf8Bytes>) {
    let mut first = [0; 1];
    match socket.peek(&mut first).await {
        Ok(1) if first == *b"P" => _ = publish(socket, events).await,
        Ok(1) => _ = subscribe(socket, events.subscribe()).await,
        _ => {}
    }
}

async fn subscribe(
    socket: TcpStream,
    mut events: broadcast::Receiver<Utf8Bytes>,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    // The library would take 128 KiB for each client to read into; clients say next to nothing here.
    let config = WebSocketConfig::default().read_buffer_size(1 << 10);
    let mut socket = tokio_tungstenite::accept_async_with_config(socket, Some(config)).await?;
    loop {
        tokio::select! {
            event = events.recv() => {
                match event {
                    Ok(event) => socket.feed(Message::Text(event)).await?,
                    // What is lost shows at the client.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Ok(()),
                }
                while let Ok(event) = events.try_recv() {
                    socket.feed(Message::Text(event)).await?;
                }
                socket.flush().await?;
            }
            said = socket.next() => match said {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            }
        }
    }
}

/// Takes one request after the other.
async fn publish(mut socket: TcpStream, events: broadcast::Sender<Utf8Bytes>) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        if socket.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        while let Some((is_stream, body)) = request(&bytes) {
            let text = String::from_utf8_lossy(&bytes[body.clone()]);
            let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
            let data: Vec<&str> = if is_stream { lines.collect() } else { vec![&text] };
            for data in data {
                // Nobody may be listening.
                _ = events.send(data.into());
            }
            bytes.drain(..body.end);
            socket.write_all(ANSWER).await?;
        }
    }
}

/// Whether the body of a whole request is an event stream, and where it is.
fn request(bytes: &[u8]) -> Option<(bool, std::ops::Range<usize>)> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let end = head + length.unwrap_or(0usize);
    (bytes.len() >= end).then(|| (text.contains("text/event-stream"), head..end))
}
