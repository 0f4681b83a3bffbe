//! Functions of times that fail where the engine's own would return another time or an invalid one.
//!
//! `date_trunc` subtracts beyond the first representable time, and rounds single times before 1970
//! up. `to_timestamp` turns a double that is too large into the last time. `from_unixtime` and
//! similar functions make times outside of the calendar, for which a conversion to a time zone
//! panics. `plan` refuses numbers cast to `TIME`, and a rewrite refuses a `-` before a time.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType,
    cast::AsArray,
    types::{
        Float64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
        TimestampSecondType,
    },
};
use arrow_schema::{DataType, TimeUnit};
use datafusion::{
    arrow::compute::cast,
    error::Result,
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF},
    scalar::ScalarValue,
};
use tidings_sql::SqlError;

use super::forwarding::{CallCheck, with_check};
use crate::error::external;

/// Functions of the engine that are replaced.
pub(super) const CHECKED: &[&str] = &[
    "date_trunc",
    "from_unixtime",
    "to_timestamp",
    "to_timestamp_micros",
    "to_timestamp_millis",
    "to_timestamp_seconds",
];

const SECONDS_A_DAY: i64 = 24 * 60 * 60;
pub(super) const NANOS_A_SECOND: i64 = 1_000_000_000;
/// The first and last seconds of a time, counted from 1970: the years -262,142 to 262,141. That is
/// a year less on each side than the calendar has, so that the times exist in every zone.
const CALENDAR_SECONDS: (i64, i64) = (-8_334_569_692_800, 8_210_235_340_799);
/// One more than the maximum nanoseconds of a time since 1970.
const NANOS_END: f64 = 9_223_372_036_854_775_808.;

/// Wraps the function so that it fails where the engine's result would be wrong.
pub(super) fn checked(inner: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    with_check(inner, TimeCheck)
}

/// Refuses calls whose result would be another time or an invalid one.
#[derive(Debug, Clone, Copy)]
struct TimeCheck;

impl CallCheck for TimeCheck {
    fn invoke(&self, function: &ScalarUDF, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match (function.name(), args.args.as_slice()) {
            ("date_trunc", [_, ColumnarValue::Scalar(time)])
                if matches!(time.data_type(), DataType::Timestamp(..)) =>
            {
                // For columns the engine rounds times before 1970 down.
                let column = time.to_array()?;
                check_truncated(&column)?;
                args.args[1] = ColumnarValue::Array(column);
                args.number_rows = 1;
                let truncated = function.invoke_with_args(args)?.into_array(1)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&truncated, 0)?))
            }
            ("date_trunc", [_, ColumnarValue::Array(times)]) => {
                check_truncated(times)?;
                function.invoke_with_args(args)
            }
            ("to_timestamp", [seconds, ..]) => {
                check_doubles(seconds)?;
                function.invoke_with_args(args)
            }
            _ => {
                let times = function.invoke_with_args(args)?;
                check_calendar(&times)?;
                Ok(times)
            }
        }
    }
}

/// Refuses times within the first representable day, for which there is no earlier time to truncate
/// to.
fn check_truncated(times: &ArrayRef) -> Result<()> {
    let DataType::Timestamp(unit, _) = times.data_type() else { return Ok(()) };
    let first = i64::MIN + SECONDS_A_DAY * per_second(*unit);
    check_range(times, *unit, (first, i64::MAX))
}

/// Refuses times outside of the calendar.
fn check_calendar(times: &ColumnarValue) -> Result<()> {
    let DataType::Timestamp(unit, _) = times.data_type() else { return Ok(()) };
    let (first, last) = CALENDAR_SECONDS;
    // Microseconds and nanoseconds overflow before the calendar ends.
    let bound = |seconds: i64| seconds.saturating_mul(per_second(unit));
    check_range(&times.to_array(1)?, unit, (bound(first), bound(last)))
}

/// Refuses seconds that do not fit into nanoseconds, and those that are not numbers.
fn check_doubles(seconds: &ColumnarValue) -> Result<()> {
    if !seconds.data_type().is_floating() {
        return Ok(());
    }
    let seconds = cast(&seconds.to_array(1)?, &DataType::Float64)?;
    #[expect(clippy::cast_precision_loss, reason = "a power of ten below 2^53")]
    let per_second = NANOS_A_SECOND as f64;
    let fits = |seconds: f64| (-NANOS_END..NANOS_END).contains(&(seconds * per_second));
    match seconds.as_primitive::<Float64Type>().iter().flatten().all(fits) {
        true => Ok(()),
        false => Err(no_such_time()),
    }
}

fn check_range(times: &ArrayRef, unit: TimeUnit, (first, last): (i64, i64)) -> Result<()> {
    fn has_only<T: ArrowPrimitiveType<Native = i64>>(
        times: &ArrayRef,
        range: std::ops::RangeInclusive<i64>,
    ) -> bool {
        times.as_primitive::<T>().iter().flatten().all(|time| range.contains(&time))
    }
    let range = first..=last;
    let fits = match unit {
        TimeUnit::Second => has_only::<TimestampSecondType>(times, range),
        TimeUnit::Millisecond => has_only::<TimestampMillisecondType>(times, range),
        TimeUnit::Microsecond => has_only::<TimestampMicrosecondType>(times, range),
        TimeUnit::Nanosecond => has_only::<TimestampNanosecondType>(times, range),
    };
    if fits { Ok(()) } else { Err(no_such_time()) }
}

/// Returns how many of these units a second has.
pub(super) fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => NANOS_A_SECOND,
    }
}

fn no_such_time() -> datafusion::error::DataFusionError {
    let reason = "the result is before the first time or after the last that there is";
    external(SqlError::Evaluation { reason: reason.to_owned() })
}
