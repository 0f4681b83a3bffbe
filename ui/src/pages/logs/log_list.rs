//! Log records as lines. A line opens in place and shows the full record.
//!
//! Text of a line can be selected, and a click that ends a selection opens nothing. Lines outside
//! the window are not laid out (`content-visibility`), so that thousands of them are cheap.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{
    UnixNanos,
    api::{LogContext, LogSearchResult, LogView},
};

use super::{log_details::LogDetails, query_terms::LogAttribute};
use crate::{
    api, browser,
    components::{ErrorState, MessageLine, ServiceName, severity_class},
    format,
    paged_list::PagedList,
    request_state::RequestState,
    url::{History, LogState},
};

/// Returns the id of a record's line.
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
    /// The state of the page.
    state: Memo<LogState>,
    /// Called with the changed state.
    change: Callback<(LogState, History)>,
) -> impl IntoView {
    let rows = move || logs.with(|logs| logs.to_vec());
    let columns = Memo::new(move |_| state.with(|state| state.columns.clone()));
    let heads = move || {
        let columns = columns.get();
        let head = |key: String| {
            let label = format!("Remove the column {key}");
            let shown = key.clone();
            let remove = move |_| {
                let mut state = state.get_untracked();
                state.columns.retain(|column| *column != key);
                change.run((state, History::Replace));
            };
            view! {
                <button class="log-column-head" type="button" title=label on:click=remove>
                    <bdi>{shown}</bdi>
                    " ✕"
                </button>
            }
        };
        (!columns.is_empty()).then(|| {
            let heads = columns.into_iter().map(head).collect_view();
            view! { <div class="log-heads">"Columns " {heads}</div> }
        })
    };
    view! {
        {heads}
        <div class="logs" role="list" aria-label="Log records">
            <For each=rows key=|log| log.id.clone() let(log)>
                <LogLine log columns state change />
            </For>
        </div>
    }
}

/// Returns the words and the class of a severity. The words are its own when its number is known.
pub(super) fn severity(log: &LogView) -> (String, &'static str) {
    let words = if log.severity.is_empty() { &log.severity_text } else { &log.severity };
    (words.to_uppercase(), severity_class(&log.severity))
}

/// The record that an address names, above the list when the list does not have it. A link to it
/// works regardless of the number of newer records.
#[component]
pub(super) fn LinkedRecord(
    state: Memo<LogState>,
    #[prop(into)] logs: Signal<Arc<Vec<LogView>>>,
    /// The list, whose answer decides whether it has the record.
    ready: PagedList<LogSearchResult, LogState>,
    change: Callback<(LogState, History)>,
) -> impl IntoView {
    let missing = Memo::new(move |_| {
        let (id, at) = state.with(|state| (state.open.clone(), state.at));
        let id = id?;
        let is_known = ready.total().is_some() || ready.error().is_some();
        let is_listed = logs.with(|logs| logs.iter().any(|log| log.id == id));
        (is_known && !is_listed).then_some((id, at))
    });
    let record = RequestState::<LogContext>::new(move || {
        let (id, at) = missing.get()?;
        Some(api::log_context(&id, at.map(UnixNanos), 0))
    });
    let retry = Callback::new(move |()| record.refresh());
    let columns = Memo::new(move |_| state.with(|state| state.columns.clone()));
    move || {
        let id = missing.get()?.0;
        if let Some(error) = record.error() {
            let name = "The linked record";
            return Some(view! { <ErrorState name error on_retry=retry /> }.into_any());
        }
        let found = record.value().filter(|found| found.log.id == id)?;
        let log = found.log.clone();
        Some(
            view! {
                <div class="card logs-card logs-linked">
                    <p class="mute">"The linked record, which is not in the list below"</p>
                    <div class="logs" role="list" aria-label="The linked record">
                        <LogLine log columns state change />
                    </div>
                </div>
            }
            .into_any(),
        )
    }
}

#[component]
fn LogLine(
    log: LogView,
    columns: Memo<Vec<String>>,
    state: Memo<LogState>,
    change: Callback<(LogState, History)>,
) -> impl IntoView {
    let id = log.id.clone();
    let is_open = Memo::new(move |_| state.with(|state| state.open.as_ref() == Some(&id)));
    let zone = browser::zone_minutes(log.time_unix_nano);
    let when = format::when(log.time_unix_nano, browser::now(), zone);
    let (words, class) = severity(&log);
    let trace = api::log_trace_address(&log).map(|href| {
        view! {
            <a href=href class="log-trace" title="Go to the trace, at this span">
                "trace ↗"
            </a>
        }
    });
    let (toggled, at, row) = (log.id.clone(), log.time_unix_nano.0, row_id(&log.id));
    let toggle = move || {
        let open = (!is_open.get_untracked()).then(|| (toggled.clone(), at));
        change.run((state.with_untracked(|state| state.with_open_record(open)), History::Replace));
    };
    let clicked = toggle.clone();
    let click = move |_| {
        if !browser::has_selected_text() {
            clicked();
        }
    };
    let pressed = move |event: web_sys::MouseEvent| {
        event.stop_propagation();
        toggle();
    };
    let service = log.service.clone();
    // A line shows the first line of a message. The open record has the rest.
    let message = if log.text.is_empty() { log.event_name.clone() } else { log.text.clone() };
    let log = StoredValue::new(log);
    let cells = move || {
        let cell = |name: String| {
            let attribute = LogAttribute::from_name(&name);
            let value = log.with_value(|log| attribute.value_of(log)).unwrap_or_default();
            let title = format!("{name} = {value}");
            view! {
                <span class="log-cell" title=title>
                    {value}
                </span>
            }
        };
        columns.get().into_iter().map(cell).collect_view()
    };
    view! {
        <div id=row class="log" class:is-open=move || is_open.get() role="listitem">
            <div class="log-line" on:click=click>
                <button
                    class="log-toggle"
                    type="button"
                    aria-label="All fields of the record"
                    aria-expanded=move || is_open.get().to_string()
                    on:click=pressed
                ></button>
                <span class="log-time">{when}</span>
                <span class=class>{words}</span>
                <ServiceName service />
                {cells}
                <span class="log-text">
                    <MessageLine message first_line=true />
                </span>
                {trace}
            </div>
            <Show when=move || is_open.get()>
                {log.with_value(|log| view! { <LogDetails log=log.clone() state change /> })}
            </Show>
        </div>
    }
}
