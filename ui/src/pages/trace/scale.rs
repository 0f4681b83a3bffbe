//! Geometry of the time axis: from nanoseconds to fractions of the picture and back.
//!
//! Owns [`OffsetRange`] (of time), its zooming and panning, the axis's ticks, the position of a
//! bar, the side of its label, and the parts of a bar. It knows nothing of the page.

use std::fmt::Write as _;

use crate::charts::LETTER_PX;

/// Width of the line of a label and the room after it, in pixels.
const BEFORE_LABEL_PX: f64 = 6.0;
/// Minimum room between two labels of the axis, in pixels.
const BETWEEN_LABELS_PX: f64 = 16.0;
/// Minimum distance between two labels in pixels: none has fewer than three letters.
const LABEL_STEP_PX_MIN: f64 = BEFORE_LABEL_PX + 3.0 * LETTER_PX + BETWEEN_LABELS_PX;
/// Minimum length of a window. A shorter one shows nothing more.
const WINDOW_NANOS_MIN: i64 = 100;
/// Maximum number of parts of a bar. Finer ones are merged.
const PARTS_MAX: usize = 160;

/// A time range, in nanoseconds after the trace's start. `to` is never before `from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct OffsetRange {
    pub(crate) from: i64,
    pub(crate) to: i64,
}

/// Position of a bar in the picture, in percent of its width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BarBox {
    pub(crate) left: f64,
    pub(crate) width: f64,
}

/// Position of a bar's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LabelSide {
    After,
    Before,
    Inside,
}

impl OffsetRange {
    /// Makes the range from `from` to `to`, or an empty range at `from` when `to` lies before it.
    pub(crate) fn new(from: i64, to: i64) -> Self {
        Self { from, to: to.max(from) }
    }

    pub(crate) fn lasting(from: i64, nanos: u64) -> Self {
        Self { from, to: from.saturating_add_unsigned(nanos) }
    }

    pub(crate) fn nanos(self) -> u64 {
        self.to.abs_diff(self.from)
    }

    /// Returns the shortest range that includes both.
    pub(crate) fn joined(self, other: Self) -> Self {
        Self { from: self.from.min(other.from), to: self.to.max(other.to) }
    }

    /// Returns the position of `at` relative to this window: 0 at its start, 1 at its end.
    pub(crate) fn fraction(self, at: i64) -> f64 {
        let from_start = i128::from(at) - i128::from(self.from);
        ratio(from_start, self.nanos().max(1))
    }

    /// Returns the moment at a fraction of this window.
    pub(crate) fn at(self, fraction: f64) -> i64 {
        self.from.saturating_add(rounded(fraction * self.nanos() as f64))
    }

    /// Scales this window by `factor`, with the moment at `fraction` kept in place, and keeps it
    /// inside `extent`.
    pub(crate) fn zoomed(self, fraction: f64, factor: f64, extent: Self) -> Self {
        let pivot = self.at(fraction);
        let nanos = rounded(self.nanos() as f64 * factor).max(WINDOW_NANOS_MIN);
        let from = pivot.saturating_sub(rounded(nanos as f64 * fraction));
        Self { from, to: from.saturating_add(nanos) }.kept_in(extent)
    }

    /// Moves this window by a fraction of its length, and keeps it inside `extent`.
    pub(crate) fn panned(self, fraction: f64, extent: Self) -> Self {
        let by = rounded(self.nanos() as f64 * fraction);
        Self { from: self.from.saturating_add(by), to: self.to.saturating_add(by) }.kept_in(extent)
    }

    /// Returns the window of the same length inside `extent`, or all of `extent` when the window is
    /// longer.
    pub(crate) fn kept_in(self, extent: Self) -> Self {
        if self.nanos() >= extent.nanos() {
            return extent;
        }
        let nanos = self.nanos();
        let from = self.from.clamp(extent.from, extent.to.saturating_sub_unsigned(nanos));
        Self::lasting(from, nanos)
    }

    /// Returns the window between the two ends of a drag, in either order. It is at least
    /// [`WINDOW_NANOS_MIN`] long.
    pub(crate) fn dragged(one: i64, other: i64, extent: Self) -> Self {
        let from = one.min(other).clamp(extent.from, extent.to);
        let to = one.max(other).clamp(extent.from, extent.to);
        Self { from, to: to.max(from.saturating_add(WINDOW_NANOS_MIN)) }.kept_in(extent)
    }

    /// Returns the position of `bar` in this window, cut just outside its edges. `None` when it
    /// lies outside entirely.
    pub(crate) fn place(self, bar: Self) -> Option<BarBox> {
        let (left, right) = (self.fraction(bar.from) * 100.0, self.fraction(bar.to) * 100.0);
        if right < 0.0 || left > 100.0 {
            return None;
        }
        let (left, right) = (left.max(-1.0), right.min(101.0));
        Some(BarBox { left, width: right - left })
    }
}

/// Returns the side of a bar from `left` to `right` on which its label of `label_px` fits, in a
/// picture `width_px` wide. All are in pixels.
pub(crate) fn label_side(left: f64, right: f64, label_px: f64, width_px: f64) -> LabelSide {
    const GAP: f64 = 12.0;
    if right.max(0.0) + label_px + GAP <= width_px {
        LabelSide::After
    } else if left.min(width_px) - label_px - GAP >= 0.0 {
        LabelSide::Before
    } else {
        LabelSide::Inside
    }
}

