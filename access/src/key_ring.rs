//! The keys in memory: found by id, counted, and kept as the file says.
//!
//! The file is read every half second, because commands and other programs change it. One that
//! cannot be used then is an error in the log, and the keys before it stay. A revoked key is refused
//! from the next look on; what is still being answered to it ends with its next frame
//! ([`Caller::is_live`]).

use std::{
    collections::{BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::HeaderMap;
use ring::rand::SystemRandom;
use tidings_proto::UnixNanos;
use tidings_storage::Clock;
use tokio::task::spawn_blocking;

use crate::{
    caller::{Caller, KeyUses, LiveKey},
    credential::sessions_of,
    error::{AccessError, KeyFileError},
    key::{KeyId, KeyRecord, KeyRequest, KeyToken, Role, SecretDigest, id_of, random_id},
    key_file::{KeyFile, tenants_of},
    session::{SessionToken, Sessions},
    tenant::TenantName,
};

/// Time between two looks at the file.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The keys of a server.
#[derive(Debug)]
pub struct KeyRing {
    file: KeyFile,
    clock: Arc<dyn Clock>,
    keys: RwLock<HashMap<KeyId, Arc<LiveKey>>>,
    /// The process's own, which are in no file.
    own: Mutex<Vec<Arc<LiveKey>>>,
    sessions: Sessions,
    /// Of the file's bytes.
    fingerprint: AtomicU64,
    /// The fault of the last look, which is logged once.
    fault: Mutex<Option<String>>,
}

/// A key and what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyState {
    /// The key.
    pub record: KeyRecord,
    /// Its counts.
    pub uses: KeyUses,
    /// Set when its time is over.
    pub has_expired: bool,
}

impl KeyRing {
    /// Reads the file. Blocks for as long as that takes.
    ///
    /// # Errors
    /// When the file cannot be used: nobody is to be let in then.
    pub fn open(file: KeyFile, clock: Arc<dyn Clock>) -> Result<Self, KeyFileError> {
        let ring = Self {
            file,
            clock,
            keys: RwLock::default(),
            own: Mutex::default(),
            sessions: Sessions::default(),
            fingerprint: AtomicU64::new(0),
            fault: Mutex::default(),
        };
        ring.look()?;
        Ok(ring)
    }

    /// Follows the file for ever.
    pub async fn follow(self: Arc<Self>) {
        loop {
            self.clock.sleep(LOOK_INTERVAL).await;
            let ring = Arc::clone(&self);
            let looked = spawn_blocking(move || ring.look()).await;
            let fault = match looked {
                Ok(looked) => looked.err().map(|error| error.to_string()),
                Err(ended) => Some(ended.to_string()),
            };
            let mut before = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(error) = fault.as_ref().filter(|_| *before != fault) {
                tracing::error!(%error, "the file of keys cannot be used, the keys before it stay");
            }
            *before = fault;
        }
    }

    /// Returns every key of the file, in the order in which they were made.
    #[must_use]
    pub fn list(&self) -> Vec<KeyState> {
        let now = self.clock.now();
        let state = |key: &Arc<LiveKey>| KeyState {
            record: key.record.clone(),
            uses: key.uses(),
            has_expired: key.record.has_expired(now),
        };
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let mut states: Vec<KeyState> = keys.values().map(state).collect();
        states.sort_by_key(|state| (state.record.created_unix_nanos, state.record.id));
        states
    }

    /// Makes a key, which is good when this returns. Blocks.
    ///
    /// # Errors
    /// As [`KeyFile::create`].
    pub fn create(&self, request: KeyRequest) -> Result<(KeyToken, KeyRecord), KeyFileError> {
        let made = self.file.create(request, self.clock.now())?;
        self.look()?;
        Ok(made)
    }

    /// Revokes a key by its id or name, which is refused when this returns. Blocks.
    ///
    /// # Errors
    /// As [`KeyFile::revoke`].
    pub fn revoke(
        &self,
        id_or_name: &str,
        tenant: Option<&TenantName>,
    ) -> Result<KeyRecord, KeyFileError> {
        let revoked = self.file.revoke(id_or_name, tenant)?;
        self.look()?;
        Ok(revoked)
    }

    /// Returns every tenant that keys name, and `default`.
    #[must_use]
    pub fn tenants(&self) -> BTreeSet<TenantName> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        tenants_of(keys.values().map(|key| &key.record))
    }

    /// Makes a key of the process itself, for sending to its own receivers as a tenant. It is in no
    /// file, and good until the next one of the tenant is made.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn own_key(&self, tenant: &TenantName) -> Result<KeyToken, KeyFileError> {
        let random = SystemRandom::new();
        let request =
            KeyRequest { tenant: tenant.clone(), ..KeyRequest::new("this server", Role::Ingest) };
        let (token, record) = request.make(random_id(&random)?, self.clock.now(), &random)?;
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.retain(|key| key.record.tenant != *tenant);
        own.push(Arc::new(LiveKey::new(record)));
        Ok(token)
    }

    /// Finds the key of this text.
    ///
    /// # Errors
    /// `Unknown` or `Expired`.
    pub(crate) fn find(&self, text: &str) -> Result<Caller, AccessError> {
        let id = id_of(text).ok_or(AccessError::Unknown)?;
        let digest = SecretDigest::from_secret(text.as_bytes());
        let key = self.key(id).filter(|key| key.record.sha256 == digest);
        let key = key.ok_or(AccessError::Unknown)?;
        let now = self.clock.now();
        if key.record.has_expired(now) {
            return Err(AccessError::Expired { name: key.record.name.clone() });
        }
        Ok(Caller::new(key, now))
    }

    /// Begins a session of the key of this text.
    ///
    /// # Errors
    /// When there is no such key, or it has expired.
    pub fn sign_in(&self, text: &str) -> Result<(SessionToken, Caller), AccessError> {
        let caller = self.find(text.trim())?;
        caller.demand(Role::Read)?;
        let token = self.sessions.insert(caller.clone(), self.clock.now());
        Ok((token.map_err(|_| AccessError::SessionEnded)?, caller))
    }

    /// Ends the sessions that a browser's cookies name.
    pub fn sign_out(&self, headers: &HeaderMap) {
        sessions_of(headers).for_each(|session| self.sessions.end(session));
    }

    /// Returns the key behind a session that has not ended.
    pub(crate) fn session(&self, text: &str) -> Option<Caller> {
        self.sessions.find(text, self.clock.now())
    }

    /// Returns the time by which the keys expire.
    #[must_use]
    pub fn now(&self) -> UnixNanos {
        self.clock.now()
    }

    fn key(&self, id: KeyId) -> Option<Arc<LiveKey>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = keys.get(&id) {
            return Some(Arc::clone(key));
        }
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.iter().find(|key| key.record.id == id).cloned()
    }

    /// Takes over what the file says, if it says something new.
    fn look(&self) -> Result<(), KeyFileError> {
        let bytes = self.file.bytes()?;
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let fingerprint = hasher.finish();
        // Compared under the lock, so that of two looks the later one does not lose.
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if self.fingerprint.load(Relaxed) == fingerprint {
            return Ok(());
        }
        let records = self.file.parse(&bytes)?;
        let mut before = std::mem::take(&mut *keys);
        for record in records {
            let id = record.id;
            let same = before.remove(&id).filter(|key| key.record == record);
            keys.insert(id, same.unwrap_or_else(|| Arc::new(LiveKey::new(record))));
        }
        for (id, gone) in before {
            gone.revoked.store(true, Relaxed);
            tracing::info!(key = %id, name = gone.record.name, "key revoked");
        }
        self.fingerprint.store(fingerprint, Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
