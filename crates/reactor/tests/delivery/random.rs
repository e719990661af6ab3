//! Many readers at their own pace, a hot log that is too small, events of all sizes: what each read is held against what
//! was published.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidings_hub::Limits;
use tidings_hub::ports::Op;

use crate::world::{Item, World, event, eventually};

/// A little generator (SplitMix64): the order of threads is not repeatable, what is published is.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

#[track_caller]
fn check(seed: u64, hot_log_bytes: usize, events: u64) {
    let limits =
        Limits { hot_log_bytes, event_bytes_max: hot_log_bytes / 4, retry_ms: 1, ..Limits::default() };
    let world = Arc::new(World::new(limits));
    let mut random = Random(seed);
    let wishes = ["t0", "t1", "t0,t2", "t*", "t1,t3", "**", "t4", "t0"];
    let start = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::new();
    for (number, wish) in wishes.iter().cycle().take(24).enumerate() {
        let mut reader = world.reader(&format!("S {wish}"));
        let (seed, start, world) = (random.below(u64::MAX), Arc::clone(&start), Arc::clone(&world));
        readers.push(std::thread::spawn(move || {
            let mut random = Random(seed);
            let (mut seen, mut id, mut connections) = (Vec::new(), String::new(), 1);
            while !start.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            'stream: loop {
                // Each reader reads in spurts of its own.
                let spurt = 1 + random.below(60);
                let mut left = spurt;
                let items = reader.blocks(|block| {
                    left -= 1;
                    left == 0 || block.contains("data: end")
                });
                for item in items {
                    match item {
                        Item::Block(block) => {
                            let mut lines = block.lines();
                            let Some(line) = lines.next().filter(|line| line.starts_with("id: ")) else {
                                assert!(block.starts_with("retry: "), "no gap was due: {block}");
                                continue;
                            };
                            id = line["id: ".len()..].to_owned();
                            let Some(data) = lines.next() else { continue };
                            let data = data.strip_prefix("data: ").unwrap();
                            if data == "end" {
                                break 'stream;
                            }
                            let (number, rest) = data.split_once(' ').unwrap();
                            let (bytes, fill) = rest.split_once(' ').unwrap();
                            assert_eq!((fill.len() - 1).to_string(), bytes, "half an event");
                            seen.push(number.parse::<u64>().unwrap());
                        }
                        Item::End | Item::Cut => panic!("nobody ended it: {item:?}, {}", reader.begun),
                    }
                }
                // Some come back, some sleep.
                if random.below(12) == 0 && !id.is_empty() {
                    let wish = ["t0", "t1", "t0,t2", "t*", "t1,t3", "**", "t4", "t0"][number % 8];
                    reader = world.reader(&format!("S {wish} {id}"));
                    connections += 1;
                } else if random.below(3) == 0 {
                    std::thread::sleep(Duration::from_micros(random.below(3_000)));
                }
            }
            (seen, connections)
        }));
    }
    let mut published = Vec::new();
    start.store(true, Ordering::SeqCst);
    let mut number = 0;
    while number < events {
        let batch = 1 + random.below(40);
        let mut ops = Vec::new();
        for _ in 0..batch {
            let topic = random.below(5);
            let bytes = match random.below(20) {
                0 => random.below(9_000),
                1 => 0,
                _ => random.below(300),
            };
            let fill = "y".repeat(usize::try_from(bytes).unwrap());
            ops.push(Op::Publish(event(&format!("t{topic}"), &format!("{number} {bytes} {fill}."))));
            published.push((number, topic));
            number += 1;
        }
        world.submit(ops);
        if random.below(4) == 0 {
            std::thread::sleep(Duration::from_micros(random.below(2_000)));
        }
    }
    for topic in 0..5 {
        world.publish(&format!("t{topic}"), "end");
    }
    let (mut reconnects, mut deliveries) = (0, 0);
    for (reader, wish) in readers.into_iter().zip(wishes.iter().cycle()) {
        let (seen, connections) = reader.join().unwrap();
        let wants =
            |topic: u64| wish.contains('*') || wish.split(',').any(|name| name == format!("t{topic}"));
        let expected: Vec<u64> = published.iter().filter(|(_, t)| wants(*t)).map(|(n, _)| *n).collect();
        assert_eq!(seen.len(), expected.len(), "{wish}");
        assert!(seen == expected, "{wish}: out of order or not the same");
        reconnects += connections - 1;
        deliveries += seen.len();
    }
    assert!(reconnects > 0 && deliveries > 0);
    eventually("all are gone", || world.hub.subscribers() == 0);
}

#[test]
fn every_reader_gets_its_part_of_the_log_whole_and_in_order() {
    check(1, 64 << 20, 6_000);
}

#[test]
fn also_when_the_hot_log_is_far_too_small() {
    check(2, 256 << 10, 6_000);
    check(3, 128 << 10, 3_000);
}
