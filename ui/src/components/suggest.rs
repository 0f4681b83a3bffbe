//! A text field with suggestions: a combobox that the keyboard can do everything in.
//!
//! Owns which suggestion is marked and whether the list is open. What is suggested is the page's
//! business: it sees every change of the text.

use leptos::{html, prelude::*};

use crate::{browser, format};

/// One suggestion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// What choosing it gives.
    pub value: String,
    /// What is shown beside it, as a count.
    pub hint: String,
}

impl Suggestion {
    /// A suggestion with how often it occurs.
    #[must_use]
    pub fn counted(value: String, count: u64) -> Self {
        Self { value, hint: format::count(count) }
    }

    /// A suggestion with nothing beside it.
    #[must_use]
    pub fn plain(value: &str) -> Self {
        Self { value: value.to_owned(), hint: String::new() }
    }
}

/// The field. `Enter` chooses the marked suggestion, or the text itself when none is marked.
#[component]
pub fn Suggest(
    /// The field's id; its list's id is derived from it.
    id: &'static str,
    /// What the field is for.
    #[prop(into)]
    label: Signal<String>,
    /// Shown while it is empty.
    #[prop(into)]
    placeholder: Signal<String>,
    /// The text.
    text: RwSignal<String>,
    /// What is suggested for the text as it stands.
    #[prop(into)]
    suggestions: Signal<Vec<Suggestion>>,
    /// Called with what was chosen.
    on_choose: Callback<String>,
    /// Called when the reader leaves without choosing.
    on_leave: Callback<()>,
) -> impl IntoView {
    let marked = RwSignal::new(None::<usize>);
    let field = NodeRef::<html::Input>::new();
    let list_id = format!("{id}-list");
    let option_id = move |index: usize| format!("{id}-option-{index}");
    Effect::new(move |_| {
        if let Some(field) = field.get() {
            let _refused = field.focus();
        }
    });
    Effect::new(move |_| {
        if let Some(index) = marked.get() {
            browser::reveal(&option_id(index));
        }
    });
    let choose = move || {
        let chosen = marked.get_untracked().and_then(|index| {
            suggestions.with_untracked(|all| all.get(index).map(|one| one.value.clone()))
        });
        let chosen = chosen.unwrap_or_else(|| text.get_untracked().trim().to_owned());
        if !chosen.is_empty() {
            marked.set(None);
            on_choose.run(chosen);
        }
    };
    let pressed = move |event: web_sys::KeyboardEvent| {
        let count = suggestions.with_untracked(Vec::len);
        match event.key().as_str() {
            "ArrowDown" if count > 0 => {
                marked.update(|at| *at = Some(at.map_or(0, |at| (at + 1) % count)));
            }
            "ArrowUp" if count > 0 => {
                let up = |at: usize| at.checked_sub(1).unwrap_or(count - 1);
                marked.update(|at| *at = Some(at.map_or(count - 1, up)));
            }
            "Enter" => choose(),
            "Escape" => on_leave.run(()),
            _ => return,
        }
        event.prevent_default();
        event.stop_propagation();
    };
    let typed = move |event| {
        marked.set(None);
        text.set(event_target_value(&event));
    };
    let row = move |(index, suggestion): (usize, Suggestion)| {
        let value = suggestion.value.clone();
        // The mouse must not take the focus away before the click counts.
        view! {
            <li
                id=option_id(index)
                class="suggest-option"
                role="option"
                aria-selected=move || (marked.get() == Some(index)).to_string()
                on:mousedown=move |event| event.prevent_default()
                on:click=move |_| {
                    marked.set(None);
                    on_choose.run(value.clone());
                }
            >
                <span class="suggest-value">{suggestion.value}</span>
                <span class="suggest-hint">{suggestion.hint}</span>
            </li>
        }
    };
    view! {
        <div class="suggest">
            <input
                node_ref=field
                id=id
                class="input suggest-input"
                type="text"
                role="combobox"
                aria-label=move || label.get()
                aria-autocomplete="list"
                aria-controls=list_id.clone()
                aria-expanded=move || (!suggestions.with(Vec::is_empty)).to_string()
                aria-activedescendant=move || marked.get().map(option_id)
                autocomplete="off"
                autocapitalize="off"
                spellcheck="false"
                placeholder=move || placeholder.get()
                prop:value=move || text.get()
                on:input=typed
                on:keydown=pressed
                on:blur=move |_| on_leave.run(())
            />
            <ul id=list_id class="suggest-list" role="listbox">
                {move || suggestions.get().into_iter().enumerate().map(row).collect_view()}
            </ul>
        </div>
    }
}
