//! Actions on the map: the focus and its depth, edges, and the time range below.

use prost::Message;
use serde_json::json;
use tidings_proto::otlp::{KeyValue, Span, Status};

use super::{incident, traces};
use crate::{
    browser::page_objects::{MapPage, Page},
    harness::{
        Server,
        browser::Browser,
        http::post,
        spans::{self, span},
    },
};

/// The colour of `--warn`, as the browser computes it.
const AMBER: &str = "(probe => { probe.style.color = 'var(--warn)'; document.body.append(probe); \
     const colour = getComputedStyle(probe).color; probe.remove(); return colour; }) \
     (document.createElement('i'))";

#[test]
fn the_map_is_narrowed_to_what_is_around_a_service_and_widened_by_calls() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut map = MapPage::open(&mut browser, &server);
    map.page.wait_until_settled();
    let all = map.nodes().len();
    map.pick("fraud");
    map.page.press_button("Focus on it");
    map.page.wait_for_address("focus=");
    map.page.wait_for_text("Whole map");
    map.wait_for_nodes(&format!("< {all}"));
    let near = map.nodes();
    assert!(near.len() < all && near.iter().any(|name| name == "fraud"), "{near:?} of {all}");
    map.page.choose("Distance", "2 calls");
    map.page.wait_for_address("depth=2");
    map.wait_for_nodes(&format!("> {}", near.len()));
    map.page.press_button("Whole map");
    map.page.wait_for_address_without("focus=");
    map.wait_for_nodes(&format!("=== {all}"));
}

#[test]
fn an_edge_is_opened_from_the_list_and_from_the_picture() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut map = MapPage::open(&mut browser, &server);
    map.pick("payment");
    map.pick_of_list("northpay");
    map.wait_for_panel("payment → northpay");
    map.page.wait_for_address("caller=");
    map.page.press_button("Close");
    map.page.wait_for("!document.querySelector('[aria-label=\"Selection\"]')");
    map.click_edge("payment", "fraud");
    map.wait_for_panel("payment → fraud");
    map.page.press_button("Its calls");
    map.page.wait_for_address("/explore");
}

#[test]
fn cards_are_readable_on_a_laptop_and_the_culprit_is_in_view_with_its_caller() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1280, 800) else { return };
    let mut map = MapPage::open(&mut browser, &server);
    for name in ["northpay", "payment"] {
        map.wait_for_card(name);
    }
    let (nodes, smallest) = (map.nodes().len(), map.smallest_letters());
    // The whole map is shown where its letters are readable, and a part where they are not.
    assert!(smallest >= 11.0, "letters of {smallest} px with {nodes} nodes");
    let is_whole = map.card_faults() == json!([]);
    assert_eq!(map.has_more(), !is_whole);
    map.page.browser.screenshot("map-1280");
    // The calls of all services are under the fold of a low window.
    let is_tall = "document.querySelector('.map-picture').offsetHeight >= 560";
    assert_eq!(map.page.browser.evaluate(is_tall), json!(true));
    // The whole map is shown when the user asks for it: names stay readable, and numbers that are
    // too small are left out.
    map.page.press_button("Fit");
    for name in map.nodes() {
        map.wait_for_card(&name);
    }
    let smallest = map.smallest_letters();
    assert!(smallest >= 8.8, "names of {smallest} px with {nodes} nodes");
}

#[test]
fn all_cards_of_twelve_services_are_in_view_with_readable_letters_at_1280_by_900() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1280, 900) else { return };
    let mut map = MapPage::open(&mut browser, &server);
    map.page.wait_until_settled();
    map.page.browser.screenshot("map-1280-900");
    let (nodes, smallest) = (map.nodes().len(), map.smallest_letters());
    assert!(smallest >= 11.0, "letters of {smallest} px with {nodes} nodes");
    assert_eq!(map.card_faults(), json!([]));
    assert_eq!(map.texts_outside_cards(), json!([]));
}

