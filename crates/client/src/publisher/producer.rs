//! One batch after the other to the hub, each until it is held there: the same events under the same numbers,
//! however often it takes.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use tokio::time::{Instant, sleep, timeout_at};

use super::batch::Batch;
use super::builder::ProducerBuilder;
use super::verdict::{Answer, Verdict, judge};
use crate::fresh::MakeHeaders;
use crate::transport::{Answering, BoxFuture, Transport};

/// The first wait, doubled with each failure in a row.
const WAIT_MS_FIRST: u64 = 200;
/// The longest wait of our own choosing.
const WAIT_MS_MAX: u64 = 10_000;
/// The longest wait that a hub may ask for.
const ASKED_MS_MAX: u64 = 60_000;
/// An answer that takes longer counts as lost. Long enough for a slow disk, short enough to notice a dead link.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// An ack or a problem is far shorter.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Who is told of troubles.
pub(super) type Listener = Box<dyn FnMut(Notice<'_>) + Send>;

/// Who numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbering {
    /// The producer: a new epoch begins where numbers have lost their meaning.
    Own,
    /// The caller, who is told instead.
    Given,
}

/// Sends batches to one topic (or to `/events`) of a hub, in order and once each. See the
/// [module](crate::publisher).
///
/// ```no_run
/// use tidings_client::publisher::{Batch, Producer};
/// use tidings_codec::Event;
///
/// # async fn send() -> Result<(), Box<dyn std::error::Error>> {
/// let mut producer = Producer::builder("http://127.0.0.1:4000/topics/news").build()?;
/// let mut batch = Batch::default();
/// batch.push(&Event::new("one"), 1);
/// batch.push(&Event::new("two"), 2);
/// println!("up to {:?}", producer.send(&batch).await?.last_id);
/// # Ok(())
/// # }
/// ```
pub struct Producer {
    pub(super) transport: Transport,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) make_headers: Option<MakeHeaders>,
    pub(super) id: String,
    pub(super) id_header: HeaderValue,
    pub(super) epoch: u64,
    /// The number of the next event.
    pub(super) seq: u64,
    pub(super) numbering: Numbering,
    /// Some of the last batch may be held under numbers that were not counted.
    pub(super) in_doubt: bool,
    /// For how long a batch is tried; `None`: forever.
    pub(super) patience: Option<Duration>,
    pub(super) notice: Option<Listener>,
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No headers, which may be secrets, and no query.
        let Self { id, epoch, seq, .. } = self;
        f.debug_struct("Producer")
            .field("id", id)
            .field("epoch", epoch)
            .field("seq", seq)
            .finish_non_exhaustive()
    }
}

/// A trouble that passes by itself, or has passed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Notice<'a> {
    /// An attempt came to nothing; there will be another. Told for each.
    Retrying {
        /// Attempts of this batch so far that failed.
        failures: u64,
        /// What happened.
        why: &'a str,
        /// The wait before the next attempt.
        after_ms: u64,
    },
    /// The hub answers again.
    Recovered,
    /// The hub has forgotten the producer (its window passed, or what it kept in memory is gone), so its numbers
    /// begin anew.
    NewEpoch {
        /// The epoch that begins.
        epoch: u64,
    },
}

/// A batch that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The id of its last event, as readers see it.
    pub last_id: Option<String>,
    /// Events that an earlier attempt had delivered although its answer was lost.
    pub held: u64,
    /// Attempts beyond the first.
    pub retries: u64,
}

/// A batch that is not held, or not whole.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The event at this index will never be taken. Those before it are held; its number goes to the next one, so
    /// send [`Batch::behind`] it.
    Item {
        /// From 0.
        item: usize,
        /// What is wrong with it.
        why: String,
    },
    /// The hub will not have any of it: mend the request, the grant or the topic.
    Refused {
        /// What it said.
        why: String,
    },
    /// Patience is at its end. Some may be held.
    GaveUp {
        /// What went wrong last.
        why: String,
    },
    /// A later epoch of this producer has begun elsewhere: whoever sends this must stop.
    Replaced {
        /// What the hub said.
        why: String,
    },
    /// With a given numbering: the hub expects another number. It has forgotten the producer, or lost events, or
    /// the numbers are wrong.
    OutOfOrder {
        /// What would be next; 0 for a producer that is not known.
        expected: u64,
        /// What was sent.
        sent: u64,
    },
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Item { item, why } => write!(f, "event {item} of the batch: {why}"),
            Self::Refused { why } | Self::GaveUp { why } | Self::Replaced { why } => f.write_str(why),
            Self::OutOfOrder { expected, sent } => {
                write!(
                    f,
                    "the hub expects event {expected} of this producer, not {sent}; begin a new epoch, or send what is missing"
                )
            }
        }
    }
}

