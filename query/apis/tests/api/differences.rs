//! Differences between sets of spans and traces: explain, compare, repeated calls.

use serde_json::{Value as Json, json};
use tidings_proto::otlp::{SpanKind, StatusCode};
use tidings_query::QueryLimits;

use crate::harness::{BEGIN, Harness, MILLI, SpanBuilder, checkout, span, text, trace_id};

/// 1,000 requests, every tenth slow. The slow ones come from `eu`, which determines size and
/// zone. Half of the slow ones come from a browser that the others use less often.
fn requests() -> Vec<SpanBuilder> {
    (0..1_000_u64)
        .map(|n| {
            let slow = n % 10 == 3;
            let pick = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            let region = if slow || pick % 20 == 0 { "eu" } else { "us" };
            let browser = if pick % 100 < if slow { 50 } else { 20 } { "old" } else { "new" };
            let duration = if slow { 900 + pick % 50 } else { 10 + pick % 50 };
            let built = span(n + 1, 1, "shop", "GET /cart")
                .at(n, n + duration)
                .attribute("region", region)
                .attribute("zone", format!("{region}-1"))
                .attribute("size", if region == "eu" { "small" } else { "large" })
                .attribute("browser", browser)
                .attribute("coin", if pick % 2 == 0 { "heads" } else { "tails" })
                .attribute("request.id", format!("r-{n}"))
                .attribute(
                    "bytes",
                    i64::try_from(if slow { 4_000 + pick % 90 } else { 100 + pick % 90 }).unwrap(),
                );
            if slow { built.status(StatusCode::Error, "slow") } else { built }
        })
        .collect()
}

/// A server with the requests: half of them in files, half in memory, and some in both.
async fn with_requests() -> Harness {
    let harness = Harness::new().await;
    let (first, second): (Vec<_>, Vec<_>) =
        requests().into_iter().partition(|span| span.span.start_time_unix_nano % 2 == 0);
    harness.send(first.clone()).await;
    harness.store.flush().await.unwrap();
    harness.send(second).await;
    harness.send(first.into_iter().take(50)).await;
    harness
}

fn keys(answer: &Json) -> Vec<String> {
    let differences = answer["differences"].as_array().unwrap().iter();
    differences.map(|one| format!("{}.{}", text(&one["scope"]), text(&one["key"]))).collect()
}

