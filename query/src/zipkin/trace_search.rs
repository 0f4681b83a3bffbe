//! Which traces Zipkin would find, and traces by id.
//!
//! Zipkin's conditions hold of whole traces, so candidates are read whole and looked at: the newest
//! first, in growing numbers, until enough match and no older one can come before them. One
//! condition that a single span must meet (a tag, a duration, the service) chooses the candidates.

use std::collections::HashSet;

use tidings_proto::{
    DurationNanos, TraceId, UnixNanos,
    zipkin::{Span, from_otlp},
};
use tidings_storage::{AttributeFilter, Detail, Scan, SpanFilter, TimeRange};

use super::{
    request::{Request, began},
    spellings,
};
use crate::{
    QueryError,
    execution::Reader,
    trace::{
        complete::{CompleteTraces, whole},
        newest::Newest,
    },
};

/// A span that meets a condition may be so much later or earlier than its trace began.
const MARGIN_NANOS: u64 = 3_600 * 1_000_000_000;
/// Candidates of the first round at least; each round has four times as many.
const FIRST_ROUND: usize = 50;
/// Candidates of one round at most.
const LARGEST_ROUND: usize = 5_000;
/// Traces whose matching span has no time of its own.
const UNTIMED_MAX: usize = 1_000;

/// Some traces, each as the parts that were sent.
#[derive(Debug, Default)]
pub(crate) struct ZipkinTraces {
    /// The traces.
    pub traces: Vec<Vec<Span>>,
    /// True when nothing was left out for its size or number.
    pub complete: bool,
    /// True when the row budget ran out before all candidates were read.
    pub budget_spent: bool,
}

/// The spans of one trace, as they were sent; none when nothing is stored.
pub(crate) fn get(reader: &Reader, id: TraceId) -> Result<Vec<Span>, QueryError> {
    let CompleteTraces { traces, .. } = whole(reader, &[id])?;
    Ok(traces.iter().flat_map(|(_, trace)| from_otlp(trace)).collect())
}

/// These traces, without those of which nothing is stored.
pub(crate) fn get_many(reader: &Reader, ids: &[TraceId]) -> Result<ZipkinTraces, QueryError> {
    let CompleteTraces { traces, left_out } = whole(reader, ids)?;
    let traces = traces.iter().map(|(_, trace)| from_otlp(trace)).collect();
    Ok(ZipkinTraces { traces, complete: left_out == 0, budget_spent: false })
}

/// The newest matching traces, newest first.
pub(crate) fn find(reader: &Reader, request: &Request) -> Result<ZipkinTraces, QueryError> {
    let (filter, all_known) = candidates(reader, request)?;
    let mut search = SearchState {
        reader,
        request,
        met: HashSet::new(),
        matching: Vec::new(),
        spans: 0,
        complete: true,
        budget_spent: !all_known,
    };
    let Some(mut filter) = filter else { return Ok(search.into_found()) };
    // The duration of a span without a time is an attribute: it does not choose candidates.
    let untimed = SpanFilter {
        start: TimeRange { start: None, end: Some(UnixNanos(1)) },
        duration_min: None,
        duration_max: None,
        ..filter.clone()
    };
    let untimed = search.newest(&untimed, UNTIMED_MAX)?;
    search.look_at(untimed)?;
    let mut size = request.limit.saturating_mul(2).clamp(FIRST_ROUND, LARGEST_ROUND);
    loop {
        let round = search.newest(&filter, size)?;
        let Some((_, oldest)) = round.last().copied() else { break };
        let last = round.len() < size;
        search.look_at(round)?;
        if last || search.is_settled(oldest) || !search.has_room() {
            break;
        }
        // Traces that start alike at the end of a round come again: they are looked at once.
        filter.start.end = Some(UnixNanos(oldest.0.saturating_add(1)));
        size = size.saturating_mul(4).min(LARGEST_ROUND);
    }
    Ok(search.into_found())
}

