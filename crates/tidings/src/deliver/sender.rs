//! One body to the hub, until it is held there: the same bytes under the same key, however often it takes.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use url::Url;

use super::verdict::{Verdict, judge};
use crate::failure::{Failure, say};
use crate::remote::Remote;

/// The first wait, doubled with each failure in a row.
const WAIT_MS_FIRST: u64 = 200;
/// The longest wait of our own choosing.
const WAIT_MS_MAX: u64 = 10_000;
/// The longest wait that a hub may ask for.
const ASKED_MS_MAX: u64 = 60_000;

/// Sends bodies to one URL of a hub.
#[derive(Clone)]
pub(crate) struct Sender {
    remote: Remote,
    url: Url,
    content_type: &'static str,
    /// For how long a body is tried; `None`: forever.
    patience: Option<Duration>,
}

/// A body that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// The id of its last event, as readers see it.
    pub(crate) last_id: Option<String>,
    /// Events that an earlier attempt had delivered although its answer was lost.
    pub(crate) held: u64,
    /// Attempts beyond the first.
    pub(crate) retries: u64,
}

/// A body that is not held, or not whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The event at this index will never be taken; those before it are held.
    Item {
        /// From 0.
        item: usize,
        /// What is wrong with it.
        why: String,
    },
    /// There is no point in going on.
    All(Failure),
}

impl Sender {
    /// A sender of bodies of one type.
    pub(crate) fn new(
        remote: Remote,
        url: Url,
        content_type: &'static str,
        patience: Option<Duration>,
    ) -> Self {
        Self { remote, url, content_type, patience }
    }

    /// Sends `body`, which holds so many events.
    ///
    /// # Errors
    /// [`Refused`]: the hub will not have it, or patience is at its end.
    // Promise: a key is used for one body only, and a body is sent under one key only.
    pub(crate) async fn send(&self, body: Bytes, events: usize) -> Result<Receipt, Refused> {
        let key = random_key().map_err(Refused::All)?;
        let began = Instant::now();
        let mut retries = 0;
        loop {
            let answer = self.remote.post(&self.url, self.content_type, &key, body.clone()).await;
            let verdict = match answer {
                Ok(answer) => judge(&answer, events),
                Err(why) => Verdict::Again {
                    after_ms: None,
                    why: format!("no answer from the hub at {}: {why}", self.remote.place()),
                },
            };
            let (after_ms, why) = match verdict {
                Verdict::Done { last_id, held } => {
                    if retries > 0 {
                        say("the hub answers again");
                    }
                    return Ok(Receipt { last_id, held, retries });
                }
                Verdict::BadItem { item, why } => return Err(Refused::Item { item, why }),
                Verdict::Never { why } => return Err(Refused::All(Failure::new(why))),
                Verdict::Again { after_ms, why } => (after_ms, why),
            };
            let wait_ms = wait_ms(retries, after_ms, random());
            let wait = Duration::from_millis(wait_ms);
            if self.patience.is_some_and(|patience| began.elapsed() + wait > patience) {
                return Err(Refused::All(Failure::new(why)));
            }
            if retries == 0 {
                let until = if self.patience.is_some() { "" } else { " until it works" };
                say(&format!("{why}; trying again{until}"));
            }
            retries += 1;
            sleep(wait).await;
        }
    }
}

/// How long to wait before the next attempt: what the hub asks for, else a random part of a growing time, so that
/// many publishers of one hub do not come back at once.
fn wait_ms(failures: u64, asked_ms: Option<u64>, random: u64) -> u64 {
    let doublings = u32::try_from(failures).unwrap_or(u32::MAX).min(16);
    let ceiling_ms = WAIT_MS_FIRST.saturating_mul(1 << doublings).min(WAIT_MS_MAX);
    let own_ms = ceiling_ms / 4 + random % (ceiling_ms - ceiling_ms / 4);
    asked_ms.map_or(own_ms, |asked_ms| asked_ms.min(ASKED_MS_MAX).max(own_ms))
}

/// 128 random bits: no two bodies in the world share a key.
fn random_key() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Failure::new(format!("no randomness: {error}")))?;
    Ok(bytes.iter().fold("tidings-".to_owned(), |key, byte| key + &format!("{byte:02x}")))
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
    fn keys_are_visible_ascii_and_differ() {
        let (a, b) = (random_key().unwrap(), random_key().unwrap());
        assert!(a.len() <= 256 && a.bytes().all(|byte| byte.is_ascii_graphic()));
        assert_ne!(a, b);
    }
}
