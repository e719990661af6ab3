//! The limit of the kernel: one thread, one epoll instance, one log of bytes in memory, one cursor per subscriber. It parses
//! no more of HTTP than it must, keeps nothing, filters nothing, and beats no heart.
//!
//! `tidings-peer-bare PORT [log|each]`. `GET` subscribes to everything; the body of a `POST` is an event's data, or, as
//! `text/event-stream`, some events. `log`: each subscriber gets all that it lacks in one `send`. `each`: one `send` per
//! subscriber and event, as servers do that push each event by itself.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::net::{SocketFlags, accept_with};
use slab::Slab;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\ntransfer-encoding: chunked\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";
/// Subscribers that are written to between two looks at the sockets.
const SLICE: usize = 512;
/// The log is begun anew when it is this long and everybody has all of it.
const LOG_BYTES_MAX: usize = 256 << 20;

struct Connection {
    socket: TcpStream,
    request: Vec<u8>,
    /// Where in the log it is, if it subscribes.
    cursor: Option<usize>,
}

fn main() {
    let mut words = std::env::args().skip(1);
    let port = words.next().and_then(|port| port.parse().ok()).unwrap_or(4_101u16);
    let each = words.next().as_deref() == Some("each");
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
    rustix::net::listen(&listener, 4_096).expect("a longer backlog");
    rustix::net::sockopt::set_tcp_nodelay(&listener, true).expect("no delay");
    listener.set_nonblocking(true).expect("non-blocking");
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    epoll::add(&poll, &listener, EventData::new_u64(u64::MAX), EventFlags::IN).expect("added");
    let (mut connections, mut log, mut seq) = (Slab::<Connection>::new(), Vec::<u8>::new(), 0u64);
    let mut ends: Vec<usize> = Vec::new();
    let mut events = Vec::with_capacity(512);
    let mut buffer = vec![0; 256 << 10];
    // Subscribers before this one have what there was when the round began; `usize::MAX`: there is no round.
    let (mut next, mut head) = (usize::MAX, 0);
    loop {
        events.clear();
        let timeout = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timeout = (next != usize::MAX).then_some(&timeout);
        if epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), timeout).is_err() {
            continue;
        }
        let before = log.len();
        ends.clear();
        for event in &events {
            let (data, flags) = (event.data.u64(), event.flags);
            if data == u64::MAX {
                while let Ok(socket) = accept_with(&listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                    let key = connections.vacant_key();
                    let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
                    epoll::add(&poll, &socket, EventData::new_u64(key as u64), flags).expect("added");
                    connections.insert(Connection {
                        socket: socket.into(),
                        request: Vec::new(),
                        cursor: None,
                    });
                }
                continue;
            }
            let key = data as usize;
            let Some(connection) = connections.get_mut(key) else { continue };
            if flags.intersects(EventFlags::HUP | EventFlags::ERR | EventFlags::RDHUP) {
                connections.remove(key);
                continue;
            }
            if let Some(cursor) = &mut connection.cursor {
                if flags.contains(EventFlags::OUT) && *cursor < before {
                    send(&connection.socket, &log[..before], cursor);
                }
                continue;
            }
            while let Ok(read) = connection.socket.read(&mut buffer) {
                if read == 0 {
                    break;
                }
                connection.request.extend_from_slice(&buffer[..read]);
                if read < buffer.len() {
                    break;
                }
            }
            while let Some(body) = request(&connection.request) {
                if connection.request.starts_with(b"GET") {
                    _ = connection.socket.write(HEAD);
                    connection.cursor = Some(log.len());
                    connection.request = Vec::new();
                    break;
                }
                let data = &connection.request[body.clone()];
                for data in data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    seq += 1;
                    let data = data.strip_prefix(b"data: ").unwrap_or(data);
                    let id = format!("id: 1.{seq}\ndata: ");
                    let bytes = id.len() + data.len() + 2;
                    _ = write!(log, "{bytes:x}\r\n{id}");
                    log.extend_from_slice(data);
                    log.extend_from_slice(b"\n\n\r\n");
                    ends.push(log.len());
                }
                connection.request.drain(..body.end);
                _ = connection.socket.write(ANSWER);
            }
        }
        if each {
            for end in &ends {
                for (_, connection) in &mut connections {
                    if let Some(cursor) = &mut connection.cursor {
                        send(&connection.socket, &log[..*end], cursor);
                    }
                }
            }
        } else {
            // A part of a round at a time, so that more events come in meanwhile: the next round has all of them.
            if next == usize::MAX && log.len() > head {
                (next, head) = (0, log.len());
            }
            let until = next.saturating_add(SLICE).min(connections.capacity());
            for key in next.min(until)..until {
                if let Some(Connection { socket, cursor: Some(cursor), .. }) = connections.get_mut(key) {
                    send(socket, &log[..head], cursor);
                }
            }
            if next != usize::MAX {
                next = if until == connections.capacity() { usize::MAX } else { until };
            }
            if next == usize::MAX && log.len() > head {
                next = 0;
                head = log.len();
            }
        }
        let everybody_has_all = || connections.iter().all(|(_, c)| c.cursor.is_none_or(|at| at == log.len()));
        if log.len() > LOG_BYTES_MAX && everybody_has_all() {
            log.clear();
            connections.iter_mut().for_each(|(_, c)| c.cursor = c.cursor.map(|_| 0));
            (next, head) = (usize::MAX, 0);
        }
    }
}

fn send(mut socket: &TcpStream, log: &[u8], cursor: &mut usize) {
    if let Ok(sent) = socket.write(&log[*cursor..]) {
        *cursor += sent;
    }
}

/// Where the body of a whole request is.
fn request(bytes: &[u8]) -> Option<std::ops::Range<usize>> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let end = head + length.unwrap_or(0usize);
    (bytes.len() >= end).then_some(head..end)
}
