//! A case of `bench/peers/load`: a fresh server, and clients of one kind.

use super::server::{Server, pinned};
use super::{Bench, LOAD_CORE, Report, fanout};
use crate::Failure;

/// A server under clients of one kind.
pub(super) struct Case<'a> {
    pub(super) name: &'a str,
    pub(super) peer: &'a str,
    /// Its arguments, if it is ours.
    pub(super) more: &'a [&'a str],
    /// `sse`, `websocket`, `long`, `short` or `storm`.
    pub(super) way: &'a str,
    pub(super) load: &'a [&'a str],
}

impl Case<'_> {
    /// Measures it, and adds its figures under its name. A peer that is not here leaves none.
    pub(super) fn measure(&self, bench: &Bench, clients: u32, report: &mut Report) -> Result<(), Failure> {
        let Some(server) = Server::start(self.peer, bench, self.more, report)? else {
            return Ok(());
        };
        if server.is_created {
            fanout::create(&server)?;
        }
        let mut load = pinned(LOAD_CORE, &bench.program("tidings-peer-load"));
        load.args([self.way, "--to", &server.address, "--pid", &server.pid().to_string()]);
        load.args(["--path", server.read, "--publish", server.path, "--clients", &clients.to_string()]);
        let is_judged = self.peer == "tidings" && matches!(self.way, "sse" | "storm");
        if is_judged {
            load.arg("--trace").arg(bench.new_trace()?);
        }
        report.run(&format!("{} ", self.name), load.args(self.load))?;
        drop(server);
        if is_judged { bench.judge(self.name, report) } else { Ok(()) }
    }
}