impl Error for SendError {}

impl Producer {
    /// Settings for a producer that publishes to `url`, such as `http://127.0.0.1:4000/topics/news?event=sample`.
    pub fn builder(url: &str) -> ProducerBuilder {
        ProducerBuilder::new(url)
    }

    /// What the hub knows it by.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its present life.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The number of the next event: all before it are held.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.seq
    }

    /// Sends a batch until the hub holds all of it. An empty one is held already.
    ///
    /// If the future is dropped before it is done, some of the batch may be held. With a numbering of its own the
    /// producer begins a new epoch then; with a given one the same batch must be sent again.
    ///
    /// # Errors
    /// [`SendError`]: the hub will not have it, or patience is at its end.
    pub async fn send(&mut self, batch: &Batch) -> Result<Receipt, SendError> {
        self.deliver("text/event-stream", batch.body(), batch.len()).await
    }

    /// Sends one event whose data is `data` byte for byte; its id and type, if any, stand in the URL.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_verbatim(&mut self, data: impl Into<Bytes>) -> Result<Receipt, SendError> {
        self.deliver("text/plain; charset=utf-8", data.into(), 1).await
    }

    // Promise: a number is never given to another event than the one that may be held under it.
    async fn deliver(
        &mut self,
        content_type: &'static str,
        body: Bytes,
        events: usize,
    ) -> Result<Receipt, SendError> {
        if events == 0 {
            return Ok(Receipt { last_id: None, held: 0, retries: 0 });
        }
        if self.in_doubt && self.numbering == Numbering::Own {
            self.begin_epoch();
        }
        self.in_doubt = true;
        let began = Instant::now();
        let mut retries = 0;
        loop {
            let verdict = match self.post(content_type, body.clone()).await {
                Ok(answer) => judge(&answer, events),
                Err(why) => {
                    let place = self.uri.authority().map_or("", |authority| authority.as_str());
                    Verdict::Again {
                        after_ms: None,
                        why: format!("no answer from the hub at {place}: {why}"),
                    }
                }
            };
            let (after_ms, why) = match verdict {
                Verdict::Done { last_id, held } => {
                    if retries > 0 {
                        self.tell(Notice::Recovered);
                    }
                    self.count(events);
                    return Ok(Receipt { last_id, held, retries });
                }
                Verdict::BadItem { item, why } => {
                    self.count(item);
                    return Err(SendError::Item { item, why });
                }
                Verdict::Ahead { expected } => {
                    // A hub that does not even take the first event of an epoch would be asked forever.
                    if self.numbering == Numbering::Given || self.seq == 0 {
                        return Err(SendError::OutOfOrder { expected, sent: self.seq });
                    }
                    self.begin_epoch();
                    continue;
                }
                Verdict::Replaced { why } => return Err(SendError::Replaced { why }),
                Verdict::Never { why } => return Err(SendError::Refused { why }),
                Verdict::Again { after_ms, why } => (after_ms, why),
            };
            let wait_ms = wait_ms(retries, after_ms, random());
            let wait = Duration::from_millis(wait_ms);
            if self.patience.is_some_and(|patience| began.elapsed() + wait > patience) {
                return Err(SendError::GaveUp { why });
            }
            retries += 1;
            self.tell(Notice::Retrying { failures: retries, why: &why, after_ms: wait_ms });
            sleep(wait).await;
        }
    }

    /// So many more are held, and nothing else.
    fn count(&mut self, events: usize) {
        self.seq = self.seq.saturating_add(events as u64);
        self.in_doubt = false;
    }

    fn begin_epoch(&mut self) {
        (self.epoch, self.seq) = (self.epoch.saturating_add(1), 0);
        self.tell(Notice::NewEpoch { epoch: self.epoch });
    }

    fn tell(&mut self, notice: Notice<'_>) {
        if let Some(told) = &mut self.notice {
            told(notice);
        }
    }

    /// One attempt, or what happened to the connection, as a person would say it.
    async fn post(&mut self, content_type: &'static str, body: Bytes) -> Result<Answer, String> {
        let until = Instant::now() + ANSWER_TIMEOUT;
        let late = |_| format!("no answer within {} seconds", ANSWER_TIMEOUT.as_secs());
        let mut headers = self.headers.clone();
        if let Some(make) = &mut self.make_headers {
            let fresh = timeout_at(until, make()).await.map_err(late)?;
            let fresh = fresh.map_err(|error| innermost(error.as_ref()))?;
            fresh.keys().for_each(|name| _ = headers.remove(name));
            fresh.iter().for_each(|(name, value)| _ = headers.append(name, value.clone()));
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert("producer-id", self.id_header.clone());
        headers.insert("producer-epoch", self.epoch.into());
        headers.insert("producer-seq", self.seq.into());
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        let answer = whole_answer(self.transport.send(request));
        timeout_at(until, answer).await.unwrap_or_else(|elapsed| Err(late(elapsed)))
    }
}

