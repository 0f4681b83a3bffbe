//! Traces as rows: when, what, how it ended, how long, where the time went. Headings sort the whole
//! list, not only what is on the page; columns are the reader's to choose.

use std::sync::Arc;

use leptos::prelude::*;
use leptos_router::components::A;
use tidings_proto::{
    TraceId, UnixNanos,
    api::{ServiceTime, Total, TraceSummary},
};

use super::{Explored, span_groups::GroupChoice};
use crate::{
    api, browser, colour,
    components::{Icon, IconName, ServiceDot, StateBadge},
    format,
    url::{ExploreState, TraceSort},
};

/// More services than this are a number.
const DOTS_MAX: usize = 5;

/// The id of a trace's row.
pub(super) fn row_id(trace: TraceId) -> String {
    format!("trace-{trace}")
}

/// Key of a row; a row is redrawn when it changes.
type RowKey = (TraceId, u64, u64, u64, tidings_proto::api::TransactionState);

fn row_key(trace: &TraceSummary) -> RowKey {
    (trace.trace_id, trace.span_count, trace.error_count, trace.duration_nano.0, trace.state)
}

/// Columns that can be hidden: their names in the address and their headings.
const COLUMNS: [(&str, &str); 6] = [
    ("state", "State"),
    ("duration", "Duration"),
    ("time", "Where the time went"),
    ("spans", "Spans"),
    ("errors", "Errors"),
    ("services", "Services"),
];

/// The table.
#[component]
#[must_use]
pub(super) fn TraceTable(
    /// The rows.
    #[prop(into)]
    traces: Signal<Arc<Vec<TraceSummary>>>,
    /// The state of the page.
    explored: Explored,
    /// Called with the trace of a row that is clicked.
    on_open: Callback<TraceId>,
) -> impl IntoView {
    let longest = Memo::new(move |_| {
        traces.with(|traces| traces.iter().map(|trace| trace.duration_nano.0).max().unwrap_or(0))
    });
    let selected = Memo::new(move |_| explored.state.with(|state| state.selected));
    let rows = move || traces.with(|traces| traces.to_vec());
    let hidden = Memo::new(move |_| explored.state.with(hidden_class));
    view! {
        <table class=move || format!("traces {}", hidden.get()) aria-label="Traces">
            <thead>
                <tr>
                    <Head
                        explored
                        sort=None
                        label="Started"
                        class="traces-started"
                        title="The newest first"
                    />
                    <th scope="col" class="traces-name">
                        "Transaction"
                    </th>
                    <th scope="col" class="traces-state">
                        "State"
                    </th>
                    <Head
                        explored
                        sort=Some(TraceSort::Duration)
                        label="Duration"
                        class="traces-duration"
                        title="The longest first, of all that match"
                    />
                    <th scope="col" class="traces-time">
                        "Where the time went"
                    </th>
                    <Head
                        explored
                        sort=Some(TraceSort::Spans)
                        label="Spans"
                        class="traces-number traces-spans"
                        title="Those with the most spans first, of all that match"
                    />
                    <Head
                        explored
                        sort=Some(TraceSort::Errors)
                        label="Errors"
                        class="traces-number traces-errors"
                        title="Those with the most failed spans first, of all that match"
                    />
                    <th scope="col" class="traces-services">
                        "Services"
                    </th>
                </tr>
            </thead>
            <tbody>
                <For
                    each=rows
                    key=row_key
                    let(trace)
                >
                    <TraceRow trace longest selected=selected.into() on_open />
                </For>
            </tbody>
        </table>
    }
}

/// The classes that hide columns.
fn hidden_class(state: &ExploreState) -> String {
    let names = COLUMNS.iter().map(|(name, _)| *name);
    let hidden = names.filter(|name| state.hidden.iter().any(|hidden| hidden == name));
    hidden.map(|name| format!("without-{name} ")).collect()
}

/// The heading of a column that sorts.
#[component]
fn Head(
    explored: Explored,
    sort: Option<TraceSort>,
    label: &'static str,
    class: &'static str,
    title: &'static str,
) -> impl IntoView {
    let here = Memo::new(move |_| explored.state.with(|state| state.sort == sort));
    let icon = move || here.get().then(|| view! { <Icon name=IconName::SortDown /> });
    view! {
        <th
            scope="col"
            class=class
            aria-sort=move || if here.get() { "descending" } else { "none" }
        >
            <button
                class="sort-head"
                type="button"
                title=title
                on:click=move |_| explored.edit(|state| state.sort = sort)
            >
                {label}
                {icon}
            </button>
        </th>
    }
}

