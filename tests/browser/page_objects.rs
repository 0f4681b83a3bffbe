//! Page objects: they find visible elements by role, label and words, as a user does.
//!
//! Owns the search for elements of a page. Each struct opens its page and performs the actions of a
//! user there. Owns no expectations: tests check the results. Clicks are mouse clicks at the point
//! where the element is drawn, so that an element that covers a button fails the test.

use std::time::Instant;

use serde_json::{Value as Json, json};

use super::SETTLED;
use crate::harness::{PATIENCE, Server, browser::Browser};

mod compare;
mod explore;
mod header;
mod lists;
mod map;
mod sql;
mod text_layout;
mod trace;

pub(super) use compare::ComparePage;
pub(super) use explore::ExplorePage;
pub(super) use map::MapPage;
pub(super) use sql::SqlPage;
pub(super) use text_layout::misplaced_texts;
pub(super) use trace::{TraceFile, TracePage};

/// Finds the element to click and returns the point for the mouse. Returns null while the element
/// is missing or covered.
///
/// A page that receives an answer between this and the click may have drawn another element at the
/// point. The click is then kept from the page, and `window.clickArrived` stays false. The same
/// happens when the pressed element is replaced before the button is released, because the browser
/// then sends the click to an element that contains both.
const POINT: &str = "(find => {
    const found = find();
    if (!found) return null;
    found.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    const box = found.getBoundingClientRect();
    const point = [box.left + box.width / 2, box.top + box.height / 2];
    const holds = (wanted, hit) => wanted && hit && (wanted.contains(hit) || hit.contains(wanted));
    const hit = document.elementFromPoint(...point);
    if (!holds(found, hit)) return null;
    removeEventListener('click', window.clickGuard, true);
    window.clickArrived = false;
    window.clickGuard = event => {
        removeEventListener('click', window.clickGuard, true);
        const wanted = find();
        const isWhole = event.target === hit || Boolean(wanted?.contains(event.target));
        window.clickArrived = isWhole && Boolean(holds(wanted, event.target));
        if (!window.clickArrived) { event.preventDefault(); event.stopImmediatePropagation(); }
    };
    addEventListener('click', window.clickGuard, true);
    return point;
})";

/// The parts that every page has: the browser, buttons, tables and the address.
pub(super) struct Page<'a> {
    pub(super) browser: &'a mut Browser,
}

impl<'a> Page<'a> {
    /// Opens an address of the server.
    pub(super) fn open(browser: &'a mut Browser, server: &Server, path: &str) -> Self {
        browser.open(&format!("http://{}{path}", server.http));
        let wanted = json!(path.split(['?', '#']).next());
        browser.wait_for(&format!("decodeURI(location.pathname) === decodeURI({wanted})"));
        Self { browser }
    }

    /// Opens the address of the page again, in a new document.
    pub(super) fn open_again(&mut self) {
        let link = self.browser.evaluate("location.href");
        self.browser.open("about:blank");
        self.browser.open(link.as_str().unwrap());
    }

