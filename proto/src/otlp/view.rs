//! Zero-copy views of OTLP's protobuf messages.
//!
//! Telemetry arrives at a rate at which one allocation per attribute would dominate the work. A
//! view is read in one pass over the bytes of its message and borrows from them. The messages'
//! structs ([`super::Span`] and others) stay the model for everything off the hot path. Views have
//! the same fields at most and no behaviour. Texts are bytes here: the consumer decides when to
//! validate UTF-8.
//!
//! [`NonCanonical`] reports bytes that protobuf allows and no sender writes: a message field in two
//! parts, a text that is set twice, two values of a oneof, groups. Such bytes are decoded and
//! encoded again by [`prost`]. The encoding of a struct is always canonical.

mod field;

use self::field::{FieldReader, Repeated as Repeats};
use super::Value;

pub use self::field::{NonCanonical, Repeated};

/// A message that can be read in place.
pub trait View<'a>: Sized {
    /// Reads a message's bytes.
    ///
    /// # Errors
    /// Fails if they are malformed or non-canonical, on the outermost level of the message.
    fn read(message: &'a [u8]) -> Result<Self, NonCanonical>;
}

/// An export request of spans or of log records.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'a, R> {
    /// Resources with their spans or log records.
    pub resources: Repeated<'a, ResourceView<'a, R>>,
}

/// `ResourceSpans` or `ResourceLogs`.
#[derive(Debug, Clone, Copy)]
pub struct ResourceView<'a, R> {
    /// The encoding of the [`super::Resource`].
    pub resource: Option<&'a [u8]>,
    /// The records, by scope.
    pub scopes: Repeated<'a, ScopeView<'a, R>>,
    /// The schema of the resource's attributes.
    pub schema_url: &'a [u8],
}

/// `ScopeSpans` or `ScopeLogs`.
#[derive(Debug, Clone, Copy)]
pub struct ScopeView<'a, R> {
    /// The encoding of the [`super::InstrumentationScope`].
    pub scope: Option<&'a [u8]>,
    /// The records.
    pub records: Repeated<'a, R>,
    /// The schema of the records' attributes.
    pub schema_url: &'a [u8],
}

/// A [`super::Span`].
#[derive(Debug, Clone, Copy)]
pub struct SpanView<'a> {
    /// As sent.
    pub trace_id: &'a [u8],
    /// As sent.
    pub span_id: &'a [u8],
    /// W3C `tracestate`.
    pub trace_state: &'a [u8],
    /// As sent.
    pub parent_span_id: &'a [u8],
    /// W3C trace flags and more.
    pub flags: u32,
    /// The operation's name.
    pub name: &'a [u8],
    /// A [`super::SpanKind`].
    pub kind: i32,
    /// When it began.
    pub start_time_unix_nano: u64,
    /// When it ended.
    pub end_time_unix_nano: u64,
    /// Attributes of the span.
    pub attributes: Repeated<'a, KeyValueView<'a>>,
    /// Number of attributes the sender dropped.
    pub dropped_attributes_count: u32,
    /// Events during the span.
    pub events: Repeated<'a, EventView<'a>>,
    /// Number of events the sender dropped.
    pub dropped_events_count: u32,
    /// Other spans it has to do with.
    pub links: Repeated<'a, LinkView<'a>>,
    /// Number of links the sender dropped.
    pub dropped_links_count: u32,
    /// How it ended.
    pub status: Option<StatusView<'a>>,
}

/// A [`super::Event`].
#[derive(Debug, Clone, Copy)]
pub struct EventView<'a> {
    /// When it happened.
    pub time_unix_nano: u64,
    /// Name of the event.
    pub name: &'a [u8],
    /// More about it.
    pub attributes: Repeated<'a, KeyValueView<'a>>,
    /// Number of attributes the sender dropped.
    pub dropped_attributes_count: u32,
}

/// A [`super::Link`].
#[derive(Debug, Clone, Copy)]
pub struct LinkView<'a> {
    /// As sent.
    pub trace_id: &'a [u8],
    /// As sent.
    pub span_id: &'a [u8],
    /// W3C `tracestate`.
    pub trace_state: &'a [u8],
    /// More about it.
    pub attributes: Repeated<'a, KeyValueView<'a>>,
    /// Number of attributes the sender dropped.
    pub dropped_attributes_count: u32,
    /// W3C trace flags and more.
    pub flags: u32,
}

/// A [`super::Status`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusView<'a> {
    /// For people.
    pub message: &'a [u8],
    /// A [`super::StatusCode`].
    pub code: i32,
}

