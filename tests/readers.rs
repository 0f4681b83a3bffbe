//! The same trace, sent by every protocol and read by every API, has the same facts.

use serde_json::{Value as Json, json};

use crate::harness::{
    Server,
    http::{self, post},
};

const START: u64 = 1_700_000_000_000_000;

/// A span in the terms that every protocol has: id, parent, service, name, kind, start and duration
/// in µs, the tag `path`, and its failure.
type Fact = (u64, u64, &'static str, &'static str, &'static str, u64, u64, &'static str, bool);

const STORY: [Fact; 5] = [
    (1, 0, "front", "get /cart", "server", 0, 900, "/cart", true),
    (2, 1, "front", "cart.get", "client", 10, 700, "/items", false),
    (3, 2, "cart", "cart.get", "server", 20, 600, "/items", true),
    (4, 3, "cart", "select", "client", 30, 100, "/db", false),
    (5, 3, "cart", "publish", "producer", 150, 20, "/queue", false),
];

fn line(trace: &str, fact: &Fact) -> String {
    let (id, parent, service, name, kind, start, took, path, failed) = fact;
    let start = START + start;
    format!(
        "{trace} {id:016x} under {parent:016x}: {service} {name} {kind} {start}+{took} {path} failed={failed}"
    )
}

/// Returns the expected lines of the story with this trace id, in order.
fn expected(trace: &str) -> Vec<String> {
    let mut lines: Vec<String> = STORY.iter().map(|fact| line(trace, fact)).collect();
    lines.sort();
    lines
}

const KINDS: [&str; 6] = ["", "internal", "server", "client", "producer", "consumer"];

fn otlp(trace: &str) -> Json {
    let group = |fact: &Fact| {
        let (id, parent, service, name, kind, start, took, path, failed) = fact;
        let start = (START + start) * 1_000;
        let mut span = json!({
            "traceId": trace, "spanId": format!("{id:016x}"), "name": name,
            "kind": KINDS.iter().position(|known| known == kind),
            "startTimeUnixNano": start.to_string(),
            "endTimeUnixNano": (start + took * 1_000).to_string(),
            "attributes": [{"key": "path", "value": {"stringValue": path}}],
        });
        if *parent != 0 {
            span["parentSpanId"] = format!("{parent:016x}").into();
        }
        if *failed {
            span["status"] = json!({"code": 2});
        }
        json!({
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
            "scopeSpans": [{"spans": [span]}],
        })
    };
    json!({"resourceSpans": STORY.iter().map(group).collect::<Vec<_>>()})
}

fn zipkin(trace: &str) -> Json {
    let span = |fact: &Fact| {
        let (id, parent, service, name, kind, start, took, path, failed) = fact;
        let mut span = json!({
            "traceId": trace, "id": format!("{id:016x}"), "name": name, "kind": kind.to_uppercase(),
            "timestamp": START + start, "duration": took,
            "localEndpoint": {"serviceName": service}, "tags": {"path": path},
        });
        if *parent != 0 {
            span["parentId"] = format!("{parent:016x}").into();
        }
        if *failed {
            span["tags"]["error"] = "true".into();
        }
        span
    };
    STORY.iter().map(span).collect()
}

fn jaeger(trace: &str) -> Json {
    let span = |fact: &Fact| {
        let (id, parent, service, name, kind, start, took, path, failed) = fact;
        let mut tags = vec![
            json!({"key": "path", "type": "string", "value": path}),
            json!({"key": "span.kind", "type": "string", "value": kind}),
        ];
        if *failed {
            tags.push(json!({"key": "error", "type": "bool", "value": true}));
        }
        let parent = (*parent != 0).then(
            || json!({"refType": "CHILD_OF", "traceID": trace, "spanID": format!("{parent:016x}")}),
        );
        json!({
            "traceID": trace, "spanID": format!("{id:016x}"), "operationName": name,
            "references": parent.into_iter().collect::<Vec<_>>(),
            "startTime": START + start, "duration": took, "tags": tags, "logs": [], "processID": service,
        })
    };
    let process = |name: &str| json!({"serviceName": name, "tags": []});
    let spans: Vec<Json> = STORY.iter().map(span).collect();
    json!({"data": [{"traceID": trace, "spans": spans, "processes": {"front": process("front"), "cart": process("cart")}}]})
}

