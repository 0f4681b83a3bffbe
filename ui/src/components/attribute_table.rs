//! Attributes as a list of keys and values, each with a button that copies the value.

use leptos::prelude::*;
use tidings_proto::otlp::KeyValue;

use super::CopyButton;
use crate::format;

/// Returns attributes as texts, in the sender's order.
#[must_use]
pub fn attribute_rows(attributes: &[KeyValue]) -> Vec<(String, String)> {
    let text = |attribute: &KeyValue| {
        (attribute.key.clone(), attribute.value.as_ref().map(format::value).unwrap_or_default())
    };
    attributes.iter().map(text).collect()
}

/// Reports whether a value needs a line of its own. A stack trace cannot be read in a narrow
/// column.
#[must_use]
pub fn is_wide(value: &str) -> bool {
    value.contains('\n') || value.chars().count() > WIDE_CHARS
}

/// Values with more characters than this have a line of their own.
const WIDE_CHARS: usize = 160;

/// The list.
#[component]
pub fn AttributeTable(
    /// Keys and values.
    rows: Vec<(String, String)>,
) -> impl IntoView {
    let row = |(key, value): (String, String)| {
        let shown = if value.is_empty() { "(empty)".to_owned() } else { value.clone() };
        let is_wide = is_wide(&value);
        let class = if value.is_empty() { "kv-value kv-empty" } else { "kv-value" };
        view! {
            <div class="kv-row" class:kv-wide=is_wide>
                <dt class="kv-key" title=key.clone()>
                    {key.clone()}
                </dt>
                <dd class=class>
                    <span>{shown}</span>
                    <CopyButton text=value label="Copy the value" />
                </dd>
            </div>
        }
    };
    view! { <dl class="kv">{rows.into_iter().map(row).collect_view()}</dl> }
}

#[cfg(test)]
mod tests {
    use super::is_wide;

    #[test]
    fn a_stack_trace_has_the_whole_width() {
        assert!(is_wide("E: no\n\tat a.B.c(B.java:1)"));
        assert!(is_wide(&"x".repeat(400)));
        assert!(!is_wide("checkout"));
    }
}
