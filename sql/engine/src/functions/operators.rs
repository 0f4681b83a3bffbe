//! Operators that become our own functions: `||`, `~` and its variants, `attributes['key']`, `+`,
//! `-` and `*` between whole numbers, `+` and `-` between a date and days, and `EXTRACT`.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, builder::StringBuilder};
use arrow_schema::DataType;
use datafusion::{
    common::DFSchema,
    error::Result,
    logical_expr::{
        Expr, ExprSchemable, GetFieldAccess, Operator, ScalarUDF, lit,
        planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr},
    },
    sql::sqlparser::ast::BinaryOperator,
};
use tidings_sql::meter::Meter;

use super::{
    checked_dates::CheckedDays,
    checked_integers::CheckedOperators,
    exact_parts, pattern,
    text_functions::{self, Arguments, Function},
};
use crate::error::external;

/// Turns operators into functions.
#[derive(Debug)]
pub(super) struct OperatorPlanner {
    joined: Arc<ScalarUDF>,
    like: Arc<ScalarUDF>,
    entry: Arc<ScalarUDF>,
    checked: CheckedOperators,
    days: CheckedDays,
    part: Arc<ScalarUDF>,
}

impl OperatorPlanner {
    pub(super) fn new(meter: &Arc<Meter>) -> Self {
        Self {
            joined: Function::new("||", 2..=2, DataType::Utf8, joined, meter).build(),
            like: pattern::like(meter),
            entry: text_functions::entry(meter),
            checked: CheckedOperators::new(),
            days: CheckedDays::new(),
            part: exact_parts::exact(datafusion::functions::datetime::date_part()),
        }
    }
}

impl ExprPlanner for OperatorPlanner {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let like = |flags: &[&str]| {
            let sides = [expr.left.clone(), expr.right.clone()];
            self.like.call(sides.into_iter().chain(flags.iter().map(|flags| lit(*flags))).collect())
        };
        let planned = match expr.op {
            BinaryOperator::StringConcat => self.joined.call(vec![expr.left, expr.right]),
            BinaryOperator::PGRegexMatch => like(&[]),
            BinaryOperator::PGRegexIMatch => like(&["i"]),
            BinaryOperator::PGRegexNotMatch => Expr::Not(Box::new(like(&[]))),
            BinaryOperator::PGRegexNotIMatch => Expr::Not(Box::new(like(&["i"]))),
            BinaryOperator::Plus | BinaryOperator::Minus | BinaryOperator::Multiply => {
                let operator = match expr.op {
                    BinaryOperator::Plus => Operator::Plus,
                    BinaryOperator::Minus => Operator::Minus,
                    _ => Operator::Multiply,
                };
                let (left, right) = (expr.left.get_type(schema)?, expr.right.get_type(schema)?);
                let sides = [(&expr.left, &left), (&expr.right, &right)];
                if let Some(call) = self.days.call(operator, sides[0], sides[1]) {
                    return Ok(PlannerResult::Planned(call));
                }
                match self.checked.function(operator, &left, &right) {
                    Some(function) => function.call(vec![expr.left, expr.right]),
                    None => return Ok(PlannerResult::Original(expr)),
                }
            }
            _ => return Ok(PlannerResult::Original(expr)),
        };
        Ok(PlannerResult::Planned(planned))
    }

    fn plan_field_access(
        &self,
        access: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        if !matches!(access.expr.get_type(schema)?, DataType::Map(..)) {
            return Ok(PlannerResult::Original(access));
        }
        let key = match access.field_access {
            GetFieldAccess::NamedStructField { name } => lit(name),
            GetFieldAccess::ListIndex { key } => *key,
            GetFieldAccess::ListRange { .. } => return Ok(PlannerResult::Original(access)),
        };
        Ok(PlannerResult::Planned(self.entry.call(vec![access.expr, key])))
    }

    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(self.part.call(args)))
    }
}

/// Concatenates two texts; null when one of them is null.
fn joined(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let (first, second) = (arguments.texts(0)?, arguments.texts(1)?);
    let bytes = (0..arguments.rows)
        .map(|row| {
            u64::from(first.value_length(row).unsigned_abs())
                + u64::from(second.value_length(row).unsigned_abs())
        })
        .sum();
    arguments.meter.make(bytes).map_err(external)?;
    let mut texts =
        StringBuilder::with_capacity(arguments.rows, usize::try_from(bytes).unwrap_or_default());
    for row in 0..arguments.rows {
        if first.is_valid(row) && second.is_valid(row) {
            let mut text = String::with_capacity(first.value(row).len() + second.value(row).len());
            text.push_str(first.value(row));
            text.push_str(second.value(row));
            texts.append_value(text);
        } else {
            texts.append_null();
        }
    }
    Ok(Arc::new(texts.finish()))
}
