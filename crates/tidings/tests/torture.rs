//! `kill -9` under load, again and again, also while the hub starts: publishers with and without keys, topics that
//! are closed, deleted and limited, readers that come back. The history checker is the judge.
//!
//! `cargo xtask torture --cycles 1000` is the long form. What the hub is doing when it is killed is chance; what is
//! published and asked for comes from the seed.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where it is surprised, and tells what it saw"
)]

mod process;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use process::{HubProcess, Response, Rng, request};
use tidings_client::{Backoff, EventId, EventSource, RetryStatuses, SourceEvent};
use tidings_history::{History, Publish, PublishId, Reader, ReaderId, Start};

/// What CI runs.
const CYCLES: u64 = 25;
const READERS: u64 = 6;
/// The topic whose last event tells that all is over.
const END: &str = "end";

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_loses_nothing_that_was_acked() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (cycles, seed) = (number("TORTURE_CYCLES").unwrap_or(CYCLES), number("TORTURE_SEED").unwrap_or(1));
    let dir = tempfile::tempdir().unwrap();
    let limits = ["--segment-bytes", "64KiB", "--hot-log-bytes", "2MiB", "--event-bytes-max", "64KiB"];
    let more = ["--retry", "20ms", "--topic-retention", "r/* count=20"];
    let mut hub = HubProcess::start(dir.path(), &[&limits[..], &more[..]].concat());
    let world = World {
        addr: hub.addr,
        history: Arc::default(),
        is_over: Arc::default(),
        acked: Arc::default(),
        deliveries: Arc::default(),
    };
    let readers: Vec<_> =
        (0..READERS).map(|n| tokio::spawn(Reading::new(&world, seed + n, n).run())).collect();
    let plain = (0..2).map(|n| tokio::spawn(world.clone().publish_plainly(Rng(seed + 100 + n), n)));
    let keyed = (0..2).map(|n| tokio::spawn(world.clone().publish_under_keys(Rng(seed + 200 + n), n)));
    let changing = [tokio::spawn(world.clone().close_and_delete(Rng(seed + 300)))];
    let work: Vec<_> = plain.chain(keyed).chain(changing).collect();

    let (began, mut rng) = (Instant::now(), Rng(seed));
    let mut while_starting = 0u64;
    for cycle in 1..=cycles {
        // Sooner or later in the middle of something.
        tokio::time::sleep(Duration::from_millis(5 + rng.below(110))).await;
        hub.kill();
        while rng.below(4) == 0 {
            while_starting += 1;
            hub.restart_unheard();
            tokio::time::sleep(Duration::from_micros(rng.below(30_000))).await;
            hub.kill();
        }
        hub.restart();
        if cycle % 100 == 0 {
            let acked = world.acked.load(Ordering::Relaxed);
            let each = began.elapsed().as_millis() / u128::from(cycle);
            println!("{cycle} of {cycles} cycles, {acked} acked events, {each} ms each");
        }
    }
    world.is_over.store(true, Ordering::Relaxed);
    for publisher in work {
        publisher.await.unwrap();
    }
    // Somebody who was not there reads all that is kept.
    let late = tokio::spawn(Reading::new(&world, seed, READERS).run());
    world.surely("POST", &format!("/topics/{END}"), "Idempotency-Key: the-end\r\n", b"end").await;
    for reader in readers.into_iter().chain([late]) {
        tokio::time::timeout(Duration::from_secs(120), reader)
            .await
            .expect("a reader never came to the end")
            .unwrap();
    }

    let (acked, history) = (world.acked.load(Ordering::Relaxed), world.history());
    let violations = history.check();
    println!(
        "torture: {cycles} cycles of kill -9 and {while_starting} kills while it started, {acked} acked events, {} deliveries, {} gaps told, {} violations; {:.0} s",
        world.deliveries.load(Ordering::Relaxed),
        history.gaps(),
        violations.len(),
        began.elapsed().as_secs_f64()
    );
    assert!(violations.is_empty(), "the first: {:#?}", violations.iter().take(5).collect::<Vec<_>>());
    let least = usize::try_from(cycles).unwrap();
    assert!(acked > least && world.deliveries.load(Ordering::Relaxed) > least, "too little happened");
}

