//! The examples of the documentation. Each is requested, and the answer must have the shape that
//! the page shows.

use axum::body::Body;
use http::{Request, header};
use http_body_util::BodyExt;
use serde_json::Value as Json;
use tidings_proto::otlp::{KeyValue, SpanKind, StatusCode};
use tower::ServiceExt;

use crate::harness::{
    BEGIN, Harness, MILLI, SpanBuilder, checkout, encoded, record, request, span, text,
};

const PAGES: [(&str, &str); 3] = [
    ("api.md", include_str!("../../../../docs/api.md")),
    ("prometheus.md", include_str!("../../../../docs/prometheus.md")),
    ("jaeger-and-zipkin.md", include_str!("../../../../docs/jaeger-and-zipkin.md")),
];
/// Suffixes of the paths that the process around the query service answers.
const ELSEWHERE: [&str; 6] =
    ["/api/v1/audit", "/api/v1/erasures", "/api/v1/keys", "/api/v1/status", "/api/v1/pins", "/pin"];

/// An example: a line of a page, and the JSON that the page shows for it.
#[derive(Debug)]
struct Example {
    page: &'static str,
    line: &'static str,
    shown: Option<Json>,
}

/// Parses the examples of a page. An answer after several lines belongs to the first.
fn examples(page: &'static str, text: &'static str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let (mut fenced, mut json): (bool, Option<String>) = (false, None);
    // The example to which the next answer belongs.
    let mut first: Option<usize> = None;
    for line in text.lines() {
        if let Some(language) = line.strip_prefix("```") {
            if let Some(shown) = json.take() {
                let shown = serde_json::from_str(&shown);
                let shown = shown.unwrap_or_else(|error| panic!("{page}: {error}"));
                if let Some(first) = first.take() {
                    examples[first].shown = Some(shown);
                }
            }
            fenced = !fenced;
            json = (fenced && language == "json").then(String::new);
        } else if let Some(json) = &mut json {
            json.push_str(line);
            json.push('\n');
        } else if fenced && line.starts_with("curl ") {
            first.get_or_insert(examples.len());
            examples.push(Example { page, line, shown: None });
        } else if !fenced {
            first = None;
        }
    }
    examples
}

/// Splits a line of shell into words.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ') => words.push(std::mem::take(&mut word)),
            (Some(open), _) if open == c => quote = None,
            _ => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// Returns the path of a line without the host, and its `Accept`.
fn asked(line: &str) -> (String, Option<String>) {
    let (mut address, mut accept, mut query) = (String::new(), None, Vec::new());
    let words = words(line);
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-G" | "-N" | "--compressed" => {}
            "-X" | "-d" => drop(words.next()),
            "-H" => accept = words.next().unwrap().strip_prefix("Accept: ").map(str::to_owned),
            "--data-urlencode" => {
                let (name, value) = words.next().unwrap().split_once('=').unwrap();
                query.push(format!("{name}={}", encoded(value)));
            }
            _ => address.clone_from(word),
        }
    }
    if !query.is_empty() {
        address = format!("{address}?{}", query.join("&"));
    }
    (address, accept)
}

/// Collects the differences between the shape of the answer and the shape on the page.
fn differences(place: &str, shown: &Json, found: &Json, wrong: &mut Vec<String>) {
    match (shown, found) {
        (Json::String(text), _) if text == "…" => {}
        (Json::Object(shown), Json::Object(found)) => {
            for (key, shown) in shown.iter().filter(|(key, _)| *key != "…") {
                match found.get(key) {
                    None => wrong.push(format!("{place} has no {key}")),
                    Some(found) => differences(&format!("{place}.{key}"), shown, found, wrong),
                }
            }
        }
        (Json::Array(shown), Json::Array(found)) => {
            let Some(shown) = shown.first() else { return };
            // One element must have the shape that is shown.
            let place = format!("{place}[]");
            let differences = found.iter().map(|found| {
                let mut wrong = Vec::new();
                differences(&place, shown, found, &mut wrong);
                wrong
            });
            match differences.min_by_key(Vec::len) {
                Some(fewest) => wrong.extend(fewest),
                None => wrong.push(format!("{place} is empty")),
            }
        }
        _ if std::mem::discriminant(shown) == std::mem::discriminant(found) => {}
        _ => wrong.push(format!("{place} is {found}, not like {shown}")),
    }
}

fn later(mut of: SpanBuilder, millis: u64) -> SpanBuilder {
    of.span.start_time_unix_nano += millis * MILLI;
    of.span.end_time_unix_nano += millis * MILLI;
    of
}

