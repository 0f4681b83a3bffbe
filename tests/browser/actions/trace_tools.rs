//! Actions on a trace: its switches, its downloads, and its links to other traces.

use tidings_proto::otlp::{KeyValue, Link, Span};

use super::send_from_host;
use crate::{
    browser::{
        page_objects::{Page, TracePage},
        send_logs,
    },
    harness::{
        PATIENCE, Server,
        browser::Browser,
        spans::{self, log, span},
    },
};

/// Id of a trace that has something to show for each switch.
pub(super) const FAULTY: u128 = 0xfa017;

/// Sends a trace for the switches. It has repeated calls, calls of a host whose clock is two
/// seconds ahead, and a span whose parent is missing.
pub(super) fn send_faulty(server: &Server) {
    let begin = spans::now() - 60_000_000_000;
    let timed = |id: u64, parent: u64, (from, millis): (u64, u64), name: &str| Span {
        start_time_unix_nano: begin + from * 1_000_000,
        end_time_unix_nano: begin + (from + millis) * 1_000_000,
        ..span(FAULTY, id, parent, name)
    };
    let mut own = vec![timed(1, 0, (0, 1_000), "POST /order"), timed(9, 99, (10, 5), "lost call")];
    own.extend((10..22).map(|id| timed(id, 1, (id * 10, 8), "SELECT item")));
    own.extend((30..36).map(|id| Span { kind: 3, ..timed(id, 1, (id * 20, 18), "charge") }));
    send_from_host(server, "shop", "till-1", own);
    let served = (30..36).map(|id| timed(id + 10, id, (id * 20 + 2_004, 10), "charge"));
    send_from_host(server, "bank", "vault-1", served.collect());
}

#[test]
fn waterfall_parts_are_switched_on_and_off() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1920, 900) else { return };
    send_faulty(&server);
    let mut trace = TracePage::open(&mut browser, &server, &format!("{FAULTY:032x}"));
    let lines = "document.querySelectorAll('.wf-scroll .wf-line').length";

    trace.page.press_button("Critical path");
    trace.page.wait_for_address("path=0");
    trace.page.wait_for("document.querySelector('.wf-no-path')");
    trace.page.press_button("Critical path");
    trace.page.wait_for_address_without("path=0");

    let grouped = trace.page.browser.evaluate(lines);
    trace.page.press_button("Group repeats");
    trace.page.wait_for_address("group=0");
    trace.page.wait_for(&format!("{lines} > {grouped} + 5"));
    trace.page.press_button("Group repeats");
    trace.page.wait_for_address_without("group=0");
    trace.page.wait_for(&format!("{lines} === {grouped}"));

    trace.page.press_button("Adjust clocks");
    trace.page.wait_for_address("clocks=1");
    trace.page.wait_until_settled();
    trace.page.press_button("Adjust clocks");
    trace.page.wait_for_address_without("clocks=1");
    trace.page.wait_until_settled();

    let gaps = "[...document.querySelectorAll('.wf-untraced')].filter(e => e.getClientRects().length).length";
    trace.page.wait_for(&format!("{gaps} > 0"));
    trace.page.press_button("Gaps");
    trace.page.wait_for_address("gaps=0");
    trace.page.wait_for(&format!("{gaps} === 0"));
    trace.page.press_button("Gaps");
    trace.page.wait_for_address_without("gaps=0");
    trace.page.wait_for(&format!("{gaps} > 0"));

    let lost =
        "[...document.querySelectorAll('.wf-line')].some(e => e.innerText.includes('lost call'))";
    trace.page.wait_for(lost);
    trace.page.press_button("Orphans");
    trace.page.wait_for_address("orphans=0");
    trace.page.wait_for(&format!("!{lost}"));
    trace.page.press_button("Orphans");
    trace.page.wait_for_address_without("orphans=0");
    trace.page.wait_for(lost);

    trace.page.press_button("Only problems");
    trace.page.wait_for_address("only=problems");
    trace.page.wait_for(
        "[...document.querySelectorAll('.wf-line')].some(e => e.innerText.includes('lost call')) \
         && ![...document.querySelectorAll('.wf-line')].some(e => e.innerText.includes('SELECT item'))",
    );
    trace.page.press_button("Only problems");
    trace.page.wait_for_address_without("only=");
}

