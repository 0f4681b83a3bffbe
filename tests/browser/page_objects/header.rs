//! The header of a page: the search box, the menu of its time range, and the live switch.

use serde_json::{Value as Json, json};

use super::Page;

/// The button that opens the menu of ranges. Its words are the present range.
const RANGE: &str = "document.querySelector('.header [title=\"Time range\"]')";
const LIVE: &str = "document.querySelector('.header .live')";

/// The search box as assistive technology gets it. `controls` is the role of the controlled list,
/// `active` the name that Enter opens, and `selected` the names that look selected.
const SEARCH_BOX: &str = "(box => {
    const said = attribute => box.getAttribute(attribute);
    const named = attribute => document.getElementById(said(attribute));
    const name = option => option?.querySelector('.suggest-value').innerText ?? 'no option';
    const selected = [...document.querySelectorAll('.omni [role=option][aria-selected=true]')];
    return {
        role: said('role'),
        expanded: said('aria-expanded'),
        controls: said('aria-controls') && (named('aria-controls')?.getAttribute('role') ?? 'no list'),
        active: said('aria-activedescendant') && name(named('aria-activedescendant')),
        selected: selected.map(name),
    };
})(document.querySelector('#omni'))";

impl Page<'_> {
    /// Returns the state of the search box.
    pub(in crate::browser) fn search_box(&mut self) -> Json {
        self.browser.evaluate(SEARCH_BOX)
    }

    /// Opens the menu of time ranges.
    pub(in crate::browser) fn open_ranges(&mut self) {
        self.click(RANGE);
        self.wait_for("document.querySelectorAll('.range-fixed input').length === 2");
    }

    /// Opens the menu and chooses a preset, which closes it.
    pub(in crate::browser) fn choose_preset(&mut self, words: &str) {
        self.open_ranges();
        self.choose("Presets", words);
        self.wait_for("!document.querySelector('.range-menu')");
        let words = json!(words);
        self.wait_for(&format!("{RANGE}.innerText.trim().startsWith({words})"));
    }

    /// Enters both ends of a range in the open menu, in milliseconds since 1970, and applies them.
    pub(in crate::browser) fn apply_range(&mut self, from: u64, to: u64) {
        for (label, at) in [("From", from), ("To", to)] {
            // The field takes local time.
            self.browser.evaluate(&format!(
                "(field => {{ \
                 const local = {at} - new Date({at}).getTimezoneOffset() * 60_000; \
                 field.value = new Date(local).toISOString().slice(0, 19); \
                 field.dispatchEvent(new Event('input', {{ bubbles: true }})); }}) \
                 ([...document.querySelectorAll('.range-fixed label')] \
                 .find(e => e.textContent.trim() === '{label}').querySelector('input'))"
            ));
        }
        self.click("document.querySelector('.range-fixed button')");
    }

    /// Clicks the live switch.
    pub(in crate::browser) fn press_live(&mut self) {
        self.click(LIVE);
    }

    /// Waits until the page is live, or not.
    pub(in crate::browser) fn wait_for_live(&mut self, is_live: bool) {
        self.wait_for(&format!("{LIVE}?.getAttribute('aria-pressed') === '{is_live}'"));
    }

    /// Waits until the live switch can be used, or not.
    pub(in crate::browser) fn wait_for_live_offered(&mut self, is_offered: bool) {
        self.wait_for(&format!("{LIVE}?.disabled === {}", !is_offered));
    }
}
