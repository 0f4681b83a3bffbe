//! The rows of the waterfall, in order, and the visible ones among them.
//!
//! Owns the list of [`Row`]s that are not folded, with log records and events in line, and the
//! geometry of scrolling. The list is rebuilt when a fold changes, and folded subtrees are skipped.
//! Only the rows in [`Scroll::on_screen`] are drawn. There is no recursion, because a trace may be
//! 100,000 deep.

use std::ops::Range;

use super::{logs_index::LogIndex, model::TraceModel, trace_state::Folds};
use crate::{browser, preferences};

/// Browsers cut elements off above some 17 million pixels. Above this height the scroll bar is
/// scaled.
const HEIGHT_PX_MAX: f64 = 12_000_000.0;
/// Number of rows that are drawn above and below the visible ones, so that they are ready on
/// scroll.
const OVERSCAN: usize = 6;
/// Added height of a row in a narrow window, where the service is above the operation. The style
/// sheet adds the same.
const NARROW_ROW_PX: f64 = 12.0;

/// Returns the height of a row in this window, in pixels.
pub(crate) fn row_px() -> f64 {
    let above = if browser::is_narrow() { NARROW_ROW_PX } else { 0.0 };
    preferences::row_px() + above
}

/// One line of the waterfall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Row {
    /// A span, by its row in the model.
    Span(u32),
    /// A run of repeated calls, by its first one. It is open when its calls have their own lines,
    /// among those of their siblings.
    Run { first: u32, open: bool },
    /// A log record, by its index in the [`LogIndex`], under its span.
    Log { span: u32, log: u32 },
    /// An event, by its index in the model's events, under its span.
    Event { span: u32, event: u32 },
}

impl Row {
    /// Returns the row of the model that this line belongs to.
    pub(crate) fn span(self) -> u32 {
        match self {
            Self::Span(row)
            | Self::Run { first: row, .. }
            | Self::Log { span: row, .. }
            | Self::Event { span: row, .. } => row,
        }
    }
}

/// Returns the log records and events of a span, in order of time.
fn in_line(model: &TraceModel, logs: &LogIndex, span: u32) -> impl Iterator<Item = Row> + use<> {
    let records = logs.of_row(span).iter().filter_map(|&log| {
        let at = logs.offset(logs.get(log)?);
        Some((at, Row::Log { span, log }))
    });
    let events = model.events().of_row(span).iter().filter_map(|&event| {
        let at = model.events().get(event)?.offset;
        Some((at, Row::Event { span, event }))
    });
    let mut rows: Vec<(i64, Row)> = records.chain(events).collect();
    rows.sort_by_key(|&(at, _)| at);
    rows.into_iter().map(|(_, row)| row)
}

/// Returns the lines that are not folded. With `logs`, log records and events follow their spans.
pub(crate) fn visible_rows(
    model: &TraceModel,
    folds: &Folds,
    group_repeats: bool,
    logs: Option<&LogIndex>,
) -> Vec<Row> {
    let end = model.rows().end;
    let mut rows = Vec::new();
    let mut row = 0;
    while row < end {
        if let Some(first) = model.repeats_first(row).filter(|_| group_repeats) {
            let open = folds.is_run_open(model, first);
            if row == first {
                rows.push(Row::Run { first, open });
            }
            if !open {
                row = model.after(row);
                continue;
            }
        }
        rows.push(Row::Span(row));
        if let Some(logs) = logs {
            rows.extend(in_line(model, logs, row));
        }
        row = if folds.is_folded(model, row) { model.after(row) } else { row + 1 };
    }
    rows
}

/// Returns the lines of these spans and of their ancestors, which give their position. Nothing is
/// folded. `wanted` is in order.
pub(crate) fn rows_of(model: &TraceModel, wanted: &[u32], logs: Option<&LogIndex>) -> Vec<Row> {
    let mut is_shown = vec![false; model.len()];
    for &row in wanted {
        let mut next = Some(row);
        while let Some(row) = next.filter(|&row| !is_shown[row as usize]) {
            is_shown[row as usize] = true;
            next = model.parent(row);
        }
    }
    let mut rows = Vec::new();
    for row in model.rows().filter(|&row| is_shown[row as usize]) {
        rows.push(Row::Span(row));
        if let Some(logs) = logs {
            rows.extend(in_line(model, logs, row));
        }
    }
    rows
}

