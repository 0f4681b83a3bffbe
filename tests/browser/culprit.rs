//! One culprit on all pages: Home, the transaction type, the service and the Map say the same.

use serde_json::json;

use super::{SETTLED, page_objects::Page};
use crate::harness::{Server, browser::Browser};

/// The first sentence of a page.
const SENTENCE: &str = "(document.querySelector('.page-head .say')?.innerText ?? '')";

#[test]
fn home_type_service_and_map_name_one_culprit() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    server.send_incident("slow-dependency");
    let (status, report) = server.get("/api/v1/changes");
    assert_eq!(status, 200);
    let subject = &report["headline"]["subject"];
    let culprit = subject["peer"].as_str().or(subject["service"].as_str()).unwrap();
    assert_eq!(culprit, "northpay", "{}", report["headline"]);
    browser.prefer("dark");
    for (name, path) in [
        ("home", "/"),
        ("type", "/transactions/web-gateway/POST%20%2Fcheckout"),
        ("service", "/services/payment"),
        ("map", "/map"),
    ] {
        browser.open(&format!("http://{}{path}", server.http));
        // Until the report is there, the type's page says what its comparison found.
        browser.wait_for(&format!("{SENTENCE}.includes('since')"));
        let sentence = browser.evaluate(SENTENCE);
        let sentence = sentence.as_str().unwrap();
        assert!(sentence.starts_with(culprit), "{path}: {sentence}");
        assert!(sentence.contains("slower since"), "{path}: {sentence}");
        browser.wait_for(SETTLED);
        browser.screenshot(&format!("culprit-{name}-dark"));
    }
    browser.assert_no_errors();
}

#[test]
fn a_types_charts_mark_the_version_that_its_sentence_names() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    server.send_incident("failing-version");
    let path = "/transactions/web-gateway/POST%20%2Fcheckout";
    let mut page = Page::open(&mut browser, &server, path);
    page.wait_for(&format!("{SENTENCE}.includes('payment 2.14.0')"));
    for chart in ["Calls", "Failed", "Duration"] {
        page.wait_for(&format!(
            "[...document.querySelectorAll('[aria-label={chart}] .chart-mark')] \
             .some(e => e.title === 'payment 2.14.0')"
        ));
    }
    page.browser.screenshot("type-marks-other-version");
    page.browser.assert_no_errors();
}

/// Pages say what they do not know about changes, and nothing in its place.
#[test]
fn a_comparison_that_fails_is_said_where_it_is_missing() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    server.send_incident("slow-dependency");
    let block = |page: &mut Page<'_>, urls| {
        page.browser.command("Network.setBlockedURLs", json!({ "urls": urls }));
    };
    let mut page = Page::open(&mut browser, &server, "/connect");
    block(&mut page, json!(["*/api/v1/changes*"]));
    let mut page = Page::open(&mut browser, &server, "/");
    let fresh = "document.querySelector('[aria-label=\"New exceptions\"]')";
    page.wait_for(&format!("{fresh}?.querySelector('.note button')"));
    let mut page = Page::open(&mut browser, &server, "/services");
    page.wait_for_rows("Services");
    page.wait_for_text("What changed is not known");
    let said = page.browser.evaluate("document.querySelector('main').innerText");
    assert!(!said.as_str().unwrap().contains("as usual"), "{said}");
    // The server answers again.
    block(&mut page, json!([]));
    let mut page = Page::open(&mut browser, &server, "/");
    page.wait_for(&format!("{fresh}?.querySelector('ul, p') && !{fresh}.querySelector('.note')"));
    let errors = page.browser.take_errors();
    assert!(errors.iter().all(|error| error.contains("BLOCKED")), "{errors:#?}");
}

#[test]
fn answers_of_a_part_of_the_time_lead_to_one_that_is_read_whole() {
    let server = Server::start_with(&["--search-rows-max", "2000"]);
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    server.send_incident("slow-dependency");
    for path in [
        "/",
        "/errors",
        "/transactions",
        "/transactions/web-gateway/POST%20%2Fcheckout",
        "/services/payment",
    ] {
        let mut page = Page::open(&mut browser, &server, path);
        let link = "[...document.querySelectorAll('.note-warning a')] \
             .find(e => e.innerText === 'Read Last 15 min whole')";
        page.wait_for(link);
        page.wait_for(SETTLED);
        page.browser.evaluate(&format!("{link}.click()"));
        page.wait_for_address("range=15m");
    }
    browser.assert_no_errors();
}
