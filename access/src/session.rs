//! Sessions of browsers: a cookie with a random value in place of a key.
//!
//! A session is in memory only. It ends with the process, after [`SESSION_AGE`], when its browser
//! signs out, when its key is revoked or expires, and when an admin ends the sessions of its
//! holder. Running responses to an ended session end, too. The session of a person whom an issuer
//! knows ends with the issuer's token, unless the issuer renews it.
//!
//! A session in use gets a new cookie value every hour ([`SESSION_VALUE_AGE`]). The previous value
//! stays valid for a minute, because concurrent requests have it. Each of their responses repeats
//! the new value, so that a lost response signs nobody out. After that minute, a stolen copy of the
//! previous value is useless.
//!
//! A holder, which is a key or a subject of the issuer, has a bounded number of sessions; one more
//! ends its own oldest. So a stolen key cannot sign out other holders. Owns the sessions. Does not
//! own the attributes of the cookie, which the HTTP address writes.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ring::rand::SystemRandom;
use tidings_proto::{UnixNanos, hex};
use tokio::sync::Mutex as AsyncMutex;

use crate::{
    caller::{Caller, EndSignal},
    error::KeyFileError,
    key::{KeyId, random_bytes, sha256},
    oidc::{RENEWAL_AHEAD, Renewal},
    tenant::TenantName,
};

/// Maximum duration of a session.
pub const SESSION_AGE: Duration = Duration::from_secs(12 * 60 * 60);
/// Age from which on a cookie value is replaced with the next request.
pub(crate) const SESSION_VALUE_AGE: Duration = Duration::from_secs(60 * 60);
/// Time for which a replaced value stays valid.
pub(crate) const REPLACED_VALUE_AGE: Duration = Duration::from_secs(60);
/// Maximum number of sessions of one key or subject; the oldest is evicted for the next. A key that
/// a team shares can sign in that many browsers.
pub(crate) const HOLDER_SESSIONS_MAX: usize = 100;
/// Maximum number of all sessions; the oldest of the holder with the most sessions is evicted.
const SESSIONS_MAX: usize = 10_000;

/// Delay before a failed renewal is tried again.
const PUT_OFF: Duration = Duration::from_secs(10);

/// The value of a session's cookie. It is a secret.
#[derive(Clone)]
pub struct SessionToken(String);

impl std::fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionToken")
    }
}

impl SessionToken {
    fn random() -> Result<Self, KeyFileError> {
        let secret: [u8; 32] = random_bytes(&SystemRandom::new())?;
        Ok(Self(hex(&secret)))
    }

    fn digest(&self) -> SessionDigest {
        sha256(self.0.as_bytes())
    }

    /// Returns the value for the cookie: 64 hex digits.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// The digest of a token. The time of a lookup by digest reveals nothing about other tokens.
type SessionDigest = [u8; 32];

/// The digest of the key or subject that holds a session. Unlike ids of 32 bits, digests do not
/// collide by chance.
type SessionHolder = [u8; 32];

type SessionMap = HashMap<SessionDigest, Session>;

/// All sessions of the process.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<SessionPool>);

#[derive(Debug, Default)]
struct SessionPool {
    sessions: SessionMap,
    /// Replaced values that are still valid.
    replaced: HashMap<SessionDigest, ReplacedValue>,
}

/// The successor of a replaced value.
#[derive(Debug)]
struct ReplacedValue {
    token: SessionToken,
    /// The time until which the replaced value is valid.
    until: UnixNanos,
}

/// The new value of a session's cookie.
#[derive(Debug, Clone)]
pub struct RotatedSession {
    /// The value.
    pub token: SessionToken,
    /// The remaining duration of the session.
    pub age: Duration,
    /// True if the current cookie is the one for TLS.
    pub is_over_tls: bool,
}

#[derive(Debug)]
struct Session {
    caller: Caller,
    ends: UnixNanos,
    /// The time from which on its value is replaced.
    replace_at: UnixNanos,
    renewal: Option<Renewal>,
    /// Held while the issuer is asked for new tokens.
    turn: Arc<AsyncMutex<()>>,
    /// The time until which the issuer is not asked again after a failure.
    put_off_until: UnixNanos,
    /// Sent when the session is dropped, to end running responses.
    end: Arc<EndSignal>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end.send();
    }
}

