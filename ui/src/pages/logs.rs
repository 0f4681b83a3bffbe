//! Logs: records by query, service, severity and trace; newest first, as patterns, or as
//! differences from the baseline.
//!
//! Owns the query (from the address) and the keys. New records appear by themselves, and at once
//! while the tail is on. They wait while the reader points at the list, has text of it selected,
//! has a record open or has loaded older pages. The chart and the values at the side are counted
//! again every ten seconds, also during a tail, whose total is that of the chart.

use std::sync::Arc;

use leptos::prelude::*;
use serde::de::DeserializeOwned;
use tidings_proto::api::{LogHistogram, LogSearchResult, LogView, Total, TotalRelation};

use crate::{
    api::{
        self, Request,
        analysis::{Analysis, log_histogram},
    },
    browser, colour,
    components::{EmptyState, Segment, Segments},
    format,
    page_time::{PageTime, use_page_time},
    paged_list::{ListNotices, ListQuery, ListStatus, OlderButton, PagedList},
    request_state::RequestState,
    server_watch::log_gap_line,
    shell::{crumb, remember_list, set_crumbs},
    shortcuts::use_shortcuts,
    url::{History, LogListing, LogState, TimeRange, UrlQuery, use_navigation, use_query},
};

pub mod differences;
pub mod facet_numbers;
pub mod facets;
pub mod histogram;
pub mod live_tail;
pub mod log_around;
pub mod log_details;
pub mod log_filters;
pub mod log_list;
mod message_fields;
pub mod mini_trace;
pub mod patterns;
mod query_terms;

use differences::LogDifferences;
use facets::Facets;
use histogram::{LogHistogramCard, StepSelection};
use live_tail::{Tail, TailNote, TailToggle, use_tailing};
use log_filters::LogFilters;
use log_list::{LinkedRecord, LogList, row_id};
use patterns::LogPatterns;

impl ListQuery for LogState {
    fn range(&self) -> TimeRange {
        self.range
    }
}

/// The page.
#[component]
#[must_use]
pub fn LogsPage() -> impl IntoView {
    set_crumbs(crumb("Logs"));
    let query = use_query();
    let state = Memo::new(move |_| query.with(LogState::read));
    remember_list("/logs", query);
    let asked = Memo::new(move |_| state.with(LogState::without_open_record));
    let filters = Memo::new(move |_| state.with(|state| state.with_open_record(None)));
    let open = Memo::new(move |_| state.with(|state| state.open.clone()));
    let listing = Memo::new(move |_| state.with(|state| state.view));
    let paged: PagedList<LogSearchResult, LogState> = PagedList::new(asked, api::logs);
    let time = use_page_time();
    let pointed = RwSignal::new(false);
    // Rows must not move while they are read or copied.
    let selecting = browser::use_text_selected();
    let read = Memo::new(move |_| pointed.get() || selecting.get() || open.with(Option::is_some));
    let held = Memo::new(move |_| read.get() || paged.has_older());
    let tailing = use_tailing();
    let tail = Tail::new(tailing, asked, read, move || paged.refresh());
    let histogram = use_refreshed_analysis(time, move |analysis| {
        log_histogram(&asked.with(|state| analysis.with_log_filters(state)))
    });
    let (walked, choosing) = (RwSignal::new(StepSelection::None), RwSignal::new(false));
    time.refresh_while_live(move || selecting.get() || choosing.get() || walked.get().is_some());
    let logs = tail.above(paged.items());
    let logs = Memo::new(move |_| {
        let logs = logs.get();
        colour::assign_shades(logs.iter().map(|log| log.service.as_str()));
        logs
    });
    paged.refresh_while_live(Memo::new(move |_| held.get() || tailing.get()));
    let change = use_change(query);
    bind_keys(state, logs, change, move || paged.stop());
    show_linked_record(state, paged, logs);
    let is_lines = Memo::new(move |_| listing.get() == LogListing::Lines);
    view! {
        <div class="page logs-page">
            <div class="bar">
                <LogFilters state=filters on_change=change />
                <div class="logs-tools">
                    <LogFacts paged held tail histogram is_lines />
                    <ListingSwitch state change />
                    <TailToggle />
                </div>
            </div>
            {log_gap_line()}
            <TailNote tail />
            <LogHistogramCard answer=histogram walked />
            <div class="logs-body">
                <Facets state=filters time reading=choosing on_change=change />
                <div class="logs-main">
                    <Show
                        when=move || is_lines.get()
                        fallback=move || if listing.get() == LogListing::Differences {
                            view! { <LogDifferences list_query=filters time open change /> }.into_any()
                        } else {
                            view! { <LogPatterns list_query=filters time open change /> }.into_any()
                        }
                    >
                        <Lines paged logs state pointed change />
                        <EmptyLogList paged logs asked />
                    </Show>
                </div>
            </div>
        </div>
    }
}

