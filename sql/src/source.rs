//! Plans' leaves: something that is read on a blocking thread, and the rows it gives.
//!
//! Owns the thread, the short queue between it and the plan, and the budget of what is kept while
//! reading. What is read is each view's own.

use std::{fmt, ops::ControlFlow, sync::Arc};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::{
    common::{
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    error::{DataFusionError, Result},
    execution::{
        SendableRecordBatchStream, TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
        execution_plan::{Boundedness, EmissionType, SchedulingType},
        filter::FilterExec,
        filter_pushdown::{ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation},
        stream::RecordBatchReceiverStream,
    },
};
use tokio::sync::mpsc::Sender;

use crate::{SqlError, limits::BATCH_ROWS, meter::Meter, wanted::Wanted};

/// Rows that a filter collects before it hands them on, when what was found decides what is read:
/// few enough to be found soon where few rows match, and enough not to cost more than they spare
/// where all do.
const EARLY_ROWS: usize = 16;
/// Batches that wait between the thread that reads and the plan.
const WAITING_MAX: usize = 2;

/// Something to read.
pub(crate) trait Source: fmt::Debug + Send + Sync {
    /// What is read and how, for `EXPLAIN`.
    fn describe(&self) -> String;

    /// Reads it; blocks.
    fn read(&self, out: &mut Out<'_>) -> Result<(), SqlError>;
}

/// Where what is read goes.
pub(crate) struct Out<'a> {
    queue: &'a Sender<Result<RecordBatch>>,
    kept: MemoryReservation,
    pub(crate) meter: &'a Meter,
    /// What the plan still wants of the rows.
    pub(crate) wanted: Wanted,
}

impl Out<'_> {
    /// Hands rows on; whether more are wanted.
    pub(crate) fn give(&mut self, batch: &RecordBatch) -> Result<ControlFlow<()>, SqlError> {
        for first in (0..batch.num_rows()).step_by(BATCH_ROWS) {
            self.meter.check()?;
            let rows = batch.slice(first, BATCH_ROWS.min(batch.num_rows() - first));
            if self.queue.blocking_send(Ok(rows)).is_err() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Charges for what is kept while reading, which is so much in all now.
    pub(crate) fn keep(&mut self, bytes: usize) -> Result<(), SqlError> {
        self.kept.try_resize(bytes).map_err(SqlError::running)
    }
}

/// A leaf.
#[derive(Debug)]
pub(crate) struct SourceExec {
    source: Arc<dyn Source>,
    meter: Arc<Meter>,
    properties: Arc<PlanProperties>,
    wanted: Wanted,
}

impl SourceExec {
    pub(crate) fn new(source: Arc<dyn Source>, schema: SchemaRef, meter: Arc<Meter>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        // The queue makes whoever takes from it give others their turn.
        .with_scheduling_type(SchedulingType::Cooperative);
        Self { source, meter, properties: Arc::new(properties), wanted: Wanted::default() }
    }
}

/// Hands on early what filters leave of views whose newest rows are looked for: until some rows are
/// found, all are wanted.
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
        write!(f, "ViewExec: {}", self.source.describe())?;
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

    /// Takes what changes while the plan runs. Rows are left out where that spares reading them, so
    /// that filters stay where they are.
    fn handle_child_pushdown_result(
        &self,
        _: FilterPushdownPhase,
        found: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let filters = found.parent_filters.iter().map(|filter| Arc::clone(&filter.filter));
        let wanted = Wanted::new(filters);
        let none = FilterPushdownPropagation::all_unsupported(found);
        if wanted.is_empty() {
            return Ok(none);
        }
        let Self { source, meter, properties, .. } = self;
        Ok(none.with_updated_node(Arc::new(Self {
            source: Arc::clone(source),
            meter: Arc::clone(meter),
            properties: Arc::clone(properties),
            wanted,
        })))
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut stream = RecordBatchReceiverStream::builder(self.schema(), WAITING_MAX);
        let queue = stream.tx();
        let (source, meter) = (Arc::clone(&self.source), Arc::clone(&self.meter));
        let wanted = self.wanted.clone();
        let kept = MemoryConsumer::new("rows of a view").register(context.memory_pool());
        stream.spawn_blocking(move || {
            let mut out = Out { queue: &queue, kept, meter: &meter, wanted };
            source.read(&mut out).map_err(DataFusionError::from)
        });
        Ok(stream.build())
    }
}
