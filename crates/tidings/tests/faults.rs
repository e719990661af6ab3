//! Faults of the system under the real binary: calls that fail (`strace --inject`), a file system that fills up.
//!
//! Needs strace, the right to trace a child, and for the small file system the right to mount one (root, or a user
//! namespace). A test that lacks what it needs fails and says so.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

mod process;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use process::{HubProcess, Response, request};

/// How long something that comes by itself may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// System calls of a process that fail, until this is dropped.
struct Failing(Child);

impl Failing {
    /// From now on `call` of any thread of the process fails so.
    fn inject(hub: &HubProcess, call: &str, how: &str) -> Self {
        let mut strace = Command::new("strace")
            .args(["-f", "-p", &hub.pid().to_string(), "-e", &format!("trace={call}")])
            .args(["-e", &format!("inject={call}:{how}")])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace is needed: install the package strace");
        let mut lines = BufReader::new(strace.stderr.take().unwrap()).lines();
        let first = lines.next().and_then(Result::ok).unwrap_or_default();
        assert!(
            first.contains("attached"),
            "strace could not trace the hub (is ptrace permitted here?): {first}"
        );
        std::thread::spawn(move || lines.for_each(drop));
        Self(strace)
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        // It lets go of the process when it is asked to end; killed, it might leave it stopped.
        let pid = rustix::process::Pid::from_child(&self.0);
        _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        _ = self.0.wait();
    }
}

async fn publish(hub: &HubProcess, data: &str) -> Response {
    hub.post("/topics/a", "", data.as_bytes()).await.unwrap()
}

/// Publishes what has to be taken.
async fn acked(hub: &HubProcess, data: &str, all: &mut Vec<String>) {
    let answer = publish(hub, data).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    all.push(data.to_owned());
}

/// The whole history; `Err` is the answer that was none.
async fn history(hub: &HubProcess) -> Result<Vec<String>, Response> {
    let mut all = Vec::new();
    let mut path = "/topics/a?format=json&limit=1000".to_owned();
    loop {
        let answer = hub.get(&path).await.unwrap();
        if answer.status != 200 {
            return Err(answer);
        }
        let page = answer.json();
        assert!(page.get("gap").is_none(), "{page}");
        let events = page["events"].as_array().unwrap();
        all.extend(events.iter().map(|event| event["data"].as_str().unwrap().to_owned()));
        if page["more"] != true {
            return Ok(all);
        }
        path = format!("/topics/a?format=json&limit=1000&from=id:{}", page["next"].as_str().unwrap());
    }
}

fn kind(answer: &Response) -> String {
    let problem = answer.json();
    assert!(answer.head.contains("application/problem+json"), "{answer:?}");
    problem["type"].as_str().unwrap().rsplit(':').next().unwrap().to_owned()
}

async fn ready(hub: &HubProcess) -> Response {
    request(hub.admin, "GET", "/readyz", "", b"").await.unwrap()
}

