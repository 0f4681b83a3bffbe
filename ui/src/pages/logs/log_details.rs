//! An open log record: its message with the fields of a structured one, attributes and sender, as
//! JSON on request, with the lines around it and its moment in its trace.

use leptos::prelude::*;
use tidings_proto::{
    api::LogView,
    otlp::{KeyValue, Value},
};

use super::{
    log_around::LogAround,
    message_fields::{indented, message_fields},
    mini_trace::MiniTrace,
    query_terms::LogAttribute,
};
use crate::{
    browser,
    components::{AttributeTable, CopyButton, attribute_rows},
    format,
    url::{History, LogState, use_edit_query, use_query},
};

/// The parameter that shows opened records as JSON.
const JSON: &str = "json";

/// The opened record.
#[component]
#[must_use]
pub fn LogDetails(
    /// The record.
    log: LogView,
    /// The state of the page.
    state: Memo<LogState>,
    /// Called with the changed state.
    change: Callback<(LogState, History)>,
) -> impl IntoView {
    let query = use_query();
    let edit = use_edit_query();
    let is_json = Memo::new(move |_| query.with(|query| query.get(JSON) == Some("on")));
    let toggle = move |_| {
        let next = (!is_json.get_untracked()).then_some("on");
        edit(History::Replace, &|query| query.set(JSON, next));
    };
    let around = Signal::derive(move || state.with(|state| state.around));
    let on_around = Callback::new(move |around: Option<u32>| {
        change.run((LogState { around, ..state.get_untracked() }, History::Replace));
    });
    let json = serde_json::to_string_pretty(&log).unwrap_or_default();
    let body = log.body.as_ref().map_or_else(|| log.text.clone(), format::value);
    let message = message_fields(&log.text);
    let text = if message.is_empty() { body.clone() } else { indented(&log.text) };
    let shown = log.clone();
    let fields = move || {
        view! { <Fields log=shown.clone() message=message.clone() state change /> }
    };
    let code = {
        let json = json.clone();
        move || {
            view! {
                <div class="code">
                    <pre>{json.clone()}</pre>
                    <CopyButton text=json.clone() label="Copy the record as JSON" />
                </div>
            }
        }
    };
    let trace = log.trace_id.map(|trace| {
        view! { <MiniTrace trace span=log.span_id at=log.time_unix_nano /> }
    });
    view! {
        <div class="log-details">
            <div class="code">
                <pre>{text}</pre>
                <CopyButton text=body label="Copy the message" />
            </div>
            <Show when=move || is_json.get() fallback=fields>
                {code.clone()}
            </Show>
            <div class="log-ways">
                <button
                    class="button"
                    type="button"
                    aria-pressed=move || is_json.get().to_string()
                    on:click=toggle
                >
                    "JSON"
                </button>
                {trace}
                <LogAround log around on_around />
            </div>
        </div>
    }
}

#[component]
fn Fields(
    log: LogView,
    /// The fields of the message.
    message: Vec<KeyValue>,
    state: Memo<LogState>,
    change: Callback<(LogState, History)>,
) -> impl IntoView {
    let list = |title: &'static str, attributes: &[KeyValue], dropped: u32| {
        let rows = attribute_rows(attributes);
        let is_empty = rows.is_empty() && dropped == 0;
        let dropped = (dropped > 0).then(|| {
            let words = format!("The sender dropped {}.", format::count(dropped.into()));
            view! { <p class="faint">{words}</p> }
        });
        (!is_empty).then(|| {
            view! {
                <section>
                    <h3>{title}</h3>
                    <AttributeTable rows />
                    {dropped}
                </section>
            }
        })
    };
    let rows = |attributes: &[KeyValue], owned: fn(String) -> LogAttribute| {
        let rows = attribute_rows(attributes).into_iter().zip(attributes);
        rows.map(|((key, text), attribute)| (owned(key), text, is_comparable(attribute)))
            .collect::<Vec<_>>()
    };
    let mut attributes = rows(&message, LogAttribute::Message);
    attributes.extend(rows(&log.attributes, LogAttribute::Record));
    attributes.extend(rows(&log.resource.attributes, LogAttribute::Resource));
    let has_some = !attributes.is_empty();
    let tools = attributes.into_iter().map(|(attribute, value, comparable)| {
        view! { <AttributeTools attribute value comparable state change /> }
    });
    view! {
        <div class="log-columns">
            <section>
                <h3>"Record"</h3>
                <AttributeTable rows=facts(&log) />
            </section>
            {list("Message", &message, 0)}
            {list("Attributes", &log.attributes, log.dropped_attributes_count)}
            {list("Resource", &log.resource.attributes, log.resource.dropped_attributes_count)}
        </div>
        {has_some
            .then(|| {
                view! {
                    <details class="log-attribute-tools">
                        <summary>"Filter by a field, or show it as a column"</summary>
                        <ul>{tools.collect_view()}</ul>
                    </details>
                }
            })}
    }
}

/// Reports whether a query can compare the value. It cannot compare lists, maps and bytes.
fn is_comparable(attribute: &KeyValue) -> bool {
    match attribute.value() {
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Bool(_) | Value::Int(_) | Value::Double(_)) => true,
        _ => false,
    }
}

/// Buttons of one attribute or field of the message: only its value, without it, as a column, its
/// values.
#[component]
fn AttributeTools(
    attribute: LogAttribute,
    value: String,
    comparable: bool,
    state: Memo<LogState>,
    change: Callback<(LogState, History)>,
) -> impl IntoView {
    let edit = use_edit_query();
    let name = attribute.name();
    let (column, facet) = (name.clone(), name.clone());
    let show = move |_| {
        let mut state = state.get_untracked();
        if !state.columns.contains(&column) {
            state.columns.push(column.clone());
        }
        change.run((state, History::Replace));
    };
    // A filter of attributes takes any text. A query compares only some values.
    let can_filter = comparable || !matches!(attribute, LogAttribute::Message(_));
    let (filtered, only_value, excluded) = (attribute.clone(), value.clone(), value.clone());
    let only = move |_| {
        let state = state.get_untracked().with_open_record(None);
        change.run((filtered.filter_by(state, Some(&only_value)), History::Push));
    };
    let without = move |_| {
        let state = state.get_untracked().with_open_record(None);
        let query = attribute.without(state.query.as_deref(), &excluded);
        change.run((LogState { query, ..state }, History::Push));
    };
    let list = move |_| {
        edit(History::Replace, &|query| {
            if !query.all("facet").any(|name| name == facet) {
                query.push("facet", &facet);
            }
        });
    };
    view! {
        <li>
            <span class="log-tool-name mono" title=value.clone()>
                <bdi>{name}</bdi>
            </span>
            {can_filter
                .then(|| {
                    view! {
                        <button class="button button-small" type="button" on:click=only>
                            "Only this value"
                        </button>
                    }
                })}
            {comparable
                .then(|| {
                    view! {
                        <button class="button button-small" type="button" on:click=without>
                            "Without it"
                        </button>
                    }
                })}
            <button class="button button-small" type="button" on:click=show>
                "Column"
            </button>
            <button class="button button-small" type="button" on:click=list>
                "List its values"
            </button>
        </li>
    }
}

/// Returns the fields of the record itself.
fn facts(log: &LogView) -> Vec<(String, String)> {
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
    facts
}
