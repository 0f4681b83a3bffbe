//! The existing series, and the names and values of their labels.

use std::collections::BTreeSet;

use tidings_promql::{
    Selector,
    labels::{Labels, Matcher, MatcherTest, NAME},
};
use tidings_query::{Reader, analysis::window::Window};
use tidings_storage::TimeRange;

use super::{
    PromqlError,
    metric_names::{LE, METRICS, bound_texts},
    plan::SelectorPlan,
    series_data::SeriesData,
};

/// Selection of series.
#[derive(Debug)]
pub(crate) struct SeriesSearch {
    /// Selectors, of which a series must match one; an empty list selects every series.
    pub(crate) selectors: Vec<Selector>,
    /// Range in which a series must have calls; the last 24 hours of data when it is unbounded.
    pub(crate) range: TimeRange,
}

/// Labels or names, and warnings for the user.
pub(crate) type WithWarnings<T> = (Vec<T>, Vec<&'static str>);

/// Returns the selected series.
pub(crate) fn series(
    reader: &Reader,
    search: &SeriesSearch,
) -> Result<WithWarnings<Labels>, PromqlError> {
    let selected = search.selectors.iter().map(|selector| selector.matchers.clone());
    read(reader, search.range, selected.collect())
}

/// Reads the series that one of these lists of matchers selects.
fn read(
    reader: &Reader,
    range: TimeRange,
    selected: Vec<Vec<Matcher>>,
) -> Result<WithWarnings<Labels>, PromqlError> {
    let window = Window::new(reader, range, None)?.view();
    let (start, end) = (window.start_unix_nano.0, window.end_unix_nano.0);
    let millis = |nanos: u64| i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX);
    let bounds = [millis(start), millis(end.saturating_add(999_999))];
    let planned = |matchers: Vec<Matcher>| SelectorPlan {
        matchers,
        origin_ms: bounds[0],
        bounds_ms: bounds.into(),
        pre_aggregation: None,
    };
    let planned: Vec<SelectorPlan> = selected.into_iter().map(planned).collect();
    let counted = SeriesData::read(reader, &planned)?;
    let mut found = BTreeSet::new();
    for id in 0..planned.len() {
        let series = counted.selected(id).series.iter();
        let there = series.filter(|series| counted.has_calls(series, bounds[0], bounds[1]));
        found.extend(there.map(|series| series.labels.clone()));
    }
    Ok((found.into_iter().collect(), counted.warnings))
}

/// Returns the names of the labels. The labels that every series of a metric has are known without
/// a scan.
pub(crate) fn label_names(
    reader: &Reader,
    search: &SeriesSearch,
) -> Result<WithWarnings<String>, PromqlError> {
    if search.selectors.iter().all(|selector| selector.matchers.iter().all(is_of_name)) {
        let names = METRICS.iter().filter(|metric| is_selected(search, metric.name));
        let names: BTreeSet<&str> = names.flat_map(|metric| metric.label_names()).collect();
        return Ok((names.into_iter().map(str::to_owned).collect(), Vec::new()));
    }
    let (series, warnings) = series(reader, search)?;
    let names = series.iter().flat_map(|labels| labels.iter().map(|(name, _)| name.to_owned()));
    let names: BTreeSet<String> = names.collect();
    Ok((names.into_iter().collect(), warnings))
}

/// Returns the values of one label.
pub(crate) fn label_values(
    reader: &Reader,
    label: &str,
    search: &SeriesSearch,
) -> Result<WithWarnings<String>, PromqlError> {
    if search.selectors.iter().all(|selector| selector.matchers.iter().all(is_of_name)) {
        if label == NAME {
            let names = METRICS.iter().map(|metric| metric.name);
            let mut names: Vec<String> =
                names.filter(|name| is_selected(search, name)).map(str::to_owned).collect();
            names.sort_unstable();
            return Ok((names, Vec::new()));
        }
        if label == LE {
            let bounds = bound_texts();
            return Ok((bounds.iter().map(|bound| (**bound).to_owned()).collect(), Vec::new()));
        }
    }
    let mut selected: Vec<Vec<Matcher>> =
        search.selectors.iter().map(|selector| selector.matchers.clone()).collect();
    if selected.is_empty() {
        selected = counter_matchers(label);
    }
    let (series, warnings) = read(reader, search.range, selected)?;
    let values = series.iter().map(|labels| labels.get(label)).filter(|value| !value.is_empty());
    let values: BTreeSet<&str> = values.collect();
    Ok((values.into_iter().map(str::to_owned).collect(), warnings))
}

/// Returns matchers for one counter of each metric with this label; the groups of these counters
/// have all of its values.
fn counter_matchers(label: &str) -> Vec<Vec<Matcher>> {
    let with = METRICS.iter().filter(|metric| metric.label_names().contains(&label));
    let counters = with.filter(|metric| metric.kind == "counter");
    let named = |name: &str| {
        vec![Matcher { name: NAME.to_owned(), test: MatcherTest::Equal(name.to_owned()) }]
    };
    counters.map(|metric| named(metric.name)).collect()
}

fn is_of_name(matcher: &Matcher) -> bool {
    matcher.name == NAME
}

/// Reports whether a metric of this name can match; tests only matchers on the name.
fn is_selected(search: &SeriesSearch, name: &str) -> bool {
    let selects = |selector: &Selector| {
        let mut names = selector.matchers.iter().filter(|matcher| is_of_name(matcher));
        names.all(|matcher| matcher.matches(name))
    };
    search.selectors.is_empty() || search.selectors.iter().any(selects)
}
