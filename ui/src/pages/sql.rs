//! SQL: an editor over the views, with its result as a table and a chart.

use leptos::prelude::*;

use crate::shell::{crumb, set_crumbs};

/// The page.
#[component]
#[must_use]
pub fn SqlPage() -> impl IntoView {
    set_crumbs(crumb("SQL"));
    view! {
        <div class="page">
            <h1>"SQL"</h1>
        </div>
    }
}
