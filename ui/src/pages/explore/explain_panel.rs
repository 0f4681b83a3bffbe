//! Attributes that are more frequent in the box than outside, by the greatest difference of shares.
//! Each can be made a filter or excluded.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::api::{AttributeName, AttributeValue, Difference, Explanation, ValueShare};

use super::{
    ExplorePageState,
    field::{Field, exclude, set},
    with_span_filters,
};
use crate::{
    api::analysis::{Analysis, explain},
    browser,
    components::Panel,
    format::{self, rates},
    page_time::partial_answer_text,
    request_state::RequestState,
    url::{ExploreState, traceql::narrowed},
};

/// Maximum number of differences that are drawn.
const SHOWN_MAX: usize = 12;
/// Maximum number of values of one attribute that are drawn.
const VALUES_MAX: usize = 2;
/// Maximum number of omitted attributes that are named.
const NAMED_MAX: usize = 3;

/// The panel, while there is a box.
pub(super) fn explain_panel(page_state: ExplorePageState) -> impl IntoView {
    let asked = Memo::new(move |_| {
        page_state.state.with(|state| {
            Some((state.filters.clone(), state.query.clone(), state.range, state.chosen?))
        })
    });
    let answer = RequestState::<Explanation>::new(move || {
        let (filters, query, range, chosen) = asked.get()?;
        let all = Analysis::within(range, browser::now());
        let all = with_span_filters(all, &filters, query.as_deref());
        Some(explain(&all.selecting(chosen)))
    });
    Effect::new(move |_| {
        if asked.with(Option::is_none) {
            answer.clear();
        }
    });
    let draw = move |explanation: Arc<Explanation>| explanation_view(page_state, &explanation);
    let panel = move || {
        view! {
            <Panel
                title="What sets the box apart"
                note=Signal::derive(move || {
                    answer.value().map(|answer| note(&answer)).unwrap_or_default()
                })
                state=answer
                is_empty=|explanation| explanation.selected_count == 0
                missing=missing
                empty="No span is in the box. Draw it over cells that are filled."
                rows=5
                draw=draw
            />
        }
    };
    view! { <Show when=move || asked.with(Option::is_some)>{panel}</Show> }
}

fn note(explanation: &Explanation) -> String {
    format!(
        "{} against {}",
        format::counted(explanation.selected_count, "span"),
        format::counted(explanation.rest_count, "other")
    )
}

fn missing(explanation: &Explanation) -> Option<String> {
    let sampled = explanation.selected_sampled < explanation.selected_count
        || explanation.rest_sampled < explanation.rest_count;
    let words = || {
        format!(
            "Compared are samples: {} in the box, {} outside.",
            format::count(explanation.selected_sampled),
            format::count(explanation.rest_sampled)
        )
    };
    partial_answer_text(&explanation.searched).or_else(|| sampled.then(words))
}

fn explanation_view(
    page_state: ExplorePageState,
    explanation: &Explanation,
) -> impl IntoView + use<> {
    let differences = explanation.differences.iter().take(SHOWN_MAX);
    let rows = differences.map(|difference| row(page_state, difference)).collect_view();
    let compared = format!(
        "{} compared, {} differ more than chance explains. Click a value to keep only its spans, with Shift to leave them out.",
        format::counted(explanation.compared_count, "attribute"),
        format::count(explanation.differences.len() as u64)
    );
    let none = explanation.differences.is_empty().then(|| {
        view! {
            <p class="panel-empty">
                "Nothing sets these spans apart: every attribute is as common inside the box as outside."
            </p>
        }
    });
    let left_out = left_out(&explanation.left_out);
    view! {
        <p class="explain-note mute">{compared}</p>
        <p class="explain-note explain-legends mute">
            <span>
                <span class="explain-key explain-inside"></span> "inside"
            </span>
            <span>
                <span class="explain-key explain-outside"></span> "outside"
            </span>
        </p>
        {none}
        <ul class="explain-rows">{rows}</ul>
        {left_out.map(|words| view! { <p class="explain-note mute">{words}</p> })}
    }
}

