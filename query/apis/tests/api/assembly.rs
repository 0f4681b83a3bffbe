//! Assembly of traces through the API: rules, gaps, queues, clocks, versions.

use axum::body::Body;
use futures::future;
use http::Request;
use insta::assert_json_snapshot;
use serde_json::{Value as Json, json};
use tidings_proto::otlp::{KeyValue, Link, SpanKind};
use tidings_query::QueryLimits;

use crate::harness::{BEGIN, Harness, MILLI, as_client, checkout, record, span, text, trace_id};

#[tokio::test]
async fn every_place_that_is_not_plain_is_explained() {
    let harness = Harness::new().await;
    harness
        .send([
            span(1, 1, "shop", "checkout").at(0, 100),
            span(1, 2, "shop", "call").parent(1).at(10, 90).kind(SpanKind::Client),
            span(1, 2, "payment", "serve").parent(1).at(20, 80).kind(SpanKind::Server),
            span(1, 4, "payment", "orphan").parent(0xabc).at(30, 40),
            span(1, 5, "payment", "orphan").parent(0xabc).at(35, 60),
        ])
        .await;
    let view = harness.get(&format!("/traces/{}", trace_id(1))).await;
    let notes = &view["assembly"];
    let rules: Vec<Json> = notes["placements"].as_array().unwrap().clone();
    let rule_of = |index: u64| {
        let found = rules.iter().find(|placement| placement["spanIndex"] == index);
        found.map(|placement| text(&placement["rule"]))
    };
    assert_eq!(rule_of(0), None);
    assert_eq!(rule_of(2).as_deref(), Some("calledSide"));
    assert_eq!(rule_of(3).as_deref(), Some("missingParent"));
    assert_eq!(
        notes["gaps"],
        json!([{
            "spanId": "0000000000000abc",
            "children": [3, 4],
            "startUnixNano": (BEGIN + 30 * MILLI).to_string(),
            "endUnixNano": (BEGIN + 60 * MILLI).to_string(),
        }])
    );
    let skeleton = harness.get(&format!("/traces/{}/skeleton", trace_id(1))).await;
    assert_eq!(skeleton["assembly"], *notes);
    let path = format!("/traces/{}/spans/0000000000000002?index=2", trace_id(1));
    let span = harness.get(&path).await;
    assert_eq!(span["placement"]["rule"], "calledSide");
    assert!(text(&span["placement"]["reason"]).contains("call of shop"), "{span}");
}

#[tokio::test]
async fn time_in_which_no_call_was_open_is_named_where_it_matters() {
    let harness = Harness::new().await;
    harness
        .send([
            span(1, 1, "shop", "checkout").at(0, 1_000),
            // Gaps: 300 ms before the first call, 20 ms between, 200 ms after the last; one is too
            // short.
            span(1, 2, "cart", "read").parent(1).at(300, 500),
            span(1, 3, "payment", "charge").parent(1).at(520, 800),
            // A span without calls has no gap.
            span(1, 4, "cart", "sum").parent(2).at(300, 490),
        ])
        .await;
    let skeleton = harness.get(&format!("/traces/{}/skeleton", trace_id(1))).await;
    let stretch = |from: u64, to: u64| json!({ "span": 0, "startOffsetNano": from * MILLI, "endOffsetNano": to * MILLI });
    assert_eq!(skeleton["untraced"], json!([stretch(0, 300), stretch(800, 1_000)]));

    // A child that overlaps or outlives the others leaves no gap.
    harness
        .send([
            span(2, 1, "shop", "checkout").at(0, 100),
            span(2, 2, "cart", "read").parent(1).at(0, 90),
            span(2, 3, "cart", "sum").parent(1).at(10, 20),
        ])
        .await;
    let skeleton = harness.get(&format!("/traces/{}/skeleton", trace_id(2))).await;
    assert_eq!(skeleton.get("untraced"), None, "{skeleton}");
}

#[tokio::test]
async fn a_message_that_waits_has_a_segment_of_its_own() {
    let harness = Harness::new().await;
    harness
        .send([
            span(1, 1, "shop", "send order").at(0, 10).kind(SpanKind::Producer),
            span(1, 2, "store", "take order").parent(1).at(500, 700).kind(SpanKind::Consumer),
        ])
        .await;
    let view = harness.get(&format!("/traces/{}", trace_id(1))).await;
    let queue = &view["assembly"]["queues"][0];
    assert_eq!((&queue["producer"], &queue["consumer"]), (&json!(0), &json!(1)));
    assert_eq!(queue["waitNano"], (490 * MILLI).to_string());
    assert_eq!(view["spans"][1]["durationNano"], (200 * MILLI).to_string());
}

