//! An afternoon of matches from a recorded set, played again and again, two minutes a second.
//!
//! Each event says the whole state of its match, so the last one is all that a late reader needs (`from=last`); what
//! happened is the event's type.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_hub::ports::{Op, Publish};
use tidings_hub::{Hub, Retention, TopicConfig};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::stage;

const RECORDED: &str = include_str!("matches.json");
const MINUTE: Duration = Duration::from_millis(500);
const HALF: u32 = 45;
const WHOLE: u32 = 90;
/// Shorter than the tunnel of the page, in which something has to happen.
const PAUSE: Duration = Duration::from_secs(4);
const CLOCK_MINUTES: u32 = 5;
const KEPT: u64 = 200;

#[derive(Clone, Deserialize)]
struct Match {
    id: String,
    home: String,
    away: String,
    events: Vec<Goal>,
}

#[derive(Clone, Deserialize, Serialize)]
struct Goal {
    minute: u32,
    #[serde(rename = "goal")]
    side: Side,
    who: String,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Side {
    Home,
    Away,
}

/// What an event carries.
#[derive(Serialize)]
struct State<'a> {
    id: &'a str,
    home: &'a str,
    away: &'a str,
    score: [usize; 2],
    minute: u32,
    phase: &'static str,
    goals: &'a [Goal],
}

pub(super) async fn run(hub: Hub) {
    let matches: Vec<Match> = serde_json::from_str(RECORDED).unwrap_or_default();
    for each in &matches {
        let retention = Retention { count: Some(KEPT), keep_last: true, ..Retention::default() };
        let config = TopicConfig { content_type: "application/json".into(), retention, ephemeral: false };
        let _ = stage::declare(&hub, &topic(each), config).await;
    }
    let mut ticks = interval(MINUTE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        for minute in 0..=WHOLE {
            ticks.tick().await;
            let ops: Vec<Op> = matches.iter().flat_map(|each| at(each, minute)).map(Op::Publish).collect();
            if !ops.is_empty() && !stage::submit(&hub, ops).await.goes_on() {
                return;
            }
        }
        sleep(PAUSE).await;
    }
}

fn topic(of: &Match) -> String {
    format!("demo/scores/{}", of.id)
}

/// What happens in a match in this minute.
fn at(of: &Match, minute: u32) -> Vec<Publish> {
    let goals = of.events.iter().filter(|goal| goal.minute == minute).map(|_| "goal");
    let other = match minute {
        0 => Some("kickoff"),
        HALF => Some("half"),
        WHOLE => Some("end"),
        _ if minute.is_multiple_of(CLOCK_MINUTES) => Some("clock"),
        _ => None,
    };
    let so_far = of.events.iter().take_while(|goal| goal.minute <= minute).count();
    let goals_so_far = of.events.get(..so_far).unwrap_or_default();
    let scored = |side| goals_so_far.iter().filter(|goal| goal.side == side).count();
    let state = State {
        id: &of.id,
        home: &of.home,
        away: &of.away,
        score: [scored(Side::Home), scored(Side::Away)],
        minute,
        phase: match minute {
            0..HALF => "first half",
            HALF => "half-time",
            WHOLE.. => "ended",
            _ => "second half",
        },
        goals: goals_so_far,
    };
    let event = |name| stage::event(&topic(of), Some(name), stage::json(&state));
    goals.chain(other).filter_map(event).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_set_is_whole_and_its_last_event_says_all() {
        let matches: Vec<Match> = serde_json::from_str(RECORDED).unwrap();
        assert_eq!(matches.len(), 4);
        for each in &matches {
            assert!(each.events.is_sorted_by_key(|goal| goal.minute), "{}", each.id);
            let played: Vec<Publish> = (0..=WHOLE).flat_map(|minute| at(each, minute)).collect();
            let named = |name| {
                let is = |event: &&Publish| event.event.as_ref().is_some_and(|given| given.as_str() == name);
                played.iter().filter(is).count()
            };
            assert_eq!(
                (named("kickoff"), named("goal"), named("half"), named("end")),
                (1, each.events.len(), 1, 1)
            );
            let last: serde_json::Value = serde_json::from_slice(&played.last().unwrap().data).unwrap();
            assert_eq!(last["goals"].as_array().unwrap().len(), each.events.len());
            assert_eq!(last["phase"], "ended");
        }
    }
}
