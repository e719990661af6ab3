//! The canary: each way to be wrong that is placed in the log is caught by the simulator, and soon.
//!
//! A mutant that survives means that the simulator is blind there. `TIDINGS_SEED=n` in `simulator.rs` has nothing to
//! do with these: each mutant's message says which seed caught it, and why.
#![allow(clippy::print_stdout, reason = "what caught a mutant is worth reading")]

mod common;
#[path = "simulator/model.rs"]
mod model;
#[path = "simulator/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use tidings_log::Mutant;
use world::{BESIDE_FROM, run};

/// Seeds within which each has to be caught.
const SEEDS: u64 = 50_000;

/// The first seed that catches it, and how.
fn hunt(mutant: Mutant) -> Option<(u64, String)> {
    Mutant::switch(Some(mutant));
    // What takes two at work is seen only where there are two; and this so seldom that it is looked for near where it was.
    let from = if mutant == Mutant::CheckpointBesideRemoval { BESIDE_FROM + 31_000 } else { 0 };
    let caught =
        (from..from + SEEDS).find_map(|seed| match catch_unwind(AssertUnwindSafe(|| run(seed, None))) {
            Ok(Ok(_)) => None,
            Ok(Err(message)) => Some((seed, message)),
            Err(_) => Some((seed, "a panic".into())),
        });
    Mutant::switch(None);
    caught
}

macro_rules! caught {
    ($($name:ident: $mutant:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            let caught = hunt(Mutant::$mutant);
            let (seed, message) = caught.unwrap_or_else(|| panic!("{:?} lives", Mutant::$mutant));
            println!("{:?}: seed {seed}: {}", Mutant::$mutant, message.get(..200).unwrap_or(&message));
        })*

        #[test]
        fn every_mutant_is_hunted() {
            assert_eq!(Mutant::ALL, [$(Mutant::$mutant),*], "each has a line below, in the same order");
        }
    };
}

caught! {
    skip_data_sync: SkipDataSync,
    skip_segment_sync: SkipSegmentSync,
    skip_segment_dir_sync: SkipSegmentDirSync,
    skip_meta_sync: SkipMetaSync,
    skip_meta_dir_sync: SkipMetaDirSync,
    skip_checkpoint_sync: SkipCheckpointSync,
    skip_checkpoint_dir_sync: SkipCheckpointDirSync,
    skip_start_sync: SkipStartSync,
    skip_rewrite: SkipRewrite,
    forgive_failed_sync: ForgiveFailedSync,
    checkpoint_before_sync: CheckpointBeforeSync,
    skip_record_crc: SkipRecordCrc,
    skip_header_crc: SkipHeaderCrc,
    keep_torn_batch: KeepTornBatch,
    claim_too_much: ClaimTooMuch,
    zero_gap_is_end: ZeroGapIsEnd,
    room_everywhere: RoomEverywhere,
    read_one_late: ReadOneLate,
    read_one_early: ReadOneEarly,
    replay_one_less: ReplayOneLess,
    replay_no_delete: ReplayNoDelete,
    ack_before_durable: AckBeforeDurable,
    show_before_durable: ShowBeforeDurable,
    skip_rollback: SkipRollback,
    keep_life_after_loss: KeepLifeAfterLoss,
    keep_clean_end: KeepCleanEnd,
    skip_reservation: SkipReservation,
    replay_no_keys: ReplayNoKeys,
    replay_no_producers: ReplayNoProducers,
    replay_producer_behind: ReplayProducerBehind,
    checkpoint_no_keys: CheckpointNoKeys,
    checkpoint_no_producers: CheckpointNoProducers,
    checkpoint_producer_ahead: CheckpointProducerAhead,
    checkpoint_producer_elsewhere: CheckpointProducerElsewhere,
    remove_before_checkpoint: RemoveBeforeCheckpoint,
    checkpoint_beside_removal: CheckpointBesideRemoval,
    compact_drops_live: CompactDropsLive,
    compact_before_checkpoint: CompactBeforeCheckpoint,
    skip_compacted_sync: SkipCompactedSync,
    skip_compacted_dir_sync: SkipCompactedDirSync,
    drop_last: DropLast,
    trim_last: TrimLast,
    os_forgets_last: OsForgetsLast,
    trim_one_more: TrimOneMore,
    trim_too_young: TrimTooYoung,
    drop_one_more: DropOneMore,
    sweep_too_young: SweepTooYoung,
    sweep_in_sight: SweepInSight,
    checkpoint_all_gone: CheckpointAllGone,
    checkpoint_none_gone: CheckpointNoneGone,
    backup_one_less: BackupOneLess,
    restore_old_life: RestoreOldLife,
    repair_untold: RepairUntold,
}
