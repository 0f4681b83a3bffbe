//! `sum`, which fails when whole numbers or durations exceed 64 bits, or decimals 38 digits; the
//! engine's own wraps around.
//!
//! Sums of intervals and averages of durations, which overflow too, are refused in `plan`. Whole
//! numbers are added up in 128 bits, which no number of rows fills, and checked once at the end, so
//! an intermediate sum may exceed 64 bits. Decimals can fill 128 bits, so each addition is checked.
//! Everything else is left to the engine.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, Decimal128Array, PrimitiveArray,
    cast::AsArray,
    types::{
        Decimal128Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
        DurationSecondType, Int64Type, UInt64Type,
    },
};
use arrow_schema::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef, TimeUnit};
use datafusion::{
    error::{DataFusionError, Result},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF,
        Signature,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::{AggregateOrderSensitivity, format_state_name},
    },
    scalar::ScalarValue,
};
use tidings_sql::SqlError;

use crate::error::external;

/// Wraps the engine's function for sums of whole numbers, durations and decimals.
pub(super) fn exact(inner: Arc<AggregateUDF>) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(ExactSum { inner }))
}

/// A sum that the engine does not simplify: it would add up a constant addend of each row
/// separately, in 64 bits.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ExactSum {
    inner: Arc<AggregateUDF>,
}

/// The types with sums of their own: whole numbers of 64 bits, and decimals of 128.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SummedType {
    Signed,
    Unsigned,
    Duration(TimeUnit),
    Decimal { precision: u8, scale: i8 },
}

impl SummedType {
    fn from_type(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Int64 => Some(Self::Signed),
            DataType::UInt64 => Some(Self::Unsigned),
            DataType::Duration(unit) => Some(Self::Duration(*unit)),
            DataType::Decimal128(precision, scale) => {
                Some(Self::Decimal { precision: *precision, scale: *scale })
            }
            _ => None,
        }
    }

    fn each(self, values: &ArrayRef, visit: impl FnMut(usize, i128) -> Result<()>) -> Result<()> {
        match self {
            Self::Signed => each::<Int64Type>(values.as_primitive(), visit),
            Self::Unsigned => each::<UInt64Type>(values.as_primitive(), visit),
            Self::Duration(TimeUnit::Second) => {
                each::<DurationSecondType>(values.as_primitive(), visit)
            }
            Self::Duration(TimeUnit::Millisecond) => {
                each::<DurationMillisecondType>(values.as_primitive(), visit)
            }
            Self::Duration(TimeUnit::Microsecond) => {
                each::<DurationMicrosecondType>(values.as_primitive(), visit)
            }
            Self::Duration(TimeUnit::Nanosecond) => {
                each::<DurationNanosecondType>(values.as_primitive(), visit)
            }
            Self::Decimal { .. } => each::<Decimal128Type>(values.as_primitive(), visit),
        }
    }

    fn array(self, sums: impl Iterator<Item = Option<i128>>) -> Result<ArrayRef> {
        Ok(match self {
            Self::Signed => Arc::new(narrowed::<Int64Type>(sums)?),
            Self::Unsigned => Arc::new(narrowed::<UInt64Type>(sums)?),
            Self::Decimal { precision, scale } => {
                let sums = sums.collect::<Decimal128Array>();
                let is_within = |sum: i128| sum.unsigned_abs() < 10_u128.pow(precision.into());
                if !sums.iter().flatten().all(is_within) {
                    return Err(too_large());
                }
                Arc::new(sums.with_precision_and_scale(precision, scale)?)
            }
            Self::Duration(unit) => {
                let numbers = narrowed::<Int64Type>(sums)?;
                match unit {
                    TimeUnit::Second => Arc::new(numbers.reinterpret_cast::<DurationSecondType>()),
                    TimeUnit::Millisecond => {
                        Arc::new(numbers.reinterpret_cast::<DurationMillisecondType>())
                    }
                    TimeUnit::Microsecond => {
                        Arc::new(numbers.reinterpret_cast::<DurationMicrosecondType>())
                    }
                    TimeUnit::Nanosecond => {
                        Arc::new(numbers.reinterpret_cast::<DurationNanosecondType>())
                    }
                }
            }
        })
    }

    fn scalar(self, sum: Option<i128>) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&self.array(std::iter::once(sum))?, 0)
    }
}

fn each<T: ArrowPrimitiveType>(
    values: &PrimitiveArray<T>,
    mut visit: impl FnMut(usize, i128) -> Result<()>,
) -> Result<()>
where
    T::Native: Into<i128>,
{
    for (row, value) in values.iter().enumerate() {
        if let Some(value) = value {
            visit(row, value.into())?;
        }
    }
    Ok(())
}

/// Adds a number to a sum.
fn add(sum: &mut i128, value: i128) -> Result<()> {
    *sum = sum.checked_add(value).ok_or_else(too_large)?;
    Ok(())
}

