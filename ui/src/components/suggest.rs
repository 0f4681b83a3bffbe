//! A text field with suggestions: a combobox with full keyboard support.
//!
//! Owns the marked suggestion and the open state of the list. The page provides the suggestions and
//! sees every change of the text.

use leptos::{html, prelude::*};

use crate::{browser, format};

/// The option that is marked before the reader moves the mark. `Enter` chooses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DefaultOption {
    /// The first suggestion, or the text itself without one: for names from a list.
    #[default]
    Suggestion,
    /// The text itself: for values, which need not be among the suggestions.
    Text,
}

/// One suggestion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// Text that is inserted when it is chosen.
    pub value: String,
    /// Text shown beside it, as a count.
    pub hint: String,
}

impl Suggestion {
    /// A suggestion with its number of occurrences.
    #[must_use]
    pub fn counted(value: String, count: u64) -> Self {
        Self { value, hint: format::count(count) }
    }

    /// A suggestion without a text beside it.
    #[must_use]
    pub fn plain(value: &str) -> Self {
        Self { value: value.to_owned(), hint: String::new() }
    }
}

/// Returns the options. The text itself is the first or the last of them, unless a suggestion
/// equals it.
fn options(suggestions: Vec<Suggestion>, text: &str, first: DefaultOption) -> Vec<Suggestion> {
    let text = text.trim();
    // Suggestions of an earlier text stay until newer ones arrive. They must not be chosen for this
    // text.
    let lower = text.to_lowercase();
    let fits = |one: &Suggestion| one.value.to_lowercase().contains(&lower);
    let suggestions: Vec<_> = suggestions.into_iter().filter(fits).collect();
    let is_there = suggestions.iter().any(|one| one.value == text);
    if text.is_empty() || is_there {
        // A suggestion that equals the text comes first.
        let (same, other) = suggestions.into_iter().partition::<Vec<_>, _>(|one| one.value == text);
        return same.into_iter().chain(other).collect();
    }
    let typed = Suggestion { value: text.to_owned(), hint: "as typed".to_owned() };
    match first {
        DefaultOption::Text => std::iter::once(typed).chain(suggestions).collect(),
        DefaultOption::Suggestion => suggestions.into_iter().chain([typed]).collect(),
    }
}

/// Returns the option that `Enter` chooses: the one that the reader moved to, or the first when the
/// text is not empty.
fn marked(moved_to: Option<usize>, has_text: bool, count: usize) -> Option<usize> {
    moved_to.or(has_text.then_some(0)).filter(|index| *index < count)
}

/// The options, the mark and the callbacks of a field.
#[derive(Debug, Clone, Copy)]
struct SuggestState {
    /// The option the reader moved to.
    moved_to: RwSignal<Option<usize>>,
    text: RwSignal<String>,
    options: Memo<Vec<Suggestion>>,
    on_choose: Callback<String>,
    on_leave: Callback<()>,
}

impl SuggestState {
    fn marked(self) -> Option<usize> {
        let has_text = self.text.with(|text| !text.trim().is_empty());
        marked(self.moved_to.get(), has_text, self.options.with(Vec::len))
    }

    /// Chooses the marked option, or the text itself when none is marked.
    fn choose(self) {
        let chosen = untrack(|| {
            let index = self.marked()?;
            self.options.with(|all| all.get(index).map(|one| one.value.clone()))
        });
        let chosen = chosen.unwrap_or_else(|| self.text.get_untracked().trim().to_owned());
        if !chosen.is_empty() {
            self.accept(chosen);
        }
    }

    fn accept(self, chosen: String) {
        self.moved_to.set(None);
        self.on_choose.run(chosen);
    }

    fn on_input(self, text: String) {
        self.moved_to.set(None);
        self.text.set(text);
    }

    fn on_key_down(self, event: &web_sys::KeyboardEvent) {
        let count = self.options.with_untracked(Vec::len);
        let at = untrack(|| self.marked());
        match event.key().as_str() {
            "ArrowDown" if count > 0 => {
                self.moved_to.set(Some(at.map_or(0, |at| (at + 1) % count)));
            }
            "ArrowUp" if count > 0 => {
                let up = |at: usize| at.checked_sub(1).unwrap_or(count - 1);
                self.moved_to.set(Some(at.map_or(count - 1, up)));
            }
            "Enter" => self.choose(),
            "Escape" => self.on_leave.run(()),
            _ => return,
        }
        event.prevent_default();
        event.stop_propagation();
    }
}

