//! [PromQL](https://prometheus.io/docs/prometheus/latest/querying/basics/) over the metrics that
//! dashboards expect of traces: calls by service and operation, calls between services.
//!
//! ```text
//! text ─► `tidings-promql` (lexer, parser, syntax)
//!      ─► plan (which metrics, at which times) ─► series_data (one scan)
//!                                             └─► evaluate, time by time
//! ```
//!
//! No series are stored: counters are computed from the stored spans at query time. So `increase`
//! and `rate` are exact, while Prometheus extrapolates between scrapes. Owns the metrics and the
//! evaluation. Does not own the language, which is the crate `tidings-promql`, the definition of a
//! call, which is in [`tidings_query::analysis`], or HTTP.

mod evaluate;
pub(crate) mod metric_names;
mod plan;
pub(crate) mod query;
pub(crate) mod series;
mod series_data;

use std::fmt;

use tidings_promql::{AtModifier, Subquery, TimeModifier};
use tidings_query::QueryError;

/// Step of a subquery without a step.
const SUBQUERY_STEP_MS: i64 = 60_000;

/// Errors of the evaluation of a PromQL query.
#[derive(Debug)]
pub(crate) enum PromqlError {
    /// The query cannot be evaluated over the stored data.
    Execution(String),
    /// Errors that any query can return.
    Query(QueryError),
}

impl fmt::Display for PromqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Execution(message) => f.write_str(message),
            Self::Query(error) => error.fmt(f),
        }
    }
}

impl From<QueryError> for PromqlError {
    fn from(error: QueryError) -> Self {
        Self::Query(error)
    }
}

/// The times at which a query is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EvaluationTimes {
    /// The first time.
    pub(crate) start_ms: i64,
    /// The upper bound of the times.
    pub(crate) end_ms: i64,
    /// The distance between two times.
    pub(crate) step_ms: i64,
    /// Time for which a series continues after its last call.
    pub(crate) lookback_ms: i64,
}

impl EvaluationTimes {
    /// Returns the times, in order.
    fn times(&self) -> impl Iterator<Item = i64> + use<> {
        let step = usize::try_from(self.step_ms.max(1)).unwrap_or(usize::MAX);
        (self.start_ms..=self.end_ms).step_by(step)
    }

    /// Returns the time that an expression reads when it is evaluated at this time.
    fn moment(&self, moment: TimeModifier, time: i64) -> i64 {
        let base = match moment.at {
            None => time,
            Some(AtModifier::Time(at)) => at,
            Some(AtModifier::Start) => self.start_ms,
            Some(AtModifier::End) => self.end_ms,
        };
        base.saturating_sub(moment.offset_ms)
    }

    /// Returns the times at which a subquery is evaluated for one evaluation of its parent.
    fn inner_times(&self, subquery: &Subquery, time: i64) -> Vec<i64> {
        let end = self.moment(subquery.moment, time);
        multiples(end.saturating_sub(subquery.range_ms), end, step_of(subquery)).collect()
    }
}

fn step_of(subquery: &Subquery) -> i64 {
    subquery.step_ms.unwrap_or(SUBQUERY_STEP_MS).max(1)
}

/// Returns the multiples of the step after the first time and up to the second.
fn multiples(after: i64, until: i64, step: i64) -> impl Iterator<Item = i64> {
    let first = (after.div_euclid(step) + 1).saturating_mul(step);
    let every = usize::try_from(step).unwrap_or(usize::MAX);
    (first..=until).step_by(every)
}
