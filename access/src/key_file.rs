//! The file of keys: JSON, written by `tidings keys` and by the server, or by whoever provisions it.
//!
//! ```text
//! {"version": 1, "keys": [{"id": "3f9a2b1c", "name": "checkout", "role": "ingest",
//!   "created_unix_nanos": …, "sha256": "<64 hex digits>",
//!   "service"?: "…", "expires_unix_nanos"?: …, "bytes_per_second"?: …}, …]}
//! ```
//!
//! It holds no key: a copy of it lets nobody in.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use ring::rand::SystemRandom;
use serde::{Deserialize, Serialize};
use tidings_proto::UnixNanos;
use tidings_storage::{LockedFile, StorageError};

use crate::{
    error::KeyFileError,
    key::{KeyRecord, KeyRequest, KeyToken, random_id},
};

/// The most keys in a file.
pub const KEYS_MAX: usize = 10_000;
/// A file of the largest keys is smaller.
const BYTES_MAX: u64 = 16 << 20;
const VERSION: u32 = 1;

/// The file of keys.
#[derive(Debug, Clone)]
pub struct KeyFile {
    path: PathBuf,
}

/// The file's content.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredKeys {
    version: u32,
    keys: Vec<KeyRecord>,
}

impl KeyFile {
    /// Names the file, which need not exist yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Returns its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the keys, in the order in which they were made; none where there is no file.
    ///
    /// # Errors
    /// When the file cannot be read, or is no file of keys. Nobody may be let in then.
    pub fn read(&self) -> Result<Vec<KeyRecord>, KeyFileError> {
        self.parse(&self.bytes()?)
    }

    /// Makes a key; durable when it returns. The text is kept nowhere.
    ///
    /// # Errors
    /// When the description makes no sense, the name is taken, or the file cannot be changed.
    pub fn create(
        &self,
        request: KeyRequest,
        now: UnixNanos,
    ) -> Result<(KeyToken, KeyRecord), KeyFileError> {
        request.check(now)?;
        let (file, mut keys) = self.open()?;
        if keys.iter().any(|key| key.name == request.name) {
            return Err(KeyFileError::NameTaken(request.name));
        }
        if keys.len() >= KEYS_MAX {
            return Err(KeyFileError::TooMany { limit: KEYS_MAX });
        }
        let random = SystemRandom::new();
        let id = loop {
            let id = random_id(&random)?;
            if keys.iter().all(|key| key.id != id) {
                break id;
            }
        };
        let (token, record) = request.make(id, now, &random)?;
        keys.push(record.clone());
        Self::replace(&file, keys)?;
        Ok((token, record))
    }

    /// Removes the key of this id or name; durable when it returns.
    ///
    /// # Errors
    /// `NotFound`, or a file that cannot be changed.
    pub fn revoke(&self, id_or_name: &str) -> Result<KeyRecord, KeyFileError> {
        let (file, mut keys) = self.open()?;
        let matches = |key: &KeyRecord| key.id.to_string() == id_or_name || key.name == id_or_name;
        let Some(at) = keys.iter().position(matches) else {
            return Err(KeyFileError::NotFound(id_or_name.to_owned()));
        };
        let revoked = keys.remove(at);
        Self::replace(&file, keys)?;
        Ok(revoked)
    }

