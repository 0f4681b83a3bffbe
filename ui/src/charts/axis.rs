//! Ticks of axes: round moments in local time, round durations, round numbers.

use leptos::{html, prelude::*};
use tidings_proto::{DurationNanos, UnixNanos};

use super::LETTER_PX;
use crate::{browser::element_size, format};

/// Minimum room between two labels below a plot, in pixels.
const BETWEEN_LABELS_PX: f64 = 6.0;
/// Minimum distance of the middle of a label from the end of the plot, as in the style sheets.
const END_PX: f64 = 14.0;

/// A labelled position on an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// Its position: 0 at the start of the axis, 1 at its end.
    pub at: f64,
    /// Its label.
    pub label: String,
}

/// The line of labels under a plot, each at its position. A label that would touch the one before it
/// is left out.
pub fn labels_below(ticks: Vec<Tick>) -> impl IntoView {
    let line = NodeRef::<html::Div>::new();
    let size = element_size(line);
    let labels = move || {
        let label = |tick: &Tick| {
            let at = format!("{:.2}%", tick.at * 100.0);
            view! { <span class="heat-x" style=("--at", at)>{tick.label.clone()}</span> }
        };
        labels_apart(&ticks, size.get().0).map(label).collect_view()
    };
    view! { <div class="heat-times mono" aria-hidden="true" node_ref=line>{labels}</div> }
}

/// Returns the labels that do not touch those before them, on an axis of this width.
fn labels_apart(ticks: &[Tick], width_px: f64) -> impl Iterator<Item = &Tick> {
    let mut end_px = f64::NEG_INFINITY;
    ticks.iter().filter(move |tick| {
        let half_px = tick.label.chars().count() as f64 * LETTER_PX / 2.0;
        let middle_px = (tick.at * width_px).min(width_px - END_PX);
        let is_apart = middle_px - half_px >= end_px + BETWEEN_LABELS_PX;
        if is_apart {
            end_px = middle_px + half_px;
        }
        is_apart
    })
}

const NANOS: u64 = 1_000_000_000;
const DAY: u64 = 86_400;
/// Round lengths of time, in seconds: distances of time ticks, widths of columns.
pub const ROUND_SECONDS: [u64; 24] = [
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1_800,
    3_600,
    7_200,
    10_800,
    21_600,
    43_200,
    DAY,
    2 * DAY,
    7 * DAY,
    14 * DAY,
    28 * DAY,
    91 * DAY,
    365 * DAY,
];

/// Returns round moments between two times, with at most `most` steps. The zone is in minutes ahead
/// of UTC.
#[must_use]
pub fn time_ticks(start: UnixNanos, end: UnixNanos, zone_minutes: i32, most: u64) -> Vec<Tick> {
    let length = end.since(start).0;
    if length == 0 {
        return Vec::new();
    }
    let fits = |step: &&u64| length / NANOS / **step <= most.max(1);
    let step =
        ROUND_SECONDS.iter().find(fits).copied().unwrap_or(ROUND_SECONDS[ROUND_SECONDS.len() - 1]);
    let zone = i64::from(zone_minutes) * 60;
    let local = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX).saturating_add(zone);
    let step_signed = i64::try_from(step).unwrap_or(1);
    let mut next = local(start.0.div_ceil(NANOS));
    next = next.saturating_add((step_signed - next.rem_euclid(step_signed)) % step_signed);
    let last = local(end.0 / NANOS);
    let mut ticks = Vec::new();
    while next <= last && ticks.len() < 64 {
        let utc = u64::try_from(next.saturating_sub(zone)).unwrap_or(0).saturating_mul(NANOS);
        let time = UnixNanos(utc);
        let at = time.since(start).0 as f64 / length as f64;
        ticks.push(Tick { at, label: time_label(time, step, zone_minutes) });
        next = next.saturating_add(step_signed);
    }
    ticks
}