fn left_out(names: &[AttributeName]) -> Option<String> {
    let named = first_named(names.iter().map(|name| name.key.clone()))?;
    Some(format!("Left out as ids: {named}"))
}

/// Lists the first names and the number of the others.
fn first_named(names: impl ExactSizeIterator<Item = String>) -> Option<String> {
    let more = names.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let named: Vec<String> = names.take(NAMED_MAX).collect();
    (!named.is_empty()).then(|| format!("{}{more}", named.join(", ")))
}

fn row(page_state: ExplorePageState, difference: &Difference) -> impl IntoView + use<> {
    let together = together_text(&difference.together)
        .map(|words| view! { <span class="explain-together mute">{words}</span> });
    // The first value is the most in excess inside, and it is the one on the same spans as others.
    let is_shown = |(place, value): &(usize, &ValueShare)| {
        *place == 0 || value.selected_share > value.rest_share
    };
    let values = difference.values.iter().enumerate().filter(is_shown).take(VALUES_MAX);
    let mut values = values.map(|(_, value)| value_view(page_state, &difference.attribute, value));
    let first = values.next();
    let others = values.collect_view();
    view! { <li class="explain-row">{first} {together} {others}</li> }
}

/// Names attributes whose values, or whose absence, occur on the same spans.
fn together_text(together: &[AttributeValue]) -> Option<String> {
    let named = first_named(together.iter().map(|AttributeValue { attribute, value }| {
        value.as_ref().map_or_else(
            || format!("no {}", attribute.key),
            |value| format!("{} = {value}", attribute.key),
        )
    }))?;
    Some(format!("The same spans have {named}"))
}

fn value_view(
    page_state: ExplorePageState,
    name: &AttributeName,
    value: &ValueShare,
) -> impl IntoView + use<> {
    let shown = value.value.clone().unwrap_or_else(|| "not set".to_owned());
    let relation = if value.value.is_some() { "=" } else { "is" };
    let words = format!("{} {relation} {shown}", name.key);
    let title = format!(
        "{words}: {} of the box, {} of the others",
        rates::percent(value.selected_share),
        rates::percent(value.rest_share)
    );
    let filter = ValueFilter::from_share(name, value);
    let is_plain = filter.is_none();
    let click = move |event: web_sys::MouseEvent| {
        if let Some(filter) = &filter {
            page_state.edit(|state| filter.apply(state, event.shift_key()));
        }
    };
    let bar = |class: &'static str, share: f64| {
        let width = format!("{:.1}%", (share * 100.0).clamp(0.0, 100.0));
        view! { <span class=class style=("width", width)></span> }
    };
    view! {
        <button class="explain-value" type="button" title=title disabled=is_plain on:click=click>
            <span class="explain-words mono">
                <bdi>{words}</bdi>
            </span>
            <span class="explain-bars" aria-hidden="true">
                {bar("explain-bar explain-inside", value.selected_share)}
                {bar("explain-bar explain-outside", value.rest_share)}
            </span>
            <span class="explain-shares num">
                <b>{rates::percent(value.selected_share)}</b>
                <span class="mute">{rates::percent(value.rest_share)}</span>
            </span>
        </button>
    }
}

/// A value as a filter of spans.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ValueFilter {
    name: AttributeName,
    value: String,
}

impl ValueFilter {
    /// Returns `None` for values that filters cannot express: ranges of numbers, and missing
    /// attributes.
    fn from_share(name: &AttributeName, share: &ValueShare) -> Option<Self> {
        let value = share.value.clone()?;
        let is_range = value
            .split_once("..")
            .is_some_and(|(from, to)| from.parse::<f64>().is_ok() && to.parse::<f64>().is_ok());
        (!is_range).then(|| Self { name: name.clone(), value })
    }