#[tokio::test]
async fn spans_that_outlive_the_answer_are_on_the_completion_path() {
    let harness = Harness::new().await;
    harness
        .send([
            span(1, 1, "shop", "POST /order").at(0, 30).kind(SpanKind::Server),
            span(1, 2, "shop", "send order").parent(1).at(12, 14).kind(SpanKind::Producer),
            span(1, 3, "store", "take order").parent(2).at(50, 90).kind(SpanKind::Consumer),
            span(1, 4, "store", "reserve").parent(3).at(60, 80),
        ])
        .await;
    let path = format!("/traces/{}", trace_id(1));
    let view = harness.get(&path).await;
    let skeleton = harness.get(&format!("{path}/skeleton")).await;
    let transaction = harness.get(&format!("/transactions/{}", trace_id(1))).await;
    assert_json_snapshot!(
        "completion",
        json!({
            "criticalPath": view["criticalPath"],
            "completionPath": view["completionPath"],
            "skeleton": skeleton["completionPath"],
            "hops": transaction["hops"],
        })
    );
    // No span outlives the answer, so there is one path, which is shown once.
    harness.send(checkout(2)).await;
    let path = format!("/traces/{}", trace_id(2));
    for path in [path.clone(), format!("{path}/skeleton")] {
        let answer = harness.get(&path).await;
        assert!(answer["criticalPath"].is_array() && answer["completionPath"].is_null(), "{path}");
    }
}

#[tokio::test]
async fn the_clocks_of_a_large_trace_are_compared_only_to_be_adjusted() {
    for (view_spans_max, query, compared) in
        [(2, "", 1), (1, "", 0), (0, "", 0), (0, "?adjust=clock", 1), (1, "?adjust=clock", 1)]
    {
        let limits = QueryLimits { view_spans_max, ..QueryLimits::default() };
        let harness = Harness::with_limits(limits).await;
        harness
            .send([
                span(1, 1, "shop", "call").at(1_000, 1_100).kind(SpanKind::Client),
                span(1, 2, "payment", "serve").parent(1).at(10, 90).kind(SpanKind::Server),
            ])
            .await;
        let path = format!("/traces/{}/skeleton{query}", trace_id(1));
        let clocks = harness.get(&path).await["assembly"]["clocks"].clone();
        let found = clocks.as_array().map_or(0, Vec::len);
        assert_eq!(found, compared, "{path}, of {view_spans_max}");
    }
}

#[tokio::test]
async fn clocks_are_compared_always_and_adjusted_on_request() {
    let harness = Harness::new().await;
    harness
        .send([
            span(1, 1, "shop", "call").at(1_000, 1_100).kind(SpanKind::Client),
            span(1, 2, "payment", "serve").parent(1).at(10, 90).kind(SpanKind::Server),
            span(1, 3, "payment", "charge").parent(2).at(20, 80).exception("NonCanonical", "odd"),
            span(1, 4, "payment", "mail").parent(1).at(50, 400).kind(SpanKind::Consumer),
        ])
        .await;
    let raw = harness.get(&format!("/traces/{}", trace_id(1))).await;
    let clocks = json!([{
        "host": "payment-1",
        "comparedWith": "shop-1",
        "offsetNano": "1000000000",
        "uncertaintyNano": "10000000",
        "callCount": 1,
        "agreeingCount": 1,
    }]);
    assert_eq!(raw["assembly"]["clocks"], clocks);
    assert_eq!(raw["assembly"]["clockAdjusted"], false);
    assert_eq!(raw["startUnixNano"], (BEGIN + 10 * MILLI).to_string());

    let path = format!("/traces/{}?adjust=clock", trace_id(1));
    let adjusted = harness.get(&path).await;
    assert_eq!(adjusted["assembly"]["clocks"], clocks);
    assert_eq!(adjusted["assembly"]["clockAdjusted"], true);
    let rows = adjusted["spans"].as_array().unwrap();
    let of = |name: &str| rows.iter().position(|row| row["name"] == name).unwrap();
    let offset = |name: &str| adjusted["assembly"]["clockOffsetNano"][of(name)].clone();
    assert_eq!(offset("call"), 0);
    assert_eq!(offset("serve"), 1_000_000_000);
    assert_eq!(offset("charge"), 1_000_000_000);
    assert_eq!(offset("mail"), 0, "nobody waited for it");
    let charge = &rows[of("charge")];
    assert_eq!(charge["startUnixNano"], (BEGIN + 1_020 * MILLI).to_string());
    assert_eq!(charge["events"][0]["timeUnixNano"], (BEGIN + 1_021 * MILLI).to_string());
    assert_eq!(rows[of("call")]["selfNano"], (20 * MILLI).to_string());
    let odd = |view: &Json| view["problems"].to_string().contains("startsBeforeParent");
    assert!(odd(&raw) && !odd(&adjusted), "{adjusted}");

    let skeleton = harness.get(&path.replace('?', "/skeleton?")).await;
    assert_eq!(skeleton["assembly"], adjusted["assembly"]);
    let index = of("charge");
    let path = format!("/traces/{}/spans/0000000000000003", trace_id(1));
    let span = harness.get(&format!("{path}?adjust=clock&index={index}")).await;
    assert_eq!(span["startUnixNano"], charge["startUnixNano"]);
    assert_eq!(span["clockOffsetNano"], "1000000000");
    let (status, problem) = harness.problem(&format!("{path}?adjust=time")).await;
    assert_eq!((status, &problem["parameter"]), (400, &json!("adjust")));
}

