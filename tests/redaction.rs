//! Secrets that senders put into telemetry appear in no file of the data directory and in no log
//! line.

use std::{fs, path::Path, process::Command};

use prost::Message;
use serde_json::{Value as Json, json};
use tidings_proto::otlp::{
    AnyValue, ArrayValue, Event, ExportTraceServiceRequest, KeyValue, Span, Status, Value,
    encode_json,
};

use crate::harness::{
    Server,
    http::{call, frame, get, post},
    spans::{LOGS_EXPORT, TRACE_EXPORT, log, logs, span, traces},
};

/// A part of every secret here.
const SECRET: &str = "hunter2canary";
const MARKER: &str = "[REDACTED]";
const TRACES: [u128; 4] = [0xa1, 0xa2, 0xa3, 0xa4];
/// Id of the trace whose names and messages are texts with the secret.
const TEXTS_TRACE: u128 = 0xa5;

/// Returns the attributes of a span, each with the secret.
fn attributes() -> Vec<KeyValue> {
    let bearer = format!("Bearer {SECRET}").as_str().into();
    let header = AnyValue::from(Value::Array(ArrayValue { values: vec![bearer] }));
    vec![
        KeyValue::new("http.request.header.authorization", header),
        KeyValue::new("http.request.header.cookie", format!("theme=dark; session={SECRET}")),
        KeyValue::new("http.request.header.x-internal-pin", SECRET),
        KeyValue::new("db.password", SECRET),
        KeyValue::new("url.full", format!("https://u:{SECRET}@shop.example/cart?page=2")),
        KeyValue::new("http.target", format!("/cart?access_token={SECRET}&page=2")),
        KeyValue::new("db.query.text", format!("ALTER USER app IDENTIFIED BY '{SECRET}'")),
        KeyValue::new("exception.message", format!("no route to amqp://app:{SECRET}@queue:5672")),
    ]
}

/// Returns texts with the secret, as bodies, names and messages have them, and each text after
/// redaction.
fn texts() -> [(String, String); 8] {
    [
        "Authorization: Bearer SECRET",
        "> Cookie: sid=SECRET; theme=dark",
        "Set-Cookie: sid=SECRET; Path=/",
        r#"{"headers":{"authorization":"SECRET"},"a":1}"#,
        r#"{"user":"bob","password":"SECRET"}"#,
        "login failed for bob password=SECRET",
        "api_key: SECRET, retrying",
        "CREATE USER app IDENTIFIED BY 'SECRET'",
    ]
    .map(|text| {
        let header = text.split_once("Bearer ").or(text.split_once("sid="));
        let kept = match header {
            Some((name, _)) => format!("{name}{MARKER}"),
            None => text.replace("SECRET", MARKER),
        };
        (text.replace("SECRET", &format!("{SECRET}1")), kept)
    })
}

/// Returns a span with the secret in its attributes, its name and an event.
fn secret_span(trace: u128) -> Span {
    let plain = span(trace, 1, 0, &secret_name());
    let event = Event {
        time_unix_nano: plain.start_time_unix_nano,
        name: "retry".to_owned(),
        attributes: vec![KeyValue::new("peer.password", SECRET)],
        ..Event::default()
    };
    Span { attributes: attributes(), events: vec![event], ..plain }
}

fn secret_name() -> String {
    format!("GET https://u:{SECRET}@shop.example/cart")
}

/// Returns a request with such a span and a resource that has the secret, too.
fn secret_request(trace: u128) -> ExportTraceServiceRequest {
    let mut request = traces("shop", vec![secret_span(trace)]);
    let resource = request.resource_spans[0].resource.as_mut().unwrap();
    resource.attributes.push(KeyValue::new("deploy.token", SECRET));
    request
}

