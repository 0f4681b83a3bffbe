//! Erasures.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{TraceId, UnixNanos};

/// Request that erases a trace or all records with an attribute: one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ErasureRequest {
    /// The trace whose spans and log records are erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, min_length = 32, max_length = 32, pattern = "^(?!0+$)[0-9a-fA-F]{32}$")]
    pub trace_id: Option<TraceId>,
    /// The attribute whose spans and log records are erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute: Option<ErasedAttribute>,
}

/// An attribute, on the span or log record itself, its resource, scope, events or links.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ErasedAttribute {
    /// Its key.
    #[schema(min_length = 1, example = "user.email")]
    pub key: String,
    /// Its value as text, which a number, a truth value or an element of an array matches as well.
    #[schema(example = "jane@example.org")]
    pub value: String,
}

/// State of an erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ErasureStatus {
    /// It is under way.
    Running,
    /// It has ended. `leftFiles` and `unreadFiles` say what may have something of it yet.
    Done,
    /// It ended early and may be partial: ask for it again.
    Failed,
    /// The server stopped meanwhile, so it may be partial: ask for it again.
    Interrupted,
}

/// An erasure. The value of an attribute is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErasureView {
    /// Its id, in decimal digits.
    pub id: String,
    /// Its state.
    pub state: ErasureStatus,
    /// The trace that is erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub trace_id: Option<TraceId>,
    /// The key of the attribute that is erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute_key: Option<String>,
    /// When it began: what was acknowledged by then is erased.
    #[schema(value_type = String)]
    pub begun_unix_nano: UnixNanos,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ended_unix_nano: Option<UnixNanos>,
    /// Spans that are gone.
    pub spans: u64,
    /// Log records that are gone.
    pub log_records: u64,
    /// Data files that were searched.
    pub searched_files: u64,
    /// Data files to search.
    pub files: u64,
    /// Data files that were written again without some of their rows.
    pub rewritten_files: u64,
    /// Replaced files that queries still read, deleted when those end. Some may have nothing of it.
    pub left_files: u64,
    /// Pinned traces that lost something.
    pub pinned_traces: u64,
    /// Of these, the ones of which nothing is left: they are no longer pinned.
    pub unpinned_traces: u64,
    /// Files below the data directory that cannot be read: they may still have some of it.
    pub unread_files: Vec<String>,
    /// Why it ended early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Erasures, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErasureList {
    /// The newest 1,000 of them.
    pub erasures: Vec<ErasureView>,
}
