//! Actions on the details of a span, on the clocks of its hosts, and on a trace in a telephone.

use tidings_proto::otlp::{AnyValue, KeyValue, Span};

use super::{incident, send_from_host, traces};
use crate::{
    browser::page_objects::{ExplorePage, TracePage},
    harness::{
        Server,
        browser::Browser,
        spans::{self, span},
    },
};

/// Trace whose order is `A-17`.
const FIRST: u128 = 0xa17;
/// Trace of two hosts, of which one is two seconds ahead.
const SKEWED: u128 = 0x5ce3;
/// Expression for the attribute with the order `A-17` in the panel.
const ORDER: &str = "[...document.querySelectorAll('.span-panel .attributes dd')]\
    .find(e => e.innerText.includes('A-17'))";

/// Sends two orders, and waits until their ids are listed as values.
fn send_orders(server: &Server) {
    let order = |trace: u128, id: &str| Span {
        attributes: vec![KeyValue::new("order.id", id)],
        ..span(trace, 1, 0, &format!("POST /order/{id}"))
    };
    send_from_host(server, "shop", "till-1", vec![order(FIRST, "A-17"), order(FIRST + 1, "B-2")]);
    server.wait_for("/api/v1/attributes/values?key=order.id", |json| {
        json["names"].as_array().is_some_and(|names| names.len() == 2)
    });
}

/// Opens the span with the order `A-17`.
fn open_order<'a>(browser: &'a mut Browser, server: &Server) -> TracePage<'a> {
    let mut trace = TracePage::open(browser, server, &format!("{FIRST:032x}?span={:016x}", 1));
    trace.page.wait_for(ORDER);
    trace
}

/// Presses the button of the order with this label.
fn press(trace: &mut TracePage<'_>, label: &str) {
    trace.page.click(&format!("{ORDER}?.querySelector('[aria-label=\"{label}\"]')"));
}

#[test]
fn a_value_of_the_span_panel_filters_the_list_for_it_and_without_it() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_orders(&server);
    for (label, address, listed) in [
        ("Find traces with order.id = A-17", "attr=order.id=A-17", "POST /order/A-17"),
        ("Find traces with another value", "not=order.id=A-17", "POST /order/B-2"),
    ] {
        let mut trace = open_order(&mut browser, &server);
        press(&mut trace, label);
        trace.page.wait_for_address(address);
        let mut explore = ExplorePage { page: trace.page };
        explore.wait_for_transactions(&[listed]);
    }
}

#[test]
fn a_value_of_the_span_panel_is_copied_and_all_its_values_lead_to_their_traces() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_orders(&server);
    let mut trace = open_order(&mut browser, &server);
    // The test replaces the clipboard, because the browser's own one may ask for permission.
    trace.page.browser.evaluate(
        "navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve(); }, 1",
    );
    press(&mut trace, "Copy the value");
    trace.page.wait_for("window.copied === 'A-17'");

    press(&mut trace, "Show all its values");
    trace.page.wait_for(
        "[...document.querySelectorAll('.attribute-values a')].map(e => e.innerText).sort().join() === 'A-17,B-2'",
    );
    press(&mut trace, "Show all its values");
    trace.page.wait_for("!document.querySelector('.attribute-values')");
    press(&mut trace, "Show all its values");
    trace.page.click(
        "[...document.querySelectorAll('.attribute-values a')].find(e => e.innerText === 'B-2')",
    );
    trace.page.wait_for_address("attr=order.id=B-2");
    let mut explore = ExplorePage { page: trace.page };
    explore.wait_for_transactions(&["POST /order/B-2"]);
}

#[test]
fn a_value_shows_its_type_and_finds_the_other_spans_of_the_trace_with_it() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let item = |id: u64, parent: u64, lines: AnyValue| Span {
        attributes: vec![KeyValue::new("order.lines", lines)],
        ..span(FIRST, id, parent, &format!("item {id}"))
    };
    let items = vec![item(1, 0, 1_i64.into()), item(2, 1, "1".into()), item(3, 1, 2_i64.into())];
    send_from_host(&server, "shop", "till-1", items);
    let mut trace =
        TracePage::open(&mut browser, &server, &format!("{FIRST:032x}?span={:016x}", 1));
    let lines = "[...document.querySelectorAll('.span-panel .attributes dt')]\
        .find(e => e.innerText === 'order.lines')?.nextElementSibling";
    let has = |word: &str| {
        format!(
            "{lines}?.querySelector('bdi').innerText === '1' \
             && {lines}.querySelector('.attribute-type').innerText === '{word}'"
        )
    };
    trace.page.wait_for(&has("int"));
    trace.page.click(&format!("{lines}?.querySelector('[aria-label=\"Find in this trace\"]')"));
    trace.page.wait_for(
        "document.querySelector('#trace-find')?.value \
         === '{ (.order.lines = 1 || .order.lines = \"1\") }'",
    );
    trace.page.wait_for("document.querySelector('.trace-find-count')?.innerText === '1 of 2'");
    trace.page.press_button("Next match");
    trace.wait_for_span("item 2");
    trace.page.wait_for(&has("string"));

    // Other views mark what was found.
    trace.tab("Table");
    trace.page.wait_for_rows("Spans by group");
    trace.page.wait_for(
        "[...document.querySelectorAll('main tr.is-missed')].map(e => e.innerText.includes('item 3')).join() \
         === 'true'",
    );
    trace.tab("Flame graph");
    trace.page.wait_for(
        "[...document.querySelectorAll('.frame-name')].map(e => e.innerText).sort().join() \
         === 'item 3,◆ item 1,◆ item 2'",
    );
}

