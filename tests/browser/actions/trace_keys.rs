//! Actions on a trace by its keys, its head and its drawings: errors, problems, matches, folds, the
//! time range, and the width of the names.

use tidings_proto::otlp::{Span, Status};

use super::{
    send_from_host,
    trace_tools::{FAULTY, send_faulty},
};
use crate::{
    browser::page_objects::TracePage,
    harness::{
        Server,
        browser::Browser,
        spans::{self, span},
    },
};

/// Id of a trace with three failed calls and one without its parent.
const FAILING: u128 = 0xfa11;

fn send_failing(server: &Server) {
    let begin = spans::now() - 60_000_000_000;
    let call = |id: u64, parent: u64, name: &str| Span {
        start_time_unix_nano: begin + id * 100_000_000,
        end_time_unix_nano: begin + id * 100_000_000 + 50_000_000,
        ..span(FAILING, id, parent, name)
    };
    let failed = |id: u64, name: &str| Span {
        status: Some(Status { message: "refused".to_owned(), code: 2 }),
        ..call(id, 1, name)
    };
    let root = Span { end_time_unix_nano: begin + 1_000_000_000, ..call(1, 0, "POST /order") };
    let all = vec![
        root,
        failed(2, "reserve stock"),
        call(3, 1, "price order"),
        failed(4, "charge card"),
        call(5, 1, "print label"),
        failed(6, "send mail"),
        call(7, 99, "lost call"),
    ];
    send_from_host(server, "shop", "till-1", all);
}

/// Opens a trace whose root is selected.
fn open_at_root<'a>(browser: &'a mut Browser, server: &Server, id: u128) -> TracePage<'a> {
    let mut trace = TracePage::open(browser, server, &format!("{id:032x}?span={:016x}", 1));
    trace.wait_for_span("POST /order");
    trace
}

#[test]
fn errors_and_problems_of_a_trace_lead_to_their_spans() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_failing(&server);
    let mut trace = open_at_root(&mut browser, &server, FAILING);
    for (key, name) in [
        ("e", "reserve stock"),
        ("e", "charge card"),
        ("e", "send mail"),
        ("e", "reserve stock"),
        ("E", "send mail"),
        ("E", "charge card"),
    ] {
        trace.page.browser.press(key);
        trace.wait_for_span(name);
    }
    // The number of errors in the head leads to the next one.
    let errors = "document.querySelector('.trace-fact-button')";
    trace.page.wait_for(&format!("{errors}?.innerText.trim().startsWith('3')"));
    trace.page.click(errors);
    trace.wait_for_span("send mail");

    let problems = "document.querySelector('#trace-problems')";
    let badge = "document.querySelector('.trace-problem-badge')";
    trace.page.click(badge);
    trace.page.wait_for(&format!("{badge}.getAttribute('aria-expanded') === 'true'"));
    trace.page.click(&format!(
        "[...({problems}?.querySelectorAll('li') ?? [])] \
         .find(e => e.textContent.includes('parent not received'))?.querySelector('button')"
    ));
    trace.wait_for_span("lost call");
    trace.page.click(badge);
    trace.page.wait_for(&format!("!{problems}"));

    // The table lists the failed calls alone.
    trace.tab("Table");
    trace.page.choose("Which spans", "Failed");
    trace.page.wait_for(
        "(rows => rows.length === 3 && rows.every(row => row.cells[3].innerText.trim() === '1')) \
         ([...document.querySelectorAll('table[aria-label=\"Spans by group\"] tbody tr')])",
    );
}

/// Number of rows of the waterfall, with those out of view.
const ROWS: &str = "Number(document.querySelector('.wf-scroll')?.getAttribute('aria-rowcount'))";

