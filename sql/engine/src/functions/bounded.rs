//! Functions of the engine whose result may be longer than their arguments: its size is charged
//! first.

use std::sync::Arc;

use datafusion::{
    error::Result,
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF},
    scalar::ScalarValue,
};
use tidings_sql::{meter::Meter, width::column_bytes};

use super::forwarding::{CallCheck, with_check};
use crate::error::external;

/// Wraps the function so that it fails when its result may exceed the bound of a query.
pub(super) fn bounded(inner: Arc<ScalarUDF>, meter: &Arc<Meter>) -> Arc<ScalarUDF> {
    with_check(inner, TextBound { meter: Arc::clone(meter) })
}

/// Computes the maximum size of a call's result before the call.
#[derive(Debug, Clone)]
struct TextBound {
    meter: Arc<Meter>,
}

impl CallCheck for TextBound {
    fn invoke(&self, function: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows as u64;
        let sizes = args.args.iter().map(|arg| bytes_of(arg, rows));
        let bytes: u64 = match (function.name(), args.args.last()) {
            // Each byte may be replaced by the longest of the replacement texts.
            ("replace", Some(with)) => {
                let of_text = args.args.first().map_or(0, |text| bytes_of(text, rows));
                of_text.saturating_mul(1 + longest(with))
            }
            // The first text is put between the others.
            ("concat_ws", _) => {
                let times = args.args.len() as u64;
                sizes.fold(0, u64::saturating_add).saturating_mul(times)
            }
            _ => sizes.fold(0, u64::saturating_add),
        };
        self.meter.make(bytes).map_err(external)?;
        function.invoke_with_args(args)
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
