//! Gathers dictionary-encoded texts ("words") of rows from several batches into one column.
//!
//! Most columns have one word in a whole batch, or none at all. No row is read then. Columns with
//! the same word in all batches are handled by `constant_column`.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, DictionaryArray, Int32Array, StringArray, cast::AsArray, types::Int32Type,
};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, NullBuffer};
use arrow_schema::ArrowError;

use super::codes::DictionaryCodes;

/// The code of a row without a word.
const NONE: i32 = -1;

/// Word column of several batches.
pub(super) struct WordGatherer<'a> {
    parts: Vec<WordBatch<'a>>,
    codes: DictionaryCodes<'a>,
}

/// Word column of one batch.
struct WordBatch<'a> {
    words: PartWords<'a>,
    texts: &'a StringArray,
    /// Position of its first text among the texts of all batches.
    first: usize,
}

enum PartWords<'a> {
    /// No row has a word.
    None,
    /// All rows have the same word.
    Same(usize),
    Each(&'a Int32Array),
}

/// Single value of all rows: a word or null.
type ConstantWord<'a> = Option<&'a str>;

impl<'a> WordGatherer<'a> {
    pub(super) fn new(arrays: impl Iterator<Item = &'a dyn Array>) -> Result<Self, ArrowError> {
        let wrong = || ArrowError::SchemaError("a column of words is no dictionary".to_owned());
        let (mut parts, mut first) = (Vec::new(), 0);
        for array in arrays {
            let coded = array.as_dictionary_opt::<Int32Type>().ok_or_else(wrong)?;
            let texts: &StringArray = coded.values().as_string_opt().ok_or_else(wrong)?;
            parts.push(WordBatch {
                words: PartWords::from_codes(coded.keys(), texts),
                texts,
                first,
            });
            first += texts.len();
        }
        Ok(Self { parts, codes: DictionaryCodes::new(first) })
    }

    /// Returns one row with the value of all rows of all batches, if that is the same.
    pub(super) fn same(&self) -> Option<ArrayRef> {
        let (codes, texts) = match only(&self.parts)? {
            Some(text) => (Int32Array::from(vec![0]), vec![text]),
            None => (Int32Array::new_null(1), vec![]),
        };
        Some(Arc::new(DictionaryArray::new(codes, Arc::new(StringArray::from(texts)))))
    }

    /// Returns the words of these rows.
    pub(super) fn rows(&mut self, rows: &[(usize, usize)]) -> Result<ArrayRef, ArrowError> {
        let Self { parts, codes } = self;
        let code = |(batch, row): &(usize, usize)| {
            let WordBatch { words, texts, first } = &parts[*batch];
            let word = match words {
                PartWords::None => None,
                PartWords::Same(word) => Some(*word),
                PartWords::Each(each) => word(each, *row),
            };
            word.map_or(NONE, |word| codes.code(first + word, || texts.value(word)))
        };
        let gathered: Vec<i32> = rows.iter().map(code).collect();
        let nulls = gathered.contains(&NONE).then(|| {
            NullBuffer::new(BooleanBuffer::collect_bool(gathered.len(), |row| {
                gathered[row] != NONE
            }))
        });
        let texts = Arc::new(codes.finish());
        Ok(Arc::new(DictionaryArray::try_new(Int32Array::try_new(gathered.into(), nulls)?, texts)?))
    }
}

impl<'a> PartWords<'a> {
    fn from_codes(codes: &'a Int32Array, texts: &StringArray) -> Self {
        if codes.null_count() == codes.len() {
            return Self::None;
        }
        match (codes.null_count(), texts.len()) {
            (0, 1) => Self::Same(0),
            _ => Self::Each(codes),
        }
    }
}

fn word(codes: &Int32Array, row: usize) -> Option<usize> {
    codes.is_valid(row).then(|| codes.value(row).as_usize())
}

/// Returns the value that all rows share, if there is one.
fn only<'a>(parts: &[WordBatch<'a>]) -> Option<ConstantWord<'a>> {
    let mut of_parts = parts.iter().map(|part| match part.words {
        PartWords::None => Some(None),
        PartWords::Same(word) => Some(Some(part.texts.value(word))),
        PartWords::Each(_) => None,
    });
    let first = of_parts.next()??;
    of_parts.all(|of_part| of_part == Some(first)).then_some(first)
}
