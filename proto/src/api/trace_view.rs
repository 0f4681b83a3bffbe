//! One trace: its summary, the full view, and the columns that draw the waterfall.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AssemblyNotes, Placement};
use crate::{
    DurationNanos, OffsetNanos, SpanId, TraceId, UnixNanos,
    otlp::{Event, InstrumentationScope, KeyValue, Link, Resource, SpanKind, StatusCode},
};

/// Where a transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum TransactionState {
    /// Spans are still arriving, or a span has not ended and something arrived in the last minute.
    Running,
    /// Everything is here and its entry did not fail.
    Completed,
    /// Its entry span failed.
    Failed,
    /// A span names a parent that never came, or never ended, or there is no entry span.
    Incomplete,
}

/// A trace in one row of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TraceSummary {
    /// Its id.
    #[schema(value_type = String)]
    pub trace_id: TraceId,
    /// True if every stored span was read. When false, the trace is too large for a list: counts
    /// are lower bounds. Times, state and problems are those of the spans read.
    pub complete: bool,
    /// Where it stands.
    pub state: TransactionState,
    /// The earliest start of its spans.
    #[schema(value_type = String)]
    pub start_unix_nano: UnixNanos,
    /// The latest end of its spans.
    #[schema(value_type = String)]
    pub end_unix_nano: UnixNanos,
    /// From the one to the other.
    #[schema(value_type = String)]
    pub duration_nano: DurationNanos,
    /// The service of its entry span: the root, or the earliest span when the root is missing.
    pub root_service: String,
    /// The operation of its entry span.
    pub root_operation: String,
    /// True if the entry span is a real root: it names no parent.
    pub has_root: bool,
    /// Number of spans, without duplicates.
    pub span_count: u64,
    /// Number of failed spans.
    pub error_count: u64,
    /// Number of problems found by assembly.
    pub problem_count: u64,
    /// Its services, most time on the critical path first.
    pub services: Vec<ServiceTime>,
}

/// Share of one service in a trace, or in the traces of a transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceTime {
    /// `service.name`.
    pub service: String,
    /// Number of the service's spans.
    pub span_count: u64,
    /// Number of its failed spans.
    pub error_count: u64,
    /// Time during which at least one of its spans was open: its response time in this trace.
    #[schema(value_type = String)]
    pub busy_nano: DurationNanos,
    /// The self time of its spans, added up.
    #[schema(value_type = String)]
    pub self_nano: DurationNanos,
    /// The part of that in which it waited for peers without spans: the self time of CLIENT and
    /// PRODUCER spans whose called side sent no span.
    #[schema(value_type = String)]
    pub waiting_nano: DurationNanos,
    /// Its time on the critical path.
    #[schema(value_type = String)]
    pub critical_nano: DurationNanos,
    /// That time as a share of all services' times on the critical path, 0 to 1; 0 where there is
    /// no such time.
    #[serde(default)]
    pub critical_share: f64,
    /// The part of its time on the critical path in which it waited for peers without spans: that
    /// of CLIENT and PRODUCER spans whose called side sent no span.
    #[serde(default)]
    #[schema(value_type = String)]
    pub critical_waiting_nano: DurationNanos,
    /// The peer with more than half of [`Self::critical_waiting_nano`], by its name in the service
    /// graph. Absent where no peer has so much or the spans do not name it, and in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical_waiting_peer: Option<String>,
    /// The part of [`Self::critical_waiting_nano`] in which the service waited for that peer.
    /// Absent where [`Self::critical_waiting_peer`] is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub critical_waiting_peer_nano: Option<DurationNanos>,
}

