//! Filters of scans: conjunctions of typed predicates, without any wire or HTTP form.
//!
//! `matcher` prepares a filter and prunes. `bound` evaluates it over the columns of a batch.
//! `attribute_matcher` and `text` hold the two predicates that are more than a comparison.
//! `log_condition` has conditions of any shape over log records, and `text_predicate` what they ask
//! of a text.

mod attribute_matcher;
mod bound;
mod log_condition;
mod matcher;
mod text;
mod text_predicate;

pub(crate) use bound::Bound;
pub use log_condition::{
    AttributeOwner, ConditionNumber, LogColumn, LogCondition, LogExpression, NumberBound,
    TextBound, ValuePredicate,
};
pub(crate) use matcher::Matcher;
pub use text::Needle;
pub use text_predicate::{
    FuzzyWord, Glyph, Phrase, TextPattern, TextPredicate, Wildcard, WildcardScope,
};

use tidings_proto::{
    DurationNanos, SpanId, TraceId, UnixNanos,
    otlp::{SeverityNumber, SpanKind, StatusCode},
};

/// From `start` (inclusive) to `end` (exclusive); `None` is unbounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeRange {
    /// The earliest time that matches.
    pub start: Option<UnixNanos>,
    /// The first time that no longer matches.
    pub end: Option<UnixNanos>,
}

impl TimeRange {
    /// Returns true if the time is in the range.
    #[must_use]
    pub fn contains(self, time: UnixNanos) -> bool {
        self.start.is_none_or(|start| start <= time) && self.end.is_none_or(|end| time < end)
    }

    /// Returns true if the interval between these two times, both included, overlaps the range.
    #[must_use]
    pub fn overlaps(self, min: UnixNanos, max: UnixNanos) -> bool {
        self.start.is_none_or(|start| start <= max) && self.end.is_none_or(|end| min < end)
    }
}

/// Order in which a scan looks at rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeOrder {
    NewestFirst,
    OldestFirst,
}

impl TimeOrder {
    /// Place of a time in the order: the greatest is looked at first. It is its own inverse.
    pub(crate) fn place(self, time: u64) -> u64 {
        match self {
            Self::NewestFirst => time,
            Self::OldestFirst => u64::MAX - time,
        }
    }

    /// Rank of rows between two times of which those in a range are asked for. The greatest is
    /// looked at first: by the place of the first row that may match, then by that of the last row.
    pub(crate) fn rank(self, asked: TimeRange, (min, max): (UnixNanos, UnixNanos)) -> (u64, u64) {
        let (first, last) = match self {
            Self::NewestFirst => (asked.end.map_or(max, |end| max.min(end)), min),
            Self::OldestFirst => (asked.start.map_or(min, |start| min.max(start)), max),
        };
        (self.place(first.0), self.place(last.0))
    }
}

/// An attribute with a value. It matches on the span or record itself, on its resource, on its
/// scope and on a span's events and links. `value` matches a string attribute that equals it and a
/// number or truth value that it is a spelling of (`200` matches the integer 200 and the text
/// `200`); without `elements` also an array, a map or bytes that are shown so
/// ([`tidings_proto::otlp::Value::to_text`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeFilter {
    /// The key.
    pub key: String,
    /// The value as text; `None`: the key exists with any value.
    pub value: Option<String>,
    /// Where in the value of an attribute the text is looked for.
    pub nesting: Nesting,
}

/// How deep in a value a filter looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nesting {
    /// The whole value: of an array or a map the JSON, of bytes the base64.
    Whole,
    /// A single value, or an element of an array. Nested arrays are no elements.
    Elements,
    /// The whole value, or one at any depth of arrays and maps.
    Everywhere,
}

impl AttributeFilter {
    /// Matches an attribute with this value, or an array that contains it. Without a value, matches
    /// any.
    #[must_use]
    pub fn new(key: impl Into<String>, value: Option<String>) -> Self {
        Self { key: key.into(), value, nesting: Nesting::Elements }
    }

    /// An attribute with this very value.
    #[must_use]
    pub fn single(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: Some(value.into()), nesting: Nesting::Whole }
    }

    /// An attribute that has this value at any depth.
    #[must_use]
    pub fn everywhere(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: Some(value.into()), nesting: Nesting::Everywhere }
    }
}

/// Spans for which every set field holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpanFilter {
    /// The span belongs to one of these traces.
    pub trace_ids: Option<Vec<TraceId>>,
    /// The span's trace id ends with these 8 bytes.
    pub trace_id_low64: Option<u64>,
    /// The span has this id.
    pub span_id: Option<SpanId>,
    /// The span starts in this range.
    pub start: TimeRange,
    /// `service.name` is one of these.
    pub services: Option<Vec<String>>,
    /// The span's name is this.
    pub operation: Option<String>,
    /// The span's kind is this.
    pub kind: Option<SpanKind>,
    /// The span's status is this.
    pub status: Option<StatusCode>,
    /// The span took at least this long.
    pub duration_min: Option<DurationNanos>,
    /// The span took at most this long.
    pub duration_max: Option<DurationNanos>,
    /// One of the span's events is an exception.
    pub has_exception: bool,
    /// The span has all of these attributes.
    pub attributes: Vec<AttributeFilter>,
    /// The span has one of these attributes, where there are some here.
    pub any_attribute: Vec<AttributeFilter>,
    /// The span has a link to this trace.
    pub links_to: Option<TraceId>,
}

/// Log records for which every set field holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogFilter {
    /// The record belongs to one of these traces.
    pub trace_ids: Option<Vec<TraceId>>,
    /// The record belongs to this span.
    pub span_id: Option<SpanId>,
    /// The record's time (or observed time, when it has none) is in this range.
    pub time: TimeRange,
    /// The record's time and content hash are one of these keys, which are ascending. The caller
    /// found them with the other fields: those then only exclude files, row groups and pages, and
    /// are not evaluated again.
    pub keys: Option<Vec<(UnixNanos, u64)>>,
    /// `service.name` is one of these.
    pub services: Option<Vec<String>>,
    /// The severity is at least this.
    pub severity_min: Option<SeverityNumber>,
    /// The message contains this, letter case ignored for ASCII.
    pub text: Option<String>,
    /// The record has all of these attributes.
    pub attributes: Vec<AttributeFilter>,
    /// The record has one of these attributes, where there are some here.
    pub any_attribute: Vec<AttributeFilter>,
    /// This condition holds.
    pub condition: Option<LogCondition>,
}
