//! Filters of log records: a query, service, severity, trace.

use std::time::Duration;

use leptos::{leptos_dom::helpers::TimeoutHandle, prelude::*};
use tidings_proto::{api::NameList, otlp::Severity};

use crate::{
    api,
    components::{Chip, Icon, IconName, Suggest, Suggestion},
    request_state::RequestState,
    shortcuts::use_shortcuts,
    url::{AttributeFilter, History, LogState},
};

const QUERY_ID: &str = "log-query";
/// Delay between the last key press and the search.
const DEBOUNCE: Duration = Duration::from_millis(250);

/// The filters. `on_change` gets the changed state.
#[component]
#[must_use]
pub fn LogFilters(
    /// The active filters.
    state: Memo<LogState>,
    /// Called with the changed state.
    on_change: Callback<(LogState, History)>,
) -> impl IntoView {
    use_shortcuts().bind("f", "Search the records", "Logs", || crate::browser::focus(QUERY_ID));
    let severity = move |event| {
        let severity = Some(event_target_value(&event)).filter(|severity| !severity.is_empty());
        on_change.run((LogState { severity, ..state.get_untracked() }, History::Push));
    };
    let option = move |(value, words): (&'static str, String)| {
        let chosen = move || state.with(|state| state.severity.as_deref().unwrap_or("") == value);
        view! {
            <option value=value selected=chosen>
                {words}
            </option>
        }
    };
    let trace_chip = move || {
        let state = state.get();
        let trace = state.trace_id.as_ref()?;
        let value = match &state.span_id {
            Some(span) => format!("{trace} span {span}"),
            None => trace.to_string(),
        };
        let open = LogState { trace_id: None, span_id: None, ..state };
        let remove = move |()| on_change.run((open.clone(), History::Push));
        let remove = Callback::new(remove);
        Some(view! {
            <Chip name="trace".to_owned() relation="=" value on_edit=remove on_remove=remove />
        })
    };
    let attribute_chips = move || {
        let chip = |filter: AttributeFilter| {
            let removed = filter.clone();
            let remove = Callback::new(move |()| {
                let mut state = state.get_untracked();
                state.attributes.retain(|filter| *filter != removed);
                on_change.run((state, History::Push));
            });
            let (relation, value) = match filter.value {
                Some(value) => ("=", value),
                None => ("is", "set".to_owned()),
            };
            view! { <Chip name=filter.key relation value on_edit=remove on_remove=remove /> }
        };
        state.with(|state| state.attributes.clone()).into_iter().map(chip).collect_view()
    };
    view! {
        <div class="filters" role="group" aria-label="Filters">
            <QueryBox state on_change />
            <ServiceFilter state on_change />
            <select class="input" aria-label="Severity" on:change=severity>
                {severity_choices().into_iter().map(option).collect_view()}
            </select>
            {trace_chip}
            {attribute_chips}
        </div>
    }
}

/// Returns the choices of a minimum severity: the value of the parameter, and its words.
fn severity_choices() -> Vec<(&'static str, String)> {
    let choice = |severity: Severity| {
        // No severity is worse than the last.
        let suffix = if severity == Severity::Fatal { "" } else { " and worse" };
        (severity.word(), format!("{}{suffix}", severity.word()))
    };
    let mut choices = vec![("", "any severity".to_owned())];
    choices.extend(Severity::ALL.map(choice));
    choices
}

#[component]
fn QueryBox(state: Memo<LogState>, on_change: Callback<(LogState, History)>) -> impl IntoView {
    let text = Memo::new(move |_| state.with(|state| state.query.clone().unwrap_or_default()));
    let timer = StoredValue::new(None::<TimeoutHandle>);
    let stop = move || {
        timer.try_update_value(|timer| {
            if let Some(timer) = timer.take() {
                timer.clear();
            }
        });
    };
    on_cleanup(stop);
    let typed = move |event| {
        let typed = event_target_value(&event);
        stop();
        let search = move || {
            let Some(state) = state.try_get_untracked() else { return };
            let query = Some(typed).filter(|query| !query.trim().is_empty());
            on_change.run((LogState { query, ..state }, History::Replace));
        };
        timer.set_value(set_timeout_with_handle(search, DEBOUNCE).ok());
    };
    view! {
        <label class="log-search">
            <Icon name=IconName::Search />
            <input
                id=QUERY_ID
                class="input"
                type="text"
                placeholder="Search: declined AND severity:>=warn"
                title="Words, \"phrases\", prefix*, near~1, field:value, field:>=5, /pattern/, AND, OR, NOT, ( )"
                aria-label="Query for log records"
                autocomplete="off"
                spellcheck="false"
                prop:value=move || text.get()
                on:input=typed
            />
        </label>
    }
}

#[component]
fn ServiceFilter(state: Memo<LogState>, on_change: Callback<(LogState, History)>) -> impl IntoView {
    let adding = RwSignal::new(false);
    let text = RwSignal::new(String::new());
    let set = move |service: Option<String>| {
        adding.set(false);
        on_change.run((LogState { service, ..state.get_untracked() }, History::Push));
    };
    let start = move |typed: String| {
        text.set(typed);
        adding.set(true);
    };
    let shown = move || match state.with(|state| state.service.clone()) {
        Some(service) => {
            let typed = service.clone();
            view! {
                <Chip
                    name="service".to_owned()
                    relation="="
                    value=service
                    on_edit=Callback::new(move |()| start(typed.clone()))
                    on_remove=Callback::new(move |()| set(None))
                />
            }
            .into_any()
        }
        None => view! {
            <button class="chip-add" type="button" on:click=move |_| start(String::new())>
                <Icon name=IconName::Plus />
                "service"
            </button>
        }
        .into_any(),
    };
    let choose = Callback::new(move |service| set(Some(service)));
    let leave = Callback::new(move |()| adding.set(false));
    view! {
        <Show when=move || adding.get() fallback=shown>
            <ServiceSuggest text choose leave />
        </Show>
    }
}

#[component]
fn ServiceSuggest(
    text: RwSignal<String>,
    choose: Callback<String>,
    leave: Callback<()>,
) -> impl IntoView {
    let names = RequestState::<NameList>::new(move || Some(api::services(&text.get())));
    let suggestions = Memo::new(move |_| {
        let names = names.value().map(|list| list.names.clone()).unwrap_or_default();
        names.into_iter().map(|name| Suggestion::counted(name.name, name.count)).collect()
    });
    view! {
        <Suggest
            id="log-service"
            label="Service"
            placeholder="Service"
            text
            suggestions
            on_choose=choose
            on_leave=leave
        />
    }
}