#[test]
fn the_graph_is_asked_for_once_and_before_what_changed() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let held = json!({ "patterns": [{ "urlPattern": "*/api/v1/changes?*" }] });
    browser.command("Fetch.enable", held);
    let mut page = Page::open(&mut browser, &server, "/map?live=off");
    page.wait_for("document.querySelector('.network-node')");
    // A second graph would be asked for as soon as the change is known.
    page.browser.evaluate(
        "const fetched = window.fetch; window.graphs = 0; \
         window.fetch = (request, ...rest) => { \
         window.graphs += (request.url ?? String(request)).includes('/api/v1/graph'); \
         return fetched(request, ...rest); }; \
         true",
    );
    page.browser.command("Fetch.disable", json!({}));
    page.wait_for("document.querySelector('.network-node.is-culprit')");
    page.wait_for_text("Calls of all services");
    assert_eq!(page.browser.evaluate("window.graphs"), json!(0));
    // The list has a request as soon as its answer is complete. A slow graph is waited for until two
    // seconds after the page began, which is up to a second before it is asked for on a busy machine.
    page.wait_for(
        "(of => of('graph').length === 1 && of('changes').length === 1 && of('red').length === 1 \
           && [...of('changes'), ...of('red')].every(e => e.startTime >= \
           Math.min(of('graph')[0].responseEnd, of('graph')[0].startTime + 1000))) \
         (name => performance.getEntriesByType('resource') \
           .filter(e => new URL(e.name).pathname === '/api/v1/' + name))",
    );
}

#[test]
fn the_map_stays_under_the_pointer_when_it_becomes_known_what_changed() {
    let server = incident();
    // The first view of a narrow window is the left part, and around the culprit once it is known.
    let Some(mut browser) = Browser::start(&server, 1024, 700) else { return };
    let held = json!({ "patterns": [{ "urlPattern": "*/api/v1/changes?*" }] });
    browser.command("Fetch.enable", held);
    let mut page = Page::open(&mut browser, &server, "/map?live=off");
    page.wait_for("document.querySelector('.network-drawing.is-ready .network-node')");
    page.wait_for_text("Calls of all services");
    page.point_at("document.querySelector('.network-drawing')");
    page.wait_for("document.querySelector('.network-drawing:hover')");
    let view = "document.querySelector('.network-drawing > g').getAttribute('transform')";
    let before = page.browser.evaluate(view);
    page.browser.command("Fetch.disable", json!({}));
    page.wait_for("document.querySelector('.network-node.is-culprit')");
    page.wait_for("document.querySelector('.network-drawing.is-ready')");
    assert_eq!(page.browser.evaluate(view), before);
}

#[test]
fn the_first_view_has_all_cards_and_the_page_says_which_time_they_are_of() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut map = MapPage::open(&mut browser, &server);
    map.page.wait_until_settled();
    map.page.browser.screenshot("map-1440");
    assert_eq!(map.card_faults(), json!([]));
    map.page.wait_for_text(", against ");
    map.explain_numbers();
    map.page.wait_for_text("A single duration is the p95.");
    map.page
        .wait_for_text("The box of the first sentence has its values before and since the change.");
    for _ in 0..6 {
        map.page.press_button("Larger");
    }
    map.wait_for_more();
}

#[test]
fn buttons_lead_to_the_cards_that_are_not_in_view_of_a_narrow_window() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 390, 844) else { return };
    let mut map = MapPage::open(&mut browser, &server);
    map.page.wait_until_settled();
    map.wait_for_more();
    map.page.browser.screenshot("map-more-390");
    // The culprit is in view, and its callers are at the left.
    let hidden = map.more_at("left");
    assert!(hidden > 0);
    for _ in 0..12 {
        if map.more_at("left") == 0 {
            break;
        }
        map.enter_more_at("left");
    }
    assert_eq!(map.more_at("left"), 0, "of {hidden}");
    assert!(map.more_at("right") > 0);
    // The last card has the focus of the button, which is gone.
    map.page.wait_for("document.activeElement?.id.startsWith('network-node-')");
    map.page.press_button("Fit");
    map.page.wait_for("!document.querySelector('.network-more')");
}

