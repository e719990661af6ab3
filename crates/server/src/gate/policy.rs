//! From configuration to what somebody may do.
//!
//! Without keys and without a policy everybody may do everything, which only a loopback address can stand for
//! ([`super::GateConfig::check_exposure`]). With keys, nobody may do anything without one unless a policy says so.

use std::sync::Arc;

use tidings_hub::{Selector, Selectors};

use super::access::{Access, Who};
use super::keys::{Key, selectors};
use super::{GateConfig, GateConfigError};

/// What everybody may do without a key, as it stands in the configuration: selectors of topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnonymousConfig {
    /// Topics that everybody may publish to.
    pub publish: Vec<String>,
    /// Topics that everybody may read, private events excluded.
    pub subscribe: Vec<String>,
    /// Topics that everybody may configure, close and delete.
    pub manage: Vec<String>,
}

/// The access of somebody without a key.
pub(crate) fn anonymous(config: &GateConfig) -> Result<Access, GateConfigError> {
    let [publish, subscribe, manage] = match &config.anonymous {
        Some(sets) => [
            selectors(&sets.publish, || "anonymous publish".into())?,
            selectors(&sets.subscribe, || "anonymous subscribe".into())?,
            selectors(&sets.manage, || "anonymous manage".into())?,
        ],
        None if config.keys.is_empty() => std::array::from_fn(|_| Selectors::everything()),
        None => std::array::from_fn(|_| Selectors::none()),
    };
    Ok(Access {
        who: Who::Anonymous,
        scope: "anonymous".into(),
        publish: Arc::new(publish),
        subscribe: Arc::new(subscribe),
        manage: Arc::new(manage),
        grant: Arc::new(Selectors::none()),
    })
}

/// The access of a key: what everybody may, and what it grants.
pub(crate) fn of_key(anonymous: &Access, key: Key) -> Access {
    Access {
        scope: format!("key:{}", key.name).into(),
        who: Who::Key { name: key.name },
        publish: union(&anonymous.publish, &key.publish),
        subscribe: union(&anonymous.subscribe, &key.subscribe),
        manage: union(&anonymous.manage, &key.manage),
        grant: Arc::new(key.subscribe),
    }
}

fn union(ours: &Selectors, theirs: &Selectors) -> Arc<Selectors> {
    let all: Vec<Selector> = ours.iter().chain(theirs.iter()).cloned().collect();
    Arc::new(Selectors::new(all))
}
