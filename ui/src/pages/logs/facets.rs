//! The most frequent values of a few fields among the matching records, as filters. A field's own
//! filter does not narrow its values. A field with more values than are listed says how many, and
//! one with numbers has their percentiles.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::api::LogStats;

use super::{
    facet_numbers::FacetNumbers,
    query_terms::{LogAttribute, exact_severity, with_severity, without},
    use_refreshed_analysis,
};
use crate::{
    api::analysis::{Analysis, log_stats},
    colour,
    components::{LoadingRows, ServiceDot, ShorterRange, WatchedRequest},
    format,
    page_time::{PageTime, partial_answer_text},
    url::{History, LogState, use_edit_query, use_query},
};

/// Maximum number of values per field.
const VALUES_MAX: usize = 10;
/// Maximum number of values of a field whose reader asked for more.
const MORE_VALUES_MAX: usize = 100;
/// Maximum number of attributes besides severity and service.
const ATTRIBUTES_MAX: usize = 4;

/// A field of records.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Facet {
    Severity,
    Service,
    Attribute(LogAttribute),
}

impl Facet {
    fn title(&self) -> String {
        match self {
            Self::Severity => "Severity".to_owned(),
            Self::Service => "Service".to_owned(),
            Self::Attribute(attribute) => attribute.name(),
        }
    }

    /// Returns the field's name in queries.
    fn field(&self) -> String {
        match self {
            Self::Severity => "severity".to_owned(),
            Self::Service => "service".to_owned(),
            Self::Attribute(attribute) => attribute.field(),
        }
    }

    /// Reports whether this value is an active filter.
    fn filters_by(&self, state: &LogState, value: &str) -> bool {
        match self {
            Self::Severity => exact_severity(state.query.as_deref()).1 == Some(value),
            Self::Service => state.service.as_deref() == Some(value),
            Self::Attribute(attribute) => attribute.is_filtered_by(state, value),
        }
    }

    /// Adds or removes a filter of the value.
    fn toggled(&self, mut state: LogState, value: &str) -> LogState {
        let next = (!self.filters_by(&state, value)).then(|| value.to_owned());
        match self {
            // The filter above selects a severity and all worse ones. A value here selects only its
            // own severity.
            Self::Severity => {
                state.severity = None;
                state.query = with_severity(state.query.as_deref(), next.as_deref());
            }
            Self::Service => state.service = next,
            Self::Attribute(attribute) => state = attribute.filter_by(state, next.as_deref()),
        }
        state
    }

    /// Excludes records with the value.
    fn without(&self, state: LogState, value: &str) -> LogState {
        let mut state =
            if self.filters_by(&state, value) { self.toggled(state, value) } else { state };
        state.query = without(state.query.as_deref(), &self.field(), value);
        state
    }
}

/// Returns the filters other than the facet's own.
fn others(facet: &Facet, state: &LogState) -> LogState {
    let mut others = state.without_open_record();
    match facet {
        Facet::Severity => {
            others.severity = None;
            others.query = with_severity(state.query.as_deref(), None);
        }
        Facet::Service => others.service = None,
        // Records without the attribute would count as one more value.
        Facet::Attribute(attribute) => others = attribute.filter_by_presence(others),
    }
    others
}

/// Adds a facet and its other filters to an analysis.
fn values_query(analysis: Analysis, facet: &Facet, others: &LogState, limit: usize) -> Analysis {
    analysis.with_log_filters(others).with("by", facet.field()).with("limit", limit)
}

