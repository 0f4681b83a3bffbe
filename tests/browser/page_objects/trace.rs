//! Page objects of a trace: its facts, tabs and Find box, and the HTML file of the trace.

use std::path::Path;

use serde_json::json;

use super::{Page, strings};
use crate::harness::{Server, browser::Browser};

/// Label of the Find box.
const FIND: &str =
    "Find in this trace: any words of a span and its log records, or a TraceQL query";

pub(in crate::browser) struct TracePage<'a> {
    pub(in crate::browser) page: Page<'a>,
}

impl<'a> TracePage<'a> {
    pub(in crate::browser) fn open(browser: &'a mut Browser, server: &Server, id: &str) -> Self {
        let mut page = Page::open(browser, server, &format!("/trace/{id}"));
        page.wait_for("document.querySelectorAll('.wf-line').length > 0");
        Self { page }
    }

    /// Opens a tab.
    pub(in crate::browser) fn tab(&mut self, name: &str) {
        self.page.click(&format!(
            "[...document.querySelectorAll('main [role=tab]')].find(e => e.innerText.trim().startsWith({}))",
            json!(name)
        ));
        self.page.wait_for(&format!(
            "document.querySelector('main [role=tab][aria-selected=true]')?.innerText.trim().startsWith({})",
            json!(name)
        ));
    }

    /// Replaces the text of the Find box.
    pub(in crate::browser) fn find(&mut self, text: &str) {
        self.page.fill(FIND, text);
    }

    /// Waits until the Find box has this text and shows this number of matches.
    pub(in crate::browser) fn wait_for_found(&mut self, text: &str, count: &str) {
        self.page.wait_for(&format!(
            "document.querySelector('[aria-label={}]')?.value === {} \
             && document.querySelector('.trace-find-count')?.innerText === {}",
            json!(FIND),
            json!(text),
            json!(count)
        ));
    }

    /// Waits until the selected span of the waterfall shows these words.
    pub(in crate::browser) fn wait_for_span(&mut self, words: &str) {
        self.page.wait_for(&format!(
            "document.querySelector('.wf-selected')?.innerText.includes({})",
            json!(words)
        ));
    }

    /// Waits until the waterfall has this many lines.
    pub(in crate::browser) fn wait_for_lines(&mut self, count: usize) {
        self.page.wait_for(&format!("document.querySelectorAll('.wf-line').length === {count}"));
    }

    /// Returns the words of the legend.
    pub(in crate::browser) fn legend(&mut self) -> Vec<String> {
        let words =
            "[...document.querySelectorAll('[aria-label=Legend] li')].map(e => e.innerText)";
        strings(&self.page.browser.evaluate(words))
    }

    /// Returns the name that each part of *Where the time went* shows. A cut name ends in `CUT`.
    pub(in crate::browser) fn names_in_strip(&mut self) -> Vec<String> {
        self.page.wait_for("document.querySelectorAll('.trace-strip .strip-name').length > 0");
        let names = "[...document.querySelectorAll('.trace-strip .strip-part')].map(part => { \
            const room = part.getBoundingClientRect(); \
            const names = [...part.querySelectorAll('bdi')] \
                .map(name => [name.textContent, name.getBoundingClientRect()]) \
                .filter(([, place]) => place.top < room.bottom && place.bottom > room.top); \
            const isCut = names.some(([, place]) => place.right > room.right \
                || place.top < room.top || place.bottom > room.bottom); \
            return names.map(([name]) => name).join(' + ') + (isCut ? ' CUT' : ''); })";
        strings(&self.page.browser.evaluate(names))
    }

    /// Waits until the legend has a mark with these words, or none.
    pub(in crate::browser) fn wait_for_mark(&mut self, words: &str, is_there: bool) {
        self.page.wait_for(&format!(
            "[...document.querySelectorAll('[aria-label=Legend] li')] \
             .some(e => e.innerText === {}) === {is_there}",
            json!(words)
        ));
    }

    /// Waits until the time axis shows these labels, apart from each other and in the window.
    pub(in crate::browser) fn wait_for_axis(&mut self, labels: &[&str]) {
        self.page.wait_for(&format!(
            "(marks => JSON.stringify(marks.map(e => e.innerText.trim())) === {} \
             && marks.map(e => e.getBoundingClientRect()).every((place, at, all) => \
             place.right <= (all[at + 1]?.left ?? innerWidth))) \
             ([...document.querySelectorAll('.axis-mark')])",
            json!(json!(labels).to_string())
        ));
    }

