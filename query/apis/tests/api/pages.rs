//! The list of traces and its pages.

use insta::assert_json_snapshot;
use tidings_proto::otlp::{SpanKind, StatusCode};
use tidings_query::QueryLimits;

use crate::harness::{Harness, checkout, record, span, text, trace_id};

#[tokio::test]
async fn a_page_of_traces_has_their_summaries() {
    let harness = Harness::new().await;
    harness.send(checkout(1)).await;
    harness.send([span(2, 1, "shop", "GET /").at(500, 510)]).await;
    assert_json_snapshot!("traces", harness.get("/traces?limit=1").await);
}

#[tokio::test]
async fn traces_are_found_by_what_their_logs_say() {
    let harness = Harness::new().await;
    harness.send(checkout(1)).await;
    harness.send([span(2, 1, "shop", "GET /").at(500, 510)]).await;
    harness.send([span(3, 1, "shop", "GET /").at(600, 610)]).await;
    let (three_hours, late) = (3 * 3_600_000, 40 * 60_000);
    harness
        .log([
            ("shop", record(Some(2), 505, 9, "Timed out after 3 s")),
            ("stock", record(Some(3), 605 + late, 9, "it TIMED OUT late")),
            ("stock", record(Some(1), 1 + three_hours, 9, "timed out in another window")),
            ("stock", record(None, 5, 9, "timed out without a trace")),
        ])
        .await;
    let end = "&end=2026-11-20T08:00:10Z";
    for (query, expected) in [
        ("?logText=timed+out".to_owned(), vec![3, 2, 1]),
        (format!("?logText=timed+out{end}"), vec![3, 2]),
        (format!("?logText=after{end}"), vec![2]),
        (format!("?logText=timed+out{end}&service=payment"), vec![]),
        (format!("?logText=timed+out{end}&sort=duration&limit=1"), vec![2]),
        (format!("?logText=timed+out{end}&q=%7B%7D%20%7C%20count()=1&sort=spans"), vec![2, 3]),
        (format!("?logText=timed+out{end}&q=%7Bname=%22GET%20/%22%7D"), vec![3, 2]),
        ("?logText=nobody+says+this".to_owned(), vec![]),
    ] {
        let expected: Vec<String> = expected.into_iter().map(trace_id).collect();
        assert_eq!(harness.found(&query).await, expected, "{query}");
    }
    assert_eq!(harness.problem("/traces?logText=").await.1["parameter"], "logText");
}

#[tokio::test]
async fn spansets_that_a_query_found_stand_beside_the_summary_of_their_trace() {
    let harness = Harness::new().await;
    harness.send(checkout(1)).await;
    harness.send(checkout(2)).await;
    // The query is { kind != internal } | by(resource.service.name) | avg(duration) > 20ms |
    // select(…).
    let query = "q=%7B%20kind%20!=%20internal%20%7D%20%7C%20by(resource.service.name)%20%7C%20avg(duration)%20%3E%2020ms%20%7C%20select(status,span.order.id,statusMessage)";
    let page = harness.get(&format!("/traces?{query}&spansPerSpanset=2&limit=1")).await;
    assert_json_snapshot!("matches", page["matches"]);
    for order in ["newest", "duration"] {
        let page = harness.get(&format!("/traces?{query}&sort={order}")).await;
        for (summary, found) in page["traces"].as_array().unwrap().iter().zip(0..) {
            let found = &page["matches"][found];
            assert_eq!(summary["traceId"], found["traceId"], "{order}");
            let spans = found["spansets"].as_array().unwrap().iter();
            let counts = spans.map(|one| (&one["spanCount"], one["spans"].as_array().unwrap()));
            let counts: Vec<(u64, usize)> =
                counts.map(|(count, spans)| (count.as_u64().unwrap(), spans.len())).collect();
            assert_eq!(counts, [(2, 2), (3, 3)], "{order}");
        }
    }
    // The order is by the longest matching span, with which the spanset then begins.
    let longest = harness
        .get("/traces?q=%7B%20kind%20!=%20internal%20%7D&sort=span-duration&spansPerSpanset=2")
        .await;
    for found in longest["matches"].as_array().unwrap() {
        let spans = found["spansets"][0]["spans"].as_array().unwrap().iter();
        let durations: Vec<u64> =
            spans.map(|span| text(&span["durationNano"]).parse().unwrap()).collect();
        assert!(durations[0] > durations[1], "{durations:?}");
    }
    let none = harness.get(&format!("/traces?{query}&spansPerSpanset=0")).await;
    assert_eq!(none["matches"][0]["spansets"][0]["spans"], serde_json::json!([]));
    assert!(harness.get("/traces").await.get("matches").is_none());
    let (status, problem) = harness.problem("/traces?spansPerSpanset=3").await;
    assert_eq!((status, &problem["parameter"]), (400, &"spansPerSpanset".into()));
}

