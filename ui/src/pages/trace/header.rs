//! The head of the page: the trace's name, its state and the parts of its time.

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos,
    api::{PinList, ServiceTime, TraceSummary, TransactionState},
};

use super::{
    labels,
    model::TraceModel,
    page_signals::PageSignals,
    percentile::percentile,
    pin::pin_button,
    trace_exports::{save_page, text_tree},
};
use crate::{
    api, browser,
    components::{
        CopyButton, StateBadge, StripPart, WatchedRequest, strip_part, use_toasts, waiting_key,
    },
    format, number_format,
    request_state::RequestState,
};

/// Shares of the strip that are narrower than this are merged with others of their kind.
const SHARE_MIN: f64 = 0.004;

/// Maximum number of listed problems.
const PROBLEMS_MAX: usize = 200;

/// Name, badges, facts and the strip.
pub(crate) fn header(page: PageSignals) -> impl IntoView {
    let summary = Memo::new(move |_| page.model.with(|model| model.summary.clone()));
    // On a phone there is room for one button, and for one line of facts.
    let (has_actions, has_facts) = (RwSignal::new(false), RwSignal::new(false));
    let pins = RequestState::<PinList>::new(|| Some(api::pins()));
    let unknown_pin = WatchedRequest::new("The pin of this trace is not known", pins);
    view! {
        <div class="trace-title">
            <h1>
                <bdi>{move || summary.with(name_of)}</bdi>
            </h1>
            <bdi class="mute">{move || summary.with(|summary| format::service(&summary.root_service).to_owned())}</bdi>
            {move || view! { <StateBadge state=summary.with(|summary| summary.state) /> }}
            <Show when=move || page.is_running()>
                <span class="mute trace-live">"new spans appear as they arrive"</span>
            </Show>
            <ProblemBadge page=page />
            <span class="spacer"></span>
            <button
                class="button trace-actions-open"
                type="button"
                aria-controls="trace-actions"
                aria-expanded=move || has_actions.get().to_string()
                on:click=move |_| has_actions.update(|open| *open = !*open)
            >
                "Actions"
                <span class="caret" aria-hidden="true">
                    "▾"
                </span>
            </button>
            <div class="trace-actions" id="trace-actions" class:is-open=move || has_actions.get()>
                <a
                    class="button"
                    href=crate::addresses::compare(page.id, None)
                    title="What is different from other transactions of its type"
                >
                    "Compare with typical"
                </a>
                <a
                    class="button"
                    href=format!("/compare?right={}", page.id)
                    title="What is different from a trace that you choose"
                >
                    "Compare with another"
                </a>
                {pin_button(page.id, pins)}
                <CopyLink />
                <ExportMenu page=page />
            </div>
        </div>
        {unknown_pin.note()}
        <Facts page=page summary=summary open=has_facts />
        {move || {
            let root = page.model.with(|model| model.root_nano());
            summary.with(|summary| {
                let whole = root.map_or(summary.duration_nano, DurationNanos);
                strip(&summary.services, whole)
            })
        }}
    }
}

fn name_of(summary: &TraceSummary) -> String {
    format::operation(&summary.root_operation).to_owned()
}

/// Badge with the number of problems. A click opens their list.
#[component]
fn ProblemBadge(page: PageSignals) -> impl IntoView {
    let words = Memo::new(move |_| page.model.with(|model| badge_words(model)));
    let open = page.problems_open;
    move || {
        let words = words.get()?;
        Some(view! {
            <button
                class="badge badge-warning trace-problem-badge"
                type="button"
                aria-expanded=move || open.get().to_string()
                aria-controls=move || open.get().then_some("trace-problems")
                on:click=move |_| open.update(|open| *open = !*open)
            >
                {words}
            </button>
        })
    }
}

/// Returns the only kind of problem with its count, or the most frequent kind with the number of
/// others. The counts are the API's, because the list of problems may be cut.
fn badge_words(model: &TraceModel) -> Option<String> {
    let greatest = model.problem_counts.iter().max_by_key(|counted| counted.count)?;
    let words = labels::problem_count(greatest.kind, greatest.span_count);
    let others = model.summary.problem_count.saturating_sub(greatest.count);
    Some(match others {
        0 => words,
        others => format!("{words}, {} more", format::count(others)),
    })
}

