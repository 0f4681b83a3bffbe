//! The catalog as the engine sees it: only the views, whatever a query names.
//!
//! Owns the tables and table functions of a plan, each with its connection to the server's rows.
//! Does not own the views (`tidings_sql::views`) and their scans in a plan (`source`).

use std::sync::Arc;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::{
        CatalogProvider, CatalogProviderList, SchemaProvider, Session, TableFunction,
        TableFunctionArgs, TableFunctionImpl, TableProvider,
    },
    error::{DataFusionError, Result},
    logical_expr::{Expr, TableProviderFilterPushDown, TableType},
    physical_plan::ExecutionPlan,
};
use tidings_sql::views::{Argument, CATALOG, Relation, SCHEMA, VIEWS, ViewFunction};

use crate::{
    condition::{argument, conditions},
    source::{ServerRows, SourceExec},
};

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

/// A view as the engine sees it.
#[derive(Debug)]
struct ViewTable {
    relation: Relation,
    feed: ServerRows,
}

impl ViewTable {
    fn new(relation: Relation, feed: ServerRows) -> Self {
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
        let use_of = |filter: &&Expr| {
            let conditions = conditions(std::slice::from_ref(*filter));
            match self.relation.uses(&conditions) {
                true => TableProviderFilterPushDown::Inexact,
                false => TableProviderFilterPushDown::Unsupported,
            }
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

/// A table function as the engine sees it.
#[derive(Debug)]
struct CatalogFunction {
    function: ViewFunction,
    feed: ServerRows,
}

impl TableFunctionImpl for CatalogFunction {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let arguments: Vec<Argument<'_>> = args.exprs().iter().map(argument).collect();
        let relation = self.function.relation(&arguments).map_err(DataFusionError::Plan)?;
        Ok(Arc::new(ViewTable::new(relation, self.feed.clone())))
    }
}

/// Returns the table functions.
pub(crate) fn functions(feed: &ServerRows) -> impl Iterator<Item = (String, Arc<TableFunction>)> {
    ViewFunction::ALL.into_iter().map(move |function| {
        let name = function.name().to_owned();
        let function = Arc::new(CatalogFunction { function, feed: feed.clone() });
        (name.clone(), Arc::new(TableFunction::new(name, function)))
    })
}
