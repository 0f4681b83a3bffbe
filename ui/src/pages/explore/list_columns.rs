//! The head of Explore's list: traces or spans, grouping, columns. Attributes of the data can be
//! columns, and a value in one can be made a filter.

use leptos::prelude::*;
use tidings_proto::api::Total;

use super::{
    ExplorePageState,
    span_groups::{AttributeChoice, GroupChoice},
};
use crate::{
    components::{Icon, IconName, Segment, Segments},
    format, number_format,
    url::{AttributeFilter, COLUMNS_MAX, ExploreState, TraceSort},
};

/// Columns of traces that can be hidden: their names in the address and their headings.
const COLUMNS: [(&str, &str); 6] = [
    ("state", "State"),
    ("duration", "Duration"),
    ("time", "Where the time went"),
    ("spans", "Spans"),
    ("errors", "Errors"),
    ("services", "Services"),
];
/// Maximum number of characters of a value in a cell.
const VALUE_CHARS: usize = 120;

/// Returns the classes that hide columns.
pub(super) fn hidden_class(state: &ExploreState) -> String {
    let names = COLUMNS.iter().map(|(name, _)| *name);
    let hidden = names.filter(|name| state.hidden.iter().any(|hidden| hidden == name));
    hidden.map(|name| format!("without-{name} ")).collect()
}

/// Returns the attributes that are columns.
pub(super) fn use_columns(page_state: ExplorePageState) -> Memo<Vec<String>> {
    Memo::new(move |_| page_state.state.with(|state| state.columns.clone()))
}

/// Headings of the attribute columns, each with a button that removes it.
pub(super) fn attribute_heads(page_state: ExplorePageState) -> impl IntoView {
    let columns = use_columns(page_state);
    let head = move |key: String| {
        let label = format!("Remove the column {key}");
        let (title, shown) = (key.clone(), key.clone());
        let remove = move |_| {
            page_state.edit(|state| state.columns.retain(|column| *column != key));
        };
        view! {
            <th scope="col" class="traces-attribute" title=title>
                <span class="attribute-head">
                    <bdi>{shown}</bdi>
                    <button class="attribute-remove" type="button" aria-label=label on:click=remove>
                        <Icon name=IconName::Close />
                    </button>
                </span>
            </th>
        }
    };
    move || columns.get().into_iter().map(head).collect_view()
}

/// The cell of an attribute: its first value, which can be made a filter, and the number of others.
pub(super) fn value_cell(
    page_state: ExplorePageState,
    key: &str,
    values: &[String],
) -> impl IntoView + use<> {
    let more = values.len().saturating_sub(1);
    let more = (more > 0).then(|| {
        view! { <span class="faint">{format!(" +{}", format::count(more as u64))}</span> }
    });
    let title = number_format::truncate(&values.join(", "), 400);
    let first = values.first().cloned().map(|value| {
        let words = number_format::truncate(&value, VALUE_CHARS);
        let filter = AttributeFilter { key: key.to_owned(), value: Some(value) };
        // A TraceQL query is the reader's own text. A click does not change it.
        if page_state.state.with_untracked(|state| state.query.is_some()) {
            return view! { <bdi>{words}</bdi> }.into_any();
        }
        let label = format!("Only spans with {key} = {words}");
        let only = move |event: web_sys::MouseEvent| {
            event.stop_propagation();
            page_state.edit(|state| {
                if !state.filters.attributes.contains(&filter) {
                    state.filters.attributes.push(filter.clone());
                }
            });
        };
        view! {
            <button class="attribute-value" type="button" aria-label=label on:click=only>
                <bdi>{words}</bdi>
            </button>
        }
        .into_any()
    });
    view! { <td class="traces-attribute mono" title=title>{first} {more}</td> }
}

/// Returns the title of the list.
fn title(state: &ExploreState, total: Option<Total>) -> String {
    if state.is_grouped() {
        return "Groups of spans".to_owned();
    }
    let traces = total.map_or("Traces".to_owned(), |total| format::total(total, "trace"));
    if !state.lists_spans {
        return traces;
    }
    let order = match state.sort {
        None => "newest first",
        Some(TraceSort::Duration) => "longest traces first",
        Some(TraceSort::Errors) => "traces with most errors first",
        Some(TraceSort::Spans) => "largest traces first",
        Some(TraceSort::SpanDuration) => "longest first",
    };
    match total {
        Some(_) => format!("Spans of {traces}, {order}"),
        None => "Spans".to_owned(),
    }
}

