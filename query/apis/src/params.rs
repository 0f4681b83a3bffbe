//! Strict parsing of query parameters. An unknown, repeated or malformed parameter is refused by
//! name.
//!
//! The parameters of an operation, and their forms, are declared once ([`declared`]), so the
//! description and the parser agree. A description cannot express some errors (an end before its
//! start, a cursor of another search, a 30th of February).

pub(crate) mod declared;
pub(crate) mod form;
pub(crate) mod go;
pub(crate) mod raw;
mod value_forms;

use std::time::Duration;

use ::http::Uri;
use axum::extract::Query;
use tidings_proto::{
    DurationNanos, SpanId, TraceId, UnixNanos,
    otlp::{SeverityNumber, SpanKind, StatusCode},
};
use tidings_query::{BreakdownThreshold, ClockView, QueryError, RedKeys, TraceName, VersionWait};
use tidings_storage::{AttributeFilter, TimeRange};
use xxhash_rust::xxh3::Xxh3Default;

pub(crate) use value_forms::TYPICAL;

use crate::params::{
    declared::{HasParameters, ParameterLists, ParameterSpec},
    form::ParameterForm,
    raw::unescaped,
};

/// Maximum wait for a version. It is shorter than the usual timeouts of proxies.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Minimum length of a step.
const STEP_MIN: DurationNanos = DurationNanos(1_000_000);
/// The only value of `adjust`.
pub(crate) const CLOCK: &str = "clock";

/// The query parameters of one request, each in its declared form.
#[derive(Debug)]
pub(crate) struct Params {
    given: Vec<(String, String)>,
    lists: ParameterLists,
}

