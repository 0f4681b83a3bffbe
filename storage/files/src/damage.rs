//! The list of damaged files of an open store.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tidings_disk::Finding;

/// Fault of a missing file.
pub const MISSING: &str = "it is missing";

/// Files that were found damaged since the store was opened, by a scrub or by a reader.
#[derive(Debug, Default)]
pub struct DamagedFiles(Mutex<BTreeMap<PathBuf, String>>);

impl DamagedFiles {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a finding, and logs the first one of each file.
    pub fn note(&self, finding: &Finding) {
        let known = self.lock().insert(finding.path.clone(), finding.to_string());
        if known.is_none() {
            tracing::error!(%finding, "a file is damaged");
        }
    }

    /// Removes a file that was read from end to end without a fault.
    pub fn note_repair(&self, path: &Path) {
        if self.lock().remove(path).is_some() {
            tracing::info!(path = %path.display(), "a file is no longer damaged");
        }
    }

    /// Removes files that are no longer used.
    pub fn invalidate(&self, is_gone: impl Fn(&Path) -> bool) {
        self.lock().retain(|path, _| !is_gone(path));
    }

    /// Number of damaged files.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Returns one sentence for each damaged file.
    pub fn alarms(&self) -> Vec<String> {
        self.lock().values().cloned().collect()
    }
}
