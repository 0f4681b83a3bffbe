//! Sessions of browsers: a random text in a cookie in the place of a key.
//!
//! A session is in memory only: it ends with the process, after [`SESSION_AGE`], when its browser
//! signs out, and when its key is revoked or expires. That of a person whom an issuer knows ends
//! with the issuer's token, unless the issuer gives the next one. Owns the sessions. Does not own the cookie's
//! attributes, which the HTTP address writes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ring::rand::SystemRandom;
use tidings_proto::UnixNanos;
use tokio::sync::Mutex as AsyncMutex;

use crate::{
    caller::Caller,
    error::KeyFileError,
    key::{hex, random_bytes, sha256},
    oidc::{RENEWAL_AHEAD, Renewal},
};

/// A session lasts so long.
pub const SESSION_AGE: Duration = Duration::from_secs(12 * 60 * 60);
/// The most sessions: the one that ends first makes room.
const SESSIONS_MAX: usize = 10_000;

/// A renewal that failed is tried again after this time.
const PUT_OFF_NANOS: u64 = 10_000_000_000;

/// The text of a session. It is a secret.
#[derive(Clone)]
pub struct SessionToken(String);

impl std::fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionToken")
    }
}

impl SessionToken {
    /// Returns the text, for the cookie: 64 hex digits.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// The digest of a token: finding one takes a time that tells nothing about the others.
type SessionDigest = [u8; 32];

/// The sessions there are.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<SessionDigest, Session>>);

#[derive(Debug)]
struct Session {
    caller: Caller,
    ends: UnixNanos,
    renewal: Option<Renewal>,
    /// Held by the request that asks for new tokens.
    turn: Arc<AsyncMutex<()>>,
    /// The time before which the issuer is not asked again.
    put_off_until: UnixNanos,
}

impl Sessions {
    /// Begins a session of a key, or of a person by an issuer's tokens.
    pub(crate) fn insert(
        &self,
        caller: Caller,
        renewal: Option<Renewal>,
        now: UnixNanos,
    ) -> Result<SessionToken, KeyFileError> {
        let secret: [u8; 32] = random_bytes(&SystemRandom::new())?;
        let token = SessionToken(hex(&secret));
        let age = u64::try_from(SESSION_AGE.as_nanos()).unwrap_or(u64::MAX);
        let ends = UnixNanos(now.0.saturating_add(age));
        let mut sessions = self.lock();
        if sessions.len() >= SESSIONS_MAX {
            sessions.retain(|_, session| session.is_kept(now));
        }
        if sessions.len() >= SESSIONS_MAX {
            let first = sessions.iter().min_by_key(|(_, session)| session.ends);
            if let Some(first) = first.map(|(digest, _)| *digest) {
                sessions.remove(&first);
            }
        }
        let (turn, put_off_until) = (Arc::default(), UnixNanos(0));
        let session = Session { caller, ends, renewal, turn, put_off_until };
        sessions.insert(sha256(token.0.as_bytes()), session);
        Ok(token)
    }

    /// Returns the key behind a session that has not ended.
    pub(crate) fn find(&self, token: &str, now: UnixNanos) -> Option<Caller> {
        let mut sessions = self.lock();
        let digest = sha256(token.as_bytes());
        let session = sessions.get(&digest)?;
        if now < session.ends && session.caller.is_live(now) {
            return Some(Caller::new(Arc::clone(session.caller.key()), now));
        }
        if !session.is_kept(now) {
            sessions.remove(&digest);
        }
        None
    }

    /// Ends a session; returns what its issuer gave it.
    pub(crate) fn end(&self, token: &str) -> Option<Renewal> {
        self.lock().remove(&sha256(token.as_bytes()))?.renewal
    }

    /// Returns the lock of a session's renewal, if one is due.
    pub(crate) fn renewal_turn(&self, token: &str, now: UnixNanos) -> Option<Arc<AsyncMutex<()>>> {
        let sessions = self.lock();
        let session = sessions.get(&sha256(token.as_bytes()))?;
        session.is_due(now).then(|| Arc::clone(&session.turn))
    }

    /// Returns whom a session is of, and with what it is renewed, if that is due.
    pub(crate) fn due(&self, token: &str, now: UnixNanos) -> Option<(Caller, Renewal)> {
        let sessions = self.lock();
        let session = sessions.get(&sha256(token.as_bytes()))?;
        let renewal = session.renewal.as_ref().filter(|_| session.is_due(now))?;
        Some((session.caller.clone(), renewal.clone()))
    }

    /// Goes on with new tokens. The end of the session stays.
    pub(crate) fn renew(&self, token: &str, caller: Caller, renewal: Renewal) {
        if let Some(session) = self.lock().get_mut(&sha256(token.as_bytes())) {
            (session.caller, session.renewal) = (caller, Some(renewal));
        }
    }

    /// Leaves a renewal that failed for a while.
    pub(crate) fn put_off(&self, token: &str, now: UnixNanos) {
        if let Some(session) = self.lock().get_mut(&sha256(token.as_bytes())) {
            session.put_off_until = UnixNanos(now.0.saturating_add(PUT_OFF_NANOS));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionDigest, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Returns whether the session counts, or may count again.
    fn is_kept(&self, now: UnixNanos) -> bool {
        let may_be_renewed = self.renewal.as_ref().is_some_and(Renewal::is_possible);
        now < self.ends && (self.caller.is_live(now) || may_be_renewed)
    }

    /// Returns whether the issuer has to be asked for new tokens.
    fn is_due(&self, now: UnixNanos) -> bool {
        let soon = UnixNanos(now.0.saturating_add(RENEWAL_AHEAD.0));
        let may_be_renewed = self.renewal.as_ref().is_some_and(Renewal::is_possible);
        may_be_renewed
            && (self.put_off_until <= now && now < self.ends)
            && !self.caller.is_live(soon)
    }
}
