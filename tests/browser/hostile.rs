//! Hostile strings in every field of spans, by OTLP and by Zipkin, and of log records. Each page
//! shows them as text, runs nothing, and stays as wide as the window.

use prost::Message;
use serde_json::{Value as Json, json};
use tidings_disk::test_effort::by_effort;
use tidings_proto::otlp::{
    Event, ExportLogsServiceRequest, ExportTraceServiceRequest, InstrumentationScope, KeyValue,
    Link, LogRecord, Resource, ResourceLogs, ResourceSpans, ScopeLogs, ScopeSpans, Span, Status,
};

use super::{SETTLED, pages::BEYOND};
use crate::{
    harness::{
        Server,
        browser::Browser,
        http::post,
        spans::{log, logs, now, span, traces},
    },
    hostile::{
        returned::{send_zipkin, zipkin_span},
        strings::{STRINGS, strings},
    },
};

/// Indexes of the strings that have pages of their own. A quick run opens those of the first three.
const CHOSEN: [usize; 9] = [0, 61, 105, 3, 41, 100, 120, 135, 190];
/// Id of the trace that holds every string.
const SHARED: u128 = 0x0bad;

/// Returns the attributes that pages look for and one that they ignore, all with this text.
fn attributes(text: &str) -> Vec<KeyValue> {
    let known = [
        "url.full",
        "http.route",
        "peer.service",
        "server.address",
        "db.statement",
        "db.system",
        "messaging.destination.name",
        "order.id",
        "exception.type",
        "exception.message",
        "exception.stacktrace",
    ];
    known.iter().copied().chain([text]).map(|key| KeyValue::new(key, text)).collect()
}

fn resource(text: &str) -> Option<Resource> {
    let keys = ["service.name", "service.version", "service.namespace", "host.name", text];
    let attributes = keys.map(|key| KeyValue::new(key, text)).to_vec();
    Some(Resource { attributes, ..Resource::default() })
}

fn scope(text: &str) -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: text.to_owned(),
        version: text.to_owned(),
        attributes: vec![KeyValue::new(text, text)],
        ..InstrumentationScope::default()
    })
}

/// Returns a failed span with this text in every field.
fn hostile_span(text: &str, trace: u128, id: u64, parent: u64, kind: i32) -> Span {
    let event = Event {
        name: "exception".to_owned(),
        time_unix_nano: now(),
        attributes: attributes(text),
        ..Event::default()
    };
    let named = Event { name: text.to_owned(), ..event.clone() };
    let link = Link {
        trace_id: 1_u128.to_be_bytes().to_vec(),
        span_id: 1_u64.to_be_bytes().to_vec(),
        trace_state: text.to_owned(),
        attributes: attributes(text),
        ..Link::default()
    };
    Span {
        kind,
        trace_state: text.to_owned(),
        attributes: attributes(text),
        events: vec![event, named],
        links: vec![link],
        status: Some(Status { message: text.to_owned(), code: 2 }),
        ..span(trace, id, parent, text)
    }
}

fn send(server: &Server, path: &str, body: Vec<u8>) {
    let answer = post(&server.otlp_http, path, "application/x-protobuf", body);
    assert_eq!(answer.status, 200, "{:?}", answer.body);
}

/// Sends every string in every field: in a trace of its own, in the shared trace, and in log
/// records.
fn send_strings(server: &Server, all: &[String]) {
    // One request has room for only some of the strings.
    for (number, part) in (0..).zip(all.chunks(25)) {
        let numbered = || (number * 25 + 1..).zip(part);
        let resource_spans = numbered().map(|(number, text)| spans_of(number, text)).collect();
        let request = ExportTraceServiceRequest { resource_spans };
        send(server, "/v1/traces", request.encode_to_vec());
        let resource_logs = numbered().map(|(number, text)| record_of(number, text)).collect();
        let request = ExportLogsServiceRequest { resource_logs };
        send(server, "/v1/logs", request.encode_to_vec());
    }
    let zipkin = (2_001..).zip(all).map(|(id, text)| zipkin_span(text, SHARED, id, 999));
    send_zipkin(server, &zipkin.collect::<Vec<_>>());
    // One span and one record have all strings as attributes.
    let every: Vec<KeyValue> = all.iter().map(|text| KeyValue::new(text, text.as_str())).collect();
    let root = Span { attributes: every.clone(), ..span(SHARED, 999, 0, "every string") };
    send(server, "/v1/traces", traces("all", vec![root]).encode_to_vec());
    let record = LogRecord { attributes: every, ..log(SHARED, 999, "every string") };
    send(server, "/v1/logs", logs("all", vec![record]).encode_to_vec());
}

/// Returns the root of a trace of its own, and a call in the shared trace.
fn spans_of(number: u64, text: &str) -> ResourceSpans {
    let own = hostile_span(text, u128::from(number), number, 0, 2);
    let shared = hostile_span(text, SHARED, number + 1_000, 999, 3);
    ResourceSpans {
        resource: resource(text),
        scope_spans: vec![ScopeSpans {
            scope: scope(text),
            spans: vec![own, shared],
            schema_url: text.to_owned(),
        }],
        schema_url: text.to_owned(),
    }
}

