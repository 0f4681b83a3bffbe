//! The editor of a query: numbered lines, highlighted words, the marked mistake, completion.
//!
//! A text area without colours lies over the same text in colours. The page owns the text and the
//! completions.

use leptos::{html, prelude::*};
use wasm_bindgen::JsCast;
use web_sys::HtmlTextAreaElement;

use super::tokens::{Completion, CompletionContext, SqlTokenKind, tokens, wanted};
use crate::browser;

/// Minimum and maximum height of the editor, in lines.
const LINES_MIN: usize = 5;
const LINES_MAX: usize = 18;
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
    fn typed(self) {
        let Some(field) = field() else { return };
        let text = field.value();
        let caret = field.selection_end().ok().flatten().unwrap_or(0) as usize;
        let units: Vec<u16> = text.encode_utf16().take(caret).collect();
        self.asked.set(wanted(&String::from_utf16_lossy(&units)));
        self.marked.set(0);
        self.text.set(text);
    }

    fn pressed(self, event: &web_sys::KeyboardEvent, run: Callback<()>, cancel: Callback<()>) {
        let offered = self.offered.with_untracked(Vec::len);
        let is_run = (event.ctrl_key() || event.meta_key()) && event.key() == "Enter";
        match event.key().as_str() {
            _ if is_run => {
                self.asked.set(None);
                run.run(());
            }
            " " if event.ctrl_key() => self.typed(),
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

/// Returns line and column of the end of a text, from 0, in characters.
fn end_of(text: &str) -> (usize, usize) {
    let line = text.matches('\n').count();
    let last = text.rsplit('\n').next().unwrap_or_default();
    (line, last.chars().count())
}

/// The editor.
pub(super) fn editor(state: EditorState, run: Callback<()>, cancel: Callback<()>) -> impl IntoView {
    let lines = Memo::new(move |_| state.text.with(|text| text.matches('\n').count() + 1));
    let numbers = move || {
        let mistake = state.mistake.get().map(|(line, _)| line);
        let number = |line: usize| {
            view! { <span class:sql-wrong-line=mistake == Some(line)>{line}</span> }
        };
        (1..=lines.get().min(2_000)).map(number).collect_view()
    };
    let height = move || format!("{}", lines.get().clamp(LINES_MIN, LINES_MAX));
    let coloured = move || state.text.with(|text| coloured(text, state.mistake.get()));
    let shift = RwSignal::new((0, 0));
    let area = NodeRef::<html::Textarea>::new();
    let scrolled = move |_| {
        if let Some(area) = area.get_untracked() {
            shift.set((area.scroll_left(), area.scroll_top()));
        }
    };
    let moved = move || {
        let (left, top) = shift.get();
        format!("translate({}px, {}px)", -left, -top)
    };
    let numbers_moved = move || format!("translateY({}px)", -shift.get().1);
    let popup = move || {
        let offered = state.offered.get();
        let before = caret_text();
        (!offered.is_empty()).then(|| popup(state, &offered, end_of(&before), shift.get()))
    };
    view! {
        <div class="sql-editor" style=("--sql-lines", height)>
            <div class="sql-numbers" aria-hidden="true">
                <div style=("transform", numbers_moved)>{numbers}</div>
            </div>
            <div class="sql-field">
                <pre class="sql-colours" aria-hidden="true" style=("transform", moved)>
                    {coloured}
                </pre>
                <textarea
                    node_ref=area
                    id=FIELD
                    class="sql-text-area"
                    aria-label="Query in SQL. Ctrl and Enter runs it."
                    aria-autocomplete="list"
                    aria-controls=move || state.offered.with(|all| (!all.is_empty()).then_some(OFFERED_ID))
                    autocomplete="off"
                    autocapitalize="off"
                    spellcheck="false"
                    wrap="off"
                    maxlength="8192"
                    prop:value=move || state.text.get()
                    on:input=move |_| state.typed()
                    on:keydown=move |event| state.pressed(&event, run, cancel)
                    on:scroll=scrolled
                    on:blur=move |_| state.asked.set(None)
                ></textarea>
                {popup}
            </div>
        </div>
    }
}

fn caret_text() -> String {
    let Some(field) = field() else { return String::new() };
    let caret = field.selection_end().ok().flatten().unwrap_or(0) as usize;
    let units: Vec<u16> = field.value().encode_utf16().take(caret).collect();
    String::from_utf16_lossy(&units)
}

fn popup(
    state: EditorState,
    offered: &[Completion],
    (line, column): (usize, usize),
    (left, top): (i32, i32),
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
    let place =
        format!("translate(calc({column} * 1ch - {left}px), calc({} * 20px - {top}px))", line + 1);
    view! {
        <ul
            id=OFFERED_ID
            class="suggest-list sql-offered"
            role="listbox"
            aria-label="Completions"
            style=("transform", place)
        >
            {offered.iter().enumerate().map(option).collect_view()}
        </ul>
    }
}

/// The text in colours. The word at a mistake is underlined.
fn coloured(text: &str, mistake: Option<(usize, usize)>) -> impl IntoView + use<> {
    let mut parts = Vec::new();
    let (mut line, mut column) = (1, 1);
    for token in tokens(text) {
        // A token may span several lines.
        for (index, piece) in token.text.split_inclusive('\n').enumerate() {
            let length = piece.chars().count();
            let is_here = mistake.is_some_and(|(at_line, at)| {
                at_line == line && (column..column + length).contains(&at)
            });
            let class = match (is_here, token.kind.class()) {
                (true, class) => format!("{class} sql-wrong"),
                (false, class) => class.to_owned(),
            };
            let is_plain = token.kind == SqlTokenKind::Plain && !is_here && index == 0;
            parts.push(if is_plain {
                piece.to_owned().into_any()
            } else {
                view! { <span class=class>{piece.to_owned()}</span> }.into_any()
            });
            if piece.ends_with('\n') {
                line += 1;
                column = 1;
            } else {
                column += length;
            }
        }
    }
    // A last empty line needs a height, too.
    view! { {parts} "\n" }
}

#[cfg(test)]
mod tests {
    use super::end_of;

    #[test]
    fn the_caret_is_found_by_line_and_column() {
        let places = ["", "ab", "ab\n", "ab\ncde", "ä\nü"].map(end_of);
        assert_eq!(places, [(0, 0), (0, 2), (1, 0), (1, 3), (1, 1)]);
    }
}
