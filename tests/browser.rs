//! Tests of the UI in a real Chromium against the real server. A test fails on any console error
//! and on any violation of the content security policy that it does not expect.

use prost::Message;
use serde_json::{Value as Json, json};
use tidings_proto::otlp::{KeyValue, Status};

use crate::harness::{
    Server,
    browser::Browser,
    http::post,
    spans::{log, logs, span, traces},
};

mod accessibility;
mod actions;
mod culprit;
mod explore;
mod explore_groups;
mod hostile;
mod incidents;
mod keys;
mod layout;
mod logs;
mod page_objects;
mod pages;
mod responsiveness;
mod screenshots;
mod settings;
mod speed;
mod trace;
mod trace_page;

/// Expression that is true when no part of a page waits for its first answer or shows an outdated
/// one.
const SETTLED: &str = "!document.querySelector(
    'main [role=status][aria-label^=Loading], main .is-stale')";

/// Reports whether the documented limits of time and memory are required: `LIMITS=strict`, for a
/// release build that has the machine for itself.
fn are_limits_strict() -> bool {
    std::env::var("LIMITS").is_ok_and(|limits| limits == "strict")
}

/// Clicks the first button or link with this text.
fn click_text(browser: &mut Browser, text: &str) {
    let found = format!(
        "[...document.querySelectorAll('button, a, [role=tab]')].find(e => e.innerText.trim().startsWith({}))",
        json!(text)
    );
    click(browser, &found);
}

/// Waits until an expression finds an element, and clicks it. One expression does both, because the
/// page may redraw the element in between.
fn click(browser: &mut Browser, found: &str) {
    browser.wait_for(&format!("(found => found && (found.click(), true))({found})"));
}

fn count(browser: &mut Browser, selector: &str) -> u64 {
    let count = browser.evaluate(&format!("document.querySelectorAll({}).length", json!(selector)));
    count.as_u64().unwrap()
}

#[test]
fn a_newcomer_gets_from_welcome_to_the_logs_of_a_span() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    browser.prefer("dark");
    browser.open(&format!("http://{}/", server.http));
    browser.wait_for_text("Waiting for the first span");
    browser.wait_for_text(&server.otlp_grpc);
    browser.screenshot("welcome-dark");
    click_text(&mut browser, "Send demo traffic");
    browser.wait_for("location.pathname === '/explore'");
    browser.wait_for("document.querySelectorAll('.traces-row').length >= 10");
    browser.screenshot("explore-dark");

    let declined = |json: &Json| json["traces"].as_array().is_some_and(|traces| !traces.is_empty());
    let search = "service=payment&status=error&operation=Payment.Authorize";
    server.wait_for(&format!("/api/v1/traces?{search}"), declined);
    browser.open(&format!("http://{}/explore?{search}&live=off", server.http));
    browser.wait_for("document.querySelectorAll('.traces-row').length > 0");
    browser.press("j");
    browser.press("Enter");
    browser.wait_for("location.pathname.startsWith('/trace/')");
    browser.wait_for("document.querySelectorAll('.wf-scroll .wf-line').length > 10");
    let id = browser.evaluate("location.pathname.split('/')[2]");
    let (_, view) = server.get(&format!("/api/v1/traces/{}", id.as_str().unwrap()));
    assert_eq!(view["state"], "failed", "{id} is not what was searched for");
    check_trace(&mut browser, &view);
}

