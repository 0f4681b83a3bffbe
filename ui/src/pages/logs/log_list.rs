//! Log records as lines; a line opens in place and shows everything its record said.
//!
//! Lines outside the window are not laid out (`content-visibility`), so thousands cost little.

use std::sync::Arc;

use leptos::prelude::*;
use leptos_router::components::A;
use tidings_proto::{api::LogView, otlp::KeyValue};

use crate::{
    api, browser,
    components::{AttributeTable, CopyButton, ServiceName, attribute_rows},
    format,
};

use super::log_around::LogAround;

/// The id of a record's line.
pub(super) fn row_id(log: &str) -> String {
    format!("log-{log}")
}

/// The list.
#[component]
#[must_use]
pub fn LogList(
    /// The records, newest first.
    #[prop(into)]
    logs: Signal<Arc<Vec<LogView>>>,
    /// The record that is open.
    #[prop(into)]
    open: Signal<Option<String>>,
    /// How many lines around it are shown.
    #[prop(into)]
    around: Signal<Option<u32>>,
    /// Called with the id of a record that is to be opened or closed.
    on_toggle: Callback<String>,
    /// Called with how many lines around the open record are to be shown.
    on_around: Callback<Option<u32>>,
) -> impl IntoView {
    let rows = move || logs.with(|logs| logs.to_vec());
    view! {
        <div class="logs" role="list" aria-label="Log records">
            <For each=rows key=|log| log.id.clone() let(log)>
                <LogLine log open around on_toggle on_around />
            </For>
        </div>
    }
}

/// The words and the class of a severity: its own words when it has a known one.
pub(super) fn severity(log: &LogView) -> (String, &'static str) {
    let class = match log.severity.as_str() {
        "error" | "fatal" => "log-severity is-error",
        "warn" => "log-severity is-warning",
        "info" => "log-severity is-info",
        _ => "log-severity",
    };
    let words = if log.severity.is_empty() { &log.severity_text } else { &log.severity };
    (words.to_uppercase(), class)
}

#[component]
fn LogLine(
    log: LogView,
    open: Signal<Option<String>>,
    around: Signal<Option<u32>>,
    on_toggle: Callback<String>,
    on_around: Callback<Option<u32>>,
) -> impl IntoView {
    let id = log.id.clone();
    let is_open = Memo::new(move |_| open.with(|open| open.as_ref() == Some(&id)));
    let zone = browser::zone_minutes(log.time_unix_nano);
    let when = format::when(log.time_unix_nano, browser::now(), zone);
    let (words, class) = severity(&log);
    let trace = api::log_trace_address(&log).map(|href| {
        view! { <A href=href attr:class="log-trace" attr:title="Go to the trace, at this span">"trace ↗"</A> }
    });
    let (toggled, row) = (log.id.clone(), row_id(&log.id));
    let service = log.service.clone();
    // One line: a message's first; the rest is in the open record.
    let text = log.text.lines().next().unwrap_or_default().to_owned();
    let text = if text.is_empty() { log.event_name.clone() } else { text };
    let log = StoredValue::new(log);
    view! {
        <div id=row class="log" class:is-open=move || is_open.get() role="listitem">
            <div class="log-line">
                <button
                    class="log-toggle"
                    type="button"
                    aria-expanded=move || is_open.get().to_string()
                    on:click=move |_| on_toggle.run(toggled.clone())
                >
                    <span class="log-time">{when}</span>
                    <span class=class>{words}</span>
                    <ServiceName service />
                    <span class="log-text">{text}</span>
                </button>
                {trace}
            </div>
            <Show when=move || is_open.get()>
                {log.with_value(|log| view! { <LogDetails log=log.clone() around on_around /> })}
            </Show>
        </div>
    }
}

#[component]
fn LogDetails(
    log: LogView,
    around: Signal<Option<u32>>,
    on_around: Callback<Option<u32>>,
) -> impl IntoView {
    let zone = browser::zone_minutes(log.time_unix_nano);
    let mut facts = vec![(
        "time".to_owned(),
        format!(
            "{} {}",
            format::date(log.time_unix_nano, zone),
            format::time_of_day(log.time_unix_nano, zone)
        ),
    )];
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            facts.push((name.to_owned(), value));
        }
    };
    if log.observed_unix_nano.0 != 0 {
        let zone = browser::zone_minutes(log.observed_unix_nano);
        fact("observed", format::time_of_day(log.observed_unix_nano, zone));
    }
    if log.severity_number != 0 || !log.severity_text.is_empty() {
        let words = format!("{} {}", log.severity_number, log.severity_text);
        fact("severity", words.trim().to_owned());
    }
    fact("event", log.event_name.clone());
    fact("trace id", log.trace_id.map(|id| id.to_string()).unwrap_or_default());
    fact("span id", log.span_id.map(|id| id.to_string()).unwrap_or_default());
    fact("logger", format!("{} {}", log.scope.name, log.scope.version).trim().to_owned());
    let body = log.body.as_ref().map_or_else(|| log.text.clone(), format::value);
    let list = |title: &'static str, attributes: &[KeyValue], dropped: u32| {
        let rows = attribute_rows(attributes);
        let none = rows.is_empty().then(|| view! { <p class="faint">"None"</p> });
        let dropped = (dropped > 0).then(|| {
            let words = format!("The sender dropped {}.", format::count(dropped.into()));
            view! { <p class="faint">{words}</p> }
        });
        view! {
            <section>
                <h3>{title}</h3>
                {none}
                <AttributeTable rows />
                {dropped}
            </section>
        }
    };
    view! {
        <div class="log-details">
            <div class="code">
                <pre>{body.clone()}</pre>
                <CopyButton text=body label="Copy the message" />
            </div>
            <div class="log-columns">
                <section>
                    <h3>"Record"</h3>
                    <AttributeTable rows=facts />
                </section>
                {list("Attributes", &log.attributes, log.dropped_attributes_count)}
                {list("Resource", &log.resource.attributes, log.resource.dropped_attributes_count)}
            </div>
            <LogAround log=log.clone() around on_around />
        </div>
    }
}
