//! Bounds on the spansets, spans and values shown in a result.
//!
//! Senders choose the size of values, and a page can have very many of them. Texts of log records
//! are cut, and the values of a page have a common bound.

use tidings_traceql::{Field, Fields, Intrinsic, Name, Value};

/// Maximum number of texts or severities that are shown of a span's log records.
const RECORDS_SHOWN_MAX: usize = 100;
/// Maximum bytes of these texts together.
const RECORD_BYTES_SHOWN_MAX: usize = 4096;
/// Maximum bytes of values shown on a page; further spans are shown without values.
const SHOWN_BYTES_MAX: usize = 16 << 20;

/// Bounds on the spans shown.
#[derive(Debug, Clone, Copy)]
pub struct DisplayLimits {
    /// Maximum number of spansets shown of each trace.
    pub(crate) spansets: usize,
    /// Maximum number of spans shown of each spanset.
    pub(crate) spans: usize,
    /// Maximum number of spans shown of all traces together.
    pub(crate) spans_together: usize,
    /// True to show the longest spans of a spanset, instead of the first ones.
    pub(crate) longest_first: bool,
}

/// Remaining budget of a page.
#[derive(Debug)]
pub(super) struct DisplayBudget {
    pub(super) spans: usize,
    bytes: usize,
}

impl DisplayBudget {
    /// Creates the budget of an empty page. A query gathers at most this many bytes, and a quarter
    /// of them is for values.
    pub(super) fn new(shown: DisplayLimits, gathered_bytes_max: u64) -> Self {
        let quarter = usize::try_from(gathered_bytes_max / 4).unwrap_or(usize::MAX);
        Self { spans: shown.spans_together, bytes: SHOWN_BYTES_MAX.min(quarter) }
    }

    /// Returns these values if they fit into the budget, and charges them.
    pub(super) fn take<N>(&mut self, values: Vec<(N, Value)>) -> Vec<(N, Value)> {
        let bytes: usize = values.iter().map(|(_, value)| value.bytes()).sum();
        if bytes > self.bytes {
            self.bytes = 0;
            return Vec::new();
        }
        self.bytes -= bytes;
        values
    }
}

impl DisplayLimits {
    pub(crate) const NOTHING: Self =
        Self { spansets: 0, spans: 0, spans_together: 0, longest_first: false };

    /// Limits that show this number of spans of every spanset.
    #[must_use]
    pub fn spans(spans: usize) -> Self {
        Self { spansets: usize::MAX, spans, spans_together: usize::MAX, longest_first: false }
    }
}

/// Returns the values of a span that its list entry does not already show.
pub(super) fn read_values(fields: &Fields, row: &[Value]) -> Vec<(Field, Value)> {
    let there = fields.iter().zip(row).filter(|(_, value)| !value.is_nil());
    let read = there.filter_map(|(field, value)| match field.name {
        Name::Intrinsic(intrinsic) if !field.parent && is_of_entry(intrinsic) => None,
        Name::Intrinsic(intrinsic) => Some((field.clone(), bounded(value, intrinsic.is_of_logs()))),
        Name::Attribute(..) => Some((field.clone(), value.clone())),
    });
    read.collect()
}

/// Bounds a shown value. Of log records, the first texts are shown, up to a maximum of bytes. Other
/// values are shown whole.
pub(super) fn bounded(value: &Value, is_of_logs: bool) -> Value {
    if !is_of_logs {
        return value.clone();
    }
    let mut left = RECORD_BYTES_SHOWN_MAX;
    let mut cut = |value: &Value| match value {
        Value::Text(text) if text.len() > left => {
            let start = &text[..text.floor_char_boundary(left)];
            left = 0;
            Value::text(&format!("{start}…"))
        }
        value => {
            left -= value.bytes().min(left);
            value.clone()
        }
    };
    match value {
        Value::Many(many) => Value::Many(many.iter().take(RECORDS_SHOWN_MAX).map(cut).collect()),
        value => cut(value),
    }
}

fn is_of_entry(intrinsic: Intrinsic) -> bool {
    matches!(
        intrinsic,
        Intrinsic::Name
            | Intrinsic::Duration
            | Intrinsic::TraceDuration
            | Intrinsic::RootName
            | Intrinsic::RootService
            | Intrinsic::TraceId
            | Intrinsic::SpanId
            | Intrinsic::Parent
    )
}

#[cfg(test)]
mod tests {
    use super::{
        DisplayBudget, DisplayLimits, RECORD_BYTES_SHOWN_MAX, SHOWN_BYTES_MAX, Value, bounded,
    };

    #[test]
    fn texts_of_log_records_are_cut() {
        let long = Value::text(&"é".repeat(RECORD_BYTES_SHOWN_MAX));
        let list = Value::Many([Value::text("a"), long.clone()].into());
        let cut = format!("{}…", "é".repeat(RECORD_BYTES_SHOWN_MAX / 2 - 1));
        assert_eq!(bounded(&list, true), Value::Many([Value::text("a"), Value::text(&cut)].into()));
        let many = Value::Many(vec![long.clone(); 1_000].into());
        assert!(bounded(&many, true).bytes() < 2 * RECORD_BYTES_SHOWN_MAX);
        assert_eq!(bounded(&long, false), long);
    }

    #[test]
    fn values_of_a_page_have_a_bound() {
        let mut left = DisplayBudget::new(DisplayLimits::spans(3), u64::MAX);
        let large = Value::text(&"x".repeat(SHOWN_BYTES_MAX / 2));
        let shown = [(); 3].map(|()| left.take(vec![("key", large.clone())]).len());
        assert_eq!(shown, [1, 1, 0]);
        assert_eq!(left.take(vec![("key", Value::text("small"))]), [], "none after those left out");
    }
}
