//! One attribute of each row.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, builder::StringBuilder, cast::AsArray};
use arrow_schema::DataType;
use datafusion::{
    error::{DataFusionError, Result},
    logical_expr::ScalarUDF,
};

use super::ours::{Arguments, Function};
use crate::meter::Meter;

/// Function behind `attributes['key']`.
pub(crate) const NAME: &str = "attribute_value";

/// `attribute_value(attributes, key)`: the value of the first attribute with this key, or null.
pub(super) fn entry(meter: &Arc<Meter>) -> Arc<ScalarUDF> {
    Function::new(NAME, 2..=2, DataType::Utf8, entries, meter).of_map().build()
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
