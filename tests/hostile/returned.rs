//! Sends hostile strings as names, services, keys, values and events, by OTLP and by Zipkin. Every
//! API that reads traces must return them unchanged.

use prost::Message;
use serde_json::{Value as Json, json};
use tidings_proto::otlp::{Event, KeyValue, Span, Status};

use super::strings::strings;
use crate::harness::{
    Server,
    http::{Answer, get, post},
    spans::{now, span, traces},
};

/// Base ids of the traces that are sent by OTLP and by Zipkin. The index of the string is added.
const OTLP_TRACES: u128 = 0x07a0_0000;
const ZIPKIN_TRACES: u128 = 0x21b0_0000;
/// Maximum spans in a request.
const PART: usize = 25;

/// Makes a failed span whose name, services, tags and annotation are this text, in the form of
/// Zipkin's reporters. A parent of 0 means none.
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

/// Sends spans in the form of Zipkin's reporters.
pub(crate) fn send_zipkin(server: &Server, spans: &[Json]) {
    for part in spans.chunks(PART) {
        let body = Json::from(part).to_string();
        let answer = post(&server.zipkin, "/api/v2/spans", "application/json", body);
        assert_eq!(answer.status, 202, "{:?}", answer.body);
    }
}

/// Makes the same span for OTLP.
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

/// Returns the value of a key in a list of attributes of OTLP or of Jaeger.
fn value<'a>(list: &'a Json, key: &str) -> &'a Json {
    let mut list = list.as_array().into_iter().flatten();
    let found = list.find(|attribute| attribute["key"] == key);
    let value = found.map_or(&Json::Null, |attribute| &attribute["value"]);
    value.get("stringValue").unwrap_or(value)
}

/// The fields of a span that an API shows: service, name, event, message of the status, and two
/// attributes. The text is the key of one of the attributes.
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

/// An API that returns a trace: its path, the relevant part of the answer, and its function that
/// reads the fields.
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
    // This path is on Zipkin's own address.
    Reader { path: "/api/v2/trace/", part: "", shown: of_zipkin },
];

/// Returns a description if an API shows a string differently from how it was sent.
fn otherwise(server: &Server, reader: &Reader, trace: u128, text: &str) -> Option<String> {
    let is_zipkins = reader.path.starts_with("/api/v2/");
    let address = if is_zipkins { &server.zipkin } else { &server.http };
    let Answer { status, body, .. } = get(address, &format!("{}{trace:032x}", reader.path));
    let answer: Json = serde_json::from_slice(&body).unwrap_or(Json::Null);
    let mut expected = [text; 6].map(str::to_owned);
    if is_zipkins {
        // Zipkin stores services and names in lower case.
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
    // Some of the strings contain text that redaction would remove.
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
