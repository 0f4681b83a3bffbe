//! The types of the native HTTP API, shared by the query service, the UI and the command line.
//!
//! JSON in OTLP's manner: lower camel case, hex ids, 64-bit nanoseconds as strings. Where a type
//! is OTLP's own (attributes, events, links, resources, scopes) it *is* [`crate::otlp`]'s.
//! Offsets in [`TraceSkeleton`] are the exception: JSON integers, counted from the trace's start,
//! so that a trace of 100,000 spans stays small.

mod assembly;
mod audit_event;
mod call_stats;
mod change_report;
mod comparison;
mod culprits;
mod erasures;
mod exception_list;
mod explanation;
mod keys_and_sessions;
mod log;
mod log_analysis;
mod problem_details;
mod red_result;
mod repeated_calls;
mod search_result;
mod server_status;
mod service_graph;
mod sql_result;
mod storage_status;
mod trace_view;
mod transaction;
mod version_changes;

pub use assembly::{AssemblyNotes, Gap, HostClock, PlaceRule, Placement, QueueSegment};
pub use audit_event::{AuditActor, AuditActorKind, AuditEvent, AuditEventList, AuditOutcome};
pub use call_stats::{CallsInStep, Exemplar, HistogramBucket, LatencyStats, TimeWindow};
pub use change_report::{
    Baseline, BaselineState, Cause, CauseKind, Change, ChangeKind, ChangeReport, ChangeSentence,
    ChangeStep, ChangedGroup, FailureShare, GroupStats, PartialReason, ReceiverRefusal, ReportPart,
    ServiceClock, ServiceEnd, StatsSince, Subject, SubjectKind, TrafficEnd, TransactionName,
};
pub use comparison::{
    CallImpact, CallMedians, CallStats, ComparedCall, ComparedSet, Comparison, Deviation,
    DeviationCounts,
};
pub use culprits::{Culprit, CulpritRanking, OwnStats, Reason};
pub use erasures::{ErasedAttribute, ErasureList, ErasureRequest, ErasureStatus, ErasureView};
pub use exception_list::{
    AffectedTransactionType, CountInStep, ExceptionGroup, ExceptionList, ExceptionTransactions,
};
pub use explanation::{AttributeName, AttributeValue, Difference, Explanation, ValueShare};
pub use keys_and_sessions::{
    CreatedKey, EndedSessions, KeyList, KeyRequest, KeyRole, KeyView, SessionView, SignIn,
    SignInOptions, SignedOut,
};
pub use log::{CorrelatedBy, LogContext, LogCorrelation, LogSearchResult, LogView};
pub use log_analysis::{
    LogGroup, LogHistogram, LogPattern, LogPatternList, LogStats, LogsInStep, NumberSummary,
    PatternChange,
};
pub use problem_details::ProblemDetails;
pub use red_result::{
    Heatmap, HeatmapBucket, HeatmapRow, HeatmapStep, OperationPattern, RedGroup, RedResult,
};
pub use repeated_calls::{REPEATED_CALLS_MIN, RepeatKey, RepeatList, RepeatedCall, repeated_calls};
pub use search_result::{
    AttributeKey, AttributeKeyList, FoundName, FoundNameKind, FoundNameList, FoundTraces,
    MatchedSpan, NameCount, NameList, SearchProgress, Searched, SpanMatches, SpansetView, Total,
    TotalRelation, TraceMatch, TraceSearchResult,
};
pub use server_status::{
    AnswerTimes, LimitInForce, LimitList, ProcessMemory, QueryOutcome, ReceiverStatus,
    RefusalStatus, ServerStatus, SignalCounts, SlowQuery, SlowQueryList, StandardReceiver,
    TaskCondition, TaskStatus,
};
pub use service_graph::{CallsBefore, EdgeKind, GraphEdge, GraphNode, NodeKind, ServiceGraph};
pub use sql_result::{SqlColumn, SqlPartialReason, SqlProgress, SqlRead, SqlResult};
pub use storage_status::{
    HorizonBound, PinList, PinRequest, PinView, RetentionHorizon, StorageStatus, TableStatus,
};
pub use trace_view::{
    CompletionSegment, CriticalSegment, EventColumns, ProblemCount, ProblemKind, ProblemView,
    ServiceTime, SkeletonCompletion, SkeletonSegment, SpanColumns, SpanDetails, SpanFlags,
    SpanKindName, SpanStatus, SpanView, StatusName, TimeSpent, TraceSkeleton, TraceSummary,
    TraceView, TransactionState, UntracedStretch,
};
pub use transaction::{
    ErrorView, Hop, LinkView, MatchedBy, ResolveResult, Resolved, TimeShare, TraceLinks,
    TransactionType, TransactionTypeList, TransactionView,
};
pub use version_changes::{Deployment, VersionChange, VersionChangeList};
