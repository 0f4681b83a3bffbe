//! Selection of traces by time in a search of Tempo's API.

use prost::Message;

use super::{SECOND, SearchQuery, Searched, encoded, framed, get, grpc, stories};
use crate::harness::{BEGIN, Harness, span, trace_id};

/// A query, its range in seconds after the start of the test data, and the last digits of the
/// traces.
const CASES: [(&str, (u64, u64), &str); 22] = [
    ("{}", (0, 1), "1"),
    ("{}", (9, 11), "2"),
    ("{}", (15, 30), "3"),
    ("{}", (5, 6), ""),
    ("{}", (990, 999), ""),
    ("{}", (1_000, 1_001), "456"),
    ("{}", (1_100, 1_200), "45"),
    ("{ name = \"early\" }", (1_100, 1_200), "4"),
    ("{ name = \"late\" }", (1_100, 1_200), "4"),
    ("{ name = \"job\" }", (1_100, 1_200), "4"),
    ("{ name = \"publish\" }", (1_100, 1_200), "5"),
    ("{ name = \"receive\" }", (1_100, 1_200), "5"),
    ("{ name = \"job\" } > { name = \"early\" }", (1_100, 1_200), "4"),
    ("{ name = \"early\" }", (1_599, 1_601), "4"),
    ("{ name = \"job\" } > { name = \"early\" }", (1_599, 1_601), "4"),
    ("{ name = \"early\" } | count() > 1", (1_100, 1_200), ""),
    ("{ name = \"early\" }", (1_601, 1_700), ""),
    ("{ name = \"late\" }", (900, 999), ""),
    ("{ name = \"late\" }", (900, 1_001), "4"),
    ("{ name = \"begin\" || name = \"end\" }", (1_100, 1_200), ""),
    ("{ name = \"end\" }", (999, 1_001), ""),
    ("{ name = \"begin\" }", (999, 1_001), "6"),
];

/// Sends three more traces, a thousand seconds after the others.
async fn long_stories() -> Harness {
    let harness = stories().await;
    let at = |seconds: u64, from: u64| ((from + seconds) * 1_000, (from + seconds) * 1_000 + 900);
    let (start, early, late) = (1_000, at(10, 1_000), at(500, 1_000));
    harness
        .send([
            // A trace that runs for ten minutes, with a short span near each end.
            span(4, 1, "batch", "job").at(start * 1_000, (start + 600) * 1_000),
            span(4, 2, "batch", "early").parent(1).at(early.0, early.1),
            span(4, 3, "batch", "late").parent(1).at(late.0, late.1),
            // A trace without a running span for most of that time.
            span(5, 1, "queue", "publish").at(start * 1_000, start * 1_000 + 1),
            span(5, 2, "queue", "receive").parent(1).at(late.0, late.1),
            // A trace with a pause that is longer than the search's reach.
            span(6, 1, "cron", "begin").at(start * 1_000, start * 1_000 + 1),
            span(6, 2, "cron", "end")
                .parent(1)
                .at((start + 9_000) * 1_000, (start + 9_001) * 1_000),
        ])
        .await;
    harness
}

fn last_digits<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    let mut digits: Vec<char> = ids.map(|id| id.chars().last().unwrap()).collect();
    digits.sort_unstable();
    digits.into_iter().collect()
}

#[tokio::test]
async fn times_choose_the_traces_that_run_in_them() {
    let harness = long_stories().await;
    for (query, (from, to), expected) in CASES {
        let (start, end) = (BEGIN / SECOND + from, BEGIN / SECOND + to);
        let path = format!("/api/search?q={}&start={start}&end={end}", encoded(query));
        let answer = get(&harness, &path).await;
        let traces = answer["traces"].as_array().unwrap().iter();
        let found = last_digits(traces.map(|trace| trace["traceID"].as_str().unwrap()));
        assert_eq!(found, expected, "{query} from {from} to {to}");
        assert_eq!(answer["metrics"]["completedJobs"], 1, "{query} from {from} to {to}");
        let seconds = |time: u64| u32::try_from(time).unwrap();
        let (start, end) = (seconds(start), seconds(end));
        let asked = SearchQuery { limit: 20, start, end, query: query.to_owned() };
        let (body, status) = grpc(&harness, "Search", framed(&asked)).await;
        assert_eq!(status, "0 ");
        let answer = Searched::decode(&body[5..]).unwrap();
        let found = last_digits(answer.traces.iter().map(|trace| trace.trace_id.as_str()));
        assert_eq!(found, expected, "gRPC: {query} from {from} to {to}");
    }
}

#[tokio::test]
async fn the_native_search_goes_by_the_spans_of_the_result() {
    let harness = long_stories().await;
    let found = async |name: &str, from: u64, to: u64| {
        let query = encoded(&format!("{{ name = \"{name}\" }}"));
        let (start, end) = (BEGIN + from * SECOND, BEGIN + to * SECOND);
        harness.found(&format!("?q={query}&start={start}&end={end}")).await
    };
    assert!(found("early", 1_100, 1_200).await.is_empty());
    assert_eq!(found("early", 1_000, 1_200).await, [trace_id(4)]);
}

#[tokio::test]
async fn without_a_time_the_newest_are_found() {
    let harness = long_stories().await;
    assert_eq!(get(&harness, "/api/search").await["traces"].as_array().unwrap().len(), 6);
    let one = get(&harness, "/api/search?limit=1").await;
    assert_eq!(one["traces"].as_array().unwrap().len(), 1);
    assert_eq!(one["traces"][0]["traceID"], trace_id(4));
}

#[tokio::test]
async fn traces_that_start_in_the_window_precede_others_up_to_the_limit() {
    let harness = long_stories().await;
    let (start, end) = (BEGIN / SECOND + 1_500, BEGIN / SECOND + 1_501);
    let query = encoded("{ name = \"early\" || name = \"receive\" }");
    for (limit, expected) in [(1, "5"), (2, "45")] {
        let path = format!("/api/search?q={query}&start={start}&end={end}&limit={limit}");
        let answer = get(&harness, &path).await;
        let traces = answer["traces"].as_array().unwrap().iter();
        let found = last_digits(traces.map(|trace| trace["traceID"].as_str().unwrap()));
        assert_eq!(found, expected, "{limit}");
    }
}
