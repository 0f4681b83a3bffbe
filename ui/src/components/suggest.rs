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

/// What is marked of what is suggested, and what comes of it.
#[derive(Debug, Clone, Copy)]
struct Choice {
    marked: RwSignal<Option<usize>>,
    text: RwSignal<String>,
    suggestions: Signal<Vec<Suggestion>>,
    on_choose: Callback<String>,
    on_leave: Callback<()>,
}

impl Choice {
    /// Chooses the marked suggestion, or the text itself when none is marked.
    fn choose(self) {
        let chosen = self.marked.get_untracked().and_then(|index| {
            self.suggestions.with_untracked(|all| all.get(index).map(|one| one.value.clone()))
        });
        let chosen = chosen.unwrap_or_else(|| self.text.get_untracked().trim().to_owned());
        if !chosen.is_empty() {
            self.take(chosen);
        }
    }

    fn take(self, chosen: String) {
        self.marked.set(None);
        self.on_choose.run(chosen);
    }

    fn typed(self, text: String) {
        self.marked.set(None);
        self.text.set(text);
    }

    fn pressed(self, event: &web_sys::KeyboardEvent) {
        let count = self.suggestions.with_untracked(Vec::len);
        match event.key().as_str() {
            "ArrowDown" if count > 0 => {
                self.marked.update(|at| *at = Some(at.map_or(0, |at| (at + 1) % count)));
            }
            "ArrowUp" if count > 0 => {
                let up = |at: usize| at.checked_sub(1).unwrap_or(count - 1);
                self.marked.update(|at| *at = Some(at.map_or(count - 1, up)));
            }
            "Enter" => self.choose(),
            "Escape" => self.on_leave.run(()),
            _ => return,
        }
        event.prevent_default();
        event.stop_propagation();
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
    let choice = Choice { marked, text, suggestions, on_choose, on_leave };
    let field = NodeRef::<html::Input>::new();
    let list_id = format!("{id}-list");
    Effect::new(move |_| {
        if let Some(field) = field.get() {
            let _refused = field.focus();
        }
    });
    Effect::new(move |_| {
        if let Some(index) = marked.get() {
            browser::reveal(&option_id(id, index));
        }
    });
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
                aria-activedescendant=move || marked.get().map(|index| option_id(id, index))
                autocomplete="off"
                autocapitalize="off"
                spellcheck="false"
                placeholder=move || placeholder.get()
                prop:value=move || text.get()
                on:input=move |event| choice.typed(event_target_value(&event))
                on:keydown=move |event| choice.pressed(&event)
                on:blur=move |_| on_leave.run(())
            />
            <ul id=list_id class="suggest-list" role="listbox">
                {move || {
                    let all = suggestions.get().into_iter().enumerate();
                    all.map(|(index, one)| option(choice, option_id(id, index), index, one))
                        .collect_view()
                }}
            </ul>
        </div>
    }
}

fn option_id(field: &str, index: usize) -> String {
    format!("{field}-option-{index}")
}

/// A suggestion's line. The mouse must not take the focus away before the click counts.
fn option(choice: Choice, id: String, index: usize, suggestion: Suggestion) -> impl IntoView {
    let Suggestion { value, hint } = suggestion;
    let chosen = value.clone();
    view! {
        <li
            id=id
            class="suggest-option"
            role="option"
            aria-selected=move || (choice.marked.get() == Some(index)).to_string()
            on:mousedown=move |event| event.prevent_default()
            on:click=move |_| choice.take(chosen.clone())
        >
            <span class="suggest-value">{value}</span>
            <span class="suggest-hint">{hint}</span>
        </li>
    }
}
