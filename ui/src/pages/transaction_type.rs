//! One transaction type: its measures now and before, and the attributes of slow or failed
//! transactions that the others lack.
//!
//! Owns the requests, which follow from the address: the type in the path, the range, and the basis
//! of the comparison (`basis=`, and `since=` for that of a moment). The default basis is the moment
//! at which the type changed, or the slowest transactions if it did not change. The facts, the call
//! trees and the attributes since a moment, and the calls compare with one time: the baseline of the
//! report of changes, which is the window before. The parts draw one answer each.

use std::sync::Arc;

use leptos::prelude::*;
use leptos_router::hooks::use_params_map;
use tidings_proto::{
    DurationNanos, TraceId, UnixNanos,
    api::{
        ChangeReport, ChangedGroup, Comparison, TimeWindow, TraceSearchResult, TransactionType,
        TransactionTypeList, VersionChangeList,
    },
};

use crate::{
    addresses,
    api::{
        analysis::{self, changes, deployments},
        trace_sets,
    },
    charts::time_chart::Marker,
    components::{EmptyState, ErrorState, WatchedRequest, segments::use_choice_or},
    format, number_format,
    request_state::RequestState,
    shell::{Crumb, set_crumbs},
    url::{TimeRange, use_query},
    window::{LiveWindow, Window},
};
use moment::SINCE;

pub mod call_trees;
mod callees;
mod charts;
mod differences;
mod examples;
mod head;
mod moment;

/// Number of requested types: the maximum that the API returns.
const CHANGES_MAX: u32 = 200;
/// Number of traces of a sample.
const SAMPLE: u32 = 300;
/// Number of transactions from which the slowest hundredth is a useful sample. Below it, the
/// slowest twentieth is used.
const COUNT_FOR_PERCENTILE: u64 = 500;
/// Minimum number of transactions in the baseline for a call tree of them.
const BASELINE_COUNT_MIN: u64 = 20;

/// Calls that a step of the charts has in the mean, so that few steps have less than the ten of a
/// solid line.
const STEP_CALLS_MIN: u64 = 15;
/// Least number of steps in which a change is still seen.
const STEPS_MIN: u64 = 12;
/// Least number of steps since a change for which they are lengthened.
const CHANGED_STEPS_MIN: u64 = 4;
/// Factors by which steps are lengthened.
const STEP_FACTORS: [u64; 4] = [2, 5, 10, 30];

/// Pairs of samples that can be compared.
pub(crate) const BASES: &[(&str, &str)] = &[
    ("slow", "Slowest"),
    ("failed", "Failed"),
    ("since", "Since a moment"),
    ("before", "Against before"),
];

/// Stands for the basis until the change report has loaded. Nothing is compared.
const UNDECIDED: &str = "";

/// The type of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TypeName {
    pub(crate) service: String,
    pub(crate) operation: String,
}

impl TypeName {
    /// Reports whether it has both names, without which the API finds nothing.
    fn is_whole(&self) -> bool {
        !self.service.is_empty() && !self.operation.is_empty()
    }

    fn filter(&self, analysis: analysis::Analysis) -> analysis::Analysis {
        analysis.with("service", &self.service).with("operation", &self.operation)
    }

    /// Reports whether a trace is of this type, by its root operation.
    pub(crate) fn has_trace(&self, trace: &tidings_proto::api::TraceSummary) -> bool {
        trace.root_service == self.service && trace.root_operation == self.operation
    }
}

/// The page's requests and their inputs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TypePage {
    pub(crate) name: Memo<TypeName>,
    pub(crate) window: LiveWindow,
    pub(crate) basis: Memo<&'static str>,
    /// Moments of changes, and the one that divides the window.
    moments: Memo<Vec<Marker>>,
    moment: Memo<Option<UnixNanos>>,
    pub(crate) now: RequestState<TransactionTypeList>,
    /// The type in the window before.
    pub(crate) before: RequestState<TransactionTypeList>,
    changed_since: Memo<Option<UnixNanos>>,
    /// Set where the baseline has enough transactions. Otherwise those since a moment are compared
    /// with those until then. `None` while it is not known.
    has_baseline: Memo<Option<bool>>,
    /// The type's measures by which samples are chosen.
    measured: ReadSignal<Option<Arc<TransactionTypeList>>>,
    /// The subject's traces, and the reference traces that they are compared with.
    pub(crate) subject: RequestState<TraceSearchResult>,
    pub(crate) reference: RequestState<TraceSearchResult>,
    pub(crate) compared: RequestState<Comparison>,
    /// New versions of the type's service.
    pub(crate) versions: RequestState<VersionChangeList>,
    /// Changes of all types, and their culprits: the same request as Home's.
    pub(crate) report: RequestState<ChangeReport>,
    /// Set while the report loads. It is not requested without a time before the window.
    is_awaited: Memo<bool>,
}