/// Sends the story in every supported format and returns the trace ids.
fn send(server: &Server) -> Vec<String> {
    let trace = |n: u64| format!("7180c278b62e8f6a216a2aea45d0800{n}");
    let body = otlp(&trace(1)).to_string();
    assert_eq!(post(&server.otlp_http, "/v1/traces", "application/json", body).status, 200);
    let body = zipkin(&trace(2)).to_string();
    assert_eq!(post(&server.zipkin, "/api/v2/spans", "application/json", body).status, 202);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jaeger.json");
    std::fs::write(&path, jaeger(&trace(3)).to_string()).unwrap();
    let (code, out, error) =
        Server::command(&["import", "--otlp-http", &server.otlp_http, path.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{out} {error}");
    // Old Zipkin senders use trace ids of 64 bits.
    let short = "216a2aea45d08004".to_owned();
    let body = zipkin(&short).to_string();
    assert_eq!(post(&server.zipkin, "/api/v2/spans", "application/json", body).status, 202);
    vec![trace(1), trace(2), trace(3), short]
}

fn ask(address: &str, path: &str) -> Json {
    let answer = http::get(address, path);
    assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
    serde_json::from_slice(&answer.body).unwrap()
}

fn text(json: &Json) -> &str {
    json.as_str().unwrap_or_default()
}

fn number(json: &Json) -> u64 {
    json.as_u64().or_else(|| text(json).parse().ok()).unwrap_or_else(|| panic!("{json}"))
}

fn id(json: &Json) -> u64 {
    u64::from_str_radix(json.as_str().unwrap_or("0"), 16).unwrap()
}

/// The values that are read of a span, before they become a line.
struct Read<'a> {
    trace: &'a str,
    ids: (u64, u64),
    names: (&'a str, &'a str),
    kind: String,
    micros: (u64, u64),
    path: &'a str,
    failed: bool,
}

fn sorted<'a>(spans: impl Iterator<Item = Read<'a>>) -> Vec<String> {
    let line = |span: Read<'_>| {
        let Read {
            trace,
            ids: (id, parent),
            names: (service, name),
            kind,
            micros: (start, took),
            path,
            failed,
        } = span;
        format!(
            "{trace} {id:016x} under {parent:016x}: {service} {name} {kind} {start}+{took} {path} failed={failed}"
        )
    };
    let mut lines: Vec<String> = spans.map(line).collect();
    lines.sort();
    lines
}

fn attribute<'a>(attributes: &'a Json, key: &str) -> &'a str {
    let mut attributes = attributes.as_array().map(Vec::as_slice).unwrap_or_default().iter();
    attributes.find(|own| own["key"] == key).map_or("", |own| text(&own["value"]["stringValue"]))
}

/// Returns a line for every span of OTLP/JSON.
fn of_otlp<'a>(groups: &'a Json, trace: &'a str) -> Vec<String> {
    let groups = groups.as_array().unwrap().iter();
    sorted(groups.flat_map(|group| {
        let service = attribute(&group["resource"]["attributes"], "service.name");
        let scopes = group["scopeSpans"].as_array().unwrap().iter();
        scopes.flat_map(|scope| scope["spans"].as_array().unwrap()).map(move |span| {
            assert_eq!(text(&span["traceId"]), format!("{trace:0>32}"));
            let (start, end) =
                (number(&span["startTimeUnixNano"]), number(&span["endTimeUnixNano"]));
            Read {
                trace,
                ids: (id(&span["spanId"]), id(&span["parentSpanId"])),
                names: (service, text(&span["name"])),
                kind: KINDS[usize::try_from(number(&span["kind"])).unwrap()].to_owned(),
                micros: (start / 1_000, (end - start) / 1_000),
                path: attribute(&span["attributes"], "path"),
                failed: span["status"]["code"] == 2,
            }
        })
    }))
}

