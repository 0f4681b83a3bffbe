//! The hash of a record's contents: equal for a record that came twice, however it was shipped.
//!
//! Every field goes in, in the order of the schema, each list with its length: the bytes on the
//! wire may be in another order. `docs/formats/tables.md` defines it.

use tidings_proto::otlp::view::AnyView;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// XXH3 (64 bits) of each part, seeded with the hash of what came before it plus the number of the
/// part's type.
#[derive(Debug, Clone, Copy)]
pub(super) struct ContentHash(u64);

impl ContentHash {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A text or bytes that are always there; empty when not.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.part(0, bytes);
    }

    /// A number, or the length of a list.
    pub(super) fn number(&mut self, number: u64) {
        self.part(0, &number.to_le_bytes());
    }

    /// A value, when there is one; what is nested in its one encoding.
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
