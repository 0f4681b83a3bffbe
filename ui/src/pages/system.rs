//! System: received, refused and stored records, and the state of the store and the tasks. Draws
//! the status that the shell requests.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{
    UnixNanos,
    api::{HorizonBound, ReceiverStatus, ServerStatus, SignalCounts},
};

use crate::{
    browser,
    charts::{
        axis::time_ticks,
        lines::{LineChart, LineSeries, line_key},
    },
    components::{
        Badge, CopyButton, Panel, PartialNote,
        PlainHead::{Number, Words},
        PlainTable, RefusalCard, Tone, WatchedRequest, ranked_refusals, receiver_text,
    },
    format,
    format::rates::{self, three_digits},
    server_watch::{CounterSample, ServerWatch, arrival_gap_line, rate_series, use_server},
    shell::{crumb, set_crumbs},
};

mod audit_panel;
mod erasure_panel;
mod keys_panel;
mod limits_panel;
mod receiver_rates;
mod slow_queries;
mod store;

use keys_panel::keys_section;
use limits_panel::limits_panel;
use receiver_rates::receiver_rates;
use slow_queries::query_panels;
use store::{horizon_facts, horizon_text, rate_text, storage_facts, table_sizes, task_table};

/// Licences of the crates in the program and this interface.
const NOTICES: &str = "/assets/third-party-notices.txt";

/// The page.
#[component]
#[must_use]
pub fn SystemPage() -> impl IntoView {
    set_crumbs(crumb("System"));
    let server = use_server();
    let receivers = move |status: Arc<ServerStatus>| receiver_table(&status.receivers);
    view! {
        <div class="page">
            {head(server)}
            <div class="panel-two">
                <div class="panel-stack">
                    {ingest_panel(server)}
                    <Panel
                        title="Receivers"
                        note="rates of the last minute"
                        state=server.request_state()
                        is_empty=|status| status.receivers.is_empty()
                        empty="Every receiver is off: no spans can arrive."
                        rows=3
                        draw=receivers
                    />
                    {remedies(server)}
                    {query_panels()}
                    {keys_section()}
                </div>
                {stored_panels(server)}
            </div>
        </div>
    }
}

/// Panels about stored data, storage and tasks.
fn stored_panels(server: ServerWatch) -> impl IntoView {
    let stored = move |status: Arc<ServerStatus>| signal_table(status.spans, status.logs);
    let tables = move |status: Arc<ServerStatus>| table_sizes(&status.storage.tables);
    let storage = move |status: Arc<ServerStatus>| storage_facts(&status);
    let horizon = move |status: Arc<ServerStatus>| horizon_facts(&status.storage);
    let tasks = move |status: Arc<ServerStatus>| task_table(&status.tasks);
    let rate_note = Signal::derive(move || {
        server.status().map(|status| rate_text(&status.storage.horizon)).unwrap_or_default()
    });
    view! {
        <div class="panel-stack">
            <Panel
                title="Records"
                note="since the start"
                state=server.request_state()
                is_empty=|_| false
                empty=""
                rows=2
                draw=stored
            />
            <Panel
                title="Files"
                note="by table"
                state=server.request_state()
                is_empty=|status| status.storage.tables.is_empty()
                empty="The store has no tables."
                rows=2
                draw=tables
            />
            <Panel
                title="Memory, disk and log"
                note="now"
                state=server.request_state()
                is_empty=|_| false
                empty=""
                rows=6
                draw=storage
            />
            <Panel
                title="Retention"
                note=rate_note
                state=server.request_state()
                is_empty=|_| false
                empty=""
                rows=5
                draw=horizon
            />
            {limits_panel()}
            <Panel
                title="Tasks"
                note="a task that panics is restarted, or ends the process"
                state=server.request_state()
                is_empty=|status| status.tasks.is_empty()
                empty="No task is watched."
                rows=4
                draw=tasks
            />
        </div>
    }
}

