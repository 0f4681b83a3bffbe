//! The filters as chips, and the field that adds one: first the field, then the value.

use leptos::prelude::*;
use tidings_proto::api::{AttributeKeyList, NameList};

use super::field::{ActiveFilter, Field, active_filters, set};
use crate::{
    api,
    components::{Chip, DefaultOption, Icon, IconName, Suggest, Suggestion},
    request_state::RequestState,
    shortcuts::use_shortcuts,
    url::TraceFilters,
};

/// The step of adding a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
enum FilterDraft {
    No,
    Field,
    Value(Field),
}

/// The bar. `on_change` gets the changed filters.
#[component]
#[must_use]
pub fn FilterBar(
    /// The active filters.
    filters: Memo<TraceFilters>,
    /// Called with the changed filters.
    on_change: Callback<TraceFilters>,
    /// Further chips after those of the filters.
    children: Children,
) -> impl IntoView {
    let adding = RwSignal::new(FilterDraft::No);
    let text = RwSignal::new(String::new());
    let wrong = RwSignal::new(None::<&'static str>);
    let start = move |stage: FilterDraft, typed: String| {
        wrong.set(None);
        text.set(typed);
        adding.set(stage);
    };
    let change = move |field: &Field, value: Option<&str>| {
        let mut changed = filters.get_untracked();
        match set(&mut changed, field, value) {
            Ok(()) => {
                start(FilterDraft::No, String::new());
                on_change.run(changed);
            }
            Err(reason) => wrong.set(Some(reason)),
        }
    };
    let choose = Callback::new(move |chosen: String| match adding.get_untracked() {
        FilterDraft::No => {}
        FilterDraft::Field => start(FilterDraft::Value(Field::from_name(&chosen)), String::new()),
        FilterDraft::Value(field) => change(&field, Some(&chosen)),
    });
    let leave = Callback::new(move |()| start(FilterDraft::No, String::new()));
    use_shortcuts()
        .bind("f", "Add a filter", "Explore", move || start(FilterDraft::Field, String::new()));
    let chip = move |ActiveFilter { field, relation, value }: ActiveFilter| {
        let (edited, removed, typed) = (field.clone(), field.clone(), value.clone());
        let edit = move |()| start(FilterDraft::Value(edited.clone()), typed.clone());
        let remove = move |()| change(&removed, None);
        view! {
            <Chip
                name=field.name()
                relation
                value
                on_edit=Callback::new(edit)
                on_remove=Callback::new(remove)
            />
        }
    };
    let open = Memo::new(move |_| adding.with(|adding| *adding != FilterDraft::No));
    view! {
        <div class="filters" role="group" aria-label="Filters">
            {move || active_filters(&filters.get()).into_iter().map(chip).collect_view()}
            {children()}
            <Show
                when=move || open.get()
                fallback=move || {
                    view! {
                        <button
                            class="chip-add"
                            type="button"
                            on:click=move |_| start(FilterDraft::Field, String::new())
                        >
                            <Icon name=IconName::Plus />
                            "filter"
                        </button>
                    }
                }
            >
                <AddFilter adding=adding.read_only() filters text choose leave />
            </Show>
            {move || wrong.get().map(|reason| view! { <span class="field-error" role="alert">{reason}</span> })}
        </div>
    }
}

#[component]
fn AddFilter(
    adding: ReadSignal<FilterDraft>,
    filters: Memo<TraceFilters>,
    text: RwSignal<String>,
    choose: Callback<String>,
    leave: Callback<()>,
) -> impl IntoView {
    let names = RequestState::<NameList>::new(move || match adding.get() {
        FilterDraft::Value(Field::Service) => Some(api::services(&text.get())),
        FilterDraft::Value(Field::Operation) => {
            let service = filters.with(|filters| filters.service.clone());
            Some(api::operations(service.as_deref(), &text.get()))
        }
        FilterDraft::Value(Field::Attribute(key) | Field::Excluded(key, _)) => {
            Some(api::attribute_values(&key, &text.get()))
        }
        _ => None,
    });
    let keys = RequestState::<AttributeKeyList>::new(move || {
        (adding.get() == FilterDraft::Field).then(|| api::attribute_keys(&text.get()))
    });
    // Suggestions for another field are not valid for this one.
    Effect::new(move |_| {
        adding.track();
        names.clear();
    });
    let suggestions = Memo::new(move |_| match adding.get() {
        FilterDraft::No => Vec::new(),
        FilterDraft::Field => {
            let fixed = text.with(|text| {
                Field::names_containing(text).map(Suggestion::plain).collect::<Vec<_>>()
            });
            let keys = keys.value().map(|list| list.keys.clone()).unwrap_or_default();
            let keys = keys.into_iter().map(|key| Suggestion::counted(key.key, key.count));
            fixed.into_iter().chain(keys).collect()
        }
        FilterDraft::Value(field) if !field.values().is_empty() => {
            let typed = text.get().to_lowercase();
            let values = field.values().iter().filter(|value| value.contains(&typed));
            values.map(|value| Suggestion::plain(value)).collect()
        }
        FilterDraft::Value(_) => {
            let names = names.value().map(|list| list.names.clone()).unwrap_or_default();
            names.into_iter().map(|name| Suggestion::counted(name.name, name.count)).collect()
        }
    });
    let placeholder = move || match adding.get() {
        FilterDraft::No | FilterDraft::Field => "Field or attribute".to_owned(),
        FilterDraft::Value(field) => format!("Value of {}", field.name()),
    };
    // A value is often not among the suggestions; a name usually is.
    let first = move || match adding.get() {
        FilterDraft::Value(
            Field::Attribute(_) | Field::Excluded(..) | Field::DurationMin | Field::DurationMax,
        ) => DefaultOption::Text,
        _ => DefaultOption::Suggestion,
    };
    let field = move || match adding.get() {
        FilterDraft::Value(field) => Some(view! { <span class="mute">{field.name()}</span> }),
        FilterDraft::No | FilterDraft::Field => None,
    };
    view! {
        {field}
        <Suggest
            id="filter"
            label=Signal::derive(placeholder)
            placeholder=Signal::derive(placeholder)
            text
            suggestions
            first=Signal::derive(first)
            on_choose=choose
            on_leave=leave
        />
    }
}