impl TypePage {
    fn follow(name: Memo<TypeName>) -> Self {
        let window = LiveWindow::follow();
        let transaction_type = move |analysis: analysis::Analysis| {
            let analysis = name.with(|name| name.filter(analysis)).with("limit", 1);
            Some(analysis::transaction_types(&analysis))
        };
        let step = RwSignal::new(None::<DurationNanos>);
        let now = window.request(move |window| {
            transaction_type(window.analysis().with_some("step", step.get().map(|step| step.0)))
        });
        let before = window
            .request(move |window| transaction_type(window.analysis_before()?.with_single_step()));
        when_changed(move || name.get(), move || before.clear());
        let versions = window.request_slowly(move |window| {
            name.with(|name| Some(deployments(&window.analysis(), &name.service)))
        });
        let report = window.request_slowly(|window| {
            window
                .before()
                .is_some()
                .then(|| changes(&window.analysis().with("limit", CHANGES_MAX)))
        });
        let is_awaited = Memo::new(move |_| window.get().before().is_some() && report.loading());
        let since = Memo::new(move |_| {
            let report = report.value()?;
            time_since(&report, name)
        });
        widen_steps(step, now, (since, is_awaited), move || (name.get(), window.get().range()));
        let changed_since = changed_since(name, window, report);
        let basis = use_choice_or("basis", BASES, move || match changed_since.get() {
            Some(_) => SINCE,
            None if is_awaited.get() => UNDECIDED,
            None => "slow",
        });
        let (moments, moment) = moments_of((name, window), versions, report, now, is_awaited);
        let measured = first_answer(now, window, name);
        let slow_from = Memo::new(move |_| {
            measured.get().and_then(|list| slow_from(list.transaction_types.first()?))
        });
        let has_baseline = has_baseline(name, report, before, is_awaited);
        let (subject, reference) = samples((name, window), basis, slow_from, moment, has_baseline);
        let compared = window.request_slowly(move |_| {
            let (subject, reference) = (subject.value()?, reference.value()?);
            let (left, right) = name.with(|name| (ids(&subject, name), ids(&reference, name)));
            (!left.is_empty() && !right.is_empty()).then(|| trace_sets::compare_sets(&left, &right))
        });
        forget_samples((name, basis), (moment, has_baseline), (subject, reference), compared);
        Self {
            name,
            window,
            basis,
            moments,
            moment,
            now,
            before,
            changed_since,
            has_baseline,
            measured,
            subject,
            reference,
            compared,
            versions,
            report,
            is_awaited,
        }
    }

    /// Returns the type's group of the report of changes.
    pub(crate) fn changed(self) -> Option<ChangedGroup> {
        let report = self.report.value()?;
        self.name.with(|name| changed(&report, name))
    }

    /// Returns the type in the window.
    pub(crate) fn transaction_type(self) -> Option<TransactionType> {
        self.now.value()?.transaction_types.first().cloned()
    }

    /// Returns the moment in the window at which the type became worse.
    pub(crate) fn changed_since(self) -> Option<UnixNanos> {
        self.changed_since.get()
    }

    /// Returns the type in the window before.
    pub(crate) fn transaction_type_before(self) -> Option<TransactionType> {
        self.before.value()?.transaction_types.first().cloned()
    }

    /// Returns the duration from which a transaction is slow.
    pub(crate) fn slow_from(self) -> Option<DurationNanos> {
        slow_from(self.measured.get()?.transaction_types.first()?)
    }

    /// Returns the median duration by which samples are chosen.
    pub(crate) fn median(self) -> Option<DurationNanos> {
        Some(self.measured.get()?.transaction_types.first()?.duration.p50_nano)
    }

