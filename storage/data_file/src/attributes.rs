//! Attribute columns: the reading side.
//!
//! A reader of `attributes` gets all attributes in the memory format. `FileAttributes` adds the
//! attribute columns to the read, and `RowAttributes` merges them with the map row by row, in the
//! order of the sender. A filter gets only the keys that it looks for and the map, in any order.
//!
//! A file of another program or of an older release may have no list of its attribute columns. The
//! entries of its rows are then those of the columns, followed by those of the map.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use arrow_array::{
    Array, ArrayRef, DictionaryArray, Int32Array, MapArray, RecordBatch, StringArray, StructArray,
    UInt8Array, cast::AsArray, types::Int32Type,
};
use arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, Field, Schema};
use parquet::arrow::{ProjectionMask, arrow_reader::ArrowReaderMetadata};
use serde_json::Value;
use tidings_columns::{
    attribute_column::AttributeColumn,
    packed::{EntryValue, ValueKind},
    rows::{attribute_values::AttributeValues, entries::AttributeEntries},
    schema::{self, ATTRIBUTE_ORDER, ENTRIES},
};
use tidings_index::filter::CompleteKeys;

use super::{
    encode::is_coded,
    shred::{ATTRIBUTES, AttributeCounts, IN_MAP, LISTED, column_of},
};

/// Attribute columns of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct FileAttributes {
    columns: Vec<FileColumn>,
    /// True if a row's order names all of its entries in columns.
    is_ordered: bool,
}

#[derive(Debug, Clone)]
struct FileColumn {
    column: AttributeColumn,
    name: String,
    /// Index of the column among the file's leaf columns.
    leaf: usize,
    /// Number of rows with a value, if the file lists it.
    rows: u64,
    /// True if the key occurs in attribute columns only.
    is_whole: bool,
}

impl FileAttributes {
    pub(super) fn new(footer: &ArrowReaderMetadata) -> Self {
        let leaves = footer.parquet_schema().columns().iter().enumerate();
        let mut found: Vec<FileColumn> = leaves
            .filter_map(|(leaf, described)| {
                let [name] = described.path().parts() else { return None };
                let column = AttributeColumn::parse(name)?;
                // Another program may have used the name for a column of another type.
                let found = footer.schema().field_with_name(name).ok()?.data_type();
                let is_text = column.kind == ValueKind::Text && *found == schema::word();
                if !is_text && *found != *column.field().data_type() {
                    return None;
                }
                Some(FileColumn { column, name: name.clone(), leaf, rows: 0, is_whole: false })
            })
            .collect();
        let Some(listed) = listed(footer) else {
            return Self { columns: found, is_ordered: false };
        };
        let places: HashMap<&str, usize> =
            listed.iter().enumerate().map(|(place, (name, ..))| (name.as_str(), place)).collect();
        let place = |of: &FileColumn| places.get(of.name.as_str()).copied();
        let is_ordered = found.len() == listed.len() && found.iter().all(|of| place(of).is_some());
        if is_ordered {
            found.sort_by_key(place);
            for (of, (_, rows, is_whole)) in found.iter_mut().zip(&listed) {
                (of.rows, of.is_whole) = (*rows, *is_whole);
            }
        }
        Self { columns: found, is_ordered }
    }

    /// Returns the approximate memory in bytes.
    pub(super) fn memory_size(&self) -> usize {
        let texts = |of: &FileColumn| of.name.len() + of.column.key.len();
        self.columns.iter().map(|of| size_of::<FileColumn>() + texts(of)).sum()
    }

    /// Returns the columns of each wanted key that occurs in attribute columns only.
    pub(super) fn whole(&self, is_wanted: impl Fn(&str) -> bool) -> CompleteKeys {
        let mut keys: CompleteKeys = Vec::new();
        for of in self.columns.iter().filter(|of| of.is_whole && is_wanted(&of.column.key)) {
            let known = keys.iter_mut().find(|(key, _)| *key == of.column.key);
            match known {
                Some((_, names)) => names.push(of.name.clone()),
                None => keys.push((of.column.key.clone(), vec![of.name.clone()])),
            }
        }
        keys
    }

    /// Returns the text columns that are dictionary-encoded in all row groups.
    pub(super) fn coded_texts(&self, footer: &ArrowReaderMetadata) -> HashSet<&str> {
        let groups = footer.metadata().row_groups();
        let is_coded = |leaf: usize| groups.iter().all(|group| is_coded(group.column(leaf)));
        let texts = self.columns.iter().filter(|of| of.column.kind == ValueKind::Text);
        texts.filter(|of| is_coded(of.leaf)).map(|of| of.name.as_str()).collect()
    }

    /// Adds the numbers of values that the file lists to the counts.
    pub(super) fn count(&self, counts: &mut AttributeCounts) {
        self.columns.iter().for_each(|of| counts.add(&of.column, of.rows));
    }

