//! Transactions: transaction types ranked.

use leptos::prelude::*;

use crate::shell::{crumb, set_crumbs};

/// The page.
#[component]
#[must_use]
pub fn TransactionsPage() -> impl IntoView {
    set_crumbs(crumb("Transactions"));
    view! {
        <div class="page">
            <h1>"Transactions"</h1>
        </div>
    }
}
