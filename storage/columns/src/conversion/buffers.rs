//! Builds text columns from slices of a request that are not validated yet.
//!
//! UTF-8 is validated once when a column is finished, which is much cheaper than for each text.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, DictionaryArray, Int32Array, StringArray, types::Int32Type,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::ArrowError;
use xxhash_rust::xxh3::xxh3_64;

use super::{first_offset, offset};

/// Builds a column of texts or bytes that differ from row to row.
#[derive(Debug)]
pub(super) struct TextsBuilder {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
}

impl TextsBuilder {
    /// Allocates for this many texts of this many bytes.
    pub(super) fn new(texts: usize, bytes: usize) -> Self {
        Self { offsets: first_offset(texts), bytes: Vec::with_capacity(bytes) }
    }

    pub(super) fn push(&mut self, text: &[u8]) {
        self.write(|bytes| bytes.extend_from_slice(text));
    }

    /// Adds the text that `append` writes.
    pub(super) fn write(&mut self, append: impl FnOnce(&mut Vec<u8>)) {
        append(&mut self.bytes);
        self.offsets.push(offset(self.bytes.len()));
    }

    /// Returns the texts.
    ///
    /// # Errors
    /// When the texts are not UTF-8.
    pub(super) fn finish(self, nulls: Option<NullBuffer>) -> Result<StringArray, ArrowError> {
        let (offsets, bytes) = self.buffers();
        StringArray::try_new(offsets, bytes, nulls)
    }

    /// Returns the texts as bytes.
    pub(super) fn finish_binary(
        self,
        nulls: Option<NullBuffer>,
    ) -> Result<BinaryArray, ArrowError> {
        let (offsets, bytes) = self.buffers();
        BinaryArray::try_new(offsets, bytes, nulls)
    }

    fn buffers(mut self) -> (OffsetBuffer<i32>, Buffer) {
        // Capacities were estimates, and the buffers live for a while.
        self.offsets.shrink_to_fit();
        self.bytes.shrink_to_fit();
        (OffsetBuffer::new(ScalarBuffer::from(self.offsets)), Buffer::from_vec(self.bytes))
    }
}

/// Returns the validity of this many values. `None` when all are valid.
pub(super) fn nulls(count: usize, is_there: impl FnMut(usize) -> bool) -> Option<NullBuffer> {
    let nulls = NullBuffer::new(BooleanBuffer::collect_bool(count, is_there));
    (nulls.null_count() > 0).then_some(nulls)
}

/// Builds a column of repetitive texts. Each distinct text is stored once.
#[derive(Debug)]
pub(crate) struct WordsBuilder<'a> {
    keys: Vec<i32>,
    values: Vec<&'a [u8]>,
    /// Hash table of values: 0 is a free slot, other numbers are the value's index plus one.
    table: Vec<u32>,
    has_nulls: bool,
    /// For each value, the value that followed its last occurrence. It predicts texts that come in
    /// sequences.
    next: Vec<i32>,
}

/// The key of a row without a text.
const NULL: i32 = -1;

/// Returns true if two texts are equal. Two empty texts are not passed to `memcmp`: some processors
/// need hundreds of cycles for a masked read of no bytes. Some columns hold only empty texts.
#[inline]
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && (one.is_empty() || one == other)
}

impl<'a> WordsBuilder<'a> {
    pub(crate) fn new(rows: usize) -> Self {
        Self {
            keys: Vec::with_capacity(rows),
            values: Vec::new(),
            table: vec![0; 16],
            has_nulls: false,
            next: Vec::new(),
        }
    }

    /// Appends this many rows of one text, or of null.
    pub(crate) fn push(&mut self, text: Option<&'a [u8]>, rows: usize) {
        if rows == 0 {
            return;
        }
        let key = match text {
            Some(text) => self.key(text),
            None => {
                self.has_nulls = true;
                NULL
            }
        };
        self.keys.resize(self.keys.len() + rows, key);
    }