/// The facets in the side column.
#[component]
pub(super) fn Facets(
    state: Memo<LogState>,
    time: PageTime,
    /// Set while the pointer or the focus is on a value, which must not move then.
    reading: RwSignal<bool>,
    on_change: Callback<(LogState, History)>,
) -> impl IntoView {
    let query = use_query();
    let chosen = Memo::new(move |_| {
        query.with(|query| {
            let keys = query.all("facet").filter(|key| !key.is_empty());
            keys.take(ATTRIBUTES_MAX).map(str::to_owned).collect::<Vec<_>>()
        })
    });
    let attributes = move || {
        let attributes = chosen.get().into_iter().map(|name| LogAttribute::from_name(&name));
        let facets = attributes.map(Facet::Attribute);
        facets
            .map(|facet| view! { <FacetList facet state time reading on_change /> })
            .collect_view()
    };
    view! {
        <aside
            class="facets"
            aria-label="Fields"
            on:pointerenter=move |_| reading.set(true)
            on:pointerleave=move |_| reading.set(false)
            on:focusin=move |_| reading.set(true)
            on:focusout=move |_| reading.set(false)
        >
            <FacetList facet=Facet::Severity state time reading on_change />
            <FacetList facet=Facet::Service state time reading on_change />
            {attributes}
            <p class="mute facets-note">
                "To see the values of an attribute or of a field of messages here, open a record, \
                 then Filter by a field, and choose List its values."
            </p>
        </aside>
    }
}

#[component]
fn FacetList(
    facet: Facet,
    state: Memo<LogState>,
    time: PageTime,
    reading: RwSignal<bool>,
    on_change: Callback<(LogState, History)>,
) -> impl IntoView {
    let title = facet.title();
    let (asked, narrowed) = (facet.clone(), facet.clone());
    let others = Memo::new(move |_| state.with(|state| others(&narrowed, state)));
    let more = RwSignal::new(false);
    let answer = use_refreshed_analysis(time, move |analysis| {
        let limit = if more.get() { MORE_VALUES_MAX } else { VALUES_MAX };
        others.with(|others| log_stats(&values_query(analysis, &asked, others, limit)))
    });
    let (remove, numbers) = match &facet {
        Facet::Severity | Facet::Service => (None, None),
        Facet::Attribute(attribute) => {
            let field = attribute.field();
            let numbers = view! { <FacetNumbers field values=answer others time reading /> };
            (Some(remove_button(attribute.name())), Some(numbers))
        }
    };
    let facet = Arc::new(facet);
    let rows = move || {
        let answer = answer.value()?;
        let rows = values(&answer);
        let most = rows.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
        if *facet == Facet::Service {
            colour::assign_shades(rows.iter().map(|(value, _)| value.as_str()));
        }
        let row = |(value, count): (String, u64)| {
            let (facet, share) = (Arc::clone(&facet), count as f64 / most as f64);
            view! { <FacetRow facet value count share state on_change /> }
        };
        let none = rows.is_empty().then(|| view! { <li class="mute">"None"</li> });
        Some(view! { {rows.into_iter().map(row).collect_view()} {none} })
    };
    let rest = move || answer.value().and_then(|answer| rest(&answer, more));
    let is_loading = Memo::new(move |_| answer.loading());
    view! {
        <section class="facet" class:is-stale=move || answer.pending() && !is_loading.get()>
            <h3>
                <bdi>{title.clone()}</bdi>
                {remove}
            </h3>
            {numbers}
            {WatchedRequest::new("These values are not counted", answer).note()}
            <Show when=move || is_loading.get()>
                <LoadingRows count=3 />
            </Show>
            <ul aria-label=title>{rows}</ul>
            {rest}
        </section>
    }
}

/// A button that removes the facet with this name from the page.
fn remove_button(name: String) -> impl IntoView {
    let edit = use_edit_query();
    let label = format!("Do not show the values of {name}");
    let remove = move |_| {
        edit(History::Replace, &|query| {
            let left: Vec<String> =
                query.all("facet").filter(|one| *one != name).map(str::to_owned).collect();
            query.remove("facet");
            left.iter().for_each(|name| query.push("facet", name));
        });
    };
    view! {
        <button class="button button-ghost button-small" type="button" aria-label=label on:click=remove>
            "✕"
        </button>
    }
}

