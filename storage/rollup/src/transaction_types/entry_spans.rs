//! Transactions: extracts the entry span of each trace.
//!
//! The entry span is the earliest span that names no parent. Without such a span, it is the
//! earliest of all. A trace is divided at each silence of an hour or more, and each part is a
//! transaction, as for the calls between services.

use std::{cmp::Ordering, collections::HashMap, ops::Range};

use ahash::RandomState;
use tidings_columns::SpanRows;
use tidings_proto::{SpanId, TraceId, UnixNanos};

use super::{
    SampleSpec, TransactionTypeBounds, TransactionTypeCalls, transaction_type_calls::most_frequent,
};
use crate::{
    Call, RawKey, SILENCE,
    index_bytes::trace_hash,
    query_totals::QueryTotals,
    rollup_encoding::{GroupNames, GroupNumber, GroupTable},
};

/// Root operation of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionTypeKey<'a> {
    /// Service of the entry span.
    pub service: &'a str,
    /// Operation of the entry span.
    pub operation: &'a str,
}

impl<'a> TransactionTypeKey<'a> {
    /// Returns the key as a group key of a file.
    pub fn raw(self) -> RawKey<'a> {
        ([self.service, self.operation], [0, 0])
    }

    /// Returns the transaction type that has this group key in a file.
    pub fn decode(([service, operation], _): RawKey<'a>) -> Self {
        Self { service, operation }
    }
}

/// Returns the position of a trace in a pseudo-random order. Traces whose ids end with the same 8
/// bytes share a position.
#[must_use]
pub fn transaction_position(trace_id: TraceId) -> u64 {
    trace_hash(trace_id.low64())
}

/// Order of a trace's spans as candidates for the entry: the least is the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    names_parent: bool,
    has_no_start: bool,
    start: UnixNanos,
    // The remaining fields only break ties.
    span_id: SpanId,
    content_hash: u64,
}

impl Rank {
    /// Returns true if the row's span ranks before this one.
    pub fn is_after(&self, rows: &SpanRows, row: usize) -> bool {
        let start = rows.start(row);
        let leading = (rows.parent_span_id(row).is_some(), start.0 == 0, start);
        match leading.cmp(&(self.names_parent, self.has_no_start, self.start)) {
            Ordering::Less => true,
            Ordering::Equal => Self::from_row(rows, row) < *self,
            Ordering::Greater => false,
        }
    }

    /// Returns the rank of the span of this row.
    pub fn from_row(rows: &SpanRows, row: usize) -> Self {
        let start = rows.start(row);
        Self {
            names_parent: rows.parent_span_id(row).is_some(),
            has_no_start: start.0 == 0,
            start,
            span_id: rows.span_id(row),
            content_hash: rows.content_hash(row),
        }
    }
}

/// Candidate for the entry span of a trace.
#[derive(Debug, Clone, Copy)]
pub struct EntrySpan {
    /// Rank among the spans of the trace.
    pub rank: Rank,
    /// Number of the transaction type.
    pub transaction_type: GroupNumber,
    /// Call of the span.
    pub call: Call,
}

/// Spans of a trace without a long silence between them.
#[derive(Debug)]
struct TracePart {
    first: u64,
    last: u64,
    entry: EntrySpan,
}

impl TracePart {
    /// Returns true if no long silence separates the part from spans between these times.
    fn is_near(&self, (first, last): (u64, u64)) -> bool {
        first.saturating_sub(self.last) < SILENCE && self.first.saturating_sub(last) < SILENCE
    }

    fn join(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        if other.entry.rank < self.entry.rank {
            self.entry = other.entry;
        }
    }
}

/// Traces whose spans arrive one by one, in any order and possibly repeated.
#[derive(Debug, Default)]
pub struct EntryPool {
    traces: HashMap<TraceId, Vec<TracePart>, RandomState>,
}

