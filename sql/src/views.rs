//! The views that a query reads, all of them from one snapshot.
//!
//! Owns the catalog, which has only the views, whatever a query names. A view is a [`View`]: a
//! schema, the conditions that its scans can use, and a [`Source`] for each scan. The worker knows
//! the catalog and describes sources; the server reads them.

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
use async_trait::async_trait;
use datafusion::{
    catalog::{
        CatalogProvider, CatalogProviderList, SchemaProvider, Session, TableFunction,
        TableFunctionImpl, TableProvider,
    },
    error::{DataFusionError, Result},
    logical_expr::{Expr, TableProviderFilterPushDown, TableType},
    physical_plan::ExecutionPlan,
};
use serde::{Deserialize, Serialize};
use tidings_storage::Snapshot;

use crate::{
    SqlError,
    meter::Meter,
    query_slots::QuerySlot,
    scan::{RowOutput, Source},
    source::SourceExec,
    worker::ServerLink,
};

use condition::Predicate;
pub(crate) use condition::{Condition, conditions};

/// Names of the views.
pub(crate) const VIEWS: &[&str] = &["spans", "logs", "traces", "red", "edges"];
/// Names of the table functions: over one trace, and over log records.
pub(crate) const FUNCTIONS: &[&str] = &["tree", "ancestors", "descendants", "matching_logs"];
/// The catalog's only name.
pub(crate) const CATALOG: &str = "tidings";
/// The schema's only name.
pub(crate) const SCHEMA: &str = "views";

/// The snapshot that the scans of a query read. Only the server has it.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) snapshot: Snapshot,
    pub(crate) meter: Arc<Meter>,
    /// The query's slot, which stays taken as long as anything works for the query.
    pub(crate) slot: Arc<QuerySlot>,
}

/// The connection to the server's rows. Only the worker has it.
#[derive(Debug, Clone)]
pub(crate) struct ServerRows {
    pub(crate) link: Arc<ServerLink>,
    pub(crate) meter: Arc<Meter>,
}

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
pub(crate) enum Relation {
    Spans,
    Logs(logs_view::Logs),
    Traces,
    Red,
    Edges,
    Tree(tree_view::Tree),
}

impl Relation {
    /// Returns the view of this name.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "spans" => Self::Spans,
            "logs" => Self::Logs(logs_view::Logs::all()),
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
    pub(crate) fn schema(&self) -> SchemaRef {
        self.view().schema()
    }

    /// Returns the column of times by which scans can go, the newest first.
    pub(crate) fn time_column(&self) -> Option<&'static str> {
        self.view().time_column()
    }

    /// Returns a source of these columns, which its schema must have.
    pub(crate) fn source(&self, columns: Vec<usize>, conditions: &[Condition]) -> Arc<dyn Source> {
        self.view().source(columns, conditions)
    }
}

/// A view as the engine sees it.
#[derive(Debug)]
pub(crate) struct ViewTable {
    relation: Relation,
    feed: ServerRows,
}

impl ViewTable {
    pub(crate) fn new(relation: Relation, feed: ServerRows) -> Self {
        Self { relation, feed }
    }
}

#[async_trait]
impl TableProvider for ViewTable {
    fn schema(&self) -> SchemaRef {
        self.relation.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        // The plan keeps its own filter, because a scan may return rows that do not match.
        let use_of = |filter: &&Expr| match self
            .relation
            .view()
            .uses(&conditions(std::slice::from_ref(*filter)))
        {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(use_of).collect())
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = self.relation.schema();
        let columns = projection.cloned().unwrap_or_else(|| (0..schema.fields().len()).collect());
        let projected = Arc::new(schema.project(&columns)?);
        let scan = SourceExec::new(
            self.relation.clone(),
            columns,
            conditions(filters),
            projected,
            self.feed.clone(),
        );
        Ok(Arc::new(scan))
    }
}

/// Returns the columns of a view.
pub(crate) fn schema(name: &str) -> Option<SchemaRef> {
    Relation::named(name).map(|relation| relation.schema())
}

/// Returns the table functions.
pub(crate) fn functions(feed: &ServerRows) -> impl Iterator<Item = (String, Arc<TableFunction>)> {
    let walks = tree_view::TreePart::ALL.map(|walk| {
        let function = tree_view::TreeFunction::new(walk, feed.clone());
        (function.name(), Arc::new(function) as Arc<dyn TableFunctionImpl>)
    });
    let logs = logs_view::MatchingLogs::new(feed.clone());
    let functions = walks.into_iter().chain([(logs_view::MatchingLogs::NAME, Arc::new(logs) as _)]);
    functions.map(|(name, function)| {
        (name.to_owned(), Arc::new(TableFunction::new(name.to_owned(), function)))
    })
}

/// Returns the text that a table function is called with.
fn literal_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}

/// Catalog and schema provider at every level, each of which has one entry.
#[derive(Debug, Clone)]
pub(crate) struct Catalog(ServerRows);

impl Catalog {
    pub(crate) fn new(feed: ServerRows) -> Self {
        Self(feed)
    }
}

fn fixed<T>() -> Result<T> {
    Err(DataFusionError::Plan("what can be read is fixed".to_owned()))
}

impl CatalogProviderList for Catalog {
    fn register_catalog(
        &self,
        _: String,
        _: Arc<dyn CatalogProvider>,
    ) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![CATALOG.to_owned()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == CATALOG).then(|| Arc::new(self.clone()) as Arc<dyn CatalogProvider>)
    }
}

impl CatalogProvider for Catalog {
    fn schema_names(&self) -> Vec<String> {
        vec![SCHEMA.to_owned()]
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        (name == SCHEMA).then(|| Arc::new(self.clone()) as Arc<dyn SchemaProvider>)
    }
}

#[async_trait]
impl SchemaProvider for Catalog {
    fn table_names(&self) -> Vec<String> {
        VIEWS.iter().map(|name| (*name).to_owned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let table = Relation::named(name).map(|relation| {
            Arc::new(ViewTable::new(relation, self.0.clone())) as Arc<dyn TableProvider>
        });
        Ok(table)
    }

    fn register_table(
        &self,
        _: String,
        _: Arc<dyn TableProvider>,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        fixed()
    }

    fn table_exist(&self, name: &str) -> bool {
        VIEWS.contains(&name)
    }
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
