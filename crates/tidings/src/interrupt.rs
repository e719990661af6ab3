//! SIGINT and SIGTERM: the first asks for an orderly end, the second ends at once.

use tokio::sync::watch;

use crate::failure::{Failure, say};

/// What shells report for a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Knows whether the end was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Listens from now on. `on_first` is told to whoever interrupts, since an orderly end may take a while.
    ///
    /// # Errors
    /// The system does not let the program listen to signals.
    pub(crate) fn listen(on_first: &'static str) -> Result<Self, Failure> {
        let (asked, receiver) = watch::channel(false);
        let mut signals = Signals::new().map_err(|error| Failure::new(format!("no signals: {error}")))?;
        tokio::spawn(async move {
            signals.next().await;
            say(on_first);
            // Nobody may be waiting any more; the second signal still ends the process.
            let _ = asked.send(true);
            signals.next().await;
            std::process::exit(INTERRUPTED);
        });
        Ok(Self(receiver))
    }

    /// Waits until the end is asked for; at once if it was. Cancel-safe.
    pub(crate) async fn asked(&mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            // The listener is gone with its runtime: nothing will be asked any more.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