    /// Clicks the element that an expression finds, as soon as its position is stable. Clicks again
    /// when the page has drawn another element in its place meanwhile.
    pub(super) fn click(&mut self, found: &str) {
        let point = format!("{POINT}(() => {found})");
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "no click arrives at {found}");
            self.browser.wait_for(&format!(
                "(() => {{ const point = JSON.stringify({point}); const rests = window.lastPoint === point; \
                 window.lastPoint = point; return rests && point !== 'null'; }})()"
            ));
            let at = self.browser.evaluate(&point);
            let [Some(x), Some(y)] = [at[0].as_f64(), at[1].as_f64()] else { continue };
            self.browser.click_at(x, y);
            // A new document that replaced this one does not have the variable.
            if self.browser.evaluate("window.clickArrived !== false") == true {
                return;
            }
        }
    }

    /// Moves the mouse to the middle of the element that an expression finds.
    pub(super) fn point_at(&mut self, found: &str) {
        self.browser.wait_for(found);
        let point = self.browser.evaluate(&format!(
            "(box => [box.left + box.width / 2, box.top + box.height / 2]) \
             ({found}.getBoundingClientRect())"
        ));
        let mouse = json!({ "type": "mouseMoved", "x": point[0], "y": point[1] });
        self.browser.command("Input.dispatchMouseEvent", mouse);
    }

    /// Clicks the first button, link or tab whose text begins with these words.
    pub(super) fn press_button(&mut self, words: &str) {
        let words = json!(words);
        self.click(&format!(
            "[...document.querySelectorAll('main button, main a, main [role=tab]')].find(e => \
             e.getClientRects().length && (e.innerText.trim().startsWith({words}) \
             || e.getAttribute('aria-label') === {words}))"
        ));
    }

    /// Clicks a choice of a group of buttons: the one with these words, or else the first one that
    /// begins with them.
    pub(super) fn choose(&mut self, group: &str, words: &str) {
        let (group, words) = (json!(group), json!(words));
        self.click(&format!(
            "(all => all.find(e => e.innerText.trim() === {words}) \
             ?? all.find(e => e.innerText.trim().startsWith({words})))\
             ([...(document.querySelector(`[role=group][aria-label={group}]`)?.querySelectorAll('button') ?? [])])"
        ));
    }

    /// Replaces the text of the field with this label.
    pub(super) fn fill(&mut self, label: &str, text: &str) {
        let field = format!("document.querySelector('[aria-label={}]')", json!(label));
        self.browser.wait_for(&field);
        self.browser.evaluate(&format!("{field}.focus(), {field}.select()"));
        self.browser.type_text(text);
    }

    /// Returns the distance in pixels of the middle of the button with this label from that of the
    /// text before it.
    pub(super) fn distance_from_line(&mut self, label: &str) -> f64 {
        let button = format!("document.querySelector('[aria-label={}]')", json!(label));
        self.browser.wait_for(&button);
        let distance = self.browser.evaluate(&format!(
            "(button => {{ const text = document.createRange(); \
             text.selectNodeContents(button.previousElementSibling); \
             const [line, own] = [text, button].map(e => e.getBoundingClientRect()); \
             return Math.abs(line.top + line.bottom - own.top - own.bottom) / 2; }})({button})"
        ));
        distance.as_f64().unwrap()
    }

    /// Waits until the decoded address contains these words.
    pub(super) fn wait_for_address(&mut self, words: &str) {
        let words = json!(words);
        self.browser.wait_for(&format!(
            "decodeURIComponent((location.pathname + location.search).replaceAll('+', ' ')).includes({words})"
        ));
    }

    /// Waits until the decoded address no longer contains these words.
    pub(super) fn wait_for_address_without(&mut self, words: &str) {
        let words = json!(words);
        self.browser.wait_for(&format!(
            "!decodeURIComponent(location.pathname + location.search).includes({words})"
        ));
    }

    /// Returns the texts of a column of the table with this label. Columns are numbered from 0.
    pub(super) fn column(&mut self, table: &str, column: usize) -> Vec<String> {
        let cells = self.browser.evaluate(&format!(
            "[...document.querySelectorAll('table[aria-label={}] tbody tr')] \
             .map(row => row.cells[{column}]).filter(cell => cell).map(cell => cell.innerText.trim())",
            json!(table)
        ));
        strings(&cells)
    }

    /// Waits until the table with this label has rows.
    pub(super) fn wait_for_rows(&mut self, table: &str) {
        self.browser.wait_for(&format!(
            "document.querySelectorAll('table[aria-label={}] tbody tr').length > 0",
            json!(table)
        ));
    }

    /// Waits until the page has sent this many more requests for this path.
    pub(super) fn wait_for_requests(&mut self, path: &str, more: u64) {
        let asked = format!(
            "performance.getEntriesByType('resource').filter(e => e.name.includes({})).length",
            json!(path)
        );
        let before = self.browser.evaluate(&asked).as_u64().unwrap();
        self.browser.wait_for(&format!("{asked} >= {}", before + more));
    }

    /// Waits until no part of the page waits for its first answer or shows an outdated one.
    pub(super) fn wait_until_settled(&mut self) {
        self.browser.wait_for(SETTLED);
    }

    /// Waits until an expression is true.
    pub(super) fn wait_for(&mut self, expression: &str) {
        self.browser.wait_for(expression);
    }

    /// Waits until the page shows the words.
    pub(super) fn wait_for_text(&mut self, words: &str) {
        self.browser.wait_for_text(words);
    }
}

/// Returns the strings of an array.
fn strings(json: &Json) -> Vec<String> {
    json.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}
