//! The page of a trace: its rank within its type, its repeated calls, its details on a phone, and
//! navigation to pages from the search box.

use prost::Message;
use tidings_proto::otlp::{KeyValue, Span};

use super::{click, count, page_objects::TracePage, send_logs};
use crate::harness::{
    Server,
    browser::Browser,
    http::post,
    spans::{log, now, span, traces},
};

/// Number of checkouts. The first takes 210 ms, and each next one takes 10 ms more.
const CHECKOUTS: u64 = 25;

fn send_checkouts(server: &Server) {
    let begin = now() - 120_000_000_000;
    let spans = (1..=CHECKOUTS).flat_map(|trace| {
        let start = begin + trace * 1_000_000_000;
        let at = move |id: u64, parent: u64, name: &str, from: u64, millis: u64| Span {
            start_time_unix_nano: start + from * 1_000_000,
            end_time_unix_nano: start + (from + millis) * 1_000_000,
            ..span(u128::from(trace), trace * 100 + id, parent, name)
        };
        let mut root = at(1, 0, "POST /checkout", 0, trace * 10 + 200);
        root.attributes.push(KeyValue::new("order.id", format!("A-{}", 20_900 + trace).as_str()));
        let calls = (0..10).map(move |call| {
            at(2 + call, trace * 100 + 1, "SELECT items", call * 20, if call == 9 { 15 } else { 2 })
        });
        std::iter::once(root).chain(calls)
    });
    let body = traces("shop", spans.collect()).encode_to_vec();
    assert_eq!(post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body).status, 200);
}

#[test]
fn a_trace_says_how_unusual_it_is_and_what_a_run_of_calls_took() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_checkouts(&server);
    browser.prefer("dark");
    browser.open(&format!("http://{}/trace/{CHECKOUTS:032x}", server.http));
    browser.wait_for(
        "document.querySelector('.trace-percentile')?.innerText\
         .includes('slower than 96 % of its type')",
    );
    browser.wait_for_text("×10");
    let run = browser.evaluate("document.querySelector('.wf-run .wf-figures').innerText");
    assert_eq!(run, "p50 2.00 ms p99 15.0 ms Σ 33.0 ms");
    browser.screenshot("trace-percentile-dark");
    browser.evaluate("document.querySelector('.trace-percentile').click()");
    browser.wait_for("location.pathname.startsWith('/transactions/shop/')");
}

#[test]
fn calls_in_rotation_are_a_row_for_each_operation_with_whole_figures() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1280, 800) else { return };
    let start = now() - 120_000_000_000;
    let at = |id: u64, parent: u64, name: &str, from: u64, micros: u64| Span {
        start_time_unix_nano: start + from * 1_000,
        end_time_unix_nano: start + (from + micros) * 1_000,
        ..span(1, id, parent, name)
    };
    let calls = (0..250_u64).map(|call| {
        let name = format!("SELECT payment_methods WHERE shard = {}", call % 5);
        at(2 + call, 1, &name, call * 1_600, 1_500)
    });
    let spans = std::iter::once(at(1, 0, "POST /checkout", 0, 400_000)).chain(calls);
    let body = traces("shop", spans.collect()).encode_to_vec();
    assert_eq!(post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body).status, 200);
    browser.open(&format!("http://{}/trace/{:032x}?span={:016x}", server.http, 1, 1));
    browser.wait_for("document.querySelector('.span-panel')");
    browser.wait_for("document.querySelectorAll('.wf-scroll .wf-line').length === 6");
    assert_eq!(count(&mut browser, ".wf-run"), 5);
    let cut = browser.evaluate(
        "[...document.querySelectorAll('.wf-run .wf-figures')]\
         .filter(of => of.scrollWidth > of.clientWidth).length",
    );
    assert_eq!(cut, 0, "p50, p99 and the sum are read whole beside the details");
}

#[test]
fn a_phone_opens_the_details_of_a_span_that_the_address_names_or_a_tap_selects() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 390, 844) else { return };
    send_checkouts(&server);
    let trace = format!("http://{}/trace/{CHECKOUTS:032x}", server.http);
    let lines = "document.querySelectorAll('.wf-scroll .wf-line').length > 1";
    browser.open(&format!("{trace}?span={:016x}", CHECKOUTS * 100 + 1));
    browser.wait_for(lines);
    browser.wait_for("document.querySelector('.span-panel')");

    browser.open(&trace);
    browser.wait_for(lines);
    browser.wait_for("location.search.includes('panel=0')");
    assert_eq!(count(&mut browser, ".span-panel"), 0);
    click(&mut browser, "document.querySelector('.wf-scroll .wf-line')");
    browser.wait_for("document.querySelector('.span-panel')");
}

