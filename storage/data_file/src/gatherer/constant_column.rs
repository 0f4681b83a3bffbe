//! Columns with one value in all rows of all batches: most counters and flags, and words that no
//! sender uses. No row is read, and portions share the array of the first one.

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, UInt32Array,
    cast::AsArray,
    types::{Int32Type, Int64Type},
};
use arrow_schema::{ArrowError, DataType};
use arrow_select::take::take;

/// Column with one value.
pub(super) struct ConstantColumn {
    /// Array with that value, as long as the largest request so far and at least one row.
    rows: ArrayRef,
}

impl ConstantColumn {
    /// Returns the column of these batches if all rows have the same value.
    pub(super) fn detect(arrays: &[&dyn Array]) -> Option<Self> {
        let first = arrays.iter().find(|array| !array.is_empty())?;
        let is_same = match first.data_type() {
            DataType::Int64 => are_same::<Int64Type>(arrays),
            DataType::Int32 => are_same::<Int32Type>(arrays),
            DataType::List(_) => arrays.iter().all(|array| is_empty(*array)),
            _ => false,
        };
        is_same.then(|| Self::like(first.slice(0, 1)))
    }

    /// Creates a column whose rows are all like this one.
    pub(super) fn like(row: ArrayRef) -> Self {
        Self { rows: row }
    }

    /// Returns `count` rows.
    pub(super) fn rows(&mut self, count: usize) -> Result<ArrayRef, ArrowError> {
        if self.rows.len() < count {
            self.rows = take(&self.rows, &UInt32Array::from(vec![0; count]), None)?;
        }
        Ok(self.rows.slice(0, count))
    }
}

fn are_same<T: ArrowPrimitiveType<Native: Eq>>(arrays: &[&dyn Array]) -> bool {
    let mut only = None;
    arrays.iter().all(|array| {
        let Some(array) = array.as_primitive_opt::<T>().filter(|of| of.null_count() == 0) else {
            return false;
        };
        array.values().iter().all(|value| *value == *only.get_or_insert(*value))
    })
}

/// Returns true if all lists are empty.
fn is_empty(array: &dyn Array) -> bool {
    let lists = array.as_list_opt::<i32>().filter(|lists| lists.null_count() == 0);
    lists.is_some_and(|lists| lists.offsets().first() == lists.offsets().last())
}

#[cfg(test)]
mod tests {
    use arrow_array::{
        Array, Int32Array, Int64Array, ListArray, cast::AsArray, types::Int32Type, types::Int64Type,
    };

    use super::ConstantColumn;

    #[test]
    fn a_column_is_the_same_everywhere_only_if_each_row_of_each_batch_has_its_value() {
        let longs = |values: Vec<Option<i64>>| Int64Array::from(values);
        let five = longs(vec![Some(5); 3]);
        for (other, is_same) in [
            (longs(vec![Some(5)]), true),
            (longs(vec![]), true),
            (longs(vec![Some(5), Some(6)]), false),
            (longs(vec![None]), false),
        ] {
            for arrays in [[&five as &dyn Array, &other], [&other as &dyn Array, &five]] {
                assert_eq!(ConstantColumn::detect(&arrays).is_some(), is_same, "{other:?}");
            }
        }
        let mut same = ConstantColumn::detect(&[&five]).unwrap();
        for count in [2, 7, 0, 4] {
            let rows = same.rows(count).unwrap();
            assert_eq!(rows.as_primitive::<Int64Type>(), &longs(vec![Some(5); count]));
        }
        assert!(ConstantColumn::detect(&[&Int32Array::from(Vec::<i32>::new())]).is_none());
    }

    #[test]
    fn lists_are_the_same_where_none_has_an_element() {
        let lists = |lists: Vec<Option<Vec<Option<i32>>>>| {
            ListArray::from_iter_primitive::<Int32Type, _, _>(lists)
        };
        let (empty, one) = (lists(vec![Some(vec![]); 3]), lists(vec![Some(vec![Some(1)])]));
        assert!(ConstantColumn::detect(&[&empty, &one]).is_none());
        assert!(ConstantColumn::detect(&[&empty, &lists(vec![None])]).is_none());
        let rows = ConstantColumn::detect(&[&empty]).unwrap().rows(9).unwrap();
        assert_eq!(rows.as_list::<i32>(), &lists(vec![Some(vec![]); 9]));
    }
}