    /// Returns the projection of the columns with these names and all of their leaves. `wanted`
    /// selects the parts of `attributes`.
    pub(super) fn mask(
        &self,
        footer: &ArrowReaderMetadata,
        names: &[&str],
        wanted: &WantedAttributes,
    ) -> ProjectionMask {
        let schema = footer.parquet_schema();
        let names: HashSet<&str> = names.iter().copied().collect();
        let has_attributes = names.contains(ATTRIBUTES);
        let of_attributes = self.columns.iter().enumerate();
        let of_attributes = of_attributes.filter(|(number, of)| {
            names.contains(of.name.as_str())
                || has_attributes && wanted.has_column(*number, &of.column)
        });
        let mut leaves: HashSet<usize> = of_attributes.map(|(_, of)| of.leaf).collect();
        for (leaf, described) in schema.columns().iter().enumerate() {
            let [root, parts @ ..] = described.path().parts() else { continue };
            let is_asked = match root.as_str() {
                ATTRIBUTE_ORDER => has_attributes && wanted.is_ordered() && self.is_ordered,
                root => names.contains(root),
            };
            if is_asked && wanted.has_field(parts) {
                leaves.insert(leaf);
            }
        }
        ProjectionMask::leaves(schema, leaves)
    }

    /// Returns the projection of the column with the order of entries, if rows need it.
    pub(super) fn order_mask(&self, footer: &ArrowReaderMetadata) -> Option<ProjectionMask> {
        let leaves = footer.parquet_schema().columns().iter();
        let leaf = leaves.enumerate().find(|(_, leaf)| leaf.path().parts() == [ATTRIBUTE_ORDER])?.0;
        (self.is_ordered && !self.columns.is_empty())
            .then(|| ProjectionMask::leaves(footer.parquet_schema(), [leaf]))
    }

    /// Merges the attributes of each row from the map and the attribute columns.
    pub(super) fn assemble(
        &self,
        batch: RecordBatch,
        wanted: &WantedAttributes,
    ) -> Result<RecordBatch, ArrowError> {
        let Some(stored) = batch.column_by_name(ATTRIBUTES) else { return Ok(batch) };
        let order = batch.column_by_name(ATTRIBUTE_ORDER);
        let order = order.filter(|_| wanted.is_ordered() && self.is_ordered);
        let reader = RowAttributes::new(&self.columns, &batch, stored, order, wanted)?;
        let assembled: ArrayRef = Arc::new(reader.assemble()?);
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            match field.name().as_str() {
                ATTRIBUTE_ORDER => {}
                ATTRIBUTES => {
                    let data_type = assembled.data_type().clone();
                    fields.push(Arc::new(Field::new(ATTRIBUTES, data_type, false)));
                    columns.push(Arc::clone(&assembled));
                }
                _ => {
                    fields.push(Arc::clone(field));
                    columns.push(Arc::clone(column));
                }
            }
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
    }
}

/// Prefix of `created_by` in the metadata of files that Tidings writes.
pub(super) const WRITER: &str = "tidings ";

/// Reads the list of attribute columns: the name, the rows with a value, and whether the key occurs
/// in attribute columns only. The list is ignored in files of other programs: after a rewrite or a
/// merge, such a program may keep a list that does not match the rows.
fn listed(footer: &ArrowReaderMetadata) -> Option<Vec<(String, u64, bool)>> {
    let metadata = footer.metadata().file_metadata();
    metadata.created_by().filter(|writer| writer.starts_with(WRITER))?;
    let entries = metadata.key_value_metadata()?;
    let list = entries.iter().find(|entry| entry.key == LISTED)?.value.as_deref()?;
    let list: Vec<Value> = serde_json::from_str(list).ok()?;
    let column = |of: &Value| {
        let name = of.get(0)?.as_str()?.to_owned();
        Some((name, of.get(1)?.as_u64()?, of.get(2)?.as_bool()?))
    };
    list.iter().map(column).collect()
}

/// Attributes that a reader of rows wants.
#[derive(Debug, Clone)]
pub(super) enum WantedAttributes {
    /// All attributes, in order.
    All,
    /// All attributes of rows that have entries in no other columns than these, in order.
    Columns(HashSet<usize>),
    /// At least the attributes with these keys, in order.
    Keys(HashSet<String>),
    /// At least the attributes with these keys, in any order. Only these value types of maps are
    /// read. The trace ids of links are read if they are wanted.
    Filtered { keys: HashSet<String>, fields: HashSet<&'static str>, linked_traces: bool },
}

impl WantedAttributes {
    fn is_ordered(&self) -> bool {
        !matches!(self, Self::Filtered { .. })
    }

