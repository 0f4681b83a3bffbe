//! Assembled traces, search, transactions and logs: the service that answers queries.
//!
//! ```text
//! apis ─► QueryService ─► execution (queue, deadline) ─► Reader ─► proto::api
//!                          trace · search · traceql · logs · names ·
//!                          analysis · transactions · resolve
//! ```
//!
//! Reads snapshots of `storage` and calls `assembly`; writes nothing and does not use Arrow
//! directly. Knows no protocol: the crate `tidings-apis` answers over HTTP and gRPC, and runs
//! functions of its own over a [`Reader`].

pub mod analysis;
mod client_quota;
mod cursor;
mod error;
mod execution;
mod log_reader;
mod name_search;
mod query_limits;
mod query_service;
mod resolve;
pub mod search;
mod span_search;
pub mod trace;
mod trace_lookup;
pub mod traceql;
mod transactions;
mod version;
mod word_search;

pub use analysis::{
    BaselineChoice, BreakdownThreshold, ChangeSearch, CompareSearch, ComparedWith,
    DeploymentSearch, ExceptionSearch, ExceptionTransactionSearch, ExplainSearch, GraphSearch,
    HeatmapSearch, LogHistogramSearch, LogStatsSearch, PatternSearch, PeriodEdge, PeriodEdges,
    RedKey, RedKeys, RedSearch, Selection, TransactionTypeSearch, edges_between,
};
pub use client_quota::{ClientId, TenantNumber, UnreadQuota, UnreadReservation};
pub use cursor::{LogCursor, LogOrder, RankCursor, TraceCursor, TraceRank};
pub use error::{ErrorKind, QueryError};
pub use execution::{
    Admission, BoundedSnapshot, CallAggregation, EndedQuery, JoinedCalls, Progress, QueryOrigin,
    Reader, RecentQueries, StatementRedaction, defect,
};
pub use log_reader::{
    LogSearch, context::LogContextSearch, log_condition, log_tail::NewRecords, severity_name,
};
pub use name_search::NameSearch;
pub use query_limits::{OFFERED_BYTES_MAX, QueryLimits, QuerySettings, check_tags};
pub use query_service::{
    AnswerTimesSource, QueryService, ReceiverStates, TraceExport, VersionWait,
    log_tails::{LogTail, TailEvent},
};
pub use resolve::ResolveSearch;
pub use search::TraceSearch;
pub use span_search::SpanSearch;
pub use tidings_traceql::suggest;
pub use trace::{ClockView, TraceName, TraceRequest};
pub use word_search::WordSearch;
