//! An expression that fails once its query has to end.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow_array::RecordBatch;
use arrow_schema::{FieldRef, Schema};
use datafusion::{
    error::{DataFusionError, Result},
    logical_expr::ColumnarValue,
    physical_expr::PhysicalExpr,
};
use tidings_sql::meter::Meter;

use crate::error::external;

/// An expression that fails once its query has to end.
#[derive(Debug)]
pub(crate) struct CheckedExpr {
    inner: Arc<dyn PhysicalExpr>,
    meter: Arc<Meter>,
}

impl CheckedExpr {
    pub(crate) fn new(inner: Arc<dyn PhysicalExpr>, meter: Arc<Meter>) -> Self {
        Self { inner, meter }
    }
}

impl fmt::Display for CheckedExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PartialEq for CheckedExpr {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for CheckedExpr {}

impl Hash for CheckedExpr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl PhysicalExpr for CheckedExpr {
    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.meter.check().map_err(external)?;
        // Each batch of pairs is counted separately.
        self.meter.hand_on();
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        match children.pop() {
            Some(inner) if children.is_empty() => {
                Ok(Arc::new(Self::new(inner, Arc::clone(&self.meter))))
            }
            _ => Err(DataFusionError::Internal("a check has one expression".to_owned())),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
