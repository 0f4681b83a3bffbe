//! Columns that new data files have and a table lacks. An older program created the table, or no
//! file had enough of these attributes before.
//!
//! The next commit declares them before it adds the files. A table that is only read stays
//! unchanged, and files without the columns read as nulls. Columns that have become nullable are
//! declared in the same way.

use arrow_schema::Schema;
use bytes::Bytes;
use deltalake_core::{
    DeltaTableError,
    kernel::{
        Action, Metadata, MetadataExt, StructType, engine::arrow_conversion::TryIntoKernel,
        new_metadata,
    },
};
use serde_json::Value;
use tidings_columns::{
    attribute_column::{AttributeColumn, DeclaredColumns},
    schema::{HOUR, SignalSchema},
};
use tidings_files::StorageError;
use tidings_proto::Signal;

/// Returns all columns in Delta's form.
pub(super) fn all(signal: Signal) -> Result<StructType, StorageError> {
    let schema: &Schema = &signal.table_schema();
    Ok(schema.try_into_kernel().map_err(DeltaTableError::from)?)
}

/// Returns the commit that creates a table with these properties. No type of a column needs a later
/// protocol.
pub(super) fn creation<const N: usize>(
    signal: Signal,
    properties: [(&str, &str); N],
) -> Result<Bytes, StorageError> {
    const PROTOCOL: &str = r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}"#;
    let metadata = new_metadata(&all(signal)?, [HOUR], properties)
        .and_then(|metadata| metadata.with_name(signal.table().to_owned()))
        .map_err(DeltaTableError::from)?;
    let declaration = declaration(&metadata)?;
    let info = serde_json::json!({ "commitInfo": {
        "timestamp": declaration.pointer("/metaData/createdTime"),
        "operation": "CREATE TABLE",
        "operationParameters": { "mode": "ErrorIfExists" },
        "engineInfo": concat!("tidings:", env!("CARGO_PKG_VERSION")),
    }});
    let lines = [info.to_string(), PROTOCOL.to_owned(), declaration.to_string()];
    Ok(Bytes::from(lines.join("\n")))
}

/// Returns the id that a table was created with.
pub(super) fn table_id(metadata: &Metadata) -> Option<String> {
    serde_json::to_value(metadata).ok()?.get("id")?.as_str().map(str::to_owned)
}

/// Returns the action that declares a table.
pub(super) fn declaration(metadata: &Metadata) -> Result<Value, StorageError> {
    serde_json::to_value(Action::Metadata(metadata.clone())).map_err(json)
}

/// Returns the attribute columns that a table declares.
pub(super) fn declared(declaration: &Value) -> DeclaredColumns {
    let schema = declaration.pointer("/metaData/schemaString").and_then(Value::as_str);
    let schema: Value = schema.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let fields = schema.get("fields").and_then(Value::as_array).into_iter().flatten();
    DeclaredColumns::new(fields.filter_map(|field| field.get("name")?.as_str()))
}

/// Returns the action that adds missing columns to a table's declaration: those of every table and
/// these attribute columns. Returns `None` when none is missing. All other columns stay, including
/// those of other programs.
pub(super) fn missing_columns(
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
