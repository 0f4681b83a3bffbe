//! The picture of one line of the waterfall on the time axis, as numbers and CSS colours.
//!
//! Owns the geometry of one bar: its position in the window, the parts of the span's self time, the
//! critical path under it, and the part after its caller's end. It also places the ticks for the
//! error and the log records, the marks for events, and the label. The parts are derived from the
//! API's starts and durations. The sums that a reader sees (self time, critical time) are the API's
//! own.

use std::cmp::Reverse;

use tidings_proto::{DurationNanos, api::SpanFlags, otlp::Severity};

use super::{
    events_index::PlacedEvent,
    logs_index::LogIndex,
    model::TraceModel,
    scale::{BarBox, LabelSide, OffsetRange, label_side, parts_of, stripes, uncovered},
};
use crate::{charts::LETTER_PX, format};

/// The minimum width of a drawn bar, in CSS pixels.
const WIDTH_PX_MIN: f64 = 2.0;
/// Maximum number of callers in which the outermost narrow one is searched.
const CALLERS_MAX: usize = 512;
/// Maximum number of ticks for log records on one bar, and of marks for events.
const MARKS_MAX: usize = 120;

const OWN: &str = "var(--own)";
const WAITING: &str = "var(--waiting)";

/// One line's picture. Boxes and positions are in percent of the width.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum LinePicture {
    /// It lies entirely before or after the window.
    Outside { before: bool },
    /// It is visible, at least in part.
    Inside(Box<Bar>),
}

/// A visible bar.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bar {
    pub(crate) place: BarBox,
    pub(crate) fill: String,
    pub(crate) critical: Option<(BarBox, String)>,
    /// The gap from the end of the caller to the start of a call that it did not wait for.
    pub(crate) gap: Option<BarBox>,
    /// Time ranges in which the span had no open call, each with its words.
    pub(crate) untraced: Vec<(BarBox, String)>,
    /// Part after the caller's end.
    pub(crate) overhang: Option<BarBox>,
    /// Position of the error of a failed span: its end.
    pub(crate) error_at: Option<f64>,
    /// Log records: position and tone of each.
    pub(crate) ticks: Vec<(f64, SeverityTone)>,
    /// Events: position and mark of each.
    pub(crate) events: Vec<(f64, EventMark)>,
    pub(crate) label: BarLabel,
}

/// The words beside a bar.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BarLabel {
    pub(crate) text: String,
    pub(crate) side: LabelSide,
    /// The edge at which it begins, in percent from the side that it grows away from.
    pub(crate) at: f64,
}

/// Tones in which log records are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SeverityTone {
    Quiet,
    Warning,
    Error,
}

/// An event on a bar. Of two events on one pixel the greater is drawn: an exception, else the
/// earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EventMark {
    pub(crate) is_exception: bool,
    /// Its index in the model's events.
    pub(crate) event: Reverse<u32>,
}

impl SeverityTone {
    /// Returns the tone of an OTLP severity number.
    pub(crate) fn from_number(number: i32) -> Self {
        if number >= Severity::Error.first_number() {
            Self::Error
        } else if number >= Severity::Warn.first_number() {
            Self::Warning
        } else {
            Self::Quiet
        }
    }
}

/// The drawn window of time, and its width in CSS pixels.
#[derive(Debug, Clone, Copy)]
struct DrawnWindow {
    window: OffsetRange,
    width_px: f64,
}

impl DrawnWindow {
    /// Returns the minimum width of a bar, in percent.
    fn width_min(self) -> f64 {
        if self.width_px > 0.0 { WIDTH_PX_MIN / self.width_px * 100.0 } else { 0.0 }
    }

    fn is_narrow(self, time: OffsetRange) -> bool {
        let share = time.nanos() as f64 / self.window.nanos().max(1) as f64;
        share * 100.0 < self.width_min()
    }

