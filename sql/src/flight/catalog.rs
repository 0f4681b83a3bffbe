//! Flight SQL's metadata of the views: catalogs, schemas, tables and keys, as rows.

use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, RecordBatch, StringArray};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};

use super::{
    info, ipc,
    messages::{GetDbSchemas, GetTables},
    types,
};
use crate::{
    SqlError, SqlLimits,
    flight::command::Command,
    views::{self, CATALOG, SCHEMA, VIEWS},
};

/// The only type of table.
const VIEW: &str = "VIEW";
/// Maximum bytes of a pattern: no name matches a longer one.
const PATTERN_BYTES_MAX: usize = 1 << 10;

/// Returns the rows of every command that is not a query; `None` for a query.
pub(super) fn rows(command: &Command, limits: &SqlLimits) -> Result<Option<RecordBatch>, SqlError> {
    let rows = match command {
        Command::Query(_) => return Ok(None),
        Command::SqlInfo(wanted) => info::rows(wanted, limits),
        Command::Types(wanted) => types::rows(*wanted),
        Command::Catalogs => batch(catalogs(), vec![texts([CATALOG])]),
        Command::Schemas(asked) => schemas(asked),
        Command::Tables(asked) => return tables(asked).map(Some),
        Command::TableTypes => batch(table_types(), vec![texts([VIEW])]),
        Command::PrimaryKeys => Ok(RecordBatch::new_empty(primary_keys())),
        Command::ForeignKeys => Ok(RecordBatch::new_empty(foreign_keys())),
    };
    rows.map(Some).map_err(|error| SqlError::Defect { reason: error.to_string() })
}

pub(super) fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

pub(super) fn optional(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

fn schema(fields: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}

fn texts<const N: usize>(texts: [&str; N]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(texts))
}

fn batch(schema: SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch, ArrowError> {
    RecordBatch::try_new(schema, columns)
}

fn catalogs() -> SchemaRef {
    schema(vec![field("catalog_name", DataType::Utf8)])
}

fn table_types() -> SchemaRef {
    schema(vec![field("table_type", DataType::Utf8)])
}

fn primary_keys() -> SchemaRef {
    schema(vec![
        optional("catalog_name", DataType::Utf8),
        optional("db_schema_name", DataType::Utf8),
        field("table_name", DataType::Utf8),
        field("column_name", DataType::Utf8),
        optional("key_name", DataType::Utf8),
        field("key_sequence", DataType::Int32),
    ])
}

fn foreign_keys() -> SchemaRef {
    schema(vec![
        optional("pk_catalog_name", DataType::Utf8),
        optional("pk_db_schema_name", DataType::Utf8),
        field("pk_table_name", DataType::Utf8),
        field("pk_column_name", DataType::Utf8),
        optional("fk_catalog_name", DataType::Utf8),
        optional("fk_db_schema_name", DataType::Utf8),
        field("fk_table_name", DataType::Utf8),
        field("fk_column_name", DataType::Utf8),
        field("key_sequence", DataType::Int32),
        optional("fk_key_name", DataType::Utf8),
        optional("pk_key_name", DataType::Utf8),
        field("update_rule", DataType::UInt8),
        field("delete_rule", DataType::UInt8),
    ])
}

/// Reports whether the only catalog and its only schema match the request.
fn is_here(catalog: Option<&str>, schema_pattern: Option<&str>) -> bool {
    catalog.is_none_or(|name| name == CATALOG)
        && schema_pattern.is_none_or(|pattern| matches(pattern, SCHEMA))
}

fn schemas(asked: &GetDbSchemas) -> Result<RecordBatch, ArrowError> {
    let schema = schema(vec![
        optional("catalog_name", DataType::Utf8),
        field("db_schema_name", DataType::Utf8),
    ]);
    match is_here(asked.catalog.as_deref(), asked.db_schema_filter_pattern.as_deref()) {
        true => batch(schema, vec![texts([CATALOG]), texts([SCHEMA])]),
        false => Ok(RecordBatch::new_empty(schema)),
    }
}

fn tables(asked: &GetTables) -> Result<RecordBatch, SqlError> {
    let here = is_here(asked.catalog.as_deref(), asked.db_schema_filter_pattern.as_deref());
    let typed = asked.table_types.is_empty() || asked.table_types.iter().any(|kind| kind == VIEW);
    let pattern = asked.table_name_filter_pattern.as_deref();
    let mut names: Vec<&str> = VIEWS
        .iter()
        .copied()
        .filter(|name| here && typed && pattern.is_none_or(|pattern| matches(pattern, name)))
        .collect();
    names.sort_unstable();
    let repeated = |text: &'static str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(names.iter().map(|_| text)))
    };
    let mut fields = vec![
        optional("catalog_name", DataType::Utf8),
        optional("db_schema_name", DataType::Utf8),
        field("table_name", DataType::Utf8),
        field("table_type", DataType::Utf8),
    ];
    let mut columns = vec![
        repeated(CATALOG),
        repeated(SCHEMA),
        Arc::new(StringArray::from_iter_values(&names)),
        repeated(VIEW),
    ];
    if asked.include_schema {
        let schemas = names.iter().filter_map(|name| views::schema(name));
        let schemas = schemas.map(|schema| ipc::schema_message(&schema));
        let schemas = schemas.collect::<Result<Vec<_>, _>>()?;
        fields.push(field("table_schema", DataType::Binary));
        columns.push(Arc::new(BinaryArray::from_iter_values(schemas)));
    }
    batch(schema(fields), columns).map_err(|error| SqlError::Defect { reason: error.to_string() })
}

/// Matches a name against a `LIKE` pattern: `%` is any text, `_` any letter, and a backslash
/// escapes. Names are short, and so are patterns that match them.
fn matches(pattern: &str, name: &str) -> bool {
    if pattern.len() > PATTERN_BYTES_MAX {
        return false;
    }
    let mut ends: Vec<bool> = std::iter::once(true).chain(name.chars().map(|_| false)).collect();
    let mut signs = pattern.chars();
    while let Some(sign) = signs.next() {
        // `ends[n]` is true if the pattern so far matches the name's first n letters.
        match sign {
            '%' => {
                let first = ends.iter().position(|end| *end).unwrap_or(ends.len());
                ends.iter_mut().skip(first).for_each(|end| *end = true);
            }
            _ => {
                let literal = match sign {
                    '_' => None,
                    '\\' => Some(signs.next().unwrap_or('\\')),
                    other => Some(other),
                };
                let before = ends.clone();
                let letters = name.chars().map(|letter| literal.is_none_or(|sign| sign == letter));
                let after = before.iter().zip(letters).map(|(end, fits)| *end && fits);
                ends = std::iter::once(false).chain(after).collect();
            }
        }
    }
    ends.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_are_those_of_like() {
        for (pattern, name, expected) in [
            ("spans", "spans", true),
            ("span", "spans", false),
            ("%", "spans", true),
            ("%", "", true),
            ("", "", true),
            ("", "spans", false),
            ("s%s", "spans", true),
            ("%an%", "spans", true),
            ("%x%", "spans", false),
            ("_____", "spans", true),
            ("____", "spans", false),
            ("_pan_", "spans", true),
            ("%%%_", "s", true),
            ("a\\_b", "a_b", true),
            ("a\\_b", "axb", false),
            ("\\%", "spans", false),
            ("Spans", "spans", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
