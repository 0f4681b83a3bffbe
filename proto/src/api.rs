//! The types of the native HTTP API, shared by the query service, the UI and the command line.
//!
//! JSON in OTLP's manner: lower camel case, hex ids, 64-bit nanoseconds as strings. Where a type
//! is OTLP's own (attributes, events, links, resources, scopes) it *is* [`crate::otlp`]'s.
//! Offsets in [`TraceSkeleton`] are the exception: JSON integers, counted from the trace's start,
//! so that a trace of 100,000 spans stays small.

mod access;
mod analysis;
mod assembly;
mod audit_event;
mod changes;
mod compare;
mod deployments;
mod erasures;
mod exceptions;
mod explain;
mod graph;
mod heatmap;
mod links;
mod log;
mod log_analysis;
mod pins;
mod problem;
mod red;
mod search;
mod sql;
mod status;
mod storage_status;
mod trace;
mod transaction;

pub use access::{
    CreatedKey, KeyList, KeyRequest, KeyRole, KeyView, SessionView, SignIn, SignInOptions,
    SignedOut,
};
pub use analysis::{CallsInStep, Exemplar, HistogramBucket, LatencyStats, TimeWindow};
pub use assembly::{AssemblyNotes, Gap, HostClock, PlaceRule, Placement, QueueSegment};
pub use audit_event::{AuditActor, AuditActorKind, AuditEvent, AuditEventList, AuditOutcome};
pub use changes::{
    Baseline, BaselineState, Cause, CauseKind, Change, ChangeKind, ChangeReport, ChangeSentence,
    ChangeStep, ChangedGroup, Culprit, CulpritRanking, Deployment, GroupStats, OwnStats,
    PartialReason, Reason, ReceiverRefusal, ReportPart, ServiceClock, ServiceEnd, Subject,
    SubjectKind, TrafficEnd, TransactionName,
};
pub use compare::{
    CallStats, ComparedCall, ComparedSet, Comparison, Deviation, RepeatList, RepeatedCall,
};
pub use deployments::{VersionChange, VersionChangeList};
pub use erasures::{ErasedAttribute, ErasureList, ErasureRequest, ErasureStatus, ErasureView};
pub use exceptions::{CountInStep, ExceptionGroup, ExceptionList};
pub use explain::{AttributeName, AttributeValue, Difference, Explanation, ValueShare};
pub use graph::{EdgeKind, GraphEdge, GraphNode, NodeKind, ServiceGraph};
pub use heatmap::{Heatmap, HeatmapCell, HeatmapRow};
pub use links::{LinkView, TraceLinks};
pub use log::{CorrelatedBy, LogContext, LogCorrelation, LogSearchResult, LogView};
pub use log_analysis::{
    LogGroup, LogHistogram, LogPattern, LogPatternList, LogStats, LogsInStep, NumberSummary,
};
pub use pins::{PinList, PinRequest, PinView};
pub use problem::ProblemDetails;
pub use red::{RedGroup, RedResult};
pub use search::{
    AttributeKey, AttributeKeyList, FoundTraces, MatchedSpan, NameCount, NameList, SearchProgress,
    Searched, SpanMatches, SpansetView, Total, TotalRelation, TraceMatch, TraceSearchResult,
};
pub use sql::{SqlColumn, SqlLack, SqlRead, SqlResult};
pub use status::{
    ReceiverStatus, RefusalStatus, ServerStatus, SignalCounts, TaskCondition, TaskStatus,
};
pub use storage_status::{StorageStatus, TableStatus};
pub use trace::{
    CompletionSegment, CriticalSegment, ProblemCount, ProblemKind, ProblemView, ServiceTime,
    SkeletonCompletion, SkeletonSegment, SpanColumns, SpanDetails, SpanFlags, SpanKindName,
    SpanStatus, SpanView, StatusName, TimeSpent, TraceSkeleton, TraceSummary, TraceView,
    TransactionState,
};
pub use transaction::{
    ErrorView, Hop, MatchedBy, ResolveResult, Resolved, TimeShare, TransactionKind,
    TransactionKindList, TransactionView,
};
