//! The views that a query reads, all of them from one snapshot.
//!
//! Owns the list of views and table functions. A view is a `View`: a schema, the conditions that
//! its scans can use, and a `Source` for each scan. The worker describes sources; the server reads
//! them. Knows no expressions of the engine: conditions and arguments are plain values.

mod attribute_maps;
mod condition;
mod edges;
mod logs_view;
mod pushdown;
mod red;
mod spans_view;
mod traces_view;
mod tree_view;
mod view_columns;

use std::{collections::HashSet, fmt, sync::Arc};

use arrow_array::{RecordBatch, UInt64Array, cast::AsArray, types::Int64Type};
use arrow_schema::SchemaRef;
use arrow_select::take::take_record_batch;
use serde::{Deserialize, Serialize};

use crate::{
    SqlError,
    scan::{RowOutput, Source},
};

pub use condition::{Condition, Literal, Predicate, Subject};
pub use logs_view::Logs;
pub use tree_view::{Tree, TreePart};

/// Names of the views.
pub const VIEWS: &[&str] = &["spans", "logs", "traces", "red", "edges"];
/// Names of the table functions: over one trace, and over log records.
pub const FUNCTIONS: &[&str] = &["tree", "ancestors", "descendants", "matching_logs"];
/// The catalog's only name.
pub const CATALOG: &str = "tidings";
/// The schema's only name.
pub const SCHEMA: &str = "views";

/// A view: its columns, the conditions that its scans can use, and its scans.
pub(crate) trait View: fmt::Debug + Send + Sync + 'static {
    /// Returns its columns.
    fn schema(&self) -> SchemaRef;

    /// Reports whether a scan prunes rows by at least one of these conditions.
    fn uses(&self, conditions: &[Condition]) -> bool;

    /// Returns the column of times by which scans can go, the newest first.
    fn time_column(&self) -> Option<&'static str> {
        None
    }

    /// Returns a source of these columns, for rows that the conditions may match.
    fn source(&self, columns: Vec<usize>, conditions: &[Condition]) -> Arc<dyn Source>;
}

/// Everything that a query can read: a view or a call of a table function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Relation {
    /// One row for each span.
    Spans,
    /// One row for each log record.
    Logs(Logs),
    /// One row for each trace.
    Traces,
    /// Rates, errors and durations by minute.
    Red,
    /// Calls between services by minute.
    Edges,
    /// One trace, assembled.
    Tree(Tree),
}

impl Relation {
    /// Returns the view of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "spans" => Self::Spans,
            "logs" => Self::Logs(Logs::all()),
            "traces" => Self::Traces,
            "red" => Self::Red,
            "edges" => Self::Edges,
            _ => return None,
        })
    }

    fn view(&self) -> &dyn View {
        match self {
            Self::Spans => &spans_view::Spans,
            Self::Logs(logs) => logs,
            Self::Traces => &traces_view::Traces,
            Self::Red => &red::Red,
            Self::Edges => &edges::Edges,
            Self::Tree(tree) => tree,
        }
    }

    /// Returns its columns.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        self.view().schema()
    }

    /// Returns the column of times by which scans can go, the newest first.
    #[must_use]
    pub fn time_column(&self) -> Option<&'static str> {
        self.view().time_column()
    }

    /// Reports whether a scan prunes rows by at least one of these conditions.
    #[must_use]
    pub fn uses(&self, conditions: &[Condition]) -> bool {
        self.view().uses(conditions)
    }

    /// Returns a source of these columns, which its schema must have.
    pub(crate) fn source(&self, columns: Vec<usize>, conditions: &[Condition]) -> Arc<dyn Source> {
        self.view().source(columns, conditions)
    }

    /// Describes a scan of these columns, which its schema must have, for `EXPLAIN`.
    #[must_use]
    pub fn describe(&self, columns: Vec<usize>, conditions: &[Condition]) -> String {
        self.source(columns, conditions).describe()
    }
}

/// An argument of a table function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument<'a> {
    /// A text.
    Text(&'a str),
    /// A placeholder. A plan with one is described and never runs.
    Later,
    /// Any other expression.
    Other,
}

impl<'a> Argument<'a> {
    fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Later | Self::Other => None,
        }
    }
}

/// A table function.
#[derive(Debug, Clone, Copy)]
pub enum ViewFunction {
    /// A trace or a part of it.
    Tree(TreePart),
    /// The log records that match a query.
    MatchingLogs,
}

impl ViewFunction {
    /// Every table function.
    pub const ALL: [Self; 4] = [
        Self::Tree(TreePart::All),
        Self::Tree(TreePart::Up),
        Self::Tree(TreePart::Down),
        Self::MatchingLogs,
    ];

    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tree(walk) => walk.function_name(),
            Self::MatchingLogs => logs_view::MATCHING_LOGS,
        }
    }

    /// Returns the relation that a call with these arguments reads.
    ///
    /// # Errors
    /// Fails if it does not take these arguments, with the reason.
    pub fn relation(self, arguments: &[Argument<'_>]) -> Result<Relation, String> {
        Ok(match self {
            Self::Tree(walk) => Relation::Tree(Tree::of_call(walk, arguments)?),
            Self::MatchingLogs => Relation::Logs(Logs::of_call(arguments)?),
        })
    }
}

/// Returns the columns of a view.
#[must_use]
pub fn schema(name: &str) -> Option<SchemaRef> {
    Relation::named(name).map(|relation| relation.schema())
}

/// Bytes of a hash in a hash table.
const HASH_BYTES: usize = 16;

/// Deduplication set of a scan: content hashes of its rows so far.
#[derive(Debug, Default)]
struct Repeats {
    seen: HashSet<i64>,
    full: bool,
}

impl Repeats {
    /// Returns the rows of `of` whose hashes are new. `stored` has the same rows with their hashes.
    /// When the set is full, all rows pass and the answer reports that.
    fn without(
        &mut self,
        stored: &RecordBatch,
        of: RecordBatch,
        out: &mut RowOutput<'_>,
    ) -> Result<RecordBatch, SqlError> {
        let hashes = stored.column_by_name("content_hash");
        let Some(hashes) = hashes.and_then(|hashes| hashes.as_primitive_opt::<Int64Type>()) else {
            return Err(SqlError::Defect { reason: "rows have no hash".to_owned() });
        };
        if self.full || self.seen.len() + hashes.len() > out.meter.limits.remembered_max {
            self.full = true;
            out.meter.count_repeats();
            return Ok(of);
        }
        let new: Vec<u64> = (0..hashes.len())
            .filter(|row| self.seen.insert(hashes.value(*row)))
            .map(|row| row as u64)
            .collect();
        out.keep(self.seen.capacity() * HASH_BYTES)?;
        if new.len() == hashes.len() {
            return Ok(of);
        }
        if of.num_columns() == 0 {
            return Ok(of.slice(0, new.len()));
        }
        take_record_batch(&of, &UInt64Array::from(new))
            .map_err(|error| SqlError::Defect { reason: error.to_string() })
    }
}
