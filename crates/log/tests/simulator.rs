//! The log in a seeded world: random work, faults, loss of power between any two calls, also while it starts.
//!
//! A failing seed is named in the message; `TIDINGS_SEED=n` runs that one alone and tells what happens in it.
//! `cargo xtask simulate` runs many, in release. The canaries run the same world on disks that break a promise, and
//! must fail: they prove that this test can. Mutants of the log itself: `mutants.rs`.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "one seed alone tells what happens in it; a campaign tells how far it is, and how fast"
)]

#[path = "simulator/campaign.rs"]
mod campaign;
mod common;
#[path = "simulator/model.rs"]
mod model;
#[path = "simulator/world.rs"]
mod world;

use tidings_testkit::disk::Lie;
use world::run;

/// What CI runs; each seed has several lives and losses of power.
const SEEDS: u64 = 1_000;

#[test]
fn no_seed_loses_repeats_or_resurrects_anything() {
    let campaign = campaign::Campaign::from_environment(SEEDS);
    let (tally, violations) = campaign.run();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    assert!(tally.acked > 0 && tally.starts > campaign.seeds(), "the world did something: {tally:?}");
}

#[test]
fn nor_does_one_with_the_keeper_at_work_in_the_middle_of_it() {
    let (tally, violations) = campaign::Campaign::of(world::BESIDE_FROM, SEEDS).run();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    assert!(tally.acked > 0 && tally.starts > SEEDS, "the world did something: {tally:?}");
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
