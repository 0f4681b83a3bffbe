//! The sections of a transaction: hops, errors, traces, services, logs, missing parts.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos,
    api::{Hop, LogView, TotalRelation, TraceSummary, TransactionView},
};

use crate::{
    addresses, api, browser, colour,
    components::{
        PeerName,
        PlainHead::{Explained, Number, Words},
        PlainTable, ServiceName, SparkTone, StateBadge, severity_tone, waiting_part,
    },
    format, number_format,
    url::{History, TimeRange, use_navigation},
};

/// Maximum number of log records that are drawn.
const LOGS: usize = 200;
/// Maximum number of hops that are drawn.
const HOPS: usize = 400;

/// Returns the time that shares refer to: the elapsed time, or the sum of the critical paths, which
/// is longer for some concurrent traces.
pub(super) fn total_nanos(view: &TransactionView) -> u64 {
    let critical: u64 = view.services.iter().map(|service| service.critical_nano.0).sum();
    critical.max(view.elapsed_nano.0)
}

/// Returns the number of log records, or its lower bound.
pub(super) fn log_count(view: &TransactionView) -> String {
    let count = format::count(view.log_count);
    match view.log_count_relation {
        TotalRelation::Exact => count,
        TotalRelation::AtLeast => format!("at least {count}"),
    }
}

/// A card with a heading. `empty` replaces a missing body.
fn card(title: String, note: String, empty: Option<&'static str>, body: AnyView) -> impl IntoView {
    let body = match empty {
        Some(words) => view! { <p class="panel-empty">{words}</p> }.into_any(),
        None => body,
    };
    let name = title.clone();
    view! {
        <section class="card panel" aria-label=name>
            <div class="panel-head">
                <h2>{title}</h2>
                <span class="mute">{note}</span>
            </div>
            <div class="panel-body">{body}</div>
        </section>
    }
}

/// The words for the missing parts, if any.
pub(super) fn missing(view: &Arc<TransactionView>) -> Option<impl IntoView + use<>> {
    if view.missing.is_empty() {
        return None;
    }
    let lines = view.missing.iter().map(|words| view! { <li>{words.clone()}</li> }).collect_view();
    Some(view! {
        <section class="card tx-missing" aria-label="Missing">
            <h2>"Missing"</h2>
            <ul>{lines}</ul>
        </section>
    })
}

/// Every call from one service into another or of a peer without spans, in order of the first.
pub(super) fn hops(view: &Arc<TransactionView>) -> impl IntoView + use<> {
    let elapsed = view.elapsed_nano.0.max(1);
    let begin = view.start_unix_nano;
    let rows = view.hops.iter().take(HOPS).map(|hop| {
        let left = number_format::ratio(hop.first_start_unix_nano.since(begin).0, elapsed);
        hop_row(hop, left.clamp(0.0, 1.0), elapsed)
    });
    let rows = rows.collect_view();
    let heads = [
        Words("From"),
        Words("To"),
        Words("When"),
        Number("Calls"),
        Number("Failed"),
        Explained("Response", "The longest response time"),
        Explained("Sum", "The response times, added up"),
        Explained(
            "Elapsed: self time",
            "The elapsed time in which the end of the transaction waited for the hop's own work",
        ),
        Explained(
            "Elapsed: waiting to start",
            "The part in which the end of the transaction waited for its start, as in a queue",
        ),
    ];
    let left_out = view.hop_count.saturating_sub(view.hops.len().min(HOPS) as u64);
    let more = (left_out > 0).then(|| {
        view! { <p class="panel-empty">{format!("{} not drawn.", format::counted(left_out, "more hop"))}</p> }
    });
    let body = view! {
        <PlainTable label="Hops" class="table hops-table stacked" heads>
            {rows}
        </PlainTable>
        {more}
    };
    let empty = view.hops.is_empty().then_some("No call between services has arrived.");
    card("Hop by hop".to_owned(), "in order of the first call".to_owned(), empty, body.into_any())
}

