//! The rail: every page that has a place of its own, with its label, its icon and its keys.
//!
//! [`PAGES`] is the one list of them; the sheet of keys and the header's time range follow it.

use leptos::prelude::*;
use leptos_router::hooks::use_location;

use crate::{
    components::{Icon, IconName},
    links::use_links,
};

/// A page on the rail.
#[derive(Debug, Clone, Copy)]
pub struct RailPage {
    /// Its address.
    pub path: &'static str,
    /// Its label.
    pub label: &'static str,
    /// Its icon.
    pub icon: IconName,
    /// The keys that lead to it.
    pub keys: &'static str,
    /// The line of the sheet of keys.
    pub key_label: &'static str,
    /// Addresses that begin so belong to it, too.
    pub below: &'static [&'static str],
    /// True when its content depends on the header's time range.
    pub ranged: bool,
    /// True when it stands at the rail's end, apart from the pages about traffic.
    pub at_end: bool,
}

const fn page(
    path: &'static str,
    label: &'static str,
    icon: IconName,
    keys: &'static str,
    key_label: &'static str,
) -> RailPage {
    RailPage { path, label, icon, keys, key_label, below: &[], ranged: true, at_end: false }
}

/// The pages in the order of the rail.
pub const PAGES: [RailPage; 10] = [
    page("/", "Home", IconName::Home, "g h", "Go to Home"),
    RailPage {
        below: &["/trace/", "/compare"],
        ..page("/explore", "Explore", IconName::Search, "g e", "Go to Explore")
    },
    RailPage {
        below: &["/transactions/", "/tx/"],
        ..page("/transactions", "Transactions", IconName::Transactions, "g t", "Go to Transactions")
    },
    RailPage {
        below: &["/services/"],
        ..page("/services", "Services", IconName::Services, "g s", "Go to Services")
    },
    page("/map", "Map", IconName::Map, "g m", "Go to Map"),
    page("/logs", "Logs", IconName::Logs, "g l", "Go to Logs"),
    page("/errors", "Errors", IconName::Warning, "g x", "Go to Errors"),
    RailPage { ranged: false, ..page("/sql", "SQL", IconName::Database, "g q", "Go to SQL") },
    RailPage {
        ranged: false,
        at_end: true,
        ..page("/connect", "Connect", IconName::Plug, "g c", "Go to Connect")
    },
    RailPage {
        ranged: false,
        at_end: true,
        ..page("/system", "System", IconName::System, "g y", "Go to System")
    },
];

/// The pages that a narrow screen shows at its lower edge; the rest stands behind *More*.
const NARROW: [&str; 4] = ["/", "/explore", "/logs", "/errors"];

/// Reports whether the page at this address depends on the header's time range.
pub(super) fn is_ranged(path: &str) -> bool {
    // A trace, a comparison and a transaction have the times they have.
    let own_time = ["/trace/", "/compare", "/tx/"].iter().any(|start| path.starts_with(start));
    !own_time && PAGES.iter().any(|page| page.ranged && page.owns(path))
}

impl RailPage {
    fn owns(&self, path: &str) -> bool {
        path == self.path || self.below.iter().any(|start| path.starts_with(start))
    }
}

/// The rail.
#[component]
pub(super) fn Rail(sheet_open: RwSignal<bool>, settings_open: RwSignal<bool>) -> impl IntoView {
    let path = use_location().pathname;
    let links = use_links();
    let more = RwSignal::new(false);
    let item = move |page: &'static RailPage| {
        let here = move || path.with(|path| page.owns(path));
        // Pages about traffic keep the time that is looked at.
        let href = move || {
            if page.ranged { links.get().page(page.path) } else { page.path.to_owned() }
        };
        view! {
            <a
                class="nav-item"
                class:nav-narrow=NARROW.contains(&page.path)
                href=href
                aria-current=move || here().then_some("page")
                on:click=move |_| more.set(false)
            >
                <Icon name=page.icon />
                <span class="nav-label">{page.label}</span>
            </a>
        }
    };
    let items = move |at_end: bool| {
        PAGES.iter().filter(|page| page.at_end == at_end).map(item).collect_view()
    };
    view! {
        <nav class="nav" class:is-open=move || more.get() aria-label="Pages">
            {logo()}
            {items(false)}
            <span class="nav-space"></span>
            {items(true)}
            <button
                class="nav-item"
                type="button"
                on:click=move |_| {
                    more.set(false);
                    settings_open.set(true);
                }
            >
                <Icon name=IconName::Settings />
                <span class="nav-label">"Settings"</span>
            </button>
            <button
                class="nav-item"
                type="button"
                aria-label="Show what keys do"
                on:click=move |_| {
                    more.set(false);
                    sheet_open.set(true);
                }
            >
                <Icon name=IconName::Keyboard />
                <span class="nav-label">"Shortcuts"</span>
            </button>
            <button
                class="nav-item nav-narrow nav-more"
                type="button"
                aria-expanded=move || more.get().to_string()
                on:click=move |_| more.update(|more| *more = !*more)
            >
                <Icon name=IconName::Plus />
                <span class="nav-label">"More"</span>
            </button>
        </nav>
    }
}

fn logo() -> impl IntoView {
    view! {
        <a class="nav-logo" href="/" aria-label="Tidings: home" title="Tidings">
            <svg viewBox="0 0 32 32" aria-hidden="true" focusable="false">
                <rect class="logo-ground" width="32" height="32" rx="8" />
                <path
                    class="logo-wave"
                    d="M6 20c3.200 0 3.200-4 6.600-4s3.400 4 6.700 4S22.700 16 26 16"
                />
                <path class="logo-crest" d="M6 13c3.200 0 3.200-3 6.600-3h6" />
            </svg>
        </a>
    }
}
