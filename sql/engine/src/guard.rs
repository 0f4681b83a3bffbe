//! Puts a guard between any two operators of a plan.
//!
//! The engine's operators trust each other. A join of two views goes through all pairs of rows
//! without ever waiting, so that nothing from outside can stop it, and some operators keep rows in
//! memory that no budget counts. So every operator's rows go through a [`GuardExec`], which checks
//! the query's [`Meter`] and yields to other tasks. Joins check it for every batch of pairs too
//! ([`CheckedExpr`]). The rows that windows keep are charged to the query's memory. Rows that are
//! joined have a maximum width.
//!
//! Owns the places of guards (`rule`) and their work (`stream`). Knows nothing of SQL.

mod checked;
mod rule;
mod stream;

use std::{fmt, sync::Arc};

use datafusion::{
    common::tree_node::TreeNodeRecursion,
    error::{DataFusionError, Result},
    execution::{SendableRecordBatchStream, TaskContext, memory_pool::MemoryConsumer},
    physical_expr::PhysicalExpr,
    physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties},
};
use tidings_sql::meter::Meter;

pub(crate) use checked::CheckedExpr;
pub(crate) use rule::GuardRule;
use stream::GuardedStream;

/// Options of a guard besides the check of deadline and cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct GuardOptions {
    /// Maximum number of rows that are passed on at once.
    rows_max: Option<usize>,
    /// Refuses rows that are too wide to be joined.
    joined: bool,
    /// Charges for all rows until the end: the operator that takes them keeps them without
    /// charging.
    kept: bool,
}

/// Passes on the rows of its input, as long as the query may go on.
#[derive(Debug, Clone)]
pub(crate) struct GuardExec {
    input: Arc<dyn ExecutionPlan>,
    meter: Arc<Meter>,
    options: GuardOptions,
}

impl GuardExec {
    pub(super) fn new(
        input: Arc<dyn ExecutionPlan>,
        meter: Arc<Meter>,
        options: GuardOptions,
    ) -> Self {
        Self { input, meter, options }
    }
}

impl DisplayAs for GuardExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuardExec")
    }
}

impl ExecutionPlan for GuardExec {
    fn name(&self) -> &'static str {
        "GuardExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(input) if children.is_empty() => {
                Ok(Arc::new(Self::new(input, Arc::clone(&self.meter), self.options)))
            }
            _ => Err(DataFusionError::Internal("a guard has one input".to_owned())),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let kept = self
            .options
            .kept
            .then(|| MemoryConsumer::new("rows of a window").register(context.memory_pool()));
        let input = self.input.execute(partition, context)?;
        Ok(Box::pin(GuardedStream::new(input, Arc::clone(&self.meter), self.options, kept)))
    }
}
