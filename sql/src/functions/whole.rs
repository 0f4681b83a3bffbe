//! `+`, `-` and `*` of whole numbers, which fail where the engine's own would begin again at the
//! other end.
//!
//! Functions, so that they are what they are wherever the engine evaluates them: it folds
//! constants with operators of its own. Operands are brought to one type as it brings its own.

use std::{fmt, sync::Arc};

use arrow_array::{ArrayRef, Datum};
use arrow_schema::{ArrowError, DataType};
use datafusion::{
    arrow::compute::kernels::numeric,
    error::{DataFusionError, Result},
    logical_expr::{
        ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
        Volatility, type_coercion::binary::BinaryTypeCoercer,
    },
    physical_expr_common::datum::apply,
};

use crate::SqlError;

/// The operators.
#[derive(Debug)]
pub(super) struct Checked([(Operator, Arc<ScalarUDF>); 3]);

impl Checked {
    pub(super) fn new() -> Self {
        Self([Operator::Plus, Operator::Minus, Operator::Multiply].map(|operator| {
            let signature = Signature::user_defined(Volatility::Immutable);
            (operator, Arc::new(ScalarUDF::new_from_impl(Checking { operator, signature })))
        }))
    }

    /// The function for this operator between these types; `None`: the engine's own is right.
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
struct Checking {
    operator: Operator,
    signature: Signature,
}

impl fmt::Debug for Checking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.operator)
    }
}

impl ScalarUDFImpl for Checking {
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
        apply(left, right, evaluate).map_err(|error| match error.find_root() {
            DataFusionError::ArrowError(arrow, _)
                if matches!(**arrow, ArrowError::ArithmeticOverflow(_)) =>
            {
                let reason = format!(
                    "the result of {} is more than a whole number of its type can have: make a \
                     double or decimal of one side, as in CAST(x AS DOUBLE)",
                    self.operator
                );
                SqlError::Evaluation { reason }.into()
            }
            _ => error,
        })
    }
}

fn two_operands() -> DataFusionError {
    DataFusionError::Internal("an operator has two sides".to_owned())
}