fn of_jaeger(answer: &Json) -> Vec<String> {
    let trace = &answer["data"][0];
    let spans = trace["spans"].as_array().unwrap().iter();
    sorted(spans.map(|span| {
        let tag = |key: &str| {
            let mut tags = span["tags"].as_array().unwrap().iter();
            tags.find(|tag| tag["key"] == key).map(|tag| &tag["value"])
        };
        Read {
            trace: text(&span["traceID"]),
            ids: (id(&span["spanID"]), id(&span["references"][0]["spanID"])),
            names: (
                text(&trace["processes"][text(&span["processID"])]["serviceName"]),
                text(&span["operationName"]),
            ),
            kind: tag("span.kind").map_or("", text).to_owned(),
            micros: (number(&span["startTime"]), number(&span["duration"])),
            path: tag("path").map_or("", text),
            failed: tag("error") == Some(&Json::Bool(true)),
        }
    }))
}

fn of_zipkin(spans: &Json) -> Vec<String> {
    let spans = spans.as_array().unwrap().iter();
    sorted(spans.map(|span| Read {
        trace: text(&span["traceId"]),
        ids: (id(&span["id"]), id(&span["parentId"])),
        names: (text(&span["localEndpoint"]["serviceName"]), text(&span["name"])),
        kind: text(&span["kind"]).to_lowercase(),
        micros: (number(&span["timestamp"]), number(&span["duration"])),
        path: text(&span["tags"]["path"]),
        failed: span["tags"]["error"].is_string(),
    }))
}

fn of_native<'a>(view: &'a Json, trace: &'a str) -> Vec<String> {
    let spans = view["spans"].as_array().unwrap().iter();
    sorted(spans.map(|span| {
        let (start, end) = (number(&span["startUnixNano"]), number(&span["endUnixNano"]));
        Read {
            trace,
            ids: (id(&span["spanId"]), id(&span["parentSpanId"])),
            names: (text(&span["service"]), text(&span["name"])),
            kind: text(&span["kind"]).to_owned(),
            micros: (start / 1_000, (end - start) / 1_000),
            path: attribute(&span["attributes"], "path"),
            failed: span["status"]["code"] == "error" || span["status"]["code"] == 2,
        }
    }))
}

#[test]
fn every_api_tells_the_same_of_every_protocol() {
    let server = Server::start();
    let traces = send(&server);
    for trace in &traces {
        let expected = expected(trace);
        let (http, zipkin) = (&server.http, &server.zipkin);
        let native = ask(http, &format!("/api/v1/traces/{trace}"));
        assert_eq!(of_native(&native, trace), expected, "native");
        let export = ask(http, &format!("/api/v1/traces/{trace}/otlp"));
        assert_eq!(of_otlp(&export["resourceSpans"], trace), expected, "native, OTLP");
        let v1 = ask(http, &format!("/jaeger/api/traces/{trace}"));
        assert_eq!(of_jaeger(&v1), expected, "Jaeger v1");
        let v3 = ask(http, &format!("/jaeger/api/v3/traces/{trace}"));
        assert_eq!(of_otlp(&v3["result"]["resourceSpans"], trace), expected, "Jaeger v3");
        let read = ask(zipkin, &format!("/api/v2/trace/{trace}"));
        assert_eq!(of_zipkin(&read), expected, "Zipkin");
        let tempo = ask(http, &format!("/tempo/api/v2/traces/{trace}"));
        assert_eq!(tempo["trace"]["resourceSpans"].as_array().map(Vec::len), Some(2), "Tempo");
    }
}

