//! Bugs to plant on purpose, to see whether the simulators and the testnet find them.
//!
//! Only a build with the feature `mutants` can have one, chosen by the environment variable `SHOAL_MUTANT`; in every
//! other build [`is`] is false when it is compiled, and nothing of this is left.

/// A bug that can be planted: each breaks one promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    AckBeforeSync,
    AckAtLeaderAlone,
    VoteNotKept,
    RemovalNotKept,
    CutAtApplied,
    SyncedMarkIgnored,
    SyncErrorSwallowed,
    SameReplicaAfterDoubt,
    ServedBeforeFirstEntry,
    ReadWithoutBarrier,
    WindowsDroppedAtNewLeader,
    DuplicateTaken,
    KeyForgotten,
    OffsetAtPropose,
    PositionsNotHeld,
    StateApartFromPositions,
    RowsNotKept,
    SnapshotWithoutPositions,
    SnapshotWithoutWindows,
    WatermarkFalls,
    GapTaken,
}

/// Every mutant: its name for `SHOAL_MUTANT`, and what it does.
pub const ALL: &[(&str, Mutant, &str)] = &[
    ("ack-before-sync", Mutant::AckBeforeSync, "what is written counts as synced"),
    ("ack-at-leader", Mutant::AckAtLeaderAlone, "a leader takes its own disk for a quorum"),
    ("vote-not-kept", Mutant::VoteNotKept, "a vote without entries is not written"),
    ("removal-not-kept", Mutant::RemovalNotKept, "a committed configuration is not written"),
    ("cut-at-applied", Mutant::CutAtApplied, "the journal is cut where tables do not reach yet"),
    ("synced-mark-ignored", Mutant::SyncedMarkIgnored, "rot at the journal's end is called torn"),
    ("sync-error-swallowed", Mutant::SyncErrorSwallowed, "a failed sync counts as done"),
    ("same-replica", Mutant::SameReplicaAfterDoubt, "a doubted replica goes on under its old id"),
    ("served-early", Mutant::ServedBeforeFirstEntry, "a leader answers before its first entry"),
    ("no-barrier", Mutant::ReadWithoutBarrier, "reads are answered without asking a quorum"),
    ("windows-dropped", Mutant::WindowsDroppedAtNewLeader, "a new leader forgets who sent what"),
    ("duplicate-taken", Mutant::DuplicateTaken, "a producer's repeated batch is appended again"),
    ("key-forgotten", Mutant::KeyForgotten, "a repeated idempotency key is appended again"),
    ("offset-at-propose", Mutant::OffsetAtPropose, "offsets are given before the log is agreed on"),
    ("positions-not-held", Mutant::PositionsNotHeld, "what a commit assumes is not checked"),
    ("state-apart", Mutant::StateApartFromPositions, "a refused commit still changes rows"),
    ("rows-not-kept", Mutant::RowsNotKept, "a checkpoint leaves out some changed rows"),
    ("snapshot-no-positions", Mutant::SnapshotWithoutPositions, "snapshots come without positions"),
    ("snapshot-no-windows", Mutant::SnapshotWithoutWindows, "snapshots come without who sent what"),
    ("watermark-falls", Mutant::WatermarkFalls, "a task begins again without its watermark"),
    ("gap-taken", Mutant::GapTaken, "a sender's number that skips some is appended"),
];

/// Whether this bug is planted here.
#[cfg(not(feature = "mutants"))]
#[inline]
pub const fn is(_: Mutant) -> bool {
    false
}

/// Whether this bug is planted here. A name that no mutant has is a panic: a run without a bug would prove nothing.
#[cfg(feature = "mutants")]
pub fn is(mutant: Mutant) -> bool {
    use std::sync::OnceLock;
    static CHOSEN: OnceLock<Option<Mutant>> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let name = std::env::var("SHOAL_MUTANT").ok()?;
        let found = ALL.iter().find(|(known, ..)| *known == name);
        Some(found.unwrap_or_else(|| panic!("no mutant is called {name}")).1)
    });
    *chosen == Some(mutant)
}
