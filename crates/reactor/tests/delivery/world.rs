//! A reactor on its thread before a log in memory, a front door that understands one line, and readers that check
//! every byte of the chunked coding.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tidings_hub::live::{Carried, Watch as _, Way};
use tidings_hub::ports::{
    Bounds, BoxFuture, Health, Log, LogError, Op, Outcome, Page, Publish, SeqRange, Sink, Snapshot,
    Submission, Want,
};
use tidings_hub::{
    EventName, Filter, From, Hub, Limits, Position, ResumePoint, Selector, Selectors, Subscribe, SystemClock,
    TopicName,
};
use tidings_log::{LogConfig, MemoryLog};
use tidings_reactor::mailbox::Stage;
use tidings_reactor::{Answer, Config, Door, Look, Mailbox, Reactor, Then};

/// Nothing here takes that long unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) hub: Hub,
    pub(crate) addr: SocketAddr,
    pub(crate) handed: Arc<AtomicUsize>,
    pub(crate) open: Arc<AtomicUsize>,
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
    next: OnceLock<Box<World>>,
}

/// `S topic,topic [from [types grant]]\n` subscribes, `B topic,topic\n` too, with an answer that no socket holds; `P\n` is
/// answered `pong`, `W\n` a while later; anything else is handed off. A type or grant that is `-` is none.
struct LineDoor {
    hub: Hub,
    handed: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    room: usize,
}

/// More than a socket takes at once.
const BIG_BYTES: usize = 256 << 10;

/// A log with a defect where old events of the topic `defect` are read.
struct Defect(MemoryLog);

impl Log for Defect {
    fn submit(&self, submission: Submission) -> BoxFuture<Vec<Outcome>> {
        self.0.submit(submission)
    }

    fn attach(&self, sink: Box<dyn Sink>) -> Result<Snapshot, LogError> {
        self.0.attach(sink)
    }

    fn read(&self, want: Want, range: SeqRange, bytes_max: usize) -> BoxFuture<Result<Page, LogError>> {
        let has_defect = matches!(&want, Want::Topics(topics) if topics.matches("defect"));
        assert!(!has_defect || topics_all(&want), "a defect in a read");
        self.0.read(want, range, bytes_max)
    }

    fn bounds(&self) -> Bounds {
        self.0.bounds()
    }

    fn health(&self) -> Health {
        self.0.health()
    }

    fn tick(&self) {
        self.0.tick();
    }

    fn shutdown(&self) -> BoxFuture<()> {
        self.0.shutdown()
    }
}

/// Whether somebody reads all topics there are.
fn topics_all(want: &Want) -> bool {
    matches!(want, Want::Topics(topics) if topics.exact().is_none())
}

impl Door for LineDoor {
    fn look(&mut self, bytes: &[u8]) -> Look {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Look::More };
        let line = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let hub = self.hub.clone();
        let answer = match line.split(' ').collect::<Vec<_>>()[..] {
            ["P"] => Answer { bytes: b"pong\n".to_vec(), then: Then::Next },
            ["X!"] => {
                let defect = async { panic!("a defect in an answer") };
                return Look::Request { bytes: end + 1, answer: Box::pin(defect) };
            }
            ["X?"] => panic!("a defect in a look"),
            ["C"] => Answer { bytes: b"bye\n".to_vec(), then: Then::Close },
            ["W"] => {
                let answer = async {
                    Later(None).await;
                    Answer { bytes: b"late\n".to_vec(), then: Then::Next }
                };
                return Look::Request { bytes: end + 1, answer: Box::pin(answer) };
            }
            ["S", topics] => stream(&hub, topics, From::Tail),
            ["B", topics] => {
                let Answer { bytes, then } = stream(&hub, topics, From::Tail);
                Answer { bytes: [&vec![b'.'; BIG_BYTES], &bytes[..]].concat(), then }
            }
            ["S", topics, from] => stream(&hub, topics, parse(from)),
            ["S", topics, from, types, grant] => {
                let types = types.split(',').filter(|name| *name != "-");
                let types = types.map(|name| EventName::parse(name).unwrap()).collect();
                let filter = Filter::topics(selectors(topics)).with_events(types);
                let mut ask = Subscribe::new(filter).from(parse(from));
                ask.grant = Arc::new(selectors(grant));
                answer(&hub, ask)
            }
            _ => return Look::Other,
        };
        Look::Request { bytes: end + 1, answer: Box::pin(std::future::ready(answer)) }
    }

    fn hand_off(&mut self, mut socket: TcpStream, read: Vec<u8>) {
        self.handed.fetch_add(1, Ordering::SeqCst);
        self.left();
        std::thread::spawn(move || {
            socket.set_nonblocking(false).unwrap();
            _ = socket.write_all(&read);
        });
    }

    fn take_room(&mut self) -> bool {
        self.open.load(Ordering::SeqCst) < self.room
    }

    fn give_room_back(&mut self) {}

    fn opened(&mut self) {
        self.open.fetch_add(1, Ordering::SeqCst);
    }

    fn left(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }

    fn accept_failed(&mut self, error: &std::io::Error) {
        panic!("{error}");
    }
}

