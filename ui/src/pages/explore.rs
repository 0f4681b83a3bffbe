//! Explore: traces selected by the properties of their spans, and the attributes that set some of
//! them apart.
//!
//! Owns the query (filters or TraceQL, range, box, order; all in the address) and the keys. The
//! heatmap shows the matching spans. A box in it narrows the list and is explained. New traces
//! appear by themselves, except while the reader points at a row, has one selected or has loaded
//! older pages.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{TraceId, UnixNanos};

use crate::{
    api,
    api::analysis::Analysis,
    api::explored_traces::{ExploredTrace, ExploredTraces},
    browser,
    charts::heatmap::{HeatmapState, box_text},
    colour,
    components::{Chip, EmptyState, UnreadNote},
    paged_list::{ListNotices, ListQuery, ListStatus, OlderButton, PagedList},
    server_watch::arrival_gap_line,
    shell::{crumb, remember_list, set_crumbs},
    shortcuts::use_shortcuts,
    url::{
        ExploreState, HeatmapBox, History, TimeRange, TraceFilters, TraceListQuery, UrlQuery,
        unread_text, use_navigation, use_query,
    },
};

mod compare_box;
mod explain_panel;
mod field;
pub mod filter_bar;
mod latency_panel;
pub mod list_columns;
pub mod query_box;
mod query_completion;
pub mod span_groups;
pub mod span_table;
pub mod trace_table;

use compare_box::compare_panel;
use explain_panel::explain_panel;
use filter_bar::FilterBar;
use latency_panel::latency_panel;
use list_columns::ListTools;
use query_box::{QueryBox, QuerySwitch};
use span_groups::group_panel;
use span_table::SpanTable;
use trace_table::{TraceTable, row_id};

impl ListQuery for TraceListQuery {
    fn range(&self) -> TimeRange {
        self.range
    }

    fn is_ranked(&self) -> bool {
        self.sort.is_some()
    }
}

/// The state of the page, with a callback to change it.
#[derive(Debug, Clone, Copy)]
pub struct ExplorePageState {
    state: Memo<ExploreState>,
    change: Callback<(ExploreState, History)>,
}

impl ExplorePageState {
    /// Changes the state with `edit` and clears the selected row.
    fn edit(self, edit: impl FnOnce(&mut ExploreState)) {
        let mut state = ExploreState { selected: None, ..self.state.get_untracked() };
        edit(&mut state);
        self.change.run((state, History::Push));
    }

    /// Selects a box of the heatmap that was drawn at `now`, or drops the selected one.
    fn choose(self, chosen: Option<HeatmapBox>, now: UnixNanos) {
        self.edit(|state| match chosen {
            Some(chosen) => state.choose_box(chosen, now),
            None => state.drop_box(),
        });
    }

    fn drop_box(self) {
        self.edit(ExploreState::drop_box);
    }
}

/// Returns the listed traces. Their services have colours before the rows are drawn, which do not
/// depend on the order of rows.
fn coloured_traces(
    paged: PagedList<ExploredTraces, TraceListQuery>,
) -> Memo<Arc<Vec<ExploredTrace>>> {
    let traces = paged.items();
    Memo::new(move |_| {
        let traces = traces.get();
        let services = traces.iter().flat_map(|found| &found.trace.services);
        colour::assign_shades(services.map(|one| one.service.as_str()));
        traces
    })
}