    /// Watches the request of the measures by which samples are chosen, until there are some.
    pub(crate) fn watched_measures(self) -> WatchedRequest {
        let measured = self.measured;
        WatchedRequest::new("The usual durations are not known", self.now)
            .only_while(move || measured.with(Option::is_none))
    }

    /// Returns the words for the subject: `Slowest 1 %`.
    pub(crate) fn subject_text(self) -> String {
        match self.basis.get() {
            "failed" => "Failed".to_owned(),
            "before" => "Now".to_owned(),
            SINCE => {
                let since = self.moment.get().map(moment::clock).unwrap_or_default();
                format!("Since {since}")
            }
            _ => {
                let many = self
                    .transaction_type()
                    .is_none_or(|transaction_type| transaction_type.count >= COUNT_FOR_PERCENTILE);
                if many { "Slowest 1 %" } else { "Slowest 5 %" }.to_owned()
            }
        }
    }

    /// Returns the number of transactions in the baseline. `None` while it is not known.
    fn baseline_count(self) -> Option<u64> {
        baseline_count(self.name, self.report, self.before)
    }

    /// Returns the words for the reference.
    pub(crate) fn reference_words(self) -> &'static str {
        match self.basis.get() {
            "before" => "Before",
            SINCE if self.has_baseline.get() == Some(true) => "Before",
            SINCE => "Until then",
            _ => "All",
        }
    }
}

/// Returns the first answer since the window of expensive requests moved. Percentiles of a moving
/// window change with every refresh, so samples by them are refreshed rarely. A change of
/// the type drops the answer, so that no sample is requested by the durations of another type.
fn first_answer(
    now: RequestState<TransactionTypeList>,
    window: LiveWindow,
    name: Memo<TypeName>,
) -> ReadSignal<Option<Arc<TransactionTypeList>>> {
    let first = RwSignal::new(None::<Arc<TransactionTypeList>>);
    let answered = StoredValue::new(None::<Window>);
    when_changed(
        move || name.get(),
        move || {
            answered.set_value(None);
            first.set(None);
        },
    );
    Effect::new(move |_| {
        let Some(answer) = now.value() else { return };
        let current = Some(window.slow_signal().get_untracked());
        if answered.with_value(|answered| *answered != current) {
            answered.set_value(current);
            first.set(Some(answer));
        }
    });
    first.read_only()
}

/// Calls `forget` when the inputs of requests change: an answer for other inputs does not apply.
fn when_changed<K: PartialEq + 'static>(
    inputs: impl Fn() -> K + 'static,
    forget: impl Fn() + 'static,
) {
    Effect::new(move |before: Option<K>| {
        let inputs = inputs();
        if before.is_some_and(|before| before != inputs) {
            forget();
        }
        inputs
    });
}

/// Drops the samples and their comparison when they are of another type, basis or time.
fn forget_samples(
    (name, basis): (Memo<TypeName>, Memo<&'static str>),
    (moment, has_baseline): (Memo<Option<UnixNanos>>, Memo<Option<bool>>),
    (subject, reference): (RequestState<TraceSearchResult>, RequestState<TraceSearchResult>),
    compared: RequestState<Comparison>,
) {
    let since_moment = move || moment.get().filter(|_| basis.get() == SINCE);
    when_changed(
        move || (basis.get(), name.get(), since_moment()),
        move || {
            subject.clear();
            reference.clear();
            compared.clear();
        },
    );
    // The subject is the same beside either reference.
    when_changed(
        move || (basis.get() == SINCE).then(|| has_baseline.get()),
        move || {
            reference.clear();
            compared.clear();
        },
    );
}

/// Requests longer steps of a type with few calls: a line through shares and quantiles of single
/// calls shows chance. Another type or range begins with the steps that the API chooses.
fn widen_steps<K: PartialEq + 'static>(
    step: RwSignal<Option<DurationNanos>>,
    now: RequestState<TransactionTypeList>,
    (since, is_awaited): (Memo<Option<MeasuredTime>>, Memo<bool>),
    inputs: impl Fn() -> K + 'static,
) {
    when_changed(inputs, move || step.set(None));
    Effect::new(move |_| {
        // Steps of the window alone would be lengthened again after the report.
        if is_awaited.get() {
            return;
        }
        let since = since.get();
        let wider = now.value().and_then(|list| {
            let calls = list.transaction_types.first()?.count / list.sampled_one_in.max(1);
            wider_step(&list.window, calls, since)
        });
        if wider.is_some() {
            step.set(wider);
        }
    });
}

