//! `cargo xtask bench log`, `fanout` and `compare`: peers and we by turns in one run, and the run kept; `page`: a run's figures in
//! the docs.
//!
//! Measures nothing itself: it starts the programs of `bench/`, gathers the lines `name value unit` they print, and
//! writes what was said and a table of it. **Invariant:** a peer that is not installed is named in the result, and a
//! server that was started is ended, whatever happens.

mod chart;
mod choice;
mod compare;
mod conditions;
mod fanout;
mod load;
mod page;
mod report;
mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) use choice::Choice;
use choice::Profile;
pub(crate) use compare::run as run_compare;
pub(crate) use fanout::run as run_fanout;
pub(crate) use page::run as run_page;
use report::Report;
use server::{Server, pinned};

use crate::{Failure, repo};

/// Where the load generator runs, and the servers: one core each.
const LOAD_CORE: &str = "1";
const SERVER_CORE: &str = "0";

/// The servers that take the same publishes.
const PEERS: [&str; 4] = ["axum", "axum-synced", "durable-streams", "tidings"];

/// Runs it.
///
/// # Errors
/// If a program could not be built or started, or said that something went wrong.
pub(crate) fn run(root: &Path, choice: &Choice) -> Result<(), Failure> {
    if !choice.only.is_empty() {
        return Err("bench log measures all of it: --only is for fanout and compare".to_owned());
    }
    let bench = Bench::new(root, choice)?;
    let mut report = Report::new(root, ("log", "The log"), choice)?;
    bench.build(&mut report)?;
    for round in 1..=choice.rounds {
        report.note(&format!("round {round} of {}", choice.rounds));
        for peer in PEERS {
            bench.requests(peer, &mut report)?;
        }
        bench.stream(&mut report)?;
        for (name, options) in [
            ("append_fsync", ["--durability", "fsync", "--hub", "no"]),
            ("append_os", ["--durability", "os", "--hub", "no"]),
            ("append_fsync_hub", ["--durability", "fsync", "--hub", "yes"]),
        ] {
            let mut command = bench.log("append", &bench.dir);
            report.run(&format!("{name}/"), command.args(options))?;
        }
    }
    let large = choice.reuse.clone().unwrap_or_else(|| bench.dir.join("large"));
    if !large.join("LOCK").exists() {
        report.run("", bench.log("generate", &large).args(["--gib", &choice.gib.to_string()]))?;
    }
    report.run("", &mut bench.log("replay", &large))?;
    report.run("", &mut bench.log("start", &large))?;
    report.run("", &mut bench.log("memory", &large))?;
    report.ratio("publish durable-streams", "requests/tidings", "requests/durable-streams");
    report.ratio("publish axum", "requests/tidings", "requests/axum");
    report.ratio("publish axum synced", "requests/tidings", "requests/axum-synced");
    report.ratio("axum synced to axum", "requests/axum-synced", "requests/axum");
    report.finish()
}

struct Bench {
    root: PathBuf,
    /// What is written while it runs.
    dir: PathBuf,
    seconds: String,
    profile: Profile,
}

impl Bench {
    fn new(root: &Path, choice: &Choice) -> Result<Self, Failure> {
        let dir = choice.dir.clone().unwrap_or_else(|| root.join("target/bench-log"));
        std::fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let (seconds, profile) = (choice.seconds.to_string(), choice.profile);
        Ok(Self { root: root.to_path_buf(), dir, seconds, profile })
    }

    fn build(&self, report: &mut Report) -> Result<(), Failure> {
        let cargo = || {
            let mut command = Command::new(repo::cargo());
            command.args(["build", "--quiet", "--profile", self.profile.name()]);
            command
        };
        report.run("", cargo().args(["-p", "tidings", "-p", "tidings-history"]).current_dir(&self.root))?;
        report.run("", cargo().current_dir(self.root.join("bench")))?;
        for alone in ["load", "websocket"] {
            let mut command = cargo();
            command.args(["--target-dir", "../../target"]);
            report.run("", command.current_dir(self.root.join("bench/peers").join(alone)))?;
        }
        let peer = self.root.join("bench/peers/ws");
        if server::find("npm").is_some() && !peer.join("node_modules/ws").exists() {
            report.run(
                "",
                Command::new("npm").args(["ci", "--silent", "--ignore-scripts"]).current_dir(peer),
            )?;
        }
        report.note(&server::versions(&self.root));
        Ok(())
    }

    /// Our binary.
    fn tidings(&self) -> PathBuf {
        self.root.join("target").join(self.profile.dir()).join("tidings")
    }

    /// A directory for what a load writes down.
    fn new_trace(&self) -> Result<PathBuf, Failure> {
        let trace = self.dir.join("trace");
        _ = std::fs::remove_dir_all(&trace);
        std::fs::create_dir_all(&trace).map_err(|error| format!("{}: {error}", trace.display()))?;
        Ok(trace)
    }

    /// Each of the streams that were written down had what was published, in order and once: not by the load's own word.
    fn judge(&self, name: &str, report: &mut Report) -> Result<(), Failure> {
        let judge = self.root.join("target").join(self.profile.dir()).join("tidings-judge");
        report.run(&format!("{name} "), Command::new(judge).arg(self.dir.join("trace")))
    }

    /// A program of `bench/`.
    fn program(&self, name: &str) -> PathBuf {
        self.root.join("bench/target").join(self.profile.dir()).join(name)
    }

    fn log(&self, what: &str, dir: &Path) -> Command {
        let mut command = Command::new(self.program("tidings-bench-log"));
        command.arg(what).arg("--dir").arg(dir);
        command
    }

    fn load(&self, what: &str, server: &Server) -> Command {
        let mut command = pinned(LOAD_CORE, &self.program("tidings-bench-publish"));
        command.args([what, "--to", &server.address, "--path", server.path]);
        command
    }

    fn requests(&self, peer: &str, report: &mut Report) -> Result<(), Failure> {
        let Some(server) = Server::start(peer, self, &[], report)? else {
            return Ok(());
        };
        let mut load = self.load("requests", &server);
        load.args(["--seconds", &self.seconds]);
        if server.is_created {
            load.args(["--create", "yes"]);
        }
        report.run_as(peer, &mut load)
    }

    fn stream(&self, report: &mut Report) -> Result<(), Failure> {
        match Server::start("tidings", self, &[], report)? {
            Some(server) => report.run("", &mut self.load("stream", &server)),
            None => Ok(()),
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // What a run wrote is large. A log that shall be used again stands elsewhere.
        _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// What a program says on standard output; its errors go to ours.
fn said(command: &mut Command) -> Result<String, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("cannot start {name}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(text) } else { Err(format!("{name} ended with {}", output.status)) }
}