/// Checks that the page of a declined checkout shows the values of the API.
fn check_trace(browser: &mut Browser, view: &Json) {
    browser.wait_for_text("POST /checkout");
    browser.wait_for_text("failed");
    let drawn = browser.evaluate("document.querySelector('.trace-head').innerText");
    let drawn = drawn.as_str().unwrap();
    for (count, word) in [("spanCount", "spans"), ("errorCount", "errors")] {
        let wanted = view[count].to_string();
        assert!(drawn.contains(&wanted), "{wanted} {word} in {drawn}");
    }
    assert!(count(browser, ".wf-critical") > 3, "the critical path is not drawn");
    assert!(count(browser, ".wf-error") > 2, "errors are not marked");
    browser.screenshot("trace-dark");
    browser.prefer("light");
    browser.screenshot("trace-light");
    browser.prefer("dark");

    let line = "[...document.querySelectorAll('.wf-line')].find(e => e.innerText.includes('Payment.Authorize') \
                && e.innerText.includes('payment'))";
    browser.evaluate(&format!("{line}.click()"));
    browser.wait_for("document.querySelector('.span-panel')");
    for text in ["CardDeclined", "order.id", "northpay", "service.version", "authorizing order="] {
        browser.wait_for_text(text);
    }
    assert!(
        browser.evaluate("location.search").as_str().unwrap().contains("span"),
        "not in the address"
    );
    browser.screenshot("span-dark");
    browser.press("Escape");
    browser.press("c");
    browser.wait_for("document.querySelector('.wf-no-path')");
    browser.press("c");

    click_text(browser, "Logs");
    browser.wait_for_text("card declined order=");
    browser.screenshot("trace-logs-dark");
    let address = browser.evaluate("location.origin");
    browser.open(&format!("{}/logs?text=declined", address.as_str().unwrap()));
    browser.wait_for("document.querySelectorAll('.log').length > 0");
    browser.wait_for_text("card declined order=");
    browser.screenshot("logs-dark");
    browser.prefer("light");
    browser.screenshot("logs-light");
}

#[test]
fn anything_pasted_into_the_box_is_found() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1280, 800) else { return };
    let trace = 0x4f1c_2ab0_9de8_4f6e_a7b3_c1d2_e5f6_0718_u128;
    let mut root = span(trace, 0x51, 0, "POST /orders");
    root.attributes.push(KeyValue::new("order.id", "A-20931"));
    post(
        &server.otlp_http,
        "/v1/traces",
        "application/x-protobuf",
        traces("shop", vec![root]).encode_to_vec(),
    );
    for text in [
        "4F1C2AB0-9DE8-4F6E-A7B3-C1D2E5F60718",
        "traceparent: 00-4f1c2ab09de84f6ea7b3c1d2e5f60718-0000000000000051-01",
        "A-20931",
    ] {
        browser.open(&format!("http://{}/explore", server.http));
        browser.wait_for("document.querySelectorAll('.traces-row').length === 1");
        browser.press("/");
        browser.wait_for("document.activeElement && document.activeElement.tagName === 'INPUT'");
        browser.type_text(text);
        browser.press("Enter");
        browser.wait_for("location.pathname === '/trace/4f1c2ab09de84f6ea7b3c1d2e5f60718'");
        browser.wait_for_text("POST /orders");
    }
}

#[test]
fn hostile_telemetry_stays_text() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1280, 800) else { return };
    let evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>\u{202e}";
    let mut root = span(66, 1, 0, evil);
    root.attributes = vec![
        KeyValue::new(evil, evil),
        KeyValue::new("url.full", "javascript:document.title='owned'"),
    ];
    root.status = Some(Status { message: evil.to_owned(), code: 2 });
    post(
        &server.otlp_http,
        "/v1/traces",
        "application/x-protobuf",
        traces(evil, vec![root]).encode_to_vec(),
    );
    post(
        &server.otlp_http,
        "/v1/logs",
        "application/x-protobuf",
        logs(evil, vec![log(66, 1, evil)]).encode_to_vec(),
    );
    for path in ["/explore", "/logs", &format!("/trace/{:032x}?span=0000000000000001", 66)] {
        browser.open(&format!("http://{}{path}", server.http));
        browser.wait_for_text("<img src=x");
        let elements = browser.evaluate(
            "document.querySelectorAll('img, [onerror], a[href^=\"javascript:\"], body script').length",
        );
        assert_eq!(elements, 0, "{path}");
        assert_ne!(browser.evaluate("document.title"), "owned");
    }
}

