//! Cache of verified tokens, because a sender repeats its token in every request.
//!
//! Owns the bound on their number. A token is cached under its digest until it expires. All are
//! dropped when the issuer no longer publishes one of its keys. Running responses to a dropped
//! token end, because they could not be ended later.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tidings_proto::UnixNanos;

use super::{Identity, OidcSettings};
use crate::{
    caller::LiveKey,
    error::AccessError,
    key::{KeyId, KeyRecord, sha256},
    tenant::TenantName,
};

/// Maximum number of tokens. Above it, expired tokens are dropped, then those without a running
/// response, then all of them.
const TOKENS_MAX: usize = 10_000;

/// Keys of verified tokens, by the digest of the token.
#[derive(Debug, Default)]
pub(super) struct TokenCache(Mutex<HashMap<[u8; 32], Arc<LiveKey>>>);

impl TokenCache {
    /// Returns the key of a token that was verified and has not expired.
    pub(super) fn get(&self, token: &str, now: UnixNanos) -> Option<Arc<LiveKey>> {
        let tokens = self.lock();
        tokens.get(&sha256(token.as_bytes())).filter(|key| !key.record.has_expired(now)).cloned()
    }

    /// Adds a verified token.
    pub(super) fn insert(&self, token: &str, record: KeyRecord, now: UnixNanos) -> Arc<LiveKey> {
        let key = Arc::new(LiveKey::new(record));
        let mut tokens = self.lock();
        if tokens.len() >= TOKENS_MAX {
            tokens.retain(|_, key| !key.record.has_expired(now));
        }
        if tokens.len() >= TOKENS_MAX {
            tokens.retain(|_, key| Arc::strong_count(key) > 1);
        }
        if tokens.len() >= TOKENS_MAX {
            revoke_all(&mut tokens);
        }
        tokens.insert(sha256(token.as_bytes()), Arc::clone(&key));
        key
    }

    /// Drops every token, and ends running responses to them.
    pub(super) fn clear(&self) {
        revoke_all(&mut self.lock());
    }

    /// Drops the tokens of a subject, only those of the tenant if one is given, and ends running
    /// responses to them. Returns their number.
    pub(super) fn drop_of(&self, subject: KeyId, tenant: Option<&TenantName>) -> usize {
        let mut tokens = self.lock();
        let before = tokens.len();
        tokens.retain(|_, key| {
            let is_dropped = key.record.belongs_to(subject, tenant);
            if is_dropped {
                key.revocation.send();
            }
            !is_dropped
        });
        before - tokens.len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Arc<LiveKey>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn revoke_all(tokens: &mut HashMap<[u8; 32], Arc<LiveKey>>) {
    for (_, key) in tokens.drain() {
        key.revocation.send();
    }
}

impl Identity {
    /// Makes the key record of an identity, which is in no file.
    ///
    /// # Errors
    /// When the identity has no role here, or no tenant although a claim is configured for them.
    pub(super) fn record(
        &self,
        settings: &OidcSettings,
        now: UnixNanos,
    ) -> Result<KeyRecord, AccessError> {
        let no_role = || AccessError::NoRole {
            name: self.name.clone(),
            claim: settings.roles.claim().to_owned(),
        };
        let role = self.role.ok_or_else(no_role)?;
        let no_tenant = |claim: &str| AccessError::NoTenant {
            name: self.name.clone(),
            claim: claim.to_owned(),
        };
        let (tenant, tenants) = match (self.tenants.split_first(), settings.tenant_claim()) {
            (Some((own, others)), _) => (own.clone(), others.to_vec()),
            (None, None) => (TenantName::default(), Vec::new()),
            (None, Some(claim)) => return Err(no_tenant(claim)),
        };
        let subject = format!("{}\n{}", settings.issuer.as_str(), self.subject);
        let record = KeyRecord::of_subject(&subject, self.name.clone(), role, now, self.ends);
        Ok(KeyRecord { tenant, tenants, ..record })
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::UnixNanos;

    use super::{TOKENS_MAX, TokenCache};
    use crate::{caller::LiveKey, key::KeyRecord, role::Role};

    fn record(ends: u64) -> KeyRecord {
        let (now, ends) = (UnixNanos(0), UnixNanos(ends));
        KeyRecord::of_subject("s", "s".to_owned(), Role::Read, now, ends)
    }

    #[test]
    fn a_token_is_known_until_it_ends_or_the_keys_change() {
        let cache = TokenCache::default();
        let kept = cache.insert("a", record(10), UnixNanos(1));
        assert!(cache.get("a", UnixNanos(9)).is_some());
        assert!(cache.get("a", UnixNanos(10)).is_none());
        assert!(cache.get("b", UnixNanos(1)).is_none());
        cache.clear();
        assert!(cache.get("a", UnixNanos(1)).is_none());
        assert!(kept.revocation.is_sent());
    }

    #[test]
    fn the_number_of_tokens_is_bounded() {
        let cache = TokenCache::default();
        cache.insert("first", record(5), UnixNanos(1));
        for number in 1..TOKENS_MAX {
            cache.insert(&number.to_string(), record(10), UnixNanos(1));
        }
        cache.insert("next", record(10), UnixNanos(6));
        assert_eq!(cache.lock().len(), TOKENS_MAX, "the one that has ended makes room");
        let used = cache.insert("last", record(10), UnixNanos(6));
        assert_eq!(cache.lock().len(), 1, "nothing is answered to the others");
        assert!(cache.get("last", UnixNanos(6)).is_some());
        let mut held = Vec::new();
        for number in 1..TOKENS_MAX {
            held.push(cache.insert(&number.to_string(), record(10), UnixNanos(6)));
        }
        let is_revoked = |key: &LiveKey| key.revocation.is_sent();
        cache.insert("one more", record(10), UnixNanos(6));
        assert_eq!(cache.lock().len(), 1);
        assert!(is_revoked(&used) && held.iter().all(|key| is_revoked(key)));
    }

    #[test]
    fn tokens_of_a_subject_are_dropped_together() {
        let cache = TokenCache::default();
        let kept = cache.insert("a", record(10), UnixNanos(1));
        cache.insert("b", record(10), UnixNanos(1));
        let now = UnixNanos(0);
        let other = KeyRecord::of_subject("t", "t".to_owned(), Role::Read, now, UnixNanos(10));
        cache.insert("c", other, UnixNanos(1));
        let subject = kept.record.id;
        assert_eq!(cache.drop_of(subject, Some(&"elsewhere".parse().unwrap())), 0);
        assert_eq!(cache.drop_of(subject, None), 2);
        assert!(kept.revocation.is_sent());
        assert!(cache.get("a", UnixNanos(1)).is_none() && cache.get("c", UnixNanos(1)).is_some());
    }
}
