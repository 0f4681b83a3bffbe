//! Refusals of requests and of tokens, and errors of the file of keys.

use std::{path::PathBuf, time::Duration};

use thiserror::Error;
use tidings_storage::StorageError;

use crate::{
    role::{KeyLimit, Role},
    tenant::TenantName,
};

/// The reason that the sender of a request is refused. The text is for the client. To senders
/// without a key it reveals nothing about the keys of the server.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AccessError {
    /// The request has no key: 401 / `UNAUTHENTICATED`.
    #[error(
        "a key is needed: send `Authorization: Bearer KEY`, `x-api-key: KEY`, or KEY as Basic's password; `tidings keys create` makes one"
    )]
    Missing,
    /// The request has two different keys: 401.
    #[error("the request has more than one key: send one")]
    Ambiguous,
    /// The key is not one of this server, or was revoked: 401.
    #[error("the key is not known here: it may be mistyped, or revoked")]
    Unknown,
    /// The key has expired: 401.
    #[error("the key {name:?} has expired: make a new one")]
    Expired {
        /// Its name.
        name: String,
    },
    /// The browser's session has ended: 401.
    #[error("the session has ended: sign in again")]
    SessionEnded,
    /// The token is not valid here: 401.
    #[error("the token is refused: {0}")]
    Token(TokenError),
    /// The request has a token, and the server accepts no tokens: 401.
    #[error("tokens are not accepted here: send a key, or set oidc-audience")]
    NoTokens,
    /// The issuer of the token cannot be reached now: 503 / `UNAVAILABLE`.
    #[error("the issuer of the token cannot be asked for its keys now: try again")]
    IssuerUnavailable,
    /// A person or machine that the issuer knows has no role: 403 / `PERMISSION_DENIED`.
    #[error("{name:?} has no role here: no value of the claim `{claim}` is in oidc-roles")]
    NoRole {
        /// The name of the person or machine.
        name: String,
        /// The claim that was read.
        claim: String,
    },
    /// A person or machine that the issuer knows belongs to no tenant: 403 / `PERMISSION_DENIED`.
    #[error("{name:?} belongs to no tenant here: the claim `{claim}` names none")]
    NoTenant {
        /// The name of the person or machine.
        name: String,
        /// The claim that was read.
        claim: String,
    },
    /// The role of the key does not allow the request: 403 / `PERMISSION_DENIED`.
    #[error("the key {name:?} may {role}, and this needs one that may {needed}")]
    Role {
        /// Its name.
        name: String,
        /// Its role.
        role: Role,
        /// The role that the request needs.
        needed: Role,
    },
    /// The key has used up one of its limits: 429 / `RESOURCE_EXHAUSTED`.
    #[error("the key {name:?} has used up its {limit}: wait {wait_seconds} s")]
    Limit {
        /// Its name.
        name: String,
        /// The limit.
        limit: KeyLimit,
        /// Seconds after which a request is admitted; at least 1.
        wait_seconds: u32,
    },
    /// The request chooses a tenant that its key may not use, or a malformed name: 403. The answer
    /// is the same whether or not the tenant exists.
    #[error("the key {name:?} may not use the tenant that `x-scope-orgid` names")]
    Tenant {
        /// The key's name.
        name: String,
    },
    /// The request chooses a tenant, and the server requires no keys: 403.
    #[error(
        "this server asks nobody for a key, and so it has one tenant, `default`: leave \
         `x-scope-orgid` out, or set require-keys and give each tenant keys"
    )]
    OneTenant,
    /// The key may use every tenant, and the chosen one does not exist: 403.
    #[error("there is no tenant `{tenant}`: `tidings keys create --tenant {tenant}` makes one")]
    UnknownTenant {
        /// The name of the tenant.
        tenant: TenantName,
    },
}

impl AccessError {
    /// Makes the refusal of a key that has to wait this long.
    pub(crate) fn over_limit(name: String, limit: KeyLimit, wait: Duration) -> Self {
        let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
        let wait_seconds = u32::try_from(seconds).unwrap_or(u32::MAX).max(1);
        Self::Limit { name, limit, wait_seconds }
    }

    /// Returns the seconds to wait, if a limit of the key is used up (429).
    #[must_use]
    pub fn wait_seconds(&self) -> Option<u32> {
        match self {
            Self::Limit { wait_seconds, .. } => Some(*wait_seconds),
            _ => None,
        }
    }

    /// Returns whether the request lacks a valid credential (401). False when the credential is
    /// valid and allows too little (403).
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

    /// Returns whether the same request may succeed later (503).
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::IssuerUnavailable)
    }
}

/// The reason that a token is refused. The text is for the sender.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenError {
    /// The token is too long.
    #[error("it is longer than 16 KiB")]
    TooLong,
    /// The text does not have the form of a token.
    #[error("{0}")]
    Malformed(&'static str),
    /// The algorithm is not accepted: no signature, a signature with a shared secret, or an unknown
    /// one.
    #[error("its algorithm is not accepted: RS, PS, ES (256 and 384) and EdDSA are (alg)")]
    Algorithm,
    /// The issuer does not publish the key of the signature.
    #[error("it is signed with a key that its issuer does not publish (kid)")]
    UnknownKey,
    /// The signature does not match the key and the claims.
    #[error("its signature is wrong")]
    Signature,
    /// The token is from another issuer.
    #[error("it is of another issuer (iss)")]
    Issuer,
    /// The token is for another audience.
    #[error("it is for another audience (aud)")]
    Audience,
    /// The token has expired.
    #[error("it has expired (exp)")]
    Expired,
    /// An admin has ended the tokens that the subject was issued up to a time, this one included.
    #[error("an admin has ended the tokens issued until then: sign in again (iat)")]
    Ended,
    /// The token is not valid yet.
    #[error("it is not valid yet (nbf)")]
    NotYet,
    /// The token is from another sign-in.
    #[error("it is of another sign-in (nonce)")]
    Nonce,
    /// A claim is missing, or has the wrong type.
    #[error("its claim `{0}` is missing or malformed")]
    Claim(&'static str),
}

impl KeyFileError {
    /// Returns the text for a client. It names no file of the server.
    #[must_use]
    pub fn public_message(&self) -> String {
        match self {
            Self::Storage(error) => error.public_message(),
            Self::Malformed { .. } => {
                "it is not a file of keys; the server's log says why".to_owned()
            }
            other => other.to_string(),
        }
    }
}

/// An error of the file of keys, or of a change to it.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The file does not have the format of a file of keys.
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
    /// A key has this name already.
    #[error("there is a key named {0:?} already: revoke it, or choose another name")]
    NameTaken(String),
    /// The maximum number of keys is reached.
    #[error("there are {limit} keys, and no more are possible: revoke one")]
    TooMany {
        /// The maximum.
        limit: usize,
    },
    /// The maximum number of tenants is reached.
    #[error("there are {limit} tenants, and no more are possible (tenants-max)")]
    TooManyTenants {
        /// The maximum, `default` included.
        limit: usize,
    },
    /// Keys of several tenants have this name.
    #[error("keys of several tenants are named {0:?}: name its tenant, or give its id")]
    SeveralNamed(String),
    /// No key has this id or name.
    #[error("there is no key {0:?}; `tidings keys list` shows them")]
    NotFound(String),
    /// The key is refused by this process, but could not be removed from the file.
    #[error(
        "the key is refused from now on, but the file of keys cannot be changed: {reason}. The server \
         tries again; a restart before it succeeds lets the key in again"
    )]
    NotWritten {
        /// The fault of the file.
        reason: String,
    },
    /// The system returned no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
}
