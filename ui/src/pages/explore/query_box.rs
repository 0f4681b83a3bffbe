//! The filters as a TraceQL query, or any other query in their place.
//!
//! The text follows the filters until the reader edits it. A query that filters can express becomes
//! filters again. Any other query is sent unchanged, and the API reports its errors.

use leptos::{html, prelude::*};
use tidings_proto::api::{AttributeKeyList, NameList};

use super::{
    ExplorePageState,
    query_completion::{
        CompletionKind, QueryCompletion, completion_at, value_completions, word_completions,
    },
};
use crate::{
    api::{self, ApiError},
    request_state::RequestState,
    shortcuts::use_shortcuts,
    url::{
        History, TraceFilters,
        traceql::{read_traceql, write_traceql},
        use_edit_query, use_query,
    },
};

const FIELD_ID: &str = "traceql";
/// Id of the list of completions.
const LIST_ID: &str = "traceql-completions";
/// The parameter that opens the text, even without a query.
const OPEN: &str = "ql";
/// The API's parameter for a query.
const PARAMETER: &str = "q";

/// Example queries that filters cannot express.
const EXAMPLES: [(&str, &str); 4] = [
    ("{ resource.service.name = \"shop\" } >> { status = error }", "errors below a service"),
    ("{ parent.resource.service.name != resource.service.name }", "calls between services"),
    ("{ kind = client } | count() > 20", "traces with many calls"),
    ("{ log:body =~ \".*timeout.*\" }", "spans whose log says so"),
];

/// Reports whether the text is open. It always is when there is a query.
fn use_open(page_state: ExplorePageState) -> Memo<bool> {
    let query = use_query();
    Memo::new(move |_| {
        page_state.state.with(|state| state.query.is_some())
            || query.with(|query| query.get(OPEN) == Some("on"))
    })
}

/// The switch that shows the text.
#[component]
pub(super) fn QuerySwitch(page_state: ExplorePageState) -> impl IntoView {
    let open = use_open(page_state);
    let edit = use_edit_query();
    let toggle = move || {
        let is_open = open.get_untracked();
        if is_open && page_state.state.with_untracked(|state| state.query.is_some()) {
            // A query is invisible without its text, so it is removed, too.
            return page_state.edit(|state| state.query = None);
        }
        edit(History::Replace, &|query| query.set(OPEN, (!is_open).then_some("on")));
    };
    let clicked = toggle.clone();
    use_shortcuts().bind("q", "Show the query in TraceQL", "Explore", toggle);
    view! {
        <button
            class="button"
            type="button"
            aria-pressed=move || open.get().to_string()
            title="Show the filters as a query in TraceQL, or write another"
            on:click=move |_| clicked()
        >
            "TraceQL ⇄"
        </button>
    }
}

/// The text, with the error below it.
#[component]
pub(super) fn QueryBox(
    page_state: ExplorePageState,
    /// The error of the list's request, if it failed.
    error: Signal<Option<ApiError>>,
) -> impl IntoView {
    let open = use_open(page_state);
    let body = move || view! { <QueryEditor page_state error /> };
    view! { <Show when=move || open.get()>{body}</Show> }
}

