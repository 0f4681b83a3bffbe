//! Traces as rows: time, name, state, duration, parts of the duration. Headings sort the whole
//! list, not only the loaded pages. The reader chooses the columns, which include attributes.

use std::{ops::Range, sync::Arc};

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos, TraceId, UnixNanos,
    api::{ServiceTime, TraceSummary, TransactionState},
};

use super::{
    ExplorePageState,
    list_columns::{attribute_heads, hidden_class, use_columns, value_cell},
};
use crate::{
    api::{
        self,
        explored_traces::{ExploredTrace, values_of},
    },
    browser,
    components::{Icon, IconName, ServiceDot, StateBadge, StripPart, strip_part},
    format::{self, rates},
    number_format,
    url::TraceSort,
};

/// Number of services above which their count is shown.
const DOTS_MAX: usize = 5;

/// Returns the id of a trace's row.
pub(super) fn row_id(trace: TraceId) -> String {
    format!("trace-{trace}")
}

/// Key of a row; a row is redrawn when it changes.
type RowKey = (TraceId, u64, u64, u64, TransactionState, Vec<Vec<String>>);

fn row_key(found: &ExploredTrace, columns: &[String]) -> RowKey {
    let ExploredTrace { trace, .. } = found;
    let values = columns.iter().map(|key| values_of(found, key)).collect();
    let (spans, errors) = (trace.span_count, trace.error_count);
    (trace.trace_id, spans, errors, trace.duration_nano.0, trace.state, values)
}

/// The table.
#[component]
#[must_use]
pub(super) fn TraceTable(
    /// The rows.
    #[prop(into)]
    traces: Signal<Arc<Vec<ExploredTrace>>>,
    /// The state of the page.
    page_state: ExplorePageState,
    /// Called with the trace of a clicked row.
    on_open: Callback<TraceId>,
) -> impl IntoView {
    let columns = use_columns(page_state);
    let selected = Memo::new(move |_| page_state.state.with(|state| state.selected));
    let on_screen = use_part_on_screen(traces);
    let longest = Memo::new(move |_| {
        let part = on_screen.get();
        traces.with(|traces| {
            let rows = traces.get(rows_within(traces.len(), part)).unwrap_or_default();
            longest(rows.iter().map(|found| found.trace.duration_nano))
        })
    });
    let rows = move || {
        let columns = columns.get();
        let keyed = |found: &ExploredTrace| (row_key(found, &columns), found.clone());
        traces.with(|traces| traces.iter().map(keyed).collect::<Vec<_>>())
    };
    let hidden = Memo::new(move |_| page_state.state.with(hidden_class));
    view! {
        <table
            class=move || format!("traces {}", hidden.get())
            aria-label="Traces"
            style=("--attributes", move || columns.with(Vec::len).to_string())
        >
            {headings(page_state)}
            <tbody>
                <For
                    each=rows
                    key=|(key, _)| key.clone()
                    let((key, found))
                >
                    <TraceRow page_state found values=key.5 selected longest on_open />
                </For>
            </tbody>
        </table>
    }
}

/// Returns the part of the rows that is on screen, which changes with every scroll.
fn use_part_on_screen(traces: Signal<Arc<Vec<ExploredTrace>>>) -> RwSignal<(f64, f64)> {
    let on_screen = RwSignal::new((0.0, 1.0));
    let measure = move || {
        if let Some(part) = browser::part_on_screen(".traces > tbody") {
            on_screen.try_set(part);
        }
    };
    browser::on_scroll(measure);
    Effect::new(move |_| {
        traces.track();
        // The new rows have a place in the next frame.
        request_animation_frame(measure);
    });
    on_screen
}

/// Returns the rows within a part of the height of all, whose rows are equally high.
fn rows_within(count: usize, (from, to): (f64, f64)) -> Range<usize> {
    let row = |part: f64| {
        let above = rates::whole((part * count as f64).floor());
        usize::try_from(above).unwrap_or(count).min(count)
    };
    row(from)..row(to).saturating_add(1).min(count)
}

/// The headings of the table.
fn headings(page_state: ExplorePageState) -> impl IntoView {
    view! {
        <thead>
            <tr>
                <Head
                    page_state
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
                    page_state
                    sort=Some(TraceSort::Duration)
                    label="Duration"
                    class="traces-duration"
                    title="The longest first, of all that match"
                />
                <th
                    scope="col"
                    class="traces-time"
                    title="As long as the trace, parted by the services' shares of the critical path. \
                           The longest row on screen fills the column."
                >
                    "Where the time went"
                </th>
                <Head
                    page_state
                    sort=Some(TraceSort::Spans)
                    label="Spans"
                    class="traces-number traces-spans"
                    title="Those with the most spans first, of all that match"
                />
                <Head
                    page_state
                    sort=Some(TraceSort::Errors)
                    label="Errors"
                    class="traces-number traces-errors"
                    title="Those with the most failed spans first, of all that match"
                />
                <th scope="col" class="traces-services">
                    "Services"
                </th>
                {attribute_heads(page_state)}
            </tr>
        </thead>
    }
}

