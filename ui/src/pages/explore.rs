//! Explore: traces by what one of their spans is like, newest first.

use leptos::prelude::*;

use crate::{
    api, browser,
    components::LoadingRows,
    remote::Remote,
    shell::{crumb, set_crumbs},
    url::{ExploreState, use_query},
};

/// The page.
#[component]
#[must_use]
pub fn ExplorePage() -> impl IntoView {
    set_crumbs(crumb("Explore"));
    let query = use_query();
    let state = Memo::new(move |_| query.with(ExploreState::read));
    let traces = Remote::new(move || {
        let ExploreState { range, filters, .. } = state.get();
        Some(api::traces(&filters, range, browser::now(), None))
    });
    view! {
        <div class="page">
            <Show when=move || traces.loading()>
                <LoadingRows />
            </Show>
        </div>
    }
}
