//! Reads rows that match a filter from a snapshot, newest source first.

/// How much of each row is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detail {
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

/// What a scan read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScanStats {
    /// Rows looked at.
    pub rows: u64,
    /// Data files opened.
    pub files: u64,
    /// Whether every source that can match was read to its end.
    pub complete: bool,
}