#[test]
fn a_service_that_only_feels_a_change_has_the_words_of_its_row_on_services() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut page = Page::open(&mut browser, &server, "/services?live=off");
    page.wait_until_settled();
    // Rows with the badge of one that only feels, as `checkout: affected by northpay`.
    let rows = "[...document.querySelectorAll('[aria-label=\"Services\"] tbody tr:has(.badge-feels)')] \
         .filter(row => !row.querySelector('.dot-outside')) \
         .map(row => row.querySelector('.services-name').innerText.trim() + ': ' \
            + row.querySelector('.badge').innerText.trim().split(' since ')[0])";
    page.wait_for(&format!("{rows}.length > 0"));
    let felt = page.browser.evaluate(rows);
    // The caller of the changed endpoint has the colour of its card on the map.
    page.wait_for(
        "[...document.querySelectorAll('.services-list .badge-warning')] \
         .some(e => /^northpay .* slower since /.test(e.innerText))",
    );
    // Words that a narrow window cuts are whole in the titles.
    page.wait_for("(e => e && e.title === e.textContent)(document.querySelector('.say-feels'))");
    page.wait_for(
        "[...document.querySelectorAll('.badge-feels')].every(e => e.parentElement.title.startsWith('affected by '))",
    );
    let mut map = MapPage::open(&mut browser, &server);
    map.page.wait_until_settled();
    for row in felt.as_array().unwrap() {
        let (name, words) = row.as_str().unwrap().split_once(": ").unwrap();
        map.page.wait_for(&format!(
            "(card => card?.ariaLabel.includes({}) && {AMBER} \
               === getComputedStyle(card.querySelector('.network-card')).stroke) \
               (document.querySelector('.network-node.is-affected[aria-label^=\"{name}:\"]'))",
            json!(words)
        ));
    }
    map.page.wait_for(
        "document.querySelector('.map-legend .is-felt')?.title === 'Affected by a change elsewhere'",
    );
    // The caller that the headline names is amber, too.
    map.page.wait_for(&format!(
        "(card => card?.textContent.includes('→ northpay') \
           && /, northpay .* slower since /.test(card.ariaLabel) \
           && {AMBER} === getComputedStyle(card.querySelector('.network-card')).stroke) \
           (document.querySelector('.network-node.is-affected[aria-label^=\"payment:\"]'))"
    ));
}

#[test]
fn the_map_counts_services_and_outside_systems_as_the_page_of_services() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let counts = r"document.querySelector('main')?.innerText
        .match(/\d+ services, \d+ stores and outside systems/)?.[0]";
    let [services, map] = ["/services", "/map"].map(|path| {
        let mut page = Page::open(&mut browser, &server, path);
        page.wait_for(counts);
        page.browser.evaluate(counts)
    });
    assert_eq!(services, map);
}

#[test]
fn a_changed_service_has_the_p95_of_its_row_on_services() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut page = Page::open(&mut browser, &server, "/services");
    // Rows of the whole range may come before those since the change.
    page.wait_for("document.querySelector('.page-head .say a')");
    page.wait_until_settled();
    let p95 = r#"[...document.querySelectorAll('[aria-label="Services"] tbody tr')]
        .find((row) => row.querySelector('.services-name')?.innerText.trim() === 'checkout')
        ?.children[7].innerText.split('\n')[0].trim()"#;
    page.wait_for(p95);
    let p95 = page.browser.evaluate(p95);
    let p95 = p95.as_str().unwrap();
    let mut map = MapPage::open(&mut browser, &server);
    let label = r#"document.querySelector('.network-node[aria-label^="checkout:"]')?.ariaLabel"#;
    map.page.wait_for(&format!("{label}?.includes('p95 {p95} since ')"));
    map.explain_numbers();
    map.page.wait_for_text("Numbers of changed and affected boxes are since the change");
    map.pick("checkout");
    map.page.wait_for_text("Its numbers are those since ");
}

#[test]
fn a_stretch_of_the_requests_below_the_map_becomes_its_time() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut map = MapPage::open(&mut browser, &server);
    map.scrub();
    map.page.wait_for_address("from=");
    map.page.wait_for_address("to=");
}

