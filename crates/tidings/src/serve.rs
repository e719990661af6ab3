//! `tidings serve`: opens the log, the hub and the server, and runs them until it is told to end.

mod logging;
mod wiring;

use std::sync::Arc;

use clap::{ArgMatches, Command};
use tidings_hub::ports::{Clock, Durability, Log};
use tidings_hub::{Hub, SystemClock};
use tidings_log::{EmbeddedLog, MemoryLog};
use tidings_server::{GateConfig, Server, ServerError, TlsConfig, raise_descriptor_limit};

use crate::cli;
use crate::failure::{Failure, say};
use crate::interrupt::Interrupt;
use crate::settings::Configuration;

/// The command; its flags are the settings.
pub(crate) fn command() -> Command {
    let command = Command::new("serve").about("Run a hub").long_about(
        "Run a hub.\n\n\
         Each flag is also an environment variable and a key of the TOML file that --config names; flag wins over \
         variable over file. Says on standard error where it listens. SIGTERM and SIGINT end it in good order, a \
         second one at once.",
    );
    cli::with_settings(command, &[])
}

/// Does it.
///
/// # Errors
/// Why the hub cannot be, in one line that says what to do.
pub(crate) async fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let configuration = cli::configuration(matches, &[])?;
    let (_, server) = open(&configuration)?;
    announce(&server);
    until_interrupted(server).await
}

/// A hub on its log, and a server that is bound and does not serve yet.
///
/// # Errors
/// As [`run`].
pub(crate) fn open(configuration: &Configuration) -> Result<(Hub, Server), Failure> {
    open_with(configuration, |_| {})
}

/// The same with a gate that is altered after it was asked whether it may be exposed.
///
/// # Errors
/// As [`run`].
pub(crate) fn open_with(
    configuration: &Configuration,
    alter: impl FnOnce(&mut GateConfig),
) -> Result<(Hub, Server), Failure> {
    logging::begin(&configuration.settings)?;
    raise_descriptor_limit();
    let mut server = wiring::server(configuration);
    // Before anything is opened: a refusal should leave no trace.
    for address in server.listen.iter().copied().chain(server.admin) {
        if let Err(error) = server.gate.check_exposure(address) {
            return Err(Failure::usage(format!("{error}. {}", wiring::EXPOSED_ADVICE)));
        }
    }
    alter(&mut server.gate);
    let hub = open_hub(configuration)?;
    if let Some(TlsConfig::SelfSigned { dir: Some(dir), .. }) = &server.tls {
        std::fs::create_dir_all(dir).map_err(|error| {
            Failure::new(format!(
                "the directory {} for the certificate cannot be made: {error}",
                dir.display()
            ))
        })?;
    }
    hub.spawn_ticks().map_err(|error| Failure::new(format!("the system gives no thread: {error}")))?;
    let server = Server::bind(server, hub.clone()).map_err(|error| match &error {
        ServerError::Gate(_) => Failure::usage(crate::failure::chain(&error)),
        _ => Failure::of(&error),
    })?;
    Ok((hub, server))
}

fn open_hub(configuration: &Configuration) -> Result<Hub, Failure> {
    let settings = &configuration.settings;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let (limits, ephemeral) = (wiring::limits(settings), wiring::ephemeral(settings));
    let config = wiring::log(settings);
    let log: Arc<dyn Log> = if settings.durability.value == Durability::Memory {
        Arc::new(MemoryLog::open(Arc::clone(&clock), config).map_err(|error| Failure::of(&error))?)
    } else {
        let log = EmbeddedLog::open_dir(&settings.data.value, Arc::clone(&clock), config);
        Arc::new(log.map_err(|error| Failure::of(&error))?)
    };
    Hub::open_with(log, clock, limits, ephemeral).map_err(|error| Failure::of(&error))
}

/// Says where clients find the hub. Whoever starts it may wait for these lines.
pub(crate) fn announce(server: &Server) {
    let scheme = scheme(server);
    if let Some(fingerprint) = server.fingerprint() {
        say(&format!("the certificate's SHA-256 is {fingerprint}"));
    }
    for address in server.local_addrs() {
        say(&format!("listening on {scheme}://{address}"));
    }
    if let Some(address) = server.admin_addr() {
        say(&format!("admin on http://{address}"));
    }
}

/// `http` or `https`.
pub(crate) fn scheme(server: &Server) -> &'static str {
    if server.app().config.tls.is_some() { "https" } else { "http" }
}

/// Serves until a signal comes, then ends in good order.
///
/// # Errors
/// The system does not let the program listen to signals.
pub(crate) async fn until_interrupted(server: Server) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen("ending in good order; interrupt again to end at once")?;
    server.run(async move { interrupt.asked().await }).await;
    Ok(())
}