/// Stored traces for the examples: the failed checkout of the first trace, others that did not
/// fail, slow ones, one with a query in a loop, recent ones, and payment's log records.
async fn story() -> Harness {
    let harness = Harness::new().await;
    let mut first = checkout(1);
    let calls = (0..6).map(|n| {
        span(1, 100 + n, "payment", "SELECT item")
            .parent(3)
            .at(61 + 2 * n, 62 + 2 * n)
            .kind(SpanKind::Client)
            .attribute("db.system.name", "postgresql")
    });
    first.extend(calls);
    first[2].span.links.push(tidings_proto::otlp::Link {
        trace_id: checkout(2)[0].span.trace_id.clone(),
        span_id: 1_u64.to_be_bytes().to_vec(),
        ..Default::default()
    });
    harness.send(first).await;
    for trace in 2..40_u64 {
        let slow = if trace % 3 == 0 { 600 } else { 0 };
        let fine = checkout(trace).into_iter().map(|mut of| {
            of.span.status = None;
            of.span.events.clear();
            if of.span.parent_span_id.is_empty() {
                of.span.end_time_unix_nano += slow * MILLI;
                let (region, version) = if slow > 0 { ("south", "2") } else { ("north", "1") };
                let of = of.attribute("region", region).attribute("version", version);
                return later(of.attribute("request.id", format!("r-{trace}")), trace * 1_000);
            }
            later(of, trace * 1_000)
        });
        harness.send(fine).await;
    }
    harness.send(checkout(50).into_iter().map(|of| later(of, 3_590_000))).await;
    harness
        .log([
            ("payment", record(Some(1), 60, 17, "card 42 was declined")),
            ("payment", record(Some(1), 61, 13, "card 43 was declined")),
            ("payment", record(Some(1), 59, 9, "trying card 42")),
            ("shop", record(Some(1), 20, 17, "checkout failed")),
        ])
        .await;
    for (trace, version) in [(70, "2.13.4"), (71, "2.14.0")] {
        let mut deployed = request([later(span(trace, 1, "payment", "GET /ready"), trace * 1_000)]);
        let resource = deployed.resource_spans[0].resource.as_mut().unwrap();
        resource.attributes.push(KeyValue::new("service.version", version));
        harness.send_request(deployed).await;
    }
    let extra = span(60, 1, "shop", "POST /checkout").kind(SpanKind::Server);
    harness.send([extra.status(StatusCode::Error, "no")]).await;
    harness
}

#[tokio::test]
async fn every_example_is_answered_as_the_page_shows() {
    let harness = story().await;
    let now = (BEGIN + 3_600_000 * MILLI) / 1_000_000_000;
    let logs = harness.get("/logs?service=shop&text=failed").await;
    let id = text(&logs["logs"][0]["id"]);
    let (mut wrong, mut count) = (Vec::new(), 0);
    for example in PAGES.into_iter().flat_map(|(page, text)| examples(page, text)) {
        let (address, accept) = asked(&example.line.replace("$(date +%s)", &now.to_string()));
        let (router, path) = match address.strip_prefix("localhost:8434") {
            Some(path) => (&harness.router, path),
            None => (&harness.zipkin, address.strip_prefix("localhost:9411").unwrap()),
        };
        let resource = path.split('?').next().unwrap_or_default();
        if ELSEWHERE.iter().any(|end| resource.ends_with(end)) {
            continue;
        }
        count += 1;
        if path.contains("/context") {
            assert!(path.contains(&id), "the record that the page is about has the id {id}");
        }
        let mut asks = Request::get(path);
        if let Some(accept) = &accept {
            asks = asks.header(header::ACCEPT, accept);
        }
        let response = router.clone().oneshot(asks.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let name = format!("{}: {}", example.page, example.line);
        if parts.status != 200 {
            let body = body.collect().await.unwrap().to_bytes();
            wrong.push(format!("{name}: {} {}", parts.status, String::from_utf8_lossy(&body)));
            continue;
        }
        let content_type = parts.headers[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        // A tail is an endless answer.
        if content_type == "text/event-stream" {
            continue;
        }
        let body = body.collect().await.unwrap().to_bytes();
        if accept.is_some_and(|accept| accept == content_type) {
            continue;
        }
        let found: Json = serde_json::from_slice(&body).unwrap();
        if let Some(shown) = &example.shown {
            let mut differ = Vec::new();
            differences("", shown, &found, &mut differ);
            wrong.extend(differ.into_iter().map(|what| format!("{name}:{what}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 30, "only {count} examples");
}

#[test]
fn every_documented_path_has_an_example() {
    let document = tidings_apis::document();
    let asked: Vec<String> = PAGES
        .into_iter()
        .flat_map(|(page, text)| examples(page, text))
        .map(|example| asked(example.line).0)
        .collect();
    let names = ["/api/v1/services", "/api/v1/attributes/keys", "/api/v1/attributes/values"];
    for path in document.paths.paths.keys().filter(|path| !names.contains(&path.as_str())) {
        let fits = |address: &String| {
            let given = address.strip_prefix("localhost:8434").unwrap_or_default();
            let given = given.split('?').next().unwrap_or_default();
            let (given, wanted) = (given.split('/'), path.split('/'));
            let same = |(given, wanted): (&str, &str)| given == wanted || wanted.starts_with('{');
            given.clone().count() == wanted.clone().count() && given.zip(wanted).all(same)
        };
        assert!(asked.iter().any(fits), "{path} has no example");
    }
}
