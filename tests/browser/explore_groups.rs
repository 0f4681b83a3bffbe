//! Groups by any attribute, completion of TraceQL queries, differences of log patterns, and the
//! report of the System page to an operator.

use prost::Message;
use serde_json::json;
use tidings_proto::otlp::{KeyValue, LogRecord, Span};

use super::{click_text, count, send_logs};
use crate::harness::{
    Server,
    browser::Browser,
    http::post,
    spans::{log, now, span, traces},
};

const MINUTE: u64 = 60_000_000_000;

/// Sends calls of the last minutes. Two of three calls have a tier, and these are split evenly
/// between two tiers.
fn send_calls(server: &Server) {
    let call = |number: u64| {
        let start = now() - 5 * MINUTE + number * 1_000_000;
        let tier = match number % 3 {
            0 => vec![KeyValue::new("customer.tier", "gold")],
            1 => vec![KeyValue::new("customer.tier", "basic")],
            _ => Vec::new(),
        };
        Span {
            start_time_unix_nano: start,
            end_time_unix_nano: start + 20_000_000,
            attributes: tier,
            ..span(u128::from(number + 1), number + 1, 0, "POST /pay")
        }
    };
    let request = traces("payment", (0..90).map(call).collect()).encode_to_vec();
    let sent = post(&server.otlp_http, "/v1/traces", "application/x-protobuf", request);
    assert_eq!(sent.status, 200);
}

#[test]
fn spans_are_grouped_by_an_attribute_that_the_data_has() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_calls(&server);
    browser.open(&format!("http://{}/explore?live=off&range=15m", server.http));
    browser.wait_for("document.querySelector('.list-tools select')");
    browser.evaluate(
        "(() => { const s = document.querySelector('.list-tools select'); s.value = '+'; \
         s.dispatchEvent(new Event('change', { bubbles: true })); })()",
    );
    browser.wait_for("document.activeElement?.id === 'group-key'");
    browser.type_text("customer");
    browser.wait_for(
        "document.querySelector('#group-key-list .suggest-option')?.innerText.includes('customer.tier')",
    );
    browser.press("Enter");
    browser.wait_for("location.search.includes('group=attribute:customer.tier')");
    browser.wait_for("document.querySelectorAll('.groups tbody tr').length === 3");
    browser.wait_for("document.querySelector('.groups').innerText.includes('not set')");
    click_text(&mut browser, "gold");
    browser.wait_for("location.search.includes('attr=customer.tier%3Dgold')");
    browser.wait_for("document.querySelectorAll('.traces-row').length === 30");
}

#[test]
fn spans_of_a_structural_query_are_grouped_and_a_group_narrows_the_query() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    // Each third of nine requests asks another shard.
    let requests = (1..=9_u64).flat_map(|number| {
        let start = now() - 5 * MINUTE + number * 1_000_000;
        let of = |id: u64, parent: u64, name: &str| Span {
            start_time_unix_nano: start,
            end_time_unix_nano: start + 20_000_000,
            ..span(u128::from(number), id, parent, name)
        };
        let shard = if number.is_multiple_of(3) { "east" } else { "west" };
        let attributes = vec![KeyValue::new("shard", shard)];
        [of(1, 0, "POST /pay"), Span { attributes, ..of(2, 1, "SELECT cards") }]
    });
    let request = traces("payment", requests.collect()).encode_to_vec();
    let sent = post(&server.otlp_http, "/v1/traces", "application/x-protobuf", request);
    assert_eq!(sent.status, 200);
    let query = "q=%7B+name+%3D+%22POST+%2Fpay%22+%7D+%3E%3E+%7B+%7D";
    browser.open(&format!("http://{}/explore?live=off&range=15m&{query}", server.http));
    browser.wait_for("document.querySelectorAll('.traces-row').length === 9");
    browser.wait_for("document.querySelector('.list-tools select')");
    browser.open(&format!(
        "http://{}/explore?live=off&range=15m&group=attribute:shard&{query}",
        server.http
    ));
    let rows = "[...document.querySelectorAll('.groups tbody tr')]";
    browser.wait_for(&format!(
        "{rows}.map(e => e.cells[0].innerText.trim() + e.cells[1].innerText).join() === 'west6,east3'"
    ));
    click_text(&mut browser, "east");
    browser.wait_for("document.querySelectorAll('.traces-row').length === 3");
    browser.wait_for(
        "new URLSearchParams(location.search).get('q') \
         === '{ name = \"POST /pay\" } >> { } | { .shard = \"east\" }'",
    );
}

