//! The minimap's picture: every span of a trace merged into a grid of cells.
//!
//! Owns the service that colours a cell, and the cells of errors and of the critical path. The
//! lines of the grid follow the rows of the trace. Where several rows share a line, the later,
//! deeper ones win, because their callers cover their whole time anyway. Errors are never merged
//! away. A cell is filled once, so that a trace costs its rows plus the grid, however long its
//! spans are.

use std::ops::Range;

use tidings_proto::api::SpanFlags;

use super::{
    model::TraceModel,
    scale::{OffsetRange, pixel},
};

/// Adjacent cells of one line with the same look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stroke {
    pub(crate) line: usize,
    pub(crate) columns: Range<usize>,
    /// Index in the trace's services.
    pub(crate) service: u32,
}

/// The picture of a trace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Bins {
    pub(crate) lines: usize,
    pub(crate) strokes: Vec<Stroke>,
    /// Cells with a failed span: line and columns.
    pub(crate) errors: Vec<(usize, Range<usize>)>,
    /// Columns on the critical path.
    pub(crate) critical: Vec<Range<usize>>,
}

impl Bins {
    /// Makes the picture of a trace on a grid of `width` columns and at most `lines_max` lines.
    pub(crate) fn from_model(model: &TraceModel, width: usize, lines_max: usize) -> Self {
        let rows = model.len();
        let lines = lines_max.min(rows);
        if lines == 0 || width == 0 {
            return Self::default();
        }
        let mut bins = Self { lines, ..Self::default() };
        for line in 0..lines {
            let share = line * rows / lines..(line + 1) * rows / lines;
            bins.add_line(model, width, line, share);
        }
        let mut critical = Cells::new(width);
        for &part in model.critical_all() {
            critical.fill(columns(model.extent(), part, width), 0);
        }
        bins.critical = critical.runs().into_iter().map(|(columns, _)| columns).collect();
        bins
    }

    fn add_line(&mut self, model: &TraceModel, width: usize, line: usize, rows: Range<usize>) {
        let (mut cells, mut failed) = (Cells::new(width), Cells::new(width));
        for row in rows.rev().filter_map(|row| u32::try_from(row).ok()) {
            let columns = columns(model.extent(), model.stretch(row), width);
            if model.has_flag(row, SpanFlags::ERROR) {
                failed.fill(columns.end - 1..columns.end, 0);
            }
            cells.fill(columns, model.service_index(row));
        }
        let strokes = cells.runs().into_iter();
        self.strokes.extend(strokes.map(|(columns, service)| Stroke { line, columns, service }));
        self.errors.extend(failed.runs().into_iter().map(|(columns, _)| (line, columns)));
    }
}

fn columns(extent: OffsetRange, part: OffsetRange, width: usize) -> Range<usize> {
    let first = pixel(extent.fraction(part.from), width);
    first..pixel(extent.fraction(part.to), width).max(first) + 1
}

/// A line of cells. Each keeps its first content.
struct Cells {
    value: Vec<Option<u32>>,
    /// For each cell, a cell at or before the next empty one, so that filled ranges are skipped.
    next_empty: Vec<usize>,
}

impl Cells {
    fn new(width: usize) -> Self {
        Self { value: vec![None; width], next_empty: (0..=width).collect() }
    }

    fn fill(&mut self, columns: Range<usize>, value: u32) {
        let mut at = self.empty_from(columns.start);
        while at < columns.end.min(self.value.len()) {
            self.value[at] = Some(value);
            self.next_empty[at] = at + 1;
            at = self.empty_from(at + 1);
        }
    }

    fn empty_from(&mut self, column: usize) -> usize {
        let mut end = column;
        while self.next_empty[end] != end {
            end = self.next_empty[end];
        }
        let mut at = column;
        while at != end {
            at = std::mem::replace(&mut self.next_empty[at], end);
        }
        end
    }

    fn runs(&self) -> Vec<(Range<usize>, u32)> {
        let mut runs: Vec<(Range<usize>, u32)> = Vec::new();
        for (column, value) in self.value.iter().enumerate() {
            let Some(value) = *value else { continue };
            match runs.last_mut() {
                Some((columns, last)) if columns.end == column && *last == value => {
                    columns.end += 1;
                }
                _ => runs.push((column..column + 1, value)),
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests;
