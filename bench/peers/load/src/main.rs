//! The same load over SSE, WebSocket, long polling and short polling, for any server on this machine: what arrives, when,
//! and what it costs. Prints a line `name value unit` for each figure, which `cargo xtask bench` gathers.
//!
//! - [`plan`]: what was typed · [`clients`]: one thread over epoll · [`publisher`] · [`wire`]: bytes · [`system`]: the server

mod clients;
mod plan;
mod publisher;
mod system;
mod wire;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use clients::{Clients, Shared};
use plan::{Mode, Plan};
use publisher::Publisher;
use system::{Server, now_ns, socket_bytes, window_probes};

/// Events that may be on their way to the slowest half of the clients when nothing else bounds them.
const AHEAD: u64 = 64;
/// How long the last events may take to arrive when nothing arrives any more.
const SETTLE: Duration = Duration::from_secs(3);
/// How long clients may take to come in when none comes in any more.
const OPEN_PATIENCE: Duration = Duration::from_secs(20);
/// What a server needed only to let clients in is not what it needs to hold them.
const CALM: Duration = Duration::from_secs(1);
/// Probes of windows are counted so often.
const PROBES_EVERY: Duration = Duration::from_millis(20);
/// Data of an event that fills buffers.
const FILL_DATA: usize = 8 << 10;

fn main() -> std::process::ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let run = |plan: Plan| if plan.mode == Mode::Storm { storm(plan) } else { fan_out(&plan) };
    match Plan::parse(&words).and_then(run) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn fan_out(plan: &Plan) -> Result<(), String> {
    let server = Server::new(plan.pid, plan.to.port());
    let (before, sockets_before) = (server.memory_bytes(), socket_bytes());
    let shared = Arc::new(Shared::default());
    let clients = Clients::new(plan, &shared);
    let thread = std::thread::spawn(move || clients.run());
    wait_until_open(plan, &shared)?;
    let stalled = clients::stalled(plan);
    std::thread::sleep(CALM);
    let open = shared.opened.load(SeqCst) as f64;
    let (memory, sockets) = (server.memory_bytes(), socket_bytes());
    let mut publisher = Publisher::new(plan)?;
    fill(plan, &shared, &mut publisher)?;
    std::thread::sleep(plan.rest);
    while publisher.published < plan.topics {
        // A topic's first event makes it.
        publisher.send(plan, plan.batch.min(plan.topics - publisher.published), plan.data, now_ns())?;
    }
    // Long enough for all to be warm, and no longer than it must.
    if plan.flat_out > 0 {
        flat_out(plan, &shared, &mut publisher, Duration::from_secs(1))?;
    } else if plan.rate < 2.0 {
        publisher.send(plan, plan.batch, plan.data, now_ns())?;
    } else {
        publisher.paced(plan, Duration::from_secs(1), now_ns)?;
    }
    settle(plan, &shared, publisher.expected);

    shared.reset.store(true, SeqCst);
    std::thread::sleep(Duration::from_millis(200));
    let count = || {
        let [received, bytes, requests] =
            [&shared.received, &shared.bytes, &shared.requests].map(|count| count.load(SeqCst) as f64);
        (received, bytes, requests, server.cpu_us())
    };
    let probes = (plan.fill > 0).then(Probes::watch);
    let (received, bytes, requests, cpu) = count();
    let (begun, published, expected) = (Instant::now(), publisher.published, publisher.expected);
    let late = if plan.flat_out > 0 {
        flat_out(plan, &shared, &mut publisher, plan.time)?;
        Duration::ZERO
    } else {
        publisher.paced(plan, plan.time, now_ns)?
    };
    // Whoever asks every so often goes on asking: what that costs belongs to the time, not to when the last one got it.
    let at_end = (count(), begun.elapsed());
    settle(plan, &shared, publisher.expected);
    let settled = (count(), begun.elapsed());
    let ((_, bytes_after, requests_after, cpu_after), time) =
        if plan.mode == Mode::Short { at_end } else { settled };
    let probes = probes.map(Probes::end);
    let delivered = settled.0.0 - received;
    let (memory_after, sockets_after) = (server.memory_bytes(), socket_bytes());
    let zero_windows = server.zero_windows();
    shared.stop.store(true, SeqCst);
    let latency_us = thread.join().map_err(|_| "the clients are gone")?;
    drop(stalled);
    publisher.end(plan)?;

    let each = delivered.max(1.0);
    let seconds = time.as_secs_f64();
    let published = (publisher.published - published) as f64;
    say("clients", open, "open");
    say("events", published / seconds, "events/s");
    say("rate", delivered / seconds, "deliveries/s");
    say("cpu", (cpu_after - cpu) / each, "µs/delivery");
    say("cpu_client", (cpu_after - cpu) / seconds / open.max(1.0), "µs/client/s");
    say("core", (cpu_after - cpu) / seconds / 10_000.0, "%_of_a_core");
    say("bytes", (bytes_after - bytes) / each, "B/delivery");
    latencies(&latency_us);
    let all = open.max(1.0) + plan.stalled as f64;
    say("memory", (memory - before) / all, "B/client");
    say("sockets", (sockets - sockets_before) / all, "B/client_in_the_kernel_both_ends");
    say("missing", (publisher.expected - expected) as f64 - delivered, "events");
    say("repeated", shared.repeated.load(SeqCst) as f64, "events");
    say("lost", shared.lost.load(SeqCst) as f64, "connections");
    say("late", late.as_secs_f64() * 1_000.0, "ms_behind_the_schedule");
    if matches!(plan.mode, Mode::Long | Mode::Short) {
        say("requests", (requests_after - requests) / seconds, "requests/s");
    }
    if plan.topics > 1 {
        say("cpu_published", (cpu_after - cpu) / published, "µs/event");
    }
    if plan.fill > 0 {
        say("stalled", zero_windows as f64, "connections_with_no_window");
        let (probes, at_once) = probes.unwrap_or_default();
        say("probes", probes as f64, "of_windows_by_the_kernel");
        say("probes_at_once", at_once as f64, "in_20_ms");
        for (name, bytes) in [("memory_before", memory), ("memory_after", memory_after)] {
            say(name, bytes / 1e6, "MB");
        }
        for (name, bytes) in [("sockets_before", sockets), ("sockets_after", sockets_after)] {
            say(name, bytes / 1e6, "MB_in_the_kernel");
        }
    }
    Ok(())
}