/// Returns the lines without those of spans whose parent is missing, and of spans below these.
/// Returns all lines when no other would remain.
pub(crate) fn without_orphans(model: &TraceModel, rows: Vec<Row>) -> Vec<Row> {
    let mut orphans = model.orphans().peekable();
    let is_kept = |row: &&Row| {
        let row = row.span();
        while orphans.next_if(|orphan| orphan.end <= row).is_some() {}
        !orphans.peek().is_some_and(|orphan| orphan.contains(&row))
    };
    let kept: Vec<Row> = rows.iter().filter(is_kept).copied().collect();
    if kept.is_empty() { rows } else { kept }
}

/// Returns the index of a span's line: its own, else that of the run or of the nearest folded row
/// that hides it.
pub(crate) fn position(model: &TraceModel, rows: &[Row], span: u32) -> Option<usize> {
    // Siblings of other runs may stand between a call and the line of its run.
    let known = Some(span).filter(|&row| model.has_repeats() && (row as usize) < model.len());
    let mut around = std::iter::successors(known, |&row| model.parent(row));
    let run = around.find_map(|row| {
        let first = model.repeats_first(row)?;
        let at = shown_position(rows, first)?;
        (rows[at] == Row::Run { first, open: false }).then_some(at)
    });
    run.or_else(|| shown_position(rows, span))
}

/// Returns the index of the line of a span that no run hides.
pub(crate) fn shown_position(rows: &[Row], span: u32) -> Option<usize> {
    let mut at = rows.partition_point(|row| row.span() <= span).checked_sub(1)?;
    // Records and events follow their span.
    while matches!(rows[at], Row::Log { .. } | Row::Event { .. }) {
        at = at.checked_sub(1)?;
    }
    Some(at)
}

/// A scrolled list of equal rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scroll {
    pub(crate) rows: usize,
    pub(crate) row_px: f64,
    pub(crate) view_px: f64,
    pub(crate) top_px: f64,
}

impl Scroll {
    /// Returns the height of the scrolled element.
    pub(crate) fn height_px(self) -> f64 {
        (self.rows as f64 * self.row_px).min(HEIGHT_PX_MAX)
    }

    /// Returns the scroll position of the list, in pixels of rows at their full height.
    fn offset_px(self) -> f64 {
        let (height, full) = (self.height_px(), self.rows as f64 * self.row_px);
        let room = (height - self.view_px).max(0.0);
        if room == 0.0 {
            return 0.0;
        }
        (self.top_px.clamp(0.0, room) / room) * (full - self.view_px)
    }

    /// Returns the lines to draw.
    pub(crate) fn on_screen(self) -> Range<usize> {
        let first = super::scale::rounded((self.offset_px() / self.row_px).floor());
        let count = super::scale::rounded((self.view_px / self.row_px).ceil()) + 1;
        let first = usize::try_from(first).unwrap_or(0);
        let count = usize::try_from(count).unwrap_or(0);
        let end = first.saturating_add(count).saturating_add(OVERSCAN).min(self.rows);
        first.saturating_sub(OVERSCAN).min(end)..end
    }

    /// Returns the first line that is entirely visible.
    pub(crate) fn first_in_view(self) -> usize {
        let first = super::scale::rounded((self.offset_px() / self.row_px).ceil());
        usize::try_from(first).unwrap_or(0).min(self.rows.saturating_sub(1))
    }

    /// Returns the position of a line, in pixels from the top of the scrolled element.
    pub(crate) fn line_px(self, line: usize) -> f64 {
        let top = self.top_px.clamp(0.0, (self.height_px() - self.view_px).max(0.0));
        // Equals `line * self.row_px` as long as the scroll bar is not scaled.
        line as f64 * self.row_px - self.offset_px() + top
    }

    /// Returns the scroll position that shows the line, or `None` when it is visible already. A
    /// distant line moves to the middle, one just outside to the edge.
    pub(crate) fn to_show(self, line: usize) -> Option<f64> {
        let at = line as f64 * self.row_px;
        let offset = self.offset_px();
        let target =
            if at < offset - 4.0 * self.row_px || at > offset + self.view_px + 3.0 * self.row_px {
                at - (self.view_px - self.row_px) / 2.0
            } else if at < offset {
                at
            } else if at + self.row_px > offset + self.view_px {
                at + self.row_px - self.view_px
            } else {
                return None;
            };
        let full_room = (self.rows as f64 * self.row_px - self.view_px).max(1.0);
        let room = (self.height_px() - self.view_px).max(0.0);
        Some((target / full_room).clamp(0.0, 1.0) * room)
    }
}

#[cfg(test)]
mod tests;
