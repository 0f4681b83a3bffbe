//! The functions that a query may call: an allowlist.
//!
//! The engine's functions are named one by one: a list of all that is filtered by name would keep
//! the code of all in the program. Those that can lengthen their text go through [`bounded`].
//! Functions that make any amount out of a number (`repeat`, `lpad`, `generate_series`, …) or keep
//! every value (`array_agg`, `string_agg`) are not on the list.
//! `text_functions` has the parts that our own functions for ids, attributes and patterns share, and
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
mod pattern;
mod sum;
mod text_functions;

use std::sync::Arc;

use datafusion::{
    common::config::ConfigOptions,
    functions::{self as engine, unicode::planner::UnicodeFunctionPlanner},
    functions_aggregate::{self as engine_aggregates, planner::AggregateFunctionPlanner},
    functions_window::planner::WindowFunctionPlanner,
    logical_expr::{
        AggregateUDF, ScalarUDF, WindowUDF, expr_rewriter::FunctionRewrite, planner::ExprPlanner,
    },
};
use tidings_sql::meter::Meter;

pub(crate) use text_functions::ENTRY;

/// The engine's functions whose result may be longer than their arguments.
const GROWING: &[&str] = &["concat", "concat_ws", "replace"];

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
    let of_engine = [of_texts(), of_numbers(), of_times(), of_anything()].concat();
    let mut functions = Vec::with_capacity(of_engine.len());
    for function in of_engine {
        if checked_times::CHECKED.contains(&function.name()) {
            functions.push(checked_times::checked(function));
        } else if function.name() == exact_parts::NAME {
            functions.push(exact_parts::exact(function));
        } else if GROWING.contains(&function.name()) {
            functions.push(bounded::bounded(function, meter));
        } else {
            functions.push(function);
        }
    }
    functions.extend(text_functions::all(meter));
    functions
}

/// The engine's functions of texts that a query may call.
fn of_texts() -> Vec<Arc<ScalarUDF>> {
    vec![
        engine::string::ascii(),
        engine::string::btrim(),
        engine::unicode::character_length(),
        engine::string::chr(),
        engine::string::concat(),
        engine::string::concat_ws(),
        engine::string::contains(),
        engine::string::ends_with(),
        engine::unicode::initcap(),
        engine::unicode::left(),
        engine::string::lower(),
        engine::string::ltrim(),
        engine::string::octet_length(),
        engine::string::replace(),
        engine::unicode::reverse(),
        engine::unicode::right(),
        engine::string::rtrim(),
        engine::string::split_part(),
        engine::string::starts_with(),
        engine::unicode::substr(),
        engine::string::to_hex(),
        engine::string::upper(),
    ]
}

/// The engine's functions of numbers that a query may call.
fn of_numbers() -> Vec<Arc<ScalarUDF>> {
    vec![
        engine::math::abs(),
        engine::math::acos(),
        engine::math::asin(),
        engine::math::atan(),
        engine::math::atan2(),
        engine::math::cbrt(),
        engine::math::ceil(),
        engine::math::cos(),
        engine::math::degrees(),
        engine::math::exp(),
        engine::math::floor(),
        engine::math::isnan(),
        engine::math::iszero(),
        engine::math::ln(),
        engine::math::log(),
        engine::math::log10(),
        engine::math::log2(),
        engine::math::nanvl(),
        engine::math::pi(),
        engine::math::power(),
        engine::math::radians(),
        engine::math::round(),
        engine::math::signum(),
        engine::math::sin(),
        engine::math::sqrt(),
        engine::math::tan(),
        engine::math::trunc(),
    ]
}

/// The engine's functions of times that a query may call. The session replaces the configuration by
/// its own.
fn of_times() -> Vec<Arc<ScalarUDF>> {
    let config = ConfigOptions::default();
    vec![
        engine::datetime::current_date(),
        engine::datetime::date_bin(),
        engine::datetime::date_part(),
        engine::datetime::date_trunc(),
        engine::datetime::from_unixtime(),
        engine::datetime::make_date(),
        engine::datetime::now(&config),
        engine::datetime::to_date(),
        engine::datetime::to_timestamp(&config),
        engine::datetime::to_timestamp_micros(&config),
        engine::datetime::to_timestamp_millis(&config),
        engine::datetime::to_timestamp_nanos(&config),
        engine::datetime::to_timestamp_seconds(&config),
        engine::datetime::to_unixtime(),
    ]
}

/// The engine's functions of any type that a query may call.
fn of_anything() -> Vec<Arc<ScalarUDF>> {
    vec![
        engine::core::arrow_typeof(),
        engine::core::coalesce(),
        engine::core::greatest(),
        engine::core::least(),
        engine::core::nullif(),
        engine::core::nvl(),
        engine::core::nvl2(),
    ]
}

/// Aggregate functions that a query may call.
pub(crate) fn aggregates() -> Vec<Arc<AggregateUDF>> {
    vec![
        engine_aggregates::any_value::any_value_udaf(),
        engine_aggregates::approx_distinct::approx_distinct_udaf(),
        engine_aggregates::approx_median::approx_median_udaf(),
        engine_aggregates::approx_percentile_cont::approx_percentile_cont_udaf(),
        engine_aggregates::average::avg_udaf(),
        engine_aggregates::bool_and_or::bool_and_udaf(),
        engine_aggregates::bool_and_or::bool_or_udaf(),
        engine_aggregates::correlation::corr_udaf(),
        engine_aggregates::count::count_udaf(),
        engine_aggregates::covariance::covar_pop_udaf(),
        engine_aggregates::covariance::covar_samp_udaf(),
        engine_aggregates::first_last::first_value_udaf(),
        engine_aggregates::first_last::last_value_udaf(),
        engine_aggregates::min_max::max_udaf(),
        engine_aggregates::median::median_udaf(),
        engine_aggregates::min_max::min_udaf(),
        engine_aggregates::percentile_cont::percentile_cont_udaf(),
        engine_aggregates::stddev::stddev_udaf(),
        engine_aggregates::stddev::stddev_pop_udaf(),
        sum::exact(engine_aggregates::sum::sum_udaf()),
        engine_aggregates::variance::var_samp_udaf(),
        engine_aggregates::variance::var_pop_udaf(),
    ]
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
