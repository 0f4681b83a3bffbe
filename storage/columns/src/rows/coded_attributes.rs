//! Scalar attributes of rows with the codes of their keys and texts, for readers that count them.
//!
//! Owns the rule by which an entry of a row has the text of an attribute column. The keys of the
//! rows of a file begin with those of all attribute columns (`data_file/attributes.rs`). The first
//! code of a key is therefore that of a column, and other codes of the key are of the map or of a
//! column of another type.

use arrow_array::{Array, ArrayRef, RecordBatch};

use super::{attributes::Scalar, column::WordColumn, entries::AttributeEntries};
use crate::{attribute_column::AttributeColumn, packed::ValueKind, schema};

/// Minimum number of rows with codes of texts. The columns of fewer rows take longer to find than
/// their texts take to compare.
const ROWS_MIN: usize = 256;

/// A scalar attribute with its codes, which hold for one portion of rows.
#[derive(Debug, Clone, Copy)]
pub struct CodedAttribute<'a> {
    /// The key.
    pub key: &'a str,
    /// The code of the key. Attributes with equal codes have equal keys.
    pub key_code: usize,
    /// The value.
    pub value: Scalar<'a>,
    /// The code of a text that is in a dictionary. Attributes whose keys and values have equal
    /// codes have equal values.
    pub value_code: Option<usize>,
}

/// Reader of the scalar attributes of rows with their codes.
#[derive(Debug, Default)]
pub struct CodedAttributes<'a> {
    entries: Option<&'a AttributeEntries>,
    /// Dictionary column of the texts with each code of a key.
    texts: Vec<Option<WordColumn>>,
}

impl<'a> CodedAttributes<'a> {
    /// Creates a reader of these entries of the rows of a batch, which has the attribute columns.
    pub(super) fn new(entries: &'a AttributeEntries, batch: &RecordBatch) -> Self {
        let mut texts = Vec::new();
        if batch.num_rows() >= ROWS_MIN {
            for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
                if let Some((code, words)) = text_column(entries, field.name(), array) {
                    if texts.len() <= code {
                        texts.resize(code + 1, None);
                    }
                    texts[code] = Some(words);
                }
            }
        }
        Self { entries: Some(entries), texts }
    }

    /// Calls `visit` for each attribute of a row whose value is a scalar, in the order they were
    /// sent.
    pub fn each_scalar(&self, row: usize, mut visit: impl FnMut(CodedAttribute<'a>)) {
        let Some(entries) = self.entries else { return };
        for entry in entries.of_row(row) {
            let Some(value) = Scalar::from_entry(entries.value(entry)) else { continue };
            let (key, key_code) = (entries.keys.value(entry), entries.keys.code(entry));
            let words = match value {
                Scalar::Text(_) => self.texts.get(key_code).and_then(Option::as_ref),
                Scalar::Int(_) | Scalar::Double(_) | Scalar::Bool(_) => None,
            };
            let value_code = words.and_then(|words| words.key(row));
            visit(CodedAttribute { key, key_code, value, value_code });
        }
    }
}

/// Returns a column of texts and the code of its key, if it is an attribute column with a
/// dictionary. A dictionary with more texts than rows saves nothing.
fn text_column(
    entries: &AttributeEntries,
    name: &str,
    array: &ArrayRef,
) -> Option<(usize, WordColumn)> {
    let column = AttributeColumn::parse(name)?;
    if column.kind != ValueKind::Text || *array.data_type() != schema::word() {
        return None;
    }
    let words = WordColumn::new(array, name).ok()?;
    let code = entries.keys.iter().position(|key| key == column.key)?;
    (words.values.len() <= array.len()).then_some((code, words))
}