    /// Returns the box of the bar of `time`, a span's or a run's, or `None` outside of the window.
    /// `row` is the span, or the first of the run.
    ///
    /// A narrow bar is widened to the minimum width inside the bar of its caller: it begins earlier
    /// where it would end later. Below a narrow caller, all narrow bars have the box of the
    /// outermost. A call that its caller does not include in time has a box of its own.
    fn bar_box(self, model: &TraceModel, row: u32, time: OffsetRange) -> Option<BarBox> {
        let place = self.window.place(time)?;
        let width = self.width_min();
        if !self.is_narrow(time) {
            // The edge of the window may have cut it.
            return Some(BarBox { width: place.width.max(width), ..place });
        }
        let (mut outermost, mut left_max) = (time, f64::INFINITY);
        let callers = std::iter::successors(model.parent(row), |row| model.parent(*row));
        for caller in callers.take(CALLERS_MAX).map(|row| model.stretch(row)) {
            if outermost.joined(caller) != caller {
                break;
            }
            if !self.is_narrow(caller) {
                left_max = self.window.fraction(caller.to) * 100.0 - width;
                break;
            }
            outermost = caller;
        }
        let left = self.window.fraction(outermost.from) * 100.0;
        Some(BarBox { left: left.min(left_max), width })
    }

    /// Widens a narrow part of a bar to the minimum width, inside the bar.
    fn widened_inside(self, part: BarBox, bar: BarBox) -> BarBox {
        let (width, end) = (self.width_min(), bar.left + bar.width);
        if part.width >= width {
            return part;
        }
        let left = if part.left <= end { part.left.min(end - width) } else { part.left };
        BarBox { left, width }
    }
}

/// Returns the picture of a span.
pub(crate) fn of_span(
    model: &TraceModel,
    logs: &LogIndex,
    row: u32,
    window: OffsetRange,
    width_px: f64,
) -> LinePicture {
    let whole = model.stretch(row);
    let drawn = DrawnWindow { window, width_px };
    let Some(place) = drawn.bar_box(model, row, whole) else {
        return LinePicture::Outside { before: whole.to < window.from };
    };
    let in_view = cut(whole, window);
    let own = uncovered(in_view, model.children(row).map(|child| model.stretch(child)));
    let fill = match own.as_slice() {
        [(from, to)] if *from <= 0.0 && *to >= 1.0 => OWN.to_owned(),
        [] => WAITING.to_owned(),
        parts => stripes(parts, OWN, WAITING),
    };
    let asynchronous = model.has_flag(row, SpanFlags::ASYNCHRONOUS);
    let caller = model.parent(row).filter(|_| asynchronous).map(|row| model.stretch(row));
    let gap = caller
        .filter(|caller| caller.to < whole.from)
        .and_then(|caller| window.place(OffsetRange::new(caller.to, whole.from)));
    let text = if model.has_flag(row, SpanFlags::UNFINISHED) {
        "not ended".to_owned()
    } else {
        format::duration(DurationNanos(model.duration(row)))
    };
    LinePicture::Inside(Box::new(Bar {
        place,
        fill,
        critical: model.critical_reach(row).and_then(|reach| {
            let own = parts_of(cut(reach, window), model.critical(row).iter().copied());
            let place = drawn.widened_inside(window.place(reach)?, place);
            Some((place, stripes(&own, "var(--crit)", "var(--crit-below)")))
        }),
        gap,
        untraced: model
            .untraced_of(row)
            .filter_map(|stretch| {
                let length = format::duration(DurationNanos(stretch.nanos()));
                Some((window.place(cut(stretch, window))?, format!("{length} without a span")))
            })
            .collect(),
        overhang: caller
            .filter(|caller| caller.to < whole.to)
            .and_then(|caller| window.place(OffsetRange::new(caller.to.max(whole.from), whole.to))),
        error_at: model
            .has_flag(row, SpanFlags::ERROR)
            .then(|| window.fraction(whole.to) * 100.0)
            .filter(|at| (0.0..=100.0).contains(at)),
        ticks: ticks(logs, row, window),
        events: event_marks(model, row, window),
        label: label(gap.map_or(place, |gap| joined(gap, place)), text, width_px),
    }))
}

