#![expect(clippy::disallowed_methods, reason = "tests damage files behind the store's back")]

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Debug,
    fs,
    ops::{ControlFlow, Range},
    sync::Arc,
};

use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, select},
};
use tempfile::TempDir;
use tidings_columns::{SpanRows, conversion::span_rows};
use tidings_data_file::{TableView, encode_spans, index_of, test_files::stored};
use tidings_disk::{
    paths::index_path,
    test_effort::{by_effort, random_cases},
};
use tidings_files::{memory::Chunk, table_file::DataFile};
use tidings_index::{Indexes, SpanFilter, TimeRange, with_corrections, without_corrections};
use tidings_proto::{
    DurationNanos, Signal, TraceId, UnixNanos,
    api::{Exemplar, HistogramBucket, LatencyStats},
    otlp::{
        ExportTraceServiceRequest, KeyValue, Resource, ResourceSpans, ScopeSpans, Span, SpanKind,
        Status, StatusCode,
    },
};
use tidings_rollup::{Call, CallKey, Calls, Durations, LIMITS_PART, Latency, RollupBucket};

use super::{CallAccumulator, CallAccumulatorFactory, CallAggregate, CallBounds};
use crate::Snapshot;

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const MINUTE: u64 = 60 * SECOND;
pub(crate) const HOUR: u64 = 60 * MINUTE;
/// Files are of this hour and of the one before.
pub(crate) const BEGIN: u64 = 500_000 * HOUR;
pub(crate) const NOW: UnixNanos = UnixNanos(BEGIN + HOUR / 2);
/// Number of parts of the sent spans. The last part stays in memory.
const PARTS: usize = 5;
pub(crate) const NO_BOUNDS: CallBounds =
    CallBounds { rows_max: u64::MAX, remembered_max: usize::MAX, threads_max: 1 };

/// Span that can be sent any number of times.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub service: &'static str,
    pub span: Span,
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => (0..60 * MINUTE).prop_map(|after| BEGIN - HOUR / 2 + after),
        6 => (0..60_u64).prop_map(|minute| BEGIN - HOUR / 2 + minute * MINUTE),
        1 => Just(0),
        1 => Just(u64::MAX - 3),
        1 => Just(BEGIN - 40 * 24 * HOUR),
    ]
}

pub(crate) fn sent() -> impl Strategy<Value = Sent> {
    let ids = (1..9_u8, 0..2_u8, 1..200_u8);
    let what = (select(&["shop", "bank", ""][..]), select(&["get", "put"][..]), 0..4, 0..4_i32);
    let duration = option::weighted(0.9, prop_oneof![0..100_u64, 0..10 * SECOND]);
    (ids, what, time(), duration).prop_map(
        |((trace, high, id), (service, name, kind, code), start, duration)| {
            let mut trace_id = vec![0; 16];
            (trace_id[0], trace_id[15]) = (high, trace);
            let span = Span {
                trace_id,
                span_id: vec![id; 8],
                name: name.to_owned(),
                kind,
                start_time_unix_nano: start,
                end_time_unix_nano: duration.map_or(0, |duration| start.saturating_add(duration)),
                status: (code < 3).then(|| Status { code, message: String::new() }),
                ..Span::default()
            };
            Sent { service, span }
        },
    )
}

