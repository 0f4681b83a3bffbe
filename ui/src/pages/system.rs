//! System: receivers, refusals, storage, limits and versions of the server itself.

use leptos::prelude::*;

use crate::shell::{crumb, set_crumbs};

/// The page.
#[component]
#[must_use]
pub fn SystemPage() -> impl IntoView {
    set_crumbs(crumb("System"));
    view! {
        <div class="page">
            <h1>"System"</h1>
        </div>
    }
}
