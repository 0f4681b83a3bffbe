//! Collects the facts of spans from a scan, trace by trace, each distinct span once.
//!
//! Owns the numbers of names during one query and the deduplication of repeated spans, so that a
//! sender's retries cost no memory. Spans arrive in the order of the scan, which has no meaning.
//! Assembly sorts them.

mod page;

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    ops::ControlFlow,
    sync::Arc,
};

use ahash::RandomState;
use tidings_assembly::SpanFacts;
use tidings_proto::{SpanId, TraceId, UnixNanos, api::SpanFlags, otlp::StatusCode};
use tidings_storage::{Projection, Scan, SpanFilter, SpanRows};

use super::hosts::Hosts;
use crate::{QueryError, execution::Reader};

/// Names by number.
#[derive(Debug, Clone, Default)]
pub struct Names {
    numbers: HashMap<Arc<str>, u32, RandomState>,
    texts: Vec<Arc<str>>,
    /// Total length in bytes.
    bytes: u64,
}

/// The number of a name that is not stored.
const UNSTORED_NAME: u32 = u32::MAX;

impl Names {
    /// Returns the number of this name.
    pub(crate) fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.texts.len()).expect("invariant: spans are bounded below");
        let shared: Arc<str> = text.into();
        self.texts.push(Arc::clone(&shared));
        self.bytes = self.bytes.saturating_add(text.len() as u64);
        self.numbers.insert(shared, number);
        number
    }

    /// Returns the number of a name, which is stored while there is room for names. Without room,
    /// each new name gets a number of its own that is not stored. A caller whose groups are
    /// complete stores no further names.
    pub fn number_within(&mut self, has_room: bool, text: &str) -> u32 {
        match has_room {
            true => self.number(text),
            false => self.numbers.get(text).copied().unwrap_or(UNSTORED_NAME),
        }
    }

    /// Adds these names in the order of their numbers. Returns their numbers here in that order.
    pub(crate) fn number_all(&mut self, others: &Self) -> Vec<u32> {
        others.texts.iter().map(|text| self.number(text)).collect()
    }

    /// Returns the text as [`Self::text`] does, sharing its memory.
    #[must_use]
    pub fn shared(&self, number: u32) -> Arc<str> {
        self.texts.get(number as usize).map_or_else(|| "".into(), Arc::clone)
    }

    /// Number of stored names.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    /// Returns the name with this number.
    #[must_use]
    pub fn text(&self, number: u32) -> &str {
        self.texts.get(number as usize).map_or("", |text| text)
    }
}

/// Position of the row of a gathered span.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowLocation {
    /// Index in [`GatheredTraces::portions()`].
    pub portion: u32,
    /// Index in that portion.
    pub row: u32,
}

/// Facts about the distinct spans of one trace.
#[derive(Debug, Default)]
pub struct TraceFacts {
    /// Input of assembly.
    pub(crate) facts: Vec<SpanFacts>,
    /// Number of repetitions of a span, by its index in `facts`.
    pub(crate) repeats: BTreeMap<u32, u64>,
    /// The [`SpanFlags`] that each span has by itself.
    pub(crate) marks: Vec<u32>,
    /// Rows of the spans in [`GatheredTraces::portions()`], when rows are kept.
    pub(crate) places: Vec<RowLocation>,
    /// Host number of each span; empty when hosts are not determined.
    pub(crate) hosts: Vec<Option<u32>>,
    /// Time at which the last span, or repetition of a span, was received.
    pub(crate) received: UnixNanos,
    /// True when the trace has further spans.
    pub(crate) is_cut: bool,
    /// Number of rows, repeated spans included.
    rows: u64,
    /// Indexes in `facts` by id and content, while spans are gathered.
    known: HashMap<(SpanId, u64), u32, RandomState>,
}

/// The spans of some traces.
#[derive(Debug, Default)]
pub struct GatheredTraces {
    /// Services and operations.
    pub names: Names,
    /// Hosts of the spans; empty when hosts are not determined.
    pub(crate) hosts: Hosts,
    /// Facts of the spans of each trace.
    pub traces: HashMap<TraceId, TraceFacts, RandomState>,
    /// Number of distinct spans.
    spans: u64,
    /// The rows, when rows are kept.
    portions: Vec<SpanRows>,
    /// Memory of the rows in bytes, and the addresses of the buffers that were counted.
    bytes: u64,
    held: HashSet<usize>,
}

/// Extent of a gather.
#[derive(Debug, Clone, Copy)]
pub struct GatherOptions {
    /// Columns to read of each row; rows are kept when this is more than [`Projection::Resources`].
    pub detail: Projection,
    /// Maximum number of spans of a trace for which hosts are determined, which needs resource
    /// columns.
    pub hosts_max: u64,
    /// Maximum number of distinct spans; more are an error.
    pub spans_max: u64,
    /// Narrower query that the error suggests.
    pub instead: &'static str,
}

impl GatheredTraces {
    /// Gathers everything that matches; fails when its rows and names take more than
    /// [`QueryLimits::view_bytes_max`](crate::QueryLimits::view_bytes_max).
    pub(crate) fn read(
        reader: &Reader,
        filter: &SpanFilter,
        gather: GatherOptions,
    ) -> Result<Self, QueryError> {
        let mut gathered = Self::default();
        let scan = Scan { detail: gather.detail, rows_max: u64::MAX };
        reader.spans(filter, scan, |rows| {
            gathered.add(rows, gather.detail > Projection::Resources, gather.hosts_max);
            let instead = gather.instead;
            if gathered.spans > gather.spans_max {
                return Err(QueryError::TooManySpans { limit: gather.spans_max, instead });
            }
            let bytes_max = reader.limits.view_bytes_max;
            if gathered.bytes_held() > bytes_max {
                return Err(QueryError::TooManyBytes { bytes_max, instead });
            }
            Ok(ControlFlow::Continue(()))
        })?;
        gathered.finish(gather.hosts_max);
        Ok(gathered)
    }

