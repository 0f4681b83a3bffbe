//! Assembled traces, search, transactions and logs over HTTP.
//!
//! ```text
//! HTTP ─► http/* (parse, call, write) ─► QueryService ─► execution (queue, deadline) ─► Reader
//!                                                         trace · search · logs · names ·
//!                                                         transactions · resolve ─► proto::api
//! ```
//!
//! Reads snapshots of `storage` and calls `assembly`; writes nothing and does not use Arrow
//! directly.

mod analysis;
mod client_quota;
mod cursor;
mod error;
mod execution;
mod http;
mod jaeger;
mod log_reader;
mod name_search;
mod params;
mod prometheus;
mod query_limits;
mod query_service;
mod resolve;
mod rpc_status;
mod search;
mod span_search;
mod trace;
mod trace_lookup;
mod traceql;
mod transactions;
mod version;
mod word_search;
mod zipkin;

pub use analysis::{
    BaselineChoice, BreakdownThreshold, ChangeSearch, CompareSearch, ComparedWith,
    DeploymentSearch, ExceptionSearch, ExceptionTransactionSearch, ExplainSearch, GraphSearch,
    HeatmapSearch, KindSearch, LogHistogramSearch, LogStatsSearch, PatternSearch, PeriodEdge,
    PeriodEdges, RedKey, RedKeys, RedSearch, Selection, edges_between,
};
pub use client_quota::ClientId;
pub use cursor::{LogCursor, LogOrder, RankCursor, TraceCursor, TraceRank};
pub use error::{ErrorKind, QueryError};
pub use execution::BoundedSnapshot;
pub use execution::{EndedQuery, QueryOrigin, RecentQueries, StatementRedaction};
pub use http::event_stream::{EVENT_STREAM, event as server_sent_event};
pub use http::problem::ProblemResponse;
pub use http::{
    BodyMemory, ETag, EndlessLogs, complete_document, document, read_rpc_request,
    require_one_message, router, router_described_by, with_api_headers, with_unread_budget,
    zipkin_router,
};
pub use log_reader::{LogSearch, context::LogContextSearch, log_condition, severity_name};
pub use name_search::NameSearch;
pub use params::well_encoded;
pub use query_limits::{QueryLimits, QuerySettings};
pub use query_service::{
    AnswerTimesSource, QueryService, ReceiverStates, TraceExport, VersionWait,
};
pub use rpc_status::{rpc_retry_status, rpc_status, with_cut_status};
pub use search::TraceSearch;
pub use span_search::SpanSearch;
pub use tidings_traceql::suggest;
pub use trace::{ClockView, TraceName, TraceRequest};

/// Entry points for fuzz targets: the texts of the query languages. They are not called in
/// production.
#[doc(hidden)]
pub mod fuzzed_texts {
    /// Parses a TraceQL query. Returns true when the text is one.
    #[must_use]
    pub fn read_traceql(text: &str) -> bool {
        tidings_traceql::parse(text).is_ok()
    }

    /// Parses a PromQL query. Returns true when the text is one.
    #[must_use]
    pub fn read_promql(text: &str) -> bool {
        tidings_promql::parse(text).is_ok()
    }

    /// Parses a query of log records. Returns true when the text is one.
    #[must_use]
    pub fn read_log_query(text: &str) -> bool {
        tidings_log_query::parse(text).is_ok()
    }
}
