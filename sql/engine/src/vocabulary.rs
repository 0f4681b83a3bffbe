//! Names that a query may use, taken from the lists that queries are checked against. Query
//! generators in tests read it, so that they cover a new view, function, clause or type.

use std::sync::Arc;

use tidings_sql::{
    SqlLimits,
    meter::Meter,
    views::{self, FUNCTIONS, VIEWS},
};
use tidings_storage::SystemClock;

use crate::{
    answer::type_name,
    functions,
    statement::{CASTS, CLAUSES, TYPES},
};

/// A column: its name and its type, as answers call it.
pub type ColumnName = (String, &'static str);

/// Names that a query may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    /// Views with their columns.
    pub views: Vec<(&'static str, Vec<ColumnName>)>,
    /// Table functions over a trace.
    pub table_functions: Vec<&'static str>,
    /// Scalar functions.
    pub scalars: Vec<String>,
    /// Aggregate functions.
    pub aggregates: Vec<String>,
    /// Window functions.
    pub windows: Vec<String>,
    /// Clauses, forms of expressions and operators.
    pub clauses: &'static [&'static str],
    /// Forms of a cast.
    pub casts: &'static [&'static str],
    /// Types of a cast.
    pub types: &'static [&'static str],
}

/// Returns all names that a query may use.
#[must_use]
pub fn vocabulary() -> Vocabulary {
    let meter = Arc::new(Meter::new(Arc::new(SystemClock), SqlLimits::default()));
    let views = VIEWS.iter().filter_map(|name| {
        let schema = views::schema(name)?;
        let columns = schema.fields().iter();
        let columns = columns.map(|field| (field.name().clone(), type_name(field.data_type())));
        Some((*name, columns.collect()))
    });
    let sorted = |names: &mut dyn Iterator<Item = &str>| {
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort_unstable();
        names
    };
    Vocabulary {
        views: views.collect(),
        table_functions: FUNCTIONS.to_vec(),
        scalars: sorted(&mut functions::scalars(&meter).iter().map(|function| function.name())),
        aggregates: sorted(&mut functions::aggregates().iter().map(|function| function.name())),
        windows: sorted(
            &mut functions::windows()
                .iter()
                .map(|function| function.name())
                .chain(functions::WINDOW_AGGREGATES.iter().copied()),
        ),
        clauses: CLAUSES,
        casts: CASTS,
        types: TYPES,
    }
}