#[component]
fn QueryEditor(page_state: ExplorePageState, error: Signal<Option<ApiError>>) -> impl IntoView {
    let stated = Memo::new(move |_| {
        page_state.state.with(|state| {
            state.query.clone().unwrap_or_else(|| write_traceql(&state.list_query().narrowed()))
        })
    });
    let text = RwSignal::new(stated.get_untracked());
    Effect::new(move |_| text.set(stated.get()));
    let field = NodeRef::<html::Input>::new();
    let apply = move || {
        let typed = text.get_untracked().trim().to_owned();
        page_state.edit(|state| {
            state.drop_box();
            match read_traceql(&typed) {
                Some(filters) => (state.filters, state.query) = (filters, None),
                None if typed.is_empty() => {
                    (state.filters, state.query) = (TraceFilters::default(), None);
                }
                None => (state.filters, state.query) = (TraceFilters::default(), Some(typed)),
            }
        });
    };
    let completion_state = CompletionState::new(text, field);
    let pressed = move |event: web_sys::KeyboardEvent| {
        match event.key().as_str() {
            key if completion_state.on_key_down(key) => {}
            "Enter" => {
                completion_state.close();
                apply();
            }
            "Escape" => {
                text.set(stated.get_untracked());
                if let Some(field) = field.get_untracked() {
                    let _refused = field.blur();
                }
            }
            _ => return,
        }
        event.prevent_default();
        event.stop_propagation();
    };
    let wrong = Memo::new(move |_| match error.get() {
        Some(ApiError::Problem(problem)) if problem.parameter.as_deref() == Some(PARAMETER) => {
            Some(problem.detail)
        }
        _ => None,
    });
    let is_changed = Memo::new(move |_| text.with(|text| text.trim() != stated.get()));
    let explain = move || {
        let wrong = wrong.get()?;
        let caret = caret(&wrong).map(|spaces| {
            view! { <span class="query-caret" aria-hidden="true">{" ".repeat(spaces)} "^"</span> }
        });
        Some(view! {
            <div id="traceql-error" class="query-error" role="alert">
                {caret} <span>{wrong}</span>
            </div>
        })
    };
    let example = move |(query, words): (&'static str, &'static str)| {
        view! {
            <button
                class="link query-example"
                type="button"
                title=query
                on:click=move |_| text.set(query.to_owned())
            >
                {words}
            </button>
        }
    };
    view! {
        <div class="query-box">
            <div class="query-line">
                <input
                    node_ref=field
                    id=FIELD_ID
                    class="input query-input"
                    class:is-wrong=move || wrong.with(Option::is_some)
                    type="text"
                    aria-label="Query in TraceQL"
                    aria-invalid=move || wrong.with(Option::is_some).to_string()
                    aria-describedby=move || wrong.with(Option::is_some).then_some("traceql-error")
                    role="combobox"
                    aria-autocomplete="list"
                    aria-controls=LIST_ID
                    aria-expanded=move || completion_state.is_open().to_string()
                    aria-activedescendant=move || completion_state.marked_id()
                    on:blur=move |_| completion_state.close()
                    autocomplete="off"
                    autocapitalize="off"
                    spellcheck="false"
                    prop:value=move || text.get()
                    on:input=move |event| {
                        text.set(event_target_value(&event));
                        completion_state.on_input();
                    }
                    on:keydown=pressed
                />
                {completion_list(completion_state)}
                <button
                    class="button button-primary"
                    type="button"
                    disabled=move || !is_changed.get()
                    on:click=move |_| apply()
                >
                    "Run"
                    <kbd>"Enter"</kbd>
                </button>
            </div>
            {explain}
            <p class="query-examples mute">
                "Try " {EXAMPLES.map(example).collect_view()}
            </p>
        </div>
    }
}

/// Completions of the text before the caret.
#[derive(Debug, Clone, Copy)]
struct CompletionState {
    text: RwSignal<String>,
    field: NodeRef<html::Input>,
    /// The text before the caret while the reader types.
    before: RwSignal<Option<String>>,
    /// The completion that is marked.
    marked: RwSignal<Option<usize>>,
    offered: Memo<Vec<QueryCompletion>>,
}

impl CompletionState {
    fn new(text: RwSignal<String>, field: NodeRef<html::Input>) -> Self {
        let before = RwSignal::new(None::<String>);
        let wants = Memo::new(move |_| {
            before.with(|before| {
                before.as_deref().map_or(CompletionKind::Nothing, |text| completion_at(text).0)
            })
        });
        // A key is found by any part of it, so all keys are requested once. If the server has more
        // than it returns, keys that begin with the typed text are requested as well.
        let typed_key = Memo::new(move |_| match wants.get() {
            CompletionKind::Word(typed) if !typed.is_empty() => Some(typed),
            CompletionKind::Key { typed, .. } => Some(typed),
            _ => None,
        });
        let wants_keys = Memo::new(move |_| typed_key.with(Option::is_some));
        let all_keys = RequestState::<AttributeKeyList>::new(move || {
            wants_keys.get().then(api::all_attribute_keys)
        });
        let keys_from = RequestState::<AttributeKeyList>::new(move || {
            let typed = typed_key.get().filter(|typed| !typed.is_empty())?;
            let is_cut = all_keys.value().is_some_and(|list| list.truncated);
            is_cut.then(|| api::attribute_keys(&typed))
        });
        let names = RequestState::<NameList>::new(move || match wants.get() {
            CompletionKind::Value { key, typed } => Some(api::attribute_values(&key, &typed)),
            CompletionKind::Service(typed) => Some(api::services(&typed)),
            CompletionKind::Operation(typed) => Some(api::operations(None, &typed)),
            CompletionKind::Nothing | CompletionKind::Word(_) | CompletionKind::Key { .. } => None,
        });
        let offered = Memo::new(move |_| match wants.get() {
            CompletionKind::Nothing => Vec::new(),
            CompletionKind::Value { typed, .. }
            | CompletionKind::Service(typed)
            | CompletionKind::Operation(typed) => {
                let names = names.value().map(|list| list.names.clone()).unwrap_or_default();
                // Suggestions of an earlier text stay until newer ones arrive.
                let typed = typed.to_lowercase();
                let fits = names.into_iter().filter(|one| one.name.to_lowercase().contains(&typed));
                value_completions(fits.map(|one| (one.name, one.count)))
            }
            words => {
                let lists = [keys_from.value(), all_keys.value()].into_iter().flatten();
                let keys: Vec<_> = lists.flat_map(|list| list.keys.clone()).collect();
                word_completions(&words, &keys)
            }
        });
        Self { text, field, before, marked: RwSignal::new(None), offered }
    }