/// A trace, assembled, with everything its spans said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TraceView {
    /// Summary, as in lists.
    #[serde(flatten)]
    pub summary: TraceSummary,
    /// The spans, depth first: a parent before its children, siblings by start.
    pub spans: Vec<SpanView>,
    /// The resources that [`SpanView::resource`] counts into.
    pub resources: Vec<Resource>,
    /// The scopes that [`SpanView::scope`] counts into.
    pub scopes: Vec<InstrumentationScope>,
    /// Critical path of the transaction: the span it waited for at each moment, in order of time.
    pub critical_path: Vec<CriticalSegment>,
    /// Why the whole transaction ended when it did: from the start of the first root to the last
    /// end below it, without a gap. Absent when nothing below the root outlives it: then
    /// [`Self::critical_path`] says it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub completion_path: Vec<CompletionSegment>,
    /// Problems of the spans and how assembly handled them: at most the first 1,000.
    pub problems: Vec<ProblemView>,
    /// Number of problems of each kind.
    pub problem_counts: Vec<ProblemCount>,
    /// The trace's log records, oldest first: at most the newest 1,000.
    pub logs: Vec<super::LogView>,
    /// Number of the trace's log records.
    pub log_count: u64,
    /// How it was put together.
    #[serde(default)]
    pub assembly: AssemblyNotes,
}

/// The part a span plays in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "OTLP's words, see `otlp::SpanKind`")]
pub enum SpanKindName {
    Unspecified,
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
}

impl SpanKindName {
    /// Returns the kind as queries and parameters spell it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        // Both list the kinds in the order of their numbers.
        SpanKind::ALL[self as usize].word()
    }
}

impl From<SpanKind> for SpanKindName {
    fn from(kind: SpanKind) -> Self {
        match kind {
            SpanKind::Unspecified => Self::Unspecified,
            SpanKind::Internal => Self::Internal,
            SpanKind::Server => Self::Server,
            SpanKind::Client => Self::Client,
            SpanKind::Producer => Self::Producer,
            SpanKind::Consumer => Self::Consumer,
        }
    }
}

/// Outcome of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "OTLP's words, see `otlp::StatusCode`")]
pub enum StatusName {
    Unset,
    Ok,
    Error,
}

impl StatusName {
    /// Returns the status as queries and parameters spell it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        // Both list the statuses in the order of their numbers.
        StatusCode::ALL[self as usize].word()
    }
}

impl From<StatusCode> for StatusName {
    fn from(status: StatusCode) -> Self {
        match status {
            StatusCode::Unset => Self::Unset,
            StatusCode::Ok => Self::Ok,
            StatusCode::Error => Self::Error,
        }
    }
}

/// How a span ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpanStatus {
    /// Outcome of the span.
    pub code: StatusName,
    /// The sender's description of the error.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// One span in its place in the tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpanView {
    /// Its id.
    #[schema(value_type = String)]
    pub span_id: SpanId,
    /// The parent it names, which may not be in the trace.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_span_id: Option<SpanId>,
    /// The row in [`TraceView::spans`] it hangs under; absent at a root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_index: Option<u32>,
    /// Number of spans above it.
    pub depth: u32,
    /// Number of spans below it; they are the rows that follow.
    pub descendant_count: u32,
    /// `service.name`.
    pub service: String,
    /// The operation.
    pub name: String,
    /// The part it plays.
    pub kind: SpanKindName,
    /// How it ended.
    pub status: SpanStatus,
    /// When it began.
    #[schema(value_type = String)]
    pub start_unix_nano: UnixNanos,
    /// When it ended; 0 when it has not.
    #[schema(value_type = String)]
    pub end_unix_nano: UnixNanos,
    /// From start to end; 0 when the end lies before the start.
    #[schema(value_type = String)]
    pub duration_nano: DurationNanos,
    /// The time no child of it was open.
    #[schema(value_type = String)]
    pub self_nano: DurationNanos,
    /// Its self time on the critical path.
    #[schema(value_type = String)]
    pub critical_nano: DurationNanos,
    /// True if its parent did not wait for it: it started or ended after the parent's end.
    pub asynchronous: bool,
    /// W3C `tracestate`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trace_state: String,
    /// OTLP's span flags.
    pub flags: u32,
    /// Attributes of the span.
    pub attributes: Vec<KeyValue>,
    /// Number of attributes the sender dropped.
    pub dropped_attributes_count: u32,
    /// Events during the span.
    pub events: Vec<Event>,
    /// Number of events the sender dropped.
    pub dropped_events_count: u32,
    /// Other spans it has to do with.
    pub links: Vec<Link>,
    /// Number of links the sender dropped.
    pub dropped_links_count: u32,
    /// The row in [`TraceView::resources`].
    pub resource: u32,
    /// The row in [`TraceView::scopes`].
    pub scope: u32,
}

