//! Tests heavy queries other than SQL over many spans with distinct names and values. The memory
//! that all concurrent queries take stays within the server's budget.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use prost::Message;
use tidings_proto::otlp::{Event, KeyValue, Span, Status};

use crate::{
    harness::{
        PATIENCE, Server,
        http::{Answer, get, post},
        pause,
        spans::{log, logs, now, span, traces},
    },
    sql_generated::number,
};

/// The memory budget of the server, in bytes.
const BUDGET: u64 = 256 << 20;
/// Number of stored spans, with three in each trace (`READS_SPANS` of the environment).
const SPANS: u64 = 300_000;
/// Number of spans in a request.
const PART_SPANS: u64 = 3_000;
/// Number of spans for each log record.
const SPANS_OF_A_RECORD: u64 = 10;
const SERVICES: u64 = 20;
const SENDERS: usize = 2;
const ASKERS: usize = 8;
/// Statuses that `docs/` documents for a valid query: an answer, an answer that would be too large,
/// and refusals because of load or time.
const STATUSES: &[u16] = &[200, 408, 413, 422, 429, 503, 504];
/// Path of Jaeger's Monitor tab, which refuses queries with too many points as bad requests.
const MONITOR: &str = "/jaeger/api/metrics/";
const MONITOR_STATUSES: [u16; 3] = [200, 400, 503];

/// Queries of the HTTP address. The most expensive ones come first, so that they run at the same
/// time. `FROM` and `TO` stand for the bounds of the stored window in seconds.
const HTTP: &[&str] = &[
    "/jaeger/api/dependencies?lookback=3600000",
    "/api/v1/red?by=service,operation",
    "/prometheus/api/v1/query_range?start=FROM&end=TO&step=1&query=rate(traces_spanmetrics_calls_total%5B1m%5D)",
    "/prometheus/api/v1/series?match%5B%5D=traces_spanmetrics_calls_total",
    "/api/v1/red?by=attribute:customer",
    "/prometheus/api/v1/label/span_name/values",
    "/api/v1/transactions",
    "/api/v1/changes",
    "/api/v1/graph",
    "/prometheus/api/v1/query_range?start=FROM&end=TO&step=1&query=histogram_quantile(.9,sum%20by(le,span_name)(rate(traces_spanmetrics_latency_bucket%5B1m%5D)))",
    "/prometheus/api/v1/query_range?start=FROM&end=TO&step=1&query=sum%20by(client,server)(rate(traces_service_graph_request_total%5B1m%5D))",
    "/api/v1/exceptions",
    "/jaeger/api/traces?service=service-3&limit=10000",
    "/jaeger/api/v3/traces?query.searchDepth=10000&query.startTimeMin=2020-01-01T00:00:00Z&query.startTimeMax=2100-01-01T00:00:00Z",
    "/jaeger/api/v3/trace-summaries?query.searchDepth=10000&query.startTimeMin=2020-01-01T00:00:00Z&query.startTimeMax=2100-01-01T00:00:00Z",
    "/api/v1/heatmap",
    "/api/v1/heatmap?q=%7B%7D%3E%3E%7Bspan.shard%3D3%7D",
    "/api/v1/explain?selectMinDuration=5ms",
    "/api/v1/explain?selectStatus=error",
    "/api/v1/explain?selectStatus=error&q=%7B%7D%3E%3E%7Bspan.shard%3D3%7D",
    "/api/v1/operations",
    "/api/v1/attributes/values?key=customer",
    "/api/v1/traces?limit=1000",
    "/api/v1/traces?limit=1000&sort=duration",
    "/api/v1/traces?limit=1000&spansPerSpanset=100&q=%7Bspan.shard%3D3%7D",
    "/api/v1/logs?limit=1000",
    "/api/v1/logs/patterns",
    "/api/v1/logs/stats?by=customer",
    "/api/v1/logs/histogram",
    "/tempo/api/search?limit=1000&spss=100&start=FROM&end=TO&q=%7Bspan.shard%3D3%7D",
    "/tempo/api/v2/search/tag/span.customer/values",
    "/tempo/api/metrics/query_range?start=FROM&end=TO&step=1s&q=%7B%7D%7Crate()by(name)",
    "/tempo/api/metrics/query_range?start=FROM&end=TO&step=1s&q=%7B%7D%7Crate()by(span.customer)",
    "/tempo/api/metrics/query_range?start=FROM&end=TO&step=1s&q=%7B%7D%7Cquantile_over_time(duration,.5,.99)by(name)",
    "/tempo/api/metrics/query_range?start=FROM&end=TO&step=1s&q=%7B%7D%7Ccompare(%7Bstatus%3Derror%7D)",
    "/jaeger/api/operations?service=service-3",
    "/jaeger/api/metrics/latencies?service=service-3&quantile=0.95&groupByOperation=true",
];

/// Queries of Zipkin's address.
const ZIPKIN: &[&str] = &[
    "/api/v2/traces?limit=10000",
    "/api/v2/traces?limit=10000&annotationQuery=shard%3D3",
    "/api/v2/spans?serviceName=service-3",
    "/api/v2/autocompleteValues?key=customer",
    "/api/v2/dependencies?endTs=9000000000000&lookback=9000000000000",
];

