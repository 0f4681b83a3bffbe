//! Reader of the rows of a file for the service graph.
//!
//! The peer of a call is one of its span's attributes. The map of attributes takes longer to decode
//! than all other columns together. Most files make it unnecessary: they have complete columns for
//! some keys, and an index that rules out the other keys. The map is read only for the remaining
//! rows.

use std::{
    cell::Cell,
    collections::HashMap,
    ops::{ControlFlow, Range},
    sync::Arc,
};

use ahash::RandomState;
use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use tidings_columns::{
    SpanRows,
    rows::column::{DictionaryCache, WordColumn},
};
use tidings_data_file::{attributes_of, columns, whole_columns};
use tidings_disk::ranges::merged;
use tidings_files::{StorageError, table_file::DataFile};
use tidings_index::Indexes;
use tidings_proto::{Signal, TraceId, otlp::SpanKind};
use tidings_rollup::{
    graph::{
        GraphSpan, Peer,
        build::{COLUMNS, PeerEntries, span},
        peer_keys::{KeySource, PeerKeySources, TELLING_MAX},
        peers::KEYS,
    },
    pair_cache::RowRanges,
};

use super::pool::{NOBODY, Vocabulary};
use crate::rollup_query::CancellationCheck;

const ATTRIBUTES: &str = "attributes";

/// Returns where a file has the names of peers, from the cache or from its footer and index.
fn peer_key_sources(
    indexes: &Indexes,
    file: &Arc<DataFile>,
) -> Result<Arc<PeerKeySources>, StorageError> {
    if let Some(known) = indexes.peer_keys.known(file) {
        return Ok(known);
    }
    let keys = Arc::new(read_peer_key_sources(indexes, file)?);
    indexes.peer_keys.keep(file, &keys);
    Ok(keys)
}

fn read_peer_key_sources(
    indexes: &Indexes,
    file: &Arc<DataFile>,
) -> Result<PeerKeySources, StorageError> {
    let whole = whole_columns(Signal::Spans, file)?;
    let scan = indexes.begin_scan();
    let mut keys = PeerKeySources::default();
    for key in KEYS {
        let column = whole.iter().find(|(of, _)| of == key).map(|(_, column)| column);
        let source = match column.and_then(|column| keys.place(column)) {
            Some(place) => KeySource::Column(place),
            None if indexes.excludes_key(scan, file, key) => KeySource::Nowhere,
            None => KeySource::Map,
        };
        keys.sources.insert(key, source);
    }
    Ok(keys)
}

/// Kind of a row's span, and the numbers of the row's values in the peer columns, from 1. Without a
/// value, the number is 0.
type PeerColumnValues = (SpanKind, [u32; TELLING_MAX]);

/// Peer columns of a batch, with a cache from their values to the mark of a span. `None` in the
/// cache means that the map must be read.
struct PeerColumns<'a> {
    keys: &'a PeerKeySources,
    columns: Vec<Option<WordColumn>>,
    known: HashMap<PeerColumnValues, Option<u32>, RandomState>,
}

impl<'a> PeerColumns<'a> {
    fn from_batch(keys: &'a PeerKeySources, batch: &RecordBatch) -> Result<Self, ArrowError> {
        let columns = keys.telling.iter().take(TELLING_MAX);
        let columns =
            columns.map(|name| WordColumn::from_batch(batch, name)).collect::<Result<_, _>>()?;
        Ok(Self { keys, columns, known: HashMap::default() })
    }

    fn mark(&mut self, row: usize, kind: SpanKind, words: &mut Vocabulary) -> Option<u32> {
        let mut values = [0; TELLING_MAX];
        for (value, column) in values.iter_mut().zip(&self.columns) {
            let key = column.as_ref().and_then(|column| column.key(row));
            *value = key.map_or(0, |key| u32::try_from(key + 1).expect("invariant: codes are i32"));
        }
        if let Some(known) = self.known.get(&(kind, values)) {
            return *known;
        }
        let unresolved = Cell::new(false);
        let peer = Peer::from_attributes(kind, |key| match self.keys.sources.get(key) {
            Some(KeySource::Nowhere) => None,
            Some(KeySource::Column(place)) => {
                let column = self.columns.get(*place)?.as_ref()?;
                column.text(row).map(str::to_owned)
            }
            Some(KeySource::Map) | None => {
                unresolved.set(true);
                None
            }
        });
        let mark = (!unresolved.get()).then(|| peer.map_or(NOBODY, |peer| words.peer(peer)));
        self.known.insert((kind, values), mark);
        mark
    }
}

