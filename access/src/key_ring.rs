//! The keys in memory: lookup by id, counts of their use, and updates from the file.
//!
//! The file is polled every half second, because commands and other programs change it. A file that
//! cannot be used then raises an alarm, and the previous keys stay valid. A key that was removed
//! from the file is refused from the next poll on, and its running responses end
//! ([`KeyRing::end_of`]). A key that is revoked by this process is refused even if the file cannot
//! be changed; each poll tries the change again.

use std::{
    collections::{BTreeSet, HashMap},
    future::pending,
    hash::{DefaultHasher, Hash, Hasher},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use http::HeaderMap;
use ring::rand::SystemRandom;
use tidings_proto::UnixNanos;
use tidings_storage::{Clock, StorageError};
use tokio::task::spawn_blocking;

use crate::{
    caller::{Caller, KeyUses, LiveKey},
    credential::{SESSION_COOKIES, sessions_of},
    error::{AccessError, KeyFileError},
    key::{KeyId, KeyRecord, KeyRequest, KeyToken, SecretDigest, id_of, random_id},
    key_file::{KeyFile, find_key, tenants_of},
    oidc::{Issuer, SignedIn, is_token, may_pass},
    role::Role,
    session::{RotatedSession, SessionToken, Sessions},
    tenant::TenantName,
};

/// Interval between two polls of the file.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The keys of a server.
#[derive(Debug)]
pub struct KeyRing {
    file: KeyFile,
    clock: Arc<dyn Clock>,
    keys: RwLock<HashMap<KeyId, Arc<LiveKey>>>,
    /// Keys of the process itself, which are in no file.
    own: Mutex<Vec<Arc<LiveKey>>>,
    sessions: Sessions,
    issuer: Option<Arc<Issuer>>,
    /// Hash of the content of the file.
    fingerprint: AtomicU64,
    /// Keys that this process has revoked and could not remove from the file.
    unwritten: Mutex<BTreeSet<KeyId>>,
    /// True once the file has existed.
    had_file: AtomicBool,
    /// The fault of the last poll, which is logged once.
    fault: Mutex<Option<String>>,
}

/// A key and the counts of its use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyState {
    /// The key.
    pub record: KeyRecord,
    /// Its counts.
    pub uses: KeyUses,
    /// True when it has expired.
    pub has_expired: bool,
}

impl KeyRing {
    /// Reads the file. Blocks for as long as that takes.
    ///
    /// # Errors
    /// When the file cannot be used. No request may be admitted then.
    pub fn open(file: KeyFile, clock: Arc<dyn Clock>) -> Result<Self, KeyFileError> {
        let ring = Self {
            file,
            clock,
            keys: RwLock::default(),
            own: Mutex::default(),
            sessions: Sessions::default(),
            issuer: None,
            fingerprint: AtomicU64::new(0),
            unwritten: Mutex::default(),
            had_file: AtomicBool::new(false),
            fault: Mutex::default(),
        };
        ring.read_file()?;
        Ok(ring)
    }

    /// Also admits people and machines with tokens of an issuer.
    #[must_use]
    pub fn with_issuer(self, issuer: Option<Arc<Issuer>>) -> Self {
        Self { issuer, ..self }
    }

    /// Returns the issuer, if there is one.
    #[must_use]
    pub fn issuer(&self) -> Option<&Arc<Issuer>> {
        self.issuer.as_ref()
    }

    /// Polls the file, without end.
    pub async fn follow(self: Arc<Self>) {
        loop {
            self.clock.sleep(POLL_INTERVAL).await;
            let ring = Arc::clone(&self);
            let looked = spawn_blocking(move || ring.poll_file()).await;
            let fault = looked.unwrap_or_else(|ended| Some(ended.to_string()));
            let mut before = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(fault) = fault.as_ref().filter(|_| *before != fault) {
                tracing::error!("{fault}");
            }
            *before = fault;
        }
    }

    /// Returns the current fault of the file, as a text for the operator.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Repeats revocations that could not be written, and reads the file. Returns the fault of the
    /// file, if any.
    fn poll_file(&self) -> Option<String> {
        let unwritten = self.unwritten().clone();
        for id in unwritten {
            if let Ok(_) | Err(KeyFileError::NotFound(_)) = self.file.revoke(&id.to_string(), None)
            {
                self.unwritten().remove(&id);
            }
        }
        let looked = self.read_file();
        let (path, unwritten) = (self.file.path(), self.unwritten().len());
        let is_missing = || self.had_file.load(Relaxed) && !path.exists();
        match looked {
            Err(error) => {
                Some(format!("the file of keys cannot be used, the keys before it stay: {error}"))
            }
            Ok(()) if unwritten > 0 => Some(format!(
                "{} cannot be changed, and has {unwritten} revoked keys that a restart would let in",
                path.display()
            )),
            Ok(()) if is_missing() => {
                Some(format!("{} is missing: every key is refused", path.display()))
            }
            Ok(()) => None,
        }
    }

    fn unwritten(&self) -> MutexGuard<'_, BTreeSet<KeyId>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns every key of the file, in the order of their creation.
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

