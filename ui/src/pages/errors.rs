//! Errors: exceptions grouped, new ones first.

use leptos::prelude::*;

use crate::shell::{crumb, set_crumbs};

/// The page.
#[component]
#[must_use]
pub fn ErrorsPage() -> impl IntoView {
    set_crumbs(crumb("Errors"));
    view! {
        <div class="page">
            <h1>"Errors"</h1>
        </div>
    }
}