#[tokio::test]
async fn attributes_of_the_selected_spans_are_listed_first_and_random_ones_not_at_all() {
    let harness = with_requests().await;
    let path = "/explain?selectMinDuration=500ms&operation=GET%20/cart";
    let answer = harness.get(path).await;
    assert_eq!((&answer["selectedCount"], &answer["restCount"]), (&json!(100), &json!(900)));
    let found = keys(&answer);
    assert!(found.contains(&"span.browser".to_owned()), "{found:?}");
    assert!(!found.contains(&"span.coin".to_owned()), "{found:?}");
    assert_eq!(answer["leftOut"], json!([{"scope": "span", "key": "request.id"}]));
    let of = |key: &str| {
        let differences = answer["differences"].as_array().unwrap();
        differences.iter().find(|one| one["key"] == key).cloned()
    };
    // Failures and large answers occur on exactly the slow requests, so they are one finding.
    let first = &answer["differences"][0];
    assert_eq!(first["score"], 1.0);
    let together: Vec<String> =
        first["together"].as_array().unwrap().iter().map(|other| text(&other["key"])).collect();
    let mut all = vec![text(&first["key"])];
    all.extend(together);
    all.sort_unstable();
    assert_eq!(all, ["bytes", "status"]);
    // The size and the zone always go with the region. Their values are those of the slow spans.
    let region = of("region").unwrap();
    let together = region["together"].as_array().unwrap().iter();
    let together: Vec<(String, String)> =
        together.map(|other| (text(&other["key"]), text(&other["value"]))).collect();
    let expected = [("size", "small"), ("zone", "eu-1")];
    assert_eq!(together, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let eu =
        region["values"].as_array().unwrap().iter().find(|value| value["value"] == "eu").unwrap();
    let counted = requests()
        .iter()
        .filter(|built| {
            let is_slow = built.span.status.is_some();
            !is_slow
                && built.span.attributes.iter().any(|one| {
                    one.key == "region"
                        && one.value() == Some(&tidings_proto::otlp::Value::String("eu".to_owned()))
                })
        })
        .count();
    assert_eq!((&eu["selectedCount"], &eu["restCount"]), (&json!(100), &json!(counted)));
    assert!(region["pValue"].as_f64().unwrap() < 1e-6);

    let by_status = harness.get("/explain?selectStatus=error").await;
    assert!(!keys(&by_status).contains(&"intrinsic.status".to_owned()));
}

#[tokio::test]
async fn a_value_that_is_there_comes_before_the_absence_of_others() {
    // Of the slow spans, fewer call the score of fraud, and more call the acquirer.
    let kinds =
        [("charge", 74, 400), ("authorize", 38, 200), ("refund", 38, 200), ("score", 10, 400)];
    let slow = kinds.map(|(name, slow, _)| vec![(name, 900); slow]).concat();
    let fast = kinds.map(|(name, _, fast)| vec![(name, 10); fast]).concat();
    let spans = (0_u64..).zip(slow.into_iter().chain(fast)).map(|(n, (name, millis))| {
        let built = span(n + 1, 1, "payment", name).at(n, n + millis);
        match name {
            "charge" => built.attribute("server.address", "northpay.example"),
            "score" => built
                .attribute("server.address", "fraud")
                .attribute("rpc.method", "Score")
                .attribute("rpc.system", "grpc"),
            _ => built,
        }
    });
    let harness = Harness::new().await;
    harness.send(spans).await;
    let answer = harness.get("/explain?selectMinDuration=500ms").await;
    assert_eq!((&answer["selectedCount"], &answer["restCount"]), (&json!(160), &json!(1_200)));
    assert_eq!(keys(&answer), ["intrinsic.operation", "span.rpc.method"]);
    // Most of the excess is of spans without an address, but they are of two operations.
    let [operation, method] = [0_usize, 1].map(|place| &answer["differences"][place]);
    assert_eq!(operation["values"][0]["value"], "charge");
    assert_eq!(
        operation["together"],
        json!([{"scope": "span", "key": "server.address", "value": "northpay.example"}])
    );
    // Spans without one attribute are those without the other.
    assert_eq!(method["values"][0].get("value"), None);
    assert_eq!(method["together"], json!([{"scope": "span", "key": "rpc.system"}]));
}

/// 1,500 requests with random attributes of all types. Every third is slow and lacks the third
/// value of each attribute.
fn of_all_types() -> Vec<SpanBuilder> {
    use tidings_proto::otlp::{AnyValue, ArrayValue, Value};
    let list = |number: u64| {
        let values = vec![AnyValue::from(i64::try_from(number).unwrap()), AnyValue::from("x")];
        Value::Array(ArrayValue { values })
    };
    (0..1_500_u64)
        .map(|n| {
            let slow = n % 3 == 0;
            let mut random = n;
            let mut pick = || {
                random = random.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                random ^= random >> 29;
                usize::try_from((random >> 32) % if slow { 2 } else { 3 }).unwrap()
            };
            let long = ["a text of sixteen", "a text of sixteem", "a longer text than sixteen"];
            let built = span(n + 1, 1, "shop", "GET /cart")
                .at(n, n + if slow { 900 } else { 10 })
                .attribute("text", ["", "standard", "fifteen letters"][pick()])
                .attribute("long", long[pick()])
                .attribute("int", [-7_i64, 0, i64::MAX][pick()])
                .attribute("double", [0.5, -2.25, f64::NAN][pick()])
                .attribute("bool", pick() == 2)
                .attribute("bytes", Value::Bytes(vec![0; pick()]))
                .attribute("list", list(pick() as u64))
                .attribute("twice", ["one", "two", "three"][pick()])
                .attribute("twice", ["one", "two", "three"][pick()]);
            let built = match pick() {
                0 => built.attribute("mixed", true),
                1 => built.attribute("mixed", "5"),
                _ => built.attribute("mixed", 5_i64),
            };
            if pick() == 2 { built } else { built.attribute("some", "times") }
        })
        .collect()
}

#[tokio::test]
async fn values_of_all_types_are_counted_one_by_one() {
    use std::collections::{BTreeMap, BTreeSet};
    use tidings_proto::otlp::Value;

    let mut counts: BTreeMap<(String, String), [u64; 2]> = BTreeMap::new();
    let mut lacking_some = [0_u64; 2];
    for built in of_all_types() {
        let slow = built.span.end_time_unix_nano - built.span.start_time_unix_nano > 500 * MILLI;
        let attributes = built.span.attributes.iter();
        let of_span: BTreeSet<(String, String)> = attributes
            .filter_map(|one| {
                let text = match one.value()? {
                    Value::String(text) => text.clone(),
                    Value::Int(number) => number.to_string(),
                    Value::Double(number) => number.to_string(),
                    Value::Bool(truth) => truth.to_string(),
                    _ => return None,
                };
                Some((one.key.clone(), text))
            })
            .collect();
        lacking_some[usize::from(slow)] += u64::from(of_span.iter().all(|(key, _)| key != "some"));
        for one in of_span {
            counts.entry(one).or_default()[usize::from(slow)] += 1;
        }
    }
    let harness = Harness::new().await;
    let is_even = |built: &SpanBuilder| (built.span.start_time_unix_nano / MILLI).is_multiple_of(2);
    let (first, second): (Vec<_>, Vec<_>) = of_all_types().into_iter().partition(is_even);
    harness.send(first).await;
    harness.store.flush().await.unwrap();
    harness.send(second).await;
    let answer = harness.get("/explain?selectMinDuration=500ms").await;
    let mut found: Vec<String> = keys(&answer);
    found.sort_unstable();
    let expected = ["bool", "double", "int", "long", "mixed", "some", "text", "twice"];
    assert_eq!(found, expected.map(|key| format!("span.{key}")));
    for difference in answer["differences"].as_array().unwrap() {
        let key = text(&difference["key"]);
        for value in difference["values"].as_array().unwrap() {
            let counted = [&value["restCount"], &value["selectedCount"]];
            let counted = counted.map(|count| count.as_u64().unwrap());
            match value["value"].as_str() {
                Some(text) => assert_eq!(counted, counts[&(key.clone(), text.to_owned())], "{key}"),
                None => assert_eq!((key.as_str(), counted), ("some", lacking_some)),
            }
        }
    }
}

#[tokio::test]
async fn a_selection_can_be_a_box_in_time_and_must_be_given() {
    let harness = Harness::new().await;
    let deployed = |n: u64| if n < 200 { "1" } else { "2" };
    harness
        .send(
            (0..400).map(|n| {
                span(n + 1, 1, "shop", "work").at(n, n + 5).attribute("version", deployed(n))
            }),
        )
        .await;
    let path =
        format!("/explain?selectStart={}&selectEnd={}", BEGIN + 200 * MILLI, BEGIN + 300 * MILLI);
    let answer = harness.get(&path).await;
    assert_eq!(answer["selectedCount"], 100);
    assert_eq!(keys(&answer), ["span.version"]);
    let values = answer["differences"][0]["values"].as_array().unwrap();
    assert_eq!(values.len(), 2, "no span is without a version: {values:?}");
    assert!(values.iter().all(|one| one["value"].is_string()), "{values:?}");
    let none = harness.get("/explain?selectMinDuration=1h").await;
    assert_eq!((&none["selectedCount"], &none["differences"]), (&json!(0), &json!([])));
    assert_eq!(harness.problem("/explain?service=shop").await.0, 400);
    let (status, problem) = harness.problem("/explain?selectKind=big").await;
    assert_eq!((status, &problem["parameter"]), (400, &json!("selectKind")));
    assert!(text(&problem["detail"]).contains("`selectKind`"));
}

#[tokio::test]
async fn the_selected_spans_are_compared_with_those_of_a_baseline() {
    let harness = Harness::new().await;
    let version = |n: u64| ["1", "2", "3"][usize::try_from(n / 100).unwrap()];
    let spans = (0..300)
        .map(|n| span(n + 1, 1, "shop", "work").at(n, n + 5).attribute("version", version(n)));
    harness.send(spans).await;
    let at = |after: u64| BEGIN + after * MILLI;
    let baseline =
        |from: u64, to: u64| format!("baselineStart={}&baselineEnd={}", at(from), at(to));
    let window = format!("start={}&end={}", at(200), at(300));
    let query = "q=%7B%20name%20%3D%20%22work%22%20%7D";
    for of in ["operation=work", query] {
        let get = |rest: String| {
            let path = format!("/explain?{of}&{rest}");
            let harness = &harness;
            async move { harness.get(&path).await }
        };
        // The spans between the baseline and the window are on no side.
        let before = get(format!("{window}&{}", baseline(0, 100))).await;
        assert_eq!((&before["selectedCount"], &before["restCount"]), (&json!(100), &json!(100)));
        assert_eq!(keys(&before), ["span.version"]);
        let values = before["differences"][0]["values"].as_array().unwrap();
        let mut values: Vec<String> = values.iter().map(|one| text(&one["value"])).collect();
        values.sort_unstable();
        assert_eq!(values, ["1", "3"]);
        // A selected span of the baseline is on one side.
        let overlap = get(format!("{window}&{}", baseline(0, 250))).await;
        assert_eq!((&overlap["selectedCount"], &overlap["restCount"]), (&json!(100), &json!(200)));
        let since = get(format!("{window}&selectStart={}&{}", at(260), baseline(0, 100))).await;
        assert_eq!((&since["selectedCount"], &since["restCount"]), (&json!(40), &json!(100)));
    }
    for (parameters, parameter) in [
        (baseline(60, 60), "baselineEnd"),
        (format!("baselineStart={BEGIN}"), "baselineEnd"),
        (format!("selectStatus=error&baselineEnd={BEGIN}"), "baselineStart"),
    ] {
        let (status, problem) = harness.problem(&format!("/explain?{parameters}")).await;
        assert_eq!((status, &problem["parameter"]), (400, &json!(parameter)), "{problem}");
    }
}

#[tokio::test]
async fn a_window_with_many_spans_leaves_rows_for_the_baseline() {
    let harness = Harness::with(QueryLimits::default(), 100).await;
    // A file for each time, because a scan counts all rows of a file that it reads.
    for (version, times) in [("1", 0..100), ("2", 100..200), ("3", 200..220), ("4", 220..290)] {
        let spans = times
            .map(|n| span(n + 1, 1, "shop", "work").at(n, n + 5).attribute("version", version));
        harness.send(spans).await;
        harness.store.flush().await.unwrap();
    }
    let at = |after: u64| BEGIN + after * MILLI;
    let asked = |of: &str, window: (u64, u64), baseline: (u64, u64)| {
        let window = format!("start={}&end={}", at(window.0), at(window.1));
        let baseline = format!("baselineStart={}&baselineEnd={}", at(baseline.0), at(baseline.1));
        format!("/explain?{of}&{window}&{baseline}")
    };
    let is_partial = |answer: &Json, words: &str| {
        let reasons = answer["partial"].as_array().into_iter().flatten();
        reasons.map(text).any(|reason| reason.contains(words))
    };
    for of in ["operation=work", "q=%7B%20name%20%3D%20%22work%22%20%7D"] {
        let answer = harness.get(&asked(of, (100, 200), (0, 100))).await;
        assert_eq!((&answer["selectedCount"], &answer["restCount"]), (&json!(50), &json!(50)));
        assert_eq!(keys(&answer), ["span.version"]);
        assert!(is_partial(&answer, "selected spans") && is_partial(&answer, "baseline"));
        // A window with few spans leaves the rest of the rows.
        let answer = harness.get(&asked(of, (200, 220), (220, 290))).await;
        assert_eq!((&answer["selectedCount"], &answer["restCount"]), (&json!(20), &json!(70)));
        assert!(!is_partial(&answer, "only a part"), "{answer}");
    }
}

/// Path of an explanation of the spans that a query finds.
fn explained(query: &str, parameters: &str) -> String {
    let query: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("/explain?{parameters}&q={query}")
}

#[tokio::test]
async fn an_explanation_of_a_query_that_filters_can_say_is_theirs() {
    let harness = with_requests().await;
    let slow = "selectMinDuration=500ms";
    let part = format!("selectStart={}&selectEnd={}", BEGIN + 200 * MILLI, BEGIN + 600 * MILLI);
    for (query, filter, selected) in [
        ("{ }", "", slow),
        ("{ name = \"GET /cart\" } | count() > 0", "operation=GET%20/cart", slow),
        ("{ span.region = \"eu\" }", "attribute=region=eu", "selectStatus=error"),
        ("{ span.coin = \"heads\" }", "attribute=coin=heads", "selectAttribute=browser=old"),
        (
            "{ duration >= 20ms } | { duration <= 940ms }",
            "minDuration=20ms&maxDuration=940ms",
            part.as_str(),
        ),
    ] {
        let asked = harness.get(&explained(query, selected)).await;
        let filtered = harness.get(&format!("/explain?{filter}&{selected}")).await;
        assert_eq!(asked["searched"]["complete"], true, "{query}");
        for name in ["selectedCount", "restCount", "selectedSampled", "restSampled"] {
            assert_eq!(asked[name], filtered[name], "{query}: {name}");
        }
        assert_eq!(asked["differences"], filtered["differences"], "{query}");
        assert_eq!(asked["leftOut"], filtered["leftOut"], "{query}");
        assert_eq!(asked["comparedCount"], filtered["comparedCount"], "{query}");
    }
}

#[tokio::test]
async fn spans_of_a_query_are_compared_with_others_that_it_finds() {
    let harness = Harness::new().await;
    // Payment is slow in one region when shop calls it, and in another without a caller.
    let mut spans = Vec::new();
    for trace in 1..=300_u64 {
        let (is_called, is_slow) = (trace <= 200, trace > 200 || trace.is_multiple_of(4));
        let region = if is_called && is_slow { "eu" } else { "us" };
        let took = if is_slow { 500 } else { 5 };
        let call = span(trace, 2, "payment", "POST /pay").attribute("region", region);
        let call = call.at(trace + 1, trace + 1 + took);
        if is_called {
            let caller = span(trace, 1, "shop", "POST /checkout").at(trace, trace + 600);
            spans.extend([caller, call.parent(1)]);
        } else {
            spans.push(call);
        }
    }
    harness.send(spans).await;
    let called = "{ resource.service.name = \"shop\" } >> { resource.service.name = \"payment\" }";
    let path = explained(called, "selectMinDuration=100ms&selectMaxDuration=1s");
    for is_flushed in [false, true] {
        if is_flushed {
            harness.store.flush().await.unwrap();
        }
        let answer = harness.get(&path).await;
        assert_eq!((&answer["selectedCount"], &answer["restCount"]), (&json!(50), &json!(150)));
        assert_eq!(keys(&answer), ["span.region"], "{answer}");
        let eu = &answer["differences"][0]["values"][0];
        assert_eq!(
            (&eu["value"], &eu["selectedCount"], &eu["restCount"]),
            (&json!("eu"), &json!(50), &json!(0))
        );
        assert_eq!(answer["searched"]["complete"], true);
    }
    let narrowed = format!("{called} | {{ !(span.region = \"eu\") }}");
    let answer = harness.get(&explained(&narrowed, "selectMinDuration=100ms")).await;
    assert_eq!((&answer["selectedCount"], &answer["restCount"]), (&json!(0), &json!(150)));
}

#[tokio::test]
async fn an_explanation_of_a_query_says_what_a_bound_left_out_and_what_does_not_go_with_it() {
    let harness = Harness::with(QueryLimits::default(), 3).await;
    harness.send(checkout(1)).await;
    let answer = harness.get(&explained("{ }", "selectMinDuration=50ms")).await;
    let counts = ["selectedCount", "restCount"].map(|name| answer[name].as_u64().unwrap());
    assert_eq!((counts.iter().sum::<u64>(), &answer["searched"]["complete"]), (3, &json!(false)));
    let answer = harness.get(&explained("{ } >> { }", "selectMinDuration=50ms")).await;
    assert_eq!(answer["searched"]["complete"], false);
    for (query, parameters, parameter, reason) in [
        ("{ durration > 1s }", "selectStatus=error", "q", "did you mean"),
        ("{ } | rate()", "selectStatus=error", "q", "this computes a metric"),
        ("{ }", "selectStatus=error&kind=server", "kind", "does not go with `q`"),
        ("{ }", "limit=5", "selectMinDuration", "must say which spans"),
    ] {
        let (status, problem) = harness.problem(&explained(query, parameters)).await;
        assert_eq!((status, &problem["parameter"]), (400, &json!(parameter)), "{problem}");
        assert!(text(&problem["detail"]).contains(reason), "{problem}");
    }
}

fn nanos(milliseconds: u64) -> String {
    (milliseconds * MILLI).to_string()
}

/// The deviations at each position of the tree, by operation.
fn deviations(answer: &Json) -> Vec<String> {
    let calls = answer["calls"].as_array().unwrap().iter();
    calls
        .map(|call| {
            let found: Vec<String> =
                call["deviations"].as_array().unwrap().iter().map(text).collect();
            format!("{}:{} {}", call["depth"], text(&call["operation"]), found.join(","))
        })
        .collect()
}

#[tokio::test]
async fn two_traces_are_compared_place_by_place() {
    let harness = Harness::new().await;
    harness.send(checkout(1)).await;
    let mut changed = checkout(2);
    changed.retain(|built| built.span.name != "UPDATE account");
    changed
        .push(span(2, 6, "payment", "SELECT account").parent(3).at(51, 52).kind(SpanKind::Client));
    changed
        .push(span(2, 7, "payment", "audit").parent(3).at(60, 84).status(StatusCode::Error, "no"));
    harness.send(changed).await;
    let path = format!("/compare?left={}&right={}", trace_id(2), trace_id(1));
    let answer = harness.get(&path).await;
    assert_eq!(
        deviations(&answer),
        [
            "0:POST /checkout ",
            "1:POST /pay ",
            "2:POST /pay ",
            "3:SELECT account moreCalls",
            "3:UPDATE account missing",
            "3:audit extra,newlyFailing",
        ]
    );
    let audit = &answer["calls"][5];
    assert_eq!((&audit["parentIndex"], &audit["left"]["callCount"]), (&json!(2), &json!(1)));
    assert_eq!(answer["left"]["traceIds"], json!([trace_id(2)]));
    let summary = |side: &str| {
        let side = &answer[side];
        let (summary, start) = (&side["summary"], text(&side["startUnixNano"]));
        (text(&summary["state"]), summary["errorCount"].clone(), start)
    };
    assert_eq!(summary("left"), ("failed".to_owned(), json!(3), BEGIN.to_string()));
    assert_eq!(summary("right"), ("failed".to_owned(), json!(2), BEGIN.to_string()));
    let stretch = |side: &Json| {
        let median = |name: &str| text(&side["median"][name]);
        (median("startOffsetNano"), median("extentNano"))
    };
    let select = &answer["calls"][3];
    assert_eq!(stretch(&select["left"]), (nanos(20), nanos(32)), "from the first to the last");
    assert_eq!(stretch(&select["right"]), (nanos(20), nanos(30)));
    assert_eq!(select["left"]["median"]["eachNano"], "15500000", "30 ms and 1 ms");
    assert_eq!(stretch(&audit["right"]), (nanos(0), nanos(0)), "the right does not make it");
    assert_eq!(
        (&audit["left"]["isUsual"], &audit["right"]["isUsual"]),
        (&json!(true), &json!(false))
    );
    let same = harness.get(&format!("/compare?left={}&right={}", trace_id(1), trace_id(1))).await;
    assert!(deviations(&same).iter().all(|call| call.ends_with(' ')), "{same}");
    assert_eq!(same["unattributedNano"], "0");

    let (one, other, none) = (trace_id(1), trace_id(2), trace_id(9));
    let partly = harness.get(&format!("/compare?left={none},{other}&right={one}")).await;
    assert_eq!(partly["left"]["missingTraceIds"], json!([none]));
    assert_eq!(partly["left"]["traceIds"], json!([other]));
    assert_eq!(partly["right"]["missingTraceIds"], json!([]));
    for (left, right, parameter) in [(&none, &one, "left"), (&one, &none, "right")] {
        let path = format!("/compare?left={left}&right={right}");
        let (status, problem) = harness.problem(&path).await;
        assert_eq!((status, &problem["parameter"]), (404, &json!(parameter)));
        assert!(text(&problem["detail"]).contains(&none), "{problem}");
    }
    for (query, parameter) in [
        (format!("left={}", trace_id(1)), "right"),
        (format!("right={}", trace_id(1)), "left"),
        (format!("left=x&right={}", trace_id(1)), "left"),
    ] {
        let (status, problem) = harness.problem(&format!("/compare?{query}")).await;
        assert_eq!((status, &problem["parameter"]), (400, &json!(parameter)));
    }
}

#[tokio::test]
async fn two_traces_differ_in_what_matters_to_the_whole() {
    let harness = Harness::new().await;
    // One call is twice as long as in the first trace: 2 ms, then 400 ms of two seconds.
    for (trace, short, long) in [(1, 2, 400), (2, 4, 400), (3, 2, 800)] {
        let spans = [
            span(trace, 1, "shop", "work").at(0, 1_600 + long),
            span(trace, 2, "cache", "get").parent(1).at(5, 5 + short),
            span(trace, 3, "disk", "read").parent(1).at(20, 20 + long),
        ];
        harness.send(spans).await;
    }
    let with_first = |left| format!("/compare?left={}&right={}", trace_id(left), trace_id(1));
    let little = harness.get(&with_first(2)).await;
    assert_eq!(deviations(&little), ["0:work ", "1:get ", "1:read "]);
    let impact =
        |row: u64, nanos: String| json!({"callIndex": row, "impactNano": nanos, "isCause": false});
    let impacts = [impact(0, format!("-{}", nanos(2))), impact(1, nanos(2))];
    assert_eq!(little["impacts"], json!(impacts));
    assert_eq!((&little["differenceNano"], &little["isAlike"]), (&json!("0"), &json!(true)));
    let differs = |answer: &Json| [0, 1, 2].map(|row| answer["calls"][row]["differs"].clone());
    assert_eq!(differs(&little), [json!(true), json!(true), json!(false)], "none deviates");
    let much = harness.get(&with_first(3)).await;
    assert_eq!(deviations(&much), ["0:work ", "1:get ", "1:read slower"]);
    assert_eq!(much["calls"][2]["impactNano"], json!(nanos(400)));
    assert_eq!(differs(&much), [json!(false), json!(false), json!(true)]);
}

#[tokio::test]
async fn calls_are_ranked_by_impact_and_share_the_critical_path() {
    let harness = Harness::new().await;
    let work = |trace, until| span(trace, 1, "shop", "work").at(0, until);
    let charge = |trace, until| span(trace, 2, "pay", "charge").parent(1).at(50, until);
    let bank = |trace, until| span(trace, 3, "bank", "book").parent(2).at(100, until);
    let publish = span(1, 4, "mail", "publish").parent(1).at(300, 350);
    harness.send([work(1, 500), charge(1, 150), bank(1, 140), publish]).await;
    let audit = span(2, 5, "shop", "audit").parent(1).at(700, 750);
    let failed = |built: SpanBuilder| built.status(StatusCode::Error, "no");
    harness.send([work(2, 1_000), failed(charge(2, 650)), failed(bank(2, 540)), audit]).await;
    let path = format!("/compare?left={}&right={}", trace_id(2), trace_id(1));
    let answer = harness.get(&path).await;
    assert_eq!(
        deviations(&answer),
        [
            "0:work slower",
            "1:charge newlyFailing,slower",
            "2:book newlyFailing,slower",
            "1:publish missing",
            "1:audit extra",
        ]
    );
    assert_eq!(
        answer["impacts"],
        json!([
            {"callIndex": 2, "impactNano": nanos(400), "deviation": "newlyFailing", "isCause": true},
            {"callIndex": 1, "impactNano": nanos(100), "deviation": "newlyFailing", "isCause": true},
            {"callIndex": 3, "impactNano": format!("-{}", nanos(50)), "deviation": "missing", "isCause": false},
            {"callIndex": 4, "impactNano": nanos(50), "deviation": "extra", "isCause": true},
        ])
    );
    assert_eq!(
        answer["deviationCounts"],
        json!({
            "any": 5, "missing": 1, "extra": 1, "newlyFailing": 2, "moreCalls": 0, "fewerCalls": 0,
            "slower": 3, "faster": 0, "rare": 0,
        })
    );
    assert_eq!(
        (&answer["differenceNano"], &answer["isAlike"]),
        (&json!(nanos(500)), &json!(false))
    );
    let shares = |side: &str| {
        let calls = answer["calls"].as_array().unwrap().iter();
        let shares = calls.map(|call| [&call[side]["pathShare"], &call[side]["ownPathShare"]]);
        json!(shares.collect::<Vec<_>>())
    };
    let left = json!([[1.0, 0.35], [0.6, 0.16], [0.44, 0.44], [0.0, 0.0], [0.05, 0.05]]);
    assert_eq!(shares("left"), left);
    let right = json!([[1.0, 0.7], [0.2, 0.12], [0.08, 0.08], [0.1, 0.1], [0.0, 0.0]]);
    assert_eq!(shares("right"), right);
    let calls = answer["calls"].as_array().unwrap().iter();
    let differences: Vec<_> =
        calls.map(|call| [&call["pathDifferenceNano"], &call["pathDifferenceShare"]]).collect();
    assert_eq!(
        json!(differences),
        json!([
            [nanos(500), 1.0],
            [nanos(500), 1.0],
            [nanos(400), 0.8],
            [format!("-{}", nanos(50)), -0.1],
            [nanos(50), 0.1],
        ])
    );
    assert_eq!(answer["calls"][1]["right"]["pathMeanNano"], json!(nanos(100)));
    assert_eq!(answer["pathSuspectIndex"], 2, "44 % of the path, not 8 %");
    assert_eq!(answer["left"]["deepestFailedIndex"], 2);
    assert_eq!(answer["right"].get("deepestFailedIndex"), None);
}

#[tokio::test]
async fn as_many_traces_are_compared_as_the_description_says() {
    let harness = Harness::new().await;
    harness.send([span(1, 1, "shop", "work").at(0, 50)]).await;
    let lists = |each: u64, count: u64| {
        let list = |first| (first..first + each).map(trace_id).collect::<Vec<_>>().join(",");
        (0..count).map(|number| format!("&left={}", list(1 + number * each))).collect::<String>()
    };
    let right = trace_id(1);
    for (each, count) in [(124, 1), (124, 4), (100, 5), (15, 32)] {
        let answer = harness.get(&format!("/compare?right={right}{}", lists(each, count))).await;
        let missing = answer["left"]["missingTraceIds"].as_array().unwrap().len();
        assert_eq!(missing as u64, each * count - 1, "{each} in {count}");
    }
    for (each, count) in [(125, 1), (124, 5), (1, 33)] {
        let path = format!("/compare?right={right}{}", lists(each, count));
        let (status, problem) = harness.problem(&path).await;
        assert_eq!((status, &problem["parameter"]), (400, &json!("left")), "{each} in {count}");
    }
}

#[tokio::test]
async fn a_trace_is_compared_with_the_typical_one_of_its_kind() {
    let harness = Harness::new().await;
    for trace in 1..=20 {
        harness
            .send([
                span(trace, 1, "shop", "work").at(trace * 100, trace * 100 + 50),
                span(trace, 2, "disk", "read")
                    .parent(1)
                    .at(trace * 100 + 5, trace * 100 + 10 + trace % 3),
            ])
            .await;
    }
    harness.send([span(30, 1, "shop", "other").at(5, 90)]).await;
    harness
        .send([
            span(40, 1, "shop", "work").at(3_000, 3_400),
            span(40, 2, "disk", "read").parent(1).at(3_005, 3_305),
        ])
        .await;
    let answer = harness.get(&format!("/compare?left={}&right=typical", trace_id(40))).await;
    assert_eq!(
        (&answer["left"]["traceCount"], &answer["right"]["traceCount"]),
        (&json!(1), &json!(20))
    );
    assert_eq!(answer["left"]["summary"]["traceId"], json!(trace_id(40)));
    assert_eq!(answer["right"].get("summary"), None, "of 20 traces");
    let times = ["startUnixNano", "endUnixNano"].map(|name| text(&answer["right"][name]));
    assert_eq!(times, [100, 2_050].map(|after| (BEGIN + after * MILLI).to_string()));
    assert_eq!(deviations(&answer), ["0:work slower", "1:read slower"]);
    let impacts = [0, 1].map(|row| text(&answer["calls"][row]["impactNano"]));
    assert_eq!(impacts, [nanos(56), nanos(294)], "own time: 100 ms, not 44; 300 ms, not 6");
    assert_eq!(answer["unattributedNano"], "0");
    let alone = harness.problem(&format!("/compare?left={}&right=typical", trace_id(30))).await;
    assert_eq!((alone.0, &alone.1["parameter"]), (404, &json!("right")));
}

/// A request with a read of this duration and these further calls.
fn reading(trace: u64, start: u64, read: u64, others: &[&str]) -> Vec<SpanBuilder> {
    let after = start + 5 + read;
    let mut spans = vec![
        span(trace, 1, "shop", "work").at(start, after + 45),
        span(trace, 2, "disk", "read").parent(1).at(start + 5, after),
    ];
    for (id, (name, begin, end)) in
        (3..).zip([("audit", start + 1, start + 4), ("refresh", after + 5, after + 15)])
    {
        if others.contains(&name) {
            spans.push(span(trace, id, "shop", name).parent(1).at(begin, end));
        }
    }
    spans
}

#[tokio::test]
async fn the_typical_trace_is_the_median_and_ordinary_traces_do_not_deviate() {
    let harness = Harness::new().await;
    // One in five reads takes four times as long as most: 24 ms in the median, 98 ms at 95 %.
    for n in 0..60 {
        let read = if n % 20 < 16 { 15 + n % 20 } else { 80 + n % 20 };
        let others: &[&str] = if n % 3 == 0 { &["audit", "refresh"] } else { &["audit"] };
        harness.send(reading(n + 1, n * 1_000, read, others)).await;
    }
    harness.send(reading(101, 100_000, 97, &["audit"])).await;
    harness.send(reading(102, 101_000, 240, &["audit", "refresh"])).await;
    harness.send(reading(103, 102_000, 20, &[])).await;
    let typical = |trace| format!("/compare?left={}&right=typical", trace_id(trace));

    let ordinary = harness.get(&typical(101)).await;
    assert_eq!(deviations(&ordinary), ["0:work ", "1:audit ", "1:read ", "1:refresh "]);
    assert_eq!(ordinary["right"]["traceCount"], 60);
    assert_eq!(ordinary["right"]["duration"]["p50Nano"], json!(nanos(74)));
    let [work, read, refresh] = [0, 2, 3].map(|row| &ordinary["calls"][row]);
    let median = &read["right"]["median"];
    assert_eq!((&median["callCount"], &median["startOffsetNano"]), (&json!(1), &json!(nanos(5))));
    for name in ["durationNano", "selfNano", "criticalNano", "extentNano"] {
        assert_eq!(median[name], json!(nanos(24)), "{name}");
    }
    assert_eq!((&work["impactNano"], &read["impactNano"]), (&json!("0"), &json!(nanos(73))));
    assert_eq!(ordinary["unattributedNano"], "0");
    assert_eq!(
        (&refresh["right"]["isUsual"], &refresh["right"]["traceCount"], &refresh["impactNano"]),
        (&json!(false), &json!(20), &json!("0"))
    );

    let slow = harness.get(&typical(102)).await;
    assert_eq!(deviations(&slow), ["0:work slower", "1:audit ", "1:read slower", "1:refresh rare"]);
    assert_eq!(slow["calls"][3]["impactNano"], json!(nanos(10)), "most do not refresh");
    let without = harness.get(&typical(103)).await;
    assert_eq!(deviations(&without), ["0:work ", "1:audit missing", "1:read ", "1:refresh "]);
}

#[tokio::test]
async fn a_call_many_times_as_slow_is_slower_where_a_part_of_the_others_is_slow_too() {
    let harness = Harness::new().await;
    for trace in 1..=21 {
        let start = trace * 1_000;
        let took = if trace <= 3 || trace == 21 { 300 } else { 10 };
        harness
            .send([
                span(trace, 1, "shop", "work").at(start, start + 500),
                span(trace, 2, "disk", "read").parent(1).at(start + 5, start + 5 + took),
            ])
            .await;
    }
    let right = (1..=20).map(trace_id).collect::<Vec<_>>().join(",");
    let answer = harness.get(&format!("/compare?left={}&right={right}", trace_id(21))).await;
    assert_eq!(deviations(&answer), ["0:work ", "1:read slower"]);
    let fast = harness.get(&format!("/compare?left={}&right={right}", trace_id(20))).await;
    assert_eq!(deviations(&fast), ["0:work ", "1:read "]);
}

#[tokio::test]
async fn calls_that_repeat_are_grouped_and_one_query_for_each_row_is_called_out() {
    let harness = Harness::new().await;
    let mut spans = vec![span(1, 1, "shop", "list").at(0, 1_000)];
    for n in 0..10 {
        let query = span(1, 10 + n, "shop", "SELECT item").parent(1).kind(SpanKind::Client);
        spans.push(query.at(10 + n * 20, 25 + n * 20));
        let parallel = span(1, 30 + n, "shop", "GET /price").parent(1).kind(SpanKind::Client);
        spans.push(parallel.at(500, 600 + n));
        let local = span(1, 50 + n, "shop", "render").parent(1);
        spans.push(local.at(700 + n * 2, 702 + n * 2));
    }
    // Neither four calls nor those of another kind are enough.
    for n in 0..4 {
        let query = span(1, 70 + n, "shop", "SELECT item").parent(1);
        spans.push(query.at(900 + n * 2, 901 + n * 2));
    }
    harness.send(spans).await;
    let answer = harness.get(&format!("/traces/{}/repeats", trace_id(1))).await;
    assert_eq!(answer["groupCount"], 3);
    let told: Vec<String> = answer["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| {
            let busy: u64 = text(&group["busyNano"]).parse().unwrap();
            let (count, sequential) = (&group["count"], &group["sequentialCount"]);
            format!(
                "{} {count} {sequential} {}ms {}",
                text(&group["operation"]),
                busy / MILLI,
                group["nPlusOne"]
            )
        })
        .collect();
    assert_eq!(
        told,
        ["SELECT item 10 9 150ms true", "GET /price 10 0 109ms false", "render 10 9 20ms false"]
    );
    assert_eq!(answer["groups"][0]["parentIndex"], 0);
    assert_eq!(answer["groups"][0]["spanIndexes"].as_array().unwrap().len(), 10);
}
