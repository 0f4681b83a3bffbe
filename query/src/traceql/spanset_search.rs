//! Finds the traces of a query, newest first.
//!
//! A trace is found when a span of its result starts in the requested range or, by Tempo's rule,
//! when the trace itself runs in that range ([`TimeSelection`]). Its position in the list is the
//! earliest start among its candidate spans. The range selects traces and does not cut them. Traces
//! are fetched and evaluated in batches until enough are found. Traces beyond the bounds are left
//! out, and the result is then marked incomplete.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
    ops::ControlFlow,
};

use tidings_proto::{DurationNanos, SpanId, TraceId, UnixNanos};
use tidings_storage::{Projection, Scan, ScanStats, SpanFilter, SpanRows, TimeRange};
use tidings_traceql::{CompiledStage, Field, Fields, Stage, Value, compile};

use super::{
    ReadBudget,
    candidate_scan::{CandidateScan, ResultPosition, each_row, newest_first},
    candidates::Candidates,
    display::{DisplayBudget, DisplayLimits, bounded, read_values},
    evaluate::{Spanset, Table, evaluate},
    overlap::{SubRange, TimeSelection},
    read::{RowReader, detail, fits_memory, table},
    records::{self, RecordReader, RecordsRead},
};
use crate::{
    QueryError,
    execution::Reader,
    search::streamed_traces::StreamedTraces,
    trace::{
        trace_rows::{GatherOptions, GatheredTraces},
        tree::Tree,
    },
};

/// Maximum number of spans that are held in memory at once, with their attributes.
const BATCH_SPANS_MAX: u64 = 200_000;
/// Maximum number of traces that are fetched at once.
const BATCH_TRACES_MAX: usize = 256;

/// Request of a search.
#[derive(Debug, Clone)]
pub struct TraceqlSearch {
    /// The stages of the query.
    pub stages: Vec<Stage>,
    /// Choice of traces by time.
    pub times: TimeSelection,
    /// Maximum number of traces.
    pub limit: usize,
    /// Bounds on the spans shown.
    pub shown: DisplayLimits,
    /// Position in the list after which the traces are.
    pub after: Option<ResultPosition>,
    /// Ids to which the search is restricted, if given.
    pub among: Option<Vec<TraceId>>,
}

/// A trace that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundTrace {
    /// Its id.
    pub trace_id: TraceId,
    /// Service and name of the root; `None` when the root is missing.
    pub root: Option<(String, String)>,
    /// Start of the whole trace.
    pub start: UnixNanos,
    /// Duration of the whole trace.
    pub duration: DurationNanos,
    /// Duration of the longest span in its spansets.
    pub(crate) longest_match: DurationNanos,
    /// The first of its spansets.
    pub spansets: Vec<FoundSpanset>,
    /// Number of all its spansets.
    pub spanset_count: usize,
    pub(crate) place: ResultPosition,
    /// Spans and failed spans by service.
    pub services: BTreeMap<String, (u64, u64)>,
}

/// A spanset of a trace that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundSpanset {
    /// Number of all its spans.
    pub matched: usize,
    /// Values that the query computed for it, by name.
    pub attributes: Vec<(String, Value)>,
    /// The first of its spans.
    pub spans: Vec<FoundSpan>,
}

/// A span that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundSpan {
    /// Its id.
    pub span_id: SpanId,
    /// Its service.
    pub service: String,
    /// Its name.
    pub name: String,
    /// Its start.
    pub start: UnixNanos,
    /// Its duration.
    pub duration: DurationNanos,
    /// Values of fields that the query read, except those that are always shown.
    pub attributes: Vec<(Field, Value)>,
}

/// Result of a search.
#[derive(Debug, Default)]
pub struct TraceqlResult {
    /// Traces, the newest first.
    pub traces: Vec<FoundTrace>,
    /// Statistics of the scan.
    pub stats: ScanStats,
    /// Number of traces that were evaluated.
    pub inspected: u64,
    /// Number of traces further down the list that can match and were not evaluated.
    pub(crate) left: u64,
    /// True when every remaining trace matches.
    pub(crate) exact: bool,
}

/// Listener to a search that continues.
pub trait TraceListener {
    /// Takes the result so far, after each trace that was evaluated. Its traces are in the final
    /// result, unchanged.
    fn update(&mut self, found: &TraceqlResult) -> Result<(), QueryError>;
}

impl TraceListener for StreamedTraces<'_> {
    fn update(&mut self, found: &TraceqlResult) -> Result<(), QueryError> {
        if !self.is_due() {
            return Ok(());
        }
        let new = found.traces.iter().skip(self.count()).map(|trace| trace.trace_id);
        self.send(&new.collect::<Vec<_>>())
    }
}