fn hop_row(hop: &Hop, left: f64, elapsed: u64) -> impl IntoView + use<> {
    let from = match &hop.from_service {
        Some(service) => view! { <ServiceName service=service.clone() /> }.into_any(),
        None => view! { <span class="mute">"enters"</span> }.into_any(),
    };
    let width = number_format::ratio(hop.response_max_nano.0, elapsed).min(1.0 - left);
    let nanos = format::duration_or_none;
    let name = format::operation(&hop.operation).to_owned();
    // Only services have shades; the spans of a peer are its caller's.
    let is_peer = hop.peer_kind.is_some();
    let shaded = hop.from_service.as_ref().filter(|_| is_peer).unwrap_or(&hop.service);
    let failed = hop.error_count;
    view! {
        <tr>
            <td>{from}</td>
            <td class="tx-to">
                {callee_name(hop)}
                " "
                <span class="mute" title=name.clone()>{number_format::truncate(&name, 60)}</span>
            </td>
            <td class="tx-lane">
                <span class="lane">
                    <span
                        class="lane-bar"
                        style=("--hue", colour::hue_value(shaded))
                        style=("left", format!("{:.3}%", left * 100.0))
                        style=("width", format!("{:.3}%", width.max(0.0) * 100.0))
                    ></span>
                </span>
            </td>
            <td class="num">{format::count(hop.call_count)}</td>
            <td class="num" class:is-worse=failed != 0>{format::count(failed)}</td>
            <td class="num">{nanos(hop.response_max_nano)}</td>
            <td class="num was">{nanos(hop.response_nano)}</td>
            <td class="num">{nanos(hop.completion_nano)}</td>
            <td class="num">{nanos(hop.waiting_nano)}</td>
        </tr>
    }
}

/// The called service, or the peer with a note that it sends no spans.
fn callee_name(hop: &Hop) -> AnyView {
    let name = hop.service.clone();
    if hop.peer_kind.is_none() {
        view! { <ServiceName service=name /> }.into_any()
    } else {
        view! { <PeerName peer=name /> }.into_any()
    }
}

/// The failed spans, in order of time.
pub(super) fn errors(view: &Arc<TransactionView>) -> impl IntoView + use<> {
    let begin = view.start_unix_nano;
    let row = |error: &tidings_proto::api::ErrorView| {
        let href = api::trace_address(error.trace_id, Some(error.span_id));
        let what =
            if error.exception_type.is_empty() { &error.message } else { &error.exception_type };
        let what = if what.is_empty() { "failed" } else { what.as_str() };
        let after = i64::try_from(error.start_unix_nano.since(begin).0).unwrap_or(i64::MAX);
        let more = number_format::truncate(&error.exception_message, 300);
        view! {
            <tr>
                <td class="num" title="after the start">{format::offset(after)}</td>
                <td><ServiceName service=error.service.clone() /></td>
                <td class="grow">
                    <a href=href>{number_format::truncate(format::operation(&error.operation), 60)}</a>
                    " "
                    <span class="is-worse">{number_format::truncate(what, 120)}</span>
                    " "
                    <span class="mute" title=more.clone()>{more.clone()}</span>
                </td>
            </tr>
        }
    };
    let rows = view.errors.iter().map(row).collect_view();
    let body =
        view! { <table class="table tx-lines" aria-label="Errors"><tbody>{rows}</tbody></table> };
    let empty = view.errors.is_empty().then_some("No span failed.");
    card("Errors".to_owned(), String::new(), empty, body.into_any())
}

/// Its traces, oldest first.
pub(super) fn traces(view: &Arc<TransactionView>) -> impl IntoView + use<> {
    let go = use_navigation();
    let row = |trace: &TraceSummary| {
        let href = api::trace_address(trace.trace_id, None);
        let start = trace.start_unix_nano;
        let started = format::when(start, browser::now(), browser::zone_minutes(start));
        let (go, address) = (go.clone(), href.clone());
        view! {
            <tr class="row-link" on:click=move |_| go(&address, History::Push)>
                <td><a class="mono" href=href>{started}</a></td>
                <td class="grow">
                    {number_format::truncate(format::operation(&trace.root_operation), 80)}
                    " "
                    <span class="mute">{format::service(&trace.root_service).to_owned()}</span>
                </td>
                <td><StateBadge state=trace.state /></td>
                <td class="num">{format::duration(trace.duration_nano)}</td>
                <td class="num">{format::counted(trace.span_count, "span")}</td>
            </tr>
        }
    };
    let rows = view.traces.iter().map(row).collect_view();
    let shown = view.traces.len() as u64;
    let note = if view.trace_count > shown {
        format!("the {} newest of {}", format::count(shown), format::count(view.trace_count))
    } else {
        format::count(shown)
    };
    let body =
        view! { <table class="table tx-lines" aria-label="Traces"><tbody>{rows}</tbody></table> };
    let empty = view.traces.is_empty().then_some("No span of it has arrived, only log records.");
    card("Traces".to_owned(), note, empty, body.into_any())
}

