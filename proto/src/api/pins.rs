//! Pinned traces.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{TraceId, UnixNanos};

/// A trace that is kept whatever its age and the size of the tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PinView {
    /// Which.
    #[schema(value_type = String)]
    pub trace_id: TraceId,
    /// Since when.
    #[schema(value_type = String)]
    pub pinned_unix_nano: UnixNanos,
    /// Why, in somebody's words; empty without any.
    pub note: String,
}

/// All pinned traces, the last one that was pinned first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PinList {
    /// The pins.
    pub pins: Vec<PinView>,
    /// Maximum number of pins.
    pub limit: u64,
}

/// Request that pins a trace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PinRequest {
    /// Why, in 500 characters at most; nothing when not given.
    #[serde(default)]
    #[schema(max_length = 500, example = "the checkout that lost an order")]
    pub note: String,
}