pub(crate) fn chunk(sent: &[&Sent]) -> Arc<Chunk> {
    let of_services = sent.chunk_by(|one, next| one.service == next.service);
    let resource_spans = of_services.map(|of| {
        let spans = of.iter().map(|sent| sent.span.clone()).collect();
        ResourceSpans {
            resource: Some(Resource {
                attributes: vec![KeyValue::new("service.name", of[0].service)],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }
    });
    let request = ExportTraceServiceRequest { resource_spans: resource_spans.collect() };
    Arc::new(Chunk::new(span_rows(&request, NOW).unwrap()).unwrap())
}

/// Group key of calls in these tests: service, operation, kind, status and step.
pub(crate) type CallGroup = (String, String, i32, i32, u64);

/// Facts of calls that an answer has.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CallFacts {
    pub counts: (u64, u64),
    stats: LatencyStats,
    histogram: Vec<HistogramBucket>,
    exemplars: (Option<Exemplar>, Option<Exemplar>),
}

impl CallFacts {
    pub(crate) fn of(calls: &Calls) -> Self {
        Self {
            counts: (calls.count, calls.errors),
            stats: calls.latency.stats(),
            histogram: calls.latency.histogram(),
            exemplars: (calls.slowest(), calls.failed()),
        }
    }
}

impl CallFacts {
    /// Returns the facts without exemplars. A slowest exemplar must not be slower than all calls.
    pub(crate) fn without_exemplars(&self) -> impl PartialEq + Debug + use<> {
        let (slowest, _) = &self.exemplars;
        assert!(slowest.is_none_or(|of| of.duration_nano <= self.stats.max_nano));
        (self.counts, self.stats, self.histogram.clone())
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Added {
    step: u64,
    groups: Vec<(String, String, i32, i32)>,
    calls: BTreeMap<CallGroup, Calls>,
    pub(crate) from_rollups: u64,
    /// Range of the calls that may still arrive. Steps outside of it are complete.
    range: Option<Range<u64>>,
}

impl Added {
    fn of(&mut self, group: u32, start: UnixNanos) -> &mut Calls {
        if let Some(range) = &self.range {
            assert!(
                range.contains(&start.0),
                "{start:?} came late, or elsewhere than in {range:?}"
            );
        }
        let (service, operation, kind, status) = self.groups[group as usize].clone();
        let place = (service, operation, kind, status, start.0 - start.0 % self.step);
        self.calls.entry(place).or_default()
    }

    pub(crate) fn said(&self) -> BTreeMap<&CallGroup, CallFacts> {
        self.calls.iter().map(|(place, calls)| (place, CallFacts::of(calls))).collect()
    }

    fn join(&mut self, other: &Self) {
        for (place, calls) in &other.calls {
            self.calls.entry(place.clone()).or_default().merge(calls);
        }
        self.from_rollups += other.from_rollups;
    }
}

/// Creates accumulators with steps of this length.
pub(crate) struct Adding(pub(crate) u64);

impl CallAccumulatorFactory for Adding {
    type Accumulator = Added;

    fn unordered(&self) -> Added {
        Added { step: self.0, ..Added::default() }
    }

    fn for_range(&self, range: Range<UnixNanos>, _: &Arc<Added>) -> Added {
        Added { range: Some(range.start.0..range.end.0), ..self.unordered() }
    }
}

impl CallAccumulator for Added {
    fn group(&mut self, key: CallKey<'_>) -> u32 {
        let (kind, status) = (i32::from(key.kind), i32::from(key.status));
        self.groups.push((key.service.to_owned(), key.operation.to_owned(), kind, status));
        u32::try_from(self.groups.len() - 1).unwrap()
    }

    fn call(&mut self, group: u32, call: &Call) {
        self.of(group, call.exemplar.start_unix_nano).add(call);
    }

    fn add_bucket(&mut self, group: u32, bucket: &RollupBucket<'_>) -> Option<()> {
        let mut alone = Calls::default();
        bucket.add_to(&mut alone)?;
        let mut spread = Latency::default();
        bucket.spread(|duration, count| (0..count).for_each(|_| spread.add(duration)))?;
        assert_eq!(bucket.durations(), Some(Durations::from_latency(&alone.latency)));
        assert_eq!((alone.count, alone.errors), (bucket.count(), bucket.errors()));
        assert_eq!(spread.histogram(), alone.latency.histogram());
        let calls = self.of(group, bucket.start());
        bucket.add_to(calls)?;
        self.from_rollups += bucket.count();
        Some(())
    }

    fn finish_from(&mut self, from: UnixNanos) {
        let range = self.range.as_mut().expect("what comes in no order is not settled");
        assert!(range.start <= from.0 && from.0 <= range.end);
        range.end = from.0;
    }
}

/// Reference implementation: every distinct span that was sent counts.
pub(crate) fn obvious(all: &[&Sent], filter: &SpanFilter, step: u64) -> Added {
    let mut added = Adding(step).unordered();
    let mut seen = HashSet::new();
    let chunk = chunk(all);
    let rows = SpanRows::from_batch(chunk.batch()).unwrap();
    for row in 0..rows.len() {
        let (key, call) = (CallKey::from_row(&rows, row), Call::from_row(&rows, row));
        let matches = filter.start.contains(call.exemplar.start_unix_nano)
            && filter.services.as_ref().is_none_or(|of| of.iter().any(|name| name == key.service))
            && filter.operation.as_ref().is_none_or(|name| name == key.operation)
            && filter.kind.is_none_or(|kind| kind == key.kind)
            && filter.status.is_none_or(|status| status == key.status);
        if matches && seen.insert(rows.content_hash(row)) {
            let group = added.group(key);
            added.call(group, &call);
        }
    }
    added
}

pub(crate) fn aggregate_by(
    threads_max: usize,
    snapshot: &Snapshot,
    filter: &SpanFilter,
    step: u64,
) -> (Added, CallAggregate<Added>) {
    let (bounds, watch) = (CallBounds { threads_max, ..NO_BOUNDS }, || ControlFlow::Continue(()));
    let adding = Adding(step);
    let aggregate =
        snapshot.aggregate_calls(filter, DurationNanos(step), bounds, &adding, &watch).unwrap();
    assert!(aggregate.scan.complete && !aggregate.repeats_counted);
    let mut all = adding.unordered();
    aggregate.shares.iter().chain([&*aggregate.unordered]).for_each(|share| all.join(share));
    (all, aggregate)
}

fn aggregate(snapshot: &Snapshot, filter: &SpanFilter, step: u64) -> Added {
    aggregate_by(1, snapshot, filter, step).0
}

pub(crate) fn filter() -> impl Strategy<Value = SpanFilter> {
    let end = || option::weighted(0.8, time().prop_map(UnixNanos));
    let services = option::weighted(0.2, Just(vec!["bank".to_owned(), "nobody".to_owned()]));
    let kind = option::weighted(0.1, Just(SpanKind::Server));
    let status = option::weighted(0.2, select(&[StatusCode::Unset, StatusCode::Error][..]));
    let operation = option::weighted(0.2, Just("get".to_owned()));
    (end(), end(), services, operation, kind, status).prop_map(
        |(start, end, services, operation, kind, status)| SpanFilter {
            start: TimeRange { start, end },
            services,
            operation,
            kind,
            status,
            ..SpanFilter::default()
        },
    )
}

/// Returns a span that is sent again, and the part that receives it.
pub(crate) fn sending() -> impl Strategy<Value = (Index, usize)> {
    (any::<Index>(), 0..PARTS)
}

/// Distributes all spans to the parts except the last, and then the repeated spans.
pub(crate) fn dealt<'a>(pool: &'a [Sent], sendings: &[(Index, usize)]) -> Vec<Vec<&'a Sent>> {
    let mut parts = vec![Vec::new(); PARTS];
    for (number, sent) in pool.iter().enumerate() {
        parts[number % (PARTS - 1)].push(sent);
    }
    for (which, part) in sendings {
        parts[*part].push(which.get(pool));
    }
    parts
}

/// Damages the pages of a file's index.
pub(crate) fn damage_index(snapshot: &Snapshot, which: &Index) {
    let index = index_path(&which.get(&snapshot.spans.files).path);
    let mut bytes = fs::read(&index).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].iter_mut().for_each(|byte| *byte ^= 0x5a);
    fs::write(&index, bytes).unwrap();
}