/// A trace with all values that a query reads.
#[derive(Debug)]
pub(crate) struct AssembledTrace<'a> {
    pub(crate) tree: Tree,
    pub(crate) table: Table,
    pub(crate) gathered: &'a GatheredTraces,
}

/// Finds traces.
///
/// # Errors
/// The errors of [`Reader::spans`].
pub fn found(reader: &Reader, wanted: &TraceqlSearch) -> Result<TraceqlResult, QueryError> {
    search(reader, wanted, &mut StreamedTraces::new(reader))
}

/// Finds traces, and shows them to a listener meanwhile.
///
/// # Errors
/// The errors of [`Reader::spans`] and of `listener`.
pub fn search(
    reader: &Reader,
    search: &TraceqlSearch,
    listener: &mut dyn TraceListener,
) -> Result<TraceqlResult, QueryError> {
    let mut fields = Fields::default();
    let stages = compile(&search.stages, &mut fields);
    let mut candidates = Candidates::from_stages(&stages, &fields, search.times.range());
    if search.among.is_some() {
        candidates.filters.iter_mut().for_each(|filter| filter.trace_ids.clone_from(&search.among));
    }
    let record_times = search.times.log_range();
    let filters = &mut candidates.filters;
    let narrowed =
        records::restrict_to_log_traces(reader, (&stages, &fields), record_times, filters)?;
    let records = RecordReader::new(reader, &fields, record_times);
    let found = TraceqlResult { exact: candidates.exact, ..TraceqlResult::default() };
    let known = HashSet::new();
    let left = DisplayBudget::new(search.shown, reader.limits.view_bytes_max);
    let mut run = SearchState {
        reader,
        search,
        fields: &fields,
        stages,
        candidates,
        records,
        left,
        known,
        found,
    };
    run.found.stats.complete = true;
    for sub_range in search.times.sub_ranges() {
        if run.found.traces.len() < search.limit && run.found.stats.complete {
            run.search_sub_range(sub_range, listener)?;
        }
    }
    if search.times.is_of_trace() {
        run.found.traces.sort_by(|a, b| newest_first(&a.place, &b.place));
    }
    for read in [narrowed, run.records.stats] {
        run.found.stats += read;
    }
    Ok(run.found)
}

/// State of a search.
struct SearchState<'a> {
    reader: &'a Reader,
    search: &'a TraceqlSearch,
    fields: &'a Fields,
    stages: Vec<CompiledStage>,
    candidates: Candidates,
    records: RecordReader<'a>,
    /// Remaining spans and bytes to show.
    left: DisplayBudget,
    /// Traces that were evaluated, in case a trace can be found again.
    known: HashSet<TraceId>,
    found: TraceqlResult,
}

