//! A trace of any size, part by part: a list of its spans first, then a scan for each part.
//!
//! Owns the end of a part: it comes after a maximum of spans or bytes in the order of the spans, so
//! parts depend only on the content. Between parts only the list is held (24 bytes a span) and no
//! snapshot, so a slow client costs little.

use std::{collections::HashMap, ops::ControlFlow, sync::Arc};

use prost::Message;
use tidings_proto::{
    SpanId, TraceId, UnixNanos,
    otlp::{ExportTraceServiceRequest, Span},
};
use tidings_storage::{Projection, Scan, SpanFilter, SpanRows, TimeRange};

use super::{Sender, SenderGroups, SenderKey, Senders};
use crate::{QueryError, execution::Reader, trace::of_trace};

/// Minimum number of keys before duplicates are dropped.
const KEYS_MIN: usize = 1 << 16;

/// Identity of a span within a trace, and its sort key: start, id, content.
pub(crate) type ExportKey = (UnixNanos, SpanId, u64);

/// Returns the keys of the trace's distinct spans, in order; empty when the trace is not stored.
pub(crate) fn list(
    reader: &Reader,
    trace_id: TraceId,
    instead: &'static str,
) -> Result<Vec<ExportKey>, QueryError> {
    let limit = reader.limits.export_spans_max;
    let mut keys: Vec<ExportKey> = Vec::new();
    let mut room = KEYS_MIN;
    let scan = Scan { detail: Projection::Facts, rows_max: u64::MAX };
    reader.spans(&of_trace(trace_id), scan, |rows| {
        keys.extend((0..rows.len()).map(|row| key(rows, row)));
        if keys.len() >= room {
            drop_repeated(&mut keys);
            room = (keys.len() * 2).max(KEYS_MIN);
        }
        if keys.len() as u64 > limit {
            drop_repeated(&mut keys);
        }
        if keys.len() as u64 > limit {
            return Err(QueryError::TooManySpans { limit, instead });
        }
        Ok(ControlFlow::Continue(()))
    })?;
    drop_repeated(&mut keys);
    keys.shrink_to_fit();
    Ok(keys)
}

fn key(rows: &SpanRows, row: usize) -> ExportKey {
    (rows.start(row), rows.span_id(row), rows.content_hash(row))
}

fn drop_repeated(keys: &mut Vec<ExportKey>) {
    keys.sort_unstable();
    keys.dedup();
}

/// Reads the first of these spans that make a part. Returns the part and the number of its spans.
pub(crate) fn part(
    reader: &Reader,
    trace_id: TraceId,
    keys: &[ExportKey],
) -> Result<(ExportTraceServiceRequest, usize), QueryError> {
    let (Some(first), Some(last)) = (keys.first(), keys.last()) else {
        return Ok((ExportTraceServiceRequest::default(), 0));
    };
    let end = UnixNanos(last.0.0.saturating_add(1));
    let start = TimeRange { start: Some(first.0), end: Some(end) };
    let filter = SpanFilter { start, ..of_trace(trace_id) };
    let mut part = PartBuilder::new(keys, reader.limits.export_part_bytes);
    let mut senders = Senders::default();
    reader.spans(&filter, Scan { detail: Projection::Full, rows_max: u64::MAX }, |rows| {
        for row in 0..rows.len() {
            if let Some(place) = part.place(&key(rows, row)) {
                part.put(place, rows.span(row), senders.intern(rows, row));
            }
        }
        let is_whole = part.held == part.slots.len();
        Ok(if is_whole { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    part.groups()
}

type Slot = Option<(Span, Arc<Sender>)>;

/// The spans of a part while they are read: as many of the first ones as fit.
struct PartBuilder<'a> {
    keys: &'a [ExportKey],
    /// One slot for each key that may still be in the part.
    slots: Vec<Slot>,
    /// Number of the spans of each sender.
    senders: HashMap<SenderKey, usize>,
    held: usize,
    bytes: usize,
    bytes_max: usize,
}

impl<'a> PartBuilder<'a> {
    fn new(keys: &'a [ExportKey], bytes_max: usize) -> Self {
        let slots = std::iter::repeat_with(|| None).take(keys.len()).collect();
        Self { keys, slots, senders: HashMap::new(), held: 0, bytes: 0, bytes_max }
    }

    /// Returns the index of the span's slot. `None` when the slot is taken or the span is not in
    /// the part.
    fn place(&self, key: &ExportKey) -> Option<usize> {
        let place = self.keys.binary_search(key).ok()?;
        self.slots.get(place).filter(|slot| slot.is_none()).map(|_| place)
    }

    /// Adds the span. Drops the last spans while the part is too large, but never the first one.
    fn put(&mut self, place: usize, span: Span, sender: Arc<Sender>) {
        self.bytes += span.encoded_len();
        // A part contains each sender once.
        match self.senders.get_mut(&sender.key) {
            Some(spans) => *spans += 1,
            None => {
                self.bytes += sender.key.bytes();
                self.senders.insert(sender.key.clone(), 1);
            }
        }
        self.held += 1;
        self.slots[place] = Some((span, sender));
        while self.bytes > self.bytes_max && self.held > 1 {
            if let Some((span, sender)) = self.slots.pop().flatten() {
                self.bytes -= span.encoded_len();
                self.held -= 1;
                self.evict_sender(&sender.key);
            }
        }
    }

    /// Removes a span of a sender, and the sender with its last span.
    fn evict_sender(&mut self, sender: &SenderKey) {
        let Some(spans) = self.senders.get_mut(sender) else { return };
        *spans -= 1;
        if *spans == 0 {
            self.senders.remove(sender);
            self.bytes -= sender.bytes();
        }
    }

    fn groups(self) -> Result<(ExportTraceServiceRequest, usize), QueryError> {
        let taken = self.slots.len();
        let mut groups = SenderGroups::default();
        for slot in self.slots {
            let Some((span, sender)) = slot else {
                let what = "a part of the trace was removed while it was read".to_owned();
                return Err(QueryError::NotFound { what });
            };
            groups.add(&sender, span);
        }
        Ok((groups.request, taken))
    }
}
