//! A stream that runs: one task, which reads the source, sends callbacks and obeys commands.
//! **Invariant:** after [`Stream::stop`] nothing is sent any more.

use futures_util::StreamExt as _;
use tidings_client::{Disconnect, EventSource, SourceError, SourceEvent};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::callbacks::{Callback, Callbacks};
use crate::params::{Command, Order};

/// Commands that may wait while a callback is on its way.
const COMMANDS_MAX: usize = 64;

/// A handle to it.
#[derive(Debug)]
pub(crate) struct Stream {
    commands: mpsc::Sender<Command>,
    task: JoinHandle<()>,
}

impl Stream {
    pub(crate) fn start(order: Order) -> Self {
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let Order { source, callback_url, tag } = order;
        let callbacks = Callbacks::new(callback_url);
        let task = tokio::spawn(async move {
            if let Err(error) = follow(source, callbacks, received).await {
                eprintln!("{tag}: {error}");
            }
        });
        Self { commands, task }
    }

    /// Hands on a command. A stream that is over takes it and does nothing.
    pub(crate) fn commands(&self) -> mpsc::Sender<Command> {
        self.commands.clone()
    }

    pub(crate) async fn stop(self) {
        self.task.abort();
        // It ends at its next await; that it was stopped is what we want to hear.
        _ = self.task.await;
    }
}

async fn follow(
    mut source: EventSource,
    mut callbacks: Callbacks,
    mut commands: mpsc::Receiver<Command>,
) -> Result<(), String> {
    loop {
        let told = tokio::select! {
            biased;
            Some(command) = commands.recv() => {
                if command == Command::Restart {
                    source.reconnect_now();
                }
                continue;
            }
            told = source.next() => told,
        };
        let Some(told) = told else { return Ok(()) };
        if let Some(callback) = callback(told) {
            callbacks.send(&callback).await?;
        }
    }
}

/// What the harness hears of it. As in a browser, every loss of a connection is an `error`, but the one that was asked
/// for; so is an end for good.
fn callback(told: Result<SourceEvent, SourceError>) -> Option<Callback> {
    match told {
        Ok(SourceEvent::Message(message)) => Some(Callback::event(&message)),
        Ok(SourceEvent::Comment(comment)) => Some(Callback::Comment { comment }),
        Ok(SourceEvent::Reconnecting { cause: Disconnect::Requested, .. }) => None,
        Ok(SourceEvent::Reconnecting { cause, .. }) => Some(Callback::error(cause.to_string())),
        Ok(SourceEvent::Ended) => Some(Callback::error("the server ended the stream for good".to_owned())),
        Err(error) => Some(Callback::error(error.to_string())),
        Ok(_) => None,
    }
}
