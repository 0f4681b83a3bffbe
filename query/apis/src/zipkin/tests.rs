use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use tidings_proto::zipkin::{Span, decode_json};

use super::{
    dependency_links::Links,
    merge::merge,
    request::{Request, began, terms},
};

fn corpus(path: &str) -> Option<Json> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/corpora");
    let Ok(bytes) = std::fs::read(format!("{root}/{path}")) else {
        eprintln!("left out: {path} is not here");
        return None;
    };
    Some(serde_json::from_slice(&bytes).unwrap())
}

/// Converts spans to the form in which Zipkin stores them.
fn spans(json: &Json) -> Vec<Span> {
    let spans = decode_json(json.to_string().as_bytes()).unwrap();
    let padded = |id: Vec<u8>| [vec![0; 16 - id.len()], id].concat();
    spans.into_iter().map(|span| Span { trace_id: padded(span.trace_id.clone()), ..span }).collect()
}

fn shown(spans: &[Span]) -> Vec<String> {
    let mut shown: Vec<String> =
        spans.iter().map(|span| serde_json::to_string(span).unwrap()).collect();
    shown.sort();
    shown
}

fn merged(input: &Json) -> Vec<Span> {
    merge(spans(input))
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of cases")]
fn parts_of_a_span_are_joined() {
    let at = |service: &str| json!({"serviceName": service});
    let id = |fields: Json| {
        let mut span = json!({"traceId": "a", "id": "b"});
        span.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        span
    };
    for (name, input, expected) in [
        (
            "what comes late is added",
            json!([
                id(
                    json!({"kind": "CLIENT", "name": "get", "timestamp": 5, "tags": {"a": "1", "b": "1"}})
                ),
                id(
                    json!({"kind": "CLIENT", "duration": 7, "tags": {"b": "2"}, "annotations": [{"timestamp": 6, "value": "x"}]})
                ),
            ]),
            json!([id(json!({
                "kind": "CLIENT", "name": "get", "timestamp": 5, "duration": 7,
                "tags": {"a": "1", "b": "2"}, "annotations": [{"timestamp": 6, "value": "x"}],
            }))]),
        ),
        (
            "the first word counts",
            json!([
                id(json!({"name": "a", "timestamp": 5})),
                id(json!({"name": "b", "timestamp": 6}))
            ]),
            json!([id(json!({"name": "a", "timestamp": 5}))]),
        ),
        (
            "equal annotations are one",
            json!([
                id(json!({"annotations": [{"timestamp": 6, "value": "x"}]})),
                id(
                    json!({"annotations": [{"timestamp": 6, "value": "x"}, {"timestamp": 1, "value": "y"}]})
                ),
            ]),
            json!([id(
                json!({"annotations": [{"timestamp": 1, "value": "y"}, {"timestamp": 6, "value": "x"}]})
            )]),
        ),
        (
            "different services stay apart",
            json!([id(json!({"localEndpoint": at("a")})), id(json!({"localEndpoint": at("b")}))]),
            json!([id(json!({"localEndpoint": at("a")})), id(json!({"localEndpoint": at("b")}))]),
        ),
        (
            "different ports stay apart",
            json!([
                id(json!({"localEndpoint": {"ipv4": "1.2.3.4", "port": 1}})),
                id(json!({"localEndpoint": {"ipv4": "1.2.3.4", "port": 2}}))
            ]),
            json!([
                id(json!({"localEndpoint": {"ipv4": "1.2.3.4", "port": 1}})),
                id(json!({"localEndpoint": {"ipv4": "1.2.3.4", "port": 2}}))
            ]),
        ),
        (
            "a server that does not say that it is shared",
            json!([
                id(json!({"kind": "SERVER", "localEndpoint": at("b")})),
                id(json!({"kind": "CLIENT", "parentId": "c", "localEndpoint": at("a")}))
            ]),
            json!([
                id(json!({"kind": "CLIENT", "parentId": "c", "localEndpoint": at("a")})),
                id(
                    json!({"kind": "SERVER", "parentId": "c", "localEndpoint": at("b"), "shared": true})
                )
            ]),
        ),
        (
            "a shared client is none, a parent of itself neither",
            json!([id(json!({"kind": "CLIENT", "shared": true, "parentId": "b"})), {"traceId": "a", "id": "c"}]),
            json!([id(json!({"kind": "CLIENT"})), {"traceId": "a", "id": "c"}]),
        ),
    ] {
        assert_eq!(shown(&merged(&input)), shown(&spans(&expected)), "{name}");
        let mut reversed = input.as_array().unwrap().clone();
        reversed.reverse();
        let count = expected.as_array().unwrap().len();
        assert_eq!(merged(&Json::from(reversed)).len(), count, "{name}, the other way round");
    }
}

#[test]
fn zipkins_cases_of_merging_hold() {
    let Some(cases) = corpus("zipkin-trace-merge/cases.json") else { return };
    for case in cases.as_array().unwrap() {
        let found = merged(&case["input"]);
        if let Some(ids) = case["expect_trace_ids"].as_array() {
            let found: Vec<String> = found.iter().map(Span::trace_id_text).collect();
            assert_eq!(Json::from(found), Json::from(ids.clone()), "{}", case["case"]);
        } else {
            assert_eq!(shown(&found), shown(&spans(&case["expect"])), "{}", case["case"]);
        }
    }
}

/// Counts calls and errors by `caller>called`.
fn linked(traces: &[Json]) -> BTreeMap<String, (u64, u64)> {
    let mut links = Links::default();
    for trace in traces {
        links.put_trace(spans(trace));
    }
    let links = links.into_list().into_iter();
    links
        .map(|link| {
            (format!("{}>{}", link.parent, link.child), (link.call_count, link.error_count))
        })
        .collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of cases")]
fn calls_are_counted_where_zipkin_counts_them() {
    let span = |id: &str, parent: &str, kind: &str, local: &str, remote: &str| {
        let mut span = json!({"traceId": "a", "id": id});
        for (key, value) in [("parentId", parent), ("kind", kind)] {
            if !value.is_empty() {
                span[key] = value.into();
            }
        }
        for (key, value) in [("localEndpoint", local), ("remoteEndpoint", remote)] {
            if !value.is_empty() {
                span[key] = json!({"serviceName": value});
            }
        }
        span
    };
    let failed = |mut span: Json| {
        span["tags"] = json!({"error": ""});
        span
    };
    let shared = |mut span: Json| {
        span["shared"] = true.into();
        span
    };
    for (name, trace, expected) in [
        ("nothing", vec![], vec![]),
        ("a root's caller is not known", vec![span("1", "", "SERVER", "a", "")], vec![]),
        ("a root's caller is named", vec![span("1", "", "SERVER", "a", "x")], vec![("x>a", 1, 0)]),
        ("a leaf client", vec![span("1", "", "CLIENT", "a", "db")], vec![("a>db", 1, 0)]),
        (
            "the server's word counts, the client's error too",
            vec![failed(span("1", "", "CLIENT", "a", "wrong")), span("2", "1", "SERVER", "b", "")],
            vec![("a>b", 1, 1)],
        ),
        (
            "halves of one id",
            vec![
                span("1", "", "CLIENT", "a", ""),
                shared(span("1", "", "SERVER", "b", "")),
                span("2", "1", "CLIENT", "b", "db"),
            ],
            vec![("a>b", 1, 0), ("b>db", 1, 0)],
        ),
        (
            "local spans between are skipped",
            vec![
                span("1", "", "SERVER", "a", ""),
                span("2", "1", "", "a", ""),
                span("3", "2", "CLIENT", "a", "db"),
            ],
            vec![("a>db", 1, 0)],
        ),
        (
            "a client under another name than its server",
            vec![span("1", "", "SERVER", "a", ""), span("2", "1", "CLIENT", "b", "c")],
            vec![("a>b", 1, 0), ("b>c", 1, 0)],
        ),
        (
            "brokers",
            vec![
                span("1", "", "PRODUCER", "a", "kafka"),
                span("2", "1", "CONSUMER", "b", "kafka"),
                span("3", "1", "CONSUMER", "c", ""),
            ],
            vec![("a>kafka", 1, 0), ("kafka>b", 1, 0)],
        ),
        ("no kind, both sides", vec![span("1", "", "", "a", "b")], vec![("a>b", 1, 0)]),
        (
            "no root",
            vec![span("2", "1", "SERVER", "b", "a"), span("3", "2", "CLIENT", "b", "c")],
            vec![("a>b", 1, 0), ("b>c", 1, 0)],
        ),
        (
            "a cycle is in nobody's tree",
            vec![span("1", "2", "SERVER", "a", "x"), span("2", "1", "SERVER", "b", "y")],
            vec![],
        ),
        (
            "parts of a span are one call",
            vec![span("1", "", "CLIENT", "a", "b"), span("1", "", "CLIENT", "a", "b")],
            vec![("a>b", 1, 0)],
        ),
    ] {
        let expected =
            expected.into_iter().map(|(link, calls, errors)| (link.to_owned(), (calls, errors)));
        assert_eq!(linked(&[Json::from(trace)]), expected.collect(), "{name}");
    }
}

#[test]
fn deep_and_wide_traces_are_linked_in_no_time() {
    let span = |id: usize, parent: usize| json!({"traceId": "a", "id": format!("{id:x}"), "parentId": format!("{parent:x}"), "localEndpoint": {"serviceName": "a"}});
    let mut deep: Vec<Json> = (2..20_000).map(|id| span(id, id - 1)).collect();
    deep.push(json!({"traceId": "a", "id": "1", "kind": "SERVER", "localEndpoint": {"serviceName": "front"}}));
    let mut last = span(20_000, 19_999);
    last["kind"] = "CLIENT".into();
    last["remoteEndpoint"] = json!({"serviceName": "db"});
    deep.push(last);
    let expected: BTreeMap<String, (u64, u64)> =
        [("a>db".to_owned(), (1, 0)), ("front>a".to_owned(), (1, 0))].into();
    assert_eq!(linked(&[Json::from(deep)]), expected);
    let wide: Vec<Json> = (2..20_000).map(|id| span(id, 1)).collect();
    assert_eq!(linked(&[Json::from(wide)]), BTreeMap::new());
}

#[test]
fn zipkins_cases_of_linking_hold() {
    let Some(cases) = corpus("zipkin-dependency-linker/cases.json") else { return };
    for case in cases.as_array().unwrap() {
        let expected: BTreeMap<String, (u64, u64)> = case["expected_links"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|link| {
                let text = |key: &str| link[key].as_str().unwrap_or_default();
                let count = |key: &str| link[key].as_u64().unwrap_or_default();
                let name = format!("{}>{}", text("parent"), text("child"));
                (name, (count("callCount"), count("errorCount")))
            })
            .collect();
        let Some(spans) = case["spans"].as_array().cloned() else {
            // These cases merge lists of links, which the map of links does.
            assert_eq!(case["kind"], "merge", "{case}");
            continue;
        };
        let times = usize::try_from(case["put_trace_times"].as_u64().unwrap_or(1)).unwrap();
        let traces: Vec<Json> = match case["kind"].as_str() {
            Some("each_span_alone") => {
                for span in spans {
                    assert_eq!(linked(&[json!([span])]), expected, "{case}");
                }
                continue;
            }
            _ => vec![Json::from(spans); times],
        };
        assert_eq!(linked(&traces), expected, "{}", case["case"]);
    }
}

#[test]
fn annotation_queries_are_read_as_zipkin_does() {
    let read = |query: &str| {
        let terms = terms(query).into_iter();
        terms.map(|(key, value)| format!("{key}|{value}")).collect::<Vec<_>>().join(" & ")
    };
    for (query, expected) in [
        ("", ""),
        ("error", "error|"),
        (" fo and http.path = /a ", "fo| & http.path|/a"),
        ("L O L", "L O L|"),
        ("a and a=123 and a=456 and a", "a|456"),
        ("a=b=c", "a|b=c"),
        ("a=", "a|"),
        ("a and  and b", "a| & | & b|"),
        ("sand and android", "sand| & android|"),
    ] {
        assert_eq!(read(query), expected, "{query:?}");
    }
    let many = vec!["a"; 150].join(" and ");
    assert_eq!(terms(&many).len(), 2, "the last of 100 takes the rest");
    let Some(cases) = corpus("zipkin-query/annotation-query.json") else { return };
    for case in cases["parse"].as_array().unwrap() {
        let found: BTreeMap<String, String> =
            terms(case["annotationQuery"].as_str().unwrap()).into_iter().collect();
        assert_eq!(json!(found), case["parsed"], "{case}");
    }
}

#[test]
fn conditions_hold_of_the_trace_and_not_of_one_span() {
    let trace = spans(&json!([
        {"traceId": "a", "id": "1", "name": "get", "timestamp": 5_000_000, "duration": 100,
         "localEndpoint": {"serviceName": "web"}, "remoteEndpoint": {"serviceName": "db"},
         "annotations": [{"timestamp": 5_000_001, "value": "foo"}]},
        {"traceId": "a", "id": "2", "parentId": "1", "name": "put", "timestamp": 4_000_000, "duration": 50,
         "localEndpoint": {"serviceName": "web"}, "tags": {"k": "v", "error": ""}},
        {"traceId": "a", "id": "3", "parentId": "1", "name": "del", "duration": 500,
         "localEndpoint": {"serviceName": "app"}, "tags": {"only": "app"}},
    ]));
    assert_eq!(began(&trace), 5_000_000, "the root's, though a child is earlier");
    let base =
        Request { end_millis: 5_000, lookback_millis: 1_000, limit: 10, ..Request::default() };
    let some = |text: &str| Some(text.to_owned());
    let with = |query: &str| Request { service: some("web"), terms: terms(query), ..base.clone() };
    for (name, request, expected) in [
        ("anything", base.clone(), true),
        ("the end is included", Request { end_millis: 5_000, ..base.clone() }, true),
        ("too late", Request { end_millis: 4_999, ..base.clone() }, false),
        ("the begin is included", Request { end_millis: 6_000, ..base.clone() }, true),
        ("too early", Request { end_millis: 6_001, ..base.clone() }, false),
        ("terms of different spans", with("foo and k=v"), true),
        ("an annotation has no value", with("foo=bar"), false),
        ("a tag by its key", with("error"), true),
        ("another value", with("k=w"), false),
        ("another service's tag", with("only"), false),
        ("another service", Request { service: some("nobody"), ..base.clone() }, false),
        ("a name", Request { service: some("web"), span_name: some("put"), ..base.clone() }, true),
        (
            "another service's name",
            Request { service: some("web"), span_name: some("del"), ..base.clone() },
            false,
        ),
        ("the other side", Request { remote_service: some("db"), ..base.clone() }, true),
        (
            "the other side of another",
            Request { service: some("app"), remote_service: some("db"), ..base.clone() },
            false,
        ),
        (
            "a duration",
            Request { service: some("web"), duration_min: Some(100), ..base.clone() },
            true,
        ),
        (
            "another service's duration",
            Request { service: some("web"), duration_min: Some(101), ..base.clone() },
            false,
        ),
        (
            "both of one span",
            Request { duration_min: Some(51), duration_max: Some(99), ..base.clone() },
            false,
        ),
    ] {
        assert_eq!(request.matches(&trace), expected, "{name}");
    }
    let untimed = spans(&json!([{"traceId": "a", "id": "1"}]));
    assert!(!base.matches(&untimed));
}
