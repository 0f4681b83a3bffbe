//! The trace that every client sends, and the answers that the API must give about it.
//!
//! `POST /checkout` (server: an attribute of each type, an event, a link to an earlier trace) calls
//! `charge card` (client: an exception, status *error*), within which a log record is written.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::harness::Server;

/// Properties of the trace in which the clients differ.
pub(crate) struct Sender {
    /// Its service is `client-` followed by this.
    pub(crate) language: &'static str,
    /// `telemetry.sdk.language`.
    pub(crate) sdk_language: &'static str,
    /// The exception's type, for an SDK that records it.
    pub(crate) exception_type: Option<&'static str>,
}

/// Asserts that the trace arrived in each of these ways, complete and once.
pub(crate) fn check_otlp(server: &Server, sent: &str, ways: &[&str], sender: &Sender) {
    let sent: Vec<_> = lines(sent).filter(|(way, _)| !way.starts_with("zipkin")).collect();
    let mut found: Vec<_> = sent.iter().map(|(way, _)| *way).collect();
    let mut ways = ways.to_vec();
    ways.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, ways);
    for (way, trace_id) in sent {
        let view = trace(server, trace_id);
        assert_eq!(
            otlp_facts(&view),
            expected_otlp(sender),
            "{} over {way}: {view:#}",
            sender.language
        );
        check_summary(server, &view, &format!("client-{}", sender.language));
    }
}

/// Asserts that the trace arrived from the Zipkin exporter of this name in each of these ways. Only
/// the parts that Zipkin's format can carry are compared.
pub(crate) fn check_zipkin(server: &Server, sent: &str, ways: &[&str], name: &str) {
    let sent: Vec<_> = lines(sent).filter(|(way, _)| way.starts_with("zipkin")).collect();
    assert_eq!(sent.iter().map(|(way, _)| *way).collect::<Vec<_>>(), ways);
    let expected = match name {
        "brave" => brave(),
        "python" => zipkin_from_python(),
        _ => zipkin_from_node(),
    };
    for (way, trace_id) in sent {
        let view = trace(server, trace_id);
        assert_eq!(zipkin_facts(&view), expected, "{name} over {way}: {view:#}");
        check_summary(server, &view, &format!("client-{name}"));
    }
}

/// Splits each line into the way of export and the trace id.
fn lines(sent: &str) -> impl Iterator<Item = (&str, &str)> {
    sent.lines().map(|line| line.rsplit_once(' ').unwrap_or_else(|| panic!("not a trace: {line}")))
}

fn trace(server: &Server, trace_id: &str) -> Json {
    let (status, view) = server.get(&format!("/api/v1/traces/{trace_id}"));
    assert_eq!(status, 200, "{trace_id}: {view}");
    view
}

/// Checks the fields that lists and the waterfall show.
fn check_summary(server: &Server, view: &Json, service: &str) {
    assert_eq!(view["rootService"], service);
    assert_eq!(view["rootOperation"], "POST /checkout");
    assert_eq!(view["hasRoot"], true);
    assert_eq!(view["errorCount"], 1);
    assert_eq!(view["spanCount"], rows(&view["spans"]).len());
    let trace_id = view["traceId"].as_str().unwrap();
    let (status, skeleton) = server.get(&format!("/api/v1/traces/{trace_id}/skeleton"));
    assert_eq!((status, &skeleton["summary"]["spanCount"]), (200, &view["spanCount"]));
    let (status, found) = server.get(&format!("/api/v1/traces?service={service}&status=error"));
    assert_eq!(status, 200, "{found}");
    assert!(
        rows(&found["traces"]).iter().any(|trace| trace["traceId"] == trace_id),
        "{trace_id}: {found}"
    );
}

