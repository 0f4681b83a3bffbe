//! Hostile strings as names, services, keys, values and events, by OTLP and by Zipkin: every API that
//! reads gives them back as they were sent.

use prost::Message;
use serde_json::{Value as Json, json};
use tidings_proto::otlp::{Event, KeyValue, Span, Status};

use super::strings::strings;
use crate::harness::{
    Server,
    http::{Answer, get, post},
    spans::{now, span, traces},
};

/// Traces of the strings that are sent by OTLP and by Zipkin: these and the place of the string.
const OTLP_TRACES: u128 = 0x07a0_0000;
const ZIPKIN_TRACES: u128 = 0x21b0_0000;
/// Spans of a request.
const PART: usize = 25;

/// A failed span whose name, services, tags and annotation are this text, as Zipkin's reporters send
/// it; a parent of 0 is none.
pub(crate) fn zipkin_span(text: &str, trace: u128, id: u64, parent: u64) -> Json {
    let micros = now() / 1_000;
    let mut made = json!({
        "traceId": format!("{trace:032x}"),
        "id": format!("{id:016x}"),
        "name": text,
        "timestamp": micros,
        "duration": 1_000,
        "localEndpoint": {"serviceName": text},
        "remoteEndpoint": {"serviceName": text},
        "tags": {"error": text, "order.id": text},
        "annotations": [{"timestamp": micros + 1, "value": text}],
    });
    made["tags"][text] = text.into();
    if parent != 0 {
        made["parentId"] = format!("{parent:016x}").into();
    }
    made
}

/// Sends spans as Zipkin's reporters do.
pub(crate) fn send_zipkin(server: &Server, spans: &[Json]) {
    for part in spans.chunks(PART) {
        let body = Json::from(part).to_string();
        let answer = post(&server.zipkin, "/api/v2/spans", "application/json", body);
        assert_eq!(answer.status, 202, "{:?}", answer.body);
    }
}

/// The same span by OTLP.
fn otlp_span(text: &str, trace: u128, id: u64) -> Span {
    let keys = ["error", "order.id", text];
    let attributes = keys.map(|key| KeyValue::new(key, text)).to_vec();
    let time_unix_nano = now();
    let event = Event { name: text.to_owned(), time_unix_nano, ..Event::default() };
    let status = Some(Status { message: text.to_owned(), code: 2 });
    Span { attributes, events: vec![event], status, ..span(trace, id, 0, text) }
}

fn send_otlp(server: &Server, text: &str, spans: Vec<Span>) {
    let body = traces(text, spans).encode_to_vec();
    let answer = post(&server.otlp_http, "/v1/traces", "application/x-protobuf", body);
    assert_eq!(answer.status, 200, "{:?}", answer.body);
}

/// The value of a key in a list of attributes of OTLP or of Jaeger.
fn value<'a>(list: &'a Json, key: &str) -> &'a Json {
    let mut list = list.as_array().into_iter().flatten();
    let found = list.find(|attribute| attribute["key"] == key);
    let value = found.map_or(&Json::Null, |attribute| &attribute["value"]);
    value.get("stringValue").unwrap_or(value)
}

/// What an API shows of a span: service, name, event, message of the status, and two attributes, one
/// of which has the text for a key.
type Shown<'a> = [&'a Json; 6];

fn of_otlp<'a>(resource_spans: &'a Json, text: &str) -> Shown<'a> {
    let span = &resource_spans["scopeSpans"][0]["spans"][0];
    let service = value(&resource_spans["resource"]["attributes"], "service.name");
    let (event, attributes) = (&span["events"][0]["name"], &span["attributes"]);
    let attribute = |key: &str| value(attributes, key);
    let message = &span["status"]["message"];
    [service, &span["name"], event, message, attribute("order.id"), attribute(text)]
}

fn of_native<'a>(trace: &'a Json, text: &str) -> Shown<'a> {
    let span = &trace["spans"][0];
    let (event, message) = (&span["events"][0]["name"], &span["status"]["message"]);
    let attribute = |key: &str| value(&span["attributes"], key);
    [&span["service"], &span["name"], event, message, attribute("order.id"), attribute(text)]
}