/// The total: that of the search of lines, or that of the chart once a tail has changed the list and
/// in views that read no lines.
#[component]
fn LogFacts(
    paged: PagedList<LogSearchResult, LogState>,
    held: Memo<bool>,
    tail: Tail,
    histogram: RequestState<LogHistogram>,
    is_lines: Memo<bool>,
) -> impl IntoView {
    let is_counted = Memo::new(move |_| tail.is_shown() || !is_lines.get());
    view! {
        <Show when=move || is_counted.get() fallback=move || view! { <ListStatus paged held /> }>
            <div class="facts" role="status">
                {move || histogram.value().map(|histogram| counted_text(&histogram))}
            </div>
        </Show>
    }
}

/// The records as lines, with the one that the address names and the state of the search.
#[component]
fn Lines(
    paged: PagedList<LogSearchResult, LogState>,
    logs: Memo<Arc<Vec<LogView>>>,
    state: Memo<LogState>,
    /// Set while the pointer is on the list.
    pointed: RwSignal<bool>,
    change: Callback<(LogState, History)>,
) -> impl IntoView {
    view! {
        <LinkedRecord state logs ready=paged change />
        <ListNotices paged />
        <Show when=move || logs.with(|logs| !logs.is_empty())>
            <div
                class="card logs-card"
                class:is-stale=move || paged.stale()
                on:pointerenter=move |_| pointed.set(true)
                on:pointerleave=move |_| pointed.set(false)
            >
                <LogList logs state change />
            </div>
            <OlderButton paged />
        </Show>
    }
}

/// Requests an analysis of the matching records now, whenever a signal that `request` reads
/// changes, and whenever the page's time advances. The latter waits while the last request is in
/// progress.
fn use_refreshed_analysis<T: DeserializeOwned + Send + Sync + 'static>(
    time: PageTime,
    request: impl Fn(Analysis) -> Request<T> + 'static,
) -> RequestState<T> {
    use_analysis_while(time, || true, request)
}

/// Requests an analysis as [`use_refreshed_analysis`] does, but none while `is_needed` is false. It
/// is requested when the signals that `is_needed` reads make it true.
fn use_analysis_while<T: DeserializeOwned + Send + Sync + 'static>(
    time: PageTime,
    is_needed: impl Fn() -> bool + 'static,
    request: impl Fn(Analysis) -> Request<T> + 'static,
) -> RequestState<T> {
    let state =
        RequestState::new(move || is_needed().then(|| request(untrack(|| time.analysis()))));
    Effect::new(move |_| {
        let _advanced = time.now();
        state.refresh_when_idle();
    });
    state
}

/// Returns the number of records in the chart, and the moment of the count.
fn counted_text(histogram: &LogHistogram) -> String {
    let is_complete = histogram.searched.complete;
    let relation = if is_complete { TotalRelation::Exact } else { TotalRelation::AtLeast };
    let end = histogram.window.end_unix_nano;
    let moment = format::time_of_day(end, browser::zone_minutes(end));
    // Milliseconds say nothing here.
    let moment = moment.get(..8).unwrap_or(&moment);
    let total = format::total(Total { value: histogram.count, relation }, "record");
    format!("{total} in the chart, as of {moment}")
}

/// Returns a callback that changes the state. Other parameters of the address, as switches and
/// facets, stay.
fn use_change(query: Memo<UrlQuery>) -> Callback<(LogState, History)> {
    let go = use_navigation();
    Callback::new(move |(state, history): (LogState, History)| {
        let address = query.with_untracked(|query| {
            let mut next = state.write().with_switches_of(query);
            for name in ["facet", "sort", "json"] {
                query.all(name).for_each(|value| next.push(name, value));
            }
            next
        });
        go(&address.on("/logs"), history);
    })
}

/// The switch between lines, patterns and differences.
#[component]
fn ListingSwitch(state: Memo<LogState>, change: Callback<(LogState, History)>) -> impl IntoView {
    const LISTINGS: [(LogListing, &str, &str); 3] = [
        (LogListing::Lines, "lines", "Lines"),
        (LogListing::Patterns, "patterns", "Patterns"),
        (LogListing::Differences, "differences", "Differences"),
    ];
    let place = move |state: &LogState| {
        LISTINGS.iter().position(|(listing, ..)| *listing == state.view).unwrap_or(0)
    };
    let chosen = move || LISTINGS[state.with(place)].1.to_owned();
    let choose = move |name: &'static str| {
        let found = LISTINGS.iter().find(|(_, known, _)| *known == name);
        let view = found.map_or_else(LogListing::default, |(listing, ..)| *listing);
        let state = LogState { view, ..state.get_untracked().with_open_record(None) };
        change.run((state, History::Push));
    };
    let segments = LISTINGS.map(|(_, name, words)| Segment::new(name, words)).to_vec();
    let next = move || choose(LISTINGS[(state.with_untracked(place) + 1) % LISTINGS.len()].1);
    use_shortcuts().bind("p", "Lines, patterns or differences", "Logs", next);
    view! {
        <Segments
            label="How records are listed"
            segments=Signal::stored(segments)
            chosen=Signal::derive(chosen)
            on_choose=Callback::new(choose)
        />
    }
}

