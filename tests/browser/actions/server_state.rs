//! States of the server that pages report: no answer, a process that hangs, an id that it does not
//! know, a store without data, and the data files of a flush.

use std::time::Duration;

use prost::Message;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::incident;
use crate::{
    browser::page_objects::Page,
    harness::{
        Server,
        browser::Browser,
        http::post,
        spans::{log, logs, span, traces},
    },
};

/// Makes requests to the API fail, as without a server, or lets them through again.
fn block_api(browser: &mut Browser, is_blocked: bool) {
    let urls = if is_blocked { json!(["*/api/v1/*"]) } else { json!([]) };
    browser.command("Network.setBlockedURLs", json!({ "urls": urls }));
}

#[test]
fn unreachable_server_is_shown_until_it_answers_again() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    browser.expect_errors("ERR_BLOCKED_BY_CLIENT");
    let mut page = Page::open(&mut browser, &server, "/explore");
    page.wait_for_rows("Traces");
    let live = "document.querySelector('.live')";
    page.wait_for(&format!("{live}?.innerText.startsWith('Live')"));
    block_api(page.browser, true);
    page.wait_for(&format!("{live}.innerText.trim() === 'No answer'"));
    page.wait_for_text("Tidings does not answer.");
    page.wait_for(&format!("{live}.title.startsWith('The server does not answer')"));
    block_api(page.browser, false);
    page.wait_for(&format!("{live}.innerText.startsWith('Live')"));
    page.wait_for("!document.querySelector('.notice-error')");
    page.wait_for(&format!("!{live}.classList.contains('is-silent')"));
    page.wait_for_rows("Traces");
}

/// Stops the process of a server, whose requests then hang, or lets it go on.
fn send_signal(server: &Server, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

#[test]
fn hanging_server_is_shown_until_it_answers_again() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1280, 800) else { return };
    let body = traces("shop", vec![span(1, 1, 0, "GET /first")]).encode_to_vec();
    assert_eq!(post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body).status, 200);
    let mut page = Page::open(&mut browser, &server, "/explore");
    page.wait_for_rows("Traces");
    let live = "document.querySelector('.live')";
    page.wait_for(&format!("{live}?.innerText.startsWith('Live')"));
    send_signal(&server, Signal::STOP);
    let is_silent = format!("{live}.innerText.trim() === 'No answer'");
    page.browser.wait_at_most(Duration::from_secs(20), &is_silent);
    page.wait_for_text("Tidings does not answer.");
    // A panel whose first answer hangs says that it waits.
    page.browser.evaluate("document.querySelector('.nav a[href^=\"/errors\"]').click()");
    page.wait_for_address("/errors");
    page.wait_for("document.querySelector('main .loading-words')");
    page.wait_for_text("Tidings does not answer.");
    send_signal(&server, Signal::CONT);
    page.wait_for("!document.querySelector('.notice-error')");
    page.wait_for("!document.querySelector('.live.is-silent')");
    page.wait_until_settled();
    page.wait_for_text("No exception was recorded in this time.");
}

/// Changes what the browser gets as the status: all records arrived this many seconds ago.
fn arrivals_ended(seconds: u64) -> String {
    format!(
        r"const fetched = window.fetch;
        window.fetch = async (request, ...rest) => {{
            const answer = await fetched(request, ...rest);
            if (!(request.url ?? String(request)).includes('/api/v1/status')) return answer;
            const status = await answer.json();
            const last = `${{Date.now() - {seconds}000}}000000`;
            status.spans.lastReceivedUnixNano = status.logs.lastReceivedUnixNano = last;
            return new Response(JSON.stringify(status), {{
                headers: {{ 'content-type': 'application/json' }},
            }});
        }};
        true"
    )
}