/// The time of each service.
pub(super) fn services(view: &Arc<TransactionView>) -> impl IntoView + use<> {
    let total = total_nanos(view);
    let row = |one: &tidings_proto::api::ServiceTime| {
        let href = addresses::service(&one.service, TimeRange::default());
        let share = number_format::ratio(one.critical_nano.0, total);
        let failed = one.error_count;
        view! {
            <tr>
                <td class="grow">
                    <a href=href><ServiceName service=one.service.clone() /></a>
                </td>
                <td class="num">{format::count(one.span_count)}</td>
                <td class="num" class:is-worse=failed != 0>{format::count(failed)}</td>
                <td class="num">{format::duration_or_none(one.self_nano)} " " {waiting_part(one)}</td>
                {share_cell(share)}
            </tr>
        }
    };
    let rows = view.services.iter().map(row).collect_view();
    let explanation = format!(
        "Share of the {} in which the service was on the critical path",
        format::duration(DurationNanos(total))
    );
    let body = view! {
        <table class="table stacked tx-services" aria-label="Services">
            <thead>
                <tr>
                    <th scope="col">"Service"</th>
                    <th scope="col" class="num">"Spans"</th>
                    <th scope="col" class="num">"Errors"</th>
                    <th scope="col" class="num">"Self time"</th>
                    <th scope="col" class="num" title=explanation>"Critical path"</th>
                </tr>
            </thead>
            <tbody>{rows}</tbody>
        </table>
    };
    let empty = view.services.is_empty().then_some("No span of it has arrived.");
    card("Services".to_owned(), String::new(), empty, body.into_any())
}

/// A cell with the share of a service.
fn share_cell(share: f64) -> impl IntoView {
    let is_waited_for = share > 0.0;
    let words = if is_waited_for { number_format::share(share) } else { "not on it".to_owned() };
    view! {
        <td class="num" class:mute=!is_waited_for>
            {words}
        </td>
    }
}

/// The log records, oldest first.
pub(super) fn logs(view: &Arc<TransactionView>) -> impl IntoView + use<> {
    let begin = view.start_unix_nano;
    let row = |log: &LogView| {
        let after = if log.time_unix_nano >= begin {
            i64::try_from(log.time_unix_nano.since(begin).0).unwrap_or(i64::MAX)
        } else {
            -i64::try_from(begin.since(log.time_unix_nano).0).unwrap_or(i64::MAX)
        };
        let class = match severity_tone(&log.severity) {
            SparkTone::Error => "tx-severity is-error mono",
            SparkTone::Warning => "tx-severity is-warning mono",
            _ => "tx-severity mono",
        };
        let text = number_format::truncate(&log.text, 600);
        let text = match api::log_trace_address(log) {
            Some(href) => view! { <a class="tx-log" href=href>{text}</a> }.into_any(),
            None => view! { <span class="tx-log">{text}</span> }.into_any(),
        };
        view! {
            <li class="tx-log-line">
                <span class="num mute">{format::offset(after)}</span>
                <span class=class>{log.severity.to_uppercase()}</span>
                <span class="mono">{text}</span>
            </li>
        }
    };
    let skipped = view.logs.len().saturating_sub(LOGS);
    let rows = view.logs.iter().skip(skipped).map(row).collect_view();
    let shown = view.logs.len().min(LOGS) as u64;
    let note = if view.log_count > shown {
        format!("the newest {} of {}", format::count(shown), log_count(view))
    } else {
        log_count(view)
    };
    let body = view! { <ul class="tx-logs">{rows}</ul> };
    let empty = view.logs.is_empty().then_some("No log record belongs to it.");
    card("Logs".to_owned(), note, empty, body.into_any())
}
