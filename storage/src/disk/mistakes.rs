//! Mistakes that the store could make, for simulations that have to notice them.
//!
//! Where the order of two steps matters, the store asks its disk whether to make the mistake. The
//! machine's disk never says so; one in a test does, and a simulation that then finds nothing
//! wrong would not find a mistake of ours either. No data type knows of this.

/// A mistake at one place of the store's logic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// The tables' positions are not looked at when the log is replayed.
    IgnorePosition,
    /// A flush says to cover more of the log than it does.
    CoverTooMuch,
    /// The log is cut before the tables have what is in it.
    CutLogBeforeCommit,
    /// A commit that was in doubt and has landed is not made visible.
    ForgetLandedCommit,
    /// A merge leaves out one of the files that it replaces.
    MergeWithoutFirst,
    /// A merge replaces all of its files but one.
    KeepOneMerged,
    /// The files of a merge are deleted before its commit.
    DeleteBeforeCommit,
    /// Retention does not look at pins.
    IgnorePins,
    /// Retention believes every clock.
    BelieveClock,
    /// Retention counts age from the time of the rows alone.
    AgeByTime,
    /// Erasure looks at one file of each table.
    EraseOneFile,
    /// Erasure does not look at memory.
    EraseWithoutMemory,
    /// What the log could not write becomes visible.
    PublishRefused,
    /// What the log could not write is acknowledged.
    AcknowledgeRefused,
}

/// Whoever decides which mistake is made.
pub(crate) trait Mistakes {
    /// Whether the store is to make it.
    fn makes(&self, _: Mistake) -> bool {
        false
    }
}
