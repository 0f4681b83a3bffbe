//! Explore: traces by what one of their spans is like, newest first.
//!
//! Owns the question (filters and range from the address), the pages fetched so far, and when to
//! ask again: every two seconds while live, but never under a reader who points at a row, has
//! one selected or has asked for older pages.

use std::{sync::Arc, time::Duration};

use leptos::{prelude::*, task::spawn_local};
use tidings_proto::{
    TraceId, UnixNanos,
    api::{TraceSearchResult, TraceSummary},
};

use crate::{
    api, browser,
    components::{EmptyState, ErrorState, LoadingRows, PartialNote, use_toasts},
    format,
    keys::use_keys,
    remote::Remote,
    shell::{crumb, set_crumbs, use_live},
    url::{ExploreState, Step, TimeRange, TraceFilters, use_go, use_query},
};

mod field;
pub mod filter_bar;
pub mod scatter;
pub mod trace_table;

use filter_bar::FilterBar;
use scatter::Scatter;
use trace_table::{TraceTable, row_id};

const LIVE_EVERY: Duration = Duration::from_secs(2);

/// What was fetched: the first page, the older ones behind it, and where the next one starts.
#[derive(Debug, Clone, Copy)]
struct Results {
    first: Remote<TraceSearchResult>,
    older: RwSignal<Vec<TraceSummary>>,
    cursor: RwSignal<Option<String>>,
    /// When the first page was asked for: later pages are of the same stretch of time.
    asked_at: StoredValue<UnixNanos>,
    /// What is shown answers an earlier question.
    stale: RwSignal<bool>,
    fetching_older: RwSignal<bool>,
}

/// The page.
#[component]
#[must_use]
pub fn ExplorePage() -> impl IntoView {
    set_crumbs(crumb("Explore"));
    let query = use_query();
    let state = Memo::new(move |_| query.with(ExploreState::read));
    let asked = Memo::new(move |_| state.with(|state| (state.filters.clone(), state.range)));
    let filters = Memo::new(move |_| state.with(|state| state.filters.clone()));
    let selected = Memo::new(move |_| state.with(|state| state.selected));
    let results = fetch(asked);
    let traces = Memo::new(move |_| {
        let first = results.first.value();
        let mut all = first.map(|first| first.traces.clone()).unwrap_or_default();
        results.older.with(|older| all.extend_from_slice(older));
        Arc::new(all)
    });
    let pointed = RwSignal::new(false);
    let held = Memo::new(move |_| {
        pointed.get() || selected.get().is_some() || results.older.with(|older| !older.is_empty())
    });
    refresh_while_live(results, held);
    let go = use_go();
    let open = go.clone();
    let open = Callback::new(move |trace| open(&api::trace_address(trace, None), Step::New));
    bind_keys(state, traces, open);
    let change = Callback::new(move |filters: TraceFilters| {
        let state = ExploreState { filters, selected: None, ..state.get_untracked() };
        go(&state.write().on("/explore"), Step::New);
    });
    view! {
        <div class="page">
            <div class="bar">
                <FilterBar filters on_change=change />
                <Facts results held />
            </div>
            <Trouble results />
            <Show when=move || traces.with(|traces| !traces.is_empty())>
                <div class="card">
                    <Scatter traces />
                </div>
                <div
                    class="card traces-card"
                    class:is-stale=move || results.stale.get()
                    on:pointerenter=move |_| pointed.set(true)
                    on:pointerleave=move |_| pointed.set(false)
                >
                    <TraceTable traces selected on_open=open />
                </div>
                <Older results asked />
            </Show>
            <Nothing results state traces />
        </div>
    }
}

fn fetch(asked: Memo<(TraceFilters, TimeRange)>) -> Results {
    let asked_at = StoredValue::new(UnixNanos(0));
    let first = Remote::new(move || {
        let now = browser::now();
        asked_at.set_value(now);
        asked.with(|(filters, range)| Some(api::traces(filters, *range, now, None)))
    });
    let results = Results {
        first,
        older: RwSignal::new(Vec::new()),
        cursor: RwSignal::new(None),
        asked_at,
        stale: RwSignal::new(false),
        fetching_older: RwSignal::new(false),
    };
    Effect::new(move |_| {
        asked.track();
        results.older.set(Vec::new());
        results.fetching_older.set(false);
        results.stale.set(true);
    });
    Effect::new(move |_| {
        let cursor = first.value().and_then(|first| first.next_cursor.clone());
        let _failed = first.error();
        results.stale.set(false);
        results.cursor.set(cursor);
    });
    results
}

fn fetch_older(results: Results, asked: Memo<(TraceFilters, TimeRange)>) {
    let Some(cursor) = results.cursor.get_untracked() else { return };
    let question = asked.get_untracked();
    let (filters, range) = &question;
    let request = api::traces(filters, *range, results.asked_at.get_value(), Some(&cursor));
    let toasts = use_toasts();
    results.fetching_older.set(true);
    spawn_local(async move {
        let answer = request.send(None).await;
        // The page may be gone, or may ask something else by now.
        if asked.try_get_untracked().as_ref() != Some(&question) {
            return;
        }
        results.fetching_older.set(false);
        match answer {
            Ok(page) => {
                results.older.update(|older| older.extend(page.traces));
                results.cursor.set(page.next_cursor);
            }
            Err(error) => toasts.show(format!("{}. {}", error.title(), error.detail())),
        }
    });
}

