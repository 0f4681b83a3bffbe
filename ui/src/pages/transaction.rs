//! Transaction: everything that belongs to one transaction id, hop by hop.

use leptos::prelude::*;

use crate::shell::{crumb, set_crumbs};

/// The page.
#[component]
#[must_use]
pub fn TransactionPage() -> impl IntoView {
    set_crumbs(crumb("Transaction"));
    view! {
        <div class="page">
            <h1>"Transaction"</h1>
        </div>
    }
}
