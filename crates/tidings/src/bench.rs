//! `tidings bench URL`: opens many streams to any SSE server, publishes, and measures what arrives, when, and what it costs.
//!
//! Subscribers live in worker processes (a process has only so many descriptors), each one thread over epoll, so that
//! the load takes little beside the server. Publishing and the report are here.
//!
//! - [`plan`]: what was typed · [`crew`]: the workers, from outside · [`worker`]: one of them, from inside
//! - [`scan`]: a response, byte by byte · [`publisher`] · [`server`]: what the system knows of a local server · [`report`]
//! - [`trace`]: what was published and received, for a judge

mod crew;
mod plan;
mod plot;
mod publisher;
mod report;
mod scan;
mod server;
mod trace;
mod worker;

use std::io::Write as _;
use std::time::{Duration, Instant};

use clap::{ArgMatches, Command};

use crate::failure::Failure;
use crew::Crew;
use plan::{Pace, Plan};
use report::Report;
use server::Server;

pub(crate) use plan::command;
pub(crate) use worker::{command as worker_command, run as run_worker};

/// How long the last events may take to arrive when nothing arrives any more.
const SETTLE: Duration = Duration::from_secs(3);
/// How long streams may take to open when none opens any more.
const OPEN_PATIENCE: Duration = Duration::from_secs(20);

/// Measures.
///
/// # Errors
/// What cannot be measured, and why.
pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let plan = Plan::read(matches)?;
    if let Some(dir) = &plan.trace {
        trace::make(dir)?;
    }
    let server = Server::find(&plan);
    let before = server.as_ref().and_then(Server::memory_bytes);
    let mut crew = Crew::start(&plan)?;
    let begun = Instant::now();
    let opened = wait_until_open(&mut crew, &plan)?;
    let open_s = begun.elapsed().as_secs_f64();
    say(&plan, &format!("{opened} streams are open after {open_s:.2} s\n"));
    // What the server needed only to let them in is not what it needs to hold them.
    std::thread::sleep(plan.settle);
    let idle = server.as_ref().and_then(Server::memory_bytes);
    let memory =
        before.zip(idle).map(|(before, idle)| idle.saturating_sub(before) as f64 / opened.max(1) as f64);
    let mut report = Report::new(&plan, opened, crew.status().failed, open_s, memory);
    if plan.pace != Pace::None {
        let published = publish(&plan, &mut crew, server.as_ref(), &mut report)?;
        report.published = published;
    } else {
        std::thread::sleep(plan.duration);
    }
    report.take(crew.finish()?, server.as_ref());
    report.show(&plan)?;
    Ok(())
}

/// Waits until all streams are open or refused, and shows how it goes.
fn wait_until_open(crew: &mut Crew, plan: &Plan) -> Result<u64, Failure> {
    let (mut last, mut moved) = (0, Instant::now());
    loop {
        let status = crew.status();
        crew.check()?;
        let done = status.opened + status.failed;
        if done >= plan.subscribers {
            say(plan, "\n");
            return Ok(status.opened);
        }
        if done > last {
            (last, moved) = (done, Instant::now());
            say(plan, &format!("\ropening: {} of {}", status.opened, plan.subscribers));
        } else if moved.elapsed() > OPEN_PATIENCE {
            let detail = format!("only {} of {} streams opened", status.opened, plan.subscribers);
            return Err(Failure::new(detail));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Warms up, publishes for the time that was asked for, and waits for the last event. How many were published.
fn publish(
    plan: &Plan,
    crew: &mut Crew,
    server: Option<&Server>,
    report: &mut Report,
) -> Result<u64, Failure> {
    let mut publisher = publisher::Publisher::new(plan)?;
    publisher.run(plan, crew, plan.warm_up)?;
    settle(plan, crew, publisher.published());
    crew.reset();
    std::thread::sleep(Duration::from_millis(200));
    let before = crew.status();
    let cpu = server.and_then(Server::cpu_us);
    let (begun, first) = (Instant::now(), publisher.published());
    publisher.run(plan, crew, plan.duration)?;
    let published = publisher.published() - first;
    settle(plan, crew, publisher.published());
    report.seconds = begun.elapsed().as_secs_f64();
    report.late = publisher.late();
    let after = crew.status();
    report.delivered = after.received - before.received;
    if let (Some(before), Some(after)) = (cpu, server.and_then(Server::cpu_us)) {
        report.cpu(after.saturating_sub(before));
    }
    publisher.end(plan)?;
    Ok(published)
}

/// Waits until everything that was published has arrived everywhere, or nothing more comes.
fn settle(plan: &Plan, crew: &Crew, published: u64) {
    let (mut last, mut moved) = (u64::MAX, Instant::now());
    loop {
        let status = crew.status();
        let expected = plan.expected(published, status.opened);
        if status.received >= expected || moved.elapsed() > SETTLE {
            return;
        }
        if status.received != last {
            (last, moved) = (status.received, Instant::now());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Progress is for people, the result for everybody.
fn say(plan: &Plan, text: &str) {
    if !plan.quiet {
        // Nobody may be there to see it.
        _ = write!(std::io::stderr(), "{text}");
    }
}

/// Both commands, for the command line.
pub(crate) fn commands() -> [Command; 2] {
    [command(), worker_command()]
}