fn refresh_while_live(results: Results, held: Memo<bool>) {
    let live = use_live();
    let again = move || {
        if live.get_untracked() && !held.get_untracked() && browser::visible() {
            results.first.refresh_when_idle();
        }
    };
    if let Ok(timer) = set_interval_with_handle(again, LIVE_EVERY) {
        on_cleanup(move || timer.clear());
    }
}

fn bind_keys(
    state: Memo<ExploreState>,
    traces: Memo<Arc<Vec<TraceSummary>>>,
    open: Callback<TraceId>,
) {
    let go = use_go();
    let select = move |selected: Option<TraceId>| {
        let state = ExploreState { selected, ..state.get_untracked() };
        go(&state.write().on("/explore"), Step::Replace);
        if let Some(trace) = selected {
            browser::reveal(&row_id(trace));
        }
    };
    let by = move |step: isize| {
        traces.with_untracked(|traces| {
            let selected = state.with_untracked(|state| state.selected);
            let at = traces.iter().position(|trace| Some(trace.trace_id) == selected);
            let next = at.map_or(0, |at| at.saturating_add_signed(step));
            traces.get(next.min(traces.len().saturating_sub(1))).map(|trace| trace.trace_id)
        })
    };
    let (keys, group) = (use_keys(), "Explore");
    for (key, step) in [("j", 1), ("ArrowDown", 1), ("k", -1), ("ArrowUp", -1)] {
        let select = select.clone();
        let label = if step > 0 { "Next trace" } else { "Previous trace" };
        keys.bind(key, label, group, move || select(by(step)));
    }
    keys.bind("Enter", "Open the trace", group, move || {
        if let Some(trace) = state.with_untracked(|state| state.selected) {
            open.run(trace);
        }
    });
    keys.bind("Escape", "Let go of the trace", group, move || {
        if state.with_untracked(|state| state.selected.is_some()) {
            select(None);
        }
    });
}

/// How many there are, what was read, and whether new ones come by themselves.
#[component]
fn Facts(results: Results, held: Memo<bool>) -> impl IntoView {
    let live = use_live();
    let words = move || {
        results.first.value().map(|found| {
            let searched = found.searched;
            view! {
                <span>{format::total(found.total, "trace")}</span>
                <span
                    class="faint"
                    title=format!("{} opened", format::counted(searched.files, "file"))
                >
                    {format!(
                        "{} read in {}",
                        format::counted(searched.rows, "row"),
                        format::duration(searched.elapsed_nano),
                    )}
                </span>
            }
        })
    };
    let hold = move || (live.get() && held.get()).then_some("live waits while you read");
    view! {
        <div class="facts" role="status">
            <span class="faint">{hold}</span>
            {words}
        </div>
    }
}

/// What is wrong or missing: an error, or a search that stopped early.
#[component]
fn Trouble(results: Results) -> impl IntoView {
    let error = Memo::new(move |_| results.first.error());
    let loading = Memo::new(move |_| results.first.loading());
    let partial =
        Memo::new(move |_| results.first.value().is_some_and(|found| !found.searched.complete));
    let failed = move || {
        let retry = Callback::new(move |()| results.first.refresh());
        error.get().map(|error| view! { <ErrorState error on_retry=retry /> })
    };
    view! {
        {failed}
        <Show when=move || loading.get()>
            <LoadingRows count=12 />
        </Show>
        <Show when=move || partial.get()>
            <PartialNote>
                "The search stopped at its limit of rows: older traces may match too. \
                 Narrow the time range or add a filter."
            </PartialNote>
        </Show>
    }
}

#[component]
fn Older(results: Results, asked: Memo<(TraceFilters, TimeRange)>) -> impl IntoView {
    let more = Memo::new(move |_| results.cursor.with(Option::is_some));
    view! {
        <Show when=move || more.get()>
            <div class="older">
                <button
                    class="button"
                    type="button"
                    disabled=move || results.fetching_older.get()
                    on:click=move |_| fetch_older(results, asked)
                >
                    {move || if results.fetching_older.get() { "Loading…" } else { "Load older traces" }}
                </button>
            </div>
        </Show>
    }
}

/// Nothing found: which of filters and time range could be the reason, each to be lifted.
#[component]
fn Nothing(
    results: Results,
    state: Memo<ExploreState>,
    traces: Memo<Arc<Vec<TraceSummary>>>,
) -> impl IntoView {
    let empty = Memo::new(move |_| {
        results.first.value().is_some()
            && results.first.error().is_none()
            && traces.with(|traces| traces.is_empty())
    });
    let body = move || {
        let state = state.get();
        let unfiltered = ExploreState { filters: TraceFilters::default(), ..state.clone() };
        let unbounded = ExploreState { range: TimeRange::All, ..state.clone() };
        let no_filters = (!state.filters.is_empty()).then(|| {
            let href = unfiltered.write().on("/explore");
            view! { <a class="button" href=href>"Take the filters off"</a> }
        });
        let no_range = (state.range != TimeRange::All).then(|| {
            let href = unbounded.write().on("/explore");
            view! { <a class="button" href=href>"Look at all time"</a> }
        });
        view! {
            <EmptyState title="No traces match">
                <p>"No span in this time range is like that."</p>
                <div class="state-actions">
                    {no_filters} {no_range} <a class="button" href="/connect">"Connect a sender"</a>
                </div>
            </EmptyState>
        }
    };
    view! { <Show when=move || empty.get()>{body}</Show> }
}
