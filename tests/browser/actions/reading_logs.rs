//! Actions on log records: the lines around one, its moment in its trace, its copies, and the
//! records of a trace in its waterfall.

use prost::Message;
use tidings_proto::otlp::{LogRecord, Span};

use super::incident;
use crate::{
    browser::{
        page_objects::{Page, TracePage},
        send_logs,
    },
    harness::{
        Server,
        browser::Browser,
        http::post,
        spans::{self, log, span},
    },
};

/// Sends records of one sender, one in each millisecond. All of them belong to one trace with two
/// spans.
fn send_records(server: &Server) {
    let begin = spans::now() - 60_000_000_000;
    let record = |number: u64| LogRecord {
        time_unix_nano: begin + number * 1_000_000,
        ..log(0x109, 1, &format!("line {number} of the order"))
    };
    send_logs(server, (0..100).map(record).collect());
    let timed = |id: u64, parent: u64, millis: u64, name: &str| Span {
        start_time_unix_nano: begin,
        end_time_unix_nano: begin + millis * 1_000_000,
        ..span(0x109, id, parent, name)
    };
    let all = vec![timed(1, 0, 120, "POST /order"), timed(2, 1, 80, "charge")];
    let body = spans::traces("shop", all).encode_to_vec();
    assert_eq!(post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body).status, 200);
}

/// Opens the page, and on it the record with these words.
fn open<'a>(browser: &'a mut Browser, server: &Server, words: &str) -> Page<'a> {
    let mut page = Page::open(browser, server, "/logs?live=off");
    page.click(&format!(
        "[...document.querySelectorAll('.log')].find(e => e.innerText.includes('{words}')) \
         ?.querySelector('.log-text')"
    ));
    page.wait_for("document.querySelector('.log-details')");
    page
}

#[test]
fn a_link_to_a_record_far_down_the_list_shows_it() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_records(&server);
    let (_, oldest) = server.get("/api/v1/logs?order=asc&limit=1");
    let oldest = &oldest["logs"][0];
    let (id, at) = (oldest["id"].as_str().unwrap(), oldest["timeUnixNano"].as_str().unwrap());
    for around in ["", "&around=10"] {
        let path = format!("/logs?live=off&open={id}&at={at}{around}");
        let mut page = Page::open(&mut browser, &server, &path);
        page.wait_for(
            "(place => place && place.top >= 0 && place.bottom <= innerHeight)\
             (document.querySelector('.logs-card .log.is-open .log-line')?.getBoundingClientRect())",
        );
        let rows = page.browser.evaluate("document.querySelectorAll('.logs > .log').length");
        assert_eq!(rows, 100, "it is the last of the list");
    }
}

#[test]
fn the_breadcrumb_of_a_trace_leads_to_the_list_that_the_reader_comes_from() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_records(&server);
    let body = spans::traces("shop", vec![span(0x10a, 1, 0, "nightly")]).encode_to_vec();
    assert_eq!(post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body).status, 200);
    let list =
        |words: &str| format!("document.querySelector('.crumbs a')?.innerText === '{words}'");
    let mut page = open(&mut browser, &server, "line 90 of");
    page.click("document.querySelector('.log.is-open .log-trace')");
    page.wait_for(&format!("location.pathname.startsWith('/trace/') && {}", list("Logs")));
    page.open_again();
    page.wait_for(&list("Logs"));
    let mut page = Page::open(&mut browser, &server, &format!("/trace/{:032x}", 0x10a));
    page.wait_for(&list("Explore"));
}

#[test]
fn lines_around_a_record_are_read() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_records(&server);
    let mut page = open(&mut browser, &server, "line 90 of");
    page.press_button("Lines around it");
    page.wait_for_address("around=");
    let lines = "[...document.querySelectorAll('.around-line')].map(e => e.innerText)";
    page.wait_for(&format!("{lines}.some(text => text.includes('line 89 of'))"));
    page.wait_for(&format!("{lines}.some(text => text.includes('line 91 of'))"));
    page.wait_for("document.querySelector('.around-line.is-this')?.innerText.includes('line 90')");
    // The reader chooses another number of lines.
    let before = page.browser.evaluate(&format!("{lines}.length"));
    page.click("document.querySelector('.around-sizes button[aria-pressed=false]')");
    page.wait_for(&format!("{lines}.length !== {before}"));
    page.press_button("Lines around it");
    page.wait_for_address_without("around=");
}

#[test]
fn labels_of_the_time_axis_do_not_touch_on_a_phone() {
    const TEN_MINUTES_MS: u64 = 600_000;
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 390, 844) else { return };
    // The last label is at the end of the axis, where it is moved inside.
    let end = spans::now() / 1_000_000 / TEN_MINUTES_MS * TEN_MINUTES_MS;
    let path = format!("/logs?live=off&from={}&to={end}", end - 6 * TEN_MINUTES_MS);
    let mut page = Page::open(&mut browser, &server, &path);
    page.wait_for(
        "(places => places.length > 3 && places.slice(1).every((place, at) => \
         place.left - places[at].right >= 2)) \
         ([...document.querySelectorAll('.log-histogram .heat-x')] \
         .map(e => e.getBoundingClientRect()))",
    );
    page.browser.screenshot("logs-axis-390");
}

#[test]
fn a_record_stands_in_its_trace_and_leads_to_it() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_records(&server);
    let mut page = open(&mut browser, &server, "line 60 of");
    let tops = "[...document.querySelectorAll('.log-ways > .button, .around-bar > .button')]\
                .map(e => Math.round(e.getBoundingClientRect().top))";
    page.wait_for(&format!("{tops}.length === 4 && new Set({tops}).size === 1"));
    page.press_button("In its trace");
    page.wait_for("document.querySelectorAll('.mini-trace .mini-bar').length === 2");
    page.wait_for("document.querySelector('.mini-moment').innerText.includes('+60')");
    page.wait_for("document.querySelector('.mini-facts').innerText.includes('POST /order')");
    page.press_button("Open the trace");
    page.wait_for_address(&format!("/trace/{:032x}", 0x109));
    page.wait_for("document.querySelector('.wf-selected')?.innerText.includes('POST /order')");
}

#[test]
fn a_record_is_copied_as_its_message_and_as_json() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_records(&server);
    let mut page = open(&mut browser, &server, "line 70 of");
    // The test replaces the clipboard, because the browser's own one may ask for permission.
    page.browser.evaluate(
        "navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve(); }, 1",
    );
    page.press_button("Copy the message");
    page.wait_for("window.copied === 'line 70 of the order'");
    page.press_button("JSON");
    page.wait_for_address("json=on");
    page.press_button("Copy the record as JSON");
    let trace = format!("'{:032x}'", 0x109);
    page.wait_for(&format!(
        "window.copied.startsWith('{{') && JSON.parse(window.copied).traceId === {trace}"
    ));
}

#[test]
fn records_are_shown_in_the_waterfall_of_their_trace_and_hidden() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_records(&server);
    let mut trace = TracePage::open(&mut browser, &server, &format!("{:032x}", 0x109));
    trace.wait_for_lines(2);
    let switch = "[...document.querySelectorAll('.trace-switch')] \
                  .find(e => e.innerText.trim().startsWith('Logs'))";
    trace.page.click(switch);
    trace.page.wait_for_address("logs=1");
    trace.page.wait_for(
        "document.querySelector('.wf-log .wf-log-text')?.innerText === 'line 0 of the order'",
    );
    trace.page.click(switch);
    trace.page.wait_for_address_without("logs=1");
    trace.wait_for_lines(2);
}