/// The number of values that are not listed, a button that lists more of them, and a note when not
/// all records were counted.
fn rest(answer: &LogStats, more: RwSignal<bool>) -> Option<impl IntoView + use<>> {
    let listed = answer.groups.len() as u64;
    let is_more = more.get();
    let cut = (is_more || listed < answer.group_count).then(|| {
        let words = format!("{} of {} ", format::count(listed), format::count(answer.group_count));
        let next = if is_more { "Show fewer" } else { "Show more" };
        view! {
            {words}
            <button class="link" type="button" on:click=move |_| more.set(!is_more)>
                {next}
            </button>
        }
    });
    let partial = partial_answer_text(&answer.searched).map(|words| {
        view! {
            <span title=words>" Not all records were counted. "</span>
            <ShorterRange />
        }
    });
    (cut.is_some() || partial.is_some())
        .then(|| view! { <p class="mute facet-rest">{cut} {partial}</p> })
}

/// A value with two buttons: only its records, or all others.
#[component]
fn FacetRow(
    facet: Arc<Facet>,
    value: String,
    count: u64,
    /// Its number of records divided by that of the most frequent value.
    share: f64,
    state: Memo<LogState>,
    on_change: Callback<(LogState, History)>,
) -> impl IntoView {
    let dot = (*facet == Facet::Service).then(|| view! { <ServiceDot service=value.clone() /> });
    let (of_state, filtered) = (Arc::clone(&facet), value.clone());
    let is_on = Memo::new(move |_| state.with(|state| of_state.filters_by(state, &filtered)));
    let (toggled, clicked) = (Arc::clone(&facet), value.clone());
    let toggle = move |_| {
        on_change.run((toggled.toggled(state.get_untracked(), &clicked), History::Push));
    };
    let (excluded, shown) = (value.clone(), value.clone());
    let exclude = move |_| {
        on_change.run((facet.without(state.get_untracked(), &excluded), History::Push));
    };
    let share = format!("{share:.3}");
    let without = format!("Without {value}");
    view! {
        <li class="facet-row">
            <button
                class="facet-value"
                type="button"
                title=value
                aria-pressed=move || is_on.get().to_string()
                on:click=toggle
            >
                {dot}
                <bdi class="facet-name">{shown}</bdi>
                <span class="num mute">{format::count(count)}</span>
                <span class="facet-bar" style=("--share", share) aria-hidden="true"></span>
            </button>
            <button
                class="button button-ghost button-small facet-without"
                type="button"
                aria-label=without.clone()
                title=without
                on:click=exclude
            >
                "≠"
            </button>
        </li>
    }
}

/// Returns the values with their numbers of records.
fn values(answer: &LogStats) -> Vec<(String, u64)> {
    let groups = answer.groups.iter();
    groups.filter_map(|group| Some((group.values.first()?.clone()?, group.count))).collect()
}

#[cfg(test)]
mod tests {
    use tidings_proto::UnixNanos;

    use super::{Analysis, Facet, LogAttribute, LogState, log_stats, others, values_query};
    use crate::url::AttributeFilter;

    #[test]
    fn a_field_is_narrowed_by_the_other_filters_and_not_by_its_own() {
        let state = LogState {
            query: Some("a or b".to_owned()),
            service: Some("shop".to_owned()),
            severity: Some("warn".to_owned()),
            attributes: vec![AttributeFilter::parse("tier=gold").unwrap()],
            ..LogState::default()
        };
        let minute = Analysis::between(UnixNanos(0), UnixNanos(60_000_000_000));
        let asked = |facet: Facet| {
            let query = values_query(minute.clone(), &facet, &others(&facet, &state), 8);
            log_stats(&query).address().to_owned()
        };
        let services = asked(Facet::Service);
        for part in
            ["q=a", "severity=warn", "attribute=tier%3Dgold", "by=service", "end=60000000000"]
        {
            assert!(services.contains(part), "{part} in {services}");
        }
        assert!(!services.contains("service=shop"), "{services}");
        assert!(asked(Facet::Severity).contains("service=shop"));
        assert!(!asked(Facet::Severity).contains("severity=warn"));
        let tiers = asked(Facet::Attribute(LogAttribute::from_name("tier")));
        assert!(tiers.contains("by=attribute.tier") && !tiers.contains("gold"), "{tiers}");
        assert!(tiers.contains("attribute=tier&"), "only records that have it: {tiers}");
        let hosts = asked(Facet::Attribute(LogAttribute::from_name("resource.host.name")));
        assert!(hosts.contains("by=resource.host.name") && hosts.contains("gold"), "{hosts}");
    }