    /// Creates a key, which is valid when this returns. Blocks.
    ///
    /// # Errors
    /// As [`KeyFile::create`].
    pub fn create(&self, request: KeyRequest) -> Result<(KeyToken, KeyRecord), KeyFileError> {
        let made = self.file.create(request, self.clock.now())?;
        self.read_file()?;
        Ok(made)
    }

    /// Revokes a key by its id or name, which is refused when this returns. Blocks.
    ///
    /// # Errors
    /// As [`KeyFile::revoke`]; `NotWritten` when the key is refused but the file could not be
    /// changed.
    pub fn revoke(
        &self,
        id_or_name: &str,
        tenant: Option<&TenantName>,
    ) -> Result<KeyRecord, KeyFileError> {
        match self.file.revoke(id_or_name, tenant) {
            Ok(revoked) => {
                self.read_file()?;
                Ok(revoked)
            }
            Err(KeyFileError::Storage(StorageError::Locked { path })) => {
                Err(StorageError::Locked { path }.into())
            }
            Err(error @ (KeyFileError::Storage(_) | KeyFileError::Malformed { .. })) => {
                Err(self.refuse_key(id_or_name, tenant, error))
            }
            Err(error) => Err(error),
        }
    }

    /// Refuses a key that could not be removed from the file because of this error.
    fn refuse_key(
        &self,
        id_or_name: &str,
        tenant: Option<&TenantName>,
        error: KeyFileError,
    ) -> KeyFileError {
        let reason = error.public_message();
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        match find_key(keys.values().map(|key| &key.record), id_or_name, tenant) {
            Ok(id) => {
                if let Some(key) = keys.remove(&id) {
                    key.revocation.send();
                    tracing::error!(key = %id, name = key.record.name, %error, "key revoked, but not removed from the file of keys");
                }
                self.unwritten().insert(id);
                KeyFileError::NotWritten { reason }
            }
            Err(KeyFileError::NotFound(_)) => {
                let is_refused = |id: &KeyId| id.to_string() == id_or_name;
                match self.unwritten().iter().any(is_refused) {
                    true => KeyFileError::NotWritten { reason },
                    false => error,
                }
            }
            Err(several) => several,
        }
    }