impl EntryPool {
    /// Adds a span. `number` returns the number of its transaction type and is called only if it is
    /// needed.
    pub fn add(
        &mut self,
        rows: &SpanRows,
        row: usize,
        number: impl FnOnce(TransactionTypeKey<'_>) -> GroupNumber,
    ) {
        let start = rows.start(row).0;
        self.add_part((start, start), rows, row, number);
    }

    /// Adds the spans of these rows that began in a range. The rows are of one trace.
    pub fn add_run(
        &mut self,
        rows: &SpanRows,
        run: Range<usize>,
        range: &Range<u64>,
        mut number: impl FnMut(TransactionTypeKey<'_>) -> GroupNumber,
    ) {
        // Times of the first and the last span without a long silence, and the best entry.
        let mut open: Option<((u64, u64), BestRow)> = None;
        for row in run {
            let start = rows.start(row).0;
            if !range.contains(&start) {
                continue;
            }
            if let Some(((first, last), best)) = &mut open
                && start.saturating_sub(*last) < SILENCE
                && first.saturating_sub(start) < SILENCE
            {
                (*first, *last) = ((*first).min(start), (*last).max(start));
                best.compare(rows, row);
                continue;
            }
            if let Some((times, best)) = open.replace(((start, start), BestRow::new(rows, row))) {
                self.add_part(times, rows, best.row, &mut number);
            }
        }
        if let Some((times, best)) = open {
            self.add_part(times, rows, best.row, number);
        }
    }

    /// Adds spans of one trace that began between these times, without a long silence. `row` is the
    /// best entry span among them.
    fn add_part(
        &mut self,
        (first, last): (u64, u64),
        rows: &SpanRows,
        row: usize,
        number: impl FnOnce(TransactionTypeKey<'_>) -> GroupNumber,
    ) {
        let parts = self.traces.entry(rows.trace_id(row)).or_default();
        if let [part] = parts.as_mut_slice()
            && part.is_near((first, last))
        {
            (part.first, part.last) = (part.first.min(first), part.last.max(last));
            if part.entry.rank.is_after(rows, row) {
                part.entry = entry(rows, row, number);
            }
            return;
        }
        let mut own = TracePart { first, last, entry: entry(rows, row, number) };
        let mut at = 0;
        while let Some(part) = parts.get(at) {
            if part.is_near((first, last)) {
                own.join(parts.swap_remove(at));
            } else {
                at += 1;
            }
        }
        parts.push(own);
    }

    /// Returns the number of traces.
    pub fn trace_count(&self) -> usize {
        self.traces.len()
    }

    /// Returns the entry spans of all transactions.
    fn entries(&self) -> impl Iterator<Item = &EntrySpan> {
        self.traces.values().flatten().map(|part| &part.entry)
    }

    /// Returns the entries that began in this range.
    pub fn entries_in(&self, range: &Range<u64>) -> impl Iterator<Item = &EntrySpan> {
        self.entries().filter(|of| range.contains(&of.call.exemplar.start_unix_nano.0))
    }

    /// Returns the last halves of the ids of the traces that have a part in this range.
    pub fn low64s_in(&self, range: &Range<u64>) -> Vec<u64> {
        let is_in = |part: &TracePart| part.first < range.end && range.start <= part.last;
        let traces = self.traces.iter().filter(|(_, parts)| parts.iter().any(is_in));
        let mut low64s: Vec<u64> = traces.map(|(trace, _)| trace.low64()).collect();
        low64s.sort_unstable();
        low64s.dedup();
        low64s
    }
}

/// Best entry span among some rows.
#[derive(Debug)]
pub struct BestRow {
    /// Number of the row.
    pub row: usize,
    rank: Rank,
}

impl BestRow {
    fn new(rows: &SpanRows, row: usize) -> Self {
        Self { row, rank: Rank::from_row(rows, row) }
    }

    /// Returns the best of these rows. `None` without rows.
    pub fn among(rows: &SpanRows, mut run: Range<usize>) -> Option<Self> {
        let mut best = Self::new(rows, run.next()?);
        run.for_each(|row| best.compare(rows, row));
        Some(best)
    }

    fn compare(&mut self, rows: &SpanRows, row: usize) {
        if self.rank.is_after(rows, row) {
            *self = Self::new(rows, row);
        }
    }
}

/// Returns the runs of consecutive rows of one trace.
pub fn trace_runs(rows: &SpanRows) -> impl Iterator<Item = Range<usize>> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let trace = (first < rows.len()).then(|| rows.trace_id(first))?;
        let is_other = |row: &usize| rows.trace_id(*row) != trace;
        let end = (first + 1..rows.len()).find(is_other).unwrap_or(rows.len());
        Some(std::mem::replace(&mut first, end)..end)
    })
}

