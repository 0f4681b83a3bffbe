//! Page object of SQL: the editor, the running query, its rows.

use super::Page;
use crate::harness::{Server, browser::Browser};

const EDITOR: &str = "document.querySelector('main textarea')";
const LIMIT: &str = "document.querySelector('[aria-label=\"At most this many rows\"]')";

pub(in crate::browser) struct SqlPage<'a> {
    pub(in crate::browser) page: Page<'a>,
}

impl<'a> SqlPage<'a> {
    pub(in crate::browser) fn open(browser: &'a mut Browser, server: &Server) -> Self {
        let mut page = Page::open(browser, server, "/sql");
        page.wait_for(EDITOR);
        Self { page }
    }

    /// Replaces the text of the editor with a query.
    pub(in crate::browser) fn write(&mut self, text: &str) {
        self.page.browser.evaluate(&format!("{EDITOR}.focus(), {EDITOR}.select()"));
        self.page.browser.type_text(text);
    }

    /// Chooses the greatest number of rows.
    pub(in crate::browser) fn limit(&mut self, rows: &str) {
        self.page.browser.evaluate(&format!(
            "(field => {{ field.value = '{rows}'; \
             field.dispatchEvent(new Event('change', {{ bubbles: true }})); }})({LIMIT})"
        ));
    }

    /// Waits until this number of rows is chosen.
    pub(in crate::browser) fn wait_for_limit(&mut self, rows: &str) {
        self.page.wait_for(&format!("{LIMIT}?.value === '{rows}'"));
    }

    /// Writes a query and presses the button that runs it.
    pub(in crate::browser) fn run(&mut self, text: &str) {
        self.write(text);
        self.page.press_button("Run");
    }

    /// Waits until a query runs, and presses the button that ends it.
    pub(in crate::browser) fn cancel(&mut self) {
        self.page.wait_for_text("Running, ");
        self.page.press_button("Cancel");
        self.page.wait_for(
            "![...document.querySelectorAll('main [role=status]')].some(e => e.innerText.startsWith('Running'))",
        );
    }

    /// Waits until the page says after which time a query was cancelled, or no longer says so.
    pub(in crate::browser) fn wait_for_cancelled(&mut self, is_cancelled: bool) {
        self.page.wait_for(&format!(
            "[...document.querySelectorAll('main [role=status]')].some(e => \
             /^Cancelled after [0-9.]+ (ns|ms|s|min)/.test(e.innerText)) === {is_cancelled}"
        ));
    }

    /// Returns the first column of the result, limited to the drawn rows.
    pub(in crate::browser) fn rows(&mut self) -> Vec<String> {
        let mut rows = self.page.column("Result", 0);
        rows.retain(|text| !text.is_empty());
        rows
    }

    /// Waits until the first column of the result has these values.
    pub(in crate::browser) fn wait_for_rows(&mut self, rows: &[&str]) {
        self.page.wait_for(&format!(
            "JSON.stringify([...document.querySelectorAll('table[aria-label=Result] tbody tr:not([aria-hidden])')] \
             .map(row => row.cells[0].innerText.trim())) === JSON.stringify({})",
            serde_json::json!(rows)
        ));
    }
}
