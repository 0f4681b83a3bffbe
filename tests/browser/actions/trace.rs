//! Actions on a trace: its live state, its tabs, its pin and its axis.

use prost::Message;
use serde_json::json;
use tidings_proto::otlp::{Event, KeyValue, Span};

use super::{incident, traces};
use crate::{
    browser::{page_objects::TracePage, trace::DRIFT},
    harness::{
        Server,
        browser::Browser,
        http::post,
        spans::{self, span},
    },
};

fn send(server: &Server, span: Span) {
    send_all(server, vec![span]);
}

fn send_all(server: &Server, all: Vec<Span>) {
    let body = spans::traces("shop", all).encode_to_vec();
    assert_eq!(post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body).status, 200);
}

#[test]
fn a_running_trace_gets_its_spans_and_ends_while_one_looks() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let id = 0x1417_u128;
    send(&server, span(id, 2, 1, "first call"));
    let mut trace = TracePage::open(&mut browser, &server, &format!("{id:032x}"));
    trace.wait_for_fact("running");
    trace.page.wait_for_text("first call");
    send(&server, span(id, 3, 1, "second call"));
    trace.page.wait_for_text("second call");
    let begin = spans::now() - 5_000_000_000;
    let root = span(id, 1, 0, "POST /order");
    send(&server, Span { start_time_unix_nano: begin, ..root });
    trace.page.wait_for_text("POST /order");
    trace.wait_for_fact("completed");
    trace.wait_for_lines(3);
}

#[test]
fn events_of_spans_are_marked_listed_and_lead_to_their_details() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let id = 0xe7e7_u128;
    let begin = spans::now() - 5_000_000_000;
    let at = |millis: u64| begin + millis * 1_000_000;
    let event = |millis: u64, name: &str, key: &str, value: &str| Event {
        time_unix_nano: at(millis),
        name: name.to_owned(),
        attributes: vec![KeyValue::new(key, value)],
        ..Event::default()
    };
    let root = Span {
        start_time_unix_nano: at(0),
        end_time_unix_nano: at(1_000),
        ..span(id, 1, 0, "POST /order")
    };
    let charge = Span {
        start_time_unix_nano: at(100),
        end_time_unix_nano: at(900),
        events: vec![
            event(300, "<b>retry</b>", "attempt", "second"),
            event(700, "exception", "exception.type", "AcquirerTimeout"),
            event(500, "cache.miss", "cache.key", "A-17"),
        ],
        ..span(id, 2, 1, "charge")
    };
    send(&server, root);
    send(&server, charge);
    let mut trace = TracePage::open(&mut browser, &server, &format!("{id:032x}"));
    trace.wait_for_lines(2);
    trace.page.wait_for("document.querySelectorAll('.wf-event').length === 3");
    trace.page.wait_for("document.querySelectorAll('.wf-exception').length === 1");

    // A click on a mark of the bar opens the event of the mark.
    trace.page.click("document.querySelector('.wf-event[title^=\"cache.miss\"]')");
    trace.wait_for_span("charge");
    let is_at = |words: &str| {
        format!(
            "document.activeElement?.innerText.includes('{words}') && document.activeElement.closest('.span-panel')"
        )
    };
    trace.page.wait_for(&is_at("A-17"));

    // Inline events are listed between their span and the next one, in order of time.
    trace.page.browser.press("l");
    trace.wait_for_lines(5);
    let listed = trace.page.browser.evaluate(
        "[...document.querySelectorAll('.wf-of-event .wf-log-text')].map(e => e.innerText).join()",
    );
    assert_eq!(listed, "<b>retry</b>,cache.miss,AcquirerTimeout");
    trace.page.browser.press("o");
    trace.page.wait_for("!document.querySelector('.span-panel')");
    trace.page.click(
        "[...document.querySelectorAll('.wf-of-event')].find(e => e.innerText.includes('AcquirerTimeout'))",
    );
    trace.page.wait_for(&is_at("AcquirerTimeout"));

    // Keys move from one event to the next and wrap around at the end.
    for words in ["second", "A-17", "AcquirerTimeout"] {
        trace.page.browser.press("v");
        trace.page.wait_for(&is_at(words));
    }

    // The address names the chosen event until another span is chosen.
    trace.page.wait_for_address("event=1");
    let address = trace.page.browser.evaluate("location.href");
    trace.page.browser.open("about:blank");
    trace.page.wait_for("location.href === 'about:blank'");
    trace.page.browser.open(address.as_str().unwrap());
    trace.page.wait_for(&is_at("AcquirerTimeout"));
    trace.page.browser.press("k");
    trace.page.wait_for_address_without("event=");
}

