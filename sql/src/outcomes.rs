//! Counts of queries by how they ended.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{SqlError, SqlErrorKind};

/// The outcomes, in the order of the counts.
const OUTCOMES: [&str; 7] =
    ["answered", "refused", "overloaded", "timed_out", "killed", "failed", "abandoned"];
const ABANDONED: usize = 6;

/// Counts of the queries of services that share their places.
#[derive(Debug, Default)]
pub(crate) struct QueryOutcomes([AtomicU64; OUTCOMES.len()]);

/// A query without an outcome. If it is dropped, its client abandoned it.
#[derive(Debug)]
pub(crate) struct OpenQuery<'a> {
    counts: &'a QueryOutcomes,
    outcome: usize,
}

impl QueryOutcomes {
    /// Begins to count a query.
    pub(crate) fn open_query(&self) -> OpenQuery<'_> {
        OpenQuery { counts: self, outcome: ABANDONED }
    }

    /// Returns each outcome with its count.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = self.0.iter().map(|count| count.load(Relaxed));
        OUTCOMES.into_iter().zip(counts).collect()
    }
}

impl OpenQuery<'_> {
    /// Counts the query by its result.
    pub(crate) fn end<T>(mut self, result: &Result<T, SqlError>) {
        self.outcome = match result.as_ref().map_err(SqlError::kind) {
            Ok(_) => 0,
            Err(SqlErrorKind::Overloaded) => 2,
            Err(SqlErrorKind::TimedOut) => 3,
            Err(SqlErrorKind::Ended) => 4,
            Err(SqlErrorKind::Failed | SqlErrorKind::Unavailable) => 5,
            Err(
                SqlErrorKind::Invalid
                | SqlErrorKind::Forbidden
                | SqlErrorKind::Off
                | SqlErrorKind::TooLarge
                | SqlErrorKind::MediaType,
            ) => 1,
        };
    }
}

impl Drop for OpenQuery<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.counts.0.get(self.outcome) {
            count.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::QueryOutcomes;
    use crate::SqlError;

    #[test]
    fn a_query_counts_once_by_its_end() {
        let counts = QueryOutcomes::default();
        counts.open_query().end(&Ok(()));
        counts.open_query().end::<()>(&Err(SqlError::TooMany { max: 4 }));
        counts.open_query().end::<()>(&Err(SqlError::Ended { reason: "memory".into() }));
        counts.open_query().end::<()>(&Err(SqlError::Off));
        drop(counts.open_query());
        let expected = [
            ("answered", 1),
            ("refused", 1),
            ("overloaded", 1),
            ("timed_out", 0),
            ("killed", 1),
            ("failed", 0),
            ("abandoned", 1),
        ];
        assert_eq!(counts.counts(), expected);
    }
}