impl Sessions {
    /// Begins a session of a key, or of a person with an issuer's tokens.
    pub(crate) fn insert(
        &self,
        caller: Caller,
        renewal: Option<Renewal>,
        now: UnixNanos,
    ) -> Result<SessionToken, KeyFileError> {
        let token = SessionToken::random()?;
        let sessions = &mut self.lock().sessions;
        make_room(sessions, holder_of(&caller), SESSIONS_MAX, now);
        sessions.insert(token.digest(), Session::new(caller, now, renewal));
        Ok(token)
    }

    /// Returns the key behind a session that has not ended.
    pub(crate) fn find(&self, token: &str, now: UnixNanos) -> Option<Caller> {
        let mut pool = self.lock();
        let digest = pool.digest_of(token, now);
        let session = pool.sessions.get(&digest)?;
        if now < session.ends && session.caller.is_live(now) {
            let caller = Caller::new(Arc::clone(session.caller.key()), now);
            return Some(caller.by_session(Arc::clone(&session.end)));
        }
        if !session.is_kept(now) {
            pool.sessions.remove(&digest);
        }
        None
    }

    /// Returns the new value of a session, and its remaining duration. `None` when the value is too
    /// young to be replaced, or has no session.
    pub(crate) fn rotate(&self, token: &str, now: UnixNanos) -> Option<(SessionToken, Duration)> {
        let SessionPool { sessions, replaced } = &mut *self.lock();
        replaced.retain(|_, value| now < value.until);
        let value = match replaced.entry(sha256(token.as_bytes())) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                if now < sessions.get(new.key())?.replace_at {
                    return None;
                }
                let token = SessionToken::random().ok()?;
                let mut session = sessions.remove(new.key())?;
                session.replace_at = after(now, SESSION_VALUE_AGE);
                sessions.insert(token.digest(), session);
                new.insert(ReplacedValue { token, until: after(now, REPLACED_VALUE_AGE) })
            }
        };
        let ends = sessions.get(&value.token.digest())?.ends;
        Some((value.token.clone(), Duration::from_nanos(ends.0.saturating_sub(now.0))))
    }

    /// Ends a session. Returns the parts of the issuer's tokens that it kept.
    pub(crate) fn end(&self, token: &str, now: UnixNanos) -> Option<Renewal> {
        let mut pool = self.lock();
        let digest = pool.digest_of(token, now);
        pool.sessions.remove(&digest)?.renewal.take()
    }

    /// Ends every session of a key or a subject; only those of the tenant, if one is given. Returns
    /// their number.
    pub(crate) fn end_of(&self, holder: KeyId, tenant: Option<&TenantName>) -> usize {
        let sessions = &mut self.lock().sessions;
        let before = sessions.len();
        sessions.retain(|_, session| !session.caller.key().record.belongs_to(holder, tenant));
        before - sessions.len()
    }

    /// Returns the lock for the renewal of a session, if a renewal is due.
    pub(crate) fn renewal_turn(&self, token: &str, now: UnixNanos) -> Option<Arc<AsyncMutex<()>>> {
        let mut pool = self.lock();
        let session = pool.session(token, now)?;
        session.is_due(now).then(|| Arc::clone(&session.turn))
    }

    /// Returns the caller of a session and its renewal, if one is due.
    pub(crate) fn due(&self, token: &str, now: UnixNanos) -> Option<(Caller, Renewal)> {
        let mut pool = self.lock();
        let session = pool.session(token, now)?;
        let renewal = session.renewal.as_ref().filter(|_| session.is_due(now))?;
        Some((session.caller.clone(), renewal.clone()))
    }

    /// Continues a session with new tokens. The end of the session stays.
    pub(crate) fn renew(&self, token: &str, caller: Caller, renewal: Renewal, now: UnixNanos) {
        if let Some(session) = self.lock().session(token, now) {
            (session.caller, session.renewal) = (caller, Some(renewal));
        }
    }

    /// Delays the next renewal after a failure.
    pub(crate) fn put_off(&self, token: &str, now: UnixNanos) {
        if let Some(session) = self.lock().session(token, now) {
            session.put_off_until = after(now, PUT_OFF);
        }
    }

    fn lock(&self) -> MutexGuard<'_, SessionPool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionPool {
    /// Returns the digest under which the session of a value is stored: the digest of the value, or
    /// of its successor if it was just replaced.
    fn digest_of(&self, token: &str, now: UnixNanos) -> SessionDigest {
        let digest = sha256(token.as_bytes());
        let value = self.replaced.get(&digest).filter(|value| now < value.until);
        value.map_or(digest, |value| value.token.digest())
    }

    fn session(&mut self, token: &str, now: UnixNanos) -> Option<&mut Session> {
        let digest = self.digest_of(token, now);
        self.sessions.get_mut(&digest)
    }
}