/// The line above the list: its total, its kind, groups and columns.
#[component]
pub(super) fn ListTools(
    page_state: ExplorePageState,
    /// The total that the search reported.
    total: Signal<Option<Total>>,
) -> impl IntoView {
    let listed = Memo::new(move |_| {
        let lists_spans = page_state.state.with(|state| state.lists_spans);
        if lists_spans { "spans" } else { "traces" }.to_owned()
    });
    let list = Callback::new(move |name: &'static str| {
        page_state.edit(|state| {
            state.lists_spans = name == "spans";
            state.group = None;
        });
    });
    let listings = vec![Segment::new("traces", "Traces"), Segment::new("spans", "Spans")];
    view! {
        <div class="list-tools">
            <h2>{move || page_state.state.with(|state| title(state, total.get()))}</h2>
            <Segments label="What is listed" segments=listings chosen=listed on_choose=list />
            <GroupChoice page_state />
            <ColumnsMenu page_state />
        </div>
    }
}

/// The columns, each with a switch, and a field that adds an attribute.
#[component]
fn ColumnsMenu(page_state: ExplorePageState) -> impl IntoView {
    let columns = use_columns(page_state);
    let lists_spans = Memo::new(move |_| page_state.state.with(|state| state.lists_spans));
    let fixed = move |(name, words): (&'static str, &'static str)| {
        let is_shown = move || {
            page_state.state.with(|state| !state.hidden.iter().any(|hidden| hidden == name))
        };
        let toggle = move |_| {
            page_state.edit(|state| match state.hidden.iter().position(|hidden| hidden == name) {
                Some(at) => drop(state.hidden.remove(at)),
                None => state.hidden.push(name.to_owned()),
            });
        };
        view! {
            <label class="column-choice">
                <input type="checkbox" prop:checked=is_shown on:change=toggle />
                {words}
            </label>
        }
    };
    let attribute = move |key: String| {
        let words = key.clone();
        let remove = move |_| {
            page_state.edit(|state| state.columns.retain(|column| *column != key));
        };
        view! {
            <label class="column-choice">
                <input type="checkbox" prop:checked=true on:change=remove />
                <bdi>{words}</bdi>
            </label>
        }
    };
    let adding = RwSignal::new(false);
    let text = RwSignal::new(String::new());
    let start = move |_| {
        text.set(String::new());
        adding.set(true);
    };
    let choose = Callback::new(move |key: String| {
        adding.set(false);
        page_state.edit(|state| {
            if !state.columns.contains(&key) {
                state.columns.push(key);
            }
        });
    });
    let leave = Callback::new(move |()| adding.set(false));
    let has_room = Memo::new(move |_| columns.with(|columns| columns.len() < COLUMNS_MAX));
    let add = move || {
        view! {
            <button
                class="chip-add"
                type="button"
                disabled=move || !has_room.get()
                on:click=start
            >
                <Icon name=IconName::Plus />
                "attribute"
            </button>
        }
    };
    view! {
        <details class="columns-menu">
            <summary class="button">"Columns"</summary>
            <div class="menu-body columns-body" role="group" aria-label="Columns">
                {move || (!lists_spans.get()).then(|| COLUMNS.map(fixed).collect_view())}
                {move || columns.get().into_iter().map(attribute).collect_view()}
                <Show when=move || adding.get() fallback=add>
                    <AttributeChoice
                        id="column-key"
                        label="Attribute to show as a column"
                        text
                        on_choose=choose
                        on_leave=leave
                    />
                </Show>
            </div>
        </details>
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::api::{Total, TotalRelation};

    use super::title;
    use crate::url::{ExploreState, TraceSort};

    #[test]
    fn the_title_says_what_is_listed_and_in_which_order() {
        let total = Some(Total { value: 3, relation: TotalRelation::Exact });
        let mut state = ExploreState::default();
        assert_eq!(
            (title(&state, None), title(&state, total)),
            ("Traces".into(), "3 traces".into())
        );
        state.lists_spans = true;
        assert_eq!(title(&state, None), "Spans");
        assert_eq!(title(&state, total), "Spans of 3 traces, newest first");
        state.sort = Some(TraceSort::Duration);
        assert_eq!(title(&state, total), "Spans of 3 traces, longest traces first");
        state.group = Some("service".to_owned());
        assert_eq!(title(&state, total), "Groups of spans");
        state.query = Some("{ } | count() > 1".to_owned());
        assert_eq!(title(&state, total), "Groups of spans");
    }
}
