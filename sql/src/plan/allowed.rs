//! Allowed elements of a plan.

use arrow_schema::DataType;
use datafusion::{
    common::tree_node::{TreeNode, TreeNodeRecursion},
    error::DataFusionError,
    logical_expr::{
        Expr, ExprSchemable, LogicalPlan, WindowFunctionDefinition, expr::WindowFunction,
    },
};

use crate::{SqlError, functions::WINDOW_AGGREGATES, limits::COLUMNS_MAX};

/// Aggregates and window functions that compare nothing.
const TAKE_ALL: &[&str] =
    &["any_value", "count", "first_value", "lag", "last_value", "lead", "nth_value"];

const QUERIES_ONLY: &str = "ask one query over the views";

/// Treatment of a placeholder without a value.
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
                check_expr(part, node, unbound)?;
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
        return Err(SqlError::TooComplex {
            what: what.into(),
            got: columns,
            max: COLUMNS_MAX,
            place: None,
        }
        .into());
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

fn check_expr(expr: &Expr, node: &LogicalPlan, unbound: Unbound) -> Result<(), DataFusionError> {
    match expr {
        Expr::Placeholder(_) if unbound == Unbound::Allowed => Ok(()),
        // A pattern for each row would be compiled for each row.
        Expr::Like(like) | Expr::SimilarTo(like) => match like.pattern.as_ref() {
            Expr::Literal(..) => Ok(()),
            Expr::Placeholder(_) if unbound == Unbound::Allowed => Ok(()),
            _ => refuse("a pattern that is no text", "LIKE takes a text as its pattern"),
        },
        Expr::WindowFunction(window) => {
            check_window(window)?;
            let params = &window.params;
            let order = params.order_by.iter().map(|sort| &sort.expr);
            check_order(params.partition_by.iter().chain(order), node)?;
            check_compared(window.fun.name(), false, &params.args, node)
        }
        Expr::AggregateFunction(call) => {
            let params = &call.params;
            check_order(params.order_by.iter().map(|sort| &sort.expr), node)?;
            check_compared(call.func.name(), params.distinct, &params.args, node)
        }
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

/// Refuses a function that would compare what has no order.
fn check_compared(
    name: &str,
    distinct: bool,
    operands: &[Expr],
    node: &LogicalPlan,
) -> Result<(), DataFusionError> {
    match TAKE_ALL.contains(&name) && !distinct {
        true => Ok(()),
        false => check_order(operands, node),
    }
}

/// Refuses to compare what has no order: the engine finds that out while it runs.
fn check_order<'a>(
    operands: impl IntoIterator<Item = &'a Expr>,
    node: &LogicalPlan,
) -> Result<(), DataFusionError> {
    let Some(input) = node.inputs().first().copied() else { return Ok(()) };
    for operand in operands {
        if matches!(operand.get_type(input.schema())?, DataType::Map(..)) {
            let reason = format!(
                "{operand} is a map and has no order; name one of its values, as in \
                 attributes['http.route']"
            );
            return Err(SqlError::syntax(reason).into());
        }
    }
    Ok(())
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
