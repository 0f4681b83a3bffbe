//! Actions on the page that compares traces: ghost bars, the call with the most impact, another
//! trace to compare with.

use prost::Message;
use tidings_proto::otlp::{Span, Status};

use super::{incident, traces};
use crate::{
    browser::page_objects::ComparePage,
    harness::{
        Server,
        browser::Browser,
        http::post,
        spans::{self, now, span},
    },
};

/// Status code of a span that failed.
const FAILED: i32 = 2;

/// Sends a trace whose only call takes this long and ends with this status code.
fn send_read(server: &Server, trace: u128, milliseconds: u64, code: i32) {
    send_reads(server, trace, &[milliseconds], code);
}

/// Sends a trace whose calls take this long, one after the other, and end with this status code.
fn send_reads(server: &Server, trace: u128, milliseconds: &[u64], code: i32) {
    let start = now() - 60_000_000_000;
    let call = |id: u64, parent: u64, name: &str, from: u64, until: u64| Span {
        start_time_unix_nano: start + from * 1_000_000,
        end_time_unix_nano: start + until * 1_000_000,
        ..span(trace, id, parent, name)
    };
    let (mut all, mut from) = (Vec::new(), 100);
    for (id, length) in (2..).zip(milliseconds) {
        let read = call(id, 1, "read", from, from + length);
        all.push(Span { status: Some(Status { code, ..Status::default() }), ..read });
        from += length;
    }
    all.push(call(1, 0, "work", 0, from + 100));
    let body = spans::traces("shop", all).encode_to_vec();
    let answer = post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body);
    assert_eq!(answer.status, 200, "{:?}", answer.body);
}

#[test]
fn where_no_call_deviates_those_with_the_time_are_named_and_listed() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_read(&server, 1, 800, 0);
    send_read(&server, 2, 600, 0);
    let [left, right] = [1, 2].map(|trace| format!("{trace:032x}"));
    let mut compare = ComparePage::open(&mut browser, &server, &left, &right);
    compare.page.wait_for_text("No call differs much; the difference is in read (+200 ms).");
    // Each side has its state, its start and its duration.
    compare.page.wait_for(
        "(chips => chips.length === 2 && chips.every(e => e.querySelector('.badge') \
         && /completed\\s+([-0-9]+ )?[0-9:]{8}[.][0-9]{3}\\s+[0-9.]+ (ms|s) in all/.test(e.innerText)))\
         ([...document.querySelectorAll('.compare-chip')])",
    );
    compare.page.choose("Which calls", "Differ");
    compare.page.wait_for_address("rows=differ");
    let rows = "document.querySelectorAll('table[aria-label=\"Calls of both\"] tbody tr')";
    compare.page.wait_for(&format!("{rows}.length === 1 && {rows}[0].innerText.includes('read')"));
    compare.page.press_button("Swap");
    compare.page.wait_for_text("read: 1.3× faster, 600 ms, in the other 800 ms");
    compare.page.wait_for_text("the difference is in read (−200 ms).");
    // A negative number is written with the minus sign, not with a hyphen.
    let hyphen = "/(^|[\\s(])-[0-9]/.test(document.querySelector('main').innerText)";
    assert_eq!(compare.page.browser.evaluate(hyphen), false);
}

#[test]
fn the_mean_of_several_calls_is_an_average() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_reads(&server, 1, &[200, 400], 0);
    send_reads(&server, 2, &[400, 800], 0);
    let [left, right] = [1, 2].map(|trace| format!("{trace:032x}"));
    let mut compare = ComparePage::open(&mut browser, &server, &left, &right);
    compare.page.wait_for_text("read: on average 2.0× faster, 300 ms, in the other 600 ms");
}

#[test]
fn a_slow_mode_of_the_type_is_named_and_nothing_is_red() {
    const TRACES: u128 = 24;
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    for trace in 1..=TRACES {
        send_read(&server, trace, if trace % 4 == 0 { 800 } else { 60 }, 0);
    }
    let left = format!("{TRACES:032x}");
    let mut compare = ComparePage::open(&mut browser, &server, &left, "typical");
    compare.page.wait_for_text(
        "740 ms of it is read: 800 ms, the median is 60.0 ms; one call in twenty takes 800 ms or \
         more.",
    );
    compare.page.wait_for_text("slow calls included; the difference is in read (+740 ms).");
    compare.page.wait_for_text("800 ms, usually 60.0 ms");
    let rows = "[...document.querySelectorAll('table[aria-label=\"Calls of both\"] tbody tr')]";
    compare.page.wait_for(&format!(
        "{rows}.filter(e => e.innerText.includes('longer, within p95')).length === 1"
    ));
    let red = "document.querySelectorAll(':is(.lanes-table, .impacts) \
               :is(.is-worse, .is-worse-bar)').length";
    assert_eq!(compare.page.browser.evaluate(red), 0);
    compare.page.wait_for_text("or more, nine tenths of this one's 1.00 s, in the last day");
}

