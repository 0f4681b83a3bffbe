//! Dynamic filters: bounds on a view's rows that a plan tightens while it runs.
//!
//! `ORDER BY start_time DESC LIMIT 10` keeps the ten newest rows so far and needs no older ones.
//! The engine expresses this in a filter that changes during execution. This module reads a time
//! out of such filters. It does not decide how a view skips rows.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use datafusion::{
    logical_expr::Operator,
    physical_expr::{
        PhysicalExpr,
        expressions::{BinaryExpr, Column, DynamicFilterTracking, IsNullExpr, Literal},
        utils::collect_columns,
    },
    physical_expr_common::physical_expr::{snapshot_generation, snapshot_physical_expr},
    scalar::ScalarValue,
};
use tidings_sql::RowsSince;

/// Maximum depth at which a filter is examined: one level for each sort column, of which only the
/// first bounds the time.
const DEPTH_MAX: usize = 16;

/// The filters that a plan changes while it runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct DynamicFilters(Vec<Arc<dyn PhysicalExpr>>);

impl DynamicFilters {
    /// Selects the dynamic filters.
    pub(crate) fn new(filters: impl IntoIterator<Item = Arc<dyn PhysicalExpr>>) -> Self {
        let changes = |filter: &Arc<dyn PhysicalExpr>| {
            DynamicFilterTracking::classify(filter).contains_dynamic_filter()
        };
        Self(filters.into_iter().filter(changes).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the dynamic filters on this column of times.
    pub(crate) fn of_times(&self, schema: &SchemaRef, column: &'static str) -> DynamicTimeBound {
        let is_it = |found: &Column| is_column(found, schema, column);
        let filters = self.0.iter().filter(|filter| collect_columns(filter).iter().any(is_it));
        DynamicTimeBound {
            filters: filters.map(Arc::clone).collect(),
            schema: Arc::clone(schema),
            column,
            known: None,
        }
    }
}

/// Dynamic filters on a column of times.
#[derive(Debug)]
pub(crate) struct DynamicTimeBound {
    filters: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    column: &'static str,
    /// The last bound that was read, and the generation of the filters at that time.
    known: Option<(u64, RowsSince)>,
}

impl DynamicTimeBound {
    /// Reports whether these filters can tighten.
    pub(crate) fn may_narrow(&self) -> bool {
        !self.filters.is_empty()
    }

    /// Returns the rows that are needed now. Later calls never return more.
    pub(crate) fn since(&mut self) -> RowsSince {
        let state = self.filters.iter().map(snapshot_generation).fold(0, u64::wrapping_add);
        match self.known {
            Some((known, since)) if known == state => since,
            _ => {
                let bound_of = self.filters.iter().filter_map(|filter| {
                    let now = snapshot_physical_expr(Arc::clone(filter)).ok()?;
                    Some(self.bound_of(&now, DEPTH_MAX))
                });
                let since = bound_of.max().unwrap_or(RowsSince::Ever);
                self.known = Some((state, since));
                since
            }
        }
    }

    /// Returns a bound such that no row with a time that passes the filter is older.
    fn bound_of(&self, filter: &Arc<dyn PhysicalExpr>, depth: usize) -> RowsSince {
        let Some(depth) = depth.checked_sub(1) else { return RowsSince::Ever };
        if let Some(literal) = filter.downcast_ref::<Literal>() {
            return match literal.value() {
                ScalarValue::Boolean(Some(false)) => RowsSince::Never,
                _ => RowsSince::Ever,
            };
        }
        if let Some(null) = filter.downcast_ref::<IsNullExpr>() {
            return if self.is_it(null.arg()) { RowsSince::Never } else { RowsSince::Ever };
        }
        let Some(binary) = filter.downcast_ref::<BinaryExpr>() else { return RowsSince::Ever };
        let both = || (self.bound_of(binary.left(), depth), self.bound_of(binary.right(), depth));
        match binary.op() {
            Operator::And => {
                let (left, right) = both();
                left.max(right)
            }
            Operator::Or => {
                let (left, right) = both();
                left.min(right)
            }
            Operator::Gt | Operator::GtEq | Operator::Eq if self.is_it(binary.left()) => {
                let literal = binary.right().downcast_ref::<Literal>();
                match literal.map(Literal::value) {
                    Some(ScalarValue::TimestampNanosecond(Some(nanos), _)) => {
                        RowsSince::Time(*nanos)
                    }
                    _ => RowsSince::Ever,
                }
            }
            _ => RowsSince::Ever,
        }
    }

    fn is_it(&self, expr: &Arc<dyn PhysicalExpr>) -> bool {
        let column = expr.downcast_ref::<Column>();
        column.is_some_and(|found| is_column(found, &self.schema, self.column))
    }
}

fn is_column(found: &Column, schema: &SchemaRef, name: &str) -> bool {
    schema.fields().get(found.index()).is_some_and(|field| field.name() == name)
}

#[cfg(test)]
mod tests {
    use arrow_schema::{DataType, Field, Schema, TimeUnit};
    use datafusion::physical_expr::expressions::{DynamicFilterPhysicalExpr, lit};

    use super::*;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("service", DataType::Utf8, true),
            Field::new("start_time", DataType::Timestamp(TimeUnit::Nanosecond, None), true),
        ]))
    }

    fn time() -> Arc<dyn PhysicalExpr> {
        Arc::new(Column::new("start_time", 1))
    }

    fn service() -> Arc<dyn PhysicalExpr> {
        Arc::new(Column::new("service", 0))
    }

    fn at(nanos: i64) -> Arc<dyn PhysicalExpr> {
        lit(ScalarValue::TimestampNanosecond(Some(nanos), None))
    }

    fn binary(
        left: Arc<dyn PhysicalExpr>,
        op: Operator,
        right: Arc<dyn PhysicalExpr>,
    ) -> Arc<dyn PhysicalExpr> {
        Arc::new(BinaryExpr::new(left, op, right))
    }

    fn null(of: Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
        Arc::new(IsNullExpr::new(of))
    }

    #[test]
    fn a_filter_bounds_the_times_of_the_rows_that_are_needed() {
        use Operator::{And, Eq, Gt, Lt, Or};
        let newest = || binary(null(time()), Or, binary(time(), Gt, at(5)));
        let table = [
            (lit(true), RowsSince::Ever),
            (lit(false), RowsSince::Never),
            (binary(time(), Gt, at(5)), RowsSince::Time(5)),
            (binary(time(), Lt, at(5)), RowsSince::Ever),
            (newest(), RowsSince::Time(5)),
            (binary(newest(), And, binary(time(), Eq, at(7))), RowsSince::Time(7)),
            (
                // Sorted by time and then by service.
                binary(
                    newest(),
                    Or,
                    binary(binary(time(), Eq, at(5)), And, binary(service(), Gt, lit("a"))),
                ),
                RowsSince::Time(5),
            ),
            // Sorted by service and then by time.
            (
                binary(
                    binary(service(), Gt, lit("a")),
                    Or,
                    binary(binary(service(), Eq, lit("a")), And, newest()),
                ),
                RowsSince::Ever,
            ),
            (binary(null(service()), Or, binary(time(), Gt, at(5))), RowsSince::Ever),
        ];
        for (filter, expected) in table {
            let dynamic = DynamicFilterPhysicalExpr::new(vec![time(), service()], lit(true));
            let dynamic = Arc::new(dynamic);
            let wanted = DynamicFilters::new([Arc::clone(&dynamic) as Arc<dyn PhysicalExpr>]);
            let mut times = wanted.of_times(&schema(), "start_time");
            assert!(times.may_narrow());
            assert_eq!(times.since(), RowsSince::Ever);
            dynamic.update(Arc::clone(&filter)).unwrap();
            assert_eq!(times.since(), expected, "{filter}");
        }
    }

    #[test]
    fn only_filters_of_the_column_that_change_count() {
        let fixed = binary(time(), Operator::Gt, at(5));
        assert!(DynamicFilters::new([fixed]).is_empty());
        let other = Arc::new(DynamicFilterPhysicalExpr::new(vec![service()], lit(true)));
        let wanted = DynamicFilters::new([other as Arc<dyn PhysicalExpr>]);
        assert!(!wanted.is_empty());
        assert!(!wanted.of_times(&schema(), "start_time").may_narrow());
    }
}
