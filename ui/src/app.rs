//! The application: its routes inside its shell.

use leptos::{mount::mount_to_body, prelude::*};
use leptos_router::{
    components::{Route, Router, Routes},
    path,
};

use crate::{
    components::EmptyState,
    pages::{
        ComparePage, ConnectPage, ErrorsPage, ExplorePage, HomePage, LogsPage, MapPage,
        ServicePage, ServicesPage, SqlPage, SystemPage, TracePage, TransactionPage,
        TransactionTypePage, TransactionsPage,
    },
    shell::{Shell, set_crumbs},
};

/// Mounts the application on the page's body.
pub fn start() {
    mount_to_body(App);
}

/// Everything on screen.
#[component]
#[must_use]
pub fn App() -> impl IntoView {
    view! {
        <Router>
            <Shell>
                <Routes fallback=NotFound>
                    <Route path=path!("/") view=HomePage />
                    <Route path=path!("/explore") view=ExplorePage />
                    <Route path=path!("/trace/:id") view=TracePage />
                    <Route path=path!("/transactions") view=TransactionsPage />
                    <Route
                        path=path!("/transactions/:service/:operation")
                        view=TransactionTypePage
                    />
                    <Route path=path!("/tx/:tid") view=TransactionPage />
                    <Route path=path!("/services") view=ServicesPage />
                    <Route path=path!("/services/:name") view=ServicePage />
                    <Route path=path!("/map") view=MapPage />
                    <Route path=path!("/errors") view=ErrorsPage />
                    <Route path=path!("/logs") view=LogsPage />
                    <Route path=path!("/compare") view=ComparePage />
                    <Route path=path!("/sql") view=SqlPage />
                    <Route path=path!("/system") view=SystemPage />
                    <Route path=path!("/connect") view=ConnectPage />
                </Routes>
            </Shell>
        </Router>
    }
}

#[component]
fn NotFound() -> impl IntoView {
    set_crumbs(vec![]);
    view! {
        <div class="page">
            <EmptyState title="There is no such page">
                <p>
                    "The address may be mistyped. " <a href="/explore">"Go to Explore"</a> "."
                </p>
            </EmptyState>
        </div>
    }
}