#[test]
fn failed_calls_of_the_other_trace_stand_beside_the_badge_with_a_gap() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_read(&server, 1, 60, 0);
    send_read(&server, 2, 800, FAILED);
    let [left, right] = [1, 2].map(|trace| format!("{trace:032x}"));
    let mut compare = ComparePage::open(&mut browser, &server, &left, &right);
    compare.page.wait_for(
        "[...document.querySelectorAll('td.lane-differs')].some(({children: [badge, words]}) => \
         words?.innerText === 'other: 1 failed' && words.getBoundingClientRect().left \
         - badge.getBoundingClientRect().right >= 4)",
    );
}

#[test]
fn the_other_trace_stands_behind_this_one_as_ghost_bars() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let [left, right] = traces(&server);
    let mut compare = ComparePage::open(&mut browser, &server, &left, &right);
    compare.page.wait_for("document.querySelectorAll('.lane-ghost').length > 5");
    compare.page.wait_for("document.querySelectorAll('.lane .lane-bar').length > 5");
    // Every bar begins at the left when the starts are lined up.
    compare.page.choose("Where bars begin", "Aligned starts");
    compare.page.wait_for(
        "[...document.querySelectorAll('.lane .lane-bar')].every(e => parseFloat(e.style.left) === 0)",
    );
}

#[test]
fn no_step_of_the_breadcrumb_is_cut_at_1280() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1280, 800) else { return };
    let [left, right] = traces(&server);
    let mut compare = ComparePage::open(&mut browser, &server, &left, &right);
    compare.page.wait_for(
        "(steps => steps.length === 3 && steps.every(e => e.scrollWidth <= e.clientWidth)) \
         ([...document.querySelectorAll('.crumbs a, .crumb-here')])",
    );
}

#[test]
fn a_call_of_most_impact_is_opened_in_the_lanes() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let [left, _] = traces(&server);
    let mut compare = ComparePage::open(&mut browser, &server, &left, "typical");
    let name = compare.open_impact();
    compare.wait_for_chosen(&name);
    compare.page.wait_for_text("Is it the only one?");
    compare.page.wait_for_address("call=");
    compare.page.open_again();
    compare.page.wait_for(&format!(
        "document.querySelector('table[aria-label=\"Calls of both\"] tr[aria-selected=true]')\
         ?.innerText.includes({})",
        serde_json::json!(name)
    ));
}

#[test]
fn another_trace_is_compared_and_the_sides_are_swapped() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let [left, right] = traces(&server);
    let mut compare = ComparePage::open(&mut browser, &server, &left, "typical");
    compare.with_other("no id");
    compare.page.wait_for(
        "document.querySelector('[aria-label=\"Another trace to compare with\"]').ariaInvalid === 'true'",
    );
    compare.with_other(&right);
    compare.page.wait_for_address(&format!("left={left}&right={right}"));
    compare.page.wait_for_text(&right[..8]);
    compare.page.press_button("Swap");
    compare.page.wait_for_address(&format!("left={right}&right={left}"));
    for [one, other] in [[&right, &left], [&left, &right]] {
        let sides = "[...document.querySelectorAll('.compare-chip > b')].map(e => e.innerText)";
        compare.page.wait_for(&format!("{sides}.join() === '{},{}'", &one[..8], &other[..8]));
        compare.page.browser.press("s");
        compare.page.wait_for_address(&format!("left={other}&right={one}"));
    }
    compare.page.press_button("With typical");
    compare.page.wait_for_address(&format!("left={right}&right=typical"));
    compare.page.wait_for_text("of its type, p50");
    compare.page.wait_for(
        "/[0-9]{2}:[0-9]{2} to .*[0-9]{2}:[0-9]{2}/\
         .test(document.querySelector('.compare-chip.is-typical').innerText)",
    );
}
