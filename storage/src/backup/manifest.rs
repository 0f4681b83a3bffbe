//! The list of a backup's files, in JSON, written after all of them are stored.
//!
//! The name of a manifest contains its SHA-256, so that damage is detected. The bytes of a file are
//! in the folder of the backup that copied them, which may be an earlier one. `docs/backup.md` has
//! the format. Does not own the location of manifests (`repository`).

use std::{fmt, path::PathBuf, str::FromStr};

use ring::digest::{Digest, SHA256, digest};
use serde::{Deserialize, Serialize};
use tidings_files::StorageError;
use tidings_proto::{Signal, UnixNanos, hex};

use super::BackupId;

/// The newest format this program reads, and the one it writes.
pub(super) const FORMAT: u32 = 1;

/// A SHA-256, in 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Sha256(String);

impl Sha256 {
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Self::from_digest(&digest(&SHA256, bytes))
    }

    pub(super) fn from_digest(digest: &Digest) -> Self {
        Self(hex(digest.as_ref()))
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Sha256 {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        match text.len() == 64 && text.bytes().all(is_digit) {
            true => Ok(Self(text.to_owned())),
            false => Err(format!("`{text}` is no SHA-256")),
        }
    }
}

impl TryFrom<String> for Sha256 {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Sha256> for String {
    fn from(digest: Sha256) -> Self {
        digest.0
    }
}

/// The path of a file in the data directory: plain names with `/` between them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct InnerPath(String);

impl InnerPath {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the path relative to the tables' folder, if it is inside.
    pub(super) fn in_tables(&self) -> Option<&str> {
        self.0.strip_prefix("tables/")
    }
}

impl TryFrom<String> for InnerPath {
    type Error = String;

    fn try_from(path: String) -> Result<Self, String> {
        let is_plain =
            |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0']);
        match path.split('/').all(is_plain) {
            true => Ok(Self(path)),
            false => Err(format!("`{path}` is no path in a data directory")),
        }
    }
}

impl From<InnerPath> for String {
    fn from(path: InnerPath) -> Self {
        path.0
    }
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileEntry {
    pub(super) path: InnerPath,
    pub(super) bytes: u64,
    pub(super) sha256: Sha256,
    /// The backup whose folder contains the bytes.
    pub(super) stored_by: BackupId,
    /// Modification time of an index at its source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) modified_unix_nanos: Option<u64>,
}

impl FileEntry {
    /// Returns the name of the stored file.
    pub(super) fn stored_name(&self) -> String {
        stored_name(&self.stored_by, self.path.as_str())
    }
}

/// Sums the bytes of files. Saturates, because a manifest from elsewhere can have any sizes.
pub(super) fn bytes_of<'a>(files: impl Iterator<Item = &'a FileEntry>) -> u64 {
    files.fold(0, |sum, file| sum.saturating_add(file.bytes))
}

/// Folder with the files of all backups.
pub(super) const FILES: &str = "files";

/// Returns the name of a file that a backup copied.
pub(super) fn stored_name(backup: &BackupId, path: &str) -> String {
    format!("{FILES}/{backup}/{path}")
}

/// State of a table in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TableState {
    /// Id assigned when the table was created. It distinguishes the tables of different data
    /// directories.
    pub(super) id: String,
    /// Version of the last commit.
    pub(super) version: u64,
    /// Flushed position: the table holds the log's records of its signal up to here.
    pub(super) position: u64,
}

/// Both tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TableStates {
    pub(super) spans: TableState,
    pub(super) logs: TableState,
}

impl TableStates {
    pub(super) fn get(&self, signal: Signal) -> &TableState {
        match signal {
            Signal::Spans => &self.spans,
            Signal::Logs => &self.logs,
        }
    }
}

/// A backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: u32,
    pub(super) id: BackupId,
    /// Name and version of the program that wrote it.
    pub(super) program: String,
    pub(super) began_unix_nanos: u64,
    pub(super) ended_unix_nanos: u64,
    /// Path of the data directory on its machine.
    pub(super) data_directory: String,
    pub(super) directory_format: u32,
    /// Location of its tables: `local`, or an address such as `s3://bucket/prefix`.
    pub(super) tables_at: String,
    pub(super) tables: TableStates,
    /// Sequence of the last record in the log.
    pub(super) log_end: u64,
    pub(super) files: Vec<FileEntry>,
}

impl Manifest {
    pub(super) fn began(&self) -> UnixNanos {
        UnixNanos(self.began_unix_nanos)
    }

