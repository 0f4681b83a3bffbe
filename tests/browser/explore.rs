//! Explore: filters, the TraceQL query, the heatmap with a box, order and columns.

use prost::Message;
use serde_json::json;
use tidings_proto::otlp::{KeyValue, Span, Status};

use super::{click_text, count, page_objects::ExplorePage, pages::BEYOND};
use crate::harness::{
    Server,
    browser::Browser,
    http::post,
    spans::{now, span, traces},
};

/// Sends this many fast calls, and slow ones through one acquirer, over the last minutes.
fn send_calls(server: &Server) {
    let begin = now() - 600_000_000_000;
    let call = |number: u64| {
        let is_slow = number.is_multiple_of(5);
        let start = begin + number * 1_400_000_000;
        let millis = if is_slow { 900 + number % 7 } else { 20 + number % 9 };
        let acquirer = if is_slow { "northpay" } else { "southpay" };
        let status = is_slow.then(|| Status { message: "timed out".to_owned(), code: 2 });
        Span {
            start_time_unix_nano: start,
            end_time_unix_nano: start + millis * 1_000_000,
            attributes: vec![KeyValue::new("payment.acquirer", acquirer)],
            status,
            ..span(u128::from(number + 1), number + 1, 0, "POST /pay")
        }
    };
    let request = traces("payment", (0..400).map(call).collect()).encode_to_vec();
    assert_eq!(
        post(&server.otlp_http, "/v1/traces", "application/x-protobuf", request).status,
        200
    );
}

#[test]
fn a_box_in_the_heatmap_is_explained_and_narrows_the_list() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_calls(&server);
    browser.prefer("dark");
    browser.open(&format!("http://{}/explore?live=off&range=15m", server.http));
    browser.wait_for("document.querySelectorAll('.traces-row').length === 50");
    browser.wait_for("document.querySelector('.heat-plot svg path')");
    // A full page that has a next page shows no warning about missing rows.
    assert_eq!(count(&mut browser, ".note-warning"), 0);
    browser.screenshot("explore-heatmap-dark");

    ExplorePage::shown(&mut browser).draw_box();
    // The box also fixes the time range, so that the link shows the same later.
    browser.wait_for(
        "['box', 'from', 'to'].every(key => new URLSearchParams(location.search).has(key))",
    );
    browser.wait_for("new URLSearchParams(location.search).get('range-before') === '15m'");
    browser.wait_for_text("What sets the box apart");
    // The failures and the acquirer match the same spans: one is ranked, and the other is named
    // with it.
    browser.wait_for("document.querySelector('.explain-row')?.innerText.includes('northpay')");
    browser.wait_for("document.querySelector('.list-tools h2').innerText === '80 traces'");
    browser.screenshot("explore-box-dark");
    browser.prefer("light");
    browser.screenshot("explore-box-light");
    browser.evaluate("document.querySelector('.explain-value').click()");
    browser.wait_for("/status=error|attr=payment.acquirer%3Dnorthpay/.test(location.search)");
    browser.press("Escape");
    browser.wait_for("!location.search.includes('box=')");
    browser.wait_for("new URLSearchParams(location.search).get('range') === '15m'");
    browser.wait_for("!/from=|to=|range-before=/.test(location.search)");
    browser.wait_for("!document.querySelector('.explain-value')");

    // Headings sort all matching traces. The breadcrumb of a trace leads back to the same list.
    browser.open(&format!("http://{}/explore?live=off&range=15m&service=payment", server.http));
    click_text(&mut browser, "Duration");
    browser.wait_for("location.search.includes('sort=duration')");
    browser.wait_for(
        "document.querySelector('.traces-row .traces-duration').innerText.startsWith('906')",
    );
    browser.press("j");
    browser.press("Enter");
    browser.wait_for("document.querySelectorAll('.wf-line').length === 1");
    browser.evaluate("document.querySelector('.crumbs a').click()");
    browser.wait_for(
        "location.search.includes('service=payment') && location.search.includes('sort=duration')",
    );

    // The reader chooses the columns.
    browser.evaluate("document.querySelector('.columns-menu').open = true");
    browser.evaluate("[...document.querySelectorAll('.column-choice input')][3].click()");
    browser.wait_for("location.search.includes('hide=spans')");
    browser
        .wait_for("getComputedStyle(document.querySelector('td.traces-spans')).display === 'none'");

    // The list shows groups instead of traces.
    browser.open(&format!("http://{}/explore?live=off&range=15m&group=status", server.http));
    browser.wait_for("document.querySelectorAll('.groups tbody tr').length === 2");
    click_text(&mut browser, "error");
    browser.wait_for(
        "location.search.includes('status=error') && !location.search.includes('group=')",
    );
}

