//! Keys, and sessions of browsers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::UnixNanos;

/// The deeds that a key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyRole {
    /// Sends telemetry.
    Ingest,
    /// Reads what is stored.
    Read,
    /// Sends, reads, changes what is kept, and manages keys.
    Admin,
}

/// A key without its secret, and what it did since the server started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyView {
    /// The public part: a key begins with `tk_` and this.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The deeds it allows.
    pub role: KeyRole,
    /// The tenant that it belongs to.
    #[serde(default = "default_tenant")]
    #[schema(example = "default")]
    pub tenant: String,
    /// The tenants that its requests may choose beside it, by `X-Scope-OrgID`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    /// The one service whose telemetry it may send; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Bytes that it may send in a second, on average; absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// Bytes that it may send in a day, which flow back evenly; absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_day: Option<u64>,
    /// Requests that it may make in a second, on average; absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u64>,
    /// Its creation.
    #[schema(value_type = String)]
    pub created_unix_nano: UnixNanos,
    /// Its end; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub expires_unix_nano: Option<UnixNanos>,
    /// Set when its end is over.
    pub has_expired: bool,
    /// Requests that it was let in with.
    pub requests: u64,
    /// Requests that it was refused with, for its role, its service, its tenant or
    /// its limits.
    pub refused: u64,
    /// Spans and log records that were stored.
    pub records: u64,
    /// Bytes of the bodies that it sent, decompressed, of refused ones too.
    pub bytes: u64,
    /// The last request; absent: none since the server started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub last_used_unix_nano: Option<UnixNanos>,
}

/// The tenant of keys that name none.
fn default_tenant() -> String {
    "default".to_owned()
}

/// The keys that one may see, in the order in which they were made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyList {
    /// The keys.
    pub keys: Vec<KeyView>,
    /// The most there can be.
    pub limit: u64,
}

/// The description of a key that is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRequest {
    /// Its name, 1 to 100 characters, one of a kind in its tenant.
    #[schema(min_length = 1, max_length = 100, example = "collector prod")]
    pub name: String,
    /// The deeds it allows.
    pub role: KeyRole,
    /// The tenant that it belongs to; absent: that of the request. Another one is for keys of
    /// `default` that administer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9][a-z0-9-]{0,62}$", example = "team-a")]
    pub tenant: Option<String>,
    /// The tenants that its requests may choose beside it, by `X-Scope-OrgID`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 15)]
    pub tenants: Vec<String>,
    /// The one service whose telemetry it may send; of keys that send only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 100)]
    pub service: Option<String>,
    /// Its end in so many seconds from now; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub expires_seconds: Option<u64>,
    /// Bytes that it may send in a second, on average; of keys that send only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub bytes_per_second: Option<u64>,
    /// Bytes that it may send in a day, which flow back evenly; of keys that send only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub bytes_per_day: Option<u64>,
    /// Requests that it may make in a second, on average; of keys of every role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub requests_per_second: Option<u64>,
}

/// A key that was just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreatedKey {
    /// The whole key. It is shown this once and stored nowhere.
    pub key: String,
    /// The rest of it.
    pub created: KeyView,
}

/// Sessions and tokens that were ended, of a key or of a subject of the issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndedSessions {
    /// Sessions of browsers.
    pub sessions: u64,
    /// Tokens that were in use. Those that were not are refused as well.
    pub tokens: u64,
}

/// The key that begins a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignIn {
    /// A key that may read.
    pub key: String,
}

/// The ways to sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignInOptions {
    /// The name of the issuer that knows people; they sign in at `/sign-in`. Absent where there is
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Set where a key is asked for, and can be brought.
    pub keys: bool,
}

/// A session that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignedOut {
    /// The issuer's page at which it ends there as well; it leads back here.
    pub end_session_url: String,
}

/// The key in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    /// Set where every request needs a key.
    pub keys_required: bool,
    /// The name of the key in use; absent where none is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its role; absent where none is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<KeyRole>,
    /// Its tenant; absent where none is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}
