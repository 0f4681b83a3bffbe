//! Parameters that Tempo's API accepts, refuses and lists, on which clients rely.

use prost::Message;
use serde_json::{Value as Json, json};

use super::{
    ByIdResponse, Named, Texts, ask, encoded, framed, get, grpc, hour, names_of, refused, stories,
};
use crate::harness::{BEGIN, Harness, span, trace_id};

const SECOND: u64 = 1_000_000_000;

async fn tag_names(harness: &Harness, query: &str) -> Vec<String> {
    let answer = get(harness, &format!("/api/search/tags?{}&{query}", hour())).await;
    let names = answer["tagNames"].as_array().unwrap().iter();
    names.map(|name| name.as_str().unwrap().to_owned()).collect()
}

async fn texts(harness: &Harness, method: &str, name: &str) -> Vec<String> {
    let asked = Named { name: name.to_owned(), ..Named::default() };
    let (body, status) = grpc(harness, method, framed(&asked)).await;
    assert_eq!(status, "0 ", "{method} {name}");
    Texts::decode(&body[5..]).unwrap().texts
}

#[tokio::test]
async fn the_first_list_of_names_has_intrinsics_only_when_they_are_asked_for() {
    let harness = stories().await;
    let attributes = tag_names(&harness, "").await;
    for name in ["service.name", "rounds", "exception.type"] {
        assert!(attributes.iter().any(|known| known == name), "{name} in {attributes:?}");
    }
    for name in ["duration", "name", "span:status", "trace:id"] {
        assert!(!attributes.iter().any(|known| known == name), "{name} in {attributes:?}");
    }
    assert_eq!(tag_names(&harness, "scope=none").await, attributes);
    assert_eq!(texts(&harness, "SearchTags", "").await, attributes);
    let intrinsics = tag_names(&harness, "scope=intrinsic").await;
    assert!(intrinsics.iter().any(|name| name == "duration"));
    assert_eq!(texts(&harness, "SearchTags", "intrinsic").await, intrinsics);
    assert!(!intrinsics.iter().any(|name| name == "rounds"));
    assert_eq!(tag_names(&harness, "limit=2").await, attributes[..2]);
    assert_eq!(tag_names(&harness, "scope=intrinsic&limit=3").await.len(), 3);
    assert_eq!(tag_names(&harness, "limit=0").await, attributes);
    let scopes = get(&harness, &format!("/api/v2/search/tags?limit=1&{}", hour())).await;
    for scope in scopes["scopes"].as_array().unwrap() {
        assert_eq!(scope["tags"].as_array().unwrap().len(), 1, "{scope}");
    }
}

