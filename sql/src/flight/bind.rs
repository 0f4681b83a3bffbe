//! Values of a prepared statement's placeholders, read from the one row that a client sends.
//!
//! The row is untrusted. Lengths and offsets in its messages are followed only within their bytes,
//! and nothing is allocated for sizes that a message merely claims. Arrow's own reader expects
//! trusted data.

use arrow_flight::FlightData;
use arrow_ipc::{
    Buffer, DateUnit, Field, FieldNode, Message, MessageHeader, Precision, RecordBatch, TimeUnit,
    Type, root_as_message_with_opts,
};
use flatbuffers::VerifierOptions;
use tonic::Status;

use super::invalid;
use crate::{Parameter, limits::PLACEHOLDERS_MAX};

const SECOND: i64 = 1_000_000_000;
/// Maximum number of tables: a field has its own, that of its type and that of a dictionary; a
/// message has few more.
const TABLES_MAX: usize = 4 * PLACEHOLDERS_MAX;
/// Maximum depth of tables. Only fields of structs nest deeper, and no value is a struct.
const DEPTH_MAX: usize = 8;

/// The types that a value may have, by their layout in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ParameterType {
    Null,
    Truth,
    /// Integer of this size.
    Whole {
        bytes: usize,
        signed: bool,
    },
    /// Float of this size.
    Number {
        bytes: usize,
    },
    /// Text with offsets of this size.
    Text {
        offset_bytes: usize,
    },
    /// A text that is stored inline when it is short, and in one of several buffers otherwise.
    TextView,
    /// Time of this size, in units of this many nanoseconds.
    Time {
        bytes: usize,
        unit_nanos: i64,
    },
}

/// Returns the values of the row that these messages have, in order.
pub(super) fn values(messages: &[FlightData]) -> Result<Vec<Parameter>, Status> {
    let (mut kinds, mut row) = (None, None);
    for data in messages.iter().filter(|data| !data.data_header.is_empty()) {
        let message = verified(&data.data_header)?;
        match message.header_type() {
            MessageHeader::Schema => kinds = Some(kinds_of(&message)?),
            MessageHeader::RecordBatch => {
                let batch = message.header_as_record_batch().ok_or_else(broken)?;
                let kinds = kinds.as_ref().ok_or_else(broken)?;
                match (batch.length(), &row) {
                    (0, _) => {}
                    (1, None) => {
                        row = Some(ParameterRow::new(&batch, &data.data_body)?.values(kinds)?)
                    }
                    _ => {
                        let message = "a query takes one row of values, and several were sent";
                        return Err(invalid(message));
                    }
                }
            }
            _ => return Err(invalid("values are sent as a schema and a record batch")),
        }
    }
    match (row, kinds) {
        (Some(row), _) => Ok(row),
        (None, Some(kinds)) if kinds.is_empty() => Ok(Vec::new()),
        (None, _) => Err(invalid("no row of values was sent")),
    }
}

/// Verifies the bytes and returns their message. A part that several others share is verified once
/// for each of them, so the work is bounded by the number of bytes and not by the structure that
/// they claim.
fn verified(bytes: &[u8]) -> Result<Message<'_>, Status> {
    let options = VerifierOptions {
        max_depth: DEPTH_MAX,
        max_tables: TABLES_MAX,
        max_apparent_size: 4 * bytes.len(),
        ..VerifierOptions::default()
    };
    root_as_message_with_opts(&options, bytes)
        .map_err(|error| invalid(format!("this is no message of Arrow's: {error}")))
}

fn broken() -> Status {
    invalid("the values do not lie where they are said to")
}

fn kinds_of(message: &Message<'_>) -> Result<Vec<ParameterType>, Status> {
    let schema = message.header_as_schema().ok_or_else(broken)?;
    let Some(fields) = schema.fields() else { return Ok(Vec::new()) };
    if fields.len() > PLACEHOLDERS_MAX {
        let message = format!("a query has {PLACEHOLDERS_MAX} placeholders at most");
        return Err(invalid(message));
    }
    fields.iter().map(|field| kind(&field)).collect()
}

fn kind(field: &Field<'_>) -> Result<ParameterType, Status> {
    let bytes = |bits: i32| usize::try_from(bits / 8).unwrap_or_default();
    let kind = match field.type_type() {
        Type::Null => Some(ParameterType::Null),
        Type::Bool => Some(ParameterType::Truth),
        Type::Int => field
            .type_as_int()
            .map(|of| ParameterType::Whole { bytes: bytes(of.bitWidth()), signed: of.is_signed() }),
        Type::FloatingPoint => field.type_as_floating_point().and_then(|of| match of.precision() {
            Precision::SINGLE => Some(ParameterType::Number { bytes: 4 }),
            Precision::DOUBLE => Some(ParameterType::Number { bytes: 8 }),
            _ => None,
        }),
        Type::Utf8 => Some(ParameterType::Text { offset_bytes: 4 }),
        Type::LargeUtf8 => Some(ParameterType::Text { offset_bytes: 8 }),
        Type::Utf8View => Some(ParameterType::TextView),
        Type::Timestamp => field.type_as_timestamp().and_then(|of| {
            let unit_nanos = match of.unit() {
                TimeUnit::SECOND => SECOND,
                TimeUnit::MILLISECOND => 1_000_000,
                TimeUnit::MICROSECOND => 1_000,
                TimeUnit::NANOSECOND => 1,
                _ => return None,
            };
            Some(ParameterType::Time { bytes: 8, unit_nanos })
        }),
        Type::Date => field.type_as_date().and_then(|of| match of.unit() {
            DateUnit::DAY => Some(ParameterType::Time { bytes: 4, unit_nanos: 86_400 * SECOND }),
            DateUnit::MILLISECOND => Some(ParameterType::Time { bytes: 8, unit_nanos: 1_000_000 }),
            _ => None,
        }),
        _ => None,
    };
    kind.filter(|_| field.dictionary().is_none()).ok_or_else(|| {
        let name = field.type_type().variant_name().unwrap_or("unknown");
        let known = "null, truth values, numbers, texts, dates and timestamps are";
        invalid(format!("a value of the type {name} is not taken: {known}"))
    })
}

