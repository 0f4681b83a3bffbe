//! The attributes of a file's rows, read for a merge.
//!
//! Attributes are six columns of a file. Arrow's reader puts each of them together for itself,
//! with the levels that all of them share; that is most of what reading for a merge costs. Here
//! the first of them tells where rows and entries are, and the others give their values.
//!
//! `hybrid` decodes levels and codes, `leaf` turns pages. What other writers lay out in another
//! way is left to Arrow's reader.

mod hybrid;
mod leaf;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, fs::File, ops::Range, sync::Arc};

use ahash::RandomState;
use arrow_array::{Array, ArrayRef, BinaryArray, StringArray};
use arrow_schema::ArrowError;
use arrow_select::concat::concat;
use parquet::{
    arrow::arrow_reader::ArrowReaderMetadata, errors::Result, file::metadata::RowGroupMetaData,
};

use self::leaf::{Leaf, damaged};
use crate::data_file::entries_builder::EntriesBuilder;

/// The fields, in the order of the columns.
const FIELDS: [&str; 6] = [
    "attributes.key_value.key",
    "attributes.key_value.value.string",
    "attributes.key_value.value.int",
    "attributes.key_value.value.double",
    "attributes.key_value.value.bool",
    "attributes.key_value.value.bytes",
];

/// Reads the attributes of the rows of a file, in their order.
pub(super) struct EntriesReader {
    file: Arc<File>,
    footer: ArrowReaderMetadata,
    /// Where the fields are among the file's columns.
    columns: Vec<usize>,
    /// The row group that comes next.
    group: usize,
    /// Number of rows left in the current row group.
    left: usize,
    fields: Option<FieldReaders>,
    keys: KeyDictionary,
    /// The rows that are wanted and were not read yet, the next one last.
    wanted: Vec<Range<usize>>,
    /// The next row of the file.
    row: usize,
}

/// The fields in a row group.
struct FieldReaders {
    keys: Leaf,
    strings: Leaf,
    ints: Leaf,
    doubles: Leaf,
    bools: Leaf,
    bytes: Leaf,
}

/// The distinct keys of a portion, or of what of it is in one row group. Not of more: whoever sends
/// other keys with every span would have all of them in each portion.
#[derive(Default)]
struct KeyDictionary {
    /// Output code of each code of the file's dictionary, once it is known.
    known: Vec<Option<i32>>,
    codes: HashMap<Box<[u8]>, i32, RandomState>,
    texts: Vec<Box<[u8]>>,
}

impl EntriesReader {
    /// Of these rows of the file, ascending and apart, or of all. `None` where another program laid
    /// them out in another way than ours do.
    pub(super) fn open(
        file: &File,
        footer: &ArrowReaderMetadata,
        ranges: Option<&[Range<usize>]>,
    ) -> Result<Option<Self>> {
        let schema = footer.parquet_schema();
        let named =
            |name: &&str| schema.columns().iter().position(|leaf| leaf.path().string() == **name);
        let columns: Option<Vec<usize>> = FIELDS.iter().map(named).collect();
        let Some(columns) = columns else { return Ok(None) };
        let rows = footer.metadata().file_metadata().num_rows();
        let all = 0..usize::try_from(rows).unwrap_or_default();
        let wanted = ranges.unwrap_or(std::slice::from_ref(&all));
        let reader = Self {
            file: Arc::new(file.try_clone()?),
            footer: footer.clone(),
            columns,
            group: 0,
            left: 0,
            fields: None,
            keys: KeyDictionary::default(),
            wanted: wanted.iter().rev().cloned().collect(),
            row: 0,
        };
        let mut groups = footer.metadata().row_groups().iter();
        let fields = reader.columns.iter().enumerate();
        let is_known = groups.all(|group| {
            fields.clone().all(|(place, column)| Leaf::is_known(group.column(*column), place == 0))
        });
        Ok(is_known.then_some(reader))
    }

