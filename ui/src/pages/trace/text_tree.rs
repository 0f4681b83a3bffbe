//! A trace as a tree in plain text, for a chat or a ticket.

use std::fmt::Write as _;

use tidings_proto::{DurationNanos, api::SpanFlags};

use super::model::TraceModel;
use crate::format;

/// Rows that are written; the rest are counted.
const ROWS_MAX: u32 = 5_000;
/// Deeper rows are indented no further.
const INDENT_MAX: u32 = 40;

/// The tree, with the facts of the trace above it.
pub(crate) fn text_tree(model: &TraceModel) -> String {
    let summary = &model.summary;
    let mut text = format!(
        "{} {}, {}, {}, {}\n{}\n\n",
        format::operation(&summary.root_operation),
        format::service(&summary.root_service),
        format::duration(summary.duration_nano),
        format::counted(summary.span_count, "span"),
        format::counted(summary.error_count, "error"),
        summary.trace_id
    );
    let rows = model.rows();
    for row in rows.start..rows.end.min(ROWS_MAX) {
        let indent = "  ".repeat(model.depth(row).min(INDENT_MAX) as usize);
        let duration = match model.has_flag(row, SpanFlags::UNFINISHED) {
            true => "not ended".to_owned(),
            false => format::duration(DurationNanos(model.duration(row))),
        };
        let failed = if model.has_flag(row, SpanFlags::ERROR) { "  failed" } else { "" };
        // A name with line breaks must not look like several rows.
        let name = format::operation(model.operation(row)).replace(['\n', '\r'], " ");
        let service = format::service(model.service(row));
        let _ = writeln!(text, "{indent}{service}  {name}  {duration}{failed}");
    }
    let more = rows.end.saturating_sub(ROWS_MAX);
    if more > 0 {
        let _ = writeln!(text, "and {} more", format::counted(more.into(), "span"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{super::samples, text_tree};

    #[test]
    fn a_row_is_indented_by_its_depth() {
        let model = samples::model(&[(0, 0, 0, 0, 1_500), (1, 1, 1, 100, 20), (2, 1, 2, 110, 5)]);
        let text = text_tree(&model);
        let lines: Vec<&str> = text.lines().skip(3).collect();
        assert_eq!(
            lines,
            [
                "service-0  operation-0  1.50 ms",
                "  service-1  operation-1  20.0 µs",
                "    service-1  operation-2  5.00 µs",
            ]
        );
    }
}