    /// Returns the bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        bytes_of(self.files.iter())
    }

    /// Returns the number of files that no earlier backup had.
    pub(super) fn new_files(&self) -> u64 {
        self.first_stored().count() as u64
    }

    /// Returns the bytes of those files.
    pub(super) fn new_bytes(&self) -> u64 {
        bytes_of(self.first_stored())
    }

    fn first_stored(&self) -> impl Iterator<Item = &FileEntry> {
        self.files.iter().filter(|file| file.stored_by == self.id)
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec_pretty(self)
    }

    /// Reads a manifest with this digest.
    ///
    /// # Errors
    /// `Corrupt` when it is damaged, `Format` when it is newer than this program.
    pub(super) fn decode(
        bytes: &[u8],
        digest: &Sha256,
        path: PathBuf,
    ) -> Result<Self, StorageError> {
        /// Part that every format has.
        #[derive(Deserialize)]
        struct Header {
            format: u32,
        }

        if Sha256::from_bytes(bytes) != *digest {
            let reason = "its bytes do not fit the SHA-256 in its name".to_owned();
            return Err(StorageError::Corrupt { path, reason });
        }
        let found = serde_json::from_slice::<Header>(bytes).map(|header| header.format);
        match found {
            Ok(found) if found > FORMAT => {
                Err(StorageError::Format { path, found, supported: FORMAT })
            }
            _ => serde_json::from_slice(bytes).map_err(|error| {
                let reason = format!("it is no manifest: {error}");
                StorageError::Corrupt { path, reason }
            }),
        }
    }
}

/// Content of a manifest, for a fuzz target. No shipped code creates one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestContent {
    /// The manifest, encoded again.
    pub encoded: Vec<u8>,
    /// Names of its files: their paths in a data directory, and their stored names.
    pub paths: Vec<PathBuf>,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes of the files that no earlier backup had.
    pub new_bytes: u64,
}

impl ManifestContent {
    /// Reads a manifest. Returns `None` if the file is not a manifest.
    #[must_use]
    pub fn read(json: &[u8]) -> Option<Self> {
        let manifest = Manifest::decode(json, &Sha256::from_bytes(json), PathBuf::new()).ok()?;
        let mut paths = Vec::new();
        for file in &manifest.files {
            paths.extend([file.path.as_str(), &file.stored_name()].map(PathBuf::from));
            paths.extend(file.path.in_tables().map(PathBuf::from));
        }
        let (bytes, new_bytes) = (manifest.bytes(), manifest.new_bytes());
        Some(Self { encoded: manifest.encode().ok()?, paths, bytes, new_bytes })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use tidings_files::ErrorKind;
    use tidings_proto::UnixNanos;

    use super::*;

    pub(in crate::backup) fn manifest() -> Manifest {
        let id = BackupId::new(UnixNanos(1_700_000_000_000_000_000));
        let table = |id: &str| TableState { id: id.to_owned(), version: 3, position: 40 };
        let file = |path: &str, modified| FileEntry {
            path: path.to_owned().try_into().unwrap(),
            bytes: 5,
            sha256: Sha256::from_bytes(path.as_bytes()),
            stored_by: id.clone(),
            modified_unix_nanos: modified,
        };
        Manifest {
            format: FORMAT,
            id: id.clone(),
            program: "0.1.0".to_owned(),
            began_unix_nanos: 1,
            ended_unix_nanos: 2,
            data_directory: "/var/lib/tidings".to_owned(),
            directory_format: 1,
            tables_at: "local".to_owned(),
            tables: TableStates { spans: table("a"), logs: table("b") },
            log_end: 41,
            files: vec![file("wal/1.wal", None), file("tables/spans/_index/x.index", Some(9))],
        }
    }

    fn decode(bytes: &[u8], digest: &Sha256) -> Result<Manifest, StorageError> {
        Manifest::decode(bytes, digest, "m.json".into())
    }

    #[test]
    fn a_manifest_reads_as_it_was_written_and_any_change_is_noticed() {
        let written = manifest();
        let bytes = written.encode().unwrap();
        let digest = Sha256::from_bytes(&bytes);
        assert_eq!(decode(&bytes, &digest).unwrap(), written);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            for damaged in [&changed[..], &bytes[..at]] {
                let error = decode(damaged, &digest).unwrap_err();
                assert!(matches!(error, StorageError::Corrupt { .. }), "{at}: {error}");
            }
        }
    }

    #[test]
    fn a_manifest_of_a_newer_format_is_refused_whatever_else_it_says() {
        let bytes = br#"{"format":2,"content":[]}"#;
        let error = decode(bytes, &Sha256::from_bytes(bytes)).unwrap_err();
        assert!(matches!(error, StorageError::Format { found: 2, .. }), "{error}");
    }

    #[test]
    fn no_path_leads_out_of_the_data_directory() {
        for path in ["", "/etc/passwd", "../x", "wal/../../x", "wal//x", "wal/.", "a\\b", "wal/"] {
            let mut changed = serde_json::to_value(manifest()).unwrap();
            changed["files"][0]["path"] = path.into();
            let bytes = serde_json::to_vec(&changed).unwrap();
            let error = decode(&bytes, &Sha256::from_bytes(&bytes)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{path}");
            assert!(error.to_string().contains("no path in a data directory"), "{error}");
        }
    }

    #[test]
    fn bytes_are_counted_with_the_backup_that_copied_them() {
        let mut manifest = manifest();
        manifest.files[1].stored_by = BackupId::default();
        assert_eq!((manifest.bytes(), manifest.new_bytes()), (10, 5));
        manifest.files[0].bytes = u64::MAX;
        assert_eq!((manifest.bytes(), manifest.new_bytes()), (u64::MAX, u64::MAX));
    }
}
