//! Where the store keeps what, and its bounds.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use object_store::path::Path as ObjectPath;
use url::Url;

use crate::{Retention, StorageError};

/// Where the store keeps its files and how large it lets things grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// Holds `wal/` and, unless they are elsewhere, `tables/`.
    pub data_dir: PathBuf,
    /// Where the tables are.
    pub tables: TablesAt,
    /// The memory table is flushed when it has this many bytes.
    pub memory_flush_bytes: u64,
    /// The memory table is flushed when its oldest record is this old.
    pub memory_flush_age: Duration,
    /// Appends are refused when the memory table has this many bytes: flushing does not keep up.
    pub memory_bytes_max: u64,
    /// A log segment is closed at this size.
    pub wal_segment_bytes: u64,
    /// Appends are refused when the log has this many bytes.
    pub wal_bytes_max: u64,
    /// The data files' indexes take at most this much memory; beyond it they are read from the
    /// disk each time.
    pub index_memory_bytes_max: u64,
    /// Decoded metadata of data files takes at most this much memory, of all stores of the process
    /// together: the one that was opened last says how much. A file of 420,000 spans has 800 KB of
    /// it, most of it where its 16,000 pages are; reading that again takes as long as finding a
    /// trace in it.
    pub metadata_memory_bytes_max: u64,
    /// Appends are refused when the disk has less than this free, so that flushing still can.
    pub disk_reserve_bytes: u64,
    /// Files at rest are verified in the background at this rate; never when it is 0.
    pub scrub_bytes_per_second: u64,
    /// Data files that upkeep replaced stay for so long, for other programs that read them.
    pub removed_file_age: Duration,
    /// Age and size limits, and the rules that keep traces longer.
    pub retention: Retention,
    /// Damaged files that were set aside are deleted at this age; never when it is `None`.
    pub quarantine_age: Option<Duration>,
    /// Goes on without what cannot be read of the log, and with a position in it that is damaged,
    /// instead of refusing to open. What is damaged is set aside.
    pub recover: bool,
}

impl StoreSettings {
    /// The defaults, in this folder.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            tables: TablesAt::DataDirectory,
            memory_flush_bytes: 320 << 20,
            memory_flush_age: Duration::from_secs(60),
            memory_bytes_max: 560 << 20,
            wal_segment_bytes: 64 << 20,
            wal_bytes_max: 2 << 30,
            index_memory_bytes_max: 256 << 20,
            metadata_memory_bytes_max: 256 << 20,
            disk_reserve_bytes: 320 << 20,
            scrub_bytes_per_second: 8 << 20,
            removed_file_age: Duration::from_secs(3600),
            retention: Retention::default(),
            quarantine_age: Some(Duration::from_secs(30 * 24 * 3600)),
            recover: false,
        }
    }
}

impl StoreSettings {
    /// Returns the memory that the store may hold.
    #[must_use]
    pub fn memory(&self) -> StoreMemory {
        StoreMemory {
            flush_bytes: self.memory_flush_bytes,
            bytes_max: self.memory_bytes_max,
            index_bytes_max: self.index_memory_bytes_max,
        }
    }
}

impl Default for StoreSettings {
    /// The defaults, in `./data`.
    fn default() -> Self {
        Self::new("./data")
    }
}

/// Memory that a store may hold. It can change while the store is open, because several stores of
/// a process divide what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreMemory {
    /// The memory table is flushed when it has this many bytes.
    pub flush_bytes: u64,
    /// Appends are refused when the memory table has this many bytes.
    pub bytes_max: u64,
    /// The data files' indexes take at most this much memory.
    pub index_bytes_max: u64,
}

/// Where the tables are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TablesAt {
    /// In `<data-dir>/tables`.
    #[default]
    DataDirectory,
    /// In an S3-compatible store.
    ObjectStore(ObjectStoreSettings),
}

/// Tables in an S3-compatible store.
#[derive(Clone, PartialEq, Eq)]
pub struct ObjectStoreSettings {
    /// Where in the store.
    pub address: ObjectAddress,
    /// How to reach it, in the names of AWS's environment variables, as `AWS_ACCESS_KEY_ID`. A
    /// later one wins. They may be secret, and are never shown.
    pub options: Vec<(String, String)>,
    /// True to allow unencrypted requests to another machine.
    pub allow_http: bool,
    /// Copies of the tables' files on the local disk take at most so many bytes.
    pub cache_bytes_max: u64,
}

impl ObjectStoreSettings {
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        let mut options = self.options.iter().rev();
        options.find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for ObjectStoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStoreSettings")
            .field("address", &self.address)
            .field("allow_http", &self.allow_http)
            .field("cache_bytes_max", &self.cache_bytes_max)
            .finish_non_exhaustive()
    }
}

/// A bucket and what the names of all objects in it begin with: `s3://bucket/prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectAddress {
    pub(crate) bucket: String,
    prefix: String,
}

impl FromStr for ObjectAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no address of tables, as s3://bucket/prefix");
        let (bucket, prefix) = text
            .strip_prefix("s3://")
            .map(|rest| rest.split_once('/').unwrap_or((rest, "")))
            .ok_or_else(wrong)?;
        let is_plain =
            |letter: char, more: &str| letter.is_ascii_alphanumeric() || more.contains(letter);
        let prefix = prefix.trim_end_matches('/');
        let plain = !bucket.is_empty() && bucket.chars().all(|letter| is_plain(letter, ".-_"));
        let mut parts = prefix.split('/');
        let is_part = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part.chars().all(|letter| is_plain(letter, "!-_.=@"))
        };
        if plain && (prefix.is_empty() || parts.all(is_part)) {
            return Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() });
        }
        Err(wrong())
    }
}

impl fmt::Display for ObjectAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

impl ObjectAddress {
    /// Returns the place below this one whose objects have this at the beginning of their names,
    /// which has the characters of an address.
    ///
    /// # Errors
    /// When it has others.
    pub fn below(&self, inside: &str) -> Result<Self, String> {
        format!("{self}/{inside}").parse()
    }

    /// Returns the bucket's name for an object.
    pub(crate) fn location(&self, inside: &str) -> ObjectPath {
        ObjectPath::from(format!("{}/{inside}", self.prefix))
    }

    /// The address of a table.
    pub(crate) fn url_of(&self, table: &str) -> Result<Url, StorageError> {
        let at = format!("{self}/{table}/");
        Url::parse(&at).map_err(|error| StorageError::Refused { at, reason: error.to_string() })
    }
}