/// The heading of a column that sorts.
#[component]
pub(super) fn Head(
    page_state: ExplorePageState,
    sort: Option<TraceSort>,
    label: &'static str,
    class: &'static str,
    title: &'static str,
) -> impl IntoView {
    let here = Memo::new(move |_| page_state.state.with(|state| state.sort == sort));
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
                on:click=move |_| page_state.edit(|state| state.sort = sort)
            >
                {label}
                {icon}
            </button>
        </th>
    }
}

#[component]
fn TraceRow(
    page_state: ExplorePageState,
    found: ExploredTrace,
    /// Values of the attributes that are columns.
    values: Vec<Vec<String>>,
    selected: Memo<Option<TraceId>>,
    /// The longest duration among the rows on screen.
    longest: Memo<DurationNanos>,
    on_open: Callback<TraceId>,
) -> impl IntoView {
    let trace = found.trace;
    let id = trace.trace_id;
    let columns = use_columns(page_state).get_untracked();
    let cells =
        columns.iter().zip(&values).map(|(key, values)| value_cell(page_state, key, values));
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
            {time_cell(trace.start_unix_nano)}
            <td class="traces-name">
                <a href=api::trace_address(id, None)>{name}</a>
                " "
                <span class="traces-service mute">{format::service(&trace.root_service).to_owned()}</span>
                {no_root}
            </td>
            <td class="traces-state">
                <StateBadge state=trace.state />
            </td>
            <td class="traces-duration num" title=hint>{format::duration(trace.duration_nano)}</td>
            <td class="traces-time">{time_bar(&trace, longest)}</td>
            <td class="traces-spans num" title=hint>{count(trace.span_count)}</td>
            <td class="traces-errors num" class:is-error=errors != 0 class:faint=errors == 0 title=hint>
                {count(errors)}
            </td>
            <td class="traces-services">
                <Dots services=trace.services />
            </td>
            {cells.collect_view()}
        </tr>
    }
}

/// The cell of a moment.
pub(super) fn time_cell(time: UnixNanos) -> impl IntoView + use<> {
    let zone = browser::zone_minutes(time);
    let started = format::when(time, browser::now(), zone);
    view! { <td class="traces-started mono faint" title=full_time(time, zone)>{started}</td> }
}

const TOO_LARGE: &str =
    "At least: this trace is too large to be counted in a list. Open it to see all of it.";

/// Formats a count. It is a lower bound when the trace was read only in part.
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

/// Returns the longest of these durations. Its bar fills the column.
pub(super) fn longest(durations: impl Iterator<Item = DurationNanos>) -> DurationNanos {
    durations.max().unwrap_or(DurationNanos(0))
}

/// Returns the width of a duration's bar in its column, which a longer one fills, too.
pub(super) fn bar_width(duration: DurationNanos, longest: DurationNanos) -> String {
    format!("{:.2}%", number_format::ratio(duration.0, longest.0).min(1.0) * 100.0)
}

/// A bar with the trace's duration as its length, divided by the services' shares of the critical
/// path. Time in which a service waits for a peer is dotted, as on the trace's own page.
fn time_bar(trace: &TraceSummary, longest: Memo<DurationNanos>) -> impl IntoView + use<> {
    let (services, duration) = (&trace.services, trace.duration_nano);
    let parts = services.iter().flat_map(|one| StripPart::of_service(one, one.critical_share));
    let parts = parts.map(|part| strip_part(&part, part.title(), false)).collect_view();
    view! {
        <div class="strip" style=("width", move || bar_width(duration, longest.get()))>
            {parts}
        </div>
    }
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
    use tidings_proto::DurationNanos;

    use super::{bar_width, counted, longest, rows_within};

    #[test]
    fn a_bar_is_as_long_as_its_share_of_the_longest() {
        let durations = [900, 9, 0].map(DurationNanos);
        let of_all = longest(durations.into_iter());
        let widths = durations.map(|duration| bar_width(duration, of_all));
        assert_eq!(widths, ["100.00%", "1.00%", "0.00%"]);
        assert_eq!(bar_width(DurationNanos(0), longest([].into_iter())), "0.00%");
        assert_eq!(bar_width(DurationNanos(900), DurationNanos(9)), "100.00%", "not on screen");
    }

    #[test]
    fn rows_on_screen_are_those_within_a_part_of_the_height_of_all() {
        assert_eq!(rows_within(50, (0.0, 1.0)), 0..50);
        assert_eq!(rows_within(50, (0.0, 0.21)), 0..11, "a part of a row counts");
        assert_eq!(rows_within(50, (0.5, 0.75)), 25..38);
        assert!(rows_within(50, (1.0, 1.0)).is_empty() && rows_within(0, (0.0, 1.0)).is_empty());
    }

    #[test]
    fn an_incomplete_count_is_a_lower_bound() {
        assert_eq!(
            (counted(1_200, true), counted(1_200, false)),
            ("1,200".into(), "≥ 1,200".into())
        );
    }
}
