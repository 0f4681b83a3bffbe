//! The calls of both sides as lanes: a bar for the left side and a pale bar for the right one.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos,
    api::{CallStats, ComparedCall, Comparison, Deviation},
};

use super::impact::{self, deviation_text, deviation_tone, time_of};
use crate::{
    browser,
    charts::axis::value_ticks,
    colour,
    components::{AddressSegments, Badge, CallChoice, use_choice},
    format, number_format,
};

/// Maximum number of lanes that are drawn.
const DRAWN_MAX: usize = 500;

/// Name of the other side that is the typical trace.
const TYPICAL: &str = "Typical";
/// Name of the other side that is a trace.
const OTHER: &str = "Other";

const ROWS: &[(&str, &str)] = &[("all", "All"), ("differ", "Differ")];
const BAR_ORIGINS: &[(&str, &str)] = &[("time", "As it happened"), ("start", "Aligned starts")];

/// Returns start and end of the calls in the median trace of a side, in nanoseconds. `None` when
/// fewer than half of its traces make one.
fn call_extent(stats: &CallStats, lined_up: bool) -> Option<(f64, f64)> {
    let begin = if lined_up { 0.0 } else { stats.median.start_offset_nano.0 as f64 };
    stats.is_usual.then_some((begin, begin + stats.median.extent_nano.0 as f64))
}

/// Returns the end of the last call.
fn extent(comparison: &Comparison) -> f64 {
    let sides = comparison.calls.iter().flat_map(|call| [&call.left, &call.right]);
    sides.filter_map(|stats| call_extent(stats, false)).map(|(_, end)| end).fold(1.0, f64::max)
}

/// The table.
pub(super) fn lanes(
    comparison: &Arc<Comparison>,
    typical: bool,
    choice: CallChoice,
) -> impl IntoView + use<> {
    let (shown, lined) = (use_choice("rows", ROWS), use_choice("lanes", BAR_ORIGINS));
    let width = extent(comparison);
    let (this, other) = ("This", if typical { TYPICAL } else { OTHER });
    let measure = typical.then_some("The median of the traces that make the call");
    let words = (comparison.deviation_counts.any == 0).then(|| {
        view! { <p class="panel-words mute">{impact::no_deviation_text(comparison, typical)}</p> }
    });
    let drawn = Arc::clone(comparison);
    let rows = move || {
        let lined_up = lined.get() == "start";
        let only_differing = shown.get() == "differ";
        (0_u32..)
            .zip(&drawn.calls)
            .filter(|(_, call)| !only_differing || call.differs)
            .take(DRAWN_MAX)
            .map(|(row, call)| {
                let (with_call, all) = (call.right.trace_count, drawn.right.trace_count);
                let share = number_format::share(number_format::ratio(with_call, all));
                lane(row, call, (other, share), (width, lined_up), choice)
            })
            .collect_view()
    };
    let count = comparison.calls.len();
    let left_out = count.saturating_sub(DRAWN_MAX);
    let more = (left_out > 0).then(|| {
        let words = format!("{} not drawn.", format::counted(left_out as u64, "more row"));
        view! { <p class="panel-empty">{words}</p> }
    });
    view! {
        <section class="card panel" aria-label="Calls">
            <div class="panel-head">
                <h2>"Calls"</h2>
                <span class="lane-key">{this}</span>
                <span class="lane-key is-ghost">{other}</span>
                <span class="panel-tools">
                    <AddressSegments name="rows" offered=ROWS label="Which calls" />
                    <AddressSegments name="lanes" offered=BAR_ORIGINS label="Where bars begin" />
                </span>
            </div>
            {words}
            <div class="panel-body">
                <table class="table lanes-table" aria-label="Calls of both">
                    <thead>
                        <tr>
                            <th scope="col">"Call"</th>
                            <th scope="col" class="lane-differs">"Differs"</th>
                            <th scope="col" class="lane-cell" aria-label="Time">
                                <span class="lane-ticks" aria-hidden="true">{ticks(width)}</span>
                            </th>
                            <th scope="col" class="num">{this}</th>
                            <th scope="col" class="num" title=measure>{other}</th>
                            <th scope="col" class="num">"Difference"</th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
            {more}
        </section>
    }
}