/// Returns the parts of `bar` that `covered` leaves open, as fractions of the bar, in order. They
/// are a span's self time between its calls. `covered` must be ordered by start.
pub(crate) fn uncovered(
    bar: OffsetRange,
    covered: impl Iterator<Item = OffsetRange>,
) -> Vec<(f64, f64)> {
    let mut parts = Vec::new();
    let mut open_from = bar.from;
    for span in covered {
        if span.from > open_from {
            push_part(&mut parts, bar, OffsetRange::new(open_from, span.from.min(bar.to)));
        }
        open_from = open_from.max(span.to);
        if open_from >= bar.to {
            return parts;
        }
    }
    push_part(&mut parts, bar, OffsetRange::new(open_from, bar.to));
    parts
}

/// Returns ranges as fractions of `bar`. `parts` must be ordered by start.
pub(crate) fn parts_of(
    bar: OffsetRange,
    parts: impl Iterator<Item = OffsetRange>,
) -> Vec<(f64, f64)> {
    let mut fractions = Vec::new();
    for part in parts {
        let cut = OffsetRange::new(part.from.max(bar.from), part.to.min(bar.to));
        push_part(&mut fractions, bar, cut);
    }
    fractions
}

/// Adds a part. A part that begins within a [`PARTS_MAX`]th of the bar after the last one is merged
/// with it.
fn push_part(parts: &mut Vec<(f64, f64)>, bar: OffsetRange, part: OffsetRange) {
    if part.nanos() == 0 {
        return;
    }
    let (from, to) = (bar.fraction(part.from), bar.fraction(part.to));
    match parts.last_mut() {
        Some(last) if from - last.1 < 1.0 / PARTS_MAX as f64 => last.1 = last.1.max(to),
        _ => parts.push((from, to)),
    }
}

/// Returns the CSS image that paints `parts` in `on` and the rest in `off`.
pub(crate) fn stripes(parts: &[(f64, f64)], on: &str, off: &str) -> String {
    let mut css = String::from("linear-gradient(90deg");
    let mut at = 0.0;
    for &(from, to) in parts {
        let (from, to) = (from.clamp(0.0, 1.0), to.clamp(0.0, 1.0));
        let _ = write!(
            css,
            ",{off} {:.3}% {:.3}%,{on} {:.3}% {:.3}%",
            at * 100.0,
            from * 100.0,
            from * 100.0,
            to * 100.0
        );
        at = to;
    }
    let _ = write!(css, ",{off} {:.3}% 100%)", at * 100.0);
    css
}

/// Returns the moments of an axis `width_px` wide, and their step: the shortest round one by which
/// their labels have room between them.
pub(crate) fn labelled_ticks(window: OffsetRange, width_px: f64) -> (Vec<i64>, i64) {
    let most = pixel(width_px / LABEL_STEP_PX_MIN / 64.0, 64);
    let mut count = u32::try_from(most).unwrap_or(1);
    loop {
        let (at, step) = ticks(window, count);
        let label_px = |at: &i64| axis_label_px(&axis_label(*at, step, window.to));
        let widest = [at.first(), at.last()].into_iter().flatten().map(label_px);
        let needed = widest.fold(0.0, f64::max) + BETWEEN_LABELS_PX;
        let step_px = step as f64 / window.nanos().max(1) as f64 * width_px;
        if count <= 1 || step_px >= needed {
            return (at, step);
        }
        count -= 1;
    }
}

/// Returns the width of a label of the axis with its line, in pixels.
pub(crate) fn axis_label_px(label: &str) -> f64 {
    BEFORE_LABEL_PX + label.chars().count() as f64 * LETTER_PX
}

/// Returns the labelled moments of an axis: multiples of a round step, at most `count_max` of them.
fn ticks(window: OffsetRange, count_max: u32) -> (Vec<i64>, i64) {
    let step = round_step(window.nanos() / u64::from(count_max.max(1)));
    let mut at = window.from.div_euclid(step).saturating_mul(step);
    if at < window.from {
        at = at.saturating_add(step);
    }
    let mut ticks = Vec::new();
    while at <= window.to && ticks.len() <= count_max as usize {
        ticks.push(at);
        let Some(next) = at.checked_add(step) else { break };
        at = next;
    }
    (ticks, step)
}

/// Returns the smallest of 1, 2 or 5 times a power of ten that is more than `nanos`.
fn round_step(nanos: u64) -> i64 {
    let mut power = 1_i64;
    loop {
        for times in [1, 2, 5] {
            let step = power.saturating_mul(times);
            if step.unsigned_abs() > nanos || step == i64::MAX {
                return step;
            }
        }
        power = power.saturating_mul(10);
    }
}

/// Formats a moment on an axis with this step. The unit suits the axis's end, and the digits suit
/// the step.
pub(crate) fn axis_label(at: i64, step: i64, end: i64) -> String {
    let (unit, name) = [(1_000_000_000_i64, "s"), (1_000_000, "ms"), (1_000, "µs")]
        .into_iter()
        .find(|&(unit, _)| end.saturating_abs() >= unit)
        .unwrap_or((1, "ns"));
    let mut digits = 0;
    let mut shown = unit;
    while shown > 1 && step % shown != 0 {
        shown /= 10;
        digits += 1;
    }
    format!("{:.digits$} {name}", at as f64 / unit as f64)
}

fn ratio(part: i128, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// Returns the nearest whole number of nanoseconds.
pub(crate) fn rounded(nanos: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates, NaN is 0")]
    let whole = nanos.round() as i64;
    whole
}

/// Returns the pixel of a fraction of a picture, at most `pixels` − 1.
pub(crate) fn pixel(fraction: f64, pixels: usize) -> usize {
    let at = rounded((fraction * pixels as f64).floor());
    usize::try_from(at).unwrap_or(0).min(pixels.saturating_sub(1))
}

#[cfg(test)]
mod tests;
