//! The views that a query reads, all of them at one snapshot.
//!
//! Owns the catalog: it has the views and nothing else, whatever a query names. A view is a
//! [`View`]: a schema, the filters that its scan can use, and a [`Source`] for each scan.

mod attributes;
mod columns;
mod edges;
mod logs;
mod newest;
mod pushdown;
mod red;
mod repeats;
mod spans;
mod traces;
mod tree;

use std::{fmt, sync::Arc};

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::{
        CatalogProvider, CatalogProviderList, SchemaProvider, Session, TableFunction, TableProvider,
    },
    error::{DataFusionError, Result},
    logical_expr::{Expr, TableProviderFilterPushDown, TableType},
    physical_plan::ExecutionPlan,
};
use tidings_storage::Snapshot;
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    meter::Meter,
    source::{Source, SourceExec},
};

/// What can be read by name.
pub(crate) const VIEWS: &[&str] = &["spans", "logs", "traces", "red", "edges"];
/// What can be read of one trace.
pub(crate) const FUNCTIONS: &[&str] = &["tree", "ancestors", "descendants"];
/// The catalog's only name.
pub(crate) const CATALOG: &str = "tidings";
/// The schema's only name.
pub(crate) const SCHEMA: &str = "views";

/// What a query reads from.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) snapshot: Snapshot,
    pub(crate) meter: Arc<Meter>,
    /// The query's place among those that run: it is taken as long as anything works for it.
    pub(crate) _place: Arc<OwnedSemaphorePermit>,
}

/// What makes a view.
pub(crate) trait View: fmt::Debug + Send + Sync + 'static {
    /// Its columns.
    fn schema(&self) -> SchemaRef;

    /// Whether a scan leaves out rows by this filter, some of them at least.
    fn uses(&self, filter: &Expr) -> bool;

    /// Reads these columns of rows for which `filters` may hold.
    fn source(&self, stored: &Stored, columns: Vec<usize>, filters: &[Expr]) -> Arc<dyn Source>;
}

/// A view as the engine knows it.
#[derive(Debug)]
pub(crate) struct ViewTable<V> {
    view: V,
    stored: Stored,
}

impl<V> ViewTable<V> {
    pub(crate) fn new(view: V, stored: Stored) -> Self {
        Self { view, stored }
    }
}

#[async_trait]
impl<V: View> TableProvider for ViewTable<V> {
    fn schema(&self) -> SchemaRef {
        self.view.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        // The plan's own filter stays: a scan may give rows that do not match.
        let use_of = |filter: &&Expr| match self.view.uses(filter) {
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
        let schema = self.view.schema();
        let columns = projection.cloned().unwrap_or_else(|| (0..schema.fields().len()).collect());
        let projected = Arc::new(schema.project(&columns)?);
        let source = self.view.source(&self.stored, columns, filters);
        Ok(Arc::new(SourceExec::new(source, projected, Arc::clone(&self.stored.meter))))
    }
}

/// The columns of a view.
pub(crate) fn schema(name: &str) -> Option<SchemaRef> {
    Some(match name {
        "spans" => spans::Spans.schema(),
        "logs" => logs::Logs.schema(),
        "traces" => traces::Traces.schema(),
        "red" => red::Red.schema(),
        "edges" => edges::Edges.schema(),
        _ => return None,
    })
}

/// The functions that give rows.
pub(crate) fn functions(stored: &Stored) -> impl Iterator<Item = (String, Arc<TableFunction>)> {
    let functions = tree::Walk::ALL.map(|walk| tree::TreeFunction::new(walk, stored.clone()));
    functions.into_iter().map(|function| {
        let name = function.name().to_owned();
        (name.clone(), Arc::new(TableFunction::new(name, Arc::new(function))))
    })
}

/// Everything that can be named, at every level: there is one of each.
#[derive(Debug, Clone)]
pub(crate) struct Catalog(Stored);

impl Catalog {
    pub(crate) fn new(stored: Stored) -> Self {
        Self(stored)
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
        let stored = self.0.clone();
        Ok(Some(match name {
            "spans" => Arc::new(ViewTable::new(spans::Spans, stored)),
            "logs" => Arc::new(ViewTable::new(logs::Logs, stored)),
            "traces" => Arc::new(ViewTable::new(traces::Traces, stored)),
            "red" => Arc::new(ViewTable::new(red::Red, stored)),
            "edges" => Arc::new(ViewTable::new(edges::Edges, stored)),
            _ => return Ok(None),
        }))
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