/// What all who take part share.
#[derive(Clone)]
struct World {
    addr: std::net::SocketAddr,
    history: Arc<Mutex<History>>,
    is_over: Arc<AtomicBool>,
    acked: Arc<AtomicUsize>,
    deliveries: Arc<AtomicUsize>,
}

impl World {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap()
    }

    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    fn send(&self, value: &str, topic: &str) -> PublishId {
        self.history().sent(Publish::new(value, &[topic]))
    }

    fn ack(&self, publish: PublishId, id: &str) {
        self.acked.fetch_add(1, Ordering::Relaxed);
        self.history().acked(publish, id);
    }

    /// Asks until there is an answer that is none of a hub that goes or is gone.
    async fn surely(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Response {
        loop {
            match request(self.addr, method, path, headers, body).await {
                Ok(response) if response.status < 500 => return response,
                _ => tokio::time::sleep(Duration::from_millis(3)).await,
            }
        }
    }

    /// One event after the other, each tried once.
    async fn publish_plainly(self, mut rng: Rng, number: u64) {
        for n in 0u64.. {
            if !self.goes_on() {
                return;
            }
            let value =
                format!("plain {number} {n} {}", "x".repeat(usize::try_from(rng.below(200)).unwrap()));
            let topic = format!("t/{}", rng.below(10));
            let publish = self.send(&value, &topic);
            match request(self.addr, "POST", &format!("/topics/{topic}"), "", value.as_bytes()).await {
                Ok(answer) if answer.status == 200 => {
                    self.ack(publish, answer.json()["last_id"].as_str().unwrap());
                }
                Ok(answer) => assert!(answer.status >= 500, "{answer:?}"),
                // The kill: whether it was stored nobody knows, until somebody reads it.
                Err(_) => tokio::time::sleep(Duration::from_millis(3)).await,
            }
        }
    }

    /// Some events at once, under a key, tried until they are accepted; some to topics that keep twenty.
    async fn publish_under_keys(self, mut rng: Rng, number: u64) {
        for n in 0u64.. {
            if !self.goes_on() {
                return;
            }
            let is_limited = rng.below(3) == 0;
            let topic = format!("{}/{}", if is_limited { "r" } else { "t" }, rng.below(4));
            let values: Vec<_> =
                (0..=rng.below(8)).map(|item| format!("keyed {number} {n} {item}")).collect();
            let last = self.publish_surely(&format!("{number}-{n}"), &topic, &values).await;
            if is_limited {
                self.history().removed("r/*", &last);
            }
        }
    }

    /// Publishes under a key; the id of the last event.
    async fn publish_surely(&self, key: &str, topic: &str, values: &[String]) -> String {
        let sent: Vec<_> = values.iter().map(|value| self.send(value, topic)).collect();
        let body: String = values.iter().map(|value| format!("data: {value}\n\n")).collect();
        let headers = format!("Content-Type: text/event-stream\r\nIdempotency-Key: {key}\r\n");
        let answer = self.surely("POST", &format!("/topics/{topic}"), &headers, body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer = answer.json();
        assert_eq!(answer["count"], values.len(), "{answer}");
        self.ack(sent[0], answer["first_id"].as_str().unwrap());
        let last = answer["last_id"].as_str().unwrap().to_owned();
        if sent.len() > 1 {
            self.ack(sent[sent.len() - 1], &last);
        }
        last
    }

    /// Topics that end, and topics that are deleted and come again.
    async fn close_and_delete(self, mut rng: Rng) {
        for n in 0u64.. {
            if !self.goes_on() {
                return;
            }
            let closing = format!("c/{n}");
            self.publish_surely(&format!("c-{n}"), &closing, &[format!("closing {n}")]).await;
            let answer = self.surely("PUT", &format!("/topics/{closing}?closed"), "", b"").await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let value = format!("after the close {n}");
            let publish = self.send(&value, &closing);
            let answer = self.surely("POST", &format!("/topics/{closing}"), "", value.as_bytes()).await;
            assert_eq!(answer.status, 409, "a topic that was closed stays closed: {answer:?}");
            self.history().refused(publish);

            let deleting = format!("d/{}", rng.below(3));
            let values: Vec<_> = (0..3).map(|item| format!("deleting {n} {item}")).collect();
            let last = self.publish_surely(&format!("d-{n}"), &deleting, &values).await;
            self.history().removed(&deleting, &last);
            let answer = self.surely("DELETE", &format!("/topics/{deleting}"), "", b"").await;
            assert_eq!(answer.status, 204, "{answer:?}");
            let path = format!("/topics/{deleting}?format=json");
            let answer = self.surely("GET", &path, "", b"").await.json();
            assert_eq!(
                answer["events"].as_array().map(Vec::len),
                Some(0),
                "what was deleted is gone: {answer}"
            );
        }
    }
}

struct Reading {
    world: World,
    url: String,
    reader: ReaderId,
    rng: Rng,
    is_late: bool,
}

impl Reading {
    /// The last one begins with the oldest event that is kept; the others begin before there is any.
    fn new(world: &World, seed: u64, number: u64) -> Self {
        let wishes: [&[&str]; 4] = [&["**"], &["t/*", END], &["r/*", "d/*", END], &["c/*", "t/1", END]];
        let is_late = number == READERS;
        let wants = if is_late { wishes[0] } else { wishes[usize::try_from(number % 4).unwrap()] };
        let reader = world.history().reader(Reader::new(&format!("reader {number}")).wants(wants));
        let query = wants.iter().map(|want| format!("topic={want}")).collect::<Vec<_>>().join("&");
        let from = if is_late { "&from=start" } else { "" };
        let url = format!("http://{}/events?{query}{from}", world.addr);
        Self { world: world.clone(), url, reader, rng: Rng(seed + 1_000), is_late }
    }

    /// Reads to the end, through every death of the hub, and breaks off now and then.
    async fn run(mut self) {
        let mut source = self.open(None);
        let mut left = 1 + self.rng.below(2_000);
        loop {
            let event =
                source.next().await.expect("the stream goes on").expect("nothing is refused for good");
            let last = source.last_event_id().clone();
            match event {
                SourceEvent::Open { .. } => {
                    // Where it goes on from: what it had when it asked.
                    let begin = if self.is_late { Start::Oldest } else { Start::Tail };
                    let start = if last.as_str().is_empty() { begin } else { Start::After(last.as_str()) };
                    self.world.history().connected(self.reader, start);
                }
                SourceEvent::Id(id) => self.world.history().cursor(self.reader, id.as_str()),
                SourceEvent::Message(message) => {
                    let id = message.id.as_ref().expect("every event has an id").as_str();
                    match message.event.as_str() {
                        "tidings.gap" => self.world.history().gap(self.reader, id),
                        _ if message.data == "end" => return self.world.history().caught_up(self.reader),
                        _ => self.world.history().saw(self.reader, id, None, &message.data),
                    }
                    self.world.deliveries.fetch_add(1, Ordering::Relaxed);
                    left -= 1;
                    if left == 0 {
                        left = 1 + self.rng.below(2_000);
                        source = self.open(Some(last));
                    }
                }
                SourceEvent::Ended => panic!("a pattern does not end"),
                // It comes back by itself.
                _ => {}
            }
        }
    }

    fn open(&mut self, last: Option<EventId>) -> EventSource {
        let builder = EventSource::builder(&self.url)
            .retry_statuses(RetryStatuses::transient())
            .backoff(Backoff::exponential(30))
            .seed(self.rng.below(u64::MAX >> 34));
        match last {
            Some(last) => builder.last_event_id(last),
            None => builder,
        }
        .build()
        .unwrap()
    }
}