/// Times along the bars, in nanoseconds up to `width`.
fn ticks(width: f64) -> impl IntoView {
    let ticks = value_ticks(width, 4).into_iter().filter(|tick| *tick < width * 0.97);
    let ticks = ticks.map(|tick| {
        let left = format!("{:.2}%", tick / width * 100.0);
        let nanos = browser::to_whole(tick);
        let words =
            if nanos == 0 { "0 s".to_owned() } else { format::duration(DurationNanos(nanos)) };
        view! { <span style=("left", left)>{words}</span> }
    });
    ticks.collect_view()
}

fn lane(
    row: u32,
    call: &ComparedCall,
    (other_side, share): (&str, String),
    (width, lined_up): (f64, bool),
    choice: CallChoice,
) -> impl IntoView + use<> {
    let bar = |stats: &CallStats, class: &'static str| {
        call_extent(stats, lined_up).map(|(begin, end)| {
            let left = format!("{:.3}%", begin / width * 100.0);
            let wide = format!("{:.3}%", (end - begin).max(0.0) / width * 100.0);
            view! { <span class=class style=("left", left) style=("width", wide)></span> }
        })
    };
    let is_missing = call.deviations.contains(&Deviation::Missing);
    let (this, other) = (time_of(&call.left), time_of(&call.right));
    let text = |time: Option<DurationNanos>| time.map_or("none".to_owned(), format::duration);
    let worse = impact::is_worse(call);
    let within = if other_side == TYPICAL { impact::within_range_text(call) } else { None };
    let within =
        within.map(|(words, title)| view! { <span class="mute" title=title>{words}</span> });
    let times = times_text(call, other_side);
    let badge = call.deviations.first().copied().map(|deviation| {
        let tone = deviation_tone(deviation);
        let all: Vec<&str> = call.deviations.iter().copied().map(deviation_text).collect();
        view! { <span title=all.join(", ")><Badge tone=tone>{deviation_text(deviation)}</Badge></span> }
    });
    // Most of the other traces have no such call.
    let is_in_some = call.right.call_count > 0 && !call.right.is_usual;
    let some = is_in_some.then(|| view! { <span class="mute">{format!("in {share}")}</span> });
    let name = number_format::truncate(format::operation(&call.operation), 120);
    let service = format::service(&call.service).to_owned();
    let title = format!("{service}: {name}");
    let indent = format!("{}px", call.depth.min(24) * 16);
    let bars = view! { {bar(&call.right, "lane-ghost")} {bar(&call.left, "lane-bar")} };
    let is_selected = move || choice.selected.get() == Some(row);
    let select = move |_| choice.toggle(row);
    view! {
        <tr
            id=lane_id(row)
            aria-selected=move || is_selected().to_string()
            style=("--hue", colour::hue_value(&call.service))
            on:click=select
        >
            <td class="lane-name" title=title>
                <span class="lane-words" style=("padding-left", indent)>
                    <span class="lane-call">
                        <span class="dot" style=("--hue", colour::hue_value(&call.service))></span>
                        <span class="lane-text" class:is-missing=is_missing>{name}</span>
                    </span>
                    <span class="num">{times}</span>
                    <span class="mute lane-service">{service}</span>
                </span>
            </td>
            <td class="lane-differs">{badge} {within} {some} {failed_there(call, other_side)}</td>
            <td class="lane-cell"><span class="lane">{bars}</span></td>
            <td class="num">{text(this)}</td>
            <td class="num was">{text(other)}</td>
            <td class="num" class:is-worse=worse>
                {number_format::duration_difference(this.unwrap_or_default(), other.unwrap_or_default())}
            </td>
        </tr>
    }
}