#[test]
fn empty_and_missing_states_are_described_in_words() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1280, 800) else { return };
    browser.expect_refusals(400, "/api/v1/");
    browser.expect_refusals(404, "/api/v1/traces/");
    post(
        &server.otlp_http,
        "/v1/traces",
        "application/x-protobuf",
        traces("shop", vec![span(1, 1, 0, "GET /")]).encode_to_vec(),
    );
    browser.open(&format!("http://{}/explore?service=nobody", server.http));
    browser.wait_for("document.querySelector('.state')");
    browser.screenshot("explore-empty");
    browser.open(&format!("http://{}/logs", server.http));
    browser.wait_for("document.querySelector('.state')");
    for (path, words, kept) in
        [("/explore?min=fast", "minDuration", "fast"), ("/logs?trace=mine", "traceId", "mine")]
    {
        browser.open(&format!("http://{}{path}", server.http));
        browser.wait_for("document.querySelector('.state-error')");
        browser.wait_for_text(words);
        browser.wait_for(&format!(
            "[...document.querySelectorAll('.chip-value')].some(e => e.innerText === '{kept}')"
        ));
    }
    browser.open(&format!("http://{}/trace/{:032x}", server.http, 99));
    browser.wait_for("document.querySelector('.state')");
    browser.screenshot("trace-missing");
}

fn send_logs(server: &Server, records: Vec<tidings_proto::otlp::LogRecord>) {
    let request = logs("shop", records).encode_to_vec();
    assert_eq!(post(&server.otlp_http, "/v1/logs", "application/x-protobuf", request).status, 200);
}

/// Text of the first line of the list.
const FIRST_LINE: &str = "(document.querySelector('.log')?.innerText ?? '')";

#[test]
fn the_tail_of_the_log_is_drawn_as_it_comes() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_logs(&server, vec![log(1, 1, "before the tail")]);
    browser.prefer("dark");
    browser.open(&format!("http://{}/logs?live=off", server.http));
    browser.wait_for("document.querySelectorAll('.log').length === 1");
    browser.press("t");
    browser.wait_for("location.search.includes('tail=on')");
    browser.wait_for_text("Waiting for the next record");
    send_logs(&server, vec![log(2, 2, "first of the tail"), log(3, 3, "second of the tail")]);
    browser.wait_for("document.querySelectorAll('.log').length === 3");
    browser.wait_for_text("2 records since the tail began");
    let all = browser.evaluate("[...document.querySelectorAll('.log')].map(e => e.innerText)");
    assert!(all[2].as_str().unwrap().contains("before the tail"), "{all}");
    browser.screenshot("logs-tail-dark");

    // New records do not move the list while the reader has a record open.
    browser.press("j");
    browser.wait_for("document.querySelector('.log.is-open')");
    send_logs(&server, vec![log(4, 4, "while a record is open")]);
    browser.wait_for_text("1 record more while you read");
    assert_eq!(count(&mut browser, ".log"), 3);
    browser.press("Escape");
    browser.wait_for(&format!("{FIRST_LINE}.includes('while a record is open')"));

    // The stream sends fewer records at once than these. The page reports the number of skipped
    // records.
    send_logs(&server, (0..700).map(|number| log(5, 5, &format!("burst {number}"))).collect());
    browser.wait_for(
        "document.querySelector('.tail-skipped')?.innerText.startsWith('200 records skipped')",
    );
    browser.wait_for("document.querySelectorAll('.log').length >= 503");
    browser.screenshot("logs-tail-burst-dark");
    browser.prefer("light");
    browser.screenshot("logs-tail-burst-light");

    // A hidden tab receives no records. It shows the missed ones when it is visible again.
    let hide = |hidden: bool| {
        format!(
            "Object.defineProperty(document, 'hidden', {{ get: () => {hidden}, configurable: true }}); \
             document.dispatchEvent(new Event('visibilitychange', {{ bubbles: true }}))"
        )
    };
    browser.evaluate(&hide(true));
    browser.wait_for_text("paused while this tab is hidden");
    send_logs(&server, vec![log(6, 6, "while the tab is hidden")]);
    browser.evaluate(&hide(false));
    browser.wait_for(&format!("{FIRST_LINE}.includes('while the tab is hidden')"));

    // The address alone restores the live tail. The switch ends it.
    let address = browser.evaluate("location.href");
    browser.open(address.as_str().unwrap());
    browser.wait_for_text("Waiting for the next record");
    send_logs(&server, vec![log(7, 7, "after a reload")]);
    browser.wait_for(&format!("{FIRST_LINE}.includes('after a reload')"));
    click_text(&mut browser, "Tail");
    browser.wait_for("!document.querySelector('.tail-note') && !location.search.includes('tail')");
}

