//! Doors for fuzz targets: the texts of the query languages. Nothing that ships calls them.

use crate::{log_query, prometheus, traceql};

/// Reads a query in TraceQL. Returns true when it is one.
#[must_use]
pub fn read_traceql(text: &str) -> bool {
    traceql::parse(text).is_ok()
}

/// Reads a query in PromQL. Returns true when it is one.
#[must_use]
pub fn read_promql(text: &str) -> bool {
    prometheus::parse(text).is_ok()
}

/// Reads a query of log records. Returns true when it is one.
#[must_use]
pub fn read_log_query(text: &str) -> bool {
    log_query::parse(text).is_ok()
}