fn expected_otlp(sender: &Sender) -> Json {
    let service = format!("client-{}", sender.language);
    let mut exception = json!({ "exception.message": text("card refused") });
    if let Some(exception_type) = sender.exception_type {
        exception["exception.type"] = text(exception_type);
    }
    let numbers = json!({ "arrayValue": { "values": [{ "intValue": "1" }, { "intValue": "2" }] } });
    json!({
        "spans": [
            {
                "name": "POST /checkout", "parent": null, "kind": "server", "status": ["unset", ""],
                "service": service,
                "attributes": {
                    "text": text("Grüße"),
                    "truth": { "boolValue": true },
                    "number": { "intValue": "9007199254740991" },
                    "ratio": { "doubleValue": 0.1 },
                    "texts": { "arrayValue": { "values": [text("a"), text("b")] } },
                    "numbers": numbers,
                },
                "events": [["cart loaded", { "items": { "intValue": "3" } }]],
                "links": [[
                    "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", { "reason": text("retry") },
                ]],
                "scope": ["checkout", "0.1.0"],
                "resource": resource(sender),
            },
            {
                "name": "charge card", "parent": "POST /checkout", "kind": "client",
                "status": ["error", "card refused"],
                "service": service,
                "attributes": {},
                "events": [["exception", exception]],
                "links": [],
                "scope": ["checkout", "0.1.0"],
                "resource": resource(sender),
            },
        ],
        "logs": [{
            "text": "card refused", "span": "charge card", "service": service,
            "severity": ["error", 17, "ERROR"],
            "attributes": { "attempt": { "intValue": "2" } },
            "scope": ["checkout", "0.1.0"],
            "resource": resource(sender),
        }],
        "logCount": 1,
        "problems": [],
    })
}

fn resource(sender: &Sender) -> Json {
    json!({
        "service.name": text(&format!("client-{}", sender.language)),
        "service.version": text("1.2.3"),
        "telemetry.sdk.name": text("opentelemetry"),
        "telemetry.sdk.language": text(sender.sdk_language),
    })
}

/// Returns the client's telemetry without the ids, times and stack traces that differ in every run.
fn otlp_facts(view: &Json) -> Json {
    let scope = |scope: &Json| json!([scope["name"], scope["version"]]);
    let resource = |resource: &Json| {
        only(&resource["attributes"], |key| {
            ["service.name", "service.version", "telemetry.sdk.name", "telemetry.sdk.language"]
                .contains(&key)
        })
    };
    let row =
        |rows: &'static str, at: &Json| &view[rows][usize::try_from(at.as_u64().unwrap()).unwrap()];
    let spans: Vec<Json> = rows(&view["spans"])
        .iter()
        .map(|span| {
            let mut facts = span_facts(view, span);
            facts["scope"] = scope(row("scopes", &span["scope"]));
            facts["resource"] = resource(row("resources", &span["resource"]));
            facts["links"] = rows(&span["links"])
                .iter()
                .map(|link| json!([link["traceId"], link["spanId"], all(&link["attributes"])]))
                .collect();
            facts
        })
        .collect();
    let logs: Vec<Json> = rows(&view["logs"])
        .iter()
        .map(|log| {
            assert_eq!(log["traceId"], view["traceId"]);
            json!({
                "text": log["text"], "span": name_of(view, &log["spanId"]), "service": log["service"],
                "severity": [log["severity"], log["severityNumber"], log["severityText"]],
                "attributes": all(&log["attributes"]),
                "scope": scope(&log["scope"]),
                "resource": resource(&log["resource"]),
            })
        })
        .collect();
    json!({ "spans": spans, "logs": logs, "logCount": view["logCount"], "problems": view["problems"] })
}

/// Returns the fields of a span that Zipkin's format carries, too.
fn span_facts(view: &Json, span: &Json) -> Json {
    let volatile = ["exception.stacktrace", "exception.escaped"];
    let events: Vec<Json> = rows(&span["events"])
        .iter()
        .map(|event| {
            json!([event["name"], only(&event["attributes"], |key| !volatile.contains(&key))])
        })
        .collect();
    let nanos = |key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
    assert!(nanos("startUnixNano") > 0 && nanos("startUnixNano") <= nanos("endUnixNano"), "{span}");
    json!({
        "name": span["name"], "parent": name_of(view, &span["parentSpanId"]), "kind": span["kind"],
        "status": [span["status"]["code"], span["status"].get("message").unwrap_or(&json!(""))],
        "service": span["service"],
        "attributes": all(&span["attributes"]),
        "events": events,
    })
}