impl Session {
    /// Makes a session that begins now.
    fn new(caller: Caller, now: UnixNanos, renewal: Option<Renewal>) -> Self {
        Self {
            caller,
            ends: after(now, SESSION_AGE),
            replace_at: after(now, SESSION_VALUE_AGE),
            renewal,
            turn: Arc::default(),
            put_off_until: UnixNanos(0),
            end: Arc::default(),
        }
    }

    /// Returns whether the session is live, or may become live by a renewal.
    fn is_kept(&self, now: UnixNanos) -> bool {
        let may_be_renewed = self.renewal.as_ref().is_some_and(Renewal::is_possible);
        now < self.ends && (self.caller.is_live(now) || may_be_renewed)
    }

    /// Returns whether a renewal is due.
    fn is_due(&self, now: UnixNanos) -> bool {
        let soon = UnixNanos(now.0.saturating_add(RENEWAL_AHEAD.0));
        let may_be_renewed = self.renewal.as_ref().is_some_and(Renewal::is_possible);
        may_be_renewed
            && (self.put_off_until <= now && now < self.ends)
            && !self.caller.is_live(soon)
    }
}

fn after(now: UnixNanos, time: Duration) -> UnixNanos {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    UnixNanos(now.0.saturating_add(nanos))
}

fn holder_of(caller: &Caller) -> SessionHolder {
    caller.key().record.sha256.to_bytes()
}

/// Ends sessions until the holder may begin one more: first those that are no longer live, then the
/// oldest of the holder with too many.
fn make_room(sessions: &mut SessionMap, holder: SessionHolder, pool_max: usize, now: UnixNanos) {
    if holder_with_too_many(sessions, holder, pool_max).is_none() {
        return;
    }
    sessions.retain(|_, session| session.is_kept(now));
    let Some(evicted) = holder_with_too_many(sessions, holder, pool_max) else { return };
    let of_evicted = sessions.iter().filter(|(_, session)| holder_of(&session.caller) == evicted);
    let oldest = of_evicted.min_by_key(|(_, session)| session.ends).map(|(digest, _)| *digest);
    if let Some(oldest) = oldest {
        sessions.remove(&oldest);
    }
}