fn parse(from: &str) -> From {
    match from {
        "start" => From::Start,
        "tail" => From::Tail,
        "last" => From::Last,
        id => From::After(ResumePoint::parse(id.as_bytes()).unwrap()),
    }
}

fn stream(hub: &Hub, topics: &str, from: From) -> Answer {
    answer(hub, Subscribe::new(Filter::topics(selectors(topics))).from(from))
}

fn selectors(names: &str) -> Selectors {
    let names = names.split(',').filter(|name| *name != "-");
    Selectors::new(names.map(|name| Selector::parse(name).unwrap()).collect())
}

fn answer(hub: &Hub, ask: Subscribe) -> Answer {
    match hub.carry(ask) {
        Ok(carried) => {
            let kind = if matches!(carried.way, Way::Live(_)) { "live" } else { "fed" };
            let Carried { position, .. } = &carried;
            Answer { bytes: format!("{kind} {position}\n").into_bytes(), then: Then::Stream(carried) }
        }
        Err(error) => Answer { bytes: format!("error {error}\n").into_bytes(), then: Then::Close },
    }
}

/// Ready a little later, woken from another thread.
struct Later(Option<Instant>);

impl Future for Later {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        let begun = *self.0.get_or_insert_with(Instant::now);
        if begun.elapsed() >= Duration::from_millis(20) {
            return std::task::Poll::Ready(());
        }
        let waker = cx.waker().clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(25));
            waker.wake();
        });
        std::task::Poll::Pending
    }
}

pub(crate) fn config() -> Config {
    Config {
        handshake_ms: 10_000,
        head_ms: 10_000,
        partial_bytes_max: 8 << 10,
        heartbeat_ms: 0,
        accept_pause_ms: 100,
        connections_max: usize::MAX,
    }
}

impl World {
    pub(crate) fn new(limits: Limits) -> Self {
        Self::with(limits, config(), usize::MAX)
    }

    pub(crate) fn with(limits: Limits, config: Config, room: usize) -> Self {
        let clock = Arc::new(SystemClock::new());
        let log = Defect(MemoryLog::open(clock.clone(), LogConfig::default()).unwrap());
        let hub = Hub::open(Arc::new(log), clock, limits).unwrap();
        hub.spawn_ticks().unwrap();
        Self::of(hub, config, room)
    }

    /// A reactor more, before a hub.
    fn of(hub: Hub, config: Config, room: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        // Small, so that writes are short.
        rustix::net::sockopt::set_socket_send_buffer_size(&listener, 16_384).unwrap();
        let (handed, open) = (Arc::default(), Arc::default());
        let door = LineDoor { hub: hub.clone(), handed: Arc::clone(&handed), open: Arc::clone(&open), room };
        let mailbox = Arc::new(Mailbox::new().unwrap());
        let reactor =
            Reactor::new(hub.clone(), door, config, vec![listener], Arc::clone(&mailbox), Vec::new())
                .unwrap();
        let thread = Some(std::thread::spawn(|| reactor.run()));
        Self { hub, addr, handed, open, mailbox, thread, next: OnceLock::new() }
    }

