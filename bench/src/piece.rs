//! Protobuf with gaps: bytes that are encoded once, and the places in them that every sending fills
//! anew.
//!
//! Only values of a fixed width can be filled, so that no length before them changes: ids, times,
//! and texts of hexadecimal or decimal digits.

use crate::random::{mix, skewed};

/// Value that fills a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    /// The id of one of the group's traces.
    TraceId(u32),
    /// The id of one of the group's spans.
    SpanId(u32),
    /// A moment of a trace, this many nanoseconds after its start; stretched or squeezed with it.
    Time { trace: u32, offset: u64 },
    /// 32 hexadecimal digits that nothing else has, as a value of this key.
    Unique { gap: u32, key: &'static str },
    /// Eight decimal digits of a number below this one.
    Even { gap: u32, below: u32 },
    /// The same, and small numbers are frequent.
    Skewed { gap: u32, below: u32 },
}

impl Fill {
    fn width(self) -> usize {
        match self {
            Self::TraceId(_) => 16,
            Self::Unique { .. } => 32,
            Self::SpanId(_) | Self::Time { .. } | Self::Even { .. } | Self::Skewed { .. } => 8,
        }
    }
}

/// A place to fill.
#[derive(Debug, Clone, Copy)]
struct UnfilledRange {
    at: usize,
    fill: Fill,
}

/// A part of a text.
#[derive(Debug, Clone)]
pub(crate) enum TextPart<'a> {
    Text(&'a str),
    Gap(Fill),
}

/// A protobuf message, or a piece of one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Piece {
    bytes: Vec<u8>,
    gaps: Vec<UnfilledRange>,
}

/// A request, before it is filled.
#[derive(Debug, Default)]
pub(crate) struct RequestTemplate {
    pub(crate) piece: Piece,
    pub(crate) spans: u64,
}

impl Piece {
    /// A field of a number.
    pub(crate) fn number(&mut self, field: u32, value: u64) {
        self.varint(u64::from(field) << 3);
        self.varint(value);
    }

    /// A field of four bytes.
    pub(crate) fn fixed32(&mut self, field: u32, value: u32) {
        self.varint(u64::from(field) << 3 | 5);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// A field of eight bytes.
    pub(crate) fn fixed64(&mut self, field: u32, value: u64) {
        self.varint(u64::from(field) << 3 | 1);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// A field of eight bytes to fill.
    pub(crate) fn time(&mut self, field: u32, trace: u32, offset: u64) {
        self.varint(u64::from(field) << 3 | 1);
        self.gap(Fill::Time { trace, offset });
    }

    /// A field of text or bytes, in parts.
    pub(crate) fn text(&mut self, field: u32, parts: &[TextPart<'_>]) {
        let width = |part: &TextPart<'_>| match part {
            TextPart::Text(text) => text.len(),
            TextPart::Gap(fill) => fill.width(),
        };
        self.varint(u64::from(field) << 3 | 2);
        self.varint(parts.iter().map(width).sum::<usize>() as u64);
        for part in parts {
            match part {
                TextPart::Text(text) => self.bytes.extend_from_slice(text.as_bytes()),
                TextPart::Gap(fill) => self.gap(*fill),
            }
        }
    }

    /// A field of bytes.
    pub(crate) fn data(&mut self, field: u32, data: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(data.len() as u64);
        self.bytes.extend_from_slice(data);
    }

    /// The bytes of a message without gaps.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// A field of a message.
    pub(crate) fn message(&mut self, field: u32, inner: &Piece) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(inner.bytes.len() as u64);
        let base = self.bytes.len();
        self.gaps.extend(inner.gaps.iter().map(|gap| UnfilledRange { at: gap.at + base, ..*gap }));
        self.bytes.extend_from_slice(&inner.bytes);
    }

    fn gap(&mut self, fill: Fill) {
        self.gaps.push(UnfilledRange { at: self.bytes.len(), fill });
        self.bytes.resize(self.bytes.len() + fill.width(), 0);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
            value >>= 7;
        }
        self.bytes.push(u8::try_from(value).unwrap_or(0));
    }

    /// The bytes with all gaps filled.
    pub(crate) fn filled(&self, round: &Round) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        for gap in &self.gaps {
            let place = &mut bytes[gap.at..gap.at + gap.fill.width()];
            match gap.fill {
                Fill::TraceId(trace) => place.copy_from_slice(&round.trace_id(trace)),
                Fill::SpanId(span) => {
                    place.copy_from_slice(&mix(round.key, SPANS | u64::from(span)).to_be_bytes());
                }
                Fill::Time { trace, offset } => {
                    place.copy_from_slice(&round.time(trace, offset).to_le_bytes());
                }
                Fill::Unique { gap, .. } => place.copy_from_slice(&round.unique(gap)),
                Fill::Even { gap, below } => {
                    let number = mix(round.key, VALUES | u64::from(gap)) % u64::from(below.max(1));
                    digits(place, number);
                }
                Fill::Skewed { gap, below } => {
                    let number = mix(round.key, VALUES | u64::from(gap));
                    digits(place, skewed(number, below as usize) as u64);
                }
            }
        }
        bytes
    }

    /// Key and gap of a text that nothing else has, when there is one.
    pub(crate) fn unique_gap(&self) -> Option<(&'static str, u32)> {
        self.gaps.iter().find_map(|gap| match gap.fill {
            Fill::Unique { gap, key } => Some((key, gap)),
            _ => None,
        })
    }
}

/// Stream numbers are offset by this for spans, so that separate counters never mix from the same
/// numbers.
const SPANS: u64 = 1 << 32;
const VALUES: u64 = 2 << 32;
const UNIQUE: u64 = 3 << 32;
const LOW: u64 = 4 << 32;
const PACE: u64 = 5 << 32;

/// One sending of a group of requests.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    /// Different for every sending of every group.
    pub(crate) key: u64,
    /// When the group's first trace starts.
    pub(crate) begin_unix_nanos: u64,
    /// Time between the starts of its traces.
    pub(crate) apart_nanos: u64,
}

impl Round {
    /// The id of a trace of the group.
    pub(crate) fn trace_id(&self, trace: u32) -> [u8; 16] {
        let high = mix(self.key, u64::from(trace));
        let low = mix(self.key, LOW | u64::from(trace));
        (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
    }

    /// The text that fills a unique gap.
    pub(crate) fn unique(&self, gap: u32) -> [u8; 32] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let number = u128::from(mix(self.key, UNIQUE | u64::from(gap))) << 64
            | u128::from(mix(self.key, UNIQUE | LOW | u64::from(gap)));
        let mut text = [0; 32];
        for (pair, byte) in text.chunks_exact_mut(2).zip(number.to_be_bytes()) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        text
    }

    fn time(&self, trace: u32, offset: u64) -> u64 {
        // Between half as fast and half as slow again, differently for every trace.
        let pace = u128::from(0x8000 + (mix(self.key, PACE | u64::from(trace)) & 0xffff));
        let stretched = u64::try_from((u128::from(offset) * pace) >> 16).unwrap_or(offset);
        self.begin_unix_nanos + u64::from(trace) * self.apart_nanos + stretched
    }
}

/// Decimal digits with leading zeros.
fn digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}
