//! Columns that this program's files have and a table lacks, because an older one created it.
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

use crate::{StorageError, schema::Signal};

/// All columns, as Delta has them.
pub(super) fn all(signal: Signal) -> Result<StructType, StorageError> {
    let schema: &Schema = &signal.table_schema();
    Ok(schema.try_into_kernel().map_err(DeltaTableError::from)?)
}

/// Returns the id that a table was created with.
pub(super) fn table_id(metadata: &Metadata) -> Option<String> {
    serde_json::to_value(metadata).ok()?.get("id")?.as_str().map(str::to_owned)
}

/// The action that declares what the table lacks; `None` when it lacks nothing. Whatever else it
/// has, columns of other programs too, stays.
pub(super) fn lacking(signal: Signal, metadata: &Metadata) -> Result<Option<Value>, StorageError> {
    let json = |error| StorageError::from(DeltaTableError::SerializeLogJson { json_err: error });
    let wanted = serde_json::to_value(all(signal)?).map_err(json)?;
    let mut action = serde_json::to_value(Action::Metadata(metadata.clone())).map_err(json)?;
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

fn is_nullable(field: &Value) -> bool {
    field.get("nullable").and_then(Value::as_bool).unwrap_or_default()
}
