//! Where a shutdown stands. It only goes forward: serving, draining, stopping, ended.
//!
//! Draining: no new streams, the open ones end spread over time, publishes still go. Stopping: requests under way
//! have to end; one that streams a body in answers with what it has so far.

use tokio::sync::watch;

/// How far a shutdown is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// All is open.
    Serving,
    /// Streams are being ended.
    Draining,
    /// Nothing new is accepted.
    Stopping,
    /// Time is up: what is still open is cut.
    Ended,
}

/// The stage, to be looked at and waited for.
#[derive(Debug)]
pub struct Drain(watch::Sender<Stage>);

impl Default for Drain {
    fn default() -> Self {
        Self(watch::Sender::new(Stage::Serving))
    }
}

impl Drain {
    /// The present stage.
    pub fn stage(&self) -> Stage {
        *self.0.borrow()
    }

    /// Whether streams are being ended or already are.
    pub fn is_draining(&self) -> bool {
        self.stage() >= Stage::Draining
    }

    /// Waits until a stage is reached; at once if it is. Cancel-safe.
    pub async fn reached(&self, stage: Stage) {
        let mut stages = self.0.subscribe();
        // The sender lives in `self`: it cannot be gone while this waits.
        _ = stages.wait_for(|now| *now >= stage).await;
    }

    /// Waits until requests under way have to end: a handler that reads a body for hours watches this beside it.
    pub async fn stopping(&self) {
        self.reached(Stage::Stopping).await;
    }

    /// Goes on to a stage; never back.
    pub(crate) fn advance(&self, stage: Stage) {
        self.0.send_if_modified(|now| {
            let further = stage > *now;
            *now = stage.max(*now);
            further
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stages_only_go_forward_and_can_be_waited_for() {
        let drain = Drain::default();
        drain.reached(Stage::Serving).await;
        assert!(!drain.is_draining());
        drain.advance(Stage::Stopping);
        drain.advance(Stage::Draining);
        assert_eq!(drain.stage(), Stage::Stopping);
        drain.stopping().await;
    }
}
