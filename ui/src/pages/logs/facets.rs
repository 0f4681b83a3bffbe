//! The most frequent values of a few fields among the records that match, each to filter by. Counts
//! come from SQL, because they are of records; a field's own filter does not narrow its values.

use std::sync::Arc;

use leptos::prelude::*;
use serde_json::Value as Json;
use tidings_proto::{UnixNanos, api::SqlResult};

use crate::{
    api::sql::sql,
    browser, colour,
    components::ServiceDot,
    format,
    remote::Remote,
    url::{AttributeFilter, LogState, Step, use_edit_query, use_query},
};

/// Values of a field.
const VALUES_MAX: u32 = 8;
/// Attributes beside severity and service.
const ATTRIBUTES_MAX: usize = 4;

/// A field of records.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Facet {
    Severity,
    Service,
    Attribute(String),
}

impl Facet {
    fn title(&self) -> String {
        match self {
            Self::Severity => "Severity".to_owned(),
            Self::Service => "Service".to_owned(),
            Self::Attribute(key) => key.clone(),
        }
    }

    fn expression(&self) -> String {
        match self {
            Self::Severity => "severity".to_owned(),
            Self::Service => "service".to_owned(),
            Self::Attribute(key) => format!("attributes[{}]", quoted(key)),
        }
    }

    /// Tells whether this value is filtered by.
    fn filters_by(&self, state: &LogState, value: &str) -> bool {
        match self {
            Self::Severity => state.severity.as_deref() == Some(value),
            Self::Service => state.service.as_deref() == Some(value),
            Self::Attribute(key) => state
                .attributes
                .iter()
                .any(|filter| filter.key == *key && filter.value.as_deref() == Some(value)),
        }
    }

    /// Filters by the value, or no longer.
    fn toggled(&self, mut state: LogState, value: &str) -> LogState {
        let next = (!self.filters_by(&state, value)).then(|| value.to_owned());
        match self {
            Self::Severity => state.severity = next,
            Self::Service => state.service = next,
            Self::Attribute(key) => {
                state.attributes.retain(|filter| filter.key != *key);
                let filter = |value| AttributeFilter { key: key.clone(), value: Some(value) };
                state.attributes.extend(next.map(filter));
            }
        }
        state
    }
}

/// A text of SQL.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A moment of SQL.
fn moment(time: UnixNanos) -> String {
    let (date, clock) = (format::date(time, 0), format::time_of_day(time, 0));
    format!("TIMESTAMP WITH TIME ZONE '{date}T{clock}Z'")
}

/// The number from which on a severity counts as this one.
fn severity_number(name: &str) -> Option<u32> {
    let names = ["trace", "debug", "info", "warn", "error", "fatal"];
    let at = names.iter().position(|known| *known == name)?;
    u32::try_from(at).ok().map(|at| at * 4 + 1)
}

/// The query for a facet's values among the records that the other filters find.
fn values_query(facet: &Facet, state: &LogState, now: UnixNanos) -> String {
    let (start, end) = state.range.bounds(now);
    let mut conditions = Vec::new();
    conditions.extend(start.map(|start| format!("time >= {}", moment(start))));
    conditions.extend(end.map(|end| format!("time < {}", moment(end))));
    if let Some(text) = &state.text {
        conditions.push(format!("contains(lower(text), {})", quoted(&text.to_lowercase())));
    }
    if let Some(service) = state.service.as_ref().filter(|_| *facet != Facet::Service) {
        conditions.push(format!("service = {}", quoted(service)));
    }
    let severity = state.severity.as_deref().filter(|_| *facet != Facet::Severity);
    if let Some(number) = severity.and_then(severity_number) {
        conditions.push(format!("severity_number >= {number}"));
    }
    if let Some(trace) = &state.trace_id {
        conditions.push(format!("trace_id = {}", quoted(&trace.to_string())));
    }
    if let Some(span) = &state.span_id {
        conditions.push(format!("span_id = {}", quoted(&span.to_string())));
    }
    let others = state.attributes.iter();
    let others = others.filter(|filter| Facet::Attribute(filter.key.clone()) != *facet);
    conditions.extend(others.map(|filter| {
        let field = format!("attributes[{}]", quoted(&filter.key));
        match &filter.value {
            Some(value) => format!("{field} = {}", quoted(value)),
            None => format!("{field} IS NOT NULL"),
        }
    }));
    let expression = facet.expression();
    conditions.push(format!("{expression} IS NOT NULL"));
    format!(
        "SELECT {expression} AS value, count(*) AS records FROM logs WHERE {} \
         GROUP BY value ORDER BY records DESC, value LIMIT {VALUES_MAX}",
        conditions.join(" AND ")
    )
}

/// The fields at the side.
#[component]
pub(super) fn Facets(
    state: Memo<LogState>,
    on_change: Callback<(LogState, Step)>,
) -> impl IntoView {
    let query = use_query();
    let chosen = Memo::new(move |_| {
        query.with(|query| {
            let keys = query.all("facet").filter(|key| !key.is_empty());
            keys.take(ATTRIBUTES_MAX).map(str::to_owned).collect::<Vec<_>>()
        })
    });
    let attributes = move || {
        let facets = chosen.get().into_iter().map(Facet::Attribute);
        facets.map(|facet| view! { <FacetList facet state on_change /> }).collect_view()
    };
    view! {
        <aside class="facets" aria-label="Fields">
            <FacetList facet=Facet::Severity state on_change />
            <FacetList facet=Facet::Service state on_change />
            {attributes}
            <p class="mute facets-note">
                "Open a record and choose + beside an attribute to see its values here."
            </p>
        </aside>
    }
}

