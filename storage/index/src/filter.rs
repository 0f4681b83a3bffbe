//! Filters of scans: conjunctions of typed predicates, independent of wire and HTTP formats.
//!
//! `matcher` prepares a filter and prunes. `bound` evaluates it over the columns of a batch.
//! `attribute_matcher` and `text` hold the two predicates that are more than a comparison.
//! `log_condition` has nested conditions over log records, and `text_predicate` the conditions on
//! one text.

mod attribute_matcher;
mod bound;
mod log_condition;
mod matcher;
mod text;
mod text_predicate;

use tidings_proto::{
    DurationNanos, SpanId, TraceId, UnixNanos,
    otlp::{SeverityNumber, SpanKind, StatusCode},
};

pub use bound::Bound;
pub use log_condition::{
    AttributeOwner, ConditionNumber, LogColumn, LogCondition, LogExpression, NumberBound,
    TextBound, ValuePredicate,
};
pub use matcher::{CompleteKeys, Matcher};
pub use text::Needle;
pub use text_predicate::{
    FuzzyWord, Glyph, Phrase, TextPattern, TextPredicate, Wildcard, WildcardScope,
};

/// A range from `start` (inclusive) to `end` (exclusive). `None` is unbounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeRange {
    /// The earliest time that matches.
    pub start: Option<UnixNanos>,
    /// The earliest time after the range.
    pub end: Option<UnixNanos>,
}

impl TimeRange {
    /// Returns true if the time is in the range.
    #[must_use]
    pub fn contains(self, time: UnixNanos) -> bool {
        self.start.is_none_or(|start| start <= time) && self.end.is_none_or(|end| time < end)
    }

    /// Returns true if the interval from `min` to `max`, both inclusive, overlaps the range.
    #[must_use]
    pub fn overlaps(self, min: UnixNanos, max: UnixNanos) -> bool {
        self.start.is_none_or(|start| start <= max) && self.end.is_none_or(|end| min < end)
    }
}

/// Order in which a scan reads rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeOrder {
    /// Latest time first.
    NewestFirst,
    /// Earliest time first.
    OldestFirst,
}

impl TimeOrder {
    /// Maps a time to its place in the order, where the greatest place is read first. The function
    /// is its own inverse.
    pub fn place(self, time: u64) -> u64 {
        match self {
            Self::NewestFirst => time,
            Self::OldestFirst => u64::MAX - time,
        }
    }

    /// Returns the rank of rows between two times, for a scan of the range `asked`. The greatest
    /// rank is read first. It compares the place of the first row that may match, then that of the
    /// last row.
    pub fn rank(self, asked: TimeRange, (min, max): (UnixNanos, UnixNanos)) -> (u64, u64) {
        let (first, last) = match self {
            Self::NewestFirst => (asked.end.map_or(max, |end| max.min(end)), min),
            Self::OldestFirst => (asked.start.map_or(min, |start| min.max(start)), max),
        };
        (self.place(first.0), self.place(last.0))
    }
}

/// Condition on an attribute and its value. It matches an attribute of the span or record itself,
/// of its resource, of its scope, or of a span's events and links. `value` matches a string
/// attribute that equals it, and a number or boolean whose text it is: `200` matches the integer
/// 200 and the text `200`. Unless `nesting` is [`Nesting::Elements`], it also matches an array, a
/// map or bytes whose text equals it ([`tidings_proto::otlp::Value::to_text`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeFilter {
    /// The key.
    pub key: String,
    /// The value as text. `None` matches any value of the key.
    pub value: Option<String>,
    /// Depth at which the text is compared.
    pub nesting: Nesting,
}

/// Depth in a value that a filter compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nesting {
    /// The whole value. The text of an array or a map is JSON, that of bytes is base64.
    Whole,
    /// A single value, or an element of an array. A nested array is not an element.
    Elements,
    /// The whole value, or a value at any depth of arrays and maps.
    Everywhere,
}

impl AttributeFilter {
    /// Matches an attribute with this value, or an array that contains it. Without a value, matches
    /// any attribute of the key.
    #[must_use]
    pub fn new(key: impl Into<String>, value: Option<String>) -> Self {
        Self { key: key.into(), value, nesting: Nesting::Elements }
    }

    /// Matches an attribute with exactly this value.
    #[must_use]
    pub fn single(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: Some(value.into()), nesting: Nesting::Whole }
    }

    /// Matches an attribute that has this value at any depth.
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
    /// The span starts a multiple of this after 1970. Row groups and pages without such a moment
    /// are skipped, so the start column of a file with one page for each row group is read whole.
    pub start_multiple_of: Option<DurationNanos>,
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
    /// True to require that one of the span's events is an exception.
    pub has_exception: bool,
    /// The span has all of these attributes.
    pub attributes: Vec<AttributeFilter>,
    /// The span has at least one of these attributes, unless the list is empty.
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
    /// The record's time and content hash are one of these ascending keys. The caller found the
    /// keys with the other fields of this filter. Those fields then only exclude files, row groups
    /// and pages, and are not evaluated again.
    pub keys: Option<Vec<(UnixNanos, u64)>>,
    /// `service.name` is one of these.
    pub services: Option<Vec<String>>,
    /// The severity is at least this.
    pub severity_min: Option<SeverityNumber>,
    /// The message contains this text. ASCII letter case is ignored.
    pub text: Option<String>,
    /// The record has all of these attributes.
    pub attributes: Vec<AttributeFilter>,
    /// The record has at least one of these attributes, unless the list is empty.
    pub any_attribute: Vec<AttributeFilter>,
    /// This condition holds.
    pub condition: Option<LogCondition>,
}
