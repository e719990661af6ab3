//! The workers, from outside: started, asked, ended.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use super::plan::{Plan, host};
use super::scan::histogram;
use crate::failure::Failure;

/// Connections that are being made at once, by all: fewer than a usual backlog. What does not fit there is tried again
/// by the system after seconds.
const CONNECTING_MAX: u64 = 2_048;
/// By one worker.
const CONNECTING_OF_WORKER: u64 = 256;

/// How far all workers are together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Status {
    pub(super) opened: u64,
    pub(super) failed: u64,
    pub(super) received: u64,
    pub(super) missing: u64,
    pub(super) repeated: u64,
    pub(super) bytes: u64,
    /// Streams that ended before they were told to.
    pub(super) lost: u64,
}

/// What the workers have seen.
pub(super) struct Seen {
    pub(super) status: Status,
    pub(super) latency_us: Histogram<u64>,
    /// Why streams were refused or lost, if any were.
    pub(super) reason: Option<String>,
}

/// All workers.
pub(super) struct Crew {
    workers: Vec<Worker>,
}

struct Worker {
    child: Child,
    orders: Option<ChildStdin>,
    told: Arc<Told>,
    reader: Option<JoinHandle<()>>,
}

struct Told {
    status: Mutex<Status>,
    reason: Mutex<Option<String>>,
    latency_us: Mutex<Histogram<u64>>,
    is_over: AtomicBool,
}

impl Crew {
    /// Starts the workers, which begin to open their streams.
    ///
    /// # Errors
    /// The system starts none.
    pub(super) fn start(plan: &Plan) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(|error| Failure::new(error.to_string()))?;
        let path = plan.url[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
        let (mut workers, mut first) = (Vec::new(), 0);
        for number in 0..plan.workers {
            let count = plan.subscribers / plan.workers + u64::from(number < plan.subscribers % plan.workers);
            let mut command = Command::new(&program);
            command.arg("bench-worker").stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut say = |name: &str, value: String| {
                command.arg(format!("--{name}={value}"));
            };
            say("addr", plan.addr.to_string());
            say("host", host(&plan.url));
            say("path", path.clone());
            say("first", first.to_string());
            say("count", count.to_string());
            say("topics", plan.topics.to_string());
            say("connecting", (CONNECTING_MAX / plan.workers).clamp(8, CONNECTING_OF_WORKER).to_string());
            if let Some(source) = plan.source(number, std::process::id()) {
                say("source", source.to_string());
            }
            if let Some(dir) = &plan.trace {
                say("trace", dir.display().to_string());
            }
            plan.headers.iter().for_each(|header| say("header", header.clone()));
            let mut child = command
                .spawn()
                .map_err(|error| Failure::new(format!("no process for the streams starts: {error}")))?;
            let (orders, out) = (child.stdin.take(), child.stdout.take());
            let told = Arc::new(Told::new()?);
            let listener = Arc::clone(&told);
            let reader = std::thread::spawn(move || {
                let lines = out.into_iter().flat_map(|out| BufReader::new(out).lines().map_while(Result::ok));
                lines.for_each(|line| listener.hear(&line));
                listener.is_over.store(true, Ordering::SeqCst);
            });
            workers.push(Worker { child, orders, told, reader: Some(reader) });
            first += count;
        }
        Ok(Self { workers })
    }

    /// How far they are.
    pub(super) fn status(&self) -> Status {
        self.workers.iter().fold(Status::default(), |sum, worker| {
            let one = *worker.told.status.lock();
            Status {
                opened: sum.opened + one.opened,
                failed: sum.failed + one.failed,
                received: sum.received + one.received,
                missing: sum.missing + one.missing,
                repeated: sum.repeated + one.repeated,
                bytes: sum.bytes + one.bytes,
                lost: sum.lost + one.lost,
            }
        })
    }

    /// # Errors
    /// A worker is gone.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self.workers.iter().any(|worker| worker.told.is_over.load(Ordering::SeqCst)) {
            true => Err(Failure::new("a process for the streams ended; its reason stands above")),
            false => Ok(()),
        }
    }

    /// From now on latencies count.
    pub(super) fn reset(&mut self) {
        for orders in self.workers.iter_mut().filter_map(|worker| worker.orders.as_mut()) {
            // One that is gone is noticed elsewhere.
            _ = orders.write_all(b"r\n").and_then(|()| orders.flush());
        }
    }

    /// Ends them, and takes what they have seen.
    ///
    /// # Errors
    /// A worker failed.
    pub(super) fn finish(mut self) -> Result<Seen, Failure> {
        for worker in &mut self.workers {
            worker.orders = None;
        }
        let mut latency_us = histogram()?;
        for worker in &mut self.workers {
            if let Some(reader) = worker.reader.take() {
                _ = reader.join();
            }
            let ended = worker.child.wait().map_err(|error| Failure::new(error.to_string()))?;
            if !ended.success() {
                return Err(Failure::new(format!("a process for the streams ended with {ended}")));
            }
            let sum = latency_us.add(&*worker.told.latency_us.lock());
            sum.map_err(|error| Failure::new(format!("latencies do not add up: {error:?}")))?;
        }
        let reason = self.workers.iter().find_map(|worker| worker.told.reason.lock().clone());
        Ok(Seen { status: self.status(), latency_us, reason })
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            if worker.reader.is_some() {
                // It is over anyhow.
                _ = worker.child.kill();
                _ = worker.child.wait();
            }
        }
    }
}

impl Told {
    fn new() -> Result<Self, Failure> {
        Ok(Self {
            status: Mutex::default(),
            reason: Mutex::default(),
            latency_us: Mutex::new(histogram()?),
            is_over: AtomicBool::new(false),
        })
    }

    fn hear(&self, line: &str) {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut words = rest.splitn(8, ' ');
        let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        match kind {
            "s" => {
                let status = Status {
                    opened: number(),
                    failed: number(),
                    received: number(),
                    missing: number(),
                    repeated: number(),
                    bytes: number(),
                    lost: number(),
                };
                *self.status.lock() = status;
                if let Some(why) = words.next().filter(|why| *why != "-") {
                    *self.reason.lock() = Some(why.to_owned());
                }
            }
            "h" => {
                let (value, count) = (number(), number());
                // It has room for whatever a worker's has.
                _ = self.latency_us.lock().record_n(value, count);
            }
            _ => {}
        }
    }
}
