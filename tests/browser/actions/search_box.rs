//! Actions in the search box: Enter before names are listed, names by words, and the keyboard.

use prost::Message;
use serde_json::{Value as Json, json};
use tidings_proto::otlp::{Event, KeyValue, Span};

use super::send_from_host;
use crate::{
    browser::{page_objects::Page, send_logs},
    harness::{
        Server,
        browser::Browser,
        http::post,
        spans::{log, now, span, traces},
    },
};

/// Types a text into the box in place of the one that is there.
fn type_into_box(browser: &mut Browser, text: &str) {
    browser.press("/");
    browser.wait_for("document.activeElement?.id === 'omni'");
    browser.evaluate("document.activeElement.select()");
    browser.type_text(text);
}

/// Waits until the address has this path and this text in its query.
fn wait_for_address(browser: &mut Browser, path: &str, query: &str) {
    browser.wait_for(&format!(
        "location.pathname === '{path}' && decodeURIComponent(location.search).includes('{query}')"
    ));
}

#[test]
fn enter_leads_to_the_best_name_before_and_after_names_are_listed() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_from_host(&server, "checkout", "node-4", vec![span(1, 1, 0, "POST /order")]);
    // The names are in log records, too.
    send_logs(
        &server,
        vec![log(1, 1, "checkout failed on node-4"), log(2, 2, "checkout of node-4")],
    );
    for is_listed in [false, true] {
        for (text, path, query) in
            [("checkout", "/services/checkout", ""), ("node-4", "/explore", "host.name=node-4")]
        {
            browser.open(&format!("http://{}/", server.http));
            browser.wait_for("document.querySelector('#omni')");
            type_into_box(&mut browser, text);
            if is_listed {
                browser.wait_for(&format!(
                    "document.querySelector('.omni-names .suggest-value')?.innerText === '{text}'"
                ));
            }
            browser.press("Enter");
            wait_for_address(&mut browser, path, query);
        }
    }
}

/// Makes a span of two minutes ago.
fn earlier(id: u64, parent: u64, name: &str) -> Span {
    let start = now() - 120_000_000_000;
    let end = start + 1_000_000;
    Span { start_time_unix_nano: start, end_time_unix_nano: end, ..span(1, id, parent, name) }
}

/// Sends a checkout of a gateway: a version of `payment` throws an exception, and calls an outside
/// system and a database.
fn send_payment(server: &Server) {
    let send = |service: &str, version: &str, spans: Vec<Span>| {
        let mut request = traces(service, spans);
        let resource = request.resource_spans[0].resource.as_mut().unwrap();
        resource.attributes.push(KeyValue::new("service.version", version));
        let body = request.encode_to_vec();
        let answer = post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body);
        assert_eq!(answer.status, 200);
    };
    send("web-gateway", "7.1.0", vec![earlier(1, 0, "POST /checkout")]);
    let exception = Event {
        time_unix_nano: now(),
        name: "exception".to_owned(),
        attributes: vec![KeyValue::new("exception.type", "CurrencyMissing")],
        ..Event::default()
    };
    let call = |id: u64, name: &str, attributes: Vec<KeyValue>| Span {
        kind: 3,
        attributes,
        ..earlier(id, 2, name)
    };
    let database = [("db.system.name", "postgresql"), ("db.namespace", "rules-db")];
    let database = database.map(|(key, value)| KeyValue::new(key, value)).to_vec();
    let spans = vec![
        Span { events: vec![exception], ..earlier(2, 1, "Payment.Authorize") },
        call(3, "authorise", vec![KeyValue::new("peer.service", "northpay")]),
        call(4, "SELECT rules", database),
    ];
    send("payment", "2.14.0", spans);
}

#[test]
fn words_lead_to_exceptions_peers_versions_and_operations() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_payment(&server);
    send_logs(&server, vec![log(1, 2, "northpay timed out"), log(1, 2, "postgresql is slow")]);
    browser.open(&format!("http://{}/explore", server.http));
    browser.wait_for("document.querySelectorAll('.traces-row').length === 1");
    for (text, kind, path, query) in [
        ("CurrencyMissing", "exception of payment", "/errors", "type=CurrencyMissing"),
        ("northpay", "external on the map", "/map", "node=northpay"),
        ("postgresql", "database on the map", "/map", "node=rules-db"),
        ("payment 2.14.0", "version of payment", "/explore", "service.version=2.14.0"),
        (
            "payment authorize",
            "operation of payment",
            "/services/payment",
            "operation=Payment.Authorize",
        ),
        (
            "web-gateway POST /checkout",
            "transaction of web-gateway",
            "/transactions/web-gateway/POST%20%2Fcheckout",
            "",
        ),
    ] {
        type_into_box(&mut browser, text);
        browser.wait_for(&format!(
            "document.querySelector('.omni-names .suggest-hint')?.innerText === '{kind}'"
        ));
        browser.press("Enter");
        wait_for_address(&mut browser, path, query);
    }
}