/// Returns the label of a moment: `14:03:20` for ticks seconds apart, `14:03` for minutes, the date
/// for days and midnight.
fn time_label(time: UnixNanos, step: u64, zone_minutes: i32) -> String {
    let clock = format::time_of_day(time, zone_minutes);
    let of_day = |length: usize| clock.chars().take(length).collect::<String>();
    let is_midnight = clock.starts_with("00:00:00");
    if step >= DAY || (is_midnight && step >= 3_600) {
        return format::date(time, zone_minutes).chars().skip(5).collect();
    }
    if step < 60 { of_day(8) } else { of_day(5) }
}

/// Returns at most `most` round durations between two: decades, or 1, 2 and 5 of each decade when
/// there is room.
#[must_use]
pub fn round_durations(
    shortest: DurationNanos,
    longest: DurationNanos,
    most: usize,
) -> Vec<DurationNanos> {
    let between = |steps: &[u64]| -> Vec<DurationNanos> {
        let decades = std::iter::successors(Some(1_u64), |decade| decade.checked_mul(10));
        decades
            .flat_map(|decade| steps.iter().filter_map(move |step| decade.checked_mul(*step)))
            .filter(|nanos| (shortest.0..=longest.0).contains(nanos))
            .map(DurationNanos)
            .collect()
    };
    let finer = [&[1_u64, 2, 5][..], &[1, 3], &[1]].into_iter().map(between);
    let mut last = Vec::new();
    for ticks in finer {
        if ticks.len() <= most {
            return ticks;
        }
        last = ticks;
    }
    // Decades alone are too many, so only every n-th is used.
    let every = last.len().div_ceil(most.max(1));
    last.into_iter().step_by(every.max(1)).collect()
}

/// Returns about `count` round values from 0 to just above `greatest`. The last is the end of the
/// axis.
#[must_use]
pub fn value_ticks(greatest: f64, count: u32) -> Vec<f64> {
    let greatest = if greatest.is_finite() && greatest > 0.0 { greatest } else { 1.0 };
    let step = round_up(greatest / f64::from(count.max(1)));
    let steps = (greatest / step).ceil().max(1.0);
    let mut ticks = Vec::new();
    let mut tick = 0.0;
    while tick <= steps {
        ticks.push(tick * step);
        tick += 1.0;
    }
    ticks
}

/// Returns three to six round values from 0 to just above `greatest`: those that end nearest to it.
#[must_use]
pub fn fitted_ticks(greatest: f64) -> Vec<f64> {
    let end = |ticks: &[f64]| ticks.last().copied().unwrap_or(0.0);
    let choices = (2..=5).map(|count| value_ticks(greatest, count));
    choices.min_by(|one, other| end(one).total_cmp(&end(other))).unwrap_or_default()
}

/// Rounds up to the next of 1, 2, 2.5 and 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    let scale = 10_f64.powf(value.log10().floor());
    let digit = value / scale;
    let rounded = [1.0, 2.0, 2.5, 5.0].into_iter().find(|round| digit <= round + 1e-9);
    rounded.unwrap_or(10.0) * scale
}

#[cfg(test)]
mod tests {
    use tidings_proto::{DurationNanos, UnixNanos};

    use super::{
        NANOS, Tick, fitted_ticks, labels_apart, round_durations, time_ticks, value_ticks,
    };