    fn is_open(self) -> bool {
        self.offered.with(|all| !all.is_empty())
    }

    fn marked_id(self) -> Option<String> {
        let index = self.marked.get().filter(|_| self.is_open())?;
        Some(format!("{LIST_ID}-{index}"))
    }

    fn on_input(self) {
        self.marked.set(None);
        let caret =
            self.field.get_untracked().and_then(|field| field.selection_end().ok().flatten());
        let before = self.text.with_untracked(|text| {
            let units = caret.map_or(usize::MAX, |caret| caret as usize);
            let units: Vec<u16> = text.encode_utf16().take(units).collect();
            String::from_utf16_lossy(&units)
        });
        self.before.set(Some(before));
    }

    fn close(self) {
        self.before.set(None);
        self.marked.set(None);
    }

    /// Handles a key press in the list. Reports whether it had an effect.
    fn on_key_down(self, key: &str) -> bool {
        let count = self.offered.with_untracked(Vec::len);
        let at = self.marked.get_untracked();
        match key {
            _ if count == 0 => return false,
            "ArrowDown" => self.marked.set(Some(at.map_or(0, |at| (at + 1) % count))),
            "ArrowUp" => {
                let up = |at: usize| at.checked_sub(1).unwrap_or(count - 1);
                self.marked.set(Some(at.map_or(count - 1, up)));
            }
            "Tab" => self.accept(at.unwrap_or(0)),
            "Enter" => match at {
                Some(at) => self.accept(at),
                None => return false,
            },
            "Escape" => self.close(),
            _ => return false,
        }
        true
    }

    fn accept(self, index: usize) {
        let Some(chosen) = self.offered.with_untracked(|all| all.get(index).cloned()) else {
            return;
        };
        let Some(before) = self.before.get_untracked() else { return };
        let (_, start) = completion_at(&before);
        let completed = format!("{}{}", &before[..start], chosen.text);
        let caret = completed.encode_utf16().count();
        self.text.update(|text| {
            let after = text.get(before.len()..).unwrap_or_default();
            // The completed value has its closing quote, so an existing one is skipped.
            let has_quote = completed.ends_with('"') && after.starts_with('"');
            *text = format!("{completed}{}", if has_quote { &after[1..] } else { after });
        });
        self.close();
        if let Some(field) = self.field.get_untracked() {
            field.set_value(&self.text.get_untracked());
            let caret = u32::try_from(caret).unwrap_or(u32::MAX);
            let _refused = field.set_selection_range(caret, caret);
        }
    }
}

fn completion_list(completion_state: CompletionState) -> impl IntoView {
    let option = move |(index, one): (usize, QueryCompletion)| {
        view! {
            <li
                id=format!("{LIST_ID}-{index}")
                class="suggest-option"
                role="option"
                aria-selected=move || (completion_state.marked.get() == Some(index)).to_string()
                on:mousedown=move |event| event.prevent_default()
                on:click=move |_| completion_state.accept(index)
            >
                <span class="suggest-value mono">{one.text}</span>
                <span class="suggest-hint">{one.hint}</span>
            </li>
        }
    };
    view! {
        <ul id=LIST_ID class="suggest-list query-offered" role="listbox" aria-label="Completions">
            {move || completion_state.offered.get().into_iter().enumerate().map(option).collect_view()}
        </ul>
    }
}

/// Returns the number of characters before the column that an error names:
/// `at line 1, column 3: …`.
fn caret(detail: &str) -> Option<usize> {
    let (_, rest) = detail.split_once("at line 1, column ")?;
    let digits = rest.split(|sign: char| !sign.is_ascii_digit()).next()?;
    let column: usize = digits.parse().ok()?;
    (1..=500).contains(&column).then(|| column - 1)
}

#[cfg(test)]
mod tests {
    use super::caret;

    #[test]
    fn the_caret_stands_under_the_column_that_is_wrong() {
        let said = "invalid TraceQL query: at line 1, column 3: unknown intrinsic `durration`";
        assert_eq!(caret(said), Some(2));
        assert_eq!(caret("at line 2, column 3: no"), None);
        assert_eq!(caret("`q` is empty"), None);
    }
}