fn head(server: ServerWatch) -> impl IntoView {
    let badges = move || {
        let status = server.status()?;
        let refused = status.receivers.iter().map(|one| one.refused_requests).sum::<u64>();
        let is_taking = server.rates().is_some_and(|rates| rates.spans + rates.logs > 0.0);
        let taking = if server.silent_since().is_some() {
            view! { <Badge tone=Tone::Error>"● does not answer"</Badge> }.into_any()
        } else if is_taking {
            view! { <Badge tone=Tone::Good>"taking records"</Badge> }.into_any()
        } else {
            view! { <Badge tone=Tone::Plain>"listening"</Badge> }.into_any()
        };
        let refused = (refused > 0).then(|| {
            view! { <Badge tone=Tone::Warning>{format::count(refused)} " refused"</Badge> }
        });
        Some(view! { {taking} {refused} })
    };
    let version = move || {
        server.status().map(|status| {
            let up = format::rough_length(browser::now().since(status.started_unix_nano));
            format!("tidings {}, up {up}", status.version)
        })
    };
    let report = Signal::derive(move || {
        let status = server.status();
        status.and_then(|status| serde_json::to_string_pretty(&*status).ok()).unwrap_or_default()
    });
    let insecure = Memo::new(move |_| server.status().is_some_and(|status| status.insecure));
    let warning = move || {
        insecure.get().then(|| {
            view! {
                <PartialNote>
                    "The setting insecure lets other machines reach this server, and nothing \
                     checks who sends and who reads. Make keys with tidings keys create, set \
                     require-keys = true, and take insecure away."
                </PartialNote>
            }
        })
    };
    let sentence = move || {
        let status = server.status()?;
        let disk = status.storage.horizon;
        let horizon = if disk.bound == Some(HorizonBound::Disk) {
            format!(" {}", horizon_text(&disk))
        } else {
            String::new()
        };
        Some(format!("{}{horizon}", sentence_text(&status)))
    };
    view! {
        <header class="page-head">
            <div class="page-title">
                <h1>"System"</h1>
                {badges}
                <span class="page-tools">
                    <span class="mute">{version}</span>
                    <a class="button button-ghost" href=NOTICES rel="external">
                        "Third-party notices"
                    </a>
                    <CopyButton text=report label="Copy the state of the server" />
                </span>
            </div>
            {WatchedRequest::new("The state of the server is not known", server.request_state()).note()}
            <p class="say">{sentence}</p>
            {arrival_gap_line(|| false)}
            {warning}
        </header>
    }
}

/// Returns the first sentence: whether everything that was received is stored.
fn sentence_text(status: &ServerStatus) -> String {
    let rejected = status.spans.rejected + status.logs.rejected;
    let refused: u64 = status.receivers.iter().map(|receiver| receiver.refused_requests).sum();
    match (refused, rejected) {
        (0, 0) => "Everything received is stored.".to_owned(),
        (0, rejected) => {
            format!(
                "Everything received is stored, except {} that were rejected.",
                format::counted(rejected, "record")
            )
        }
        (refused, 0) => {
            format!(
                "Everything is stored, except {} that were refused.",
                format::counted(refused, "request")
            )
        }
        (refused, rejected) => format!(
            "Everything is stored, except {} that were refused and {} that were rejected.",
            format::counted(refused, "request"),
            format::counted(rejected, "record")
        ),
    }
}

/// Number of readings from which rates make a line.
const CHART_READINGS_MIN: usize = 3;