    /// Appends a row whose text usually follows the same text as before, as attribute keys do.
    /// Either all rows of a column are appended by this method, or none.
    pub(crate) fn follow(&mut self, text: &'a [u8]) {
        let before = self.keys.last().and_then(|key| usize::try_from(*key).ok());
        let expected = before.and_then(|before| usize::try_from(*self.next.get(before)?).ok());
        if let Some(at) = expected
            && self.values[at] == text
        {
            self.keys.push(offset(at));
            return;
        }
        let key = self.key(text);
        self.keys.push(key);
        if let Some(before) = before {
            self.next.resize(self.values.len().max(before + 1), NULL);
            self.next[before] = key;
        }
    }

    fn key(&mut self, text: &'a [u8]) -> i32 {
        // Adjacent rows often have equal texts.
        if let Some(last) = self.keys.last()
            && let Ok(at) = usize::try_from(*last)
            && same(self.values[at], text)
        {
            return *last;
        }
        if self.values.len() * 2 >= self.table.len() {
            self.grow();
        }
        let slot = self.slot(text);
        if self.table[slot] == 0 {
            self.values.push(text);
            self.table[slot] = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        }
        offset(self.table[slot] as usize - 1)
    }

    /// Returns the slot of the text, or the free slot for it.
    fn slot(&self, text: &[u8]) -> usize {
        let mask = self.table.len() - 1;
        let mut slot = usize::try_from(xxh3_64(text) & mask as u64).unwrap_or(0);
        while let Some(at) = (self.table[slot] as usize).checked_sub(1)
            && !same(self.values[at], text)
        {
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn grow(&mut self) {
        self.table = vec![0; self.table.len() * 4];
        for at in 0..self.values.len() {
            let slot = self.slot(self.values[at]);
            self.table[slot] = u32::try_from(at + 1).unwrap_or(u32::MAX);
        }
    }

    /// Returns the column.
    ///
    /// # Errors
    /// When a text is not UTF-8.
    pub(crate) fn finish(mut self) -> Result<ArrayRef, ArrowError> {
        self.keys.shrink_to_fit();
        let texts = self.texts()?;
        let codes = codes(self.keys, self.has_nulls)?;
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(codes, texts)?))
    }

    /// Returns the distinct texts.
    fn texts(&self) -> Result<ArrayRef, ArrowError> {
        let mut texts =
            TextsBuilder::new(self.values.len(), self.values.iter().map(|text| text.len()).sum());
        for text in &self.values {
            texts.push(text);
        }
        Ok(Arc::new(texts.finish(None)?))
    }
}

/// Returns the codes of rows.
fn codes(codes: Vec<i32>, has_nulls: bool) -> Result<Int32Array, ArrowError> {
    let nulls = if has_nulls { nulls(codes.len(), |row| codes[row] != NULL) } else { None };
    Int32Array::try_new(ScalarBuffer::from(codes), nulls)
}

/// Builds columns with one text for each group of rows. Columns that have equal codes share their
/// memory. Most columns of senders do, because they have one text in all groups, or none.
#[derive(Debug)]
pub(crate) struct GroupedWords {
    /// Number of rows of each group.
    rows: Vec<usize>,
    /// Codes of the groups and codes of their rows.
    known: Vec<(Vec<i32>, Int32Array)>,
}

impl GroupedWords {
    /// Creates builders for groups with these numbers of rows.
    pub(crate) fn new(rows: Vec<usize>) -> Self {
        Self { rows, known: Vec::new() }
    }

    /// Returns the column with these texts of the groups.
    ///
    /// # Errors
    /// When a text is not UTF-8.
    pub(crate) fn column<'a>(
        &mut self,
        texts: impl Iterator<Item = Option<&'a [u8]>>,
    ) -> Result<ArrayRef, ArrowError> {
        let mut words = WordsBuilder::new(self.rows.len());
        texts.for_each(|text| words.push(text, 1));
        let texts = words.texts()?;
        let known = self.known.iter().find(|(of_groups, _)| *of_groups == words.keys);
        let of_rows = match known.map(|(_, of_rows)| of_rows.clone()) {
            Some(of_rows) => of_rows,
            None => {
                let mut of_rows = Vec::with_capacity(self.rows.iter().sum());
                for (code, rows) in words.keys.iter().zip(&self.rows) {
                    of_rows.resize(of_rows.len() + rows, *code);
                }
                let of_rows = codes(of_rows, words.has_nulls)?;
                self.known.push((words.keys, of_rows.clone()));
                of_rows
            }
        };
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(of_rows, texts)?))
    }
}
