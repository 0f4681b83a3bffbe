//! Functions that parse ids out of pasted text.

use std::sync::Arc;

use arrow_array::{ArrayRef, StringArray};
use arrow_schema::DataType;
use datafusion::{error::Result, logical_expr::ScalarUDF};
use tidings_proto::tid::{CandidateId, recognise};

use super::ours::{Arguments, Function};
use crate::meter::Meter;

/// `trace_id(text)`: the trace's id in hex, parsed from any notation; null when the text has no id
/// or only its last 64 bits.
pub(super) fn trace_id(meter: &Arc<Meter>) -> Arc<ScalarUDF> {
    Function::new("trace_id", 1..=1, DataType::Utf8, trace_ids, meter).build()
}

/// `span_id(text)`: the id of the span that the text names, in hex; null when it names none.
pub(super) fn span_id(meter: &Arc<Meter>) -> Arc<ScalarUDF> {
    Function::new("span_id", 1..=1, DataType::Utf8, span_ids, meter).build()
}

fn trace_ids(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let ids = arguments.each(&arguments.texts(0)?, |text| {
        // The likeliest, or none: of an id's end another reading makes another id.
        match recognise(text).into_iter().next()?.id {
            CandidateId::Trace(id) => Some(id.to_string()),
            CandidateId::Low64(_) => None,
        }
    })?;
    Ok(Arc::new(StringArray::from(ids)))
}

fn span_ids(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let ids = arguments.each(&arguments.texts(0)?, |text| {
        let named = recognise(text).into_iter().find_map(|candidate| candidate.span_id);
        named.map(|id| id.to_string()).or_else(|| {
            let text = text.trim();
            let is_id = text.len() == 16 && text.chars().all(|sign| sign.is_ascii_hexdigit());
            is_id.then(|| text.to_ascii_lowercase())
        })
    })?;
    Ok(Arc::new(StringArray::from(ids)))
}
