//! Page object of a trace: its facts, its tabs, its pin.

use serde_json::json;

use super::Page;
use crate::harness::{Server, browser::Browser};

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

    /// Waits until the facts above the waterfall contain these words.
    pub(in crate::browser) fn wait_for_fact(&mut self, words: &str) {
        self.page.wait_for(&format!(
            "document.querySelector('.trace-head')?.innerText.includes({})",
            json!(words)
        ));
    }
}
