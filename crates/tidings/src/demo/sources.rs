//! What the demo publishes: a greeting a second, this machine, and the hub itself.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tidings_codec::EventName;
use tidings_hub::ports::{Publish, Refusal};
use tidings_hub::{Hub, TopicName, Topics};
use tidings_server::App;
use tidings_server::counters::RouteClass;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::monitor::Monitor;

const PERIOD: Duration = Duration::from_secs(1);
const HELLO: &str = "demo/hello";
const MONITOR: &str = "demo/monitor";

/// Begins all of it; it ends with the runtime, or when the hub stops taking events.
pub(crate) fn spawn(hub: &Hub, app: &Arc<App>) {
    tokio::spawn(hello(hub.clone()));
    tokio::spawn(monitor(hub.clone(), Arc::clone(app)));
}

async fn hello(hub: Hub) {
    let mut ticks = every_second();
    for count in 1_u64.. {
        ticks.tick().await;
        let data = format!("Hello, world! This is greeting {count} of this run.");
        if !publish(&hub, HELLO, None, data).await {
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
            if !publish(&hub, MONITOR, Some(name), data).await {
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
            subscribers: app.hub.stats().subscribers,
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

fn json(value: &impl Serialize) -> String {
    // These are structs of numbers and texts, which always are JSON.
    serde_json::to_string(value).unwrap_or_default()
}

/// Whether the source goes on: a full disk passes, a hub that stops does not.
async fn publish(hub: &Hub, topic: &str, event: Option<&'static str>, data: String) -> bool {
    let (Ok(topic), Ok(event)) = (TopicName::parse(topic), event.map(EventName::parse).transpose()) else {
        return false;
    };
    let event = Publish {
        topics: Topics::from_iter([topic]),
        private: false,
        id: None,
        event,
        retry_ms: None,
        data: data.into(),
        utf8: true,
        ephemeral: false,
        once: None,
    };
    match hub.publish(event).await {
        Ok(_) => true,
        Err(refusal @ (Refusal::Stopped | Refusal::Failed | Refusal::Closed { .. })) => {
            tracing::info!(?refusal, "a demo source ends");
            false
        }
        Err(refusal) => {
            tracing::warn!(?refusal, "a demo event was not taken");
            true
        }
    }
}
