//! Reads rows that match a filter from a snapshot, newest source first.

use tidings_proto::UnixNanos;

/// How much of each row is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detail {
    /// Ids and times: what finding needs.
    Ids,
    /// Ids, times, kind, status, service and name: what assembly and lists need. The other
    /// accessors of the rows then return empty values.
    Facts,
    /// Facts and attributes of the row and its resource.
    Attributes,
    /// Everything.
    Full,
}

/// How to scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// How much of each row is needed.
    pub detail: Detail,
    /// Stop after looking at this many rows.
    pub rows_max: u64,
}

/// What a scan still has to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Everything that matches.
    All,
    /// What matches from this time on. Older rows may be left out, and the scan is then not
    /// complete; some may still come.
    Since(UnixNanos),
    /// Nothing more.
    Nothing,
}

/// What a scan read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScanStats {
    /// Rows looked at.
    pub rows: u64,
    /// Data files opened.
    pub files: u64,
    /// Whether everything that can match was looked at.
    pub complete: bool,
}
