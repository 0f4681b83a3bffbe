//! Makes all rollups of a data file in one pass over its rows.

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use tidings_columns::{SpanRows, rows::project};

use super::{
    ExceptionBuilder, GraphBuilder, TransactionTypeBuilder,
    build::{self, RollupBuilder},
    exceptions, graph, transaction_types,
};

/// Takes the rows of one data file and returns all of its rollups. A trace must be one run of rows.
#[derive(Debug, Default)]
pub struct RollupBuilders {
    /// Builder of the rollup of calls.
    pub calls: RollupBuilder,
    /// Builder of the rollup of calls between services.
    pub graph: GraphBuilder,
    /// Builder of the rollup of root operations.
    pub transaction_types: TransactionTypeBuilder,
    /// Builder of the list of exceptions.
    pub exceptions: ExceptionBuilder,
}

impl RollupBuilders {
    /// Returns true if a builder reads the column.
    pub fn needs(column: &str) -> bool {
        build::COLUMNS.contains(&column)
            || graph::COLUMNS.contains(&column)
            || transaction_types::COLUMNS.contains(&column)
            || exceptions::COLUMNS.contains(&column)
    }

    /// Returns builders that make no rollups.
    pub fn disabled() -> Self {
        Self { exceptions: ExceptionBuilder::disabled(), ..Self::default().without_rollups() }
    }

    /// Replaces the builders that need whole traces by builders that make no rollups.
    pub fn without_rollups(self) -> Self {
        Self {
            calls: RollupBuilder::disabled(),
            graph: GraphBuilder::disabled(),
            transaction_types: TransactionTypeBuilder::disabled(),
            exceptions: self.exceptions,
        }
    }

    /// Adds the next rows of the file.
    ///
    /// # Errors
    /// When a column has another type than the table's.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        // Attributes are decoded only for the builders that read them.
        let names = build::COLUMNS.into_iter().chain(["parent_span_id"]);
        let rows = SpanRows::from_batch(&project(batch, names)?)?;
        self.calls.push(&rows);
        self.graph.push(&rows, batch)?;
        self.transaction_types.push(&rows);
        self.exceptions.push(batch)?;
        Ok(())
    }
}
