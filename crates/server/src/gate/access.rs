//! What somebody may do: the answer of the gate, carried with the request.
//!
//! **Invariant:** private events go only to grants of a key; nothing makes them public.

use std::sync::Arc;

use tidings_hub::{Selector, Selectors, TopicName};

use crate::problem::{self, Problem};

/// Who asks, and what they may do: comes with every request that passed the gate. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Access {
    /// Who it is.
    pub who: Who,
    /// Keeps the idempotency keys of different callers apart: callers with equal scopes share them.
    pub scope: Arc<str>,
    /// Topics they may publish to.
    pub publish: Arc<Selectors>,
    /// Topics they may read.
    pub subscribe: Arc<Selectors>,
    /// Topics they may configure, close and delete.
    pub manage: Arc<Selectors>,
    /// Topics whose private events they receive: what their own key grants to read, never what everybody may.
    pub grant: Arc<Selectors>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Nobody in particular: no credentials came.
    Anonymous,
    /// The holder of a configured key.
    Key {
        /// The key's name.
        name: Arc<str>,
    },
}

impl Access {
    /// Everything is allowed, private events included: for tests and for a program that embeds the server.
    pub fn everything() -> Self {
        let all = Arc::new(Selectors::everything());
        Self {
            who: Who::Key { name: "everything".into() },
            scope: "key:everything".into(),
            publish: Arc::clone(&all),
            subscribe: Arc::clone(&all),
            manage: Arc::clone(&all),
            grant: all,
        }
    }

    /// Whether they may publish to a topic.
    ///
    /// # Errors
    /// 401 without credentials, 403 with insufficient ones.
    pub fn may_publish(&self, topic: &TopicName) -> Result<(), Problem> {
        self.decide(self.publish.matches(topic.as_str()), "publish to", topic.as_str())
    }

    /// Whether there is any topic they may publish to: looked at before a body that names its topics is held.
    ///
    /// # Errors
    /// 401 without credentials, 403 with insufficient ones.
    pub fn may_publish_anything(&self) -> Result<(), Problem> {
        self.decide(!self.publish.is_empty(), "publish to", "any topic")
    }

    /// Whether they may configure, close or delete a topic.
    ///
    /// # Errors
    /// 401 without credentials, 403 with insufficient ones.
    pub fn may_manage(&self, topic: &TopicName) -> Result<(), Problem> {
        self.decide(self.manage.matches(topic.as_str()), "manage", topic.as_str())
    }

    /// Whether they may read all that a selector selects.
    ///
    /// # Errors
    /// 401 without credentials, 403 with insufficient ones.
    pub fn may_subscribe(&self, selector: &Selector) -> Result<(), Problem> {
        self.decide(self.subscribe.covers(selector), "subscribe to", selector.as_str())
    }

    /// Whether they may see who is connected and how the hub is configured, and end connections: for who may manage
    /// every topic.
    ///
    /// # Errors
    /// 401 without credentials, 403 with insufficient ones.
    pub fn may_oversee(&self) -> Result<(), Problem> {
        self.decide(self.manage.covers(&Selector::everything()), "manage", "**")
    }

    fn decide(&self, allowed: bool, what: &str, topic: &str) -> Result<(), Problem> {
        match &self.who {
            _ if allowed => Ok(()),
            Who::Anonymous => Err(Problem::new(
                &problem::UNAUTHORIZED,
                format!("to {what} {topic:?} send a key that grants it, as 'Authorization: Bearer KEY'"),
            )),
            Who::Key { name } => Err(Problem::new(
                &problem::FORBIDDEN,
                format!("key {name:?} does not grant to {what} {topic:?}; use a key that does"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(text: &str) -> Arc<Selectors> {
        Arc::new(Selectors::new(vec![Selector::parse(text).unwrap()]))
    }

    #[test]
    fn anonymous_is_asked_for_a_key_and_a_key_is_told_what_it_lacks() {
        let mut access = Access {
            who: Who::Anonymous,
            scope: "anonymous".into(),
            publish: some("in/*"),
            subscribe: some("out/**"),
            manage: Arc::new(Selectors::none()),
            grant: Arc::new(Selectors::none()),
        };
        let topic = |text| TopicName::parse(text).unwrap();
        assert!(access.may_publish(&topic("in/1")).is_ok());
        assert!(access.may_subscribe(&Selector::parse("out/a/*").unwrap()).is_ok());
        for refused in [
            access.may_publish(&topic("out/1")),
            access.may_subscribe(&Selector::parse("**").unwrap()),
            access.may_manage(&topic("in/1")),
        ] {
            assert_eq!(refused.unwrap_err().status(), 401);
        }
        access.who = Who::Key { name: "press".into() };
        assert_eq!(access.may_publish(&topic("out/1")).unwrap_err().status(), 403);
    }
}
