//! The kernel's limit for very many streams: bare loops as in `bare`, one thread beside the other, each with a file table
//! of its own, all with cursors on one log. It keeps nothing, filters nothing, and beats no heart.
//!
//! `tidings-peer-crowd PORT THREADS`. `GET` subscribes, the body of a `POST` is an event's data.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, RwLock};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{SocketFlags, accept_with};
use slab::Slab;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\ntransfer-encoding: chunked\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";
/// Below the limit of a table.
const CONNECTIONS_MAX: usize = 19_800;
const LISTENER: u64 = u64::MAX;
const WAKE: u64 = u64::MAX - 1;

/// What all threads share.
struct Shared {
    log: RwLock<Vec<u8>>,
    wakes: Vec<OwnedFd>,
}

struct Connection {
    socket: TcpStream,
    /// Where in the log it is, if it subscribes.
    cursor: Option<usize>,
}

fn main() {
    let mut words = std::env::args().skip(1).map(|word| word.parse::<usize>().expect("PORT THREADS"));
    let (port, threads) = (words.next().expect("a port"), words.next().expect("a number of threads"));
    let listener =
        TcpListener::bind(("127.0.0.1", u16::try_from(port).expect("a port"))).expect("a free port");
    rustix::net::listen(&listener, 4_096).expect("a longer backlog");
    rustix::net::sockopt::set_tcp_nodelay(&listener, true).expect("no delay");
    listener.set_nonblocking(true).expect("non-blocking");
    let wake = || eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).expect("an eventfd");
    let shared = Arc::new(Shared { log: RwLock::default(), wakes: (0..threads).map(|_| wake()).collect() });
    let mut running = Vec::new();
    for number in 0..threads {
        let (shared, listener) = (Arc::clone(&shared), listener.as_raw_fd());
        let (told, begun) = sync_channel(1);
        running.push(std::thread::spawn(move || {
            let listener = own(listener);
            told.send(()).expect("somebody waits");
            run(&shared, number, &listener);
        }));
        begun.recv().expect("a thread that began");
    }
    drop(listener);
    for thread in running {
        thread.join().expect("a thread that does not end");
    }
}

fn own(listener: RawFd) -> TcpListener {
    tidings_reactor::table::own(&[listener]).expect("a table").remove(0)
}

fn run(shared: &Shared, number: usize, listener: &TcpListener) {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    let listen = EventFlags::IN | EventFlags::EXCLUSIVE;
    epoll::add(&poll, listener, EventData::new_u64(LISTENER), listen).expect("added");
    epoll::add(&poll, &shared.wakes[number], EventData::new_u64(WAKE), EventFlags::IN).expect("added");
    let mut connections = Slab::<Connection>::new();
    let mut events = Vec::with_capacity(512);
    let mut buffer = vec![0; 16 << 10];
    let mut hears = true;
    loop {
        events.clear();
        if epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None).is_err() {
            continue;
        }
        for event in &events {
            match event.data.u64() {
                LISTENER => {
                    for _ in 0..64 {
                        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
                        let Ok(socket) = accept_with(listener, flags) else { break };
                        let key = connections.vacant_key() as u64;
                        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
                        epoll::add(&poll, &socket, EventData::new_u64(key), flags).expect("added");
                        connections.insert(Connection { socket: socket.into(), cursor: None });
                    }
                }
                WAKE => {
                    _ = rustix::io::read(&shared.wakes[number], &mut [0; 8]);
                    let log = shared.log.read().expect("a log");
                    for (_, connection) in &mut connections {
                        send(connection, &log);
                    }
                }
                key => answer(shared, &mut connections, key as usize, event.flags, &mut buffer),
            }
        }
        if hears != (connections.len() < CONNECTIONS_MAX) {
            hears = !hears;
            if hears {
                epoll::add(&poll, listener, EventData::new_u64(LISTENER), listen).expect("added");
            } else {
                epoll::delete(&poll, listener).expect("removed");
            }
        }
    }
}

fn answer(
    shared: &Shared,
    connections: &mut Slab<Connection>,
    key: usize,
    flags: EventFlags,
    buffer: &mut [u8],
) {
    let Some(connection) = connections.get_mut(key) else { return };
    if flags.intersects(EventFlags::HUP | EventFlags::ERR | EventFlags::RDHUP) {
        connections.remove(key);
        return;
    }
    if connection.cursor.is_some() {
        return send(connection, &shared.log.read().expect("a log"));
    }
    // The load sends a request at once.
    let Ok(read) = connection.socket.read(buffer) else { return };
    let request = &buffer[..read];
    if request.starts_with(b"GET") {
        _ = connection.socket.write(HEAD);
        connection.cursor = Some(shared.log.read().expect("a log").len());
    } else if let Some(head) = request.windows(4).position(|four| four == b"\r\n\r\n") {
        let data = &request[head + 4..];
        let mut log = shared.log.write().expect("a log");
        let id = format!("id: 1.{}\ndata: ", log.len());
        _ = write!(log, "{:x}\r\n{id}", id.len() + data.len() + 2);
        log.extend_from_slice(data);
        log.extend_from_slice(b"\n\n\r\n");
        drop(log);
        for wake in &shared.wakes {
            _ = rustix::io::write(wake, &1u64.to_ne_bytes());
        }
        _ = connection.socket.write(ANSWER);
    }
}

fn send(connection: &mut Connection, log: &[u8]) {
    if let Some(cursor) = &mut connection.cursor
        && *cursor < log.len()
        && let Ok(sent) = connection.socket.write(&log[*cursor..])
    {
        *cursor += sent;
    }
}