    /// Narrows the query, or else the filters.
    fn apply(&self, state: &mut ExploreState, leave_out: bool) {
        let Self { name, value } = self;
        if let Some(query) = &mut state.query {
            *query = narrowed(query, name, value, leave_out);
            return;
        }
        // An attribute that can be excluded has a key.
        let (field, key) = match (name.scope.as_str(), name.key.as_str()) {
            ("intrinsic", "service") => (Field::Service, Some("service.name")),
            ("intrinsic", "status") => (Field::Status, None),
            ("intrinsic", "kind") => (Field::Kind, None),
            ("intrinsic", _) => (Field::Operation, None),
            (_, key) => (Field::Attribute(key.to_owned()), Some(key)),
        };
        match key {
            Some(key) if leave_out => exclude(&mut state.filters, key, value),
            None if leave_out => {}
            _ => {
                let _unknown_words_stay_out = set(&mut state.filters, &field, Some(value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::api::{AttributeName, AttributeValue, ValueShare};

    use super::{ExploreState, ValueFilter, left_out, together_text};
    use crate::url::traceql::write_traceql;

    fn name(scope: &str, key: &str) -> AttributeName {
        AttributeName { scope: scope.to_owned(), key: key.to_owned() }
    }

    fn share(value: Option<&str>) -> ValueShare {
        ValueShare {
            value: value.map(str::to_owned),
            selected_count: 9,
            rest_count: 1,
            selected_share: 0.9,
            rest_share: 0.1,
        }
    }

    #[test]
    fn a_value_is_kept_or_left_out() {
        for (scope, key, value, leave_out, wanted) in [
            ("span", "acquirer", "northpay", false, "{ .acquirer = \"northpay\" }"),
            ("span", "acquirer", "northpay", true, "{ .acquirer != \"northpay\" }"),
            ("intrinsic", "service", "pay", false, "{ resource.service.name = \"pay\" }"),
            ("intrinsic", "service", "pay", true, "{ .service.name != \"pay\" }"),
            ("intrinsic", "status", "error", false, "{ status = error }"),
            ("intrinsic", "status", "error", true, "{ }"),
        ] {
            let mut state = ExploreState::default();
            let filter = ValueFilter::from_share(&name(scope, key), &share(Some(value))).unwrap();
            filter.apply(&mut state, leave_out);
            assert_eq!((write_traceql(&state.filters).as_str(), state.query), (wanted, None));
        }
    }

    #[test]
    fn a_value_of_what_a_query_finds_is_kept_or_left_out_by_the_query() {
        let query = Some("{ } >> { }".to_owned());
        let mut state = ExploreState { query, ..ExploreState::default() };
        let of = |scope, key, value| {
            ValueFilter::from_share(&name(scope, key), &share(Some(value))).unwrap()
        };
        of("resource", "zone", "eu-1").apply(&mut state, false);
        of("intrinsic", "status", "error").apply(&mut state, true);
        assert_eq!(
            state.query.as_deref(),
            Some("{ } >> { } | { resource.zone = \"eu-1\" } | { !(status = error) }")
        );
        assert!(state.filters.is_empty());
    }

    #[test]
    fn ranges_and_missing_attributes_are_no_filters() {
        assert_eq!(
            ValueFilter::from_share(&name("span", "retries"), &share(Some("512..1023"))),
            None
        );
        assert_eq!(ValueFilter::from_share(&name("span", "retries"), &share(None)), None);
        assert!(ValueFilter::from_share(&name("span", "path"), &share(Some("../a"))).is_some());
    }

    #[test]
    fn attributes_that_spans_lack_are_distinguished_from_those_that_they_have() {
        let of = |key: &str, value: Option<&str>| AttributeValue {
            attribute: name("span", key),
            value: value.map(str::to_owned),
        };
        let together = [of("server.address", Some("northpay.example")), of("rpc.system", None)];
        assert_eq!(
            together_text(&together).unwrap(),
            "The same spans have server.address = northpay.example, no rpc.system"
        );
        assert_eq!(together_text(&[]), None);
    }

    #[test]
    fn ids_that_were_left_out_are_named_and_counted() {
        let names = ["a", "b", "c", "d", "e"].map(|key| name("span", key));
        assert_eq!(left_out(&names).unwrap(), "Left out as ids: a, b, c and 2 more");
        assert_eq!(left_out(&[]), None);
    }
}
