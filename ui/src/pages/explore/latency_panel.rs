//! Durations over time of the matching spans, with a box to select. Counts and failures are below
//! it, each on its own scale.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos,
    api::{Heatmap, HeatmapStep, TimeWindow},
};

use super::{ExplorePageState, compare_box::compare_switch, with_span_filters};
use crate::{
    api::analysis::{Analysis, heatmap},
    charts::{
        axis::ROUND_SECONDS,
        heatmap::{HeatmapDrawing, HeatmapState},
        time_buckets::TimeBuckets,
    },
    components::Panel,
    format,
    page_time::{partial_answer_text, use_live, use_page_time},
    request_state::RequestState,
    url::{ExploreState, HeatmapBox, TimeRange, use_query},
    window::Window,
};

/// Maximum number of columns of the heatmap.
const COLUMNS_MAX: u64 = 60;
/// Duration of a request for a heatmap or for groups above which it is not repeated while the page
/// is live. A query may read for as long as a request may take.
pub(super) const LIVE_MAX: DurationNanos = DurationNanos(3_000_000_000);

/// The panel with the heatmap and the counts below it.
pub(super) fn latency_panel(
    page_state: ExplorePageState,
    drawing: HeatmapState,
    held: Memo<bool>,
) -> impl IntoView {
    let time = use_page_time();
    let condition = Memo::new(move |_| {
        page_state.state.with(|state| (state.filters.clone(), state.query.clone()))
    });
    let address = use_query();
    // Other parts of the address do not send the request again.
    let range = Memo::new(move |_| address.with(TimeRange::read));
    let window = move || Window::new(range.get(), time.now());
    let answer = RequestState::new(move || {
        let (filters, query) = condition.get();
        let asked = with_span_filters(time.analysis(), &filters, query.as_deref());
        Some(heatmap(&with_columns(asked, window())))
    });
    let is_slow =
        move || answer.value().is_some_and(|found| found.searched.elapsed_nano > LIVE_MAX);
    time.refresh_while_live(move || {
        held.get() || drawing.is_busy() || answer.pending() || is_slow()
    });
    let live = use_live();
    let chosen = Memo::new(move |_| page_state.state.with(|state| state.chosen));
    let choose = Callback::new(move |chosen: Option<HeatmapBox>| {
        page_state.choose(chosen, untrack(|| time.now()));
    });
    let note = move || {
        let Some(found) = answer.value() else { return String::new() };
        let hint = page_state.state.with(hint);
        let slow = if live.get() && is_slow() { "; too slow to be live" } else { "" };
        format!("{}{hint}{slow}", format::counted(found.count, "span"))
    };
    let draw = move |heatmap: Arc<Heatmap>| {
        let counts = lanes(&heatmap);
        view! {
            <HeatmapDrawing
                heatmap
                state=drawing
                chosen
                on_choose=choose
                label="Durations of spans over time"
            />
            {counts}
        }
    };
    let tools = move || {
        chosen.get().map(|_| {
            view! {
                {compare_switch()}
                <button class="button" type="button" on:click=move |_| page_state.drop_box()>
                    "Clear"
                    <kbd>"Esc"</kbd>
                </button>
            }
        })
    };
    view! {
        <div class="explore-latency">
            <Panel
                title="Latency"
                note=Signal::derive(note)
                tools=ViewFn::from(move || tools)
                state=answer
                is_empty=|heatmap| heatmap.cells.is_empty()
                missing=missing
                empty="No matching span ended in this time."
                rows=5
                draw=draw
            />
        </div>
    }
}

/// Returns a hint about the box, which follows the number of spans.
fn hint(state: &ExploreState) -> &'static str {
    match state.chosen {
        _ if state.query.is_none() && !state.filters.without.is_empty() => {
            "; what is excluded is still in the picture"
        }
        None => "; drag a box to explain it",
        Some(_) => "",
    }
}

/// Sets the step that gives the heatmap its columns. Without a start of the window, the API chooses
/// it.
fn with_columns(asked: Analysis, window: Window) -> Analysis {
    let length = window.bounds().map(|(start, end)| end.since(start).0);
    asked.with_some("step", length.map(step_nanos))
}

