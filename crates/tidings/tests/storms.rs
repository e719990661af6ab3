//! Ten thousand streams meet a full hub, a restart and a crash: every one of them comes back, none meets an answer that
//! an `EventSource` gives up on, and nothing is lost, doubled or out of order. The history checker is the judge.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where it is surprised, and tells what it saw"
)]
#![cfg(target_os = "linux")]

mod process;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use process::{HubProcess, post_surely, request};
use tidings_history::{History, Publish, Reader, ReaderId, Start};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Streams, unless `STORM_STREAMS` says otherwise.
const STREAMS: usize = 10_000;
/// One in so many finds the hub full at first.
const TOO_MANY: usize = 10;
/// What a connection that is refused is tried again after: browsers do so after the last `retry:`.
const RETRY: &str = "1s";
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_comes_back_from_a_full_hub_a_restart_and_a_crash() {
    let streams = std::env::var("STORM_STREAMS").map_or(STREAMS, |count| count.parse().unwrap());
    let places = streams - streams / TOO_MANY;
    // Each stream is a descriptor here too.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let all = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, all).unwrap();
    let needed = u64::try_from(streams).unwrap() + 100;
    assert!(
        limit.maximum.is_none_or(|most| most > needed),
        "this test needs {needed} descriptors: {limit:?}"
    );
    let dir = tempfile::tempdir().unwrap();
    let places_arg = places.to_string();
    let args = ["--subscribers-max", &places_arg, "--retry", RETRY, "--drain", "2s"];
    let mut hub = HubProcess::start(dir.path(), &args);
    let crowd = Arc::new(Crowd::new(hub.addr));
    let (leave, left) = watch::channel(0);
    let readers: Vec<_> =
        (0..streams).map(|number| tokio::spawn(read(Arc::clone(&crowd), number, left.clone()))).collect();

    // Full: the others are sent away with a time to come back; who is no `EventSource` gets a status.
    crowd.until("the hub is full", |now| now.open == places && now.waiting == streams - places).await;
    assert_eq!(ready(hub.admin).await, 503, "a balancer sends nobody to a full hub");
    let answer = request(hub.addr, "GET", "/topics/t", "Accept: */*\r\n", b"").await.unwrap();
    assert_eq!(answer.status, 503, "{answer:?}");
    publish(&crowd, "full").await;
    let full = crowd.take();
    println!("full: {full:?}");
    assert!(full.away_ms.iter().all(|ms| (1_000..=60_000).contains(ms)), "{full:?}");

    // As many leave as wait: all the others get in.
    let begun = Instant::now();
    leave.send(streams / TOO_MANY).unwrap();
    crowd.until("those who waited are in", |now| now.open == places && now.waiting == 0).await;
    println!("let in after {:.1} s: {:?}", begun.elapsed().as_secs_f64(), crowd.take());
    publish(&crowd, "let in").await;

    // A restart: ends are spread, and told with a time to come back.
    let begun = Instant::now();
    let stopped = tokio::task::spawn_blocking(move || {
        let status = hub.stop();
        hub.restart();
        (hub, status)
    });
    publish(&crowd, "across the restart").await;
    let (back, status) = stopped.await.unwrap();
    hub = back;
    assert!(status.success(), "{status}");
    crowd.until("all are back after the restart", |now| now.open == places).await;
    let restart = crowd.take();
    println!("restart: back after {:.1} s: {restart:?}", begun.elapsed().as_secs_f64());
    assert_eq!(restart.broken, 0, "every stream was ended in order: {restart:?}");
    assert!(spread_ms(&restart.told_ms) > 700, "all were told one time: {restart:?}");
    publish(&crowd, "restarted").await;

    // A crash: nobody is told anything, and the times that were told at the beginning keep them apart.
    let begun = Instant::now();
    hub.kill();
    hub.restart();
    publish(&crowd, "across the crash").await;
    crowd.until("all are back after the crash", |now| now.open == places).await;
    let crash = crowd.take();
    println!("crash: back after {:.1} s: {crash:?}", begun.elapsed().as_secs_f64());
    assert_eq!(crash.broken, places, "{crash:?}");
    let least_ms = u64::try_from(places / 20).unwrap().min(500);
    assert!(spread_ms(&crash.told_ms) > least_ms, "all were told one time: {crash:?}");

    publish(&crowd, "end").await;
    for reader in readers {
        tokio::time::timeout(PATIENCE, reader).await.expect("one never came to the end").unwrap();
    }
    let history = crowd.history.lock().unwrap();
    let violations = history.check();
    assert!(violations.is_empty(), "{} violations, the first: {:#?}", violations.len(), violations.first());
    assert_eq!(history.gaps(), 0, "nothing was removed, so there is nothing to tell");
    println!("{streams} streams, {} deliveries: 0 violations", crowd.deliveries.load(Ordering::Relaxed));
}

