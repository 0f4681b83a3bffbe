//! Damage of files: a finding, and the files of a store that were found damaged since it was opened.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Fault of a file that is not there.
pub(crate) const MISSING: &str = "it is missing";

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// With which file.
    pub path: PathBuf,
    /// Where in it, in bytes, when that is known.
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

/// Files of a store that were found damaged since it was opened, by a scrub or by whoever read them.
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

    /// Forgets a file that was read from end to end and is sound.
    pub(crate) fn note_repair(&self, path: &Path) {
        if self.lock().remove(path).is_some() {
            tracing::info!(path = %path.display(), "a file is no longer damaged");
        }
    }

    /// Forgets files that are no longer used.
    pub(crate) fn invalidate(&self, is_gone: impl Fn(&Path) -> bool) {
        self.lock().retain(|path, _| !is_gone(path));
    }

    /// Number of damaged files.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// One sentence for each file.
    pub(crate) fn alarms(&self) -> Vec<String> {
        self.lock().values().cloned().collect()
    }
}
