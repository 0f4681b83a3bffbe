//! Forms of parameter values, declared once for the API description, the parser and the text of
//! errors.

use serde_json::Value as Json;
use tidings_proto::{
    SpanId,
    otlp::{SpanKind, StatusCode},
};
use tidings_query::LogCursor;
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::value_forms;

/// Maximum length of a parameter value, in characters.
const VALUE_CHARS_MAX: usize = 4_096;
/// Maximum length of values with a nearly fixed number of characters.
const SHORT_CHARS_MAX: usize = 64;

/// The form of one value. Values are never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParameterForm {
    /// Any text.
    Text,
    /// An integer in this range, with an optional default.
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
    /// The name or the number of a severity.
    Severity,
    /// `key=value` or `key`.
    Attribute,
    /// Comma-separated keys to group by.
    Keys,
    TraceId,
    /// A trace id or its last half.
    TraceName,
    /// Comma-separated trace ids.
    TraceIds,
    /// Trace ids, or `typical`.
    TraceIdsOrTypical,
    SpanId,
    /// The id of a log record.
    RecordId,
    Cursor,
    /// A position in a stream of log records.
    EventId,
}

impl ParameterForm {
    /// Reports whether a text of at least one and at most [`ParameterForm::chars_max`] characters has this
    /// form.
    pub(crate) fn accepts(self, value: &str) -> bool {
        match self {
            Self::Text => true,
            Self::Integer { min, max, .. } => {
                value_forms::integer(value).is_some_and(|number| (min..=max).contains(&number))
            }
            Self::Flag => matches!(value, "true" | "false"),
            Self::Word(words) => words.contains(&value),
            Self::Time => value_forms::time(value).is_some(),
            Self::Duration => value_forms::duration(value).is_some(),
            Self::Above => value_forms::above(value).is_some(),
            Self::Kind => SpanKind::from_word(value).is_some(),
            Self::Status => StatusCode::from_word(value).is_some(),
            Self::Severity => value_forms::severity(value).is_some(),
            Self::Attribute => value_forms::attribute(value).is_some(),
            Self::Keys => value_forms::keys(value).is_some(),
            Self::TraceId => value.parse::<tidings_proto::TraceId>().is_ok(),
            Self::TraceName => value_forms::trace_name(value).is_some(),
            Self::TraceIds => value_forms::trace_ids(value).is_some(),
            Self::TraceIdsOrTypical => {
                value == value_forms::TYPICAL || value_forms::trace_ids(value).is_some()
            }
            Self::SpanId => value.parse::<SpanId>().is_ok(),
            Self::RecordId => value_forms::record_id(value).is_some(),
            Self::Cursor => value_forms::cursor(value).is_some(),
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
                "any of service, operation, operationPattern, kind, served, status and one attribute:KEY, with commas between"
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

    /// Returns the schema of one value.
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

    /// Returns the words to choose from.
    fn choices(self) -> Vec<&'static str> {
        match self {
            Self::Kind => SpanKind::ALL.map(SpanKind::word).to_vec(),
            Self::Status => StatusCode::ALL.map(StatusCode::word).to_vec(),
            Self::Word(words) => words.to_vec(),
            _ => Vec::new(),
        }
    }

    fn pattern(self) -> Option<&'static str> {
        Some(match self {
            Self::Time => value_forms::TIME,
            Self::Duration => value_forms::DURATION,
            Self::Above => value_forms::ABOVE,
            Self::Severity => value_forms::SEVERITY,
            Self::Attribute => value_forms::ATTRIBUTE,
            Self::Keys => value_forms::KEYS,
            Self::TraceId => value_forms::TRACE_ID,
            Self::TraceName => value_forms::TRACE_NAME,
            Self::TraceIds => value_forms::TRACE_IDS,
            Self::TraceIdsOrTypical => value_forms::TRACE_IDS_OR_TYPICAL,
            Self::SpanId => value_forms::SPAN_ID,
            Self::RecordId => value_forms::RECORD_ID,
            Self::Cursor => value_forms::CURSOR,
            Self::EventId => value_forms::EVENT_ID,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
