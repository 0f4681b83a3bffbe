//! Services: rate, errors and duration of every service, sorted by change.

use leptos::prelude::*;

use crate::shell::{crumb, set_crumbs};

/// The page.
#[component]
#[must_use]
pub fn ServicesPage() -> impl IntoView {
    set_crumbs(crumb("Services"));
    view! {
        <div class="page">
            <h1>"Services"</h1>
        </div>
    }
}
