//! What is to be measured, as it was typed.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub(crate) const USAGE: &str =
    "tidings-peer-load sse|websocket|long|short|storm --to ADDRESS --pid SERVER [--name value]…

  --path PATH         where clients read                                  /topics/bench
  --publish PATH      where events go, one or some of one topic           as --path
  --clients N         connections                                         1000
  --rate N            events a second                                     10
  --flat-out N        as fast as they arrive, N in a request; 0: at the rate   0
  --batch N           events in a request, where there is a rate          1
  --data BYTES        data of an event                                    100
  --seconds S         how long to measure                                 3
  --interval S        short polling: how often each client asks           1
  --topics N          topics; above 1 events go to POST /events, by turns 1
  --each N            topics that each client reads, where there are many 1
  --stalled N         clients more, which ask and never read              0
  --fill BYTES        published before, so that those stand still         0
  --rest SECONDS      how long they stand still before it is measured     0
  --behind N          storm: events that each client lacks                100
  --trace DIR         sse, storm: write down what is published and answered,
                      and what the first 16 clients ask for and receive";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Sse,
    WebSocket,
    /// A request waits at the server until there is something.
    Long,
    /// Each client asks every so often.
    Short,
    /// All come at once with a position in the past.
    Storm,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) mode: Mode,
    pub(crate) to: SocketAddr,
    pub(crate) pid: u32,
    pub(crate) path: String,
    pub(crate) publish: String,
    pub(crate) clients: usize,
    pub(crate) rate: f64,
    pub(crate) flat_out: u64,
    pub(crate) batch: u64,
    pub(crate) data: usize,
    pub(crate) time: Duration,
    pub(crate) interval: Duration,
    pub(crate) topics: u64,
    pub(crate) each: u64,
    pub(crate) stalled: usize,
    pub(crate) fill: u64,
    /// The system probes those who stand still, all at once and ever more rarely.
    pub(crate) rest: Duration,
    pub(crate) behind: u64,
    /// As `testkit/history` reads it.
    pub(crate) trace: Option<PathBuf>,
    /// Sent with each request of a stream.
    pub(crate) last_event_id: Option<String>,
}

impl Plan {
    pub(crate) fn parse(words: &[String]) -> Result<Self, String> {
        let (mode, pairs) = words.split_first().ok_or(USAGE)?;
        let mode = match mode.as_str() {
            "sse" => Mode::Sse,
            "websocket" => Mode::WebSocket,
            "long" => Mode::Long,
            "short" => Mode::Short,
            "storm" => Mode::Storm,
            other => return Err(format!("{other} is no way to read\n{USAGE}")),
        };
        let mut plan = Self {
            mode,
            to: (Ipv4Addr::LOCALHOST, 0).into(),
            pid: 0,
            path: "/topics/bench".into(),
            publish: String::new(),
            clients: 1_000,
            rate: 10.0,
            flat_out: 0,
            batch: 1,
            data: 100,
            time: Duration::from_secs(3),
            interval: Duration::from_secs(1),
            topics: 1,
            each: 1,
            stalled: 0,
            fill: 0,
            rest: Duration::ZERO,
            behind: 100,
            trace: None,
            last_event_id: None,
        };
        for pair in pairs.chunks(2) {
            let [name, value] = pair else { return Err(format!("{} needs a value", pair.concat())) };
            let wrong = || format!("{name} {value} cannot be");
            let number = || value.parse::<u64>().map_err(|_| wrong());
            let size = || value.parse::<usize>().map_err(|_| wrong());
            let float = || {
                let number = value.parse::<f64>().ok().filter(|number| (0.001..1e7).contains(number));
                number.ok_or_else(wrong)
            };
            match name.as_str() {
                "--to" => plan.to = value.parse().map_err(|_| wrong())?,
                "--pid" => plan.pid = value.parse().map_err(|_| wrong())?,
                "--path" => plan.path.clone_from(value),
                "--publish" => plan.publish.clone_from(value),
                "--clients" => plan.clients = size()?,
                "--rate" => plan.rate = float()?,
                "--flat-out" => plan.flat_out = number()?,
                "--batch" => plan.batch = number()?.max(1),
                "--data" => plan.data = size()?.max(48),
                "--seconds" => plan.time = Duration::from_secs_f64(float()?),
                "--interval" => plan.interval = Duration::from_secs_f64(float()?),
                "--topics" => plan.topics = number()?.max(1),
                "--each" => plan.each = number()?.max(1),
                "--stalled" => plan.stalled = size()?,
                "--fill" => plan.fill = number()?,
                "--rest" => plan.rest = Duration::from_secs(number()?),
                "--behind" => plan.behind = number()?,
                "--trace" => plan.trace = Some(value.into()),
                other => return Err(format!("{other} is unknown\n{USAGE}")),
            }
        }
        if plan.publish.is_empty() {
            plan.publish.clone_from(&plan.path);
        }
        if plan.to.port() == 0 || !plan.to.ip().is_loopback() || plan.pid == 0 {
            return Err(format!(
                "a server on this machine is needed: --to 127.0.0.1:PORT --pid PID\n{USAGE}"
            ));
        }
        Ok(plan)
    }

    /// What client `number` asks for first, or next from `position`.
    pub(crate) fn request(&self, number: usize, position: Option<&str>) -> Vec<u8> {
        let host = self.to;
        let path = if self.topics == 1 {
            self.path.clone()
        } else {
            let first = number as u64 * self.each;
            let topics: Vec<_> = (first..first + self.each).map(|n| format!("topic=bench-{n}")).collect();
            format!("/events?{}", topics.join("&"))
        };
        let get = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n");
        let request = match (self.mode, position) {
            (Mode::Sse | Mode::Storm, _) => {
                let id = self.last_event_id.as_ref().map(|id| format!("Last-Event-ID: {id}\r\n"));
                get(&path, &format!("Accept: text/event-stream\r\n{}", id.unwrap_or_default()))
            }
            (Mode::WebSocket, _) => get(
                &path,
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            ),
            (_, None) => get(&format!("{path}?format=json&from=tail"), ""),
            (Mode::Long, Some(id)) => {
                get(&format!("{path}?format=json&limit=1000&wait=30&last_event_id={id}"), "")
            }
            (Mode::Short, Some(id)) => get(&format!("{path}?format=json&limit=1000&last_event_id={id}"), ""),
        };
        request.into_bytes()
    }

    /// How many clients read topic `number`.
    pub(crate) fn readers(&self, topic: u64) -> u64 {
        match self.topics {
            1 => self.clients as u64,
            _ => u64::from(topic < self.clients as u64 * self.each),
        }
    }
}
