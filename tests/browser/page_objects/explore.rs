//! Page object of Explore: its rows, the heatmap, the search, and rows that wait while the user
//! reads.

use serde_json::json;

use super::Page;
use crate::harness::{Server, browser::Browser};

pub(in crate::browser) struct ExplorePage<'a> {
    pub(in crate::browser) page: Page<'a>,
}

impl<'a> ExplorePage<'a> {
    pub(in crate::browser) fn open(browser: &'a mut Browser, server: &Server, query: &str) -> Self {
        let mut page = Page::open(browser, server, &format!("/explore?{query}"));
        page.wait_for_rows("Traces");
        Self { page }
    }

    /// The page that the browser already shows.
    pub(in crate::browser) fn shown(browser: &'a mut Browser) -> Self {
        Self { page: Page { browser } }
    }

    /// Draws a box in the heatmap with the mouse: all of its time, and the longer durations.
    pub(in crate::browser) fn draw_box(&mut self) {
        self.page.wait_for("document.querySelector('.heat-plot svg path')");
        let corners = self.page.browser.evaluate(
            "(plot => [plot.left + 2, plot.top + 2, plot.right - 2, plot.top + plot.height * 0.4]) \
             (document.querySelector('.heat-plot').getBoundingClientRect())",
        );
        let at = |index: usize| corners[index].as_f64().unwrap();
        self.page.browser.drag([at(0), at(1)], [at(2), at(3)]);
    }

    /// Waits until the comparison with all has the focus, and begins in the upper half of the window.
    pub(in crate::browser) fn wait_for_comparison_in_view(&mut self) {
        self.page.wait_for(
            "(panel => panel && document.activeElement === panel \
             && panel.getBoundingClientRect().top >= 0 \
             && panel.getBoundingClientRect().top < innerHeight / 2)\
             (document.querySelector('#compare-all'))",
        );
    }

    /// Waits until the rows have these transactions in this order.
    pub(in crate::browser) fn wait_for_transactions(&mut self, names: &[&str]) {
        self.page.wait_for(&format!(
            "((rows, names) => rows.length === names.length \
             && rows.every((row, at) => row.cells[1].innerText.trim().startsWith(names[at]))) \
             ([...document.querySelectorAll('table[aria-label=Traces] tbody tr')], {})",
            json!(names)
        ));
    }

    /// Makes an attribute a column: types a part of its name and chooses it from the suggestions.
    pub(in crate::browser) fn add_column(&mut self, typed: &str, key: &str) {
        self.page.click("document.querySelector('.columns-menu summary')");
        self.page.click("document.querySelector('.columns-menu .chip-add')");
        self.page.wait_for("document.activeElement?.id === 'column-key'");
        self.page.browser.type_text(typed);
        self.page.wait_for(&format!(
            "document.querySelector('#column-key-list [aria-selected=true]')?.innerText.includes({})",
            json!(key)
        ));
        self.page.browser.press("Enter");
        self.page.wait_for_address(&format!("col={key}"));
        self.page.wait_for("document.querySelector('.attribute-value')");
        self.page.click("document.querySelector('.columns-menu summary')");
    }

    /// Returns the texts of the cells of attribute columns.
    pub(in crate::browser) fn attribute_values(&mut self, table: &str) -> Vec<String> {
        let values = self.page.browser.evaluate(&format!(
            "[...document.querySelectorAll('table[aria-label={table}] td.traces-attribute')].map(e => e.innerText)"
        ));
        super::strings(&values)
    }

    /// Points at the rows, as a reading user does.
    pub(in crate::browser) fn point_at_rows(&mut self) {
        self.page.point_at("document.querySelector('table[aria-label=Traces] tbody tr')");
        self.page.wait_for_text("live waits while you read");
    }

    /// Holds answers to searches back, as a slow server would, or releases them.
    pub(in crate::browser) fn hold_searches(&mut self, is_held: bool) {
        let params = json!({ "patterns": [{ "urlPattern": "*/api/v1/traces?*" }] });
        if is_held {
            self.page.browser.command("Fetch.enable", params);
        } else {
            self.page.browser.command("Fetch.disable", json!({}));
        }
    }
}
