//! Logs: records by their words, service, severity and trace, newest first.
//!
//! Owns the question (from the address), the pages fetched so far, and when to ask again: every
//! two seconds while live, but never under a reader who points at the list, has a record open or
//! has asked for older pages.

use std::{sync::Arc, time::Duration};

use leptos::{prelude::*, task::spawn_local};
use tidings_proto::{
    UnixNanos,
    api::{LogSearchResult, LogView},
};

use crate::{
    api, browser,
    components::{EmptyState, ErrorState, LoadingRows, PartialNote, use_toasts},
    format,
    keys::use_keys,
    remote::Remote,
    shell::{crumb, set_crumbs, use_live},
    url::{LogState, Step, TimeRange, use_go, use_query},
};

pub mod log_filters;
pub mod log_list;

use log_filters::LogFilters;
use log_list::{LogList, row_id};

const LIVE_EVERY: Duration = Duration::from_secs(2);

/// What was fetched: the first page, the older ones behind it, and where the next one starts.
#[derive(Debug, Clone, Copy)]
struct Results {
    first: Remote<LogSearchResult>,
    older: RwSignal<Vec<LogView>>,
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
pub fn LogsPage() -> impl IntoView {
    set_crumbs(crumb("Logs"));
    let query = use_query();
    let state = Memo::new(move |_| query.with(LogState::read));
    let asked = Memo::new(move |_| state.with(LogState::closed));
    let open = Memo::new(move |_| state.with(|state| state.open.clone()));
    let results = fetch(asked);
    let logs = Memo::new(move |_| {
        let first = results.first.value();
        let mut all = first.map(|first| first.logs.clone()).unwrap_or_default();
        results.older.with(|older| all.extend_from_slice(older));
        Arc::new(all)
    });
    let pointed = RwSignal::new(false);
    let held = Memo::new(move |_| {
        let paged = results.older.with(|older| !older.is_empty());
        pointed.get() || paged || open.with(Option::is_some)
    });
    refresh_while_live(results, held);
    let go = use_go();
    let change = Callback::new(move |(state, step): (LogState, Step)| {
        go(&state.write().on("/logs"), step);
    });
    bind_keys(state, logs, change);
    let toggle = Callback::new(move |id: String| {
        let state = state.get_untracked();
        let open = (state.open.as_ref() != Some(&id)).then_some(id);
        change.run((LogState { open, ..state }, Step::Replace));
    });
    view! {
        <div class="page">
            <div class="bar">
                <LogFilters state=asked on_change=change />
                <Facts results held />
            </div>
            <Trouble results />
            <Show when=move || logs.with(|logs| !logs.is_empty())>
                <div
                    class="card logs-card"
                    class:is-stale=move || results.stale.get()
                    on:pointerenter=move |_| pointed.set(true)
                    on:pointerleave=move |_| pointed.set(false)
                >
                    <LogList logs open on_toggle=toggle />
                </div>
                <Older results asked />
            </Show>
            <Nothing results asked logs />
        </div>
    }
}

fn fetch(asked: Memo<LogState>) -> Results {
    let asked_at = StoredValue::new(UnixNanos(0));
    let first = Remote::new(move || {
        let now = browser::now();
        asked_at.set_value(now);
        asked.with(|state| Some(api::logs(state, now, None)))
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

fn fetch_older(results: Results, asked: Memo<LogState>) {
    let Some(cursor) = results.cursor.get_untracked() else { return };
    let question = asked.get_untracked();
    let request = api::logs(&question, results.asked_at.get_value(), Some(&cursor));
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
                results.older.update(|older| older.extend(page.logs));
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
    state: Memo<LogState>,
    logs: Memo<Arc<Vec<LogView>>>,
    change: Callback<(LogState, Step)>,
) {
    let open = move |open: Option<String>| {
        let shown = open.clone();
        change.run((LogState { open, ..state.get_untracked() }, Step::Replace));
        if let Some(id) = shown {
            browser::reveal(&row_id(&id));
        }
    };
    let by = move |step: isize| {
        logs.with_untracked(|logs| {
            let now = state.with_untracked(|state| state.open.clone());
            let at = logs.iter().position(|log| Some(&log.id) == now.as_ref());
            let next = at.map_or(0, |at| at.saturating_add_signed(step));
            logs.get(next.min(logs.len().saturating_sub(1))).map(|log| log.id.clone())
        })
    };
    let (keys, group) = (use_keys(), "Logs");
    keys.bind("j", "Open the next record", group, move || open(by(1)));
    keys.bind("k", "Open the previous record", group, move || open(by(-1)));
    keys.bind("Escape", "Close the record", group, move || {
        if state.with_untracked(|state| state.open.is_some()) {
            open(None);
        }
    });
    let go = use_go();
    keys.bind("Enter", "Go to the record's trace", group, move || {
        let address = logs.with_untracked(|logs| {
            let now = state.with_untracked(|state| state.open.clone())?;
            logs.iter().find(|log| log.id == now).and_then(api::log_trace_address)
        });
        if let Some(address) = address {
            go(&address, Step::New);
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
            let read = format!(
                "{} read in {}",
                format::counted(searched.rows, "row"),
                format::duration(searched.elapsed_nano)
            );
            view! {
                <span>{format::total(found.total, "record")}</span>
                <span class="faint">{read}</span>
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
            <LoadingRows count=16 />
        </Show>
        <Show when=move || partial.get()>
            <PartialNote>
                "The search stopped at its limit of rows: older records may match too. \
                 Narrow the time range or add a filter."
            </PartialNote>
        </Show>
    }
}

#[component]
fn Older(results: Results, asked: Memo<LogState>) -> impl IntoView {
    let more = Memo::new(move |_| results.cursor.with(Option::is_some));
    let words =
        move || if results.fetching_older.get() { "Loading…" } else { "Load older records" };
    view! {
        <Show when=move || more.get()>
            <div class="older">
                <button
                    class="button"
                    type="button"
                    disabled=move || results.fetching_older.get()
                    on:click=move |_| fetch_older(results, asked)
                >
                    {words}
                </button>
            </div>
        </Show>
    }
}

/// Nothing found: which of filters and time range could be the reason, each to be lifted.
#[component]
fn Nothing(
    results: Results,
    asked: Memo<LogState>,
    logs: Memo<Arc<Vec<LogView>>>,
) -> impl IntoView {
    let empty = Memo::new(move |_| {
        results.first.value().is_some()
            && results.first.error().is_none()
            && logs.with(|logs| logs.is_empty())
    });
    let body = move || {
        let state = asked.get();
        let unfiltered = LogState { range: state.range, ..LogState::default() };
        let no_filters = (state != unfiltered).then(|| {
            let href = unfiltered.write().on("/logs");
            view! { <a class="button" href=href>"Take the filters off"</a> }
        });
        let unbounded = LogState { range: TimeRange::All, ..state.clone() };
        let no_range = (state.range != TimeRange::All).then(|| {
            let href = unbounded.write().on("/logs");
            view! { <a class="button" href=href>"Look at all time"</a> }
        });
        view! {
            <EmptyState title="No log records match">
                <p>"No record in this time range is like that."</p>
                <div class="state-actions">
                    {no_filters} {no_range} <a class="button" href="/connect">"Connect a sender"</a>
                </div>
            </EmptyState>
        }
    };
    view! { <Show when=move || empty.get()>{body}</Show> }
}