#[test]
fn spans_are_listed_with_attributes_as_columns_and_values_that_filter() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_calls(&server);
    browser.prefer("dark");
    let mut explore = ExplorePage::open(&mut browser, &server, "live=off&range=15m");
    explore.add_column("payment.acq", "payment.acquirer");
    let values = |explore: &mut ExplorePage<'_>, table: &str| {
        let mut values = explore.attribute_values(table);
        values.sort();
        values.dedup();
        values
    };
    assert_eq!(values(&mut explore, "Traces"), ["northpay", "southpay"]);
    explore.page.browser.screenshot("explore-columns-dark");
    explore.page.choose("What is listed", "Spans");
    explore.page.wait_for_address("view=spans");
    explore.page.wait_for_rows("Spans");
    explore.page.wait_for_text("Spans of 400 traces, newest first");
    assert_eq!(values(&mut explore, "Spans"), ["northpay", "southpay"]);
    for (theme, width) in [
        ("dark", 360),
        ("light", 360),
        ("dark", 500),
        ("light", 500),
        ("light", 1440),
        ("dark", 1440),
    ] {
        explore.page.browser.prefer(theme);
        explore.page.browser.resize(width, 900);
        explore.page.browser.evaluate("document.querySelector('.list-tools').scrollIntoView()");
        assert_eq!(explore.page.browser.evaluate(BEYOND), json!([]), "{width}");
        explore.page.browser.screenshot(&format!("explore-spans-{theme}-{width}"));
    }

    // The list is sorted by duration, longest first.
    explore.page.press_button("Duration");
    explore.page.wait_for_address("sort=span-duration");
    explore.page.wait_until_settled();
    explore.page.wait_for_text("Spans of 400 traces, longest first");
    explore.page.wait_for(
        "document.querySelector('table[aria-label=Spans] td.traces-duration').innerText.startsWith('906')",
    );
    explore.page.browser.screenshot("explore-spans-longest-dark");
    explore.page.press_button("Started");
    explore.page.wait_for_text("Spans of 400 traces, newest first");

    // A value leads to the spans that have it, and a span leads to its position in the trace.
    explore.page.press_button("Only spans with payment.acquirer = northpay");
    explore.page.wait_for_address("attr=payment.acquirer=northpay");
    explore.page.wait_until_settled();
    explore.page.wait_for(
        "[...document.querySelectorAll('table[aria-label=Spans] .attribute-value')].every(e => e.innerText === 'northpay')",
    );
    assert_eq!(count(explore.page.browser, "table[aria-label=Spans] [aria-label=failed]"), 50);
    explore.page.press_button("Remove the column payment.acquirer");
    explore.page.wait_for_address_without("col=");
    explore.page.press_button("POST /pay");
    explore.page.wait_for_address("?span=");
    explore.page.wait_for("document.querySelector('.wf-selected')");
}

#[test]
fn spans_of_a_query_are_listed_and_those_left_out_are_found_in_their_trace() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let call = |id: u64| {
        let attributes =
            vec![KeyValue::new("batch", "42"), KeyValue::new("odd \"key\"", "<b>odd</b>")];
        Span { attributes, ..span(0xa1, id, id / 2, if id == 1 { "import" } else { "store row" }) }
    };
    let body = traces("importer", (1..=41).map(call).collect()).encode_to_vec();
    assert_eq!(post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body).status, 200);
    // A number that was sent as text is found in either list. Excluding another number does not
    // exclude it.
    for query in ["attr=batch=42", "attr=batch=42&view=spans", "not=batch=41"] {
        browser.open(&format!("http://{}/explore?live=off&range=all&{query}", server.http));
        browser.wait_for("document.querySelectorAll('.traces-row').length > 0");
    }
    let query = "{ name = \"store row\" }";
    browser.open(&format!(
        "http://{}/explore?live=off&range=all&view=spans&col=odd%20%22key%22&q={}",
        server.http,
        query.replace(' ', "%20").replace('"', "%22")
    ));
    browser.wait_for("document.querySelectorAll('.traces-row').length === 20");
    browser.wait_for_text("20 more spans of this trace");
    browser.wait_for("document.querySelector('td.traces-attribute').innerText === '<b>odd</b>'");
    click_text(&mut browser, "20 more spans of this trace");
    browser.wait_for("document.querySelector('#trace-find')?.value === '{ name = \"store row\" }'");
    browser.wait_for("document.querySelector('.trace-find-count')?.innerText.includes('40')");
}

