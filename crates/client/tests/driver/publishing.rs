//! Publishing to a hub that loses requests and answers, refuses, forgets, and is silent: what it holds in the end.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use tidings_client::publisher::{
    Batch, BatchLimits, Notice, Producer, ProducerBuilder, PublishError, Publisher, PublisherLimits,
    SendError,
};
use tidings_codec::{Decoder, Event, ItemRef};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::server::{Request, read_request};

/// What a hub does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Answer,
    /// The connection breaks before anything was done.
    LoseRequest,
    /// It breaks after everything was done.
    LoseAnswer,
    Busy,
    /// All producers are forgotten first.
    Forget,
    /// Nothing is ever said.
    Silence,
}

/// A hub as far as a publisher sees it: judges producers, takes no event that says `bad`.
#[derive(Clone, Default)]
struct Hub(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    deeds: Vec<Deed>,
    producers: HashMap<String, (u64, u64)>,
    held: Vec<String>,
    requests: Vec<String>,
    tokens: Vec<String>,
}

impl Hub {
    /// Begins to listen. The deeds are done in turn, then it answers.
    async fn start(deeds: &[Deed]) -> (Self, String) {
        let hub = Self::default();
        hub.0.lock().unwrap().deeds = deeds.iter().rev().copied().collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/topics/t", listener.local_addr().unwrap());
        let serving = hub.clone();
        tokio::spawn(async move {
            let mut silent = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = Request(read_request(&mut stream).await);
                match serving.answer(&request) {
                    Some(Some(text)) => {
                        _ = stream.write_all(text.as_bytes()).await;
                        _ = stream.shutdown().await;
                    }
                    Some(None) => drop(stream),
                    None => silent.push(stream),
                }
            }
        });
        (hub, url)
    }

    fn held(&self) -> Vec<String> {
        self.0.lock().unwrap().held.clone()
    }

    fn requests(&self) -> Vec<String> {
        self.0.lock().unwrap().requests.clone()
    }

    /// `None`: silence. `Some(None)`: the connection breaks.
    fn answer(&self, request: &Request) -> Option<Option<String>> {
        let mut state = self.0.lock().unwrap();
        let number = |name: &str| request.header(name).unwrap().parse::<u64>().unwrap();
        let (id, epoch, seq) = (
            request.header("producer-id").unwrap().to_owned(),
            number("producer-epoch"),
            number("producer-seq"),
        );
        state.requests.push(format!("{epoch}/{seq}"));
        state.tokens.extend(request.header("authorization").map(str::to_owned));
        let deed = state.deeds.pop().unwrap_or(Deed::Answer);
        match deed {
            Deed::Silence => return None,
            Deed::LoseRequest => return Some(None),
            Deed::Busy => {
                return Some(Some(
                    "HTTP/1.1 503 Busy\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}".into(),
                ));
            }
            Deed::Forget => state.producers.clear(),
            Deed::Answer | Deed::LoseAnswer => {}
        }
        let text = state.judge(id, epoch, seq, request.body());
        Some((deed != Deed::LoseAnswer).then_some(text))
    }
}

impl State {
    fn judge(&mut self, id: String, epoch: u64, seq: u64, body: &str) -> String {
        let problem = |status: &str, slug: &str, more: String| {
            let body = format!("{{\"type\":\"urn:tidings:problem:{slug}\",\"detail\":\"{slug}\"{more}}}");
            format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
        };
        let (now, mut next) = self.producers.get(&id).copied().unwrap_or((epoch, 0));
        if epoch < now {
            return problem("403 No", "stale-epoch", String::new());
        }
        if epoch > now {
            next = 0;
        }
        if seq > next {
            return problem("409 No", "producer-out-of-order", format!(",\"expected\":{next}"));
        }
        let (mut count, mut held) = (0, 0);
        let (mut decoder, mut input) = (Decoder::new(), body.as_bytes());
        while let Ok(Some(item)) = decoder.next(&mut input) {
            let ItemRef::Event(event) = item else { continue };
            let data = event.to_message().data;
            if data == "bad" {
                self.producers.insert(id, (epoch, next));
                return problem("413 No", "event-too-large", format!(",\"item\":{count}"));
            }
            if seq + count < next {
                held += 1;
            } else {
                self.held.push(data.to_string());
                next += 1;
            }
            count += 1;
        }
        self.producers.insert(id, (epoch, next));
        let body = format!("{{\"last_id\":\"1.9\",\"count\":{count},\"held\":{held}}}");
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    }
}

