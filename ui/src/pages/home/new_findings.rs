//! Exceptions and log patterns that are absent from the baseline.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{
    UnixNanos,
    api::{Change, ChangeKind, ChangeReport, ChangedGroup, LogPattern, LogPatternList},
};

use crate::{
    api::{self, analysis::log_patterns},
    browser,
    components::{LoadingRows, Panel, WatchedRequest, change::truncate_name, severity_class},
    format,
    format::rates,
    links::Links,
    page_time::{PageTime, partial_answer_text},
    request_state::RequestState,
};

/// Maximum number of lines of each card.
const SHOWN_MAX: usize = 5;
/// Number of patterns that are searched for new ones.
const PATTERNS_MAX: u32 = 200;

/// Returns the words that nothing is new since the start of the window.
fn none_text(start: UnixNanos) -> String {
    let moment = browser::local_minute(start, browser::now());
    format!("No new ones since {moment}.")
}

/// The new exceptions, by service.
pub(super) fn new_exceptions(
    report: RequestState<ChangeReport>,
    links: Memo<Links>,
) -> impl IntoView {
    let lines = move || {
        let report = report.value()?;
        let links = links.get();
        let mut fresh: Vec<(&ChangedGroup, &Change)> = Vec::new();
        for group in &report.services {
            for change in group.changes.iter().filter(|one| one.kind == ChangeKind::NewException) {
                // The same exception in several operations is one line.
                let is_same = |(other, listed): &(&ChangedGroup, &Change)| {
                    other.service == group.service && listed.text == change.text
                };
                if !fresh.iter().any(is_same) {
                    fresh.push((group, change));
                }
            }
        }
        let line = |(group, change): (&ChangedGroup, &Change)| {
            let name = change.text.clone().unwrap_or_default();
            let id = change.id.clone().unwrap_or_default();
            let href = links.errors(&[("service", &group.service), ("group", &id)]);
            let since = change.since_unix_nano.map(|time| {
                let at = browser::local_minute(time, browser::now());
                format!("since {at}")
            });
            let (shown, service) =
                (truncate_name(&name), format::service(&group.service).to_owned());
            view! {
                <li class="fresh">
                    <a href=href title=name>
                        <b class="fresh-name">{shown}</b>
                    </a>
                    <span>{service}</span>
                    <span class="num">{format::count(rates::whole(change.now))}</span>
                    <span class="mute">{since}</span>
                </li>
            }
        };
        let lines: Vec<_> = fresh.into_iter().take(SHOWN_MAX).map(line).collect();
        Some(if lines.is_empty() {
            let words = none_text(report.window.start_unix_nano);
            view! { <p class="mute">{words}</p> }.into_any()
        } else {
            view! { <ul>{lines}</ul> }.into_any()
        })
    };
    let is_loading = Memo::new(move |_| report.loading());
    view! {
        <section class="card side-card" aria-label="New exceptions">
            <div class="side-head">
                <h2>"New exceptions"</h2>
                <a href=move || links.get().errors(&[])>"All"</a>
            </div>
            {WatchedRequest::new("New exceptions are not known", report).note()}
            <Show when=move || is_loading.get()>
                <LoadingRows count=2 />
            </Show>
            {lines}
        </section>
    }
}

/// The new log patterns of warnings and worse.
pub(super) fn new_log_patterns(
    report: RequestState<ChangeReport>,
    time: PageTime,
    links: Memo<Links>,
) -> impl IntoView {
    let answer = RequestState::new(move || {
        let analysis = time.analysis().with("severity", "warn").with("limit", PATTERNS_MAX);
        Some(log_patterns(&analysis))
    });
    let draw = move |list: Arc<LogPatternList>| {
        let line = |pattern: &LogPattern| {
            let href = pattern.trace_id.map_or_else(
                || links.get().logs(&[("service", &pattern.service), ("severity", "warn")]),
                |trace| api::trace_address(trace, None),
            );
            let class = severity_class(&pattern.severity);
            let (template, example) =
                (truncate_name(&pattern.template), truncate_name(&pattern.example));
            let service = format::service(&pattern.service).to_owned();
            view! {
                <li class="fresh">
                    <span class=class>{pattern.severity.to_uppercase()}</span>
                    <a href=href title=example>
                        <span class="fresh-name mono">{template}</span>
                    </a>
                    <span>{service}</span>
                    <span class="num">{format::count(pattern.count)}</span>
                </li>
            }
        };
        let fresh = list.patterns.iter().filter(|pattern| pattern.is_new);
        view! { <ul class="fresh-list">{fresh.take(SHOWN_MAX).map(line).collect_view()}</ul> }
    };
    let tools = move || {
        let href = move || links.get().logs(&[("severity", "warn")]);
        view! { <a href=href>"All logs"</a> }
    };
    view! {
        <Panel
            title="New log patterns"
            note="warn and above"
            tools=tools.into()
            state=answer
            is_empty=|list| !list.patterns.iter().any(|pattern| pattern.is_new)
            missing=|list| partial_answer_text(&list.searched)
            empty=Signal::derive(move || {
                report.value().map_or_else(
                    || "No new ones.".to_owned(),
                    |report| none_text(report.window.start_unix_nano),
                )
            })
            rows=2
            draw=draw
        />
    }
}
