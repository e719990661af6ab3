//! The limit of the kernel: one thread, one epoll instance, one log of bytes in memory, one cursor per subscriber. It parses
//! no more of HTTP than it must, keeps nothing, filters nothing, and beats no heart.
//!
//! `tidings-peer-bare PORT [log|each|own|websocket]`. `GET` subscribes to everything, from where `Last-Event-ID` says; the body of
//! a `POST` is an event's data, or, as `text/event-stream`, some events. `log`: each subscriber gets all that it lacks in one
//! `send`. `each`: one `send` per subscriber and event, as servers do that push each event by itself. `own`: a topic is the
//! number at the end of a path, a line of a body names its own, and an event is sent to who subscribes to that number.
//! `websocket`: as `log`, with frames.

use std::collections::HashMap;
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
    let way = words.next().unwrap_or_default();
    let (each, own, is_websocket) = (way == "each", way == "own", way == "websocket");
    // Who subscribes to a number, if each has topics of its own.
    let mut readers = HashMap::<u64, Vec<usize>>::new();
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
    rustix::net::listen(&listener, 4_096).expect("a longer backlog");
    rustix::net::sockopt::set_tcp_nodelay(&listener, true).expect("no delay");
    listener.set_nonblocking(true).expect("non-blocking");
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    epoll::add(&poll, &listener, EventData::new_u64(u64::MAX), EventFlags::IN).expect("added");
    let (mut connections, mut log, mut seq) = (Slab::<Connection>::new(), Vec::<u8>::new(), 0u64);
    // Where each event of the log ends, the first of them being the one after `forgotten`.
    let (mut ends, mut forgotten) = (Vec::<usize>::new(), 0u64);
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
        let (before, ends_before) = (log.len(), ends.len());
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
                    if is_websocket {
                        _ = connection.socket.write(&switch(&connection.request));
                    } else {
                        _ = connection.socket.write(HEAD);
                    }
                    if own {
                        numbers(&connection.request)
                            .into_iter()
                            .for_each(|number| readers.entry(number).or_default().push(key));
                        connection.cursor = Some(0);
                        connection.request = Vec::new();
                        break;
                    }
                    let last = last_seq(&connection.request).and_then(|last| last.checked_sub(forgotten + 1));
                    let last = last.and_then(|last| ends.get(last as usize).copied());
                    let mut cursor = last.unwrap_or(log.len());
                    if cursor < log.len() {
                        send(&connection.socket, &log, &mut cursor);
                    }
                    connection.cursor = Some(cursor);
                    connection.request = Vec::new();
                    break;
                }
                if own {
                    let request = std::mem::take(&mut connection.request);
                    _ = connection.socket.write(ANSWER);
                    seq = publish_own(&request[body], seq, &readers, &mut connections);
                    break;
                }
                let data = &connection.request[body.clone()];
                for data in data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    seq += 1;
                    let data = data.strip_prefix(b"data: ").unwrap_or(data);
                    if is_websocket {
                        frame(data, &mut log);
                        ends.push(log.len());
                        continue;
                    }
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
            for end in &ends[ends_before..] {
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
            ends.clear();
            forgotten = seq;
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

/// The numbers that a path ends with, or its selectors do.
fn numbers(request: &[u8]) -> Vec<u64> {
    let text = String::from_utf8_lossy(request);
    let target = text.split(' ').nth(1).unwrap_or_default();
    let words = target.split(['&', '?', '/', '=']);
    words.filter_map(|word| word.rsplit_once('-')?.1.parse().ok()).collect()
}

/// Sends each line's event to those who read its topic, and returns the number of the last one.
fn publish_own(
    lines: &[u8],
    mut seq: u64,
    readers: &HashMap<u64, Vec<usize>>,
    connections: &mut Slab<Connection>,
) -> u64 {
    let mut frame = Vec::new();
    for line in String::from_utf8_lossy(lines).lines() {
        let topic = line.split_once('-').and_then(|(_, rest)| rest.split_once('"')?.0.parse::<u64>().ok());
        let data = line.split_once("\"data\":\"").and_then(|(_, rest)| rest.strip_suffix("\"}"));
        let (Some(topic), Some(data)) = (topic, data) else { continue };
        seq += 1;
        let event = format!("id: 1.{seq}\ndata: {data}\n\n");
        frame.clear();
        _ = write!(frame, "{:x}\r\n{event}\r\n", event.len());
        for key in readers.get(&topic).into_iter().flatten() {
            if let Some(connection) = connections.get_mut(*key) {
                send(&connection.socket, &frame, &mut 0);
            }
        }
    }
    seq
}

/// The number of the event that a reader had last.
fn last_seq(request: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    text.lines().find_map(|line| line.strip_prefix("last-event-id:")?.trim().strip_prefix("1.")?.parse().ok())
}

/// A frame of text, as a server sends it.
fn frame(data: &[u8], log: &mut Vec<u8>) {
    log.push(0x81);
    match data.len() {
        short @ ..=125 => log.push(short as u8),
        middle @ ..=0xffff => {
            log.push(126);
            log.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            log.push(127);
            log.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    log.extend_from_slice(data);
}

/// The answer to a WebSocket's handshake. (RFC 6455, 4.2.2)
fn switch(request: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(request);
    let key = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim().to_owned())
    });
    let key = key.unwrap_or_default() + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let accept = base64(&sha1(key.as_bytes()));
    format!("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n")
        .into_bytes()
}

