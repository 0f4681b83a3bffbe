//! Events of a trace's spans as columns, which a waterfall draws on its bars and beneath them.
//!
//! Owns the choice of events when there are too many, and the order of the names. Kept events do
//! not depend on the order in which rows are read. Attributes of events are left to the answer for
//! one span.

use std::{
    collections::{HashMap, hash_map::Entry},
    ops::ControlFlow,
};

use tidings_proto::{
    OffsetNanos, SpanId, UnixNanos,
    api::{EventColumns, SpanFlags},
    otlp::Event,
};
use tidings_storage::{ExceptionAttributes, Projection, Scan};

use super::{
    of_trace,
    skeleton::drawn_start,
    tree::{Tree, shift_time},
};
use crate::{QueryError, execution::Reader};

/// The name of exception events.
const EXCEPTION: &str = "exception";
/// Maximum number of characters of a name; longer names are cut.
const NAME_CHARS_MAX: usize = 200;

/// Events of a trace's spans.
#[derive(Debug, Default)]
pub(super) struct SpanEvents {
    /// Names of events and types of exceptions, in the order of the columns.
    pub names: Vec<String>,
    /// The events that are kept, by row and time.
    pub columns: EventColumns,
    /// Number of events, kept or not.
    pub count: u64,
}

/// An event with its position.
#[derive(Debug)]
struct PlacedEvent {
    span: u32,
    offset_nano: i64,
    /// Position among the events of its span.
    position: u32,
    name: String,
    /// Type of an exception; the event's name when it has no type.
    exception_type: Option<String>,
}

/// Reads the events of the tree's spans: at most
/// [`QueryLimits::events_shown_max`](crate::QueryLimits::events_shown_max), exceptions first, then
/// those of the first rows.
pub(super) fn span_events(reader: &Reader, tree: &Tree) -> Result<SpanEvents, QueryError> {
    let with_events = tree.indexes().filter(|index| tree.flags(*index) & SpanFlags::EVENTS != 0);
    let mut nodes: HashMap<(SpanId, u64), usize> = with_events
        .map(|index| ((tree.fact(index).span_id, tree.fact(index).content_hash), index))
        .collect();
    if nodes.is_empty() {
        return Ok(SpanEvents::default());
    }
    let kept_max = reader.limits.events_shown_max;
    let mut kept = Vec::new();
    let mut count = 0_u64;
    let scan = Scan { detail: Projection::Events, rows_max: u64::MAX };
    reader.spans(&of_trace(tree.trace_id), scan, |rows| {
        for row in 0..rows.len() {
            // A repeated span counts once.
            let Some(index) = nodes.remove(&(rows.span_id(row), rows.content_hash(row))) else {
                continue;
            };
            let events = rows.events(row);
            count += events.len() as u64;
            kept.extend(placed(tree, index, events));
            if kept.len() / 2 >= kept_max {
                keep_first(&mut kept, kept_max);
            }
        }
        Ok(if nodes.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    keep_first(&mut kept, kept_max);
    kept.sort_by_key(|event| (event.span, event.offset_nano, event.position));
    let (names, columns) = columns(kept);
    Ok(SpanEvents { names, columns, count })
}

/// Returns the events of a node's span with their positions.
fn placed(tree: &Tree, index: usize, events: Vec<Event>) -> impl Iterator<Item = PlacedEvent> + '_ {
    let span = u32::try_from(index).expect("invariant: spans are bounded");
    let clock = OffsetNanos(tree.offsets().get(index).copied().unwrap_or_default());
    (0..).zip(events).map(move |(position, event)| {
        let time = match event.time_unix_nano {
            0 => drawn_start(tree, index),
            time => shift_time(UnixNanos(time), clock),
        };
        let exception_type = (event.name == EXCEPTION).then(|| {
            let said = ExceptionAttributes::from_attributes(&event.attributes).exception_type;
            cut(if said.is_empty() { EXCEPTION } else { &said })
        });
        PlacedEvent {
            span,
            offset_nano: signed_offset(time, tree.start),
            position,
            name: cut(&event.name),
            exception_type,
        }
    })
}

/// Keeps this many events: exceptions first, then those of the first rows.
fn keep_first(events: &mut Vec<PlacedEvent>, max: usize) {
    if events.len() > max {
        let rank = |event: &PlacedEvent| {
            (event.exception_type.is_none(), event.span, event.offset_nano, event.position)
        };
        events.select_nth_unstable_by_key(max, rank);
        events.truncate(max);
    }
}

fn columns(events: Vec<PlacedEvent>) -> (Vec<String>, EventColumns) {
    let mut names = Vec::new();
    let mut numbers: HashMap<String, i32> = HashMap::new();
    let mut number = |name: String| match numbers.entry(name) {
        Entry::Occupied(known) => *known.get(),
        Entry::Vacant(new) => {
            let number = i32::try_from(names.len()).expect("invariant: events are bounded");
            names.push(new.key().clone());
            *new.insert(number)
        }
    };
    let mut columns = EventColumns::default();
    for event in events {
        columns.span.push(event.span);
        columns.position.push(event.position);
        columns.offset_nano.push(event.offset_nano);
        columns.name.push(number(event.name).unsigned_abs());
        columns.exception_type.push(event.exception_type.map_or(-1, &mut number));
    }
    (names, columns)
}

/// Nanoseconds after the trace's start, negative before it.
fn signed_offset(time: UnixNanos, start: UnixNanos) -> i64 {
    let nanos = i128::from(time.0) - i128::from(start.0);
    i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
}

fn cut(name: &str) -> String {
    match name.char_indices().nth(NAME_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}
