//! Allocations of each reader on each shape, as JSON: `{shape: {reader: allocations per event}}`.

use std::alloc::System;

use bench_codec::{readers, shapes};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    let mut table = serde_json::Map::new();
    for shape in shapes::all() {
        let mut row = serde_json::Map::new();
        for reader in readers::all() {
            let region = Region::new(ALLOCATOR);
            let events = (reader.read)(&shape.chunks, &mut |_| {});
            let stats = region.change();
            let count = stats.allocations + stats.reallocations;
            row.insert(reader.name.into(), (count as f64 / events.max(1) as f64).into());
        }
        table.insert(shape.name.into(), row.into());
    }
    println!("{}", serde_json::Value::Object(table));
}
