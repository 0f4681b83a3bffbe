//! What Explore and Logs keep in their addresses.

use std::fmt;

use tidings_proto::{DurationNanos, SpanId, TraceId};

use super::{Query, TimeRange};

/// An attribute a span must have, with this value or with any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeFilter {
    /// The attribute.
    pub key: String,
    /// Its value as text; any value when there is none.
    pub value: Option<String>,
}

impl AttributeFilter {
    /// Reads `key=value` or a bare `key`; the key ends at the first equals sign. Only no text at
    /// all says nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (text, None),
        };
        (!text.is_empty()).then(|| Self { key: key.to_owned(), value })
    }
}

impl fmt::Display for AttributeFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        self.value.as_ref().map_or(Ok(()), |value| write!(f, "={value}"))
    }
}

/// A value in an address: understood, or the text that was not. A filter that cannot be read is not
/// left out, which would give another answer; it is asked as it stands, and the API says what is
/// wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given<T> {
    /// What it says.
    Read(T),
    /// What stands there.
    Unread(String),
}

impl<T> Given<T> {
    /// The value of a parameter that is there and says something.
    fn of(query: &Query, key: &str, read: impl Fn(&str) -> Option<T>) -> Option<Self> {
        let text = query.get(key).filter(|text| !text.trim().is_empty())?;
        Some(read(text).map_or_else(|| Self::Unread(text.to_owned()), Self::Read))
    }

    /// As text, whose form for what was understood is the caller's.
    pub fn text(&self, write: impl Fn(&T) -> String) -> String {
        match self {
            Self::Read(value) => write(value),
            Self::Unread(text) => text.clone(),
        }
    }
}

impl<T: fmt::Display> fmt::Display for Given<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(value) => value.fmt(f),
            Self::Unread(text) => text.fmt(f),
        }
    }
}

/// What one span of a trace must be like for the trace to be listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TraceFilters {
    /// `service.name`.
    pub service: Option<String>,
    /// The operation.
    pub operation: Option<String>,
    /// `error`, `ok` or `unset`.
    pub status: Option<String>,
    /// `server`, `client` and so on.
    pub kind: Option<String>,
    /// The shortest duration.
    pub duration_min: Option<Given<DurationNanos>>,
    /// The longest duration.
    pub duration_max: Option<Given<DurationNanos>>,
    /// Attributes.
    pub attributes: Vec<AttributeFilter>,
}

impl TraceFilters {
    /// Whether nothing is filtered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The state of Explore.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExploreState {
    /// When.
    pub range: TimeRange,
    /// What.
    pub filters: TraceFilters,
    /// The row the keyboard is on.
    pub selected: Option<TraceId>,
}

impl ExploreState {
    /// What a query string says.
    #[must_use]
    pub fn read(query: &Query) -> Self {
        let text = |key| query.get(key).filter(|text| !text.is_empty()).map(str::to_owned);
        let nanos = |key| Given::of(query, key, parse_duration);
        let filters = TraceFilters {
            service: text("service"),
            operation: text("operation"),
            status: text("status"),
            kind: text("kind"),
            duration_min: nanos("min"),
            duration_max: nanos("max"),
            attributes: query.all("attr").filter_map(AttributeFilter::parse).collect(),
        };
        let selected = query.get("selected").and_then(|id| id.parse().ok());
        Self { range: TimeRange::read(query), filters, selected }
    }

    /// The query string that says it.
    #[must_use]
    pub fn write(&self) -> Query {
        let mut query = Query::default();
        let TraceFilters {
            service,
            operation,
            status,
            kind,
            duration_min,
            duration_max,
            attributes,
        } = &self.filters;
        query.push_some("service", service.as_ref());
        query.push_some("operation", operation.as_ref());
        query.push_some("status", status.as_ref());
        query.push_some("kind", kind.as_ref());
        query.push_some("min", duration_min.as_ref().map(given_duration));
        query.push_some("max", duration_max.as_ref().map(given_duration));
        attributes.iter().for_each(|filter| query.push("attr", filter));
        query.push_some("selected", self.selected);
        self.range.write(&mut query);
        query
    }
}

/// The state of Logs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogState {
    /// When.
    pub range: TimeRange,
    /// Words in the message.
    pub text: Option<String>,
    /// `service.name`.
    pub service: Option<String>,
    /// The least severity: `warn` is warnings and worse.
    pub severity: Option<String>,
    /// The trace.
    pub trace_id: Option<Given<TraceId>>,
    /// The span in it.
    pub span_id: Option<Given<SpanId>>,
    /// The record that is open.
    pub open: Option<String>,
    /// How many lines on either side of it are shown.
    pub around: Option<u32>,
}

impl LogState {
    /// What a query string says.
    #[must_use]
    pub fn read(query: &Query) -> Self {
        let text = |key| query.get(key).filter(|text| !text.is_empty()).map(str::to_owned);
        Self {
            range: TimeRange::read(query),
            text: text("text"),
            service: text("service"),
            severity: text("severity"),
            trace_id: Given::of(query, "trace", |id| id.parse().ok()),
            span_id: Given::of(query, "span", |id| id.parse().ok()),
            open: text("open"),
            around: query.get("around").and_then(|count| count.parse().ok()),
        }
    }

    /// The query string that says it.
    #[must_use]
    pub fn write(&self) -> Query {
        let mut query = Query::default();
        query.push_some("text", self.text.as_ref());
        query.push_some("service", self.service.as_ref());
        query.push_some("severity", self.severity.as_ref());
        query.push_some("trace", self.trace_id.as_ref());
        query.push_some("span", self.span_id.as_ref());
        query.push_some("open", self.open.as_ref());
        query.push_some("around", self.around);
        self.range.write(&mut query);
        query
    }

    /// The same search without a record open.
    #[must_use]
    pub fn closed(&self) -> Self {
        self.opened(None)
    }

    /// The same search with this record open.
    #[must_use]
    pub fn opened(&self, open: Option<String>) -> Self {
        Self { open, around: None, ..self.clone() }
    }
}

const UNITS: [(u64, &str); 5] =
    [(60_000_000_000, "min"), (1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns")];

/// A length of time as people type it: `200ms`, `1.5 s`, `800µs`, `2min`; a bare number is
/// milliseconds.
#[must_use]
pub fn parse_duration(text: &str) -> Option<DurationNanos> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = match unit.trim() {
        "" => "ms",
        "µs" | "μs" => "us",
        "m" => "min",
        unit => unit,
    };
    let (scale, _) = UNITS.into_iter().find(|(_, name)| *name == unit)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let digits = fraction.len().try_into().ok()?;
    let part = if fraction.is_empty() { 0 } else { fraction.parse::<u64>().ok()? };
    let part = u128::from(part) * u128::from(scale) / 10_u128.pow(digits);
    let nanos = whole.checked_mul(scale)?.checked_add(part.try_into().ok()?)?;
    Some(DurationNanos(nanos))
}

fn given_duration(given: &Given<DurationNanos>) -> String {
    given.text(|duration| write_duration(*duration))
}

/// The shortest exact way to write a length of time that [`parse_duration`] reads.
fn write_duration(duration: DurationNanos) -> String {
    let nanos = duration.0;
    let unit = UNITS.into_iter().find(|(scale, _)| nanos.is_multiple_of(*scale) && nanos > 0);
    let (scale, name) = unit.unwrap_or((1, "ns"));
    format!("{}{name}", nanos / scale)
}