/// The number of errors. A click goes to the next one.
fn error_fact(page: PageSignals, summary: Memo<TraceSummary>) -> impl IntoView {
    let errors = summary.with(|summary| summary.error_count);
    let class = if errors > 0 { "trace-errors" } else { "" };
    let go = move |_| page.go_to_error(true);
    view! {
        <button
            class="trace-fact-button"
            type="button"
            title="Next error ( e )"
            disabled=errors == 0
            on:click=go
        >
            <b class=class>{format::count(errors)}</b>
            <span class="mute">{format::noun_for(errors, "error")}</span>
        </button>
    }
}

/// The button of a phone that shows all facts.
fn facts_button(open: RwSignal<bool>) -> impl IntoView {
    view! {
        <button
            class="button button-ghost trace-facts-open"
            type="button"
            aria-label="All facts"
            aria-controls="trace-facts-more"
            aria-expanded=move || open.get().to_string()
            on:click=move |_| open.update(|open| *open = !*open)
        >
            <span class="caret" aria-hidden="true">
                {move || if open.get() { "▴" } else { "▾" }}
            </span>
        </button>
    }
}

/// The facts. On a phone, all but the first are drawn while `open` is set, and so are the words
/// beside the strip below.
#[component]
fn Facts(page: PageSignals, summary: Memo<TraceSummary>, open: RwSignal<bool>) -> impl IntoView {
    let fact = |number: String, noun: String| {
        view! {
            <div class="trace-fact">
                <b>{number}</b>
                <span class="mute">{noun}</span>
            </div>
        }
    };
    let root = move || page.model.with(|model| model.root_nano());
    let whole = move |is_first: bool| {
        summary.with(|summary| {
            let words = match (summary.state, is_first) {
                (TransactionState::Running, _) => "so far",
                (_, false) => "whole trace",
                (_, true) => "",
            };
            fact(format::duration(summary.duration_nano), words.to_owned())
        })
    };
    let first = move || match root() {
        Some(nanos) => fact(format::duration(DurationNanos(nanos)), "root span".to_owned()),
        None => whole(true),
    };
    let facts = move || {
        let (spans, services) =
            summary.with(|summary| (summary.span_count, summary.services.len() as u64));
        view! {
            {root().map(|_| whole(false))}
            {fact(format::count(spans), format::noun_for(spans, "span"))}
            {fact(format::count(services), format::noun_for(services, "service"))}
        }
    };
    let logs = move || {
        // The number of records that only mention the trace is known when its records have loaded.
        let named = page.model.with(|model| model.log_count);
        let logs = page.records.value().map_or(named, |answer| answer.total.value.max(named));
        fact(format::count(logs), format::noun_for(logs, "log"))
    };
    let when = move || {
        let start = summary.with(|summary| summary.start_unix_nano);
        let now = browser::now();
        format::when(start, now, browser::zone_minutes(start))
    };
    let id = page.id.to_string();
    view! {
        <div class="trace-facts" class:is-open=move || open.get()>
            {first} {percentile(page)} {facts_button(open)}
            <div class="trace-facts-more" id="trace-facts-more">
                {facts} {move || error_fact(page, summary)} {logs}
                <div class="trace-fact trace-id">
                    <span class="mono faint" title=id.clone()>
                        {id.chars().take(8).collect::<String>()}
                    </span>
                    <CopyButton text=id label="Copy the trace id" />
                </div>
                <div class="trace-fact">
                    <span class="mute">{when}</span>
                </div>
            </div>
        </div>
    }
}

