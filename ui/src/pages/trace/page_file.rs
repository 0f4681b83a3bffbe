//! A trace as one HTML file that opens without a server.
//!
//! The page is `ui/trace-page.html`: it draws the JSON that stands in it and asks nobody for
//! anything. This puts the trace into it. Owns the escaping that keeps telemetry data.

use tidings_proto::TraceId;
use wasm_bindgen::JsValue;

use crate::{
    api::{self, ApiError},
    browser,
};

/// The place of the trace in the page.
const PLACE: &str = "{{trace}}";

/// Saves the trace as a file.
///
/// # Errors
///
/// The errors of the API, which refuses a trace of more than 50,000 spans.
pub(crate) async fn save_page(trace: TraceId, adjusted: bool) -> Result<(), ApiError> {
    let json = api::whole_trace(trace, adjusted).send_unread().await?;
    let page = api::trace_page().send_unread().await?;
    let page = with_trace(&page, &json)
        .ok_or_else(|| ApiError::Unreadable("the page has no place for a trace".to_owned()))?;
    let parts = js_sys::Array::of1(&JsValue::from_str(&page));
    let options = web_sys::BlobPropertyBag::new();
    options.set_type("text/html;charset=utf-8");
    let file = web_sys::Blob::new_with_str_sequence_and_options(&parts, &options)
        .map_err(|_| ApiError::Unreadable("the browser has no room for the file".to_owned()))?;
    browser::save(&file, &format!("trace-{trace}.html"));
    Ok(())
}

/// The page with the trace in its place. `<` stands only in strings of JSON, so its escape keeps
/// every text and ends no element.
fn with_trace(page: &str, json: &str) -> Option<String> {
    let (before, after) = page.split_once(PLACE)?;
    Some([before, &json.replace('<', "\\u003c"), after].concat())
}

#[cfg(test)]
mod tests {
    use super::with_trace;

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
