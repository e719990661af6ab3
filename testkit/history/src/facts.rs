//! The log as all saw it together: what stands where, put together from acks and sightings, and where these
//! contradict each other. Says nothing of order as readers met it (that is `walk`).

use super::check::Found;
use super::place::{Id, Place};
use super::{History, Sent, Sighting, View, Violation, index, pattern};

/// What stands at one place of the log.
pub(super) struct Entry<'a> {
    pub(super) place: Place,
    pub(super) id: &'a str,
    pub(super) publish: Option<&'a Sent>,
}

/// The log, put together from acks and sightings.
pub(super) struct Facts<'a> {
    /// Ascending by place, one for each.
    pub(super) entries: Vec<Entry<'a>>,
    /// By sighting: its entry.
    pub(super) of_sighting: Vec<Option<usize>>,
    /// By number of publishes sent: the first entry that any later publish has.
    pub(super) tail_after: Vec<usize>,
    /// By topic: the last place that may be gone.
    pub(super) removed: Vec<Option<Place>>,
}

/// Somebody's word for what stands at a place.
struct Claim<'a> {
    place: Place,
    id: &'a Id,
    value: &'a str,
    /// `None`: the publisher's word, which sorts before those of readers.
    sighting: Option<usize>,
}

impl<'a> Facts<'a> {
    pub(super) fn gather(history: &'a History, found: &mut Found) -> Self {
        let mut claims = Vec::with_capacity(history.publishes.len() + history.sightings.len());
        for sent in &history.publishes {
            if let Some((id, place)) = sent.acked.as_ref().and_then(|id| Some((id, id.place?))) {
                // An ack may leave the publisher's own id out; what readers are told has it.
                if id.publisher().is_some_and(|own| sent.id.as_deref() != Some(own)) {
                    let (value, id) = (sent.value.clone(), id.text.clone());
                    found.add(|| Violation::WrongPublisherId { value, id });
                }
                claims.push(Claim { place, id, value: &sent.value, sighting: None });
            }
        }
        for (number, sighting) in history.sightings.iter().enumerate() {
            judge_sighting(history, sighting, found);
            if let Some(place) = sighting.id.place {
                let (id, value) = (&sighting.id, &*sighting.value);
                claims.push(Claim { place, id, value, sighting: Some(number) });
            }
        }
        claims.sort_by_key(|claim| (claim.place, claim.sighting));

        let mut entries = Vec::new();
        let mut of_sighting = vec![None; history.sightings.len()];
        let mut of_publish: Vec<Option<usize>> = vec![None; history.publishes.len()];
        for group in claims.chunk_by(|a, b| a.place == b.place) {
            let Some(first) = group.first() else { continue };
            judge_place(group, found);
            let entry = entries.len();
            let publish = |value: &str| history.by_value.get(value).map(|number| index(*number));
            for claim in group {
                if let Some(number) = claim.sighting {
                    of_sighting[number] = Some(entry);
                }
                let Some(number) = publish(claim.value) else { continue };
                match of_publish[number] {
                    Some(earlier) if earlier != entry => {
                        judge_two_places(&history.publishes[number], &entries, earlier, claim, found);
                    }
                    _ => of_publish[number] = Some(entry),
                }
            }
            let publish = publish(first.value).map(|number| &history.publishes[number]);
            entries.push(Entry { place: first.place, id: &first.id.text, publish });
        }

        let mut tail_after = vec![entries.len(); of_publish.len() + 1];
        for (number, entry) in of_publish.iter().enumerate().rev() {
            tail_after[number] = tail_after[number + 1].min(entry.unwrap_or(usize::MAX));
        }
        let removed = history.topics.list.iter().map(|topic| {
            let of_topic = history.removed.iter().filter(|(removed, _)| pattern::matches(removed, topic));
            of_topic.filter_map(|(_, through)| through.place).max()
        });
        Self { removed: removed.collect(), entries, of_sighting, tail_after }
    }

