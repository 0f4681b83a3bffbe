//! The clauses, operators and types of a query: an allowlist.
//!
//! [`Elements`] names each part of a statement's syntax tree, in the order in which the parser's
//! visitor meets them. A part whose name is on the lists passes; any other is refused. Generators
//! of queries in tests read the same lists. Names of views and functions are checked elsewhere.

mod element_names;

use std::{collections::BTreeSet, ops::ControlFlow};

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Distinct, DuplicateTreatment, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList, FunctionArguments, GroupByExpr,
    Join, JoinConstraint, JoinOperator, LimitClause, NamedWindowExpr, OrderBy, OrderByExpr,
    OrderByKind, Query, Select, SelectItem, SetExpr, Spanned, TableFactor, Value, WindowFrame,
    WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
};
use tidings_sql::SqlError;

use super::{Flow, PLAIN, place, refuse};
use element_names::{condition, is_plain, nulls, set_operation, type_name, value};

pub(crate) use element_names::{CASTS, CLAUSES, TYPES};

const JOINS: &str = "JOIN with ON or USING, LEFT, RIGHT, FULL, CROSS and LEFT SEMI JOIN can be";

/// A cast of a value that is itself the result of a cast: its form, the inner type, and its own
/// type.
pub type CastPair = (&'static str, &'static str, &'static str);

/// Listed elements that a statement is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Elements {
    /// Clauses, forms of expressions and operators.
    pub clauses: BTreeSet<&'static str>,
    /// Types that values are cast to.
    pub types: BTreeSet<&'static str>,
    /// Casts of casts.
    pub casts: BTreeSet<CastPair>,
}

impl Elements {
    /// Adds a clause, which must be on the list.
    pub(super) fn clause(&mut self, clause: &str, at: &impl Spanned) -> Flow {
        let Some(listed) = CLAUSES.iter().find(|listed| **listed == clause) else {
            return refuse(clause, PLAIN, at);
        };
        self.clauses.insert(listed);
        ControlFlow::Continue(())
    }

