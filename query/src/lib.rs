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
#[doc(hidden)]
pub mod fuzzed_texts;
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
