//! Events of the audit log.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::UnixNanos;

/// The outcome of a request or command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuditOutcome {
    /// It was done.
    Success,
    /// It was not allowed.
    Denied,
    /// It was allowed and not done.
    Failure,
}

/// The kind of credential behind a request or command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuditActorKind {
    /// A key, or a person or machine that an issuer knows; also by a session.
    Key,
    /// A command, run by a user of the machine.
    Command,
    /// The server itself.
    Server,
    /// Nobody that is known: no credential, or none that is good.
    Anonymous,
}

/// The author of a request or command.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditActor {
    /// The kind of credential.
    pub kind: AuditActorKind,
    /// The id of the key, person or machine, or the number of the machine's user; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The name of the key, person or machine; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl AuditActor {
    /// The author of a request without a credential that is good.
    pub const ANONYMOUS: Self = Self::without_id(AuditActorKind::Anonymous);

    /// The server itself.
    pub const SERVER: Self = Self::without_id(AuditActorKind::Server);

    const fn without_id(kind: AuditActorKind) -> Self {
        Self { kind, id: None, name: None }
    }
}

/// A change, a denied request, or a read: by whom, when, from where, and its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    /// The time of the event; the last of several that are alike.
    #[schema(value_type = String)]
    pub time_unix_nano: UnixNanos,
    /// The action, as `key.create`.
    #[schema(example = "key.create")]
    pub action: String,
    /// Its outcome.
    pub outcome: AuditOutcome,
    /// Its author.
    pub actor: AuditActor,
    /// The tenant whose data was meant; absent for `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The IP address of the client; absent for commands and the server itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_address: Option<String>,
    /// The object of the action: method and path of a request, or a folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The status of HTTP that was answered; absent outside of HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The details in words, as the key that was made or the reason for a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The number of events that are alike and stand here as one.
    pub count: u64,
}

/// A page of the audit log, the newest event first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEventList {
    /// The events.
    pub events: Vec<AuditEvent>,
    /// The cursor of the next page; absent when there are no older events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// Lines of the files read that are no events: a file was cut or changed by something else.
    pub unreadable_lines: u64,
}
