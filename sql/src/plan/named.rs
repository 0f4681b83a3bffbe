//! The functions that a query names, looked up before the engine does: it knows no place.

use std::ops::ControlFlow;

use datafusion::{
    execution::context::SessionState,
    sql::sqlparser::ast::{Expr, Statement, visit_expressions},
};

use crate::{SqlError, prescan, statement::name_of};

/// Refuses a call of a function that is not there.
pub(crate) fn check(statement: &Statement, session: &SessionState) -> Result<(), SqlError> {
    let (scalars, aggregates) = (session.scalar_functions(), session.aggregate_functions());
    let windows = session.window_functions();
    let unknown = visit_expressions(statement, |expr| {
        let Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
        let name = match call.name.0.as_slice() {
            [part] => part.as_ident().map(name_of),
            _ => None,
        };
        let is_known = name.is_some_and(|name| {
            scalars.contains_key(&name)
                || aggregates.contains_key(&name)
                || windows.contains_key(&name)
        });
        match is_known {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(call.name.clone()),
        }
    });
    let ControlFlow::Break(name) = unknown else { return Ok(()) };
    let known = scalars.keys().chain(aggregates.keys()).chain(windows.keys());
    let mut known: Vec<&str> = known.map(String::as_str).collect();
    known.sort_unstable();
    known.dedup();
    let place = name.0.first().and_then(|part| part.as_ident());
    let place = place.and_then(|part| prescan::place(part.span.start));
    let mut unknown = SqlError::unknown("function", &name.to_string(), known, place);
    if let SqlError::Unknown { hint, .. } = &mut unknown
        && hint.is_empty()
    {
        "; docs/sql.md lists those there are".clone_into(hint);
    }
    Err(unknown)
}