/// A time and the number of its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MeasuredTime {
    length: DurationNanos,
    calls: u64,
}

impl MeasuredTime {
    /// Returns a step that has enough calls in the mean, or the longest up to a length; `None` where
    /// this is the given step.
    fn wider_step(self, step: DurationNanos, longest: u64) -> Option<DurationNanos> {
        let needed = u128::from(STEP_CALLS_MIN) * u128::from(self.length.0);
        let has_enough = |step: u64| u128::from(self.calls) * u128::from(step) >= needed;
        if has_enough(step.0) {
            return None;
        }
        let steps = STEP_FACTORS.iter().filter_map(|factor| step.0.checked_mul(*factor));
        let steps: Vec<u64> = steps.filter(|step| *step <= longest).collect();
        let enough = steps.iter().find(|step| has_enough(**step));
        enough.or(steps.last()).map(|step| DurationNanos(*step))
    }
}

/// Returns the time since the change of a type in a report.
fn time_since(report: &ChangeReport, name: Memo<TypeName>) -> Option<MeasuredTime> {
    let since = name.with(|name| changed(report, name))?.since?;
    let length = report.window.end_unix_nano.since(since.start_unix_nano);
    Some(MeasuredTime { length, calls: since.stats.count })
}

/// Returns a wider step than the answer's, with enough calls on average, in the window and in the
/// time since a change. It is never so wide that too few steps remain. `None` where the answer's
/// step is wide enough.
fn wider_step(
    window: &TimeWindow,
    calls: u64,
    since: Option<MeasuredTime>,
) -> Option<DurationNanos> {
    let length = window.end_unix_nano.0.checked_sub(window.start_unix_nano.0)?;
    let whole = MeasuredTime { length: DurationNanos(length), calls };
    let longest = length / STEPS_MIN;
    let of_whole = whole.wider_step(window.step_nano, longest);
    let of_since = since.and_then(|since| {
        let longest = longest.min(since.length.0 / CHANGED_STEPS_MIN);
        since.wider_step(window.step_nano, longest)
    });
    of_whole.max(of_since)
}

/// Returns the step of the charts.
fn step_of(now: RequestState<TransactionTypeList>) -> DurationNanos {
    now.value().map(|list| list.window.step_nano).unwrap_or_default()
}

/// Returns the moment in the window at which the type became worse, as its sentence names it.
fn changed_since(
    name: Memo<TypeName>,
    window: LiveWindow,
    report: RequestState<ChangeReport>,
) -> Memo<Option<UnixNanos>> {
    Memo::new(move |_| {
        let group = report.value().and_then(|report| name.with(|name| changed(&report, name)))?;
        let since = moment::of_change(&group)?.time;
        Some(moment::parts(window.get(), Some(since))?.1)
    })
}

/// Returns the number of the type's transactions in the baseline. `None` while it is not known.
fn baseline_count(
    name: Memo<TypeName>,
    report: RequestState<ChangeReport>,
    before: RequestState<TransactionTypeList>,
) -> Option<u64> {
    let group = report.value().and_then(|report| name.with(|name| changed(&report, name)));
    let listed = || {
        let list = before.value()?;
        Some(list.transaction_types.first().map_or(0, |transaction_type| transaction_type.count))
    };
    group.map(|group| group.before.count).or_else(listed)
}

/// Reports whether the type has enough transactions in the baseline. `None` while it is not known.
/// After a failed request, the time until the moment is the reference.
fn has_baseline(
    name: Memo<TypeName>,
    report: RequestState<ChangeReport>,
    before: RequestState<TransactionTypeList>,
    is_awaited: Memo<bool>,
) -> Memo<Option<bool>> {
    Memo::new(move |_| {
        if is_awaited.get() {
            return None;
        }
        match baseline_count(name, report, before) {
            Some(count) => Some(count >= BASELINE_COUNT_MIN),
            None => before.error().map(|_| false),
        }
    })
}