/// A [`super::LogRecord`].
#[derive(Debug, Clone, Copy)]
pub struct LogRecordView<'a> {
    /// When it happened.
    pub time_unix_nano: u64,
    /// When it was seen.
    pub observed_time_unix_nano: u64,
    /// A severity from 1 to 24.
    pub severity_number: i32,
    /// The severity as the sender calls it.
    pub severity_text: &'a [u8],
    /// The message.
    pub body: Option<AnyView<'a>>,
    /// More about it.
    pub attributes: Repeated<'a, KeyValueView<'a>>,
    /// Number of attributes the sender dropped.
    pub dropped_attributes_count: u32,
    /// W3C trace flags and more.
    pub flags: u32,
    /// As sent.
    pub trace_id: &'a [u8],
    /// As sent.
    pub span_id: &'a [u8],
    /// Name that identifies the event's class.
    pub event_name: &'a [u8],
}

/// A [`super::KeyValue`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeyValueView<'a> {
    /// The attribute's name.
    pub key: &'a [u8],
    /// Its value.
    pub value: Option<AnyView<'a>>,
}

/// A [`super::AnyValue`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AnyView<'a> {
    /// A value of no type.
    Empty,
    /// Text.
    String(&'a [u8]),
    /// A truth value.
    Bool(bool),
    /// A signed 64-bit integer.
    Int(i64),
    /// A 64-bit float.
    Double(f64),
    /// Bytes, a list or a map: the encoding of the whole `AnyValue`, whose inside was not read.
    Nested(&'a [u8]),
}

/// Sets a text, which must not be set yet. The decoder checks both texts to be UTF-8, and a view
/// shows only the last. An empty text counts as unset, which is safe because it is UTF-8.
#[inline]
fn set_text<'a>(place: &mut &'a [u8], text: &'a [u8]) -> Result<(), NonCanonical> {
    if !place.is_empty() {
        return Err(NonCanonical);
    }
    *place = text;
    Ok(())
}

/// Sets a message field, which must not be set yet, because protobuf would merge the two.
#[inline]
fn set<T>(place: &mut Option<T>, value: T) -> Result<(), NonCanonical> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(NonCanonical),
    }
}

impl<'a, R> View<'a> for RequestView<'a, R> {
    fn read(message: &'a [u8]) -> Result<Self, NonCanonical> {
        let mut request = Self { resources: Repeats::none(message, 1) };
        let mut fields = FieldReader::new(message);
        while let Some((number, field)) = fields.next()? {
            if number == 1 {
                request.resources.add(&mut fields, field)?;
            }
        }
        Ok(request)
    }
}

impl<'a, R> View<'a> for ResourceView<'a, R> {
    fn read(message: &'a [u8]) -> Result<Self, NonCanonical> {
        let mut of = Self { resource: None, scopes: Repeats::none(message, 2), schema_url: &[] };
        let mut fields = FieldReader::new(message);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => set(&mut of.resource, field.bytes()?)?,
                2 => of.scopes.add(&mut fields, field)?,
                3 => set_text(&mut of.schema_url, field.bytes()?)?,
                _ => {}
            }
        }
        Ok(of)
    }
}

impl<'a, R> View<'a> for ScopeView<'a, R> {
    fn read(message: &'a [u8]) -> Result<Self, NonCanonical> {
        let mut of = Self { scope: None, records: Repeats::none(message, 2), schema_url: &[] };
        let mut fields = FieldReader::new(message);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => set(&mut of.scope, field.bytes()?)?,
                2 => of.records.add(&mut fields, field)?,
                3 => set_text(&mut of.schema_url, field.bytes()?)?,
                _ => {}
            }
        }
        Ok(of)
    }
}

impl<'a> View<'a> for SpanView<'a> {
    fn read(message: &'a [u8]) -> Result<Self, NonCanonical> {
        let mut span = Self {
            trace_id: &[],
            span_id: &[],
            trace_state: &[],
            parent_span_id: &[],
            flags: 0,
            name: &[],
            kind: 0,
            start_time_unix_nano: 0,
            end_time_unix_nano: 0,
            attributes: Repeats::none(message, 9),
            dropped_attributes_count: 0,
            events: Repeats::none(message, 11),
            dropped_events_count: 0,
            links: Repeats::none(message, 13),
            dropped_links_count: 0,
            status: None,
        };
        let mut fields = FieldReader::new(message);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => span.trace_id = field.bytes()?,
                2 => span.span_id = field.bytes()?,
                3 => set_text(&mut span.trace_state, field.bytes()?)?,
                4 => span.parent_span_id = field.bytes()?,
                5 => set_text(&mut span.name, field.bytes()?)?,
                6 => span.kind = field.int32()?,
                7 => span.start_time_unix_nano = field.fixed64()?,
                8 => span.end_time_unix_nano = field.fixed64()?,
                9 => span.attributes.add(&mut fields, field)?,
                10 => span.dropped_attributes_count = field.uint32()?,
                11 => span.events.add(&mut fields, field)?,
                12 => span.dropped_events_count = field.uint32()?,
                13 => span.links.add(&mut fields, field)?,
                14 => span.dropped_links_count = field.uint32()?,
                15 => set(&mut span.status, StatusView::read(field.bytes()?)?)?,
                16 => span.flags = field.fixed32()?,
                _ => {}
            }
        }
        Ok(span)
    }
}

