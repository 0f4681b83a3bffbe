//! TraceQL: the answers of queries about stored traces.
//!
//! ```text
//! text ─► `tidings-traceql` (lexer, parser, syntax, compiled)
//!     log records ─► records (logs of spans, for conditions on logs)
//!     rows ─► candidates ─► traces, assembled ─► evaluate ─► search   (Tempo's and the native API)
//!                        └► matched_spans ─► observe ──────► metrics
//!                                         └────────────────► heatmaps, explanations
//! ```
//!
//! Owns the meaning of spansets, pipelines and metrics, and how much of the tables a query reads: a
//! reading that follows another one still has rows and time.
//! The crate `tidings-traceql` owns the language. Some queries that Tempo parses but refuses to run
//! (`parent.`, aggregate against aggregate) run here.

mod candidate_scan;
mod candidates;
pub mod display;
mod evaluate;
pub mod filter;
pub(crate) mod matched_spans;
pub mod metrics_query;
pub mod native;
pub mod overlap;
mod read;
mod records;
mod relations;
pub mod spanset_search;
pub mod tags;
mod trace_extents;

use std::time::Duration;

use crate::execution::Reader;

/// Bounds of a reading. Times are since the query arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadBudget {
    /// Maximum number of rows that are scanned.
    pub(crate) rows_max: u64,
    /// Time at which the scan ends.
    pub(crate) scan_end: Duration,
    /// Time at which no more traces are fetched.
    pub(crate) fetch_end: Duration,
}

impl ReadBudget {
    /// Returns the budget of a query with a single reading: half of the deadline for the scan, and
    /// two tenths more for the traces.
    pub(crate) fn whole(reader: &Reader) -> Self {
        let tenth = reader.limits.deadline / 10;
        let rows_max = reader.settings.search_rows_max;
        Self { rows_max, scan_end: tenth * 5, fetch_end: tenth * 7 }
    }

    /// Returns the budget of the first of two readings, which begins at this time.
    pub(crate) fn first_half(self, now: Duration) -> Self {
        let fetch_end = now + self.fetch_end.saturating_sub(now) / 2;
        Self { rows_max: self.rows_max.div_ceil(2), fetch_end, ..self }.starting_at(now)
    }

    /// Returns the rest of the budget at this time, after so many rows.
    pub(crate) fn rest(self, now: Duration, rows: u64) -> Self {
        Self { rows_max: self.rows_max.saturating_sub(rows), ..self }.starting_at(now)
    }

    /// Divides the time from now on between scan and traces, as the whole budget does.
    fn starting_at(self, now: Duration) -> Self {
        Self { scan_end: now + self.fetch_end.saturating_sub(now) / 7 * 5, ..self }
    }
}

#[cfg(test)]
mod tests;
