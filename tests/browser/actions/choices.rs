//! Choices that narrow a list, a box in the heatmap of a service, and texts of its page that need
//! spans of their own.

use prost::Message;
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
