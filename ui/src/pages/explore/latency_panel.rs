//! Durations over time of the spans that the filters find, with a box to be drawn; below it counts
//! and failures, each on its own scale.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::api::{CallsInStep, Heatmap, RedResult, StatusName, TimeWindow};

use super::{Explored, compare_box::compare_switch};
use crate::{
    api::analysis::{Analysis, heatmap, red},
    asked::{incomplete, use_asked_time},
    components::Panel,
    drawings::{
        axis::ROUND_SECONDS,
        heatmap::{HeatmapDrawing, HeatmapState},
    },
    format,
    links::HeatmapBox,
    remote::Remote,
    url::{TimeRange, use_query},
    window::Window,
};

/// Columns of the heatmap.
const COLUMNS_MAX: u64 = 60;

/// The panel with the heatmap and the counts below it.
pub(super) fn latency_panel(
    explored: Explored,
    drawing: HeatmapState,
    held: Memo<bool>,
) -> impl IntoView {
    let time = use_asked_time();
    let filters = Memo::new(move |_| explored.state.with(|state| state.filters.clone()));
    let query = use_query();
    let asked = move || time.analysis().with_filters(&filters.get());
    let window = move || Window::new(query.with(TimeRange::read), time.now());
    let answer = Remote::new(move || Some(heatmap(&with_columns(asked(), window()))));
    // The steps of both answers are the same.
    let step = Memo::new(move |_| answer.value().map(|heatmap| heatmap.window.step_nano.0));
    let counts = Remote::<RedResult>::new(move || {
        let with_step: Analysis = asked().with("by", "status").with("step", step.get()?);
        Some(red(&with_step))
    });
    time.refresh_while_live(move || {
        held.get() || drawing.is_busy() || answer.pending() || counts.pending()
    });
    let chosen = Memo::new(move |_| explored.state.with(|state| state.chosen));
    let choose = Callback::new(move |chosen: Option<HeatmapBox>| {
        explored.choose(chosen, untrack(|| time.now()));
    });
    let note = move || {
        let without = filters.with(|filters| !filters.without.is_empty());
        let counted = answer.value().map(|heatmap| format::counted(heatmap.count, "span"));
        let counted = counted.unwrap_or_default();
        match (chosen.get(), without) {
            (_, true) => format!("{counted}; what is excluded is still in the picture"),
            (None, false) => format!("{counted}; drag a box to explain it"),
            (Some(_), false) => counted,
        }
    };
    let draw = move |heatmap: Arc<Heatmap>| {
        let window = heatmap.window;
        view! {
            <HeatmapDrawing
                heatmap
                state=drawing
                chosen
                on_choose=choose
                label="Durations of spans over time"
            />
            {move || counts.value().map(|counts| lanes(&counts, window))}
        }
    };
    let tools = move || {
        chosen.get().map(|_| {
            view! {
                {compare_switch()}
                <button class="button" type="button" on:click=move |_| explored.drop_box()>
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
                remote=answer
                is_empty=|heatmap| heatmap.cells.is_empty()
                missing=missing
                empty="No span like that has ended in this time."
                rows=5
                draw=draw
            />
        </div>
    }
}

/// The question with the step that gives the heatmap its columns; without a begin the API's.
fn with_columns(asked: Analysis, window: Window) -> Analysis {
    let length = window.bounds().map(|(start, end)| end.since(start).0);
    asked.with_some("step", length.map(step_nanos))
}

/// The shortest round step of which a length of time has no more than [`COLUMNS_MAX`].
fn step_nanos(length: u64) -> u64 {
    let round = ROUND_SECONDS.into_iter().map(|seconds| seconds * 1_000_000_000);
    let least = length.div_ceil(COLUMNS_MAX).max(1);
    round.into_iter().find(|step| *step >= least).unwrap_or(least)
}

fn missing(heatmap: &Heatmap) -> Option<String> {
    incomplete(&heatmap.searched)
}

/// Spans by step, those that failed above on a scale of their own.
fn lanes(counts: &RedResult, window: TimeWindow) -> impl IntoView + use<> {
    let steps = |failed: bool| {
        let groups = counts.groups.iter();
        groups.filter(move |group| (group.status == Some(StatusName::Error)) == failed)
    };
    let errors: Vec<&[CallsInStep]> = steps(true).map(|group| &group.steps[..]).collect();
    let others: Vec<&[CallsInStep]> = steps(false).map(|group| &group.steps[..]).collect();
    let error_count: u64 = steps(true).map(|group| group.count).sum();
    let seconds = window.step_nano.0 as f64 / 1e9;
    let per = |count: u64| format!("{} in {}", format::count(count), step_words(seconds));
    let lane = |label: &'static str, class: &'static str, groups: &[&[CallsInStep]]| {
        let Lane { path, top } = Lane::new(groups, window);
        view! {
            <div class="count-lane">
                <span class="count-lane-label">{format!("{label}, most {}", per(top))}</span>
                <svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" aria-label=format!("{label}: at most {}", per(top))>
                    <path class=class d=path />
                </svg>
            </div>
        }
    };
    let failed = (error_count > 0).then(|| lane("failed", "count-lane-errors", &errors));
    view! {
        <div class="count-lanes">
            {failed}
            {lane("spans", "count-lane-calls", &others)}
        </div>
    }
}

fn step_words(seconds: f64) -> String {
    let nanos = format::rates::whole(seconds * 1e9);
    format::length(tidings_proto::DurationNanos(nanos))
}

/// Bars of one lane: groups stand on each other.
struct Lane {
    path: String,
    top: u64,
}

impl Lane {
    fn new(groups: &[&[CallsInStep]], window: TimeWindow) -> Self {
        use std::{collections::BTreeMap, fmt::Write as _};

        let mut stacked: BTreeMap<u64, u64> = BTreeMap::new();
        for step in groups.iter().copied().flatten() {
            *stacked.entry(step.start_unix_nano.0).or_default() += step.count;
        }
        let top = stacked.values().copied().max().unwrap_or(0);
        let step = window.step_nano.0.max(1);
        let start = window.start_unix_nano.0 / step * step;
        let length = window.end_unix_nano.0.saturating_sub(start).max(step);
        let across = |nanos: u64| nanos as f64 / length as f64 * 1_000.0;
        let width = across(step) * 0.86;
        let mut path = String::new();
        for (at, count) in stacked {
            let left = across(at.saturating_sub(start));
            let height = (count as f64 / top.max(1) as f64 * 100.0).max(4.0);
            let _ = write!(path, "M{left:.1} 100v-{height:.1}h{width:.1}V100z");
        }
        Self { path, top }
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{
        DurationNanos, UnixNanos,
        api::{CallsInStep, LatencyStats, TimeWindow},
    };

    use super::{Lane, step_nanos};

    fn step(start: u64, count: u64) -> CallsInStep {
        CallsInStep {
            start_unix_nano: UnixNanos(start),
            count,
            error_count: 0,
            duration: LatencyStats::default(),
            slowest: None,
            failed: None,
        }
    }

    #[test]
    fn columns_have_round_lengths() {
        let lengths = [30, 900, 3_600, 3_601, 86_400].map(|seconds| seconds * 1_000_000_000);
        let steps = lengths.map(step_nanos).map(|nanos| nanos / 1_000_000_000);
        assert_eq!(steps, [1, 15, 60, 120, 1_800]);
        assert_eq!(step_nanos(0), 1_000_000_000);
    }

    #[test]
    fn groups_stand_on_each_other_and_steps_where_they_began() {
        let window = TimeWindow {
            start_unix_nano: UnixNanos(100),
            end_unix_nano: UnixNanos(200),
            step_nano: DurationNanos(10),
        };
        let (ok, unset) = ([step(100, 3), step(150, 1)], [step(100, 1)]);
        let lane = Lane::new(&[&ok, &unset], window);
        assert_eq!(lane.top, 4);
        assert_eq!(lane.path, "M0.0 100v-100.0h86.0V100zM500.0 100v-25.0h86.0V100z");
        assert_eq!(Lane::new(&[], window).path, "");
    }
}