    /// Adds the clauses of a query, without its parts.
    pub(super) fn query(&mut self, query: &Query) -> Flow {
        if query.with.is_some() {
            self.clause("WITH", query)?;
        }
        if let Some(OrderBy { kind, interpolate }) = &query.order_by {
            self.clause("ORDER BY", query)?;
            match kind {
                OrderByKind::Expressions(order) if interpolate.is_none() => self.order(order)?,
                _ => return refuse("this form of ORDER BY", "name what to sort by", query),
            }
        }
        match &query.limit_clause {
            None => {}
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
                for (is_there, clause) in [(limit.is_some(), "LIMIT"), (offset.is_some(), "OFFSET")]
                {
                    if is_there {
                        self.clause(clause, query)?;
                    }
                }
            }
            Some(_) => return refuse("this form of LIMIT", "write LIMIT 10 OFFSET 20", query),
        }
        self.body(&query.body)
    }

    fn body(&mut self, body: &SetExpr) -> Flow {
        let mut bodies = vec![body];
        while let Some(body) = bodies.pop() {
            match body {
                SetExpr::Values(_) => self.clause("VALUES", body)?,
                SetExpr::SetOperation { op, set_quantifier, left, right } => {
                    self.clause(&set_operation(*op, *set_quantifier), body)?;
                    bodies.extend([left.as_ref(), right.as_ref()]);
                }
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }

    fn order(&mut self, order: &[OrderByExpr]) -> Flow {
        for by in order {
            if by.with_fill.is_some() {
                return refuse("WITH FILL", PLAIN, by);
            }
            match by.options.asc {
                Some(true) => self.clause("ASC", by)?,
                Some(false) => self.clause("DESC", by)?,
                None => {}
            }
            match by.options.nulls_first {
                Some(true) => self.clause("NULLS FIRST", by)?,
                Some(false) => self.clause("NULLS LAST", by)?,
                None => {}
            }
        }
        ControlFlow::Continue(())
    }

    /// Adds the clauses of a SELECT, without its parts.
    pub(super) fn select(&mut self, select: &Select) -> Flow {
        match &select.distinct {
            Some(Distinct::Distinct) => self.clause("DISTINCT", select)?,
            Some(Distinct::On(_)) => self.clause("DISTINCT ON", select)?,
            Some(Distinct::All) | None => {}
        }
        select.projection.iter().try_for_each(|item| self.item(item))?;
        let grouped = matches!(&select.group_by, GroupByExpr::Expressions(by, _) if !by.is_empty());
        for (is_there, clause) in [
            (select.top.is_some(), "TOP"),
            (select.from.len() > 1, "FROM a, b"),
            (select.selection.is_some(), "WHERE"),
            (grouped, "GROUP BY"),
            (select.having.is_some(), "HAVING"),
            (!select.named_window.is_empty(), "WINDOW"),
            (select.qualify.is_some(), "QUALIFY"),
        ] {
            if is_there {
                self.clause(clause, select)?;
            }
        }
        for window in &select.named_window {
            match &window.1 {
                NamedWindowExpr::WindowSpec(spec) => self.window(spec, select)?,
                NamedWindowExpr::NamedWindow(_) => return refuse(REUSED_WINDOW, SPELT_OUT, select),
            }
        }
        select.from.iter().flat_map(|from| &from.joins).try_for_each(|join| self.join(join))
    }

    fn item(&mut self, item: &SelectItem) -> Flow {
        match item {
            SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. } => {
                ControlFlow::Continue(())
            }
            SelectItem::Wildcard(options) if is_plain(options) => self.clause("SELECT *", item),
            SelectItem::QualifiedWildcard(_, options) if is_plain(options) => {
                self.clause("SELECT a.*", item)
            }
            _ => refuse("this form of *", "name the columns", item),
        }
    }

    fn join(&mut self, join: &Join) -> Flow {
        let (kind, constraint) = match &join.join_operator {
            _ if join.global => return refuse("GLOBAL", JOINS, join),
            JoinOperator::Join(on) | JoinOperator::Inner(on) => ("JOIN", on),
            JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => ("LEFT JOIN", on),
            JoinOperator::Right(on) | JoinOperator::RightOuter(on) => ("RIGHT JOIN", on),
            JoinOperator::FullOuter(on) => ("FULL JOIN", on),
            JoinOperator::CrossJoin(on) => ("CROSS JOIN", on),
            JoinOperator::LeftSemi(on) => ("LEFT SEMI JOIN", on),
            JoinOperator::RightSemi(on) => ("RIGHT SEMI JOIN", on),
            JoinOperator::LeftAnti(on) => ("LEFT ANTI JOIN", on),
            JoinOperator::RightAnti(on) => ("RIGHT ANTI JOIN", on),
            _ => return refuse("this form of JOIN", JOINS, join),
        };
        self.clause(kind, join)?;
        match constraint {
            JoinConstraint::On(_) => self.clause("ON", join),
            JoinConstraint::Using(_) => self.clause("USING", join),
            JoinConstraint::Natural => self.clause("NATURAL", join),
            JoinConstraint::None => ControlFlow::Continue(()),
        }
    }

    /// Adds the form of a relation in FROM, without its name.
    pub(super) fn factor(&mut self, factor: &TableFactor) -> Flow {
        match factor {
            TableFactor::Table { args: Some(_), .. } => self.clause("FROM f()", factor),
            TableFactor::Derived { .. } => self.clause("FROM (SELECT)", factor),
            TableFactor::NestedJoin { table_with_joins, .. } => {
                self.clause("FROM (a JOIN b)", factor)?;
                table_with_joins.joins.iter().try_for_each(|join| self.join(join))
            }
            _ => ControlFlow::Continue(()),
        }
    }

    /// Adds an expression, without its operands.
    pub(super) fn expr(&mut self, expr: &Expr) -> Flow {
        match expr {
            Expr::Identifier(_)
            | Expr::CompoundIdentifier(_)
            | Expr::Value(_)
            | Expr::Nested(_) => ControlFlow::Continue(()),
            Expr::Function(call) => self.call(call),
            Expr::Cast { .. } => self.cast(expr),
            Expr::TypedString(text) => {
                self.data_type(&text.data_type, expr)?;
                self.clause("TYPE 'text'", expr)
            }
            Expr::BinaryOp { op, .. } => self.operator(op, expr),
            Expr::Like { escape_char: Some(_), .. }
            | Expr::ILike { escape_char: Some(_), .. }
            | Expr::SimilarTo { escape_char: Some(_), .. } => {
                self.clause("ESCAPE", expr)?;
                condition(expr).map_or_else(|| refused(expr), |clause| self.clause(clause, expr))
            }
            _ => match condition(expr).or_else(|| value(expr)) {
                Some(clause) => self.clause(clause, expr),
                None => refused(expr),
            },
        }
    }

    fn operator(&mut self, operator: &BinaryOperator, at: &Expr) -> Flow {
        let name = operator.to_string();
        // Operators that are words belong to other dialects, except for the listed ones.
        let is_listed = CLAUSES.contains(&name.as_str())
            && (matches!(operator, BinaryOperator::And | BinaryOperator::Or)
                || !name.starts_with(|sign: char| sign.is_ascii_alphabetic()));
        match is_listed {
            true => self.clause(&name, at),
            false => refuse(format!("the operator {name}"), PLAIN, at),
        }
    }

    fn cast(&mut self, cast: &Expr) -> Flow {
        let Expr::Cast { kind, expr, data_type, array: false, format: None } = cast else {
            return refuse("this form of CAST", "write CAST(value AS type)", cast);
        };
        let form = match kind {
            CastKind::Cast => "CAST",
            CastKind::TryCast => "TRY_CAST",
            CastKind::DoubleColon => "::",
            CastKind::SafeCast => return refuse("SAFE_CAST", "write TRY_CAST", cast),
        };
        let to = self.data_type(data_type, cast)?;
        let mut inner = expr.as_ref();
        // The depth of nested brackets is bounded.
        while let Expr::Nested(nested) = inner {
            inner = nested;
        }
        if let Expr::Cast { data_type, .. } = inner
            && let Some(from) = type_name(data_type)
        {
            self.casts.insert((form, from, to));
        }
        ControlFlow::Continue(())
    }

    fn data_type(
        &mut self,
        data_type: &DataType,
        at: &Expr,
    ) -> ControlFlow<SqlError, &'static str> {
        let Some(name) = type_name(data_type).filter(|name| TYPES.contains(name)) else {
            let what =
                format!("the type {}", data_type.to_string().chars().take(100).collect::<String>());
            let hint = "docs/sql.md lists the types there are";
            return ControlFlow::Break(SqlError::not_allowed(what, hint).at(place(at)));
        };
        self.types.insert(name);
        ControlFlow::Continue(name)
    }

    fn call(&mut self, call: &Function) -> Flow {
        let Function { parameters, args, filter, null_treatment, over, within_group, .. } = call;
        if !matches!(parameters, FunctionArguments::None) {
            return refuse("a second list of arguments", PLAIN, call);
        }
        if filter.is_some() {
            self.clause("FILTER", call)?;
        }
        if let Some(treatment) = null_treatment {
            self.clause(nulls(*treatment), call)?;
        }
        if !within_group.is_empty() {
            self.clause("WITHIN GROUP", call)?;
            self.order(within_group)?;
        }
        match over {
            None => {}
            Some(WindowType::NamedWindow(_)) => self.clause("OVER w", call)?,
            Some(WindowType::WindowSpec(spec)) => {
                self.clause("OVER ()", call)?;
                self.window(spec, call)?;
            }
        }
        match args {
            FunctionArguments::None => ControlFlow::Continue(()),
            FunctionArguments::List(list) => self.arguments(list, call),
            FunctionArguments::Subquery(_) => {
                refuse("a query for arguments", "put it into brackets of its own", call)
            }
        }
    }

    fn arguments(&mut self, list: &FunctionArgumentList, call: &Function) -> Flow {
        match list.duplicate_treatment {
            Some(DuplicateTreatment::Distinct) => self.clause("f(DISTINCT x)", call)?,
            Some(DuplicateTreatment::All) => self.clause("f(ALL x)", call)?,
            None => {}
        }
        for argument in &list.args {
            match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(_)) => {}
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => self.clause("f(*)", call)?,
                FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(_)) => {
                    self.clause("f(a.*)", call)?;
                }
                FunctionArg::Named { arg: FunctionArgExpr::Expr(_), .. }
                | FunctionArg::ExprNamed { arg: FunctionArgExpr::Expr(_), .. } => {
                    self.clause("f(name => x)", call)?;
                }
                _ => return refuse("this argument", PLAIN, argument),
            }
        }
        for clause in &list.clauses {
            match clause {
                FunctionArgumentClause::IgnoreOrRespectNulls(treatment) => {
                    self.clause(nulls(*treatment), call)?;
                }
                FunctionArgumentClause::OrderBy(order) => {
                    self.clause("f(x ORDER BY y)", call)?;
                    self.order(order)?;
                }
                _ => return refuse("this clause of a call", PLAIN, clause),
            }
        }
        ControlFlow::Continue(())
    }

    fn window(&mut self, window: &WindowSpec, at: &impl Spanned) -> Flow {
        let WindowSpec { window_name, partition_by, order_by, window_frame } = window;
        if window_name.is_some() {
            // The engine would ignore the definition of the named window.
            return refuse(REUSED_WINDOW, SPELT_OUT, at);
        }
        if !partition_by.is_empty() {
            self.clause("PARTITION BY", at)?;
        }
        if !order_by.is_empty() {
            self.clause("OVER (ORDER BY)", at)?;
            self.order(order_by)?;
        }
        let Some(WindowFrame { units, start_bound, end_bound }) = window_frame else {
            return ControlFlow::Continue(());
        };
        let units = match units {
            WindowFrameUnits::Rows => "ROWS",
            WindowFrameUnits::Range => "RANGE",
            WindowFrameUnits::Groups => "GROUPS",
        };
        self.clause(units, at)?;
        let is_in_rows = units != "RANGE";
        [Some(start_bound), end_bound.as_ref()].into_iter().flatten().try_for_each(|bound| {
            if let WindowFrameBound::Preceding(Some(count))
            | WindowFrameBound::Following(Some(count)) = bound
                && is_in_rows
                && is_beyond(count, FRAME_ROWS_MAX)
            {
                return refuse("a window of more than 1,000,000,000 rows", UNBOUNDED, at);
            }
            let bound = match bound {
                WindowFrameBound::CurrentRow => "CURRENT ROW",
                WindowFrameBound::Preceding(None) => "UNBOUNDED PRECEDING",
                WindowFrameBound::Preceding(Some(_)) => "n PRECEDING",
                WindowFrameBound::Following(None) => "UNBOUNDED FOLLOWING",
                WindowFrameBound::Following(Some(_)) => "n FOLLOWING",
            };
            self.clause(bound, at)
        })
    }
}