fn batch(data: &[&str]) -> Batch {
    let mut batch = Batch::default();
    data.iter().for_each(|data| batch.push(&Event::new(*data), 0));
    batch
}

fn spawn(producer: ProducerBuilder, limits: PublisherLimits) -> Publisher {
    Publisher::spawn(producer.build().unwrap(), limits)
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it is done in time")
}

#[tokio::test]
async fn whatever_is_lost_on_the_way_each_event_is_held_once_and_in_order() {
    use Deed::{Answer, Busy, LoseAnswer, LoseRequest};
    let deeds = [LoseAnswer, LoseRequest, Answer, Busy, LoseAnswer, LoseAnswer, Answer, LoseRequest];
    let (hub, url) = Hub::start(&deeds).await;
    let batch = BatchLimits { events_max: 50, ..BatchLimits::default() };
    let limits = PublisherLimits { batch, window_ms: 1, ..Default::default() };
    let publisher = spawn(Producer::builder(&url), limits);
    let expected: Vec<String> = (0..500).map(|n| n.to_string()).collect();
    let mut acks = Vec::new();
    for data in &expected {
        acks.push(in_time(publisher.publish(&Event::new(data.as_str()))).await.unwrap());
    }
    in_time(publisher.flush()).await.unwrap();
    assert_eq!(hub.held(), expected);
    for (seq, ack) in (0..).zip(acks) {
        assert_eq!(in_time(ack).await.unwrap().seq, seq);
    }
    let requests = hub.requests().len();
    assert!(requests > deeds.len() && requests < 200, "{requests} requests for 500 events");
}

