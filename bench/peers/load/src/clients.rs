//! All clients: one thread over epoll, so that the load takes little beside the server.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use hdrhistogram::Histogram;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use crate::plan::{Mode, Plan};
use crate::system::now_ns;
use crate::wire::{Marks, Part, Wire};

/// Connections that are being made at once: fewer than a usual backlog.
const CONNECTING_MAX: usize = 512;
const READ_BYTES: usize = 256 << 10;
/// Clients that are written down, where there is a trace.
const TRACED: usize = 16;
/// What a client that never reads has room for.
const STALLED_BYTES: usize = 4 << 10;
/// As over an Ethernet. The loopback interface has segments of 64 KiB, for which the system would let the server queue more
/// than a megabyte for each of them before it says that there is no room.
const STALLED_SEGMENT: u32 = 1_400;

/// How far all clients are together.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) opened: AtomicU64,
    pub(crate) failed: AtomicU64,
    /// Connections that ended after they were open. Who polls comes again.
    pub(crate) lost: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) requests: AtomicU64,
    /// Both ways, without what TCP and IP add.
    pub(crate) bytes: AtomicU64,
    /// Storm: clients that have all that they lacked.
    pub(crate) done: AtomicU64,
    pub(crate) reset: AtomicBool,
    pub(crate) stop: AtomicBool,
}

struct Client {
    socket: OwnedFd,
    request: Option<Vec<u8>>,
    wire: Wire,
    marks: Marks,
    is_open: bool,
    /// The event that is to come.
    next: u64,
    received: u64,
    /// What a poll answered, to find the position behind it.
    body: Vec<u8>,
    position: Option<String>,
    due_ns: u64,
    /// What it asked for and received, where it is written down in the end.
    trace: Option<Vec<u8>>,
}

pub(crate) struct Clients {
    plan: Plan,
    shared: Arc<Shared>,
    source: SocketAddr,
    epoll: OwnedFd,
    clients: Vec<Option<Client>>,
    due: BinaryHeap<Reverse<(u64, usize)>>,
    latency_us: Histogram<u64>,
    begun_ns: u64,
}

impl Clients {
    pub(crate) fn new(plan: &Plan, shared: &Arc<Shared>) -> Self {
        Self {
            source: source(2),
            plan: plan.clone(),
            shared: Arc::clone(shared),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll"),
            clients: Vec::new(),
            due: BinaryHeap::new(),
            latency_us: histogram(),
            begun_ns: now_ns(),
        }
    }

