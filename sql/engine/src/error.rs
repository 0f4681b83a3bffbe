//! Translates the engine's errors into [`SqlError`], and those into the engine's.
//!
//! Our own errors pass unchanged. An error about an unknown name is replaced by one with the likely
//! name; `wording` rewrites the others. The engine calls many mistakes of clients internal errors
//! (a text in place of a number, a plan that it cannot make). They count as errors of the query
//! here.

mod wording;

use datafusion::{
    common::{Column, SchemaError, Span},
    error::DataFusionError,
};
use tidings_query::suggest;
use tidings_sql::{QueryPosition, SqlError, UNABLE};

pub(crate) use wording::duplicate_column;
use wording::{first_line, worded};

/// Maximum number of names that are listed when none of them is near.
const LISTED_MAX: usize = 40;

/// Translates an error of planning.
pub(crate) fn planning(error: DataFusionError) -> SqlError {
    let place = place_of(&error);
    if let DataFusionError::SchemaError(reason, _) = error.find_root()
        && let Some(unknown) = of_columns(reason)
    {
        return unknown.at(place);
    }
    from_engine(error, SqlError::syntax).at(place)
}

/// Translates an error of execution.
pub(crate) fn running(error: DataFusionError) -> SqlError {
    from_engine(error, |reason| SqlError::Evaluation { reason })
}

/// Builds the error for an unknown name among the known ones.
pub(crate) fn unknown<'a>(
    what: &'static str,
    name: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
    place: Option<QueryPosition>,
) -> SqlError {
    let name: String = name.chars().take(100).collect();
    let mut hint = suggest::did_you_mean(&name, known.clone());
    if hint.is_empty() {
        let names: Vec<&str> = known.into_iter().take(LISTED_MAX + 1).collect();
        if (1..=LISTED_MAX).contains(&names.len()) {
            hint = format!("; there are {}", names.join(", "));
        }
    }
    SqlError::Unknown { what: what.into(), name, hint, place }
}

fn from_engine(error: DataFusionError, other: impl FnOnce(String) -> SqlError) -> SqlError {
    // Several operators may share one error, which can then only be copied.
    if let DataFusionError::External(inner) = error.find_root()
        && let Some(ours) = inner.downcast_ref::<SqlError>().and_then(copied)
    {
        return ours;
    }
    match error.find_root() {
        DataFusionError::ResourcesExhausted(reason) => {
            return SqlError::Memory { reason: first_line(reason) };
        }
        // A task of the plan panicked. Its message is in the log.
        DataFusionError::ExecutionJoin(_) => return SqlError::Ended { reason: UNABLE.into() },
        _ => {}
    }
    match unwrapped(error) {
        Ok(ours) => ours,
        Err(root) => other(worded(&root.message())),
    }
}

fn copied(error: &SqlError) -> Option<SqlError> {
    Some(match error {
        SqlError::Deadline { limit } => SqlError::Deadline { limit: *limit },
        SqlError::Cancelled => SqlError::Cancelled,
        SqlError::Memory { reason } => SqlError::Memory { reason: reason.clone() },
        SqlError::Evaluation { reason } => SqlError::Evaluation { reason: reason.clone() },
        SqlError::Scan => SqlError::Scan,
        SqlError::Ended { reason } => SqlError::Ended { reason: reason.clone() },
        SqlError::Defect { reason } => SqlError::Defect { reason: reason.clone() },
        _ => return None,
    })
}

/// Passes our own error through the engine.
pub(crate) fn external(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Returns the position that the engine reports.
fn place_of(error: &DataFusionError) -> Option<QueryPosition> {
    let mut inner = error;
    // Operators add contexts, and the number of operators in a plan is bounded.
    loop {
        inner = match inner {
            DataFusionError::Diagnostic(said, _) if said.span.is_some() => {
                return said.span.as_ref().and_then(start_position);
            }
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => inner,
            DataFusionError::Collection(errors) => errors.first()?,
            DataFusionError::SchemaError(reason, _) => {
                return match reason.as_ref() {
                    SchemaError::FieldNotFound { field, .. }
                    | SchemaError::AmbiguousReference { field } => {
                        field.spans().first().as_ref().and_then(start_position)
                    }
                    _ => None,
                };
            }
            _ => return None,
        }
    }
}

fn start_position(span: &Span) -> Option<QueryPosition> {
    let (line, column) = (span.start.line, span.start.column);
    (line > 0).then_some(QueryPosition { line, column })
}

/// Translates an error about a column.
fn of_columns(reason: &SchemaError) -> Option<SqlError> {
    match reason {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let of_relation =
                |known: &&Column| field.relation.is_none() || known.relation == field.relation;
            let known = valid_fields.iter().filter(of_relation).map(Column::name);
            let mut known: Vec<&str> = known.collect();
            known.sort_unstable();
            known.dedup();
            let mut error = unknown("column", field.name(), known, None);
            if let (SqlError::Unknown { name, .. }, Some(relation)) = (&mut error, &field.relation)
            {
                *name = format!("{relation}.{name}").chars().take(100).collect();
            }
            Some(error)
        }
        SchemaError::AmbiguousReference { field } => {
            let name = field.name();
            let reason = format!("several tables have a column `{name}`: put its table before it");
            Some(SqlError::syntax(reason))
        }
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => {
            Some(SqlError::syntax(duplicate_column(name)))
        }
    }
}

/// Returns our own error if one came through the engine, otherwise the engine's innermost error.
fn unwrapped(mut error: DataFusionError) -> Result<SqlError, DataFusionError> {
    // Operators add contexts, and the number of operators in a plan is bounded.
    loop {
        error = match error {
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => *inner,
            DataFusionError::External(inner) => {
                return match inner.downcast::<SqlError>() {
                    Ok(ours) => Ok(*ours),
                    Err(inner) => match inner.downcast::<DataFusionError>() {
                        Ok(inner) => {
                            error = *inner;
                            continue;
                        }
                        Err(inner) => Err(DataFusionError::External(inner)),
                    },
                };
            }
            DataFusionError::Shared(shared) => match std::sync::Arc::try_unwrap(shared) {
                Ok(inner) => inner,
                Err(shared) => {
                    return Err(DataFusionError::Execution(shared.find_root().message().into()));
                }
            },
            DataFusionError::ArrowError(arrow, backtrace) => match *arrow {
                datafusion::arrow::error::ArrowError::ExternalError(inner) => {
                    DataFusionError::External(inner)
                }
                arrow => return Err(DataFusionError::ArrowError(Box::new(arrow), backtrace)),
            },
            other => return Err(other),
        }
    }
}
