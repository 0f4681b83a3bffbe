//! Examples: slow, failed and typical transactions, with links.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos,
    api::{TraceSearchResult, TraceSummary},
};

use super::TypePage;
use crate::{
    addresses,
    api::{self, trace_sets},
    browser,
    components::{AddressSegments, StateBadge, StripPart, TimeStrip, WatchedRequest, use_choice},
    format, number_format,
    request_state::RequestState,
    url::{History, use_navigation},
};

/// Number of examples of each kind, where there are several kinds.
const OF_EACH: usize = 3;
/// Number of examples where only one kind is shown.
const OF_ONE: usize = 12;

const KINDS: &[(&str, &str)] =
    &[("each", "Of each"), ("slow", "Slowest"), ("failed", "Failed"), ("typical", "Typical")];

/// The panel.
pub(super) fn examples(page: TypePage) -> impl IntoView {
    let shown = use_choice("examples", KINDS);
    let ask =
        move |filter: fn(TypePage, api::analysis::Analysis) -> Option<api::analysis::Analysis>| {
            page.window.request_slowly(move |window| {
                let analysis = page.name.with(|name| name.filter(window.analysis()));
                let analysis = filter(page, analysis)?.with("limit", 40);
                Some(trace_sets::trace_sample(&analysis))
            })
        };
    let slow = ask(|page, analysis| {
        Some(analysis.with("minDuration", page.slow_from()?.0).with("sort", "duration"))
    });
    let failed = ask(|_, analysis| Some(analysis.with("status", "error")));
    let typical = ask(|page, analysis| {
        let p50 = page.median()?.0;
        let around = p50 / 20;
        Some(
            analysis
                .with("minDuration", p50.saturating_sub(around))
                .with("maxDuration", p50.saturating_add(around)),
        )
    });
    let kinds = [("slow", slow), ("failed", failed), ("typical", typical)];
    let rows = move || {
        let shown = shown.get();
        let listed = kinds.into_iter().filter(|(kind, _)| shown == "each" || shown == *kind);
        let at_most = if shown == "each" { OF_EACH } else { OF_ONE };
        listed
            .flat_map(|(kind, state)| {
                let rows = of_type(page, state, at_most);
                rows.into_iter().map(move |trace| (kind, trace)).collect::<Vec<_>>()
            })
            .collect::<Vec<_>>()
    };
    let watched = [
        page.watched_measures(),
        WatchedRequest::new("The slowest examples are not known", slow),
        WatchedRequest::new("The failed examples are not known", failed),
        WatchedRequest::new("The typical examples are not known", typical),
    ];
    let loading = move || kinds.iter().any(|(_, state)| state.loading());
    // Rows move down when examples of an earlier kind arrive.
    let waits = move || kinds.iter().any(|(_, state)| state.pending());
    let body = move || {
        let rows = rows();
        if rows.is_empty() {
            if watched.into_iter().any(WatchedRequest::has_failed) {
                return ().into_any();
            }
            let words =
                if loading() { "Looking for examples…" } else { "There are none in this time." };
            return view! { <p class="panel-empty" role="status">{words}</p> }.into_any();
        }
        example_table(rows).into_any()
    };
    view! {
        <section class="card panel" aria-label="Examples">
            <div class="panel-head">
                <h2>"Examples"</h2>
                // The facts above, and the calls beside it, may count from a change.
                <span class="mute">"of the whole range"</span>
                <span class="panel-tools">
                    <AddressSegments name="examples" offered=KINDS label="Which examples" />
                </span>
            </div>
            {watched.map(WatchedRequest::note)}
            <div class="panel-body" class:is-stale=waits>{body}</div>
        </section>
    }
}

/// The rows, each with its kind. The length of a strip is the duration.
fn example_table(rows: Vec<(&'static str, TraceSummary)>) -> impl IntoView {
    let longest = rows.iter().map(|(_, trace)| trace.duration_nano).max().unwrap_or_default();
    let rows = rows.into_iter().map(|(kind, trace)| view! { <Example kind trace longest /> });
    view! {
        <table class="table" aria-label="Examples">
            <thead>
                <tr>
                    <th scope="col">"Example"</th>
                    <th scope="col">"Started"</th>
                    <th scope="col">"State"</th>
                    <th scope="col" class="num">"Duration"</th>
                    <th scope="col" class="example-strip">"Where the time went"</th>
                    <th scope="col" class="num">"Errors"</th>
                    <th scope="col"><span class="hidden">"Compare"</span></th>
                </tr>
            </thead>
            <tbody>{rows.collect_view()}</tbody>
        </table>
    }
}

/// Returns the first traces of a list that are of the type.
fn of_type(
    page: TypePage,
    state: RequestState<TraceSearchResult>,
    at_most: usize,
) -> Vec<TraceSummary> {
    let Some(answer): Option<Arc<TraceSearchResult>> = state.value() else { return Vec::new() };
    page.name.with(|name| {
        let of_type = answer.traces.iter().filter(|trace| name.has_trace(trace));
        of_type.take(at_most).cloned().collect()
    })
}

#[component]
fn Example(kind: &'static str, trace: TraceSummary, longest: DurationNanos) -> impl IntoView {
    let address = api::trace_address(trace.trace_id, None);
    let start = trace.start_unix_nano;
    let started = format::when(start, browser::now(), browser::zone_minutes(start));
    let parts = trace
        .services
        .iter()
        .flat_map(|one| StripPart::of_service(one, one.critical_share))
        .collect::<Vec<_>>();
    let width = number_format::ratio(trace.duration_nano.0, longest.0) * 100.0;
    let go = use_navigation();
    let row_address = address.clone();
    let errors = trace.error_count;
    view! {
        <tr class="row-link" on:click=move |_| go(&row_address, History::Push)>
            <td class="mute">{kind}</td>
            <td><a class="mono" href=address>{started}</a></td>
            <td><StateBadge state=trace.state /></td>
            <td class="num">{format::duration(trace.duration_nano)}</td>
            <td class="example-strip">
                <div style=("width", format!("{width:.1}%"))>
                    <TimeStrip parts />
                </div>
            </td>
            <td class="num" class:is-worse=errors != 0>{format::count(errors)}</td>
            <td>
                <a
                    class="difference-link"
                    href=addresses::compare(trace.trace_id, None)
                    on:click=|event| event.stop_propagation()
                >
                    "compare"
                </a>
            </td>
        </tr>
    }
}
