//! `tidings demo`: a hub with real sources, and pages of its own that show them.

mod answers;
mod exchange;
mod jobs;
mod monitor;
mod pages;
mod scores;
mod sources;
mod stage;
mod users;

use clap::{ArgMatches, Command};
use tidings_server::Server;

use crate::cli::{self, Defaults};
use crate::failure::{Failure, say};
use crate::serve;
use users::Users;

/// A demo is not to fill a disk, nor to mix with a hub's own data.
const DEFAULTS: Defaults = &[("data", "./tidings-demo"), ("retention_bytes", "32MiB")];

/// The command; its flags are those of `serve`.
pub(crate) fn command() -> Command {
    let command = Command::new("demo").about("Run a hub with live sources and pages that show them").long_about(
        "Run a hub with live sources and pages that show them.\n\n\
         Takes the flags of `serve`, with a smaller history in a directory of its own. Publishes on topics under \
         `demo/`; the page at / lists all pages. Unless you configure keys or what everybody may do, everybody may use \
         topics whose names have up to three parts; the inboxes of the notifications page have four, and a key each.",
    );
    cli::with_settings(command, DEFAULTS)
}

/// Does it.
///
/// # Errors
/// As `serve`.
pub(crate) async fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let configuration = cli::configuration(matches, DEFAULTS)?;
    let users = Users::draw()?;
    let mut console = None;
    let (hub, server) = serve::open_with(&configuration, |gate| console = users.admit(gate))?;
    let server = server.router_extra(pages::router().merge(users.router()));
    serve::announce(&server);
    invite(&server, console);
    sources::spawn(&hub, server.app());
    serve::until_interrupted(server).await
}

/// Says what to open and what to type.
fn invite(server: &Server, console: Option<String>) {
    let Some(address) = server.local_addrs().first() else { return };
    let scheme = serve::scheme(server);
    // An address that means "all of them" is none to open.
    let host = match address.ip() {
        ip if ip.is_unspecified() => "localhost".to_owned(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    let base = format!("{scheme}://{host}:{}", address.port());
    say(&format!("open {base}/ in a browser; it lists the demos"));
    let insecure = if scheme == "https" { "-k " } else { "" };
    say(&format!("and publish from another terminal: curl {insecure}-d 'hello' {base}/topics/news"));
    if let (Some(address), Some(key)) = (server.admin_addr(), console) {
        say(&format!(
            "the console is at http://{address}/; its key, for everybody's connections and settings: {key}"
        ));
    }
}