#[tokio::test]
async fn the_first_list_of_values_knows_the_tags_that_are_no_attributes() {
    let harness = stories().await;
    let values = async |tag: &str, more: &str| {
        let answer = get(&harness, &format!("/api/search/tag/{tag}/values?{more}")).await;
        let values = answer["tagValues"].as_array().unwrap().iter();
        values.map(|value| value.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(values("status.code", "").await, ["unset", "ok", "error"]);
    assert_eq!(values("error", "").await, ["true"]);
    let late = span(8, 1, "shop", "late").attribute("error", "timeout");
    harness.send([late.attribute("status.code", "ok").attribute("status.code", "lost")]).await;
    harness.send([span(9, 1, "shop", "lost").attribute("error", true)]).await;
    assert_eq!(values("error", "").await, ["true", "timeout"]);
    assert_eq!(texts(&harness, "SearchTagValues", "error").await, ["true", "timeout"]);
    assert_eq!(values("error", "limit=1").await, ["true"]);
    let codes = ["unset", "ok", "error"];
    assert_eq!(texts(&harness, "SearchTagValues", "status.code").await[..3], codes);
    // Only the first version adds these fixed values.
    let typed = get(&harness, "/api/v2/search/tag/.error/values").await;
    let types = typed["tagValues"].as_array().unwrap().iter();
    let mut types: Vec<&str> = types.map(|value| value["type"].as_str().unwrap()).collect();
    types.sort_unstable();
    assert_eq!(types, ["bool", "string"]);
}

#[tokio::test]
async fn values_are_refused_of_what_no_query_can_name() {
    let harness = stories().await;
    let wrong = [
        "foo",
        "service.name",
        "bad:thing",
        ".",
        " ",
        "{ .foo }",
        ".foo &&",
        ".foo && .bar",
        ".foo > .bar",
        ".foo = \"bar\"",
        ".foo + .bar",
        ".foo != nil",
        "true",
        "123",
        "\"string\"",
        "count()",
        "max(.foo)",
        ":duration",
        "trace:name",
        "parent:id",
        "span.",
        "resource.",
        "parent.",
        ".\"foo",
        ".foo, .bar",
        ".foo) | select(.bar",
        ".foo) with (a=true",
    ];
    for name in wrong {
        let path = format!("/api/v2/search/tag/{}/values", encoded(name));
        let (status, text) = refused(&harness, &path).await;
        assert_eq!(status, 400, "{name}");
        assert!(text.contains("tagName"), "{name}: {text}");
        let asked = Named { name: name.to_owned(), ..Named::default() };
        let (body, status) = grpc(&harness, "SearchTagValuesV2", framed(&asked)).await;
        assert!(body.is_empty() && status.starts_with("3 "), "{name}: {status}");
    }
    let right = [
        "name",
        "span:kind",
        "trace:rootService",
        ".foo",
        ".foo.3",
        ".http-status",
        "span.foo",
        "parent.foo",
        "parent.resource.foo",
        ".\"foo bar\"",
        "resource.\"a \\\" b\"",
        ".😝",
    ];
    for name in right {
        get(&harness, &format!("/api/v2/search/tag/{}/values", encoded(name))).await;
    }
}

#[tokio::test]
async fn a_blank_filter_of_a_trace_is_none() {
    let harness = stories().await;
    let path = format!("/api/v2/traces/{}", trace_id(1));
    let whole = get(&harness, &path).await;
    for blank in ["q=", "q=%20", "q=+%09", "q=%20&keep_hierarchy=perhaps"] {
        assert_eq!(get(&harness, &format!("{path}?{blank}")).await, whole, "{blank}");
    }
    let (_, _, body) = ask(&harness, &format!("{path}?q=%20"), "application/protobuf").await;
    assert_eq!(ByIdResponse::decode(body.as_slice()).unwrap().status, 0);
    let some = get(&harness, &format!("{path}?q=%20{}%20", encoded("{ kind = server }"))).await;
    assert_eq!(names_of(&some), ["POST /checkout", "POST /pay"]);
}

#[tokio::test]
async fn hints_where_a_trace_is_are_checked() {
    let harness = stories().await;
    let id = trace_id(1);
    let cases: [(&str, Option<&str>); 20] = [
        ("start=1&end=2", None),
        ("start=&end=", None),
        ("start=-5", None),
        ("start=yesterday", Some("start")),
        ("end=1.5", Some("end")),
        ("start=2&end=2", Some("start")),
        ("start=3&end=2", Some("start")),
        ("mode=all", None),
        ("mode=blocks", None),
        ("mode=external", None),
        ("mode=ingesters&start=yesterday&blockStart=x", None),
        ("mode=recent", Some("mode")),
        ("blockStart=12345678-0000-0000-1235-000001240000", None),
        ("blockEnd=123456780000000012350000012400ff", None),
        ("blockStart=0000", Some("blockStart")),
        ("blockEnd=FFFF", Some("blockEnd")),
        ("span_pruning=perhaps", Some("span_pruning")),
        ("span_pruning=true&span_pruning_min_spans=few", Some("span_pruning_min_spans")),
        ("span_pruning_max_parent_depth=deep", Some("span_pruning_max_parent_depth")),
        ("span_pruning=true&span_pruning_min_spans=5&span_pruning_max_parent_depth=-1", None),
    ];
    for (query, wrong) in cases {
        for version in ["", "/v2"] {
            let path = format!("/api{version}/traces/{id}?{query}");
            // The first version never folds spans.
            match wrong.filter(|name| version == "/v2" || !name.starts_with("span_")) {
                None => drop(get(&harness, &path).await),
                Some(name) => {
                    let (status, text) = refused(&harness, &path).await;
                    assert_eq!(status, 400, "{path}: {text}");
                    assert!(text.starts_with(&format!("invalid {name}: ")), "{path}: {text}");
                }
            }
        }
    }
}

#[tokio::test]
async fn an_id_that_no_trace_can_have_is_not_found_or_refused() {
    let harness = stories().await;
    for id in ["0", "00", "0000000000000000", "00000000000000000000000000000000"] {
        for version in ["", "/v2"] {
            let (status, text) = refused(&harness, &format!("/api{version}/traces/{id}")).await;
            assert!([400, 404].contains(&status), "{id}: {status} {text}");
        }
    }
}

#[tokio::test]
async fn bounds_of_metrics_that_are_no_numbers_are_refused_by_name() {
    let harness = stories().await;
    for path in ["query_range", "query"] {
        for (name, value) in [
            ("exemplars", "many"),
            ("exemplars", "-1"),
            ("maxSeries", "many"),
            ("maxSeries", "1.5"),
        ] {
            let query = encoded("{} | rate()");
            let path = format!("/api/metrics/{path}?q={query}&{}&{name}={value}", hour());
            let (status, text) = refused(&harness, &path).await;
            assert_eq!(status, 400, "{path}: {text}");
            assert!(text.starts_with(&format!("invalid {name}: ")), "{path}: {text}");
        }
    }
}

#[tokio::test]
async fn metrics_give_durations_as_the_nearest_number_of_seconds() {
    let harness = Harness::new().await;
    for (trace, millis) in (1..).zip([9_u64, 11, 13, 36, 53]) {
        harness.send([span(trace, 1, "shop", &format!("{millis}")).at(100, 100 + millis)]).await;
    }
    let (start, end) = (BEGIN / SECOND - 60, BEGIN / SECOND + 60);
    for measure in ["min", "max", "avg", "sum"] {
        let query = encoded(&format!("{{}} | {measure}_over_time(duration) by (name)"));
        let path = format!("/api/metrics/query?q={query}&start={start}&end={end}");
        let answer = get(&harness, &path).await;
        let series = answer["series"].as_array().unwrap();
        assert_eq!(series.len(), 5);
        for one in series {
            let millis: f64 =
                one["labels"][0]["value"]["stringValue"].as_str().unwrap().parse().unwrap();
            assert_eq!(one["value"], json!(millis / 1e3), "{measure}");
        }
    }
    let query = encoded("{ name = \"9\" } | quantile_over_time(duration, .5)");
    let path = format!("/api/metrics/query_range?q={query}&start={start}&end={end}&step=60s");
    let answer = get(&harness, &path).await;
    let values: Vec<&Json> = answer["series"][0]["samples"]
        .as_array()
        .unwrap()
        .iter()
        .map(|sample| &sample["value"])
        .collect();
    assert_eq!(values, [&json!(0.009)]);
    assert_eq!(answer["series"][0]["exemplars"][0]["value"], json!(0.009));
}
