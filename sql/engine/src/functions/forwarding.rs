//! Functions of the engine with a check around each call.
//!
//! Owns the forwarding: names, types, coercion, order and session of a function are those of the
//! engine's own. Simplifications are not forwarded, because the engine would fold calls of the
//! checked function into calls of the unchecked one.

use std::{
    fmt::Debug,
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow_schema::{DataType, FieldRef};
use datafusion::{
    config::ConfigOptions,
    error::Result,
    logical_expr::{
        ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
        sort_properties::{ExprProperties, SortProperties},
    },
};

/// A check around the calls of a function.
pub(super) trait CallCheck: Debug + Clone + Send + Sync + 'static {
    /// Calls the function, or fails.
    fn invoke(&self, function: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue>;
}

/// Returns the function with this check around its calls.
pub(super) fn with_check(inner: Arc<ScalarUDF>, check: impl CallCheck) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(ForwardingFunction { inner, check }))
}

/// A function that forwards everything but its calls.
#[derive(Debug)]
struct ForwardingFunction<C> {
    inner: Arc<ScalarUDF>,
    check: C,
}

/// Two functions of one name always have the same kind of check.
impl<C> PartialEq for ForwardingFunction<C> {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl<C> Eq for ForwardingFunction<C> {}

impl<C> Hash for ForwardingFunction<C> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl<C: CallCheck> ScalarUDFImpl for ForwardingFunction<C> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    /// Forwards the time zone of the session.
    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        let inner = Arc::new(self.inner.inner().with_updated_config(config)?);
        Some(ScalarUDF::new_from_impl(Self { inner, check: self.check.clone() }))
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(inputs)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check.invoke(&self.inner, args)
    }
}
