//! State of Explore and Logs in their addresses.

use std::fmt;

use tidings_proto::{DurationNanos, SpanId, TraceId, UnixNanos};

use super::{HeatmapBox, TimeRange, UrlQuery};

/// An attribute that a span must have, with this value or with any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeFilter {
    /// The attribute.
    pub key: String,
    /// Value as text; `None` matches any value.
    pub value: Option<String>,
}

impl AttributeFilter {
    /// Parses `key=value` or a bare `key`. The key ends at the first equals sign. Returns `None`
    /// only for an empty text.
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

/// A value in an address: parsed, or the text that could not be parsed. A filter that cannot be
/// parsed is not left out, which would change the answer. It is sent unchanged, and the API reports
/// its error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParsedParam<T> {
    /// Parsed value.
    Read(T),
    /// Text that could not be parsed.
    Unread(String),
}

impl<T> ParsedParam<T> {
    /// Returns the value of a parameter that is present and not empty.
    fn read(query: &UrlQuery, key: &str, read: impl Fn(&str) -> Option<T>) -> Option<Self> {
        let text = query.get(key).filter(|text| !text.trim().is_empty())?;
        Some(read(text).map_or_else(|| Self::Unread(text.to_owned()), Self::Read))
    }

    /// Returns the value as text. The caller formats a parsed value.
    pub fn text(&self, write: impl Fn(&T) -> String) -> String {
        match self {
            Self::Read(value) => write(value),
            Self::Unread(text) => text.clone(),
        }
    }
}

impl<T: fmt::Display> fmt::Display for ParsedParam<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(value) => value.fmt(f),
            Self::Unread(text) => text.fmt(f),
        }
    }
}

/// Conditions that one span of a trace must meet for the trace to be listed.
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
    /// The minimum duration.
    pub duration_min: Option<ParsedParam<DurationNanos>>,
    /// The maximum duration.
    pub duration_max: Option<ParsedParam<DurationNanos>>,
    /// Required attributes.
    pub attributes: Vec<AttributeFilter>,
    /// Attributes that no span may have with this value.
    pub without: Vec<AttributeFilter>,
}

impl TraceFilters {
    /// Reports whether no filter is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The order of a list of traces, other than newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceSort {
    /// Longest first.
    Duration,
    /// Most failed spans first.
    Errors,
    /// Most spans first.
    Spans,
    /// Longest matching span first.
    SpanDuration,
}

impl TraceSort {
    const ALL: [Self; 4] = [Self::Duration, Self::Errors, Self::Spans, Self::SpanDuration];

    /// Returns its name, in addresses and in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Duration => "duration",
            Self::Errors => "errors",
            Self::Spans => "spans",
            Self::SpanDuration => "span-duration",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sort| sort.name() == text)
    }
}

/// A search for traces: range, filters or query, box and order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TraceListQuery {
    /// The time range.
    pub range: TimeRange,
    /// Conditions on one span.
    pub filters: TraceFilters,
    /// A TraceQL query in place of the filters.
    pub query: Option<String>,
    /// A box of the heatmap that narrows both.
    pub chosen: Option<HeatmapBox>,
    /// The order.
    pub sort: Option<TraceSort>,
    /// Attributes of the matching spans whose values are requested.
    pub columns: Vec<String>,
    /// Set when the matching spans are requested, too.
    pub lists_spans: bool,
}

impl TraceListQuery {
    /// Reports whether the answer needs spans, and not only their traces.
    #[must_use]
    pub fn needs_spans(&self) -> bool {
        self.lists_spans || !self.columns.is_empty()
    }

    /// Returns the filters narrowed to the durations of the box.
    #[must_use]
    pub fn narrowed(&self) -> TraceFilters {
        let mut filters = self.filters.clone();
        let Some(chosen) = self.chosen else { return filters };
        if let None | Some(ParsedParam::Read(_)) = filters.duration_min {
            let least = match filters.duration_min {
                Some(ParsedParam::Read(least)) => least.max(chosen.shortest),
                _ => chosen.shortest,
            };
            filters.duration_min = Some(ParsedParam::Read(least));
        }
        if let None | Some(ParsedParam::Read(_)) = filters.duration_max {
            let most = match filters.duration_max {
                Some(ParsedParam::Read(most)) => most.min(chosen.longest),
                _ => chosen.longest,
            };
            filters.duration_max = Some(ParsedParam::Read(most));
        }
        filters
    }
}

/// Maximum number of attributes that a list shows as columns.
pub const COLUMNS_MAX: usize = 8;