#[tokio::test]
async fn an_event_that_is_refused_is_told_and_the_others_go_on() {
    let (hub, url) = Hub::start(&[]).await;
    let publisher = spawn(Producer::builder(&url), PublisherLimits { window_ms: 50, ..Default::default() });
    let mut acks = Vec::new();
    for data in ["a", "bad", "b", "bad", "c"] {
        acks.push(publisher.publish(&Event::new(data)).await.unwrap());
    }
    let mut told = Vec::new();
    for ack in acks {
        told.push(match in_time(ack).await {
            Ok(published) => published.seq.to_string(),
            Err(PublishError::Refused { why }) => why,
            Err(error) => panic!("{error}"),
        });
    }
    let refused = "event-too-large (413)";
    assert_eq!(told, ["0", refused, "1", refused, "2"]);
    assert_eq!(hub.held(), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_hub_that_forgot_the_producer_is_met_with_a_new_epoch() {
    let (hub, url) = Hub::start(&[Deed::Answer, Deed::Forget, Deed::Answer]).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let notices = Arc::clone(&told);
    let builder = Producer::builder(&url);
    let mut producer = builder
        .notice(move |notice| {
            if let Notice::NewEpoch { epoch } = notice {
                notices.lock().unwrap().push(epoch);
            }
        })
        .build()
        .unwrap();
    for data in ["a", "b", "c"] {
        in_time(producer.send(&batch(&[data]))).await.unwrap();
    }
    assert_eq!(hub.held(), ["a", "b", "c"]);
    assert_eq!(hub.requests(), ["0/0", "0/1", "1/0", "1/1"]);
    assert_eq!(*told.lock().unwrap(), [1]);
}

#[tokio::test]
async fn a_given_numbering_goes_on_after_a_restart() {
    let (hub, url) = Hub::start(&[]).await;
    let producer = |next| Producer::builder(&url).numbering("till", 3, next).build().unwrap();
    let mut first = producer(0);
    in_time(first.send(&batch(&["0", "1"]))).await.unwrap();
    assert_eq!((first.next_seq(), first.epoch()), (2, 3));
    // It died after the hub had taken 2 and 3, and before it saw that.
    in_time(first.send(&batch(&["2", "3"]))).await.unwrap();
    let mut second = producer(2);
    assert_eq!(in_time(second.send(&batch(&["2", "3", "4"]))).await.unwrap().held, 2);
    assert_eq!(hub.held(), ["0", "1", "2", "3", "4"]);
    // What the caller numbers, only the caller can number anew.
    let skipped = in_time(producer(9).send(&batch(&["9"]))).await;
    assert_eq!(skipped, Err(SendError::OutOfOrder { expected: 5, sent: 9 }));
}

#[tokio::test]
async fn who_was_replaced_stops_and_says_so_to_all_that_wait() {
    let (hub, url) = Hub::start(&[]).await;
    let mut successor = Producer::builder(&url).numbering("till", 4, 0).build().unwrap();
    in_time(successor.send(&batch(&["new"]))).await.unwrap();
    let publisher = spawn(Producer::builder(&url).numbering("till", 3, 7), PublisherLimits::default());
    let ack = publisher.publish(&Event::new("old")).await.unwrap();
    let is_end = |error: &PublishError| matches!(error, PublishError::Ended(cause) if matches!(**cause, SendError::Replaced { .. }));
    assert!(is_end(&in_time(ack).await.unwrap_err()));
    let later = in_time(async {
        loop {
            // It may be taken while the task ends; it is never acked.
            match publisher.publish(&Event::new("old")).await {
                Ok(ack) => assert!(is_end(&ack.await.unwrap_err())),
                Err(error) => break error,
            }
        }
    });
    assert!(is_end(&later.await));
    assert!(is_end(&in_time(publisher.flush()).await.unwrap_err()));
    assert_eq!(hub.held(), ["new"]);
}

#[tokio::test]
async fn who_publishes_more_than_there_is_room_for_waits() {
    for limits in [
        PublisherLimits { queue_events_max: 10, ..Default::default() },
        PublisherLimits { queue_bytes_max: 1_000, ..Default::default() },
    ] {
        let (_hub, url) = Hub::start(&[Deed::Silence]).await;
        let publisher = spawn(Producer::builder(&url), limits);
        let mut taken = 0;
        let event = Event::new("some data");
        let publish = || publisher.publish(&event);
        while let Ok(published) = tokio::time::timeout(Duration::from_millis(200), publish()).await {
            published.unwrap();
            taken += 1;
            assert!(taken < 100, "nothing bounds it: {limits:?}");
        }
        assert!(taken >= 10, "{taken}: {limits:?}");
        assert!(publisher.flush().now_or_never().is_none());
    }
}

#[tokio::test]
async fn a_send_that_was_dropped_leaves_no_number_in_doubt() {
    let (hub, url) = Hub::start(&[Deed::Answer, Deed::LoseAnswer, Deed::Silence]).await;
    let mut producer = Producer::builder(&url).build().unwrap();
    in_time(producer.send(&batch(&["a"]))).await.unwrap();
    let dropped = batch(&["dropped"]);
    tokio::time::timeout(Duration::from_millis(600), producer.send(&dropped)).await.unwrap_err();
    // Under the old number it would be taken for the one that was dropped, which the hub has.
    in_time(producer.send(&batch(&["b"]))).await.unwrap();
    assert_eq!(hub.held(), ["a", "dropped", "b"]);
}

#[tokio::test]
async fn each_attempt_has_a_token_of_its_own() {
    let (hub, url) = Hub::start(&[Deed::LoseAnswer, Deed::Busy]).await;
    let mut made = 0;
    let producer = Producer::builder(&url).header("authorization", "old").fresh_headers(move || {
        made += 1;
        async move {
            if made == 2 {
                return Err("no token".into());
            }
            let value = format!("token {made}").parse()?;
            Ok(http::HeaderMap::from_iter([(http::header::AUTHORIZATION, value)]))
        }
    });
    let mut producer = producer.build().unwrap();
    let receipt = in_time(producer.send(&batch(&["a"]))).await.unwrap();
    assert_eq!((receipt.retries, receipt.held), (3, 1));
    assert_eq!(hub.held(), ["a"]);
    assert_eq!(hub.0.lock().unwrap().tokens, ["token 1", "token 3", "token 4"]);
}

#[tokio::test]
async fn patience_has_an_end() {
    let (hub, url) = Hub::start(&[Deed::Busy; 50]).await;
    let mut producer = Producer::builder(&url).patience_ms(300).build().unwrap();
    let error = in_time(producer.send(&batch(&["a"]))).await.unwrap_err();
    assert!(matches!(error, SendError::GaveUp { .. }), "{error:?}");
    assert!(hub.held().is_empty());
}
