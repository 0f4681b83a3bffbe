//! An open group: its stack, its traces, its logs.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::api::{
    AffectedTransactionType, ExceptionGroup, ExceptionTransactions, LogSearchResult,
    TraceSearchResult, TraceSummary,
};

use super::{
    ErrorRow, ErrorsState, SourceGroup, row_id,
    stack::{StackPart, package_of, parts},
    type_words,
};
use crate::{
    addresses::{self, TraceListLink, traceql_text},
    api::{
        self,
        analysis::{Analysis, exception_transactions},
        trace_sets,
    },
    browser,
    components::{
        CopyButton, LoadingRows, PartialNote,
        PlainHead::{Number, Words},
        PlainTable, ServiceName, ShorterRange, StateBadge, WatchedRequest, severity_class,
    },
    format, number_format,
    page_time::partial_answer_text,
    request_state::RequestState,
    url::{LogState, TimeRange, UrlQuery},
};

/// Traces that are listed.
const TRACES: u32 = 6;
/// Log records that are listed.
const LOGS: usize = 6;
/// Maximum number of drawn lines of a short stack, which leaves room for log records below it.
const SHORT_STACK_LINES: usize = 12;

/// The row under a group's own.
pub(super) fn details(
    page: ErrorsState,
    row: &ErrorRow,
    range: TimeRange,
) -> impl IntoView + use<> {
    let group = row.group.clone();
    let logs = logs(&group);
    let (below, beside) =
        if has_short_stack(&group.stack_trace) { (logs, None) } else { (None, logs) };
    view! {
        <tr class="errors-details">
            <td colspan="9">
                {row.source.as_ref().map(|source| source_note(page, source))}
                <div class="errors-columns">
                    <div class="errors-main">{stack(&group)} {below}</div>
                    <div class="errors-side">{traces(page, &group, range)} {beside}</div>
                </div>
            </td>
        </tr>
    }
}

/// Names the source of the opened group, with the way to it.
fn source_note(page: ErrorsState, source: &SourceGroup) -> impl IntoView + use<> {
    let SourceGroup { id, service, operation, .. } = source.clone();
    let open = move |_| {
        page.toggle.run(id.clone());
        browser::scroll_into_view(&row_id(&id));
    };
    view! {
        <p class="errors-source">
            "It only follows: in nearly all of its transactions, the failure begins at "
            <ServiceName service />
            " "
            <span class="mute" title=operation.clone()>{number_format::truncate(&operation, 60)}</span>
            ". "
            <button class="button" type="button" on:click=open>"Open the source"</button>
        </p>
    }
}

/// Reports whether the stack is so short that the room below it would stay blank. Runs of library
/// frames are one line.
fn has_short_stack(stack_trace: &str) -> bool {
    parts(stack_trace).0.len() <= SHORT_STACK_LINES
}

fn stack(group: &ExceptionGroup) -> impl IntoView + use<> {
    let shown_all = RwSignal::new(false);
    let (lines, was_cut) = parts(&group.stack_trace);
    let frames =
        group.stack_trace.lines().filter(|line| line.trim_start().starts_with("at ")).count();
    let has_library = lines.iter().any(|part| matches!(part, StackPart::Library(_)));
    let headline =
        format!("{}: {}", type_words(group), number_format::truncate(&group.message, 4_000));
    let has_headline = matches!(lines.first(), Some(StackPart::Headline(_)));
    let body = move || {
        let all = shown_all.get();
        lines.iter().map(|part| stack_part(part, all)).collect_view()
    };
    let is_empty = group.stack_trace.trim().is_empty();
    let empty = is_empty.then(|| note("It was recorded without a stack."));
    let button = has_library.then(|| {
        let words = move || if shown_all.get() { "Our code" } else { "All frames" };
        view! {
            <button
                class="button"
                type="button"
                aria-pressed=move || shown_all.get().to_string()
                on:click=move |_| shown_all.update(|all| *all = !*all)
            >
                {words}
            </button>
        }
    });
    let note = if frames > 0 {
        format!("{}, of the last exception", format::counted(frames as u64, "frame"))
    } else {
        "of the last exception".to_owned()
    };
    let copied = if has_headline {
        group.stack_trace.clone()
    } else {
        format!("{headline}\n{}", group.stack_trace)
    };
    view! {
        <section class="errors-stack" aria-label="Stack">
            <div class="errors-head">
                <h3>"Stack"</h3>
                <span class="mute">{note}</span>
                <span class="panel-tools">
                    {button} <CopyButton text=copied label="Copy the stack" />
                </span>
            </div>
            <div class="stack" tabindex="0" role="region" aria-label="Stack trace">
                {(!has_headline).then(|| view! { <p class="stack-head">{headline}</p> })}
                {body}
                {was_cut.then(|| view! { <p class="mute">"The rest is cut here; copy has all of it."</p> })}
            </div>
            {empty}
        </section>
    }
}