impl Params {
    /// Parses the parameters of a request to this operation.
    ///
    /// # Errors
    /// When a parameter is unknown to the operation, too long, repeated too often, empty or
    /// malformed.
    pub(crate) fn read<T: HasParameters>(uri: &Uri) -> Result<Self, QueryError> {
        let Query(given) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|broken| QueryError::parameter("", broken.body_text()))?;
        well_encoded(uri.query().unwrap_or_default())?;
        for (name, value) in &given {
            let known = known(T::LISTS, name)
                .ok_or_else(|| QueryError::parameter(name, unknown(name, T::LISTS)))?;
            let most = known.times_max();
            if given.iter().filter(|(other, _)| other == name).count() > most {
                let often = if most == 1 { "once".to_owned() } else { format!("{most} times") };
                let reason = format!("`{name}` may be given only {often}");
                return Err(QueryError::parameter(name, reason));
            }
            well_formed(name, value, known.form)?;
        }
        Ok(Self { given, lists: T::LISTS })
    }

    /// Returns the parameters with this prefix, without the prefix (`selectKind` becomes `kind`).
    /// Errors then name the shortened name.
    pub(crate) fn named(&self, prefix: &str) -> Self {
        let given = self.given.iter().filter_map(|(name, value)| {
            let rest = name.strip_prefix(prefix)?;
            let first = rest.get(..1)?.to_ascii_lowercase();
            Some((first + &rest[1..], value.clone()))
        });
        Self { given: given.collect(), lists: self.lists }
    }

    /// The value of a parameter that may be given once.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.texts(name).first().copied()
    }

    /// The values of a parameter that may be repeated.
    pub(crate) fn texts(&self, name: &str) -> Vec<&str> {
        let values = self.given.iter().filter(|(given, _)| given == name);
        values.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a parameter as an owned text.
    pub(crate) fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    /// The value of a parameter that must be given.
    pub(crate) fn required(&self, name: &str) -> Result<&str, QueryError> {
        let reason = || QueryError::parameter(name, format!("`{name}` must be given"));
        self.text(name).ok_or_else(reason)
    }

    /// The values of `service`, if it is given.
    pub(crate) fn services(&self) -> Option<Vec<String>> {
        let services = self.texts("service").into_iter().map(str::to_owned).collect::<Vec<_>>();
        (!services.is_empty()).then_some(services)
    }

    /// Parses a value of this form with `parse`.
    fn parsed<T>(
        &self,
        name: &str,
        form: ParameterForm,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, QueryError> {
        let Some(value) = self.text(name) else { return Ok(None) };
        parse(value).map(Some).ok_or_else(|| malformed(name, value, form))
    }

    /// Parses an integer, or returns its default.
    pub(crate) fn integer(&self, name: &str) -> Option<u32> {
        match (self.text(name), known(self.lists, name)?.form) {
            (Some(value), _) => value_forms::integer(value),
            (None, ParameterForm::Integer { default, .. }) => default,
            (None, _) => None,
        }
    }

    /// Reports whether a flag is `true`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// Parses a time parameter.
    pub(crate) fn moment(&self, name: &str) -> Result<Option<UnixNanos>, QueryError> {
        self.parsed(name, ParameterForm::Time, value_forms::time)
    }

    /// Parses `start` and `end`.
    pub(crate) fn time_range(&self) -> Result<TimeRange, QueryError> {
        let range = TimeRange { start: self.moment("start")?, end: self.moment("end")? };
        match (range.start, range.end) {
            (Some(start), Some(end)) if start >= end => {
                Err(QueryError::parameter("end", "`end` must be later than `start`"))
            }
            _ => Ok(range),
        }
    }

    /// Parses a duration parameter.
    pub(crate) fn duration(&self, name: &str) -> Result<Option<DurationNanos>, QueryError> {
        self.parsed(name, ParameterForm::Duration, value_forms::duration)
    }

    /// Parses `minDuration` and `maxDuration`.
    pub(crate) fn durations(
        &self,
    ) -> Result<(Option<DurationNanos>, Option<DurationNanos>), QueryError> {
        match (self.duration("minDuration")?, self.duration("maxDuration")?) {
            (Some(min), Some(max)) if min > max => {
                let reason = "`maxDuration` must not be less than `minDuration`";
                Err(QueryError::parameter("maxDuration", reason))
            }
            range => Ok(range),
        }
    }

    /// Parses `after` and `wait`.
    pub(crate) fn version_wait(&self) -> Result<VersionWait, QueryError> {
        let wait = self
            .parsed("wait", ParameterForm::Duration, value_forms::duration)?
            .unwrap_or_default();
        let wait = Duration::from_nanos(wait.0);
        if wait > WAIT_MAX {
            let reason = format!("`wait` must be at most {} s", WAIT_MAX.as_secs());
            return Err(QueryError::parameter("wait", reason));
        }
        Ok(VersionWait { after: self.owned("after"), wait })
    }

    /// Parses `step`.
    pub(crate) fn step(&self) -> Result<Option<DurationNanos>, QueryError> {
        let step = self.parsed("step", ParameterForm::Duration, value_forms::duration)?;
        if step.is_some_and(|step| step < STEP_MIN) {
            return Err(QueryError::parameter("step", "`step` must be at least 1 ms"));
        }
        Ok(step)
    }

    /// Parses `above`: a percentile or a duration.
    pub(crate) fn above(&self) -> Result<BreakdownThreshold, QueryError> {
        Ok(self.parsed("above", ParameterForm::Above, value_forms::above)?.unwrap_or_default())
    }

    /// Parses `adjust`.
    pub(crate) fn clocks(&self) -> ClockView {
        if self.text("adjust") == Some(CLOCK) { ClockView::Adjusted } else { ClockView::default() }
    }

    /// Parses `kind`.
    pub(crate) fn kind(&self) -> Result<Option<SpanKind>, QueryError> {
        self.parsed("kind", ParameterForm::Kind, SpanKind::from_word)
    }

    /// Parses `status`.
    pub(crate) fn status(&self) -> Result<Option<StatusCode>, QueryError> {
        self.parsed("status", ParameterForm::Status, StatusCode::from_word)
    }

    /// Parses `severity`.
    pub(crate) fn severity(&self) -> Result<Option<SeverityNumber>, QueryError> {
        self.parsed("severity", ParameterForm::Severity, value_forms::severity)
    }

    /// Parses `by`: the keys to group by.
    pub(crate) fn keys(&self) -> Result<Option<RedKeys>, QueryError> {
        self.parsed("by", ParameterForm::Keys, value_forms::keys)
    }

    /// Parses `traceId` of a filter.
    pub(crate) fn trace_name(&self) -> Result<Option<TraceName>, QueryError> {
        self.parsed("traceId", ParameterForm::TraceName, value_forms::trace_name)
    }

    /// Parses `traceId` as a whole id.
    pub(crate) fn trace_id(&self) -> Result<Option<TraceId>, QueryError> {
        self.trace("traceId")
    }

    /// Parses the whole id of a trace.
    pub(crate) fn trace(&self, name: &'static str) -> Result<Option<TraceId>, QueryError> {
        self.parsed(name, ParameterForm::TraceId, |value| value.parse().ok())
    }

    /// Parses `spanId` of a filter.
    pub(crate) fn span_id(&self) -> Result<Option<SpanId>, QueryError> {
        self.parsed("spanId", ParameterForm::SpanId, |value| value.parse().ok())
    }

    /// Parses trace ids, separated by commas or repeated. They keep their order, each once.
    pub(crate) fn trace_ids(&self, name: &str) -> Result<Vec<TraceId>, QueryError> {
        let mut ids: Vec<TraceId> = Vec::new();
        for list in self.texts(name) {
            let more = value_forms::trace_ids(list);
            ids.extend(more.ok_or_else(|| malformed(name, list, ParameterForm::TraceIds))?);
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// Parses `attribute`, which may be repeated: each is `key=value` or a bare `key`.
    pub(crate) fn attributes(&self) -> Result<Vec<AttributeFilter>, QueryError> {
        let read = |value| {
            value_forms::attribute(value)
                .ok_or_else(|| malformed("attribute", value, ParameterForm::Attribute))
        };
        self.texts("attribute").into_iter().map(read).collect()
    }
}

/// Parses a time such as `2026-11-20T08:00:00Z`.
pub(crate) fn rfc_3339(text: &str) -> Option<UnixNanos> {
    (!text.bytes().all(|byte| byte.is_ascii_digit())).then(|| value_forms::time(text)).flatten()
}

/// Parses the trace id in a path.
pub(crate) fn trace_in_path(value: &str) -> Result<TraceName, QueryError> {
    value_forms::trace_name(value)
        .ok_or_else(|| malformed("traceId", value, ParameterForm::TraceName))
}

/// Parses the span id in a path.
pub(crate) fn span_in_path(value: &str) -> Result<SpanId, QueryError> {
    value.parse().map_err(|_| malformed("spanId", value, ParameterForm::SpanId))
}

/// Checks a part of the path against its form.
pub(crate) fn in_path(
    name: &str,
    value: String,
    form: ParameterForm,
) -> Result<String, QueryError> {
    well_formed(name, &value, form).map(|()| value)
}

/// Parses the log record id in a path.
pub(crate) fn record_in_path(value: &str) -> Result<u64, QueryError> {
    value_forms::record_id(value).ok_or_else(|| malformed("logId", value, ParameterForm::RecordId))
}

/// Error for a parameter whose text does not have its form.
pub(crate) fn malformed(name: &str, value: &str, form: ParameterForm) -> QueryError {
    const SHOWN_CHARS: usize = 80;
    let mut shown: String = value.chars().take(SHOWN_CHARS).collect();
    if shown.len() < value.len() {
        shown.push('…');
    }
    QueryError::parameter(name, format!("`{name}` must be {}; got `{shown}`", form.words()))
}

/// Returns the declared query parameter with this name.
fn known(lists: ParameterLists, name: &str) -> Option<&'static ParameterSpec> {
    lists.iter().copied().flatten().find(|declared| declared.has_query_name(name))
}

fn unknown(name: &str, lists: ParameterLists) -> String {
    let known =
        lists.iter().copied().flatten().filter(|declared| declared.has_query_name(declared.name));
    let known: Vec<&str> = known.map(|declared| declared.name).collect();
    if known.is_empty() {
        return format!("`{name}` is not a parameter here: there are none");
    }
    format!("`{name}` is not a parameter here; there are {}", known.join(", "))
}

/// Refuses a value that does not match its form, an empty one included. An empty variable would
/// otherwise drop a filter and give a wrong answer.
fn well_formed(name: &str, value: &str, form: ParameterForm) -> Result<(), QueryError> {
    if value.is_empty() {
        let reason = format!("`{name}` is empty: leave it out, or give {}", form.words());
        return Err(QueryError::parameter(name, reason));
    }
    let most = form.chars_max();
    if value.chars().count() > most {
        let reason = format!("`{name}` is longer than {most} characters");
        return Err(QueryError::parameter(name, reason));
    }
    if form.accepts(value) { Ok(()) } else { Err(malformed(name, value, form)) }
}

/// Refuses texts whose decoding would replace characters: a `%` without two hex digits after it,
/// and bytes that are not UTF-8.
///
/// # Errors
/// Names the parameter.
pub fn well_encoded(query: &str) -> Result<(), QueryError> {
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        for text in [name, value] {
            let reason = match unescaped(text) {
                (_, false) => "has a `%` without two hexadecimal digits after it",
                (bytes, true) if std::str::from_utf8(&bytes).is_err() => "is not UTF-8",
                (_, true) => continue,
            };
            return Err(QueryError::parameter(name, format!("`{name}` {reason}")));
        }
    }
    Ok(())
}

/// The parameters in which the pages of one search differ.
///
/// A cursor counts the entries before it, and that count belongs to one search. The text of a
/// cursor contains a hash of its search, so that a cursor of another search is refused.
const OF_THE_PAGE: [&str; 2] = ["limit", "cursor"];

impl Params {
    /// The size of a page, which its operation declares with a default.
    pub(crate) fn limit(&self) -> usize {
        let limit = self.integer("limit").and_then(|limit| usize::try_from(limit).ok());
        limit.expect("invariant: an operation that asks for `limit` declares it with a default")
    }

    /// Parses `cursor`, which [`Self::next_cursor`] wrote for the same search.
    pub(crate) fn cursor<T>(
        &self,
        decode: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, QueryError> {
        let Some(text) = self.text("cursor") else { return Ok(None) };
        let not_one = || malformed("cursor", text, ParameterForm::Cursor);
        let (place, search) = value_forms::cursor(text).ok_or_else(not_one)?;
        let cursor = decode(place).ok_or_else(not_one)?;
        if search != self.search() {
            let reason = "`cursor` is of a search with other filters, times or order; \
                          only `limit` may differ from one page to the next";
            return Err(QueryError::parameter("cursor", reason));
        }
        Ok(Some(cursor))
    }

    /// Returns the text of a cursor for the next page of this search.
    pub(crate) fn next_cursor(&self, mut cursor: String) -> String {
        cursor.push('.');
        cursor.push_str(&self.search());
        cursor
    }

    /// Hash of the parameters that all pages of a search share, independent of their order.
    fn search(&self) -> String {
        let said = self.given.iter().filter(|(name, _)| !OF_THE_PAGE.contains(&name.as_str()));
        let mut said: Vec<&(String, String)> = said.collect();
        said.sort_unstable();
        let mut hash = Xxh3Default::new();
        for text in said.into_iter().flat_map(|(name, value)| [name, value]) {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        format!("{:016x}", hash.digest())
    }
}