#[tokio::test]
async fn one_span_with_an_impossible_end_does_not_stretch_its_trace() {
    let harness = Harness::new().await;
    let mut broken = span(1, 2, "shop", "broken").parent(1).at(10, 20);
    broken.span.end_time_unix_nano = i64::MAX.unsigned_abs();
    harness.send([span(1, 1, "shop", "root").at(0, 100), broken]).await;
    let view = harness.get(&format!("/traces/{}", trace_id(1))).await;
    assert_eq!(view["durationNano"], (100 * MILLI).to_string());
    assert_eq!(view["state"], "completed");
    assert_eq!(view["problems"][0]["kind"], "implausibleTime");
    assert_eq!(view["problems"][0]["spanIndex"], 1);
}

#[tokio::test]
async fn a_version_is_that_of_the_data_and_not_of_its_order() {
    let forwards = Harness::new().await;
    forwards.send(checkout(1)).await;
    let backwards = Harness::new().await;
    for span in checkout(1).into_iter().rev() {
        backwards.send([span.clone()]).await;
        backwards.send([span]).await;
    }
    let version = async |harness: &Harness, path: &str| {
        let answer = harness.get(path).await;
        text(answer.pointer("/assembly/version").unwrap_or(&answer["version"]))
    };
    let id = trace_id(1);
    for path in
        [format!("/traces/{id}"), format!("/traces/{id}/skeleton"), "/transactions/A-17".to_owned()]
    {
        let one = version(&forwards, &path).await;
        assert_eq!(one, version(&backwards, &path).await, "{path}");
        backwards.log([("shop", record(Some(1), 1, 9, &path))]).await;
        assert_ne!(one, version(&backwards, &path).await, "{path}");
        forwards.log([("shop", record(Some(1), 1, 9, &path))]).await;
    }
}

#[tokio::test]
async fn a_client_can_wait_for_the_next_version() {
    let harness = Harness::new().await;
    let first = format!("/transactions/{}?wait=30s", trace_id(1));
    let send = async || {
        tokio::task::yield_now().await;
        harness.send(checkout(1)).await;
    };
    // A transaction that is not stored yet.
    let (answer, ()) = tokio::join!(harness.get(&first), send());
    let version = text(&answer["version"]);
    // Without changes, the same version is returned.
    let path = |wait: &str| format!("/transactions/{}?after={version}&wait={wait}", trace_id(1));
    assert_eq!(harness.get(&path("1ms")).await["version"], version);
    // The next version comes when a span arrives.
    let send = async || {
        tokio::task::yield_now().await;
        harness.send([span(1, 9, "shop", "late").parent(1).at(20, 30)]).await;
    };
    let next = path("30s");
    let (answer, ()) = tokio::join!(harness.get(&next), send());
    assert_ne!(answer["version"], version);
    assert_eq!(answer["traces"][0]["spanCount"], 6);
    // A request with an older version is answered at once.
    assert_eq!(harness.get(&path("30s")).await["version"], answer["version"]);
    for wait in ["61s", "-1s", "soon"] {
        let (status, problem) = harness.problem(&path(wait)).await;
        assert_eq!((status, &problem["parameter"]), (400, &json!("wait")));
    }
    // A process that stops waits for no version.
    let version = answer["version"].clone();
    let last = format!("/transactions/{}?after={}&wait=30s", trace_id(1), text(&version));
    let stop = async {
        tokio::task::yield_now().await;
        harness.service.end_waits();
    };
    let soon = std::time::Duration::from_secs(10);
    let (answer, ()) = tokio::join!(tokio::time::timeout(soon, harness.get(&last)), stop);
    assert_eq!(answer.unwrap()["version"], version);
}