fn stack_part(part: &StackPart, all: bool) -> AnyView {
    let line = |text: &str, class: &'static str| {
        view! { <p class=class>{text.replace('\t', "    ")}</p> }.into_any()
    };
    match part {
        StackPart::Headline(text) => line(text, "stack-head"),
        StackPart::Line(text) => line(text, "stack-line"),
        StackPart::Library(run) if all => {
            run.iter().map(|text| line(text, "stack-library")).collect_view().into_any()
        }
        StackPart::Library(run) => {
            let count = format::counted(run.len() as u64, "frame");
            let of = package_of(run).unwrap_or_else(|| "libraries".to_owned());
            line(&format!("▸ {count} of {of}"), "stack-library")
        }
    }
}

/// The query of traces with an exception like this.
fn query_of(group: &ExceptionGroup) -> String {
    let mut conditions = Vec::new();
    if !group.service.is_empty() {
        conditions.push(format!("resource.service.name = {}", traceql_text(&group.service)));
    }
    if !group.operation.is_empty() {
        conditions.push(format!("name = {}", traceql_text(&group.operation)));
    }
    if !group.exception_type.is_empty() {
        conditions.push(format!("event.exception.type = {}", traceql_text(&group.exception_type)));
    }
    format!("{{ {} }}", conditions.join(" && "))
}

fn traces(page: ErrorsState, group: &ExceptionGroup, range: TimeRange) -> impl IntoView + use<> {
    let query = query_of(group);
    let only_logs = group.log_count == group.count;
    let transaction_types = if only_logs {
        note("Only log records have it, so its transactions are not known.")
    } else {
        affected_transaction_types(page, group, range)
    };
    let asked = query.clone();
    let found = RequestState::<TraceSearchResult>::new(move || {
        let analysis = page.window.get().analysis().with("q", &asked).with("limit", TRACES);
        (!only_logs).then(|| trace_sets::trace_sample(&analysis))
    });
    let rows = (!only_logs).then(|| {
        answered(found, "Its traces are not known", move |answer| {
            if answer.traces.is_empty() {
                note("No trace with it is stored in this time.")
            } else {
                trace_rows(answer, range).into_any()
            }
        })
    });
    let found_count = move || found.value().map(|answer| format::total(answer.total, "trace"));
    let mut all = UrlQuery::default();
    all.push("q", &query);
    range.write(&mut all);
    let failed = TraceListLink::within(range)
        .of_service(&group.service)
        .of_operation(&group.operation)
        .failed();
    let last = group.trace_id.map(|trace| {
        let href = api::trace_address(trace, group.span_id);
        view! { <a class="button" href=href>"Last trace"</a> }
    });
    view! {
        <section aria-label="Affected transactions">
            <div class="errors-head">
                <h3>"Affected transactions"</h3>
                <span class="mute">{found_count}</span>
                <span class="panel-tools">
                    {last}
                    <a class="button" href=all.on("/explore")>"All traces"</a>
                    <a
                        class="button"
                        href=failed.address()
                        title="All failed calls of this service and operation"
                    >
                        "Failed calls"
                    </a>
                </span>
            </div>
            {transaction_types}
            {rows}
        </section>
    }
}

/// Transaction types that are listed.
const TRANSACTION_TYPES_MAX: u32 = 8;

/// Counts of the transactions with the exception, by type.
fn affected_transaction_types(
    page: ErrorsState,
    group: &ExceptionGroup,
    range: TimeRange,
) -> AnyView {
    let asked = group.clone();
    let found = RequestState::<ExceptionTransactions>::new(move || {
        let named = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let analysis = page.window.get().analysis();
        let analysis = analysis
            .with_some("service", named(&asked.service))
            .with_some("operation", named(&asked.operation))
            .with_some("type", named(&asked.exception_type))
            .with("group", &asked.id)
            .with("limit", TRANSACTION_TYPES_MAX);
        Some(exception_transactions(&analysis))
    });
    answered(found, "Its transactions by type are not known", move |answer| {
        if answer.transaction_types.is_empty() {
            ().into_any()
        } else {
            transaction_type_rows(answer, range).into_any()
        }
    })
}