/// The answer with its body, boxed: a publisher's task is `Send` only if the transport's own types stay out of it.
fn whole_answer(answering: Answering) -> BoxFuture<Result<Answer, String>> {
    Box::pin(async move {
        let response = answering.await.map_err(|error| innermost(&error))?;
        let (parts, body) = response.into_parts();
        let read = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = read.map_err(|error| innermost(error.as_ref()))?.to_bytes();
        let retry_after_s =
            parts.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let retry_after_ms = retry_after_s.map(|seconds| seconds.saturating_mul(1_000));
        Ok(Answer { status: parts.status, retry_after_ms, body })
    })
}

/// Only the innermost cause tells a person something: `Connection refused`.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

/// How long to wait before the next attempt: what the hub asks for, else a random part of a growing time, so that
/// many publishers of one hub do not come back at once.
fn wait_ms(failures: u64, asked_ms: Option<u64>, random: u64) -> u64 {
    let doublings = u32::try_from(failures).unwrap_or(u32::MAX).min(16);
    let ceiling_ms = WAIT_MS_FIRST.saturating_mul(1 << doublings).min(WAIT_MS_MAX);
    let own_ms = ceiling_ms / 4 + random % (ceiling_ms - ceiling_ms / 4);
    asked_ms.map_or(own_ms, |asked_ms| asked_ms.min(ASKED_MS_MAX).max(own_ms))
}

fn random() -> u64 {
    // Only to spread waits: without randomness they are not spread.
    getrandom::u64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_are_spread_and_have_a_bound() {
        for random in [0, 1, 12_345, u64::MAX] {
            assert!((50..=200).contains(&wait_ms(0, None, random)));
            assert!((100..=400).contains(&wait_ms(1, None, random)));
            assert!((2_500..=10_000).contains(&wait_ms(60, None, random)));
            assert!((2_500..=10_000).contains(&wait_ms(u64::MAX, None, random)));
        }
        assert_ne!(wait_ms(3, None, 1), wait_ms(3, None, 700));
        assert_eq!(wait_ms(0, Some(5_000), 0), 5_000);
        assert_eq!(wait_ms(0, Some(u64::MAX), 0), ASKED_MS_MAX);
        assert!(wait_ms(0, Some(0), 0) > 0, "a hub cannot make a busy loop");
    }

    #[test]
    fn ids_by_chance_are_visible_ascii_and_differ() {
        let build = || Producer::builder("http://127.0.0.1:1/topics/a").build().unwrap();
        let (a, b) = (build(), build());
        assert!(a.id().len() <= 256 && a.id().bytes().all(|byte| byte.is_ascii_graphic()));
        assert_ne!(a.id(), b.id());
        let bad = |url: &str, id: &str| Producer::builder(url).numbering(id, 0, 0).build().is_err();
        assert!(bad("ftp://h/", "p") && bad("h", "p") && bad("http://h/", "") && bad("http://h/", "a b"));
        assert!(!bad("https://u:p@h/topics/a?event=x#f", "p"));
    }
}
