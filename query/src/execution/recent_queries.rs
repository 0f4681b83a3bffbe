//! The slowest recent queries, for the administrator of the server.
//!
//! Owns a bounded list in memory for each tenant. Owns the origin of a query ([`QueryOrigin`]),
//! which accompanies the task of a request. Holds no values that the audit log would not hold.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{QueryOutcome, SlowQuery, SlowQueryList},
};

use crate::client_quota::ClientId;

/// Maximum number of queries that are kept.
const QUERIES_MAX: usize = 50;
/// Maximum time since the end of a query that is kept.
const AGE_MAX: Duration = Duration::from_secs(3_600);
/// Maximum number of minutes with counts of ended queries; the oldest minute is dropped.
const MINUTES_MAX: usize = 60;
/// Maximum number of characters of a query's text.
const TEXT_CHARS_MAX: usize = 2_000;

const MINUTE: Duration = Duration::from_secs(60);

tokio::task_local! {
    static QUERY_ORIGIN: Arc<QueryOrigin>;
}

/// Removes secrets and keys from statements.
pub trait StatementRedaction: fmt::Debug + Send + Sync {
    /// Returns the statement without secrets and keys.
    fn redacted(&self, statement: &str) -> String;
}

/// The text of a request, and the client that sent it.
#[derive(Debug, Clone)]
pub struct QueryOrigin {
    /// The API of the request, such as `traces`.
    pub kind: &'static str,
    /// Method, path and parameters, without keys and secrets.
    pub words: String,
    /// Redaction of a statement in the body of the request.
    pub redaction: Arc<dyn StatementRedaction>,
    /// Name of the key or of the user.
    pub asked_by: Option<String>,
    /// The client for the shares of bounded resources.
    pub client: ClientId,
    /// True when the client may see who sent the queries of others.
    pub may_administer: bool,
}

impl QueryOrigin {
    /// Runs `work`; its queries are listed under this origin.
    pub async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        QUERY_ORIGIN.scope(Arc::new(self), work).await
    }

    /// The origin of the request that this task belongs to.
    #[must_use]
    pub fn current() -> Option<Arc<Self>> {
        QUERY_ORIGIN.try_with(Arc::clone).ok()
    }

    /// The client of the request that this task belongs to.
    pub(crate) fn current_client() -> ClientId {
        QUERY_ORIGIN.try_with(|origin| origin.client.clone()).unwrap_or_default()
    }

    /// Runs `work` in another task as a part of the same request.
    pub async fn propagate<T>(origin: Option<Arc<Self>>, work: impl Future<Output = T>) -> T {
        match origin {
            Some(origin) => QUERY_ORIGIN.scope(origin, work).await,
            None => work.await,
        }
    }
}

/// The end of a query.
#[derive(Debug, Clone, Copy)]
pub struct EndedQuery {
    /// Time at which it was asked.
    pub start: UnixNanos,
    /// Duration of the query.
    pub duration: Duration,
    /// Rows that were read.
    pub rows: u64,
    /// Outcome of the query.
    pub outcome: QueryOutcome,
}

/// The slowest recent queries. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct RecentQueries(Arc<Mutex<QueryRing>>);

#[derive(Debug, Default)]
struct QueryRing {
    slowest: Vec<SlowQuery>,
    /// Numbers of queries by the minute in which they ended.
    minutes: VecDeque<(u64, u64)>,
}

impl RecentQueries {
    /// Records a query of the current request. A query without a request is left out.
    pub fn record(&self, ended: EndedQuery) {
        if let Some(origin) = QueryOrigin::current() {
            self.record_for(&origin, ended);
        }
    }

    /// Records a query of a request.
    pub fn record_for(&self, origin: &QueryOrigin, ended: EndedQuery) {
        let duration_nano = nanos(ended.duration);
        let query = SlowQuery {
            kind: origin.kind.to_owned(),
            words: truncated(&origin.words),
            start_unix_nano: ended.start,
            duration_nano,
            rows: ended.rows,
            outcome: ended.outcome,
            asked_by: origin.asked_by.clone(),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(query);
    }

    /// Lists the queries that ended within an hour before `now`, the slowest first.
    #[must_use]
    pub fn list(&self, now: UnixNanos, shows_clients: bool) -> SlowQueryList {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ring.evict(now);
        let mut queries = ring.slowest.clone();
        let query_count = ring.minutes.iter().map(|(_, count)| count).sum();
        drop(ring);
        if !shows_clients {
            queries.iter_mut().for_each(|query| query.asked_by = None);
        }
        queries
            .sort_by_key(|query| (std::cmp::Reverse(query.duration_nano), query.start_unix_nano));
        SlowQueryList { since_unix_nano: oldest(now), query_count, queries, kinds: Vec::new() }
    }
}

impl QueryRing {
    fn insert(&mut self, query: SlowQuery) {
        let end = end(&query);
        self.evict(end);
        let minute = end.0 / nanos(MINUTE).0;
        match self.minutes.back_mut() {
            Some((last, count)) if *last >= minute => *count += 1,
            _ => self.minutes.push_back((minute, 1)),
        }
        if self.slowest.len() < QUERIES_MAX {
            self.slowest.push(query);
            return;
        }
        let fastest = self.slowest.iter_mut().min_by_key(|kept| kept.duration_nano);
        if let Some(fastest) = fastest.filter(|kept| kept.duration_nano < query.duration_nano) {
            *fastest = query;
        }
    }