/// Draws the last answer, and above it the failure of a later request, as the missing answer.
fn answered<T: Send + Sync + 'static>(
    found: RequestState<T>,
    missing: &'static str,
    draw: impl Fn(&Arc<T>) -> AnyView + Send + 'static,
) -> AnyView {
    let request = WatchedRequest::new(missing, found);
    let drawn = move || match found.value() {
        Some(answer) => draw(&answer),
        None if request.has_failed() => ().into_any(),
        None => view! { <LoadingRows count=2 /> }.into_any(),
    };
    view! { {request.note()} {drawn} }.into_any()
}

fn note(words: &'static str) -> AnyView {
    view! { <p class="mute">{words}</p> }.into_any()
}

/// Transaction types with their counts, and what these leave out.
fn transaction_type_rows(
    answer: &ExceptionTransactions,
    range: TimeRange,
) -> impl IntoView + use<> {
    let most = answer
        .transaction_types
        .iter()
        .map(|transaction_type| transaction_type.transaction_count)
        .max()
        .unwrap_or(1)
        .max(1);
    let row = |transaction_type: &AffectedTransactionType| {
        let name = format::operation(&transaction_type.operation).to_owned();
        let words = number_format::truncate(&name, 60);
        let name_view = if transaction_type.has_root {
            let href = addresses::transaction_type(
                &transaction_type.service,
                &transaction_type.operation,
                range,
            );
            view! { <a class="plain-link" href=href>{words}</a> }.into_any()
        } else {
            view! { <span class="mute">{words} ", beginning not stored"</span> }.into_any()
        };
        let width =
            format!("{:.1}%", transaction_type.transaction_count as f64 / most as f64 * 100.0);
        view! {
            <tr>
                <td class="num">{format::count(transaction_type.transaction_count)}</td>
                <td class="grow" title=name>
                    <span class="errors-transaction-type">
                        {name_view} " " <ServiceName service=transaction_type.service.clone() />
                    </span>
                </td>
                <td class="split-bar wide" aria-hidden="true">
                    <span class="bar-track">
                        <span class="bar-fill" style=("width", width)></span>
                    </span>
                </td>
            </tr>
        }
    };
    let rows = answer.transaction_types.iter().map(row).collect_view();
    let unread = partial_answer_text(&answer.searched)
        .map(|words| view! { <PartialNote>{words} " " <ShorterRange /></PartialNote> });
    view! {
        <table class="table" aria-label="Affected transaction types">
            <thead>
                <tr>
                    <th scope="col" class="num">"Affected"</th>
                    <th scope="col">"Transaction type"</th>
                    <th scope="col" class="wide">
                        <span class="hidden">"Affected as a bar"</span>
                    </th>
                </tr>
            </thead>
            <tbody>{rows}</tbody>
        </table>
        {left_out(answer).map(|words| view! { <p class="mute">{words}</p> })}
        {unread}
    }
}

/// Words for what the counts by type leave out; `None` when they are of everything.
fn left_out(answer: &ExceptionTransactions) -> Option<String> {
    let mut words = Vec::new();
    let more_types =
        answer.transaction_type_count.saturating_sub(answer.transaction_types.len() as u64);
    if more_types > 0 {
        words.push(format!("{} more.", format::counted(more_types, "type")));
    }
    if answer.analysed_count < answer.transaction_count {
        words.push(format!(
            "Types are those of {} of {}.",
            format::count(answer.analysed_count),
            format::counted(answer.transaction_count, "transaction")
        ));
    }
    (!words.is_empty()).then(|| words.join(" "))
}

/// Reports whether all of these transactions are of one type, by service, operation, and whether
/// their beginning is stored.
fn has_one_type<'a>(mut types: impl Iterator<Item = (&'a str, &'a str, bool)>) -> bool {
    let first = types.next();
    types.all(|of| Some(of) == first)
}

/// Traces, each with the way to it, and to its transaction type where they are of several.
fn trace_rows(answer: &Arc<TraceSearchResult>, range: TimeRange) -> impl IntoView + use<> {
    let now = browser::now();
    let types = answer
        .traces
        .iter()
        .map(|trace| (trace.root_service.as_str(), trace.root_operation.as_str(), trace.has_root));
    let has_one_type = has_one_type(types);
    let row = |trace: &TraceSummary| {
        let start = trace.start_unix_nano;
        let started = format::when(start, now, browser::zone_minutes(start));
        let transaction_type = (!has_one_type).then(|| type_cell(trace, range));
        view! {
            <tr>
                <td><a class="mono" href=api::trace_address(trace.trace_id, None)>{started}</a></td>
                {transaction_type}
                <td class="num">{format::duration(trace.duration_nano)}</td>
                <td><StateBadge state=trace.state /></td>
            </tr>
        }
    };
    let rows = answer.traces.iter().map(row).collect_view();
    let mut heads = vec![Words("Started"), Number("Duration"), Words("State")];
    if !has_one_type {
        heads.insert(1, Words("Transaction type"));
    }
    view! {
        <PlainTable label="Affected transactions" class="table errors-traces" heads>
            {rows}
        </PlainTable>
    }
}