/// Returns true if an expression is a number above `max`.
fn is_beyond(count: &Expr, max: u64) -> bool {
    let Expr::Value(value) = count else { return false };
    match &value.value {
        Value::Number(digits, _) => digits.parse().map_or(true, |count: u64| count > max),
        _ => false,
    }
}

/// Maximum rows before or after a row in its window, far above those of any answer: the engine adds
/// the number to positions of 64 bits.
const FRAME_ROWS_MAX: u64 = 1_000_000_000;
const UNBOUNDED: &str = "write UNBOUNDED";
const REUSED_WINDOW: &str = "a window made of another";
const SPELT_OUT: &str = "write out what the window is";

/// Refuses a form whose name is not on the list.
fn refused(expr: &Expr) -> Flow {
    match expr {
        // The engine writes out all combinations before they can be counted.
        Expr::Cube(_) | Expr::Rollup(_) | Expr::GroupingSets(_) => {
            let hint = "name what to group by, or UNION the queries";
            refuse("GROUPING SETS, CUBE or ROLLUP", hint, expr)
        }
        Expr::Tuple(_) => refuse("several values in brackets", "name them one by one", expr),
        Expr::Array(_) => refuse("ARRAY", PLAIN, expr),
        Expr::Collate { .. } => refuse("COLLATE", PLAIN, expr),
        Expr::Overlay { .. } => {
            refuse("OVERLAY", "put the parts together with substr and ||", expr)
        }
        Expr::AnyOp { .. } | Expr::AllOp { .. } => {
            refuse("ANY or ALL of a query", "IN, EXISTS, max and min can be", expr)
        }
        Expr::UnaryOp { op, .. } => refuse(format!("the operator {op}"), PLAIN, expr),
        _ => refuse("this form of expression", PLAIN, expr),
    }
}
