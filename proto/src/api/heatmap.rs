//! Heatmap of span durations over time.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Searched, TimeWindow};
use crate::{DurationNanos, UnixNanos};

/// Spans by the step they began in and by how long they took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Heatmap {
    /// The time it is about.
    #[serde(flatten)]
    pub window: TimeWindow,
    /// The durations that [`HeatmapCell::row`] counts into, shortest first: four for each power of
    /// two of nanoseconds, from the first that has a span to the last.
    pub rows: Vec<HeatmapRow>,
    /// The cells that are not empty, by step, then row.
    pub cells: Vec<HeatmapCell>,
    /// Number of spans in the cells.
    pub count: u64,
    /// Number of unfinished spans, which are in no cell.
    pub unfinished_count: u64,
    /// True if a span that was sent twice may be counted twice.
    pub repeats_counted: bool,
    /// Rows and files read.
    pub searched: Searched,
}

/// A range of durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeatmapRow {
    /// The shortest.
    #[schema(value_type = String)]
    pub from_nano: DurationNanos,
    /// The longest.
    #[schema(value_type = String)]
    pub up_to_nano: DurationNanos,
}

/// The spans of one step and one range of durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeatmapCell {
    /// When the step begins.
    #[schema(value_type = String)]
    pub start_unix_nano: UnixNanos,
    /// The row in [`Heatmap::rows`].
    pub row: u32,
    /// Number of spans.
    pub count: u64,
    /// Number of failed spans.
    pub error_count: u64,
}
