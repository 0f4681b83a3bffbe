//! Logs: links to a record, patterns, the list of fields with their percentiles, fields of the
//! message, JSON, selected text, and the counts during a tail.

use prost::Message;
use serde_json::json;
use tidings_proto::otlp::{KeyValue, LogRecord};

use super::{click, click_text, count, page_objects::Page, send_logs};
use crate::harness::{
    Server,
    browser::Browser,
    http::post,
    spans::{log, logs, now, span, traces},
};

fn record(number: u64, severity: i32, text: &str) -> LogRecord {
    LogRecord {
        time_unix_nano: now() - 300_000_000_000 + number * 1_000_000,
        severity_number: severity,
        severity_text: String::new(),
        attributes: vec![KeyValue::new(
            "tier",
            if number.is_multiple_of(2) { "gold" } else { "basic" },
        )],
        ..log(u128::from(number + 1), number + 1, text)
    }
}

#[test]
fn logs_are_counted_grouped_and_linked() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let quiet = (0..400).map(|number| record(number, 9, &format!("order A-{number} stored")));
    let loud = (400..410).map(|number| record(number, 17, &format!("charge {number} timed out")));
    send_logs(&server, quiet.chain(loud).collect());
    let (_, first) = server.get("/api/v1/logs?order=asc&limit=1");
    let first = &first["logs"][0];
    let (id, at) = (first["id"].as_str().unwrap(), first["timeUnixNano"].as_str().unwrap());
    browser.prefer("dark");

    // The link leads to a record far below the first page.
    browser.open(&format!("http://{}/logs?live=off&open={id}&at={at}", server.http));
    browser
        .wait_for("document.querySelector('.logs-linked .log-details')?.innerText.includes('A-0')");

    // Errors have a scale of their own. Fields show counts of records.
    browser.open(&format!("http://{}/logs?live=off", server.http));
    browser.wait_for("document.querySelector('.log-bar-error')?.getAttribute('d').length > 5");
    browser.wait_for(
        "[...document.querySelectorAll('.facet-value')].some(e => e.innerText.includes('400'))",
    );
    browser.screenshot("logs-lines-dark");
    click_text(&mut browser, "error");
    browser.wait_for("new URLSearchParams(location.search).get('q') === 'severity:error'");
    browser.wait_for("document.querySelectorAll('.log').length === 10");

    // The box accepts queries. It shows the position of the error in an invalid one.
    browser.open(&format!("http://{}/logs?live=off", server.http));
    browser.wait_for("document.querySelectorAll('.log').length === 200");
    browser.press("f");
    browser.wait_for("document.activeElement?.id === 'log-query'");
    browser.type_text("(charge OR nothing*) -stored severity:>=warn");
    browser.wait_for("document.querySelectorAll('.log').length === 10");
    browser.wait_for("new URLSearchParams(location.search).get('q')?.endsWith('warn')");
    browser.wait_for(
        "[...document.querySelectorAll('.facet-value')].every(e => !e.innerText.includes('400'))",
    );
    browser.expect_refusals(400, "/api/v1/logs");
    browser.type_text(" AND");
    browser.wait_for_text("at character 49: a term was expected");

    // The address keeps the view of patterns. New patterns are marked.
    browser.open(&format!("http://{}/logs?live=off", server.http));
    browser.wait_for("document.querySelectorAll('.log').length === 200");
    browser.press("p");
    browser.wait_for("location.search.includes('view=patterns')");
    browser.wait_for("document.querySelectorAll('.log-pattern').length === 2");
    browser.wait_for("document.querySelector('.log-patterns .new')?.innerText === 'NEW'");
    click(&mut browser, "document.querySelector('.log-pattern')");
    browser.wait_for("document.querySelector('.log-pattern-details')");
    browser.screenshot("logs-patterns-dark");
    browser.prefer("light");
    browser.screenshot("logs-patterns-light");
    click_text(&mut browser, "Show its lines");
    browser.wait_for(
        "document.querySelectorAll('.log').length > 0 && !location.search.includes('view=')",
    );

    // The record is shown as JSON, and attributes become columns.
    browser.press("j");
    browser.wait_for("document.querySelector('.log-details')");
    click_text(&mut browser, "JSON");
    browser.wait_for(
        "document.querySelector('.log-details')?.innerText.includes('\"severityNumber\"')",
    );
    browser.open(&format!("http://{}/logs?live=off&col=tier", server.http));
    browser
        .wait_for("[...document.querySelectorAll('.log-cell')].some(e => e.innerText === 'gold')");
}

