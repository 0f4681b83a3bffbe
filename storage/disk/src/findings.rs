//! Findings of a verification of files, and their counts.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// A finding about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// Offset in the file in bytes, when known.
    pub offset: Option<u64>,
    /// Description of the fault.
    pub what: String,
}

impl Finding {
    /// Creates a finding about a whole file.
    pub fn new(path: &Path, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), offset: None, what: what.into() }
    }

    /// Creates a finding about a place in a file.
    pub fn at(path: &Path, offset: u64, what: impl Into<String>) -> Self {
        Self { offset: Some(offset), ..Self::new(path, what) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// Counts of verified objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CheckSummary {
    /// Segments of the log.
    pub segments: u64,
    /// Records in them.
    pub records: u64,
    /// Commits of the tables.
    pub commits: u64,
    /// Data files.
    pub data_files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Number of findings.
    pub findings: u64,
}

/// Counts findings, and passes them to a callback.
pub struct Findings<'a> {
    /// The counts so far.
    pub summary: CheckSummary,
    /// Receives each finding.
    pub report: &'a mut (dyn FnMut(&Finding) + Send),
}

impl fmt::Debug for Findings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Findings").field("summary", &self.summary).finish_non_exhaustive()
    }
}

impl Findings<'_> {
    /// Adds a finding.
    pub fn add(&mut self, finding: Finding) {
        self.summary.findings += 1;
        (self.report)(&finding);
    }
}