#[test]
fn a_query_in_traceql_is_completed_from_the_data() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_calls(&server);
    browser.open(&format!("http://{}/explore?live=off&range=15m&ql=on", server.http));
    browser.wait_for("document.getElementById('traceql')");
    browser.evaluate(
        "(() => { const f = document.getElementById('traceql'); f.focus(); f.select(); })()",
    );
    let offered = |text: &str| {
        format!(
            "[...document.querySelectorAll('.query-offered .suggest-value')].some(e => e.innerText === '{text}')"
        )
    };
    browser.type_text("{ span.customer");
    browser.wait_for(&offered("span.customer.tier"));
    browser.press("Tab");
    browser.wait_for("document.getElementById('traceql').value === '{ span.customer.tier'");
    browser.type_text(" = \"go");
    browser.wait_for(&offered("gold\""));
    browser.press("ArrowDown");
    browser.press("Enter");
    browser
        .wait_for("document.getElementById('traceql').value === '{ span.customer.tier = \"gold\"'");
    browser.type_text(" }");
    browser.press("Enter");
    browser.wait_for("document.querySelectorAll('.traces-row').length === 30");
}

#[test]
fn log_patterns_are_compared_with_the_time_before() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let record = |ago: u64, number: u64, text: String| LogRecord {
        time_unix_nano: now() - ago * MINUTE + number * 1_000_000,
        severity_number: 17,
        ..log(u128::from(number + 1), number + 1, &text)
    };
    let before = (0..40).map(|number| record(22, number, format!("old worker {number} ended")));
    let usual = [22, 7].into_iter().flat_map(|ago| {
        (100..200).map(move |number| record(ago, number, format!("order {number} stored")))
    });
    let fresh = (300..360).map(|number| record(7, number, format!("charge {number} timed out")));
    send_logs(&server, before.chain(usual).chain(fresh).collect());
    browser.open(&format!("http://{}/logs?live=off&range=15m", server.http));
    browser.wait_for("document.querySelectorAll('.log').length > 0");
    click_text(&mut browser, "Differences");
    browser.wait_for("location.search.includes('view=differences')");
    browser.wait_for("document.querySelectorAll('.log-patterns tbody tr').length === 2");
    let rows =
        "[...document.querySelectorAll('.log-patterns tbody tr')].map(e => e.innerText).join()";
    browser.wait_for(&format!("/timed out[^]*NEW[^]*ended[^]*GONE/.test({rows})"));
    browser.screenshot("logs-differences-dark");
    // The address keeps this time range as the one to compare others with.
    click_text(&mut browser, "Compare others with this time");
    browser.wait_for("/base=[0-9]+-[0-9]+/.test(location.search)");
}

#[test]
fn the_system_page_tells_slow_queries_limits_and_how_far_back() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_calls(&server);
    assert_eq!(server.get("/api/v1/traces?service=payment").0, 200);
    browser.open(&format!("http://{}/system", server.http));
    browser
        .wait_for("document.querySelector('table[aria-label=\"Slowest queries\"]')?.innerText.includes('service=payment')");
    browser.wait_for_text("queries in the last hour");
    let cells = "[...document.querySelectorAll('table[aria-label=\"Query latency\"] tbody tr')]\
         .find(e => e.cells[0].innerText === 'traces')?.cells";
    browser.wait_for(&format!("+{cells}?.[1].innerText >= 1"));
    for time in 2..5 {
        browser.wait_for(&format!("/^[0-9.]+ (µs|ms|s)$/.test({cells}?.[{time}].innerText)"));
    }
    browser.wait_for(&format!("{cells}?.[5].innerText === '0'"));
    browser.wait_for("document.querySelectorAll('.gauge').length === 4");
    // The size of the disk is not known, so no bar can show the used part of it.
    let without_bar = "[...document.querySelectorAll('.gauge')]\
         .filter(e => !e.querySelector('.gauge-bar')).map(e => e.querySelector('dt').innerText)";
    assert_eq!(browser.evaluate(without_bar), json!(["Disk"]));
    browser.wait_for("document.querySelector('.panel-say')");
    browser.wait_for("document.querySelector('.limits + .panel-foot button')");
    browser.evaluate("document.querySelector('.limits + .panel-foot button').click()");
    browser.wait_for("document.querySelector('.limits').innerText.includes('sql-seconds-max')");
    assert!(count(&mut browser, ".limits tr") > 20);
    browser.screenshot("system-dark");
}
