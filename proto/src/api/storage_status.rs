//! Sizes of the store: tables, memory, log, retention.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{DurationNanos, UnixNanos};

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
