//! The places of guards in a plan.

use std::sync::Arc;

use arrow_schema::Schema;
use datafusion::{
    common::{
        ScalarValue,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode},
    },
    error::Result,
    logical_expr::JoinType,
    physical_expr::{PhysicalExpr, expressions::Literal},
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{
        ExecutionPlan,
        execution_plan::replace_children_if_necessary,
        joins::{
            CrossJoinExec, HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
            SortMergeJoinExec, utils::JoinFilter,
        },
        windows::{BoundedWindowAggExec, WindowAggExec},
    },
};
use tidings_sql::meter::Meter;

use super::{CheckedExpr, GuardExec, GuardOptions};

/// Maximum number of rows that a join probes at once. Many pairs may match nothing, and between two
/// batches the join goes through this many times the rows of the other side.
const PROBED_ROWS_MAX: usize = 256;

/// The last optimiser rule of a plan: no later rule may remove an operator between two guards.
#[derive(Debug)]
pub(crate) struct GuardRule(pub(crate) Arc<Meter>);

impl PhysicalOptimizerRule for GuardRule {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let guarded = plan.transform_up(|operator| {
            let operator = self.with_guard_options(self.with_checks(operator)?)?;
            let guard = GuardExec::new(operator, Arc::clone(&self.0), GuardOptions::default());
            Ok(Transformed::yes(Arc::new(guard) as Arc<dyn ExecutionPlan>))
        })?;
        Ok(guarded.data)
    }

    fn name(&self) -> &'static str {
        "guard"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

impl GuardRule {
    /// Returns the operator; a join checks the meter for every batch of pairs.
    fn with_checks(&self, operator: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        if let Some(join) = operator.downcast_ref::<NestedLoopJoinExec>() {
            let filter = match join.filter() {
                Some(filter) => self.checked(filter),
                None => self.always(),
            };
            let join = NestedLoopJoinExecBuilder::from(join).with_filter(Some(filter)).build()?;
            return Ok(Arc::new(join));
        }
        if let Some(join) = operator.downcast_ref::<HashJoinExec>()
            && let Some(filter) = join.filter()
        {
            return join.builder().with_filter(Some(self.checked(filter))).build_exec();
        }
        Ok(operator)
    }

    fn checked(&self, filter: &JoinFilter) -> JoinFilter {
        JoinFilter::new(
            self.check(Arc::clone(filter.expression())),
            filter.column_indices().to_vec(),
            Arc::clone(filter.schema()),
        )
    }

    /// Returns a filter that every row passes.
    fn always(&self) -> JoinFilter {
        let passes = Arc::new(Literal::new(ScalarValue::Boolean(Some(true))));
        JoinFilter::new(self.check(passes), Vec::new(), Arc::new(Schema::empty()))
    }

    fn check(&self, inner: Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
        Arc::new(CheckedExpr::new(inner, Arc::clone(&self.0)))
    }

    /// Returns the operator with guards that have the duties its inputs need.
    fn with_guard_options(
        &self,
        operator: Arc<dyn ExecutionPlan>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let joined = GuardOptions { joined: true, ..GuardOptions::default() };
        let probed = GuardOptions { rows_max: Some(PROBED_ROWS_MAX), ..joined };
        let duties = if operator.is::<NestedLoopJoinExec>() {
            vec![joined, probed]
        } else if let Some(join) = operator.downcast_ref::<HashJoinExec>() {
            let gives_pairs = matches!(
                join.join_type(),
                JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full
            );
            vec![joined, if gives_pairs { joined } else { probed }]
        } else if operator.is::<CrossJoinExec>() || operator.is::<SortMergeJoinExec>() {
            vec![joined, joined]
        } else if operator.is::<WindowAggExec>() || operator.is::<BoundedWindowAggExec>() {
            vec![GuardOptions { kept: true, ..GuardOptions::default() }]
        } else {
            return Ok(operator);
        };
        let inputs = operator.children().into_iter().zip(duties);
        let guarded = inputs
            .map(|(input, options)| {
                let guard = GuardExec::new(Arc::clone(input), Arc::clone(&self.0), options);
                Arc::new(guard) as Arc<dyn ExecutionPlan>
            })
            .collect();
        replace_children_if_necessary(operator, guarded)
    }
}