#[test]
fn the_legend_names_the_marks_of_a_trace_and_lines_of_the_axis_reach_the_bars() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_faulty(&server);
    let mut trace = TracePage::open(&mut browser, &server, &format!("{FAULTY:032x}"));
    let (path, gap) = ("critical path in its calls", "waiting to start");
    trace.wait_for_mark(gap, true);
    let marks = [
        "self time",
        "waiting for calls",
        "critical path",
        path,
        "time without a span",
        gap,
        "after its caller ended",
    ];
    assert_eq!(trace.legend(), marks);
    for (button, mark) in [("Critical path", path), ("Gaps", gap), ("Gaps", "time without a span")]
    {
        trace.page.press_button(button);
        trace.wait_for_mark(mark, false);
        trace.page.press_button(button);
        trace.wait_for_mark(mark, true);
    }
    // It scrolls in a narrow window only, and is no stop of the Tab key here.
    trace.page.wait_for("!document.querySelector('[aria-label=Legend]').hasAttribute('tabindex')");
    // Each label of the axis has a line below it.
    trace.page.wait_for(
        "(lefts => { const [marks, lines] = lefts; \
         return marks.length > 1 && marks.every(left => lines.includes(left)); }) \
         (['.axis-mark', '.wf-grid-line'].map(part => [...document.querySelectorAll(part)] \
         .map(e => Math.round(e.getBoundingClientRect().left))))",
    );
}

#[test]
fn a_phone_names_the_service_of_each_span_above_its_operation() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 390, 844) else { return };
    send_faulty(&server);
    let mut trace = TracePage::open(&mut browser, &server, &format!("{FAULTY:032x}"));
    trace.wait_for_mark("self time", true);
    let lines = "[...document.querySelectorAll('.wf-scroll .wf-line')]";
    // Services are in view above their operations, and both are in their line.
    trace.page.wait_for(&format!(
        "{lines}.length > 1 && {lines}.every(line => {{ \
         const box = part => (part ? line.querySelector(part) : line).getBoundingClientRect(); \
         const [all, service, operation] = ['', '.wf-service', '.wf-operation'].map(box); \
         return service.width > 8 && all.top <= service.top && service.bottom <= operation.top + 1 \
         && operation.bottom <= all.bottom; }})"
    ));
    // The list scrolls by the height that its lines have.
    trace.page.wait_for(&format!(
        "document.querySelector('.wf-all').getBoundingClientRect().height \
         === {lines}[0].getBoundingClientRect().height \
         * Number(document.querySelector('.wf-scroll').getAttribute('aria-rowcount'))"
    ));
    // The legend is one line, which keys reach.
    let legend = trace.page.browser.evaluate(
        "(legend => [legend.getAttribute('tabindex'), legend.getBoundingClientRect().height]) \
         (document.querySelector('[aria-label=Legend]'))",
    );
    assert_eq!(legend[0], "0");
    assert!(legend[1].as_f64().unwrap() < 30.0, "{legend}");
}

#[test]
fn a_phone_has_the_waterfall_in_view_and_all_facts_and_switches_at_a_tap() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 390, 844) else { return };
    send_faulty(&server);
    let mut trace = TracePage::open(&mut browser, &server, &format!("{FAULTY:032x}"));
    trace.page.wait_until_settled();
    trace.page.wait_for("document.querySelector('.wf-scroll').getBoundingClientRect().top < 400");
    let are_shown = "['.trace-id', '.trace-strip > .mute'].every(part => \
                     document.querySelector(part)?.getClientRects().length > 0)";
    trace.page.wait_for(&format!("!{are_shown}"));
    trace.page.press_button("All facts");
    trace.page.wait_for(are_shown);
    trace.page.browser.screenshot("trace-facts-390");
    trace.page.press_button("All facts");
    trace.page.wait_for(&format!("!{are_shown}"));
    trace.page.press_button("Gaps");
    trace.page.wait_for_address("gaps=0");
    // The field is as wide as the window while the buttons of its matches stand in it.
    trace.find("bank");
    trace.page.wait_for("document.querySelector('.trace-find').clientWidth > 340");
    let wide = trace.page.browser.evaluate("document.documentElement.scrollWidth - innerWidth");
    assert!(wide.as_i64().unwrap() <= 0, "wider by {wide}");
}

#[test]
fn a_phone_shows_the_labels_of_the_axis_that_have_room() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 390, 844) else { return };
    let (id, begin) = (0xa815_u128, spans::now() - 60_000_000_000);
    let root = Span {
        start_time_unix_nano: begin,
        end_time_unix_nano: begin + 2_700_000_000,
        ..span(id, 1, 0, "POST /order")
    };
    send_from_host(&server, "shop", "till-1", vec![root]);
    let mut trace = TracePage::open(&mut browser, &server, &format!("{id:032x}"));
    trace.wait_for_axis(&["0 s", "1 s", "2 s"]);
}

