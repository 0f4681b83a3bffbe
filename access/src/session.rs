//! Sessions of browsers: a random text in a cookie in the place of a key.
//!
//! A session is in memory only: it ends with the process, after [`SESSION_AGE`], when its browser
//! signs out, and when its key is revoked or expires. Owns the sessions. Does not own the cookie's
//! attributes, which the HTTP address writes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ring::rand::SystemRandom;
use tidings_proto::UnixNanos;

use crate::{
    caller::Caller,
    error::KeyFileError,
    key::{hex, random_bytes, sha256},
};

/// A session lasts so long.
pub const SESSION_AGE: Duration = Duration::from_secs(12 * 60 * 60);
/// The most sessions: the one that ends first makes room.
const SESSIONS_MAX: usize = 10_000;

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
}

impl Sessions {
    /// Begins a session of a key.
    pub(crate) fn insert(
        &self,
        caller: Caller,
        now: UnixNanos,
    ) -> Result<SessionToken, KeyFileError> {
        let secret: [u8; 32] = random_bytes(&SystemRandom::new())?;
        let token = SessionToken(hex(&secret));
        let age = u64::try_from(SESSION_AGE.as_nanos()).unwrap_or(u64::MAX);
        let ends = UnixNanos(now.0.saturating_add(age));
        let mut sessions = self.lock();
        if sessions.len() >= SESSIONS_MAX {
            sessions.retain(|_, session| session.is_live(now));
        }
        if sessions.len() >= SESSIONS_MAX {
            let first = sessions.iter().min_by_key(|(_, session)| session.ends);
            if let Some(first) = first.map(|(digest, _)| *digest) {
                sessions.remove(&first);
            }
        }
        sessions.insert(sha256(token.0.as_bytes()), Session { caller, ends });
        Ok(token)
    }

    /// Returns the key behind a session that has not ended.
    pub(crate) fn find(&self, token: &str, now: UnixNanos) -> Option<Caller> {
        let mut sessions = self.lock();
        let digest = sha256(token.as_bytes());
        let session = sessions.get(&digest)?;
        if session.is_live(now) {
            return Some(Caller::new(Arc::clone(session.caller.key()), now));
        }
        sessions.remove(&digest);
        None
    }

    /// Ends a session.
    pub(crate) fn end(&self, token: &str) {
        self.lock().remove(&sha256(token.as_bytes()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionDigest, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn is_live(&self, now: UnixNanos) -> bool {
        now < self.ends && self.caller.is_live(now)
    }
}
