//! `date_part` of a duration or an interval, with all its digits.
//!
//! The engine counts nanoseconds in 32 bits. From 2.147 s on it drops the fraction of a second, and
//! more microseconds or milliseconds than 32 bits have end its process.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, Float64Array, PrimitiveArray,
    cast::AsArray,
    types::{Int32Type, Int64Type, IntervalMonthDayNanoType},
};
use arrow_schema::{DataType, IntervalUnit};
use datafusion::{
    arrow::compute::cast,
    error::Result,
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF},
    scalar::ScalarValue,
};
use tidings_sql::SqlError;

use super::{
    checked_times::{NANOS_A_SECOND, per_second},
    forwarding::{CallCheck, with_check},
};
use crate::error::external;

/// The function that is replaced.
pub(super) const NAME: &str = "date_part";

const NANOS_A_MINUTE: i64 = 60 * NANOS_A_SECOND;

/// Wraps the function so that it keeps the fractions of a second.
pub(super) fn exact(inner: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    with_check(inner, PartCheck)
}

/// Computes the parts below a second itself, and forwards the others.
#[derive(Debug, Clone, Copy)]
struct PartCheck;

impl CallCheck for PartCheck {
    fn invoke(&self, function: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ColumnarValue::Scalar(part), length] = args.args.as_slice() else {
            return function.invoke_with_args(args);
        };
        let part = part.try_as_str().flatten().and_then(ExactPart::of_name);
        let values = match part {
            Some(part) => part.extracted(&length.to_array(1)?)?,
            None => None,
        };
        match (values, length) {
            (None, _) => function.invoke_with_args(args),
            (Some(values), ColumnarValue::Array(_)) => Ok(ColumnarValue::Array(values)),
            (Some(values), ColumnarValue::Scalar(_)) => {
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?))
            }
        }
    }
}

/// A part that counts fractions of a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExactPart {
    Epoch,
    Millisecond,
    Microsecond,
    Nanosecond,
}

impl ExactPart {
    /// Returns the part with this name, as the engine understands it.
    fn of_name(name: &str) -> Option<Self> {
        use datafusion::arrow::compute::kernels::cast_utils::IntervalUnit as Unit;

        let name = name.trim_matches(['\'', '"']);
        match name.parse() {
            Ok(Unit::Millisecond) => Some(Self::Millisecond),
            Ok(Unit::Microsecond) => Some(Self::Microsecond),
            Ok(Unit::Nanosecond) => Some(Self::Nanosecond),
            Ok(_) => None,
            Err(_) => name.eq_ignore_ascii_case("epoch").then_some(Self::Epoch),
        }
    }

    /// Returns this part of durations or intervals; `None` for other types.
    fn extracted(self, lengths: &ArrayRef) -> Result<Option<ArrayRef>> {
        let nanos: Vec<Option<i128>> = match lengths.data_type() {
            DataType::Duration(unit) => {
                let unit_nanos = i128::from(NANOS_A_SECOND / per_second(*unit));
                let lengths = cast(lengths, &DataType::Int64)?;
                let lengths = lengths.as_primitive::<Int64Type>().iter();
                lengths.map(|length| Some(i128::from(length?) * unit_nanos)).collect()
            }
            // The seconds of an interval are those beyond its minutes. The engine's epoch is exact.
            DataType::Interval(IntervalUnit::MonthDayNano) if self != Self::Epoch => {
                let intervals = lengths.as_primitive::<IntervalMonthDayNanoType>();
                let seconds = intervals.iter();
                let seconds =
                    seconds.map(|one| Some(i128::from(one?.nanoseconds % NANOS_A_MINUTE)));
                seconds.collect()
            }
            _ => return Ok(None),
        };
        self.counted_in(&nanos).map(Some)
    }

    fn counted_in(self, nanos: &[Option<i128>]) -> Result<ArrayRef> {
        fn counted<T: ArrowPrimitiveType>(
            nanos: &[Option<i128>],
            unit_nanos: i128,
        ) -> Result<ArrayRef>
        where
            T::Native: TryFrom<i128>,
        {
            let counts = nanos.iter().map(|nanos| match nanos {
                None => Ok(None),
                Some(nanos) => T::Native::try_from(nanos / unit_nanos).map(Some),
            });
            let counts: std::result::Result<PrimitiveArray<T>, _> = counts.collect();
            Ok(Arc::new(counts.map_err(|_| too_long())?))
        }
        match self {
            #[expect(clippy::cast_precision_loss, reason = "a double, as the epoch of a time is")]
            Self::Epoch => {
                let seconds = |nanos: i128| nanos as f64 / NANOS_A_SECOND as f64;
                let seconds = nanos.iter().map(|nanos| nanos.map(seconds));
                Ok(Arc::new(seconds.collect::<Float64Array>()))
            }
            Self::Millisecond => counted::<Int32Type>(nanos, 1_000_000),
            Self::Microsecond => counted::<Int32Type>(nanos, 1_000),
            Self::Nanosecond => counted::<Int64Type>(nanos, 1),
        }
    }
}

fn too_long() -> datafusion::error::DataFusionError {
    let reason = "a duration has more of this part than its whole number has room for; \
                  EXTRACT(EPOCH FROM …) returns its seconds";
    external(SqlError::Evaluation { reason: reason.to_owned() })
}
