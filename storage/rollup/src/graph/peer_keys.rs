//! Cache of the locations of peer attributes. `graph_query` of `tidings_snapshot::rollup_query`
//! reads them from the files.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tidings_files::table_file::DataFile;

/// Maximum number of peer columns. The keys of further columns are read from the map.
pub const TELLING_MAX: usize = 12;
/// Maximum number of files in the cache.
const REMEMBERED_MAX: usize = 65_536;

/// Location of a peer attribute in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySource {
    /// No attribute of the file has the key.
    Nowhere,
    /// The key is in the peer column with this index.
    Column(usize),
    /// The key is in the map of attributes.
    Map,
}

/// Locations of the peer attributes in a file.
#[derive(Debug, Default)]
pub struct PeerKeySources {
    /// Location of each peer attribute by its key.
    pub sources: HashMap<&'static str, KeySource>,
    /// Names of the peer columns.
    pub telling: Vec<String>,
}

/// Cache of the locations of peer attributes by file. Files never change, so entries stay valid.
#[derive(Debug, Default)]
pub struct PeerKeys(Mutex<HashMap<PathBuf, Arc<PeerKeySources>>>);

impl PeerKeys {
    /// Drops the entry of a file.
    pub fn invalidate(&self, file: &Path) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(file);
    }

    /// Returns the cached locations of a file.
    pub fn known(&self, file: &DataFile) -> Option<Arc<PeerKeySources>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&file.path).cloned()
    }

    /// Caches the locations of a file.
    pub fn keep(&self, file: &DataFile, keys: &Arc<PeerKeySources>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(file.path.clone(), Arc::clone(keys));
    }
}

impl PeerKeySources {
    /// Adds a peer column and returns its index. `None` when there are too many.
    pub fn place(&mut self, column: &str) -> Option<usize> {
        let place = self.telling.len();
        (place < TELLING_MAX).then(|| self.telling.push(column.to_owned()))?;
        Some(place)
    }
}
