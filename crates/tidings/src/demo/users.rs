//! The users of the notifications page: a key and an inbox each, and what everybody may do beside them.
//!
//! Keys are drawn at each start. `/demo/keys.json` gives them to whoever asks: in place of your own server, which knows who
//! is logged in.

use std::time::Duration;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::routing::get;
use tidings_hub::Hub;
use tidings_hub::ports::{Op, Publish};
use tidings_server::GateConfig;
use tidings_server::gate::AnonymousConfig;
use tidings_server::gate::keys::{self, KeyConfig};
use tokio::time::{MissedTickBehavior, interval};

use super::stage;
use crate::failure::Failure;
use crate::key;

const USERS: [&str; 2] = ["ada", "ben"];
const KEPT: u64 = 50;
const PERIOD: Duration = Duration::from_secs(20);
const NEWS: [&str; 5] = [
    "Your parcel has left the depot.",
    "Somebody answered in the thread \u{201c}Tides\u{201d}.",
    "Your backup is done: 4,120 files.",
    "The meeting at three is in the small room.",
    "A sign-in from a device that you have not used before.",
];

/// What everybody may use where nobody said otherwise: names of up to three parts. An inbox has four.
const EVERYBODY: [&str; 3] = ["*", "*/*", "*/*/*"];

/// A key per user, and one for the console.
pub(super) struct Users {
    users: Vec<(&'static str, String)>,
    console: String,
}

impl Users {
    /// Draws the keys.
    ///
    /// # Errors
    /// The system has no randomness.
    pub(super) fn draw() -> Result<Self, Failure> {
        let users = USERS.into_iter().map(|name| Ok((name, key::draw()?))).collect::<Result<_, _>>()?;
        Ok(Self { users, console: key::draw()? })
    }

    /// Adds them to what is configured. Comes after the gate was asked whether the hub may be exposed: it opens nothing
    /// that a loopback address does not stand for already. Where nothing is configured there is a key for the console, whose
    /// connections and settings are for who may manage everything, inboxes too: it is returned, to be told.
    pub(super) fn admit(&self, gate: &mut GateConfig) -> Option<String> {
        let is_open = gate.keys.is_empty() && gate.anonymous.is_none();
        if is_open {
            let all = || EVERYBODY.map(str::to_owned).to_vec();
            gate.anonymous = Some(AnonymousConfig { publish: all(), subscribe: all(), manage: all() });
            let everything = || vec!["**".to_owned()];
            gate.keys.extend(keys::hash(&self.console).map(|hash| KeyConfig {
                name: "demo-console".to_owned(),
                hash,
                publish: everything(),
                subscribe: everything(),
                manage: everything(),
            }));
        }
        gate.keys.extend(self.users.iter().filter_map(|(name, key)| {
            Some(KeyConfig {
                name: format!("demo-{name}"),
                hash: keys::hash(key)?,
                publish: vec!["demo/users/*/inbox".to_owned()],
                subscribe: vec![inbox(name)],
                manage: Vec::new(),
            })
        }));
        is_open.then(|| self.console.clone())
    }

    /// `/demo/keys.json`.
    pub(super) fn router(&self) -> Router {
        let keys: serde_json::Map<_, _> =
            self.users.iter().map(|(name, key)| ((*name).to_owned(), key.as_str().into())).collect();
        let text = serde_json::Value::from(keys).to_string();
        let headers = [
            (CONTENT_TYPE, "application/json"),
            (CACHE_CONTROL, "no-store"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        Router::new().route("/demo/keys.json", get(move || async move { (headers, text) }))
    }
}

fn inbox(user: &str) -> String {
    format!("demo/users/{user}/inbox")
}

/// Something for everybody's inbox now and then.
pub(super) async fn run(hub: Hub) {
    for user in USERS {
        let _ = stage::declare(&hub, &inbox(user), stage::count(KEPT)).await;
    }
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for news in NEWS.iter().cycle() {
        ticks.tick().await;
        let data = serde_json::json!({ "from": "the demo", "text": news }).to_string();
        let events = USERS.iter().filter_map(|user| stage::event(&inbox(user), None, data.clone()));
        let ops = events.map(|event| Op::Publish(Publish { private: true, ..event })).collect();
        if !stage::submit(&hub, ops).await.goes_on() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tidings_hub::Selector;

    use super::*;

    #[test]
    fn everybody_may_use_everything_but_an_inbox() {
        let everybody = EVERYBODY.map(|text| Selector::parse(text).unwrap());
        let open = |topic: &str| everybody.iter().any(|selector| selector.matches(topic));
        assert!(open("news") && open("orders/17") && open("demo/prices/GULL"));
        assert!(!open(&inbox("ada")));
        assert!(
            !everybody.iter().any(|selector| selector.covers(&Selector::parse("demo/users/**").unwrap()))
        );
    }

    #[test]
    fn what_is_configured_stays_as_it_is() {
        let users = Users::draw().unwrap();
        let mut gate = GateConfig { anonymous: Some(AnonymousConfig::default()), ..GateConfig::default() };
        assert_eq!(users.admit(&mut gate), None);
        assert_eq!(gate.anonymous, Some(AnonymousConfig::default()));
        assert_eq!(gate.keys.len(), USERS.len());
    }

    #[test]
    fn where_nothing_is_configured_the_console_has_a_key() {
        let mut gate = GateConfig::default();
        let key = Users::draw().unwrap().admit(&mut gate).unwrap();
        let console =
            gate.keys.iter().find(|config| Some(&config.hash) == keys::hash(&key).as_ref()).unwrap();
        assert_eq!(console.manage, ["**"]);
    }
}