    fn labels(start: u64, length: u64, zone: i32, most: u64) -> Vec<String> {
        let (start, end) = (UnixNanos(start * NANOS), UnixNanos((start + length) * NANOS));
        let ticks = time_ticks(start, end, zone, most);
        assert!(ticks.iter().all(|tick| (0.0..=1.0).contains(&tick.at)), "{ticks:?}");
        ticks.into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn ticks_of_time_are_round_in_local_time() {
        let midnight = 1_795_132_800;
        assert_eq!(
            labels(midnight + 46_980, 1_800, 0, 6),
            ["13:05", "13:10", "13:15", "13:20", "13:25", "13:30"]
        );
        assert_eq!(
            labels(midnight, 60, 0, 4),
            ["00:00:00", "00:00:15", "00:00:30", "00:00:45", "00:01:00"][..5].to_vec()
        );
        assert_eq!(labels(midnight + 1_800, 7_200, 30, 3), ["01:00", "02:00", "03:00"]);
        assert_eq!(
            labels(midnight - 7_200, 14_400, 0, 5),
            ["22:00", "23:00", "11-20", "01:00", "02:00"]
        );
        assert_eq!(labels(midnight, 5 * 86_400, 0, 6).len(), 6);
        assert!(labels(midnight, 0, 0, 6).is_empty());
    }

    #[test]
    fn labels_that_would_touch_are_left_out() {
        let ticks: Vec<Tick> = (0..=6_u32)
            .map(|number| Tick { at: f64::from(number) / 6.0, label: format!("07:{number}0") })
            .collect();
        let shown = |width_px: f64| {
            let shown = labels_apart(&ticks, width_px).map(|tick| tick.label.as_str());
            shown.collect::<Vec<_>>()
        };
        assert_eq!(shown(600.0).len(), 7);
        // The last label is drawn inside the plot, nearer to the one before it.
        assert_eq!(shown(268.0), ["07:00", "07:10", "07:20", "07:30", "07:40", "07:50"]);
        assert_eq!(shown(150.0), ["07:00", "07:20", "07:40"]);
        assert_eq!(shown(0.0), ["07:00"], "not laid out");
    }

    #[test]
    fn ticks_stay_few_over_any_length() {
        for length in [1, 59, 3_601, 86_401, 10_000_000, 17_000_000_000] {
            assert!(labels(1_000, length, 330, 7).len() <= 64, "{length}");
        }
    }

    #[test]
    fn durations_are_round_and_few() {
        let durations = |from: u64, to: u64, most| -> Vec<u64> {
            let round = round_durations(DurationNanos(from), DurationNanos(to), most);
            round.into_iter().map(|nanos| nanos.0).collect()
        };
        assert_eq!(durations(90, 600, 6), [100, 200, 500]);
        assert_eq!(durations(1, 1_000, 4), [1, 10, 100, 1_000]);
        assert_eq!(durations(1, u64::MAX, 5).len(), 5);
        assert!(durations(101, 199, 5).is_empty());
    }

    #[test]
    fn fitted_ticks_end_close_above_the_greatest_value() {
        assert_eq!(fitted_ticks(25.0), [0.0, 5.0, 10.0, 15.0, 20.0, 25.0]);
        assert_eq!(fitted_ticks(40.0), [0.0, 20.0, 40.0]);
        assert_eq!(fitted_ticks(11.9), [0.0, 2.5, 5.0, 7.5, 10.0, 12.5]);
        for greatest in [0.07, 1.01, 3.0, 21.0, 31.0, 51.0, 999.0] {
            let ticks = fitted_ticks(greatest);
            let last = ticks[ticks.len() - 1];
            assert!(last >= greatest && last <= greatest * 1.5, "{greatest}: {ticks:?}");
        }
    }

    #[test]
    fn ticks_are_round_and_hold_the_greatest_value() {
        assert_eq!(value_ticks(2.31e9, 4), [0.0, 1e9, 2e9, 3e9]);
        assert_eq!(value_ticks(11.9, 3), [0.0, 5.0, 10.0, 15.0]);
        assert_eq!(value_ticks(0.0, 2), [0.0, 0.5, 1.0]);
        for greatest in [1e-9, 0.07, 3.0, 999.0, 1.0e18, f64::NAN, f64::INFINITY] {
            let ticks = value_ticks(greatest, 4);
            let last = ticks[ticks.len() - 1];
            assert!(ticks.len() <= 6 && (last >= greatest || !greatest.is_finite()), "{ticks:?}");
        }
    }
}