/// SHA-1, which the handshake asks for. (RFC 3174, 6.1)
fn sha1(text: &[u8]) -> [u8; 20] {
    let mut bytes = text.to_vec();
    bytes.push(0x80);
    while bytes.len() % 64 != 56 {
        bytes.push(0);
    }
    bytes.extend_from_slice(&(text.len() as u64 * 8).to_be_bytes());
    let mut hash = [0x6745_2301u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in bytes.chunks(64) {
        let mut words: Vec<u32> = block
            .chunks(4)
            .map(|four| four.iter().fold(0, |word, byte| word << 8 | u32::from(*byte)))
            .collect();
        for at in 16..80 {
            words.push((words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1));
        }
        let [mut a, mut b, mut c, mut d, mut e] = hash;
        for (at, word) in words.iter().enumerate() {
            let (f, k) = match at / 20 {
                0 => (b & c | !b & d, 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => (b & c | b & d | c & d, 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6u32),
            };
            let next = a.rotate_left(5).wrapping_add(f).wrapping_add(e).wrapping_add(k).wrapping_add(*word);
            (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
        }
        for (sum, part) in hash.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut out = [0; 20];
    out.chunks_mut(4).zip(hash).for_each(|(four, word)| four.copy_from_slice(&word.to_be_bytes()));
    out
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number = (0..3).fold(0, |sum, at| sum << 8 | usize::from(three.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let letter = char::from(LETTERS[number >> (18 - 6 * at) & 63]);
            text.push(if at <= three.len() { letter } else { '=' });
        }
    }
    text
}

/// Where the body of a whole request is.
fn request(bytes: &[u8]) -> Option<std::ops::Range<usize>> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let end = head + length.unwrap_or(0usize);
    (bytes.len() >= end).then_some(head..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_is_the_one_of_the_specification() {
        let answer = switch(b"GET / HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
        assert!(String::from_utf8(answer).unwrap().contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    #[test]
    fn the_hash_has_any_length() {
        for length in [0, 55, 56, 63, 64, 200] {
            assert_eq!(base64(&sha1(&vec![b'a'; length])).len(), 28);
        }
        assert_eq!(base64(&sha1(b"abc")), "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=");
        assert_eq!(["", "a", "ab"].map(|text| base64(text.as_bytes())), ["", "YQ==", "YWI="]);
    }

    #[test]
    fn frames_say_their_length_in_three_ways() {
        for (length, head) in [(125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let mut log = Vec::new();
            frame(&vec![b'x'; length], &mut log);
            assert_eq!(log.len(), length + head);
        }
    }
}
