//! Sidecars against what was put into them, at any size, and with any byte of them changed.

use std::sync::Arc;

use parking_lot::Mutex;
use tidings_hub::{EventBody, TopicName, Topics, What};

use super::*;
use crate::stream::tests::Bytes;

const BASE: Seq = Seq(100);

fn names(topics: u64, event: u64) -> Topics {
    let name = |n: u64| TopicName::parse(&format!("t/{}", n % topics)).unwrap();
    // Every seventh has a second topic.
    let all = if event.is_multiple_of(7) && topics > 1 {
        vec![name(event), name(event + 1)]
    } else {
        vec![name(event)]
    };
    all.into_iter().collect()
}

fn built(topics: u64, events: u64) -> Builder {
    let mut builder = Builder::new(BASE);
    for event in 0..events {
        let body = EventBody { data: vec![b'x'; (event % 9) as usize].into(), ..EventBody::default() };
        let record = Record {
            seq: Seq(BASE.0 + event * 2),
            time_ms: 1_000 + event,
            topics: names(topics, event),
            what: What::Event(body),
        };
        builder.push(&record, 96 + event * 100);
    }
    builder
}

fn stored(builder: &Builder) -> Arc<Bytes> {
    let file = Arc::new(Bytes::default());
    builder.store(7, 999, &*file).unwrap();
    file
}

#[test]
fn every_topic_is_found_on_disk_as_it_was_in_memory() {
    for (topics, events) in [(1, 1), (1, 5_000), (63, 63), (64, 200), (65, 65), (1_000, 3_000), (1, 0)] {
        let builder = built(topics, events);
        let file = stored(&builder);
        let table = Table::load(&*file, BASE, 7, 999).unwrap().unwrap();
        assert_eq!(table.events, builder.events());
        let mut all = Vec::new();
        for group in 0..table.groups() {
            all.extend(table.read(&*file, group, |_| true).unwrap().unwrap());
        }
        assert!(all.is_sorted_by(|a, b| a.name < b.name));
        assert_eq!(all.len(), builder.threads.len());
        for row in &all {
            let name = row.name.as_str();
            assert_eq!(table.find(&*file, name).unwrap().unwrap().as_ref(), Some(row));
            assert_eq!(table.entries(&*file, row).unwrap().unwrap(), builder.entries(name));
            assert_eq!((u64::from(row.count), row.bytes), builder.totals(name));
            let last_ms = builder.threads.get(name).unwrap().last_ms;
            assert_eq!(builder.time_max_ms() - u64::from(row.last_before_ms), last_ms);
            assert_eq!(builder.entries(name).last().unwrap().seq(BASE), row.last(BASE));
        }
        for absent in ["", "a", "t/", "t/0000", "t/99999", "z"] {
            assert_eq!(table.find(&*file, absent).unwrap(), Some(None), "{absent}");
        }
        for seq in (0..events * 2 + 9).step_by(37) {
            assert_eq!(table.mark_before(Seq(95 + seq)), builder.mark_before(Seq(95 + seq)));
        }
        assert!(Table::load(&*file, BASE, 8, 999).unwrap().is_none(), "of another segment");
        assert!(Table::load(&*file, BASE, 7, 998).unwrap().is_none(), "of another length");
    }
}

#[test]
fn no_changed_byte_gives_another_answer() {
    let builder = built(70, 150);
    let file = stored(&builder);
    let len = file.0.lock().len();
    for at in 0..len {
        file.0.lock()[at] ^= 0x20;
        if let Some(table) = Table::load(&*file, BASE, 7, 999).unwrap() {
            for n in 0..70 {
                let name = format!("t/{n}");
                let Some(row) = table.find(&*file, &name).unwrap() else { continue };
                let row = row.unwrap_or_else(|| panic!("byte {at}: {name} is not found"));
                if let Some(entries) = table.entries(&*file, &row).unwrap() {
                    assert_eq!(entries, builder.entries(&name), "byte {at}");
                }
            }
        }
        file.0.lock()[at] ^= 0x20;
    }
    for cut in 0..len {
        let short = Bytes(Mutex::new(file.0.lock()[..cut].to_vec()));
        assert!(Table::load(&short, BASE, 7, 999).unwrap().is_none());
    }
}

#[test]
fn many_topics_of_one_event_cost_little() {
    let events = 200_000;
    let mut builder = built(events, 0);
    for event in 0..events {
        let topics = [TopicName::parse(&format!("devices/{event:07}")).unwrap()].into_iter().collect();
        let what = What::Event(EventBody::default());
        builder.push(&Record { seq: Seq(BASE.0 + event), time_ms: event, topics, what }, event * 100);
    }
    let each = builder.threads.bytes() / usize::try_from(events).unwrap();
    assert!(each <= 64, "{each} bytes");
    let file = stored(&builder);
    let table = Table::load(&*file, BASE, 7, 999).unwrap().unwrap();
    let each = table.bytes_in_memory() * 10 / usize::try_from(events).unwrap();
    assert!(each <= 20, "{each} tenths of a byte");
}
