//! Logs: records by their words, service, severity and trace, newest first.

use leptos::prelude::*;

use crate::{
    api, browser,
    components::LoadingRows,
    remote::Remote,
    shell::{crumb, set_crumbs},
    url::{LogState, use_query},
};

/// The page.
#[component]
#[must_use]
pub fn LogsPage() -> impl IntoView {
    set_crumbs(crumb("Logs"));
    let query = use_query();
    let state = Memo::new(move |_| query.with(LogState::read));
    let logs = Remote::new(move || Some(api::logs(&state.get(), browser::now(), None)));
    view! {
        <div class="page">
            <Show when=move || logs.loading()>
                <LoadingRows />
            </Show>
        </div>
    }
}