    pub(crate) fn submit(&self, ops: Vec<Op>) {
        let submission = Submission { ops, atomic: false, time_ms: 0 };
        let outcomes = futures_executor::block_on(self.hub.submit(submission));
        let refused = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Refused(_)));
        assert!(!refused, "{outcomes:?}");
    }

    pub(crate) fn publish(&self, topic: &str, data: &str) -> Position {
        futures_executor::block_on(self.hub.publish(event(topic, data))).unwrap()
    }

    pub(crate) fn reader(&self, line: &str) -> Reader {
        let mut reader = self.reader_of(line);
        reader.begun = reader.line();
        reader
    }

    /// One that has asked and heard nothing yet.
    pub(crate) fn reader_of(&self, line: &str) -> Reader {
        let socket = TcpStream::connect(self.next.get().map_or(self.addr, |next| next.addr)).unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 32_768).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut reader = Reader { socket, raw: Vec::new(), text: String::new(), begun: String::new() };
        reader.say(line);
        reader
    }

    /// From now on whoever comes goes to another reactor.
    pub(crate) fn succeed(&self) {
        let next = self.next.set(Box::new(Self::of(self.hub.clone(), config(), usize::MAX)));
        assert!(next.is_ok(), "once");
    }

    /// The first reactor sends its streams away: with another one before the same hub, all a restart is to them.
    pub(crate) fn send_away(&self, over_ms: u64) {
        self.mailbox.drain(over_ms);
    }

    pub(crate) fn advance(&self, stage: Stage) {
        self.mailbox.advance(stage);
    }

    pub(crate) fn join(&mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.mailbox.advance(Stage::Ended);
        if let Some(thread) = self.thread.take() {
            let joined = thread.join();
            assert!(std::thread::panicking() || joined.is_ok());
        }
    }
}

pub(crate) fn event(topic: &str, data: &str) -> Publish {
    Publish::text([TopicName::parse(topic).unwrap()].into_iter().collect(), data)
}

pub(crate) fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// One end of a connection.
pub(crate) struct Reader {
    pub(crate) socket: TcpStream,
    raw: Vec<u8>,
    text: String,
    /// The line it was answered with.
    pub(crate) begun: String,
}

/// A block of the stream: its lines, or the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Block(String),
    /// The last chunk came.
    End,
    /// The connection was cut.
    Cut,
}

impl Reader {
    pub(crate) fn say(&mut self, line: &str) {
        self.socket.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Reads a line that is no chunk.
    pub(crate) fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.raw.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.raw.drain(..=end).collect();
                return String::from_utf8(line).unwrap().trim_end().to_owned();
            }
            if !self.fill() {
                return String::new();
            }
        }
    }

    fn fill(&mut self) -> bool {
        let mut buffer = [0; 16_384];
        match self.socket.read(&mut buffer) {
            Ok(0) => false,
            Ok(read) => {
                self.raw.extend_from_slice(&buffer[..read]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("nothing came: {error}"),
        }
    }

    /// The next chunk, checked to be whole and well made.
    fn chunk(&mut self) -> Result<Vec<u8>, Item> {
        loop {
            if let Some(end) = self.raw.windows(2).position(|two| two == b"\r\n") {
                let size = std::str::from_utf8(&self.raw[..end]).unwrap();
                let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("a size: {size:?}"));
                if self.raw.len() >= end + 2 + size + 2 {
                    let chunk: Vec<u8> = self.raw.drain(..end + 2 + size + 2).skip(end + 2).collect();
                    assert!(chunk.ends_with(b"\r\n"), "{:?}", String::from_utf8_lossy(&chunk));
                    return if size == 0 { Err(Item::End) } else { Ok(chunk[..size].to_vec()) };
                }
            }
            if !self.fill() {
                return Err(Item::Cut);
            }
        }
    }

    /// The blocks of the next chunks, until `enough` says so or the stream is over.
    pub(crate) fn blocks(&mut self, mut enough: impl FnMut(&str) -> bool) -> Vec<Item> {
        let mut items = Vec::new();
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                let done = enough(&block);
                items.push(Item::Block(block.trim_end().to_owned()));
                if done {
                    return items;
                }
            }
            match self.chunk() {
                Ok(chunk) => self.text.push_str(std::str::from_utf8(&chunk).unwrap()),
                Err(end) => {
                    let text = &self.text;
                    assert!(text.is_empty() || end == Item::Cut, "an end within a block: {text:?}");
                    items.push(end);
                    return items;
                }
            }
        }
    }

    /// The data of the next `count` events that have some.
    pub(crate) fn data(&mut self, count: usize) -> Vec<String> {
        let mut left = count;
        let items = self.blocks(|block| {
            left -= usize::from(block.contains("\ndata: "));
            left == 0
        });
        let data = |item: &Item| match item {
            Item::Block(block) => block.split("\ndata: ").nth(1).map(str::to_owned),
            Item::End | Item::Cut => None,
        };
        items.iter().filter_map(data).collect()
    }
}
