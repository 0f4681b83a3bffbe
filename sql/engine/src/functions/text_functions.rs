//! Our own functions of texts and attributes: their shared parts, entries of attributes, and ids
//! parsed out of pasted text.

use std::{
    fmt,
    hash::{Hash, Hasher},
    ops::RangeInclusive,
    sync::Arc,
};

use arrow_array::{Array, ArrayRef, StringArray, builder::StringBuilder, cast::AsArray};
use arrow_schema::DataType;
use datafusion::{
    error::{DataFusionError, Result},
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
    scalar::ScalarValue,
};
use tidings_proto::tid::{CandidateId, recognise};
use tidings_sql::meter::Meter;

use super::pattern;
use crate::error::external;

/// Rows between two checks of the deadline: each row may take milliseconds.
const ROWS_BETWEEN_CHECKS: usize = 64;

pub(super) type Evaluate = fn(&Arguments<'_>) -> Result<ArrayRef>;

/// A function of our own.
pub(super) struct Function {
    name: &'static str,
    signature: Signature,
    arity: RangeInclusive<usize>,
    /// True when the first argument is a map.
    of_map: bool,
    returns: DataType,
    evaluate: Evaluate,
    meter: Arc<Meter>,
}

impl Function {
    pub(super) fn new(
        name: &'static str,
        arity: RangeInclusive<usize>,
        returns: DataType,
        evaluate: Evaluate,
        meter: &Arc<Meter>,
    ) -> Self {
        let signature = Signature::user_defined(Volatility::Immutable);
        let meter = Arc::clone(meter);
        Self { name, signature, arity, of_map: false, returns, evaluate, meter }
    }

    pub(super) fn of_map(self) -> Self {
        Self { of_map: true, ..self }
    }

    pub(super) fn build(self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(self))
    }
}

/// Returns all functions that a query can call by name.
pub(super) fn all(meter: &Arc<Meter>) -> Vec<Arc<ScalarUDF>> {
    vec![
        trace_id(meter),
        span_id(meter),
        pattern::like(meter),
        pattern::extract(meter),
        entry(meter),
    ]
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if !self.arity.contains(&types.len()) {
            let (least, most) = (self.arity.start(), self.arity.end());
            let reason = format!("{} takes {least} to {most} arguments", self.name);
            return Err(DataFusionError::Plan(reason));
        }
        let wanted = types.iter().enumerate().map(|(place, given)| match given {
            DataType::Map(..) if self.of_map && place == 0 => Ok(given.clone()),
            DataType::Map(..) | DataType::List(_) | DataType::Struct(_) => {
                let reason = format!("{} takes no {given} as argument {}", self.name, place + 1);
                Err(DataFusionError::Plan(reason))
            }
            _ if self.of_map && place == 0 => {
                let reason = format!("{} looks into a map, and {given} is none", self.name);
                Err(DataFusionError::Plan(reason))
            }
            _ => Ok(DataType::Utf8),
        });
        wanted.collect()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.meter.check().map_err(external)?;
        let scalars = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if scalars { 1 } else { args.number_rows };
        let arguments = Arguments { args: &args.args, rows, meter: &self.meter };
        let array = (self.evaluate)(&arguments)?;
        match scalars {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)),
            false => Ok(ColumnarValue::Array(array)),
        }
    }
}

/// Arguments of a call.
pub(super) struct Arguments<'a> {
    args: &'a [ColumnarValue],
    pub(super) rows: usize,
    pub(super) meter: &'a Meter,
}

