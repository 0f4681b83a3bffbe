//! What the terms of a metrics query may take together: lines of the answer, and memory.
//!
//! Owns the prices. A line has a point for every interval, so lines are bounded by their points.
//! Spans that would need more than there is room for are left out, and the answer says so.

use super::{MetricsSearch, Series};
use crate::{QueryLimits, traceql::value::Value};

/// A line and its place in the maps, beside its labels.
const LINE_BYTES: usize = 1_024;
/// Labels are held, sorted by and written out, where a byte can take six.
const LABEL_COPIES: usize = 8;

/// What may still be taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    lines: usize,
    bytes: usize,
}

impl Room {
    /// Of a whole query.
    pub(super) fn new(search: &MetricsSearch, limits: &QueryLimits) -> Self {
        let lines = limits.metrics_points_max / search.range.count().max(1);
        Self { lines, bytes: limits.metrics_bytes_max }
    }

    /// Of a term, while these are held.
    pub(super) fn beside(mut self, held: &[Series]) -> Self {
        self.lines = self.lines.saturating_sub(held.len());
        let bytes = held.iter().map(|series| line_bytes(&series.labels)).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
        self
    }

    /// For so many lines at most.
    pub(super) fn upto(mut self, lines: usize) -> Self {
        self.lines = self.lines.min(lines);
        self
    }

    /// Takes the room of so many bytes, if there is as much.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        self.take_lines(0, bytes)
    }

    /// Takes the room of so many lines with labels of so many bytes each, if there is as much.
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

/// What a line with these labels takes, its points aside.
pub(super) fn line_bytes(labels: &[(String, Value)]) -> usize {
    let labels: usize = labels.iter().map(|(name, value)| name.len() + value.bytes()).sum();
    LINE_BYTES.saturating_add(labels.saturating_mul(LABEL_COPIES))
}
