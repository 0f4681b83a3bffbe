//! A row of small buttons, one of which is active.

use leptos::prelude::*;

use crate::url::{History, use_edit_query, use_query};

/// One option of the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its name in the address.
    pub name: &'static str,
    /// Text of its button.
    pub label: String,
}

impl Segment {
    /// Makes an option.
    #[must_use]
    pub fn new(name: &'static str, label: impl Into<String>) -> Self {
        Self { name, label: label.into() }
    }
}

/// The row of buttons.
#[component]
pub fn Segments(
    /// Name of the choice for screen readers.
    label: &'static str,
    /// The options.
    #[prop(into)]
    segments: Signal<Vec<Segment>>,
    /// The name of the active option.
    #[prop(into)]
    chosen: Signal<String>,
    /// Called with the name of the clicked option.
    on_choose: Callback<&'static str>,
) -> impl IntoView {
    let one = move |Segment { name, label }: Segment| {
        view! {
            <button
                class="segment"
                type="button"
                aria-pressed=move || chosen.with(|chosen| chosen == name).to_string()
                on:click=move |_| on_choose.run(name)
            >
                {label}
            </button>
        }
    };
    view! {
        <div class="segments" role="group" aria-label=label>
            {move || segments.get().into_iter().map(one).collect_view()}
        </div>
    }
}

/// Returns the option in the page's address under `name`. An unknown value selects the first
/// option.
#[must_use]
pub fn use_choice(
    name: &'static str,
    offered: &'static [(&'static str, &'static str)],
) -> Memo<&'static str> {
    use_choice_or(name, offered, move || offered.first().map_or("", |(value, _)| *value))
}

/// Same as [`use_choice`] with a default that the page decides.
#[must_use]
pub fn use_choice_or(
    name: &'static str,
    offered: &'static [(&'static str, &'static str)],
    usual: impl Fn() -> &'static str + Send + Sync + 'static,
) -> Memo<&'static str> {
    let query = use_query();
    Memo::new(move |_| {
        let chosen = query.with(|query| {
            offered
                .iter()
                .find(|(value, _)| query.get(name) == Some(*value))
                .map(|(value, _)| *value)
        });
        chosen.unwrap_or_else(&usual)
    })
}

/// The row of buttons for an option in the address. The default is not written into the address. It
/// is the first option unless the page decides another.
#[component]
pub fn AddressSegments(
    /// The parameter of the address.
    name: &'static str,
    /// The choices: the value in the address and the words of the button.
    offered: &'static [(&'static str, &'static str)],
    /// Subject of the options, for screen readers.
    label: &'static str,
    /// The active option, from [`use_choice_or`].
    #[prop(optional)]
    decided: Option<Memo<&'static str>>,
) -> impl IntoView {
    let chosen = decided.unwrap_or_else(|| use_choice(name, offered));
    let edit = use_edit_query();
    let choose = Callback::new(move |value: &'static str| {
        let first = offered.first().map(|(first, _)| *first);
        let usual = decided.is_none() && first == Some(value);
        edit(History::Push, &|query| query.set(name, (!usual).then_some(value)));
    });
    let segments: Vec<_> =
        offered.iter().map(|(value, words)| Segment::new(value, *words)).collect();
    let chosen = Signal::derive(move || chosen.get().to_owned());
    view! { <Segments label segments chosen on_choose=choose /> }
}
