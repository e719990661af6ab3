//! What the demo publishes: a greeting a second, this machine and the hub itself; and the start of all other sources.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tidings_hub::Hub;
use tidings_server::App;
use tidings_server::counters::RouteClass;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::monitor::Monitor;
use super::stage::{self, json};
use super::{answers, exchange, jobs, scores, users};

const PERIOD: Duration = Duration::from_secs(1);
const HELLO: &str = "demo/hello";
const MONITOR: &str = "demo/monitor";
const WALL: &str = "demo/wall";
/// Posts on the wall that are kept.
const WALL_POSTS: u64 = 50;

/// Begins all of it; it ends with the runtime, or when the hub stops taking events.
pub(crate) fn spawn(hub: &Hub, app: &Arc<App>) {
    tokio::spawn(hello(hub.clone()));
    tokio::spawn(monitor(hub.clone(), Arc::clone(app)));
    tokio::spawn(wall(hub.clone()));
    tokio::spawn(exchange::run(hub.clone()));
    tokio::spawn(scores::run(hub.clone()));
    tokio::spawn(answers::run(hub.clone()));
    tokio::spawn(jobs::run(hub.clone()));
    tokio::spawn(users::run(hub.clone()));
}

/// Pages publish to it, nobody else.
async fn wall(hub: Hub) {
    let _ = stage::declare(&hub, WALL, stage::count(WALL_POSTS)).await;
}

async fn hello(hub: Hub) {
    let mut ticks = every_second();
    for count in 1_u64.. {
        ticks.tick().await;
        let data = format!("Hello, world! This is greeting {count} of this run.");
        if !stage::publish(&hub, stage::event(HELLO, None, data)).await.goes_on() {
            return;
        }
    }
}

// Promise: looks at the machine on a thread that may block, never on one that serves.
async fn monitor(hub: Hub, app: Arc<App>) {
    let began = Instant::now();
    let mut ticks = every_second();
    let mut monitor = Monitor::new();
    loop {
        ticks.tick().await;
        let looked = spawn_blocking(move || {
            let machine = monitor.look();
            (monitor, machine)
        });
        // The only way to fail is that the runtime ends.
        let Ok((back, machine)) = looked.await else { return };
        monitor = back;
        let hub_s = [
            ("connections", json(&Connections::of(&app))),
            ("requests", json(&Requests::of(&app))),
            ("uptime", json(&Uptime { seconds: began.elapsed().as_secs() })),
        ];
        let machine_s = machine.map(|machine| ("machine", json(&machine)));
        for (name, data) in machine_s.into_iter().chain(hub_s) {
            if !stage::publish(&hub, stage::event(MONITOR, Some(name), data)).await.goes_on() {
                return;
            }
        }
    }
}

fn every_second() -> tokio::time::Interval {
    let mut ticks = interval(PERIOD);
    // After a pause of the machine there is no need to make up for it.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[derive(Serialize)]
struct Connections {
    open: u64,
    accepted: u64,
    subscribers: usize,
}

impl Connections {
    fn of(app: &App) -> Self {
        let counters = &app.counters;
        Self {
            open: counters.connections(),
            accepted: counters.connections_accepted(),
            subscribers: app.hub.stats().subscribers.saturating_sub(stage::readers()),
        }
    }
}

#[derive(Serialize)]
struct Requests {
    total: u64,
    streams: u64,
    publishes: u64,
    events: u64,
}

impl Requests {
    fn of(app: &App) -> Self {
        let counters = &app.counters;
        let class = |wanted| {
            counters.requests().filter(|(class, ..)| *class == wanted).map(|(_, _, count)| count).sum()
        };
        Self {
            total: counters.requests_total(),
            streams: class(RouteClass::Stream),
            publishes: class(RouteClass::Publish),
            events: app.hub.stats().events_in,
        }
    }
}

#[derive(Serialize)]
struct Uptime {
    seconds: u64,
}
