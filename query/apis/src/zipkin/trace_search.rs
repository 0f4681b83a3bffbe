//! Finds the traces that Zipkin would find, and reads traces by id.
//!
//! Zipkin's conditions apply to whole traces, so candidates are read whole and tested: the newest
//! first, in growing batches, until enough match and no older one can come before them. One
//! condition on a single span (a tag, a duration, the service) selects the candidates.
//!
//! A span of Zipkin has the attributes of its resource as tags of its own. Texts that many spans
//! share in the store are copied for each of them, so an answer is bounded by the bytes of the
//! copies ([`QueryLimits::view_bytes_max`](tidings_query::QueryLimits::view_bytes_max)).

use std::{collections::HashSet, ops::ControlFlow};

use tidings_proto::{
    DurationNanos, TraceId, UnixNanos,
    otlp::ExportTraceServiceRequest,
    zipkin::{Endpoint, Span, from_otlp},
};
use tidings_query::{
    QueryError, Reader,
    trace::{USE_SKELETON, complete_traces::visit_complete, newest_traces::NewestTraces},
};
use tidings_storage::{AttributeFilter, Projection, Scan, SpanFilter, TimeRange};

use super::{
    request::{Request, began},
    spellings,
};

/// Maximum time between the start of a trace and that of a span that meets a condition, before or
/// after.
const MARGIN_NANOS: u64 = 3_600 * 1_000_000_000;
/// Minimum number of candidates in the first round; each round has four times as many.
const FIRST_ROUND: usize = 50;
/// Maximum number of candidates in one round.
const LARGEST_ROUND: usize = 5_000;
/// Maximum number of traces whose matching span has no time.
const UNTIMED_MAX: usize = 1_000;

/// Traces, each as the parts that were sent.
#[derive(Debug, Default)]
pub(crate) struct ZipkinTraces {
    /// The traces.
    pub traces: Vec<Vec<Span>>,
    /// True when no trace was left out for its size or number.
    pub complete: bool,
    /// True when the row budget ran out before all candidates were read.
    pub budget_spent: bool,
}

/// Returns the spans of one trace, as they were sent; empty when nothing is stored.
pub(crate) fn get(reader: &Reader, id: TraceId) -> Result<Vec<Span>, QueryError> {
    let mut spans = Vec::new();
    let unvisited = visit_complete(reader, &[id], |_, trace| {
        spans = ReservedSpans::from_trace(&trace, reader.limits.view_bytes_max)?.spans;
        Ok(ControlFlow::Continue(()))
    })?;
    unvisited.into_count(&[id])?;
    Ok(spans)
}

