//! Actions in the header: a time range by preset and by its ends, and the live switch.

use prost::Message;
use tidings_proto::otlp::Span;

use crate::{
    browser::page_objects::{ExplorePage, Page},
    harness::{
        Server,
        browser::Browser,
        http::post,
        spans::{now, span, traces},
    },
};

const MINUTE_NANOS: u64 = 60_000_000_000;

/// Sends a transaction that began this many minutes ago.
fn send_from(server: &Server, minutes: u64, id: u128, name: &str) {
    let start = now() - minutes * MINUTE_NANOS;
    let root = Span {
        start_time_unix_nano: start,
        end_time_unix_nano: start + 1_000_000,
        ..span(id, 1, 0, name)
    };
    let body = traces("shop", vec![root]).encode_to_vec();
    assert_eq!(post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body).status, 200);
    let trace = format!("/api/v1/traces/{id:032x}");
    server.wait_for(&trace, |view| view["traceId"].is_string());
}

#[test]
fn a_time_range_is_chosen_by_preset_and_by_its_ends() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_from(&server, 40, 1, "GET /earlier");
    send_from(&server, 1, 2, "GET /now");
    let mut explore = ExplorePage::open(&mut browser, &server, "live=off");
    explore.wait_for_transactions(&["GET /now", "GET /earlier"]);
    explore.page.choose_preset("Last 15 min");
    explore.page.wait_for_address("range=15m");
    explore.wait_for_transactions(&["GET /now"]);

    // The fields have whole seconds.
    let ago = |minutes: u64| (now() - minutes * MINUTE_NANOS) / 1_000_000_000 * 1_000;
    let (from, to) = (ago(50), ago(30));
    explore.page.open_ranges();
    explore.page.apply_range(to, from);
    explore.page.wait_for_text("The start must come before the end.");
    explore.page.apply_range(from, to);
    explore.page.wait_for_address(&format!("from={from}&to={to}"));
    explore.page.wait_for_address_without("range=");
    explore.page.wait_for("!document.querySelector('.range-menu')");
    explore.wait_for_transactions(&["GET /earlier"]);
    // A fixed range does not move.
    explore.page.wait_for_live_offered(false);

    explore.page.choose_preset("All time");
    explore.page.wait_for_address("range=all");
    explore.page.wait_for_address_without("from=");
    explore.wait_for_transactions(&["GET /now", "GET /earlier"]);
    explore.page.wait_for_live_offered(true);
}

#[test]
fn two_moments_with_their_dates_fit_into_the_header_of_a_phone() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 390, 844) else { return };
    let mut page =
        Page::open(&mut browser, &server, "/explore?from=1700000000000&to=1700090000000");
    page.wait_for(
        "(label => / to /.test(label?.innerText.replace(/\\s+/g, ' ')) \
         && label.scrollWidth <= label.clientWidth)(document.querySelector('.range-label'))",
    );
    // Every control of the header is within it, and the search box has room for a word.
    page.wait_for(
        "(([header, search, ...tools]) => search.width > 40 && tools.length > 2 \
         && tools.every(tool => tool.left >= search.right && tool.right <= header.right \
         && tool.top >= header.top && tool.bottom <= header.bottom)) \
         (['.header', '.header .omni', '.header-tools button', '.range-label'] \
         .flatMap(part => [...document.querySelectorAll(part)]) \
         .map(part => part.getBoundingClientRect()))",
    );
}

#[test]
fn live_is_switched_by_a_click_and_by_key() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_from(&server, 1, 1, "GET /first");
    let mut explore = ExplorePage::open(&mut browser, &server, "range=15m");
    explore.page.wait_for_live(true);
    explore.page.press_live();
    explore.page.wait_for_address("live=off");
    explore.page.wait_for_live(false);
    send_from(&server, 0, 2, "GET /second");
    // The shell asks for the status as often as a live list asks for rows.
    explore.page.wait_for_requests("/api/v1/status", 3);
    explore.wait_for_transactions(&["GET /first"]);
    explore.page.browser.press("L");
    explore.page.wait_for_address_without("live=");
    explore.page.wait_for_live(true);
    explore.wait_for_transactions(&["GET /second", "GET /first"]);

    explore.page.browser.press("L");
    explore.page.wait_for_address("live=off");
    explore.page.wait_for_live(false);
    explore.page.press_live();
    explore.page.wait_for_address_without("live=");
    explore.page.wait_for_live(true);
}