    fn has_column(&self, number: usize, column: &AttributeColumn) -> bool {
        match self {
            Self::All => true,
            Self::Columns(numbers) => numbers.contains(&number),
            Self::Keys(keys) | Self::Filtered { keys, .. } => keys.contains(&column.key),
        }
    }

    /// Returns the keys of the entries to return. `None` means all keys.
    fn keys(&self) -> Option<&HashSet<String>> {
        match self {
            Self::All | Self::Columns(_) => None,
            Self::Keys(keys) | Self::Filtered { keys, .. } => Some(keys),
        }
    }

    /// Returns true if this part of a column is read. An empty path is the whole column.
    fn has_field(&self, parts: &[String]) -> bool {
        let Self::Filtered { fields, linked_traces, .. } = self else { return true };
        match parts.iter().position(|part| part == ENTRIES).map(|at| &parts[at + 1..]) {
            Some([key]) => key == "key",
            Some([_, field]) => fields.contains(field.as_str()),
            Some(_) => false,
            None if parts.is_empty() => true,
            None => *linked_traces && parts.last().is_some_and(|part| part == "trace_id"),
        }
    }
}

/// Collects the columns that the orders of rows name.
pub(super) fn columns_of_orders(batch: &RecordBatch, columns: &mut HashSet<usize>) {
    let order = batch.column_by_name(ATTRIBUTE_ORDER);
    let Some(orders) = order.and_then(|order| order.as_dictionary_opt::<Int32Type>()) else {
        return;
    };
    let texts: &StringArray = orders.values().as_string();
    let mut seen = HashSet::new();
    for code in orders.keys().iter().flatten().filter(|code| seen.insert(*code)) {
        let text = texts.value(usize::try_from(code).unwrap_or_default());
        columns.extend(text.chars().filter_map(column_of));
    }
}

/// Attributes of rows, read from the columns of a file.
struct RowAttributes<'a> {
    /// Values of each attribute column of the file, if it was read.
    columns: Vec<Option<AttributeValues>>,
    keys: Vec<&'a str>,
    map: AttributeEntries,
    map_keys: &'a StringArray,
    orders: Option<(&'a Int32Array, &'a StringArray)>,
    /// Keys of the entries to return. `None` means all keys.
    wanted: Option<&'a HashSet<String>>,
    rows: usize,
}

/// Entries under construction, in the memory format. The dictionary of keys has only keys that
/// occur in rows, because a row group may have any number of keys.
struct PackedEntries<'a> {
    keys: Vec<&'a str>,
    /// State of each key of the map: `UNKNOWN`, `UNWANTED`, or its code plus `KNOWN`.
    map_codes: Vec<u32>,
    /// Number of entries that came from attribute columns.
    of_columns: usize,
    offsets: Vec<i32>,
    codes: Vec<i32>,
    kinds: Vec<u8>,
    ends: Vec<i32>,
    texts: Vec<u8>,
}

/// State of a key that was not compared with the wanted keys yet.
const UNKNOWN: u32 = 0;
/// State of a key whose entries are omitted.
const UNWANTED: u32 = 1;
/// State of the key with the first code.
const KNOWN: u32 = 2;

impl<'a> RowAttributes<'a> {
    fn new(
        columns: &'a [FileColumn],
        batch: &'a RecordBatch,
        stored: &'a ArrayRef,
        order: Option<&'a ArrayRef>,
        wanted: &'a WantedAttributes,
    ) -> Result<Self, ArrowError> {
        let wrong =
            || ArrowError::SchemaError("a column of attributes has another type".to_owned());
        let map: &MapArray = stored.as_map_opt().ok_or_else(wrong)?;
        let map_keys = map.keys().as_dictionary_opt::<Int32Type>().ok_or_else(wrong)?;
        let orders = order.map(|order| {
            let orders = order.as_dictionary_opt::<Int32Type>()?;
            Some((orders.keys(), orders.values().as_string_opt()?))
        });
        let values = columns.iter().map(|column| {
            let array = batch.column_by_name(&column.name);
            array.map(|array| AttributeValues::new(array, &column.name)).transpose()
        });
        Ok(Self {
            columns: values.collect::<Result<_, _>>()?,
            keys: columns.iter().map(|column| column.column.key.as_str()).collect(),
            map: AttributeEntries::new(stored, ATTRIBUTES)?,
            map_keys: map_keys.values().as_string_opt().ok_or_else(wrong)?,
            orders: orders.map(|orders| orders.ok_or_else(wrong)).transpose()?,
            wanted: wanted.keys(),
            rows: batch.num_rows(),
        })
    }

