//! One field of attributes in a row group, page by page.

use std::{ops::Range, sync::Arc};

use arrow_buffer::{ArrowNativeType, BooleanBufferBuilder};
use bytes::Bytes;
use parquet::{
    basic::{Encoding, Type},
    column::page::{Page, PageReader},
    errors::{ParquetError, Result},
    file::{
        metadata::{ColumnChunkMetaData, RowGroupMetaData},
        reader::ChunkReader,
        serialized_reader::SerializedPageReader,
    },
};

use super::{KeyDictionary, hybrid::decode};
use crate::data_file::entries_builder::{EntriesBuilder, NullableNumbers, NullableTexts, Validity};

/// A field of attributes.
pub(super) struct Leaf {
    pages: Box<dyn PageReader>,
    kind: Type,
    /// A page with more places is damaged: the row group has no more.
    places_max: usize,
    /// The definition level of a value that is there.
    level: u8,
    dictionary: Bytes,
    /// Where in the dictionary each text is.
    texts: Vec<Range<usize>>,
    /// Of the page: whether rows begin at its places. Asked of the first field only.
    repeats: Option<Vec<u8>>,
    /// Of the page: what is at its places.
    levels: Vec<u8>,
    /// The next place.
    at: usize,
    /// True if a row of the page has no entries.
    has_empty: bool,
    /// Number of values in the page.
    count: usize,
    /// Of the entries in some places.
    of_entries: Vec<u8>,
    values: LeafValues,
}

/// The values of a page that were not read yet.
enum LeafValues {
    Coded { codes: Vec<u32>, at: usize },
    Plain { bytes: Bytes, at: usize },
}

impl Leaf {
    /// Returns true if the column of a row group has the layout of this store's writers; `repeats`
    /// as for [`Self::open`].
    pub(super) fn is_known(chunk: &ColumnChunkMetaData, repeats: bool) -> bool {
        let described = chunk.column_descr();
        let is_encoding = |encoding| {
            matches!(encoding, Encoding::PLAIN | Encoding::RLE | Encoding::RLE_DICTIONARY)
        };
        described.max_def_level() == i16::from(level(repeats))
            && described.max_rep_level() == 1
            && chunk.encodings().all(is_encoding)
    }