/// The field. `Enter` chooses the marked option.
#[component]
pub fn Suggest(
    /// The field's id; its list's id is derived from it.
    id: &'static str,
    /// Label of the field.
    #[prop(into)]
    label: Signal<String>,
    /// Text that is shown while the field is empty.
    #[prop(into)]
    placeholder: Signal<String>,
    /// The text.
    text: RwSignal<String>,
    /// Suggestions for the current text.
    #[prop(into)]
    suggestions: Signal<Vec<Suggestion>>,
    /// The option that is marked before the reader moves the mark.
    #[prop(into, optional)]
    first: Signal<DefaultOption>,
    /// Called with the chosen value.
    on_choose: Callback<String>,
    /// Called when the reader leaves without choosing.
    on_leave: Callback<()>,
) -> impl IntoView {
    let options = Memo::new(move |_| {
        let text = text.get();
        options(suggestions.get(), &text, first.get())
    });
    let moved_to = RwSignal::new(None::<usize>);
    let choice = SuggestState { moved_to, text, options, on_choose, on_leave };
    let field = NodeRef::<html::Input>::new();
    let list_id = format!("{id}-list");
    Effect::new(move |_| {
        if let Some(field) = field.get() {
            let _refused = field.focus();
        }
    });
    Effect::new(move |_| {
        if let Some(index) = moved_to.get() {
            browser::scroll_into_view(&option_id(id, index));
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
                aria-expanded=move || (!options.with(Vec::is_empty)).to_string()
                aria-activedescendant=move || choice.marked().map(|index| option_id(id, index))
                autocomplete="off"
                autocapitalize="off"
                spellcheck="false"
                placeholder=move || placeholder.get()
                prop:value=move || text.get()
                on:input=move |event| choice.on_input(event_target_value(&event))
                on:keydown=move |event| choice.on_key_down(&event)
                // A field that is removed with its page loses the focus, too.
                on:blur=move |_| on_leave.try_run(()).unwrap_or_default()
            />
            <ul id=list_id class="suggest-list" role="listbox" aria-label="Suggestions">
                {move || {
                    let all = options.get().into_iter().enumerate();
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

/// The row of a suggestion. Pressing the mouse on it must not move the focus before the click
/// counts.
fn option(choice: SuggestState, id: String, index: usize, suggestion: Suggestion) -> impl IntoView {
    let Suggestion { value, hint } = suggestion;
    let chosen = value.clone();
    view! {
        <li
            id=id
            class="suggest-option"
            role="option"
            aria-selected=move || (choice.marked() == Some(index)).to_string()
            on:mousedown=move |event| event.prevent_default()
            on:click=move |_| choice.accept(chosen.clone())
        >
            <span class="suggest-value">{value}</span>
            <span class="suggest-hint">{hint}</span>
        </li>
    }
}

#[cfg(test)]
mod tests {
    use super::{DefaultOption, Suggestion, marked, options};

    /// Returns the option that Enter chooses when only this text was typed.
    fn entered(suggestions: &[&str], text: &str, first: DefaultOption) -> Option<String> {
        let suggestions = suggestions.iter().map(|value| Suggestion::plain(value)).collect();
        let all = options(suggestions, text, first);
        let at = marked(None, !text.trim().is_empty(), all.len())?;
        Some(all[at].value.clone())
    }

    #[test]
    fn enter_takes_the_option_that_is_marked() {
        let names = ["checkout", "checkin"];
        for (text, first, wanted) in [
            ("check", DefaultOption::Suggestion, Some("checkout")),
            ("checkin", DefaultOption::Suggestion, Some("checkin")),
            ("", DefaultOption::Suggestion, None),
            ("check", DefaultOption::Text, Some("check")),
            ("checkin", DefaultOption::Text, Some("checkin")),
        ] {
            assert_eq!(entered(&names, text, first).as_deref(), wanted, "{text} {first:?}");
        }
        assert_eq!(entered(&[], "own.key", DefaultOption::Suggestion).as_deref(), Some("own.key"));
        assert_eq!(
            entered(&names, "pay", DefaultOption::Suggestion).as_deref(),
            Some("pay"),
            "stale"
        );
    }

    #[test]
    fn the_text_itself_is_an_option_once() {
        let plain = |value: &&str| Suggestion::plain(value);
        let all = |text| {
            let all = options(["abc", "ab"].iter().map(plain).collect(), text, DefaultOption::Text);
            all.into_iter().map(|one| one.value).collect::<Vec<_>>()
        };
        assert_eq!(all("a"), ["a", "abc", "ab"]);
        assert_eq!(all("ab"), ["ab", "abc"]);
    }
}