    /// The first entry past a place.
    pub(super) fn after(&self, place: Place) -> usize {
        self.entries.partition_point(|entry| entry.place <= place)
    }

    /// What each entry is to a view.
    pub(super) fn statuses(&self, history: &History, view: &View) -> Vec<Status> {
        let names = &history.topics.list;
        let wanted: Vec<_> = names.iter().map(|topic| pattern::any(&view.wants, topic)).collect();
        let granted: Vec<_> = names.iter().map(|topic| pattern::any(&view.granted, topic)).collect();
        let status = |entry: &Entry<'_>| {
            let Some(sent) = entry.publish else { return Status::Unknown };
            let event = sent.event.as_deref().unwrap_or("message");
            let of_type = view.events.is_empty() || view.events.iter().any(|kept| **kept == *event);
            let may = !sent.private || sent.topics.iter().any(|topic| granted[index(*topic)]);
            match of_type && sent.topics.iter().any(|topic| wanted[index(*topic)]) {
                true if may => Status::Owed,
                true => Status::Forbidden,
                false => Status::Unwanted,
            }
        };
        self.entries.iter().map(status).collect()
    }
}

/// A sighting against what was sent.
fn judge_sighting(history: &History, sighting: &Sighting, found: &mut Found) {
    let reader = || history.readers.get(index(sighting.by.0)).map_or_else(Box::default, |r| r.name.clone());
    let (id, value) = (|| sighting.id.text.clone(), || sighting.value.clone());
    if sighting.id.place.is_none() {
        found.add(|| Violation::NotAnId { by: reader(), text: id() });
    }
    let sent = history.by_value.get(&sighting.value).and_then(|at| history.publishes.get(index(*at)));
    let Some(sent) = sent else {
        return found.add(|| Violation::NeverSent { reader: reader(), id: id(), value: value() });
    };
    if sighting.id.publisher() != sent.id.as_deref() {
        found.add(|| Violation::WrongPublisherId { value: value(), id: id() });
    }
    if sent.refused {
        found.add(|| Violation::RefusedSeen { reader: reader(), value: value() });
    }
    if let Some(label) = &sighting.topic {
        let published = |topic: &u32| history.topics.list.get(index(*topic)) == Some(label);
        if !sent.topics.iter().any(published) {
            found.add(|| Violation::WrongTopic { reader: reader(), id: id(), topic: label.clone() });
        }
    }
}

/// All that is said of one place against itself.
fn judge_place(claims: &[Claim<'_>], found: &mut Found) {
    let Some((first, others)) = claims.split_first() else { return };
    if let Some(other) = others.iter().find(|other| other.value != first.value) {
        let (id, one, other) = (first.id.text.clone(), first.value.into(), other.value.into());
        found.add(|| Violation::TwoValues { id, one, other });
    }
}

/// A value that stands at an earlier entry and at the claim's place.
fn judge_two_places(
    sent: &Sent,
    entries: &[Entry<'_>],
    earlier: usize,
    claim: &Claim<'_>,
    found: &mut Found,
) {
    let value = sent.value.clone();
    let one: Box<str> = entries.get(earlier).map_or_else(Box::default, |entry| entry.id.into());
    let other = claim.id.text.clone();
    found.add(|| match &sent.acked {
        Some(acked) if acked.place == Some(claim.place) => {
            Violation::IdNotAcked { value, acked: other, seen: one }
        }
        Some(acked) => Violation::IdNotAcked { value, acked: acked.text.clone(), seen: other },
        None => Violation::TwoIds { value, one, other },
    });
}

/// What an event is to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// Asked for and allowed: it must come.
    Owed,
    /// Not asked for: it must not come.
    Unwanted,
    /// Asked for, private and not granted: it must not come.
    Forbidden,
    /// Nobody sent it (told elsewhere).
    Unknown,
}