#[tokio::test]
async fn waits_for_a_version_do_not_block_other_requests() {
    let limits = QueryLimits { running_max: 1, waiting_max: 0, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    harness.send(checkout(1)).await;
    let path = format!("/transactions/{}", trace_id(1));
    let version = text(&harness.get(&path).await["version"]);
    let ask = async |path: String| {
        harness.ask(Request::get(path).body(Body::empty()).unwrap()).await.0.as_u16()
    };
    let waits = ask(format!("/api/v1{path}?after={version}&wait=30s"));
    let others = async {
        for _ in 0..3 {
            while ask("/api/v1/services".to_owned()).await != 200 {
                // A refusal is immediate; the waiting requests must be polled meanwhile.
                tokio::task::yield_now().await;
            }
        }
        harness.service.end_waits();
    };
    let soon = std::time::Duration::from_secs(10);
    let both = tokio::time::timeout(soon, async { tokio::join!(waits, others) });
    both.await.expect("the others can ask");
}

#[tokio::test]
async fn no_client_keeps_others_from_waiting_for_a_version() {
    let limits = QueryLimits { versions_awaited_max: 2, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    harness.send(checkout(1)).await;
    let path = format!("/api/v1/transactions/{}", trace_id(1));
    let version = text(&harness.get(&format!("/transactions/{}", trace_id(1))).await["version"]);
    let wait = |client: &'static str, time: &str| {
        let request = Request::get(format!("{path}?after={version}&wait={time}"));
        let answer = harness.ask(request.body(Body::empty()).unwrap());
        Box::pin(as_client(client, async move { answer.await.0.as_u16() }))
    };
    // One of them is refused, and the other one continues to wait.
    let both = future::select(wait("a", "30s"), wait("a", "30s")).await;
    let (refused, _waiting) = both.factor_first();
    assert_eq!(refused, 503);
    assert_eq!(wait("a", "1ms").await, 503);
    assert_eq!(wait("b", "1ms").await, 200);
}

#[tokio::test]
async fn links_are_followed_both_ways() {
    let harness = Harness::new().await;
    let link = |to: &str, key: &str| Link {
        trace_id: u128::from_str_radix(to, 16).unwrap().to_be_bytes().to_vec(),
        span_id: 1_u64.to_be_bytes().to_vec(),
        attributes: vec![KeyValue::new(key, "x")],
        ..Link::default()
    };
    let mut batch = span(1, 1, "mailer", "batch").at(5_000, 6_000);
    batch.span.links = vec![link(&trace_id(2), "first"), link(&trace_id(9), "gone")];
    let mut again = span(3, 7, "audit", "check").at(9_000, 9_001);
    again.span.links = vec![link(&trace_id(2), "audit"), link(&trace_id(1), "audit")];
    harness.send([batch.clone(), span(2, 1, "shop", "order").at(0, 10)]).await;
    harness.store.flush().await.unwrap();
    harness.send([again, batch]).await;

    let of = async |trace: u64| harness.get(&format!("/traces/{}/links", trace_id(trace))).await;
    let told = |links: &Json| -> Vec<String> {
        let links = links.as_array().unwrap().iter();
        links
            .map(|link| {
                let linked = text(&link["linkedTraceId"]);
                format!(
                    "{} {}>{} {}",
                    text(&link["service"]),
                    link["spanId"],
                    &linked[31..],
                    link["linkedIsStored"]
                )
            })
            .collect()
    };
    let batch = of(1).await;
    let own = "mailer \"0000000000000001\">";
    assert_eq!(told(&batch["outgoing"]), [format!("{own}2 true"), format!("{own}9 false")]);
    assert_eq!(told(&batch["incoming"]), ["audit \"0000000000000007\">1 true"]);
    assert_eq!(batch["searched"]["complete"], true);
    let order = of(2).await;
    assert_eq!(order["outgoing"], json!([]));
    assert_eq!(
        told(&order["incoming"]),
        [format!("{own}2 true"), "audit \"0000000000000007\">2 true".to_owned()]
    );
    assert_eq!(order["incoming"][0]["attributes"][0]["key"], "first");
    assert_eq!(harness.problem(&format!("/traces/{}/links", trace_id(9))).await.0, 404);

    // The links are found from the linked trace, stored or not, in memory and in files.
    for is_flushed in [false, true] {
        for (linked, linking) in [(2, vec![3, 1]), (1, vec![3]), (9, vec![1]), (3, vec![])] {
            let linking: Vec<String> = linking.into_iter().map(trace_id).collect();
            let linked = trace_id(linked);
            let found = harness.found(&format!("?linksTo={}", linked.to_uppercase())).await;
            assert_eq!(found, linking, "{linked} {is_flushed}");
            let query = format!("?q=%7B%20link%3AtraceID%20%3D%20%22{linked}%22%20%7D");
            assert_eq!(harness.found(&query).await, linking, "{linked} {is_flushed}");
        }
        harness.store.flush().await.unwrap();
    }
    let (status, problem) = harness.problem("/traces?linksTo=2").await;
    assert_eq!((status, &problem["parameter"]), (400, &"linksTo".into()));
    assert_eq!(harness.problem(&format!("/traces?linksTo={}&q=%7B%7D", trace_id(2))).await.0, 400);
}

#[tokio::test]
async fn a_span_that_is_sent_again_with_its_end_is_one_finished_span() {
    let harness = Harness::new().await;
    // The clock of the called host is ahead.
    let called = || span(1, 2, "payment", "pay").parent(1).kind(SpanKind::Server).at(1_000, 1_050);
    let calling = span(1, 1, "shop", "pay").kind(SpanKind::Client).at(0, 100);
    harness.send([calling, called().unfinished()]).await;
    harness.store.flush().await.unwrap();
    let path = format!("/traces/{}", trace_id(1));
    let before = harness.get(&path).await;
    assert_eq!(before["state"], "running", "{before}");
    harness.send([called().attribute("rows", 3_i64)]).await;
    for query in ["", "?adjust=clock"] {
        let after = harness.get(&format!("{path}{query}")).await;
        assert_eq!(after["state"], "completed", "{after}");
        assert_eq!(after["spanCount"], 2, "{query}");
        let kinds: Vec<String> =
            after["problems"].as_array().unwrap().iter().map(|one| text(&one["kind"])).collect();
        assert_eq!(kinds, ["supersededSpan"], "{query}");
        assert!(text(&after["problems"][0]["message"]).contains("as it ended"));
        let is_moved =
            after["spans"][1]["startUnixNano"] != json!((BEGIN + 1_000 * MILLI).to_string());
        assert_eq!(is_moved, !query.is_empty());
    }
    let found = harness.get("/traces").await;
    assert_eq!(found["traces"][0]["spanCount"], 2);
}

#[tokio::test]
async fn clocks_of_hosts_that_only_spans_name_are_adjusted_too() {
    let harness = Harness::new().await;
    let span = |id: u64, parent: Option<u64>, kind: &str, start: u64, address: &str| {
        let mut span = json!({
            "traceId": format!("{:032x}", 1), "id": format!("{id:016x}"), "name": "get",
            "kind": kind, "timestamp": (BEGIN / 1_000) + start * 1_000, "duration": 80_000,
            "localEndpoint": { "serviceName": address, "ipv4": address },
        });
        if let Some(parent) = parent {
            span["parentId"] = format!("{parent:016x}").into();
        }
        span
    };
    let spans = json!([
        span(1, None, "CLIENT", 2_000, "10.0.0.1"),
        span(2, Some(1), "SERVER", 10, "10.0.0.2"),
    ]);
    let spans = tidings_proto::zipkin::decode_json(spans.to_string().as_bytes()).unwrap();
    let (request, _) = tidings_proto::zipkin::to_otlp(spans);
    harness.send_request(request).await;
    let path = format!("/traces/{:032x}/skeleton?adjust=clock", 1);
    let adjusted = harness.get(&path).await;
    assert_eq!(adjusted["assembly"]["clocks"][0]["host"], "10.0.0.2", "{adjusted}");
    assert_eq!(adjusted["assembly"]["clockAdjusted"], true);
    assert_ne!(adjusted["assembly"]["clocks"][0]["offsetNano"], "0");
}
