//! Answers to `CommandGetSqlInfo`: properties of the server and of its dialect.

use arrow::ARROW_VERSION;
use arrow_array::RecordBatch;
use arrow_flight::{error::FlightError, sql::metadata::SqlInfoDataBuilder};

use crate::{
    SqlLimits,
    limits::{COLUMNS_MAX, QUERY_BYTES_MAX, RELATIONS_MAX},
};

/// A property's value, of one of the types that Flight SQL allows.
#[derive(Debug, Clone, Copy)]
enum InfoValue {
    Text(&'static str),
    Truth(bool),
    Large(usize),
    /// An ordinal, or a bit set.
    Bits(i32),
}

use InfoValue::{Bits, Large, Text, Truth};

/// Returns the known properties, by their numbers in `SqlInfo` of `FlightSql.proto`.
fn known(limits: &SqlLimits) -> Vec<(u32, InfoValue)> {
    vec![
        // The server: name, version, Arrow's version, read-only, SQL, Substrait, transactions,
        // cancelling, and the timeouts of statements and transactions.
        (0, Text("Tidings")),
        (1, Text(env!("CARGO_PKG_VERSION"))),
        (2, Text(ARROW_VERSION)),
        (3, Truth(true)),
        (4, Truth(true)),
        (5, Truth(false)),
        (8, Bits(0)),
        (9, Truth(false)),
        (100, Bits(0)),
        (101, Bits(0)),
        // Clients create no catalogs, schemas or tables.
        (500, Truth(false)),
        (501, Truth(false)),
        (502, Truth(false)),
        // Names: in lower case unless quoted; all tables can be read; null is above all values.
        (503, Bits(3)),
        (504, Text("\"")),
        (506, Truth(true)),
        (507, Bits(0)),
        (513, Text("\\")),
        (514, Text("")),
        // The dialect: aliases, null + null, correlation names, ORDER BY, GROUP BY.
        (515, Truth(true)),
        (516, Truth(true)),
        (518, Truth(true)),
        (519, Truth(false)),
        (520, Truth(true)),
        (521, Truth(true)),
        (522, Bits(0b11)),
        // Full outer joins, and the terms for catalogs and schemas.
        (528, Bits(2)),
        (529, Text("schema")),
        (531, Text("catalog")),
        (532, Truth(true)),
        (536, Truth(false)),
        (537, Truth(false)),
        // Subqueries in comparisons, EXISTS and IN, also correlated ones; UNION and UNION ALL.
        (538, Bits(0b111)),
        (539, Truth(true)),
        (540, Bits(0b11)),
        // Bounds: columns, bytes, queries at once, views.
        (547, Large(COLUMNS_MAX)),
        (557, Large(QUERY_BYTES_MAX)),
        (558, Large(limits.running_max)),
        (560, Large(RELATIONS_MAX)),
        // No transactions, no batches of updates, no savepoints, no named parameters.
        (562, Bits(0)),
        (563, Truth(false)),
        (564, Bits(0b1)),
        (572, Truth(false)),
        (573, Truth(false)),
        (574, Truth(false)),
    ]
}

/// Returns rows of the requested properties, or of all of them when the request is empty.
pub(super) fn rows(wanted: &[u32], limits: &SqlLimits) -> Result<RecordBatch, FlightError> {
    let told = known(limits).into_iter();
    let told = told.filter(|(name, _)| wanted.is_empty() || wanted.contains(name));
    let mut builder = SqlInfoDataBuilder::new();
    for (name, value) in told {
        match value {
            Text(text) => builder.append(name, text),
            Truth(truth) => builder.append(name, truth),
            Large(count) => builder.append(name, i64::try_from(count).unwrap_or(i64::MAX)),
            Bits(number) => builder.append(name, number),
        }
    }
    // The properties are chosen above: the builder computes a filter for each number of a request.
    builder.build()?.record_batch([])
}