#[test]
fn a_trace_with_more_events_than_are_drawn_says_so() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let id = 0xe7e8_u128;
    let event = || Event { name: "cache.miss".to_owned(), ..Event::default() };
    let call = |number: u64| Span {
        events: (0..100).map(|_| event()).collect(),
        ..span(id, number, number / 2, "charge")
    };
    send_all(&server, (1..=102).map(call).collect());
    let mut trace = TracePage::open(&mut browser, &server, &format!("{id:032x}"));
    trace.page.wait_for_text("10,000 of 10,200 events are drawn");
    trace.page.browser.screenshot("trace-events-left-out");
    let is_in_view = "(box => box.height > 0 && box.bottom < innerHeight) \
        (document.querySelector('.trace-head .note').getBoundingClientRect())";
    trace.page.wait_for(is_in_view);
    trace.tab("Flame graph");
    trace.page.wait_for("!document.querySelector('.trace-head .note')");
}

#[test]
fn a_frame_of_the_flame_graph_leads_to_its_span() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let [id, _] = traces(&server);
    let mut trace = TracePage::open(&mut browser, &server, &id);
    trace.tab("Flame graph");
    // A wide frame has its service before its name, on one line.
    trace.page.wait_for(
        "(frame => frame?.querySelector('.frame-name').innerText.endsWith('Payment.Authorize') \
           && (([line, service, words]) => service.top >= line.top - 1 && service.right < words.left) \
             (['.frame-line', '.frame-service', '.frame-words'] \
               .map(part => frame.querySelector(part).getBoundingClientRect()))) \
         ([...document.querySelectorAll('.frame')].find(e => e.textContent.includes('Payment.Authorize')))",
    );
    trace.page.click("[...document.querySelectorAll('.frame')].find(e => e.textContent.includes('Payment.Authorize'))");
    trace.page.wait_for("document.querySelector('[aria-label=\"The chosen frame\"]')?.innerText.includes('Payment.Authorize')");
    trace.page.press_button("Only this");
    let whole = "[...document.querySelectorAll('.tab-tools button')] \
                 .some(e => e.innerText.startsWith('Whole trace'))";
    trace.page.wait_for(whole);
    trace.page.browser.press("z");
    trace.page.wait_for(&format!("!{whole}"));
    trace.page.browser.press("z");
    trace.page.wait_for(whole);
    trace.page.choose("What frames are as wide as", "Self time");
    trace.page.wait_for_address("width=own");
    trace.page.press_button("In the waterfall");
    trace.wait_for_span("Payment.Authorize");
}

#[test]
fn a_link_opens_the_chosen_frame_and_the_limited_flame_graph() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let [id, _] = traces(&server);
    let mut trace = TracePage::open(&mut browser, &server, &id);
    trace.tab("Flame graph");
    trace.page.wait_for_address("tab=flame");
    trace.page.click("[...document.querySelectorAll('.frame')].find(e => e.textContent.includes('Payment.Authorize'))");
    trace.page.wait_for_address("call=");
    let side = "document.querySelector('[aria-label=\"The chosen frame\"]')\
                ?.innerText.includes('Payment.Authorize')";
    trace.page.wait_for(side);
    let steps = trace.page.browser.evaluate("history.length");
    trace.page.press_button("Only this");
    trace.page.wait_for_address("root=");
    // The choice is no step of the history.
    assert_eq!(trace.page.browser.evaluate("history.length"), steps);
    trace.page.open_again();
    trace.page.wait_for(side);
    trace.page.press_button("Whole trace");
    trace.page.wait_for_address_without("root=");
    trace.page.wait_for(side);
}

