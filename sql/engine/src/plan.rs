//! Makes an executable plan of a query.
//!
//! Owns the engine's session, which is created for each query. Its catalog has only the views, and
//! its functions are those on the list. It reaches no file and no object store, spills nothing and
//! has the query's memory. The logical plan is checked once more before it is optimised: a node or
//! function that is not known here is refused, whatever the text was.

mod allowed;

use std::{collections::HashMap, sync::Arc};

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use datafusion::{
    error::DataFusionError,
    execution::{
        context::SessionState,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::GreedyMemoryPool,
        object_store::ObjectStoreRegistry,
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
        session_state::SessionStateBuilder,
    },
    logical_expr::{LogicalPlan, registry::FunctionRegistry},
    physical_plan::ExecutionPlan,
    prelude::SessionConfig,
    sql::{parser::Statement as EngineStatement, sqlparser::ast::Statement},
};
use object_store::ObjectStore;
use tidings_sql::{
    SqlError,
    limits::BATCH_ROWS,
    views::{CATALOG, SCHEMA},
};
use url::Url;

use crate::{
    answer::check_columns,
    catalog::{self, Catalog},
    error::planning,
    functions,
    guard::GuardRule,
    prescan::Placeholders,
    source::{EarlyFilters, ServerRows},
};
use allowed::UnboundPlaceholders;

/// The columns of a query's answer and its placeholders.
pub(crate) struct QuerySignature {
    /// The columns of the answer; a column has no type where a placeholder's value decides it.
    pub(crate) columns: SchemaRef,
    /// The placeholders, in order.
    pub(crate) parameters: SchemaRef,
}

/// Physical plan and its session.
pub(crate) struct PlannedQuery {
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    pub(crate) session: SessionState,
}

/// Plans the query. Deep queries make deep plans: this needs [`tidings_sql::limits::STACK_BYTES`].
pub(crate) async fn plan(statement: Statement, feed: ServerRows) -> Result<PlannedQuery, SqlError> {
    let (session, logical) = logical(statement, feed).await?;
    allowed::check(&logical, UnboundPlaceholders::Refused)?;
    let plan = session.create_physical_plan(&logical).await.map_err(planning)?;
    check_columns(&plan.schema())?;
    Ok(PlannedQuery { plan, session })
}

/// Returns the schema of the answer, and the types of the placeholders.
pub(crate) async fn describe(
    statement: Statement,
    placeholders: Placeholders,
    feed: ServerRows,
) -> Result<QuerySignature, SqlError> {
    let (session, logical) = logical(statement, feed).await?;
    allowed::check(&logical, UnboundPlaceholders::Allowed)?;
    let columns = match placeholders.count {
        // The optimiser knows more about a column than the planner does.
        0 => session.create_physical_plan(&logical).await.map_err(planning)?.schema(),
        _ => Arc::clone(logical.schema().inner()),
    };
    check_columns(&columns)?;
    let known = logical.get_parameter_types().map_err(planning)?;
    let field = |number: usize| {
        let name = format!("${number}");
        let taken = match known.get(&name).and_then(Option::as_ref) {
            // Arrow's driver for JDBC writes milliseconds, whatever the unit is.
            Some(DataType::Timestamp(_, zone)) => {
                DataType::Timestamp(TimeUnit::Millisecond, zone.clone())
            }
            Some(known) => known.clone(),
            None if placeholders.of_rows.contains(&number) => DataType::Int64,
            // A placeholder without a type takes a text, which is converted to the type that its
            // place needs.
            None => DataType::Utf8,
        };
        Field::new(name, taken, true)
    };
    let parameters = Schema::new((1..=placeholders.count).map(field).collect::<Fields>());
    Ok(QuerySignature { columns, parameters: Arc::new(parameters) })
}

async fn logical(
    statement: Statement,
    feed: ServerRows,
) -> Result<(SessionState, LogicalPlan), SqlError> {
    let mut session = session(feed)?;
    allowed::check_functions(&statement, &session)?;
    // This fixes the time that `now()` returns.
    session.mark_start_execution();
    let statement = EngineStatement::Statement(Box::new(statement));
    let logical = session.statement_to_plan(statement).await.map_err(planning)?;
    Ok((session, logical))
}

fn session(feed: ServerRows) -> Result<SessionState, SqlError> {
    let meter = Arc::clone(&feed.meter);
    let runtime = runtime(meter.limits.memory_bytes_max).map_err(planning)?;
    let functions: HashMap<_, _> = catalog::functions(&feed).collect();
    let state = SessionStateBuilder::new()
        .with_config(config())
        .with_runtime_env(runtime)
        .with_catalog_list(Arc::new(Catalog::new(feed)))
        .with_table_functions(functions)
        .with_scalar_functions(functions::scalars(&meter))
        .with_aggregate_functions(functions::aggregates())
        .with_window_functions(functions::windows())
        .with_expr_planners(functions::planners(&meter))
        .with_physical_optimizer_rule(Arc::new(EarlyFilters))
        .with_physical_optimizer_rule(Arc::new(GuardRule(meter)));
    let mut session = state.build();
    session.register_function_rewrite(functions::rewrite()).map_err(planning)?;
    Ok(session)
}

fn config() -> SessionConfig {
    let mut config = SessionConfig::new()
        // One partition: a query has one thread besides those that read for it.
        .with_target_partitions(1)
        .with_batch_size(BATCH_ROWS)
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, SCHEMA);
    let options = config.options_mut();
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.collect_spans = true;
    // The zone of times without one: `now()`, `to_timestamp` and `TIMESTAMP WITH TIME ZONE`, like
    // the times of the views.
    options.execution.time_zone = Some("UTC".to_owned());
    options.execution.enable_recursive_ctes = false;
    options.execution.collect_statistics = false;
    options.execution.sort_spill_reservation_bytes = 0;
    // Of the filters that change while a plan runs, scans understand only those of the newest rows.
    options.optimizer.enable_topk_dynamic_filter_pushdown = true;
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    options.optimizer.enable_piecewise_merge_join = false;
    options.optimizer.prefer_hash_join = true;
    config
}

fn runtime(memory_bytes_max: usize) -> Result<Arc<RuntimeEnv>, DataFusionError> {
    let nowhere = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(memory_bytes_max)))
        .with_disk_manager_builder(nowhere)
        .with_object_store_registry(Arc::new(NoStores))
        .build_arc()
}

/// A registry without object stores: no URL leads anywhere.
#[derive(Debug)]
struct NoStores;

impl ObjectStoreRegistry for NoStores {
    fn register_store(&self, _: &Url, _: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, _: &Url) -> Result<Arc<dyn ObjectStore>, DataFusionError> {
        Err(DataFusionError::Plan("a query reads no files".to_owned()))
    }
}
