//! Assembled traces, search, transactions and logs over HTTP.
//!
//! ```text
//! HTTP ─► http/* (parse, call, write) ─► QueryService ─► execution (queue, deadline) ─► Reader
//!                                                         trace · search · logs · names ·
//!                                                         transactions · resolve ─► proto::api
//! ```
//!
//! Reads snapshots of `storage` and calls `assembly`; writes nothing and knows no Arrow.

mod analysis;
mod cursor;
mod error;
mod execution;
mod export;
pub mod grpc;
mod http;
mod jaeger;
mod limits;
mod log_query;
mod logs;
mod names;
mod params;
mod prometheus;
mod resolve;
mod search;
mod service;
mod settings;
pub mod suggest;
mod trace;
mod traceql;
mod transactions;
mod version;
mod zipkin;

pub use analysis::{
    BaselineChoice, Bounded, ChangeSearch, CompareSearch, ComparedWith, DeploymentSearch,
    ExceptionSearch, ExplainSearch, GraphSearch, HeatmapSearch, LogHistogramSearch, LogStatsSearch,
    PatternSearch, RedKey, RedKeys, RedSearch, Selection, StretchEdge, StretchEdges, edges_between,
};
pub use cursor::{LogCursor, LogOrder, RankCursor, TraceCursor, TraceRank};
pub use error::{ErrorKind, QueryError};
pub use export::TraceExport;
pub use http::{ETag, document, router, router_described_by, with_api_headers, zipkin_router};
pub use limits::QueryLimits;
pub use logs::{LogSearch, context::LogContextSearch, severity_name};
pub use names::NameSearch;
pub use params::well_encoded;
pub use search::TraceSearch;
pub use service::{QueryService, ReceiverStates, VersionWait};
pub use settings::QuerySettings;
pub use trace::{ClockView, TraceName, TraceQuestion, find::SpanSearch};
pub use transactions::kinds::{Above, KindSearch};

/// Doors for fuzz targets: the texts of the query languages. Nothing that ships calls them.
#[doc(hidden)]
pub mod fuzzed_texts {
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
}
