//! Answers to queries in SQL.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::DurationNanos;

/// The rows of a query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SqlResult {
    /// The columns, in order.
    pub columns: Vec<SqlColumn>,
    /// The rows, in order, each with a value for every column: `null`, a truth value, a number, a
    /// text (ids in hex, times in UTC as `2026-03-14T15:09:26.535897932Z`), a list or an object.
    #[schema(value_type = Vec<Vec<serde_json::Value>>)]
    pub rows: Vec<Vec<serde_json::Value>>,
    /// Number of rows.
    pub row_count: u64,
    /// True if these are all rows.
    pub complete: bool,
    /// Reasons why the answer is partial.
    pub lacks: Vec<SqlPartialReason>,
    /// Rows and files read.
    pub read: SqlRead,
    /// True if a span or log record that was sent twice may be counted twice: only the first
    /// 4,000,000 rows of a scan are deduplicated.
    pub repeats_counted: bool,
    /// Duration of the query in nanoseconds.
    #[schema(value_type = String)]
    pub elapsed_nano: DurationNanos,
}

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SqlColumn {
    /// Its name.
    pub name: String,
    /// Type of its values: `text`, `bigint`, `integer`, `double`, `decimal`, `boolean`,
    /// `timestamp`, `date`, `time`, `interval`, `map`, `list`, `struct`, `binary` or `null`.
    pub r#type: String,
}

/// Reason why an answer in SQL is partial: what it lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum SqlPartialReason {
    /// Rows beyond those that were asked for or that there may be.
    Rows,
    /// Rows beyond the bytes that there may be.
    Bytes,
    /// Something that could not be read, or was too much to be read.
    Unread,
}

/// Progress of a query that is still running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SqlProgress {
    /// Rows and files read so far.
    pub read: SqlRead,
    /// Data files that are to be looked at; may grow while the query runs.
    pub file_count: u64,
    /// Time since the query began, in nanoseconds.
    #[schema(value_type = String)]
    pub elapsed_nano: DurationNanos,
}

/// Work done by a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SqlRead {
    /// Rows looked at.
    pub rows: u64,
    /// Data files that were read or turned out not to be needed.
    pub files: u64,
}