    /// The column of a row group; `repeats` says whether to tell where rows begin, as the keys do.
    pub(super) fn open<R: ChunkReader + 'static>(
        file: &Arc<R>,
        group: &RowGroupMetaData,
        column: usize,
        repeats: bool,
    ) -> Result<Self> {
        let chunk = group.column(column);
        let rows = usize::try_from(group.num_rows()).unwrap_or_default();
        let pages = SerializedPageReader::new(Arc::clone(file), chunk, rows, None)?;
        Ok(Self {
            pages: Box::new(pages),
            kind: chunk.column_type(),
            places_max: usize::try_from(chunk.num_values()).unwrap_or_default(),
            level: level(repeats),
            dictionary: Bytes::new(),
            texts: Vec::new(),
            repeats: repeats.then(Vec::new),
            levels: Vec::new(),
            at: 0,
            has_empty: false,
            count: 0,
            of_entries: Vec::new(),
            values: LeafValues::Plain { bytes: Bytes::new(), at: 0 },
        })
    }

    /// Adds the keys of so many rows; how many places that are.
    pub(super) fn rows(
        &mut self,
        rows: usize,
        known: &mut KeyDictionary,
        built: &mut EntriesBuilder,
    ) -> Result<usize> {
        let (mut begun, mut places) = (0, 0);
        while self.at < self.levels.len() || self.turn()? {
            let Self { repeats, levels, at, values, texts, dictionary, .. } = self;
            let repeats = repeats.as_deref().unwrap_or_default();
            let first = *at;
            for place in first..levels.len() {
                if repeats[place] == 0 {
                    if begun > 0 {
                        built.end_row()?;
                    }
                    if begun == rows {
                        *at = place;
                        return Ok(places + place - first);
                    }
                    begun += 1;
                }
                if levels[place] > 0 {
                    let key = match values {
                        LeafValues::Coded { codes, at } => {
                            let code = codes.get(*at).ok_or_else(cut_off)?;
                            *at += 1;
                            known.coded(*code as usize, |code| {
                                texts.get(code).map(|range| &dictionary[range.clone()])
                            })
                        }
                        LeafValues::Plain { bytes, at } => {
                            let range = prefixed(bytes, *at).ok_or_else(cut_off)?;
                            *at = range.end;
                            Some(known.text(&bytes[range]))
                        }
                    };
                    built.codes.push(key.ok_or_else(cut_off)?);
                }
            }
            places += levels.len() - first;
            *at = levels.len();
        }
        if begun < rows || rows == 0 {
            return Err(damaged("there are fewer attributes than rows"));
        }
        built.end_row()?;
        Ok(places)
    }

    /// Passes the keys of so many rows; how many places that are.
    pub(super) fn pass_rows(&mut self, rows: usize) -> Result<usize> {
        let (mut begun, mut places) = (0, 0);
        while self.at < self.levels.len() || self.turn()? {
            let first = self.at;
            let begins = self.repeats.iter().flatten().enumerate().skip(first);
            let mut begins = begins.filter(|(_, repeats)| **repeats == 0);
            let end = begins.nth(rows - begun).map(|(place, _)| place);
            let here = &self.repeats.as_deref().unwrap_or_default()[first..];
            match end {
                Some(end) => {
                    self.pass_values(first..end)?;
                    return Ok(places + end - first);
                }
                None => begun += here.iter().filter(|repeats| **repeats == 0).count(),
            }
            self.pass_values(first..self.levels.len())?;
            places += self.levels.len() - first;
        }
        if begun < rows {
            return Err(damaged("there are fewer attributes than rows"));
        }
        Ok(places)
    }

    /// Passes so many places.
    pub(super) fn pass(&mut self, mut places: usize) -> Result<()> {
        while places > 0 {
            self.turn_if_done()?;
            let here = self.at..self.levels.len().min(self.at + places);
            places -= here.len();
            self.pass_values(here)?;
        }
        Ok(())
    }

    /// Passes places of the page.
    fn pass_values(&mut self, places: Range<usize>) -> Result<()> {
        self.at = places.end;
        let count = self.levels[places].iter().filter(|level| **level == self.level).count();
        match &mut self.values {
            LeafValues::Coded { at, .. } => *at += count,
            LeafValues::Plain { bytes, at } if self.kind == Type::BYTE_ARRAY => {
                for _ in 0..count {
                    *at = prefixed(bytes, *at).ok_or_else(cut_off)?.end;
                }
            }
            LeafValues::Plain { at, .. } if self.kind == Type::BOOLEAN => *at += count,
            LeafValues::Plain { at, .. } => *at += count * size_of::<u64>(),
        }
        Ok(())
    }

    /// Adds the texts of the entries in the next places.
    pub(super) fn texts(
        &mut self,
        mut places: usize,
        built: &mut NullableTexts,
        mut are_values: Option<&mut Validity>,
    ) -> Result<()> {
        while places > 0 {
            let here = self.entries(&mut places)?;
            let Self { of_entries, levels, values, texts, dictionary, level, .. } = self;
            let entries = here.map_or(of_entries.as_slice(), |here| &levels[here]);
            built.are.extend(entries, |of_entry| of_entry == *level);
            if let Some(are_values) = &mut are_values {
                are_values.extend(entries, |of_entry| of_entry > 1);
            }
            for of_entry in entries {
                if of_entry != level {
                    built.append(&[])?;
                    continue;
                }
                match values {
                    LeafValues::Coded { codes, at } => {
                        let range = codes.get(*at).and_then(|code| texts.get(*code as usize));
                        *at += 1;
                        built.append(&dictionary[range.ok_or_else(cut_off)?.clone()])?;
                    }
                    LeafValues::Plain { bytes, at } => {
                        let range = prefixed(bytes, *at).ok_or_else(cut_off)?;
                        *at = range.end;
                        built.append(&bytes[range])?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds the numbers of the entries in the next places.
    pub(super) fn numbers<N: ArrowNativeType>(
        &mut self,
        mut places: usize,
        built: &mut NullableNumbers<N>,
        number: impl Fn([u8; 8]) -> N,
    ) -> Result<()> {
        while places > 0 {
            let here = self.entries(&mut places)?;
            let Self { of_entries, levels, values, dictionary, level, count, .. } = self;
            let entries = here.map_or(of_entries.as_slice(), |here| &levels[here]);
            built.are.extend(entries, |of_entry| of_entry == *level);
            let first = built.values.len();
            built.values.resize(first + entries.len(), N::default());
            if *count == 0 {
                continue;
            }
            for (built, of_entry) in built.values[first..].iter_mut().zip(entries) {
                if of_entry != level {
                    continue;
                }
                let eight = match values {
                    LeafValues::Coded { codes, at } => {
                        let code = codes.get(*at).map(|code| *code as usize * 8);
                        *at += 1;
                        code.and_then(|start| dictionary.get(start..))
                    }
                    LeafValues::Plain { bytes, at } => {
                        *at += 8;
                        bytes.get(*at - 8..)
                    }
                };
                *built = number(*eight.and_then(<[u8]>::first_chunk).ok_or_else(cut_off)?);
            }
        }
        Ok(())
    }

    /// Adds the truth values of the entries in the next places.
    pub(super) fn truths(
        &mut self,
        mut places: usize,
        built: &mut BooleanBufferBuilder,
        are: &mut Validity,
    ) -> Result<()> {
        while places > 0 {
            let here = self.entries(&mut places)?;
            let Self { of_entries, levels, values, level, count, .. } = self;
            let entries = here.map_or(of_entries.as_slice(), |here| &levels[here]);
            are.extend(entries, |of_entry| of_entry == *level);
            if *count == 0 {
                built.append_n(entries.len(), false);
                continue;
            }
            for of_entry in entries {
                let truth = match values {
                    _ if of_entry != level => Some(false),
                    LeafValues::Coded { codes, at } => {
                        *at += 1;
                        codes.get(*at - 1).map(|code| *code == 1)
                    }
                    LeafValues::Plain { bytes, at } => {
                        *at += 1;
                        bytes.get((*at - 1) / 8).map(|byte| byte >> ((*at - 1) % 8) & 1 == 1)
                    }
                };
                built.append(truth.ok_or_else(cut_off)?);
            }
        }
        Ok(())
    }

    /// Passes the next places, as many of these as the page has. Their entries' levels are at these
    /// places, or in `of_entries` where some have no entry.
    fn entries(&mut self, places: &mut usize) -> Result<Option<Range<usize>>> {
        self.turn_if_done()?;
        let here = self.at..self.levels.len().min(self.at + *places);
        *places -= here.len();
        self.at = here.end;
        if !self.has_empty {
            return Ok(Some(here));
        }
        self.of_entries.clear();
        self.of_entries.extend(self.levels[here].iter().filter(|level| **level > 0));
        Ok(None)
    }

    /// Has a page with a place that was not passed.
    fn turn_if_done(&mut self) -> Result<()> {
        while self.at >= self.levels.len() {
            if !self.turn()? {
                return Err(damaged("a field of attributes ends before the others"));
            }
        }
        Ok(())
    }

    /// Goes to the next page with values; whether there is one.
    fn turn(&mut self) -> Result<bool> {
        loop {
            match self.pages.get_next_page()? {
                None => return Ok(false),
                Some(Page::DictionaryPage { buf, num_values, .. }) => {
                    self.learn(buf, num_values)?
                }
                Some(Page::DataPage { buf, num_values, encoding, .. }) => {
                    let parts = prefixed(&buf, 0).and_then(|repeats| {
                        let defined = prefixed(&buf, repeats.end)?;
                        Some((&buf[repeats], &buf[defined.clone()], buf.slice(defined.end..)))
                    });
                    let parts = parts.ok_or_else(cut_off)?;
                    return self.read(parts, num_values as usize, encoding).map(|()| true);
                }
                Some(Page::DataPageV2 {
                    buf,
                    num_values,
                    encoding,
                    rep_levels_byte_len,
                    def_levels_byte_len,
                    ..
                }) => {
                    let repeats = buf.get(..rep_levels_byte_len as usize).ok_or_else(cut_off)?;
                    let levels = repeats.len() + def_levels_byte_len as usize;
                    let defined = buf.get(repeats.len()..levels).ok_or_else(cut_off)?;
                    let parts = (repeats, defined, buf.slice(levels..));
                    return self.read(parts, num_values as usize, encoding).map(|()| true);
                }
            }
        }
    }

    fn learn(&mut self, page: Bytes, values: u32) -> Result<()> {
        self.texts.clear();
        if self.kind == Type::BYTE_ARRAY {
            let mut at = 0;
            for _ in 0..values {
                let text = prefixed(&page, at).ok_or_else(|| damaged("a dictionary is cut off"))?;
                at = text.end;
                self.texts.push(text);
            }
        }
        self.dictionary = page;
        Ok(())
    }

    /// Takes a page's levels, first which rows begin, and its values.
    pub(super) fn read(
        &mut self,
        (repeats, defined, values): (&[u8], &[u8], Bytes),
        places: usize,
        encoding: Encoding,
    ) -> Result<()> {
        if places > self.places_max {
            return Err(damaged("a page of attributes is too large"));
        }
        if let Some(read) = &mut self.repeats {
            read.clear();
            decode(repeats, 1, places, read).ok_or_else(cut_off)?;
        }
        self.levels.clear();
        let width = u8::BITS - self.level.leading_zeros();
        decode(defined, width, places, &mut self.levels).ok_or_else(cut_off)?;
        self.at = 0;
        let count = self.levels.iter().filter(|level| **level == self.level).count();
        (self.count, self.has_empty) = (count, self.levels.contains(&0));
        let mut codes = Vec::new();
        self.values = match encoding {
            Encoding::PLAIN => LeafValues::Plain { bytes: values, at: 0 },
            Encoding::RLE_DICTIONARY => {
                if let Some((width, packed)) = values.split_first() {
                    let width = u32::from(*width);
                    decode(packed, width, count, &mut codes).ok_or_else(cut_off)?;
                }
                LeafValues::Coded { codes, at: 0 }
            }
            Encoding::RLE if self.kind == Type::BOOLEAN => {
                let packed = prefixed(&values, 0).ok_or_else(cut_off)?;
                decode(&values[packed], 1, count, &mut codes).ok_or_else(cut_off)?;
                LeafValues::Coded { codes, at: 0 }
            }
            _ => return Err(damaged("attributes are encoded in another way than is said")),
        };
        Ok(())
    }
}

/// The definition level of a key, or of a value.
fn level(is_key: bool) -> u8 {
    if is_key { 1 } else { 3 }
}

fn cut_off() -> ParquetError {
    damaged("a page of attributes is cut off")
}

/// Where the bytes are whose length is here.
fn prefixed(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let length = bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)?;
    let start = at + size_of::<u32>();
    let end = start.checked_add(length as usize)?;
    (end <= bytes.len()).then_some(start..end)
}

pub(super) fn damaged(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}
