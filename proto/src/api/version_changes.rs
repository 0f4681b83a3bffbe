//! Version changes of services.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Searched, TimeWindow};
use crate::UnixNanos;

/// The versions of a service that were first seen in a window, after another version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionChangeList {
    /// The window.
    #[serde(flatten)]
    pub window: TimeWindow,
    /// The service.
    pub service: String,
    /// The changes, the earliest first, at most 100.
    pub changes: Vec<VersionChange>,
    /// Rows and files that were read.
    pub searched: Searched,
}

/// A version that was first seen after another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionChange {
    /// `service.version` of the resource.
    pub version: String,
    /// The version that was first seen before it, or last seen before the window. It may still run.
    /// Absent where the look-up of a version that may lie between was cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_version: Option<String>,
    /// Start of the first span with the version. No span of the day before the window has it.
    #[schema(value_type = String)]
    pub first_seen_unix_nano: UnixNanos,
}

/// A version of a service that was first seen in the window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// The service.
    pub service: String,
    /// `service.version`.
    pub version: String,
    /// The version with most calls in the baseline; absent when the baseline has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_version: Option<String>,
    /// Start of the first span of it.
    #[schema(value_type = String)]
    pub first_seen_unix_nano: UnixNanos,
    /// Number of spans of it in the window.
    pub span_count: u64,
    /// Number of spans of the service in the window.
    pub service_span_count: u64,
    /// Number of instances (`service.instance.id`, else pod, else host) that run it; 0 when they do
    /// not say.
    pub instance_count: u64,
    /// Number of instances of the service in the window.
    pub service_instance_count: u64,
}
