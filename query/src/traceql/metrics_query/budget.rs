//! Memory budget that the terms of a metrics query share.
//!
//! Owns the cost of each item. A line has a point for every interval, so lines are bounded by their
//! points. Spans beyond the budget are left out, and the answer says so.

use tidings_traceql::Value;

use super::{MetricsSearch, Series};
use crate::QueryLimits;

/// Memory of a line and its entries in maps, without its labels.
const LINE_BYTES: usize = 1_024;
/// Number of copies of a label: it is stored, used as a sort key and written out, where a byte can
/// take six.
const LABEL_COPIES: usize = 8;

/// Remaining budget.
#[derive(Debug, Clone, Copy)]
pub(super) struct MetricsBudget {
    lines: usize,
    bytes: usize,
}

impl MetricsBudget {
    /// Returns the budget of a whole query.
    pub(super) fn new(search: &MetricsSearch, limits: &QueryLimits) -> Self {
        let lines = limits.metrics_points_max / search.range.count().max(1);
        Self { lines, bytes: limits.metrics_bytes_max }
    }

    /// Returns the budget of a term while these series are held.
    pub(super) fn minus_series(mut self, held: &[Series]) -> Self {
        self.lines = self.lines.saturating_sub(held.len());
        let bytes = held.iter().map(|series| line_bytes(&series.labels)).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
        self
    }

    /// Reduces the number of lines to this maximum.
    pub(super) fn upto(mut self, lines: usize) -> Self {
        self.lines = self.lines.min(lines);
        self
    }

    /// Takes this number of bytes; fails when the rest is smaller.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        self.take_lines(0, bytes)
    }

    /// Takes this number of lines with labels of this size each; fails when the rest is smaller.
    pub(super) fn take_lines(&mut self, lines: usize, bytes: usize) -> bool {
        let bytes = bytes.saturating_mul(lines.max(1));
        let fits = lines <= self.lines && bytes <= self.bytes;
        if fits {
            self.lines -= lines;
            self.bytes -= bytes;
        }
        fits
    }
}

/// Memory of a line with these labels in bytes, without its points.
pub(super) fn line_bytes(labels: &[(String, Value)]) -> usize {
    let labels: usize = labels.iter().map(|(name, value)| name.len() + value.bytes()).sum();
    LINE_BYTES.saturating_add(labels.saturating_mul(LABEL_COPIES))
}
