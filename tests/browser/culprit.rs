//! One culprit on all pages: Home, the transaction type, the service and the Map say the same.

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
        browser.wait_for(super::SETTLED);
        browser.screenshot(&format!("culprit-{name}-dark"));
    }
    browser.assert_no_errors();
}
