//! The filters as a query in TraceQL, and any other query in their place.
//!
//! The text follows the filters until the reader edits it. A query that says no more than filters
//! can becomes filters again; any other is sent as it stands, and the API says where it is wrong.

use leptos::{html, prelude::*};

use super::Explored;
use crate::{
    api::ApiError,
    keys::use_keys,
    url::{
        Step, TraceFilters,
        traceql::{read_traceql, write_traceql},
        use_edit_query, use_query,
    },
};

const FIELD_ID: &str = "traceql";
/// The parameter that opens the text, whatever it says.
const OPEN: &str = "ql";
/// The API's name for a query.
const PARAMETER: &str = "q";

/// Queries that filters cannot say, to begin with.
const EXAMPLES: [(&str, &str); 4] = [
    ("{ resource.service.name = \"shop\" } >> { status = error }", "errors below a service"),
    ("{ parent.resource.service.name != resource.service.name }", "calls between services"),
    ("{ kind = client } | count() > 20", "traces with many calls"),
    ("{ log:body =~ \".*timeout.*\" }", "spans whose log says so"),
];

/// Tells whether the text is open: a query always is.
fn use_open(explored: Explored) -> Memo<bool> {
    let query = use_query();
    Memo::new(move |_| {
        explored.state.with(|state| state.query.is_some())
            || query.with(|query| query.get(OPEN) == Some("on"))
    })
}

/// The switch that shows the text.
#[component]
pub(super) fn QuerySwitch(explored: Explored) -> impl IntoView {
    let open = use_open(explored);
    let edit = use_edit_query();
    let toggle = move || {
        let is_open = open.get_untracked();
        if is_open && explored.state.with_untracked(|state| state.query.is_some()) {
            // Without its text a query could not be seen: it goes, too.
            return explored.edit(|state| state.query = None);
        }
        edit(Step::Replace, &|query| query.set(OPEN, (!is_open).then_some("on")));
    };
    let clicked = toggle.clone();
    use_keys().bind("q", "Show the query in TraceQL", "Explore", toggle);
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

/// The text with the error under it.
#[component]
pub(super) fn QueryBox(
    explored: Explored,
    /// Why the list has no answer.
    error: Signal<Option<ApiError>>,
) -> impl IntoView {
    let open = use_open(explored);
    let body = move || view! { <OpenBox explored error /> };
    view! { <Show when=move || open.get()>{body}</Show> }
}

#[component]
fn OpenBox(explored: Explored, error: Signal<Option<ApiError>>) -> impl IntoView {
    let stated = Memo::new(move |_| {
        explored.state.with(|state| {
            state.query.clone().unwrap_or_else(|| write_traceql(&state.question().narrowed()))
        })
    });
    let text = RwSignal::new(stated.get_untracked());
    Effect::new(move |_| text.set(stated.get()));
    let field = NodeRef::<html::Input>::new();
    let apply = move || {
        let typed = text.get_untracked().trim().to_owned();
        explored.edit(|state| {
            state.chosen = None;
            match read_traceql(&typed) {
                Some(filters) => (state.filters, state.query) = (filters, None),
                None if typed.is_empty() => {
                    (state.filters, state.query) = (TraceFilters::default(), None);
                }
                None => (state.filters, state.query) = (TraceFilters::default(), Some(typed)),
            }
        });
    };
    let pressed = move |event: web_sys::KeyboardEvent| {
        match event.key().as_str() {
            "Enter" => apply(),
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
                    autocomplete="off"
                    autocapitalize="off"
                    spellcheck="false"
                    prop:value=move || text.get()
                    on:input=move |event| text.set(event_target_value(&event))
                    on:keydown=pressed
                />
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

/// Counts how many signs stand before the column that an error names: `at line 1, column 3: …`.
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
