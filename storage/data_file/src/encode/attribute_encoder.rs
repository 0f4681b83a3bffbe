//! Encoder of the attributes column.
//!
//! A map of attributes is six columns of a file, which share their repetition levels and nearly
//! share their definition levels. Arrow's writer computes both value by value and column by column.
//! This encoder takes them from the offsets of a portion of rows and the packed kinds of values.

use std::{borrow::Cow, io::Write, ops::Range, sync::Arc};

use arrow_array::{Array, DictionaryArray, MapArray, StringArray, StructArray, types::Int32Type};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use parquet::{
    errors::Result,
    file::{properties::WriterProperties, writer::SerializedRowGroupWriter},
    schema::types::ColumnDescPtr,
};
use tidings_columns::packed::{self, ValueKind};

use super::{
    chunk::Codec,
    levels::{self, span},
    pages::Pages,
    unexpected,
    values::{DictionaryFull, TextSlices, ValueSource},
};

/// Number of rows whose levels are computed at once.
const STEP_ROWS: usize = 1024;
/// Maximum number of entries of a page, whatever the values are. Numbers take 1 MiB then.
const PAGE_ENTRIES: usize = 128 << 10;
/// Maximum bytes of a code in a page that must be small.
const CODE_BYTES: usize = 3;

/// Encodes the attributes of rows into their columns of the row group.
pub(crate) struct AttributesEncoder {
    leaves: Vec<Leaf>,
    /// Repetition levels of the rows of a step.
    repetitions: Vec<u8>,
    room: EncodeBuffers,
}

/// Values of a leaf column in a portion of rows.
struct LeafColumn<'a> {
    source: ValueSource<'a>,
    /// Validity of the entries: set for those with a value of this type.
    valid: Option<NullBuffer>,
    /// Validity bitmaps. An entry's definition level rises by one for each bitmap that has it set.
    levels: Vec<Option<NullBuffer>>,
}

impl AttributesEncoder {
    /// Creates an encoder for these columns of a file.
    ///
    /// # Errors
    /// When the columns are not an attributes map, or when their compression is not zstd.
    pub(crate) fn new(columns: &[ColumnDescPtr], properties: &WriterProperties) -> Result<Self> {
        let [key, values @ ..] = columns else { return Err(unexpected("no columns")) };
        let depth = |column: &ColumnDescPtr| (column.max_rep_level(), column.max_def_level());
        if depth(key) != (1, 1) || values.len() != 5 || values.iter().any(|v| depth(v) != (1, 3)) {
            return Err(unexpected("other columns"));
        }
        let leaf = |column| Leaf::new(Arc::clone(column), properties);
        Ok(Self {
            room: EncodeBuffers {
                codec: Codec::new(properties.compression(key.path()))?,
                page: Vec::new(),
                packed_rows: 0..0,
                packed: Vec::new(),
            },
            leaves: columns.iter().map(leaf).collect(),
            repetitions: Vec::new(),
        })
    }

    /// Returns the approximate encoded size of the rows so far, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.leaves.iter().map(|leaf| leaf.pages.bytes()).sum()
    }

    /// Encodes rows.
    ///
    /// # Errors
    /// When the rows have no attributes, or when pages cannot be written.
    pub(crate) fn push(&mut self, map: &MapArray) -> Result<()> {
        if map.null_count() > 0 {
            return Err(unexpected("rows without a map"));
        }
        let (offsets, entries) = own_entries(map);
        let [keys, values] = entries.columns() else { return Err(unexpected("other entries")) };
        let parts = packed::parts(downcast::<StructArray>(values)?);
        let (kinds, texts) = parts.ok_or_else(|| unexpected("values that are not packed"))?;
        let columns = columns(self::keys(keys)?, kinds.values(), texts);
        self.leaves.iter_mut().for_each(|leaf| leaf.pages.values.begin_portion());
        let mut begin = 0;
        while begin < map.len() {
            let end = map.len().min(begin + STEP_ROWS);
            let offsets = &offsets[begin..=end];
            self.repetitions.clear();
            levels::repetitions(offsets, &mut self.repetitions);
            for (leaf, column) in self.leaves.iter_mut().zip(&columns) {
                leaf.push(column, offsets, &self.repetitions, &mut self.room)?;
            }
            begin = end;
        }
        Ok(())
    }

    /// Appends the encoded columns to the row group. The encoder is then ready for the next row
    /// group.
    ///
    /// # Errors
    /// When the pages cannot be written.
    pub(crate) fn append_to<W: Write + Send>(
        &mut self,
        row_group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<()> {
        for leaf in &mut self.leaves {
            leaf.end_page(&mut self.room)?;
            leaf.pages.append_to(row_group, &mut self.room.codec)?;
        }
        self.room.packed_rows = 0..0;
        Ok(())
    }
}

