//! One culprit on all pages: Home, the transaction type, the service and the Map say the same.

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
