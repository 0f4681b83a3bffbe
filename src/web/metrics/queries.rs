//! Counts and times of queries, by API.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::Response,
};
use tidings_access::{Caller, Role};
use tidings_proto::{DurationNanos, api::AnswerTimes};
use tidings_query::{ClientId, QueryOrigin};
use tidings_storage::{Clock, TimeCounts, TimeHistogram};

use crate::web::RequestWords;

/// The APIs by the beginning of their paths; the first that matches counts.
const APIS: [(&str, &str); 22] = [
    ("/api/v1/sql", "sql"),
    ("/arrow.flight.protocol.FlightService/", "flight_sql"),
    ("/api/v1/logs", "logs"),
    ("/api/v1/traces", "traces"),
    ("/api/v1/transactions", "transactions"),
    ("/api/v1/red", "red"),
    ("/api/v1/graph", "graph"),
    ("/api/v1/heatmap", "heatmap"),
    ("/api/v1/exceptions", "exceptions"),
    ("/api/v1/changes", "changes"),
    ("/api/v1/explain", "explain"),
    ("/api/v1/compare", "compare"),
    ("/api/v1/status", "status"),
    ("/api/v1/services", "services"),
    ("/api/v1/operations", "operations"),
    ("/api/v1/attributes", "attributes"),
    ("/api/v1/", "other"),
    ("/prometheus/", "prometheus"),
    ("/tempo", "tempo"),
    ("/jaeger", "jaeger"),
    ("/grpc.health.v1.Health/", "health"),
    ("/grpc.reflection.", "reflection"),
];

/// Returns the API that a path belongs to.
pub(in crate::web) fn api_of(path: &str) -> Option<&'static str> {
    APIS.iter().find(|(prefix, _)| path.starts_with(prefix)).map(|(_, api)| *api)
}

/// The outcomes of a query.
const OUTCOMES: [&str; 4] = ["answered", "refused", "failed", "abandoned"];
const FAILED: usize = 2;
const ABANDONED: usize = 3;

#[derive(Debug, Default)]
struct ApiTimes {
    histogram: TimeHistogram,
    outcomes: [AtomicU64; OUTCOMES.len()],
    running: AtomicU64,
}

/// Counts and times of queries.
#[derive(Debug)]
pub(crate) struct QueryTimes {
    clock: Arc<dyn Clock>,
    apis: [ApiTimes; APIS.len()],
}

impl QueryTimes {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, apis: Default::default() })
    }

    fn each(&self) -> impl Iterator<Item = (&'static str, &ApiTimes)> {
        APIS.iter().map(|(_, api)| *api).zip(&self.apis)
    }

    /// Returns the times of answers by API.
    pub(super) fn times(&self) -> Vec<(&'static str, TimeCounts)> {
        self.each().map(|(api, times)| (api, times.histogram.counts())).collect()
    }

    /// Returns the times of the APIs that answered something, most queries first.
    pub(crate) fn answer_times(&self) -> Vec<AnswerTimes> {
        let mut all: Vec<AnswerTimes> = self
            .each()
            .map(|(api, times)| {
                let failed = times.outcomes.get(FAILED).map_or(0, |count| count.load(Relaxed));
                answer_times(api, &times.histogram.counts(), failed)
            })
            .filter(|times| times.count > 0)
            .collect();
        all.sort_by_key(|times| std::cmp::Reverse(times.count));
        all
    }

    /// Returns the number of queries by API and outcome.
    pub(super) fn outcomes(&self) -> Vec<(&'static str, &'static str, u64)> {
        let each = self.each().flat_map(|(api, times)| {
            let counts = OUTCOMES.into_iter().zip(&times.outcomes);
            counts.map(move |(outcome, count)| (api, outcome, count.load(Relaxed)))
        });
        each.collect()
    }

    /// Returns the number of queries without an answer yet, by API.
    pub(super) fn running(&self) -> Vec<(&'static str, u64)> {
        self.each().map(|(api, times)| (api, times.running.load(Relaxed))).collect()
    }

    fn api(&self, path: &str) -> Option<&ApiTimes> {
        let at = APIS.iter().position(|(prefix, _)| path.starts_with(prefix))?;
        self.apis.get(at)
    }
}

fn answer_times(api: &str, counts: &TimeCounts, failed_count: u64) -> AnswerTimes {
    let nanos = |time: Option<Duration>| {
        let nanos = time.unwrap_or_default().as_nanos();
        DurationNanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    };
    AnswerTimes {
        kind: api.to_owned(),
        count: counts.count(),
        failed_count,
        p50_nano: nanos(counts.quantile(0.5)),
        p95_nano: nanos(counts.quantile(0.95)),
        p99_nano: nanos(counts.quantile(0.99)),
        max_nano: nanos(counts.quantile(1.0)),
    }
}