/// Sends each text by each protocol as a body, as a span name and as a message.
fn send_texts(server: &Server) {
    let named = |name: &str, number: u64| {
        let plain = span(TEXTS_TRACE, number, 0, name);
        let status = Some(Status { message: name.to_owned(), code: 2 });
        Span { status, ..plain }
    };
    let texts = texts();
    let spans: Vec<Span> = texts.iter().zip(1..).map(|((text, _), n)| named(text, n)).collect();
    let records = texts.iter().zip(1..).map(|((text, _), n)| log(TEXTS_TRACE, n, text)).collect();
    let grpc = traces("texts", spans.clone()).encode_to_vec();
    assert_eq!(call(&server.otlp_grpc, TRACE_EXPORT, &[], frame(false, &grpc)).code, Some(0));
    let grpc = logs("texts", records).encode_to_vec();
    assert_eq!(call(&server.otlp_grpc, LOGS_EXPORT, &[], frame(false, &grpc)).code, Some(0));
    let body = encode_json(&traces("texts", spans));
    assert_eq!(post(&server.otlp_http, "/v1/traces", "application/json", body).status, 200);
    let zipkin: Vec<Json> = texts
        .iter()
        .zip(1..)
        .map(|((text, _), number)| {
            json!({
                "traceId": format!("{TEXTS_TRACE:032x}"),
                "id": format!("{:016x}", 100 + number),
                "name": text,
                "timestamp": crate::harness::spans::now() / 1000,
                "duration": 500,
                "localEndpoint": {"serviceName": "texts"},
                "annotations": [{"timestamp": crate::harness::spans::now() / 1000, "value": text}],
            })
        })
        .collect();
    let body = json!(zipkin).to_string();
    assert_eq!(post(&server.zipkin, "/api/v2/spans", "application/json", body).status, 202);
}

/// Sends the secrets by each protocol, in one trace each, and in log records.
fn send(server: &Server) {
    let spans = secret_request(TRACES[0]).encode_to_vec();
    let answer = call(&server.otlp_grpc, TRACE_EXPORT, &[], frame(false, &spans));
    assert_eq!(answer.code, Some(0), "{}", answer.message);

    let mut record = log(TRACES[0], 1, &format!("login at https://u:{SECRET}@shop.example/"));
    record.attributes = attributes();
    let records = logs("shop", vec![record]).encode_to_vec();
    let answer = call(&server.otlp_grpc, LOGS_EXPORT, &[], frame(false, &records));
    assert_eq!(answer.code, Some(0), "{}", answer.message);

    send_texts(server);
    let spans = encode_json(&secret_request(TRACES[1]));
    let answer = post(&server.otlp_http, "/v1/traces", "application/json", spans);
    assert_eq!(answer.status, 200);

    let spans = secret_request(TRACES[3]).encode_to_vec();
    let answer = post(&server.otlp_http, "/v1/traces", "application/x-protobuf", spans);
    assert_eq!(answer.status, 200);

    let tags: serde_json::Map<String, Json> = attributes()
        .into_iter()
        .filter_map(|attribute| match attribute.value() {
            Some(Value::String(text)) => Some((attribute.key.clone(), json!(text))),
            _ => None,
        })
        .collect();
    let span = json!([{
        "traceId": format!("{:032x}", TRACES[2]),
        "id": "0000000000000001",
        "name": secret_name(),
        "kind": "SERVER",
        "timestamp": crate::harness::spans::now() / 1000,
        "duration": 500,
        "localEndpoint": {"serviceName": "shop"},
        "tags": tags,
    }]);
    let answer = post(&server.zipkin, "/api/v2/spans", "application/json", span.to_string());
    assert_eq!(answer.status, 202);
}

/// Returns the files under a folder that contain the secret.
fn files_with_secret(folder: &Path) -> Vec<String> {
    let (mut open, mut found) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                if bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()) {
                    found.push(path.display().to_string());
                }
            }
        }
    }
    found
}

/// Returns every answer of the API about the sent telemetry.
fn answers(server: &Server) -> String {
    let mut texts = String::new();
    for trace in TRACES.into_iter().chain([TEXTS_TRACE]) {
        let answer = get(&server.http, &format!("/api/v1/traces/{trace:032x}/otlp"));
        assert_eq!(answer.status, 200);
        texts.push_str(std::str::from_utf8(&answer.body).unwrap());
    }
    for service in ["shop", "texts"] {
        let answer = get(&server.http, &format!("/api/v1/logs?service={service}"));
        assert_eq!(answer.status, 200);
        texts.push_str(std::str::from_utf8(&answer.body).unwrap());
    }
    texts
}