/// Buffers that all columns use in turn.
struct EncodeBuffers {
    codec: Codec,
    /// Page under construction.
    page: Vec<u8>,
    /// Rows of the row group whose repetition levels were packed last. Pages of most columns end
    /// with the same rows, and then share these levels.
    packed_rows: Range<usize>,
    packed: Vec<u8>,
}

/// One leaf column of the map.
struct Leaf {
    column: ColumnDescPtr,
    limits: Limits,
    /// Levels of the page.
    repetitions: Vec<u8>,
    definitions: Vec<u8>,
    rows: usize,
    pages: Pages,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    page_rows: usize,
    page_bytes: usize,
    page_entries: usize,
}

impl Leaf {
    fn new(column: ColumnDescPtr, properties: &WriterProperties) -> Self {
        let path = column.path();
        let page_bytes = properties.column_data_page_size_limit(path);
        let limits = Limits {
            page_rows: properties.data_page_row_count_limit(),
            page_bytes,
            page_entries: PAGE_ENTRIES.min(page_bytes / CODE_BYTES),
        };
        Self {
            pages: Pages::new(&column, properties),
            column,
            limits,
            repetitions: Vec::new(),
            definitions: Vec::new(),
            rows: 0,
        }
    }

    /// Encodes rows with these repetition levels.
    fn push(
        &mut self,
        column: &LeafColumn<'_>,
        mut offsets: &[i32],
        mut repetitions: &[u8],
        room: &mut EncodeBuffers,
    ) -> Result<()> {
        while offsets.len() > 1 {
            let rows = self.fitting(column, offsets);
            if rows == 0 {
                self.end_page(room)?;
                continue;
            }
            let taken = &offsets[..=rows];
            let pushed = self.pages.values.push(&column.source, column.valid.as_ref(), span(taken));
            if let Err(DictionaryFull) = pushed {
                self.end_page(room)?;
                self.pages.abandon_dictionary(&mut room.codec)?;
                continue;
            }
            let before = self.definitions.len();
            levels::definitions(taken, &column.levels, &mut self.definitions);
            let levels = self.definitions.len() - before;
            self.repetitions.extend_from_slice(&repetitions[..levels]);
            self.rows += rows;
            repetitions = &repetitions[levels..];
            offsets = &offsets[rows..];
        }
        Ok(())
    }

    /// Returns the number of rows that fit into the page. At 0, the page must end first.
    fn fitting(&self, column: &LeafColumn<'_>, offsets: &[i32]) -> usize {
        let rows = (offsets.len() - 1).min(self.limits.page_rows - self.rows);
        let left = self.limits.page_entries.saturating_sub(self.repetitions.len());
        let first = span(&offsets[..1]).start;
        let by_entries =
            offsets[1..=rows].partition_point(|end| span(&[*end]).start - first <= left);
        let offsets = &offsets[..=by_entries];
        let fitting = self.pages.values.fitting(
            &column.source,
            column.valid.as_ref(),
            offsets,
            self.limits.page_bytes,
        );
        if fitting == 0 && self.rows == 0 { 1 } else { fitting }
    }

