//! The filters as chips, and the field that adds one: first the field, then the value.

use leptos::prelude::*;
use tidings_proto::api::{AttributeKeyList, NameList};

use super::field::{Field, SetFilter, set, set_filters};
use crate::{
    api,
    components::{Chip, FirstMark, Icon, IconName, Suggest, Suggestion},
    keys::use_keys,
    remote::Remote,
    url::TraceFilters,
};

/// The step of adding a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Adding {
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
    let adding = RwSignal::new(Adding::No);
    let text = RwSignal::new(String::new());
    let wrong = RwSignal::new(None::<&'static str>);
    let start = move |stage: Adding, typed: String| {
        wrong.set(None);
        text.set(typed);
        adding.set(stage);
    };
    let change = move |field: &Field, value: Option<&str>| {
        let mut changed = filters.get_untracked();
        match set(&mut changed, field, value) {
            Ok(()) => {
                start(Adding::No, String::new());
                on_change.run(changed);
            }
            Err(reason) => wrong.set(Some(reason)),
        }
    };
    let choose = Callback::new(move |chosen: String| match adding.get_untracked() {
        Adding::No => {}
        Adding::Field => start(Adding::Value(Field::named(&chosen)), String::new()),
        Adding::Value(field) => change(&field, Some(&chosen)),
    });
    let leave = Callback::new(move |()| start(Adding::No, String::new()));
    use_keys().bind("f", "Add a filter", "Explore", move || start(Adding::Field, String::new()));
    let chip = move |SetFilter { field, relation, value }: SetFilter| {
        let (edited, removed, typed) = (field.clone(), field.clone(), value.clone());
        let edit = move |()| start(Adding::Value(edited.clone()), typed.clone());
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
    let open = Memo::new(move |_| adding.with(|adding| *adding != Adding::No));
    view! {
        <div class="filters" role="group" aria-label="Filters">
            {move || set_filters(&filters.get()).into_iter().map(chip).collect_view()}
            {children()}
            <Show
                when=move || open.get()
                fallback=move || {
                    view! {
                        <button
                            class="chip-add"
                            type="button"
                            on:click=move |_| start(Adding::Field, String::new())
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
    adding: ReadSignal<Adding>,
    filters: Memo<TraceFilters>,
    text: RwSignal<String>,
    choose: Callback<String>,
    leave: Callback<()>,
) -> impl IntoView {
    let names = Remote::<NameList>::new(move || match adding.get() {
        Adding::Value(Field::Service) => Some(api::services(&text.get())),
        Adding::Value(Field::Operation) => {
            let service = filters.with(|filters| filters.service.clone());
            Some(api::operations(service.as_deref(), &text.get()))
        }
        Adding::Value(Field::Attribute(key) | Field::Without(key, _)) => {
            Some(api::attribute_values(&key, &text.get()))
        }
        _ => None,
    });
    let keys = Remote::<AttributeKeyList>::new(move || {
        (adding.get() == Adding::Field).then(|| api::attribute_keys(&text.get()))
    });
    // Suggestions for another field are not valid for this one.
    Effect::new(move |_| {
        adding.track();
        names.forget();
    });
    let suggestions = Memo::new(move |_| match adding.get() {
        Adding::No => Vec::new(),
        Adding::Field => {
            let fixed =
                text.with(|text| Field::offered(text).map(Suggestion::plain).collect::<Vec<_>>());
            let keys = keys.value().map(|list| list.keys.clone()).unwrap_or_default();
            let keys = keys.into_iter().map(|key| Suggestion::counted(key.key, key.count));
            fixed.into_iter().chain(keys).collect()
        }
        Adding::Value(field) if !field.values().is_empty() => {
            let typed = text.get().to_lowercase();
            let values = field.values().iter().filter(|value| value.contains(&typed));
            values.map(|value| Suggestion::plain(value)).collect()
        }
        Adding::Value(_) => {
            let names = names.value().map(|list| list.names.clone()).unwrap_or_default();
            names.into_iter().map(|name| Suggestion::counted(name.name, name.count)).collect()
        }
    });
    let placeholder = move || match adding.get() {
        Adding::No | Adding::Field => "Field or attribute".to_owned(),
        Adding::Value(field) => format!("Value of {}", field.name()),
    };
    // A value is often not among the suggestions; a name usually is.
    let first = move || match adding.get() {
        Adding::Value(
            Field::Attribute(_) | Field::Without(..) | Field::DurationMin | Field::DurationMax,
        ) => FirstMark::Text,
        _ => FirstMark::Suggestion,
    };
    let field = move || match adding.get() {
        Adding::Value(field) => Some(view! { <span class="mute">{field.name()}</span> }),
        Adding::No | Adding::Field => None,
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
