//! Matching spans as rows, trace by trace in the order of the list. Each links to its row in the
//! trace.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{DurationNanos, SpanId, TraceId, api::MatchedSpan};

use super::{
    ExplorePageState,
    list_columns::{attribute_heads, use_columns, value_cell},
    trace_table::{Head, bar_width, longest, row_id, time_cell},
};
use crate::{
    api::{
        self,
        explored_traces::{ExploredTrace, has_failed, selected_value},
    },
    colour,
    components::{ServiceName, StateBadge},
    format,
    url::{History, TraceSort, traceql::write_traceql, use_navigation},
};

/// Maximum length of a query that is passed to the search field of a trace.
const FIND_CHARS_MAX: usize = 200;
/// Number of columns besides those of attributes.
const PLAIN_COLUMNS: usize = 5;

/// Key of the rows of a trace; they are redrawn when it changes.
type TraceKey = (TraceId, u64, Vec<(SpanId, u64, bool, Vec<Option<String>>)>);

fn trace_key(found: &ExploredTrace, columns: &[String]) -> TraceKey {
    let spans = found.spans.iter().map(|span| {
        let values = columns.iter().map(|key| selected_value(span, key)).collect();
        (span.span_id, span.duration_nano.0, has_failed(span), values)
    });
    (found.trace.trace_id, found.span_count, spans.collect())
}

/// The table, with a body for each trace.
#[component]
pub(super) fn SpanTable(
    /// The traces with their spans.
    #[prop(into)]
    traces: Signal<Arc<Vec<ExploredTrace>>>,
    /// The state of the page.
    page_state: ExplorePageState,
) -> impl IntoView {
    let columns = use_columns(page_state);
    let longest = Memo::new(move |_| {
        traces.with(|traces| {
            let spans = traces.iter().flat_map(|found| found.spans.iter());
            longest(spans.map(|span| span.duration_nano))
        })
    });
    let rows = move || {
        let columns = columns.get();
        let keyed = |found: &ExploredTrace| (trace_key(found, &columns), found.clone());
        traces.with(|traces| traces.iter().map(keyed).collect::<Vec<_>>())
    };
    view! {
        <table
            class="traces spans"
            aria-label="Spans"
            style=("--attributes", move || columns.with(Vec::len).to_string())
        >
            <thead>
                <tr>
                    <Head page_state sort=None label="Started" class="traces-started" title="The newest first" />
                    <th scope="col" class="traces-name">"Span"</th>
                    <Head
                        page_state
                        sort=Some(TraceSort::SpanDuration)
                        label="Duration"
                        class="traces-duration"
                        title="The longest first, of all that match; those of one trace stand together"
                    />
                    <th scope="col" class="spans-bar"><span class="hidden">"Duration as a bar"</span></th>
                    {attribute_heads(page_state)}
                    <th scope="col" class="spans-transaction">"Transaction"</th>
                </tr>
            </thead>
            <For each=rows key=|(key, _)| key.clone() let((_, found))>
                <TraceBody found page_state longest columns=columns.get_untracked() />
            </For>
        </table>
    }
}

/// The spans of one trace.
#[component]
fn TraceBody(
    found: ExploredTrace,
    page_state: ExplorePageState,
    longest: Memo<DurationNanos>,
    columns: Vec<String>,
) -> impl IntoView {
    let id = found.trace.trace_id;
    let is_selected = Memo::new(move |_| page_state.state.with(|state| state.selected == Some(id)));
    let span_row = |(at, span): (usize, &MatchedSpan)| {
        let first = (at == 0).then_some(&found);
        view_of_span(page_state, id, span, first, (&columns, is_selected, longest))
    };
    let rows = found.spans.iter().enumerate().map(span_row).collect_view();
    let width = PLAIN_COLUMNS + columns.len();
    let more = found.span_count.saturating_sub(found.spans.len() as u64);
    let more = (more > 0).then(|| {
        let words = format::counted(more, "more span");
        view! {
            <tr class="spans-more">
                <td colspan=width>
                    <a href=find_address(page_state, id)>{format!("{words} of this trace")}</a>
                </td>
            </tr>
        }
    });
    let unread = found.spans.is_empty().then(|| {
        let name = format::operation(&found.trace.root_operation).to_owned();
        view! {
            <tr class="spans-more">
                <td colspan=width title="Its spans are still looked for, or the search ended before them">
                    <a href=api::trace_address(id, None)>{name}</a> " …"
                </td>
            </tr>
        }
    });
    view! { <tbody id=row_id(id)>{rows} {more} {unread}</tbody> }
}

/// Returns the address of a trace, with the query in its search field.
fn find_address(page_state: ExplorePageState, trace: TraceId) -> String {
    let query = page_state.state.with_untracked(|state| {
        state.query.clone().unwrap_or_else(|| write_traceql(&state.list_query().narrowed()))
    });
    let address = api::trace_address(trace, None);
    if query.chars().count() > FIND_CHARS_MAX {
        return address;
    }
    format!("{address}?find={}", crate::url::encode(&query))
}

fn view_of_span(
    page_state: ExplorePageState,
    trace: TraceId,
    span: &MatchedSpan,
    first: Option<&ExploredTrace>,
    (columns, is_selected, longest): (&[String], Memo<bool>, Memo<DurationNanos>),
) -> impl IntoView + use<> {
    let href = api::trace_address(trace, Some(span.span_id));
    let (go, target) = (use_navigation(), href.clone());
    let name = format::operation(&span.name).to_owned();
    let title = name.clone();
    let failed = has_failed(span)
        .then(|| view! { <span class="wf-error" role="img" aria-label="failed">"●"</span> });
    let duration = span.duration_nano;
    let width = move || bar_width(duration, longest.get());
    let cells = columns.iter().map(|key| {
        let values: Vec<String> = selected_value(span, key).into_iter().collect();
        value_cell(page_state, key, &values)
    });
    let transaction = first.map(|found| {
        let trace = &found.trace;
        let name = format::operation(&trace.root_operation).to_owned();
        let href = api::trace_address(trace.trace_id, None);
        view! { <StateBadge state=trace.state /> " " <a href=href>{name}</a> }
    });
    view! {
        <tr
            class="traces-row"
            aria-selected=move || is_selected.get().to_string()
            on:click=move |_| go(&target, History::Push)
        >
            {time_cell(span.start_unix_nano)}
            <td class="traces-name" title=title>
                {failed} <ServiceName service=span.service.clone() /> " " <a href=href>{name}</a>
            </td>
            <td class="traces-duration num">{format::duration(duration)}</td>
            <td class="spans-bar" aria-hidden="true">
                <span class="strip" style=("width", width)>
                    <span class="strip-part" style=("--hue", colour::hue_value(&span.service)) style=("flex-grow", "1")></span>
                </span>
            </td>
            {cells.collect_view()}
            <td class="spans-transaction">{transaction}</td>
        </tr>
    }
}
