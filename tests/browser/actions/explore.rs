//! Actions on Explore: the box of the heatmap, the bars of traces, and older pages.

use std::collections::HashMap;

use prost::Message;
use tidings_proto::otlp::{KeyValue, Span};

use super::incident;
use crate::{
    browser::page_objects::ExplorePage,
    harness::{
        Server,
        browser::Browser,
        http::post,
        spans::{self, span},
    },
};

/// Sends calls of the last minutes. Each fifth call is slow and goes through an acquirer of its
/// own.
fn send_calls(server: &Server) {
    let begin = spans::now() - 600_000_000_000;
    let call = |number: u64| {
        let is_slow = number.is_multiple_of(5);
        let start = begin + number * 2_000_000_000;
        let millis = if is_slow { 900 + number % 7 } else { 20 + number % 9 };
        let acquirer = if is_slow { "northpay" } else { "southpay" };
        Span {
            start_time_unix_nano: start,
            end_time_unix_nano: start + millis * 1_000_000,
            attributes: vec![KeyValue::new("payment.acquirer", acquirer)],
            ..span(u128::from(number + 1), number + 1, 0, "POST /pay")
        }
    };
    let body = spans::traces("payment", (0..200).map(call).collect()).encode_to_vec();
    assert_eq!(post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body).status, 200);
}

/// Draws a box over the slow calls and waits for its explanation.
fn explain_slow(explore: &mut ExplorePage<'_>) {
    explore.draw_box();
    let page = &mut explore.page;
    page.wait_for_address("box=");
    page.wait_for("document.querySelector('.explain-value')?.innerText.includes('northpay')");
}

#[test]
fn a_value_of_the_box_is_left_out_with_shift() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_calls(&server);
    let mut explore = ExplorePage::open(&mut browser, &server, "live=off&range=15m");
    explain_slow(&mut explore);
    explore.page.wait_for("document.querySelector('.list-tools h2').innerText === '40 traces'");
    explore.page.browser.evaluate(
        "document.querySelector('.explain-value').dispatchEvent( \
         new MouseEvent('click', { bubbles: true, shiftKey: true }))",
    );
    explore.page.wait_for_address("not=payment.acquirer=northpay");
    explore.page.wait_for("!document.querySelector('table[aria-label=Traces] tbody tr')");
}

#[test]
fn the_traces_of_a_box_are_compared_with_all() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_calls(&server);
    let mut explore = ExplorePage::open(&mut browser, &server, "live=off&range=15m");
    explain_slow(&mut explore);
    explore.page.press_button("Compare with all");
    explore.page.wait_for_address("trees=on");
    explore.page.wait_for_text("Where the time goes");
    explore.page.wait_until_settled();
    explore.wait_for_comparison_in_view();
    // No card is longer than its content.
    explore.page.wait_for(
        "(card => card.bottom - card.last < 40)((card => ({ \
         bottom: card.getBoundingClientRect().bottom, \
         last: card.querySelector('.panel-body').getBoundingClientRect().bottom }))\
         (document.querySelector('.explore-latency .panel')))",
    );
    explore.page.press_button("Close");
    explore.page.wait_for_address_without("trees=");
    explore.page.wait_for("document.activeElement?.id === 'compare-all-switch'");
    explore.page.press_button("Compare with all");
    explore.wait_for_comparison_in_view();
    explore.page.press_button("Compare with all");
    explore.page.wait_for_address_without("trees=");
}

#[test]
fn older_traces_are_loaded_below_those_that_stand_there() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_calls(&server);
    let mut explore = ExplorePage::open(&mut browser, &server, "live=off&range=15m");
    let rows = "document.querySelectorAll('table[aria-label=Traces] tbody tr').length";
    explore.page.wait_for(&format!("{rows} === 50"));
    let first = "document.querySelector('table[aria-label=Traces] tbody tr').id";
    let before = explore.page.browser.evaluate(first);
    explore.page.press_button("Load older traces");
    explore.page.wait_for(&format!("{rows} === 100"));
    assert_eq!(explore.page.browser.evaluate(first), before, "nothing moves");
}

#[test]
fn the_bar_of_a_trace_is_as_long_as_its_share_of_the_longest_on_screen() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_calls(&server);
    let (_, found) = server.get("/api/v1/traces?limit=200");
    let durations: HashMap<String, f64> = (found["traces"].as_array().unwrap().iter())
        .map(|trace| {
            let nanos = trace["durationNano"].as_str().unwrap().parse().unwrap();
            (format!("trace-{}", trace["traceId"].as_str().unwrap()), nanos)
        })
        .collect();
    let mut explore = ExplorePage::open(&mut browser, &server, "live=off&range=15m");
    explore.page.wait_until_settled();
    // A scroll makes the page look again which rows are on screen.
    explore.page.wait_for(
        "(document.querySelector('#content').dispatchEvent(new Event('scroll')), \
         new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1)))))",
    );
    // Each row gives its id, the widths of its bar and of the column, and its place on screen.
    let rows = explore.page.browser.evaluate(
        "[...document.querySelectorAll('table[aria-label=Traces] tbody tr')].map(row => { \
         const bar = row.querySelector('.strip'), cell = getComputedStyle(bar.parentElement); \
         const sides = parseFloat(cell.paddingLeft) + parseFloat(cell.paddingRight); \
         return [row.id, bar.getBoundingClientRect().width, \
             bar.parentElement.getBoundingClientRect().width - sides, \
             row.getBoundingClientRect().top <= innerHeight]; })",
    );
    let rows: Vec<(String, f64, f64, bool)> = serde_json::from_value(rows).unwrap();
    let on_screen = rows.iter().filter(|(.., is_on_screen)| *is_on_screen);
    let longest = on_screen.map(|(id, ..)| durations[id]).fold(0.0, f64::max);
    assert_eq!(rows.len(), 50);
    for (id, bar, column, _) in rows {
        let wanted = (column * (durations[&id] / longest).min(1.0)).max(3.0);
        assert!((bar - wanted).abs() < 0.5, "{id}: {bar} of {column}, not {wanted}");
    }
}

#[test]
fn the_bar_of_a_trace_is_dotted_where_a_service_waits_for_a_peer() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut explore = ExplorePage::open(&mut browser, &server, "live=off&range=1h");
    explore.page.wait_for(
        "document.querySelector('table[aria-label=Traces] .strip-waiting')\
         ?.title.includes('waiting for')",
    );
}

#[test]
fn heatmap_rows_are_distinguishable() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let begin = spans::now() - 300_000_000_000;
    // The durations range from a microsecond to two minutes.
    let call = |number: u64| Span {
        start_time_unix_nano: begin + number,
        end_time_unix_nano: begin + number + (1_000_u64 << number),
        ..span(u128::from(number + 1), number + 1, 0, "any")
    };
    let body = spans::traces("shop", (0..28).map(call).collect()).encode_to_vec();
    assert_eq!(post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body).status, 200);
    let mut explore = ExplorePage::open(&mut browser, &server, "live=off&range=15m");
    explore.page.wait_for("document.querySelector('.heat-plot svg path')");
    let rows = explore.page.browser.evaluate(
        "Number(document.querySelector('.heat-plot svg').getAttribute('viewBox').split(' ')[3])",
    );
    assert!((2..=24).contains(&rows.as_u64().unwrap()), "{rows} rows");
}