/// Spans and log records per second, over the last minutes. The numbers stand alone until there are
/// readings for a chart, and name its lines then.
fn ingest_panel(server: ServerWatch) -> impl IntoView {
    let has_chart = Memo::new(move |_| server.samples().len() >= CHART_READINGS_MIN);
    let figures = move || {
        let rates = server.rates()?;
        let figure = |number: f64, words: &'static str, index: usize| {
            let key = has_chart.get().then(|| line_key(index));
            view! {
                <div class="figure">
                    <dd>{three_digits(number)}</dd>
                    <dt>{words} " " {key}</dt>
                </div>
            }
        };
        Some(view! {
            {figure(rates.spans, "spans/s", 0)}
            {figure(rates.logs, "log records/s", 1)}
        })
    };
    // Nothing is counted while the server does not answer. The head of the page says so.
    let counting = move || {
        let is_counting = server.rates().is_none() && server.request_state().error().is_none();
        is_counting.then(|| {
            let requests = server.status().map(|status| {
                let receivers = status.receivers.iter();
                receivers.map(|receiver| receiver.accepted_last_minute).sum::<u64>()
            });
            let words = counting_text(requests);
            view! { <p class="panel-say mute">{words}</p> }
        })
    };
    let chart = move || {
        has_chart.get().then(|| {
            let samples = server.samples();
            let (start, end) = ends(&samples);
            let ticks = time_ticks(start, end, browser::zone_minutes(end), 5);
            let series = vec![
                line("spans/s", &samples, |sample| sample.spans),
                line("log records/s", &samples, |sample| sample.logs),
            ];
            let label = "Spans and log records a second, lately";
            view! { <LineChart series ticks label has_legend=false /> }
        })
    };
    let note = move || {
        server.rates()?;
        Some(if has_chart.get() {
            "numbers of the last 10 s, chart since this tab opened, at most 4 min"
        } else {
            "the last 10 s"
        })
    };
    view! {
        <section class="card panel" aria-label="Taken in">
            <div class="panel-head">
                <h2>"Taken in"</h2>
                <span class="mute">{note}</span>
            </div>
            {counting}
            <dl class="figures system-figures">{figures}</dl>
            {chart}
            {receiver_rates(server)}
        </section>
    }
}

/// Returns the words until there are two readings to compare, with the rate of the requests of the
/// last minute, which the first reading has.
fn counting_text(last_minute: Option<u64>) -> String {
    last_minute.map_or_else(
        || "Counting…".to_owned(),
        |requests| {
            let rate = rate(requests);
            format!("Counting, which takes 2 s. In the last minute, {rate} requests/s came.")
        },
    )
}

fn ends(samples: &[CounterSample]) -> (UnixNanos, UnixNanos) {
    let time = |sample: Option<&CounterSample>| sample.map_or(UnixNanos(0), |sample| sample.time);
    (time(samples.get(1)), time(samples.last()))
}

fn line(name: &str, samples: &[CounterSample], of: fn(&CounterSample) -> u64) -> LineSeries {
    let (start, end) = ends(samples);
    let length = end.since(start).0.max(1) as f64;
    let rates = rate_series(samples, of);
    let points = samples.iter().skip(1).zip(rates).map(|(sample, rate)| {
        (sample.time.since(start).0 as f64 / length, rate.unwrap_or(f64::NAN))
    });
    LineSeries { name: name.to_owned(), points: points.collect(), service: None }
}

