//! `+` and `-` between a date and a number of days, which fail where the engine's own wrap around.
//!
//! They are functions, as those of `checked_integers` are. The engine makes an interval of seconds
//! out of the days, which overflows, and has no more than 292 years.

use std::{fmt, sync::Arc};

use arrow_array::{
    Array, ArrayRef, Date32Array, Datum,
    cast::AsArray,
    types::{Date32Type, Int64Type},
};
use arrow_schema::{ArrowError, DataType};
use datafusion::{
    error::{DataFusionError, Result},
    logical_expr::{
        ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
        Volatility,
    },
    physical_expr_common::datum::apply,
};

/// The first and last days of a calendar, counted from 1970-01-01.
const CALENDAR_DAYS: std::ops::RangeInclusive<i64> = -96_465_292..=95_026_236;

/// The operators `+` and `-`.
#[derive(Debug)]
pub(super) struct CheckedDays([(Operator, Arc<ScalarUDF>); 2]);

impl CheckedDays {
    pub(super) fn new() -> Self {
        Self([Operator::Plus, Operator::Minus].map(|operator| {
            let signature =
                Signature::exact(vec![DataType::Date32, DataType::Int64], Volatility::Immutable);
            (operator, Arc::new(ScalarUDF::new_from_impl(AddingDays { operator, signature })))
        }))
    }

    /// Returns the call for this operator and these operands; `None` unless they are a date and
    /// days.
    pub(super) fn call(
        &self,
        operator: Operator,
        (left, left_type): (&Expr, &DataType),
        (right, right_type): (&Expr, &DataType),
    ) -> Option<Expr> {
        let (date, days) = match (left_type, right_type) {
            (DataType::Date32, days) if days.is_integer() => (left, right),
            (days, DataType::Date32) if days.is_integer() && operator == Operator::Plus => {
                (right, left)
            }
            _ => return None,
        };
        let (_, function) = self.0.iter().find(|(known, _)| *known == operator)?;
        Some(function.call(vec![date.clone(), days.clone()]))
    }
}

#[derive(PartialEq, Eq, Hash)]
struct AddingDays {
    operator: Operator,
    signature: Signature,
}

impl fmt::Debug for AddingDays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.operator)
    }
}

impl ScalarUDFImpl for AddingDays {
    fn name(&self) -> &str {
        match self.operator {
            Operator::Plus => "+",
            _ => "-",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let [date, days] = args else { return Err(two_operands()) };
        Ok(format!("{} {} {}", date.schema_name(), self.operator, days.schema_name()))
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Date32)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [date, days] = args.args.as_slice() else { return Err(two_operands()) };
        match self.operator {
            Operator::Plus => apply(date, days, |date, days| shifted(date, days, i64::checked_add)),
            _ => apply(date, days, |date, days| shifted(date, days, i64::checked_sub)),
        }
    }
}

/// Returns the dates shifted by these days.
fn shifted(
    dates: &dyn Datum,
    days: &dyn Datum,
    shift: fn(i64, i64) -> Option<i64>,
) -> std::result::Result<ArrayRef, ArrowError> {
    let ((dates, has_one_date), (days, has_one_number)) = (dates.get(), days.get());
    let (dates, days) = (dates.as_primitive::<Date32Type>(), days.as_primitive::<Int64Type>());
    let rows = if has_one_date { days.len() } else { dates.len() };
    let sums = (0..rows).map(|row| {
        let date = if has_one_date { 0 } else { row };
        let number = if has_one_number { 0 } else { row };
        if dates.is_null(date) || days.is_null(number) {
            return Ok(None);
        }
        let day = shift(i64::from(dates.value(date)), days.value(number));
        let day = day.filter(|day| CALENDAR_DAYS.contains(day));
        let day = day.and_then(|day| i32::try_from(day).ok());
        day.map(Some).ok_or_else(|| {
            let reason = "the result is before the first day or after the last of a calendar";
            ArrowError::ComputeError(reason.to_owned())
        })
    });
    Ok(Arc::new(sums.collect::<std::result::Result<Date32Array, _>>()?))
}

fn two_operands() -> DataFusionError {
    DataFusionError::Internal("an operator has two sides".to_owned())
}