#[test]
fn pages_and_the_live_switch_say_since_when_nothing_arrives() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1280, 800) else { return };
    let send = |trace: u128| {
        let body = traces("shop", vec![span(trace, 1, 0, "GET /first")]).encode_to_vec();
        let answer = post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body);
        assert_eq!(answer.status, 200);
    };
    send(1);
    let live = "document.querySelector('.live')";
    for (path, records) in
        [("/map", "spans"), ("/explore", "spans"), ("/logs", "log records"), ("/system", "spans")]
    {
        let mut page = Page::open(&mut browser, &server, path);
        page.wait_for("document.querySelector('main h1, main .bar')");
        page.browser.evaluate(&arrivals_ended(130));
        page.wait_for(&format!(
            r"/^No {records} arrived since \d\d:\d\d:\d\d \(2 min\)$/
                .test(document.querySelector('.arrival-gap')?.innerText.trim())"
        ));
        if path != "/system" {
            page.wait_for(&format!("{live}.innerText.trim() === 'Live, no data for 2 min'"));
            page.wait_for(&format!("{live}.classList.contains('has-gap')"));
        }
    }
    let mut page = Page::open(&mut browser, &server, "/");
    let card = "document.querySelector('[aria-label=\"Arriving now\"]')";
    page.wait_for(card);
    page.browser.evaluate(&arrivals_ended(130));
    page.wait_for(&format!(
        "/^No spans arrived since .* \\(2 min\\)$/ \
            .test({card}?.querySelector('.arrival-gap')?.innerText.trim())"
    ));
    page.wait_for(&format!("!{card}.innerText.includes('spans/s')"));
    page.wait_for(&format!("!{card}.innerText.includes('log records/s')"));
    // A short gap is not mentioned.
    send(2);
    let mut page = Page::open(&mut browser, &server, "/explore");
    page.wait_for(&format!("{live}?.innerText.trim() === 'Live'"));
    assert_eq!(page.browser.evaluate("!document.querySelector('.arrival-gap')"), json!(true));
    // Home says that none came lately, and draws those that come from zero on.
    let mut page = Page::open(&mut browser, &server, "/");
    page.wait_for(&format!("/No spans in the last [0-9]+ s/.test({card}?.innerText)"));
    assert_eq!(page.browser.evaluate(&format!("!{card}.querySelector('.spark')")), json!(true));
    send(3);
    page.wait_for(&format!("/0 \\(dashed\\) to [0-9.]+ spans\\/s/.test({card}?.innerText)"));
    page.wait_for(&format!("{card}.querySelector('.spark-before[d^=M]') !== null"));
}

#[test]
fn unknown_trace_id_is_reported_and_leads_to_the_search() {
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
    // There is no time to choose before the first data.
    page.wait_for("!document.querySelector('.header-tools :is(.menu, .live)')");
    let body = traces("shop", vec![span(1, 1, 0, "GET /first")]).encode_to_vec();
    assert_eq!(post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body).status, 200);
    page.wait_for_address("/explore");
    page.wait_for_text("GET /first");
    page.wait_for("document.querySelectorAll('.header-tools :is(.menu, .live)').length === 2");
}

#[test]
fn system_lists_the_data_files_of_a_flush_with_their_sizes() {
    let server = Server::start_with(&["--memory-flush-seconds", "1"]);
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    for (path, body) in [
        ("/v1/traces", traces("shop", vec![span(1, 1, 0, "GET /first")]).encode_to_vec()),
        ("/v1/logs", logs("shop", vec![log(1, 1, "the first record")]).encode_to_vec()),
    ] {
        assert_eq!(post(&server.otlp_http, path, "application/x-protobuf", body).status, 200);
    }
    let status = server.wait_for("/api/v1/status", |status| {
        let tables = status["storage"]["tables"].as_array();
        tables.is_some_and(|all| all.len() == 2 && all.iter().all(|table| table["files"] == 1))
    });
    let mut page = Page::open(&mut browser, &server, "/system");
    page.wait_for_rows("Files");
    assert_eq!(page.column("Files", 0), ["spans", "logs"]);
    assert_eq!(page.column("Files", 1), ["1", "1"], "rows");
    assert_eq!(page.column("Files", 2), ["1", "1"], "files");
    let sizes = page.column("Files", 3);
    for (table, size) in status["storage"]["tables"].as_array().unwrap().iter().zip(&sizes) {
        let (number, unit) = size.split_once(' ').unwrap();
        let unit_bytes = if unit == "KiB" { 1_024.0 } else { 1.0 };
        let shown = number.parse::<f64>().unwrap() * unit_bytes;
        let bytes = table["bytes"].as_f64().unwrap();
        assert!(bytes > 0.0 && (shown / bytes - 1.0).abs() < 0.01, "{size} of {table}");
    }
    page.browser.screenshot("system-files");
}
