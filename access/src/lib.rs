//! Access control: keys, their roles and limits, and the caller of a request.
//!
//! Owns the file of keys, the forms of a key in a request, the roles, the sessions of browsers, the
//! names of tenants, the rate limits of keys, and the verification of an issuer's tokens. Does not
//! own listeners and responses: receivers and the HTTP address call an [`AccessPolicy`] and write
//! the refusal in their protocol.
//!
//! ```text
//! tidings keys, /api/v1/keys ─► KeyFile (hashes only) ─► KeyRing (in memory, follows the file)
//! issuer's tokens, sign-ins ─► Issuer ─► Identity, as a key that is in no file
//! request headers ─► AccessPolicy::admit(role) ─► Caller (its key, its counts, its limits)
//! ```

mod caller;
mod credential;
mod error;
#[doc(hidden)]
pub mod fuzzed_credentials;
mod key;
mod key_file;
mod key_ring;
mod oidc;
mod policy;
mod rate;
mod role;
mod session;
mod sign_in_shares;
mod tenant;

pub use caller::{Caller, KeyUses};
pub use credential::{SESSION_COOKIES, TICKET_COOKIES, ticket_of};
pub use error::{AccessError, KeyFileError, TokenError};
pub use key::{
    KEY_NAME_CHARS_MAX, KeyId, KeyRecord, KeyRequest, KeyToken, is_printable, without_keys,
};
pub use key_file::{KEYS_MAX, KeyFile, TENANT_KEYS_MAX};
pub use key_ring::{KeyRing, KeyState};
pub use oidc::{
    ClientSecret, Identity, Issuer, IssuerError, IssuerUrl, OidcSettings, RoleMapping,
    SignInAnswer, SignInError, SignInStart, SignedIn, TICKET_AGE,
};
pub use policy::{AccessPolicy, Credentials};
pub use role::{KeyLimit, Role};
pub use session::{RotatedSession, SESSION_AGE, SessionToken};
pub use tenant::{TENANT_HEADER, TENANT_NAME_CHARS_MAX, TENANTS_MAX, TenantName};