/// Returns the shortest round step that divides a length of time into at most [`COLUMNS_MAX`]
/// columns.
fn step_nanos(length: u64) -> u64 {
    let round = ROUND_SECONDS.into_iter().map(|seconds| seconds * 1_000_000_000);
    let least = length.div_ceil(COLUMNS_MAX).max(1);
    round.into_iter().find(|step| *step >= least).unwrap_or(least)
}

fn missing(heatmap: &Heatmap) -> Option<String> {
    partial_answer_text(&heatmap.searched)
}

/// Spans per step, with failed ones above on a scale of their own.
fn lanes(heatmap: &Heatmap) -> impl IntoView + use<> {
    let Heatmap { window, steps, .. } = heatmap;
    let length = format::length(window.step_nano);
    let lane = |label: &'static str, class: &'static str, count: fn(&HeatmapStep) -> u64| {
        let Lane { path, top } = Lane::new(steps, window, count)?;
        let most = format!("{} in {length}", format::count(top));
        Some(view! {
            <div class="count-lane">
                <span class="count-lane-label">{format!("{label}, most {most}")}</span>
                <svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" aria-label=format!("{label}: at most {most}")>
                    <path class=class d=path />
                </svg>
            </div>
        })
    };
    view! {
        <div class="count-lanes">
            {lane("failed", "count-lane-errors", |step| step.error_count)}
            {lane("spans", "count-lane-calls", |step| step.count)}
        </div>
    }
}

/// The bars of one lane.
struct Lane {
    path: String,
    top: u64,
}

impl Lane {
    /// Draws a bar for each step with spans. Returns `None` when no step has any.
    fn new(
        steps: &[HeatmapStep],
        window: &TimeWindow,
        count: fn(&HeatmapStep) -> u64,
    ) -> Option<Self> {
        use std::fmt::Write as _;

        let top = steps.iter().map(count).max().filter(|top| *top > 0)?;
        // The bars are as wide as the columns of the heatmap above, which are whole steps.
        let buckets = TimeBuckets::from_window(window);
        let width = 860.0 / buckets.count as f64;
        let mut path = String::new();
        for step in steps.iter().filter(|step| count(step) > 0) {
            let left = buckets.fraction(step.start_unix_nano) * 1_000.0;
            let height = (count(step) as f64 / top as f64 * 100.0).max(4.0);
            let _ = write!(path, "M{left:.1} 100v-{height:.1}h{width:.1}V100z");
        }
        Some(Self { path, top })
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{
        DurationNanos, UnixNanos,
        api::{HeatmapStep, TimeWindow},
    };

    use super::{Lane, step_nanos};

    #[test]
    fn columns_have_round_lengths() {
        let lengths = [30, 900, 3_600, 3_601, 86_400].map(|seconds| seconds * 1_000_000_000);
        let steps = lengths.map(step_nanos).map(|nanos| nanos / 1_000_000_000);
        assert_eq!(steps, [1, 15, 60, 120, 1_800]);
        assert_eq!(step_nanos(0), 1_000_000_000);
    }

    #[test]
    fn bars_stand_where_their_steps_began_and_none_where_there_are_no_spans() {
        let window = TimeWindow {
            start_unix_nano: UnixNanos(100),
            end_unix_nano: UnixNanos(200),
            step_nano: DurationNanos(10),
        };
        let step = |start: u64, count: u64, error_count: u64| HeatmapStep {
            start_unix_nano: UnixNanos(start),
            count,
            error_count,
        };
        let steps = [step(100, 4, 0), step(150, 1, 1)];
        let lane = Lane::new(&steps, &window, |step| step.count).unwrap();
        assert_eq!(lane.top, 4);
        assert_eq!(lane.path, "M0.0 100v-100.0h86.0V100zM500.0 100v-25.0h86.0V100z");
        let failed = Lane::new(&steps, &window, |step| step.error_count).unwrap();
        assert_eq!(failed.path, "M500.0 100v-100.0h86.0V100z");
        assert!(Lane::new(&steps[..1], &window, |step| step.error_count).is_none());
    }
}