#[tokio::test]
async fn a_trace_of_many_groups_shows_the_first_and_says_how_many() {
    let harness = Harness::new().await;
    let spans =
        (0..150).map(|n| span(1, n + 1, "shop", "row").attribute("n", i64::try_from(n).unwrap()));
    harness.send(spans).await;
    // The query is {} | by(span.n).
    let page = harness.get("/traces?q=%7B%7D%20%7C%20by(span.n)").await;
    let found = &page["matches"][0];
    assert_eq!(found["spansetCount"], 150);
    assert_eq!(found["spansets"].as_array().unwrap().len(), 100);
}

#[tokio::test]
async fn all_filters_must_match_on_one_span() {
    let harness = Harness::new().await;
    harness.send(checkout(1)).await;
    harness
        .send([span(2, 1, "shop", "POST /checkout")
            .at(1_000, 2_500)
            .kind(SpanKind::Server)
            .attribute("http.response.status_code", 200_i64)
            .status(StatusCode::Ok, "")])
        .await;
    let both = vec![trace_id(2), trace_id(1)];
    let one = |n| vec![trace_id(n)];
    let cases = [
        ("", both.clone()),
        ("?service=shop", both.clone()),
        ("?service=payment", one(1)),
        ("?service=payment&service=shop", both.clone()),
        ("?service=nobody", vec![]),
        ("?operation=UPDATE%20account", one(1)),
        ("?operation=UPDATE", vec![]),
        ("?service=shop&operation=UPDATE+account", vec![]),
        ("?status=error", one(1)),
        ("?status=ok", one(2)),
        ("?status=unset", one(1)),
        ("?kind=server", both.clone()),
        ("?kind=client", one(1)),
        ("?kind=client&status=error", vec![]),
        ("?minDuration=1s", one(2)),
        ("?maxDuration=1.4s", one(1)),
        ("?minDuration=30ms&maxDuration=30ms", one(1)),
        ("?minDuration=10000000&maxDuration=10000000", one(1)),
        ("?attribute=order.id%3DA-17", one(1)),
        ("?attribute=order.id", one(1)),
        ("?attribute=http.response.status_code=200", one(2)),
        ("?attribute=http.request.method=POST&attribute=order.id=A-17", one(1)),
        ("?attribute=order.id=A-17&service=payment", vec![]),
        ("?attribute=host.name=payment-1", one(1)),
        ("?attribute=exception.type=CardDeclined", one(1)),
        ("?start=2026-11-20T08:00:01Z", one(2)),
        ("?end=2026-11-20T08:00:01Z", one(1)),
        ("?start=1795161600020000000&end=1795161600020000001", one(1)),
        ("?start=2026-11-20T09:00:00%2B01:00&end=2026-11-20T08:00:00.000000001Z", one(1)),
    ];
    for (query, expected) in cases {
        assert_eq!(harness.found(query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn an_empty_store_has_an_empty_page() {
    let harness = Harness::new().await;
    let page = harness.get("/traces").await;
    assert_json_snapshot!("no_traces", page);
}

#[tokio::test]
async fn a_time_range_chooses_traces_and_does_not_cut_them() {
    let harness = Harness::new().await;
    harness.send(checkout(1)).await;
    let page = harness.get("/traces?start=1795161600050000000").await;
    assert_eq!(page["traces"][0]["spanCount"], 5);
    assert_eq!(page["traces"][0]["startUnixNano"], "1795161600000000000");
}

#[tokio::test]
async fn pages_visit_every_trace_once_while_traces_come_in() {
    let harness = Harness::new().await;
    // Several traces have the same start, so their ids decide.
    for trace in 1..=40 {
        harness.send([span(trace, 1, "shop", "old").at(trace / 4, trace / 4 + 10)]).await;
    }
    let mut visited = Vec::new();
    let mut cursor = String::new();
    for page_number in 0_u64.. {
        let page = harness.get(&format!("/traces?operation=old&limit=7{cursor}")).await;
        let total = &page["total"];
        assert_eq!(total["relation"], "exact");
        let traces = page["traces"].as_array().unwrap();
        visited.extend(traces.iter().map(|trace| text(&trace["traceId"])));
        let Some(next) = page.get("nextCursor") else { break };
        cursor = format!("&cursor={}", text(next));
        // Newer and older traces arrive, and further spans of stored ones.
        let newer = span(1_000 + page_number, 1, "shop", "new").at(900, 910);
        let later = span(1 + page_number, 2, "shop", "late").parent(1).at(950, 951);
        harness.send([newer, later]).await;
        harness.send([span(2_000 + page_number, 1, "shop", "old").at(2_000, 2_010)]).await;
    }
    let mut expected: Vec<(u64, String)> = (1..=40).map(|n| (n / 4, trace_id(n))).collect();
    expected.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let expected: Vec<String> = expected.into_iter().map(|(_, id)| id).collect();
    assert_eq!(visited, expected);
}

#[tokio::test]
async fn a_search_beyond_its_row_budget_says_so() {
    let harness = Harness::with(QueryLimits::default(), 50).await;
    for trace in 1..=10 {
        let spans = (1..=10).map(|id| span(trace, id, "shop", "work").at(trace, trace + 1));
        harness.send(spans).await;
    }
    let page = harness.get("/traces").await;
    assert_eq!(page["searched"]["complete"], false);
    assert_eq!(page["searched"]["rows"], 50);
    assert_eq!(page["total"]["relation"], "atLeast");
    assert!(page["traces"].as_array().unwrap().len() >= 5);
}

#[tokio::test]
async fn counting_more_traces_than_allowed_gives_a_lower_bound() {
    let limits = QueryLimits { counted_max: 3, ..QueryLimits::default() };
    let harness = Harness::with_limits(limits).await;
    harness.send((1..=10).map(|trace| span(trace, 1, "shop", "work"))).await;
    let page = harness.get("/traces?limit=2").await;
    assert_eq!(page["total"]["value"], 3);
    assert_eq!(page["total"]["relation"], "atLeast");
}

#[tokio::test]
async fn pages_of_a_search_that_stops_early_are_those_of_one_that_does_not() {
    let harness =
        Harness::with_limits(QueryLimits { counted_rows_min: 0, ..QueryLimits::default() }).await;
    // The spans of a trace are far apart, so the newest span says little about the trace's
    // position.
    let mut expected = Vec::new();
    for trace in 1..=60 {
        let starts = [trace * 7 % 60, 500 - trace * 13 % 90, 300 + trace % 5];
        let spans = starts
            .iter()
            .zip(1..)
            .map(|(start, id)| span(trace, id, "shop", "work").at(*start, start + 1));
        harness.send(spans).await;
        if trace % 20 == 0 {
            harness.store.flush().await.unwrap();
        }
        expected.push((starts[0].min(starts[1]), trace_id(trace)));
    }
    expected.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let mut visited = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = harness.get(&format!("/traces?operation=work&limit=7{cursor}")).await;
        let traces = page["traces"].as_array().unwrap();
        visited.extend(traces.iter().map(|trace| text(&trace["traceId"])));
        let total = &page["total"];
        if page["searched"]["complete"] == true {
            assert_eq!((&total["value"], &total["relation"]), (&60.into(), &"exact".into()));
        } else {
            assert!((visited.len() as u64..=60).contains(&total["value"].as_u64().unwrap()));
            assert_eq!(total["relation"], "atLeast");
        }
        let Some(next) = page.get("nextCursor") else { break };
        cursor = format!("&cursor={}", text(next));
    }
    let expected: Vec<String> = expected.into_iter().map(|(_, id)| id).collect();
    assert_eq!(visited, expected);
}

/// Returns every trace of all pages, in order, and the last answer.
async fn all_pages(harness: &Harness, query: &str) -> (Vec<String>, serde_json::Value) {
    let (mut visited, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = harness.get(&format!("/traces?{query}{cursor}")).await;
        let traces = page["traces"].as_array().unwrap();
        visited.extend(traces.iter().map(|trace| text(&trace["traceId"])));
        assert!(visited.len() < 100, "{query} goes on");
        let Some(next) = page.get("nextCursor") else { return (visited, page) };
        cursor = format!("&cursor={}", text(next));
    }
}

#[tokio::test]
async fn a_trace_begun_long_before_the_window_has_one_place_whatever_the_pages() {
    let harness = Harness::new().await;
    let (hour, second) = (3_600_000, 1_000);
    let early = [
        span(99, 1, "shop", "work").at(0, 3 * hour),
        span(99, 2, "shop", "work").parent(1).at(3 * hour, 3 * hour + 100),
    ];
    harness.send(early).await;
    let begin = |trace| 3 * hour + trace * second;
    harness
        .send((1..=30).map(|trace| {
            span(trace, 1, "shop", "work").at(begin(trace), begin(trace) + 2 * second - trace)
        }))
        .await;
    let expected: Vec<String> = (1..=30).chain([99]).map(trace_id).collect();
    let window = "start=2026-11-20T10:59:00Z&end=2026-11-20T11:59:00Z&sort=duration";
    for filter in ["", "&operation=work"] {
        for limit in [1, 7, 20, 40] {
            let query = format!("{window}&limit={limit}{filter}");
            let (visited, page) = all_pages(&harness, &query).await;
            assert_eq!(visited, expected, "{query}");
            assert_eq!(page["total"]["value"], 31, "{query}");
            assert_eq!(page["total"]["relation"], "exact", "{query}");
        }
    }
}

#[tokio::test]
async fn the_row_budget_leaves_the_oldest_traces_out_of_an_order() {
    let harness = Harness::with(QueryLimits::default(), 14).await;
    // The older traces are the shorter ones; each is stored separately. All matches fit, but their
    // rows for the order do not.
    for trace in 1..=12_u64 {
        let start = trace * 1_000;
        harness.send([span(trace, 1, "shop", "work").at(start, start + trace)]).await;
    }
    let expected: Vec<String> = (6..=12).rev().map(trace_id).collect();
    for sort in ["duration", "spans"] {
        for limit in [3, 50] {
            let query = format!("operation=work&sort={sort}&limit={limit}");
            let (mut visited, page) = all_pages(&harness, &query).await;
            if sort == "spans" {
                visited.sort_by(|one, other| other.cmp(one));
            }
            assert_eq!(visited, expected, "{query}");
            assert_eq!(page["searched"]["complete"], false);
            assert_eq!(page["total"]["relation"], "atLeast");
        }
    }
}
