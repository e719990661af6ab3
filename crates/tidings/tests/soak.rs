//! Many subscribers, many topics, connections that break, a hub that is killed: nothing lost, nothing twice, nothing
//! out of order. The history checker is the judge.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test ends where it is surprised, and tells what it saw"
)]

mod process;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use process::{HubProcess, Rng, post_surely};
use tidings_client::{Backoff, EventSource, RetryStatuses, SourceEvent};
use tidings_history::{History, Publish, PublishId, Reader, ReaderId, Start};
use tokio::sync::Mutex;

const EVENTS: usize = 100_000;
const SUBSCRIBERS: usize = 200;
const TOPICS: u64 = 50;
const PUBLISHERS: usize = 8;
const KILLS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_subscribers_miss_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let args = [
        "--hot-log-bytes",
        "2MiB",
        "--event-bytes-max",
        "64KiB",
        "--segment-bytes",
        "1MiB",
        "--retry",
        "100ms",
    ];
    let mut hub = HubProcess::start(dir.path(), &args);
    let addr = hub.addr;
    let history = Arc::new(Mutex::new(History::new()));

    let (disconnects, deliveries) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut readers = Vec::new();
    let (ready, mut all_ready) = tokio::sync::mpsc::channel(SUBSCRIBERS);
    for number in 0..SUBSCRIBERS {
        let mut rng = Rng(number as u64 + 1);
        let wants = wish(&mut rng);
        let patterns: Vec<_> = wants.iter().map(String::as_str).collect();
        let reader = history.lock().await.reader(Reader::new(&format!("reader {number}")).wants(&patterns));
        let query = wants.iter().map(|want| format!("topic={want}")).collect::<Vec<_>>().join("&");
        let reading = Reading {
            url: format!("http://{addr}/events?{query}"),
            history: Arc::clone(&history),
            reader,
            rng,
            disconnects: Arc::clone(&disconnects),
            deliveries: Arc::clone(&deliveries),
        };
        readers.push(tokio::spawn(reading.run(ready.clone())));
    }
    for _ in 0..SUBSCRIBERS {
        all_ready.recv().await.unwrap();
    }

    let sent = Arc::new(AtomicUsize::new(0));
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|number| tokio::spawn(publish(addr, number, Arc::clone(&history), Arc::clone(&sent))))
        .collect();
    for kill in 1..=KILLS {
        while sent.load(Ordering::Relaxed) < EVENTS * kill / (KILLS + 1) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        hub.kill();
        hub.restart();
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    post_surely(addr, "/topics/end", "text/plain", "the-end", b"end").await;
    for reader in readers {
        tokio::time::timeout(Duration::from_secs(120), reader)
            .await
            .expect("a reader never came to the end")
            .unwrap();
    }

    let history = history.lock().await;
    let violations = history.check();
    assert!(
        violations.is_empty(),
        "{} violations, the first: {:#?}",
        violations.len(),
        &violations[..violations.len().min(5)]
    );
    assert_eq!(history.gaps(), 0, "nothing was removed, so there is nothing to tell");
    let (deliveries, disconnects) = (deliveries.load(Ordering::Relaxed), disconnects.load(Ordering::Relaxed));
    println!(
        "{EVENTS} events, {deliveries} deliveries, {disconnects} disconnects, {KILLS} kills: 0 violations"
    );
    assert!(
        deliveries > EVENTS && disconnects > SUBSCRIBERS,
        "{deliveries} {disconnects}: too little happened"
    );
}

/// One topic, several, or a pattern; and the one that tells the end.
fn wish(rng: &mut Rng) -> Vec<String> {
    let mut wants = vec!["end".to_owned()];
    match rng.below(4) {
        0 => wants.push(format!("t/{}*", rng.below(5))),
        1 => wants.push("t/**".to_owned()),
        n => (0..=n).for_each(|_| wants.push(format!("t/{}", rng.below(TOPICS)))),
    }
    wants.dedup();
    wants
}

async fn publish(
    addr: std::net::SocketAddr,
    number: usize,
    history: Arc<Mutex<History>>,
    sent: Arc<AtomicUsize>,
) {
    let mut rng = Rng(1_000 + number as u64);
    let (mut next, mut request) = (0, 0);
    while next < EVENTS / PUBLISHERS {
        let topic = format!("t/{}", rng.below(TOPICS));
        let count = (1 + usize::try_from(rng.below(60)).unwrap()).min(EVENTS / PUBLISHERS - next);
        let values: Vec<_> = (next..next + count).map(|n| format!("{number}-{n}")).collect();
        let ids: Vec<PublishId> = {
            let mut history = history.lock().await;
            values.iter().map(|value| history.sent(Publish::new(value, &[&topic]))).collect()
        };
        let body: String = values.iter().map(|value| format!("data: {value}\n\n")).collect();
        let path = format!("/topics/{topic}");
        let key = format!("{number}-{request}");
        let answer = post_surely(addr, &path, "text/event-stream", &key, body.as_bytes()).await.json();
        assert_eq!(answer["count"], count, "{answer}");
        let mut history = history.lock().await;
        history.acked(ids[0], answer["first_id"].as_str().unwrap());
        history.acked(ids[count - 1], answer["last_id"].as_str().unwrap());
        next += count;
        request += 1;
        sent.fetch_add(count, Ordering::Relaxed);
    }
}

struct Reading {
    url: String,
    history: Arc<Mutex<History>>,
    reader: ReaderId,
    rng: Rng,
    disconnects: Arc<AtomicUsize>,
    deliveries: Arc<AtomicUsize>,
}

impl Reading {
    /// Reads to the end, and breaks off now and then.
    async fn run(mut self, ready: tokio::sync::mpsc::Sender<()>) {
        let mut first = true;
        let mut source = self.open(None);
        let mut left = 0;
        loop {
            let event =
                source.next().await.expect("the stream goes on").expect("nothing is refused for good");
            let last = source.last_event_id().clone();
            match event {
                SourceEvent::Open { .. } => {
                    // Where it goes on from: what it had when it asked.
                    let start = if first { Start::Tail } else { Start::After(last.as_str()) };
                    self.history.lock().await.connected(self.reader, start);
                    left = 1 + self.rng.below(4_000);
                    if std::mem::take(&mut first) {
                        ready.send(()).await.unwrap();
                    }
                }
                SourceEvent::Id(id) => self.history.lock().await.cursor(self.reader, id.as_str()),
                SourceEvent::Message(message) => {
                    let id = message.id.as_ref().expect("every event has an id").as_str();
                    match message.event.as_str() {
                        "tidings.gap" => self.history.lock().await.gap(self.reader, id),
                        _ if message.data == "end" => {
                            return self.history.lock().await.caught_up(self.reader);
                        }
                        _ => self.history.lock().await.saw(self.reader, id, None, &message.data),
                    }
                    self.deliveries.fetch_add(1, Ordering::Relaxed);
                    left -= 1;
                    if left == 0 {
                        self.disconnects.fetch_add(1, Ordering::Relaxed);
                        source = self.open(Some(last));
                    }
                }
                SourceEvent::Ended => panic!("no topic was closed"),
                // It reconnects by itself.
                _ => {}
            }
        }
    }

    fn open(&mut self, last: Option<tidings_client::EventId>) -> EventSource {
        let builder = EventSource::builder(&self.url)
            .retry_statuses(RetryStatuses::transient())
            .backoff(Backoff::exponential(500))
            .seed(self.rng.below(u64::MAX >> 34));
        match last {
            Some(last) => builder.last_event_id(last),
            None => builder,
        }
        .build()
        .unwrap()
    }
}
