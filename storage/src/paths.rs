//! Where every file of the data directory is.
//!
//! ```text
//! <data-dir>/lock                            held while a process works on the directory
//! <data-dir>/format                          which format the directory has
//! <data-dir>/wal/<first sequence>.wal        the write-ahead log, see docs/formats/wal.md
//! <data-dir>/tables/{spans,logs}/            Delta tables, hour=<hour>/<name>.parquet in each
//! <data-dir>/tables/<table>/_index/          an index beside every data file, see docs/formats/index.md
//! <data-dir>/tables.json                     where the tables are when they are not in here
//! <data-dir>/cache/{spans,logs}/             copies of files of tables that are not in here
//! <data-dir>/pins                            which traces are pinned
//! <data-dir>/keys.json                       keys of senders and readers, see tidings-access
//! <data-dir>/audit/                          changes, denied requests and reads, see tidings-audit
//! <data-dir>/tenants/<name>/                 a data directory of each tenant but the default one
//! <data-dir>/scrub                           up to where files were verified
//! <data-dir>/erasures/                       what was erased when, one JSON file each
//! <data-dir>/quarantine/                     damaged files, kept for a person to look at
//! ```

use std::path::{Path, PathBuf};

/// Names in the data directory of what is the store's own.
pub(crate) const OWN_NAMES: [&str; 19] = [
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

/// The digits of a sequence or a version in a file name.
const NUMBER_DIGITS: usize = 20;

/// The layout of a data directory.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    root: PathBuf,
}

impl Paths {
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(crate) fn format(&self) -> PathBuf {
        self.root.join("format")
    }

    pub(crate) fn pins(&self) -> PathBuf {
        self.root.join("pins")
    }

    pub(crate) fn scrub(&self) -> PathBuf {
        self.root.join("scrub")
    }

    pub(crate) fn wal(&self) -> PathBuf {
        self.root.join("wal")
    }

    pub(crate) fn tables(&self) -> PathBuf {
        self.root.join("tables")
    }

    pub(crate) fn tables_record(&self) -> PathBuf {
        self.root.join("tables.json")
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    pub(crate) fn erasures(&self) -> PathBuf {
        self.root.join("erasures")
    }

    pub(crate) fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }
}

/// The index of a data file: `_index/hour=1/x.index` beside `hour=1/x.parquet`, whether the path
/// is absolute or begins in the table's folder. The two are written and removed together.
pub(crate) fn index_path(data_file: &Path) -> PathBuf {
    let folder = data_file.parent().unwrap_or(Path::new(""));
    let table = folder.parent().unwrap_or(Path::new(""));
    let mut path = table.join("_index");
    path.extend(folder.file_name());
    path.extend(data_file.file_name());
    path.set_extension("index");
    path
}

/// The file of the log segment that begins with a sequence.
pub(crate) fn segment_name(first: u64) -> String {
    format!("{first:0NUMBER_DIGITS$}.wal")
}

/// Returns the first sequence of a log segment from its file name. Tables keep sequences as signed
/// integers with room for later ones. A name with a sequence beyond 2^62 is not a segment's: no log
/// gets there.
pub(crate) fn segment_first(name: &str) -> Option<u64> {
    numbered(name, ".wal").filter(|first| *first <= 1 << 62)
}

/// The file of a Delta commit.
pub(crate) fn commit_name(version: u64) -> String {
    format!("{version:0NUMBER_DIGITS$}.json")
}

/// Returns the version of a Delta commit from its file name. Delta counts versions as signed
/// integers: a name with a greater number is not a commit's.
pub(crate) fn commit_version(name: &str) -> Option<u64> {
    numbered(name, ".json").filter(|version| i64::try_from(*version).is_ok())
}

/// The file of the record of an erasure, by when that began.
pub(crate) fn erasure_name(begun: u64) -> String {
    format!("{begun:0NUMBER_DIGITS$}.json")
}

/// When an erasure began, from the name of its record.
pub(crate) fn erasure_begun(name: &str) -> Option<u64> {
    numbered(name, ".json")
}

/// The position in the write-ahead log that is in the name of a data file that a flush wrote.
pub(crate) fn flushed_position(data_file: &Path) -> Option<u64> {
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