#[test]
fn the_find_box_keeps_its_words_and_matches_in_every_tab() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_faulty(&server);
    send_logs(&server, vec![log(FAULTY, 40, "card is charged"), log(FAULTY, 1, "order is taken")]);
    let mut trace = TracePage::open(&mut browser, &server, &format!("{FAULTY:032x}"));

    trace.tab("Graph");
    trace.find("bank");
    trace.wait_for_found("bank", "6");
    trace.page.wait_for(
        "(lit => lit.length === 1 && lit[0].ariaLabel.startsWith('bank:') \
         && lit[0].textContent.includes('◆ 6 found')) \
         ([...document.querySelectorAll('.network-node.is-lit')])",
    );
    trace.page.browser.screenshot("trace-graph-find");
    trace.find("no such words");
    trace.wait_for_found("no such words", "none");
    trace.page.wait_for("!document.querySelector('.network-node.is-lit')");
    trace.find("bank");

    trace.tab("Services");
    trace.wait_for_found("bank", "6");
    trace.page.wait_for(
        "[...document.querySelectorAll('.services-table tbody tr')].map(row => \
         [row.cells[0].innerText.includes('◆ 6 found'), row.classList.contains('is-missed')] \
         .join()).sort().join('; ') === 'false,true; true,false'",
    );

    trace.tab("Logs");
    trace.wait_for_found("bank", "6");
    for (class, text) in [("is-found", "card is charged"), ("is-missed", "order is taken")] {
        trace.page.wait_for(&format!(
            "(lines => lines.length === 1 && lines[0].innerText.includes('{text}')) \
             (document.querySelectorAll('.trace-log.{class}'))"
        ));
    }
    trace.page.browser.screenshot("trace-logs-find");

    for tab in ["Flame graph", "Call tree", "Table"] {
        trace.tab(tab);
        trace.wait_for_found("bank", "6");
    }
}

#[test]
fn calls_of_the_flame_graph_are_ordered_and_small_ones_of_the_tree_hidden() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_faulty(&server);
    let mut trace = TracePage::open(&mut browser, &server, &format!("{FAULTY:032x}"));
    trace.tab("Flame graph");
    // The charges begin after the reads and take longer.
    let is_first = |one: &str, other: &str| {
        format!(
            "(left => left('{one}') < left('{other}'))(name => [...document.querySelectorAll('.frame')] \
             .find(e => e.textContent.includes(name))?.getBoundingClientRect().left)"
        )
    };
    let order = "Order of calls side by side";
    trace.page.wait_for(&is_first("charge", "SELECT item"));
    trace.page.choose(order, "As it happened");
    trace.page.wait_for_address("order=happened");
    trace.page.wait_for(&is_first("SELECT item", "charge"));
    trace.page.choose(order, "Longest first");
    trace.page.wait_for(&is_first("charge", "SELECT item"));

    trace.tab("Call tree");
    let has = |name: &str| {
        format!(
            "[...document.querySelectorAll('table[aria-label=\"Call tree\"] tbody tr')] \
             .some(row => row.innerText.includes('{name}'))"
        )
    };
    trace.page.wait_for(&has("lost call"));
    trace.page.choose("Which lines", "Hide below 1 %");
    trace.page.wait_for_address("small=one");
    trace.page.wait_for(&format!("{} && !{}", has("SELECT item"), has("lost call")));
    trace.page.choose("Which lines", "All");
    trace.page.wait_for(&has("lost call"));
}

#[test]
fn the_button_of_an_id_stays_in_its_line_on_a_phone() {
    let server = Server::start_with(&["--transaction-keys", "order.id"]);
    let Some(mut browser) = Browser::start(&server, 390, 844) else { return };
    let (id, order) = (0x01d_u128, "order-of-the-customer-with-number-0000004711");
    let attributes = vec![KeyValue::new("order.id", order)];
    let root = Span { attributes, ..span(id, 1, 0, "POST /order") };
    send_from_host(&server, "shop", "till-1", vec![root]);
    let mut trace = TracePage::open(&mut browser, &server, &format!("{id:032x}"));
    trace.page.press_button("All facts");
    let distance = trace.page.distance_from_line("Copy the trace id");
    assert!(distance < 4.0, "trace: {distance}");
    let mut page = Page::open(&mut browser, &server, &format!("/tx/{order}"));
    let distance = page.distance_from_line("Copy the id");
    assert!(distance < 4.0, "transaction: {distance}");
}

