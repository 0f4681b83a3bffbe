//! Attributes as a list of keys and values, each value to be copied.

use leptos::prelude::*;
use tidings_proto::otlp::KeyValue;

use super::CopyButton;
use crate::format;

/// Attributes as text, in the sender's order.
#[must_use]
pub fn attribute_rows(attributes: &[KeyValue]) -> Vec<(String, String)> {
    let text = |attribute: &KeyValue| {
        (attribute.key.clone(), attribute.value.as_ref().map(format::value).unwrap_or_default())
    };
    attributes.iter().map(text).collect()
}

/// The list.
#[component]
pub fn AttributeTable(
    /// Keys and values.
    rows: Vec<(String, String)>,
) -> impl IntoView {
    let row = |(key, value): (String, String)| {
        let shown = if value.is_empty() { "(empty)".to_owned() } else { value.clone() };
        let class = if value.is_empty() { "kv-value kv-empty" } else { "kv-value" };
        view! {
            <div class="kv-row">
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
