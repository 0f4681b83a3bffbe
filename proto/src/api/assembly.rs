//! Notes on the assembly of a trace: rules that placed spans, missing parents, waits of messages,
//! and clock offsets between hosts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{DurationNanos, OffsetNanos, SpanId, UnixNanos};

/// The rule that gave a span its place.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum PlaceRule {
    /// It names no parent: a root.
    NamesNoParent,
    /// It hangs under the one span that has the id it names.
    NamedParent,
    /// It is the called side of a call and hangs under the calling side, whose id it shares.
    CalledSide,
    /// Several spans have the id it names; it hangs under the one of its own service.
    SharedIdOwnService,
    /// Several spans have the id it names, none of its own service; it hangs under a called side.
    SharedIdCalledSide,
    /// Several spans have the id it names, none of its service and none a called side; it hangs
    /// under the one that had started last.
    SharedIdOther,
    /// The parent it names is not here: a root.
    MissingParent,
    /// It names itself: a root.
    SelfParent,
    /// Its ancestors lead back to it; the cycle is cut here: a root.
    CutCycle,
}

/// Why a span stands where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// The span's row.
    pub span_index: u32,
    /// The span.
    #[schema(value_type = String)]
    pub span_id: SpanId,
    /// The rule.
    pub rule: PlaceRule,
    /// The rule as it applies to this span, in words.
    pub reason: String,
}

/// A span that others name as their parent and that is not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// Its id.
    #[schema(value_type = String)]
    pub span_id: SpanId,
    /// The rows of the spans that name it, in order; they are shown as roots.
    pub children: Vec<u32>,
    /// It began no later than this: the first moment known of its children; 0 when none is.
    #[schema(value_type = String)]
    pub start_unix_nano: UnixNanos,
    /// The last moment known of its children; 0 when none is.
    #[schema(value_type = String)]
    pub end_unix_nano: UnixNanos,
}

/// The time a message waited between a producer and its consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueSegment {
    /// The producer's row.
    pub producer: u32,
    /// The consumer's row.
    pub consumer: u32,
    /// When the producer had handed the message over.
    #[schema(value_type = String)]
    pub start_unix_nano: UnixNanos,
    /// When the consumer began with it.
    #[schema(value_type = String)]
    pub end_unix_nano: UnixNanos,
    /// From the one to the other.
    #[schema(value_type = String)]
    pub wait_nano: DurationNanos,
}

/// Clock offset of one host from another, estimated from the calls between the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostClock {
    /// The host: `host.id`, the first of `host.ip`, or `host.name`.
    pub host: String,
    /// The host it was compared with.
    pub compared_with: String,
    /// Correction to add to the host's times to express them in the clock of the trace's first
    /// host; 0 when the calls fit uncorrected.
    #[schema(value_type = String)]
    pub offset_nano: OffsetNanos,
    /// The offset can be wrong by so much either way.
    #[schema(value_type = String)]
    pub uncertainty_nano: DurationNanos,
    /// Number of calls between the two hosts that were compared.
    pub call_count: u64,
    /// Number of compared calls that agree with the offset.
    pub agreeing_count: u64,
}

/// How a trace was put together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AssemblyNotes {
    /// Differs whenever the answer does: send it as `after` to wait for the next.
    pub version: String,
    /// The spans whose place is not plain (neither `namesNoParent` nor `namedParent`), at most
    /// 1,000; a single span's answer has its own.
    pub placements: Vec<Placement>,
    /// The missing spans, by their first child, at most 1,000.
    pub gaps: Vec<Gap>,
    /// The waits of messages, by consumer, at most 1,000.
    pub queues: Vec<QueueSegment>,
    /// The clocks of the trace's hosts, where calls between hosts tell; not looked at in traces of
    /// more than 50,000 spans unless asked for.
    pub clocks: Vec<HostClock>,
    /// True if the times in this answer are adjusted by [`Self::clocks`].
    pub clock_adjusted: bool,
    /// When they are: what was added to the times of each row, in nanoseconds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clock_offset_nano: Vec<i64>,
}