/// The page.
#[component]
#[must_use]
pub fn ExplorePage() -> impl IntoView {
    set_crumbs(crumb("Explore"));
    let query = use_query();
    let state = Memo::new(move |_| query.with(ExploreState::read));
    remember_list("/explore", query);
    let list_query = Memo::new(move |_| state.with(narrowed_list_query));
    let filters = Memo::new(move |_| state.with(|state| state.filters.clone()));
    let selected = Memo::new(move |_| state.with(|state| state.selected));
    let is_query = Memo::new(move |_| state.with(|state| state.query.is_some()));
    let is_grouped = Memo::new(move |_| state.with(ExploreState::is_grouped));
    let paged: PagedList<ExploredTraces, TraceListQuery> =
        PagedList::new(list_query, api::explored_traces);
    let traces = coloured_traces(paged);
    let heatmap = HeatmapState::default();
    let pointed = RwSignal::new(false);
    let held = Memo::new(move |_| {
        pointed.get() || selected.get().is_some() || paged.has_older() || heatmap.is_busy()
    });
    paged.refresh_while_live(held);
    let go = use_navigation();
    let open = Callback::new(move |trace: TraceId| {
        // A trace of a list of spans opens at its first matching span.
        let span = state.with_untracked(|state| state.lists_spans).then(|| {
            traces.with_untracked(|traces| {
                let found = traces.iter().find(|found| found.trace.trace_id == trace)?;
                found.spans.first().map(|span| span.span_id)
            })
        });
        go(&api::trace_address(trace, span.flatten()), History::Push);
    });
    let page_state = ExplorePageState { state, change: use_change(query) };
    bind_keys(page_state, paged, open);
    let is_refused = Memo::new(move |_| is_query.get() && paged.error().is_some());
    let is_explained = Memo::new(move |_| state.with(|state| state.chosen.is_some()));
    let filtered = Callback::new(move |filters: TraceFilters| {
        page_state.edit(|state| state.filters = filters);
    });
    view! {
        <div class="page explore">
            <div class="bar">
                <FilterBar filters on_change=filtered>
                    {move || box_chip(page_state)}
                </FilterBar>
                <div class="bar-end">
                    <ListStatus paged held has_total=false />
                    <QuerySwitch page_state />
                </div>
            </div>
            {arrival_gap_line(|| false)} {unread_box(query)}
            <QueryBox page_state error=Signal::derive(move || paged.error()) />
            // The query box shows why a query is refused.
            <Show when=move || !is_refused.get()>
                {compare_panel(page_state)}
                <div class="explore-panels" class:is-split=move || is_explained.get()>
                    {latency_panel(page_state, heatmap, held)} {explain_panel(page_state)}
                </div>
            </Show>
            <ListTools page_state total=Signal::derive(move || paged.total()) />
            <Show when=move || is_grouped.get() && !is_refused.get()>
                {group_panel(page_state)}
            </Show>
            <Show when=move || !is_grouped.get()>
                <ListNotices paged />
                <TraceList traces page_state paged pointed on_open=open />
                <EmptyTraceList paged state />
            </Show>
        </div>
    }
}

/// Returns a callback that changes the state. Other parameters of the address stay as they are.
fn use_change(query: Memo<UrlQuery>) -> Callback<(ExploreState, History)> {
    let go = use_navigation();
    Callback::new(move |(state, history): (ExploreState, History)| {
        let address = query.with_untracked(|query| {
            let mut next = state.write().with_switches_of(query);
            // Open panels stay open while they have content.
            next.set(compare_box::OPEN, query.get(compare_box::OPEN));
            next
        });
        go(&address.on("/explore"), history);
    })
}

/// The box as a chip. Editing and removing drop it.
fn box_chip(page_state: ExplorePageState) -> Option<impl IntoView> {
    let chosen = page_state.state.with(|state| state.chosen)?;
    let drop_box = Callback::new(move |()| page_state.drop_box());
    let value = box_text(chosen, browser::now());
    Some(view! {
        <Chip name="box".to_owned() relation="=" value on_edit=drop_box on_remove=drop_box />
    })
}

/// The note about a box of the address that cannot be read.
fn unread_box(query: Memo<UrlQuery>) -> impl IntoView {
    let words = Signal::derive(move || {
        query.with(|query| {
            let text = query.get("box").filter(|text| HeatmapBox::parse(text).is_none())?;
            Some(unread_text(&format!("box={text}"), "there is no box, and none narrows the list"))
        })
    });
    view! { <UnreadNote words /> }
}

/// Returns the query of the list. A box narrows a TraceQL query to its durations, as it narrows
/// filters.
fn narrowed_list_query(state: &ExploreState) -> TraceListQuery {
    let list_query = state.list_query();
    let Some((query, chosen)) = list_query.query.as_ref().zip(list_query.chosen) else {
        return list_query;
    };
    // A TraceQL query takes no longer duration.
    let longest = chosen.longest.0.min(i64::MAX.unsigned_abs());
    let shortest = chosen.shortest.0;
    let query = format!("{query} | {{ duration >= {shortest}ns && duration <= {longest}ns }}");
    TraceListQuery { query: Some(query), ..list_query }
}

/// Selects the spans that a query matches, or that the filters match except the excluding ones.
fn with_span_filters(asked: Analysis, filters: &TraceFilters, query: Option<&str>) -> Analysis {
    match query {
        Some(query) => asked.with("q", query),
        None => asked.with_filters(filters),
    }
}

/// The rows and the button for older ones, when there are rows.
#[component]
fn TraceList(
    traces: Memo<Arc<Vec<ExploredTrace>>>,
    page_state: ExplorePageState,
    paged: PagedList<ExploredTraces, TraceListQuery>,
    /// Set while the pointer is over the rows.
    pointed: RwSignal<bool>,
    on_open: Callback<TraceId>,
) -> impl IntoView {
    let has_rows = Memo::new(move |_| traces.with(|traces| !traces.is_empty()));
    let lists_spans = Memo::new(move |_| page_state.state.with(|state| state.lists_spans));
    view! {
        <Show when=move || has_rows.get()>
            <div
                class="card traces-card"
                class:is-stale=move || paged.stale()
                on:pointerenter=move |_| pointed.set(true)
                on:pointerleave=move |_| pointed.set(false)
            >
                <Show
                    when=move || lists_spans.get()
                    fallback=move || view! { <TraceTable traces page_state on_open /> }
                >
                    <SpanTable traces page_state />
                </Show>
            </div>
            <OlderButton paged />
        </Show>
    }
}

