//! Forms of parameter values, declared once for the API description, the parser and the text of
//! errors.

use serde_json::Value as Json;
use tidings_proto::SpanId;
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::text;
use crate::LogCursor;

/// The longest value of any parameter, in characters.
const VALUE_CHARS_MAX: usize = 4_096;
/// The longest value of those that are written in a known number of characters, or nearly so.
const SHORT_CHARS_MAX: usize = 64;

/// The form of one value. No form is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParameterForm {
    /// Any text.
    Text,
    /// An integer of this range, and what stands for it when it is not given.
    Integer {
        min: u32,
        max: u32,
        default: Option<u32>,
    },
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    Time,
    Duration,
    /// A percentile or a duration.
    Above,
    Kind,
    Status,
    /// A name or a number.
    Severity,
    /// `key=value` or `key`.
    Attribute,
    /// Comma-separated keys to group by.
    Keys,
    TraceId,
    /// A trace id or its last half.
    TraceName,
    /// Trace ids with commas between.
    TraceIds,
    /// Trace ids, or `typical`.
    TraceIdsOrTypical,
    SpanId,
    /// The id of a log record.
    RecordId,
    Cursor,
    /// A place in a stream of log records.
    EventId,
}

impl ParameterForm {
    /// Reports whether a text of at least one and at most [`ParameterForm::chars_max`] characters has this
    /// form.
    pub(crate) fn accepts(self, value: &str) -> bool {
        match self {
            Self::Text => true,
            Self::Integer { min, max, .. } => {
                text::integer(value).is_some_and(|number| (min..=max).contains(&number))
            }
            Self::Flag => matches!(value, "true" | "false"),
            Self::Word(words) => words.contains(&value),
            Self::Time => text::time(value).is_some(),
            Self::Duration => text::duration(value).is_some(),
            Self::Above => text::above(value).is_some(),
            Self::Kind => text::word(&text::KINDS, value).is_some(),
            Self::Status => text::word(&text::STATUSES, value).is_some(),
            Self::Severity => text::severity(value).is_some(),
            Self::Attribute => text::attribute(value).is_some(),
            Self::Keys => text::keys(value).is_some(),
            Self::TraceId => value.parse::<tidings_proto::TraceId>().is_ok(),
            Self::TraceName => text::trace_name(value).is_some(),
            Self::TraceIds => text::trace_ids(value).is_some(),
            Self::TraceIdsOrTypical => value == text::TYPICAL || text::trace_ids(value).is_some(),
            Self::SpanId => value.parse::<SpanId>().is_ok(),
            Self::RecordId => text::record_id(value).is_some(),
            Self::Cursor => text::cursor(value).is_some(),
            Self::EventId => LogCursor::decode(value).is_some(),
        }
    }

    /// Maximum number of characters of a value.
    pub(crate) fn chars_max(self) -> usize {
        match self {
            Self::Text
            | Self::Attribute
            | Self::TraceIds
            | Self::TraceIdsOrTypical
            | Self::Cursor => VALUE_CHARS_MAX,
            _ => SHORT_CHARS_MAX,
        }
    }

    /// Description of the form for error messages.
    pub(crate) fn words(self) -> String {
        let said = match self {
            Self::Integer { min, max, .. } => return format!("an integer from {min} to {max}"),
            Self::Kind | Self::Status | Self::Word(_) => {
                return format!("one of {}", self.choices().join(", "));
            }
            Self::Text => "a text",
            Self::Flag => "true or false",
            Self::Time => {
                "nanoseconds since 1970 or RFC 3339, as 2026-11-20T08:00:00Z, until the year 2262"
            }
            Self::Duration => "a duration, as 250ms, 1.5s, 10us, 2m, or an integer of nanoseconds",
            Self::Above => "a percentile from p1 to p100, or a duration, as 250ms",
            Self::Severity => {
                "one of trace, debug, info, warn, error, fatal, or a number from 1 to 24"
            }
            Self::Attribute => "key=value, or a key alone",
            Self::Keys => {
                "any of service, operation, kind, status and one attribute:KEY, with commas between"
            }
            Self::TraceId => "a trace id of 32 hex digits",
            Self::TraceName => "a trace id of 32 hex digits, or its last 16",
            Self::TraceIds => "trace ids of 32 hex digits, with commas between",
            Self::TraceIdsOrTypical => {
                "trace ids of 32 hex digits, with commas between, or typical"
            }
            Self::SpanId => "a span id of 16 hex digits",
            Self::RecordId => "a record's id of 16 hex digits",
            Self::EventId => "the `id` of an event",
            Self::Cursor => "the `nextCursor` of a page of this list",
        };
        said.to_owned()
    }

    /// The schema of one value.
    pub(crate) fn schema(self) -> ObjectBuilder {
        let schema = ObjectBuilder::new();
        match self {
            Self::Integer { min, max, default } => schema
                .schema_type(Type::Integer)
                .minimum(Some(min))
                .maximum(Some(max))
                .default(default.map(Json::from)),
            Self::Flag => schema.schema_type(Type::Boolean).default(Some(Json::from(false))),
            Self::Kind | Self::Status | Self::Word(_) => {
                schema.schema_type(Type::String).enum_values(Some(self.choices()))
            }
            _ => schema
                .schema_type(Type::String)
                .min_length(Some(1))
                .max_length(Some(self.chars_max()))
                .pattern(self.pattern())
                .description(self.pattern().map(|_| self.words())),
        }
    }

    /// The words to choose from.
    fn choices(self) -> Vec<&'static str> {
        match self {
            Self::Kind => text::KINDS.map(|(word, _)| word).to_vec(),
            Self::Status => text::STATUSES.map(|(word, _)| word).to_vec(),
            Self::Word(words) => words.to_vec(),
            _ => Vec::new(),
        }
    }

    fn pattern(self) -> Option<&'static str> {
        Some(match self {
            Self::Time => text::TIME,
            Self::Duration => text::DURATION,
            Self::Above => text::ABOVE,
            Self::Severity => text::SEVERITY,
            Self::Attribute => text::ATTRIBUTE,
            Self::Keys => text::KEYS,
            Self::TraceId => text::TRACE_ID,
            Self::TraceName => text::TRACE_NAME,
            Self::TraceIds => text::TRACE_IDS,
            Self::TraceIdsOrTypical => text::TRACE_IDS_OR_TYPICAL,
            Self::SpanId => text::SPAN_ID,
            Self::RecordId => text::RECORD_ID,
            Self::Cursor => text::CURSOR,
            Self::EventId => text::EVENT_ID,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