#[test]
fn a_trace_is_compared_with_another_that_is_chosen() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_faulty(&server);
    let id = format!("{FAULTY:032x}");
    let mut trace = TracePage::open(&mut browser, &server, &id);
    trace.page.press_button("Compare with another");
    trace.page.wait_for_address(&format!("/compare?right={id}"));
    trace.page.wait_for(&format!(
        "[...document.querySelectorAll('.compare-id')].map(e => e.value).join() === ',{id}'"
    ));
}

#[test]
fn a_trace_is_saved_as_otlp_and_copied_as_a_tree_or_as_the_address_of_the_view() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_faulty(&server);
    let folder = tempfile::tempdir().unwrap();
    browser.save_into(folder.path());
    let mut trace = TracePage::open(&mut browser, &server, &format!("{FAULTY:032x}"));
    trace.page.press_button("Export");
    trace.page.press_button("Download as OTLP JSON");
    let file = folder.path().join(format!("trace-{FAULTY:032x}.json"));
    let deadline = std::time::Instant::now() + PATIENCE;
    let saved = loop {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if let Ok(json) = serde_json::from_str::<serde_json::Value>(&text) {
            break json;
        }
        assert!(std::time::Instant::now() < deadline, "no file in {:?}", folder.path());
        trace.page.wait_for("new Promise(done => requestAnimationFrame(() => done(1)))");
    };
    assert_eq!(saved["resourceSpans"].as_array().map(Vec::len), Some(2), "{saved}");

    // The test replaces the clipboard, because the browser's own one may ask the user for
    // permission.
    trace.page.browser.evaluate(
        "navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve(); }, 1",
    );
    trace.page.press_button("Export");
    trace.page.press_button("Copy as text");
    trace.page.wait_for(
        "['POST /order', 'SELECT item', 'lost call'].every(name => window.copied?.includes(name))",
    );
    trace.page.browser.press("c");
    trace.page.wait_for_address("path=0");
    trace.page.press_button("Copy link");
    trace.page.wait_for("window.copied === location.href && window.copied.includes('path=0')");
}

#[test]
fn links_of_spans_lead_to_the_other_trace_and_back() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let (batch, order) = (0x1ba7_u128, 0x0de5_u128);
    let link = Link {
        trace_id: order.to_be_bytes().to_vec(),
        span_id: 7_u64.to_be_bytes().to_vec(),
        ..Link::default()
    };
    send_from_host(&server, "shop", "till-1", vec![span(order, 7, 0, "publish order")]);
    let linked = Span { links: vec![link], ..span(batch, 5, 0, "process orders") };
    send_from_host(&server, "mailer", "post-1", vec![linked]);
    let mut trace =
        TracePage::open(&mut browser, &server, &format!("{batch:032x}?span={:016x}", 5));
    // The text of the link wraps over two lines, so the middle of its box may lie outside the text.
    let link = "document.querySelector('.span-links a')";
    trace.page.wait_for(&format!("{link}?.innerText.startsWith('Trace {order:032x}')"));
    trace.page.browser.evaluate(&format!("{link}.click()"));
    trace.page.wait_for_address(&format!("/trace/{order:032x}"));
    trace.wait_for_span("publish order");
    trace.page.wait_for_text("Linked from");
    trace.page.press_button("process orders of mailer");
    trace.page.wait_for_address(&format!("/trace/{batch:032x}"));
    trace.wait_for_span("process orders");
}

#[test]
fn a_phone_has_one_menu_of_the_actions_of_a_trace() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 390, 844) else { return };
    send_faulty(&server);
    let mut trace = TracePage::open(&mut browser, &server, &format!("{FAULTY:032x}"));
    let shown = "document.querySelector('#trace-actions')?.getClientRects().length > 0";
    trace.page.wait_for("document.querySelector('#trace-actions') !== null");
    trace.page.wait_for(&format!("!({shown})"));
    trace.page.press_button("Actions");
    trace.page.wait_for(shown);
    trace.page.browser.screenshot("trace-actions-390");
    let wide = trace.page.browser.evaluate("document.documentElement.scrollWidth - innerWidth");
    assert!(wide.as_i64().unwrap() <= 0, "wider by {wide}");
    trace.page.press_button("Actions");
    trace.page.wait_for(&format!("!({shown})"));
}