/// The state of Explore.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExploreState {
    /// The time range.
    pub range: TimeRange,
    /// The moving range before a box was selected. A box needs a fixed range.
    pub range_before: Option<TimeRange>,
    /// Filters.
    pub filters: TraceFilters,
    /// A TraceQL query in place of the filters.
    pub query: Option<String>,
    /// The box of the heatmap.
    pub chosen: Option<HeatmapBox>,
    /// The order of the list.
    pub sort: Option<TraceSort>,
    /// The keys of groups that are shown in place of traces, as `service,operation`.
    pub group: Option<String>,
    /// Set when the matching spans are listed in place of their traces.
    pub lists_spans: bool,
    /// Attributes that are shown as columns.
    pub columns: Vec<String>,
    /// Hidden columns.
    pub hidden: Vec<String>,
    /// The row that the keyboard selected.
    pub selected: Option<TraceId>,
}

impl ExploreState {
    /// Parses a query string.
    #[must_use]
    pub fn read(query: &UrlQuery) -> Self {
        let text = |key| query.get(key).filter(|text| !text.is_empty()).map(str::to_owned);
        let nanos = |key| ParsedParam::read(query, key, parse_duration);
        let attributes = |key| query.all(key).filter_map(AttributeFilter::parse).collect();
        let filters = TraceFilters {
            service: text("service"),
            operation: text("operation"),
            status: text("status"),
            kind: text("kind"),
            duration_min: nanos("min"),
            duration_max: nanos("max"),
            attributes: attributes("attr"),
            without: attributes("not"),
        };
        Self {
            range: TimeRange::read(query),
            range_before: TimeRange::read_before(query),
            filters,
            query: text("q"),
            chosen: query.get("box").and_then(HeatmapBox::parse),
            sort: query.get("sort").and_then(TraceSort::parse),
            group: text("group"),
            lists_spans: query.get("view") == Some("spans"),
            columns: query
                .all("col")
                .filter(|key| !key.is_empty())
                .take(COLUMNS_MAX)
                .map(str::to_owned)
                .collect(),
            hidden: query.all("hide").filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            selected: query.get("selected").and_then(|id| id.parse().ok()),
        }
    }

    /// Returns the query string of the state.
    #[must_use]
    pub fn write(&self) -> UrlQuery {
        let mut query = UrlQuery::default();
        let TraceFilters {
            service,
            operation,
            status,
            kind,
            duration_min,
            duration_max,
            attributes,
            without,
        } = &self.filters;
        query.push_some("service", service.as_ref());
        query.push_some("operation", operation.as_ref());
        query.push_some("status", status.as_ref());
        query.push_some("kind", kind.as_ref());
        query.push_some("min", duration_min.as_ref().map(duration_param));
        query.push_some("max", duration_max.as_ref().map(duration_param));
        attributes.iter().for_each(|filter| query.push("attr", filter));
        without.iter().for_each(|filter| query.push("not", filter));
        query.push_some("q", self.query.as_ref());
        query.push_some("box", self.chosen.map(|chosen| chosen.write()));
        query.push_some("sort", self.sort.map(TraceSort::name));
        query.push_some("group", self.group.as_ref());
        query.push_some("view", self.lists_spans.then_some("spans"));
        self.columns.iter().for_each(|key| query.push("col", key));
        self.hidden.iter().for_each(|name| query.push("hide", name));
        query.push_some("selected", self.selected);
        self.range.write(&mut query);
        if let Some(range) = self.range_before {
            range.write_before(&mut query);
        }
        query
    }

    /// Selects a box. It has absolute moments, so a moving range is fixed at `now`.
    pub fn choose_box(&mut self, chosen: HeatmapBox, now: UnixNanos) {
        self.chosen = Some(chosen);
        if self.range.is_open_ended() && self.range != TimeRange::All {
            self.range_before = Some(self.range);
            self.range = self.range.resolve_at(now);
        }
    }

    /// Drops the box and restores a range that was moving before it.
    pub fn drop_box(&mut self) {
        self.chosen = None;
        self.range = self.range_before.take().unwrap_or(self.range);
    }

    /// Reports whether groups of spans are shown in place of traces.
    #[must_use]
    pub fn is_grouped(&self) -> bool {
        self.group.is_some()
    }

    /// Returns the query of the list.
    #[must_use]
    pub fn list_query(&self) -> TraceListQuery {
        TraceListQuery {
            range: self.range,
            filters: self.filters.clone(),
            query: self.query.clone(),
            chosen: self.chosen,
            sort: self.sort,
            columns: self.columns.clone(),
            lists_spans: self.lists_spans,
        }
    }
}

/// Parses two moments with a dash between them, the later one second.
fn read_base(text: &str) -> Option<(u64, u64)> {
    let (from, to) = text.split_once('-')?;
    let base = (from.parse().ok()?, to.parse().ok()?);
    (base.0 < base.1).then_some(base)
}

