//! One column of some rows, which the scan's detail may omit.

use std::any::type_name;

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, DictionaryArray, Int32Array, Int64Array,
    RecordBatch, StringArray, types::Int32Type,
};
use arrow_schema::ArrowError;
use tidings_proto::{Signal, TraceId, UnixNanos};

/// A column that may be missing. Its values are then the empty ones of the type.
#[derive(Debug, Clone)]
pub struct OptionalColumn<A>(
    /// The column, if it is there.
    pub Option<A>,
);

impl<A: Array + Clone + 'static> OptionalColumn<A> {
    /// Reads the column with this name.
    ///
    /// # Errors
    /// When the column has another type.
    pub fn from_batch(batch: &RecordBatch, name: &str) -> Result<Self, ArrowError> {
        batch.column_by_name(name).map(|array| downcast(array, name)).transpose().map(Self)
    }

    /// Returns true if the column is there.
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the column, if it has a value in this row.
    pub fn valid(&self, row: usize) -> Option<&A> {
        self.0.as_ref().filter(|array| array.is_valid(row))
    }
}

/// Downcasts the array to its type. The name is for the error.
///
/// # Errors
/// When the array has another type.
pub fn downcast<A: Array + Clone + 'static>(array: &ArrayRef, name: &str) -> Result<A, ArrowError> {
    array.as_any().downcast_ref::<A>().cloned().ok_or_else(|| {
        ArrowError::SchemaError(format!(
            "column {name} is {}, not {}",
            array.data_type(),
            type_name::<A>()
        ))
    })
}

impl OptionalColumn<Int64Array> {
    /// Returns the number of a row; 0 for null.
    #[inline]
    pub fn long(&self, row: usize) -> i64 {
        self.valid(row).map_or(0, |array| array.value(row))
    }

    /// Returns the bits of the number of a row as an unsigned one; 0 for null.
    #[inline]
    pub fn unsigned(&self, row: usize) -> u64 {
        self.long(row).cast_unsigned()
    }

    /// Returns the time of a row; 0 for null.
    #[inline]
    pub fn time(&self, row: usize) -> UnixNanos {
        UnixNanos(self.unsigned(row))
    }

    /// Returns a counter that was 32 bits wide on the wire.
    #[inline]
    pub fn count(&self, row: usize) -> u32 {
        u32::try_from(self.long(row)).unwrap_or(u32::MAX)
    }
}

impl OptionalColumn<Int32Array> {
    /// Returns the number of a row, if it has one.
    #[inline]
    pub fn int(&self, row: usize) -> Option<i32> {
        self.valid(row).map(|array| array.value(row))
    }
}

impl OptionalColumn<BooleanArray> {
    /// Returns the boolean of a row; false for null.
    #[inline]
    pub fn truth(&self, row: usize) -> bool {
        self.valid(row).is_some_and(|array| array.value(row))
    }
}

impl OptionalColumn<BinaryArray> {
    /// Returns the bytes of a row, if it has any.
    #[inline]
    pub fn bytes(&self, row: usize) -> Option<&[u8]> {
        self.valid(row).map(|array| array.value(row))
    }
}

/// Trace ids of rows. The spans table has the low half of each in a separate column.
#[derive(Debug)]
pub enum TraceColumn {
    /// The low halves of the ids of spans.
    LowHalves(OptionalColumn<Int64Array>),
    /// The ids of log records.
    Ids(OptionalColumn<BinaryArray>),
}

impl TraceColumn {
    /// Returns the name of the column.
    #[must_use]
    pub fn name(signal: Signal) -> &'static str {
        match signal {
            Signal::Spans => "trace_id_low64",
            Signal::Logs => "trace_id",
        }
    }

    /// Reads the trace ids of a batch. If the column is missing, no row has a trace.
    ///
    /// # Errors
    /// When the column has another type.
    pub fn from_batch(signal: Signal, batch: &RecordBatch) -> Result<Self, ArrowError> {
        let name = Self::name(signal);
        Ok(match signal {
            Signal::Spans => Self::LowHalves(OptionalColumn::from_batch(batch, name)?),
            Signal::Logs => Self::Ids(OptionalColumn::from_batch(batch, name)?),
        })
    }

    /// Returns the low half of the row's trace id, or `None` for a row without a valid one.
    #[must_use]
    #[inline]
    pub fn low64(&self, row: usize) -> Option<u64> {
        match self {
            Self::LowHalves(column) => {
                column.valid(row).map(|values| values.value(row).cast_unsigned())
            }
            Self::Ids(column) => Some(TraceId::from_wire(column.bytes(row)?)?.low64()),
        }
    }
}

impl OptionalColumn<StringArray> {
    /// Returns the text of a row, if it has one.
    #[inline]
    pub fn text(&self, row: usize) -> Option<&str> {
        self.valid(row).map(|array| array.value(row))
    }
}

/// A column of repetitive text, encoded as a dictionary.
#[derive(Debug, Clone)]
pub struct WordColumn {
    /// Dictionary code of each row.
    pub keys: Int32Array,
    /// Values of the dictionary.
    pub values: StringArray,
}

impl WordColumn {
    /// Reads the column with this name, if it exists.
    ///
    /// # Errors
    /// When the column is no dictionary of texts.
    pub fn from_batch(batch: &RecordBatch, name: &str) -> Result<Option<Self>, ArrowError> {
        batch.column_by_name(name).map(|array| Self::new(array, name)).transpose()
    }

    /// Downcasts the array to such a column. The name is for the error.
    ///
    /// # Errors
    /// When the array is no dictionary of texts.
    pub fn new(array: &ArrayRef, name: &str) -> Result<Self, ArrowError> {
        let dictionary: DictionaryArray<Int32Type> = downcast(array, name)?;
        let values = downcast(dictionary.values(), name)?;
        Ok(Self { keys: dictionary.keys().clone(), values })
    }

    /// Returns the dictionary code of the row's value.
    #[must_use]
    #[inline]
    pub fn key(&self, row: usize) -> Option<usize> {
        self.keys.is_valid(row).then(|| usize::try_from(self.keys.value(row)).ok()).flatten()
    }

    /// Returns the text of a row, if it has one.
    #[must_use]
    #[inline]
    pub fn text(&self, row: usize) -> Option<&str> {
        self.key(row).map(|key| self.values.value(key))
    }
}

/// Returns the text of a row; empty for null.
#[must_use]
#[inline]
pub fn word(words: Option<&WordColumn>, row: usize) -> &str {
    words.and_then(|words| words.text(row)).unwrap_or_default()
}

/// Cached results for the dictionary values of a batch, by code. Each is computed once.
#[derive(Debug)]
pub struct DictionaryCache<T> {
    of_none: Option<T>,
    known: Vec<Option<T>>,
}

impl<T> Default for DictionaryCache<T> {
    fn default() -> Self {
        Self { of_none: None, known: Vec::new() }
    }
}

impl<T: Copy> DictionaryCache<T> {
    /// Returns the result for the value with this code, or for null. Calls `find` the first time.
    pub fn get_or_compute(&mut self, number: Option<usize>, find: impl FnOnce() -> T) -> T {
        let known = match number {
            None => &mut self.of_none,
            Some(number) => {
                if self.known.len() <= number {
                    self.known.resize(number + 1, None);
                }
                &mut self.known[number]
            }
        };
        *known.get_or_insert_with(find)
    }
}
