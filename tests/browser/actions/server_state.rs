//! States of the server that pages report: no answer, an id that it does not know, and a store
//! without data.

use prost::Message;
use serde_json::json;

use super::incident;
use crate::{
    browser::page_objects::Page,
    harness::{
        Server,
        browser::Browser,
        http::post,
        spans::{span, traces},
    },
};

/// Makes requests to the API fail, as without a server, or lets them through again.
fn block_api(browser: &mut Browser, is_blocked: bool) {
    let urls = if is_blocked { json!(["*/api/v1/*"]) } else { json!([]) };
    browser.command("Network.setBlockedURLs", json!({ "urls": urls }));
}

#[test]
fn a_server_that_does_not_answer_is_said_until_it_answers_again() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    browser.expect_errors("ERR_BLOCKED_BY_CLIENT");
    let mut page = Page::open(&mut browser, &server, "/explore");
    page.wait_for_rows("Traces");
    let live = "document.querySelector('.live')";
    page.wait_for(&format!("{live}?.innerText.trim() === 'Live'"));
    block_api(page.browser, true);
    page.wait_for(&format!("{live}.innerText.trim() === 'No answer'"));
    page.wait_for_text("Tidings does not answer.");
    page.wait_for(&format!("{live}.title.startsWith('The server does not answer')"));
    block_api(page.browser, false);
    page.wait_for(&format!("{live}.innerText.trim() === 'Live'"));
    page.wait_for("!document.querySelector('.notice-error')");
    page.wait_for(&format!("!{live}.classList.contains('is-silent')"));
    page.wait_for_rows("Traces");
}

#[test]
fn an_unknown_trace_id_is_said_and_leads_to_the_search() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    browser.expect_refusals(404, "/api/v1/traces/");
    let id = format!("{:032x}", 0xdead);
    let mut page = Page::open(&mut browser, &server, &format!("/trace/{id}"));
    page.wait_for_text("No trace has this id");
    page.wait_for_text(&id);
    // The link may be in two lines, and its middle between them.
    page.browser.evaluate("document.querySelector('main a[href=\"/explore\"]').click()");
    page.wait_for_address("/explore");
    page.wait_for_rows("Traces");
}

#[test]
fn home_of_an_empty_store_shows_how_to_connect_until_data_comes() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut page = Page::open(&mut browser, &server, "/");
    page.wait_for_text("Waiting for the first span");
    page.wait_for_text(&server.otlp_grpc);
    page.wait_for("document.querySelector('main [role=tabpanel] pre')");
    let body = traces("shop", vec![span(1, 1, 0, "GET /first")]).encode_to_vec();
    assert_eq!(post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body).status, 200);
    page.wait_for_address("/explore");
    page.wait_for_text("GET /first");
}
