//! Bounds the `LIMIT` of a query by the rows of an answer: the engine reserves memory for the number
//! that is written.

use datafusion::sql::sqlparser::ast::{Expr, LimitClause, Statement, Value};

/// Lowers the limit of the query to one row more than its answer may have, by which it is known
/// that there are more. Limits within the query stay: what is beyond them is not the answer's.
pub(crate) fn bound(statement: &mut Statement, rows_max: usize) {
    let most = rows_max.saturating_add(1) as u64;
    let Statement::Query(query) = statement else { return };
    let Some(LimitClause::LimitOffset { limit: Some(Expr::Value(limit)), .. }) =
        &mut query.limit_clause
    else {
        return;
    };
    if let Value::Number(digits, _) = &mut limit.value
        && digits.parse::<u64>().is_ok_and(|number| number > most)
    {
        *digits = most.to_string();
    }
}
