//! The functions that a query may call: an allowlist.
//!
//! The engine's functions are allowed by name. Those that can lengthen their text go through
//! [`bounded`]. Functions that make any amount out of a number (`repeat`, `lpad`,
//! `generate_series`, …) or keep every value (`array_agg`, `string_agg`) are not on the list.
//! `ours` has the parts that our own functions for ids, attributes and patterns share, and
//! `operators` turns operators into functions. `sum`, `checked_integers`, `checked_dates` and
//! `checked_times` replace the engine's arithmetic of whole numbers and times, which overflows, and
//! `exact_parts` its parts of a duration.

mod bounded;
mod checked_dates;
mod checked_integers;
mod checked_times;
mod exact_parts;
mod forwarding;
mod operators;
mod ours;
mod pattern;
mod sum;

use std::sync::Arc;

use datafusion::{
    functions::unicode::planner::UnicodeFunctionPlanner,
    functions_aggregate::planner::AggregateFunctionPlanner,
    functions_window::planner::WindowFunctionPlanner,
    logical_expr::{
        AggregateUDF, ScalarUDF, WindowUDF, expr_rewriter::FunctionRewrite, planner::ExprPlanner,
    },
};

use crate::meter::Meter;

pub(crate) use ours::ENTRY;

/// The engine's functions that a query may call.
const SCALARS: &[&str] = &[
    // Of texts.
    "ascii",
    "btrim",
    "character_length",
    "chr",
    "contains",
    "ends_with",
    "initcap",
    "left",
    "lower",
    "ltrim",
    "octet_length",
    "reverse",
    "right",
    "rtrim",
    "split_part",
    "starts_with",
    "substr",
    "to_hex",
    "upper",
    // Of numbers.
    "abs",
    "acos",
    "asin",
    "atan",
    "atan2",
    "cbrt",
    "ceil",
    "cos",
    "degrees",
    "exp",
    "floor",
    "isnan",
    "iszero",
    "ln",
    "log",
    "log10",
    "log2",
    "nanvl",
    "pi",
    "power",
    "radians",
    "round",
    "signum",
    "sin",
    "sqrt",
    "tan",
    "trunc",
    // Of times.
    "current_date",
    "date_bin",
    "date_trunc",
    "from_unixtime",
    "make_date",
    "now",
    "to_date",
    "to_timestamp",
    "to_timestamp_micros",
    "to_timestamp_millis",
    "to_timestamp_nanos",
    "to_timestamp_seconds",
    "to_unixtime",
    // Of anything.
    "arrow_typeof",
    "coalesce",
    "greatest",
    "least",
    "nullif",
    "nvl",
    "nvl2",
];

/// The engine's functions whose result may be longer than their arguments.
const GROWING: &[&str] = &["concat", "concat_ws", "replace"];

/// The engine's aggregates that a query may call.
const AGGREGATES: &[&str] = &[
    "any_value",
    "approx_distinct",
    "approx_median",
    "approx_percentile_cont",
    "avg",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "first_value",
    "last_value",
    "max",
    "median",
    "min",
    "percentile_cont",
    "stddev",
    "stddev_pop",
    "sum",
    "var",
    "var_pop",
];

/// The aggregates that a query may use over a window: they do not read all rows for each row.
pub(crate) const WINDOW_AGGREGATES: &[&str] = &["avg", "count", "max", "min", "sum"];

/// The engine's window functions that a query may call.
const WINDOWS: &[&str] = &[
    "cume_dist",
    "dense_rank",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "nth_value",
    "ntile",
    "percent_rank",
    "rank",
    "row_number",
];

/// Scalar functions that a query may call.
pub(crate) fn scalars(meter: &Arc<Meter>) -> Vec<Arc<ScalarUDF>> {
    let mut functions = Vec::new();
    for function in datafusion::functions::all_default_functions() {
        if checked_times::CHECKED.contains(&function.name()) {
            functions.push(checked_times::checked(function));
        } else if function.name() == exact_parts::NAME {
            functions.push(exact_parts::exact(function));
        } else if SCALARS.contains(&function.name()) {
            functions.push(function);
        } else if GROWING.contains(&function.name()) {
            functions.push(bounded::bounded(function, meter));
        }
    }
    functions.extend(ours::all(meter));
    functions
}

/// Aggregate functions that a query may call.
pub(crate) fn aggregates() -> Vec<Arc<AggregateUDF>> {
    let all = datafusion::functions_aggregate::all_default_aggregate_functions();
    let known = all.into_iter().filter(|function| AGGREGATES.contains(&function.name()));
    let exact = |function: Arc<AggregateUDF>| match function.name() {
        "sum" => sum::exact(function),
        _ => function,
    };
    known.map(exact).collect()
}

/// Window functions that a query may call.
pub(crate) fn windows() -> Vec<Arc<WindowUDF>> {
    let all = datafusion::functions_window::all_default_window_functions();
    all.into_iter().filter(|function| WINDOWS.contains(&function.name())).collect()
}

/// Planners that turn operators and the standard's special call syntax into functions.
pub(crate) fn planners(meter: &Arc<Meter>) -> Vec<Arc<dyn ExprPlanner>> {
    vec![
        Arc::new(operators::OperatorPlanner::new(meter)),
        Arc::new(UnicodeFunctionPlanner),
        // `count(*)`.
        Arc::new(AggregateFunctionPlanner),
        Arc::new(WindowFunctionPlanner),
    ]
}

/// Rewrite that runs after planning.
pub(crate) fn rewrite() -> Arc<dyn FunctionRewrite + Send + Sync> {
    Arc::new(checked_integers::CheckedNegation::new())
}