/// Sends calls between this many services, each of which calls up to three others. The call of one
/// of them fails.
fn send_fleet(server: &Server, services: u64, failing: Option<u64>) {
    for at in 1..=services {
        let code = if failing == Some(at) { 2 } else { 0 };
        let status = Some(Status { code, ..Status::default() });
        let call = Span { kind: 2, status, ..span(0xf1ee7, at, at / 3, "GET /") };
        let body = spans::traces(&format!("member-{at:03}"), vec![call]).encode_to_vec();
        let path = "/v1/traces";
        assert_eq!(post(&server.otlp_http, path, "application/x-protobuf", body).status, 200);
    }
}

/// Sends a message of each of three services to each of this many topics. Messages to the last
/// topic fail.
fn send_messages(server: &Server, topics: u64) {
    for service in 0..3 {
        let message = |topic: u64| {
            let code = if topic + 1 == topics { 2 } else { 0 };
            Span {
                kind: 4,
                status: Some(Status { code, ..Status::default() }),
                attributes: vec![
                    KeyValue::new("messaging.system", "kafka"),
                    KeyValue::new("messaging.destination.name", format!("topic-{topic:02}")),
                ],
                ..span(u128::from(0x70_000 + service * 100 + topic), topic + 1, 0, "send")
            }
        };
        let spans = (0..topics).map(message).collect();
        let body = spans::traces(&format!("sender-{service}"), spans).encode_to_vec();
        let path = "/v1/traces";
        assert_eq!(post(&server.otlp_http, path, "application/x-protobuf", body).status, 200);
    }
}

#[test]
fn many_destinations_are_one_node_until_each_is_asked_for() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_messages(&server, 30);
    send_fleet(&server, 3, None);
    let mut map = MapPage::open(&mut browser, &server);
    // The map has the six services, the users, the failing topic, and one node for the other
    // topics.
    map.page.wait_until_settled();
    let all = map.nodes();
    assert!(all.iter().any(|name| name == "topic-29"), "what fails stays single: {all:?}");
    assert!(!all.iter().any(|name| name == "topic-03"), "{all:?}");
    map.pick_described("29 kafka destinations");
    map.page.wait_for_address("node=messaging*:kafka");
    map.page.browser.screenshot("map-folded");
    map.page.press_button("Separate nodes");
    map.page.wait_for_address("each=1");
    map.wait_for_nodes("> 30");
    map.page.press_button("Separate nodes");
    map.page.wait_for_address_without("each=");
    map.wait_for_nodes(&format!("=== {}", all.len()));
    // A destination that is chosen in the list becomes the focus, beside the services that send to
    // it.
    map.pick_described("29 kafka destinations");
    map.pick_of_list("topic-03");
    map.page.wait_for_address("focus=messaging:topic-03");
    map.wait_for_nodes("=== 4");
    assert!(map.nodes().iter().any(|name| name == "topic-03"));
}

/// Heights of the names that are drawn over a small map, in screen pixels.
const NAMES: &str = "[...document.querySelectorAll('.network-far-name')]";

#[test]
fn names_on_a_map_of_very_many_services_are_readable_and_lie_over_no_other() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_fleet(&server, 150, None);
    let mut map = MapPage::open(&mut browser, &server);
    map.page.wait_for(&format!("{NAMES}.length > 10"));
    let faults = map.page.browser.evaluate(&format!(
        "(boxes => boxes.flatMap((one, at) => [one.height >= 11 ? [] : ['small'], \
         boxes.some((other, place) => place > at && one.left < other.right && other.left < one.right \
             && one.top < other.bottom - 2 && other.top < one.bottom - 2) ? ['over another'] : []].flat())) \
         ({NAMES}.map(e => e.getBoundingClientRect()))"
    ));
    assert_eq!(faults, json!([]));
    let all = map.nodes().len();
    // From afar, fewer names have room.
    for _ in 0..6 {
        map.page.browser.evaluate("document.querySelector('[aria-label=Smaller]').click()");
    }
    map.page.wait_for(&format!("{NAMES}.length < {all}"));
    let drawn = map.page.browser.evaluate(&format!("{NAMES}.length")).as_u64().unwrap();
    assert!(drawn < all as u64, "{drawn} names of {all}");
    map.page.browser.screenshot("map-150");
    // A node under the mouse shows its name, even where other names are hidden.
    let names = format!("{NAMES}.map(e => e.textContent)");
    let hidden = map.page.browser.evaluate(&format!(
        "(names => [...document.querySelectorAll('.network-node .network-name')] \
         .map(e => e.textContent).find(name => !names.includes(name)))({names})"
    ));
    map.page.point_at(&format!(
        "[...document.querySelectorAll('.network-node')].find(e => e.querySelector('.network-name') \
         .textContent === {hidden})?.querySelector('rect')"
    ));
    map.page.wait_for(&format!("{names}.includes({hidden})"));
    // Cards that are large enough show all names themselves.
    for _ in 0..16 {
        map.page.browser.evaluate("document.querySelector('[aria-label=Larger]').click()");
    }
    map.page.wait_for(&format!("{NAMES}.length === 0"));
}

