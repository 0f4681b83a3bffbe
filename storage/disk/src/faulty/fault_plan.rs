//! Planned faults: which operations fail and how, and bugs planted for the tests to find.

use std::{io, path::Path};

/// Number of operations that fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultRepeat {
    /// Only the chosen operation fails.
    Once,
    /// The chosen operation and every later one fails.
    Persistent,
}

/// Kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// `EIO`. Half of a write arrives.
    Io,
    /// `ENOSPC`. Most of a write arrives.
    NoSpace,
    /// `EINTR`. Nothing of a write arrives.
    Interrupted,
    /// A write that returns early. Half of it arrives.
    ShortWrite,
    /// A panic in the calling code, as a bug would cause.
    Panic,
}

impl DiskFault {
    /// The failures that an operation reports, which are all but the panic.
    pub const ALL: [Self; 4] = [Self::Io, Self::NoSpace, Self::Interrupted, Self::ShortWrite];

    pub(super) fn error(self) -> io::Error {
        match self {
            Self::Io | Self::Panic => io::Error::from_raw_os_error(5),
            Self::NoSpace => io::Error::from_raw_os_error(28),
            Self::Interrupted => io::Error::from_raw_os_error(4),
            Self::ShortWrite => io::ErrorKind::WriteZero.into(),
        }
    }

    /// Returns the number of bytes that are written before the fault.
    pub(super) fn arriving(self, bytes: usize) -> usize {
        match self {
            Self::Io | Self::ShortWrite | Self::Panic => bytes / 2,
            Self::NoSpace => bytes - bytes / 4,
            Self::Interrupted => 0,
        }
    }
}

/// A bug of a store, imitated by the disk. A test harness must detect it to prove its worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlantedBug {
    /// Files whose path contains this are not synced.
    SkipFileSync(&'static str),
    /// Names in folders whose path ends with this are not synced.
    SkipFolderSync(&'static str),
    /// A failed sync is retried and its success is trusted.
    BelieveSecondSync,
    /// The log is cut when a segment is closed, instead of when the tables have its records.
    CutLogEarly,
    /// A failed write is treated as successful.
    IgnoreFailedWrite,
}

impl PlantedBug {
    pub(super) fn skips_file(self, path: &Path) -> bool {
        matches!(self, Self::SkipFileSync(part) if path.to_string_lossy().contains(part))
    }

    pub(super) fn skips_folder(self, folder: &Path) -> bool {
        matches!(self, Self::SkipFolderSync(end) if folder.to_string_lossy().ends_with(end))
    }
}
