//! Layout of the data directory.
//!
//! ```text
//! <data-dir>/lock                            lock file, locked while a process uses the directory
//! <data-dir>/format                          format of the directory
//! <data-dir>/wal/<first sequence>.wal        segments of the log, see docs/formats/wal.md
//! <data-dir>/tables/{spans,logs}/            Delta tables, hour=<hour>/<name>.parquet in each
//! <data-dir>/tables/<table>/_index/          an index beside every data file, see docs/formats/index.md
//! <data-dir>/tables.json                     location of the tables if it is elsewhere
//! <data-dir>/cache/{spans,logs}/             cached copies of the files of tables elsewhere
//! <data-dir>/pins                            pinned traces
//! <data-dir>/keys.json                       keys of senders and readers, see tidings-access
//! <data-dir>/audit/                          changes, denied requests and reads, see tidings-audit
//! <data-dir>/tenants/<name>/                 a data directory of each tenant but the default one
//! <data-dir>/scrub                           position of the scrub
//! <data-dir>/erasures/                       records of erasures, one JSON file each
//! <data-dir>/quarantine/                     damaged files, kept for inspection
//! ```

use std::path::{Path, PathBuf};

/// Names in the data directory that belong to the store.
pub const OWN_NAMES: [&str; 19] = [
    "lock",
    "format",
    "format.new",
    "wal",
    "tables",
    "tables.json",
    "tables.json.new",
    "cache",
    "pins",
    "pins.new",
    "keys.json",
    "keys.json.new",
    "keys.json.lock",
    "audit",
    "tenants",
    "scrub",
    "scrub.new",
    "erasures",
    "quarantine",
];

/// Number of digits of a sequence or a version in a file name.
const NUMBER_DIGITS: usize = 20;

/// Paths in a data directory.
#[derive(Debug, Clone)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    /// Creates the paths in the directory of this path.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns the data directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the lock file.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Returns the file of the format.
    pub fn format(&self) -> PathBuf {
        self.root.join("format")
    }

    /// Returns the file of pinned traces.
    pub fn pins(&self) -> PathBuf {
        self.root.join("pins")
    }

    /// Returns the file of the scrub's position.
    pub fn scrub(&self) -> PathBuf {
        self.root.join("scrub")
    }

    /// Returns the folder of the log.
    pub fn wal(&self) -> PathBuf {
        self.root.join("wal")
    }

    /// Returns the folder of the tables.
    pub fn tables(&self) -> PathBuf {
        self.root.join("tables")
    }

    /// Returns the file that tells where the tables are, if they are elsewhere.
    pub fn tables_record(&self) -> PathBuf {
        self.root.join("tables.json")
    }

    /// Returns the folder of cached copies.
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// Returns the folder of records of erasures.
    pub fn erasures(&self) -> PathBuf {
        self.root.join("erasures")
    }

    /// Returns the folder of damaged files.
    pub fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }
}

/// Returns the path of a data file's index: `_index/hour=1/x.index` beside `hour=1/x.parquet`. The
/// path may be absolute or relative to the table's folder. The two files are written and removed
/// together.
pub fn index_path(data_file: &Path) -> PathBuf {
    let folder = data_file.parent().unwrap_or(Path::new(""));
    let table = folder.parent().unwrap_or(Path::new(""));
    let mut path = table.join("_index");
    path.extend(folder.file_name());
    path.extend(data_file.file_name());
    path.set_extension("index");
    path
}

/// Returns the file name of the log segment that begins with a sequence.
pub fn segment_name(first: u64) -> String {
    format!("{first:0NUMBER_DIGITS$}.wal")
}

/// Parses the first sequence of a log segment from its file name. Rejects a sequence beyond 2^62,
/// which no log reaches, because tables store sequences as signed integers with room for later
/// ones.
pub fn segment_first(name: &str) -> Option<u64> {
    numbered(name, ".wal").filter(|first| *first <= 1 << 62)
}

/// Returns the file name of a Delta commit.
pub fn commit_name(version: u64) -> String {
    format!("{version:0NUMBER_DIGITS$}.json")
}

/// Parses the version of a Delta commit from its file name. Rejects a number beyond the signed
/// integers that Delta uses.
pub fn commit_version(name: &str) -> Option<u64> {
    numbered(name, ".json").filter(|version| i64::try_from(*version).is_ok())
}

/// Returns the file name of an erasure's record, given when the erasure began.
pub fn erasure_name(begun: u64) -> String {
    format!("{begun:0NUMBER_DIGITS$}.json")
}

/// Parses the time at which an erasure began from its record's file name.
pub fn erasure_begun(name: &str) -> Option<u64> {
    numbered(name, ".json")
}

/// Parses the flushed position from the name of a data file that a flush wrote.
pub fn flushed_position(data_file: &Path) -> Option<u64> {
    let name = data_file.file_name()?.to_str()?;
    let digits = name.get(..NUMBER_DIGITS)?;
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let rest = name.get(NUMBER_DIGITS..)?;
    (is_plain && rest.starts_with('-')).then(|| digits.parse().ok()).flatten()
}

fn numbered(name: &str, ending: &str) -> Option<u64> {
    let digits = name.strip_suffix(ending)?;
    let plain = digits.len() == NUMBER_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{commit_name, commit_version, index_path, segment_first, segment_name};

    #[test]
    fn an_index_is_named_after_its_data_file() {
        for (data, index) in [
            ("/d/tables/spans/hour=7/a-1.parquet", "/d/tables/spans/_index/hour=7/a-1.index"),
            ("hour=7/a-1.parquet", "_index/hour=7/a-1.index"),
        ] {
            assert_eq!(index_path(Path::new(data)), Path::new(index));
        }
    }

    #[test]
    fn names_carry_their_number() {
        for number in [0, 1, 42, 1 << 62] {
            assert_eq!(segment_first(&segment_name(number)), Some(number));
        }
        for number in [(1 << 62) + 1, 1 << 63, u64::MAX] {
            assert_eq!(segment_first(&segment_name(number)), None);
        }
        for number in [0, 1, 42, i64::MAX.cast_unsigned()] {
            assert_eq!(commit_version(&commit_name(number)), Some(number));
        }
        for number in [1 << 63, u64::MAX] {
            assert_eq!(commit_version(&commit_name(number)), None);
        }
        for name in ["", "1.wal", "00000000000000000001.wal.copy", "+0000000000000000001.wal"] {
            assert_eq!(segment_first(name), None, "{name}");
        }
    }
}
