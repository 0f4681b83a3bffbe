//! Actions while rows arrive: new rows are shown, new rows wait while the user reads, and a search
//! is cancelled.

use prost::Message;

use crate::{
    browser::{
        page_objects::{ExplorePage, Page},
        send_logs,
    },
    harness::{
        Server,
        browser::Browser,
        http::post,
        spans::{log, span, traces},
    },
};

fn send_transaction(server: &Server, id: u128, name: &str) {
    let body = traces("shop", vec![span(id, 1, 0, name)]).encode_to_vec();
    assert_eq!(post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body).status, 200);
    let trace = format!("/api/v1/traces/{id:032x}");
    server.wait_for(&trace, |view| view["traceId"].is_string());
}

#[test]
fn transactions_that_come_are_listed_and_wait_while_one_points_at_the_rows() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_transaction(&server, 1, "GET /first");
    let mut explore = ExplorePage::open(&mut browser, &server, "range=15m");
    explore.wait_for_transactions(&["GET /first"]);
    send_transaction(&server, 2, "GET /second");
    explore.wait_for_transactions(&["GET /second", "GET /first"]);
    explore.point_at_rows();
    send_transaction(&server, 3, "GET /third");
    // The shell asks for the status as often as a live list asks for rows.
    explore.page.wait_for_requests("/api/v1/status", 3);
    explore.wait_for_transactions(&["GET /second", "GET /first"]);
    explore.page.point_at("document.querySelector('.crumbs')");
    explore.wait_for_transactions(&["GET /third", "GET /second", "GET /first"]);
}

#[test]
fn a_search_is_given_up_and_begun_again() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_transaction(&server, 1, "GET /first");
    let mut explore = ExplorePage::open(&mut browser, &server, "range=15m&live=off");
    explore.hold_searches(true);
    explore.page.click(
        "[...document.querySelectorAll('table[aria-label=Traces] th button')] \
         .find(head => head.innerText.trim() === 'Duration')",
    );
    explore.page.wait_for_address("sort=duration");
    explore.page.browser.press("Escape");
    explore.page.wait_for_text("Stopped");
    explore.hold_searches(false);
    explore.page.press_button("Search again");
    explore.wait_for_transactions(&["GET /first"]);
    explore.page.wait_for_text("1 trace");
}

#[test]
fn the_tail_of_the_log_waits_while_text_of_a_line_is_selected() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_logs(&server, vec![log(1, 1, "before the tail")]);
    let mut logs = Page::open(&mut browser, &server, "/logs?live=off&tail=on");
    logs.wait_for_text("Waiting for the next record");
    logs.wait_for_text("before the tail");
    send_logs(&server, vec![log(2, 1, "the first to come")]);
    logs.wait_for_text("the first to come");
    let first = "document.querySelector('.log-text')";
    logs.browser.evaluate(&format!("getSelection().selectAllChildren({first})"));
    send_logs(&server, vec![log(3, 1, "while it is read")]);
    logs.wait_for_text("1 record more while you read");
    assert_eq!(logs.browser.evaluate("getSelection().toString()"), "the first to come");
    assert_eq!(logs.browser.evaluate(&format!("{first}.innerText")), "the first to come");
    logs.browser.evaluate("getSelection().removeAllRanges()");
    logs.wait_for(&format!("{first}.innerText === 'while it is read'"));
}