    /// Opens them and reads until told to stop; how late the events came.
    pub(crate) fn run(mut self) -> Histogram<u64> {
        let mut events = Vec::with_capacity(1_024);
        let mut buffer = vec![0; READ_BYTES];
        while !self.shared.stop.load(SeqCst) {
            self.connect_more();
            self.ask_who_is_due();
            let next_ns = self.due.peek().map_or(u64::MAX, |Reverse((ns, _))| *ns);
            let wait_ns = next_ns.saturating_sub(now_ns()).min(20_000_000);
            let timeout = Timespec { tv_sec: 0, tv_nsec: wait_ns as i64 };
            events.clear();
            let spare = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, spare, Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => panic!("the system refuses to wait: {error}"),
            }
            if self.shared.reset.swap(false, SeqCst) {
                self.latency_us.reset();
            }
            for event in &events {
                self.handle(event.data.u64() as usize, event.flags, &mut buffer);
            }
        }
        if let Some(dir) = &self.plan.trace {
            for (number, client) in self.clients.iter().enumerate() {
                if let Some(trace) = client.as_ref().and_then(|client| client.trace.as_ref()) {
                    std::fs::write(dir.join(format!("stream-{number}")), trace).expect("room for the trace");
                }
            }
        }
        self.latency_us
    }

    fn connect_more(&mut self) {
        let settled = (self.shared.opened.load(SeqCst) + self.shared.failed.load(SeqCst)) as usize;
        while self.clients.len() < self.plan.clients
            && self.clients.len().saturating_sub(settled) < CONNECTING_MAX
        {
            let client = self.connect(self.clients.len(), None).inspect_err(|error| {
                self.fail(&error.to_string());
            });
            self.clients.push(client.ok());
        }
    }

    fn connect(&self, number: usize, position: Option<String>) -> Result<Client, Errno> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        rustix::net::bind(&socket, &self.source)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        match rustix::net::connect(&socket, &self.plan.to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(number as u64), flags)?;
        // Whoever asks every so often asks at a moment of his own.
        let part = self.plan.interval.as_nanos() as u64 * number as u64 / self.plan.clients.max(1) as u64;
        let request = self.plan.request(number, position.as_deref());
        Ok(Client {
            socket,
            trace: (self.plan.trace.is_some() && number < TRACED).then(|| request.clone()),
            request: Some(request),
            wire: Wire::default(),
            marks: Marks::default(),
            is_open: position.is_some(),
            next: 0,
            received: 0,
            body: Vec::new(),
            position,
            due_ns: now_ns() + part,
        })
    }

    fn handle(&mut self, number: usize, flags: epoll::EventFlags, buffer: &mut [u8]) {
        if flags.contains(epoll::EventFlags::OUT) {
            self.send(number);
        }
        loop {
            let Some(Some(client)) = self.clients.get_mut(number) else { return };
            match rustix::net::recv(&client.socket, &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => return self.drop_client(number, "the server ended the connection"),
                Ok((read, _)) => {
                    self.shared.bytes.fetch_add(read as u64, SeqCst);
                    if let Some(trace) = &mut client.trace {
                        trace.extend_from_slice(&buffer[..read]);
                    }
                    if !self.take(number, &buffer[..read]) {
                        return self.drop_client(number, "the server answers something else");
                    }
                    if read < buffer.len() {
                        return;
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(error) => return self.drop_client(number, &error.to_string()),
            }
        }
    }

    fn send(&mut self, number: usize) {
        let Some(Some(client)) = self.clients.get_mut(number) else { return };
        let Some(request) = client.request.take() else { return };
        self.shared.requests.fetch_add(1, SeqCst);
        self.shared.bytes.fetch_add(request.len() as u64, SeqCst);
        // A request fits into an empty buffer.
        if rustix::net::send(&client.socket, &request, SendFlags::NOSIGNAL) != Ok(request.len()) {
            self.drop_client(number, "the connection was refused");
        }
    }

    /// What came to a client. False: it is not what it asked for.
    fn take(&mut self, number: usize, bytes: &[u8]) -> bool {
        let Some(Some(client)) = self.clients.get_mut(number) else { return true };
        let Client { wire, marks, next, body, request, is_open, received, .. } = client;
        let (latency_us, begun_ns) = (&mut self.latency_us, self.begun_ns);
        let Plan { mode, topics, behind, .. } = self.plan;
        let (now_ns, shared) = (now_ns(), &self.shared);
        let (mut is_fine, mut is_answered, mut came, mut opened) = (true, false, 0, false);
        is_fine &= wire.read(bytes, |part| match part {
            Part::Begun(status) => {
                is_fine = status == if mode == Mode::WebSocket { 101 } else { 200 };
                opened |= matches!(mode, Mode::Sse | Mode::WebSocket | Mode::Storm);
            }
            Part::Bytes(bytes) => {
                marks.read(bytes, |seq, ns| {
                    if topics == 1 && seq < *next {
                        shared.repeated.fetch_add(1, SeqCst);
                        return;
                    }
                    *next = seq + 1;
                    came += 1;
                    if mode != Mode::Storm {
                        latency_us.saturating_record((now_ns.saturating_sub(ns) / 1_000).max(1));
                    }
                });
                if matches!(mode, Mode::Long | Mode::Short) {
                    body.extend_from_slice(bytes);
                }
            }
            Part::End => {
                marks.cut();
                (is_answered, opened) = (true, true);
            }
            Part::Ping(bytes) => {
                // Masked with nothing, as the protocol asks of clients.
                let mut pong = vec![0x8a, 0x80 | bytes.len() as u8, 0, 0, 0, 0];
                pong.extend_from_slice(bytes);
                *request = Some(pong);
            }
            Part::Close => is_fine = false,
        });
        shared.received.fetch_add(came, SeqCst);
        *received += came;
        if mode == Mode::Storm && came > 0 && *received == behind {
            latency_us.saturating_record((now_ns.saturating_sub(begun_ns) / 1_000).max(1));
            shared.done.fetch_add(1, SeqCst);
        }
        if is_fine && opened && !*is_open {
            *is_open = true;
            shared.opened.fetch_add(1, SeqCst);
        }
        if is_answered {
            is_fine &= self.ask_again(number);
        } else if self.clients[number]
            .as_ref()
            .is_some_and(|client| client.is_open && client.request.is_some())
        {
            self.send(number);
        }
        is_fine
    }

    /// An answer is whole: the next request, at once or when it is due.
    fn ask_again(&mut self, number: usize) -> bool {
        let Some(Some(client)) = self.clients.get_mut(number) else { return true };
        let body = std::mem::take(&mut client.body);
        let position = memchr::memmem::rfind(&body, b"\"next\":\"").and_then(|at| {
            let rest = body.get(at + 8..)?;
            let end = memchr::memchr(b'"', rest)?;
            String::from_utf8(rest[..end].to_vec()).ok()
        });
        let Some(position) = position else { return false };
        client.position = Some(position);
        if self.plan.mode == Mode::Short {
            client.due_ns = client.due_ns.max(now_ns().saturating_sub(self.plan.interval.as_nanos() as u64));
            self.due.push(Reverse((client.due_ns, number)));
        } else {
            self.ask(number);
        }
        true
    }

    fn ask_who_is_due(&mut self) {
        while let Some(Reverse((ns, number))) = self.due.peek().copied()
            && ns <= now_ns()
        {
            self.due.pop();
            if let Some(Some(client)) = self.clients.get_mut(number) {
                client.due_ns += self.plan.interval.as_nanos() as u64;
            }
            self.ask(number);
        }
    }

    fn ask(&mut self, number: usize) {
        if let Some(Some(client)) = self.clients.get_mut(number) {
            client.request = Some(self.plan.request(number, client.position.as_deref()));
            self.send(number);
        }
    }

    fn drop_client(&mut self, number: usize, why: &str) {
        match self.clients.get_mut(number).and_then(Option::take) {
            Some(client) if client.is_open => {
                self.shared.lost.fetch_add(1, SeqCst);
                if client.position.is_some() {
                    // Who polls connects again, where he was.
                    self.clients[number] = self.connect(number, client.position).ok();
                    if let Some(again) = &mut self.clients[number] {
                        (again.due_ns, again.next) = (client.due_ns, client.next);
                    }
                } else {
                    eprintln!("client {number} is lost: {why}");
                }
            }
            Some(_) => self.fail(why),
            None => {}
        }
    }

    fn fail(&self, why: &str) {
        if self.shared.failed.fetch_add(1, SeqCst) == 0 {
            eprintln!("a client cannot come in: {why}");
        }
    }
}

/// Clients that ask and never read.
pub(crate) fn stalled(plan: &Plan) -> Vec<TcpStream> {
    let mut sockets = Vec::new();
    for number in 0..plan.stalled {
        let connect = || {
            let flags = SocketFlags::CLOEXEC;
            let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
            sockopt::set_socket_recv_buffer_size(&socket, STALLED_BYTES)?;
            let socket = std::net::TcpStream::from(socket);
            socket2::SockRef::from(&socket).set_tcp_mss(STALLED_SEGMENT).map_err(|_| Errno::INVAL)?;
            rustix::net::bind(&socket, &source(3))?;
            rustix::net::connect(&socket, &plan.to)?;
            rustix::net::send(&socket, &plan.request(number, None), SendFlags::NOSIGNAL)?;
            Ok::<_, Errno>(socket)
        };
        sockets.push(connect().expect("a client that stalls"));
    }
    sockets
}

/// An address of this process on the loopback interface: one has only some 28,000 ports to one address, and looks long for
/// free ones among those that a run before this one has just left.
fn source(last: u8) -> SocketAddr {
    let net = (std::process::id() % 250 + 1) as u8;
    SocketAddr::new(IpAddr::from([127, net, 0, last]), 0)
}

fn histogram() -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("bounds that are allowed");
    histogram.auto(true);
    histogram
}
