//! Map: the service graph.

use leptos::prelude::*;

use crate::shell::{crumb, set_crumbs};

/// The page.
#[component]
#[must_use]
pub fn MapPage() -> impl IntoView {
    set_crumbs(crumb("Map"));
    view! {
        <div class="page">
            <h1>"Map"</h1>
        </div>
    }
}