fn of_jaeger<'a>(answer: &'a Json, text: &str) -> Shown<'a> {
    let trace = &answer["data"][0];
    let span = &trace["spans"][0];
    let event = value(&span["logs"][0]["fields"], "event");
    let tag = |key: &str| value(&span["tags"], key);
    let service = &trace["processes"]["p1"]["serviceName"];
    let message = tag("otel.status_description");
    [service, &span["operationName"], event, message, tag("order.id"), tag(text)]
}

fn of_zipkin<'a>(answer: &'a Json, text: &str) -> Shown<'a> {
    let span = &answer[0];
    let (service, event) =
        (&span["localEndpoint"]["serviceName"], &span["annotations"][0]["value"]);
    let tag = |key: &str| &span["tags"][key];
    [service, &span["name"], event, tag("error"), tag("order.id"), tag(text)]
}

/// An API that gives a trace: its path, its part of the answer, and how it is shown there.
struct Reader {
    path: &'static str,
    part: &'static str,
    shown: for<'a> fn(&'a Json, &str) -> Shown<'a>,
}

const READERS: [Reader; 6] = [
    Reader { path: "/api/v1/traces/", part: "", shown: of_native },
    Reader { path: "/jaeger/api/traces/", part: "", shown: of_jaeger },
    Reader { path: "/jaeger/api/v3/traces/", part: "/result/resourceSpans/0", shown: of_otlp },
    Reader { path: "/tempo/api/traces/", part: "/batches/0", shown: of_otlp },
    Reader { path: "/tempo/api/v2/traces/", part: "/trace/resourceSpans/0", shown: of_otlp },
    // Zipkin's own address.
    Reader { path: "/api/v2/trace/", part: "", shown: of_zipkin },
];

/// What an API shows otherwise than it was sent.
fn otherwise(server: &Server, reader: &Reader, trace: u128, text: &str) -> Option<String> {
    let is_zipkins = reader.path.starts_with("/api/v2/");
    let address = if is_zipkins { &server.zipkin } else { &server.http };
    let Answer { status, body, .. } = get(address, &format!("{}{trace:032x}", reader.path));
    let answer: Json = serde_json::from_slice(&body).unwrap_or(Json::Null);
    let mut expected = [text; 6].map(str::to_owned);
    if is_zipkins {
        // Services and names are shown in lower case, as Zipkin keeps them.
        expected[..2].fill(text.to_lowercase());
    }
    let shown = (reader.shown)(answer.pointer(reader.part).unwrap_or(&Json::Null), text);
    let shown = shown.map(|shown| shown.as_str().unwrap_or_default().to_owned());
    let excerpt = |texts: &[String; 6]| texts.clone().map(|text| text.chars().take(60).collect());
    let (is, was): ([String; 6], [String; 6]) = (excerpt(&shown), excerpt(&expected));
    (shown != expected).then(|| format!("{} {status}\n  {is:?}\n  {was:?}", reader.path))
}

#[test]
fn every_api_gives_two_hundred_hostile_strings_back_as_they_were_sent() {
    // Some of them have what would be redacted.
    let server = Server::start_with(&["--redact", "false"]);
    let all = strings();
    let numbered = || (1_u64..).zip(&all);
    for (number, text) in numbered() {
        let trace = OTLP_TRACES + u128::from(number);
        send_otlp(&server, text, vec![otlp_span(text, trace, number)]);
    }
    let list = numbered()
        .map(|(number, text)| zipkin_span(text, ZIPKIN_TRACES + u128::from(number), number, 0));
    send_zipkin(&server, &list.collect::<Vec<_>>());
    let mut faults = Vec::new();
    for (number, text) in numbered() {
        for first in [OTLP_TRACES, ZIPKIN_TRACES] {
            let trace = first + u128::from(number);
            let readers = READERS.iter();
            faults.extend(readers.filter_map(|reader| otherwise(&server, reader, trace, text)));
        }
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}
