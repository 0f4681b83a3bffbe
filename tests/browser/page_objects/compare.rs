//! Page object of the comparison of two traces: its lanes, the call with the most impact, the other
//! trace.

use super::Page;
use crate::harness::{Server, browser::Browser};

pub(in crate::browser) struct ComparePage<'a> {
    pub(in crate::browser) page: Page<'a>,
}

impl<'a> ComparePage<'a> {
    pub(in crate::browser) fn open(
        browser: &'a mut Browser,
        server: &Server,
        left: &str,
        right: &str,
    ) -> Self {
        let path = format!("/compare?left={left}&right={right}");
        let mut page = Page::open(browser, server, &path);
        page.wait_for_rows("Calls of both");
        Self { page }
    }

    /// Clicks the call with the most impact and returns its name.
    pub(in crate::browser) fn open_impact(&mut self) -> String {
        let first = "document.querySelector('[aria-label=\"Most impact first\"] li button')";
        self.page.wait_for(first);
        let name = self.page.browser.evaluate(&format!("{first}.innerText.split('\\n')[0].trim()"));
        self.page.click(first);
        name.as_str().unwrap().to_owned()
    }

    /// Waits until the row of this call is selected and visible.
    pub(in crate::browser) fn wait_for_chosen(&mut self, name: &str) {
        self.page.wait_for(&format!(
            "(() => {{ const row = document.querySelector('table[aria-label=\"Calls of both\"] \
             tr[aria-selected=true]'); const top = row?.getBoundingClientRect().top; \
             return row?.innerText.includes({}) && top >= 0 && top < innerHeight; }})()",
            serde_json::json!(name)
        ));
    }

    /// Enters the id of another trace to compare with.
    pub(in crate::browser) fn with_other(&mut self, id: &str) {
        self.page.fill("Another trace to compare with", id);
        self.page.browser.press("Enter");
    }
}