/// One span with its resource and scope beside it: the answer for a single span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpanDetails {
    /// The span; its `resource` and `scope` rows are 0.
    #[serde(flatten)]
    pub span: SpanView,
    /// Resource that sent it.
    pub resource_value: Resource,
    /// The library that made it.
    pub scope_value: InstrumentationScope,
    /// The problems that name this span.
    pub problems: Vec<ProblemView>,
    /// Why it stands where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// Correction added to its times when clocks are adjusted: 0 where its host needs none.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset_nano: Option<OffsetNanos>,
}

/// A stretch of the critical path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CriticalSegment {
    /// Span whose self time this is.
    #[schema(value_type = String)]
    pub span_id: SpanId,
    /// From.
    #[schema(value_type = String)]
    pub start_unix_nano: UnixNanos,
    /// To.
    #[schema(value_type = String)]
    pub end_unix_nano: UnixNanos,
}

/// How time on the path to completion was spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum TimeSpent {
    /// It is the span's self time.
    Working,
    /// The span was waited for: what is above it had handed it over, and it had not begun.
    Waiting,
}

/// A stretch of the path to completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompletionSegment {
    /// The span that worked or was waited for.
    #[schema(value_type = String)]
    pub span_id: SpanId,
    /// Which of the two.
    pub spent: TimeSpent,
    /// From.
    #[schema(value_type = String)]
    pub start_unix_nano: UnixNanos,
    /// To.
    #[schema(value_type = String)]
    pub end_unix_nano: UnixNanos,
}

/// Kind of a problem in a set of spans.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum ProblemKind {
    /// The same span came more than once; it is shown once.
    DuplicateSpan,
    /// It came without an end, too; it is shown once, as it ended.
    SupersededSpan,
    /// Several different spans share one id.
    SharedSpanId,
    /// The parent it names is not in the trace; it is shown as a root.
    MissingParent,
    /// It names itself as its parent; it is shown as a root.
    SelfParent,
    /// Its ancestors lead back to it; the cycle is cut here.
    Cycle,
    /// More than one span has no parent.
    SeveralRoots,
    /// It has no start time.
    NoStart,
    /// It has no end time: still running, or its sender died.
    NoEnd,
    /// It ends before it starts; its duration is shown as 0.
    EndBeforeStart,
    /// It starts before its parent does, by its clock.
    StartsBeforeParent,
    /// It starts or ends in the year 2200 or later, or lasts over 366 days: that time is not used.
    ImplausibleTime,
}

/// Number of problems of one kind in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProblemCount {
    /// Which.
    pub kind: ProblemKind,
    /// Number of problems, listed or not.
    pub count: u64,
    /// Number of spans concerned.
    pub span_count: u64,
}

/// One oddity and what was done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProblemView {
    /// Which.
    pub kind: ProblemKind,
    /// The span, where it is about one.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<SpanId>,
    /// The span's row in the view, where it is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_index: Option<u32>,
    /// In words.
    pub message: String,
}

/// A trace as columns: what a waterfall of any size is drawn from. Rows are in the order of
/// [`TraceView::spans`]; a row's details are at `/api/v1/traces/{traceId}/spans/{spanId}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TraceSkeleton {
    /// Summary, as in lists.
    pub summary: TraceSummary,
    /// The names that [`SpanColumns::service`] counts into.
    pub services: Vec<String>,
    /// The names that [`SpanColumns::operation`] counts into.
    pub operations: Vec<String>,
    /// The rows.
    pub spans: SpanColumns,
    /// The critical path in order of time.
    pub critical_path: Vec<SkeletonSegment>,
    /// As [`TraceView::completion_path`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub completion_path: Vec<SkeletonCompletion>,
    /// As [`TraceView::problems`].
    pub problems: Vec<ProblemView>,
    /// As [`TraceView::problem_counts`].
    pub problem_counts: Vec<ProblemCount>,
    /// Number of the trace's log records.
    pub log_count: u64,
    /// The names that [`EventColumns`] count into: of events, and types of exceptions. One of more
    /// than 200 characters is cut and ends with `…`.
    #[serde(default)]
    pub event_names: Vec<String>,
    /// Events of the spans, by row and time: at most 10,000. Of more, exceptions come first, then
    /// those of the first rows.
    #[serde(default)]
    pub events: EventColumns,
    /// Number of events of the spans, in columns or not.
    #[serde(default)]
    pub event_count: u64,
    /// Stretches of spans that call others in which none of their calls was open, by row and time:
    /// those that are at least a fifth of their span and a twentieth of the trace. Of more than
    /// 1,000 the longest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub untraced: Vec<UntracedStretch>,
    /// How it was put together.
    #[serde(default)]
    pub assembly: AssemblyNotes,
}