#[test]
fn a_pattern_leads_to_its_first_record() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let stored = (0..40).map(|number| record(number, 9, &format!("order A-{number} stored")));
    send_logs(&server, stored.collect());
    browser.open(&format!("http://{}/logs?live=off&view=patterns", server.http));
    click(&mut browser, "document.querySelector('.log-pattern')");
    click_text(&mut browser, "Show the first one, ");
    browser.wait_for("document.querySelectorAll('.log').length === 1");
    browser.wait_for("document.querySelector('.log').innerText.includes('order A-0 stored')");
}

/// Presses a tool of an attribute of the opened record.
fn press_tool(browser: &mut Browser, attribute: &str, tool: &str) {
    let found = format!(
        "[...([...document.querySelectorAll('.log-attribute-tools li')].find(e => \
         e.querySelector('.log-tool-name').textContent === {})?.querySelectorAll('button') ?? [])] \
         .find(e => e.textContent === {})",
        json!(attribute),
        json!(tool)
    );
    browser.wait_for(&found);
    browser.evaluate(&format!("{found}.closest('details').open = true, {found}.click()"));
}

#[test]
fn a_record_is_filtered_by_its_sender_and_without_a_value() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    for (host, numbers) in [("node-1", 0..4), ("node-2", 4..10)] {
        let records = numbers.map(|number| record(number, 9, &format!("order {number}")));
        let mut request = logs("shop", records.collect());
        let resource = request.resource_logs[0].resource.as_mut().unwrap();
        resource.attributes.push(KeyValue::new("host.name", host));
        resource.attributes.push(KeyValue::new("deployment.environment.name", "test"));
        let body = request.encode_to_vec();
        let answer = post(&server.otlp_http, "/v1/logs", "application/x-protobuf", body);
        assert_eq!(answer.status, 200);
    }
    let opened = |browser: &mut Browser, count: usize| {
        browser.wait_for(&format!("document.querySelectorAll('.log').length === {count}"));
        browser.press("j");
        browser.wait_for("document.querySelector('.log-attribute-tools')");
    };
    browser.open(&format!("http://{}/logs?live=off", server.http));
    opened(&mut browser, 10);

    // Keys are shown in full.
    browser.evaluate("document.querySelector('.log-attribute-tools').open = true");
    let cut = browser.evaluate(
        "[...document.querySelectorAll('.log-details .kv-key, .log-tool-name')] \
         .filter(e => e.scrollWidth > e.clientWidth).map(e => e.textContent)",
    );
    assert_eq!(cut, json!([]));
    browser.screenshot("logs-record-tools");

    // The column, the values of the field list and the filter all use an attribute of the resource.
    press_tool(&mut browser, "resource.host.name", "Column");
    browser.wait_for("document.querySelector('.log-cell')?.innerText === 'node-2'");
    press_tool(&mut browser, "resource.host.name", "List its values");
    browser.wait_for(
        "document.querySelectorAll('[aria-label=\"resource.host.name\"] .facet-value').length === 2",
    );
    press_tool(&mut browser, "resource.host.name", "Only this value");
    browser.wait_for("new URLSearchParams(location.search).get('attr') === 'host.name=node-2'");
    opened(&mut browser, 6);

    // The query excludes the records that have the value.
    press_tool(&mut browser, "tier", "Without it");
    browser.wait_for(
        "new URLSearchParams(location.search).get('q') === 'NOT attribute.tier:=\"basic\"'",
    );
    opened(&mut browser, 3);
    press_tool(&mut browser, "resource.host.name", "Without it");
    browser.wait_for_text("No log records match");
}

