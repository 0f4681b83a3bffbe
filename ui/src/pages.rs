//! The application: its pages, their list, and the frame around them. Only pages fetch.
//!
//! A page is a file, its `mod` here and a line of [`PAGES`] with its address, component and
//! position in the rail. The routes, the rail, the keys that open pages and the header's time range
//! are derived from that list.

use leptos::{mount::mount_to_body, prelude::*};
use leptos_router::{
    components::{Route, Router, Routes},
    hooks::use_location,
    path,
};

use crate::{
    browser,
    components::{EmptyState, IconName, UnreadNote},
    shell::{
        Shell,
        rail::{PageEntry, RailPart, below, is_ranged, item},
        set_crumbs,
    },
    url::{TimeRange, unread_text, use_query},
};

pub mod compare;
pub mod connect;
pub mod errors;
pub mod explore;
pub mod home;
pub mod logs;
pub mod map;
pub mod service;
pub mod services;
pub mod sql;
pub mod system;
pub mod trace;
pub mod transaction;
pub mod transaction_type;
pub mod transactions;

macro_rules! pages {
    ($($path:tt $module:ident::$view:ident $entry:expr;)*) => {
        /// Every page, in the order of the rail.
        pub const PAGES: &[PageEntry] = &[$(PageEntry { path: $path, ..$entry }),*];

        /// The component of the page at the address.
        fn page_routes() -> impl IntoView {
            view! {
                <Routes fallback=NotFound>
                    $(<Route path=path!($path) view=$module::$view />)*
                </Routes>
            }
        }
    };
}

pages! {
    "/" home::HomePage item(RailPart::Edge, "Home", IconName::Home, "g h", "Go to Home");
    "/explore" explore::ExplorePage item(RailPart::Edge, "Explore", IconName::Search, "g e", "Go to Explore");
    "/trace/:id" trace::TracePage below("/explore").unranged();
    "/transactions" transactions::TransactionsPage item(RailPart::Traffic, "Transactions", IconName::Transactions, "g t", "Go to Transactions");
    "/transactions/:service/:operation" transaction_type::TransactionTypePage below("/transactions");
    "/tx/:tid" transaction::TransactionPage below("/transactions").unranged();
    "/services" services::ServicesPage item(RailPart::Traffic, "Services", IconName::Services, "g s", "Go to Services");
    "/services/:name" service::ServicePage below("/services");
    "/map" map::MapPage item(RailPart::Traffic, "Map", IconName::Map, "g m", "Go to Map");
    "/logs" logs::LogsPage item(RailPart::Edge, "Logs", IconName::Logs, "g l", "Go to Logs");
    "/errors" errors::ErrorsPage item(RailPart::Edge, "Errors", IconName::Warning, "g x", "Go to Errors");
    "/compare" compare::ComparePage below("/transactions").unranged();
    "/sql" sql::SqlPage item(RailPart::Traffic, "SQL", IconName::Database, "g q", "Go to SQL").unranged();
    "/connect" connect::ConnectPage item(RailPart::End, "Connect", IconName::Plug, "g c", "Go to Connect").unranged();
    "/system" system::SystemPage item(RailPart::End, "System", IconName::System, "g y", "Go to System").unranged();
}

/// Mounts the application on the page's body. The console shows the message of a panic.
pub fn start() {
    std::panic::set_hook(Box::new(|panic| leptos::logging::error!("{panic}")));
    mount_to_body(App);
}

/// The root component.
#[component]
#[must_use]
pub fn App() -> impl IntoView {
    view! {
        <Router>
            <Shell pages=PAGES>
                <RangeNote />
                {page_routes()}
            </Shell>
        </Router>
    }
}

/// A note about a time range in the address that cannot be read, and the range that is shown.
#[component]
fn RangeNote() -> impl IntoView {
    let (query, path) = (use_query(), use_location().pathname);
    let words = Signal::derive(move || {
        let is_ranged = path.with(|path| is_ranged(PAGES, path));
        let part = query.with(TimeRange::unread).filter(|_| is_ranged)?;
        let now = browser::now();
        let range = query.with(TimeRange::read).label(now, browser::zone_minutes(now));
        Some(unread_text(&part, &format!("the time range is {range}")))
    });
    view! {
        <div class="range-note">
            <UnreadNote words />
        </div>
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{PAGES, is_ranged};
    use crate::shell::rail::{PagePlace, marked};

    /// Returns an address for a path, with names in place of its parameters.
    fn example(path: &str) -> String {
        path.replace(':', "a ")
    }

    #[test]
    fn every_page_has_an_item_or_belongs_to_one() {
        let items = |path: &str| {
            PAGES.iter().any(|page| page.path == path && matches!(page.place, PagePlace::Item(_)))
        };
        for page in PAGES {
            let marked = marked(PAGES, &example(page.path)).unwrap();
            assert!(items(marked), "{} belongs to {marked}, which is no item", page.path);
            assert_eq!(is_ranged(PAGES, &example(page.path)), page.ranged, "{}", page.path);
        }
        assert_eq!(marked(PAGES, "/services/a/b?c"), Some("/services"), "names have any signs");
        assert_eq!(marked(PAGES, "/nowhere"), None);
        assert!(!is_ranged(PAGES, "/nowhere"));
    }

    #[test]
    fn no_two_pages_share_an_address_a_label_or_keys() {
        let mut seen = BTreeSet::new();
        for page in PAGES {
            assert!(seen.insert(page.path), "{}", page.path);
            if let PagePlace::Item(item) = page.place {
                assert!(seen.insert(item.label) && seen.insert(item.keys), "{}", page.path);
                assert_eq!(item.key_label, format!("Go to {}", item.label));
            }
        }
    }
}