#[test]
fn an_answer_that_comes_while_a_button_is_pressed_loses_no_click() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let [id, _] = traces(&server);
    let mut trace = TracePage::open(&mut browser, &server, &id);
    let held = json!({ "patterns": [{ "urlPattern": "*/api/v1/red?*" }] });
    trace.page.browser.command("Fetch.enable", held);
    trace.tab("Flame graph");
    trace.page.click("[...document.querySelectorAll('.frame')].find(e => e.textContent.includes('Payment.Authorize'))");
    let button = "[...document.querySelectorAll('[aria-label=\"The chosen frame\"] button')].find(e => e.innerText === 'In the waterfall')";
    trace.page.wait_for(button);
    let point = trace.page.browser.evaluate(&format!(
        "(box => [box.left + box.width / 2, box.top + box.height / 2])({button}.getBoundingClientRect())"
    ));
    let [x, y] = [0, 1].map(|index| point[index].as_f64().unwrap());
    let answers = "performance.getEntriesByType('resource').filter(e => e.name.includes('/api/v1/red?')).length";
    let before = trace.page.browser.evaluate(answers);
    trace.page.browser.press_at(x, y);
    trace.page.browser.command("Fetch.disable", json!({}));
    trace.page.wait_for(&format!("{answers} > {before}"));
    // Waits for some animation frames, in which the page could draw it.
    trace.page.wait_for(
        "new Promise(done => { let frames = 10; \
         const next = () => frames-- ? requestAnimationFrame(next) : done(true); next(); })",
    );
    trace.page.browser.mouse("mouseReleased", x, y);
    trace.wait_for_span("Payment.Authorize");
}

#[test]
fn calls_of_the_tree_fold_and_lead_to_their_span() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let [id, _] = traces(&server);
    let mut trace = TracePage::open(&mut browser, &server, &id);
    trace.tab("Call tree");
    trace.page.wait_for_rows("Call tree");
    let all = trace.page.column("Call tree", 0).len();
    let fold =
        "document.querySelector('table[aria-label=\"Call tree\"] [aria-label=\"Fold or unfold\"]')";
    trace.page.click(fold);
    trace.page.wait_for(
        "document.querySelectorAll('table[aria-label=\"Call tree\"] tbody tr').length === 1",
    );
    trace.page.click(fold);
    trace.page.wait_for(&format!(
        "document.querySelectorAll('table[aria-label=\"Call tree\"] tbody tr').length === {all}"
    ));
    trace.page.press_button("Payment.Authorize");
    trace.wait_for_span("Payment.Authorize");
}

#[test]
fn the_table_of_a_trace_sorts_groups_and_leads_to_a_span() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let [id, _] = traces(&server);
    let mut trace = TracePage::open(&mut browser, &server, &id);
    trace.tab("Table");
    assert_eq!(trace.page.headings_that_do_not_sort("Spans by group", &[]), [""; 0]);
    let operations = trace.page.column("Spans by group", 0).len();
    trace.page.choose("Group by", "Service");
    trace.page.wait_for(&format!(
        "document.querySelectorAll('table[aria-label=\"Spans by group\"] tbody tr').length !== {operations}"
    ));
    let services = trace.page.column("Spans by group", 0).len();
    assert!(services < operations, "{services} services, {operations} operations");
    trace.page.click("document.querySelector('table[aria-label=\"Spans by group\"] tbody button')");
    trace.page.wait_for("document.querySelector('.wf-selected')");
}

#[test]
fn the_table_of_a_trace_is_narrowed_to_critical_failed_and_slow_spans() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    // The longest call is slower than usual, although usual has other calls of the incident.
    let longest =
        "/api/v1/traces?service=payment&operation=Payment.Authorize&sort=span-duration&limit=1";
    let found = server.wait_for(longest, |json| json["traces"][0]["traceId"].is_string());
    let id = found["traces"][0]["traceId"].as_str().unwrap();
    let mut trace = TracePage::open(&mut browser, &server, id);
    trace.tab("Table");
    trace.page.wait_for_rows("Spans by group");
    trace.page.wait_until_settled();
    let rows = "[...document.querySelectorAll('table[aria-label=\"Spans by group\"] tbody tr')]";
    let all = trace.page.browser.evaluate(&format!("{rows}.length")).as_u64().unwrap();
    for (name, choice, fits) in [
        ("critical", "Critical path", "row.cells[8].innerText.trim() !== '–'"),
        ("failed", "Failed", "row.cells[3].innerText.trim() !== '0'"),
    ] {
        let fitting = format!("{rows}.filter(row => {fits}).length");
        trace.page.choose("Which spans", "All");
        trace.page.wait_for(&format!("{rows}.length === {all}"));
        let count = trace.page.browser.evaluate(&fitting).as_u64().unwrap();
        assert!(count < all, "{name}: {count} of {all}");
        trace.page.choose("Which spans", choice);
        trace.page.wait_for_address(&format!("spans={name}"));
        trace.page.wait_for(&format!("{rows}.length === {count} && {fitting} === {count}"));
    }
    trace.page.choose("Which spans", "Slower than usual");
    trace.page.wait_for_address("spans=slow");
    trace.page.wait_for(&format!(
        "{rows}.length > 0 && {rows}.length < {all} \
         && {rows}.every(row => row.cells[13].innerText.trim().endsWith('×')) \
         && {rows}.some(row => row.cells[0].innerText.includes('Payment.Authorize'))"
    ));
}