    /// Gathers the newest matching spans up to the memory bound. The flag is true when these are
    /// all. Row groups are read with the newest first. Unless the traces are given, other threads
    /// read ahead.
    ///
    /// # Errors
    /// The errors of [`Reader::spans`].
    pub fn read_newest(
        reader: &Reader,
        filter: &SpanFilter,
        gather: GatherOptions,
    ) -> Result<(Self, bool), QueryError> {
        let mut gathered = Self::default();
        let scan = Scan { detail: gather.detail, rows_max: u64::MAX };
        let mut all = true;
        let visit = |rows: &SpanRows| {
            gathered.add(rows, gather.detail > Projection::Resources, gather.hosts_max);
            all = gathered.spans <= gather.spans_max
                && gathered.bytes_held() <= reader.limits.view_bytes_max;
            Ok(if all { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        };
        let stats = match filter.trace_ids {
            Some(_) => reader.spans(filter, scan, visit)?,
            None => reader.spans_ahead(filter, scan, visit)?,
        };
        gathered.finish(gather.hosts_max);
        Ok((gathered, all && stats.complete))
    }

    /// Memory of rows, names and host names in bytes.
    fn bytes_held(&self) -> u64 {
        self.bytes.saturating_add(self.names.bytes).saturating_add(self.hosts.bytes)
    }

    /// The rows, when rows are kept.
    pub(crate) fn portions(&self) -> &[SpanRows] {
        &self.portions
    }

    /// Returns the row of a gathered span.
    pub(crate) fn row(&self, place: RowLocation) -> (&SpanRows, usize) {
        (&self.portions[place.portion as usize], place.row as usize)
    }

    /// Ends the gathering. Hosts are dropped here for traces above `hosts_max`, so that the result
    /// does not depend on portions.
    fn finish(&mut self, hosts_max: u64) {
        let numbers = self.hosts.finish();
        for facts in self.traces.values_mut() {
            facts.finish();
            if facts.facts.len() as u64 > hosts_max {
                facts.hosts = Vec::new();
            }
            facts.hosts.iter_mut().flatten().for_each(|host| *host = numbers[*host as usize]);
        }
    }

    fn add(&mut self, rows: &SpanRows, keep: bool, hosts_max: u64) {
        let has_hosts = hosts_max > 0 && self.spans <= hosts_max;
        let hosts = if has_hosts { self.hosts.host_numbers(rows) } else { Vec::new() };
        let portion = u32::try_from(self.portions.len()).expect("invariant: spans are bounded");
        let mut kept = Vec::new();
        for row in 0..rows.len() {
            let trace = self.traces.entry(rows.trace_id(row)).or_default();
            trace.rows += 1;
            trace.received = trace.received.max(rows.received(row));
            if !trace.add_row(rows, row) {
                continue;
            }
            self.spans += 1;
            trace.facts.push(SpanFacts {
                span_id: rows.span_id(row),
                parent_span_id: rows.parent_span_id(row),
                kind: rows.kind(row),
                start: rows.start(row),
                end: rows.end(row),
                service: self.names.number(rows.service(row)),
                operation: self.names.number(rows.name(row)),
                content_hash: rows.content_hash(row),
            });
            trace.marks.push(marks(rows, row));
            trace.hosts.extend(hosts.get(row));
            if keep {
                // Answers contain these texts for each span.
                let texts = [rows.service(row), rows.name(row), rows.status_message(row)];
                self.bytes += texts.map(str::len).iter().sum::<usize>() as u64;
                let place = u32::try_from(kept.len()).expect("invariant: spans are bounded");
                trace.places.push(RowLocation { portion, row: place });
                kept.push(row);
            }
        }
        if !kept.is_empty() {
            let kept = rows.select(&kept);
            self.bytes += kept.bytes_held(&mut self.held);
            self.portions.push(kept);
        }
    }
}

impl TraceFacts {
    /// Adds the row and reports whether its id and content are new; a repeat is counted.
    fn add_row(&mut self, rows: &SpanRows, row: usize) -> bool {
        let next = u32::try_from(self.facts.len()).expect("invariant: spans are bounded");
        match self.known.entry((rows.span_id(row), rows.content_hash(row))) {
            Entry::Occupied(known) => {
                *self.repeats.entry(*known.get()).or_default() += 1;
                false
            }
            Entry::Vacant(new) => {
                new.insert(next);
                true
            }
        }
    }

    /// Ends gathering, and frees the memory that only gathering needs.
    fn finish(&mut self) {
        self.known = HashMap::default();
    }
}

fn marks(rows: &SpanRows, row: usize) -> u32 {
    let mark = |is: bool, flag: u32| if is { flag } else { 0 };
    mark(rows.status(row) == StatusCode::Error, SpanFlags::ERROR)
        | mark(rows.event_count(row) > 0, SpanFlags::EVENTS)
        | mark(rows.link_count(row) > 0, SpanFlags::LINKS)
        | mark(rows.has_exception(row), SpanFlags::EXCEPTION)
        | mark(rows.end(row).0 == 0, SpanFlags::UNFINISHED)
}
