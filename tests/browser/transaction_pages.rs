//! Transactions, their types, the map, errors, comparison, a transaction and the tabs of a trace:
//! one incident, looked at on every page that says something about it.

use prost::Message;
use serde_json::json;
use tidings_proto::otlp::{Event, KeyValue, Span, Status};

use super::{click_text, count};
use crate::harness::{
    Server,
    browser::Browser,
    http::post,
    spans::{log, logs, now, span, traces},
};

const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;
/// A failed and slow transaction of the incident.
const FAILED: u128 = 0x2000;
const STACK: &str = "CardDeclined: no answer\n\tat shop.pay.Card.check(Card.java:12)\n\
                     \tat java.base/java.lang.Thread.run(Thread.java:833)";

/// A span from and to these milliseconds after the start of its trace.
fn call(trace: u128, id: u64, parent: u64, name: &str, start: u64, [from, to]: [u64; 2]) -> Span {
    Span {
        start_time_unix_nano: start + from * MILLI,
        end_time_unix_nano: start + to * MILLI,
        ..span(trace, id, parent, name)
    }
}

/// A checkout: the shop calls payment, which asks a bank that sends no spans.
fn checkout(trace: u128, start: u64, bank_ms: u64, failed: bool) -> (Vec<Span>, Vec<Span>) {
    let end = bank_ms + 20;
    let mut root = call(trace, 1, 0, "POST /checkout", start, [0, end]);
    root.attributes = vec![KeyValue::new("order.id", &*format!("A-{trace:x}"))];
    let mut pay = call(trace, 3, 2, "Pay.charge", start, [4, end - 4]);
    let mut bank = call(trace, 4, 3, "POST bank", start, [6, 6 + bank_ms]);
    bank.kind = 3;
    bank.attributes = vec![KeyValue::new("peer.service", "bank")];
    if failed {
        let status = Some(Status { message: "no answer".to_owned(), code: 2 });
        root.status.clone_from(&status);
        pay.status = status;
        pay.events = vec![Event {
            time_unix_nano: start + (end - 5) * MILLI,
            name: "exception".to_owned(),
            attributes: vec![
                KeyValue::new("exception.type", "CardDeclined"),
                KeyValue::new("exception.message", "no answer"),
                KeyValue::new("exception.stacktrace", STACK),
            ],
            ..Event::default()
        }];
    }
    let mut client = call(trace, 2, 1, "Pay.charge", start, [2, end - 2]);
    client.kind = 3;
    (vec![root, client], vec![pay, bank])
}

/// Forty checkouts of the hour before last as usual, and forty of now, slower, one in four failed.
fn incident(server: &Server) {
    let (mut shop, mut payment) = (Vec::new(), Vec::new());
    let mut add = |(root, called): (Vec<Span>, Vec<Span>)| {
        shop.extend(root);
        payment.extend(called);
    };
    for at in 0..40_u64 {
        add(checkout(0x1000 + u128::from(at), now() - (5_400 - at) * SECOND, 20 + at % 3, false));
        let failed = at % 4 == 0;
        let bank_ms = if failed { 400 } else { 90 + at % 5 };
        add(checkout(FAILED + u128::from(at), now() - (600 - at) * SECOND, bank_ms, failed));
    }
    let send = |path: &str, body: Vec<u8>| {
        assert_eq!(post(&server.otlp_http, path, "application/x-protobuf", body).status, 200);
    };
    send("/v1/traces", traces("shop", shop).encode_to_vec());
    send("/v1/traces", traces("payment", payment).encode_to_vec());
    let record = log(FAILED, 3, "charge timed out order=A-2000");
    send("/v1/logs", logs("payment", vec![record]).encode_to_vec());
}

fn text_of(browser: &mut Browser, selector: &str) -> String {
    let text = format!("document.querySelector({}).innerText", json!(selector));
    browser.evaluate(&text).as_str().unwrap().to_owned()
}

/// Gives an element the focus.
fn focus(browser: &mut Browser, selector: &str) {
    let found = format!("document.querySelector({})", json!(selector));
    browser.wait_for(&found);
    browser.evaluate(&format!("{found}.focus()"));
}

