//! Attributes with the types of their values, each with buttons to copy its value and to search for
//! it, in this trace or in all.

use leptos::prelude::*;
use tidings_proto::{
    api::{NameCount, NameList},
    otlp::{KeyValue, Resource, Value},
};

use super::super::{page_signals::PageSignals, trace_state::FIND_CHARS_MAX};
use crate::{
    api,
    components::{CopyButton, Icon, IconName, WatchedRequest, attribute_rows},
    format,
    request_state::RequestState,
    url::{AttributeFilter, ExploreState, TraceFilters, traceql::search_traceql},
};

/// Maximum number of values that are listed per attribute.
const VALUES_MAX: usize = 20;

/// Values longer than this are cut until they are opened.
const VALUE_CHARS: usize = 400;

/// A titled list. Each value has a search for it in `service`, or in all services when that is
/// empty. `None` when there are no attributes.
pub(super) fn attribute_list(
    page: PageSignals,
    title: &'static str,
    attributes: &[KeyValue],
    service: &str,
) -> Option<impl IntoView + use<>> {
    if attributes.is_empty() {
        return None;
    }
    let rows = attribute_rows(attributes).into_iter().zip(attributes);
    let rows = rows.map(|((key, value), attribute)| {
        let find = find_button(page, attribute, &value);
        let outside = outside_link(&value);
        let (shown, values) = (typed_value(attribute, value.clone()), RwSignal::new(false));
        let listed = key.clone();
        view! {
            <dt title=key.clone()>
                {key_view(&key)}
            </dt>
            <dd>
                {shown}
                {outside}
                <span class="attribute-actions">
                    {find}
                    {filter_links(service, &key, &value)}
                    <button
                        class="button button-ghost button-icon"
                        type="button"
                        title="Show all its values"
                        aria-label="Show all its values"
                        aria-pressed=move || values.get().to_string()
                        on:click=move |_| values.update(|open| *open = !*open)
                    >
                        "≡"
                    </button>
                    <CopyButton text=value label="Copy the value" />
                </span>
                <Show when=move || values.get()>
                    <AllValues key_name=listed.clone() />
                </Show>
            </dd>
        }
    });
    let count = attributes.len();
    Some(view! {
        <section>
            <h3>{title} <span class="faint">{count}</span></h3>
            <dl class="attributes">{rows.collect_view()}</dl>
        </section>
    })
}

/// A list of keys and values without buttons.
pub(super) fn plain_attributes(attributes: &[KeyValue]) -> impl IntoView + use<> {
    let rows = attribute_rows(attributes).into_iter().zip(attributes);
    let rows = rows.map(|((key, value), attribute)| {
        view! {
            <dt>{key_view(&key)}</dt>
            <dd>{typed_value(attribute, value)}</dd>
        }
    });
    view! { <dl class="attributes">{rows.collect_view()}</dl> }
}

/// The key of an attribute. A long one breaks between its words.
fn key_view(key: &str) -> impl IntoView + use<> {
    let parts = key_parts(key).into_iter().map(|part| view! { {part} <wbr /> });
    view! { <bdi>{parts.collect_view()}</bdi> }
}

/// Returns the parts of a key, each with the dot or the underscore that ends it.
fn key_parts(key: &str) -> Vec<String> {
    key.split_inclusive(['.', '_']).map(str::to_owned).collect()
}

/// The text of a value with the type that was sent. A number and a text may have the same text.
fn typed_value(attribute: &KeyValue, text: String) -> impl IntoView + use<> {
    let sign = attribute.value().map(Value::type_name).map(|word| {
        view! {
            <span class="attribute-type faint" title="Type of the value">
                {word}
            </span>
        }
    });
    view! { {value_view(text)} {sign} }
}

/// Returns the query that finds the spans with this value in their trace. `None` for a value that
/// has no literal in TraceQL, and for one that is longer than the find text.
fn find_query(attribute: &KeyValue, text: &str) -> Option<String> {
    let has_literal = attribute.value()?.form().is_scalar();
    let filter = AttributeFilter { key: attribute.key.clone(), value: Some(text.to_owned()) };
    let filters = TraceFilters { attributes: vec![filter], ..TraceFilters::default() };
    let query = search_traceql(&filters);
    (has_literal && query.chars().count() <= FIND_CHARS_MAX).then_some(query)
}