/// The transaction type of a trace, with the way to it.
fn type_cell(trace: &TraceSummary, range: TimeRange) -> impl IntoView + use<> {
    let name = format::operation(&trace.root_operation).to_owned();
    let transaction_type = if trace.has_root {
        let (service, operation) = (&trace.root_service, &trace.root_operation);
        let href = addresses::transaction_type(service, operation, range);
        view! { <a class="plain-link" href=href>{number_format::truncate(&name, 60)}</a> }
            .into_any()
    } else {
        view! { <span class="mute">"beginning not stored"</span> }.into_any()
    };
    view! {
        <td class="grow" title=name>
            <span class="errors-transaction-type">
                {transaction_type} " " <ServiceName service=trace.root_service.clone() />
            </span>
        </td>
    }
}

/// The records of the last one's trace from this service, where there is a trace.
fn logs(group: &ExceptionGroup) -> Option<impl IntoView + use<>> {
    let trace = group.trace_id?;
    let service = group.service.clone();
    let state = LogState {
        trace_id: Some(crate::url::ParsedParam::Read(trace)),
        range: TimeRange::All,
        ..LogState::default()
    };
    let href = state.write().on("/logs");
    let asked = service.clone();
    let found = RequestState::<LogSearchResult>::new(move || {
        let analysis = Analysis::default()
            .with("traceId", trace)
            .with_some("service", (!asked.is_empty()).then_some(&asked))
            .with("limit", LOGS);
        Some(trace_sets::log_sample(&analysis))
    });
    let last = group.time_unix_nano;
    let rows = answered(found, "Its log records are not known", move |answer| {
        if answer.logs.is_empty() {
            note("Its service wrote no log record in the last one's trace.")
        } else {
            let row = |log: &tidings_proto::api::LogView| {
                let time = log.time_unix_nano;
                let offset = i64::try_from(time.0)
                    .unwrap_or(i64::MAX)
                    .saturating_sub(i64::try_from(last.0).unwrap_or(i64::MAX));
                let text = number_format::truncate(&log.text, 400);
                view! {
                    <li class="errors-log">
                        <span class="num mute">{format::offset(offset)}</span>
                        <span class="mono">
                            <span class=severity_class(&log.severity)>
                                {log.severity.to_uppercase()}
                            </span>
                        </span>
                        <span class="mono errors-log-text">{text}</span>
                    </li>
                }
            };
            let rows = answer.logs.iter().rev().map(row).collect_view();
            view! { <ul>{rows}</ul> }.into_any()
        }
    });
    Some(view! {
        <section aria-label="Log records around it">
            <div class="errors-head">
                <h3>"Log records around it"</h3>
                <span class="panel-tools">
                    <a class="button" href=href>"All logs"</a>
                </span>
            </div>
            {rows}
        </section>
    })
}

#[cfg(test)]
mod tests {
    use super::{SHORT_STACK_LINES, has_one_type, has_short_stack};

    #[test]
    fn a_stack_is_short_by_its_drawn_lines() {
        assert!(has_short_stack(""), "recorded without a stack");
        let own = "    at shop.Pay.charge(Pay.java:1)\n";
        assert!(has_short_stack(&own.repeat(SHORT_STACK_LINES)));
        assert!(!has_short_stack(&own.repeat(SHORT_STACK_LINES + 1)));
        // A run of library frames is one line.
        assert!(has_short_stack(&"    at io.grpc.Call.run(Call.java:1)\n".repeat(40)));
    }

    #[test]
    fn types_are_named_where_there_are_several() {
        let types = [("shop", "pay", true), ("shop", "pay", true), ("shop", "buy", true)];
        assert!(has_one_type(types[..2].iter().copied()));
        assert!(!has_one_type(types.into_iter()));
        assert!(!has_one_type([("shop", "pay", true), ("shop", "pay", false)].into_iter()));
        assert!(has_one_type(std::iter::empty()));
    }
}