fn record_of(number: u64, text: &str) -> ResourceLogs {
    let record = LogRecord {
        severity_text: text.to_owned(),
        severity_number: i32::try_from(number % 25).unwrap(),
        event_name: text.to_owned(),
        attributes: attributes(text),
        ..log(SHARED, number + 1_000, text)
    };
    ResourceLogs {
        resource: resource(text),
        scope_logs: vec![ScopeLogs {
            scope: scope(text),
            log_records: vec![record],
            schema_url: text.to_owned(),
        }],
        schema_url: text.to_owned(),
    }
}

/// Percent-encodes a part of a path or query.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Returns the paths of every page, and of pages about some single strings.
fn pages(all: &[String]) -> Vec<String> {
    let shared = format!("/trace/{SHARED:032x}");
    let mut pages: Vec<String> = [
        "/",
        "/?by=services",
        "/explore?live=off",
        "/explore?live=off&group=service",
        "/transactions",
        "/services",
        "/map",
        "/errors",
        "/logs?live=off",
        "/logs?live=off&view=patterns",
        "/sql",
        "/system",
        "/connect",
    ]
    .map(str::to_owned)
    .to_vec();
    pages.extend(
        ["", "&tab=flame", "&tab=tree", "&tab=table", "&tab=graph", "&tab=services", "&tab=logs"]
            .map(|tab| format!("{shared}?span=00000000000003e7{tab}")),
    );
    pages.push(format!("{shared}?span=00000000000003e9"));
    pages.push(format!("/compare?left={:032x}&right={SHARED:032x}", 1));
    pages.push(format!("/tx/{:032x}", 1));
    let chosen = by_effort(&CHOSEN[..3], &CHOSEN[..]);
    let chosen: Vec<String> = chosen.iter().map(|index| encoded(&all[*index])).collect();
    // The very long strings do not fit into an address.
    for text in chosen.iter().filter(|text| text.len() < 2_000) {
        pages.push(format!("/services/{text}"));
        pages.push(format!("/transactions/{text}/{text}"));
        pages.push(format!("/tx/{text}"));
        pages.push(format!("/explore?live=off&service={text}&attr={text}%3D{text}&q={text}"));
        pages.push(format!("/logs?live=off&text={text}&service={text}"));
        pages.push(format!("/map?focus={text}"));
        pages.push(format!("/errors?text={text}"));
        pages.push(format!("/sql?query={text}"));
    }
    pages
}

/// Expression that returns signs of telemetry being treated as markup or script. It must find none.
const RAN: &str = "(() => {
    const made = [...document.querySelectorAll('*')].filter(e =>
        /^(img|iframe|object|embed|base|video|audio|math|form|marquee|template|foreignobject)$/i.test(e.tagName)
            && !e.matches('form[class]')
        || /^script$/i.test(e.tagName) && !e.closest('head')
        || [...e.attributes].some(a => a.name.startsWith('on')));
    const links = [...document.querySelectorAll('a[href], area[href]')]
        .filter(a => !/^https?:$/.test(a.protocol));
    return [window.ran ?? null, document.title === 'ran', ...made.concat(links).map(e => e.outerHTML.slice(0, 300))];
})()";

/// Expression that is true when the page has drawn some text.
const DRAWN: &str = "document.querySelector('main')?.innerText.trim().length > 0";

#[test]
fn two_hundred_hostile_strings_stay_text_on_every_page() {
    let server = Server::start();
    let Some(mut browser) = Browser::start(&server, 1280, 800) else { return };
    // The server refuses an invalid query and an unknown id.
    browser.expect_refusals(400, "/api/v1/");
    browser.expect_refusals(404, "/api/v1/");
    let all = strings();
    assert_eq!(all.len(), STRINGS);
    send_strings(&server, &all);
    let mut faults = Vec::new();
    for page in pages(&all) {
        browser.resize(1280, 800);
        browser.open(&format!("http://{}{page}", server.http));
        browser.wait_for(DRAWN);
        browser.wait_for(SETTLED);
        let mut look = |browser: &mut Browser, at: &str| {
            let ran: Json = browser.evaluate(RAN);
            if ran != json!([null, false]) {
                faults.push(format!("{page} {at}: {ran}"));
            }
            let beyond = browser.evaluate(BEYOND);
            if beyond != json!([]) {
                faults.push(format!("{page} {at}: {beyond}"));
            }
        };
        look(&mut browser, "1280");
        // The key opens a record or a row.
        if page.starts_with("/logs") || page.starts_with("/errors") {
            browser.press("j");
            look(&mut browser, "opened");
        }
        browser.resize(390, 844);
        browser.wait_for(DRAWN);
        browser.wait_for(SETTLED);
        look(&mut browser, "390");
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}
