//! Packed attribute values of rows in the memtable: a kind and a text for each value. (Attributes
//! of events and links have the same form in the memtable as in files.)
//!
//! A string is stored unchanged. Every other value is encoded in seven-bit characters. All values
//! of a column are therefore one text whose UTF-8 is validated at once, without wasted space.

use std::borrow::Cow;

use arrow_array::{StringArray, StructArray, UInt8Array, cast::AsArray};

/// Type of an entry's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ValueKind {
    /// No value.
    None,
    /// OTLP's empty value.
    Empty,
    /// A string.
    Text,
    /// An integer.
    Int,
    /// A floating-point number.
    Double,
    /// A boolean.
    Bool,
    /// An array, a map or bytes: `AnyValue` in protobuf.
    Nested,
}

/// The value of an entry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EntryValue<'a> {
    /// No value.
    None,
    /// OTLP's empty value.
    Empty,
    /// A string.
    Text(&'a str),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Double(f64),
    /// A boolean.
    Bool(bool),
    /// An array, a map or bytes.
    Nested(Nested<'a>),
}

/// An array, a map or bytes, still encoded because most readers do not need the content.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Nested<'a> {
    /// The encoding in files.
    Plain(&'a [u8]),
    /// The packed encoding of the memtable.
    Packed(&'a str),
}

impl<'a> Nested<'a> {
    /// Returns the value as `AnyValue` in protobuf.
    #[must_use]
    #[inline]
    pub fn encoded(self) -> Cow<'a, [u8]> {
        match self {
            Self::Plain(encoded) => Cow::Borrowed(encoded),
            Self::Packed(text) => Cow::Owned(bytes(text.as_bytes())),
        }
    }
}

/// Returns kinds and texts of an attribute column, if its values are packed.
#[must_use]
pub fn parts(values: &StructArray) -> Option<(&UInt8Array, &StringArray)> {
    let [kinds, texts] = values.columns() else { return None };
    Some((kinds.as_primitive_opt()?, texts.as_string_opt()?))
}

/// Bits per character.
const BITS: u32 = 7;

impl ValueKind {
    /// All kinds, ordered by their codes.
    pub const ALL: [Self; 7] =
        [Self::None, Self::Empty, Self::Text, Self::Int, Self::Double, Self::Bool, Self::Nested];

    /// Returns the code that a column stores.
    #[must_use]
    #[inline]
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl EntryValue<'_> {
    /// Appends the value's text, and returns its kind.
    #[inline]
    pub fn push_packed(self, out: &mut Vec<u8>) -> ValueKind {
        match self {
            Self::None => ValueKind::None,
            Self::Empty => ValueKind::Empty,
            Self::Text(text) => {
                out.extend_from_slice(text.as_bytes());
                ValueKind::Text
            }
            Self::Int(number) => {
                push_int(number, out);
                ValueKind::Int
            }
            Self::Double(number) => {
                push_double(number, out);
                ValueKind::Double
            }
            Self::Bool(truth) => {
                push_truth(truth, out);
                ValueKind::Bool
            }
            Self::Nested(nested) => {
                push_bytes(&nested.encoded(), out);
                ValueKind::Nested
            }
        }
    }
}

/// Decodes a value from its kind and text.
#[inline]
pub(crate) fn value(kind: u8, text: &str) -> EntryValue<'_> {
    match ValueKind::ALL.get(usize::from(kind)).copied().unwrap_or(ValueKind::None) {
        ValueKind::None => EntryValue::None,
        ValueKind::Empty => EntryValue::Empty,
        ValueKind::Text => EntryValue::Text(text),
        ValueKind::Int => EntryValue::Int(int(text.as_bytes())),
        ValueKind::Double => EntryValue::Double(double(text.as_bytes())),
        ValueKind::Bool => EntryValue::Bool(truth(text.as_bytes())),
        ValueKind::Nested => EntryValue::Nested(Nested::Packed(text)),
    }
}

/// Encodes an integer so that small numbers of either sign are short.
#[inline]
pub fn push_int(number: i64, out: &mut Vec<u8>) {
    push(number.cast_unsigned() << 1 ^ (number >> 63).cast_unsigned(), out);
}

/// Decodes an integer.
#[must_use]
#[inline]
pub fn int(text: &[u8]) -> i64 {
    let folded = number(text);
    (folded >> 1).cast_signed() ^ -(folded & 1).cast_signed()
}