/// The line above the list: how many there are, groups, order and columns.
#[component]
pub(super) fn ListTools(
    explored: Explored,
    /// The total that the search reported.
    total: Signal<Option<Total>>,
) -> impl IntoView {
    let group = Memo::new(move |_| explored.state.with(|state| state.group.clone()));
    let title = move || match group.with(Option::is_some) {
        true => "Groups of spans".to_owned(),
        false => total.get().map_or("Traces".to_owned(), |total| format::total(total, "trace")),
    };
    let column = move |(name, words): (&'static str, &'static str)| {
        let is_shown =
            move || explored.state.with(|state| !state.hidden.iter().any(|hidden| hidden == name));
        let toggle = move |_| {
            explored.edit(|state| match state.hidden.iter().position(|hidden| hidden == name) {
                Some(at) => drop(state.hidden.remove(at)),
                None => state.hidden.push(name.to_owned()),
            });
        };
        view! {
            <label class="column-choice">
                <input type="checkbox" prop:checked=is_shown on:change=toggle />
                {words}
            </label>
        }
    };
    let is_query = Memo::new(move |_| explored.state.with(|state| state.query.is_some()));
    view! {
        <div class="list-tools">
            <h2>{title}</h2>
            <Show
                when=move || !is_query.get()
                fallback=|| {
                    view! {
                        <span class="mute list-tool">"Groups are of spans that filters find"</span>
                    }
                }
            >
                <GroupChoice explored />
            </Show>
            <details class="columns-menu">
                <summary class="button">"Columns"</summary>
                <div class="menu-body columns-body" role="group" aria-label="Columns">
                    {COLUMNS.map(column).collect_view()}
                </div>
            </details>
        </div>
    }
}

#[component]
fn TraceRow(
    trace: TraceSummary,
    longest: Memo<u64>,
    selected: Signal<Option<TraceId>>,
    on_open: Callback<TraceId>,
) -> impl IntoView {
    let id = trace.trace_id;
    let time = trace.start_unix_nano;
    let zone = browser::zone_minutes(time);
    let started = format::when(time, browser::now(), zone);
    let no_root =
        (!trace.has_root).then(|| view! { <span class="faint">" root not received"</span> });
    let errors = trace.error_count;
    let name = format::operation(&trace.root_operation).to_owned();
    let complete = trace.complete;
    let count = move |number| counted(number, complete);
    let hint = (!complete).then_some(TOO_LARGE);
    view! {
        <tr
            id=row_id(id)
            class="traces-row"
            aria-selected=move || (selected.get() == Some(id)).to_string()
            on:click=move |_| on_open.run(id)
        >
            <td class="traces-started mono faint" title=full_time(time, zone)>
                {started}
            </td>
            <td class="traces-name">
                <A href=api::trace_address(id, None)>{name}</A>
                " "
                <span class="traces-service mute">{format::service(&trace.root_service).to_owned()}</span>
                {no_root}
            </td>
            <td class="traces-state">
                <StateBadge state=trace.state />
            </td>
            <td class="traces-duration num" title=hint>{format::duration(trace.duration_nano)}</td>
            <td class="traces-time">
                <TimeBar services=trace.services.clone() duration=trace.duration_nano.0 longest />
            </td>
            <td class="traces-spans num" title=hint>{count(trace.span_count)}</td>
            <td class="traces-errors num" class:is-error=errors != 0 class:faint=errors == 0 title=hint>
                {count(errors)}
            </td>
            <td class="traces-services">
                <Dots services=trace.services />
            </td>
        </tr>
    }
}

const TOO_LARGE: &str =
    "At least: this trace is too large to be counted in a list. Open it to see all of it.";

/// A count, which is a lower bound where not all of the trace was looked at.
fn counted(number: u64, complete: bool) -> String {
    let count = format::count(number);
    if complete { count } else { format!("≥ {count}") }
}

fn full_time(time: UnixNanos, zone_minutes: i32) -> String {
    format!(
        "{} {} here, {} UTC",
        format::date(time, zone_minutes),
        format::time_of_day(time, zone_minutes),
        format::time_of_day(time, 0)
    )
}

/// A bar as long as the trace, against the longest of the list, parted by the services' shares
/// of the critical path.
#[component]
fn TimeBar(services: Vec<ServiceTime>, duration: u64, longest: Memo<u64>) -> impl IntoView {
    let width = move || format!("{:.2}%", ratio(duration, longest.get()) * 100.0);
    let total: u64 = services.iter().fold(0, |sum, one| sum.saturating_add(one.critical_nano.0));
    let part = |one: ServiceTime| {
        let words = format!("{} {}", one.service, format::share(one.critical_nano.0, total));
        let grow = format!("{:.4}", ratio(one.critical_nano.0, total));
        view! {
            <span
                class="strip-part"
                style=("--hue", colour::hue_value(&one.service))
                style=("flex-grow", grow)
                title=words
            ></span>
        }
    };
    let parts = services.into_iter().filter(|one| one.critical_nano.0 > 0).map(part);
    view! {
        <div class="strip" style=("width", width)>
            {parts.collect_view()}
        </div>
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[component]
fn Dots(services: Vec<ServiceTime>) -> impl IntoView {
    let more = services.len().saturating_sub(DOTS_MAX);
    let words = services.iter().map(|one| one.service.as_str()).collect::<Vec<_>>().join(", ");
    let dots = services.into_iter().take(DOTS_MAX);
    let dots = dots.map(|one| view! { <ServiceDot service=one.service /> }).collect_view();
    let more = (more > 0).then(|| view! { <span class="faint">{format!("+{more}")}</span> });
    view! {
        <span class="dots" title=words>
            {dots}
            {more}
        </span>
    }
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn what_was_not_counted_to_the_end_is_a_lower_bound() {
        assert_eq!(
            (counted(1_200, true), counted(1_200, false)),
            ("1,200".into(), "≥ 1,200".into())
        );
    }
}