impl<'a> View<'a> for EventView<'a> {
    fn read(message: &'a [u8]) -> Result<Self, NonCanonical> {
        let mut event = Self {
            time_unix_nano: 0,
            name: &[],
            attributes: Repeats::none(message, 3),
            dropped_attributes_count: 0,
        };
        let mut fields = FieldReader::new(message);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => event.time_unix_nano = field.fixed64()?,
                2 => set_text(&mut event.name, field.bytes()?)?,
                3 => event.attributes.add(&mut fields, field)?,
                4 => event.dropped_attributes_count = field.uint32()?,
                _ => {}
            }
        }
        Ok(event)
    }
}

impl<'a> View<'a> for LinkView<'a> {
    fn read(message: &'a [u8]) -> Result<Self, NonCanonical> {
        let mut link = Self {
            trace_id: &[],
            span_id: &[],
            trace_state: &[],
            attributes: Repeats::none(message, 4),
            dropped_attributes_count: 0,
            flags: 0,
        };
        let mut fields = FieldReader::new(message);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => link.trace_id = field.bytes()?,
                2 => link.span_id = field.bytes()?,
                3 => set_text(&mut link.trace_state, field.bytes()?)?,
                4 => link.attributes.add(&mut fields, field)?,
                5 => link.dropped_attributes_count = field.uint32()?,
                6 => link.flags = field.fixed32()?,
                _ => {}
            }
        }
        Ok(link)
    }
}

impl<'a> View<'a> for StatusView<'a> {
    fn read(message: &'a [u8]) -> Result<Self, NonCanonical> {
        let mut status = Self { message: &[], code: 0 };
        let mut fields = FieldReader::new(message);
        while let Some((number, field)) = fields.next()? {
            match number {
                2 => set_text(&mut status.message, field.bytes()?)?,
                3 => status.code = field.int32()?,
                _ => {}
            }
        }
        Ok(status)
    }
}

impl<'a> View<'a> for LogRecordView<'a> {
    fn read(message: &'a [u8]) -> Result<Self, NonCanonical> {
        let mut record = Self {
            time_unix_nano: 0,
            observed_time_unix_nano: 0,
            severity_number: 0,
            severity_text: &[],
            body: None,
            attributes: Repeats::none(message, 6),
            dropped_attributes_count: 0,
            flags: 0,
            trace_id: &[],
            span_id: &[],
            event_name: &[],
        };
        let mut fields = FieldReader::new(message);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => record.time_unix_nano = field.fixed64()?,
                2 => record.severity_number = field.int32()?,
                3 => set_text(&mut record.severity_text, field.bytes()?)?,
                5 => set(&mut record.body, AnyView::read(field.bytes()?)?)?,
                6 => record.attributes.add(&mut fields, field)?,
                7 => record.dropped_attributes_count = field.uint32()?,
                8 => record.flags = field.fixed32()?,
                9 => record.trace_id = field.bytes()?,
                10 => record.span_id = field.bytes()?,
                11 => record.observed_time_unix_nano = field.fixed64()?,
                12 => set_text(&mut record.event_name, field.bytes()?)?,
                _ => {}
            }
        }
        Ok(record)
    }
}

// These two are inlined wherever attributes are read. Otherwise a view would be written to memory
// in parts and read at once, which stalls the processor.

impl<'a> View<'a> for KeyValueView<'a> {
    #[inline(always)]
    fn read(message: &'a [u8]) -> Result<Self, NonCanonical> {
        let mut fields = FieldReader::new(message);
        let mut key = fields.bytes_of(1).unwrap_or_default();
        let mut value = fields.bytes_of(2);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => set_text(&mut key, field.bytes()?)?,
                2 => set(&mut value, field.bytes()?)?,
                _ => {}
            }
        }
        Ok(Self { key, value: value.map(AnyView::read).transpose()? })
    }
}

impl<'a> View<'a> for AnyView<'a> {
    #[inline(always)]
    fn read(message: &'a [u8]) -> Result<Self, NonCanonical> {
        let mut fields = FieldReader::new(message);
        let mut value = fields.bytes_of(1).map(Self::String);
        while let Some((number, field)) = fields.next()? {
            let one = match number {
                1 => Self::String(field.bytes()?),
                2 => Self::Bool(field.varint()? != 0),
                3 => Self::Int(field.varint()?.cast_signed()),
                4 => Self::Double(f64::from_bits(field.fixed64()?)),
                number if Value::NESTED_TAGS.contains(&number) => {
                    field.bytes()?;
                    Self::Nested(message)
                }
                _ => continue,
            };
            set(&mut value, one)?;
        }
        Ok(value.unwrap_or(Self::Empty))
    }
}