#[test]
fn every_api_finds_what_every_protocol_brought() {
    let server = Server::start();
    let mut traces = send(&server);
    traces.sort();
    let (http, zipkin) = (&server.http, &server.zipkin);
    let (from, to) = (START - 1_000_000, START + 1_000_000);
    let found = |ids: Vec<&Json>| {
        let mut ids: Vec<String> = ids.into_iter().map(|id| text(id).to_owned()).collect();
        ids.sort();
        ids
    };
    for (tag, service) in [("error=true", "cart"), ("path=/queue", "cart"), ("path=/cart", "front")]
    {
        let (key, value) = tag.split_once('=').unwrap();
        let path =
            format!("/jaeger/api/traces?service={service}&tag={key}:{value}&start={from}&end={to}");
        let answer = ask(http, &path);
        let ids =
            answer["data"].as_array().unwrap().iter().map(|trace| &trace["traceID"]).collect();
        assert_eq!(found(ids), traces, "{path}");
        // The text of an error depends on the sender's protocol. The tag `error` exists with every
        // sender.
        let term = if key == "error" { key.to_owned() } else { format!("{key}%3D{value}") };
        let path = format!(
            "/api/v2/traces?serviceName={service}&annotationQuery={term}&endTs={}",
            to / 1_000
        );
        let answer = ask(zipkin, &path);
        let ids = answer.as_array().unwrap().iter().map(|spans| &spans[0]["traceId"]).collect();
        assert_eq!(found(ids), traces, "{path}");
    }
    assert_eq!(ask(http, "/jaeger/api/services")["data"], json!(["cart", "front"]));
    assert_eq!(ask(zipkin, "/api/v2/services"), json!(["cart", "front"]));
    let end = to / 1_000;
    let jaeger = ask(http, &format!("/jaeger/api/dependencies?endTs={end}&lookback=3600000"));
    assert_eq!(jaeger["data"], json!([{"parent": "front", "child": "cart", "callCount": 4}]));
    let links = ask(zipkin, &format!("/api/v2/dependencies?endTs={end}&lookback=3600000"));
    assert_eq!(
        links,
        json!([{"parent": "front", "child": "cart", "callCount": 4, "errorCount": 4}])
    );
}

#[test]
fn traces_read_by_jaeger_and_zipkin_clients_survive_a_crash() {
    let server = Server::start();
    let traces = send(&server);
    let server = server.restart();
    for trace in &traces {
        let read = ask(&server.zipkin, &format!("/api/v2/trace/{trace}"));
        assert_eq!(of_zipkin(&read), expected(trace));
        let v1 = ask(&server.http, &format!("/jaeger/api/traces/{trace}"));
        assert_eq!(of_jaeger(&v1), expected(trace));
    }
}

/// Calls as Jaeger's clients and its own query service do: HTTP/2 without TLS on the HTTP address.
#[test]
fn jaegers_grpc_services_are_on_the_http_address() {
    use prost::Message;
    use tidings_proto::{jaeger::rpc, otlp::ExportTraceServiceRequest};

    let server = Server::start();
    let traces = send(&server);
    let call = |method: &str, message: Vec<u8>| {
        let answer = http::call(&server.http, method, &[], http::frame(false, &message));
        assert_eq!((answer.http, answer.code), (200, Some(0)), "{method}: {}", answer.message);
        answer.body
    };
    let services = call("/jaeger.api_v3.QueryService/GetServices", vec![]);
    assert_eq!(rpc::Services::decode(services).unwrap().services, ["cart", "front"]);
    for trace in &traces {
        let by_text = rpc::GetTraceByText { trace_id: trace.clone(), raw_traces: false };
        let body = call("/jaeger.api_v3.QueryService/GetTrace", by_text.encode_to_vec());
        let request = ExportTraceServiceRequest::decode(body).unwrap();
        let groups = serde_json::to_value(&request.resource_spans).unwrap();
        assert_eq!(of_otlp(&groups, trace), expected(trace));
    }
}