/// Spans of one trace, each with the id of the trace.
pub(crate) type TraceRun = [(TraceId, GraphSpan)];

/// Passes the spans of these rows of a file to `visit`, trace by trace. Breaks when `go_on` does.
///
/// # Errors
/// When the file is missing or damaged.
pub(crate) fn read(
    indexes: &Indexes,
    (file, rows): (&Arc<DataFile>, &RowRanges),
    words: &mut Vocabulary,
    go_on: &mut CancellationCheck<'_>,
    mut visit: impl FnMut(TraceId, &TraceRun),
) -> Result<ControlFlow<()>, StorageError> {
    if rows.is_empty() {
        return Ok(ControlFlow::Continue(()));
    }
    let keys = peer_key_sources(indexes, file)?;
    let facts = COLUMNS.into_iter().filter(|name| *name != ATTRIBUTES);
    let names: Vec<&str> = facts.chain(keys.telling.iter().map(String::as_str)).collect();
    let mut places = rows.iter().flat_map(|rows| rows.start..rows.end.min(file.rows));
    let mut spans: Vec<(TraceId, GraphSpan)> = Vec::new();
    // Indexes in `spans`, and rows of the file, of spans that need the map.
    let mut unresolved: Vec<(usize, u64)> = Vec::new();
    let mut flow = ControlFlow::Continue(());
    columns(Signal::Spans, file, &names, Some(rows), &mut |batch| {
        let (of_batch, mut telling) =
            (SpanRows::from_batch(batch)?, PeerColumns::from_batch(&keys, batch)?);
        let mut services = DictionaryCache::default();
        for (row, place) in (0..of_batch.len()).zip(&mut places) {
            let number = || words.number(of_batch.service(row));
            let service = services.get_or_compute(of_batch.service_number(row), number);
            let mut span = span(&of_batch, row, service);
            let kind = span.facts.kind;
            span.mark = NOBODY;
            if may_be_open(kind) {
                match telling.mark(row, kind, words) {
                    Some(mark) => span.mark = mark,
                    None => unresolved.push((spans.len(), place)),
                }
            }
            spans.push((of_batch.trace_id(row), span));
        }
        flow = go_on();
        Ok(flow)
    })?;
    if flow.is_continue() {
        flow = resolve_peers(file, &unresolved, &mut spans, words, go_on)?;
    }
    // The rows of a trace are consecutive. A trace in several runs is passed several times.
    spans.chunk_by(|one, other| one.0 == other.0).for_each(|run| visit(run[0].0, run));
    Ok(flow)
}

/// Reads the peers of these rows from the map of attributes.
fn resolve_peers(
    file: &DataFile,
    unresolved: &[(usize, u64)],
    spans: &mut [(TraceId, GraphSpan)],
    words: &mut Vocabulary,
    go_on: &mut CancellationCheck<'_>,
) -> Result<ControlFlow<()>, StorageError> {
    let mut flow = ControlFlow::Continue(());
    if unresolved.is_empty() {
        return Ok(flow);
    }
    let rows: Vec<Range<u64>> = merged(unresolved.iter().map(|(_, row)| *row..*row + 1).collect());
    let mut places = unresolved.iter().map(|(place, _)| *place);
    attributes_of(Signal::Spans, file, &KEYS, Some(&rows), &mut |batch| {
        let Some(attributes) = PeerEntries::from_batch(batch)? else { return Ok(flow) };
        for (row, place) in (0..batch.num_rows()).zip(&mut places) {
            let (_, span) = &mut spans[place];
            let peer = attributes.peer(row, span.facts.kind);
            span.mark = peer.map_or(NOBODY, |peer| words.peer(peer.into_owned()));
        }
        flow = go_on();
        Ok(flow)
    })?;
    Ok(flow)
}

/// Returns true if a span of this kind can be an open one.
pub(crate) fn may_be_open(kind: SpanKind) -> bool {
    matches!(kind, SpanKind::Client | SpanKind::Producer | SpanKind::Consumer)
}