/// A button that finds the spans of this trace with the value.
fn find_button(
    page: PageSignals,
    attribute: &KeyValue,
    text: &str,
) -> Option<impl IntoView + use<>> {
    let query = find_query(attribute, text)?;
    let find = move |_| page.state.update(|state| state.find.clone_from(&query));
    Some(view! {
        <button
            class="button button-ghost button-icon"
            type="button"
            title="Find in this trace"
            aria-label="Find in this trace"
            on:click=find
        >
            <Icon name=IconName::Search />
        </button>
    })
}

/// Links to the traces with this value, and to those with another.
fn filter_links(service: &str, key: &str, value: &str) -> impl IntoView + use<> {
    let label = format!("Find traces with {key} = {}", value.chars().take(60).collect::<String>());
    view! {
        <a
            class="attribute-filter"
            href=explore_address(service, key, value)
            title=label.clone()
            aria-label=label
        >
            "="
        </a>
        <a
            class="attribute-filter"
            href=without_address(service, key, value)
            title="Find traces with another value"
            aria-label="Find traces with another value"
        >
            "≠"
        </a>
    }
}

/// The most frequent values of an attribute over all spans, each with a link to its traces.
#[component]
fn AllValues(key_name: String) -> impl IntoView {
    let asked = key_name.clone();
    let answer = RequestState::<NameList>::new(move || Some(api::attribute_values(&asked, "")));
    let failed = WatchedRequest::new("The values are not known", answer);
    let rows = move || {
        if failed.has_failed() {
            return view! { <li>{failed.note()}</li> }.into_any();
        }
        let Some(list) = answer.value() else {
            return view! { <li class="mute">"Looking…"</li> }.into_any();
        };
        let row = |name: &NameCount| {
            let address = explore_address("", &key_name, &name.name);
            let (value, count) = (name.name.clone(), format::count(name.count));
            view! {
                <li>
                    <a href=address title=value.clone()>
                        <bdi>{value.clone()}</bdi>
                    </a>
                    <span class="faint">{count}</span>
                </li>
            }
        };
        let more = list.truncated.then(|| view! { <li class="faint">"and more"</li> });
        let rows = list.names.iter().take(VALUES_MAX).map(row).collect_view();
        view! { {rows} {more} }.into_any()
    };
    view! {
        <ul class="attribute-values" aria-label="All values">
            {rows}
        </ul>
    }
}

/// The text. The end of a long one can be opened.
pub(super) fn value_view(value: String) -> AnyView {
    if value.is_empty() {
        return view! { <span class="faint">"(empty)"</span> }.into_any();
    }
    match value.char_indices().nth(VALUE_CHARS) {
        None => view! { <bdi>{value}</bdi> }.into_any(),
        Some((cut, _)) => {
            let (start, rest) = value.split_at(cut);
            let (start, rest) = (start.to_owned(), rest.to_owned());
            let more =
                format!("… {} more", format::counted(rest.chars().count() as u64, "character"));
            view! {
                <bdi>{start}</bdi>
                <details class="attribute-rest">
                    <summary>{more}</summary>
                    <bdi>{rest}</bdi>
                </details>
            }
            .into_any()
        }
    }
}

/// Reports whether a value is an address of a host and, if any, a port. One with user information
/// is not, because it may look like another host's.
fn is_web_address(value: &str) -> bool {
    let schemes = ["http://", "https://"];
    let Some(rest) = schemes.iter().find_map(|scheme| value.strip_prefix(scheme)) else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, ""),
    };
    let is_of_host = |sign: char| sign.is_ascii_alphanumeric() || "-._~[]:".contains(sign);
    !host.is_empty()
        && (host.starts_with('[') || !host.contains(':'))
        && host.chars().all(is_of_host)
        && port.chars().all(|digit| digit.is_ascii_digit())
        && !value.contains(char::is_whitespace)
}

/// A value that is a web address, as a link without a referrer.
fn outside_link(value: &str) -> Option<impl IntoView + use<>> {
    let href = is_web_address(value).then(|| value.to_owned())?;
    Some(view! {
        <a class="attribute-outside" href=href target="_blank" rel="noopener noreferrer nofollow">
            "open ↗"
        </a>
    })
}

