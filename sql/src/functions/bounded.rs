//! Functions of the engine that may make more text than they are given: counted beforehand.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow_schema::{DataType, FieldRef};
use datafusion::{
    error::Result,
    logical_expr::{
        ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    },
    scalar::ScalarValue,
};

use crate::{guard::column_bytes, meter::Meter};

/// The function, which fails when it may make more than a query may have.
pub(super) fn bounded(inner: Arc<ScalarUDF>, meter: &Arc<Meter>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Bounded { inner, meter: Arc::clone(meter) }))
}

/// The engine would fold calls of the function itself into other calls of it: so this says nothing
/// of how it can be simplified.
#[derive(Debug)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    meter: Arc<Meter>,
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Bounded {}

impl Hash for Bounded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl ScalarUDFImpl for Bounded {
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

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows as u64;
        let sizes = args.args.iter().map(|arg| bytes_of(arg, rows));
        let bytes: u64 = match (self.inner.name(), args.args.last()) {
            // Each byte may be replaced by the longest of the third texts.
            ("replace", Some(with)) => {
                let of_text = args.args.first().map_or(0, |text| bytes_of(text, rows));
                of_text.saturating_mul(1 + longest(with))
            }
            // The first is put between the others.
            ("concat_ws", _) => {
                let times = args.args.len() as u64;
                sizes.fold(0, u64::saturating_add).saturating_mul(times)
            }
            _ => sizes.fold(0, u64::saturating_add),
        };
        self.meter.make(bytes)?;
        self.inner.invoke_with_args(args)
    }
}

fn bytes_of(arg: &ColumnarValue, rows: u64) -> u64 {
    match arg {
        ColumnarValue::Array(array) => column_bytes(array) as u64,
        ColumnarValue::Scalar(value) => length(value).saturating_mul(rows),
    }
}

fn longest(arg: &ColumnarValue) -> u64 {
    match arg {
        ColumnarValue::Array(array) => column_bytes(array) as u64,
        ColumnarValue::Scalar(value) => length(value),
    }
}

fn length(value: &ScalarValue) -> u64 {
    value.try_as_str().flatten().map_or(8, |text| text.len() as u64)
}
