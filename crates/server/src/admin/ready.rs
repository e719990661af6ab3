//! Whether a balancer should send traffic here: not when draining, not when the store takes nothing, and not when
//! the hub is nearly full (a full one turns clients away, so readiness fails before).

use serde_json::json;
use tidings_hub::ports::Health;

use crate::app::App;

/// What readiness depends on.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Of the store.
    pub health: Health,
    /// Whether a shutdown has begun.
    pub draining: bool,
    /// Open streams, and how many there may be.
    pub subscribers: (u64, u64),
    /// Open connections, and how many there may be.
    pub connections: (u64, u64),
    /// Reactors that ended before they were told to.
    pub reactors_failed: u64,
    /// From which share on the hub counts as full, in percent.
    pub ready_percent: u8,
}

/// Why there should be no traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// A stable name.
    pub slug: &'static str,
    /// What it means and what to do.
    pub detail: String,
}

impl Facts {
    /// At this moment.
    pub fn of(app: &App) -> Self {
        let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Self {
            health: app.hub.health(),
            draining: app.drain.is_draining(),
            subscribers: (wide(app.hub.subscribers()), wide(app.hub.limits().subscribers_max)),
            connections: (app.counters.connections(), wide(app.connections_max)),
            reactors_failed: app.counters.reactors_failed(),
            ready_percent: app.config.ready_percent,
        }
    }
}

/// Why there should be no traffic; none: there should.
pub fn reasons(facts: &Facts) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mut because = |slug, detail| reasons.push(Reason { slug, detail });
    if facts.draining {
        because("draining", "the hub is shutting down".to_owned());
    }
    match &facts.health {
        Health::Ready => {}
        Health::Full { message } => because(
            "store-full",
            format!("no space is left ({message}); free some, publishing then goes on by itself"),
        ),
        Health::Failed { message } => {
            because("store-failed", format!("the store has failed ({message}); mend the cause and restart"));
        }
        Health::Stopped => because("store-stopped", "the store has ended".to_owned()),
    }
    if facts.reactors_failed > 0 {
        let count = facts.reactors_failed;
        because(
            "reactors",
            format!("{count} of the reactors ended by a defect; restart the hub and report it"),
        );
    }
    for (slug, what, setting, (open, max)) in [
        ("subscribers", "streams", "subscribers_max", facts.subscribers),
        ("connections", "connections", "connections_max", facts.connections),
    ] {
        if open.saturating_mul(100) >= max.saturating_mul(facts.ready_percent.into()) {
            because(slug, format!("{open} of {max} {what} are open; add a hub or raise {setting}"));
        }
    }
    reasons
}

/// The answer's body.
pub fn to_json(reasons: &[Reason]) -> String {
    let list: Vec<_> =
        reasons.iter().map(|reason| json!({ "reason": reason.slug, "detail": reason.detail })).collect();
    format!("{}\n", json!({ "ready": list.is_empty(), "reasons": list }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_fails_for_each_reason_and_before_the_hub_is_full() {
        let fine = Facts {
            health: Health::Ready,
            draining: false,
            subscribers: (899, 1_000),
            connections: (1_799, 2_000),
            reactors_failed: 0,
            ready_percent: 90,
        };
        let check = |facts: Facts, expected: &[&str]| {
            let found: Vec<_> = reasons(&facts).iter().map(|reason| reason.slug).collect();
            assert_eq!(found, expected, "{facts:?}");
        };
        check(fine.clone(), &[]);
        check(Facts { draining: true, ..fine.clone() }, &["draining"]);
        check(Facts { subscribers: (900, 1_000), ..fine.clone() }, &["subscribers"]);
        check(Facts { connections: (1_800, 2_000), ..fine.clone() }, &["connections"]);
        check(Facts { reactors_failed: 1, ..fine.clone() }, &["reactors"]);
        check(Facts { health: Health::Stopped, ..fine.clone() }, &["store-stopped"]);
        let message = "no space left on device".into();
        check(
            Facts { health: Health::Full { message }, draining: true, ..fine },
            &["draining", "store-full"],
        );
        assert_eq!(to_json(&[]), "{\"ready\":true,\"reasons\":[]}\n");
    }
}