    /// Ends the page unless it is empty.
    fn end_page(&mut self, room: &mut EncodeBuffers) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let rows = self.pages.rows()..self.pages.rows() + self.rows;
        if room.packed_rows != rows {
            room.packed_rows = rows;
            room.packed.clear();
            levels::encode_page(&self.repetitions, 1, &mut room.packed);
        }
        let page = &mut room.page;
        page.clear();
        page.extend_from_slice(&room.packed);
        levels::encode_page(&self.definitions, levels::width(self.column.max_def_level()), page);
        self.pages.end_page(&mut room.codec, page, self.rows, self.repetitions.len())?;
        self.repetitions.clear();
        self.definitions.clear();
        self.rows = 0;
        Ok(())
    }
}

/// Returns the ends of the rows' entries, and the entries without those of other rows. A batch may
/// be written in many slices, each to another file.
fn own_entries(map: &MapArray) -> (Cow<'_, [i32]>, StructArray) {
    let ends: &[i32] = map.value_offsets();
    let own = span(ends);
    if own == (0..map.entries().len()) {
        return (Cow::Borrowed(ends), map.entries().clone());
    }
    let moved = ends.iter().map(|end| end - ends[0]);
    (Cow::Owned(moved.collect()), map.entries().slice(own.start, own.len()))
}

/// Returns the columns of packed values: the keys first, then one column for each kind.
fn columns<'a>(
    keys: ValueSource<'a>,
    kinds: &'a [u8],
    texts: &'a StringArray,
) -> Vec<LeafColumn<'a>> {
    let texts =
        TextSlices { codes: None, offsets: texts.value_offsets(), bytes: texts.value_data() };
    let are_none = which(kinds, ValueKind::None);
    let whole = Some(NullBuffer::new(!&are_none));
    let column = |source, kind: ValueKind| {
        let valid = Some(NullBuffer::new(which(kinds, kind)));
        LeafColumn { source, levels: vec![whole.clone(), valid.clone()], valid }
    };
    vec![
        LeafColumn { source: keys, valid: None, levels: vec![] },
        column(ValueSource::Texts(texts), ValueKind::Text),
        column(ValueSource::PackedLongs(texts), ValueKind::Int),
        column(ValueSource::PackedDoubles(texts), ValueKind::Double),
        column(ValueSource::PackedBools(texts), ValueKind::Bool),
        column(ValueSource::PackedBytes(texts), ValueKind::Nested),
    ]
}

/// Returns the bitmap of the entries of this kind. It compares eight entries at a time.
fn which(kinds: &[u8], kind: ValueKind) -> BooleanBuffer {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let wanted = u64::from_le_bytes([kind.code(); 8]);
    let are_it = |group: [u8; 8]| {
        // Bytes that differ get their highest bit set. No carry crosses from one byte to the next.
        let others = u64::from_le_bytes(group) ^ wanted;
        let others = ((others & LOW) + LOW) | others;
        let same = !(others | LOW) >> 7;
        // The highest byte of the product has the lowest bits of all bytes.
        same.wrapping_mul(0x0102_0408_1020_4080).to_le_bytes()[7]
    };
    let (groups, rest) = kinds.as_chunks::<8>();
    let mut bits: Vec<u8> = Vec::with_capacity(groups.len() + 1);
    bits.extend(groups.iter().map(|group| are_it(*group)));
    let mut last = [u8::MAX; 8];
    last[..rest.len()].copy_from_slice(rest);
    bits.push(are_it(last));
    BooleanBuffer::new(bits.into(), 0, kinds.len())
}

fn keys(keys: &dyn Array) -> Result<ValueSource<'_>> {
    let coded = downcast::<DictionaryArray<Int32Type>>(keys)?;
    let texts = downcast::<StringArray>(coded.values())?;
    Ok(ValueSource::Texts(TextSlices {
        codes: Some(coded.keys().values()),
        offsets: texts.value_offsets(),
        bytes: texts.value_data(),
    }))
}

fn downcast<A: 'static>(array: &dyn Array) -> Result<&A> {
    array.as_any().downcast_ref().ok_or_else(|| unexpected("another type"))
}

#[cfg(test)]
mod tests;