/// The columns of [`TraceSkeleton`], all of one length. Offsets and durations are nanoseconds;
/// offsets count from [`TraceSummary::start_unix_nano`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpanColumns {
    /// Ids.
    #[schema(value_type = Vec<String>)]
    pub span_id: Vec<SpanId>,
    /// The row each hangs under, −1 at a root.
    pub parent: Vec<i32>,
    /// Number of spans above each.
    pub depth: Vec<u32>,
    /// Number of the following rows that are below each.
    pub descendant_count: Vec<u32>,
    /// When each began.
    pub start_offset_nano: Vec<i64>,
    /// Duration of each in nanoseconds.
    pub duration_nano: Vec<u64>,
    /// The time no child of it was open.
    pub self_nano: Vec<u64>,
    /// Its self time on the critical path.
    pub critical_nano: Vec<u64>,
    /// The row in [`TraceSkeleton::services`].
    pub service: Vec<u32>,
    /// The row in [`TraceSkeleton::operations`].
    pub operation: Vec<u32>,
    /// `otlp::SpanKind` as its number.
    pub kind: Vec<u8>,
    /// [`SpanFlags`].
    pub flags: Vec<u32>,
}

/// The events of [`TraceSkeleton`] in columns, all of one length.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventColumns {
    /// The row of the span.
    pub span: Vec<u32>,
    /// Position in [`SpanView::events`] of the span.
    pub position: Vec<u32>,
    /// Nanoseconds after the trace's start, negative before it. An event without a time stands at
    /// its span's start.
    pub offset_nano: Vec<i64>,
    /// The name's row in [`TraceSkeleton::event_names`].
    pub name: Vec<u32>,
    /// Of an exception the row of its type in [`TraceSkeleton::event_names`], or of its name when it
    /// says no type; −1 at other events.
    pub exception_type: Vec<i32>,
}

/// The bits of [`SpanColumns::flags`].
#[derive(Debug, Clone, Copy)]
pub struct SpanFlags;

impl SpanFlags {
    /// The span failed.
    pub const ERROR: u32 = 1;
    /// Its parent did not wait for it.
    pub const ASYNCHRONOUS: u32 = 1 << 1;
    /// A problem names it.
    pub const PROBLEM: u32 = 1 << 2;
    /// It has events.
    pub const EVENTS: u32 = 1 << 3;
    /// It has links.
    pub const LINKS: u32 = 1 << 4;
    /// It has no end yet.
    pub const UNFINISHED: u32 = 1 << 5;
    /// An event of it is an exception.
    pub const EXCEPTION: u32 = 1 << 6;
}

/// A stretch of a span in which none of its calls was open, by row and offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UntracedStretch {
    /// The row of the span.
    pub span: u32,
    /// From, in nanoseconds after the trace's start.
    pub start_offset_nano: i64,
    /// To, in nanoseconds after the trace's start.
    pub end_offset_nano: i64,
}

/// A stretch of the critical path, by row and offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SkeletonSegment {
    /// The row whose self time it is.
    pub span: u32,
    /// From, in nanoseconds after the trace's start.
    pub start_offset_nano: i64,
    /// To, in nanoseconds after the trace's start.
    pub end_offset_nano: i64,
}

/// A stretch of the path to completion, by row and offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SkeletonCompletion {
    /// The row of the span that worked or was waited for.
    pub span: u32,
    /// Which of the two.
    pub spent: TimeSpent,
    /// From, in nanoseconds after the trace's start.
    pub start_offset_nano: i64,
    /// To, in nanoseconds after the trace's start.
    pub end_offset_nano: i64,
}
