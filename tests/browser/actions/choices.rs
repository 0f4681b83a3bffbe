//! Choices that narrow a list, a box in the heatmap of a service, the patterns of its operations,
//! and texts of its page that need spans of their own.

use prost::Message;
use serde_json::json;
use tidings_proto::otlp::{Span, Status};

use super::incident;
use crate::{
    browser::page_objects::{ExplorePage, Page},
    harness::{
        Server,
        browser::Browser,
        http::post,
        spans::{self, span},
    },
};

const HEATMAP: &str = "document.querySelector('.heat-plot')";

#[test]
fn services_are_narrowed_to_those_that_changed() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut page = Page::open(&mut browser, &server, "/services?live=off");
    let shown = "document.querySelectorAll('table[aria-label=Services] tbody tr[id]').length";
    let changed = "Number([...document.querySelectorAll('[aria-label=\"Which services\"] button')] \
         .map(e => e.innerText.trim()).find(words => words.startsWith('Changed '))?.split(' ')[1])";
    page.wait_for_rows("Services");
    page.wait_until_settled();
    page.wait_for(&format!("{changed} > 0 && {changed} < {shown}"));
    let all = page.browser.evaluate(shown);
    page.choose("Which services", "Changed");
    page.wait_for_address("only=changed");
    page.wait_for(&format!("{shown} === {changed}"));
    page.open_again();
    page.wait_for(&format!("{shown} > 0 && {shown} === {changed}"));
    page.choose("Which services", "All");
    page.wait_for_address_without("only=");
    page.wait_for(&format!("{shown} === {all}"));
}

#[test]
fn examples_of_a_type_are_narrowed_to_failed_or_typical_ones() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let path = "/transactions/web-gateway/POST%20%2Fcheckout?range=1h&live=off";
    let mut page = Page::open(&mut browser, &server, path);
    let rows = "[...document.querySelectorAll('table[aria-label=Examples] tbody tr')]";
    let kinds = format!("[...new Set({rows}.map(row => row.cells[0].innerText.trim()))].join()");
    page.wait_for(&format!("{kinds} === 'slow,failed,typical'"));
    page.choose("Which examples", "Failed");
    page.wait_for_address("examples=failed");
    page.wait_for(&format!(
        "{kinds} === 'failed' && {rows}.every(row => Number(row.cells[5].innerText) > 0)"
    ));
    page.choose("Which examples", "Typical");
    page.wait_for_address("examples=typical");
    page.wait_for(&format!("{kinds} === 'typical'"));
}

/// Draws a box over the longer durations of a service.
fn draw_box(page: &mut Page<'_>) {
    page.wait_until_settled();
    page.wait_for(HEATMAP);
    page.browser.evaluate(&format!("{HEATMAP}.scrollIntoView({{ block: 'center' }})"));
    ExplorePage::shown(page.browser).draw_box();
    page.wait_for_address("box=");
    page.wait_for("document.querySelector('.heat-box') && document.querySelector('.box-bar')");
}

#[test]
fn a_box_of_a_service_is_dropped_or_leads_to_its_spans() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut page = Page::open(&mut browser, &server, "/services/payment?live=off");
    draw_box(&mut page);
    // The default operation may become another one, and the box would then lie over its spans.
    page.wait_for_address("operation=Payment.");
    page.press_button("Remove the box");
    page.wait_for_address_without("box=");
    page.wait_for("!document.querySelector('.heat-box, .box-bar')");
    draw_box(&mut page);
    page.press_button("Explore these spans");
    page.wait_for("location.pathname === '/explore'");
    for filter in ["service=payment", "operation=", "min=", "max=", "from=", "to="] {
        page.wait_for_address(filter);
    }
    page.wait_for("document.querySelectorAll('.traces-row').length > 0");
}

/// Sends spans of a service.
fn send(server: &Server, service: &str, spans: Vec<Span>) {
    let body = spans::traces(service, spans).encode_to_vec();
    assert_eq!(post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body).status, 200);
}

#[test]
fn a_long_name_of_a_service_stays_beside_its_dot() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1280, 900) else { return };
    let name = "a-service-of-a-long-name-".repeat(9);
    send(&server, &name, vec![span(1, 1, 0, "GET /")]);
    let mut page = Page::open(&mut browser, &server, &format!("/services/{name}"));
    page.wait_for_rows("Operations");
    page.wait_for(
        "(([dot, name]) => name.left > dot.right && name.top < dot.top && name.bottom > dot.bottom) \
         (['.dot-large', 'h1'].map(e => document.querySelector(`.page-title ${e}`) \
         .getBoundingClientRect()))",
    );
}

/// Chance explains in one of twenty cases that 2 of 6 calls fail after none of 20.
#[test]
fn an_operation_says_in_words_that_more_failures_may_be_chance() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let call = |number: u64, minutes: u64, code: i32| {
        let made = span(number.into(), number, 0, "POST /sale");
        let ago = minutes * 60_000_000_000;
        Span {
            start_time_unix_nano: made.start_time_unix_nano - ago,
            end_time_unix_nano: made.end_time_unix_nano - ago,
            status: Some(Status { code, ..Status::default() }),
            ..made
        }
    };
    let before = (1..=20).map(|number| call(number, 20, 0));
    let now = (21..=26).map(|number| call(number, 5, if number > 24 { 2 } else { 0 }));
    send(&server, "till", before.chain(now).collect());
    let mut page = Page::open(&mut browser, &server, "/services/till?range=15m&live=off");
    page.wait_for(
        "(e => e?.innerText.trim() === 'may be chance' && e.offsetHeight > 0) \
         (document.querySelector('.operations .operations-failed:not(.is-worse) > .was'))",
    );
}