/// Makes the first, second or third span of a trace: a root, its child, and the child's child.
fn distinct_span(id: u64) -> Span {
    let (trace, place) = (id / 3 + 1, id % 3);
    let parent = if place == 0 { 0 } else { id };
    let mut made = span(u128::from(trace) << 64, id + 1, parent, &format!("GET /item/{id}/detail"));
    made.kind = if place == 1 { 3 } else { 2 };
    made.end_time_unix_nano = made.start_time_unix_nano + 1_000_000 + id % 1_000 * 10_000;
    made.attributes = vec![
        KeyValue::new("customer", format!("customer-{id:012}").as_str()),
        KeyValue::new("http.route", format!("/item/{id}/detail").as_str()),
        KeyValue::new("shard", i64::try_from(id % 100).unwrap()),
    ];
    if id.is_multiple_of(10) {
        made.status = Some(Status { code: 2, message: format!("item {id} is gone") });
        let said = [
            ("exception.type", format!("Gone{}", id % 1_000)),
            ("exception.message", format!("item {id} is gone")),
            ("exception.stacktrace", format!("at shop.Item{id}.get(Item.java:{id})")),
        ];
        let attributes = said.map(|(key, text)| KeyValue::new(key, text.as_str())).into();
        let time_unix_nano = made.start_time_unix_nano;
        let name = "exception".to_owned();
        made.events = vec![Event { time_unix_nano, name, attributes, ..Event::default() }];
    }
    made
}

/// Sends a request until it is accepted. The memtable of a small budget is often full.
fn send(server: &Server, path: &str, body: &[u8]) {
    let begin = Instant::now();
    loop {
        let Answer { status, .. } =
            post(&server.otlp_http, path, "application/x-protobuf", body.to_vec());
        if status == 200 {
            return;
        }
        assert!(status == 503 && begin.elapsed() < PATIENCE, "{status}");
        pause();
    }
}

fn fill(server: &Server, spans: u64) {
    let next = AtomicUsize::new(0);
    let send_parts = || {
        while let first = next.fetch_add(1, Relaxed) as u64 * PART_SPANS
            && first < spans
        {
            // Each position in a trace has its own service.
            for place in 0..3 {
                let ids = (first..first + PART_SPANS).filter(|id| id % 3 == place);
                let service = (first / PART_SPANS + place) % SERVICES;
                let service = format!("service-{service}");
                let of_place = ids.clone().map(distinct_span).collect();
                send(server, "/v1/traces", &traces(&service, of_place).encode_to_vec());
                let records = ids.filter(|id| id.is_multiple_of(SPANS_OF_A_RECORD)).map(|id| {
                    let text = format!("word{} of customer {id} took word{}", id / 7, id / 3);
                    let mut record = log(u128::from(id / 3 + 1) << 64, id + 1, &text);
                    record.attributes = vec![KeyValue::new("customer", text.as_str())];
                    record
                });
                send(server, "/v1/logs", &logs(&service, records.collect()).encode_to_vec());
            }
        }
    };
    thread::scope(|scope| (0..SENDERS).for_each(|_| drop(scope.spawn(send_parts))));
}

/// Returns all queries, with the bounds of the stored window filled in.
fn questions(server: &Server, from: u64) -> Vec<(&str, String)> {
    let (from, to) = (from.to_string(), (now() / 1_000_000_000 + 2).to_string());
    let http = HTTP.iter().map(|path| (&*server.http, path));
    let all = http.chain(ZIPKIN.iter().map(|path| (&*server.zipkin, path)));
    all.map(|(address, path)| (address, path.replace("FROM", &from).replace("TO", &to))).collect()
}

/// Sends all queries from all clients at once. Returns the duration and the peak of the allocated
/// memory in bytes.
fn ask_all(server: &Server, questions: &[(&str, String)]) -> (Duration, u64) {
    let (next, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (done, begin) = (AtomicBool::new(false), Instant::now());
    let ask = || {
        while let Some((address, path)) = questions.get(next.fetch_add(1, Relaxed)) {
            let answer = get(address, path);
            let said = String::from_utf8_lossy(&answer.body[..answer.body.len().min(500)]);
            let statuses = if path.starts_with(MONITOR) { &MONITOR_STATUSES } else { STATUSES };
            assert!(statuses.contains(&answer.status), "{path}: {} {said}", answer.status);
            answered.fetch_add(usize::from(answer.status == 200), Relaxed);
        }
    };
    let peak = thread::scope(|scope| {
        let peak = scope.spawn(|| server.peak_allocated_bytes_until(&done));
        let askers: Vec<_> = (0..ASKERS).map(|_| scope.spawn(ask)).collect();
        let asked: Vec<_> = askers.into_iter().map(|asker| asker.join()).collect();
        done.store(true, Relaxed);
        asked.into_iter().for_each(Result::unwrap);
        peak.join().unwrap().0
    });
    let answered = answered.into_inner();
    assert!(answered * 2 > questions.len(), "only {answered} of {} are answered", questions.len());
    (begin.elapsed(), peak)
}

#[test]
fn questions_over_many_distinct_spans_stay_within_the_budget() {
    let (spans, budget) = (number("READS_SPANS", SPANS), BUDGET.to_string());
    let mut server = Server::start_with(&["--memory", &budget]);
    let (pid, begin, from) = (server.pid(), Instant::now(), now() / 1_000_000_000);
    fill(&server, spans);
    server.wait_for("/api/v1/status", |status| status["spans"]["stored"] == spans);
    let (filled, stored) = (begin.elapsed(), server.allocated_bytes());
    let questions = questions(&server, from);
    let (asked, peak) = ask_all(&server, &questions);
    println!(
        "{spans} spans in {filled:?}, then {} MiB; {} questions in {asked:?}, at most {} MiB, with the \
         pages of the program at most {} MiB",
        stored >> 20,
        questions.len(),
        peak >> 20,
        server.peak_resident_bytes() >> 20
    );
    assert!(server.is_alive() && server.pid() == pid);
    assert!(peak < BUDGET, "{peak} bytes");
}
