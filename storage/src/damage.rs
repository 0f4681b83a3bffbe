//! Damage of files: a finding, and the list of damaged files of an open store.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Fault of a missing file.
pub(crate) const MISSING: &str = "it is missing";

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
    pub(crate) fn new(path: &Path, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), offset: None, what: what.into() }
    }

    pub(crate) fn at(path: &Path, offset: u64, what: impl Into<String>) -> Self {
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

/// Files that were found damaged since the store was opened, by a scrub or by a reader.
#[derive(Debug, Default)]
pub(crate) struct DamagedFiles(Mutex<BTreeMap<PathBuf, String>>);

impl DamagedFiles {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a finding, and logs the first one of each file.
    pub(crate) fn note(&self, finding: &Finding) {
        let known = self.lock().insert(finding.path.clone(), finding.to_string());
        if known.is_none() {
            tracing::error!(%finding, "a file is damaged");
        }
    }

    /// Removes a file that was read from end to end without a fault.
    pub(crate) fn note_repair(&self, path: &Path) {
        if self.lock().remove(path).is_some() {
            tracing::info!(path = %path.display(), "a file is no longer damaged");
        }
    }

    /// Removes files that are no longer used.
    pub(crate) fn invalidate(&self, is_gone: impl Fn(&Path) -> bool) {
        self.lock().retain(|path, _| !is_gone(path));
    }

    /// Number of damaged files.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Returns one sentence for each damaged file.
    pub(crate) fn alarms(&self) -> Vec<String> {
        self.lock().values().cloned().collect()
    }
}