/// Returns the trace as OpenTelemetry's Zipkin exporter for Node sends it: tags are text, links are
/// lost.
fn zipkin_from_node() -> Json {
    json!({
        "spans": [
            {
                "name": "POST /checkout", "parent": null, "kind": "server", "status": ["unset", ""],
                "service": "client-node",
                "attributes": {
                    "text": text("Grüße"), "truth": text("true"), "number": text("9007199254740991"),
                    "ratio": text("0.1"), "texts": text("a,b"), "numbers": text("1,2"),
                },
                "events": [["cart loaded", {}]],
            },
            {
                "name": "charge card", "parent": "POST /checkout", "kind": "client",
                "status": ["error", "card refused"],
                "service": "client-node",
                "attributes": { "error": text("card refused") },
                "events": [["exception", {}]],
            },
        ],
        "problems": [],
    })
}

/// Returns the trace as OpenTelemetry's Zipkin exporters for Python send it. An event's annotation
/// is JSON, and every span has the debug flag.
fn zipkin_from_python() -> Json {
    let debug = json!({ "boolValue": true });
    json!({
        "spans": [
            {
                "name": "POST /checkout", "parent": null, "kind": "server", "status": ["unset", ""],
                "service": "client-python",
                "attributes": {
                    "text": text("Grüße"), "truth": text("true"), "number": text("9007199254740991"),
                    "zipkin.debug": debug,
                },
                "events": [["{\"cart loaded\": {\"items\": 3}}", {}]],
            },
            {
                "name": "charge card", "parent": "POST /checkout", "kind": "client",
                "status": ["error", "card refused"],
                "service": "client-python",
                "attributes": { "error": text("card refused"), "zipkin.debug": debug },
                "events": [],
            },
        ],
        "problems": [],
    })
}

/// Returns the trace as Brave sends it. The server's span shares the id of the client's span.
fn brave() -> Json {
    json!({
        "spans": [
            {
                "name": "POST /checkout", "parent": null, "kind": "server", "status": ["unset", ""],
                "service": "client-brave",
                "attributes": { "text": text("Grüße") },
                "events": [["cart loaded", {}]],
            },
            {
                "name": "charge card", "parent": "POST /checkout", "kind": "client",
                "status": ["error", "card refused"],
                "service": "client-brave",
                "attributes": { "error": text("card refused"), "peer.service": text("card") },
                "events": [],
            },
            {
                "name": "charge card", "parent": "POST /checkout", "kind": "server", "status": ["unset", ""],
                "service": "client-brave-card",
                "attributes": { "zipkin.shared": { "boolValue": true } },
                "events": [],
            },
        ],
        "problems": [],
    })
}

fn zipkin_facts(view: &Json) -> Json {
    let about_the_sender = ["service.", "telemetry.", "network.local."];
    let spans: Vec<Json> = rows(&view["spans"])
        .iter()
        .map(|span| {
            let mut facts = span_facts(view, span);
            facts["attributes"] = only(&span["attributes"], |key| {
                !about_the_sender.iter().any(|prefix| key.starts_with(prefix))
            });
            facts
        })
        .collect();
    json!({ "spans": spans, "problems": view["problems"] })
}

/// Returns the name of the span with this id.
fn name_of(view: &Json, span_id: &Json) -> Json {
    if span_id.is_null() {
        return Json::Null;
    }
    let span = rows(&view["spans"]).iter().find(|span| span["spanId"] == *span_id);
    span.unwrap_or_else(|| panic!("no span {span_id} in {view:#}"))["name"].clone()
}

/// Returns attributes by key. Asserts that no key is repeated.
fn all(attributes: &Json) -> Json {
    only(attributes, |_| true)
}

fn only(attributes: &Json, wanted: impl Fn(&str) -> bool) -> Json {
    let mut values = BTreeMap::new();
    for attribute in rows(attributes) {
        let key = attribute["key"].as_str().unwrap();
        if wanted(key) {
            assert!(
                values.insert(key, attribute["value"].clone()).is_none(),
                "{key} twice: {attributes}"
            );
        }
    }
    json!(values)
}

fn text(value: &str) -> Json {
    json!({ "stringValue": value })
}

fn rows(list: &Json) -> &[Json] {
    list.as_array().map_or(&[], Vec::as_slice)
}