/// Returns the holder whose oldest session has to end before `holder` may begin another; `None`
/// when the limits allow it.
fn holder_with_too_many(
    sessions: &SessionMap,
    holder: SessionHolder,
    pool_max: usize,
) -> Option<SessionHolder> {
    let holders = || sessions.values().map(|session| holder_of(&session.caller));
    if holders().filter(|other| *other == holder).count() >= HOLDER_SESSIONS_MAX {
        return Some(holder);
    }
    if sessions.len() < pool_max {
        return None;
    }
    let mut counts: HashMap<SessionHolder, usize> = HashMap::new();
    for holder in holders() {
        *counts.entry(holder).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(holder, _)| holder)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidings_proto::UnixNanos;

    use super::{
        HOLDER_SESSIONS_MAX, SESSION_AGE, Session, SessionMap, SessionToken, Sessions, after,
        holder_of, make_room,
    };
    use crate::{
        caller::{Caller, LiveKey},
        key::{KeyRecord, sha256},
        role::Role,
    };

    const END: UnixNanos = UnixNanos(u64::MAX);

    /// Returns a person of this subject who signed in at this time.
    fn person(subject: &str, now: u64) -> Caller {
        let now = UnixNanos(now);
        let record = KeyRecord::of_subject(subject, "jane".to_owned(), Role::Read, now, END);
        Caller::new(Arc::new(LiveKey::new(record)), now)
    }

    #[test]
    fn too_many_sessions_of_a_person_end_only_the_oldest_of_that_person() {
        let sessions = Sessions::default();
        let begin = |subject: &str, at: u64| {
            sessions.insert(person(subject, at), None, UnixNanos(at)).unwrap()
        };
        let others = begin("other", 1);
        let own: Vec<_> = (2..).take(HOLDER_SESSIONS_MAX + 2).map(|at| begin("own", at)).collect();
        let is_good =
            |token: &SessionToken| sessions.find(token.reveal(), UnixNanos(1_000)).is_some();
        assert!(is_good(&others));
        let ended = own.iter().take_while(|token| !is_good(token)).count();
        assert_eq!(ended, 2);
        assert!(own.iter().skip(ended).all(is_good));
    }

    #[test]
    fn a_full_pool_ends_the_oldest_session_of_the_holder_that_has_most() {
        let mut sessions = SessionMap::new();
        let mut begin = |subject: &str, at: u64| {
            let caller = person(subject, at);
            make_room(&mut sessions, holder_of(&caller), 4, UnixNanos(at));
            let session = Session::new(caller, UnixNanos(at), None);
            sessions.insert(sha256(&at.to_be_bytes()), session);
        };
        for (subject, at) in [("a", 1), ("b", 2), ("b", 3), ("c", 4), ("d", 5)] {
            begin(subject, at);
        }
        let age = after(UnixNanos(0), SESSION_AGE).0;
        let mut left: Vec<u64> = sessions.values().map(|session| session.ends.0 - age).collect();
        left.sort_unstable();
        assert_eq!(left, [1, 3, 4, 5]);
    }

    #[test]
    fn all_sessions_of_a_holder_end_at_once_with_their_running_responses() {
        let sessions = Sessions::default();
        let begin =
            |subject: &str| sessions.insert(person(subject, 1), None, UnixNanos(1)).unwrap();
        let (first, second, others) = (begin("own"), begin("own"), begin("other"));
        let find = |token: &SessionToken| sessions.find(token.reveal(), UnixNanos(2));
        let tail = find(&first).unwrap();
        let other_tail = find(&others).unwrap();
        let elsewhere = "elsewhere".parse().unwrap();
        assert_eq!(sessions.end_of(tail.id(), Some(&elsewhere)), 0, "of another tenant");
        assert!(tail.is_live(UnixNanos(2)));
        assert_eq!(sessions.end_of(tail.id(), None), 2);
        assert!(find(&first).is_none() && find(&second).is_none());
        assert!(!tail.is_live(UnixNanos(2)));
        assert!(find(&others).is_some() && other_tail.is_live(UnixNanos(2)));
        assert!(sessions.end(others.reveal(), UnixNanos(2)).is_none());
        assert!(!other_tail.is_live(UnixNanos(2)), "signed out");
    }

    #[test]
    fn ended_sessions_are_evicted_before_live_ones() {
        let sessions = Sessions::default();
        let record = |ends: u64| {
            let (now, ends) = (UnixNanos(1), UnixNanos(ends));
            KeyRecord::of_subject("own", "jane".to_owned(), Role::Read, now, ends)
        };
        let begin = |ends: u64, at: u64| {
            let caller = Caller::new(Arc::new(LiveKey::new(record(ends))), UnixNanos(at));
            sessions.insert(caller, None, UnixNanos(at)).unwrap()
        };
        let first = begin(u64::MAX, 1);
        for at in 2..=HOLDER_SESSIONS_MAX as u64 {
            begin(50_000, at);
        }
        begin(u64::MAX, 60_000);
        assert!(sessions.find(first.reveal(), UnixNanos(60_001)).is_some());
        assert_eq!(sessions.lock().sessions.len(), 2);
    }
}
