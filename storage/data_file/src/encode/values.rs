//! Values of a page, plain or as codes of the chunk's dictionary.

use std::ops::Range;

use arrow_buffer::{NullBuffer, bit_iterator::BitIndexIterator};
use parquet::basic::Encoding;
use tidings_columns::packed;

use super::{
    dictionary::{Dictionary, LENGTH_BYTES},
    levels::{self, code_width, place, span},
};

/// Values of a portion of rows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ValueSource<'a> {
    Texts(TextSlices<'a>),
    Longs(&'a [i64]),
    Ints(&'a [i32]),
    /// Integers in the memory format; see `tidings_columns::packed`.
    PackedLongs(TextSlices<'a>),
    PackedDoubles(TextSlices<'a>),
    PackedBools(TextSlices<'a>),
    PackedBytes(TextSlices<'a>),
}

/// Concatenated texts, with optional codes that refer to them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TextSlices<'a> {
    pub(crate) codes: Option<&'a [i32]>,
    pub(crate) offsets: &'a [i32],
    pub(crate) bytes: &'a [u8],
}

impl TextSlices<'_> {
    fn range(&self, text: usize) -> Range<usize> {
        span(&self.offsets[text..=text + 1])
    }

    /// Returns the text of an entry. The texts must have no codes.
    fn get(&self, entry: usize) -> &[u8] {
        &self.bytes[self.range(entry)]
    }

    fn number(&self, entry: usize) -> usize {
        self.codes.map_or(entry, |codes| place(codes[entry]))
    }

    /// Returns an upper bound of the plain bytes of these entries. The code of an entry without a
    /// text is ignored.
    fn bytes_max(&self, valid: Option<&NullBuffer>, entries: Range<usize>) -> usize {
        let has_text = |entry: &usize| valid.is_none_or(|valid| valid.is_valid(*entry));
        let bytes = match self.codes {
            None => span(&self.offsets[entries.start..=entries.end]).len(),
            Some(_) => {
                let texts = entries.clone().filter(has_text);
                texts.map(|entry| self.range(self.number(entry)).len()).sum()
            }
        };
        bytes + entries.len() * LENGTH_BYTES
    }
}

/// Size of the blocks in which texts are copied. Most texts are shorter than one block.
const BLOCK: usize = 32;
const UNKNOWN: u32 = u32::MAX;

/// Values of a column gathered for its next page.
#[derive(Debug)]
pub(super) struct PageValues {
    /// Dictionary of the chunk. `None` once it was full, and for columns without a dictionary.
    dictionary: Option<Dictionary>,
    /// True if codes take whole bytes, so that a compressor can find repeated sequences of codes.
    has_whole_bytes: bool,
    codes: Vec<u32>,
    /// Code and length in the file's dictionary of each text of the portion's dictionary.
    known: Vec<(u32, u32)>,
    /// Bytes of texts, without their length prefixes.
    text_bytes: usize,
    texts: PlainTexts,
    words: Vec<u8>,
    bits: Vec<u8>,
    /// Number of bits used in the last byte.
    last_bits: u32,
}

/// Error of a value that did not fit into the dictionary.
#[derive(Debug, Clone, Copy)]
pub(super) struct DictionaryFull;

impl PageValues {
    /// Creates an empty page with this dictionary. `are_compressed` is true if pages are
    /// compressed.
    pub(super) fn new(dictionary: Option<Dictionary>, are_compressed: bool) -> Self {
        Self {
            dictionary,
            has_whole_bytes: are_compressed,
            codes: Vec::new(),
            known: Vec::new(),
            text_bytes: 0,
            texts: PlainTexts::default(),
            words: Vec::new(),
            bits: Vec::new(),
            last_bits: 0,
        }
    }

    /// Begins a portion, whose codes refer to another dictionary.
    pub(super) fn begin_portion(&mut self) {
        self.known.clear();
    }

    /// Removes and returns the dictionary of the chunk.
    pub(super) fn take_dictionary(&mut self) -> Option<Dictionary> {
        self.known.clear();
        self.dictionary.take()
    }

    /// Begins a chunk with an empty dictionary.
    pub(super) fn set_dictionary(&mut self, dictionary: Dictionary) {
        self.dictionary = Some(dictionary);
    }

    /// Returns the approximate size of the values and the dictionary in the file, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let coded = self.dictionary.as_ref().map_or(0, |dictionary| {
            let bits = self.codes.len() * self.width(dictionary) as usize;
            dictionary.page().len() + bits.div_ceil(8)
        });
        coded + self.texts.used + self.words.len() + self.bits.len()
    }

    /// Returns the bytes of the texts of the page, without their length prefixes.
    pub(super) fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// Returns true if each of the last `count` values of the page is in the dictionary and equals
    /// the first value.
    pub(super) fn ends_with_first(&self, count: usize) -> bool {
        let last = self.codes.len().checked_sub(count).and_then(|from| self.codes.get(from..));
        let first = self.codes.first();
        last.is_some_and(|last| last.iter().all(|code| Some(code) == first))
    }

    /// Returns the bits of a code.
    fn width(&self, dictionary: &Dictionary) -> u32 {
        let width = code_width(dictionary.len());
        if self.has_whole_bytes { width.next_multiple_of(u8::BITS) } else { width }
    }

    /// Returns the number of these rows that fit into a page of at most `bytes_max` bytes. Only
    /// plain texts count; other pages end by their number of entries.
    pub(super) fn fitting(
        &self,
        source: &ValueSource<'_>,
        valid: Option<&NullBuffer>,
        offsets: &[i32],
        bytes_max: usize,
    ) -> usize {
        let rows = offsets.len() - 1;
        // Packed values are a little larger than their encoded form.
        let (ValueSource::Texts(texts) | ValueSource::PackedBytes(texts)) = source else {
            return rows;
        };
        if self.dictionary.is_some() {
            return rows;
        }
        let left = bytes_max.saturating_sub(self.texts.used);
        let fits = |rows: usize| texts.bytes_max(valid, span(&offsets[..=rows])) <= left;
        if fits(rows) {
            return rows;
        }
        let (mut fitting, mut too_many) = (0, rows);
        while fitting + 1 < too_many {
            let middle = fitting.midpoint(too_many);
            if fits(middle) {
                fitting = middle;
            } else {
                too_many = middle;
            }
        }
        fitting
    }

    /// Adds the values of these entries.
    ///
    /// # Errors
    /// When a value does not fit into the dictionary. No value of a dictionary column is added
    /// then.
    pub(super) fn push(
        &mut self,
        source: &ValueSource<'_>,
        valid: Option<&NullBuffer>,
        entries: Range<usize>,
    ) -> Result<(), DictionaryFull> {
        match valid.filter(|valid| valid.null_count() > 0) {
            None => self.push_each(source, entries),
            Some(valid) if valid.null_count() == valid.len() => Ok(()),
            Some(valid) => {
                let bits = valid.inner();
                let start = bits.offset() + entries.start;
                let places = BitIndexIterator::new(bits.values(), start, entries.len());
                self.push_each(source, places.map(|place| place + entries.start))
            }
        }
    }

    /// Like [`Self::push`], for entries that all have a value.
    pub(super) fn push_each(
        &mut self,
        source: &ValueSource<'_>,
        entries: impl Iterator<Item = usize>,
    ) -> Result<(), DictionaryFull> {
        let (codes, text_bytes) = (self.codes.len(), self.text_bytes);
        let all = match source {
            ValueSource::Texts(texts) => self.push_texts(texts, entries),
            ValueSource::Longs(longs) => self.push_words(entries.map(|at| longs[at].to_le_bytes())),
            ValueSource::Ints(ints) => self.push_words(entries.map(|at| ints[at].to_le_bytes())),
            ValueSource::PackedLongs(texts) => {
                self.push_words(entries.map(|at| packed::int(texts.get(at)).to_le_bytes()))
            }
            ValueSource::PackedDoubles(texts) => {
                self.push_words(entries.map(|at| packed::double(texts.get(at)).to_le_bytes()))
            }
            ValueSource::PackedBools(texts) => {
                entries.for_each(|at| self.push_bool(packed::truth(texts.get(at))));
                Some(())
            }
            ValueSource::PackedBytes(texts) => self.push_packed(texts, entries),
        };
        all.ok_or_else(|| {
            self.codes.truncate(codes);
            self.text_bytes = text_bytes;
            DictionaryFull
        })
    }

    /// Returns the number of these entries that fit into the page. All of them have a value. Plain
    /// texts may take `bytes_max` bytes, and dictionary-encoded texts `coded_max` bytes when
    /// decoded. Other values are not limited.
    pub(super) fn fitting_entries(
        &self,
        source: &ValueSource<'_>,
        entries: impl ExactSizeIterator<Item = usize>,
        bytes_max: usize,
        coded_max: usize,
    ) -> usize {
        let (ValueSource::Texts(texts) | ValueSource::PackedBytes(texts)) = source else {
            return entries.len();
        };
        let mut left = match self.dictionary {
            Some(_) => coded_max.saturating_sub(self.text_bytes),
            None => bytes_max.saturating_sub(self.texts.used),
        };
        let fits = |entry: &usize| {
            let rest = left.checked_sub(texts.range(texts.number(*entry)).len() + LENGTH_BYTES);
            left = rest.unwrap_or(0);
            rest.is_some()
        };
        entries.take_while(fits).count()
    }

    /// Returns the number of values in the dictionary. 0 without a dictionary.
    pub(super) fn dictionary_len(&self) -> usize {
        self.dictionary.as_ref().map_or(0, Dictionary::len)
    }

    /// Replaces the codes of the page by plain values. The dictionary is kept.
    pub(super) fn decode_codes(&mut self) {
        let Some(dictionary) = &self.dictionary else { return };
        for code in self.codes.drain(..) {
            let value = dictionary.value(code as usize);
            if dictionary.has_texts() {
                self.texts.push(value, 0..value.len());
            } else {
                self.words.extend_from_slice(value);
            }
        }
    }

    fn push_texts(
        &mut self,
        texts: &TextSlices<'_>,
        entries: impl Iterator<Item = usize>,
    ) -> Option<()> {
        let Some(dictionary) = &mut self.dictionary else {
            let before = self.texts.used;
            let mut count = 0;
            for entry in entries {
                self.texts.push(texts.bytes, texts.range(texts.number(entry)));
                count += 1;
            }
            self.text_bytes += self.texts.used - before - count * LENGTH_BYTES;
            return Some(());
        };
        let Some(codes) = texts.codes else {
            for entry in entries {
                let text = &texts.bytes[texts.range(entry)];
                self.codes.push(dictionary.text(text)?);
                self.text_bytes += text.len();
            }
            return Some(());
        };
        self.known.resize(texts.offsets.len() - 1, (UNKNOWN, 0));
        for entry in entries {
            let known = &mut self.known[place(codes[entry])];
            if known.0 == UNKNOWN {
                let text = &texts.bytes[texts.range(place(codes[entry]))];
                *known = (dictionary.text(text)?, u32::try_from(text.len()).ok()?);
            }
            self.codes.push(known.0);
            self.text_bytes += known.1 as usize;
        }
        Some(())
    }

    fn push_packed(
        &mut self,
        texts: &TextSlices<'_>,
        entries: impl Iterator<Item = usize>,
    ) -> Option<()> {
        for entry in entries {
            let bytes = packed::bytes(texts.get(entry));
            match &mut self.dictionary {
                Some(dictionary) => self.codes.push(dictionary.text(&bytes)?),
                None => self.texts.push(&bytes, 0..bytes.len()),
            }
            self.text_bytes += bytes.len();
        }
        Some(())
    }

    fn push_words<const N: usize>(&mut self, words: impl Iterator<Item = [u8; N]>) -> Option<()> {
        match &mut self.dictionary {
            Some(dictionary) => {
                // Most columns have long runs of one number.
                let mut last: Option<([u8; N], u32)> = None;
                for word in words {
                    let code = match last {
                        Some((before, code)) if before == word => code,
                        _ => dictionary.word(word)?,
                    };
                    last = Some((word, code));
                    self.codes.push(code);
                }
            }
            None => words.for_each(|word| self.words.extend_from_slice(&word)),
        }
        Some(())
    }

    fn push_bool(&mut self, value: bool) {
        match self.bits.last_mut() {
            Some(last) if self.last_bits < 8 => *last |= u8::from(value) << self.last_bits,
            _ => {
                self.bits.push(u8::from(value));
                self.last_bits = 0;
            }
        }
        self.last_bits += 1;
    }

    /// Appends the values to `page` and clears them. Returns their encoding and the bytes of their
    /// texts.
    pub(super) fn end_page(&mut self, page: &mut Vec<u8>) -> (Encoding, usize) {
        let text_bytes = std::mem::take(&mut self.text_bytes);
        if let Some(dictionary) = &self.dictionary {
            let width = self.width(dictionary);
            page.extend_from_slice(&width.to_le_bytes()[..1]);
            levels::encode(&self.codes, width, page);
            self.codes.clear();
            return (Encoding::RLE_DICTIONARY, text_bytes);
        }
        page.extend_from_slice(&self.texts.room[..self.texts.used]);
        page.extend_from_slice(&self.words);
        page.extend_from_slice(&self.bits);
        self.texts.used = 0;
        self.words.clear();
        self.bits.clear();
        (Encoding::PLAIN, text_bytes)
    }
}

/// Texts, each after its length.
#[derive(Debug, Default)]
struct PlainTexts {
    /// Buffer with at least one block of free space behind the texts.
    room: Vec<u8>,
    used: usize,
}

impl PlainTexts {
    /// Copies a text. A short text is copied as a whole block, and the next text overwrites the
    /// excess.
    #[inline]
    fn push(&mut self, bytes: &[u8], text: Range<usize>) {
        let length = text.len();
        let end = self.used + LENGTH_BYTES + length;
        if self.room.len() < end + BLOCK {
            self.room.resize((end + BLOCK).max(self.room.len() * 2), 0);
        }
        let out = &mut self.room[self.used..end + BLOCK];
        let (before, out) = out.split_at_mut(LENGTH_BYTES);
        before.copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        match bytes.get(text.start..text.start + BLOCK) {
            Some(block) if length <= BLOCK => out[..BLOCK].copy_from_slice(block),
            _ => out[..length].copy_from_slice(&bytes[text]),
        }
        self.used = end;
    }
}
