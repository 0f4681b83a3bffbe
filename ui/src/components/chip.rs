//! A filter that is set: what, how, which value, and the way to take it off.

use leptos::prelude::*;

use super::{Icon, IconName};

/// A filter chip.
#[component]
pub fn Chip(
    /// Name of the filter, as `service`.
    name: String,
    /// How, as `=`.
    relation: &'static str,
    /// The value.
    value: String,
    /// Called when it is clicked to be changed.
    on_edit: Callback<()>,
    /// Called when it is taken off.
    on_remove: Callback<()>,
) -> impl IntoView {
    let words = format!("{name} {relation} {value}");
    let label = format!("Remove the filter {words}");
    view! {
        <span class="chip" role="group" aria-label=words>
            <button class="chip-body" type="button" on:click=move |_| on_edit.run(())>
                <span class="chip-name">{name}</span>
                <span class="chip-relation">{relation}</span>
                <span class="chip-value">{value}</span>
            </button>
            <button
                class="chip-remove"
                type="button"
                aria-label=label
                on:click=move |_| on_remove.run(())
            >
                <Icon name=IconName::Close />
            </button>
        </span>
    }
}