/// Builds the index of a file again, without corrections.
pub(crate) fn rebuild_index(snapshot: &Snapshot, file: &DataFile) {
    let index = index_of(Signal::Spans, file).unwrap();
    fs::write(index_path(&file.path), index).unwrap();
    snapshot.indexes.invalidate(&file.path);
}

/// Sets the limits of this thread back when it is dropped.
struct WholeLimits;

impl Drop for WholeLimits {
    fn drop(&mut self) {
        LIMITS_PART.set(1);
    }
}

/// Does the work while one part in this many of each limit holds in this thread.
pub(crate) fn with_part_of_limits<T>(part: usize, work: impl FnOnce() -> T) -> T {
    let _whole = WholeLimits;
    LIMITS_PART.set(part);
    work()
}

/// Returns a snapshot of the sent spans: the last part in memory, the others in files of one flush
/// each.
pub(crate) fn snapshot(folder: &TempDir, parts: &[Vec<&Sent>]) -> Snapshot {
    let (memory, flushes) = parts.split_last().unwrap();
    let chunks = memory.chunks(5).map(chunk).collect();
    let mut files = Vec::new();
    for flush in flushes.iter().filter(|flush| !flush.is_empty()) {
        files.extend(stored(folder.path(), encode_spans(&[chunk(flush)], NOW).unwrap()));
    }
    Snapshot::new(TableView { chunks, files }, TableView::default())
        .indexed_by(Arc::new(Indexes::new(1 << 20)))
}