/// A query that has no answer yet.
struct RunningQuestion<'a> {
    times: &'a ApiTimes,
    outcome: usize,
}

impl Drop for RunningQuestion<'_> {
    fn drop(&mut self) {
        self.times.running.fetch_sub(1, Relaxed);
        if let Some(count) = self.times.outcomes.get(self.outcome) {
            count.fetch_add(1, Relaxed);
        }
    }
}

/// Counts a query, and measures the time to the beginning of its answer.
pub(in crate::web) async fn measure(
    State(queries): State<Arc<QueryTimes>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(times) = queries.api(request.uri().path()) else { return next.run(request).await };
    times.running.fetch_add(1, Relaxed);
    let mut running = RunningQuestion { times, outcome: ABANDONED };
    let begun = queries.clock.instant();
    let response = next.run(request).await;
    times.histogram.observe(queries.clock.instant().saturating_duration_since(begun));
    running.outcome = match response.status() {
        status if status.is_server_error() => FAILED,
        status if status >= StatusCode::BAD_REQUEST => 1,
        _ => 0,
    };
    response
}

/// Answers a request to a read API, whose queries are then listed with the recent slowest.
pub(in crate::web) async fn name_origin(
    State(words): State<Arc<RequestWords>>,
    request: Request,
    next: Next,
) -> Response {
    let uri = request.uri();
    let Some(kind) = api_of(uri.path()) else { return next.run(request).await };
    let caller = request.extensions().get::<Caller>();
    let question = QueryOrigin {
        kind,
        words: words.of_address(request.method(), uri.path(), uri.query()),
        redaction: words,
        asked_by: caller.map(|caller| caller.name().to_owned()),
        client: request.extensions().get::<ClientId>().cloned().unwrap_or_default(),
        may_administer: caller.is_some_and(|caller| caller.role() == Role::Admin),
    };
    question.scope(next.run(request)).await
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use tidings_apis::GRPC_SERVICES;
    use tidings_storage::SystemClock;

    use super::{APIS, FAILED, OUTCOMES, QueryTimes, RunningQuestion, api_of};

    #[test]
    fn answer_times_list_queried_apis_by_descending_count() {
        let queries = QueryTimes::new(Arc::new(SystemClock));
        assert!(queries.answer_times().is_empty());
        let logs = queries.api("/api/v1/logs").unwrap();
        logs.histogram.observe(Duration::from_millis(40));
        let traces = queries.api("/api/v1/traces").unwrap();
        for millis in 1..=100 {
            traces.histogram.observe(Duration::from_millis(millis));
        }
        traces.running.store(1, std::sync::atomic::Ordering::Relaxed);
        drop(RunningQuestion { times: traces, outcome: FAILED });
        let times = queries.answer_times();
        let kinds: Vec<_> = times.iter().map(|of| (of.kind.as_str(), of.count)).collect();
        assert_eq!(kinds, [("traces", 100), ("logs", 1)]);
        let [first, second] = times.as_slice() else { panic!() };
        assert_eq!((first.failed_count, second.failed_count), (1, 0));
        assert_eq!(first.max_nano.0, 100_000_000);
        let percentiles = [first.p50_nano, first.p95_nano, first.p99_nano, first.max_nano];
        assert!(percentiles.is_sorted() && first.p50_nano.0 > 25_000_000, "{percentiles:?}");
        assert_eq!(second.p50_nano, second.max_nano);
    }

    #[test]
    fn a_call_of_every_grpc_service_counts_for_an_api() {
        for service in GRPC_SERVICES {
            assert!(api_of(&format!("/{service}/Method")).is_some(), "{service}");
        }
    }

    #[test]
    fn a_question_counts_for_the_api_of_its_path_and_once_for_its_outcome() {
        let queries = QueryTimes::new(Arc::new(SystemClock));
        assert!(queries.api("/explore").is_none() && queries.api("/ready").is_none());
        let names = ["status", "services", "attributes/keys", "limits"];
        let kinds = names.map(|name| api_of(&format!("/api/v1/{name}")));
        assert_eq!(kinds, ["status", "services", "attributes", "other"].map(Some));
        let times = queries.api("/api/v1/traces/1/skeleton").unwrap();
        times.running.store(2, std::sync::atomic::Ordering::Relaxed);
        drop(RunningQuestion { times, outcome: 0 });
        let running = queries.running();
        assert_eq!(running.iter().find(|(api, _)| *api == "traces"), Some(&("traces", 1)));
        let answered: u64 = queries.outcomes().iter().map(|(.., count)| count).sum();
        assert_eq!((answered, queries.outcomes().len()), (1, OUTCOMES.len() * APIS.len()));
    }
}