/// Sends a payment of 1,000 ms. It waits 626 ms for a database, through another service, and 295 ms
/// for an outside system.
fn send_payment(server: &Server) {
    let begin = now() - 60_000_000_000;
    let at = |id: u64, parent: u64, name: &str, [from, until]: [u64; 2]| Span {
        start_time_unix_nano: begin + from * 1_000_000,
        end_time_unix_nano: begin + until * 1_000_000,
        ..span(0x9a7, id, parent, name)
    };
    let call = |span: Span, peer: &[(&str, &str)]| Span {
        kind: 3,
        attributes: peer.iter().map(|(key, value)| KeyValue::new(*key, *value)).collect(),
        ..span
    };
    let payment = vec![
        at(1, 0, "Payment.Authorize", [0, 1_000]),
        call(at(2, 1, "Fraud.Score", [10, 640]), &[]),
        call(at(5, 1, "POST /charge", [650, 945]), &[("peer.service", "northpay")]),
    ];
    let database = [("db.system.name", "postgresql"), ("server.address", "fraud-db")];
    let fraud = vec![
        at(3, 2, "Fraud.Score", [10, 640]),
        call(at(4, 3, "SELECT rules", [12, 638]), &database),
    ];
    for (service, spans) in [("payment", payment), ("fraud", fraud)] {
        let body = traces(service, spans).encode_to_vec();
        let answer = post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body);
        assert_eq!(answer.status, 200);
    }
}

#[test]
fn parts_of_the_time_show_the_longest_name_that_has_room() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_payment(&server);
    let fraud = "fraud waiting for fraud-db 62.6 %";
    for width in [1440, 390] {
        browser.resize(width, 900);
        let mut trace = TracePage::open(&mut browser, &server, &format!("{:032x}", 0x9a7));
        let names = trace.names_in_strip();
        assert_eq!(names.len(), 3, "{names:?}");
        assert_eq!(names[0], fraud, "{width}");
        let is_whole = names[2] == "payment waiting for northpay 29.5 %";
        assert_eq!((is_whole, names[2].contains("northpay")), (width == 1440, true), "{names:?}");
        assert!(names.iter().all(|name| !name.ends_with("CUT")), "{names:?}");
        browser.screenshot(&format!("trace-strip-{width}"));
    }
}

/// Types into the search box until the suggestions include one of this kind. Marks none of them.
fn offered(browser: &mut Browser, text: &str, kind: &str) {
    browser.press("/");
    browser.wait_for("document.activeElement?.id === 'omni'");
    browser.evaluate("document.activeElement.select()");
    browser.type_text(text);
    browser.wait_for(&format!(
        "[...document.querySelectorAll('.omni-names .suggest-hint')].some(e => e.innerText === '{kind}')"
    ));
}

#[test]
fn the_box_completes_values_of_well_known_attributes() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut root = span(0x5ea, 1, 0, "GET /items");
    let known =
        [("host.name", "node-3"), ("service.version", "v2.4.1"), ("cloud.region", "eu-west-1")];
    root.attributes.extend(known.map(|(key, value)| KeyValue::new(key, value)));
    let body = traces("shop", vec![root]).encode_to_vec();
    assert_eq!(post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body).status, 200);
    browser.open(&format!("http://{}/explore", server.http));
    browser.wait_for("document.querySelectorAll('.traces-row').length === 1");
    for (text, key) in
        [("node-3", "host.name"), ("v2.4.1", "service.version"), ("eu-west", "cloud.region")]
    {
        offered(&mut browser, text, key);
    }
    browser.press("Enter");
    browser.wait_for("decodeURIComponent(location.search).includes('attr=cloud.region=eu-west-1')");
    browser.wait_for("document.querySelectorAll('.traces-row').length === 1");
}

#[test]
fn the_box_leads_to_types_values_patterns_and_queries() {
    let server = Server::start_with(&["--transaction-keys", "order.id"]);
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_checkouts(&server);
    send_logs(&server, vec![log(1, 101, "warehouse answered slowly")]);
    browser.open(&format!("http://{}/explore", server.http));
    browser.wait_for("document.querySelectorAll('.traces-row').length > 0");

    offered(&mut browser, "A-209", "order.id");
    offered(&mut browser, "order.id=A-2090", "order.id");
    offered(&mut browser, "warehouse", "log pattern");
    browser.press("Enter");
    browser.wait_for("location.pathname === '/logs' && location.search.includes('warehouse')");
    offered(&mut browser, "SELECT", "operation");
    // An operation that begins a trace is a transaction type.
    offered(&mut browser, "POST", "transaction of shop");
    browser.screenshot("omni-names");
    browser.press("Enter");
    browser.wait_for("location.pathname === '/transactions/shop/POST%20%2Fcheckout'");

    browser.press("/");
    browser.wait_for("document.activeElement?.id === 'omni'");
    browser.evaluate("document.activeElement.select()");
    browser.type_text("{ name = \"SELECT items\" && duration > 10ms }");
    browser.press("Enter");
    browser.wait_for("location.pathname === '/explore' && location.search.includes('q=')");
    browser.wait_for("document.querySelectorAll('.traces-row').length === 25");
}