/// Filter that one span of every matching trace passes; `None` when no trace can match. The flag is
/// true when all services are known.
fn candidates(
    reader: &Reader,
    request: &Request,
) -> Result<(Option<SpanFilter>, bool), QueryError> {
    let mut all_known = true;
    let (from, to) = request.micros();
    let nanos = |micros: u64| micros.saturating_mul(1_000);
    let time = |nanos: u64| UnixNanos(nanos.min(i64::MAX.unsigned_abs()));
    let mut filter = SpanFilter {
        start: TimeRange {
            start: Some(time(nanos(from).saturating_sub(MARGIN_NANOS).max(1))),
            end: Some(time(nanos(to).saturating_add(MARGIN_NANOS))),
        },
        ..SpanFilter::default()
    };
    if let Some(service) = &request.service {
        let services;
        (services, all_known) = spellings(reader, service)?;
        if services.is_empty() {
            return Ok((None, all_known));
        }
        filter.services = Some(services);
    }
    let tag = request.terms.iter().find(|(key, value)| is_attribute(key, value));
    if let Some((key, value)) = tag {
        filter.attributes = vec![AttributeFilter::single(key, value)];
    } else if let Some(min) = request.duration_min {
        // Zipkin's shortest duration is 1 µs, whatever was measured.
        filter.duration_min = (min > 1).then(|| DurationNanos(nanos(min)));
        let above = request.duration_max.map(|max| nanos(max.saturating_add(1)));
        filter.duration_max = above.map(|above| DurationNanos(above.saturating_sub(1)));
    }
    Ok((Some(filter), all_known))
}

/// Reports whether a tag is a stored string attribute and not derived from another field.
fn is_attribute(key: &str, value: &str) -> bool {
    let made = ["error", "span.kind", "w3c.tracestate"].contains(&key)
        || ["otel.", "otlp.link.", "net", "peer.", "zipkin."]
            .iter()
            .any(|part| key.starts_with(part));
    !made && !value.is_empty() && !value.starts_with(['[', '{'])
}

struct SearchState<'a> {
    reader: &'a Reader,
    request: &'a Request,
    met: HashSet<TraceId>,
    matching: Vec<(u64, Vec<Span>)>,
    /// Number of spans read with all columns.
    spans: u64,
    complete: bool,
    budget_spent: bool,
}

impl SearchState<'_> {
    /// Returns at most this number of traces with the newest matching spans and their starts,
    /// newest first.
    fn newest(
        &mut self,
        filter: &SpanFilter,
        count: usize,
    ) -> Result<Vec<(TraceId, UnixNanos)>, QueryError> {
        let scan = Scan { detail: Detail::Ids, rows_max: self.reader.settings.search_rows_max };
        let mut newest = Newest::new(count);
        let stats = self.reader.newest_spans_reached(filter, scan, |rows, reached| {
            for row in 0..rows.len() {
                newest.add(rows.trace_id(row), rows.start(row));
            }
            Ok(newest.need(reached))
        })?;
        self.budget_spent |= !newest.is_certain(scan, stats);
        Ok(newest.into_list())
    }

    /// Reads the candidates and keeps what matches.
    fn look_at(&mut self, candidates: Vec<(TraceId, UnixNanos)>) -> Result<(), QueryError> {
        let ids = candidates.into_iter().map(|(id, _)| id);
        let mut left: Vec<TraceId> = ids.filter(|id| self.met.insert(*id)).collect();
        while !left.is_empty() && self.has_room() {
            let found = match whole(self.reader, &left) {
                Ok(found) => found,
                // The first one alone is too large to be shown.
                Err(error) if error.is_too_large() => {
                    self.complete = false;
                    left.remove(0);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let unread = found.left_out;
            for (_, trace) in found.traces {
                let spans = from_otlp(&trace);
                self.spans += spans.len() as u64;
                if self.request.matches(&spans) {
                    self.matching.push((began(&spans), spans));
                }
            }
            self.keep_the_newest();
            left.drain(..left.len() - unread);
        }
        self.complete &= left.is_empty();
        Ok(())
    }

    /// Drops what is beyond the limit, in number and in size.
    fn keep_the_newest(&mut self) {
        self.matching.sort_by_key(|(began, _)| std::cmp::Reverse(*began));
        self.matching.truncate(self.request.limit);
        let mut room = self.reader.limits.view_spans_max;
        let fits = self.matching.iter().take_while(|(_, spans)| {
            let left = room.checked_sub(spans.len() as u64);
            room = left.unwrap_or_default();
            left.is_some()
        });
        let fits = fits.count();
        self.complete &= fits == self.matching.len();
        self.matching.truncate(fits);
    }

    /// Reports whether more spans may be read.
    fn has_room(&mut self) -> bool {
        let has_room = self.spans < self.reader.limits.page_spans_max;
        self.complete &= has_room;
        has_room
    }

    /// Reports whether the page is full of traces newer than `oldest`.
    fn is_settled(&self, oldest: UnixNanos) -> bool {
        let last = self.matching.get(self.request.limit.saturating_sub(1));
        last.is_some_and(|(began, _)| *began >= oldest.0 / 1_000)
    }

    fn into_found(self) -> ZipkinTraces {
        let traces = self.matching.into_iter().map(|(_, spans)| spans).collect();
        ZipkinTraces { traces, complete: self.complete, budget_spent: self.budget_spent }
    }
}