/// Like [`snapshot`], with corrections in some files against the files before them. The bits of
/// `joined` select the files.
pub(crate) fn snapshot_joined(folder: &TempDir, parts: &[Vec<&Sent>], joined: u32) -> Snapshot {
    let snapshot = snapshot(folder, parts);
    join_some(&snapshot, joined);
    snapshot
}

/// Adds corrections to the files that the bits of `joined` select, against the files before them.
pub(crate) fn join_some(snapshot: &Snapshot, joined: u32) {
    let mut before: Vec<Arc<DataFile>> = Vec::new();
    for (at, file) in snapshot.spans.files.iter().enumerate() {
        let others: Vec<_> = before.iter().filter(|of| of.hour == file.hour).cloned().collect();
        if joined >> at & 1 > 0 && join(snapshot, file, &others) {
            before.push(Arc::clone(file));
        }
    }
}

/// Adds corrections against the other files to a file's index. Returns true if it was possible.
pub(crate) fn join(snapshot: &Snapshot, file: &Arc<DataFile>, others: &[Arc<DataFile>]) -> bool {
    let path = index_path(&file.path);
    let index = fs::read(&path).unwrap();
    let made = with_corrections(&index, |offset| {
        let go_on = &mut || ControlFlow::Continue(());
        super::build_corrections(&snapshot.indexes, file, others, offset, go_on)
    });
    let Some(made) = made.unwrap() else { return false };
    assert_eq!(without_corrections(made.clone()), index);
    fs::write(&path, made).unwrap();
    snapshot.indexes.invalidate(&file.path);
    true
}

proptest! {
    #![proptest_config(random_cases(32))]

    #[test]
    fn rollups_say_what_the_spans_say(
        pool in vec(sent(), 1..60),
        sendings in vec(sending(), 0..120),
        filters in vec((filter(), select(&[1, 7, 20, 60, 120, 300, 900, 1_800, 5_400, 86_400][..])), 6),
        damage in option::weighted(0.3, any::<Index>()),
    ) {
        let parts = dealt(&pool, &sendings);
        let folder = TempDir::new().unwrap();
        let snapshot = snapshot(&folder, &parts);
        let all: Vec<&Sent> = parts.iter().flatten().copied().collect();
        for (filter, seconds) in &filters {
            let step = seconds * SECOND;
            let obvious = obvious(&all, filter, step);
            let expected = obvious.said();
            let added = aggregate(&snapshot, filter, step);
            prop_assert_eq!(added.said(), expected);
            // Each query runs several times, so that later runs use the caches, and with several
            // threads.
            for threads in [1, 2, 5] {
                let (again, aggregate) = aggregate_by(threads, &snapshot, filter, step);
                prop_assert_eq!(again.said(), obvious.said());
                prop_assert!(aggregate.shares.len() <= threads);
            }
        }
        let Some(which) = damage else { return Ok(()) };
        damage_index(&snapshot, &which);
        for ((filter, seconds), threads) in filters.iter().zip([3, 1].into_iter().cycle()) {
            let step = seconds * SECOND;
            let obvious = obvious(&all, filter, step);
            let expected = obvious.said();
            let (added, _) = aggregate_by(threads, &snapshot, filter, step);
            prop_assert_eq!(added.said(), expected);
        }
    }
}

