//! Seeded mutants: ways to be wrong, placed in the real code, that the crash simulator has to catch one by one.
//!
//! Not part of any build that is used: without the feature `mutants` all of this is `false` at compile time.
//! **Invariant:** without a mutant that was switched on, on this thread, the code does what it does without them.
#![cfg_attr(not(feature = "mutants"), expect(unreachable_pub, reason = "tests see it, with the feature"))]

macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// A way to be wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant {
            $($(#[$doc])* $name),*
        }

        #[cfg(feature = "mutants")]
        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

mutants! {
    /// A batch is not synced.
    SkipDataSync,
    /// A new segment's header is not synced.
    SkipSegmentSync,
    /// A new segment's name is not synced.
    SkipSegmentDirSync,
    /// `META` is replaced by a file whose bytes are not synced.
    SkipMetaSync,
    /// `META`'s new name is not synced.
    SkipMetaDirSync,
    /// A checkpoint gets its name before its bytes are synced.
    SkipCheckpointSync,
    /// A checkpoint's name is not synced.
    SkipCheckpointDirSync,
    /// What a start found in the last segment is shown without being synced.
    SkipStartSync,
    /// A start trusts the system with what a failed sync may have dropped.
    SkipRewrite,
    /// A failed sync is taken for one that may be tried again.
    ForgiveFailedSync,
    /// A checkpoint is written before its records are synced.
    CheckpointBeforeSync,
    /// A record's CRC is not looked at.
    SkipRecordCrc,
    /// A batch header's CRC is not looked at.
    SkipHeaderCrc,
    /// The good records of a torn batch are kept.
    KeepTornBatch,
    /// A header claims that its own bytes had been synced.
    ClaimTooMuch,
    /// Zeros where a batch should stand are taken for the end, whatever stands behind them.
    ZeroGapIsEnd,
    /// Zeros at the end of a segment that takes no more records are taken for room, too.
    RoomEverywhere,
    /// Old history is read from one place too late on.
    ReadOneLate,
    /// Old history is read from one place too early on.
    ReadOneEarly,
    /// A replay leaves out the first record behind the checkpoint.
    ReplayOneLess,
    /// A replay does not delete.
    ReplayNoDelete,
    /// What is answered is not yet written.
    AckBeforeDurable,
    /// What is shown is not yet written.
    ShowBeforeDurable,
    /// What could not be written is not taken back.
    SkipRollback,
    /// After an unclean end in `os` mode the old life goes on.
    KeepLifeAfterLoss,
    /// A start leaves the note of the clean end where it is.
    KeepCleanEnd,
    /// Places of events that are not stored are not reserved.
    SkipReservation,
    /// A replay does not remember keys.
    ReplayNoKeys,
    /// A replay does not remember producers.
    ReplayNoProducers,
    /// A replay remembers a producer's number before the last one.
    ReplayProducerBehind,
    /// A checkpoint has no keys.
    CheckpointNoKeys,
    /// A checkpoint has no producers.
    CheckpointNoProducers,
    /// A checkpoint has the number after a producer's last one.
    CheckpointProducerAhead,
    /// A checkpoint has another place of a producer's last event.
    CheckpointProducerElsewhere,
    /// Old segments are removed, and the checkpoint that knows of it is not written.
    RemoveBeforeCheckpoint,
    /// A checkpoint is begun while the writer is at work on a removal that it does not know of.
    CheckpointBesideRemoval,
    /// A compaction leaves out a part of what is alive.
    CompactDropsLive,
    /// A compacted segment takes its place before a checkpoint knows of what it lacks, so that what was deleted may
    /// come back.
    CompactBeforeCheckpoint,
    /// A compacted segment takes its place before its bytes are synced.
    SkipCompactedSync,
    /// The old segments go before the compacted one's name is synced.
    SkipCompactedDirSync,
    /// Limits take a topic's newest event, too.
    DropLast,
    /// A topic's own limits do.
    TrimLast,
    /// In `os` mode no topic keeps its newest event.
    OsForgetsLast,
    /// A topic's limit by count takes one event too many.
    TrimOneMore,
    /// A topic's limit by age takes what is half as old.
    TrimTooYoung,
    /// The log's limit by count takes what is kept at least.
    DropOneMore,
    /// A sweep takes what is half as old as it has to be.
    SweepTooYoung,
    /// What a sweep takes is told, and still served.
    SweepInSight,
    /// A checkpoint takes each topic's newest event for a tombstone.
    CheckpointAllGone,
    /// A checkpoint takes no topic's newest event for a tombstone.
    CheckpointNoneGone,
    /// A backup leaves out the last batch.
    BackupOneLess,
    /// A restored log goes on in the life that its backup is of.
    RestoreOldLife,
    /// A repair does not note what it writes off.
    RepairUntold,
}

#[cfg(not(feature = "mutants"))]
pub(crate) const fn is_on(_: Mutant) -> bool {
    false
}

#[cfg(feature = "mutants")]
mod switch {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static PRESENT: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    pub(crate) fn is_on(mutant: Mutant) -> bool {
        PRESENT.get() == Some(mutant)
    }

    impl Mutant {
        /// Switches it on for this thread, or all of them off.
        pub fn switch(mutant: Option<Self>) {
            PRESENT.set(mutant);
        }
    }
}

#[cfg(feature = "mutants")]
pub(crate) use switch::is_on;
