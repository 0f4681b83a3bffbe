//! Names for the columns of an answer that have none.
//!
//! The engine names an unnamed column after its own rendering and refuses two equal names, such as
//! a column and a cast of it. Columns are therefore named first, as PostgreSQL names them (a
//! function's name, the column of a cast), and uniquely. Only columns of the outer query are named,
//! because the query may refer to inner names.

use std::collections::HashSet;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, GroupByExpr, Ident, OrderBy, OrderByKind, Query, Select, SelectItem, SetExpr,
    Statement, Subscript, Value,
};
use tidings_sql::SqlError;

use super::name_of;
use crate::{error::duplicate_column, prescan};

/// Name of an expression without a derived name, as in PostgreSQL.
const NAMELESS: &str = "?column?";

/// Names the columns of the query's answer that have no names.
///
/// # Errors
/// Fails if the query gives two columns the same name.
pub(super) fn name(statement: &mut Statement) -> Result<(), SqlError> {
    match statement {
        Statement::Query(query) => name_query(query),
        Statement::Explain { statement, .. } => match statement.as_mut() {
            Statement::Query(query) => name_query(query),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

fn name_query(query: &mut Query) -> Result<(), SqlError> {
    let mut queries = vec![query];
    while let Some(query) = queries.pop() {
        let Query { body, order_by, .. } = query;
        if let SetExpr::Select(select) = body.as_mut() {
            let named = name_select(select)?;
            if select.distinct.is_some() {
                name_order(order_by.as_mut(), &named);
            }
            continue;
        }
        let mut bodies = vec![body.as_mut()];
        while let Some(body) = bodies.pop() {
            match body {
                SetExpr::Select(select) => drop(name_select(select)?),
                SetExpr::Query(query) => queries.push(query),
                SetExpr::SetOperation { left, right, .. } => {
                    bodies.extend([left.as_mut(), right.as_mut()]);
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Replaces expressions in `ORDER BY` of a `SELECT DISTINCT`, which can only use selected columns,
/// by the new names of these columns.
fn name_order(order_by: Option<&mut OrderBy>, named: &[(Expr, Ident)]) {
    let Some(OrderBy { kind: OrderByKind::Expressions(order), .. }) = order_by else { return };
    for by in order {
        if let Some((_, alias)) = named.iter().find(|(expr, _)| *expr == by.expr) {
            by.expr = Expr::Identifier(alias.clone());
        }
    }
}

/// Names the columns. Returns the expressions that were named, with their names.
fn name_select(select: &mut Select) -> Result<Vec<(Expr, Ident)>, SqlError> {
    let mut taken = HashSet::new();
    let mut has_wildcard = false;
    for item in &select.projection {
        match item {
            SelectItem::ExprWithAlias { alias, .. } => {
                let name = name_of(alias);
                if !taken.insert(name.clone()) {
                    return Err(SqlError::syntax(duplicate_column(&name))
                        .at(prescan::place(alias.span.start)));
                }
            }
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => has_wildcard = true,
            SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAliases { .. } => {}
        }
    }
    let may_take_columns = !has_wildcard && !is_grouped(select);
    let of_one = matches!(select.from.as_slice(), [from] if from.joins.is_empty());
    // Columns of several tables may have the same name, but one column may not occur twice.
    let key = |expr: &Expr| match expr {
        Expr::CompoundIdentifier(parts) if !of_one => {
            Some(parts.iter().map(name_of).collect::<Vec<_>>().join("."))
        }
        _ => column(expr),
    };
    let (mut columns, mut named) = (HashSet::new(), Vec::new());
    for item in &select.projection {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        taken.extend(column(expr));
    }
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        if key(expr).is_some_and(|key| columns.insert(key)) {
            continue;
        }
        // Any other name may be one of the columns that a wildcard stands for.
        if has_wildcard && !is_cast(expr) {
            continue;
        }
        let name = derived_name(expr, may_take_columns);
        let name = free(&name, &taken);
        taken.insert(name.clone());
        let alias = Ident::with_quote('"', name);
        let expr = std::mem::replace(expr, Expr::Value(Value::Null.with_empty_span()));
        named.push((expr.clone(), alias.clone()));
        *item = SelectItem::ExprWithAlias { expr, alias };
    }
    Ok(named)
}

/// Reports whether other clauses of the query could take the name of a column for a column of the
/// answer.
fn is_grouped(select: &Select) -> bool {
    let groups = match &select.group_by {
        GroupByExpr::Expressions(exprs, _) => !exprs.is_empty(),
        GroupByExpr::All(_) => true,
    };
    groups || select.having.is_some()
}

/// Returns the name, or the first numbered variant of it that is not taken.
fn free(name: &str, taken: &HashSet<String>) -> String {
    let numbered = (2_u32..).map(|number| format!("{name}_{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names.find(|name| !taken.contains(name)).unwrap_or_default()
}

/// Reports whether the engine would name the expression after a column.
fn is_cast(expr: &Expr) -> bool {
    matches!(expr, Expr::Cast { .. } | Expr::Nested(_)) || column(expr).is_some()
}

/// Returns the column's name if the expression is only a column.
fn column(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(name) => Some(name_of(name)),
        Expr::CompoundIdentifier(parts) => parts.last().map(name_of),
        _ => None,
    }
}

/// Returns the name that is derived from the expression.
fn derived_name(expr: &Expr, may_take_columns: bool) -> String {
    let mut expr = expr;
    // The depth of nested brackets and casts is bounded.
    loop {
        expr = match expr {
            Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => inner,
            _ => break,
        };
    }
    let word = match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
            let name = column(expr).filter(|_| may_take_columns);
            return name.unwrap_or_else(|| "cast".to_owned());
        }
        Expr::Function(call) => {
            let name = call.name.0.last().and_then(|part| part.as_ident()).map(name_of);
            return name.unwrap_or_else(|| NAMELESS.to_owned());
        }
        Expr::CompoundFieldAccess { access_chain, .. } => {
            return key_of(access_chain).unwrap_or_else(|| NAMELESS.to_owned());
        }
        Expr::Case { .. } => "case",
        Expr::Extract { .. } => "extract",
        Expr::Substring { .. } => "substring",
        Expr::Trim { .. } => "trim",
        Expr::Position { .. } => "position",
        Expr::Ceil { .. } => "ceil",
        Expr::Floor { .. } => "floor",
        Expr::AtTimeZone { .. } => "timezone",
        _ => NAMELESS,
    };
    word.to_owned()
}

/// Returns the key of an attribute.
fn key_of(chain: &[AccessExpr]) -> Option<String> {
    match chain {
        [AccessExpr::Subscript(Subscript::Index { index: Expr::Value(value) })] => {
            match &value.value {
                Value::SingleQuotedString(key) => Some(key.clone()),
                _ => None,
            }
        }
        _ => None,
    }
}
