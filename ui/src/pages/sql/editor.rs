//! The editor of a query: numbered lines, highlighted words, the marked mistake, completion.
//!
//! A text area without colours lies over the same text in colours. Both wrap long lines at the same
//! places, and the text in colours gives the height. The page owns the text and the completions.

use leptos::{html, prelude::*};
use wasm_bindgen::JsCast;
use web_sys::HtmlTextAreaElement;

use super::tokens::{
    Completion, CompletionContext, SqlToken, SqlTokenKind, completion_context, tokens,
};
use crate::browser;

const FIELD: &str = "sql-text";
/// Id of the list of completions, which exists while there are any.
const OFFERED_ID: &str = "sql-offered";

/// State of the editor.
#[derive(Clone, Copy)]
pub(super) struct EditorState {
    /// The text.
    pub(super) text: RwSignal<String>,
    /// Completion context at the caret; `None` when nothing is offered.
    pub(super) asked: RwSignal<Option<CompletionContext>>,
    /// Completions on offer.
    pub(super) offered: Memo<Vec<Completion>>,
    /// Line and column of a mistake, from 1.
    pub(super) mistake: Memo<Option<(usize, usize)>>,
    marked: RwSignal<usize>,
}

impl EditorState {
    pub(super) fn new(
        text: RwSignal<String>,
        asked: RwSignal<Option<CompletionContext>>,
        offered: Memo<Vec<Completion>>,
        mistake: Memo<Option<(usize, usize)>>,
    ) -> Self {
        Self { text, asked, offered, mistake, marked: RwSignal::new(0) }
    }

    /// Inserts a text at the caret, in place of `replaced` characters before it.
    pub(super) fn insert(self, inserted: &str, replaced: usize) {
        let Some(field) = field() else { return };
        let units: Vec<u16> = field.value().encode_utf16().collect();
        let end = field.selection_end().ok().flatten().unwrap_or(0) as usize;
        let end = end.min(units.len());
        let begin = end.saturating_sub(replaced);
        let mut next = units[..begin].to_vec();
        next.extend(inserted.encode_utf16());
        let caret = u32::try_from(next.len()).unwrap_or(0);
        next.extend_from_slice(&units[end..]);
        let next = String::from_utf16_lossy(&next);
        field.set_value(&next);
        let _refused = field.set_selection_range(caret, caret);
        browser::focus(FIELD);
        self.text.set(next);
        self.asked.set(None);
    }

    fn accept(self, index: usize) {
        let chosen = self.offered.with_untracked(|all| all.get(index).cloned());
        let asked = self.asked.get_untracked();
        if let (Some(chosen), Some(asked)) = (chosen, asked) {
            let replaced = asked.typed().encode_utf16().count();
            let closing = if matches!(asked, CompletionContext::Attribute(_)) { "']" } else { "" };
            self.insert(&format!("{}{closing}", chosen.text), replaced);
        }
    }

    /// Records the text and the completion context at the caret.
    fn on_input(self) {
        let Some(field) = field() else { return };
        let text = field.value();
        let caret = field.selection_end().ok().flatten().unwrap_or(0) as usize;
        let units: Vec<u16> = text.encode_utf16().take(caret).collect();
        self.asked.set(completion_context(&String::from_utf16_lossy(&units)));
        self.marked.set(0);
        self.text.set(text);
    }

    fn on_key_down(self, event: &web_sys::KeyboardEvent, run: Callback<()>, cancel: Callback<()>) {
        let offered = self.offered.with_untracked(Vec::len);
        let is_run = (event.ctrl_key() || event.meta_key()) && event.key() == "Enter";
        match event.key().as_str() {
            _ if is_run => {
                self.asked.set(None);
                run.run(());
            }
            " " if event.ctrl_key() => self.on_input(),
            "ArrowDown" if offered > 0 => self.marked.update(|at| *at = (*at + 1) % offered),
            "ArrowUp" if offered > 0 => {
                self.marked.update(|at| *at = at.checked_sub(1).unwrap_or(offered - 1));
            }
            "Enter" | "Tab" if offered > 0 => self.accept(self.marked.get_untracked()),
            "Escape" if offered > 0 => self.asked.set(None),
            "Escape" => {
                cancel.run(());
                return;
            }
            _ => return,
        }
        event.prevent_default();
        event.stop_propagation();
    }
}

fn field() -> Option<HtmlTextAreaElement> {
    document().get_element_by_id(FIELD)?.dyn_into().ok()
}

/// Returns the text before the caret and the text after it.
fn text_around_caret() -> (String, String) {
    let Some(field) = field() else { return (String::new(), String::new()) };
    let caret = field.selection_end().ok().flatten().unwrap_or(0) as usize;
    let units: Vec<u16> = field.value().encode_utf16().collect();
    let (before, after) = units.split_at(caret.min(units.len()));
    (String::from_utf16_lossy(before), String::from_utf16_lossy(after))
}