pub(crate) fn numbered(number: u64, start: u64) -> Sent {
    let span = Span {
        trace_id: u128::from(number + 1).to_be_bytes().to_vec(),
        span_id: (number + 1).to_be_bytes().to_vec(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + 1_000 * (number + 1),
        ..Span::default()
    };
    Sent { service: "shop", span }
}

#[test]
fn quantiles_are_exact_or_not_as_if_every_span_had_been_read() {
    let everything = SpanFilter::default();
    for (first, second, repeats) in
        [(500, 12, 30), (500, 13, 30), (256, 256, 256), (700, 5, 400), (1, 0, 1)]
    {
        let spans: Vec<Sent> =
            (0..first + second).map(|number| numbered(number, BEGIN + number)).collect();
        let all: Vec<&Sent> = spans.iter().collect();
        let (one, other) = all.split_at(usize::try_from(first).unwrap());
        let again = one.iter().take(repeats).copied();
        let parts = [one.to_vec(), other.iter().copied().chain(again).collect(), vec![]];
        let folder = TempDir::new().unwrap();
        let snapshot = snapshot(&folder, &parts);
        for step in [MINUTE, 60 * MINUTE] {
            // The three queries read the files, make the aggregate of the hour, and use the cached
            // aggregate.
            for _ in 0..3 {
                let added = aggregate(&snapshot, &everything, step);
                assert_eq!(added.said(), obvious(&all, &everything, step).said());
                assert_eq!(added.from_rollups, first + second);
            }
        }
    }
}

#[test]
fn whole_periods_are_not_read_as_rows() {
    let spans: Vec<Sent> =
        (0..3_000).map(|number| numbered(number, BEGIN + number * SECOND)).collect();
    let all: Vec<&Sent> = spans.iter().collect();
    let folder = TempDir::new().unwrap();
    let snapshot = snapshot(&folder, &[all.clone(), vec![]]);
    for (start, end, step, rows) in [
        (BEGIN, BEGIN + HOUR, MINUTE, 0),
        (BEGIN + 30 * SECOND, BEGIN + HOUR, 30 * MINUTE, 30),
        (BEGIN + MINUTE - 1, BEGIN + 121 * SECOND, MINUTE, 1),
        (BEGIN, BEGIN + HOUR, 30 * SECOND, 3_000),
    ] {
        let range = TimeRange { start: Some(UnixNanos(start)), end: Some(UnixNanos(end)) };
        let filter = SpanFilter { start: range, ..SpanFilter::default() };
        let (added, aggregate) = aggregate_by(1, &snapshot, &filter, step);
        assert_eq!(added.said(), obvious(&all, &filter, step).said());
        let matching = all
            .iter()
            .filter(|sent| filter.start.contains(UnixNanos(sent.span.start_time_unix_nano)));
        assert_eq!(added.from_rollups + rows, matching.count() as u64, "{start} {end} {step}");
        // Pages are read as a whole.
        assert_eq!(aggregate.scan.rows > 0, rows > 0);
    }
}

#[test]
fn a_trace_in_several_runs_or_groups_without_end_go_without_rollups() {
    let part = by_effort(32_u64, 1);
    let spans: Vec<Sent> = (0..70_000 / part)
        .map(|number| {
            let mut sent = numbered(number, BEGIN + number);
            sent.span.name = number.to_string();
            sent
        })
        .collect();
    let all: Vec<&Sent> = spans.iter().collect();
    let folder = TempDir::new().unwrap();
    let part = usize::try_from(part).unwrap();
    let snapshot = with_part_of_limits(part, || snapshot(&folder, &[all, vec![]]));
    let added = aggregate(&snapshot, &SpanFilter::default(), HOUR);
    assert_eq!((added.from_rollups, added.calls.len()), (0, spans.len()));
    let trace = TraceId::from_wire(&spans[0].span.trace_id).unwrap();
    let filter = SpanFilter { trace_ids: Some(vec![trace]), ..SpanFilter::default() };
    assert_eq!(aggregate(&snapshot, &filter, HOUR).calls.len(), 1);
}
