//! Content hash of a record. It is equal for a record that was sent twice, however it was encoded.
//!
//! Covers every field in the order of the schema, and each list with its length, because the order
//! on the wire may differ. `docs/formats/tables.md` defines it.

use tidings_proto::otlp::view::AnyView;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// XXH3 (64 bits) of each part, seeded with the hash of the parts before it plus the number of the
/// part's type.
#[derive(Debug, Clone, Copy)]
pub(super) struct ContentHash(u64);

impl ContentHash {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Adds a text or bytes. A missing field counts as empty.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.part(0, bytes);
    }

    /// Adds a number, or the length of a list.
    pub(super) fn number(&mut self, number: u64) {
        self.part(0, &number.to_le_bytes());
    }

    /// Adds an optional value. A nested value must be in its canonical encoding.
    pub(super) fn value(&mut self, value: Option<AnyView<'_>>) {
        match value {
            Some(AnyView::String(text)) => self.part(1, text),
            Some(AnyView::Int(number)) => self.part(2, &number.to_le_bytes()),
            Some(AnyView::Double(number)) => self.part(3, &number.to_bits().to_le_bytes()),
            Some(AnyView::Bool(truth)) => self.part(4, &[truth.into()]),
            Some(AnyView::Nested(encoded)) => self.part(5, encoded),
            Some(AnyView::Empty) => self.part(6, &[]),
            None => self.part(7, &[]),
        }
    }

    fn part(&mut self, kind: u64, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0.wrapping_add(kind));
    }

    pub(super) fn finish(self) -> i64 {
        self.0.cast_signed()
    }
}