#[test]
fn a_slow_transaction_type_is_followed_to_its_cause() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    incident(&server);
    browser.open(&format!("http://{}/transactions?live=off", server.http));
    browser.wait_for("document.querySelectorAll('.types tbody tr').length === 1");
    browser.wait_for_text("changed most");
    browser.screenshot("transactions-dark");
    browser.evaluate("document.querySelector('.types tbody tr').click()");
    browser.wait_for("location.pathname === '/transactions/shop/POST%20%2Fcheckout'");
    browser.wait_for("document.querySelectorAll('.chart').length === 3");
    browser.wait_for("document.querySelectorAll('#all-0, #some-0').length === 2");
    assert!(text_of(&mut browser, ".page-facts").contains("25.0 % failed, was 0 %"));
    browser.wait_for("document.querySelectorAll('.sentence')[0].innerText.includes('p95 is')");
    browser.screenshot("transaction-type-dark");
    focus(&mut browser, "#all-0");
    browser.press("ArrowDown");
    browser.wait_for("document.activeElement.id === 'all-1'");
    click_text(&mut browser, "Failed");
    browser.wait_for("location.search.includes('basis=failed')");
    browser.wait_for_text("What the failed ones have in common");
    // The arrow keys read a chart, Enter looks at the step alone.
    focus(&mut browser, ".chart-plot");
    browser.press("End");
    browser.wait_for("document.querySelector('.chart-pointed')");
    browser.press("Enter");
    browser.wait_for("/from=\\d+&to=\\d+/.test(location.search)");
    browser.assert_no_errors();
}

#[test]
fn the_map_is_walked_by_keyboard_and_narrowed_to_a_service() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    incident(&server);
    browser.open(&format!("http://{}/map?live=off", server.http));
    browser.wait_for("document.querySelectorAll('.network-node').length === 4");
    browser.wait_for_text("changed most");
    assert_eq!(count(&mut browser, ".network-node.is-outside"), 1, "the bank sends no spans");
    browser.screenshot("map-dark");
    focus(&mut browser, "#network-node-0");
    browser.press("ArrowRight");
    browser.press("Enter");
    browser.wait_for("location.search.includes('node=service:shop')");
    assert!(text_of(&mut browser, ".map-panel").contains("Calls"));
    browser.press("f");
    browser.wait_for("location.search.includes('focus=service:shop')");
    browser.wait_for("document.querySelectorAll('.network-node').length === 3");
    browser.press("Escape");
    browser.press("Escape");
    browser.wait_for("document.querySelectorAll('.network-node').length === 4");
    browser.assert_no_errors();
}

#[test]
fn a_new_exception_and_its_trace_are_looked_at_from_all_sides() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    incident(&server);
    browser.open(&format!("http://{}/errors?live=off", server.http));
    browser.wait_for_text("One kind is new: CardDeclined of payment.");
    browser.press("j");
    browser.wait_for("document.querySelector('.stack')");
    assert!(text_of(&mut browser, ".stack").contains("1 frame of java.lang"));
    browser.wait_for("document.querySelectorAll('.errors-side tbody tr').length > 0");
    browser.screenshot("errors-dark");

    let trace = format!("{FAILED:032x}");
    browser.open(&format!("http://{}/compare?left={trace}&right=typical", server.http));
    browser.wait_for_text("longer than typical");
    browser.wait_for("document.querySelectorAll('.lanes-table tbody tr').length === 4");
    assert_eq!(count(&mut browser, ".lane-ghost"), 4);
    browser.screenshot("compare-dark");

    browser.open(&format!("http://{}/tx/A-2000", server.http));
    browser.wait_for_text("Failed after 420 ms, in 1 trace.");
    browser.wait_for_text("charge timed out order=A-2000");
    browser.screenshot("transaction-dark");

    for (tab, drawn) in [
        ("flame", "document.querySelectorAll('.frame').length === 4"),
        ("tree", "document.querySelectorAll('.tree-table tbody tr').length === 4"),
        ("table", "document.querySelectorAll('.tab-main tbody tr').length === 4"),
        ("graph", "document.querySelectorAll('.network-node').length === 3"),
    ] {
        browser.open(&format!("http://{}/trace/{trace}?tab={tab}", server.http));
        browser.wait_for(drawn);
        browser.screenshot(&format!("trace-{tab}-dark"));
    }
    browser.assert_no_errors();
}