/// Counts how often the system probes windows, and how often at most in one moment: on the core where it does that nothing
/// else is done meanwhile.
struct Probes {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(u64, u64)>,
}

impl Probes {
    fn watch() -> Self {
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let watch = move || {
            let begun = window_probes();
            let (mut last, mut most) = (begun, 0);
            while !stopped.load(SeqCst) {
                std::thread::sleep(PROBES_EVERY);
                let now = window_probes();
                most = most.max(now.saturating_sub(last));
                last = now;
            }
            (last.saturating_sub(begun), most)
        };
        Self { stop, thread: std::thread::spawn(watch) }
    }

    /// How many in all, and at most in one moment.
    fn end(self) -> (u64, u64) {
        self.stop.store(true, SeqCst);
        self.thread.join().unwrap_or_default()
    }
}

/// All come at once, each with the same position in the past, as after a restart of what stands before a hub.
fn storm(mut plan: Plan) -> Result<(), String> {
    let mut publisher = Publisher::new(&plan)?;
    plan.last_event_id = Some(first_id(&plan, &mut publisher)?);
    while publisher.published <= plan.behind {
        let count = plan.batch.min(plan.behind + 1 - publisher.published);
        publisher.send(&plan, count, plan.data, now_ns())?;
    }
    std::thread::sleep(CALM);
    let server = Server::new(plan.pid, plan.to.port());
    let (memory, sockets, cpu) = (server.memory_bytes(), socket_bytes(), server.cpu_us());
    let shared = Arc::new(Shared::default());
    let clients = Clients::new(&plan, &shared);
    let begun = Instant::now();
    let thread = std::thread::spawn(move || clients.run());
    let (mut last, mut moved) = (0, Instant::now());
    while shared.done.load(SeqCst) < plan.clients as u64 && moved.elapsed() < OPEN_PATIENCE {
        let received = shared.received.load(SeqCst);
        if received != last {
            (last, moved) = (received, Instant::now());
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    let (all, cpu_after) = (begun.elapsed(), server.cpu_us());
    std::thread::sleep(CALM);
    let (memory_after, sockets_after) = (server.memory_bytes(), socket_bytes());
    shared.stop.store(true, SeqCst);
    let latency_us = thread.join().map_err(|_| "the clients are gone")?;
    publisher.end(&plan)?;
    let count = plan.clients as f64;
    let received = shared.received.load(SeqCst) as f64;
    say("clients", shared.opened.load(SeqCst) as f64, "open");
    say("all", all.as_secs_f64() * 1_000.0, "ms_until_all_have_all");
    say("rate", received / all.as_secs_f64(), "deliveries/s");
    say("cpu", (cpu_after - cpu) / received.max(1.0), "µs/delivery");
    say("cpu_client", (cpu_after - cpu) / count, "µs/client");
    say("bytes", shared.bytes.load(SeqCst) as f64 / received.max(1.0), "B/delivery");
    latencies(&latency_us);
    say("memory", (memory_after - memory) / count, "B/client");
    say("sockets", (sockets_after - sockets) / count, "B/client_in_the_kernel_both_ends");
    say("missing", (plan.clients as u64 * plan.behind) as f64 - received, "events");
    say("repeated", shared.repeated.load(SeqCst) as f64, "events");
    say("lost", shared.lost.load(SeqCst) as f64, "connections");
    Ok(())
}

/// Publishes one event, and hears its id on a stream.
fn first_id(plan: &Plan, publisher: &mut Publisher) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("no stream to hear an id on: {error}");
    let mut stream = TcpStream::connect(plan.to).map_err(failed)?;
    stream.set_read_timeout(Some(SETTLE)).map_err(failed)?;
    stream.write_all(&plan.request(0, None)).map_err(failed)?;
    let (mut text, mut buffer) = (String::new(), [0; 4_096]);
    loop {
        let read = stream.read(&mut buffer).map_err(failed)?;
        text += &String::from_utf8_lossy(&buffer[..read]);
        if publisher.published == 0 && text.contains("\r\n\r\n") {
            publisher.send(plan, 1, plan.data, now_ns())?;
        }
        // A stream may begin with an id of its own; the event's is the last one before the mark.
        if let Some((before, _)) = text.split_once("@0@") {
            let id = before.rsplit_once("id: ").and_then(|(_, id)| id.lines().next());
            return id.map(|id| id.trim().to_owned()).ok_or_else(|| "the event has no id".to_owned());
        }
        if read == 0 {
            return Err("the stream ended before its event".to_owned());
        }
    }
}

fn wait_until_open(plan: &Plan, shared: &Shared) -> Result<(), String> {
    let (mut last, mut moved) = (0, Instant::now());
    loop {
        let opened = shared.opened.load(SeqCst);
        let done = opened + shared.failed.load(SeqCst);
        if done >= plan.clients as u64 {
            return if opened > 0 { Ok(()) } else { Err("nobody came in".to_owned()) };
        }
        if done > last {
            (last, moved) = (done, Instant::now());
        } else if moved.elapsed() > OPEN_PATIENCE {
            return Err(format!("only {opened} of {} clients came in", plan.clients));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Publishes until those who never read have no room left.
fn fill(plan: &Plan, shared: &Shared, publisher: &mut Publisher) -> Result<(), String> {
    for _ in 0..plan.fill / FILL_DATA as u64 {
        publisher.send(plan, 1, FILL_DATA, now_ns())?;
        settle(plan, shared, publisher.expected);
    }
    Ok(())
}

/// Publishes as fast as events arrive everywhere, a few ahead.
fn flat_out(plan: &Plan, shared: &Shared, publisher: &mut Publisher, time: Duration) -> Result<(), String> {
    let begun = Instant::now();
    while begun.elapsed() < time {
        let ahead = AHEAD.max(2 * plan.flat_out) * plan.clients as u64;
        let (mut last, mut moved) = (u64::MAX, Instant::now());
        loop {
            let received = shared.received.load(SeqCst);
            if received + ahead >= publisher.expected {
                break;
            }
            if received != last {
                (last, moved) = (received, Instant::now());
            } else if moved.elapsed() > SETTLE {
                return Err(format!("nothing arrives: {received} of {}", publisher.expected));
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        publisher.send(plan, plan.flat_out, plan.data, now_ns())?;
    }
    settle(plan, shared, publisher.expected);
    Ok(())
}

/// Waits until everything has arrived everywhere, or nothing more comes.
fn settle(plan: &Plan, shared: &Shared, expected: u64) {
    let patience = SETTLE + if plan.mode == Mode::Short { plan.interval } else { Duration::ZERO };
    let (mut last, mut moved) = (u64::MAX, Instant::now());
    loop {
        let received = shared.received.load(SeqCst);
        if received >= expected || moved.elapsed() > patience {
            return;
        }
        if received != last {
            (last, moved) = (received, Instant::now());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn latencies(latency_us: &Histogram<u64>) {
    for (name, percentile) in [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("max", 100.0)] {
        say(name, latency_us.value_at_percentile(percentile) as f64 / 1_000.0, "ms");
    }
}

fn say(name: &str, value: f64, unit: &str) {
    println!("{name} {value:.3} {unit}");
}
