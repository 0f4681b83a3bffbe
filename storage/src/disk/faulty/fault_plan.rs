//! Planned faults: which operations fail and how, and bugs planted for the tests to find.

use std::{io, path::Path};

/// How often an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultRepeat {
    /// Only that operation fails.
    Once,
    /// That and every later one fails.
    Persistent,
}

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiskFault {
    /// `EIO`; half of a write arrives.
    Io,
    /// `ENOSPC`; most of a write arrives.
    NoSpace,
    /// `EINTR`; nothing of a write arrives.
    Interrupted,
    /// A write that returned early; half of it arrives.
    ShortWrite,
    /// Whoever does it panics, as from a bug of ours.
    Panic,
}

impl DiskFault {
    pub(crate) const ALL: [Self; 4] =
        [Self::Io, Self::NoSpace, Self::Interrupted, Self::ShortWrite];

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

/// A mistake that a store could make, made by the disk in its place: a harness that does not
/// notice it proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlantedBug {
    /// Files whose path has this in it are not synced.
    SkipFileSync(&'static str),
    /// The names in folders whose path ends so are not synced.
    SkipFolderSync(&'static str),
    /// A failed sync is tried again and its success believed.
    BelieveSecondSync,
    /// The log is cut when a segment is closed and not when the tables have its records.
    CutLogEarly,
    /// A failed write is taken for a good one.
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