    fn assemble(&self) -> Result<MapArray, ArrowError> {
        let mut out = PackedEntries::new(self.keys.clone(), self.map_keys.len(), self.rows);
        let numbers = (0..).zip(&self.columns);
        let read: Vec<usize> =
            numbers.filter_map(|(number, values)| values.as_ref().map(|_| number)).collect();
        for row in 0..self.rows {
            let mut in_map = self.map.of_row(row);
            match self.orders {
                Some((codes, texts)) => {
                    let code = codes.is_valid(row).then(|| codes.value(row));
                    let order = code.and_then(|code| usize::try_from(code).ok());
                    for of_entry in order.map_or("", |code| texts.value(code)).chars() {
                        if of_entry == IN_MAP {
                            self.push_of_map(in_map.next().ok_or_else(order_mismatch)?, &mut out)?;
                        } else {
                            let has = column_of(of_entry)
                                .map(|number| self.push_of_column(number, row, &mut out));
                            has.transpose()?.filter(|has| *has).ok_or_else(order_mismatch)?;
                        }
                    }
                }
                None => {
                    for number in &read {
                        self.push_of_column(*number, row, &mut out)?;
                    }
                }
            }
            for entry in in_map {
                self.push_of_map(entry, &mut out)?;
            }
            out.end_row()?;
        }
        let values: usize = self.columns.iter().flatten().map(AttributeValues::count).sum();
        if values != out.of_columns {
            return Err(order_mismatch());
        }
        out.finish()
    }

    fn push_of_column(
        &self,
        number: usize,
        row: usize,
        out: &mut PackedEntries<'a>,
    ) -> Result<bool, ArrowError> {
        let Some(values) = self.columns.get(number).ok_or_else(order_mismatch)? else {
            return Ok(true);
        };
        let Some(value) = values.value(row) else { return Ok(false) };
        out.of_columns += 1;
        out.push_entry(number, value)?;
        Ok(true)
    }

    fn push_of_map(&self, entry: usize, out: &mut PackedEntries<'a>) -> Result<(), ArrowError> {
        let of_map = self.map.keys.code(entry);
        let Some(key) = self.code(of_map, out)? else { return Ok(()) };
        out.push_entry(key, self.map.value(entry))
    }

    /// Returns the code of a key of the map, if its entries are wanted.
    fn code(
        &self,
        of_map: usize,
        out: &mut PackedEntries<'a>,
    ) -> Result<Option<usize>, ArrowError> {
        let known = out.map_codes.get_mut(of_map).ok_or_else(order_mismatch)?;
        if *known == UNKNOWN {
            let key = self.map_keys.value(of_map);
            *known = UNWANTED;
            if self.wanted.is_none_or(|wanted| wanted.contains(key)) {
                let code = u32::try_from(out.keys.len()).ok();
                let code = code.and_then(|code| code.checked_add(KNOWN));
                *known = code.ok_or(ArrowError::OffsetOverflowError(out.keys.len()))?;
                out.keys.push(key);
            }
        }
        Ok(known.checked_sub(KNOWN).and_then(|code| usize::try_from(code).ok()))
    }
}

/// Returns the error of a row whose order names entries that the row does not have.
fn order_mismatch() -> ArrowError {
    ArrowError::SchemaError("the order of a row's attributes does not fit them".to_owned())
}

impl<'a> PackedEntries<'a> {
    /// Allocates room for `rows` rows, with these keys of columns and `of_map` keys of the map.
    fn new(keys: Vec<&'a str>, of_map: usize, rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        let map_codes = vec![UNKNOWN; of_map];
        Self {
            keys,
            map_codes,
            of_columns: 0,
            offsets,
            codes: Vec::new(),
            kinds: Vec::new(),
            ends: vec![0],
            texts: Vec::new(),
        }
    }

    fn push_entry(&mut self, key: usize, value: EntryValue<'_>) -> Result<(), ArrowError> {
        self.codes.push(offset(key)?);
        self.kinds.push(value.push_packed(&mut self.texts).code());
        self.ends.push(offset(self.texts.len())?);
        Ok(())
    }

    fn end_row(&mut self) -> Result<(), ArrowError> {
        self.offsets.push(offset(self.codes.len())?);
        Ok(())
    }

    fn finish(self) -> Result<MapArray, ArrowError> {
        let keys = StringArray::from_iter_values(self.keys);
        let codes = Int32Array::from(self.codes);
        let keys = DictionaryArray::<Int32Type>::try_new(codes, Arc::new(keys))?;
        let ends = OffsetBuffer::new(ScalarBuffer::from(self.ends));
        let texts = StringArray::try_new(ends, Buffer::from_vec(self.texts), None)?;
        let fields: Vec<ArrayRef> = vec![Arc::new(UInt8Array::from(self.kinds)), Arc::new(texts)];
        let values = StructArray::try_new(schema::packed_fields(), fields, None)?;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        schema::map(schema::packed_attributes(), offsets, Arc::new(keys), values)
    }
}

fn offset(length: usize) -> Result<i32, ArrowError> {
    i32::try_from(length).map_err(|_| ArrowError::OffsetOverflowError(length))
}
