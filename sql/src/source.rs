//! Plans' leaves: something that is read on a blocking thread, and the rows it gives.
//!
//! Owns the thread, the short queue between it and the plan, and the budget of what is kept while
//! reading. What is read is each view's own.

use std::{fmt, ops::ControlFlow, sync::Arc};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::{
    common::tree_node::TreeNodeRecursion,
    error::{DataFusionError, Result},
    execution::{
        SendableRecordBatchStream, TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        stream::RecordBatchReceiverStream,
    },
};
use tokio::sync::mpsc::Sender;

use crate::{SqlError, limits::BATCH_ROWS, meter::Meter};

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
}

impl SourceExec {
    pub(crate) fn new(source: Arc<dyn Source>, schema: SchemaRef, meter: Arc<Meter>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { source, meter, properties: Arc::new(properties) }
    }
}

impl DisplayAs for SourceExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ViewExec: {}", self.source.describe())
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

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut stream = RecordBatchReceiverStream::builder(self.schema(), WAITING_MAX);
        let queue = stream.tx();
        let (source, meter) = (Arc::clone(&self.source), Arc::clone(&self.meter));
        let kept = MemoryConsumer::new("rows of a view").register(context.memory_pool());
        stream.spawn_blocking(move || {
            let mut out = Out { queue: &queue, kept, meter: &meter };
            source.read(&mut out).map_err(DataFusionError::from)
        });
        Ok(stream.build())
    }
}