/// Returns the picture of a run of repeated calls. Calls that are too close to distinguish are
/// drawn as one.
pub(crate) fn of_run(
    model: &TraceModel,
    first: u32,
    window: OffsetRange,
    width_px: f64,
) -> LinePicture {
    let facts = model.repeat_facts(first);
    let drawn = DrawnWindow { window, width_px };
    let Some(place) = drawn.bar_box(model, first, facts.stretch) else {
        return LinePicture::Outside { before: facts.stretch.to < window.from };
    };
    let calls = model.repeated_calls(first).map(|call| model.stretch(call));
    let parts = parts_of(cut(facts.stretch, window), calls);
    LinePicture::Inside(Box::new(Bar {
        place,
        fill: stripes(&parts, OWN, "var(--between)"),
        critical: facts.critical.then(|| (place, stripes(&parts, "var(--crit)", "transparent"))),
        gap: None,
        untraced: Vec::new(),
        overhang: None,
        error_at: None,
        ticks: Vec::new(),
        events: Vec::new(),
        label: label(place, format::duration(DurationNanos(facts.stretch.nanos())), width_px),
    }))
}

/// Returns the position of a moment in the window, in percent, if it is visible.
pub(crate) fn moment(at: i64, window: OffsetRange) -> Option<f64> {
    let at = window.fraction(at) * 100.0;
    (0.0..=100.0).contains(&at).then_some(at)
}

fn ticks(logs: &LogIndex, row: u32, window: OffsetRange) -> Vec<(f64, SeverityTone)> {
    let records = logs.of_row(row).iter().filter_map(|&log| logs.get(log));
    marks(
        records.map(|log| (logs.offset(log), SeverityTone::from_number(log.severity_number))),
        window,
    )
}

fn event_marks(model: &TraceModel, row: u32, window: OffsetRange) -> Vec<(f64, EventMark)> {
    let events = model.events().of_row(row).iter().filter_map(|&event| {
        let PlacedEvent { offset, is_exception, .. } = model.events().get(event)?;
        Some((offset, EventMark { is_exception, event: Reverse(event) }))
    });
    marks(events, window)
}

/// Returns the positions of visible moments, in percent. Moments are in order of time. Of those on
/// one pixel the greatest is kept.
fn marks<T: Ord>(moments: impl Iterator<Item = (i64, T)>, window: OffsetRange) -> Vec<(f64, T)> {
    let mut marks: Vec<(f64, T)> = Vec::new();
    for (offset, mark) in moments {
        let Some(at) = moment(offset, window) else { continue };
        match marks.last_mut() {
            Some((last, greatest)) if at - *last < 0.1 => {
                if mark > *greatest {
                    *greatest = mark;
                }
            }
            _ => marks.push((at, mark)),
        }
        if marks.len() == MARKS_MAX {
            break;
        }
    }
    marks
}

fn label(place: BarBox, text: String, width_px: f64) -> BarLabel {
    let px = |percent: f64| percent / 100.0 * width_px;
    let letters = text.chars().count() as f64;
    let (left, right) = (place.left, place.left + place.width);
    let side = label_side(px(left), px(right), letters * LETTER_PX, width_px);
    let at = match side {
        LabelSide::After => right,
        LabelSide::Before => 100.0 - left,
        LabelSide::Inside => 100.0 - right.min(100.0),
    };
    BarLabel { text, side, at }
}

/// Returns the box from the left edge of one box to the right edge of the next.
fn joined(first: BarBox, next: BarBox) -> BarBox {
    BarBox { left: first.left, width: next.left + next.width - first.left }
}

/// Returns the part of a range that [`OffsetRange::place`] keeps.
fn cut(whole: OffsetRange, window: OffsetRange) -> OffsetRange {
    OffsetRange::new(whole.from.max(window.at(-0.01)), whole.to.min(window.at(1.01)))
}

#[cfg(test)]
mod tests;
