//! The real binary as a process, and just enough HTTP to talk to it: what the tests of this crate share.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test target uses a part of it; a test ends where it is surprised"
)]

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A hub that can be killed and started again at the same address, over the same directory.
pub(crate) struct HubProcess {
    child: Child,
    pub(crate) addr: SocketAddr,
    pub(crate) admin: SocketAddr,
    data: PathBuf,
    args: Vec<String>,
}

/// In place of an argument: the next one is the process's limit of open descriptors.
pub(crate) const DESCRIPTORS_MAX: &str = "ulimit -n";

impl HubProcess {
    /// Starts `tidings serve` over `data` and waits until it listens.
    pub(crate) fn start(data: &Path, args: &[&str]) -> Self {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let (child, addr, admin) = spawn(data, &args, "127.0.0.1:0");
        Self { child, addr, admin, data: data.to_owned(), args }
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end (SIGTERM) and waits for it.
    pub(crate) fn stop(&mut self) -> std::process::ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }

    /// Starts it again at the same address, and does not wait for anything.
    pub(crate) fn restart_unheard(&mut self) {
        let mut command = command(&self.data, &self.args, &self.addr.to_string());
        self.child = command.stderr(Stdio::null()).spawn().unwrap();
    }

    /// Starts it again at the same address.
    pub(crate) fn restart(&mut self) {
        let (child, addr, admin) = spawn(&self.data, &self.args, &self.addr.to_string());
        assert_eq!(addr, self.addr);
        (self.child, self.admin) = (child, admin);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(crate) async fn post(&self, path: &str, headers: &str, body: &[u8]) -> std::io::Result<Response> {
        request(self.addr, "POST", path, headers, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> std::io::Result<Response> {
        request(self.addr, "GET", path, "", b"").await
    }
}

impl Drop for HubProcess {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn spawn(data: &Path, args: &[String], listen: &str) -> (Child, SocketAddr, SocketAddr) {
    let mut child = command(data, args, listen).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let (mut addr, mut admin) = (None, None);
    let mut said = Vec::new();
    while addr.is_none() || admin.is_none() {
        let Some(Ok(line)) = lines.next() else {
            panic!("the hub ended before it listened:\n{}", said.join("\n"))
        };
        let at = |prefix: &str| line.strip_prefix(prefix)?.trim().parse::<SocketAddr>().ok();
        addr = at("tidings: listening on http://").or(addr);
        admin = at("tidings: admin on http://").or(admin);
        said.push(line);
    }
    // What it says later must not block it.
    std::thread::spawn(move || lines.for_each(|line| eprintln!("hub: {}", line.unwrap_or_default())));
    (child, addr.unwrap(), admin.unwrap())
}

fn command(data: &Path, args: &[String], listen: &str) -> Command {
    let (mut command, args) = match args {
        [limit, count, args @ ..] if limit == DESCRIPTORS_MAX => {
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(format!("ulimit -n {count} && exec \"$0\" \"$@\""));
            shell.arg(env!("CARGO_BIN_EXE_tidings"));
            (shell, args)
        }
        args => (Command::new(env!("CARGO_BIN_EXE_tidings")), args),
    };
    command.args(["serve", "--listen", listen, "--admin", "127.0.0.1:0", "--data"]).arg(data).args(args);
    command
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

/// One request on a connection of its own.
pub(crate) async fn request(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> std::io::Result<Response> {
    let mut connection = TcpStream::connect(addr).await?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    connection.write_all(head.as_bytes()).await?;
    connection.write_all(body).await?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await?;
    let broken = || std::io::Error::other("the answer broke off");
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").ok_or_else(broken)?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(broken)?;
    let body = answer.split_off(end + 4);
    let told = head
        .lines()
        .find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    if told.is_some_and(|told: usize| told != body.len()) {
        return Err(broken());
    }
    Ok(Response { status, head, body })
}

/// Posts until it is answered with success, under one key, so that nothing is doubled.
pub(crate) async fn post_surely(
    addr: SocketAddr,
    path: &str,
    content_type: &str,
    key: &str,
    body: &[u8],
) -> Response {
    let headers = format!("Content-Type: {content_type}\r\nIdempotency-Key: {key}\r\n");
    loop {
        match request(addr, "POST", path, &headers, body).await {
            Ok(response) if response.status == 200 => return response,
            Ok(response) if response.status < 500 => panic!("refused: {response:?}"),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Numbers from a seed (no test depends on which).
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}
