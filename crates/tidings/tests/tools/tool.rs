//! The real binary as a client: what it is given, what it prints, how it ends.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::process::HubProcess;

/// Long enough for a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `tidings`.
pub(crate) struct Tool {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Receiver<String>,
    stderr: Arc<Mutex<String>>,
}

/// How a `tidings` ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: String,
}

impl Tool {
    /// Starts it for a hub, with standard input open.
    pub(crate) fn start(hub: &HubProcess, args: &[&str]) -> Self {
        Self::start_with(args, &[("TIDINGS_URL", &hub.url(""))])
    }

    /// Starts it with variables of the environment.
    pub(crate) fn start_with(args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .args(args)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = child.stdout.take().unwrap();
        let (lines, stdout) = sync_channel(100_000);
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                // A test that wants no more lets go: then the pipe closes, as `head` does.
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        let mut err = child.stderr.take().unwrap();
        let stderr = Arc::new(Mutex::new(String::new()));
        let said = Arc::clone(&stderr);
        std::thread::spawn(move || {
            let mut chunk = [0; 4_096];
            while let Ok(length @ 1..) = err.read(&mut chunk) {
                said.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..length]));
            }
        });
        Self { stdin: child.stdin.take(), child, stdout, stderr }
    }

    /// Runs it to its end, without input.
    pub(crate) fn run(hub: &HubProcess, args: &[&str]) -> Ended {
        Self::start(hub, args).end()
    }

    /// Runs it to its end, with this input.
    pub(crate) fn run_with_input(hub: &HubProcess, args: &[&str], input: &[u8]) -> Ended {
        let mut tool = Self::start(hub, args);
        tool.write(input);
        tool.end()
    }

    /// Gives it bytes on standard input; it may have ended already.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if let Some(stdin) = &mut self.stdin {
            let _ = stdin.write_all(bytes).and_then(|()| stdin.flush());
        }
    }

    /// The next line that it prints.
    pub(crate) fn line(&self) -> String {
        match self.stdout.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(error) => panic!("no line ({error}); it said:\n{}", self.said()),
        }
    }

    /// Whether it prints nothing for a while.
    pub(crate) fn is_silent(&self, for_ms: u64) -> bool {
        self.stdout.recv_timeout(Duration::from_millis(for_ms)) == Err(RecvTimeoutError::Timeout)
    }

    /// What it said on standard error so far.
    pub(crate) fn said(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Waits until it has said something.
    pub(crate) fn until_said(&self, text: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.said().contains(text) {
            assert!(Instant::now() < until, "never said {text:?}, but:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends its input and waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        self.stdin = None;
        let status = self.wait();
        // What it printed last is still on its way through the thread.
        let mut stdout = Vec::new();
        while let Ok(line) = self.stdout.recv_timeout(PATIENCE) {
            stdout.push(line);
        }
        std::thread::sleep(Duration::from_millis(20));
        Ended { code: status.code(), stdout, stderr: self.said() }
    }

    fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end; it said:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Ended {
    /// That it ended well; gives what it printed.
    #[track_caller]
    pub(crate) fn well(self) -> Vec<String> {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// That it ended with a code and a message.
    #[track_caller]
    pub(crate) fn badly(&self, code: i32, message: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.stderr.contains(message), "should say {message:?}: {self:?}");
    }
}

/// All events of a topic, oldest first.
pub(crate) fn history(hub: &HubProcess, topic: &str) -> Vec<serde_json::Value> {
    let lines = Tool::run(hub, &["sub", topic, "--no-follow", "--json"]).well();
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The data of all events of a topic.
pub(crate) fn data(hub: &HubProcess, topic: &str) -> Vec<String> {
    history(hub, topic).iter().map(|event| event["data"].as_str().unwrap().to_owned()).collect()
}
