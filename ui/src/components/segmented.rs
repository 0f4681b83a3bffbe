//! A choice of few: buttons side by side, the chosen one pressed in. The choice is in the address.

use leptos::prelude::*;

use crate::url::{Step, use_edit_query, use_query};

/// Returns the choice in the page's address under `name`; one that is not offered is the first.
#[must_use]
pub fn use_choice(
    name: &'static str,
    offered: &'static [(&'static str, &'static str)],
) -> Memo<&'static str> {
    let query = use_query();
    Memo::new(move |_| {
        let chosen = query.with(|query| {
            offered
                .iter()
                .find(|(value, _)| query.get(name) == Some(*value))
                .map(|(value, _)| *value)
        });
        chosen.or_else(|| offered.first().map(|(value, _)| *value)).unwrap_or_default()
    })
}

/// The buttons. The first choice is the usual one and is not written into the address.
#[component]
pub fn Segmented(
    /// The parameter of the address.
    name: &'static str,
    /// The choices: the value in the address and the words of the button.
    offered: &'static [(&'static str, &'static str)],
    /// The subject of the choice, for those who do not see it.
    label: &'static str,
) -> impl IntoView {
    let chosen = use_choice(name, offered);
    let edit = use_edit_query();
    let choose = Callback::new(move |value: &'static str| {
        let usual = offered.first().is_some_and(|(first, _)| *first == value);
        edit(Step::New, &|query| query.set(name, (!usual).then_some(value)));
    });
    let button = move |&(value, words): &(&'static str, &'static str)| {
        view! {
            <button
                class="segment"
                type="button"
                aria-pressed=move || (chosen.get() == value).to_string()
                on:click=move |_| choose.run(value)
            >
                {words}
            </button>
        }
    };
    view! {
        <span class="segments" role="group" aria-label=label>
            {offered.iter().map(button).collect_view()}
        </span>
    }
}
