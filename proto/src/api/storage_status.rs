//! Sizes of the store (tables, memory, log, retention) and the traces pinned past retention.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{DurationNanos, TraceId, UnixNanos};

/// Sizes of what the store keeps, and its bounds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageStatus {
    /// The tables: `spans`, then `logs`.
    pub tables: Vec<TableStatus>,
    /// Bytes of rows that are in memory and in the log only.
    pub memory_bytes: u64,
    /// Bytes that these may take: beyond them exports are refused until a flush.
    pub memory_bytes_max: u64,
    /// Bytes of the write-ahead log.
    pub wal_bytes: u64,
    /// Bytes that the log may take.
    pub wal_bytes_max: u64,
    /// Age of the oldest row that no data file contains yet; absent when all rows are in files.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unflushed_age_nano: Option<DurationNanos>,
    /// Data files that were merged or retired and are not deleted yet.
    pub removed_files: u64,
    /// Age at which telemetry is deleted, unless a rule keeps it; absent: never.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_age_nano: Option<DurationNanos>,
    /// Bytes of data files from which on the oldest hours are deleted; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_bytes_max: Option<u64>,
    /// Number of rules that keep traces for longer.
    pub retention_rules: u64,
    /// Free bytes of the disk that has the write-ahead log; absent for tenants other than the
    /// default one, and where the disk cannot be measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_free_bytes: Option<u64>,
    /// Free bytes below which exports are refused (`disk-reserve-bytes`); absent as that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_reserve_bytes: Option<u64>,
    /// Age of the oldest telemetry, and the age that it will reach at the present rate.
    #[serde(default)]
    pub horizon: RetentionHorizon,
}

/// Reach of telemetry into the past. Absent figures are unknown: there are no files, or no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetentionHorizon {
    /// Age of the oldest row in files.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_nano: Option<DurationNanos>,
    /// Bytes that data files grow by in a day, from those of the last day of telemetry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_day: Option<u64>,
    /// Length of the telemetry that this rate is of: a day, or less while there is less.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_length_nano: Option<DurationNanos>,
    /// Age that rows will reach at this rate before they are deleted or the disk is full.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reachable_age_nano: Option<DurationNanos>,
    /// Bound that ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<HorizonBound>,
}

/// A bound on the age of telemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HorizonBound {
    /// `retention-age`.
    Age,
    /// `retention-bytes-max`.
    Size,
    /// Free space of the disk: exports are refused before telemetry reaches its retention age.
    Disk,
}

/// Sizes of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TableStatus {
    /// `spans` or `logs`.
    pub name: String,
    /// Rows in data files.
    pub rows: u64,
    /// Data files.
    pub files: u64,
    /// Bytes of the data files.
    pub bytes: u64,
    /// The earliest time of a row in files.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_unix_nano: Option<UnixNanos>,
    /// The latest time of a row in files.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_unix_nano: Option<UnixNanos>,
    /// Data files that compaction should merge now.
    pub backlog_files: u64,
    /// Bytes of these.
    pub backlog_bytes: u64,
}

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
