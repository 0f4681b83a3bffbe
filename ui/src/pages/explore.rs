//! Explore: traces by what one of their spans is like, newest first.
//!
//! Owns the question (filters and range from the address) and the keys. New traces appear by
//! themselves, but never under a reader who points at a row, has one selected or has asked for
//! older pages.

use leptos::prelude::*;
use tidings_proto::{TraceId, api::TraceSearchResult};

use crate::{
    api, browser,
    components::EmptyState,
    keys::use_keys,
    paged::{ListFacts, ListTrouble, OlderButton, Paged, Question},
    shell::{crumb, set_crumbs},
    url::{ExploreState, Query, Step, TimeRange, TraceFilters, use_go, use_query},
};

mod field;
pub mod filter_bar;
pub mod scatter;
pub mod trace_table;

use filter_bar::FilterBar;
use scatter::Scatter;
use trace_table::{TraceTable, row_id};

/// What is asked: filters and range.
type Asked = (TraceFilters, TimeRange);

impl Question for Asked {
    fn range(&self) -> TimeRange {
        self.1
    }
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
    let paged: Paged<TraceSearchResult, Asked> =
        Paged::new(asked, |(filters, range), now, cursor| {
            api::traces(filters, *range, now, cursor)
        });
    let traces = paged.items();
    let pointed = RwSignal::new(false);
    let held = Memo::new(move |_| pointed.get() || selected.get().is_some() || paged.has_older());
    paged.refresh_while_live(held);
    let go = use_go();
    let open = go.clone();
    let open = Callback::new(move |trace| open(&api::trace_address(trace, None), Step::New));
    bind_keys(query, state, paged, open);
    let change = Callback::new(move |filters: TraceFilters| {
        let state = ExploreState { filters, selected: None, ..state.get_untracked() };
        let address = query.with_untracked(|query| state.write().with_switches_of(query));
        go(&address.on("/explore"), Step::New);
    });
    view! {
        <div class="page">
            <div class="bar">
                <FilterBar filters on_change=change />
                <ListFacts paged held />
            </div>
            <ListTrouble paged />
            <Show when=move || traces.with(|traces| !traces.is_empty())>
                <div class="card">
                    <Scatter traces />
                </div>
                <div
                    class="card traces-card"
                    class:is-stale=move || paged.stale()
                    on:pointerenter=move |_| pointed.set(true)
                    on:pointerleave=move |_| pointed.set(false)
                >
                    <TraceTable traces selected on_open=open />
                </div>
                <OlderButton paged />
            </Show>
            <Nothing paged state />
        </div>
    }
}

fn bind_keys(
    query: Memo<Query>,
    state: Memo<ExploreState>,
    paged: Paged<TraceSearchResult, Asked>,
    open: Callback<TraceId>,
) {
    let traces = paged.items();
    let go = use_go();
    let select = move |selected: Option<TraceId>| {
        let state = ExploreState { selected, ..state.get_untracked() };
        let address = query.with_untracked(|query| state.write().with_switches_of(query));
        go(&address.on("/explore"), Step::Replace);
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
    keys.bind("Escape", "Let go of the trace, or stop the search", group, move || {
        if state.with_untracked(|state| state.selected.is_some()) {
            select(None);
        } else {
            paged.stop();
        }
    });
}

/// Nothing found: which of filters and time range could be the reason, each to be lifted.
#[component]
fn Nothing(paged: Paged<TraceSearchResult, Asked>, state: Memo<ExploreState>) -> impl IntoView {
    let empty = Memo::new(move |_| paged.is_empty());
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