/// Returns the entry span that this row would be.
pub fn entry(
    rows: &SpanRows,
    row: usize,
    number: impl FnOnce(TransactionTypeKey<'_>) -> GroupNumber,
) -> EntrySpan {
    let key = TransactionTypeKey { service: rows.service(row), operation: rows.name(row) };
    EntrySpan {
        rank: Rank::from_row(rows, row),
        transaction_type: number(key),
        call: Call::from_row(rows, row),
    }
}

/// Transactions of spans that were read.
#[derive(Debug, Default)]
pub struct Transactions {
    pool: EntryPool,
    groups: GroupTable,
}

impl Transactions {
    /// Adds a span, which may be a repeated one.
    pub fn add(&mut self, rows: &SpanRows, row: usize) {
        let Self { pool, groups } = self;
        pool.add(rows, row, |key| groups.number(key.raw()));
    }

    /// Returns the memory of the transaction types' names in bytes.
    #[must_use]
    pub fn name_bytes(&self) -> usize {
        self.groups.bytes()
    }

    /// Drops the names of transaction types without transactions.
    pub fn drop_unused_names(&mut self) {
        let (names, mut groups) = (self.groups.names(), GroupTable::default());
        for part in self.pool.traces.values_mut().flatten() {
            if let Some(key) = names.raw(part.entry.transaction_type) {
                part.entry.transaction_type = groups.number(key);
            }
        }
        self.groups = groups;
    }

    /// Returns the transactions of the most frequent transaction types in the query, at most
    /// `limit`, over the time ranges of `bounds`. Transactions outside of all ranges must have been
    /// dropped before.
    #[must_use]
    pub fn calls(&self, bounds: &TransactionTypeBounds, limit: usize) -> TransactionTypeCalls {
        let names = self.groups.names();
        let mut counts: HashMap<GroupNumber, u64> = HashMap::new();
        self.pool.entries().for_each(|of| *counts.entry(of.transaction_type).or_default() += 1);
        counts.retain(|transaction_type, _| {
            names
                .raw(*transaction_type)
                .is_some_and(|key| bounds.includes(TransactionTypeKey::decode(key)))
        });
        let transaction_type_count = counts.len() as u64;
        let mut totals = QueryTotals::between(bounds.times());
        let listed = most_frequent(counts, &names, limit).into_iter();
        let numbers: HashMap<GroupNumber, GroupNumber> = listed
            .map(|(transaction_type, of)| (transaction_type, totals.number(of.key.raw())))
            .collect();
        for of in self.pool.entries() {
            if let Some(transaction_type) = numbers.get(&of.transaction_type) {
                totals.add(*transaction_type, &of.call);
            }
        }
        TransactionTypeCalls::from_totals(totals, 0).among(transaction_type_count)
    }

    /// Returns the number of traces that the spans are of.
    #[must_use]
    pub fn trace_count(&self) -> usize {
        self.pool.trace_count()
    }

    /// Drops the traces that are not wanted.
    pub fn retain(&mut self, is_wanted: impl Fn(TraceId) -> bool) {
        self.pool.traces.retain(|trace, _| is_wanted(*trace));
    }

    /// Drops the transactions that did not begin in a wanted range.
    pub fn retain_started_in(&mut self, is_in: impl Fn(UnixNanos) -> bool) {
        self.pool.traces.retain(|_, parts| {
            parts.retain(|part| is_in(part.entry.call.exemplar.start_unix_nano));
            !parts.is_empty()
        });
    }

    /// Passes each transaction to `visit`: its transaction type and the call of its entry span.
    /// There is no order.
    pub fn each(&self, mut visit: impl FnMut(TransactionTypeKey<'_>, &Call)) {
        let names = self.groups.names();
        for entry in self.pool.entries() {
            if let Some(key) = names.raw(entry.transaction_type) {
                visit(TransactionTypeKey::decode(key), &entry.call);
            }
        }
    }

    /// Returns the sample of each wanted transaction type, ordered by [`transaction_position`].
    #[must_use]
    pub fn sample(&self, wanted: &[SampleSpec]) -> Vec<Vec<TraceId>> {
        let names = self.groups.names();
        let mut samples = Samples::new(wanted);
        self.pool.entries().for_each(|entry| samples.add(&names, wanted, entry));
        samples.finish(wanted)
    }
}

/// Candidate traces, by number of the sample they are for.
#[derive(Debug)]
pub struct Samples {
    of: Vec<Vec<(u64, TraceId)>>,
    /// Numbers of the wanted traces by transaction type, for transaction types seen so far.
    numbers: HashMap<GroupNumber, Vec<usize>>,
}

impl Samples {
    /// Creates samples without candidates, one for each wanted transaction type.
    pub fn new(wanted: &[SampleSpec]) -> Self {
        Self { of: vec![Vec::new(); wanted.len()], numbers: HashMap::new() }
    }

    /// Adds a transaction if a sample wants it. `names` has the names of the transaction types.
    pub fn add(&mut self, names: &GroupNames, wanted: &[SampleSpec], entry: &EntrySpan) {
        let numbers = self.numbers.entry(entry.transaction_type).or_insert_with(|| {
            let key = names.raw(entry.transaction_type).map(TransactionTypeKey::decode);
            let is_it = |wanted: &SampleSpec| key.is_some_and(|key| wanted.matches(key));
            (0..wanted.len()).filter(|number| is_it(&wanted[*number])).collect()
        });
        let exemplar = entry.call.exemplar;
        for number in numbers.iter().filter(|of| wanted[**of].least <= exemplar.duration_nano) {
            let place = transaction_position(exemplar.trace_id);
            self.of[*number].push((place, exemplar.trace_id));
        }
    }

    /// Returns the samples for the wanted traces with this number, with their positions. They have
    /// no order.
    pub fn get(&self, number: usize) -> &[(u64, TraceId)] {
        self.of.get(number).map_or(&[], Vec::as_slice)
    }

    /// Returns the requested number of traces of each sample.
    pub fn finish(self, wanted: &[SampleSpec]) -> Vec<Vec<TraceId>> {
        let firsts = self.of.into_iter().zip(wanted).map(|(mut traces, wanted)| {
            traces.sort_unstable();
            traces.dedup();
            traces.truncate(wanted.traces_max);
            traces.into_iter().map(|(_, id)| id).collect()
        });
        firsts.collect()
    }
}