    #[test]
    fn a_severity_is_filtered_by_exactly() {
        let state = LogState { severity: Some("warn".to_owned()), ..LogState::default() };
        let on = Facet::Severity.toggled(state, "warn");
        assert_eq!((on.query.as_deref(), on.severity.as_deref()), (Some("severity:warn"), None));
        assert!(Facet::Severity.filters_by(&on, "warn"));
        let other = Facet::Severity.toggled(on.clone(), "error");
        assert_eq!(other.query.as_deref(), Some("severity:error"));
        assert_eq!(Facet::Severity.toggled(on, "warn"), LogState::default());
    }

    #[test]
    fn a_value_is_filtered_by_and_no_longer() {
        let facet = Facet::Attribute(LogAttribute::from_name("tier"));
        let on = facet.toggled(LogState::default(), "gold");
        assert!(facet.filters_by(&on, "gold"));
        let other = facet.toggled(on.clone(), "basic");
        assert!(facet.filters_by(&other, "basic") && !facet.filters_by(&other, "gold"));
        assert_eq!(facet.toggled(on, "gold"), LogState::default());
    }

    #[test]
    fn a_field_of_the_message_is_filtered_by_a_term_of_the_query() {
        let facet = Facet::Attribute(LogAttribute::from_name("body.user.tier"));
        let state = LogState { query: Some("a or b".to_owned()), ..LogState::default() };
        let on = facet.toggled(state, "gold");
        assert_eq!(on.query.as_deref(), Some("(a or b) body.user.tier:=\"gold\""));
        assert!(on.attributes.is_empty());
        assert!(facet.filters_by(&on, "gold") && !facet.filters_by(&on, "basic"));
        let other = facet.toggled(on.clone(), "basic");
        assert_eq!(other.query.as_deref(), Some("(a or b) body.user.tier:=\"basic\""));
        let severe = Facet::Severity.toggled(on.clone(), "error");
        assert!(facet.filters_by(&severe, "gold") && Facet::Severity.filters_by(&severe, "error"));
        let listed = others(&facet, &severe).query;
        assert_eq!(listed.as_deref(), Some("(a or b) body.user.tier:* severity:error"));
        let left_out = facet.without(severe, "gold").query;
        let expected = "(a or b) NOT body.user.tier:=\"gold\" severity:error";
        assert_eq!(left_out.as_deref(), Some(expected));
        assert_eq!(facet.toggled(on, "gold").query.as_deref(), Some("(a or b)"));
    }

    #[test]
    fn a_value_is_left_out_and_no_longer_filtered_by() {
        let facet = Facet::Attribute(LogAttribute::from_name("tier"));
        let only = facet.toggled(LogState::default(), "gold");
        let left_out = facet.without(only, "gold");
        assert_eq!(left_out.query.as_deref(), Some("NOT attribute.tier:=\"gold\""));
        assert!(!facet.filters_by(&left_out, "gold"));
        let severities = Facet::Severity.without(left_out, "warn");
        let query = "NOT attribute.tier:=\"gold\" NOT severity:=\"warn\"";
        assert_eq!(severities.query.as_deref(), Some(query));
    }
}