#[component]
fn FacetList(
    facet: Facet,
    state: Memo<LogState>,
    on_change: Callback<(LogState, Step)>,
) -> impl IntoView {
    let title = facet.title();
    let asked = facet.clone();
    // Asked when filters or range change: counting records costs too much to be done every few
    // seconds.
    let question =
        Memo::new(move |_| state.with(|state| values_query(&asked, state, browser::now())));
    let answer =
        Remote::<SqlResult>::new(move || Some(question.with(|query| sql(query, VALUES_MAX))));
    let edit = use_edit_query();
    let removable = match &facet {
        Facet::Attribute(key) => Some(key.clone()),
        _ => None,
    };
    let remove = removable.map(|key| {
        let label = format!("Do not show the values of {key}");
        let remove = move |_| {
            edit(Step::Replace, &|query| {
                let left: Vec<String> =
                    query.all("facet").filter(|one| *one != key).map(str::to_owned).collect();
                query.remove("facet");
                left.iter().for_each(|key| query.push("facet", key));
            });
        };
        view! {
            <button class="button button-ghost button-small" type="button" aria-label=label on:click=remove>
                "✕"
            </button>
        }
    });
    let facet = Arc::new(facet);
    let rows = move || {
        let answer = answer.value()?;
        let rows = values(&answer);
        let most = rows.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
        let is_service = *facet == Facet::Service;
        if is_service {
            colour::tell_apart(rows.iter().map(|(value, _)| value.as_str()));
        }
        let row = |(value, count): (String, u64)| {
            let (facet, toggled) = (Arc::clone(&facet), Arc::clone(&facet));
            let (shown, clicked) = (value.clone(), value.clone());
            let is_on = Memo::new(move |_| state.with(|state| facet.filters_by(state, &value)));
            let toggle = move |_| {
                let next = toggled.toggled(state.get_untracked(), &clicked);
                on_change.run((next, Step::New));
            };
            let width = format!("{:.1}%", count as f64 / most as f64 * 100.0);
            let dot = is_service.then(|| view! { <ServiceDot service=shown.clone() /> });
            view! {
                <li>
                    <button
                        class="facet-value"
                        type="button"
                        title=shown.clone()
                        aria-pressed=move || is_on.get().to_string()
                        on:click=toggle
                    >
                        {dot}
                        <bdi class="facet-name">{shown.clone()}</bdi>
                        <span class="num mute">{format::count(count)}</span>
                        <span class="facet-bar" style=("width", width) aria-hidden="true"></span>
                    </button>
                </li>
            }
        };
        let none = rows.is_empty().then(|| view! { <li class="mute">"None"</li> });
        Some(view! { {rows.into_iter().map(row).collect_view()} {none} })
    };
    let failed = move || {
        let error = answer.error()?;
        Some(view! { <p class="mute" title=error.detail()>{error.title()}</p> })
    };
    view! {
        <section class="facet" class:is-stale=move || answer.pending() && !answer.loading()>
            <h3>
                <bdi>{title.clone()}</bdi>
                {remove}
            </h3>
            {failed}
            <ul aria-label=title>{rows}</ul>
        </section>
    }
}

/// Values and how many records have each.
fn values(answer: &SqlResult) -> Vec<(String, u64)> {
    let row = |row: &Vec<Json>| {
        let count = row.get(1)?;
        let count = count.as_u64().or_else(|| count.as_str()?.parse().ok())?;
        Some((row.first()?.as_str()?.to_owned(), count))
    };
    answer.rows.iter().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use tidings_proto::UnixNanos;

    use super::{Facet, LogState, values_query};
    use crate::url::{AttributeFilter, TimeRange};

    #[test]
    fn a_field_is_narrowed_by_the_other_filters_and_not_by_its_own() {
        let state = LogState {
            range: TimeRange::Between { from_unix_ms: 0, to_unix_ms: 60_000 },
            text: Some("Can't".to_owned()),
            service: Some("shop".to_owned()),
            severity: Some("warn".to_owned()),
            attributes: vec![AttributeFilter::parse("tier=gold").unwrap()],
            ..LogState::default()
        };
        let asked = values_query(&Facet::Service, &state, UnixNanos(0));
        for part in [
            "time >= TIMESTAMP WITH TIME ZONE '1970-01-01T00:00:00.000Z'",
            "time < TIMESTAMP WITH TIME ZONE '1970-01-01T00:01:00.000Z'",
            "contains(lower(text), 'can''t')",
            "severity_number >= 13",
            "attributes['tier'] = 'gold'",
        ] {
            assert!(asked.contains(part), "{part} in {asked}");
        }
        assert!(!asked.contains("service = "), "{asked}");
        assert!(values_query(&Facet::Severity, &state, UnixNanos(0)).contains("service = 'shop'"));
        assert!(!values_query(&Facet::Severity, &state, UnixNanos(0)).contains("severity_number"));
    }

    #[test]
    fn a_value_is_filtered_by_and_no_longer() {
        let facet = Facet::Attribute("tier".to_owned());
        let on = facet.toggled(LogState::default(), "gold");
        assert!(facet.filters_by(&on, "gold"));
        let other = facet.toggled(on.clone(), "basic");
        assert!(facet.filters_by(&other, "basic") && !facet.filters_by(&other, "gold"));
        assert_eq!(facet.toggled(on, "gold"), LogState::default());
    }
}
