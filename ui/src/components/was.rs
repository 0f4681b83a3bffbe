//! A number beside what it was, where it changed.

use leptos::prelude::*;

/// A cell of a table: the number, behind what it was when it changed.
#[component]
pub fn NumberCell(
    /// The number as text.
    now: String,
    /// The number of the time before.
    before: String,
    /// Set when it changed more than by chance.
    changed: bool,
    /// Set when the change is bad.
    #[prop(optional)]
    is_worse: bool,
) -> impl IntoView {
    let class = match (changed, is_worse) {
        (true, true) => "is-worse",
        (true, false) => "is-better",
        (false, _) => "",
    };
    let title = format!("it was {before}");
    let was = changed.then(|| {
        view! {
            <span class="was">{before}</span>
            <span class="was-arrow" aria-label="now">"→"</span>
        }
    });
    view! {
        <td class="num" title=title>
            {was}
            <span class=class>{now}</span>
        </td>
    }
}