/// A few events, each acked.
async fn publish(crowd: &Crowd, what: &str) {
    for n in 0..3 {
        let value =
            if what == "end" && n == 2 { "end".to_owned() } else { format!("{what} {n}").replace(' ', "-") };
        let sent = crowd.history.lock().unwrap().sent(Publish::new(&value, &["t"]));
        let answer =
            post_surely(crowd.addr, "/topics/t", "text/plain", &value, value.as_bytes()).await.json();
        crowd.history.lock().unwrap().acked(sent, answer["first_id"].as_str().unwrap());
    }
}

async fn ready(admin: SocketAddr) -> u16 {
    request(admin, "GET", "/readyz", "", b"").await.unwrap().status
}

/// All clients together.
struct Crowd {
    addr: SocketAddr,
    history: Mutex<History>,
    deliveries: AtomicUsize,
    now: Mutex<Now>,
    begun: Instant,
}

/// How it stands, and what happened since somebody looked.
#[derive(Clone, Default)]
struct Now {
    open: usize,
    /// Sent away, and not back yet.
    waiting: usize,
    sent_away: usize,
    away_ms: Vec<u64>,
    /// Streams that ended without a word.
    broken: usize,
    /// Connections that the system refused: nobody listened.
    refused: usize,
    /// When each stream was there (again), in milliseconds.
    opened_ms: Vec<u64>,
    /// How long each client whose stream ended or broke off waits.
    told_ms: Vec<u64>,
}

/// From the first twentieth to the last.
fn spread_ms(all: &[u64]) -> u64 {
    let mut all = all.to_vec();
    all.sort_unstable();
    all.get(all.len() * 19 / 20).unwrap_or(&0) - all.get(all.len() / 20).unwrap_or(&0)
}

impl std::fmt::Debug for Now {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { open, waiting, sent_away, broken, refused, .. } = self;
        let (min, max) = (self.away_ms.iter().min(), self.away_ms.iter().max());
        write!(
            f,
            "{open} open, {waiting} waiting, {sent_away} times sent away for {min:?}-{max:?} ms, {broken} broken off, \
             {refused} connections refused, {} opened, nine tenths of them within {} ms, told times of {} ms",
            self.opened_ms.len(),
            spread_ms(&self.opened_ms),
            spread_ms(&self.told_ms)
        )
    }
}

