//! Submissions on their way through the writer: their size, their parts, and what they are answered when a
//! batch did not come to be.

use tidings_hub::Once;
use tidings_hub::ports::{Op, Outcome, Refusal, Submission};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::answer::Asker;

/// An upper bound for what a record has beside its texts and data.
const OVERHEAD_BYTES: usize = 64;
/// More than this many topics are not stored.
const TOPICS_MAX: usize = u16::MAX as usize;

/// Who waits for outcomes; `None` for what the writer asks of itself.
pub(crate) type Answer = Option<Asker>;

/// What the writer is asked.
pub(crate) enum Msg {
    Submit(Job),
    Tick,
    /// The keeper has something to report: a wake-up.
    Kept,
    Shutdown(oneshot::Sender<()>),
}

/// A submission and who waits for it.
pub(crate) struct Job {
    pub(crate) submission: Submission,
    /// As [`submission_bytes`] counts.
    pub(crate) bytes: usize,
    pub(crate) answer: Answer,
    /// Its share of the queue's bytes; free again when the writer takes it.
    pub(crate) share: Option<OwnedSemaphorePermit>,
}

impl Job {
    pub(crate) fn new(submission: Submission, answer: Answer) -> Self {
        let bytes = submission_bytes(&submission);
        Self { submission, bytes, answer, share: None }
    }
}

/// A submission (or its last part) that is in the present batch.
pub(crate) struct Pending {
    pub(crate) answer: Answer,
    pub(crate) outcomes: Vec<Outcome>,
    /// From here on outcomes depend on the present batch; those before it are durable.
    pub(crate) from: usize,
    /// How many operations there were.
    pub(crate) total: usize,
    pub(crate) atomic: bool,
}

impl Pending {
    /// The batch is durable and visible.
    pub(crate) fn succeed(self) {
        send(self.answer, self.outcomes);
    }

    /// The batch did not come to be, and its changes were taken back.
    pub(crate) fn fail(mut self, refusal: &Refusal) {
        self.outcomes.truncate(self.from);
        refuse(&mut self.outcomes, self.total, self.atomic, refusal.clone());
        send(self.answer, self.outcomes);
    }
}

/// Fills up with a refusal and what follows from it.
pub(crate) fn refuse(outcomes: &mut Vec<Outcome>, total: usize, atomic: bool, refusal: Refusal) {
    if outcomes.len() < total {
        outcomes.push(Outcome::Refused(refusal.clone()));
    }
    let rest = if atomic { Outcome::Refused(refusal) } else { Outcome::Skipped };
    outcomes.resize(total.max(outcomes.len()), rest);
}

/// All operations of a submission refused.
pub(crate) fn all_refused(submission: &Submission, refusal: Refusal) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(submission.ops.len());
    refuse(&mut outcomes, submission.ops.len(), submission.atomic, refusal);
    outcomes
}

/// Answers. Whoever went away does not take back what was submitted.
pub(crate) fn send(answer: Answer, outcomes: Vec<Outcome>) {
    if let Some(answer) = answer {
        answer.answer(outcomes);
    }
}

/// At least what the record of an operation will have, in bytes; `usize::MAX` for what no record can hold.
pub(crate) fn op_bytes(op: &Op) -> usize {
    match op {
        Op::Publish(publish) => {
            let texts = [
                publish.id.as_ref().map_or(0, |id| id.as_str().len()),
                publish.event.as_ref().map_or(0, |name| name.as_str().len()),
                publish.once.as_ref().map_or(0, |once| match once {
                    Once::Item(item) => item.key.len(),
                    Once::Producer(producer) => producer.id.len(),
                }),
            ];
            let key_fits = texts[2] <= usize::from(u16::MAX);
            if publish.topics.len() > TOPICS_MAX || !key_fits {
                return usize::MAX;
            }
            let topics: usize = publish.topics.iter().map(|topic| 2 + topic.as_str().len()).sum();
            OVERHEAD_BYTES + topics + texts.iter().sum::<usize>() + publish.data.len()
        }
        Op::Configure { topic, config } => OVERHEAD_BYTES + topic.as_str().len() + config.content_type.len(),
        Op::Close { topic } | Op::Delete { topic } | Op::Trim { topic, .. } => {
            OVERHEAD_BYTES + topic.as_str().len()
        }
    }
}

/// At least what the records of a submission will have.
fn submission_bytes(submission: &Submission) -> usize {
    submission.ops.iter().fold(0, |sum, op| op_bytes(op).saturating_add(sum))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use tidings_hub::fold::Fold;
    use tidings_hub::judge::Judge;
    use tidings_hub::keys::{KeyWindow, Keys};
    use tidings_hub::ports::Publish;
    use tidings_hub::{
        Epoch, Epochs, EventId, EventName, ItemKey, Producer, Retention, Seq, TopicConfig, TopicName,
    };

    use super::*;
    use crate::frame::encode_record;

    #[test]
    fn no_record_is_longer_than_its_operation_was_counted() {
        let name = |text: &str| TopicName::parse(text).unwrap();
        let bare = Publish::bytes([name("a")].into_iter().collect(), Bytes::from_static(b"data"));
        let full = Publish {
            topics: ["a", "b/c", "ü"].into_iter().map(name).collect(),
            id: EventId::parse("id").ok(),
            event: EventName::parse("named").ok(),
            retry_ms: Some(5),
            once: Some(Once::Item(ItemKey { key: "key".into(), index: 0 })),
            ..bare.clone()
        };
        let producer = Producer { id: "id".into(), epoch: 1, seq: 0 };
        let numbered = Publish { once: Some(Once::Producer(producer)), ..full.clone() };
        let retention = Retention { age_ms: Some(1), bytes: Some(2), count: Some(3), keep_last: true };
        let config = TopicConfig { retention, ..TopicConfig::default() };
        let ops = [
            Op::Publish(bare),
            Op::Publish(full),
            Op::Publish(numbered),
            Op::Configure { topic: name("t"), config },
            Op::Trim { topic: name("a"), through: Seq(1) },
            Op::Close { topic: name("a") },
            Op::Delete { topic: name("a") },
        ];
        let keys = Keys::new(KeyWindow::default());
        let mut judge = Judge::new(Fold::default(), keys, Arc::new(Epochs::first(Epoch(1))), Seq::ZERO);
        for op in ops {
            let (bytes, said) = (op_bytes(&op), format!("{op:?}"));
            let mut records = Vec::new();
            drop(judge.judge(Submission { ops: vec![op], atomic: true, time_ms: 1 }, &mut records));
            assert_eq!(records.len(), 1, "{said}");
            let mut frame = Vec::new();
            encode_record(&mut crate::frame::Seed::of(1), &records[0], &mut frame);
            assert!(frame.len() <= bytes, "{} > {bytes}: {said}", frame.len());
        }
    }
}
