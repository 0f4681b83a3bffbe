//! Protobuf's fields: tags, varints, lengths, and fields that repeat.

use std::marker::PhantomData;

use super::View;

/// Bytes that are malformed, or valid in a non-canonical form; [`prost`] tells which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed or non-canonical protobuf")]
pub struct NonCanonical;

/// The value of a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum FieldValue<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> FieldValue<'a> {
    #[inline]
    pub(super) fn varint(self) -> Result<u64, NonCanonical> {
        if let Self::Varint(value) = self { Ok(value) } else { Err(NonCanonical) }
    }

    #[expect(clippy::cast_possible_truncation, reason = "protobuf cuts integers to their type")]
    #[inline]
    pub(super) fn int32(self) -> Result<i32, NonCanonical> {
        self.varint().map(|value| value as i32)
    }

    #[expect(clippy::cast_possible_truncation, reason = "protobuf cuts integers to their type")]
    #[inline]
    pub(super) fn uint32(self) -> Result<u32, NonCanonical> {
        self.varint().map(|value| value as u32)
    }

    #[inline]
    pub(super) fn fixed64(self) -> Result<u64, NonCanonical> {
        if let Self::Fixed64(value) = self { Ok(value) } else { Err(NonCanonical) }
    }

    #[inline]
    pub(super) fn fixed32(self) -> Result<u32, NonCanonical> {
        if let Self::Fixed32(value) = self { Ok(value) } else { Err(NonCanonical) }
    }

    #[inline]
    pub(super) fn bytes(self) -> Result<&'a [u8], NonCanonical> {
        if let Self::Bytes(value) = self { Ok(value) } else { Err(NonCanonical) }
    }
}

/// The fields of a message, in the order of its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct FieldReader<'a> {
    message: &'a [u8],
    rest: &'a [u8],
    /// Start of the last field.
    from: usize,
}

impl<'a> FieldReader<'a> {
    #[inline]
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { message, rest: message, from: 0 }
    }

    /// Returns the start of the next field.
    #[inline]
    fn position(&self) -> usize {
        self.message.len() - self.rest.len()
    }

    /// Returns the next field and its number. It is inlined, so that the rest of the message stays
    /// in registers: this is most of the work of reading a request.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<Option<(u32, FieldValue<'a>)>, NonCanonical> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.from = self.position();
        let tag = u32::try_from(self.varint()?).map_err(|_| NonCanonical)?;
        let field = match tag & 7 {
            0 => FieldValue::Varint(self.varint()?),
            1 => FieldValue::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| NonCanonical)?;
                let (value, rest) = self.rest.split_at_checked(length).ok_or(NonCanonical)?;
                self.rest = rest;
                FieldValue::Bytes(value)
            }
            5 => FieldValue::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(NonCanonical),
        };
        if tag >> 3 == 0 { Err(NonCanonical) } else { Ok(Some((tag >> 3, field))) }
    }

    /// Returns the next field's bytes, when it has this number (up to 15) and fewer than 128 bytes.
    /// The order of most fields is known, and a check costs less than reading the tag.
    #[inline(always)]
    pub(super) fn bytes_of(&mut self, number: u8) -> Option<&'a [u8]> {
        let [tag, length, rest @ ..] = self.rest else { return None };
        if *tag != number << 3 | 2 || *length >= 0x80 {
            return None;
        }
        let (value, rest) = rest.split_at_checked(usize::from(*length))?;
        self.rest = rest;
        Some(value)
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], NonCanonical> {
        let (value, rest) = self.rest.split_first_chunk::<N>().ok_or(NonCanonical)?;
        self.rest = rest;
        Ok(*value)
    }

    #[inline(always)]
    fn varint(&mut self) -> Result<u64, NonCanonical> {
        // Most tags, lengths and enums take one byte.
        match self.rest.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                Ok(byte.into())
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, NonCanonical> {
        let mut value = 0;
        for (index, &byte) in self.rest.iter().take(10).enumerate() {
            // The tenth byte may have only one bit.
            if index == 9 && byte > 1 {
                return Err(NonCanonical);
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.rest = self.rest.get(index + 1..).ok_or(NonCanonical)?;
                return Ok(value);
            }
        }
        Err(NonCanonical)
    }
}

/// A repeated message field. Reading the outer message has found the positions, and each value is
/// read when it is requested.
#[derive(Debug)]
pub struct Repeated<'a, V> {
    message: &'a [u8],
    /// Field number, up to 15.
    number: u8,
    count: usize,
    /// Bytes from the first value to the last. Other fields may lie between them, if the sender
    /// mixes them.
    from: usize,
    to: usize,
    views: PhantomData<V>,
}

impl<V> Clone for Repeated<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Repeated<'_, V> {}

impl<'a, V> Repeated<'a, V> {
    pub(super) fn none(message: &'a [u8], number: u8) -> Self {
        Self { message, number, count: 0, from: 0, to: 0, views: PhantomData }
    }

    /// Adds the field that was just read from `fields`, and those that directly follow it.
    #[inline]
    pub(super) fn add(
        &mut self,
        fields: &mut FieldReader<'a>,
        field: FieldValue<'a>,
    ) -> Result<(), NonCanonical> {
        field.bytes()?;
        if self.count == 0 {
            self.from = fields.from;
        }
        self.count += 1;
        while fields.bytes_of(self.number).is_some() {
            self.count += 1;
        }
        self.to = fields.position();
        Ok(())
    }

    /// Returns the number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Returns true if there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<'a, V: View<'a>> Repeated<'a, V> {
    /// Returns the messages in the sender's order.
    pub fn iter(&self) -> impl Iterator<Item = Result<V, NonCanonical>> + use<'a, V> {
        let mut fields = FieldReader::new(self.message.get(self.from..self.to).unwrap_or_default());
        let wanted = self.number;
        std::iter::from_fn(move || {
            loop {
                if let Some(message) = fields.bytes_of(wanted) {
                    return Some(V::read(message));
                }
                match fields.next() {
                    Ok(Some((number, FieldValue::Bytes(message))))
                        if number == u32::from(wanted) =>
                    {
                        return Some(V::read(message));
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => return None,
                    Err(error) => {
                        fields = FieldReader::new(&[]);
                        return Some(Err(error));
                    }
                }
            }
        })
    }
}
