//! Who is behind, how far, and who is too far: looked at about once a second, over the connections.

use std::sync::atomic::Ordering;

use crate::conn::{Key, State};
use crate::door::Door;
use crate::reactor::Reactor;
use crate::serve::End;

/// Connections that are measured while publishing waits.
const MEASURED_MAX: usize = 1_024;
/// Between two lines in the log about slow subscribers.
const TOLD_EVERY_TICKS: u32 = 100;

/// Seconds of a time, modulo what a connection keeps of it.
#[expect(clippy::cast_possible_truncation, reason = "modulo is what is wanted")]
pub(crate) fn seconds(ms: u64) -> u16 {
    (ms / 1_000) as u16
}

/// One that is behind.
#[derive(Clone, Copy, Debug)]
struct Behind {
    key: Key,
    places: u64,
    ms: u64,
}

impl<D: Door> Reactor<D> {
    /// Measures who lags, and ends who is further behind than the hub allows.
    pub(crate) fn look_at_lag(&mut self) {
        let has_limit = self.hub.limits().has_lag_max();
        if self.lagging == 0 && !has_limit {
            return;
        }
        let (mut live, mut fed) = (Vec::new(), Vec::new());
        for (key, conn) in &self.conns {
            let Ok(key) = Key::try_from(key) else { continue };
            match &conn.state {
                State::Live(_) if conn.lags => live.push(key),
                // The hub measures those.
                State::Fed(one) if has_limit && one.subscription.is_slow() => fed.push(key),
                _ => {}
            }
        }
        let (mut slowest, mut slow) = (None::<Behind>, Vec::new());
        for keys in live.chunks(MEASURED_MAX) {
            self.measure(keys, &mut slowest, &mut slow);
        }
        let (places, ms) = slowest.map_or((0, 0), |slowest| (slowest.places, slowest.ms));
        self.mailbox.lag_max.store(places, Ordering::Relaxed);
        self.mailbox.lag_ms_max.store(ms, Ordering::Relaxed);
        if let Some(worst) = slow.iter().max_by_key(|behind| behind.ms) {
            self.tell_slow(*worst, slow.len());
        }
        for behind in slow {
            self.hub.ended_slow();
            self.end_stream(behind.key, End::Away);
        }
        for key in fed {
            self.end_slow_fed(key);
        }
    }

    fn measure(&mut self, keys: &[Key], slowest: &mut Option<Behind>, slow: &mut Vec<Behind>) {
        let now_ms = self.hub.now_ms();
        let view = self.hub.view();
        for key in keys {
            let Some(conn) = self.conns.get_mut(*key as usize) else { continue };
            let State::Live(cursor) = conn.state else { continue };
            // What fell out of the hot log has no time any more: the last one that was seen stands for it.
            let known_ms = 1_000 * u64::from(seconds(now_ms).wrapping_sub(conn.behind_s));
            let (ms, is_over) = view.behind(cursor.through, now_ms.saturating_sub(known_ms), now_ms);
            conn.behind_s = seconds(now_ms.saturating_sub(ms));
            let behind = Behind { key: *key, places: self.seen.0.saturating_sub(cursor.through.0), ms };
            if slowest.is_none_or(|slowest| behind.ms >= slowest.ms) {
                let places = slowest.map_or(0, |slowest| slowest.places);
                *slowest = Some(Behind { places: places.max(behind.places), ..behind });
            }
            if is_over {
                slow.push(behind);
            }
        }
    }

    /// A slow one that is fed: in order if it stands between two chunks, else as it is.
    fn end_slow_fed(&mut self, key: Key) {
        let Some(conn) = self.conns.get(key as usize) else { return };
        let State::Fed(fed) = &conn.state else { return };
        if fed.out.is_empty() && fed.open == 0 {
            return self.feed(key);
        }
        self.close(key);
    }

    /// Names the slowest of those that are ended, now and then.
    fn tell_slow(&mut self, worst: Behind, streams: usize) {
        if self.now < self.slow_due {
            return;
        }
        self.slow_due = self.now.saturating_add(TOLD_EVERY_TICKS);
        let Some(conn) = self.conns.get(worst.key as usize) else { return };
        let State::Live(cursor) = conn.state else { return };
        let Some(group) = self.groups.get(cursor.group) else { return };
        let events = group.thread.len() - group.thread.partition_point(|place| *place <= cursor.through);
        let topics: Vec<_> = group.spec.filter.selectors().iter().take(4).map(ToString::to_string).collect();
        let peer = conn.socket.peer_addr().map(|peer| peer.to_string()).unwrap_or_default();
        tracing::warn!(
            streams,
            slowest = peer,
            ?topics,
            events,
            behind_ms = worst.ms,
            "too far behind: ended, to come back"
        );
    }
}
