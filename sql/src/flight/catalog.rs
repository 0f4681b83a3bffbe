//! Flight SQL's metadata of the views: catalogs, schemas, tables and keys, as rows.

use std::{iter, sync::Arc};

use arrow_array::RecordBatch;
use arrow_flight::{
    error::FlightError,
    sql::{
        CommandGetCatalogs, CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables,
        metadata::{GetDbSchemasBuilder, GetTablesBuilder},
    },
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::{info, ipc::defect, types};
use crate::{
    SqlError, SqlLimits,
    flight::command::Command,
    views::{self, CATALOG, SCHEMA, VIEWS},
};

/// The only type of table.
const VIEW: &str = "VIEW";
/// Maximum bytes of a pattern: no name matches a longer one.
const PATTERN_BYTES_MAX: usize = 1 << 10;
/// A builder without this filter takes every row. Rows are filtered here: the builders' patterns
/// are regular expressions of any length, and each type of table is a column of its own.
const UNFILTERED: Option<String> = None;

/// Returns the rows of every command that is not a query; `None` for a query.
pub(super) fn rows(command: &Command, limits: &SqlLimits) -> Result<Option<RecordBatch>, SqlError> {
    let rows = match command {
        Command::Query(_) => return Ok(None),
        Command::SqlInfo(wanted) => info::rows(wanted, limits),
        Command::Types(wanted) => types::rows(*wanted),
        Command::Catalogs => catalogs(),
        Command::Schemas(asked) => schemas(asked),
        Command::Tables(asked) => tables(asked),
        Command::TableTypes => table_types(),
        Command::PrimaryKeys => Ok(RecordBatch::new_empty(primary_keys())),
        Command::ForeignKeys => Ok(RecordBatch::new_empty(foreign_keys())),
    };
    rows.map(Some).map_err(defect)
}

fn catalogs() -> Result<RecordBatch, FlightError> {
    let mut builder = CommandGetCatalogs {}.into_builder();
    builder.append(CATALOG);
    builder.build()
}

fn table_types() -> Result<RecordBatch, FlightError> {
    let mut builder = CommandGetTableTypes {}.into_builder();
    builder.append(VIEW);
    builder.build()
}

fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

fn optional(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

/// Returns the columns of primary keys, for which there is no builder.
fn primary_keys() -> SchemaRef {
    Arc::new(Schema::new(vec![
        optional("catalog_name", DataType::Utf8),
        optional("db_schema_name", DataType::Utf8),
        field("table_name", DataType::Utf8),
        field("column_name", DataType::Utf8),
        optional("key_name", DataType::Utf8),
        field("key_sequence", DataType::Int32),
    ]))
}

/// Returns the columns of foreign keys, for which there is no builder.
fn foreign_keys() -> SchemaRef {
    Arc::new(Schema::new(vec![
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
    ]))
}

/// Reports whether the only catalog and its only schema match the request.
fn is_here(catalog: Option<&str>, schema_pattern: Option<&str>) -> bool {
    catalog.is_none_or(|name| name == CATALOG)
        && schema_pattern.is_none_or(|pattern| matches(pattern, SCHEMA))
}

fn schemas(asked: &CommandGetDbSchemas) -> Result<RecordBatch, FlightError> {
    let mut builder = GetDbSchemasBuilder::new(UNFILTERED, UNFILTERED);
    if is_here(asked.catalog.as_deref(), asked.db_schema_filter_pattern.as_deref()) {
        builder.append(CATALOG, SCHEMA);
    }
    builder.build()
}

fn tables(asked: &CommandGetTables) -> Result<RecordBatch, FlightError> {
    let here = is_here(asked.catalog.as_deref(), asked.db_schema_filter_pattern.as_deref());
    let typed = asked.table_types.is_empty() || asked.table_types.iter().any(|kind| kind == VIEW);
    let pattern = asked.table_name_filter_pattern.as_deref();
    let is_asked =
        |name: &str| here && typed && pattern.is_none_or(|pattern| matches(pattern, name));
    let types = iter::empty::<String>();
    let mut builder =
        GetTablesBuilder::new(UNFILTERED, UNFILTERED, UNFILTERED, types, asked.include_schema);
    for name in VIEWS.iter().copied().filter(|name| is_asked(name)) {
        if let Some(columns) = views::schema(name) {
            builder.append(CATALOG, SCHEMA, name, VIEW, &columns)?;
        }
    }
    builder.build()
}

/// Matches a name against a `LIKE` pattern: `%` is any text, `_` any letter, and a backslash
/// escapes. Names are short, and so are patterns that match them.
fn matches(pattern: &str, name: &str) -> bool {
    if pattern.len() > PATTERN_BYTES_MAX {
        return false;
    }
    let mut ends: Vec<bool> = iter::once(true).chain(name.chars().map(|_| false)).collect();
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
                ends = iter::once(false).chain(after).collect();
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
