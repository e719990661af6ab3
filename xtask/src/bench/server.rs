//! A server under load: started on its core, waited for, ended.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::SERVER_CORE;
use super::report::Report;
use crate::Failure;

/// For how long a server may start.
const START: Duration = Duration::from_secs(20);

pub(super) struct Server {
    child: Child,
    data: PathBuf,
    pub(super) address: String,
    /// Where events go.
    pub(super) path: &'static str,
    /// Whether that has to be made first.
    pub(super) is_created: bool,
}

impl Server {
    /// Starts a server on a free port with an empty directory; `None` if it is not installed, which the report says.
    pub(super) fn start(
        peer: &str,
        root: &Path,
        dir: &Path,
        more: &[&str],
        report: &mut Report,
    ) -> Result<Option<Self>, Failure> {
        let data = dir.join("data");
        _ = std::fs::remove_dir_all(&data);
        std::fs::create_dir_all(&data).map_err(|error| format!("{}: {error}", data.display()))?;
        let port = free_port()?.to_string();
        let address = format!("127.0.0.1:{port}");
        let (mut command, path, is_created) = match peer {
            "tidings" => {
                let mut command = pinned(SERVER_CORE, &root.join("target/release/tidings"));
                command
                    .args(["serve", "--listen", &address, "--admin", "none", "--data"])
                    .arg(&data)
                    .args(more);
                (command, "/topics/bench", false)
            }
            "axum" => {
                let mut command = pinned(SERVER_CORE, &root.join("bench/target/release/tidings-peer-axum"));
                command.arg(&port);
                (command, "/topics/bench", false)
            }
            "bare" | "bare-each" => {
                let mut command = pinned(SERVER_CORE, &root.join("bench/target/release/tidings-peer-bare"));
                command.arg(&port).arg(if peer == "bare" { "log" } else { "each" });
                (command, "/topics/bench", false)
            }
            _ => {
                let Some(program) = durable_streams() else {
                    report.note("durable-streams-server is not on the PATH: cargo install durable-streams --version 0.1.5");
                    return Ok(None);
                };
                let mut command = pinned(SERVER_CORE, &program);
                command.args(["--port", &port, "--data-dir"]).arg(&data);
                (command, "/v1/stream/bench", true)
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        report.command(&command);
        let child = command.spawn().map_err(|error| format!("cannot start {peer}: {error}"))?;
        let mut server = Self { child, data, address, path, is_created };
        server.wait(peer)?;
        Ok(Some(server))
    }

    fn wait(&mut self, peer: &str) -> Result<(), Failure> {
        let begun = Instant::now();
        while TcpStream::connect(&self.address).is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("{peer} ended with {status} before it listened"));
            }
            if begun.elapsed() > START {
                return Err(format!("{peer} does not listen"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.child.kill();
        _ = self.child.wait();
        _ = std::fs::remove_dir_all(&self.data);
    }
}

/// A program on one core, where `taskset` is there to say so.
pub(super) fn pinned(core: &str, program: &Path) -> Command {
    if find("taskset").is_none() {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(program);
    command
}

/// Not named like a setting: the hub refuses to start beside a variable `TIDINGS_…` that it does not know.
fn durable_streams() -> Option<PathBuf> {
    std::env::var_os("DURABLE_STREAMS_SERVER").map(PathBuf::from).or_else(|| find("durable-streams-server"))
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

fn free_port() -> Result<u16, Failure> {
    let port = || TcpListener::bind("127.0.0.1:0")?.local_addr().map(|address| address.port());
    port().map_err(|error| format!("no free port: {error}"))
}
