//! What a plan may be made of.

use datafusion::{
    common::tree_node::{TreeNode, TreeNodeRecursion},
    error::DataFusionError,
    logical_expr::{Expr, LogicalPlan, WindowFunctionDefinition, expr::WindowFunction},
};

use crate::{SqlError, functions::WINDOW_AGGREGATES, limits::COLUMNS_MAX};

const QUERIES_ONLY: &str = "ask one query over the views";

/// What to do about a placeholder without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unbound {
    Refused,
    /// The plan is looked at and never runs.
    Allowed,
}

/// Refuses a plan that has something else in it than a query over the views.
pub(crate) fn check(plan: &LogicalPlan, unbound: Unbound) -> Result<(), SqlError> {
    let visited = plan.apply_with_subqueries(|node| {
        check_node(node)?;
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                check_expr(part, unbound)?;
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    visited.map(drop).map_err(SqlError::planning)
}

fn refuse(what: &str, hint: &'static str) -> Result<(), DataFusionError> {
    Err(SqlError::not_allowed(what, hint).into())
}

fn check_node(node: &LogicalPlan) -> Result<(), DataFusionError> {
    let columns = node.schema().fields().len();
    if columns > COLUMNS_MAX {
        let what = "columns in one step";
        return Err(
            SqlError::TooComplex { what, got: columns, max: COLUMNS_MAX, place: None }.into()
        );
    }
    match node {
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::TableScan(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Values(_)
        | LogicalPlan::Explain(_)
        | LogicalPlan::Distinct(_) => Ok(()),
        LogicalPlan::Unnest(_) => refuse("UNNEST", QUERIES_ONLY),
        LogicalPlan::RecursiveQuery(_) => refuse("WITH RECURSIVE", QUERIES_ONLY),
        _ => refuse("this statement", QUERIES_ONLY),
    }
}

fn check_expr(expr: &Expr, unbound: Unbound) -> Result<(), DataFusionError> {
    match expr {
        Expr::Placeholder(_) if unbound == Unbound::Allowed => Ok(()),
        // A pattern for each row would be compiled for each row.
        Expr::Like(like) | Expr::SimilarTo(like) => match like.pattern.as_ref() {
            Expr::Literal(..) => Ok(()),
            Expr::Placeholder(_) if unbound == Unbound::Allowed => Ok(()),
            _ => refuse("a pattern that is no text", "LIKE takes a text as its pattern"),
        },
        Expr::WindowFunction(window) => check_window(window),
        Expr::GroupingSet(_) => {
            refuse("GROUPING SETS, CUBE or ROLLUP", "name what to group by, or UNION the queries")
        }
        Expr::ScalarVariable(..) => refuse("a variable", QUERIES_ONLY),
        Expr::Placeholder(_) => refuse("a placeholder", "write the value into the query"),
        // The engine gives its result another name than it promised, and gives up.
        Expr::SetComparison(_) => refuse("ANY or ALL of a query", "IN, EXISTS, max and min can be"),
        Expr::Unnest(_) => refuse("UNNEST", QUERIES_ONLY),
        Expr::HigherOrderFunction(_) | Expr::Lambda(_) | Expr::LambdaVariable(_) => {
            refuse("a function of functions", QUERIES_ONLY)
        }
        _ => Ok(()),
    }
}

fn check_window(window: &WindowFunction) -> Result<(), DataFusionError> {
    const HINT: &str = "count, sum, avg, min, max and the rank and row functions can be";
    match &window.fun {
        WindowFunctionDefinition::AggregateUDF(aggregate) => {
            if window.params.distinct || !WINDOW_AGGREGATES.contains(&aggregate.name()) {
                let what = format!("{} over a window", aggregate.name());
                return Err(SqlError::not_allowed(what, HINT).into());
            }
            Ok(())
        }
        WindowFunctionDefinition::WindowUDF(_) => Ok(()),
    }
}