impl SearchState<'_> {
    /// Adds the traces with a candidate span that starts in this part of the range.
    fn search_sub_range(
        &mut self,
        sub_range: SubRange,
        listener: &mut dyn TraceListener,
    ) -> Result<(), QueryError> {
        let (reader, search, candidates) = (self.reader, self.search, &self.candidates);
        let mut start = sub_range.start;
        if let Some((after, _)) = search.after {
            // The position of a trace further down is no later than the cursor.
            let end = UnixNanos(after.0.saturating_add(1));
            start.end = Some(start.end.map_or(end, |given| given.min(end)));
        }
        // Nearly all traces match that are known to be long enough, when nothing else is asked.
        let most_match = candidates.exact || candidates.depend_on_duration_alone(self.fields);
        let first = if most_match { search.limit } else { search.limit.max(32) };
        let step = sub_range.first_step(first.saturating_add(1));
        let budget = ReadBudget::whole(reader);
        let of = (reader, budget);
        let mut walk = CandidateScan::new(of, candidates, self.fields, start, step);
        walk.stats = ScanStats { complete: false, ..self.found.stats };
        let (stages, known, found) = (&self.stages, &mut self.known, &mut self.found);
        let (records, left) = (&mut self.records, &mut self.left);
        let mut complete = true;
        while found.traces.len() < search.limit
            && let Some(mut places) = walk.step()?
        {
            found.stats = walk.stats;
            if let Some(after) = search.after {
                places.retain(|place| newest_first(&after, place).is_lt());
            }
            places.retain(|place| !known.contains(&place.1));
            sub_range.retain(reader, &mut places)?;
            let mut at = 0;
            let of = (reader, self.fields, &mut *records);
            complete &= each_trace(of, budget, &places, first, |step| {
                let TraceStep::Trace(place, trace) = step else {
                    return Ok(ControlFlow::Continue(()));
                };
                at = place + 1;
                found.inspected += 1;
                let place = places[place];
                if search.times.is_of_trace() {
                    known.insert(place.1);
                }
                let spansets = evaluate(stages, &trace.table, &|| reader.check_cancelled())?;
                if is_in_time(search.times, &trace.tree, &spansets) {
                    let shown = (search.shown, &mut *left);
                    found.traces.push(found_trace(trace, place, self.fields, &spansets, shown));
                    reader.report_matches(found.traces.len());
                }
                listener.update(found)?;
                let enough = found.traces.len() >= search.limit;
                Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
            found.left = (places.len() - at) as u64;
            if reader.is_late(7) || !records.stats.complete {
                complete = false;
                break;
            }
        }
        found.stats = ScanStats { complete: walk.stats.complete && complete, ..walk.stats };
        Ok(())
    }
}

fn is_in_time(times: TimeSelection, tree: &Tree, spansets: &[Spanset]) -> bool {
    let mut spans = spansets.iter().flat_map(|spanset| &spanset.spans).peekable();
    let has_result = spans.peek().is_some();
    let range = times.range();
    let has_start = spans.any(|span| range.contains(tree.fact(*span as usize).start));
    has_result && times.matches((tree.start, tree.end), has_start)
}

/// Returns the traces with a candidate span, newest first.
pub(crate) fn candidate_traces(
    (reader, budget): (&Reader, ReadBudget),
    candidates: &Candidates,
    fields: &Fields,
    start: TimeRange,
) -> Result<(Vec<ResultPosition>, ScanStats), QueryError> {
    let of = (reader, budget);
    let mut walk = CandidateScan::new(of, candidates, fields, start, usize::MAX);
    let places = walk.step()?.unwrap_or_default();
    Ok((places, walk.stats))
}

/// Passes each candidate row with its values to `visit`, until half of the deadline has passed.
pub(crate) fn each_candidate(
    reader: &Reader,
    candidates: &Candidates,
    fields: &Fields,
    mut visit: impl FnMut(&SpanRows, usize, &[Value]),
) -> Result<ScanStats, QueryError> {
    let of = (reader, ReadBudget::whole(reader));
    each_portion(of, candidates, fields, Projection::Facts, |rows, row_reader| {
        each_row((reader, row_reader), candidates, rows, |row, values| visit(rows, row, values))?;
        Ok(ControlFlow::Continue(()))
    })
}

/// Passes portions of rows that include all candidate rows to `visit`, until it breaks or the budget
/// ends. The rows have at least this detail.
pub(super) fn each_portion(
    (reader, budget): (&Reader, ReadBudget),
    candidates: &Candidates,
    fields: &Fields,
    at_least: Projection,
    mut visit: impl FnMut(&SpanRows, &mut RowReader<'_>) -> Result<ControlFlow<()>, QueryError>,
) -> Result<ScanStats, QueryError> {
    let mut total = ScanStats::NOTHING;
    let mut row_reader = RowReader::new(fields);
    for filter in &candidates.filters {
        let rows_max = budget.rows_max.saturating_sub(total.rows);
        let scan = Scan { detail: detail(fields).max(at_least), rows_max };
        let is_late = || reader.elapsed() > budget.scan_end;
        let stats = reader.spans(filter, scan, |rows| match is_late() {
            true => Ok(ControlFlow::Break(())),
            false => visit(rows, &mut row_reader),
        })?;
        total += stats;
    }
    Ok(total)
}

/// A step through traces that are fetched.
pub(super) enum TraceStep<'a> {
    /// A trace, with its index in the list.
    Trace(usize, &'a AssembledTrace<'a>),
    /// The end of the traces that were fetched together, with their spans.
    BatchEnd(&'a GatheredTraces),
}

/// Fetches and assembles the traces in order and passes each step to `visit`, until it breaks or
/// the budget's time ends. Returns true when no trace was left out.
pub(super) fn each_trace(
    (reader, fields, records): (&Reader, &Fields, &mut RecordReader<'_>),
    budget: ReadBudget,
    places: &[ResultPosition],
    first: usize,
    mut visit: impl FnMut(TraceStep<'_>) -> Result<ControlFlow<()>, QueryError>,
) -> Result<bool, QueryError> {
    // Rows are kept only when more than facts are read.
    let detail = detail(fields).max(Projection::Attributes);
    let mut row_reader = RowReader::new(fields);
    let (mut at, mut size, mut complete) = (0, first.clamp(1, BATCH_TRACES_MAX), true);
    while at < places.len() {
        if reader.elapsed() > budget.fetch_end {
            return Ok(false);
        }
        let batch: Vec<TraceId> = places[at..].iter().take(size).map(|place| place.1).collect();
        let of_spans = match records.read(&batch)? {
            RecordsRead::All(of_spans) => of_spans,
            RecordsRead::TooMany if batch.len() > 1 => {
                size = batch.len() / 2;
                continue;
            }
            // A trace whose records do not fit is left out, like one whose spans do not fit.
            RecordsRead::TooMany => {
                complete = false;
                at += 1;
                continue;
            }
            RecordsRead::Exhausted => return Ok(false),
        };
        let filter = SpanFilter { trace_ids: Some(batch.clone()), ..SpanFilter::default() };
        let gather = GatherOptions {
            detail,
            hosts_max: 0,
            spans_max: BATCH_SPANS_MAX,
            instead: "ask for fewer traces",
        };
        let mut gathered = match GatheredTraces::read(reader, &filter, gather) {
            Ok(gathered) => gathered,
            Err(error) if error.is_too_large() && batch.len() > 1 => {
                size = batch.len() / 2;
                continue;
            }
            // A trace that alone is too large cannot be evaluated with everything in memory.
            Err(error) if error.is_too_large() => {
                complete = false;
                at += 1;
                continue;
            }
            Err(error) => return Err(error),
        };
        let mut traces = std::mem::take(&mut gathered.traces);
        for (place, id) in (at..).zip(&batch) {
            let Some(facts) = traces.remove(id) else { continue };
            reader.check()?;
            let tree = Tree::new(*id, facts);
            if !fits_memory(&tree, fields, &reader.limits) {
                complete = false;
                continue;
            }
            let table = table(&tree, &gathered, &of_spans, &mut row_reader);
            let fetched = AssembledTrace { tree, table, gathered: &gathered };
            if visit(TraceStep::Trace(place, &fetched))?.is_break() {
                return Ok(complete);
            }
        }
        if visit(TraceStep::BatchEnd(&gathered))?.is_break() {
            return Ok(complete);
        }
        at += batch.len();
        size = (size * 2).min(BATCH_TRACES_MAX);
    }
    Ok(complete)
}

fn found_trace(
    trace: &AssembledTrace<'_>,
    place: ResultPosition,
    fields: &Fields,
    spansets: &[Spanset],
    (shown, left): (DisplayLimits, &mut DisplayBudget),
) -> FoundTrace {
    let (tree, table, names) = (&trace.tree, &trace.table, &trace.gathered.names);
    let root = tree.entry.filter(|_| tree.has_root()).map(|node| {
        let fact = tree.fact(node);
        (names.text(fact.service).to_owned(), names.text(fact.operation).to_owned())
    });
    let mut services: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for node in tree.indexes() {
        let service = names.text(tree.fact(node).service).to_owned();
        let counts = services.entry(service).or_default();
        counts.0 += 1;
        counts.1 += u64::from(tree.failed(node));
    }
    let duration = |span: &u32| tree.assembled.nodes[*span as usize].duration;
    let matched = spansets.iter().flat_map(|spanset| &spanset.spans);
    let longest_match = matched.map(duration).max().unwrap_or_default();
    let span = |span: &u32, left: &mut DisplayBudget| {
        let fact = tree.fact(*span as usize);
        let values = read_values(fields, table.row(*span));
        FoundSpan {
            span_id: fact.span_id,
            service: names.text(fact.service).to_owned(),
            name: names.text(fact.operation).to_owned(),
            start: fact.start,
            duration: duration(span),
            attributes: left.take(values),
        }
    };
    let asks_logs = fields.ask_logs();
    let known = |(name, value): &(String, Value)| (name.clone(), bounded(value, asks_logs));
    let spanset_count = spansets.len();
    let spansets = spansets.iter().take(shown.spansets).map(|spanset| {
        let count = shown.spans.min(left.spans);
        let longest = shown.longest_first.then(|| {
            let mut spans = spanset.spans.clone();
            spans.sort_by_key(|span| Reverse(duration(span)));
            spans
        });
        let in_order = longest.as_ref().unwrap_or(&spanset.spans);
        let spans: Vec<FoundSpan> = in_order.iter().take(count).map(|of| span(of, left)).collect();
        left.spans -= spans.len();
        let attributes = left.take(spanset.attributes.iter().map(known).collect());
        FoundSpanset { matched: spanset.spans.len(), attributes, spans }
    });
    FoundTrace {
        trace_id: tree.trace_id,
        root,
        start: tree.start,
        duration: tree.end.since(tree.start),
        longest_match,
        spansets: spansets.collect(),
        spanset_count,
        place,
        services,
    }
}
