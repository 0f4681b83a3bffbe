//! Refusals of requests, and faults of the file of keys.

use std::{path::PathBuf, time::Duration};

use thiserror::Error;
use tidings_storage::StorageError;

use crate::{key::Role, oidc::TokenError, rate::KeyLimit, tenant::TenantName};

/// The reason that a request is refused for who sends it. Its text is for the client, and tells
/// those without a key nothing about the keys that there are.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AccessError {
    /// The request brings no key: answer 401 / `UNAUTHENTICATED`.
    #[error(
        "a key is needed: send `Authorization: Bearer KEY`, `x-api-key: KEY`, or KEY as Basic's password; `tidings keys create` makes one"
    )]
    Missing,
    /// The request brings two different keys: answer 401.
    #[error("the request has more than one key: send one")]
    Ambiguous,
    /// No key of this server, or one that was revoked: answer 401.
    #[error("the key is not known here: it may be mistyped, or revoked")]
    Unknown,
    /// A key that was known until its time was over: answer 401.
    #[error("the key {name:?} has expired: make a new one")]
    Expired {
        /// Its name.
        name: String,
    },
    /// A browser's session that is over: answer 401.
    #[error("the session has ended: sign in again")]
    SessionEnded,
    /// A token that is not good here: answer 401.
    #[error("the token is refused: {0}")]
    Token(TokenError),
    /// A token, where tokens are not taken: answer 401.
    #[error("tokens are not taken here: send a key, or set oidc-audience")]
    NoTokens,
    /// A token whose issuer cannot be asked now: answer 503 / `UNAVAILABLE`.
    #[error("the issuer of the token cannot be asked for its keys now: try again")]
    IssuerUnavailable,
    /// Somebody whom the issuer knows, and who has no role: answer 403 / `PERMISSION_DENIED`.
    #[error("{name:?} has no role here: no value of the claim `{claim}` is in oidc-roles")]
    NoRole {
        /// The name of the person or machine.
        name: String,
        /// The claim that was looked at.
        claim: String,
    },
    /// Somebody whom the issuer knows, and who belongs to no tenant: answer 403 /
    /// `PERMISSION_DENIED`.
    #[error("{name:?} belongs to no tenant here: the claim `{claim}` names none")]
    NoTenant {
        /// The name of the person or machine.
        name: String,
        /// The claim that was looked at.
        claim: String,
    },
    /// A key of another role: answer 403 / `PERMISSION_DENIED`.
    #[error("the key {name:?} may {role}, and this needs one that may {needed}")]
    Role {
        /// Its name.
        name: String,
        /// Its role.
        role: Role,
        /// The role that the request needs.
        needed: Role,
    },
    /// A key that has used up one of its limits: answer 429 / `RESOURCE_EXHAUSTED`.
    #[error("the key {name:?} has used up its {limit}: wait {wait_seconds} s")]
    Limit {
        /// Its name.
        name: String,
        /// The limit.
        limit: KeyLimit,
        /// Seconds after which a request is let in, above 0.
        wait_seconds: u32,
    },
    /// A request that chooses a tenant that its key may not use, or none that can be: answer 403.
    /// The answer is the same for tenants that exist and for those that do not.
    #[error("the key {name:?} may not use the tenant that `x-scope-orgid` names")]
    Tenant {
        /// The key's name.
        name: String,
    },
    /// A request that chooses a tenant where nobody is asked for a key: answer 403.
    #[error(
        "this server asks nobody for a key, and so it has one tenant, `default`: leave \
         `x-scope-orgid` out, or set require-keys and give each tenant keys"
    )]
    OneTenant,
    /// A request of a key that may use every tenant, for one that there is not: answer 403.
    #[error("there is no tenant `{tenant}`: `tidings keys create --tenant {tenant}` makes one")]
    UnknownTenant {
        /// The name that was given.
        tenant: TenantName,
    },
}

impl AccessError {
    /// Refuses a key that has to wait so long.
    pub(crate) fn over_limit(name: String, limit: KeyLimit, wait: Duration) -> Self {
        let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
        let wait_seconds = u32::try_from(seconds).unwrap_or(u32::MAX).max(1);
        Self::Limit { name, limit, wait_seconds }
    }

    /// Returns the seconds that a key has to wait whose limit is used up (429).
    #[must_use]
    pub fn wait_seconds(&self) -> Option<u32> {
        match self {
            Self::Limit { wait_seconds, .. } => Some(*wait_seconds),
            _ => None,
        }
    }

    /// Returns whether another key is needed at all (401), and not one that allows more (403).
    #[must_use]
    pub fn is_unauthenticated(&self) -> bool {
        !matches!(
            self,
            Self::Role { .. }
                | Self::NoRole { .. }
                | Self::NoTenant { .. }
                | Self::IssuerUnavailable
                | Self::Limit { .. }
                | Self::Tenant { .. }
                | Self::OneTenant
                | Self::UnknownTenant { .. }
        )
    }

    /// Returns whether the same request may be let in later (503).
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::IssuerUnavailable)
    }
}

impl KeyFileError {
    /// Returns the text for a client, which names no file of the server.
    #[must_use]
    pub fn public_message(&self) -> String {
        match self {
            Self::Storage(error) => error.public_message(),
            Self::Malformed { .. } => "it is no file of keys; the server's log says why".to_owned(),
            other => other.to_string(),
        }
    }
}

/// A fault of the file of keys, or of a change to it.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The file is not what this program writes.
    #[error("{path} is not a file of keys: {reason}", path = path.display())]
    Malformed {
        /// Its path.
        path: PathBuf,
        /// The first fault in it.
        reason: String,
    },
    /// The new key's description cannot be used.
    #[error("{0}")]
    Request(String),
    /// There is a key of this name.
    #[error("there is a key named {0:?} already: revoke it, or choose another name")]
    NameTaken(String),
    /// There are as many keys as there can be.
    #[error("there are {limit} keys, and no more are possible: revoke one")]
    TooMany {
        /// The most.
        limit: usize,
    },
    /// There are as many tenants as there can be.
    #[error("there are {limit} tenants, and no more are possible (tenants-max)")]
    TooManyTenants {
        /// The most, `default` among them.
        limit: usize,
    },
    /// Keys of several tenants have this name.
    #[error("keys of several tenants are named {0:?}: name its tenant, or give its id")]
    SeveralNamed(String),
    /// There is no such key.
    #[error("there is no key {0:?}; `tidings keys list` shows them")]
    NotFound(String),
    /// The key is refused by this process, and still in the file.
    #[error(
        "the key is refused from now on, but the file of keys cannot be changed: {reason}. The server \
         tries again; a restart before it succeeds lets the key in again"
    )]
    NotWritten {
        /// The fault of the file.
        reason: String,
    },
    /// The system gave no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
}
