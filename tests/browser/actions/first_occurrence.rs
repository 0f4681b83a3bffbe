//! The way of a reader who is used to Kibana, on Logs: a new error, the trend of its pattern, its first
//! record, the lines around that, and its trace, in at most six clicks.
//!
//! At each stop the page is compared with answers of the API.

use serde_json::{Value as Json, json};

use crate::{
    browser::page_objects::Page,
    harness::{Server, browser::Browser},
};

/// Maximum number of clicks of the whole way.
const CLICKS_MAX: usize = 6;
/// The message that the incident brings.
const MESSAGE: &str = "authorisation failed: no currency in the profile of acquirer northpay";
/// Lines on either side of a record that are drawn first.
const LINES: usize = 10;

/// A reader whose clicks are counted.
struct Reader<'a> {
    page: Page<'a>,
    clicks: usize,
}

impl<'a> Reader<'a> {
    fn click(&mut self, act: impl FnOnce(&mut Page<'a>)) {
        self.clicks += 1;
        assert!(self.clicks <= CLICKS_MAX, "it takes more than {CLICKS_MAX} clicks");
        act(&mut self.page);
    }

    /// Returns the pattern of the message from the answer to the page's own request, with its window.
    fn pattern(&mut self, server: &Server) -> Json {
        let requests = "performance.getEntriesByType('resource') \
             .filter(e => e.name.includes('/api/v1/logs/patterns?'))";
        self.page.wait_for(&format!("{requests}.length > 0"));
        let path = self.page.browser.evaluate(&format!(
            "(url => url.pathname + url.search)(new URL({requests}.at(-1).name))"
        ));
        let (status, answer) = server.get(path.as_str().unwrap());
        assert_eq!(status, 200, "{path}: {answer}");
        let mut patterns = answer["patterns"].as_array().unwrap().iter();
        let found = patterns.find(|pattern| pattern["example"] == MESSAGE);
        found.unwrap_or_else(|| panic!("no such pattern: {answer}")).clone()
    }

    /// Finds the error among the patterns: it is new, and its trend has a bar for each step with
    /// records. Returns the expression for its row.
    fn read_trend(&mut self, server: &Server, first: &Json) -> String {
        self.click(|page| page.choose("How records are listed", "Patterns"));
        self.page.wait_for("document.querySelectorAll('.log-pattern').length > 0");
        let pattern = self.pattern(server);
        assert_eq!(pattern["firstSeenUnixNano"], first["timeUnixNano"]);
        let row = format!(
            "[...document.querySelectorAll('.log-patterns tbody tr')] \
             .find(e => e.querySelector('.log-pattern')?.title === {})",
            pattern["template"]
        );
        self.page.wait_for(&format!("{row}?.querySelector('.new')?.innerText === 'NEW'"));
        let count = json!(pattern["count"].to_string());
        self.page.wait_for(&format!("{row}?.querySelector('td.num').innerText === {count}"));
        let steps = pattern["steps"].as_array().unwrap().iter();
        let bars = steps.filter(|step| step["count"] != 0).count();
        assert!(bars > 1, "{pattern}");
        self.page.wait_for(&format!(
            "(spark => spark?.getBoundingClientRect().width > 0 \
             && [...spark.querySelectorAll('.spark-bars')].map(e => e.getAttribute('d')).join('') \
             .match(/M/g)?.length === {bars})({row}?.querySelector('svg.spark-error'))"
        ));
        row
    }

    /// Opens the pattern of a row and its first record, which is the one of the API.
    fn open_first_record(&mut self, row: &str, first: &Json) {
        let message = json!(MESSAGE);
        self.click(|page| page.click(&format!("{row}?.querySelector('.log-pattern')")));
        self.page.wait_for(&format!(
            "document.querySelector('.log-pattern-details pre')?.innerText === {message}"
        ));
        self.click(|page| page.press_button("Show the first one, "));
        self.page.wait_for("document.querySelectorAll('.log').length === 1");
        self.page.wait_until_settled();
        let line = "document.querySelector('.log .log-text')";
        self.page.wait_for(&format!("{line}?.innerText === {message}"));
        self.click(|page| page.click(line));
        self.page.wait_for("document.querySelector('.log-details')");
        for (key, field) in [("open", "id"), ("at", "timeUnixNano")] {
            let value = &first[field];
            self.page.wait_for(&format!(
                "new URLSearchParams(location.search).get('{key}') === {value}"
            ));
        }
    }

    /// Reads the lines of the record's sender below the record.
    fn read_lines_around(&mut self, texts: &[String]) {
        assert!(texts.len() > 2, "{texts:?}");
        self.click(|page| page.press_button("Lines around it"));
        self.page.wait_for(&format!(
            "JSON.stringify([...document.querySelectorAll('.around-text')].map(e => e.textContent)) \
             === JSON.stringify({})",
            json!(texts)
        ));
        self.page.wait_for(&format!(
            "document.querySelector('.around-line.is-this .around-text')?.textContent === {}",
            json!(MESSAGE)
        ));
        self.page.wait_for(
            "document.querySelector('.around-lines')?.getBoundingClientRect().top \
             >= document.querySelector('.log.is-open .log-line')?.getBoundingClientRect().bottom",
        );
    }

    /// Opens the trace at the span of the record, which says the message.
    fn open_trace(&mut self, first: &Json) {
        self.click(|page| page.press_button("Open the trace"));
        let [trace, span] = ["traceId", "spanId"].map(|name| first[name].as_str().unwrap());
        self.page.wait_for(&format!(
            "location.pathname === '/trace/{trace}' \
             && new URLSearchParams(location.search).get('span') === '{span}'"
        ));
        self.page.wait_for(
            "document.querySelector('.wf-selected')?.innerText.includes('Payment.Authorize')",
        );
        self.page.wait_for(&format!(
            "[...document.querySelectorAll('.span-panel .span-record-text')] \
             .some(e => e.textContent.includes({}))",
            json!(MESSAGE)
        ));
    }
}

/// Returns the first record with the message.
fn first_record(server: &Server) -> Json {
    let search = "/api/v1/logs?service=payment&severity=error&order=asc&limit=1\
         &text=no%20currency%20in%20the%20profile";
    let is_there = |json: &Json| json["logs"].as_array().is_some_and(|logs| logs.len() == 1);
    let record = server.wait_for(search, is_there)["logs"][0].clone();
    assert_eq!(record["text"], MESSAGE);
    record
}

/// Returns the texts of the record and of the lines around it, oldest first.
fn texts_around(server: &Server, record: &Json) -> Vec<String> {
    let [id, at] = ["id", "timeUnixNano"].map(|name| record[name].as_str().unwrap());
    let path = format!("/api/v1/logs/{id}/context?time={at}&before={LINES}&after={LINES}");
    let (status, context) = server.get(&path);
    assert_eq!(status, 200, "{path}: {context}");
    let lines = |side: &str| context[side].as_array().unwrap().clone();
    let all = [lines("before"), vec![context["log"].clone()], lines("after")].concat();
    all.iter().map(|line| line["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_errors_first_record_its_trend_lines_around_it_and_trace_take_six_clicks() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    server.send_incident("failing-version");
    let first = first_record(&server);
    let mut reader = Reader { page: Page::open(&mut browser, &server, "/logs"), clicks: 0 };
    let row = reader.read_trend(&server, &first);
    reader.open_first_record(&row, &first);
    reader.read_lines_around(&texts_around(&server, &first));
    reader.open_trace(&first);
}