    /// Waits until the facts above the waterfall contain these words.
    pub(in crate::browser) fn wait_for_fact(&mut self, words: &str) {
        self.page.wait_for(&format!(
            "document.querySelector('.trace-head')?.innerText.includes({})",
            json!(words)
        ));
    }

    /// Drags over a part of the page, between these parts of its width.
    pub(in crate::browser) fn drag_across(&mut self, part: &str, from: f64, to: f64) {
        let [left, width, middle] = self.place(&format!(
            "(part => [part.left, part.width, part.top + part.height / 2]) \
             (document.querySelector('{part}').getBoundingClientRect())"
        ));
        let [from, to] = [from, to].map(|part| [left + width * part, middle]);
        self.page.browser.drag(from, to);
    }

    /// Drags the border between names and bars by this many pixels.
    pub(in crate::browser) fn drag_divider(&mut self, pixels: f64) {
        // It is as high as the window, and its lower part may be out of view.
        let [left, width, top] = self.place(
            "(border => [border.left, border.width, border.top]) \
             (document.querySelector('.wf-divider').getBoundingClientRect())",
        );
        let (middle, below) = (left + width / 2.0, top + 12.0);
        self.page.browser.drag([middle, below], [middle + pixels, below]);
    }

    /// Returns three numbers of an expression.
    fn place(&mut self, expression: &str) -> [f64; 3] {
        let place = self.page.browser.evaluate(expression);
        [0, 1, 2].map(|index| place[index].as_f64().unwrap())
    }
}

/// The HTML file of a trace, which opens without a server.
pub(in crate::browser) struct TraceFile<'a> {
    browser: &'a mut Browser,
}

impl<'a> TraceFile<'a> {
    pub(in crate::browser) fn open(browser: &'a mut Browser, file: &Path) -> Self {
        browser.open(&format!("file://{}", file.display()));
        browser.wait_for("document.querySelectorAll('.row').length > 10");
        Self { browser }
    }

    /// Waits until the minimap has pixels in the colour of this token of the page.
    pub(in crate::browser) fn wait_for_colour(&mut self, token: &str) {
        self.browser.wait_for(&format!(
            "(() => {{ const canvas = document.querySelector('#minimap canvas'); \
             const colour = getComputedStyle(document.documentElement).getPropertyValue({}); \
             const wanted = colour.match(/[0-9a-f]{{2}}/g).map(part => parseInt(part, 16)).join(); \
             const all = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data; \
             for (let at = 0; at < all.length; at += 4) \
             if (all.slice(at, at + 3).join() === wanted && all[at + 3] === 255) return true; \
             return false; }})()",
            json!(token)
        ));
    }

    /// Drags over the minimap, between these parts of its width.
    pub(in crate::browser) fn drag_minimap(&mut self, from: f64, to: f64) {
        let place = self.browser.evaluate(
            "(map => [map.left, map.width, map.top + map.height / 2]) \
             (document.querySelector('#minimap').getBoundingClientRect())",
        );
        let [left, width, middle] = [0, 1, 2].map(|index| place[index].as_f64().unwrap());
        let [from, to] = [from, to].map(|part| [left + width * part, middle]);
        self.browser.drag(from, to);
    }

    /// Presses a key in the list of spans.
    pub(in crate::browser) fn press(&mut self, key: &str) {
        self.browser.evaluate("document.querySelector('#tree').focus()");
        self.browser.press(key);
    }

    /// Shows the whole trace again.
    pub(in crate::browser) fn show_whole(&mut self) {
        self.browser.evaluate("document.querySelector('#whole').click()");
    }

    /// Waits until the bars show a part of the trace, or all of it.
    pub(in crate::browser) fn wait_for_zoom(&mut self, is_zoomed: bool) {
        self.browser.wait_for(&format!(
            "['#whole', '#zoom'].every(part => \
             document.querySelector(part).getClientRects().length > 0 === {is_zoomed})"
        ));
    }

    /// Returns the width of a span's bar in percent, or `None` while it is outside of the range.
    pub(in crate::browser) fn bar_width(&mut self, name: &str) -> Option<f64> {
        let width = self.browser.evaluate(&format!(
            "(bar => bar.hidden ? null : parseFloat(bar.style.width)) \
             ([...document.querySelectorAll('.row')].find(row => row.innerText.includes({})) \
             .querySelector('.span-bar'))",
            json!(name)
        ));
        width.as_f64()
    }

    /// Returns how much wider than the window the page is, in pixels.
    pub(in crate::browser) fn overflow(&mut self) -> i64 {
        let wide = self.browser.evaluate("document.scrollingElement.scrollWidth - innerWidth");
        wide.as_i64().unwrap()
    }
}