impl Crowd {
    fn new(addr: SocketAddr) -> Self {
        let history = Mutex::new(History::new());
        let (deliveries, now) = (AtomicUsize::new(0), Mutex::default());
        Self { addr, history, deliveries, now, begun: Instant::now() }
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Now) -> bool) {
        let begun = Instant::now();
        while !is_so(&self.now.lock().unwrap()) {
            assert!(begun.elapsed() < PATIENCE, "{what}: {:?}", self.now.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What happened since the last time.
    fn take(&self) -> Now {
        let mut now = self.now.lock().unwrap();
        let next = Now { open: now.open, waiting: now.waiting, ..Now::default() };
        std::mem::replace(&mut now, next)
    }
}

/// How a connection ended.
enum End {
    /// In order: the last chunk was there.
    Ended,
    /// Without a word.
    Broken,
    /// It was no stream, but a word when to come back.
    SentAway,
    /// All events are there.
    Over,
}

/// A client as an `EventSource` is one: comes back after `retry:` with its last id, until it has the last event or is asked
/// to leave.
async fn read(crowd: Arc<Crowd>, number: usize, mut left: watch::Receiver<usize>) {
    let wanted = Reader::new(&format!("reader {number}")).wants(&["t"]);
    let reader = crowd.history.lock().unwrap().reader(wanted);
    let mut client = Client {
        crowd,
        reader,
        retry: Duration::from_secs(1),
        told: None,
        last: None,
        is_open: false,
        is_waiting: false,
    };
    loop {
        let end = tokio::select! {
            end = client.connection() => end,
            // The first ones to come leave, and wait for nothing any more.
            _ = left.wait_for(|count| client_leaves(number, *count)) => {
                client.leave();
                return;
            }
        };
        client.close();
        match end {
            Ok(End::Over) => return,
            Ok(End::Broken) => client.note_end(true),
            Ok(End::SentAway) => client.send_away(),
            Ok(End::Ended) => client.note_end(false),
            Err(_) => client.crowd.now.lock().unwrap().refused += 1,
        }
        tokio::select! {
            () = tokio::time::sleep(client.retry) => {}
            _ = left.wait_for(|count| client_leaves(number, *count)) => {
                client.leave();
                return;
            }
        }
    }
}

/// Who leaves: some who were there first.
fn client_leaves(number: usize, count: usize) -> bool {
    number < count
}

struct Client {
    crowd: Arc<Crowd>,
    reader: ReaderId,
    retry: Duration,
    /// What this connection was told.
    told: Option<Duration>,
    last: Option<String>,
    is_open: bool,
    is_waiting: bool,
}

impl Client {
    async fn connection(&mut self) -> std::io::Result<End> {
        self.told = None;
        let mut stream = TcpStream::connect(self.crowd.addr).await?;
        let last = self.last.as_ref().map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
        let head = "GET /topics/t HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n";
        stream.write_all(format!("{head}{last}\r\n").as_bytes()).await?;
        let mut bytes = Vec::new();
        let mut text = String::new();
        let mut is_begun = false;
        loop {
            let mut part = [0; 2_048];
            match stream.read(&mut part).await {
                // Also a reset: the kernel says so where something was still on its way.
                Ok(0) | Err(_) if self.is_open => return Ok(End::Broken),
                Ok(0) if is_begun => return Ok(End::SentAway),
                Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                Err(error) => return Err(error),
                Ok(count) => bytes.extend_from_slice(&part[..count]),
            }
            if !is_begun {
                let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
                let head = String::from_utf8(bytes.drain(..end + 4).collect()).unwrap();
                assert!(head.starts_with("HTTP/1.1 200 "), "an EventSource would give up: {head}");
                is_begun = true;
                if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
                    // A whole answer: the end is what the body says.
                    text = String::from_utf8(std::mem::take(&mut bytes)).unwrap();
                    self.blocks(&mut text);
                    return Ok(End::SentAway);
                }
            }
            while let Some(chunk) = take_chunk(&mut bytes) {
                if chunk.is_empty() {
                    return Ok(if self.is_open { End::Ended } else { End::SentAway });
                }
                text.push_str(&String::from_utf8(chunk).unwrap());
                if self.blocks(&mut text) {
                    return Ok(End::Over);
                }
            }
        }
    }

    /// Takes the whole blocks; whether the last event was among them.
    fn blocks(&mut self, text: &mut String) -> bool {
        while let Some(end) = text.find("\n\n") {
            let block: String = text.drain(..end + 2).collect();
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            if let Some(ms) = field("retry: ") {
                self.retry = Duration::from_millis(ms.parse().unwrap());
                self.told = Some(self.retry);
            }
            let Some(id) = field("id: ") else { continue };
            if !self.is_open {
                self.open();
            }
            let mut history = self.crowd.history.lock().unwrap();
            match (field("event: "), field("data: ")) {
                (Some("tidings.gap"), _) => history.gap(self.reader, id),
                (_, Some(data)) => {
                    self.crowd.deliveries.fetch_add(1, Ordering::Relaxed);
                    history.saw(self.reader, id, None, data);
                    if data == "end" {
                        history.caught_up(self.reader);
                        return true;
                    }
                }
                (_, None) => history.cursor(self.reader, id),
            }
            self.last = Some(id.to_owned());
        }
        false
    }

    fn open(&mut self) {
        let start = self.last.as_deref().map_or(Start::Tail, Start::After);
        self.crowd.history.lock().unwrap().connected(self.reader, start);
        self.is_open = true;
        let mut now = self.crowd.now.lock().unwrap();
        now.open += 1;
        now.waiting -= usize::from(std::mem::take(&mut self.is_waiting));
        now.opened_ms.push(u64::try_from(self.crowd.begun.elapsed().as_millis()).unwrap());
    }

    fn close(&mut self) {
        self.crowd.now.lock().unwrap().open -= usize::from(std::mem::take(&mut self.is_open));
    }

    /// For good, also while it waits.
    fn leave(&mut self) {
        self.close();
        self.crowd.now.lock().unwrap().waiting -= usize::from(std::mem::take(&mut self.is_waiting));
    }

    fn note_end(&mut self, is_broken: bool) {
        let mut now = self.crowd.now.lock().unwrap();
        now.broken += usize::from(is_broken);
        now.told_ms.push(u64::try_from(self.retry.as_millis()).unwrap());
    }

    fn send_away(&mut self) {
        let mut now = self.crowd.now.lock().unwrap();
        now.sent_away += 1;
        let told = self.told.take().expect("who is sent away is told for how long");
        now.away_ms.push(u64::try_from(told.as_millis()).unwrap());
        now.waiting += usize::from(!std::mem::replace(&mut self.is_waiting, true));
    }
}

/// The data of the next whole chunk; empty: the last one.
fn take_chunk(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let line = bytes.windows(2).position(|w| w == b"\r\n")?;
    let length = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).unwrap(), 16).unwrap();
    let whole = line + 2 + length + 2;
    (bytes.len() >= whole).then(|| bytes.drain(..whole).skip(line + 2).take(length).collect())
}