fn receiver_table(receivers: &[ReceiverStatus]) -> impl IntoView + use<> {
    let has_refusals = receivers.iter().any(|receiver| !receiver.refusals.is_empty());
    let row = |receiver: &ReceiverStatus| {
        let (state, tone) = match (receiver.accepted_requests, receiver.refused_requests) {
            (_, 1..) if receiver.refused_last_minute > 0 => ("refuses now", Tone::Error),
            (_, 1..) => ("refused some", Tone::Warning),
            (0, 0) => ("no sender yet", Tone::Plain),
            _ if receiver.accepted_last_minute == 0 => ("quiet for a minute", Tone::Plain),
            _ => ("receiving", Tone::Good),
        };
        let refused = receiver.refused_requests;
        let received = format!("{} since the start", rates::bytes(receiver.received_bytes));
        let last = receiver.refusals.first().map(|last| last.message.clone()).unwrap_or_default();
        view! {
            <tr>
                <td>
                    <b>{receiver_text(&receiver.name)}</b>
                </td>
                <td class="mono mute">{receiver.address.clone()}</td>
                <td>
                    <Badge tone=tone>{state}</Badge>
                </td>
                <td class="num">{rate(receiver.accepted_last_minute)}</td>
                <td class="num" title=received>
                    {rates::bytes(receiver.bytes_last_minute / SECONDS_PER_MINUTE)}
                </td>
                <td class="num wide">{format::count(receiver.accepted_requests)}</td>
                <td class="num" class:is-warning=refused != 0>
                    {format::count(refused)}
                </td>
                {has_refusals.then(|| view! { <td class="grow mute" title=last.clone()>{last.clone()}</td> })}
            </tr>
        }
    };
    view! {
        <table class="table" aria-label="Receivers">
            <thead>
                <tr>
                    <th scope="col">"Receiver"</th>
                    <th scope="col">"Address"</th>
                    <th scope="col">"State"</th>
                    <th scope="col" class="num" title="Requests a second, over the last minute">
                        "Requests/s"
                    </th>
                    <th
                        scope="col"
                        class="num"
                        title="Bytes a second as they came, over the last minute"
                    >
                        "Bytes/s"
                    </th>
                    <th scope="col" class="num wide">
                        "Requests since start"
                    </th>
                    <th scope="col" class="num">
                        "Refused"
                    </th>
                    {has_refusals.then(|| view! { <th scope="col">"Last refusal"</th> })}
                </tr>
            </thead>
            <tbody>{receivers.iter().map(row).collect_view()}</tbody>
        </table>
    }
}

const SECONDS_PER_MINUTE: u64 = 60;

/// Returns the requests per second from the count of a minute.
fn rate(last_minute: u64) -> String {
    match last_minute {
        0 => "0".to_owned(),
        count => three_digits(count as f64 / SECONDS_PER_MINUTE as f64),
    }
}

fn signal_table(spans: SignalCounts, logs: SignalCounts) -> impl IntoView {
    let row = |name: &'static str, counts: SignalCounts| {
        view! {
            <tr>
                <td>{name}</td>
                <td class="num">{format::count(counts.received)}</td>
                <td class="num" class:is-warning=counts.rejected != 0>
                    {format::count(counts.rejected)}
                </td>
                <td class="num">{format::count(counts.stored)}</td>
            </tr>
        }
    };
    let heads = [Words("Signal"), Number("Received"), Number("Refused"), Number("Stored in all")];
    view! {
        <PlainTable label="Records" heads>
            {row("Spans", spans)}
            {row("Log records", logs)}
        </PlainTable>
    }
}

/// Every kind of refusal with its remedy.
fn remedies(server: ServerWatch) -> impl IntoView {
    let all = Memo::new(move |_| server.status().map(|status| ranked_refusals(&status)));
    let body = move || {
        let all = all.get()?;
        Some(if all.is_empty() {
            view! { <p class="mute">"Nothing was refused since Tidings started."</p> }.into_any()
        } else {
            let cards = all.into_iter().map(|refusals| view! { <RefusalCard refusals /> });
            cards.collect_view().into_any()
        })
    };
    view! {
        <section class="card side-card" aria-label="Refusals">
            <div class="side-head">
                <h2>"Refusals"</h2>
                {move || {
                    let has_any = all.with(|all| all.as_ref().is_some_and(|all| !all.is_empty()));
                    has_any.then(|| view! { <span class="mute">"each with its line"</span> })
                }}
            </div>
            {body}
        </section>
    }
}

#[cfg(test)]
mod tests {
    use super::counting_text;

    #[test]
    fn the_rate_of_the_last_minute_stands_until_there_are_two_readings() {
        assert_eq!(counting_text(None), "Counting…");
        let quiet = "Counting, which takes 2 s. In the last minute, 0 requests/s came.";
        assert_eq!(counting_text(Some(0)), quiet);
    }
}