/// Encodes a double. Most numbers have few digits, so their last bits are zero and are omitted.
#[inline]
pub fn push_double(number: f64, out: &mut Vec<u8>) {
    push(number.to_bits().reverse_bits(), out);
}

/// Decodes a double.
#[must_use]
#[inline]
pub fn double(text: &[u8]) -> f64 {
    f64::from_bits(number(text).reverse_bits())
}

/// Encodes a boolean.
#[inline]
pub fn push_truth(truth: bool, out: &mut Vec<u8>) {
    push(truth.into(), out);
}

/// Decodes a boolean.
#[must_use]
#[inline]
pub fn truth(text: &[u8]) -> bool {
    number(text) != 0
}

#[inline]
fn push(mut number: u64, out: &mut Vec<u8>) {
    while number > 0 {
        out.push((number & 0x7f).to_le_bytes()[0]);
        number >>= BITS;
    }
}

#[inline]
fn number(text: &[u8]) -> u64 {
    text.iter().rev().fold(0, |number, byte| number << BITS | u64::from(*byte))
}

/// Encodes bytes.
pub fn push_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut count) = (0_u32, 0);
    for byte in bytes {
        bits |= u32::from(*byte) << count;
        count += 8;
        while count >= BITS {
            out.push((bits & 0x7f).to_le_bytes()[0]);
            bits >>= BITS;
            count -= BITS;
        }
    }
    if count > 0 {
        out.push(bits.to_le_bytes()[0]);
    }
}

/// Decodes bytes.
#[must_use]
pub fn bytes(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() * BITS as usize / 8);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text {
        bits |= u32::from(*byte) << count;
        count += BITS;
        if count >= 8 {
            bytes.push(bits.to_le_bytes()[0]);
            bits >>= 8;
            count -= 8;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{EntryValue, ValueKind, push_bytes, push_double, push_int, push_truth, value};

    fn packed(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        assert!(out.is_ascii());
        String::from_utf8(out).unwrap()
    }

    fn number() -> impl Strategy<Value = i64> {
        let edges = [0, 1, -1, 63, 64, -64, -65, i64::MAX, i64::MIN];
        prop_oneof![any::<i64>(), prop::sample::select(edges.to_vec())]
    }

    proptest! {
        #[test]
        fn packed_values_round_trip(
            number in number(),
            double in prop::num::f64::ANY,
            truth in any::<bool>(),
            bytes in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let text = packed(|out| push_int(number, out));
            prop_assert_eq!(value(ValueKind::Int.code(), &text), EntryValue::Int(number));
            let text = packed(|out| push_double(double, out));
            let EntryValue::Double(read) = value(ValueKind::Double.code(), &text) else {
                panic!("no double")
            };
            prop_assert_eq!(read.to_bits(), double.to_bits());
            let text = packed(|out| push_truth(truth, out));
            prop_assert_eq!(value(ValueKind::Bool.code(), &text), EntryValue::Bool(truth));
            let text = packed(|out| push_bytes(&bytes, out));
            let EntryValue::Nested(nested) = value(ValueKind::Nested.code(), &text) else {
                panic!("nothing nested")
            };
            prop_assert_eq!(nested.encoded(), bytes);
        }
    }

    #[test]
    fn a_kind_is_found_by_its_code() {
        for (place, kind) in (0..).zip(ValueKind::ALL) {
            assert_eq!(kind.code(), place);
        }
        assert_eq!(value(ValueKind::None.code(), ""), EntryValue::None);
        assert_eq!(value(ValueKind::Empty.code(), ""), EntryValue::Empty);
        assert_eq!(value(ValueKind::Text.code(), "é"), EntryValue::Text("é"));
    }

    #[test]
    fn numbers_of_few_digits_are_short() {
        for (number, length) in [(0, 0), (1, 1), (-1, 1), (63, 1), (200, 2), (50_000, 3)] {
            assert_eq!(packed(|out| push_int(number, out)).len(), length, "{number}");
        }
        for (number, length) in [(0.0, 0), (0.5, 2), (1024.0, 2), (0.1, 9)] {
            assert_eq!(packed(|out| push_double(number, out)).len(), length, "{number}");
        }
    }
}
