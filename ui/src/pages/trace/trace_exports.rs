//! Exports of a trace: a plain text tree for a chat or a ticket, and an HTML file that opens
//! without a server.
//!
//! The page of the file is `ui/trace-page.html`. It draws the JSON inside it and sends no requests.
//! This module inserts the trace. It owns the escaping that keeps telemetry from being interpreted
//! as markup.

use std::fmt::Write as _;

use tidings_proto::{DurationNanos, TraceId, api::SpanFlags};
use wasm_bindgen::JsValue;

use super::model::TraceModel;
use crate::{
    api::{self, ApiError},
    browser, format,
};

/// Maximum number of rows that are written. The others are counted.
const ROWS_MAX: u32 = 5_000;
/// Depth from which rows are indented no further.
const INDENT_MAX: u32 = 40;
/// The placeholder of the trace in the page.
const PLACE: &str = "{{trace}}";

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

/// Saves the trace as a file.
///
/// # Errors
///
/// The errors of the API, which refuses a trace of more than 50,000 spans.
pub(crate) async fn save_page(trace: TraceId, adjusted: bool) -> Result<(), ApiError> {
    let json = api::whole_trace(trace, adjusted).send_for_text().await?;
    let page = api::trace_page().send_for_text().await?;
    let page = with_trace(&page, &json)
        .ok_or_else(|| ApiError::Unreadable("the page has no place for a trace".to_owned()))?;
    let parts = js_sys::Array::of1(&JsValue::from_str(&page));
    let options = web_sys::BlobPropertyBag::new();
    options.set_type("text/html;charset=utf-8");
    let file = web_sys::Blob::new_with_str_sequence_and_options(&parts, &options)
        .map_err(|_| ApiError::Unreadable("the browser has no room for the file".to_owned()))?;
    browser::download_file(&file, &format!("trace-{trace}.html"));
    Ok(())
}

/// Inserts the trace into the page. `<` occurs only in strings of JSON, so its escape preserves
/// every text and ends no element.
fn with_trace(page: &str, json: &str) -> Option<String> {
    let (before, after) = page.split_once(PLACE)?;
    Some([before, &json.replace('<', "\\u003c"), after].concat())
}

#[cfg(test)]
mod tests {
    use super::{super::samples, text_tree, with_trace};

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

    #[test]
    fn a_text_ends_no_element() {
        let json = r#"{"name":"</script><script>alert(1)</script><!-- {{trace}}"}"#;
        let page = with_trace("<script>{{trace}}</script>", json).unwrap();
        let data = page.strip_prefix("<script>").unwrap().strip_suffix("</script>").unwrap();
        assert!(!data.contains('<'), "{data}");
        let read: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(read, serde_json::from_str::<serde_json::Value>(json).unwrap());
        assert_eq!(with_trace("<p>", json), None);
    }
}
