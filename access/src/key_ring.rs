//! The keys in memory: found by id, counted, and kept as the file says.
//!
//! The file is read every half second, because commands and other programs change it. One that
//! cannot be used then is an alarm, and the keys before it stay. A revoked key is refused from the
//! next look on, and what is still being answered to it ends ([`KeyRing::end_of`]). A key that is
//! revoked here is refused although the file cannot be changed, and each look tries the change again.

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
    key::{KeyId, KeyRecord, KeyRequest, KeyToken, Role, SecretDigest, id_of, random_id},
    key_file::{KeyFile, find_key, tenants_of},
    oidc::{Issuer, SignedIn, is_token, may_pass},
    session::{RotatedSession, SessionToken, Sessions},
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
    issuer: Option<Arc<Issuer>>,
    /// Of the file's bytes.
    fingerprint: AtomicU64,
    /// Revoked here, and still in the file.
    unwritten: Mutex<BTreeSet<KeyId>>,
    /// Set once the file was there.
    had_file: AtomicBool,
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
            issuer: None,
            fingerprint: AtomicU64::new(0),
            unwritten: Mutex::default(),
            had_file: AtomicBool::new(false),
            fault: Mutex::default(),
        };
        ring.look()?;
        Ok(ring)
    }

    /// Lets people and machines in by the word of an issuer as well.
    #[must_use]
    pub fn with_issuer(self, issuer: Option<Arc<Issuer>>) -> Self {
        Self { issuer, ..self }
    }

    /// Returns the issuer, if there is one.
    #[must_use]
    pub fn issuer(&self) -> Option<&Arc<Issuer>> {
        self.issuer.as_ref()
    }

    /// Follows the file for ever.
    pub async fn follow(self: Arc<Self>) {
        loop {
            self.clock.sleep(LOOK_INTERVAL).await;
            let ring = Arc::clone(&self);
            let looked = spawn_blocking(move || ring.look_again()).await;
            let fault = looked.unwrap_or_else(|ended| Some(ended.to_string()));
            let mut before = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(fault) = fault.as_ref().filter(|_| *before != fault) {
                tracing::error!("{fault}");
            }
            *before = fault;
        }
    }

    /// Returns what is wrong with the file, in a sentence for its operator.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Repeats revocations that could not be written, and reads the file; what is wrong with it.
    fn look_again(&self) -> Option<String> {
        let unwritten = self.unwritten().clone();
        for id in unwritten {
            if let Ok(_) | Err(KeyFileError::NotFound(_)) = self.file.revoke(&id.to_string(), None)
            {
                self.unwritten().remove(&id);
            }
        }
        let looked = self.look();
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
    /// As [`KeyFile::revoke`]; `NotWritten` when the key is refused and the file could not be
    /// changed.
    pub fn revoke(
        &self,
        id_or_name: &str,
        tenant: Option<&TenantName>,
    ) -> Result<KeyRecord, KeyFileError> {
        match self.file.revoke(id_or_name, tenant) {
            Ok(revoked) => {
                self.look()?;
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

    /// Refuses a key that cannot be removed from the file because of this error.
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
                    tracing::error!(key = %id, name = key.record.name, %error, "key revoked, and not removed from its file");
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
    /// `Unknown` or `Expired`; of a token, the reason that the issuer's word does not let it in.
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
    /// When there is no such key, it has expired, it may not read, or a limit of it is used up.
    pub fn sign_in(&self, text: &str) -> Result<(SessionToken, Caller), AccessError> {
        let caller = self.find(text.trim())?;
        caller.demand(Role::Read, self.instant())?;
        let token = self.sessions.insert(caller.clone(), None, self.clock.now());
        Ok((token.map_err(|_| AccessError::SessionEnded)?, caller))
    }

    /// Begins a session of a person whom the issuer knows.
    ///
    /// # Errors
    /// When the person may not read, or the system gives no random numbers.
    pub fn sign_in_person(&self, person: SignedIn) -> Result<(SessionToken, Caller), AccessError> {
        let now = self.clock.now();
        let caller = Caller::new(Arc::new(LiveKey::new(person.record)), now);
        caller.demand(Role::Read, self.instant())?;
        let token = self.sessions.insert(caller.clone(), Some(person.renewal), now);
        Ok((token.map_err(|_| AccessError::SessionEnded)?, caller))
    }

    /// Ends the sessions that a browser's cookies name. Returns the issuer's page at which they end
    /// there as well, from which a browser goes on to `back_to`.
    pub fn sign_out(&self, headers: &HeaderMap, back_to: &str) -> Option<String> {
        let ended = sessions_of(headers);
        let now = self.clock.now();
        let ended = ended.map(|(_, session)| self.sessions.end(session, now));
        let ended: Vec<_> = ended.flatten().collect();
        self.issuer.as_ref()?.end_session(ended.first()?, back_to)
    }

    /// Ends the sessions of a key or of an issuer's subject, and refuses the tokens that the subject
    /// has been issued up to now. Of the holder in one tenant only, if one is given. Returns the
    /// numbers of sessions and of tokens in use. The key itself stays good.
    pub fn end_sessions(&self, holder: KeyId, tenant: Option<&TenantName>) -> (usize, usize) {
        let tokens = self.issuer.as_ref().map_or(0, |issuer| issuer.end_tokens(holder, tenant));
        (self.sessions.end_of(holder, tenant), tokens)
    }

    /// Asks the issuer for new tokens of a session whose own end. Where it gives none, or another
    /// role, the session ends.
    pub(crate) async fn renew_session(self: &Arc<Self>, issuer: &Arc<Issuer>, text: &str) {
        let Some(turn) = self.sessions.renewal_turn(text, self.clock.now()) else { return };
        let (ring, issuer, text) = (Arc::clone(self), Arc::clone(issuer), text.to_owned());
        // A task of its own: the issuer takes a refresh token once, and its answer must be kept
        // although the browser went away.
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
                tracing::info!(key = %caller.id(), name = caller.name(), "session ended: another role");
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

    /// Returns the text that a browser is to bring from now on, when the one of its session is old.
    pub(crate) fn rotate_session(&self, headers: &HeaderMap) -> Option<RotatedSession> {
        let now = self.clock.now();
        let is_live = |text: &str| self.sessions.find(text, now).is_some();
        let (name, text) = sessions_of(headers).find(|(_, text)| is_live(text))?;
        let (token, age) = self.sessions.rotate(text, now)?;
        let [over_tls, _] = SESSION_COOKIES;
        Some(RotatedSession { token, age, is_over_tls: name == over_tls })
    }

    /// Returns the time by which the keys expire.
    #[must_use]
    pub fn now(&self) -> UnixNanos {
        self.clock.now()
    }

    /// Returns the time by which the limits of keys are kept.
    pub(crate) fn instant(&self) -> Instant {
        self.clock.instant()
    }

    /// Resolves when a caller is live no more: its key is revoked or expires, or its session ends.
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

    /// Takes over what the file says, if it says something new.
    fn look(&self) -> Result<(), KeyFileError> {
        let bytes = self.file.bytes()?;
        self.had_file.fetch_or(bytes.is_some(), Relaxed);
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let fingerprint = hasher.finish();
        // Compared under the lock, so that of two looks the later one does not lose.
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
            // Sessions and answers under way have what the key allowed before.
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
