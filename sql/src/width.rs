//! Size of rows in bytes, as if they were copied.

use arrow_array::{
    Array, ArrayRef, RecordBatch,
    cast::AsArray,
    types::{BinaryType, ByteArrayType, LargeBinaryType, LargeUtf8Type, Utf8Type},
};
use arrow_schema::DataType;

/// Returns the bytes of all rows.
#[must_use]
pub fn bytes_of(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(column_bytes).sum()
}

/// Returns the bytes of one column's rows.
#[must_use]
pub fn column_bytes(column: &ArrayRef) -> usize {
    (0..column.len()).map(|row| value_bytes(column, row)).sum()
}

/// Returns the bytes of the widest row.
#[must_use]
pub fn widest(batch: &RecordBatch) -> usize {
    let of_row = |row| batch.columns().iter().map(|column| value_bytes(column, row)).sum();
    (0..batch.num_rows()).map(of_row).max().unwrap_or_default()
}

fn value_bytes(column: &ArrayRef, row: usize) -> usize {
    match column.data_type() {
        DataType::Utf8 => length::<Utf8Type>(column, row),
        DataType::LargeUtf8 => length::<LargeUtf8Type>(column, row),
        DataType::Binary => length::<BinaryType>(column, row),
        DataType::LargeBinary => length::<LargeBinaryType>(column, row),
        DataType::Utf8View => 16 + column.as_string_view().value(row).len(),
        DataType::BinaryView => 16 + column.as_binary_view().value(row).len(),
        // The views' maps are of text to text; the engine makes no others here.
        DataType::Map(..) => {
            let map = column.as_map();
            let offsets = map.value_offsets();
            let entries = entry(offsets[row])..entry(offsets[row + 1]);
            [map.keys(), map.values()]
                .into_iter()
                .filter_map(|texts| texts.as_string_opt::<i32>())
                .map(|texts| {
                    let offsets = texts.value_offsets();
                    entry(offsets[entries.end]) - entry(offsets[entries.start])
                })
                .sum::<usize>()
                + 8 * entries.len()
        }
        DataType::Null => 0,
        // Bits of a value may be in a buffer that all columns of a batch share.
        DataType::Boolean => 1,
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            let offsets = list.value_offsets();
            let items = entry(offsets[row])..entry(offsets[row + 1]);
            4 + items.map(|item| value_bytes(list.values(), item)).sum::<usize>()
        }
        flat => flat.primitive_width().unwrap_or_else(|| {
            // Structs come from aggregates. The size of their parts is not known by row.
            column.get_buffer_memory_size().div_ceil(column.len().max(1))
        }),
    }
}

fn length<T: ByteArrayType>(column: &ArrayRef, row: usize) -> usize {
    use arrow_buffer::ArrowNativeType;
    let length = column.as_bytes::<T>().value_length(row);
    size_of::<T::Offset>() + length.as_usize()
}

fn entry(offset: i32) -> usize {
    usize::try_from(offset).unwrap_or_default()
}