/// Reads these traces. Ids of which nothing is stored are left out.
pub(crate) fn get_many(reader: &Reader, ids: &[TraceId]) -> Result<ZipkinTraces, QueryError> {
    let (mut traces, mut room) = (Vec::new(), reader.limits.view_bytes_max);
    let unvisited = visit_complete(reader, ids, |_, trace| {
        match ReservedSpans::from_trace(&trace, room) {
            Ok(ReservedSpans { spans, bytes }) => {
                room -= bytes;
                traces.push(spans);
            }
            Err(error) if traces.is_empty() => return Err(error),
            Err(_) => return Ok(ControlFlow::Break(())),
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let complete = unvisited.into_count(ids)? == 0;
    Ok(ZipkinTraces { traces, complete, budget_spent: false })
}

/// Spans of a trace, with the memory that they take.
#[derive(Debug)]
struct ReservedSpans {
    spans: Vec<Span>,
    bytes: u64,
}

impl ReservedSpans {
    /// Converts the spans of a trace in its order; `None` when they take more bytes than this.
    fn from_trace(trace: &ExportTraceServiceRequest, bytes_max: u64) -> Result<Self, QueryError> {
        let (mut spans, mut bytes) = (Vec::new(), 0);
        for span in from_otlp(trace) {
            bytes += memory_of(&span);
            if bytes > bytes_max {
                return Err(QueryError::TooManyBytes { bytes_max, instead: USE_SKELETON });
            }
            spans.push(span);
        }
        Ok(Self { spans, bytes })
    }
}

/// Memory of a span in bytes.
fn memory_of(span: &Span) -> u64 {
    let ids = span.trace_id.len() + span.parent_id.len() + span.id.len();
    let sides = [&span.local_endpoint, &span.remote_endpoint].into_iter().flatten();
    let names = sides.map(|Endpoint { service_name, ipv4, ipv6, .. }| {
        service_name.len() + ipv4.len() + ipv6.len()
    });
    let tags = span.tags.iter().map(|tag| size_of_val(tag) + tag.key.len() + tag.value.len());
    let annotations = span.annotations.iter().map(|said| size_of_val(said) + said.value.len());
    let parts = names.chain(tags).chain(annotations).sum::<usize>();
    (size_of::<Span>() + ids + span.name.len() + parts) as u64
}

/// Returns the newest matching traces, newest first.
pub(crate) fn find(reader: &Reader, request: &Request) -> Result<ZipkinTraces, QueryError> {
    let (filter, all_known) = candidates(reader, request)?;
    let mut search = SearchState {
        reader,
        request,
        met: HashSet::new(),
        matching: Vec::new(),
        held_bytes: 0,
        is_cut: false,
        spans: 0,
        complete: true,
        budget_spent: !all_known,
    };
    let Some(mut filter) = filter else { return Ok(search.into_found()) };
    // The duration of a span without a time is an attribute, so it does not select candidates.
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
        // Traces with the same start at the end of a round are found again, but tested only once.
        filter.start.end = Some(UnixNanos(oldest.0.saturating_add(1)));
        size = size.saturating_mul(4).min(LARGEST_ROUND);
    }
    Ok(search.into_found())
}

/// Returns a filter that one span of every matching trace passes; `None` when no trace can match.
/// The flag is true when all services are known.
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
        // Zipkin's shortest duration is 1 µs, whatever the measured one.
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
    /// Matching traces by the time at which each began.
    matching: Vec<(u64, ReservedSpans)>,
    /// Memory of the matching traces.
    held_bytes: u64,
    /// True when only the newest of them fit.
    is_cut: bool,
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
        let scan = Scan { detail: Projection::Ids, rows_max: self.reader.settings.search_rows_max };
        let mut newest = NewestTraces::new(count);
        let stats = self.reader.newest_spans_reached(filter, scan, |rows, reached| {
            for row in 0..rows.len() {
                newest.add(rows.trace_id(row), rows.start(row));
            }
            Ok(newest.rows_needed(reached))
        })?;
        self.budget_spent |= !newest.is_exact(scan, stats);
        Ok(newest.into_list())
    }

    /// Reads the candidates and keeps the matching ones.
    fn look_at(&mut self, candidates: Vec<(TraceId, UnixNanos)>) -> Result<(), QueryError> {
        let ids = candidates.into_iter().map(|(id, _)| id);
        let mut left: Vec<TraceId> = ids.filter(|id| self.met.insert(*id)).collect();
        while !left.is_empty() && self.has_room() {
            let unvisited = visit_complete(self.reader, &left, |_, trace| {
                self.keep_if_matching(&trace);
                Ok(ControlFlow::Continue(()))
            })?;
            self.complete &= unvisited.too_large.is_empty();
            self.keep_the_newest();
            left.drain(..left.len() - unvisited.last);
        }
        self.complete &= left.is_empty();
        Ok(())
    }

    fn keep_if_matching(&mut self, trace: &ExportTraceServiceRequest) {
        let bytes_max = self.reader.limits.view_bytes_max;
        let Ok(held) = ReservedSpans::from_trace(trace, bytes_max) else {
            self.complete = false;
            return;
        };
        self.spans += held.spans.len() as u64;
        if self.request.matches(&held.spans) {
            self.held_bytes += held.bytes;
            self.matching.push((began(&held.spans), held));
        }
        // Eviction visits all held traces, so it waits for a quarter more than the maximum.
        if self.held_bytes > bytes_max + bytes_max / 4 {
            self.keep_the_newest();
        }
    }

    /// Drops the traces beyond the limit, in number and in size.
    fn keep_the_newest(&mut self) {
        self.matching.sort_by_key(|(began, _)| std::cmp::Reverse(*began));
        self.matching.truncate(self.request.limit);
        let limits = &self.reader.limits;
        let (mut spans, mut bytes) = (0, 0);
        let fits = self.matching.iter().take_while(|(_, held)| {
            spans += held.spans.len() as u64;
            bytes += held.bytes;
            spans <= limits.view_spans_max && bytes <= limits.view_bytes_max
        });
        let fits = fits.count();
        self.is_cut |= fits < self.matching.len();
        self.complete &= !self.is_cut;
        self.matching.truncate(fits);
        self.held_bytes = self.matching.iter().map(|(_, held)| held.bytes).sum();
    }

    /// Reports whether more spans may be read.
    fn has_room(&mut self) -> bool {
        let has_room = self.spans < self.reader.limits.page_spans_max;
        self.complete &= has_room;
        has_room
    }

    /// Reports whether the page is full of traces newer than `oldest`.
    fn is_settled(&self, oldest: UnixNanos) -> bool {
        let last = match self.is_cut {
            true => self.matching.last(),
            false => self.matching.get(self.request.limit.saturating_sub(1)),
        };
        last.is_some_and(|(began, _)| *began >= oldest.0 / 1_000)
    }

    fn into_found(self) -> ZipkinTraces {
        let traces = self.matching.into_iter().map(|(_, held)| held.spans).collect();
        ZipkinTraces { traces, complete: self.complete, budget_spent: self.budget_spent }
    }
}
