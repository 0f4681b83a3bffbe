//! Makes all rollups of a data file in one pass over its rows.

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;

use super::{
    ExceptionBuilder, GraphBuilder, KindBuilder, build, build::RollupBuilder, exceptions, graph,
    kinds,
};
use crate::{SpanRows, scan::project};

/// Takes the rows of one data file, a trace's rows in one run, and gives what they add up to.
#[derive(Debug, Default)]
pub(crate) struct RollupBuilders {
    /// The calls.
    pub(crate) calls: RollupBuilder,
    /// The calls between services.
    pub(crate) graph: GraphBuilder,
    /// The kinds of transactions.
    pub(crate) kinds: KindBuilder,
    /// The exceptions.
    pub(crate) exceptions: ExceptionBuilder,
}

impl RollupBuilders {
    /// Returns true if they read the column.
    pub(crate) fn needs(column: &str) -> bool {
        build::COLUMNS.contains(&column)
            || graph::COLUMNS.contains(&column)
            || kinds::COLUMNS.contains(&column)
            || exceptions::COLUMNS.contains(&column)
    }

    /// Some that have no rollups to give.
    pub(crate) fn nothing() -> Self {
        Self { exceptions: ExceptionBuilder::nothing(), ..Self::default().without_sums() }
    }

    /// They, but for what is added up of whole traces.
    pub(crate) fn without_sums(self) -> Self {
        Self {
            calls: RollupBuilder::nothing(),
            graph: GraphBuilder::nothing(),
            kinds: KindBuilder::nothing(),
            exceptions: self.exceptions,
        }
    }

    /// Adds the next rows of the file.
    ///
    /// # Errors
    /// When a column has another type than the table's.
    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        // The attributes of rows are taken apart only where they are looked at.
        let names = build::COLUMNS.into_iter().chain(["parent_span_id"]);
        let rows = SpanRows::from_batch(&project(batch, names)?)?;
        self.calls.push(&rows);
        self.graph.push(&rows, batch)?;
        self.kinds.push(&rows);
        self.exceptions.push(batch)?;
        Ok(())
    }
}