/// A row, with the buffers that have not been read yet.
struct ParameterRow<'a> {
    body: &'a [u8],
    nodes: Box<dyn Iterator<Item = &'a FieldNode> + 'a>,
    buffers: Box<dyn Iterator<Item = &'a Buffer> + 'a>,
    /// Number of buffers with the texts of each view column.
    view_buffers: Box<dyn Iterator<Item = i64> + 'a>,
}

impl<'a> ParameterRow<'a> {
    fn new(batch: &RecordBatch<'a>, body: &'a [u8]) -> Result<Self, Status> {
        if batch.compression().is_some() {
            return Err(invalid("values are not compressed"));
        }
        Ok(Self {
            body,
            nodes: Box::new(batch.nodes().into_iter().flatten()),
            buffers: Box::new(batch.buffers().into_iter().flatten()),
            view_buffers: Box::new(batch.variadicBufferCounts().into_iter().flatten()),
        })
    }

    fn values(mut self, kinds: &[ParameterType]) -> Result<Vec<Parameter>, Status> {
        kinds.iter().map(|kind| self.value(*kind).ok_or_else(broken)).collect()
    }

    /// Returns the value of the next column; `None` when it is not where it should be.
    fn value(&mut self, kind: ParameterType) -> Option<Parameter> {
        let node = self.nodes.next()?;
        if kind == ParameterType::Null {
            return Some(Parameter::Null);
        }
        let validity = self.buffer()?;
        let is_null = node.null_count() != 0 && validity.first().is_some_and(|bits| bits & 1 == 0);
        let value = match kind {
            ParameterType::Null => return None,
            ParameterType::Truth => self.fixed(1).map(|byte| Parameter::Truth(byte & 1 == 1)),
            ParameterType::Whole { bytes, signed } => {
                let raw = self.fixed(bytes);
                raw.and_then(|raw| whole(raw, bytes, signed)).map(Parameter::Whole)
            }
            ParameterType::Number { bytes } => self
                .fixed(bytes)
                .and_then(|raw| match bytes {
                    4 => Some(f32::from_bits(u32::try_from(raw).ok()?).into()),
                    _ => Some(f64::from_bits(raw)),
                })
                .map(Parameter::Number),
            ParameterType::Text { offset_bytes } => self.text(offset_bytes).map(Parameter::Text),
            ParameterType::TextView => self.text_view().map(Parameter::Text),
            ParameterType::Time { bytes, unit_nanos } => {
                let units = self.fixed(bytes).and_then(|raw| whole(raw, bytes, true));
                units.and_then(|units| units.checked_mul(unit_nanos)).map(Parameter::Time)
            }
        };
        // The bytes of a null may be anything, or missing.
        if is_null { Some(Parameter::Null) } else { value }
    }

    /// Returns the bytes of the next buffer.
    fn buffer(&mut self) -> Option<&'a [u8]> {
        let buffer = self.buffers.next()?;
        let begin = usize::try_from(buffer.offset()).ok()?;
        let length = usize::try_from(buffer.length()).ok()?;
        self.body.get(begin..begin.checked_add(length)?)
    }

    /// Returns the first number of the next buffer.
    fn fixed(&mut self, bytes: usize) -> Option<u64> {
        number(self.buffer()?, 0, bytes)
    }

    fn text(&mut self, offset_bytes: usize) -> Option<String> {
        let (offsets, content) = (self.buffer()?, self.buffer()?);
        let begin = usize::try_from(number(offsets, 0, offset_bytes)?).ok()?;
        let end = usize::try_from(number(offsets, offset_bytes, offset_bytes)?).ok()?;
        String::from_utf8(content.get(begin..end)?.to_vec()).ok()
    }

    fn text_view(&mut self) -> Option<String> {
        let view = self.buffer()?;
        let count = usize::try_from(self.view_buffers.next()?).ok()?;
        // Reads no more buffers than there are, whatever the count claims.
        let buffers: Vec<&[u8]> = (0..count).map_while(|_| self.buffer()).collect();
        let length = usize::try_from(number(view, 0, 4)?).ok()?;
        let content = match length {
            0..=12 => view.get(4..4 + length)?,
            _ => {
                let buffer = usize::try_from(number(view, 8, 4)?).ok()?;
                let begin = usize::try_from(number(view, 12, 4)?).ok()?;
                buffers.get(buffer)?.get(begin..begin.checked_add(length)?)?
            }
        };
        String::from_utf8(content.to_vec()).ok()
    }
}

/// Returns the number at this offset, least significant byte first.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    if !(1..=8).contains(&length) {
        return None;
    }
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// Interprets the bytes as a whole number.
fn whole(raw: u64, bytes: usize, signed: bool) -> Option<i64> {
    let number = i128::from(raw);
    let span = 1_i128 << (8 * bytes);
    let number = if signed && number >= span / 2 { number - span } else { number };
    i64::try_from(number).ok()
}

#[cfg(test)]
mod tests;