/// The services' shares of the critical path, where optimisation of the trace starts. `whole` is the
/// duration of the root span, or of a trace without one its own.
fn strip(services: &[ServiceTime], whole: DurationNanos) -> Option<impl IntoView + use<>> {
    let (wide, narrow): (Vec<_>, Vec<_>) = services
        .iter()
        .filter(|service| service.critical_share > 0.0)
        .partition(|service| service.critical_share >= SHARE_MIN);
    if wide.is_empty() && narrow.is_empty() {
        return None;
    }
    let rest: f64 = narrow.iter().map(|service| service.critical_share).sum();
    let rest = (!narrow.is_empty()).then(|| {
        let others = format::counted(narrow.len() as u64, "other");
        let title = format!("{others} {}", number_format::share(rest));
        view! {
            <span
                class="strip-part strip-rest"
                style=("flex-grow", format!("{:.4}", rest.max(SHARE_MIN)))
                title=title
            ></span>
        }
    });
    let parts: Vec<StripPart> = services.iter().flat_map(parts_of).collect();
    let spoken = parts.iter().take(8).map(StripPart::title).collect::<Vec<_>>().join(", ");
    Some(view! {
        <div class="trace-strip">
            <span class="mute" title="Each service's share of the critical path">
                {format!("Where the time went, of {}", format::duration(whole))}
            </span>
            <div class="strip" role="img" aria-label=spoken>
                {wide.into_iter().flat_map(drawn_parts).collect_view()}
                {rest}
            </div>
            {waiting_key(&parts)}
        </div>
    })
}

fn parts_of(service: &ServiceTime) -> Vec<StripPart> {
    StripPart::of_service(service, service.critical_share)
}

fn drawn_parts(service: &ServiceTime) -> Vec<impl IntoView + use<>> {
    let drawn = |part: StripPart| {
        let mut title = part.title();
        if let Some(time) = part.time {
            title.push_str(" · ");
            title.push_str(&format::duration(time));
        }
        strip_part(&part, title, true)
    };
    parts_of(service).into_iter().map(drawn).collect()
}

/// The menu that saves the trace as a file or copies it as text.
#[component]
fn ExportMenu(page: PageSignals) -> impl IntoView {
    let open = RwSignal::new(false);
    let toasts = use_toasts();
    let copy = move |_| {
        open.set(false);
        let text = page.model.with_untracked(|model| text_tree(model));
        leptos::task::spawn_local(async move {
            let words = match browser::copy(&text).await {
                true => "The tree is copied as text.",
                false => "The browser copies only on https or localhost.",
            };
            toasts.show(words);
        });
    };
    let save = move |_| {
        open.set(false);
        let adjusted = page.state.with_untracked(|state| state.adjust_clocks);
        leptos::task::spawn_local(async move {
            if let Err(error) = save_page(page.id, adjusted).await {
                toasts.show(format!("{}: {}", error.title(), error.detail()));
            }
        });
    };
    let body = move || {
        view! {
            <div class="menu-scrim" on:click=move |_| open.set(false)></div>
            <div class="menu-body export-menu">
                <button
                    class="menu-item"
                    type="button"
                    title="A file that draws the trace without a server, with its log records"
                    on:click=save
                >
                    "Download as HTML"
                </button>
                <a
                    class="menu-item"
                    href=format!("/api/v1/traces/{}/otlp", page.id)
                    download=format!("trace-{}.json", page.id)
                    title="The trace as it was sent"
                    on:click=move |_| open.set(false)
                >
                    "Download as OTLP JSON"
                </a>
                <a
                    class="menu-item"
                    href=api::trace_json_address(page.id)
                    download=format!("trace-{}-assembled.json", page.id)
                    title="The trace as it was put together"
                    on:click=move |_| open.set(false)
                >
                    "Download assembled"
                </a>
                <button class="menu-item" type="button" on:click=copy>
                    "Copy as text"
                </button>
            </div>
        }
    };
    view! {
        <div class="menu">
            <button
                class="button"
                type="button"
                aria-haspopup="true"
                aria-expanded=move || open.get().to_string()
                on:click=move |_| open.update(|open| *open = !*open)
            >
                "Export"
                <span class="caret" aria-hidden="true">
                    "▾"
                </span>
            </button>
            <Show when=move || open.get()>{body}</Show>
        </div>
    }
}