/// Sends calls between two hosts. The clock of the called one is two seconds ahead.
fn send_skewed(server: &Server) {
    let begin = spans::now() - 60_000_000_000;
    let timed = |id: u64, parent: u64, from: u64, millis: u64| Span {
        start_time_unix_nano: begin + from * 1_000_000,
        end_time_unix_nano: begin + (from + millis) * 1_000_000,
        ..span(SKEWED, id, parent, &format!("step {}", id % 10))
    };
    let mut calls = vec![timed(1, 0, 0, 1_000)];
    calls.extend((10..16).map(|id| Span { kind: 3, ..timed(id, 1, (id - 9) * 100, 90) }));
    send_from_host(server, "shop", "till-1", calls);
    let served = (10..16).map(|id| timed(id + 10, id, (id - 9) * 100 + 2_004, 80));
    send_from_host(server, "bank", "vault-1", served.collect());
}

#[test]
fn clocks_are_brought_together_and_apart_again() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_skewed(&server);
    let mut trace = TracePage::open(&mut browser, &server, &format!("{SKEWED:032x}"));
    trace.wait_for_lines(13);
    // Reports whether the first call of the bank begins before the end of the call to it.
    let overlaps = "(lines => { \
        const at = lines.findIndex(e => e.querySelector('.wf-service')?.innerText === 'bank'); \
        const [call, served] = [at - 1, at].map(line => lines[line]?.querySelector('.wf-bar')?.getBoundingClientRect()); \
        return call && served ? served.left < call.right : null; \
        })([...document.querySelectorAll('.wf-line')])";
    trace.page.wait_for(&format!("{overlaps} === false"));
    trace.page.press_button("Adjust clocks");
    trace.page.wait_for_address("clocks=1");
    trace.page.wait_for(&format!("{overlaps} === true"));
    trace.page.press_button("Adjust clocks");
    trace.page.wait_for_address_without("clocks=1");
    trace.page.wait_for(&format!("{overlaps} === false"));
}

#[test]
fn tables_of_a_trace_are_stacked_on_a_telephone_and_buttons_fit_a_finger() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 390, 844) else { return };
    let [id, _] = traces(&server);
    let mut trace = TracePage::open(&mut browser, &server, &id);
    for (tab, table) in [("Call tree", "Call tree"), ("Table", "Spans by group")] {
        trace.tab(tab);
        trace.page.wait_for_rows(table);
        trace.page.wait_until_settled();
        trace
            .page
            .browser
            .screenshot(&format!("trace-{}-390", tab.to_lowercase().replace(' ', "-")));
        // The width of the name, the width beyond the panel, and the width beyond the window.
        let widths = trace.page.browser.evaluate(&format!(
            "(table => [table.tBodies[0].rows[0].cells[0].clientWidth, \
              table.scrollWidth - table.closest('.panel-body').clientWidth, \
              document.documentElement.scrollWidth - innerWidth]) \
             (document.querySelector('table[aria-label=\"{table}\"]'))"
        ));
        let [name, beyond_panel, beyond_window] = [0, 1, 2].map(|at| widths[at].as_i64().unwrap());
        assert!(name > 250 && beyond_panel <= 0 && beyond_window <= 0, "{tab}: {widths}");
        let low = trace.page.browser.evaluate(
            "[...document.querySelectorAll('main :is(.button, .segment, .tab, .tree-fold, .tree-link, .own-name)')] \
             .filter(e => e.getClientRects().length && e.getBoundingClientRect().height < 39.5 && !e.closest('.wf-head')) \
             .map(e => e.className).join()",
        );
        assert_eq!(low, "", "{tab}");
    }
}
