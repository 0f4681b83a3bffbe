//! Admission of a request by its credentials, for every listener.

use std::sync::Arc;

use http::HeaderMap;

use crate::{
    caller::Caller,
    credential::{key_of, sessions_of},
    error::AccessError,
    key_ring::KeyRing,
    oidc::is_token,
    role::Role,
    session::RotatedSession,
    tenant::{ChosenTenant, chosen_tenant},
};

/// The rule by which requests are admitted.
#[derive(Debug, Clone, Default)]
pub enum AccessPolicy {
    /// Requests need no key.
    #[default]
    Open,
    /// Every request needs one of these keys.
    Keys(Arc<KeyRing>),
}

/// The credentials that a listener accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    /// Keys only. Cookies are ignored, because a browser sends them to every port of a host.
    Keys,
    /// Keys, and sessions of browsers.
    KeysAndSessions,
}

impl AccessPolicy {
    /// Admits a request that needs this role. Returns its caller; `None` when requests need no key.
    ///
    /// # Errors
    /// The reason of the refusal. A key takes precedence over a session. The tenant is checked
    /// first, then the role, then the limits of the key.
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

    /// Asks the issuer, if [`AccessPolicy::admit`] needs it to decide: for an unknown key that
    /// signed a token, or for new tokens of a session whose tokens expire. Most requests need
    /// neither.
    ///
    /// # Errors
    /// When the issuer cannot be reached now.
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

    /// Returns the caller of a request; `None` when requests need no key.
    ///
    /// # Errors
    /// When the request has no key, or an invalid one.
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

    /// Returns the new value of the session cookie for a request that was admitted by a session;
    /// `None` when the value stays.
    #[must_use]
    pub fn rotate_session(&self, headers: &HeaderMap) -> Option<RotatedSession> {
        let Ok(None) = key_of(headers) else { return None };
        self.ring()?.rotate_session(headers)
    }

    /// Returns the keys; `None` when requests need no key.
    #[must_use]
    pub fn ring(&self) -> Option<&Arc<KeyRing>> {
        match self {
            Self::Open => None,
            Self::Keys(ring) => Some(ring),
        }
    }
}