#[test]
fn a_service_of_the_traces_graph_leads_to_its_spans() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let [id, _] = traces(&server);
    let mut trace = TracePage::open(&mut browser, &server, &id);
    trace.tab("Graph");
    trace.page.wait_for_text("Dashed boxes send no spans");
    // A dashed box has no self time, so it has no room for a bar of it.
    trace.page.wait_for(
        "(boxes => boxes.length > 0 \
           && boxes.every(e => !e.querySelector('.network-track').checkVisibility())) \
         ([...document.querySelectorAll('.network-node.is-outside')])",
    );
    trace.page.click("[...document.querySelectorAll('[aria-label=\"Graph of the trace\"] [role=button]')].find(e => e.ariaLabel.startsWith('payment:'))?.querySelector('rect')");
    trace.page.wait_for(
        "document.querySelector('[aria-label=\"Selection\"]')?.innerText.includes('self time')",
    );
    trace.page.wait_for_address("node=service:payment");
    trace.page.wait_for_address("tab=graph");
    trace.page.open_again();
    trace.page.wait_for(
        "/payment[^]*self time/.test(document.querySelector('[aria-label=\"Selection\"]')?.innerText)",
    );
    trace.page.press_button("Show its spans");
    trace.page.wait_for("document.querySelector('#trace-find')?.value === 'payment'");
}

#[test]
fn a_trace_is_pinned_with_a_note_and_unpinned() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send(&server, span(0x9191, 1, 0, "POST /order"));
    let id = format!("{:032x}", 0x9191);
    let mut trace = TracePage::open(&mut browser, &server, &id);
    trace.page.press_button("Pin");
    trace.page.fill("Why this trace is kept; Enter pins it", "for the review");
    trace.page.browser.press("Enter");
    trace.page.wait_for_text("Pinned");
    trace.page.wait_for_text("for the review");
    let (_, pins) = server.get("/api/v1/pins");
    assert_eq!(pins["pins"][0]["traceId"], id, "{pins}");
    trace.page.press_button("Pinned");
    trace.page.wait_for("document.querySelector('.trace-pin')?.innerText.trim() === 'Pin'");
    let (_, pins) = server.get("/api/v1/pins");
    assert_eq!(pins["pins"].as_array().map(Vec::len), Some(0), "{pins}");
}

#[test]
fn labels_stay_at_their_bars_when_the_axis_is_dragged_and_shown_whole_again() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1920, 900) else { return };
    let [id, _] = traces(&server);
    let mut trace = TracePage::open(&mut browser, &server, &id);
    trace.page.wait_for(&format!("{DRIFT} < 30"));
    trace.page.wait_for("document.querySelector('.brush')");
    let place = trace.page.browser.evaluate(
        "(() => { const r = document.querySelector('.brush').getBoundingClientRect(); \
         return [r.left + r.width * 0.3, r.left + r.width * 0.6, r.top + r.height / 2]; })()",
    );
    let at = |index: usize| place[index].as_f64().unwrap();
    trace.page.browser.drag([at(0), at(2)], [at(1), at(2)]);
    trace.page.wait_for_address("zoom=");
    trace.page.wait_for(&format!("{DRIFT} < 30"));
    trace.page.browser.press("0");
    trace.page.wait_for_address_without("zoom=");
    trace.page.wait_for(&format!("{DRIFT} < 30"));
}
