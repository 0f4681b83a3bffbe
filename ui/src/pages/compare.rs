//! Compare: how two traces, or a trace and its typical ones, differ.

use leptos::prelude::*;

use crate::shell::{crumb, set_crumbs};

/// The page.
#[component]
#[must_use]
pub fn ComparePage() -> impl IntoView {
    set_crumbs(crumb("Compare"));
    view! {
        <div class="page">
            <h1>"Compare"</h1>
        </div>
    }
}
