//! `+`, `-` and `*` of whole numbers, and the unary `-`, which fail where the engine's own wrap
//! around.
//!
//! They are functions, so that they behave the same wherever the engine evaluates them: it folds
//! constants with operators of its own. Operands are coerced to one type as the engine does. The
//! engine asks no planner about the unary `-`, so that one is replaced after planning.

use std::{fmt, sync::Arc};

use arrow_array::{Array, ArrayRef, Datum};
use arrow_schema::{ArrowError, DataType};
use datafusion::{
    arrow::compute::kernels::numeric,
    common::{DFSchema, tree_node::Transformed},
    config::ConfigOptions,
    error::{DataFusionError, Result},
    logical_expr::{
        ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
        Signature, Volatility, expr_rewriter::FunctionRewrite,
        type_coercion::binary::BinaryTypeCoercer,
    },
    physical_expr_common::datum::apply,
    scalar::ScalarValue,
};
use tidings_sql::SqlError;

use crate::error::external;

/// The operators `+`, `-` and `*`.
#[derive(Debug)]
pub(super) struct CheckedOperators([(Operator, Arc<ScalarUDF>); 3]);

impl CheckedOperators {
    pub(super) fn new() -> Self {
        Self([Operator::Plus, Operator::Minus, Operator::Multiply].map(|operator| {
            let signature = Signature::user_defined(Volatility::Immutable);
            (operator, Arc::new(ScalarUDF::new_from_impl(CheckedOperator { operator, signature })))
        }))
    }

    /// Returns the function for this operator between these types; `None` where the engine's is
    /// right.
    pub(super) fn function(
        &self,
        operator: Operator,
        left: &DataType,
        right: &DataType,
    ) -> Option<&Arc<ScalarUDF>> {
        if !left.is_integer() || !right.is_integer() {
            return None;
        }
        self.0.iter().find(|(known, _)| *known == operator).map(|(_, function)| function)
    }
}

#[derive(PartialEq, Eq, Hash)]
struct CheckedOperator {
    operator: Operator,
    signature: Signature,
}

impl fmt::Debug for CheckedOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.operator)
    }
}

impl ScalarUDFImpl for CheckedOperator {
    fn name(&self) -> &str {
        match self.operator {
            Operator::Plus => "+",
            Operator::Minus => "-",
            _ => "*",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let [left, right] = args else { return Err(two_operands()) };
        Ok(format!("{} {} {}", left.schema_name(), self.operator, right.schema_name()))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [left, right] = types else { return Err(two_operands()) };
        let (left, right) =
            BinaryTypeCoercer::new(left, &self.operator, right).get_input_types()?;
        Ok(vec![left, right])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let [left, right] = types else { return Err(two_operands()) };
        BinaryTypeCoercer::new(left, &self.operator, right).get_result_type()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else { return Err(two_operands()) };
        let evaluate: fn(&dyn Datum, &dyn Datum) -> std::result::Result<ArrayRef, ArrowError> =
            match self.operator {
                Operator::Plus => numeric::add,
                Operator::Minus => numeric::sub,
                _ => numeric::mul,
            };
        apply(left, right, evaluate).map_err(|error| describe_overflow(error, self.operator))
    }
}

/// The unary `-` of a whole number.
#[derive(Debug)]
pub(super) struct CheckedNegation(Arc<ScalarUDF>);

impl CheckedNegation {
    pub(super) fn new() -> Self {
        let signature = Signature::any(1, Volatility::Immutable);
        Self(Arc::new(ScalarUDF::new_from_impl(NegationFunction { signature })))
    }
}

impl FunctionRewrite for CheckedNegation {
    fn name(&self) -> &str {
        "checked_negation"
    }

    fn rewrite(
        &self,
        expr: Expr,
        schema: &DFSchema,
        _: &ConfigOptions,
    ) -> Result<Transformed<Expr>> {
        match expr {
            Expr::Negative(operand) if operand.get_type(schema)?.is_signed_integer() => {
                Ok(Transformed::yes(self.0.call(vec![*operand])))
            }
            // The engine would return the time that is as far from 1970 on the other side.
            Expr::Negative(operand)
                if matches!(operand.get_type(schema)?, DataType::Timestamp(..)) =>
            {
                let hint = "subtract one time from another, or an interval from a time";
                Err(external(SqlError::not_allowed("- before a time", hint)))
            }
            _ => Ok(Transformed::no(expr)),
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct NegationFunction {
    signature: Signature,
}

impl ScalarUDFImpl for NegationFunction {
    fn name(&self) -> &str {
        "-"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Returns the engine's own name for it, to which outer expressions refer.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let [operand] = args else { return Err(one_operand()) };
        Ok(format!("(- {})", operand.schema_name()))
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().cloned().ok_or_else(one_operand)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let negated = |array: &dyn Array| {
            numeric::neg(array).map_err(|error| describe_overflow(error.into(), Operator::Minus))
        };
        match args.args.as_slice() {
            [ColumnarValue::Array(array)] => Ok(ColumnarValue::Array(negated(array)?)),
            [ColumnarValue::Scalar(value)] => {
                let negated = negated(&value.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&negated, 0)?))
            }
            _ => Err(one_operand()),
        }
    }
}

/// Returns the error; one about overflow gets words of its own.
fn describe_overflow(error: DataFusionError, operator: Operator) -> DataFusionError {
    match error.find_root() {
        DataFusionError::ArrowError(arrow, _)
            if matches!(**arrow, ArrowError::ArithmeticOverflow(_)) =>
        {
            let reason = format!(
                "the result of {operator} is more than a whole number of its type can have: make \
                 a double or decimal of one side, as in CAST(x AS DOUBLE)"
            );
            external(SqlError::Evaluation { reason })
        }
        _ => error,
    }
}

fn two_operands() -> DataFusionError {
    DataFusionError::Internal("an operator has two sides".to_owned())
}

fn one_operand() -> DataFusionError {
    DataFusionError::Internal("the - before a number has one operand".to_owned())
}