#[test]
fn rows_are_grouped_and_folded_and_matches_visited_by_keys() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_faulty(&server);
    let mut trace = open_at_root(&mut browser, &server, FAULTY);
    let grouped = trace.page.browser.evaluate(ROWS);
    trace.page.browser.press("r");
    trace.page.wait_for_address("group=0");
    trace.page.wait_for(&format!("{ROWS} > {grouped} + 5"));
    let all = trace.page.browser.evaluate(ROWS);
    trace.page.browser.press("[");
    trace.page.wait_for_address("fold=1");
    trace.page.wait_for(&format!("{ROWS} > {grouped} && {ROWS} < {all}"));
    trace.page.browser.press("]");
    trace.page.wait_for_address_without("fold=");
    trace.page.wait_for(&format!("{ROWS} === {all}"));
    trace.page.browser.press("r");
    trace.page.wait_for_address_without("group=0");
    trace.page.wait_for(&format!("{ROWS} === {grouped}"));

    // The first match after the root is selected at once.
    trace.find("bank");
    trace.wait_for_found("bank", "1 of 6");
    // Letters are text while the box has the focus.
    trace.page.browser.evaluate("document.activeElement.blur()");
    for (key, place) in [("n", "2 of 6"), ("N", "1 of 6"), ("N", "6 of 6"), ("n", "1 of 6")] {
        trace.page.browser.press(key);
        trace.wait_for_found("bank", place);
    }
}

/// Waits until the minimap marks this range, in percent of the trace.
fn wait_for_range(trace: &mut TracePage<'_>, from: u8, width: u8) {
    trace.page.wait_for(&format!(
        "(range => Math.abs(parseFloat(range?.left) - {from}) < 1 \
         && Math.abs(parseFloat(range?.width) - {width}) < 1) \
         (document.querySelector('.minimap-window')?.style)"
    ));
}

#[test]
fn a_part_of_the_time_is_chosen_with_the_mouse_and_widened_by_key() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_faulty(&server);
    let mut trace = open_at_root(&mut browser, &server, FAULTY);
    trace.drag_across(".minimap", 0.2, 0.6);
    trace.page.wait_for_address("zoom=");
    wait_for_range(&mut trace, 20, 40);
    // The axis has the chosen part only.
    trace.drag_across(".axis", 0.25, 0.75);
    wait_for_range(&mut trace, 30, 20);
    trace.page.browser.press("-");
    wait_for_range(&mut trace, 20, 40);
    trace.page.browser.press("-");
    wait_for_range(&mut trace, 0, 80);
    trace.page.browser.press("-");
    trace.page.wait_for_address_without("zoom=");
    trace.page.wait_for("!document.querySelector('.minimap-window')");
}

#[test]
fn the_border_of_names_and_bars_is_moved_kept_and_put_back() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_faulty(&server);
    let mut trace = open_at_root(&mut browser, &server, FAULTY);
    let divider = "document.querySelector('.wf-divider')";
    let percent = format!("Number({divider}?.getAttribute('aria-valuenow'))");
    let names = "document.querySelector('.wf-head-names').getBoundingClientRect().width";
    let before = trace.page.browser.evaluate(names);
    trace.drag_divider(100.0);
    trace.page.wait_for(&format!("Math.abs({names} - {before} - 100) < 3"));
    let dragged = trace.page.browser.evaluate(&percent);
    trace.page.browser.evaluate(&format!("{divider}.focus()"));
    trace.page.browser.press("ArrowLeft");
    trace.page.wait_for(&format!("{percent} === {dragged} - 2"));

    // The browser keeps the width for the next trace.
    trace.page.browser.open("about:blank");
    trace.page.wait_for("location.href === 'about:blank'");
    let mut trace = open_at_root(&mut browser, &server, FAULTY);
    trace.page.wait_for(&format!("{percent} === {dragged} - 2"));
    trace.page.browser.evaluate(&format!(
        "{divider}.dispatchEvent(new MouseEvent('dblclick', {{ bubbles: true }}))"
    ));
    trace.page.wait_for(&format!("Math.abs({names} - {before}) < 3"));
}