fn bind_keys(
    page_state: ExplorePageState,
    paged: PagedList<ExploredTraces, TraceListQuery>,
    open: Callback<TraceId>,
) {
    let ExplorePageState { state, change } = page_state;
    let traces = paged.items();
    let select = move |selected: Option<TraceId>| {
        let state = ExploreState { selected, ..state.get_untracked() };
        change.run((state, History::Replace));
        if let Some(trace) = selected {
            browser::scroll_into_view(&row_id(trace));
        }
    };
    let by = move |step: isize| {
        traces.with_untracked(|traces| {
            let selected = state.with_untracked(|state| state.selected);
            let at = traces.iter().position(|found| Some(found.trace.trace_id) == selected);
            let next = at.map_or(0, |at| at.saturating_add_signed(step));
            traces.get(next.min(traces.len().saturating_sub(1))).map(|found| found.trace.trace_id)
        })
    };
    let (keys, group) = (use_shortcuts(), "Explore");
    for (key, step) in [("j", 1), ("ArrowDown", 1), ("k", -1), ("ArrowUp", -1)] {
        let label = if step > 0 { "Next trace" } else { "Previous trace" };
        keys.bind(key, label, group, move || select(by(step)));
    }
    keys.bind("Enter", "Open the trace", group, move || {
        if let Some(trace) = state.with_untracked(|state| state.selected) {
            open.run(trace);
        }
    });
    keys.bind("Escape", "Clear the selection, or stop the search", group, move || {
        let (selected, chosen) = state.with_untracked(|state| (state.selected, state.chosen));
        match (selected, chosen) {
            (Some(_), _) => select(None),
            (None, Some(_)) => page_state.drop_box(),
            (None, None) => paged.stop(),
        }
    });
}

/// An empty result: the filters and the time range that may be the reason, each with a button that
/// removes it.
#[component]
fn EmptyTraceList(
    paged: PagedList<ExploredTraces, TraceListQuery>,
    state: Memo<ExploreState>,
) -> impl IntoView {
    let empty = Memo::new(move |_| paged.is_empty());
    let body = move || {
        let state = state.get();
        let lifted = |state: ExploreState, words: &'static str| {
            let href = state.write().on("/explore");
            view! { <a class="button" href=href>{words}</a> }
        };
        let mut unboxed = state.clone();
        unboxed.drop_box();
        let no_box = state.chosen.map(|_| lifted(unboxed.clone(), "Remove the box"));
        let is_filtered = !state.filters.is_empty() || state.query.is_some();
        let unfiltered =
            ExploreState { filters: TraceFilters::default(), query: None, ..unboxed.clone() };
        let no_filters = is_filtered.then(|| lifted(unfiltered, "Remove the filters"));
        let unbounded = ExploreState { range: TimeRange::All, ..unboxed };
        let no_range = (state.range != TimeRange::All).then(|| lifted(unbounded, "Show all time"));
        view! {
            <EmptyState title="No traces match">
                <p>"No span in this time range matches."</p>
                <div class="state-actions">
                    {no_box} {no_filters} {no_range}
                    <a class="button" href="/connect">"Connect a sender"</a>
                </div>
            </EmptyState>
        }
    };
    view! { <Show when=move || empty.get()>{body}</Show> }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{DurationNanos, UnixNanos};

    use super::{ExploreState, HeatmapBox, narrowed_list_query};

    #[test]
    fn a_box_narrows_a_query_to_its_durations() {
        let chosen = HeatmapBox {
            from: UnixNanos(0),
            to: UnixNanos(60),
            shortest: DurationNanos(80),
            longest: DurationNanos(u64::MAX),
        };
        let query = Some("{ } >> { }".to_owned());
        let unboxed = ExploreState { query, ..ExploreState::default() };
        assert_eq!(narrowed_list_query(&unboxed), unboxed.list_query());
        let boxed = ExploreState { chosen: Some(chosen), ..unboxed };
        assert_eq!(
            narrowed_list_query(&boxed).query.as_deref(),
            Some("{ } >> { } | { duration >= 80ns && duration <= 9223372036854775807ns }")
        );
        let filtered = ExploreState { query: None, ..boxed };
        assert_eq!(narrowed_list_query(&filtered), filtered.list_query());
    }
}