    /// Returns the file's bytes; empty where there is no file.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, KeyFileError> {
        let mut bytes = Vec::new();
        let read = File::open(&self.path)
            .and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => {
                let path = self.path.clone();
                Err(StorageError::Io { action: "read", path, source }.into())
            }
            Ok(_) if bytes.len() as u64 > BYTES_MAX => {
                Err(self.malformed(format!("it has more than {BYTES_MAX} bytes")))
            }
            Ok(_) => Ok(bytes),
        }
    }

    /// Reads the keys of the file's bytes.
    pub(crate) fn parse(&self, bytes: &[u8]) -> Result<Vec<KeyRecord>, KeyFileError> {
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        let stored: StoredKeys =
            serde_json::from_slice(bytes).map_err(|error| self.malformed(error.to_string()))?;
        if stored.version != VERSION {
            let reason = format!("it has version {}, this program reads {VERSION}", stored.version);
            return Err(self.malformed(reason));
        }
        if stored.keys.len() > KEYS_MAX {
            return Err(self.malformed(format!("it has more than {KEYS_MAX} keys")));
        }
        let mut ids: Vec<_> = stored.keys.iter().map(|key| key.id).collect();
        ids.sort_unstable();
        if let Some(twice) = ids.windows(2).find(|pair| pair.first() == pair.last()) {
            let id = twice.first().map(ToString::to_string).unwrap_or_default();
            return Err(self.malformed(format!("it has two keys with the id {id}")));
        }
        Ok(stored.keys)
    }

    fn open(&self) -> Result<(LockedFile, Vec<KeyRecord>), KeyFileError> {
        let file = LockedFile::lock(&self.path)?;
        let bytes = file.read()?.unwrap_or_default();
        let keys = self.parse(&bytes)?;
        Ok((file, keys))
    }

    fn replace(file: &LockedFile, keys: Vec<KeyRecord>) -> Result<(), KeyFileError> {
        let mut text = serde_json::to_vec_pretty(&StoredKeys { version: VERSION, keys })
            .map_err(|error| KeyFileError::Request(error.to_string()))?;
        text.push(b'\n');
        Ok(file.replace(&text)?)
    }

    fn malformed(&self, reason: String) -> KeyFileError {
        KeyFileError::Malformed { path: self.path.clone(), reason }
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::UnixNanos;

    use super::{KeyFile, KeyFileError};
    use crate::key::{KeyRequest, Role};

    fn request(name: &str) -> KeyRequest {
        KeyRequest {
            name: name.to_owned(),
            role: Role::Read,
            service: None,
            expires_unix_nanos: None,
            bytes_per_second: None,
        }
    }

    #[test]
    fn keys_are_made_listed_and_revoked_by_id_or_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("keys.json"));
        assert_eq!(file.read().unwrap(), []);
        let (token, first) = file.create(request("grafana"), UnixNanos(5)).unwrap();
        let (_, second) = file.create(request("ci"), UnixNanos(6)).unwrap();
        assert_eq!(file.read().unwrap(), [first.clone(), second.clone()]);
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert!(!text.contains(&token.reveal()[12..]), "{text}");
        let again = file.create(request("ci"), UnixNanos(7));
        assert!(matches!(again, Err(KeyFileError::NameTaken(_))));
        assert_eq!(file.revoke("ci").unwrap(), second);
        assert_eq!(file.revoke(&first.id.to_string()).unwrap(), first);
        assert!(matches!(file.revoke("ci"), Err(KeyFileError::NotFound(_))));
        assert_eq!(file.read().unwrap(), []);
    }

    #[test]
    fn a_file_that_is_none_of_keys_lets_nobody_in() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("keys.json"));
        file.create(request("a"), UnixNanos(5)).unwrap();
        let good = std::fs::read_to_string(file.path()).unwrap();
        let key = &good[good.find('[').unwrap() + 1..good.rfind(']').unwrap()];
        let twice = good.replace(key, &format!("{key},{key}"));
        for bad in [
            "{",
            "[]",
            r#"{"version": 2, "keys": []}"#,
            r#"{"version": 1}"#,
            r#"{"version": 1, "keys": [], "more": 1}"#,
            &good.replace("\"read\"", "\"root\""),
            &good.replace("sha256\": \"", "sha256\": \"0"),
            &good[..good.len() - 3],
            &twice,
        ] {
            let result = file.parse(bad.as_bytes());
            assert!(matches!(result, Err(KeyFileError::Malformed { .. })), "{bad}");
        }
    }
}