    fn evict(&mut self, now: UnixNanos) {
        let oldest = oldest(now);
        self.slowest.retain(|query| end(query) >= oldest);
        let first = oldest.0 / nanos(MINUTE).0;
        while self.minutes.len() > MINUTES_MAX
            || self.minutes.front().is_some_and(|(minute, _)| *minute < first)
        {
            self.minutes.pop_front();
        }
    }
}

fn end(query: &SlowQuery) -> UnixNanos {
    UnixNanos(query.start_unix_nano.0.saturating_add(query.duration_nano.0))
}

fn oldest(now: UnixNanos) -> UnixNanos {
    UnixNanos(now.0.saturating_sub(nanos(AGE_MAX).0))
}

fn nanos(duration: Duration) -> DurationNanos {
    DurationNanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

fn truncated(words: &str) -> String {
    match words.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use tidings_proto::{UnixNanos, api::QueryOutcome};

    use super::{
        AGE_MAX, ClientId, EndedQuery, QUERIES_MAX, QueryOrigin, RecentQueries, StatementRedaction,
        TEXT_CHARS_MAX, nanos,
    };

    #[derive(Debug)]
    struct NoRedaction;

    impl StatementRedaction for NoRedaction {
        fn redacted(&self, statement: &str) -> String {
            statement.to_owned()
        }
    }

    fn origin(words: &str) -> QueryOrigin {
        QueryOrigin {
            kind: "traces",
            words: words.to_owned(),
            redaction: Arc::new(NoRedaction),
            asked_by: Some("night shift".to_owned()),
            client: ClientId::default(),
            may_administer: false,
        }
    }

    fn ended(start_seconds: u64, millis: u64) -> EndedQuery {
        EndedQuery {
            start: UnixNanos(start_seconds * 1_000_000_000),
            duration: Duration::from_millis(millis),
            rows: millis,
            outcome: QueryOutcome::Answered,
        }
    }

    #[test]
    fn the_slowest_are_kept_and_all_are_counted() {
        let queries = RecentQueries::default();
        for millis in 1..=200 {
            queries.record_for(&origin("GET /"), ended(10_000, millis));
        }
        let list = queries.list(UnixNanos(10_001_000_000_000), true);
        assert_eq!((list.query_count, list.queries.len()), (200, QUERIES_MAX));
        assert_eq!((list.queries[0].rows, list.queries[QUERIES_MAX - 1].rows), (200, 151));
    }

    #[test]
    fn a_query_is_dropped_at_its_age() {
        let queries = RecentQueries::default();
        queries.record_for(&origin("GET /old"), ended(10_000, 9_000));
        queries.record_for(&origin("GET /new"), ended(13_000, 1));
        // Queries are counted by minutes.
        let now = UnixNanos(10_070_000_000_000 + nanos(AGE_MAX).0);
        let list = queries.list(now, true);
        let words: Vec<_> = list.queries.iter().map(|query| query.words.as_str()).collect();
        assert_eq!((list.query_count, words), (1, vec!["GET /new"]));
    }

    #[test]
    fn clients_are_named_to_administrators_only_and_texts_are_cut() {
        let queries = RecentQueries::default();
        queries.record_for(&origin(&"ß".repeat(9_000)), ended(10_000, 5));
        let now = UnixNanos(10_001_000_000_000);
        let seen = queries.list(now, true).queries.remove(0);
        assert_eq!(seen.asked_by.as_deref(), Some("night shift"));
        assert_eq!(seen.words.chars().count(), TEXT_CHARS_MAX + 1);
        assert_eq!(queries.list(now, false).queries[0].asked_by, None);
    }

    #[tokio::test]
    async fn a_query_of_no_request_is_left_out() {
        let queries = RecentQueries::default();
        queries.record(ended(10_000, 5));
        origin("GET /asked").scope(async { queries.record(ended(10_000, 5)) }).await;
        assert_eq!(queries.list(UnixNanos(10_001_000_000_000), false).query_count, 1);
    }
}
