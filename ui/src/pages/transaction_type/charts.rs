//! Throughput, failures and durations over time.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{CallsInStep, ChangeSentence, Deployment, LatencyStats, TransactionTypeList},
};

use super::{
    TypePage, head,
    moment::{self, SINCE},
};
use crate::{
    charts::{
        time_buckets::TimeBuckets,
        time_chart::{ChartLevel, ChartShape, Marker, TimeChart, TimeChartView, ValueUnit},
    },
    components::{LoadingRows, PartialNote, WatchedRequest},
    number_format,
    url::{History, use_edit_query},
};

/// The three charts.
pub(super) fn charts(page: TypePage) -> impl IntoView {
    let cursor = RwSignal::new(None);
    let edit = use_edit_query();
    let pick = Callback::new(move |time: UnixNanos| {
        let milliseconds = (time.0 / 1_000_000).to_string();
        edit(History::Push, &|query| moment::choose(query, &milliseconds));
    });
    let since = Memo::new(move |_| page.moment.get().filter(|_| page.basis.get() == SINCE));
    let p95_before = Memo::new(move |_| Some(head::compared_numbers(page)?.was?.p95_nano));
    let failed = Memo::new(move |_| head::failed_words(page).unwrap_or_default());
    let drawn = move || {
        let list = page.now.value()?;
        let versions = page.versions.value().map(|list| list.changes.clone()).unwrap_or_default();
        let changed = page.changed().and_then(|group| moment::of_change(&group));
        let others = deployments_behind(page).into_iter().map(|one| Marker {
            time: one.first_seen_unix_nano,
            label: number_format::truncate(&format!("{} {}", one.service, one.version), 40),
            is_suspect: false,
        });
        let versions = versions.iter().map(moment::of_version);
        let marks = changed.into_iter().chain(versions).chain(others);
        let step = list.window.step_nano;
        let mut markers = moment::together(marks, step);
        // A mark beside the moment says why it was chosen.
        let since = since.get().filter(|time| !moment::is_marked(&markers, *time, step));
        markers.extend(since.map(|time| Marker {
            time,
            label: "compared since".to_owned(),
            is_suspect: true,
        }));
        markers.sort_by_key(|marker| marker.time);
        let baseline = (markers.as_slice(), p95_before.get());
        Some(three(list, baseline, failed.get(), (cursor, pick)))
    };
    let is_loading = Memo::new(move |_| page.now.loading());
    view! {
        <Show when=move || is_loading.get()>
            <LoadingRows count=5 />
        </Show>
        {WatchedRequest::new("New versions are not known", page.versions).note()}
        {drawn}
    }
}

/// Returns new versions of the other services in the sentence about the type's change.
fn deployments_behind(page: TypePage) -> Vec<Deployment> {
    let sentence = page.changed().and_then(|group| group.sentence);
    let (Some(sentence), Some(report)) = (sentence, page.report.value()) else {
        return Vec::new();
    };
    page.name.with(|name| named_deployments(&report.deployments, &sentence, &name.service))
}

fn named_deployments(
    deployments: &[Deployment],
    sentence: &ChangeSentence,
    own: &str,
) -> Vec<Deployment> {
    let is_named = |service: &str| {
        sentence.subject.service == service
            || sentence.with.iter().any(|cause| cause.service == service)
    };
    let named = deployments.iter().filter(|one| one.service != own && is_named(&one.service));
    named.cloned().collect()
}

fn three(
    list: Arc<TransactionTypeList>,
    (markers, p95_before): (&[Marker], Option<DurationNanos>),
    failed_words: String,
    (cursor, on_pick): (RwSignal<Option<usize>>, Callback<UnixNanos>),
) -> Option<impl IntoView + use<>> {
    let transaction_type = list.transaction_types.first()?;
    let buckets = TimeBuckets::from_window(&list.window);
    let begin = |step: &CallsInStep| step.start_unix_nano;
    let rates =
        |count: fn(&CallsInStep) -> u64| buckets.rates(&transaction_type.steps, begin, count);
    let new = |unit, shape| TimeChart::new(&list.window, unit, shape).with_markers(markers);
    let calls = new(ValueUnit::Rate, ChartShape::StackedBars)
        .with("ok", "plain", rates(|step| step.count.saturating_sub(step.error_count)))
        .with("failed", "error", rates(|step| step.error_count));
    // Estimates of sampled calls are as certain as the calls that were counted.
    let measured = |step: &CallsInStep| Some(step.count / list.sampled_one_in.max(1));
    let calls_of = buckets.values_by_bucket(&transaction_type.steps, begin, measured, None);
    let share = |step: &CallsInStep| Some(number_format::ratio(step.error_count, step.count));
    let failed = new(ValueUnit::Share, ChartShape::Areas)
        .with("failed", "error", buckets.gauges(&transaction_type.steps, begin, share, None))
        .with_calls(calls_of.clone());
    let quantile = |of: fn(&LatencyStats) -> u64| {
        buckets.gauges(
            &transaction_type.steps,
            begin,
            move |step| Some(of(&step.duration) as f64),
            None,
        )
    };
    let durations = new(ValueUnit::Duration, ChartShape::Lines)
        .with("p50", "plain", quantile(|duration| duration.p50_nano.0))
        .with("p95", "accent", quantile(|duration| duration.p95_nano.0))
        .with("p99", "crit", quantile(|duration| duration.p99_nano.0))
        .with_calls(calls_of)
        .with_level(p95_before.filter(|before| before.0 > 0).map(|before| ChartLevel {
            label: "p95 was",
            tone: "accent",
            value: before.0 as f64,
        }));
    let sampled = (list.sampled_one_in > 1).then(|| {
        view! {
            <PartialNote>
                {format!("Counts are estimates from every {}th transaction.", list.sampled_one_in)}
            </PartialNote>
        }
    });
    Some(view! {
        {sampled}
        <div class="type-charts">
            <section class="card"><TimeChartView title="Calls" note="click to compare from there" chart=calls cursor on_pick /></section>
            <section class="card"><TimeChartView title="Failed" note=failed_words chart=failed cursor on_pick /></section>
            <section class="card"><TimeChartView title="Duration" chart=durations cursor on_pick /></section>
        </div>
    })
}