/// The listing of the Logs page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogListing {
    /// Single records.
    #[default]
    Lines,
    /// Similar messages as patterns.
    Patterns,
    /// Patterns that are new, gone or have another rate.
    Differences,
}

impl LogListing {
    /// Returns its name in the address, or `None` for the default listing.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Lines => None,
            Self::Patterns => Some("patterns"),
            Self::Differences => Some("differences"),
        }
    }
}

/// The state of Logs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogState {
    /// The time range.
    pub range: TimeRange,
    /// A query in the language of log records.
    pub query: Option<String>,
    /// `service.name`.
    pub service: Option<String>,
    /// The minimum severity: `warn` is warnings and worse.
    pub severity: Option<String>,
    /// The trace.
    pub trace_id: Option<ParsedParam<TraceId>>,
    /// The span in it.
    pub span_id: Option<ParsedParam<SpanId>>,
    /// Attributes that records must have.
    pub attributes: Vec<AttributeFilter>,
    /// The listing.
    pub view: LogListing,
    /// Attributes that lines show as columns.
    pub columns: Vec<String>,
    /// The open record or pattern.
    pub open: Option<String>,
    /// Time of the open record, in nanoseconds since 1970. It makes the search for the record fast.
    pub at: Option<u64>,
    /// Number of lines shown before and after the open record.
    pub around: Option<u32>,
    /// Start and end of the baseline of differences, in milliseconds since 1970. The default is the
    /// time before, of equal length.
    pub base: Option<(u64, u64)>,
}

impl LogState {
    /// Parses a query string.
    #[must_use]
    pub fn read(query: &UrlQuery) -> Self {
        let text = |key| query.get(key).filter(|text| !text.is_empty()).map(str::to_owned);
        Self {
            range: TimeRange::read(query),
            query: text("q").or_else(|| text("text").map(|text| phrase(&text))),
            service: text("service"),
            severity: text("severity"),
            trace_id: ParsedParam::read(query, "trace", |id| id.parse().ok()),
            span_id: ParsedParam::read(query, "span", |id| id.parse().ok()),
            attributes: query.all("attr").filter_map(AttributeFilter::parse).collect(),
            view: match query.get("view") {
                Some("patterns") => LogListing::Patterns,
                Some("differences") => LogListing::Differences,
                _ => LogListing::Lines,
            },
            columns: query.all("col").filter(|key| !key.is_empty()).map(str::to_owned).collect(),
            open: text("open"),
            at: query.get("at").and_then(|nanos| nanos.parse().ok()),
            around: query.get("around").and_then(|count| count.parse().ok()),
            base: query.get("base").and_then(read_base),
        }
    }

    /// Returns the query string of the state.
    #[must_use]
    pub fn write(&self) -> UrlQuery {
        let mut query = UrlQuery::default();
        query.push_some("q", self.query.as_ref());
        query.push_some("service", self.service.as_ref());
        query.push_some("severity", self.severity.as_ref());
        query.push_some("trace", self.trace_id.as_ref());
        query.push_some("span", self.span_id.as_ref());
        self.attributes.iter().for_each(|filter| query.push("attr", filter));
        query.push_some("view", self.view.name());
        self.columns.iter().for_each(|key| query.push("col", key));
        query.push_some("open", self.open.as_ref());
        query.push_some("at", self.at);
        query.push_some("around", self.around);
        query.push_some("base", self.base.map(|(from, to)| format!("{from}-{to}")));
        self.range.write(&mut query);
        query
    }

    /// Returns the same search without an open record, in one form for all listings.
    #[must_use]
    pub fn without_open_record(&self) -> Self {
        Self {
            view: LogListing::default(),
            columns: Vec::new(),
            base: None,
            ..self.with_open_record(None)
        }
    }

    /// Returns the same search with an open record: its id and its time.
    #[must_use]
    pub fn with_open_record(&self, open: Option<(String, u64)>) -> Self {
        let (open, at) = open.unzip();
        Self { open, at, around: None, ..self.clone() }
    }
}

/// Returns the query for log records with this text in the message.
#[must_use]
pub fn phrase(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

const UNITS: [(u64, &str); 5] =
    [(60_000_000_000, "min"), (1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns")];

/// Parses a length of time as readers type it: `200ms`, `1.5 s`, `800µs`, `2min`. A bare number is
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

fn duration_param(given: &ParsedParam<DurationNanos>) -> String {
    given.text(|duration| write_duration(*duration))
}

/// Writes a length of time in the shortest exact form that [`parse_duration`] parses.
fn write_duration(duration: DurationNanos) -> String {
    let nanos = duration.0;
    let unit = UNITS.into_iter().find(|(scale, _)| nanos.is_multiple_of(*scale) && nanos > 0);
    let (scale, name) = unit.unwrap_or((1, "ns"));
    format!("{}{name}", nanos / scale)
}
