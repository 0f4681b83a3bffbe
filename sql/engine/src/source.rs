//! Leaves of a plan: scans of views, which the server runs.
//!
//! ```text
//! the plan wants rows ─► Scan, then Next for every batch more ─► server
//! the plan takes rows ◄─ batches, and the scan's end            ◄─ server
//! ```
//!
//! Owns a scan's place in a plan and its half of the flow control: the server sends no more batches
//! than were requested. A scan whose plan may later need only the newest rows reports that with
//! every request.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::{
    common::{
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    error::{DataFusionError, Result},
    execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext},
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
        execution_plan::{Boundedness, EmissionType, SchedulingType},
        filter::FilterExec,
        filter_pushdown::{ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation},
    },
};
use futures::Stream;
use tidings_sql::{
    SqlError,
    message::{ScanRequest, WorkerMessage},
    meter::Meter,
    views::{Condition, Relation},
};
use tokio::sync::mpsc::Receiver;

use crate::{
    dynamic_filters::{DynamicFilters, DynamicTimeBound},
    error::external,
    server_link::ServerLink,
};

/// Rows that a filter collects before it passes them on, where the rows found so far narrow the
/// scan. The number is small, so that rows are found soon where few match; and large enough that it
/// costs less than it saves where all match.
const EARLY_ROWS: usize = 16;

/// The connection to the server's rows. Only the worker has it.
#[derive(Debug, Clone)]
pub(crate) struct ServerRows {
    pub(crate) link: Arc<ServerLink>,
    pub(crate) meter: Arc<Meter>,
}

/// A leaf of a plan.
#[derive(Debug)]
pub(crate) struct SourceExec {
    relation: Relation,
    columns: Vec<usize>,
    conditions: Vec<Condition>,
    feed: ServerRows,
    properties: Arc<PlanProperties>,
    wanted: DynamicFilters,
}

impl SourceExec {
    pub(crate) fn new(
        relation: Relation,
        columns: Vec<usize>,
        conditions: Vec<Condition>,
        schema: SchemaRef,
        feed: ServerRows,
    ) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        // The queue of batches yields to other tasks.
        .with_scheduling_type(SchedulingType::Cooperative);
        let (properties, wanted) = (Arc::new(properties), DynamicFilters::default());
        Self { relation, columns, conditions, feed, properties, wanted }
    }

    /// Returns the bound on times that the plan tightens while it runs, if it has one.
    fn wanted_times(&self) -> Option<DynamicTimeBound> {
        let column = self.relation.time_column()?;
        let wanted = self.wanted.of_times(&self.schema(), column);
        wanted.may_narrow().then_some(wanted)
    }
}

/// Lets filters over views pass on their rows early, where the newest rows are needed: all rows are
/// needed until some are found.
#[derive(Debug)]
pub(crate) struct EarlyFilters;

impl PhysicalOptimizerRule for EarlyFilters {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let early = plan.transform_up(|operator| {
            let filter = operator.downcast_ref::<FilterExec>().filter(|filter| {
                let source = filter.input().downcast_ref::<SourceExec>();
                source.is_some_and(|source| !source.wanted.is_empty())
            });
            Ok(match filter {
                Some(filter) => Transformed::yes(Arc::new(filter.with_batch_size(EARLY_ROWS)?)),
                None => Transformed::no(operator),
            })
        })?;
        Ok(early.data)
    }

    fn name(&self) -> &'static str {
        "early filters"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

impl DisplayAs for SourceExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scan = self.relation.describe(self.columns.clone(), &self.conditions);
        write!(f, "ViewExec: {scan}")?;
        if self.wanted.is_empty() { Ok(()) } else { f.write_str(", as far as rows are wanted") }
    }
}

impl ExecutionPlan for SourceExec {
    fn name(&self) -> &'static str {
        "ViewExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.is_empty() {
            true => Ok(self),
            false => Err(DataFusionError::Internal("a view has no inputs".to_owned())),
        }
    }

    /// Takes over filters that change while the plan runs. The scan skips rows only where that
    /// saves reading them, so the filters stay in the plan as well.
    fn handle_child_pushdown_result(
        &self,
        _: FilterPushdownPhase,
        found: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let filters = found.parent_filters.iter().map(|filter| Arc::clone(&filter.filter));
        let wanted = DynamicFilters::new(filters);
        let none = FilterPushdownPropagation::all_unsupported(found);
        if wanted.is_empty() {
            return Ok(none);
        }
        Ok(none.with_updated_node(Arc::new(Self {
            relation: self.relation.clone(),
            columns: self.columns.clone(),
            conditions: self.conditions.clone(),
            feed: self.feed.clone(),
            properties: Arc::clone(&self.properties),
            wanted,
        })))
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let wanted = self.wanted_times();
        let (scan, batches) = self.feed.link.register(self.schema());
        let request = ScanRequest {
            scan,
            relation: self.relation.clone(),
            columns: self.columns.clone(),
            conditions: self.conditions.clone(),
            narrows: wanted.is_some(),
        };
        // This is sent at once, so that scans whose rows the plan takes later begin meanwhile.
        self.feed.link.send(&WorkerMessage::Scan(request)).map_err(external)?;
        let (schema, feed) = (self.schema(), self.feed.clone());
        Ok(Box::pin(ScanStream { scan, schema, feed, wanted, owes: false, batches }))
    }
}

/// The rows of a scan.
struct ScanStream {
    scan: u32,
    schema: SchemaRef,
    feed: ServerRows,
    wanted: Option<DynamicTimeBound>,
    /// True when a batch was passed on and the next one is not requested yet.
    owes: bool,
    batches: Receiver<Result<RecordBatch>>,
}

impl ScanStream {
    /// Requests another batch when one was passed on.
    fn ask(&mut self) -> Result<(), SqlError> {
        if !std::mem::take(&mut self.owes) {
            return Ok(());
        }
        let since = self.wanted.as_mut().map(DynamicTimeBound::since).unwrap_or_default();
        self.feed.link.send(&WorkerMessage::Next { scan: self.scan, since })
    }
}

impl Stream for ScanStream {
    type Item = Result<RecordBatch>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<RecordBatch>>> {
        if let Err(error) = self.ask() {
            return Poll::Ready(Some(Err(external(error))));
        }
        let next = ready!(self.batches.poll_recv(context));
        self.owes = matches!(next, Some(Ok(_)));
        Poll::Ready(next)
    }
}

impl RecordBatchStream for ScanStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl Drop for ScanStream {
    fn drop(&mut self) {
        self.feed.link.end_scan(self.scan);
    }
}