#[test]
fn secrets_are_in_no_file_and_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--redact-keys", "x-internal-pin"];
    let mut server = Server::start_in(folder.path(), &flags);
    send(&server);
    assert_eq!(files_with_secret(folder.path()), Vec::<String>::new(), "before the flush");
    // The first terms count the attributes. OTLP: eight attributes of each span and record; for
    // each span also its name and one attribute of the event and of the resource; for the record
    // also its body. Zipkin: seven tags of texts, and the name.
    let (_, status) = server.get("/api/v1/status");
    // The last term counts the eight texts. OTLP: name and message of the spans, sent twice, and
    // the body of the records. Zipkin: name and annotation of the spans.
    let redacted = 3 * (8 + 3) + (8 + 1) + (7 + 1) + 8 * (2 * 2 + 1 + 2);
    assert_eq!(status["redactedValues"], redacted);
    let metrics = get(&server.http, "/metrics");
    let metrics = std::str::from_utf8(&metrics.body).unwrap();
    let counted = format!("tidings_redacted_values_total {redacted}\n");
    assert!(metrics.contains(&counted), "{metrics}");

    assert!(server.terminate().success());
    assert_eq!(files_with_secret(folder.path()), Vec::<String>::new(), "after the flush");
    let server = Server::start_in(folder.path(), &flags);
    let answers = answers(&server);
    assert!(!answers.contains(SECRET), "{answers}");
    for kept in [
        format!("https://u:{MARKER}@shop.example/cart?page=2"),
        format!("/cart?access_token={MARKER}&page=2"),
        format!("ALTER USER app IDENTIFIED BY '{MARKER}'"),
        format!("no route to amqp://app:{MARKER}@queue:5672"),
        format!("login at https://u:{MARKER}@shop.example/"),
        format!("GET https://u:{MARKER}@shop.example/cart"),
    ] {
        assert!(answers.contains(&kept), "{kept}: {answers}");
    }
    for (_, kept) in texts() {
        let kept = json!(kept).to_string();
        let kept = &kept[1..kept.len() - 1];
        assert!(answers.contains(kept), "{kept}: {answers}");
    }
}

#[test]
fn secrets_are_in_no_line_of_the_servers_own_log() {
    let folder = tempfile::tempdir().unwrap();
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$@\" 2>\"$0\"", log.to_str().unwrap()]);
    let flags = ["--redact-keys", "x-internal-pin", "--log", "debug"];
    let mut server = Server::start_under(shell, &data, &flags);
    send(&server);
    // Truncated bodies, and texts in the wrong position, are refused. The refusals are log lines.
    for (address, path) in [(&server.otlp_http, "/v1/traces"), (&server.zipkin, "/api/v2/spans")] {
        for wrong in [
            format!(r#"{{"db.password": "{SECRET}"#),
            format!(r#"{{"resourceSpans": "{SECRET}"}}"#),
            format!(r#"[{{"traceId": "{SECRET}"}}]"#),
        ] {
            assert_eq!(post(address, path, "application/json", wrong).status, 400, "{path}");
        }
    }
    assert!(!answers(&server).contains(SECRET));
    assert!(server.terminate().success());
    let lines = fs::read_to_string(&log).unwrap();
    assert!(lines.contains("request refused"), "{lines}");
    let with_secret: Vec<&str> = lines.lines().filter(|line| line.contains(SECRET)).collect();
    assert!(with_secret.is_empty(), "{with_secret:#?}");
}

#[test]
fn telemetry_is_stored_unchanged_without_redaction() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_in(folder.path(), &["--redact", "false"]);
    send(&server);
    assert_ne!(files_with_secret(folder.path()), Vec::<String>::new());
    let answers = answers(&server);
    assert!(answers.contains(SECRET) && !answers.contains(MARKER), "{answers}");
    assert_eq!(server.get("/api/v1/status").1["redactedValues"], 0);
}