/// Returns the search box with a closed list, or with this marked name in the open list.
fn box_state(is_open: bool, marked: Option<&str>) -> Json {
    json!({
        "role": "combobox",
        "expanded": is_open.to_string(),
        "controls": is_open.then_some("listbox"),
        "active": marked,
        "selected": marked.iter().collect::<Vec<_>>(),
    })
}

#[test]
fn the_name_that_looks_selected_is_the_one_that_enter_opens() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_payment(&server);
    let mut page = Page::open(&mut browser, &server, "/explore");
    page.wait_for("document.querySelectorAll('.traces-row').length === 1");
    assert_eq!(page.search_box(), box_state(false, None));
    type_into_box(page.browser, "payment");
    page.wait_for(
        "[...document.querySelectorAll('.omni .suggest-hint')].map(e => e.innerText).join() \
         === 'service,operation'",
    );
    assert_eq!(page.search_box(), box_state(true, None));
    // Both ends of the list, with wraparound.
    for (key, name) in [
        ("ArrowDown", "payment"),
        ("ArrowDown", "Payment.Authorize"),
        ("ArrowDown", "payment"),
        ("ArrowUp", "Payment.Authorize"),
    ] {
        page.browser.press(key);
        assert_eq!(page.search_box(), box_state(true, Some(name)), "{key}");
    }
    page.browser.press("Escape");
    page.wait_for("!document.querySelector('.omni [role=option]')");
    assert_eq!(page.search_box(), box_state(false, None));
    // An arrow opens the list again.
    page.browser.press("/");
    page.wait_for("document.activeElement?.id === 'omni'");
    page.browser.press("ArrowUp");
    page.wait_for("document.querySelectorAll('.omni [role=option]').length === 2");
    assert_eq!(page.search_box(), box_state(true, Some("Payment.Authorize")));
    page.browser.press("Enter");
    wait_for_address(page.browser, "/explore", "operation=Payment.Authorize");
    assert_eq!(page.search_box(), box_state(false, None));
}

#[test]
fn names_are_listed_while_the_focus_is_in_the_box_and_open_by_a_click() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_payment(&server);
    let mut page = Page::open(&mut browser, &server, "/explore");
    page.wait_for("document.querySelectorAll('.traces-row').length === 1");
    let option = "document.querySelector('.omni [role=option]')";
    type_into_box(page.browser, "payment");
    page.wait_for(option);
    page.browser.press("Tab");
    page.wait_for("document.activeElement?.id !== 'omni'");
    page.wait_for(&format!("!{option}"));
    assert_eq!(page.search_box(), box_state(false, None));
    // The focus stays in the box from the press on a name to its click.
    type_into_box(page.browser, "payment");
    page.wait_for(&format!("{option}?.innerText.startsWith('payment')"));
    page.click(option);
    wait_for_address(page.browser, "/services/payment", "");
}

#[test]
fn values_of_one_attribute_are_not_listed_as_those_of_another() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_from_host(&server, "checkout", "node-4", vec![span(1, 1, 0, "POST /order")]);
    browser.open(&format!("http://{}/explore", server.http));
    browser.wait_for("document.querySelectorAll('.traces-row').length === 1");
    type_into_box(&mut browser, "host.name=node");
    browser.wait_for("document.querySelector('.omni .suggest-hint')?.innerText === 'host.name'");
    // The values of the other attribute never arrive.
    browser.evaluate(
        "const fetched = window.fetch; \
         window.fetch = (request, ...rest) => { \
         const isOther = (request.url ?? String(request)).includes('cloud.region'); \
         window.isAsked ||= isOther; \
         return isOther ? new Promise(() => {}) : fetched(request, ...rest); }; \
         true",
    );
    type_into_box(&mut browser, "cloud.region=node");
    browser.wait_for("window.isAsked");
    let listed = browser.evaluate("document.querySelectorAll('.omni [role=option]').length");
    assert_eq!(listed, json!(0));
}