    /// The attributes of so many more rows.
    pub(super) fn next(&mut self, mut rows: usize) -> Result<ArrayRef> {
        let mut parts: Vec<ArrayRef> = Vec::new();
        let mut built = EntriesBuilder::new(rows, 0, 0);
        self.keys = KeyDictionary::default();
        while rows > 0 {
            let Some(wanted) = self.wanted.last().cloned() else {
                return Err(damaged("there are fewer attributes than rows"));
            };
            if wanted.is_empty() {
                self.wanted.pop();
                continue;
            }
            if self.left == 0 {
                if built.rows() > 0 {
                    let part = std::mem::replace(&mut built, EntriesBuilder::new(rows, 0, 0));
                    parts.push(part.finish(self.keys.texts()?)?);
                }
                self.open_group(wanted.start)?;
                continue;
            }
            let before = wanted.start.saturating_sub(self.row).min(self.left);
            if before > 0 {
                self.pass(before)?;
                continue;
            }
            let now = rows.min(wanted.len()).min(self.left);
            self.take(now, &mut built)?;
            rows -= now;
            if let Some(wanted) = self.wanted.last_mut() {
                wanted.start += now;
            }
        }
        let last = built.finish(self.keys.texts()?)?;
        if parts.is_empty() {
            return Ok(last);
        }
        parts.push(last);
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        Ok(concat(&parts)?)
    }

    fn fields_of(&self, group: &RowGroupMetaData) -> Result<FieldReaders> {
        let leaf = |place: usize| Leaf::open(&self.file, group, self.columns[place], place == 0);
        Ok(FieldReaders {
            keys: leaf(0)?,
            strings: leaf(1)?,
            ints: leaf(2)?,
            doubles: leaf(3)?,
            bools: leaf(4)?,
            bytes: leaf(5)?,
        })
    }

    /// Opens the next row group that has this row or later ones.
    fn open_group(&mut self, wanted: usize) -> Result<()> {
        let footer = Arc::clone(self.footer.metadata());
        let group = loop {
            let Some(group) = footer.row_groups().get(self.group) else {
                return Err(damaged("there are fewer attributes than rows"));
            };
            self.group += 1;
            self.left = usize::try_from(group.num_rows()).unwrap_or_default();
            if self.row + self.left > wanted {
                break group;
            }
            self.row += self.left;
        };
        self.fields = Some(self.fields_of(group)?);
        self.keys = KeyDictionary::default();
        Ok(())
    }

    /// Passes so many rows, which are in the row group.
    fn pass(&mut self, rows: usize) -> Result<()> {
        let FieldReaders { keys, strings, ints, doubles, bools, bytes } = fields(&mut self.fields)?;
        let places = keys.pass_rows(rows)?;
        for field in [strings, ints, doubles, bools, bytes] {
            field.pass(places)?;
        }
        self.row += rows;
        self.left -= rows;
        Ok(())
    }

    /// Reads so many rows, which are in the row group.
    fn take(&mut self, rows: usize, built: &mut EntriesBuilder) -> Result<()> {
        let fields = fields(&mut self.fields)?;
        let places = fields.keys.rows(rows, &mut self.keys, built)?;
        fields.strings.texts(places, &mut built.strings, Some(&mut built.are_values))?;
        fields.ints.numbers(places, &mut built.ints, i64::from_le_bytes)?;
        fields.doubles.numbers(places, &mut built.doubles, f64::from_le_bytes)?;
        fields.bools.truths(places, &mut built.bools, &mut built.are_bools)?;
        fields.bytes.texts(places, &mut built.bytes, None)?;
        self.row += rows;
        self.left -= rows;
        Ok(())
    }
}

fn fields(fields: &mut Option<FieldReaders>) -> Result<&mut FieldReaders> {
    fields.as_mut().ok_or_else(|| damaged("attributes are laid out in another way"))
}

impl KeyDictionary {
    /// The number of a key that has this code in the file, where it has this text.
    fn coded<'a>(
        &mut self,
        code: usize,
        text: impl FnOnce(usize) -> Option<&'a [u8]>,
    ) -> Option<i32> {
        if let Some(known) = self.known.get(code).copied().flatten() {
            return Some(known);
        }
        let new = self.text(text(code)?);
        if self.known.len() <= code {
            self.known.resize(code + 1, None);
        }
        self.known[code] = Some(new);
        Some(new)
    }

    /// The number of a key.
    fn text(&mut self, key: &[u8]) -> i32 {
        if let Some(code) = self.codes.get(key) {
            return *code;
        }
        let code = i32::try_from(self.texts.len()).unwrap_or(i32::MAX);
        self.codes.insert(key.into(), code);
        self.texts.push(key.into());
        code
    }

    fn texts(&self) -> std::result::Result<StringArray, ArrowError> {
        StringArray::try_from_binary(BinaryArray::from_iter_values(&self.texts))
    }
}