/// Publishes until it is taken, for a while.
async fn recovers(hub: &HubProcess, data: &str, all: &mut Vec<String>) {
    let begun = Instant::now();
    loop {
        let answer = publish(hub, data).await;
        if answer.status == 200 {
            return all.push(data.to_owned());
        }
        assert!(begun.elapsed() < PATIENCE, "it does not recover: {answer:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A failure after which only a restart helps.
async fn is_final(call: &str) {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = HubProcess::start(dir.path(), &[]);
    let mut all = Vec::new();
    for n in 0..20 {
        acked(&hub, &format!("event {n}"), &mut all).await;
    }
    let failing = Failing::inject(&hub, call, "error=EIO");
    let answer = publish(&hub, "not acked").await;
    assert_eq!((answer.status, kind(&answer).as_str()), (503, "failed"), "{answer:?}");
    drop(failing);
    // The call works again, and still nobody knows what the disk has.
    let answer = publish(&hub, "not acked either").await;
    assert_eq!((answer.status, kind(&answer).as_str()), (503, "failed"), "{answer:?}");
    let answer = ready(&hub).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    let reason = String::from_utf8_lossy(&answer.body).to_lowercase();
    assert!(
        reason.contains("log") || reason.contains("store") || reason.contains("sync"),
        "a reason: {reason}"
    );
    assert_eq!(history(&hub).await.unwrap(), all, "subscribers are served on");
    hub.kill();
    hub.restart();
    let held = history(&hub).await.unwrap();
    assert_eq!(held[..all.len()], all, "what was acked is there");
    // What was answered with 503 may be there or not.
    assert!(held[all.len()..].iter().all(|data| data == "not acked"), "{held:?}");
    assert_eq!(ready(&hub).await.status, 200);
    acked(&hub, "after the restart", &mut all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_is_final() {
    is_final("fdatasync").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_write_is_final() {
    is_final("pwrite64").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_serves_on_and_recovers_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = HubProcess::start(dir.path(), &[]);
    let mut all = Vec::new();
    acked(&hub, "before", &mut all).await;
    let failing = Failing::inject(&hub, "pwrite64", "error=ENOSPC");
    for _ in 0..3 {
        let answer = publish(&hub, "refused").await;
        assert_eq!((answer.status, kind(&answer).as_str()), (503, "full"), "{answer:?}");
    }
    assert_eq!(ready(&hub).await.status, 503);
    assert_eq!(history(&hub).await.unwrap(), all);
    drop(failing);
    recovers(&hub, "after", &mut all).await;
    assert_eq!(ready(&hub).await.status, 200);
    hub.kill();
    hub.restart();
    assert_eq!(history(&hub).await.unwrap(), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_descriptors_nothing_is_lost_and_it_recovers() {
    let dir = tempfile::tempdir().unwrap();
    // Segments of 64 KiB: several are due, and none can be begun.
    let args = ["--segment-bytes", "64KiB", "--hot-log-bytes", "8MiB"];
    let mut hub = HubProcess::start(dir.path(), &args);
    let mut all = Vec::new();
    let data = |n: usize| format!("{n} {}", "x".repeat(8_000));
    for n in 0..40 {
        acked(&hub, &data(n), &mut all).await;
    }
    // A restart, so that the old segments are not in memory and not open.
    hub.stop();
    hub.restart();
    let failing = Failing::inject(&hub, "openat", "error=EMFILE");
    for n in 40..80 {
        acked(&hub, &data(n), &mut all).await;
    }
    if let Err(answer) = history(&hub).await {
        assert!(answer.status >= 500, "{answer:?}");
    }
    drop(failing);
    assert_eq!(history(&hub).await.unwrap(), all, "no failure for good");
    let segments =
        || std::fs::read_dir(dir.path()).unwrap().filter(|entry| is_segment(entry.as_ref().unwrap())).count();
    let before = segments();
    for n in 80..120 {
        acked(&hub, &data(n), &mut all).await;
    }
    assert!(segments() > before, "segments are begun again");
    hub.kill();
    hub.restart();
    assert_eq!(history(&hub).await.unwrap(), all);
}

fn is_segment(entry: &std::fs::DirEntry) -> bool {
    entry.path().extension().is_some_and(|kind| kind == "log")
}

/// A small file system.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={bytes}");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tidings-test"])
            .arg(dir.path())
            .status();
        let is_mounted = status.as_ref().is_ok_and(std::process::ExitStatus::success);
        assert!(
            is_mounted,
            "this test mounts a tmpfs of {bytes} bytes and may not: run it as root ({status:?})"
        );
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_system_fills_up_and_is_freed_again() {
    let small = Small::mount(3 << 20);
    // Somebody else's file, that can be removed.
    let filler = small.path().join("filler");
    std::fs::write(&filler, vec![1; 1 << 20]).unwrap();
    let data = small.path().join("data");
    let mut hub = HubProcess::start(&data, &["--segment-bytes", "256KiB", "--retention-bytes", "none"]);
    let mut all = Vec::new();
    let event = |n: usize| format!("{n} {}", "z".repeat(10_000));
    let mut number = 0;
    for round in 0..2 {
        let refused = loop {
            let answer = publish(&hub, &event(number)).await;
            if answer.status != 200 {
                break answer;
            }
            all.push(event(number));
            number += 1;
            assert!(number < 1_000, "it does not fill up");
        };
        assert_eq!((refused.status, kind(&refused).as_str()), (503, "full"), "{refused:?}");
        // Once a second it tries whether a little fits, and is ready until the next event does not.
        let mut asked = 0;
        while ready(&hub).await.status != 503 {
            asked += 1;
            assert!(asked < 5, "a full hub is ready");
            assert_eq!(publish(&hub, &event(number)).await.status, 503);
        }
        assert_eq!(history(&hub).await.unwrap(), all, "readers are served on");
        if round == 0 {
            std::fs::remove_file(&filler).unwrap();
            recovers(&hub, &event(number), &mut all).await;
            number += 1;
        }
    }
    assert!(number > 150, "{number}");
    // Full, killed and started again: a start needs a little space, and says so if it has none.
    hub.kill();
    let grown =
        Command::new("mount").args(["-o", "remount,size=8388608"]).arg(small.path()).status().unwrap();
    assert!(grown.success());
    hub.restart();
    assert_eq!(history(&hub).await.unwrap(), all);
    acked(&hub, "more", &mut all).await;
    hub.kill();
}