/// Requests the traces of the subject and of the reference.
fn samples(
    (name, window): (Memo<TypeName>, LiveWindow),
    basis: Memo<&'static str>,
    slow_from: Memo<Option<DurationNanos>>,
    moment: Memo<Option<UnixNanos>>,
    has_baseline: Memo<Option<bool>>,
) -> (RequestState<TraceSearchResult>, RequestState<TraceSearchResult>) {
    let sample = move |analysis: analysis::Analysis| {
        name.with(|name| name.filter(analysis)).with("limit", SAMPLE)
    };
    let subject = window.request_slowly(move |window| {
        let sample = match basis.get() {
            "failed" => sample(window.analysis()).with("status", "error"),
            "before" => sample(window.analysis()),
            SINCE => {
                let (_, moment, end) = moment::parts(window, moment.get())?;
                sample(analysis::Analysis::between(moment, end))
            }
            UNDECIDED => return None,
            _ => sample(window.analysis()).with("minDuration", slow_from.get()?.0),
        };
        Some(trace_sets::trace_sample(&sample))
    });
    let reference = window.request_slowly(move |window| {
        let analysis = match basis.get() {
            "before" => window.analysis_before()?,
            SINCE => {
                let parts = moment::parts(window, moment.get())?;
                moment::reference(window, parts, has_baseline.get()?)
            }
            UNDECIDED => return None,
            _ => window.analysis(),
        };
        Some(trace_sets::trace_sample(&sample(analysis)))
    });
    (subject, reference)
}

/// Returns the type's group of a report of changes.
fn changed(report: &ChangeReport, name: &TypeName) -> Option<ChangedGroup> {
    let is_it = |group: &&ChangedGroup| {
        group.service == name.service && group.operation.as_ref() == Some(&name.operation)
    };
    report.transactions.iter().find(is_it).cloned()
}

/// Returns the moments of changes, and the one that divides the window.
fn moments_of(
    (name, window): (Memo<TypeName>, LiveWindow),
    versions: RequestState<VersionChangeList>,
    report: RequestState<ChangeReport>,
    now: RequestState<TransactionTypeList>,
    is_awaited: Memo<bool>,
) -> (Memo<Vec<Marker>>, Memo<Option<UnixNanos>>) {
    let query = use_query();
    let asked = Memo::new(move |_| query.with(|query| query.get(SINCE)?.parse::<u64>().ok()));
    let moments = Memo::new(move |_| {
        let changed = report.value().and_then(|report| name.with(|name| changed(&report, name)));
        let versions = versions.value().map(|list| list.changes.clone()).unwrap_or_default();
        moment::offered(changed.as_ref(), &versions, step_of(now))
    });
    let moment = Memo::new(move |_| {
        let bounds = window.slow_signal().get().bounds()?;
        // Otherwise the traces since the middle of the window would be requested first.
        if asked.get().is_none() && is_awaited.get() {
            return None;
        }
        moments.with(|moments| match asked.get() {
            // Until the versions load, all moments are those of the change.
            None if versions.loading() => moment::first_of_change(moments, bounds),
            asked => moment::taken(asked, moments, bounds),
        })
    });
    (moments, moment)
}

fn slow_from(transaction_type: &TransactionType) -> Option<DurationNanos> {
    let slow = if transaction_type.count >= COUNT_FOR_PERCENTILE {
        transaction_type.duration.p99_nano
    } else {
        transaction_type.duration.p95_nano
    };
    (slow.0 > 0).then_some(slow)
}

/// Returns the traces of a sample whose root operation is the type.
fn ids(sample: &TraceSearchResult, name: &TypeName) -> Vec<TraceId> {
    sample.traces.iter().filter(|trace| name.has_trace(trace)).map(|trace| trace.trace_id).collect()
}

/// The page of the type in the address.
#[component]
#[must_use]
pub fn TransactionTypePage() -> impl IntoView {
    let (params, query) = (use_params_map(), use_query());
    let name = Memo::new(move |_| {
        let text = |key| params.with(|params| params.get(key).unwrap_or_default());
        let (service, operation) = query.with(|query| {
            addresses::read_transaction_type(text("service"), text("operation"), query)
        });
        TypeName { service, operation }
    });
    let range = Memo::new(move |_| query.with(TimeRange::read));
    Effect::new(move |_| {
        let operation =
            name.with(|name| number_format::truncate(format::operation(&name.operation), 80));
        let list = addresses::with_range("/transactions", range.get());
        set_crumbs(vec![
            Crumb { text: "Transactions".to_owned(), href: Some(list) },
            Crumb { text: operation, href: None },
        ]);
    });
    let is_named = Memo::new(move |_| name.with(TypeName::is_whole));
    let unnamed = move || name.with(|name| unnamed(name, range.get()));
    view! {
        <Show when=move || is_named.get() fallback=unnamed>
            <OneType name />
        </Show>
    }
}

