//! The rail: every page with an item of its own, with its label, its icon and its keys.
//!
//! Owns the frame's description of a page ([`PageEntry`]). The list of pages is in
//! [`crate::pages`]. The list of shortcuts and the header's time range follow that list, too.

use leptos::prelude::*;
use leptos_router::hooks::use_location;

use crate::{
    components::{Icon, IconName},
    links::use_links,
};

/// Description of a page for the frame.
#[derive(Debug, Clone, Copy)]
pub struct PageEntry {
    /// Its address. A segment that begins with a colon stands for any text.
    pub path: &'static str,
    /// Its position in the rail.
    pub place: PagePlace,
    /// True when its content depends on the header's time range.
    pub ranged: bool,
}

/// Position of a page in the rail.
#[derive(Debug, Clone, Copy)]
pub enum PagePlace {
    /// It has an item.
    Item(RailItem),
    /// It is reached by links. The item of this address is marked while it is open.
    Below(&'static str),
}

/// An item of the rail.
#[derive(Debug, Clone, Copy)]
pub struct RailItem {
    /// Its section of the rail.
    pub part: RailPart,
    /// Its label.
    pub label: &'static str,
    /// Its icon.
    pub icon: IconName,
    /// The keys that open it.
    pub keys: &'static str,
    /// Its text in the list of shortcuts.
    pub key_label: &'static str,
}

/// Section of the rail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RailPart {
    /// The pages about traffic that a narrow screen shows at its lower edge. The others are behind
    /// *More*.
    Edge,
    /// Other pages about traffic.
    Traffic,
    /// The end of the rail, apart from the pages about traffic.
    End,
}

/// Returns a page with an item of the rail, whose content depends on the header's time range.
#[must_use]
pub const fn item(
    part: RailPart,
    label: &'static str,
    icon: IconName,
    keys: &'static str,
    key_label: &'static str,
) -> PageEntry {
    let place = PagePlace::Item(RailItem { part, label, icon, keys, key_label });
    PageEntry { path: "", place, ranged: true }
}

/// Returns a page that belongs to the item of this address, whose content depends on the header's
/// time range.
#[must_use]
pub const fn below(path: &'static str) -> PageEntry {
    PageEntry { path: "", place: PagePlace::Below(path), ranged: true }
}

impl PageEntry {
    /// Returns the same page, whose content does not depend on the header's time range.
    #[must_use]
    pub const fn unranged(self) -> Self {
        Self { ranged: false, ..self }
    }

    /// Returns its item, if it has one.
    pub(super) fn item(&self) -> Option<&RailItem> {
        match &self.place {
            PagePlace::Item(item) => Some(item),
            PagePlace::Below(_) => None,
        }
    }

    fn is_at(&self, path: &str) -> bool {
        match self.path.split_once(':') {
            Some((start, _)) => path.starts_with(start),
            None => path == self.path,
        }
    }
}

/// Reports whether the page at this address depends on the header's time range.
pub(crate) fn is_ranged(pages: &[PageEntry], path: &str) -> bool {
    pages.iter().find(|page| page.is_at(path)).is_some_and(|page| page.ranged)
}

/// Returns the address of the item that is marked while the page at this address is open.
pub(crate) fn marked(pages: &[PageEntry], path: &str) -> Option<&'static str> {
    let page = pages.iter().find(|page| page.is_at(path))?;
    Some(match page.place {
        PagePlace::Item(_) => page.path,
        PagePlace::Below(path) => path,
    })
}

/// The rail.
#[component]
pub(super) fn Rail(
    pages: &'static [PageEntry],
    sheet_open: RwSignal<bool>,
    settings_open: RwSignal<bool>,
) -> impl IntoView {
    let path = use_location().pathname;
    let links = use_links();
    let more = RwSignal::new(false);
    let item = move |(page, item): (&'static PageEntry, &'static RailItem)| {
        let here = move || path.with(|path| marked(pages, path)) == Some(page.path);
        let at_edge = item.part == RailPart::Edge;
        // Pages about traffic keep the time range.
        let href = move || {
            if page.ranged { links.get().page(page.path) } else { page.path.to_owned() }
        };
        view! {
            <a
                class="nav-item"
                class:nav-narrow=at_edge
                href=href
                aria-current=move || here().then_some("page")
                on:click=move |_| more.set(false)
            >
                <Icon name=item.icon />
                <span class="nav-label">{item.label}</span>
            </a>
        }
    };
    let items = move |at_end: bool| {
        let all = pages.iter().filter_map(|page| Some((page, page.item()?)));
        all.filter(|(_, item)| (item.part == RailPart::End) == at_end).map(item).collect_view()
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
                aria-label="Show the shortcuts"
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
