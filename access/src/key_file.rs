//! The file of keys: JSON, written by `tidings keys`, by the server, or by other programs.
//!
//! ```text
//! {"version": 1, "keys": [{"id": "3f9a2b1c", "name": "checkout", "role": "ingest",
//!   "created_unix_nanos": …, "sha256": "<64 hex digits>",
//!   "tenant"?: "…", "tenants"?: ["…", …],
//!   "service"?: "…", "expires_unix_nanos"?: …, "bytes_per_second"?: …, "bytes_per_day"?: …,
//!   "requests_per_second"?: …}, …]}
//! ```
//!
//! The file has only digests of keys, so a copy of it gives no access.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use ring::rand::SystemRandom;
use serde::{Deserialize, Serialize};
use tidings_proto::UnixNanos;
use tidings_storage::{LockedFile, StorageError, read_regular};

use crate::{
    error::KeyFileError,
    key::{KeyId, KeyRecord, KeyRequest, KeyToken, random_id},
    tenant::{TENANTS_MAX, TenantName},
};

/// Maximum number of keys in a file.
pub const KEYS_MAX: usize = 10_000;
/// Maximum number of keys of a tenant other than `default`, so that one tenant leaves room for
/// others.
pub const TENANT_KEYS_MAX: usize = 500;
/// Maximum size of the file. The maximum number of keys of the largest size fits.
const BYTES_MAX: u64 = 16 << 20;
const VERSION: u32 = 1;

/// The file of keys.
#[derive(Debug, Clone)]
pub struct KeyFile {
    path: PathBuf,
    /// Maximum number of tenants, `default` included.
    tenants_max: usize,
}

/// The file's content.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredKeys {
    version: u32,
    keys: Vec<KeyRecord>,
}

