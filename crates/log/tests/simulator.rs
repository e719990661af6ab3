//! The log in a seeded world: random work, faults, loss of power between any two calls, also while it starts.
//!
//! A failing seed is named in the message; `TIDINGS_SEED=n` runs that one alone and tells what happens in it,
//! `TIDINGS_SEEDS=n` runs that many. The canaries run the same world on
//! disks that break a promise, and must fail: they prove that this test can.
#![allow(clippy::print_stdout, reason = "one seed alone tells what happens in it")]

mod common;
#[path = "simulator/model.rs"]
mod model;
#[path = "simulator/world.rs"]
mod world;

use tidings_testkit::disk::Lie;
use world::World;

const SEEDS: u64 = 1_000;

fn run(seed: u64, lie: Option<Lie>) -> Result<u64, String> {
    let mut world = World::seeded(seed, lie);
    for _ in 0..40 {
        world.step()?;
    }
    world.finish()
}

#[test]
fn no_seed_loses_repeats_or_resurrects_anything() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let count = number("TIDINGS_SEEDS").unwrap_or(SEEDS);
    let seeds = number("TIDINGS_SEED").map_or(0..count, |seed| seed..seed + 1);
    let mut acked = 0;
    for seed in seeds {
        match run(seed, None) {
            Ok(count) => acked += count,
            Err(message) => panic!("seed {seed} (repeat it with TIDINGS_SEED={seed}): {message}"),
        }
    }
    assert!(acked > 0, "the world did something");
}

#[test]
fn canary_a_disk_whose_syncs_do_nothing_is_noticed() {
    assert!((0..20).any(|seed| run(seed, Some(Lie::Sync)).is_err()));
}

#[test]
fn canary_a_directory_whose_syncs_do_nothing_is_noticed() {
    assert!((0..40).any(|seed| run(seed, Some(Lie::SyncDir)).is_err()));
}

#[test]
fn canary_a_disk_that_hides_failed_syncs_is_noticed() {
    assert!((0..200).any(|seed| run(seed, Some(Lie::SyncErrors)).is_err()));
}
