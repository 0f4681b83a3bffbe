//! Columns that this program's files have and a table lacks, because an older one created it, or
//! because no file had these attributes often before.
//!
//! The next commit declares them, in front of the files that have them: a table that is only read
//! stays as it is, and files without the columns read as nulls everywhere. Columns that may be null
//! now and could not be before are declared in the same way.

use arrow_schema::Schema;
use deltalake_core::{
    DeltaTableError,
    kernel::{Action, Metadata, StructType, engine::arrow_conversion::TryIntoKernel},
};
use serde_json::Value;

use crate::{
    StorageError,
    attribute_column::{AttributeColumn, DeclaredColumns},
    schema::Signal,
};

/// All columns, as Delta has them.
pub(super) fn all(signal: Signal) -> Result<StructType, StorageError> {
    let schema: &Schema = &signal.table_schema();
    Ok(schema.try_into_kernel().map_err(DeltaTableError::from)?)
}

/// Returns the id that a table was created with.
pub(super) fn table_id(metadata: &Metadata) -> Option<String> {
    serde_json::to_value(metadata).ok()?.get("id")?.as_str().map(str::to_owned)
}

/// The action that declares a table.
pub(super) fn declaration(metadata: &Metadata) -> Result<Value, StorageError> {
    serde_json::to_value(Action::Metadata(metadata.clone())).map_err(json)
}

/// The columns of attributes that a table declares.
pub(super) fn declared(declaration: &Value) -> DeclaredColumns {
    let schema = declaration.pointer("/metaData/schemaString").and_then(Value::as_str);
    let schema: Value = schema.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let fields = schema.get("fields").and_then(Value::as_array).into_iter().flatten();
    DeclaredColumns::new(fields.filter_map(|field| field.get("name")?.as_str()))
}

/// The action that declares what a table lacks that is declared so: columns of every table and
/// these ones of attributes. `None` when it lacks nothing. Whatever else it has, columns of other
/// programs too, stays.
pub(super) fn lacking(
    signal: Signal,
    declaration: &Value,
    attributes: &[AttributeColumn],
) -> Result<Option<Value>, StorageError> {
    let of_attributes = attributes.iter().map(AttributeColumn::field).collect::<Vec<_>>();
    let of_attributes: StructType =
        (&Schema::new(of_attributes)).try_into_kernel().map_err(DeltaTableError::from)?;
    let mut wanted = serde_json::to_value(all(signal)?).map_err(json)?;
    let of_attributes = serde_json::to_value(of_attributes).map_err(json)?;
    if let (Some(wanted), Some(more)) = (
        wanted.get_mut("fields").and_then(Value::as_array_mut),
        of_attributes.get("fields").and_then(Value::as_array),
    ) {
        wanted.extend_from_slice(more);
    }
    let mut action = declaration.clone();
    let Some(text) = action.pointer_mut("/metaData/schemaString") else { return Ok(None) };
    let mut schema: Value =
        serde_json::from_str(text.as_str().unwrap_or_default()).map_err(json)?;
    let Some(fields) = schema.get_mut("fields").and_then(Value::as_array_mut) else {
        return Ok(None);
    };
    let mut lacks = false;
    for field in wanted.get("fields").and_then(Value::as_array).into_iter().flatten() {
        match fields.iter_mut().find(|known| known.get("name") == field.get("name")) {
            None => fields.push(field.clone()),
            Some(known) if is_nullable(field) && !is_nullable(known) => {
                known["nullable"] = Value::Bool(true);
            }
            Some(_) => continue,
        }
        lacks = true;
    }
    if !lacks {
        return Ok(None);
    }
    *text = Value::String(schema.to_string());
    Ok(Some(action))
}

fn json(error: serde_json::Error) -> StorageError {
    StorageError::from(DeltaTableError::SerializeLogJson { json_err: error })
}

fn is_nullable(field: &Value) -> bool {
    field.get("nullable").and_then(Value::as_bool).unwrap_or_default()
}
