//! A choice between a few things of which one is on: a row of small buttons.

use leptos::prelude::*;

/// One thing to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its name in the address.
    pub name: &'static str,
    /// Its words.
    pub label: String,
}

impl Segment {
    /// A thing with its words.
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
    /// The things.
    #[prop(into)]
    segments: Signal<Vec<Segment>>,
    /// The one that is on.
    #[prop(into)]
    chosen: Signal<String>,
    /// Called with the name of the one that was clicked.
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