/// Scrolls the record that the address names when the page opens into view, if the first answer has
/// it. Later answers do not move the list under the reader.
fn show_linked_record(
    state: Memo<LogState>,
    paged: PagedList<LogSearchResult, LogState>,
    logs: Memo<Arc<Vec<LogView>>>,
) {
    let linked = StoredValue::new(state.with_untracked(|state| state.open.clone()));
    Effect::new(move |_| {
        let Some(id) = linked.get_value() else { return };
        if paged.total().is_none() {
            return;
        }
        linked.set_value(None);
        if logs.with(|logs| logs.iter().any(|log| log.id == id)) {
            // The line is drawn with this answer.
            request_animation_frame(move || browser::scroll_to_upper_edge(&row_id(&id)));
        }
    });
}

fn bind_keys(
    state: Memo<LogState>,
    logs: Memo<Arc<Vec<LogView>>>,
    change: Callback<(LogState, History)>,
    stop: impl Fn() + 'static,
) {
    let open = move |open: Option<(String, u64)>| {
        let shown = open.clone();
        change.run((state.with_untracked(|state| state.with_open_record(open)), History::Replace));
        if let Some((id, _)) = shown {
            browser::scroll_into_view(&row_id(&id));
        }
    };
    let by = move |step: isize| {
        logs.with_untracked(|logs| {
            let now = state.with_untracked(|state| state.open.clone());
            let at = logs.iter().position(|log| Some(&log.id) == now.as_ref());
            let next = at.map_or(0, |at| at.saturating_add_signed(step));
            let log = logs.get(next.min(logs.len().saturating_sub(1)))?;
            Some((log.id.clone(), log.time_unix_nano.0))
        })
    };
    let (keys, group) = (use_shortcuts(), "Logs");
    keys.bind("j", "Open the next record", group, move || open(by(1)));
    keys.bind("k", "Open the previous record", group, move || open(by(-1)));
    keys.bind("c", "Lines around the record", group, move || {
        let state = state.get_untracked();
        let around = state.around.is_none().then_some(log_around::SIZE);
        if state.open.is_some() {
            change.run((LogState { around, ..state }, History::Replace));
        }
    });
    keys.bind("Escape", "Close the record, or stop the search", group, move || {
        if state.with_untracked(|state| state.open.is_some()) {
            open(None);
        } else {
            stop();
        }
    });
    let go = use_navigation();
    keys.bind("Enter", "Go to the record's trace", group, move || {
        let address = logs.with_untracked(|logs| {
            let now = state.with_untracked(|state| state.open.clone())?;
            logs.iter().find(|log| log.id == now).and_then(api::log_trace_address)
        });
        if let Some(address) = address {
            go(&address, History::Push);
        }
    });
}

/// An empty result: the filters and the time range that may be the reason, each with a button that
/// removes it.
#[component]
fn EmptyLogList(
    paged: PagedList<LogSearchResult, LogState>,
    /// The shown records, with those of the tail.
    logs: Memo<Arc<Vec<LogView>>>,
    asked: Memo<LogState>,
) -> impl IntoView {
    let empty = Memo::new(move |_| paged.is_empty() && logs.with(|logs| logs.is_empty()));
    let body = move || {
        let state = asked.get();
        let unfiltered = LogState { range: state.range, ..LogState::default() };
        let no_filters = (state != unfiltered).then(|| {
            let href = unfiltered.write().on("/logs");
            view! { <a class="button" href=href>"Remove the filters"</a> }
        });
        let unbounded = LogState { range: TimeRange::All, ..state.clone() };
        let no_range = (state.range != TimeRange::All).then(|| {
            let href = unbounded.write().on("/logs");
            view! { <a class="button" href=href>"Show all time"</a> }
        });
        view! {
            <EmptyState title="No log records match">
                <p>"No record in this time range matches."</p>
                <div class="state-actions">
                    {no_filters} {no_range} <a class="button" href="/connect">"Connect a sender"</a>
                </div>
            </EmptyState>
        }
    };
    view! { <Show when=move || empty.get()>{body}</Show> }
}
