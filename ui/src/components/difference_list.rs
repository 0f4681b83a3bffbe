//! Attributes that set selected spans apart. Each value has its share on both sides, and links to
//! traces with it and without it.

use leptos::prelude::*;
use tidings_proto::api::{AttributeName, AttributeValue, Difference, Explanation, ValueShare};

use crate::{addresses::TraceListLink, format, number_format, page_time::partial_answer_text};

/// Number of values that are shown per attribute.
const VALUES_SHOWN: usize = 2;
/// Maximum number of letters of a value.
const LETTERS_MAX: usize = 60;
/// Maximum number of other attributes that are named.
const TOGETHER_MAX: usize = 4;

/// Returns the words for the missing parts of an explanation.
#[must_use]
pub fn explanation_missing(explanation: &Explanation) -> Option<String> {
    let mut words = Vec::new();
    let sampled = explanation.selected_sampled < explanation.selected_count
        || explanation.rest_sampled < explanation.rest_count;
    if sampled {
        words.push(format!(
            "Compared were samples of {} and {} spans.",
            format::count(explanation.selected_sampled),
            format::count(explanation.rest_sampled)
        ));
    }
    words.extend(explanation.partial.iter().map(|reason| format!("Partial: {reason}.")));
    // This comes last, because the link that reads the rest follows it.
    words.extend(partial_answer_text(&explanation.searched));
    (!words.is_empty()).then(|| words.join(" "))
}

/// The differences, greatest first.
#[component]
pub fn DifferenceList(
    /// The answer.
    differences: Vec<Difference>,
    /// The traces to which a value's links add their filter.
    traces: TraceListLink,
    /// Maximum number of differences that are shown.
    #[prop(default = 6)]
    shown: usize,
    /// The words for the spans that these are compared with.
    #[prop(default = "the rest")]
    rest: &'static str,
) -> impl IntoView {
    let rows =
        differences.into_iter().take(shown).map(|difference| difference_view(&difference, &traces));
    view! {
        <p class="difference-legend">
            <span class="difference-key is-selected-key">"these"</span>
            <span class="difference-key is-rest-key">{rest}</span>
        </p>
        <ul class="differences">{rows.collect_view()}</ul>
    }
}

fn difference_view(difference: &Difference, traces: &TraceListLink) -> impl IntoView + use<> {
    let Difference { attribute, values, together, .. } = difference;
    // A value that is rarer in the selection says less than one that is more common.
    let is_commoner = |value: &&ValueShare| value.selected_share > value.rest_share;
    let has_commoner = values.iter().any(|value| is_commoner(&value));
    let values = values.iter().filter(|value| !has_commoner || is_commoner(value));
    let values = values.take(VALUES_SHOWN).map(|value| value_row(attribute, value, traces));
    let together = together_text(together)
        .map(|words| view! { <p class="difference-together mute">{words}</p> });
    view! {
        <li class="difference">
            <p class="difference-key-name">
                <code title=attribute.key.clone()>{number_format::truncate(&attribute.key, 60)}</code>
                <span class="mute">{attribute.scope.clone()}</span>
            </p>
            {values.collect_view()}
            {together}
        </li>
    }
}

/// Returns the words for other attributes of the same spans. `None` where none has a value.
fn together_text(together: &[AttributeValue]) -> Option<String> {
    let named = together.iter().filter_map(|AttributeValue { attribute, value }| {
        let value = number_format::truncate(value.as_deref()?, LETTERS_MAX);
        Some(format!("{} = {value}", number_format::truncate(&attribute.key, 40)))
    });
    let mut named: Vec<String> = named.collect();
    let more = named.len().saturating_sub(TOGETHER_MAX);
    named.truncate(TOGETHER_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!named.is_empty()).then(|| format!("They also have {}{more}.", named.join(", ")))
}

fn value_row(
    attribute: &AttributeName,
    value: &ValueShare,
    traces: &TraceListLink,
) -> impl IntoView + use<> {
    let words = value.value.as_ref().map_or_else(
        || "(not set)".to_owned(),
        |value| {
            if value.is_empty() {
                "(empty)".to_owned()
            } else {
                number_format::truncate(value, LETTERS_MAX)
            }
        },
    );
    let bar = |share: f64, class: &'static str| {
        view! {
            <span class="difference-bar">
                <span class=class style=("width", format!("{:.1}%", share.clamp(0.0, 1.0) * 100.0))></span>
            </span>
            <span class="num">{number_format::share(share)}</span>
        }
    };
    let text = value.value.as_deref();
    let only = traces.clone().with_value(&attribute.scope, &attribute.key, text);
    let without = traces.clone().address_without_value(&attribute.scope, &attribute.key, text);
    let link = |href: Option<String>, words: &'static str| {
        href.map(|href| view! { <a class="difference-link" href=href>{words}</a> })
    };
    view! {
        <div class="difference-value">
            <span class="difference-words mono" title=value.value.clone()>{words}</span>
            <span class="difference-bars">
                {bar(value.selected_share, "difference-selected")}
                {bar(value.rest_share, "difference-rest")}
            </span>
            <span class="difference-links">
                {link(only.map(|traces| traces.address()), "show only")}
                {link(without, "show without")}
            </span>
        </div>
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::api::{AttributeName, AttributeValue};

    use super::together_text;

    #[test]
    fn other_attributes_are_named_with_their_values() {
        let other = |key: &str, value: Option<&str>| AttributeValue {
            attribute: AttributeName { scope: "span".to_owned(), key: key.to_owned() },
            value: value.map(str::to_owned),
        };
        let (code, zone) = (other("code", Some("200")), other("zone", None));
        let words = together_text(&[zone.clone(), code]);
        assert_eq!(words.as_deref(), Some("They also have code = 200."));
        assert_eq!((together_text(&[zone]), together_text(&[])), (None, None));
    }
}