/// Makes a record whose message is a JSON object.
fn structured(number: u64) -> LogRecord {
    let tier = if number.is_multiple_of(2) { "gold" } else { "basic" };
    let took = number + 1;
    let text = format!(r#"{{"msg":"charged","took_ms":{took},"user":{{"tier":"{tier}"}}}}"#);
    record(number, 9, &text)
}

#[test]
fn fields_of_a_message_are_shown_filtered_and_listed_as_attributes() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_logs(&server, (0..10).map(structured).collect());
    let records = |browser: &mut Browser, count: usize| {
        browser.wait_for(&format!("document.querySelectorAll('.log').length === {count}"));
    };
    let opened = |browser: &mut Browser| {
        browser.press("j");
        browser.wait_for("document.querySelector('.log-attribute-tools')");
    };
    let query = |browser: &mut Browser, query: Option<&str>| {
        let query = json!(query);
        browser.wait_for(&format!("new URLSearchParams(location.search).get('q') === {query}"));
    };
    browser.open(&format!("http://{}/logs?live=off", server.http));
    records(&mut browser, 10);
    let line = browser.evaluate("document.querySelector('.log-text').innerText");
    assert_eq!(line, json!("charged took_ms=10 user.tier=basic"));
    opened(&mut browser);
    let text = browser.evaluate("document.querySelector('.log-details pre').textContent");
    let lines = "{\n  \"msg\": \"charged\",\n  \"took_ms\": 10,\n  \
                 \"user\": {\n    \"tier\": \"basic\"\n  }\n}";
    assert_eq!(text, json!(lines));
    let keys = browser.evaluate(
        "[...[...document.querySelectorAll('.log-columns section')] \
         .find(e => e.querySelector('h3').textContent === 'Message').querySelectorAll('.kv-key')] \
         .map(e => e.textContent)",
    );
    assert_eq!(keys, json!(["msg", "took_ms", "user.tier"]));

    // The column, the values at the side and the filter use the field.
    press_tool(&mut browser, "body.user.tier", "Column");
    browser.wait_for("document.querySelector('.log-cell')?.innerText === 'basic'");
    press_tool(&mut browser, "body.user.tier", "List its values");
    let values = "[...document.querySelectorAll('ul[aria-label=\"body.user.tier\"] .facet-value')]";
    browser.wait_for(&format!("{values}.length === 2"));
    press_tool(&mut browser, "body.user.tier", "Only this value");
    query(&mut browser, Some(r#"body.user.tier:="basic""#));
    records(&mut browser, 5);
    browser.wait_for(&format!(
        "{values}.map(e => e.title + ' ' + e.getAttribute('aria-pressed')).sort().join() \
         === 'basic true,gold false'"
    ));
    browser.screenshot("logs-message-fields");

    // Another value takes the place of the first, and is removed by another click.
    click(&mut browser, &format!("{values}.find(e => e.title === 'gold')"));
    query(&mut browser, Some(r#"body.user.tier:="gold""#));
    browser.wait_for(
        "(cells => cells.length === 5 && cells.every(e => e.innerText === 'gold'))\
         ([...document.querySelectorAll('.log-cell')])",
    );
    click(
        &mut browser,
        &format!("{values}.find(e => e.title === 'gold' && e.ariaPressed === 'true')"),
    );
    query(&mut browser, None);
    records(&mut browser, 10);

    // Numbers are compared by their text.
    opened(&mut browser);
    press_tool(&mut browser, "body.took_ms", "Only this value");
    query(&mut browser, Some(r#"body.took_ms:="10""#));
    records(&mut browser, 1);
    opened(&mut browser);
    press_tool(&mut browser, "body.user.tier", "Without it");
    query(&mut browser, Some(r#"body.took_ms:="10" NOT body.user.tier:="basic""#));
    browser.wait_for_text("No log records match");
}

#[test]
fn a_field_with_numbers_has_their_percentiles_under_its_title() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let records = (0..100).map(|number: u64| {
        let mut record = structured(number);
        let took = i64::try_from(number + 1).unwrap() * 10;
        record.attributes.push(KeyValue::new("took", took));
        record
    });
    send_logs(&server, records.collect());
    let line = |field: &str| {
        format!(
            "document.querySelector('ul[aria-label=\"{field}\"]')?.closest('section') \
             .querySelector('.facet-numbers')"
        )
    };
    let counts = |field: &str, count: u64| {
        let title = "records with a number; percentiles are within one percent";
        format!("{}?.title === 'Of {count} {title}'", line(field))
    };
    let text = |page: &mut Page<'_>, field: &str| {
        let text = page.browser.evaluate(&format!("{}.textContent", line(field)));
        text.as_str().unwrap().replace('\u{a0}', " ")
    };
    let path = "/logs?live=off&facet=body.took_ms&facet=took&facet=tier";
    let mut page = Page::open(&mut browser, &server, path);
    page.wait_for(&counts("body.took_ms", 100));
    let shown = text(&mut page, "body.took_ms");
    let numbers: Vec<(&str, f64)> = shown
        .split(" · ")
        .map(|part| part.split_once(' ').unwrap())
        .map(|(name, number)| (name, number.parse().unwrap()))
        .collect();
    let expected = [("p50", 50.0), ("p95", 95.0), ("p99", 99.0), ("max", 100.0)];
    assert_eq!(numbers.len(), expected.len(), "{shown}");
    for ((name, number), (expected_name, expected)) in numbers.into_iter().zip(expected) {
        // One percent, and the rounding of the text.
        let is_near = (number - expected).abs() <= expected * 0.01 + 0.1;
        assert!(name == expected_name && is_near, "{expected_name} {expected} in {shown}");
    }
    page.wait_for(&counts("took", 100));
    assert!(text(&mut page, "took").ends_with(" · max 1,000"));

    // A field of texts has no line, and its numbers are not asked for.
    page.wait_until_settled();
    page.browser.screenshot("logs-facet-numbers");
    assert_eq!(count(page.browser, ".facet-numbers"), 2);
    let asked = page.browser.evaluate(
        "performance.getEntriesByType('resource').map(e => new URL(e.name).searchParams) \
         .map(query => query.get('number')).filter(number => number?.endsWith('tier')).length",
    );
    assert_eq!(asked, json!(0));

    // The percentiles are those of the matching records.
    let path = "/logs?live=off&facet=body.took_ms&q=body.took_ms:%3C%3D10";
    let mut page = Page::open(&mut browser, &server, path);
    page.wait_for(&counts("body.took_ms", 10));
    assert!(text(&mut page, "body.took_ms").ends_with(" · max 10"));
}

#[test]
fn a_value_at_the_side_is_left_out() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    let severity = |number| if number < 4 { 17 } else { 9 };
    let one = |number| record(number, severity(number), &format!("order {number}"));
    send_logs(&server, (0..10).map(one).collect());
    browser.open(&format!("http://{}/logs?live=off&facet=tier", server.http));
    let without_errors = r#"NOT severity:="error""#;
    let without_both = format!(r#"{without_errors} NOT attribute.tier:="gold""#);
    for (value, query, left) in [("error", without_errors, 6), ("gold", &without_both, 3)] {
        let button = format!(
            "[...document.querySelectorAll('.facet-without')].find(e => e.title === 'Without {value}')"
        );
        click(&mut browser, &button);
        let query = json!(query);
        browser.wait_for(&format!("new URLSearchParams(location.search).get('q') === {query}"));
        browser.wait_for(&format!("document.querySelectorAll('.log').length === {left}"));
    }
}

#[test]
fn a_field_with_many_values_says_how_many_and_lists_more() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    for number in 0..12 {
        let body = logs(&format!("service-{number:02}"), vec![record(number, 9, "stored")]);
        let body = body.encode_to_vec();
        let answer = post(&server.otlp_http, "/v1/logs", "application/x-protobuf", body);
        assert_eq!(answer.status, 200);
    }
    let mut page = Page::open(&mut browser, &server, "/logs?live=off");
    let services = |count: usize| {
        format!(
            "document.querySelectorAll('ul[aria-label=Service] .facet-value').length === {count}"
        )
    };
    page.wait_for(&services(10));
    page.wait_for_text("10 of 12");
    page.press_button("Show more");
    page.wait_for(&services(12));
    page.wait_for_text("12 of 12");
    page.press_button("Show fewer");
    page.wait_for(&services(10));
}

#[test]
fn the_total_and_the_values_follow_a_tail_and_the_list_stays_when_it_ends() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_logs(&server, (0..3).map(|number| record(number, 9, "before the tail")).collect());
    let mut page = Page::open(&mut browser, &server, "/logs?range=15m&live=off");
    page.wait_for("document.querySelectorAll('.log').length === 3");
    page.press_button("Tail");
    page.wait_for_address("tail=on");
    page.wait_for_address_without("live=off");
    page.wait_for_text("Waiting for the next record");
    page.wait_for_text("3 records in the chart, as of ");
    let said = (0..5).map(|number| log(number + 20, 1, &format!("during the tail {number}")));
    send_logs(&server, said.collect());
    page.wait_for("document.querySelectorAll('.log').length === 8");
    page.wait_for_text("8 records in the chart, as of ");
    page.wait_for(
        "document.querySelector('ul[aria-label=Service] .facet-value .num')?.innerText === '8'",
    );

    // The end of the tail ends all updates.
    page.press_button("Tail");
    page.wait_for_address_without("tail=on");
    page.wait_for_address("live=off");
    send_logs(&server, vec![log(30, 1, "after the tail")]);
    // The shell asks for the status as often as a live list asks for rows.
    page.wait_for_requests("/api/v1/status", 3);
    assert_eq!(count(page.browser, ".log"), 8);
    page.wait_for_text("8 records in the chart, as of ");
}

#[test]
fn a_stretch_of_the_histogram_is_chosen_by_keys() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1440, 900) else { return };
    send_logs(
        &server,
        (0..40).map(|number| record(0, 17, &format!("declined {number}"))).collect(),
    );
    let mut page = Page::open(&mut browser, &server, "/logs?range=15m");
    page.wait_for("document.querySelector('.log-bar-error')?.getAttribute('d').length > 5");
    page.wait_until_settled();
    page.browser.evaluate("document.querySelector('#log-plot').focus()");
    page.browser.press("Home");
    page.wait_for("document.querySelector('.log-plot .brush-chosen')");
    page.wait_for(
        "document.querySelector('.log-read').innerText.endsWith('error 0 warn 0 others 0')",
    );
    page.browser.press("Escape");
    page.wait_for("!document.querySelector('.log-plot .brush-chosen')");
    // The arrow key moves from the last step of the chart back to the one that has records.
    for _ in 0..60 {
        page.browser.press("ArrowLeft");
        let read = page.browser.evaluate("document.querySelector('.log-read').innerText");
        if read.as_str().unwrap().contains("error 40") {
            break;
        }
    }
    page.wait_for("document.querySelector('.log-read').innerText.includes('error 40')");
    page.browser.press("Enter");
    page.wait_for("['from', 'to'].every(key => new URLSearchParams(location.search).has(key))");
    page.wait_for("document.querySelectorAll('.log').length === 40");
    page.wait_for("document.activeElement?.id === 'log-plot'");
}

/// Pastes into the box, as a reader does.
fn paste(browser: &mut Browser, text: &str) {
    let not_taken = browser.evaluate(&format!(
        "(() => {{ const data = new DataTransfer(); data.setData('text/plain', {}); \
         const paste = new ClipboardEvent('paste', \
         {{ clipboardData: data, bubbles: true, cancelable: true }}); \
         return document.querySelector('#omni').dispatchEvent(paste); }})()",
        json!(text)
    ));
    // A synthetic paste event inserts no text. The test types the text where the browser would
    // insert it.
    if not_taken == true {
        browser.type_text(text);
        browser.press("Enter");
    }
}

#[test]
fn text_that_is_selected_opens_nothing_and_a_copied_line_is_found() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1280, 800) else { return };
    let stack =
        "E: no\n\tat shop.checkout.Place.order(Place.java:88)\n\tat shop.Main.main(Main.java:1)";
    let mut said = log(7, 1, "confirmation sent order=A-34838");
    said.attributes.push(KeyValue::new("exception.stacktrace", stack));
    send_logs(&server, vec![said]);
    let roots = (7..9).map(|trace| {
        let mut root = span(trace, 1, 0, "POST /checkout");
        root.attributes.push(KeyValue::new("order.id", "A-77"));
        root
    });
    let body = traces("shop", roots.collect()).encode_to_vec();
    assert_eq!(post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body).status, 200);
    browser.open(&format!("http://{}/logs?live=off", server.http));
    browser.wait_for("document.querySelectorAll('.log').length === 1");
    browser.evaluate(
        "(() => { const text = document.querySelector('.log-text'); \
         getSelection().selectAllChildren(text); text.click(); })()",
    );
    assert_eq!(count(&mut browser, ".log.is-open"), 0);
    let line = browser.evaluate("document.querySelector('.log-line').innerText");
    browser.evaluate("getSelection().removeAllRanges()");

    // A stack trace has the width of the card.
    browser.press("j");
    browser.wait_for("document.querySelector('.kv-wide')");
    let width = browser.evaluate("document.querySelector('.kv-wide .kv-value').clientWidth");
    assert!(width.as_u64().unwrap() > 300, "{width}");

    // The whole copied line finds its trace, and so does its message alone.
    for text in [line.as_str().unwrap(), "confirmation sent order=A-34838"] {
        browser.open(&format!("http://{}/explore?live=off", server.http));
        browser.wait_for("document.querySelectorAll('.traces-row').length === 2");
        browser.press("/");
        browser.wait_for("document.activeElement?.id === 'omni'");
        paste(&mut browser, text);
        browser.wait_for(&format!("location.pathname === '/trace/{:032x}'", 7));
    }

    // The box shows facts that distinguish two traces with one order id.
    browser.open(&format!("http://{}/explore?live=off", server.http));
    browser.wait_for("document.querySelectorAll('.traces-row').length === 2");
    browser.press("/");
    browser.wait_for("document.activeElement?.id === 'omni'");
    browser.type_text("A-77");
    browser.press("Enter");
    browser.wait_for("document.querySelectorAll('.omni-match').length === 2");
    let facts = browser.evaluate("document.querySelector('.omni-match').innerText");
    let facts = facts.as_str().unwrap();
    for wanted in ["POST /checkout", "shop", "completed", "1.00 ms", "1 span"] {
        assert!(facts.contains(wanted), "{wanted} in {facts}");
    }
    browser.screenshot("omni-several");
}