fn without_address(service: &str, key: &str, value: &str) -> String {
    let filters = TraceFilters {
        service: (!service.is_empty()).then(|| service.to_owned()),
        without: vec![AttributeFilter { key: key.to_owned(), value: Some(value.to_owned()) }],
        ..TraceFilters::default()
    };
    ExploreState { filters, ..ExploreState::default() }.write().on("/explore")
}

fn explore_address(service: &str, key: &str, value: &str) -> String {
    let filters = TraceFilters {
        service: (!service.is_empty()).then(|| service.to_owned()),
        attributes: vec![AttributeFilter { key: key.to_owned(), value: Some(value.to_owned()) }],
        ..TraceFilters::default()
    };
    ExploreState { filters, ..ExploreState::default() }.write().on("/explore")
}

/// Returns the identity of the sender among its replicas: the pod, the instance, or the host.
pub(super) fn resource_title(resource: &Resource) -> Option<String> {
    let named = |key: &str| resource.attributes.iter().find(|attribute| attribute.key == key);
    let attribute =
        ["k8s.pod.name", "service.instance.id", "host.name"].iter().find_map(|key| named(key))?;
    let value = format::value(attribute.value.as_ref()?);
    (!value.is_empty()).then(|| value.chars().take(60).collect())
}

#[cfg(test)]
mod tests {
    use tidings_proto::otlp::{AnyValue, KeyValue, Resource, Value};

    use super::{explore_address, find_query, key_parts, outside_link, resource_title};

    #[test]
    fn a_value_is_found_in_its_trace_as_what_was_sent_and_shows_its_type() {
        let bytes = AnyValue::from(Value::Bytes(vec![1]));
        let long = "x".repeat(200);
        for (value, text, word, query) in [
            (AnyValue::from("A-17"), "A-17", "string", Some("{ .key = \"A-17\" }")),
            ("1".into(), "1", "string", Some("{ (.key = 1 || .key = \"1\") }")),
            (1_i64.into(), "1", "int", Some("{ (.key = 1 || .key = \"1\") }")),
            (1.5_f64.into(), "1.5", "double", Some("{ (.key = 1.5 || .key = \"1.5\") }")),
            (true.into(), "true", "bool", Some("{ (.key = true || .key = \"true\") }")),
            (bytes, "0x01", "bytes", None),
            (long.as_str().into(), long.as_str(), "string", None),
        ] {
            let attribute = KeyValue::new("key", value);
            assert_eq!(attribute.value().map(Value::type_name), Some(word));
            assert_eq!(find_query(&attribute, text).as_deref(), query);
        }
    }

    #[test]
    fn keys_break_after_dots_and_underscores() {
        let parts = ["http.", "response.", "status_", "code"];
        assert_eq!(key_parts("http.response.status_code"), parts);
        assert_eq!(key_parts("tier"), ["tier"]);
    }

    #[test]
    fn only_web_addresses_become_links() {
        for (value, is_link) in [
            ("https://example.com/a?b=c", true),
            ("http://example.com", true),
            ("javascript:alert(1)", false),
            ("data:text/html,x", false),
            ("https://example.com and more", false),
            ("http://10.1.2.3:8434/trace", true),
            ("http://[::1]:80/?a", true),
            ("http://[::1]", true),
            ("https://user:word@example.com/", false),
            ("https://user:word'x.example/<script>", false),
            ("https://a:b:80/", false),
            ("https://", false),
            ("", false),
        ] {
            assert_eq!(outside_link(value).is_some(), is_link, "{value}");
        }
    }

    #[test]
    fn a_value_leads_to_the_search_for_it() {
        assert_eq!(
            explore_address("cart", "order.id", "A&1"),
            "/explore?service=cart&attr=order.id%3DA%261"
        );
    }

    #[test]
    fn the_pod_names_a_sender_before_its_host() {
        let attributes =
            vec![KeyValue::new("host.name", "node-4"), KeyValue::new("k8s.pod.name", "payment-2")];
        let resource = Resource { attributes, ..Resource::default() };
        assert_eq!(resource_title(&resource).as_deref(), Some("payment-2"));
        assert_eq!(resource_title(&Resource::default()), None);
    }
}