#[test]
fn all_cards_are_in_the_first_view_of_few_and_of_many_services_with_the_alarm() {
    for (services, widths) in [(5, vec![1280, 1440, 1920]), (200, vec![1440])] {
        let server = Server::start();
        send_fleet(&server, services, Some(services));
        for width in widths {
            let Some(mut browser) = Browser::start(&server, width, 900) else { return };
            let mut map = MapPage::open(&mut browser, &server);
            // The users are a card, too.
            map.wait_for_nodes(&format!("=== {}", services + 1));
            map.page.wait_until_settled();
            map.page.browser.screenshot(&format!("map-of-{services}-{width}"));
            assert_eq!(map.card_faults(), json!([]), "{services} services at {width} px");
            let filled = map.filled_part();
            assert!(filled >= 0.5, "{services} services take {filled} of {width} px");
            map.wait_for_alarm(&format!("member-{services:03}"));
        }
    }
}

#[test]
fn a_long_name_of_a_service_is_cut_inside_its_card_and_whole_in_its_title() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_fleet(&server, 5, None);
    let name = "WAREHOUSE-MANAGEMENT-AND-SHIPMENT-OF-MMMMMMMMMM";
    let call = Span { kind: 2, ..span(0xf1ee7, 6, 1, "GET /") };
    let body = spans::traces(name, vec![call]).encode_to_vec();
    let path = "/v1/traces";
    assert_eq!(post(&server.otlp_http, path, "application/x-protobuf", body).status, 200);
    let mut map = MapPage::open(&mut browser, &server);
    map.page.wait_for(&format!(
        "[...document.querySelectorAll('.network-node title')].some(e => e.textContent.startsWith('{name}:'))"
    ));
    assert_eq!(map.texts_outside_cards(), json!([]));
}

#[test]
fn keys_go_from_node_to_node_of_the_map() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let mut map = MapPage::open(&mut browser, &server);
    // Hidden elements take no focus, so the test waits until the drawing is ready.
    map.page.wait_for("document.querySelector('.network-drawing.is-ready')");
    let focused = "document.activeElement?.id ?? ''";
    let first = map.page.browser.evaluate(&format!(
        "window.drawings = 0; \
         new MutationObserver(() => drawings++).observe(document.querySelector('.network-drawing'), \
             {{ subtree: true, childList: true, characterData: true, attributes: true }}); \
         document.querySelector('.network-node[tabindex=\"0\"]').focus(); {focused}"
    ));
    // A redrawn map gives the focus to the node that had it before.
    map.page.wait_for(&format!("drawings > 0 && ({focused}) === {first}"));
    map.page.browser.press("ArrowRight");
    map.page
        .wait_for(&format!("({focused}).startsWith('network-node-') && ({focused}) !== {first}"));
    map.page.browser.press("Enter");
    map.page.wait_for("document.querySelector('[aria-label=\"Selection\"]')");
}

#[test]
fn the_services_of_a_trace_light_up_on_the_map() {
    let server = incident();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let [id, _] = traces(&server);
    let mut page = Page::open(&mut browser, &server, &format!("/map?trace={id}"));
    page.wait_for("document.querySelector('.network.has-lit')");
    page.wait_for(
        "[...document.querySelectorAll('.network-node.is-lit .network-name')] \
         .some(e => e.textContent === 'payment')",
    );
    page.wait_for("document.querySelectorAll('.network-edge.is-lit').length > 1");
    // Nodes that the trace does not pass through stay pale.
    page.wait_for("document.querySelector('.network-node:not(.is-lit)')");
}
