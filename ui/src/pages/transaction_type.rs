//! Transaction type: one root operation of a service over time.

use leptos::prelude::*;

use crate::shell::{crumb, set_crumbs};

/// The page.
#[component]
#[must_use]
pub fn TransactionTypePage() -> impl IntoView {
    set_crumbs(crumb("Transaction type"));
    view! {
        <div class="page">
            <h1>"Transaction type"</h1>
        </div>
    }
}
