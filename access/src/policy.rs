//! The one question of every listener: may this request do what it asks for?

use std::sync::Arc;

use http::HeaderMap;

use crate::{
    caller::Caller,
    credential::{key_of, sessions_of},
    error::AccessError,
    key::Role,
    key_ring::KeyRing,
    oidc::is_token,
    session::RotatedSession,
    tenant::{ChosenTenant, chosen_tenant},
};

/// The rule by which requests are let in.
#[derive(Debug, Clone, Default)]
pub enum AccessPolicy {
    /// Nobody is asked for a key.
    #[default]
    Open,
    /// Every request needs one of these keys.
    Keys(Arc<KeyRing>),
}

/// The credentials that count at a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    /// Keys only: a browser sends a cookie to every port of a host.
    Keys,
    /// Keys, and sessions of browsers.
    KeysAndSessions,
}

impl AccessPolicy {
    /// Lets a request in that needs this role; `None` where nobody is asked.
    ///
    /// # Errors
    /// The reason why not. A key goes before a session, the tenant that the request chooses before
    /// the role, and the role before the key's limits.
    pub fn admit(
        &self,
        headers: &HeaderMap,
        credentials: Credentials,
        needed: Role,
    ) -> Result<Option<Caller>, AccessError> {
        let chosen = chosen_tenant(headers);
        let Some(caller) = self.identify(headers, credentials)? else {
            return match chosen {
                ChosenTenant::Named(tenant) if !tenant.is_default() => Err(AccessError::OneTenant),
                ChosenTenant::Unusable => Err(AccessError::OneTenant),
                ChosenTenant::OfKey | ChosenTenant::Named(_) => Ok(None),
            };
        };
        let caller = caller.choose(chosen)?;
        if let Self::Keys(ring) = self {
            caller.demand(needed, ring.instant())?;
        }
        Ok(Some(caller))
    }

    /// Asks the issuer what has to be known before [`AccessPolicy::admit`] can decide: a key that a
    /// token was signed with, or new tokens of a session whose own end. Most requests ask nothing.
    ///
    /// # Errors
    /// When the issuer cannot be asked now.
    pub async fn consult(
        &self,
        headers: &HeaderMap,
        credentials: Credentials,
    ) -> Result<(), AccessError> {
        let Self::Keys(ring) = self else { return Ok(()) };
        let Some(issuer) = ring.issuer() else { return Ok(()) };
        match key_of(headers) {
            Ok(Some(text)) if is_token(&text) => issuer.learn(&text).await,
            Ok(None) if credentials == Credentials::KeysAndSessions => {
                for (_, session) in sessions_of(headers) {
                    ring.renew_session(issuer, session).await;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Finds out whose request it is; `None` where nobody is asked.
    ///
    /// # Errors
    /// When there is no key in it, or none that is good.
    pub fn identify(
        &self,
        headers: &HeaderMap,
        credentials: Credentials,
    ) -> Result<Option<Caller>, AccessError> {
        let Self::Keys(ring) = self else { return Ok(None) };
        if let Some(key) = key_of(headers)? {
            return ring.find(&key).map(Some);
        }
        if credentials == Credentials::Keys {
            return Err(AccessError::Missing);
        }
        let mut refusal = AccessError::Missing;
        for (_, session) in sessions_of(headers) {
            match ring.session(session) {
                Some(caller) => return Ok(Some(caller)),
                None => refusal = AccessError::SessionEnded,
            }
        }
        Err(refusal)
    }

    /// Returns the text that the browser of a request that was let in by a session is to bring from
    /// now on; `None`: the same.
    #[must_use]
    pub fn rotate_session(&self, headers: &HeaderMap) -> Option<RotatedSession> {
        let Ok(None) = key_of(headers) else { return None };
        self.ring()?.rotate_session(headers)
    }

    /// Returns the keys, where there are any.
    #[must_use]
    pub fn ring(&self) -> Option<&Arc<KeyRing>> {
        match self {
            Self::Open => None,
            Self::Keys(ring) => Some(ring),
        }
    }
}