impl KeyFile {
    /// Refers to a file, which need not exist yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), tenants_max: TENANTS_MAX }
    }

    /// Limits the number of tenants, `default` included. [`KeyFile::create`] refuses a key of one
    /// more.
    #[must_use]
    pub fn with_tenants_max(self, tenants_max: usize) -> Self {
        Self { tenants_max, ..self }
    }

    /// Returns its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the keys in the order of their creation; empty when there is no file.
    ///
    /// # Errors
    /// When the file cannot be read, or is not a file of keys. No request may be admitted then.
    pub fn read(&self) -> Result<Vec<KeyRecord>, KeyFileError> {
        self.bytes()?.map_or_else(|| Ok(Vec::new()), |bytes| self.parse(&bytes))
    }

    /// Creates a key; durable when this returns. The text of the key is not stored.
    ///
    /// # Errors
    /// When the description is invalid, the name is taken, or the file cannot be changed.
    pub fn create(
        &self,
        request: KeyRequest,
        now: UnixNanos,
    ) -> Result<(KeyToken, KeyRecord), KeyFileError> {
        request.check(now)?;
        let (file, mut keys) = self.open()?;
        self.check_room(&keys, &request)?;
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

    /// Refuses a key whose name is taken in its tenant, or that exceeds the limit of its tenant, of
    /// the file, or of tenants.
    fn check_room(&self, keys: &[KeyRecord], request: &KeyRequest) -> Result<(), KeyFileError> {
        let of_tenant = || keys.iter().filter(|key| key.tenant == request.tenant);
        if of_tenant().any(|key| key.name == request.name) {
            return Err(KeyFileError::NameTaken(request.name.clone()));
        }
        let limit = if request.tenant.is_default() { KEYS_MAX } else { TENANT_KEYS_MAX };
        if of_tenant().count() >= limit {
            return Err(KeyFileError::TooMany { limit });
        }
        if keys.len() >= KEYS_MAX {
            return Err(KeyFileError::TooMany { limit: KEYS_MAX });
        }
        let before = tenants_of(keys);
        let wanted = std::iter::once(&request.tenant).chain(&request.tenants);
        let after = before.len() + wanted.filter(|name| !before.contains(*name)).count();
        if after > before.len() && after > self.tenants_max {
            return Err(KeyFileError::TooManyTenants { limit: self.tenants_max });
        }
        Ok(())
    }

    /// Removes the key of this id or name; only a key of the tenant, if one is given. Durable when
    /// this returns.
    ///
    /// # Errors
    /// `NotFound`, `SeveralNamed`, or a file that cannot be changed.
    pub fn revoke(
        &self,
        id_or_name: &str,
        tenant: Option<&TenantName>,
    ) -> Result<KeyRecord, KeyFileError> {
        if self.bytes()?.is_none() {
            // A missing file is not locked, because that would create its folder.
            return Err(KeyFileError::NotFound(id_or_name.to_owned()));
        }
        let (file, mut keys) = self.open()?;
        let id = find_key(&keys, id_or_name, tenant)?;
        let revoked = keys.extract_if(.., |key| key.id == id).next();
        let revoked = revoked.ok_or_else(|| KeyFileError::NotFound(id_or_name.to_owned()))?;
        Self::replace(&file, keys)?;
        Ok(revoked)
    }

    /// Returns the file's bytes; `None` where there is no file.
    pub(crate) fn bytes(&self) -> Result<Option<Vec<u8>>, KeyFileError> {
        match read_regular(&self.path, BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => {
                let path = self.path.clone();
                Err(StorageError::Io { action: "read", path, source }.into())
            }
            Ok(bytes) if bytes.len() as u64 > BYTES_MAX => {
                Err(self.malformed(format!("it has more than {BYTES_MAX} bytes")))
            }
            Ok(bytes) => Ok(Some(bytes)),
        }
    }

    /// Parses the content of the file.
    pub(crate) fn parse(&self, bytes: &[u8]) -> Result<Vec<KeyRecord>, KeyFileError> {
        if bytes.is_empty() {
            return Err(self.malformed("it is empty".to_owned()));
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
        let keys = match file.read()? {
            Some(bytes) => self.parse(&bytes)?,
            None => Vec::new(),
        };
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

/// Returns the id of the key that has this id or, if none has it, this name. Considers only keys of
/// the tenant, if one is given.
///
/// # Errors
/// `NotFound`, or `SeveralNamed`.
pub(crate) fn find_key<'a>(
    keys: impl IntoIterator<Item = &'a KeyRecord>,
    id_or_name: &str,
    tenant: Option<&TenantName>,
) -> Result<KeyId, KeyFileError> {
    let is_of_tenant = |key: &&KeyRecord| tenant.is_none_or(|tenant| key.tenant == *tenant);
    let mut named = Vec::new();
    for key in keys.into_iter().filter(is_of_tenant) {
        if key.id.to_string() == id_or_name {
            return Ok(key.id);
        }
        if key.name == id_or_name {
            named.push(key.id);
        }
    }
    match named[..] {
        [id] => Ok(id),
        [] => Err(KeyFileError::NotFound(id_or_name.to_owned())),
        _ => Err(KeyFileError::SeveralNamed(id_or_name.to_owned())),
    }
}

/// Returns `default` and every tenant that keys name.
pub(crate) fn tenants_of<'a>(
    keys: impl IntoIterator<Item = &'a KeyRecord>,
) -> BTreeSet<TenantName> {
    let named = |key: &'a KeyRecord| std::iter::once(&key.tenant).chain(&key.tenants);
    let named = keys.into_iter().flat_map(named).cloned();
    named.chain([TenantName::default()]).collect()
}

#[cfg(test)]
mod tests {
    use tidings_proto::UnixNanos;

    use super::{KeyFile, KeyFileError, TENANT_KEYS_MAX};
    use crate::{key::KeyRequest, role::Role};

    fn request(name: &str) -> KeyRequest {
        KeyRequest::new(name, Role::Read)
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
        assert_eq!(file.revoke("ci", None).unwrap(), second);
        assert_eq!(file.revoke(&first.id.to_string(), None).unwrap(), first);
        assert!(matches!(file.revoke("ci", None), Err(KeyFileError::NotFound(_))));
        assert_eq!(file.read().unwrap(), []);
    }

    #[test]
    fn names_of_keys_are_unique_in_a_tenant_and_tenants_are_limited() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("keys.json")).with_tenants_max(3);
        let of = |tenant: &str, name: &str| KeyRequest {
            tenant: tenant.parse().unwrap(),
            ..request(name)
        };
        let create = |request| file.create(request, UnixNanos(5)).map(|(_, record)| record);
        let (first, other) = (create(of("a", "ci")).unwrap(), create(of("b", "ci")).unwrap());
        assert!(matches!(create(of("a", "ci")), Err(KeyFileError::NameTaken(_))));
        assert!(matches!(create(of("c", "ci")), Err(KeyFileError::TooManyTenants { limit: 3 })));
        let choosing = KeyRequest { tenants: vec!["c".parse().unwrap()], ..of("a", "more") };
        assert!(matches!(create(choosing), Err(KeyFileError::TooManyTenants { limit: 3 })));
        create(request("of default")).unwrap();
        let b = "b".parse().unwrap();
        let id = first.id.to_string();
        assert!(matches!(file.revoke(&id, Some(&b)), Err(KeyFileError::NotFound(_))));
        assert!(matches!(file.revoke("ci", None), Err(KeyFileError::SeveralNamed(_))));
        assert_eq!(file.revoke("ci", Some(&b)).unwrap(), other);
        assert_eq!(file.revoke("ci", None).unwrap(), first);
    }

    #[test]
    fn one_tenant_leaves_room_for_keys_of_others() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("keys.json"));
        let of = |tenant: &str| KeyRequest { tenant: tenant.parse().unwrap(), ..request("x") };
        let (_, record) = file.create(of("a"), UnixNanos(5)).unwrap();
        let many = vec![record; TENANT_KEYS_MAX];
        let taken = KeyRequest { name: "y".to_owned(), ..of("a") };
        let refused = file.check_room(&many, &taken);
        let Err(KeyFileError::TooMany { limit }) = refused else { panic!("{refused:?}") };
        assert_eq!(limit, TENANT_KEYS_MAX);
        file.check_room(&many, &of("b")).unwrap();
        file.check_room(&many, &request("of default")).unwrap();
    }

    #[test]
    fn other_files_are_refused_as_files_of_keys() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("keys.json"));
        file.create(request("a"), UnixNanos(5)).unwrap();
        let good = std::fs::read_to_string(file.path()).unwrap();
        let key = &good[good.find('[').unwrap() + 1..good.rfind(']').unwrap()];
        let twice = good.replace(key, &format!("{key},{key}"));
        for bad in [
            "{",
            "[]",
            "",
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
