//! Service: one service's operations, latency, neighbours, versions, exceptions and log patterns.

use leptos::prelude::*;

use crate::shell::{crumb, set_crumbs};

/// The page.
#[component]
#[must_use]
pub fn ServicePage() -> impl IntoView {
    set_crumbs(crumb("Service"));
    view! {
        <div class="page">
            <h1>"Service"</h1>
        </div>
    }
}