/// An address without both names: a link to the spans that have an empty one.
fn unnamed(name: &TypeName, range: TimeRange) -> impl IntoView + use<> {
    let TypeName { service, operation } = name;
    let spans = (!service.is_empty() || !operation.is_empty()).then(|| {
        let href = addresses::transaction_type(service, operation, range);
        view! { <a class="button" href=href>"Its spans in Explore"</a> }
    });
    let all = addresses::with_range("/transactions", range);
    view! {
        <div class="page">
            <EmptyState title="This address names no transaction type">
                <p>"A transaction type has the name of a service and of an operation."</p>
                <div class="state-actions">
                    {spans} <a class="button" href=all>"All transaction types"</a>
                </div>
            </EmptyState>
        </div>
    }
}

#[component]
fn OneType(name: Memo<TypeName>) -> impl IntoView {
    let page = TypePage::follow(name);
    let failed = move || {
        page.now.error().map(|error| {
            let retry = Callback::new(move |()| page.now.refresh());
            let is_kept = page.now.value().is_some();
            view! { <ErrorState name="The numbers of this type" is_kept error on_retry=retry /> }
        })
    };
    let is_empty = Memo::new(move |_| {
        page.now
            .value()
            .is_some_and(|list: Arc<TransactionTypeList>| list.transaction_types.is_empty())
    });
    view! {
        <div class="page">
            {head::head(page)}
            {failed}
            <Show when=move || is_empty.get()>{nothing(page)}</Show>
            <Show when=move || !is_empty.get()>
                {charts::charts(page)}
                {call_trees::where_time_goes(page)}
                <div class="type-columns">
                    {examples::examples(page)}
                    <div class="type-side">
                        {differences::differences(page)}
                        {callees::callees(page)}
                    </div>
                </div>
            </Show>
        </div>
    }
}

/// A window in which no transaction of the type starts.
fn nothing(page: TypePage) -> impl IntoView {
    let explore = move || {
        let range = TimeRange::All;
        page.name.with(|name| addresses::transaction_type(&name.service, &name.operation, range))
    };
    view! {
        <div class="card state" role="status">
            <h2>"No transaction of this type begins in this time"</h2>
            <div class="state-actions">
                <a class="button" href=explore>"Show all time"</a>
                <a class="button" href="/transactions">"All transaction types"</a>
            </div>
        </div>
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{DurationNanos, UnixNanos, api::TimeWindow};

    use super::{MeasuredTime, wider_step};

    const MINUTE: u64 = 60_000_000_000;

    #[test]
    fn steps_have_fifteen_calls_or_the_window_a_dozen_steps() {
        let time = |length: u64, step: u64| TimeWindow {
            start_unix_nano: UnixNanos(7 * MINUTE),
            end_unix_nano: UnixNanos((7 + length) * MINUTE),
            step_nano: DurationNanos(step * MINUTE),
        };
        let minutes = |step: DurationNanos| step.0 / MINUTE;
        // Minutes of the window and of its step, transactions, and the step to request.
        for (length, step, calls, expected) in [
            (60, 1, 900, None),
            (60, 1, 470, Some(2)),
            (60, 1, 190, Some(5)),
            (60, 1, 3, Some(5)),
            (60, 1, 0, Some(5)),
            (60, 5, 3, None),
            (1_440, 30, 800, None),
            (1_440, 30, 400, Some(60)),
            (0, 1, 3, None),
        ] {
            let wider = wider_step(&time(length, step), calls, None).map(minutes);
            assert_eq!(wider, expected, "{calls} in {length} minutes by {step}");
        }
        // Minutes since a change, transactions in them, and the step of an hour of 470.
        for (length, calls, expected) in [(30, 300, 2), (30, 150, 5), (12, 70, 2), (55, 20, 5)] {
            let since = MeasuredTime { length: DurationNanos(length * MINUTE), calls };
            let wider = wider_step(&time(60, 1), 470, Some(since)).map(minutes);
            assert_eq!(wider, Some(expected), "{calls} in {length} minutes since a change");
        }
    }
}
