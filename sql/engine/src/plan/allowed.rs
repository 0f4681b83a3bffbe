//! Allowed elements of a plan, and the functions that a query may name.

use std::ops::ControlFlow;

use arrow_schema::DataType;
use datafusion::{
    common::tree_node::{TreeNode, TreeNodeRecursion},
    error::DataFusionError,
    execution::context::SessionState,
    logical_expr::{
        Expr, ExprSchemable, LogicalPlan, WindowFunctionDefinition, expr::WindowFunction,
    },
    sql::sqlparser::ast::{Expr as SqlExpr, ObjectName, Statement},
};
use tidings_sql::{SqlError, limits::COLUMNS_MAX};

use crate::{
    error::{external, planning, unknown},
    functions::WINDOW_AGGREGATES,
    prescan,
    statement::{Flow, PartVisitor, name_of, walk},
};

/// Aggregates and window functions that compare no values.
const TAKE_ALL: &[&str] =
    &["any_value", "count", "first_value", "lag", "last_value", "lead", "nth_value"];

const QUERIES_ONLY: &str = "ask one query over the views";

/// Treatment of placeholders without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnboundPlaceholders {
    Refused,
    /// The plan is described and never runs.
    Allowed,
}

/// Refuses a plan with anything other than a query over the views.
pub(crate) fn check(plan: &LogicalPlan, unbound: UnboundPlaceholders) -> Result<(), SqlError> {
    let visited = plan.apply_with_subqueries(|node| {
        check_node(node)?;
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                check_expr(part, node, unbound)?;
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    visited.map(drop).map_err(planning)
}

fn refuse(what: &str, hint: &'static str) -> Result<(), DataFusionError> {
    Err(external(SqlError::not_allowed(what, hint)))
}

fn check_node(node: &LogicalPlan) -> Result<(), DataFusionError> {
    let columns = node.schema().fields().len();
    if columns > COLUMNS_MAX {
        let what = "columns in one step";
        return Err(external(SqlError::TooComplex {
            what: what.into(),
            got: columns,
            max: COLUMNS_MAX,
            place: None,
        }));
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

fn check_expr(
    expr: &Expr,
    node: &LogicalPlan,
    unbound: UnboundPlaceholders,
) -> Result<(), DataFusionError> {
    match expr {
        Expr::Placeholder(_) if unbound == UnboundPlaceholders::Allowed => Ok(()),
        Expr::Cast(cast) => check_cast(&cast.expr, cast.field.data_type(), node),
        Expr::TryCast(cast) => check_cast(&cast.expr, cast.field.data_type(), node),
        // A pattern that differs by row would be compiled for each row.
        Expr::Like(like) | Expr::SimilarTo(like) => match like.pattern.as_ref() {
            Expr::Literal(..) => Ok(()),
            Expr::Placeholder(_) if unbound == UnboundPlaceholders::Allowed => Ok(()),
            _ => refuse("a pattern that is no text", "LIKE takes a text as its pattern"),
        },
        Expr::WindowFunction(window) => {
            check_window(window)?;
            let params = &window.params;
            let order = params.order_by.iter().map(|sort| &sort.expr);
            check_order(params.partition_by.iter().chain(order), node)?;
            check_added(window.fun.name(), &params.args, node)?;
            check_compared(window.fun.name(), false, &params.args, node)
        }
        Expr::AggregateFunction(call) => {
            let params = &call.params;
            check_order(params.order_by.iter().map(|sort| &sort.expr), node)?;
            check_added(call.func.name(), &params.args, node)?;
            check_compared(call.func.name(), params.distinct, &params.args, node)
        }
        Expr::GroupingSet(_) => {
            refuse("GROUPING SETS, CUBE or ROLLUP", "name what to group by, or UNION the queries")
        }
        Expr::ScalarVariable(..) => refuse("a variable", QUERIES_ONLY),
        Expr::Placeholder(_) => refuse("a placeholder", "write the value into the query"),
        // The engine names this result differently from its schema, and then fails.
        Expr::SetComparison(_) => refuse("ANY or ALL of a query", "IN, EXISTS, max and min can be"),
        Expr::Unnest(_) => refuse("UNNEST", QUERIES_ONLY),
        Expr::HigherOrderFunction(_) | Expr::Lambda(_) | Expr::LambdaVariable(_) => {
            refuse("a function of functions", QUERIES_ONLY)
        }
        _ => Ok(()),
    }
}

/// Refuses to cast a number to a time of day: the engine would accept numbers beyond a day, and
/// adding to them overflows.
fn check_cast(operand: &Expr, to: &DataType, node: &LogicalPlan) -> Result<(), DataFusionError> {
    let is_time = matches!(to, DataType::Time32(_) | DataType::Time64(_));
    let Some(input) = node.inputs().first().copied().filter(|_| is_time) else { return Ok(()) };
    match operand.get_type(input.schema())?.is_numeric() {
        true => refuse("a cast of a number to TIME", "write TIME '12:30:00'"),
        false => Ok(()),
    }
}

/// Refuses to add up types whose sums overflow silently in the engine.
fn check_added(name: &str, operands: &[Expr], node: &LogicalPlan) -> Result<(), DataFusionError> {
    let Some(input) = node.inputs().first().copied() else { return Ok(()) };
    for operand in operands {
        let (what, hint) = match (name, operand.get_type(input.schema())?) {
            ("sum", DataType::Interval(_)) => ("sum() of intervals", "add up numbers"),
            ("avg", DataType::Duration(_)) => {
                ("avg() of durations", "write avg(CAST(end_time - start_time AS BIGINT))")
            }
            _ => continue,
        };
        refuse(what, hint)?;
    }
    Ok(())
}

/// Refuses a function that would compare values without an order.
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

/// Refuses to compare values without an order, which the engine would notice only while it runs.
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
            return Err(external(SqlError::syntax(reason)));
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
                return Err(external(SqlError::not_allowed(what, HINT)));
            }
            Ok(())
        }
        WindowFunctionDefinition::WindowUDF(_) => Ok(()),
    }
}

