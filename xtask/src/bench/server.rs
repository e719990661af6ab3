//! A server under load: started on its core, waited for, ended.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::report::Report;
use super::{Bench, SERVER_CORE};
use crate::{Failure, repo};

/// For how long a server may start.
const START: Duration = Duration::from_secs(20);
/// For how long it may end.
const END: Duration = Duration::from_secs(1);

pub(super) struct Server {
    child: Child,
    data: PathBuf,
    pub(super) address: String,
    /// Where events go.
    pub(super) path: &'static str,
    /// Where they come from.
    pub(super) read: &'static str,
    /// Whether that has to be made first.
    pub(super) is_created: bool,
}

/// A peer that is not installed: how it would be.
struct Absent(&'static str);

impl Server {
    /// Starts a server on a free port with an empty directory; `None` if it is not installed, which the report says.
    pub(super) fn start(
        peer: &str,
        bench: &Bench,
        more: &[&str],
        report: &mut Report,
    ) -> Result<Option<Self>, Failure> {
        let data = bench.dir.join("data");
        _ = std::fs::remove_dir_all(&data);
        std::fs::create_dir_all(&data).map_err(|error| format!("{}: {error}", data.display()))?;
        let port = free_port()?.to_string();
        let address = format!("127.0.0.1:{port}");
        let (path, read) = match peer {
            "durable-streams" => ("/v1/stream/bench", "/v1/stream/bench?offset=-1&live=sse"),
            "nchan" => ("/pub?id=bench", "/sub?id=bench"),
            _ => ("/topics/bench", "/topics/bench"),
        };
        let mut command = match command(peer, bench, &data, &port) {
            Ok(command) => command,
            Err(Absent(how)) => {
                report.absent(peer, how);
                return Ok(None);
            }
        };
        if peer == "nchan" {
            let written = std::fs::write(data.join("nginx.conf"), nchan(&address));
            written.map_err(|error| format!("nginx.conf: {error}"))?;
        }
        command.args(more);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        report.command(&command);
        let child = command.spawn().map_err(|error| format!("cannot start {peer}: {error}"))?;
        let mut server = Self { child, data, address, path, read, is_created: peer == "durable-streams" };
        server.wait(peer)?;
        Ok(Some(server))
    }

    /// Its process: `taskset` becomes the program that it starts.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
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
        // nginx has children, which a kill would leave behind.
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").arg(&pid).status().is_ok_and(|status| status.success());
        let begun = Instant::now();
        while asked && begun.elapsed() < END && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        // It may have ended by itself.
        _ = self.child.kill();
        _ = self.child.wait();
        _ = std::fs::remove_dir_all(&self.data);
    }
}

fn command(peer: &str, bench: &Bench, data: &Path, port: &str) -> Result<Command, Absent> {
    let ours = |name: &str| pinned(SERVER_CORE, &bench.program(name));
    let node = |script: &str| {
        let node = find("node").ok_or(Absent("Node 20 or newer is needed"))?;
        let mut command = pinned(SERVER_CORE, &node);
        command.arg(bench.root.join("bench/peers").join(script)).arg(port);
        Ok(command)
    };
    let mut command = match peer {
        "tidings" => {
            let mut command = pinned(SERVER_CORE, &bench.tidings());
            command.args(["serve", "--admin", "none", "--listen", &format!("127.0.0.1:{port}"), "--data"]);
            command.arg(data);
            return Ok(command);
        }
        "axum" => ours("tidings-peer-axum"),
        "axum-synced" => {
            let mut command = ours("tidings-peer-axum");
            command.arg("--synced").arg(data.join("bodies"));
            command
        }
        "websocket" => ours("tidings-peer-websocket"),
        "bare" | "bare-each" | "bare-own" | "bare-websocket" => {
            let mut command = ours("tidings-peer-bare");
            command.args([port, peer.strip_prefix("bare-").unwrap_or("log")]);
            return Ok(command);
        }
        "node" => return node("node/sse.mjs"),
        "ws" if !bench.root.join("bench/peers/ws/node_modules/ws").exists() => {
            return Err(Absent("npm is needed, and `npm ci` in bench/peers/ws"));
        }
        "ws" => return node("ws/server.mjs"),
        "nchan" => {
            let nginx = find("nginx").filter(|_| nchan_module().is_some());
            let nginx = nginx.ok_or(Absent("on Debian: apt-get install nginx-light libnginx-mod-nchan"))?;
            let mut command = pinned(SERVER_CORE, &nginx);
            command.arg("-p").arg(data).arg("-c").arg(data.join("nginx.conf"));
            return Ok(command);
        }
        _ => {
            let program = durable_streams();
            let program = program.ok_or(Absent("cargo install durable-streams --version 0.1.5"))?;
            let mut command = pinned(SERVER_CORE, &program);
            command.args(["--port", port, "--data-dir"]).arg(data);
            return Ok(command);
        }
    };
    command.arg(port);
    Ok(command)
}

/// One worker, as all others have one core; otherwise as its documentation advises for many subscribers.
fn nchan(address: &str) -> String {
    let module = nchan_module().unwrap_or_default();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("  {name}_temp_path {name};\n"))
        .collect();
    format!(
        "load_module {module};
daemon off;
worker_processes 1;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 19000; }}
http {{
  access_log off;
  nchan_shared_memory_size 1024M;
  keepalive_requests 1000000000;
{temporary}  server {{
    listen {address} backlog=4096;
    location = /pub {{
      nchan_publisher;
      nchan_channel_id $arg_id;
      nchan_message_buffer_length 100;
      nchan_message_timeout 1h;
    }}
    location = /sub {{
      nchan_subscriber eventsource websocket;
      nchan_channel_id $arg_id;
      nchan_subscriber_first_message newest;
    }}
  }}
}}
"
    )
}

fn nchan_module() -> Option<&'static str> {
    let places =
        ["/usr/lib/nginx/modules/ngx_nchan_module.so", "/usr/lib64/nginx/modules/ngx_nchan_module.so"];
    places.into_iter().find(|place| Path::new(place).exists())
}

/// What is installed, a line each, and which commit this is.
pub(super) fn versions(root: &Path) -> String {
    let mut lines = vec![format!("commit {}", repo::commit(root).unwrap_or_default())];
    for (program, option) in [
        ("rustc", "--version"),
        ("node", "--version"),
        ("nginx", "-v"),
        ("durable-streams-server", "--version"),
    ] {
        let said = Command::new(program).arg(option).stdin(Stdio::null()).output();
        let said = said.map_or_else(
            |_| "not on the PATH".to_owned(),
            |said| {
                [said.stdout, said.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
            },
        );
        lines.push(format!("{program}: {}", said.lines().next().unwrap_or_default()));
    }
    lines.join("\n")
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

pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

fn free_port() -> Result<u16, Failure> {
    let port = || TcpListener::bind("127.0.0.1:0")?.local_addr().map(|address| address.port());
    port().map_err(|error| format!("no free port: {error}"))
}