/// The editor.
pub(super) fn editor(state: EditorState, run: Callback<()>, cancel: Callback<()>) -> impl IntoView {
    let coloured = move || state.text.with(|text| coloured(text, state.mistake.get()));
    let scroller = NodeRef::<html::Div>::new();
    let scrolled_by = RwSignal::new(0);
    let scrolled = move |_| {
        if let Some(scroller) = scroller.get_untracked() {
            scrolled_by.set(scroller.scroll_top());
        }
    };
    let popup = move || {
        let offered = state.offered.get();
        (!offered.is_empty()).then(|| popup(state, &offered, scrolled_by))
    };
    view! {
        <div class="sql-editor">
            <div class="sql-scroll" node_ref=scroller on:scroll=scrolled>
                <div class="sql-field">
                    <pre class="sql-colours" aria-hidden="true">
                        {coloured}
                    </pre>
                    <textarea
                        id=FIELD
                        class="sql-text-area"
                        aria-label="Query in SQL. Ctrl and Enter runs it."
                        aria-autocomplete="list"
                        aria-controls=move || state.offered.with(|all| (!all.is_empty()).then_some(OFFERED_ID))
                        autocomplete="off"
                        autocapitalize="off"
                        spellcheck="false"
                        maxlength="8192"
                        prop:value=move || state.text.get()
                        on:input=move |_| state.on_input()
                        on:keydown=move |event| state.on_key_down(&event, run, cancel)
                        on:blur=move |_| state.asked.set(None)
                    ></textarea>
                </div>
            </div>
            {popup}
        </div>
    }
}

/// The completions below the caret. The same text, unseen, wraps as the editor does and gives the
/// caret's position.
fn popup(
    state: EditorState,
    offered: &[Completion],
    scrolled_by: RwSignal<i32>,
) -> impl IntoView + use<> {
    let option = |(index, one): (usize, &Completion)| {
        let Completion { text, hint } = one.clone();
        view! {
            <li
                class="suggest-option"
                role="option"
                aria-selected=move || (state.marked.get() == index).to_string()
                on:mousedown=move |event| event.prevent_default()
                on:click=move |_| state.accept(index)
            >
                <span class="suggest-value mono">{text}</span>
                <span class="suggest-hint">{hint}</span>
            </li>
        }
    };
    let shift = move || format!("translateY({}px)", -scrolled_by.get());
    let (before, after) = text_around_caret();
    view! {
        <div class="sql-caret" style=("transform", shift)>
            {before}
            <span class="sql-caret-place">
                <ul
                    id=OFFERED_ID
                    class="suggest-list sql-offered"
                    role="listbox"
                    aria-label="Completions"
                >
                    {offered.iter().enumerate().map(option).collect_view()}
                </ul>
            </span>
            {after}
        </div>
    }
}

/// The text in colours, line by line. The word at a mistake is underlined.
fn coloured(text: &str, mistake: Option<(usize, usize)>) -> impl IntoView + use<> {
    let lines = (1..).zip(lines_of_tokens(text)).map(|(number, tokens)| {
        let wrong = mistake.filter(|(line, _)| *line == number).map(|(_, column)| column);
        let mut column = 1;
        let words = tokens.into_iter().map(|token| {
            let end = column + token.text.chars().count();
            let is_wrong = wrong.is_some_and(|wrong| (column..end).contains(&wrong));
            column = end;
            let words = token.text.to_owned();
            let class = match (is_wrong, token.kind) {
                (false, SqlTokenKind::Plain) => return words.into_any(),
                (false, kind) => kind.class().to_owned(),
                (true, kind) => format!("{} sql-wrong", kind.class()),
            };
            view! { <span class=class>{words}</span> }.into_any()
        });
        let words = words.collect_view();
        view! { <span class="sql-line" class:sql-wrong-line=wrong.is_some()>{words}</span> }
    });
    lines.collect_view()
}

/// Returns the tokens of each line, without line breaks. A token of several lines is divided.
fn lines_of_tokens(text: &str) -> Vec<Vec<SqlToken<'_>>> {
    let mut lines = Vec::new();
    let mut line = Vec::new();
    for token in tokens(text) {
        for (index, piece) in token.text.split('\n').enumerate() {
            if index > 0 {
                lines.push(std::mem::take(&mut line));
            }
            if !piece.is_empty() {
                line.push(SqlToken { kind: token.kind, text: piece });
            }
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::{SqlTokenKind, lines_of_tokens};

    #[test]
    fn a_text_is_divided_into_its_lines() {
        for text in ["", "ab", "ab\n", "SELECT 1\nFROM", "\n\nä 'b\nc' ü", "/* a\n\n*/ b"] {
            let lines = lines_of_tokens(text).into_iter();
            let lines: Vec<String> =
                lines.map(|line| line.iter().map(|token| token.text).collect()).collect();
            assert_eq!(lines, text.split('\n').collect::<Vec<_>>(), "{text:?}");
        }
    }

    #[test]
    fn a_token_keeps_its_kind_in_all_its_lines() {
        let lines = lines_of_tokens("/* a\nb */");
        let kinds: Vec<SqlTokenKind> = lines.iter().flatten().map(|token| token.kind).collect();
        assert_eq!(kinds, [SqlTokenKind::Comment, SqlTokenKind::Comment]);
    }
}