/// A button that copies the address, which holds the full state of the page.
#[component]
fn CopyLink() -> impl IntoView {
    let done = RwSignal::new("");
    let copy = move |_| {
        let address = window().location().href().unwrap_or_default();
        leptos::task::spawn_local(async move {
            let words = if browser::copy(&address).await { "Copied" } else { "Not allowed" };
            done.try_set(words);
            set_timeout(
                move || {
                    done.try_set("");
                },
                std::time::Duration::from_millis(1_500),
            );
        });
    };
    let words = move || match done.get() {
        "" => "Copy link",
        done => done,
    };
    view! {
        <button class="button" type="button" title="Copy this view's address" on:click=copy>
            {words}
        </button>
    }
}

/// Problems that assembly found in the trace, while their list is open.
pub(crate) fn problems(page: PageSignals) -> impl IntoView {
    let list = move || {
        page.model.with(|model| {
            let one = |problem: &tidings_proto::api::ProblemView| {
                let message = view! { <bdi>{problem.message.clone()}</bdi> };
                let row = problem.span_index.filter(|&row| (row as usize) < model.len());
                let target = match row {
                    Some(row) => view! {
                        <button class="link" type="button" on:click=move |_| page.go_to(row)>
                            {message}
                        </button>
                    }
                    .into_any(),
                    None => message.into_any(),
                };
                view! {
                    <li>
                        <span class="wf-badge">{labels::problem_badge(problem.kind)}</span>
                        {target}
                        <span class="faint">{labels::problem_explanation(problem.kind)}</span>
                    </li>
                }
            };
            let listed = model.problems.len().min(PROBLEMS_MAX) as u64;
            let more = model.summary.problem_count.saturating_sub(listed);
            let more = (more > 0).then(|| {
                let words = format!("and {} more", format::count(more));
                view! { <li class="faint">{words}</li> }
            });
            let listed = model.problems.iter().take(PROBLEMS_MAX).map(one).collect_view();
            view! {
                {listed}
                {more}
            }
        })
    };
    view! {
        <Show when=move || page.problems_open.get()>
            <ul id="trace-problems" class="trace-problems" aria-label="Problems">
                {list}
            </ul>
        </Show>
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::api::{ProblemCount, ProblemKind};

    use super::{super::samples, DurationNanos, ServiceTime, badge_words, parts_of};

    #[test]
    fn the_badge_says_what_the_api_counted() {
        let mut model = samples::model(&[(0, 0, 0, 0, 10)]);
        assert_eq!(badge_words(&model), None);
        let counts = |kind, count, span_count| ProblemCount { kind, count, span_count };
        model.problem_counts = vec![counts(ProblemKind::MissingParent, 41_902, 41_902)];
        model.summary.problem_count = 41_902;
        assert_eq!(badge_words(&model).unwrap(), "41,902 calls missing their parent");
        model.problem_counts.push(counts(ProblemKind::SeveralRoots, 1, 3));
        model.problem_counts.push(counts(ProblemKind::DuplicateSpan, 2, 2));
        model.summary.problem_count = 41_905;
        assert_eq!(badge_words(&model).unwrap(), "41,902 calls missing their parent, 3 more");
    }

    #[test]
    fn parts_of_a_service_have_their_own_times() {
        let times = |waiting: u64| {
            let [whole, waiting] = [1_000, waiting].map(DurationNanos);
            let service = ServiceTime {
                service: "fraud".to_owned(),
                span_count: 1,
                error_count: 0,
                busy_nano: whole,
                self_nano: whole,
                waiting_nano: waiting,
                critical_nano: whole,
                critical_share: 0.8,
                critical_waiting_nano: waiting,
                critical_waiting_peer: None,
                critical_waiting_peer_nano: None,
            };
            let times = parts_of(&service).into_iter().filter_map(|part| part.time);
            times.map(|time| time.0).collect::<Vec<u64>>()
        };
        assert_eq!(times(250), [750, 250]);
        assert_eq!(times(2), [1_000], "the waiting is too short for a part of its own");
        assert_eq!(times(998), [998], "the rest only widens it");
        assert_eq!(times(0), [1_000]);
    }
}