fn too_large() -> DataFusionError {
    let reason = "a sum is more than its type can have, which is a bigint, a duration or a decimal \
                  of 38 digits: add up doubles, or whole numbers as decimals, as in \
                  sum(CAST(x AS DOUBLE))";
    external(SqlError::Evaluation { reason: reason.to_owned() })
}

fn narrowed<T: ArrowPrimitiveType>(
    sums: impl Iterator<Item = Option<i128>>,
) -> Result<PrimitiveArray<T>>
where
    T::Native: TryFrom<i128>,
{
    let sums = sums.map(|sum| sum.map(T::Native::try_from).transpose().map_err(|_| too_large()));
    sums.collect()
}

/// Encodes intermediate sums, which one step passes to the next.
fn wide(sums: impl Iterator<Item = Option<i128>>) -> Decimal128Array {
    sums.collect::<Decimal128Array>().with_data_type(wide_type())
}

fn wide_type() -> DataType {
    DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0)
}

impl AggregateUDFImpl for ExactSum {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match (SummedType::from_type(args.return_field.data_type()), args.is_distinct) {
            (None, _) => self.inner.accumulator(args),
            (Some(summed), true) => {
                Ok(Box::new(Distinct { of: self.inner.accumulator(args)?, summed }))
            }
            (Some(summed), false) => Ok(Box::new(Total { summed, sum: 0, count: 0 })),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        if args.is_distinct || SummedType::from_type(args.return_field.data_type()).is_none() {
            return self.inner.state_fields(args);
        }
        let name = format_state_name(args.name, "sum");
        Ok(vec![Arc::new(Field::new(name, wide_type(), true))])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        match SummedType::from_type(args.return_field.data_type()) {
            None => self.inner.create_groups_accumulator(args),
            Some(summed) => Ok(Box::new(Totals { summed, sums: Vec::new() })),
        }
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        match SummedType::from_type(args.return_field.data_type()).filter(|_| !args.is_distinct) {
            None => self.inner.create_sliding_accumulator(args),
            Some(summed) => Ok(Box::new(Total { summed, sum: 0, count: 0 })),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// The sum of all rows, or of the rows in a window's frame.
#[derive(Debug)]
struct Total {
    summed: SummedType,
    sum: i128,
    /// Number of values; the sum of no values is null.
    count: u64,
}

impl Total {
    fn sum(&self) -> Option<i128> {
        (self.count > 0).then_some(self.sum)
    }
}

impl Accumulator for Total {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.summed.each(&values[0], |_, value| {
            self.count += 1;
            add(&mut self.sum, value)
        })
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.summed.each(&values[0], |_, value| {
            self.count = self.count.saturating_sub(1);
            add(&mut self.sum, -value)
        })
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.summed.scalar(self.sum())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Decimal128(self.sum(), DECIMAL128_MAX_PRECISION, 0)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        each::<Decimal128Type>(states[0].as_primitive(), |_, sum| {
            self.count += 1;
            add(&mut self.sum, sum)
        })
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// Sum of distinct values; the engine's accumulator removes repeats.
#[derive(Debug)]
struct Distinct {
    of: Box<dyn Accumulator>,
    summed: SummedType,
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.of.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut total = Total { summed: self.summed, sum: 0, count: 0 };
        for state in self.of.state()? {
            let ScalarValue::List(values) = state else {
                return Err(DataFusionError::Internal("values apart are no list".to_owned()));
            };
            total.update_batch(&[Arc::clone(values.values())])?;
        }
        total.evaluate()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.of.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.of.merge_batch(states)
    }

    fn size(&self) -> usize {
        self.of.size()
    }
}

/// The sums of all groups.
#[derive(Debug)]
struct Totals {
    summed: SummedType,
    /// Sums by group; null while nothing was added.
    sums: Vec<Option<i128>>,
}

impl GroupsAccumulator for Totals {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        groups_count: usize,
    ) -> Result<()> {
        let Self { summed, sums } = self;
        sums.resize(groups_count, None);
        summed.each(&values[0], |row, value| {
            if filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row)) {
                add(sums[groups[row]].get_or_insert_default(), value)?;
            }
            Ok(())
        })
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.summed.array(emit_to.take_needed(&mut self.sums).into_iter())
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(wide(emit_to.take_needed(&mut self.sums).into_iter()))])
    }

    fn merge_batch(
        &mut self,
        states: &[ArrayRef],
        groups: &[usize],
        groups_count: usize,
    ) -> Result<()> {
        let sums = &mut self.sums;
        sums.resize(groups_count, None);
        each::<Decimal128Type>(states[0].as_primitive(), |row, part| {
            add(sums[groups[row]].get_or_insert_default(), part)
        })
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let mut sums = vec![None; values[0].len()];
        self.summed.each(&values[0], |row, value| {
            if filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row)) {
                sums[row] = Some(value);
            }
            Ok(())
        })?;
        Ok(vec![Arc::new(wide(sums.into_iter()))])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<Option<i128>>()
    }
}