impl Arguments<'_> {
    /// Number of arguments.
    pub(super) fn len(&self) -> usize {
        self.args.len()
    }

    /// Returns an argument, for every row.
    pub(super) fn array(&self, place: usize) -> Result<ArrayRef> {
        self.args[place].to_array(self.rows)
    }

    /// Returns an argument that is a text, for every row.
    pub(super) fn texts(&self, place: usize) -> Result<StringArray> {
        let array = self.array(place)?;
        let texts = array.as_string_opt::<i32>().cloned();
        texts.ok_or_else(|| DataFusionError::Internal("an argument is no text".to_owned()))
    }

    /// Returns an argument that is the same for all rows; `None` when it is null.
    pub(super) fn constant(&self, place: usize, what: &str) -> Result<Option<&str>> {
        match &self.args[place] {
            ColumnarValue::Scalar(value) => Ok(value.try_as_str().flatten()),
            ColumnarValue::Array(_) => {
                Err(DataFusionError::Plan(format!("{what} has to be the same for all rows")))
            }
        }
    }

    /// Applies `evaluate` to the text of every row, as long as the query may go on.
    pub(super) fn each<T>(
        &self,
        texts: &StringArray,
        mut evaluate: impl FnMut(&str) -> Option<T>,
    ) -> Result<Vec<Option<T>>> {
        let mut values = Vec::with_capacity(texts.len());
        for row in 0..texts.len() {
            if row % ROWS_BETWEEN_CHECKS == 0 {
                self.meter.check().map_err(external)?;
            }
            let text = texts.is_valid(row).then(|| texts.value(row));
            values.push(text.and_then(&mut evaluate));
        }
        Ok(values)
    }
}

/// Function behind `attributes['key']`.
pub(crate) const ENTRY: &str = "attribute_value";

/// `attribute_value(attributes, key)`: the value of the first attribute with this key, or null.
pub(super) fn entry(meter: &Arc<Meter>) -> Arc<ScalarUDF> {
    Function::new(ENTRY, 2..=2, DataType::Utf8, entries, meter).of_map().build()
}

fn entries(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let map = arguments.array(0)?;
    let map = map.as_map_opt().ok_or_else(not_attributes)?;
    let keys = map.keys().as_string_opt::<i32>().ok_or_else(not_attributes)?;
    let values = map.values().as_string_opt::<i32>().ok_or_else(not_attributes)?;
    let wanted = arguments.texts(1)?;
    let offsets = map.value_offsets();
    let place = |offset: i32| usize::try_from(offset).unwrap_or_default();
    let mut found = StringBuilder::new();
    for row in 0..map.len() {
        let mut entries = place(offsets[row])..place(offsets[row + 1]);
        let is_asked = map.is_valid(row) && wanted.is_valid(row);
        let entry = entries
            .find(|entry| is_asked && keys.value(*entry) == wanted.value(row))
            .filter(|entry| values.is_valid(*entry));
        found.append_option(entry.map(|entry| values.value(entry)));
    }
    Ok(Arc::new(found.finish()))
}

fn not_attributes() -> DataFusionError {
    DataFusionError::Plan("only attributes have entries".to_owned())
}

/// `trace_id(text)`: the trace's id in hex, parsed from any notation; null when the text has no id
/// or only its last 64 bits.
fn trace_id(meter: &Arc<Meter>) -> Arc<ScalarUDF> {
    Function::new("trace_id", 1..=1, DataType::Utf8, trace_ids, meter).build()
}

/// `span_id(text)`: the id of the span that the text names, in hex; null when it names none.
fn span_id(meter: &Arc<Meter>) -> Arc<ScalarUDF> {
    Function::new("span_id", 1..=1, DataType::Utf8, span_ids, meter).build()
}

fn trace_ids(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let ids = arguments.each(&arguments.texts(0)?, |text| {
        // Only the likeliest reading counts: for the end of an id, another reading would be another
        // id.
        match recognise(text).into_iter().next()?.id {
            CandidateId::Trace(id) => Some(id.to_string()),
            CandidateId::Low64(_) => None,
        }
    })?;
    Ok(Arc::new(StringArray::from(ids)))
}

fn span_ids(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let ids = arguments.each(&arguments.texts(0)?, |text| {
        let named = recognise(text).into_iter().find_map(|candidate| candidate.span_id);
        named.map(|id| id.to_string()).or_else(|| {
            let text = text.trim();
            let is_id = text.len() == 16 && text.chars().all(|sign| sign.is_ascii_hexdigit());
            is_id.then(|| text.to_ascii_lowercase())
        })
    })?;
    Ok(Arc::new(StringArray::from(ids)))
}
