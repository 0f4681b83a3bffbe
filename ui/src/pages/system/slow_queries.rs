//! Queries: the latency of each API, and the slowest queries of the last hour, with their text,
//! duration, reads and key. Single long queries are in the list of the slowest only.

use std::{sync::Arc, time::Duration};

use leptos::prelude::*;
use tidings_proto::api::{AnswerTimes, QueryOutcome, SlowQuery, SlowQueryList};

use crate::{
    api, browser,
    components::{
        Badge, Panel,
        PlainHead::{Number, Words},
        PlainTable, Tone,
    },
    format, number_format,
    request_state::RequestState,
};

/// Interval at which the list is requested.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10);
/// Number of queries that are drawn at first.
const SHOWN: usize = 8;
/// Maximum number of characters of a query that are drawn.
const WORDS_CHARS_MAX: usize = 160;
/// Duration above which a query is marked.
const SLOW_NANOS: u64 = 1_000_000_000;

/// Draws both panels.
pub(super) fn query_panels() -> impl IntoView {
    let list = RequestState::<SlowQueryList>::new(|| Some(api::slow_queries()));
    let again = move || {
        if browser::is_page_visible() {
            list.refresh_when_idle();
        }
    };
    if let Ok(timer) = set_interval_with_handle(again, REFRESH_INTERVAL) {
        on_cleanup(move || timer.clear());
    }
    let shows_all = RwSignal::new(false);
    let note = move || {
        let list = list.value()?;
        Some(format!("of {} in the last hour", format::counted(list.query_count, "query")))
    };
    let draw = move |list: Arc<SlowQueryList>| move || table(&list, shows_all);
    let latency = move |list: Arc<SlowQueryList>| latency_table(&list.kinds);
    view! {
        <Panel
            title="Query latency"
            note="from a question to the beginning of its answer, since the start"
            state=list
            is_empty=|list| list.kinds.is_empty()
            empty="Query latency is of the whole server: its default tenant sees it."
            rows=4
            draw=latency
        />
        <Panel
            title="Slowest queries"
            note=Signal::derive(move || note().unwrap_or_default())
            state=list
            is_empty=|list| list.queries.is_empty()
            empty="No query ran in the last hour."
            rows=4
            draw=draw
        />
    }
}

fn latency_table(kinds: &[AnswerTimes]) -> impl IntoView + use<> {
    let row = |of: &AnswerTimes| {
        let is_slow = of.p99_nano.0 >= SLOW_NANOS;
        view! {
            <tr>
                <td class="grow" title=kind_title(&of.kind)>{of.kind.clone()}</td>
                <td class="num">{format::count(of.count)}</td>
                <td class="num">{format::duration(of.p50_nano)}</td>
                <td class="num query-p95">{format::duration(of.p95_nano)}</td>
                <td class="num" class:is-warning=is_slow>
                    {format::duration(of.p99_nano)}
                </td>
                <td class="num" class:is-error=of.failed_count != 0>
                    {format::count(of.failed_count)}
                </td>
            </tr>
        }
    };
    let rows = kinds.iter().map(row).collect_view();
    view! {
        <table class="table" aria-label="Query latency">
            <thead>
                <tr>
                    <th scope="col">"Kind"</th>
                    <th scope="col" class="num">"Queries"</th>
                    <th scope="col" class="num">"p50"</th>
                    <th scope="col" class="num query-p95">"p95"</th>
                    <th scope="col" class="num">"p99"</th>
                    <th scope="col" class="num">"Failed"</th>
                </tr>
            </thead>
            <tbody>{rows}</tbody>
        </table>
    }
}

/// Returns the meaning of a kind whose name does not say it.
fn kind_title(kind: &str) -> Option<&'static str> {
    match kind {
        "red" => Some("Rates, errors and durations of groups of spans"),
        "other" => Some(
            "The rest of the API, such as what an id leads to, deployments, limits, keys and pins",
        ),
        _ => None,
    }
}

fn table(list: &SlowQueryList, shows_all: RwSignal<bool>) -> impl IntoView + use<> {
    let has_askers = list.queries.iter().any(|query| query.asked_by.is_some());
    let shown = if shows_all.get() { list.queries.len() } else { SHOWN };
    let rows = list.queries.iter().take(shown).map(|query| row(query, has_askers));
    let rows = rows.collect_view();
    let mut heads = vec![Words("Kind"), Words("Query"), Number("Took"), Number("Rows read")];
    heads.extend(has_askers.then_some(Words("Who")));
    heads.push(Number("When"));
    let more = (list.queries.len() > shown).then(|| {
        view! {
            <p class="panel-foot">
                <button class="link" type="button" on:click=move |_| shows_all.set(true)>
                    {format!("Show all {}", list.queries.len())}
                </button>
            </p>
        }
    });
    view! {
        <PlainTable label="Slowest queries" heads>
            {rows}
        </PlainTable>
        {more}
    }
}

fn row(query: &SlowQuery, has_askers: bool) -> impl IntoView + use<> {
    let outcome = match query.outcome {
        QueryOutcome::Answered => None,
        QueryOutcome::Refused => Some((Tone::Plain, "refused")),
        QueryOutcome::Failed => Some((Tone::Error, "failed")),
        QueryOutcome::Abandoned => Some((Tone::Warning, "given up")),
    };
    let outcome = outcome.map(|(tone, words)| view! { <Badge tone=tone>{words}</Badge> });
    let is_slow = query.duration_nano.0 >= SLOW_NANOS;
    let who = has_askers.then(|| {
        view! { <td>{query.asked_by.clone().unwrap_or_else(|| "–".to_owned())}</td> }
    });
    view! {
        <tr>
            <td>{query.kind.clone()}</td>
            <td class="grow mono slow-query" title=query.words.clone()>
                {outcome}
                <bdi>{number_format::truncate(&query.words, WORDS_CHARS_MAX)}</bdi>
            </td>
            <td class="num" class:is-warning=is_slow>
                {format::duration(query.duration_nano)}
            </td>
            <td class="num">{format::count(query.rows)}</td>
            {who}
            <td class="num mute">{format::ago(query.start_unix_nano, browser::now())}</td>
        </tr>
    }
}