/// Sends calls of a service whose operations differ in ids. Jobs take most of its time, orders have
/// most of its calls, and no other single operation has as many calls as `GET /health`.
fn send_calls_with_ids(server: &Server) {
    let orders = (100..160).chain([123]).map(|id| format!("GET /user/{id}/orders"));
    let jobs = (10..50).chain([33, 33]).map(|id| format!("POST /job/{id}"));
    let health = std::iter::repeat_n("GET /health".to_owned(), 20);
    let call = |(number, name): (u64, String)| {
        let made = span(number.into(), number, 0, &name);
        let length = if name.starts_with("POST") { 50_000_000 } else { 1_000_000 };
        Span { end_time_unix_nano: made.start_time_unix_nano + length, ..made }
    };
    send(server, "shop", (1..).zip(orders.chain(jobs).chain(health)).map(call).collect());
}

/// Names of the listed operations.
const LISTED: &str = "[...document.querySelectorAll('table[aria-label=Operations] .row-name')] \
     .map(e => e.innerText.trim())";
/// Number of requests for patterns that have an answer.
const PATTERN_REQUESTS: &str = "performance.getEntriesByType('resource') \
     .filter(e => e.name.includes('operationPattern')).length";

/// Waits until this pattern is the first of the list, and the panels show its most called
/// operation.
fn wait_for_first_pattern(page: &mut Page<'_>, pattern: &str, operation: &str) {
    page.wait_for(&format!("{LISTED}[0] === {}", json!(pattern)));
    page.wait_for(
        "document.querySelector('table[aria-label=Operations] tbody tr') \
         ?.getAttribute('aria-selected') === 'true'",
    );
    for panel in [format!("Latency of {operation}"), "By version".to_owned()] {
        page.wait_for(&format!(
            "document.querySelector('section[aria-label=\"{panel}\"] .panel-head .mute') \
             ?.innerText.includes({})",
            json!(format!("the most called of {pattern}"))
        ));
    }
    page.wait_until_settled();
}

#[test]
fn patterns_of_names_replace_no_single_names_and_the_first_is_the_default() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1920, 900) else { return };
    send_calls_with_ids(&server);
    let held = json!({ "patterns": [{ "urlPattern": "*/api/v1/red?*operationPattern*" }] });
    browser.command("Fetch.enable", held);
    let mut page = Page::open(&mut browser, &server, "/services/shop?range=all&live=off");
    page.wait_for("document.querySelector('[role=group][aria-label=\"How names are listed\"]')");
    for panel in ["Operations", "Latency", "By version"] {
        page.wait_for(&format!(
            "document.querySelector('section[aria-label=\"{panel}\"] [aria-label=Loading]')"
        ));
    }
    assert_eq!(page.browser.evaluate(&format!("{LISTED}.length")), 0);
    page.browser.command("Fetch.disable", json!({}));
    wait_for_first_pattern(&mut page, "POST /job/<*>", "POST /job/33");
    let patterns = json!(["POST /job/<*>", "GET /user/<*>/orders", "GET /health"]);
    assert_eq!(page.browser.evaluate(LISTED), patterns);

    // The default is the first row of any order, and a click on a row chooses as it does.
    page.press_button("Calls/min");
    page.wait_for_address("sort=-rate");
    wait_for_first_pattern(&mut page, "GET /user/<*>/orders", "GET /user/123/orders");
    page.press_button("POST /job/<*>");
    page.wait_for_address("operation=POST /job/33");
    page.wait_for("document.querySelector('section[aria-label=\"Latency of POST /job/33\"]')");

    // A pattern of one operation is that operation.
    page.press_button("GET /health");
    page.wait_for(
        "(note => note?.innerText.trim() === 'drag a box to look at its spans') (document \
         .querySelector('section[aria-label=\"Latency of GET /health\"] .panel-head .mute'))",
    );
}

#[test]
fn patterns_of_names_are_requested_only_where_they_are_listed() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1920, 900) else { return };
    send_calls_with_ids(&server);
    let path = "/services/shop?range=all&live=off&names=single";
    let mut page = Page::open(&mut browser, &server, path);
    // Of single names, the default is the one with the most calls.
    page.wait_for("document.querySelector('section[aria-label=\"Latency of GET /health\"]')");
    page.wait_for(&format!("{LISTED}.length === 101"));
    page.wait_until_settled();
    assert_eq!(page.browser.evaluate(PATTERN_REQUESTS), 0);
    page.choose("How names are listed", "Patterns");
    page.wait_for_address_without("names=");
    wait_for_first_pattern(&mut page, "POST /job/<*>", "POST /job/33");
    assert_eq!(page.browser.evaluate(PATTERN_REQUESTS), 1);
}