#[test]
fn the_lines_around_a_record_are_drawn_below_it() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let begin = crate::harness::spans::now() - 60_000_000_000;
    let said = |number: u64| tidings_proto::otlp::LogRecord {
        time_unix_nano: begin + number * 1_000_000,
        ..log(u128::from(number), number, &format!("line {number:02} of thirty"))
    };
    send_logs(&server, (1..=30).map(said).collect());
    browser.prefer("dark");
    browser.open(&format!("http://{}/logs?text=line%2015&live=off", server.http));
    browser.wait_for("document.querySelectorAll('.log').length === 1");
    browser.press("j");
    browser.press("c");
    let lines = "[...document.querySelectorAll('.around-line')].map(e => e.innerText)";
    browser.wait_for(&format!("{lines}.length === 21"));
    let drawn = browser.evaluate(lines);
    let drawn = drawn.as_array().unwrap().iter().map(|line| line.as_str().unwrap());
    for (number, line) in (5..).zip(drawn) {
        assert!(line.contains(&format!("line {number:02} of thirty")), "{number}: {line}");
    }
    let this = browser.evaluate("document.querySelector('.around-line.is-this').innerText");
    assert!(this.as_str().unwrap().contains("line 15"), "{this}");
    browser.screenshot("logs-around-dark");
    click_text(&mut browser, "50");
    browser.wait_for(&format!("{lines}.length === 30"));
    browser.wait_for_text("No earlier lines");
    browser.wait_for("location.search.includes('around=50')");
    let address = browser.evaluate("location.href");
    browser.prefer("light");
    browser.open(address.as_str().unwrap());
    browser.wait_for(&format!("{lines}.length === 30"));
    browser.screenshot("logs-around-light");
    browser.press("c");
    browser.wait_for(&format!("{lines}.length === 0"));
    assert_eq!(count(&mut browser, ".log.is-open"), 1);
}

#[test]
fn a_trace_is_pinned_with_a_note_and_unpinned_again() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1280, 800) else { return };
    let body = traces("shop", vec![span(1, 1, 0, "POST /checkout")]).encode_to_vec();
    post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body);
    let page = format!("http://{}/trace/{:032x}", server.http, 1);
    let pressed = |is: bool| {
        format!("document.querySelector('.trace-pin[aria-pressed=\"{is}\"]:not(:disabled)')")
    };
    browser.open(&page);
    browser.wait_for(&pressed(false));
    // Escape removes the field without pinning the trace.
    for way_out in ["Escape", "Enter"] {
        click_text(&mut browser, "Pin");
        browser.wait_for("document.activeElement.classList.contains('trace-pin-field')");
        browser.type_text("<b>lost</b> an order");
        browser.press(way_out);
        browser.wait_for("!document.querySelector('.trace-pin-field')");
    }
    browser.wait_for(&pressed(true));
    browser.wait_for_text("<b>lost</b> an order");
    browser.screenshot("trace-pinned");
    let (_, pins) = server.get("/api/v1/pins");
    assert_eq!(pins["pins"][0]["note"], "<b>lost</b> an order");
    browser.open(&page);
    browser.wait_for(&pressed(true));
    click_text(&mut browser, "Pinned");
    browser.wait_for(&pressed(false));
    assert_eq!(server.get("/api/v1/pins").1["pins"], json!([]));
}