/// Refuses a call of an unknown function before the engine does, whose error has no position.
pub(crate) fn check_functions(
    statement: &Statement,
    session: &SessionState,
) -> Result<(), SqlError> {
    match walk(statement, &mut UndefinedFunctionVisitor { session }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(unknown) => Err(unknown),
    }
}

/// Visits calls until one is of a function that the session does not have.
struct UndefinedFunctionVisitor<'a> {
    session: &'a SessionState,
}

impl PartVisitor for UndefinedFunctionVisitor<'_> {
    fn pre_visit_expr(&mut self, expr: &SqlExpr) -> Flow {
        let SqlExpr::Function(call) = expr else { return ControlFlow::Continue(()) };
        let name = match call.name.0.as_slice() {
            [part] => part.as_ident().map(name_of),
            _ => None,
        };
        let is_known = name.is_some_and(|name| {
            self.session.scalar_functions().contains_key(&name)
                || self.session.aggregate_functions().contains_key(&name)
                || self.session.window_functions().contains_key(&name)
        });
        match is_known {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(unknown_function(&call.name, self.session)),
        }
    }
}

fn unknown_function(name: &ObjectName, session: &SessionState) -> SqlError {
    let (scalars, aggregates) = (session.scalar_functions(), session.aggregate_functions());
    let known = scalars.keys().chain(aggregates.keys()).chain(session.window_functions().keys());
    let mut known: Vec<&str> = known.map(String::as_str).collect();
    known.sort_unstable();
    known.dedup();
    let place = name.0.first().and_then(|part| part.as_ident());
    let place = place.and_then(|part| prescan::place(part.span.start));
    let mut error = unknown("function", &name.to_string(), known, place);
    if let SqlError::Unknown { hint, .. } = &mut error
        && hint.is_empty()
    {
        "; docs/sql.md lists those there are".clone_into(hint);
    }
    error
}
