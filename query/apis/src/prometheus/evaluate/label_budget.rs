//! Labels that functions and operators compute, and their memory.
//!
//! Owns the bounds: of one value ([`LABEL_VALUE_BYTES_MAX`]), and of all labels that a query holds
//! at a time (`metrics_bytes_max` of the limits). A label is counted before it is built. After an
//! evaluation only the labels of its samples stay counted. Labels of stored series are bounded
//! where they are read. A subset of existing labels shares their texts and is not counted.

use tidings_promql::labels::Labels;
use tidings_query::QueryError;

use super::{Evaluator, SeriesSample};
use crate::prometheus::PromqlError;

/// Maximum length of a computed label value, in bytes. It is far longer than names of services and
/// operations, and short enough to be copied for each series.
pub(super) const LABEL_VALUE_BYTES_MAX: usize = 64 << 10;

/// Bytes of a label's entry among the labels of a series.
const PLACE_BYTES: usize = 32;
/// Bytes of a label beside its texts: its entry, and the header of each text.
const LABEL_BYTES: usize = PLACE_BYTES + 32;
/// Bytes of a series over time beside its labels: its entry, and space for its first points.
const SERIES_BYTES: usize = 128;

/// Refuses a computed label value that is too long.
pub(super) fn check_value_length(function: &str, bytes: usize) -> Result<(), PromqlError> {
    if bytes <= LABEL_VALUE_BYTES_MAX {
        return Ok(());
    }
    let reason = format!(
        "{function}() makes a label value of {bytes} bytes; a label value has at most \
         {LABEL_VALUE_BYTES_MAX} bytes"
    );
    Err(QueryError::parameter("query", reason).into())
}

impl Evaluator<'_> {
    /// Counts a label with a value of this length, before it is added to other labels.
    ///
    /// # Errors
    /// When the labels of the query take too much memory.
    pub(super) fn hold_label(
        &self,
        others: &Labels,
        name: &str,
        value_bytes: usize,
    ) -> Result<(), PromqlError> {
        let places = others.iter().count().saturating_mul(PLACE_BYTES);
        let texts = name.len().saturating_add(value_bytes);
        self.hold_label_bytes(places.saturating_add(LABEL_BYTES).saturating_add(texts))
    }

    /// Ends an evaluation that began when `before` bytes were held. If it computed labels, those of
    /// its samples stay counted when `is_new` reports that they were not counted already.
    ///
    /// # Errors
    /// When the labels of the query take too much memory.
    pub(super) fn keep_labels(
        &self,
        before: usize,
        samples: &[SeriesSample],
        mut is_new: impl FnMut(&Labels) -> bool,
    ) -> Result<(), PromqlError> {
        if self.label_bytes.get() <= before {
            return Ok(());
        }
        self.label_bytes.set(before);
        let mut new = samples.iter().filter(|sample| is_new(&sample.labels));
        new.try_for_each(|sample| self.hold_label_bytes(bytes_of_series(&sample.labels)))
    }

    fn hold_label_bytes(&self, bytes: usize) -> Result<(), PromqlError> {
        let held = self.label_bytes.get().saturating_add(bytes);
        let bytes_max = self.reader.limits.metrics_bytes_max;
        if held > bytes_max {
            return Err(PromqlError::Execution(format!(
                "the labels that the query makes take more than {bytes_max} bytes of memory; make \
                 shorter labels or select fewer series"
            )));
        }
        self.label_bytes.set(held);
        Ok(())
    }
}

/// Bytes of a series over time, without its points.
fn bytes_of_series(labels: &Labels) -> usize {
    labels.iter().fold(SERIES_BYTES, |bytes, (name, value)| {
        bytes.saturating_add(LABEL_BYTES).saturating_add(name.len()).saturating_add(value.len())
    })
}
