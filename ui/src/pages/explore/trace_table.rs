//! Traces as rows: when, what, how it ended, how long, where the time went.

use std::sync::Arc;

use leptos::prelude::*;
use leptos_router::components::A;
use tidings_proto::{
    TraceId, UnixNanos,
    api::{ServiceTime, TraceSummary},
};

use crate::{
    api, browser, colour,
    components::{ServiceDot, StateBadge},
    format,
};

/// More services than this are a number.
const DOTS_MAX: usize = 5;

/// The id of a trace's row.
pub(super) fn row_id(trace: TraceId) -> String {
    format!("trace-{trace}")
}

/// What a row is drawn from: when this changes, the row is drawn anew.
type RowKey = (TraceId, u64, u64, u64, tidings_proto::api::TransactionState);

fn row_key(trace: &TraceSummary) -> RowKey {
    (trace.trace_id, trace.span_count, trace.error_count, trace.duration_nano.0, trace.state)
}

/// The table.
#[component]
#[must_use]
pub fn TraceTable(
    /// The rows.
    #[prop(into)]
    traces: Signal<Arc<Vec<TraceSummary>>>,
    /// The row the keyboard is on.
    #[prop(into)]
    selected: Signal<Option<TraceId>>,
    /// Called with the trace of a row that is clicked.
    on_open: Callback<TraceId>,
) -> impl IntoView {
    let longest = Memo::new(move |_| {
        traces.with(|traces| traces.iter().map(|trace| trace.duration_nano.0).max().unwrap_or(0))
    });
    let rows = move || traces.with(|traces| traces.to_vec());
    view! {
        <table class="traces" aria-label="Traces">
            <thead>
                <tr>
                    <th scope="col" class="traces-started">"Started"</th>
                    <th scope="col">"Transaction"</th>
                    <th scope="col" class="traces-state">"State"</th>
                    <th scope="col" class="traces-duration">"Duration"</th>
                    <th scope="col" class="traces-bar">
                        <span class="hidden">"Where the time went"</span>
                    </th>
                    <th scope="col" class="traces-number">"Spans"</th>
                    <th scope="col" class="traces-number">"Errors"</th>
                    <th scope="col" class="traces-services">"Services"</th>
                </tr>
            </thead>
            <tbody>
                <For
                    each=rows
                    key=row_key
                    let(trace)
                >
                    <TraceRow trace longest selected on_open />
                </For>
            </tbody>
        </table>
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
            <td class="mono faint" title=full_time(time, zone)>
                {started}
            </td>
            <td class="traces-name">
                <A href=api::trace_address(id, None)>{name}</A>
                " "
                <span class="mute">{format::service(&trace.root_service).to_owned()}</span>
                {no_root}
            </td>
            <td>
                <StateBadge state=trace.state />
            </td>
            <td class="num" title=hint>{format::duration(trace.duration_nano)}</td>
            <td>
                <TimeBar services=trace.services.clone() duration=trace.duration_nano.0 longest />
            </td>
            <td class="num" title=hint>{count(trace.span_count)}</td>
            <td class="num" class:is-error=errors != 0 class:faint=errors == 0 title=hint>
                {count(errors)}
            </td>
            <td>
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