/// The number of calls that failed on the other side, a single trace.
fn failed_there(call: &ComparedCall, other_side: &str) -> Option<impl IntoView + use<>> {
    let words = failed_text(call.right.error_count, other_side)?;
    Some(view! { <span class="mute">{words}</span> })
}

/// Returns the words for failed calls of the other trace. `None` without one, and where the other
/// side is typical.
fn failed_text(error_count: u64, other_side: &str) -> Option<String> {
    let is_said = error_count > 0 && other_side == OTHER;
    is_said.then(|| format!("{}: {} failed", other_side.to_lowercase(), format::count(error_count)))
}

/// Returns the numbers of calls of a row: `×3`, and `×1, other ×3` where the other side has another
/// number. `None` where no side has several.
fn times_text(call: &ComparedCall, other_side: &str) -> Option<String> {
    let this = call.left.median.call_count;
    let other = if call.right.is_usual { call.right.median.call_count } else { 0 };
    let times = |count: u64| format!("×{}", format::count(count));
    match (this, other) {
        (0 | 1, 0 | 1) => None,
        (0, _) => Some(format!("{} {}", other_side.to_lowercase(), times(other))),
        (_, 0) => Some(times(this)),
        _ if this == other => Some(times(this)),
        _ => Some(format!("{}, {} {}", times(this), other_side.to_lowercase(), times(other))),
    }
}

/// Returns the id of a row's lane.
pub(super) fn lane_id(row: u32) -> String {
    format!("lane-{row}")
}

#[cfg(test)]
mod tests {
    use tidings_proto::{
        DurationNanos, OffsetNanos,
        api::{CallMedians, CallStats, ComparedCall, SpanKindName},
    };

    use super::{call_extent, failed_text, times_text};

    #[test]
    fn failed_calls_of_another_trace_are_counted() {
        assert_eq!(failed_text(2, "Other").as_deref(), Some("other: 2 failed"));
        assert_eq!((failed_text(0, "Other"), failed_text(2, "Typical")), (None, None));
    }

    #[test]
    fn several_calls_of_either_side_are_counted_beside_the_name() {
        let stats = |call_count: u64| {
            let median = CallMedians { call_count, ..CallMedians::default() };
            CallStats { is_usual: call_count > 0, median, ..CallStats::default() }
        };
        let text = |left: u64, right: u64| {
            let call = ComparedCall {
                parent_index: None,
                depth: 0,
                service: "pay".to_owned(),
                operation: "charge".to_owned(),
                kind: SpanKindName::Client,
                deviations: Vec::new(),
                differs: false,
                impact_nano: OffsetNanos(0),
                path_difference_nano: OffsetNanos(0),
                path_difference_share: 0.0,
                left: stats(left),
                right: stats(right),
            };
            times_text(&call, "Other").unwrap_or_default()
        };
        assert_eq!([text(1, 1), text(1, 0), text(0, 1)], [""; 3]);
        assert_eq!([text(2, 2), text(2, 0), text(0, 3)], ["×2", "×2", "other ×3"]);
        assert_eq!([text(1, 3), text(3, 1)], ["×1, other ×3", "×3, other ×1"]);
    }

    #[test]
    fn bars_stand_where_the_median_trace_has_the_calls_or_all_at_the_start() {
        let median = CallMedians {
            start_offset_nano: DurationNanos(30),
            extent_nano: DurationNanos(60),
            ..CallMedians::default()
        };
        let stats = CallStats { is_usual: true, median, ..CallStats::default() };
        assert_eq!(call_extent(&stats, false), Some((30.0, 90.0)));
        assert_eq!(call_extent(&stats, true), Some((0.0, 60.0)));
        let rare = CallStats { is_usual: false, ..stats };
        assert_eq!(call_extent(&rare, false), None);
    }
}
