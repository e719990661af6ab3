//! What reading costs in memory: one test, alone in its program and without a harness, because it counts what the whole
//! program does, and a harness has a thread that allocates when it likes.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tidings_codec::{Decoder, ItemRef};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Reads the stream and gives the number of events.
fn read(decoder: &mut Decoder, stream: &[u8], chunk_bytes: usize) -> usize {
    let mut events = 0;
    for chunk in stream.chunks(chunk_bytes) {
        let mut items = decoder.read(chunk);
        while let Some(item) = items.next().expect("within the limit") {
            events += usize::from(matches!(item, ItemRef::Event(_)));
        }
    }
    events
}

fn main() {
    events_that_are_lent_allocate_nothing();
}

fn events_that_are_lent_allocate_nothing() {
    let streams = [
        "data: x\n\n".repeat(1_000),
        "id: 1.2n9c\nevent: reading\ndata: {\"celsius\":21}\n\n".repeat(1_000),
        "retry: 10\r\n: c\r\nid: 7\r\ndata: a\r\ndata: b\r\n\r\n".repeat(1_000),
        format!("data: {}\n\n", "消息".repeat(170)).repeat(100),
        format!("event: e\ndata: {}\ndata: {}\n\n", "x".repeat(9_000), "y".repeat(9_000)).repeat(20),
    ];
    for stream in &streams {
        let stream = stream.as_bytes();
        for chunk_bytes in [16, 128, 1_400, 40_960, stream.len()] {
            let mut decoder = Decoder::new().with_comments(true);
            // The first events find the decoder without memory, which it then keeps.
            let warm = read(&mut decoder, stream, chunk_bytes);
            let region = Region::new(ALLOCATOR);
            let events = read(&mut decoder, stream, chunk_bytes);
            let stats = region.change();
            assert!(warm == events && events >= 20);
            let what = String::from_utf8_lossy(&stream[..40]);
            assert_eq!(
                (stats.allocations, stats.reallocations),
                (0, 0),
                "{what:?} in {chunk_bytes} B chunks"
            );
        }
    }

    // An owned event: its data alone, where there is nothing else to own.
    let mut decoder = Decoder::new();
    let mut items = decoder.read(b"data: hello\n\n");
    let Ok(Some(ItemRef::Event(event))) = items.next() else { panic!("one event") };
    let region = Region::new(ALLOCATOR);
    let message = event.to_message();
    assert_eq!((message.data.len(), region.change().allocations), (5, 1));
}