#[test]
fn filters_and_traceql_say_the_same_and_errors_have_a_place() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1280, 800) else { return };
    send_calls(&server);
    let field = "document.querySelector('#traceql')";
    browser.open(&format!(
        "http://{}/explore?live=off&range=15m&service=payment&status=error",
        server.http
    ));
    browser.wait_for("document.querySelectorAll('.traces-row').length > 10");
    browser.press("q");
    browser.wait_for(&format!(
        "{field}?.value === '{{ resource.service.name = \"payment\" && status = error }}'"
    ));
    let write = |browser: &mut Browser, text: &str| {
        // The page turns a query back into filters when filters can express it.
        if count(browser, "#traceql") == 0 {
            browser.press("q");
            browser.wait_for(field);
        }
        browser.evaluate(&format!("{field}.focus(), {field}.select()"));
        browser.type_text(text);
        browser.press("Enter");
    };
    write(&mut browser, "{ .payment.acquirer != \"northpay\" }");
    browser.wait_for("location.search.includes('not=payment.acquirer')");
    browser
        .wait_for("[...document.querySelectorAll('.chip')].some(e => e.innerText.includes('≠'))");
    browser.wait_for("document.querySelector('.list-tools h2').innerText.includes('320')");
    browser.expect_refusals(400, "/api/v1/");
    write(&mut browser, "{ durration > 1s }");
    browser.wait_for("document.querySelector('.query-error')?.innerText.includes('did you mean')");
    assert_eq!(count(&mut browser, ".query-caret"), 1);
    browser.screenshot("explore-query-error");
    write(&mut browser, "{ duration > 500ms } | count() > 0");
    browser.wait_for("!document.querySelector('.query-error')");
    browser.wait_for("document.querySelector('.heat-plot svg path')");
    browser.wait_for_text("80 spans; drag a box to explain it");

    // Enter accepts the marked option.
    browser.open(&format!("http://{}/explore?live=off&range=15m", server.http));
    browser.wait_for("document.querySelectorAll('.traces-row').length > 10");
    browser.press("f");
    browser.wait_for("document.activeElement.id === 'filter'");
    browser.type_text("serv");
    browser.wait_for("document.querySelector('[role=option][aria-selected=true]')?.innerText.startsWith('service')");
    browser.press("Enter");
    browser.wait_for("document.querySelector('#filter')?.placeholder === 'Value of service'");
    browser.type_text("pay");
    browser.wait_for("document.querySelector('[role=option][aria-selected=true]')?.innerText.startsWith('payment')");
    browser.press("Enter");
    browser.wait_for("location.search.includes('service=payment')");
}

#[test]
fn a_query_that_filters_cannot_say_has_its_heatmap_and_a_box_in_it_is_explained() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_calls(&server);
    browser.prefer("dark");
    let query = "%7B%20.payment.acquirer%20!%3D%20nil%20%7D%20%7C%20count()%20%3E%200";
    browser.open(&format!("http://{}/explore?live=off&range=15m&q={query}", server.http));
    browser.wait_for("document.querySelectorAll('.traces-row').length === 50");
    browser.wait_for_text("400 spans; drag a box to explain it");
    // Each fifth span has failed, so failed spans have a lane of their own.
    browser.wait_for("document.querySelectorAll('.count-lane').length === 2");
    browser.screenshot("explore-query-heatmap-dark");

    ExplorePage::shown(&mut browser).draw_box();
    browser.wait_for("location.search.includes('box=') && location.search.includes('q=')");
    browser.wait_for_text("80 spans against 320 others");
    browser.wait_for("document.querySelector('.explain-row')?.innerText.includes('northpay')");
    browser.screenshot("explore-query-box-dark");
    // The remaining traces took 900 ms to 906 ms.
    browser.wait_for(
        "(all => all.length === 50 && all.every(e => e.innerText.startsWith('90'))) \
         ([...document.querySelectorAll('.traces-row .traces-duration')])",
    );
    click_text(&mut browser, "Compare with all");
    browser.wait_for("location.search.includes('trees=on')");
    browser.wait_for_text("Where the time goes");
    // A click on a value narrows the query and keeps the box.
    browser.evaluate("document.querySelector('.explain-value').click()");
    browser.wait_for(
        "new URLSearchParams(location.search).get('q').endsWith(' > 0 | { status = error }')",
    );
    browser.wait_for_text("80 spans against 0 others");
    click_text(&mut browser, "Clear");
    browser.wait_for("!location.search.includes('box=') && location.search.includes('q=')");
    browser.wait_for_text("80 spans; drag a box to explain it");
}

#[test]
fn no_page_scrolls_sideways_and_the_fonts_are_ours() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_calls(&server);
    let trace = format!("/trace/{:032x}", 6);
    for width in [390, 960, 1_280] {
        let size =
            json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false });
        browser.command("Emulation.setDeviceMetricsOverride", size);
        for path in ["/explore?live=off", "/logs?live=off", trace.as_str(), "/connect"] {
            browser.open(&format!("http://{}{path}", server.http));
            browser.wait_for(
                "document.querySelector('.traces-row, .logs-page .state, .wf-line, .guides')",
            );
            let wide = browser.evaluate(
                "[document.documentElement, document.body, document.querySelector('.content')] \
                 .map(e => e.scrollWidth - e.clientWidth)",
            );
            assert_eq!(wide, json!([0, 0, 0]), "{path} at {width}");
            if path.starts_with("/explore") {
                let name = browser.evaluate("document.querySelector('td.traces-name').clientWidth");
                assert!(name.as_u64().unwrap() > 100, "Transaction has {name} px at {width}");
                browser.screenshot(&format!("explore-{width}"));
            }
        }
    }
    let loaded = browser.evaluate(
        "document.fonts.ready.then(f => [...f].filter(f => f.status === 'loaded').map(f => f.family).sort())",
    );
    let loaded = loaded.to_string();
    assert!(loaded.contains("Inter") && loaded.contains("JetBrains Mono"), "{loaded}");
}
