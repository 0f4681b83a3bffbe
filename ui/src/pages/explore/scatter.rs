//! The listed traces by when and how long: the picture for queries in TraceQL, which the heatmap
//! cannot be asked for.

use std::sync::Arc;

use leptos::prelude::*;
use leptos_router::components::A;
use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{TraceSummary, TransactionState},
};

use crate::{
    api,
    api::explored_traces::ExploredTrace,
    browser,
    drawings::axis::{labels_below, time_ticks},
    format,
};

/// Dots that are drawn; more overlap.
const DOTS_MAX: usize = 1_000;

/// Where a trace stands, in percent of the plot, and how it is drawn.
#[derive(Debug, Clone, PartialEq)]
struct Dot {
    left: f64,
    bottom: f64,
    failed: bool,
    href: String,
    words: String,
}

/// The plot's dots and the durations of its lower and upper edge.
#[derive(Debug, Clone, PartialEq)]
struct Plot {
    dots: Vec<Dot>,
    shortest: DurationNanos,
    longest: DurationNanos,
    first: UnixNanos,
    last: UnixNanos,
}

/// Durations stand on a logarithmic scale, so that one slow trace does not flatten the others.
fn plot(traces: &[ExploredTrace]) -> Option<Plot> {
    let shown: Vec<&TraceSummary> =
        traces.iter().take(DOTS_MAX).map(|found| &found.trace).collect();
    let starts = || shown.iter().map(|trace| trace.start_unix_nano.0);
    let lengths = || shown.iter().map(|trace| trace.duration_nano.0.max(1));
    let (first, last) = (starts().min()?, starts().max()?);
    let (shortest, longest) = (lengths().min()?, lengths().max()?);
    let place = |value: f64, low: f64, high: f64| {
        if high > low { (value - low) / (high - low) * 100.0 } else { 50.0 }
    };
    let log = |nanos: u64| (nanos as f64).ln();
    let dot = |trace: &TraceSummary| Dot {
        left: place((trace.start_unix_nano.0 - first) as f64, 0.0, (last - first) as f64),
        bottom: place(log(trace.duration_nano.0.max(1)), log(shortest), log(longest)),
        failed: trace.state == TransactionState::Failed,
        href: api::trace_address(trace.trace_id, None),
        words: format!("{}, {}", trace.root_operation, format::duration(trace.duration_nano)),
    };
    Some(Plot {
        dots: shown.iter().copied().map(dot).collect(),
        shortest: DurationNanos(shortest),
        longest: DurationNanos(longest),
        first: UnixNanos(first),
        last: UnixNanos(last),
    })
}

/// The plot.
#[component]
#[must_use]
pub fn Scatter(
    /// Traces to plot.
    #[prop(into)]
    traces: Signal<Arc<Vec<ExploredTrace>>>,
) -> impl IntoView {
    let dot = |Dot { left, bottom, failed, href, words }: Dot| {
        // The table has the same links for the keyboard.
        view! {
            <A href=href attr:class="scatter-link" attr:tabindex="-1" attr:title=words.clone()>
                <span
                    class="scatter-dot"
                    class:is-error=failed
                    style=("left", format!("{left:.2}%"))
                    style=("bottom", format!("{bottom:.2}%"))
                ></span>
            </A>
        }
    };
    let drawn = move || {
        let Plot { dots, shortest, longest, first, last } = traces.with(|traces| plot(traces))?;
        let note = format!("The {} below", format::counted(dots.len() as u64, "trace"));
        let ticks = time_ticks(first, last, browser::zone_minutes(first), 8);
        Some(view! {
            <div class="scatter-scale mono faint">
                <span>{format::duration(longest)}</span>
                <span>{format::duration(shortest)}</span>
            </div>
            <div class="scatter-field" title=note.clone()>
                {dots.into_iter().map(dot).collect_view()}
            </div>
            <div class="heat-times mono">{labels_below(ticks)}</div>
            <p class="scatter-note mute">{note}", failed ones as squares"</p>
        })
    };
    view! {
        <div class="scatter" aria-hidden="true">
            {drawn}
        </div>
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{DurationNanos, TraceId, UnixNanos};

    use super::{ExploredTrace, TraceSummary, TransactionState, plot};

    fn trace(start: u64, duration: u64) -> TraceSummary {
        TraceSummary {
            trace_id: TraceId::from_bytes([1; 16]).unwrap(),
            complete: true,
            state: TransactionState::Completed,
            start_unix_nano: UnixNanos(start),
            end_unix_nano: UnixNanos(start + duration),
            duration_nano: DurationNanos(duration),
            root_service: "shop".to_owned(),
            root_operation: "buy".to_owned(),
            has_root: true,
            span_count: 1,
            error_count: 0,
            problem_count: 0,
            services: Vec::new(),
        }
    }

    #[test]
    fn the_slowest_stands_at_the_top_and_the_newest_at_the_right() {
        let plot = plot(&[trace(20, 1_000), trace(10, 10), trace(0, 100)].map(ExploredTrace::from))
            .unwrap();
        let places: Vec<_> =
            plot.dots.iter().map(|dot| (dot.left.round(), dot.bottom.round())).collect();
        assert_eq!(places, [(100.0, 100.0), (50.0, 0.0), (0.0, 50.0)]);
    }

    #[test]
    fn only_failed_traces_look_so() {
        let completed = TraceSummary { error_count: 3, ..trace(1, 1) };
        let failed = TraceSummary { state: TransactionState::Failed, ..trace(2, 1) };
        let plot = plot(&[completed.into(), failed.into()]).unwrap();
        assert_eq!(plot.dots.iter().map(|dot| dot.failed).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn one_trace_and_none_are_drawn() {
        let one = plot(&[trace(5, 0).into()]).unwrap();
        assert_eq!((one.dots[0].left, one.dots[0].bottom), (50.0, 50.0));
        assert_eq!(plot(&[]), None);
    }
}
