//! Requests for analyses over many spans: rates, graphs, heatmaps, exceptions, differences,
//! changes.

use tidings_proto::{
    TraceId, UnixNanos,
    api::{
        ChangeReport, Comparison, ExceptionList, ExceptionTransactions, Explanation, FoundNameList,
        Heatmap, LogHistogram, LogPatternList, LogStats, RedResult, ResolveResult, ServiceGraph,
        TransactionTypeList, TransactionView, VersionChangeList,
    },
};

use super::{Request, push_range};
use crate::url::{HeatmapBox, LogState, TimeRange, TraceFilters, UrlQuery, encode};

/// Filters and options of an analysis, in the API's own spelling, within a time range.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Analysis {
    query: UrlQuery,
}

impl Analysis {
    /// An analysis of this range, relative to `now`.
    #[must_use]
    pub fn within(range: TimeRange, now: UnixNanos) -> Self {
        let mut query = UrlQuery::default();
        push_range(&mut query, range, now);
        Self { query }
    }

    /// An analysis from a moment on. Its end is open, as that of a moving range.
    #[must_use]
    pub fn since(start: UnixNanos) -> Self {
        Self::default().with("start", start.0)
    }

    /// An analysis between two moments.
    #[must_use]
    pub fn between(start: UnixNanos, end: UnixNanos) -> Self {
        let mut query = UrlQuery::default();
        query.push("start", start.0);
        query.push("end", end.0);
        Self { query }
    }

    /// Adds filters of spans, except excluding ones.
    #[must_use]
    pub fn with_filters(mut self, filters: &TraceFilters) -> Self {
        super::push_filters(&mut self.query, filters);
        self
    }

    /// Adds filters of log records.
    #[must_use]
    pub fn with_log_filters(mut self, state: &LogState) -> Self {
        super::push_log_filters(&mut self.query, state);
        self
    }

    /// Selects the spans of a box of the heatmap.
    #[must_use]
    pub fn selecting(self, chosen: HeatmapBox) -> Self {
        self.with("selectStart", chosen.from.0)
            .with("selectEnd", chosen.to.0)
            .with("selectMinDuration", chosen.shortest.0)
            .with("selectMaxDuration", chosen.longest.0)
    }

    /// Adds a parameter.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.query.push(key, value);
        self
    }

    /// Requests a single step, where the page draws nothing over time.
    #[must_use]
    pub fn with_single_step(self) -> Self {
        self.with("step", "87600h")
    }

    /// The parameters.
    pub(super) fn query(&self) -> &UrlQuery {
        &self.query
    }

    /// Adds a parameter when there is a value.
    #[must_use]
    pub fn with_some(mut self, key: &str, value: Option<impl std::fmt::Display>) -> Self {
        self.query.push_some(key, value);
        self
    }
}

/// Returns the request for rate, errors and duration by group.
#[must_use]
pub fn red(analysis: &Analysis) -> Request<RedResult> {
    Request::get("/red", &analysis.query)
}

/// Returns the request for the service graph.
#[must_use]
pub fn graph(analysis: &Analysis) -> Request<ServiceGraph> {
    Request::get("/graph", &analysis.query)
}

/// Returns the request for the service graph of one trace.
#[must_use]
pub fn graph_of_trace(trace: TraceId) -> Request<ServiceGraph> {
    let mut query = UrlQuery::default();
    query.push("traceId", trace);
    Request::get("/graph", &query)
}

/// Returns the request for counts of spans by duration and time.
#[must_use]
pub fn heatmap(analysis: &Analysis) -> Request<Heatmap> {
    Request::get("/heatmap", &analysis.query)
}

/// Returns the request for transaction types.
#[must_use]
pub fn transaction_types(analysis: &Analysis) -> Request<TransactionTypeList> {
    Request::get("/transactions", analysis.clone().with("withoutBreakdown", true).query())
}

/// Returns the request for transaction types with the parts of their time, for which the server
/// reads traces.
#[must_use]
pub fn transaction_type_breakdowns(analysis: &Analysis) -> Request<TransactionTypeList> {
    Request::get("/transactions", analysis.query())
}

/// Returns the request for everything that belongs to one transaction id.
#[must_use]
pub fn transaction(tid: &str) -> Request<TransactionView> {
    Request::get(&format!("/transactions/{}", encode(tid)), &UrlQuery::default())
}

/// Returns the request for exceptions by group.
#[must_use]
pub fn exceptions(analysis: &Analysis) -> Request<ExceptionList> {
    Request::get("/exceptions", &analysis.query)
}

/// Returns the request for transactions with an exception, by type.
#[must_use]
pub fn exception_transactions(analysis: &Analysis) -> Request<ExceptionTransactions> {
    Request::get("/exceptions/transactions", &analysis.query)
}

/// Returns the request for attributes that set selected spans apart.
#[must_use]
pub fn explain(analysis: &Analysis) -> Request<Explanation> {
    Request::get("/explain", &analysis.query)
}

/// Returns the request for the comparison of two sets of traces. `right` may be `typical`; `window`
/// is then the time of the typical traces.
#[must_use]
pub fn compare(window: Analysis, left: &str, right: &str) -> Request<Comparison> {
    Request::get("/compare", window.with("left", left).with("right", right).query())
}

/// Returns the request for names that have all words of a text.
#[must_use]
pub fn names(analysis: &Analysis, text: &str) -> Request<FoundNameList> {
    Request::get("/names", analysis.clone().with("text", text).query())
}

/// Returns the request for the traces that an id or the value of a transaction key names. No text
/// of log records is searched.
#[must_use]
pub fn resolve_exactly(text: &str) -> Request<ResolveResult> {
    Request::get("/resolve", Analysis::default().with("text", text).with("exact", true).query())
}

/// Returns the request for counts of log records by step and severity.
#[must_use]
pub fn log_histogram(analysis: &Analysis) -> Request<LogHistogram> {
    Request::get("/logs/histogram", &analysis.query)
}

/// Returns the request for log records by the values of fields.
#[must_use]
pub fn log_stats(analysis: &Analysis) -> Request<LogStats> {
    Request::get("/logs/stats", &analysis.query)
}

/// Returns the request for log patterns.
#[must_use]
pub fn log_patterns(analysis: &Analysis) -> Request<LogPatternList> {
    Request::get("/logs/patterns", &analysis.query)
}

/// Returns the request for transactions and services ranked by how much they changed.
#[must_use]
pub fn changes(analysis: &Analysis) -> Request<ChangeReport> {
    Request::get("/changes", analysis.query())
}

/// Returns the request for the version changes of a service.
#[must_use]
pub fn deployments(analysis: &Analysis, service: &str) -> Request<VersionChangeList> {
    Request::get("/deployments", analysis.clone().with("service", service).query())
}