    /// Returns `default` and every tenant that keys name.
    #[must_use]
    pub fn tenants(&self) -> BTreeSet<TenantName> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        tenants_of(keys.values().map(|key| &key.record))
    }

    /// Creates a key of the process itself, with which it sends to its own receivers as a tenant.
    /// The key is in no file, and valid until the next one of the tenant is created.
    ///
    /// # Errors
    /// When the system returns no random numbers.
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
    /// `Unknown` or `Expired`; for a token, the reason that it is refused.
    pub(crate) fn find(&self, text: &str) -> Result<Caller, AccessError> {
        if let Some(issuer) = self.issuer().filter(|_| is_token(text)) {
            return issuer.find(text);
        }
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
    /// When the key is unknown, has expired, may not read, or has used up a limit.
    pub fn sign_in(&self, text: &str) -> Result<(SessionToken, Caller), AccessError> {
        let caller = self.find(text.trim())?;
        caller.demand(Role::Read, self.instant())?;
        let token = self.sessions.insert(caller.clone(), None, self.clock.now());
        Ok((token.map_err(|_| AccessError::SessionEnded)?, caller))
    }

    /// Begins a session of a person whom the issuer knows.
    ///
    /// # Errors
    /// When the person may not read, or the system returns no random numbers.
    pub fn sign_in_person(&self, person: SignedIn) -> Result<(SessionToken, Caller), AccessError> {
        let now = self.clock.now();
        let caller = Caller::new(Arc::new(LiveKey::new(person.record)), now);
        caller.demand(Role::Read, self.instant())?;
        let token = self.sessions.insert(caller.clone(), Some(person.renewal), now);
        Ok((token.map_err(|_| AccessError::SessionEnded)?, caller))
    }

    /// Ends the sessions of a browser's cookies. Returns the issuer's sign-out page, which sends
    /// the browser on to `back_to`.
    pub fn sign_out(&self, headers: &HeaderMap, back_to: &str) -> Option<String> {
        let ended = sessions_of(headers);
        let now = self.clock.now();
        let ended = ended.map(|(_, session)| self.sessions.end(session, now));
        let ended: Vec<_> = ended.flatten().collect();
        self.issuer.as_ref()?.end_session(ended.first()?, back_to)
    }

    /// Ends the sessions of a key or of an issuer's subject, and refuses tokens that the subject
    /// was issued up to now. If a tenant is given, only those of the holder in that tenant. Returns
    /// the numbers of ended sessions and of ended tokens that were in use. The key itself stays
    /// valid.
    pub fn end_sessions(&self, holder: KeyId, tenant: Option<&TenantName>) -> (usize, usize) {
        let tokens = self.issuer.as_ref().map_or(0, |issuer| issuer.end_tokens(holder, tenant));
        (self.sessions.end_of(holder, tenant), tokens)
    }

    /// Asks the issuer for new tokens, if those of a session are about to expire. The session ends
    /// when the issuer refuses or gives another role.
    pub(crate) async fn renew_session(self: &Arc<Self>, issuer: &Arc<Issuer>, text: &str) {
        let Some(turn) = self.sessions.renewal_turn(text, self.clock.now()) else { return };
        let (ring, issuer, text) = (Arc::clone(self), Arc::clone(issuer), text.to_owned());
        // The renewal runs as a task of its own. The issuer accepts a refresh token once, so its
        // answer must be stored even if the browser disconnects.
        let renewal = tokio::spawn(async move {
            let _turn = turn.lock().await;
            ring.ask_for_renewal(&issuer, &text).await;
        });
        if let Err(ended) = renewal.await {
            tracing::error!(%ended, "a session could not be renewed");
        }
    }

    async fn ask_for_renewal(&self, issuer: &Issuer, text: &str) {
        let due = self.sessions.due(text, self.clock.now());
        let Some((caller, renewal)) = due else { return };
        match issuer.renew(&renewal).await {
            Ok((record, next)) if record.role == caller.role() => {
                let caller = Caller::new(Arc::new(LiveKey::new(record)), self.clock.now());
                self.sessions.renew(text, caller, next, self.clock.now());
            }
            Ok(_) => {
                tracing::info!(key = %caller.id(), name = caller.name(), "session ended: the issuer gave another role");
                self.sessions.end(text, self.clock.now());
            }
            Err(error) if may_pass(&error) => {
                tracing::warn!(%error, "a session could not be renewed");
                self.sessions.put_off(text, self.clock.now());
            }
            Err(error) => {
                tracing::info!(key = %caller.id(), name = caller.name(), %error, "session ended");
                self.sessions.end(text, self.clock.now());
            }
        }
    }

    /// Returns the key behind a session that has not ended.
    pub(crate) fn session(&self, text: &str) -> Option<Caller> {
        self.sessions.find(text, self.clock.now())
    }

    /// Returns the new value of the browser's session cookie, when the current value is old.
    pub(crate) fn rotate_session(&self, headers: &HeaderMap) -> Option<RotatedSession> {
        let now = self.clock.now();
        let is_live = |text: &str| self.sessions.find(text, now).is_some();
        let (name, text) = sessions_of(headers).find(|(_, text)| is_live(text))?;
        let (token, age) = self.sessions.rotate(text, now)?;
        let [over_tls, _] = SESSION_COOKIES;
        Some(RotatedSession { token, age, is_over_tls: name == over_tls })
    }

    /// Returns the current time of the clock by which keys expire.
    #[must_use]
    pub fn now(&self) -> UnixNanos {
        self.clock.now()
    }

    /// Returns the current instant of the clock by which limits of keys are measured.
    pub(crate) fn instant(&self) -> Instant {
        self.clock.instant()
    }

    /// Resolves when a caller is no longer live: its key is revoked or expires, or its session
    /// ends.
    #[must_use]
    pub fn end_of(&self, caller: &Caller) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let expiry = caller.key().record.expires_unix_nanos.map(|end| {
            let left = end.0.saturating_sub(self.clock.now().0);
            self.clock.sleep(Duration::from_nanos(left))
        });
        let caller = caller.clone();
        Box::pin(async move {
            tokio::select! {
                () = caller.revoked() => {}
                () = expiry.unwrap_or_else(|| Box::pin(pending())) => {}
            }
        })
    }

    fn key(&self, id: KeyId) -> Option<Arc<LiveKey>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = keys.get(&id) {
            return Some(Arc::clone(key));
        }
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.iter().find(|key| key.record.id == id).cloned()
    }

    /// Reads the file, and updates the keys if it has changed.
    fn read_file(&self) -> Result<(), KeyFileError> {
        let bytes = self.file.bytes()?;
        self.had_file.fetch_or(bytes.is_some(), Relaxed);
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let fingerprint = hasher.finish();
        // The fingerprints are compared under the lock, so that of two concurrent reads the later
        // one counts.
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if self.fingerprint.load(Relaxed) == fingerprint {
            return Ok(());
        }
        let mut records = match &bytes {
            Some(bytes) => self.file.parse(bytes)?,
            None => Vec::new(),
        };
        records.retain(|record| !self.unwritten().contains(&record.id));
        let mut before = std::mem::take(&mut *keys);
        for record in records {
            let id = record.id;
            let known = before.remove(&id);
            // Running sessions and responses rely on the permissions that the key had before, so
            // they end.
            if let Some(changed) = known.as_ref().filter(|key| key.record != record) {
                changed.revocation.send();
                tracing::info!(key = %id, name = record.name, "key changed");
            }
            let same = known.filter(|key| key.record == record);
            keys.insert(id, same.unwrap_or_else(|| Arc::new(LiveKey::new(record))));
        }
        for (id, gone) in before {
            gone.revocation.send();
            tracing::info!(key = %id, name = gone.record.name, "key revoked");
        }
        self.fingerprint.store(fingerprint, Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
