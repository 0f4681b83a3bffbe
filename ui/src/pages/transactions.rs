//! Transactions: the transaction types and their measures, compared with the window before.
//!
//! Owns the requests (the window, the one before, the parts of the time, and the changes), the
//! pairing of their rows by name, and the order of the table, which is kept while the reader is at
//! a row. All numbers, and the order by change, are the API's. `compared_numbers` chooses those of
//! a row.

use std::{cmp::Ordering, collections::HashMap, sync::Arc};

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos,
    api::{
        CallsInStep, ChangeKind, ChangeReport, ChangedGroup, TimeShare, TransactionType,
        TransactionTypeList,
    },
};

use crate::{
    addresses,
    api::analysis,
    charts::time_buckets::TimeBuckets,
    components::{
        Panel, ReportSentence, SentencePlaceholder, ServiceDot, SortHead, SortOrder, SparkTone,
        Sparkline, StripPart, TimeStrip, WatchedRequest,
        change::change_cell,
        group_cells::{CALLS_OF_TYPES, is_worse, shown_time},
        report::TIMES_OF_TYPES,
        use_ranking, use_sort,
    },
    format,
    links::use_links,
    number_format,
    page_time::partial_answer_text,
    request_state::RequestState,
    shell::{crumb, set_crumbs},
    url::{History, TimeRange, use_navigation, use_query},
    window::{LiveWindow, Window},
};
use compared_numbers::ComparedNumbers;

pub(crate) mod compared_numbers;

/// Maximum number of types that are listed.
const TYPES_MAX: u32 = 200;
/// Selector of the rows while the pointer or the focus is in one of them.
const READ_ROWS: &str = ".types > tbody:is(:hover, :focus-within)";

/// The page.
#[component]
#[must_use]
pub fn TransactionsPage() -> impl IntoView {
    set_crumbs(crumb("Transactions"));
    let window = LiveWindow::follow();
    let now = window.request(|window| {
        Some(analysis::transaction_types(&window.analysis().with("limit", TYPES_MAX)))
    });
    let before = window.request(|window| {
        let analysis = window.analysis_before()?.with_single_step().with("limit", TYPES_MAX);
        Some(analysis::transaction_types(&analysis))
    });
    let time = window.request_slowly(|window| {
        let analysis = window.analysis().with_single_step().with("limit", TYPES_MAX);
        Some(analysis::transaction_type_breakdowns(&analysis))
    });
    let report = window.request_slowly(|window| {
        let analysis = window.analysis().with("limit", TYPES_MAX);
        window.before().is_some().then(|| analysis::changes(&analysis))
    });
    let (order, ranking) = (use_sort("-change"), use_ranking(move || report.value(), READ_ROWS));
    let query = use_query();
    let service = Memo::new(move |_| {
        query.with(|query| query.get("service").filter(|name| !name.is_empty()).map(str::to_owned))
    });
    let range = Memo::new(move |_| window.get().range());
    let draw = move |list: Arc<TransactionTypeList>| {
        view! { <TypeTable list before time report ranking order range service /> }
    };
    let note = move || {
        now.value()
            .map(|list| format::counted(list.transaction_type_count, "type"))
            .unwrap_or_default()
    };
    let times = Signal::derive(move || {
        let known = report.value();
        let groups = known.as_deref().map(|report| report.transactions.as_slice());
        // Without a report, no row counts from its change.
        let none: &[ChangedGroup] = &[];
        times_of(window.get(), groups.or_else(|| report.error().map(|_| none)))
    });
    view! {
        <div class="page">
            <div class="page-head">
                <div class="page-title">
                    <h1>"Transactions"</h1>
                    <span class="mute">{note}</span>
                    <span class="page-tools">
                        <FindTransaction />
                    </span>
                </div>
                {report_sentence(window, report)}
            </div>
            <Panel
                title="Types"
                note=times
                state=now
                needs=vec![
                    WatchedRequest::new("The numbers before are not known", before),
                    WatchedRequest::new("Where the time goes is not known", time),
                ]
                is_empty=|list| list.transaction_types.is_empty()
                missing=missing
                empty="No transaction begins in this time."
                offers_all_time=true
                rows=10
                draw=draw
            />
        </div>
    }
}

/// Returns the baseline in words. Where one of these groups counts from its change, or the groups are
/// not known yet, the words say which numbers of a row are of which time.
fn times_of(window: Window, groups: Option<&[ChangedGroup]>) -> String {
    if window.before().is_none() {
        return "without a time before to compare with".to_owned();
    }
    let words = format!("against {}", window.preceding_text());
    let is_since = |group: &ChangedGroup| !group.changes.is_empty() && group.since.is_some();
    if groups.is_some_and(|groups| !groups.iter().any(is_since)) {
        return words;
    }
    format!("{words}; {TIMES_OF_TYPES}")
}

/// The report's sentence, in space that is reserved before the answer, so that rows below do not
/// move.
fn report_sentence(window: LiveWindow, report: RequestState<ChangeReport>) -> impl IntoView {
    let links = use_links();
    let is_asked = Memo::new(move |_| window.get().before().is_some());
    let words = move || match report.value() {
        Some(report) => view! { <ReportSentence report links=links.get() /> }.into_any(),
        None => report.loading().then(|| view! { <SentencePlaceholder /> }).into_any(),
    };
    let failed = WatchedRequest::new("What changed is not known", report).note();
    view! { <div class="say-room">{failed} {move || is_asked.get().then(words)}</div> }
}

/// Returns the words for an incomplete list.
fn missing(list: &TransactionTypeList) -> Option<String> {
    let mut reasons = Vec::new();
    if list.sampled_one_in > 1 {
        reasons.push(format!(
            "Counts are estimates from every {}th transaction.",
            format::count(list.sampled_one_in)
        ));
    }
    if list.other_count > 0 {
        reasons.push(format!(
            "{} of types that are too rare to be listed.",
            format::counted(list.other_count, "transaction")
        ));
    }
    let listed = list.transaction_types.len() as u64;
    if list.transaction_type_count > listed {
        let count = format::count(listed);
        reasons.push(format!("Only the {count} most frequent types are listed."));
    }
    // This comes last, because the link that reads the rest follows it.
    reasons.extend(partial_answer_text(&list.searched));
    (!reasons.is_empty()).then(|| reasons.join(" "))
}

/// A type, its numbers now and before, and the result of their comparison.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TypeRow {
    /// The type in the window.
    pub(super) transaction_type: TransactionType,
    pub(super) numbers: ComparedNumbers,
    pub(super) changed: Option<ChangedGroup>,
    /// The parts of its time; `None` until they have loaded.
    pub(super) time: Option<Vec<TimeShare>>,
}

impl TypeRow {
    /// Reports whether an aspect, of durations a quantile of them, changed for the worse.
    fn is_worse(&self, kind: ChangeKind, quantile: Option<u8>) -> bool {
        self.changed.as_ref().is_some_and(|group| is_worse(&group.changes, kind, quantile))
    }

    /// Reports whether its durations changed for the worse.
    fn is_slower(&self) -> bool {
        let mut changes = self.changed.iter().flat_map(|group| &group.changes);
        changes.any(|change| change.kind == ChangeKind::Latency && change.is_worse)
    }
}

/// Returns the name that rows are paired by.
fn name(transaction_type: &TransactionType) -> (&str, &str) {
    (&transaction_type.service, &transaction_type.operation)
}

/// Returns groups of a report by the name of their type.
fn groups_by_name(groups: &[ChangedGroup]) -> HashMap<(&str, &str), &ChangedGroup> {
    groups
        .iter()
        .filter_map(|group| Some(((group.service.as_str(), group.operation.as_deref()?), group)))
        .collect()
}

/// Returns the rows of both windows, of their comparison and of the parts of the time, paired by
/// name.
pub(super) fn join_rows(
    now: &[TransactionType],
    before: &[TransactionType],
    time: &[TransactionType],
    changed: &[ChangedGroup],
) -> Vec<TypeRow> {
    fn by_name(transaction_types: &[TransactionType]) -> HashMap<(&str, &str), &TransactionType> {
        transaction_types
            .iter()
            .map(|transaction_type| (name(transaction_type), transaction_type))
            .collect()
    }
    let (earlier, time) = (by_name(before), by_name(time));
    let groups = groups_by_name(changed);
    let pair = |transaction_type: &TransactionType| {
        let changed = groups.get(&name(transaction_type)).copied();
        let reported = changed.and_then(ComparedNumbers::of_report);
        let before = earlier.get(&name(transaction_type)).copied();
        TypeRow {
            transaction_type: transaction_type.clone(),
            numbers: reported
                .unwrap_or_else(|| ComparedNumbers::of_windows(transaction_type, before)),
            changed: changed.cloned(),
            time: time
                .get(&name(transaction_type))
                .map(|transaction_type| transaction_type.where_time_goes.clone()),
        }
    };
    now.iter().map(pair).collect()
}

/// Sorts rows by a column. The column of changes is sorted by these groups. Equal rows stay in
/// order of frequency.
fn sort(rows: &mut [TypeRow], order: &SortOrder, ranked: &[ChangedGroup]) {
    let groups = groups_by_name(ranked);
    let key = |row: &TypeRow| -> f64 {
        let now = &row.numbers.now;
        match order.column.as_str() {
            "rate" => row.transaction_type.rate_per_second,
            "failed" => now.error_share,
            "p50" => now.p50_nano.0 as f64,
            "p95" => now.p95_nano.0 as f64,
            "p99" => now.p99_nano.0 as f64,
            _ => groups.get(&name(&row.transaction_type)).map_or(0.0, |group| group.score),
        }
    };
    rows.sort_by(|left, right| {
        let rate = |row: &TypeRow| row.transaction_type.rate_per_second;
        let by_rate = rate(right).total_cmp(&rate(left));
        let chosen = if order.column == "name" {
            let name = |row: &TypeRow| {
                (row.transaction_type.operation.clone(), row.transaction_type.service.clone())
            };
            order.compare(name(left), name(right))
        } else {
            order.compare(key(left), key(right))
        };
        if chosen == Ordering::Equal { by_rate } else { chosen }
    });
}

#[component]
fn TypeTable(
    list: Arc<TransactionTypeList>,
    before: RequestState<TransactionTypeList>,
    time: RequestState<TransactionTypeList>,
    report: RequestState<ChangeReport>,
    ranking: Memo<Option<Arc<ChangeReport>>>,
    order: Memo<SortOrder>,
    range: Memo<TimeRange>,
    service: Memo<Option<String>>,
) -> impl IntoView {
    let buckets = TimeBuckets::from_window(&list.window);
    let is_awaited = Memo::new(move |_| before.loading() && before.pending());
    let rows = move || {
        let none = if is_awaited.get() { "" } else { "–" };
        let (before, of_time, report) = (before.value(), time.value(), report.value());
        fn transaction_types(list: &Option<Arc<TransactionTypeList>>) -> &[TransactionType] {
            list.as_ref().map_or(&[], |list| &list.transaction_types)
        }
        fn groups(report: &Option<Arc<ChangeReport>>) -> &[ChangedGroup] {
            report.as_ref().map_or(&[], |report| &report.transactions)
        }
        let (before, of_time) = (transaction_types(&before), transaction_types(&of_time));
        let mut rows = join_rows(&list.transaction_types, before, of_time, groups(&report));
        let most = rows.iter().map(|row| row.transaction_type.rate_per_second).fold(0.0, f64::max);
        if let Some(service) = service.get() {
            rows.retain(|row| row.transaction_type.service == service);
        }
        let ranked = ranking.get();
        order.with(|order| sort(&mut rows, order, groups(&ranked)));
        let line = |row: TypeRow| {
            let report = report.clone();
            view! { <TypeLine row buckets range=range.get() most none time report /> }
        };
        rows.into_iter().map(line).collect_view()
    };
    view! {
        <table class="table types" aria-label="Transaction types">
            <thead>
                <tr>
                    <SortHead column="name" label="Transaction" order />
                    <SortHead column="change" label="What changed" order numeric=true />
                    <SortHead column="rate" label="Calls" order numeric=true title=CALLS_OF_TYPES />
                    <th scope="col" class="num wide">"Calls was"</th>
                    <th scope="col" class="wide"><span class="hidden">"Calls over time"</span></th>
                    <SortHead column="failed" label="Failed" order numeric=true />
                    <th scope="col" class="num">"Failed was"</th>
                    <th scope="col" class="wide"><span class="hidden">"Failures over time"</span></th>
                    <SortHead column="p50" label="p50" order numeric=true />
                    <SortHead column="p95" label="p95" order numeric=true />
                    <th scope="col" class="num">"p95 was"</th>
                    <th scope="col" class="types-spark"><span class="hidden">"p95 over time"</span></th>
                    <SortHead column="p99" label="p99" order numeric=true />
                    <th scope="col" class="types-strip">"Where the time goes"</th>
                </tr>
            </thead>
            // The order may depend on the report of changes. Rows can move until it has loaded.
            <tbody class:is-stale=move || {
                before.pending() || (report.pending() && report.loading())
            }>{rows}</tbody>
        </table>
    }
}

/// The name of a type, and its change.
fn name_cells(
    row: &TypeRow,
    report: Option<&ChangeReport>,
    address: String,
) -> impl IntoView + use<> {
    let name = format::operation(&row.transaction_type.operation).to_owned();
    let headline = report.and_then(|report| report.headline.as_ref());
    let change = match &row.changed {
        Some(group) => change_cell(group, headline).into_any(),
        None => view! { <span class="mute">"–"</span> }.into_any(),
    };
    view! {
        <td class="grow type-cell">
            <ServiceDot service=row.transaction_type.service.clone() />
            " "
            <a class="type-name" href=address title=name.clone()>{name.clone()}</a>
            " "
            <span class="mute">{format::service(&row.transaction_type.service).to_owned()}</span>
        </td>
        <td class="types-change">{change}</td>
    }
}

/// Calls of the window, and failures, each with the baseline and over time. Rates have the unit of
/// the greatest.
fn call_cells(
    row: &TypeRow,
    buckets: TimeBuckets,
    (most, none): (f64, &str),
) -> impl IntoView + use<> {
    let (transaction_type, ComparedNumbers { now, was }) = (&row.transaction_type, row.numbers);
    let begin = |step: &CallsInStep| step.start_unix_nano;
    let calls = buckets.rates(&transaction_type.steps, begin, |step| step.count);
    let share = |step: &CallsInStep| Some(number_format::ratio(step.error_count, step.count));
    let failures = buckets.gauges(&transaction_type.steps, begin, share, Some(0.0));
    let failed = now.error_share;
    let failed_before =
        was.map_or_else(|| none.to_owned(), |was| number_format::share(was.error_share));
    let is_worse = row.is_worse(ChangeKind::Errors, None);
    let tone = if is_worse { SparkTone::Error } else { SparkTone::Plain };
    let rate = |per_second: f64| number_format::rate_in_unit_of(per_second, most);
    let rate_before = was.map_or_else(|| none.to_owned(), |was| rate(was.rate_per_second));
    let time = shown_time(row.changed.as_ref());
    view! {
        <td class="num" title=shown_time(None)>{rate(transaction_type.rate_per_second)}</td>
        <td class="num was wide">{rate_before}</td>
        <td class="wide"><Sparkline values=calls label="Calls over time" /></td>
        <td class="num" class:is-worse=is_worse title=time>{number_format::share(failed)}</td>
        <td class="num was">{failed_before}</td>
        <td class="wide">
            <Sparkline values=failures max=1.0_f64.min(failed.max(0.02) * 4.0) tone label="Share of failures over time" />
        </td>
    }
}

/// Quantiles of the duration, those that became worse in red, and the p95 over time.
fn duration_cells(row: &TypeRow, buckets: TimeBuckets, none: &str) -> impl IntoView + use<> {
    let (transaction_type, ComparedNumbers { now, was }) = (&row.transaction_type, row.numbers);
    let begin = |step: &CallsInStep| step.start_unix_nano;
    let p95_of = |step: &CallsInStep| Some(step.duration.p95_nano.0 as f64);
    let steps = buckets.gauges(&transaction_type.steps, begin, p95_of, None);
    let tone = if row.is_slower() { SparkTone::Accent } else { SparkTone::Plain };
    let was = was.map_or_else(|| none.to_owned(), |was| format::duration_or_none(was.p95_nano));
    let time = shown_time(row.changed.as_ref());
    let quantile = |percent: u8, length: DurationNanos| {
        let is_worse = row.is_worse(ChangeKind::Latency, Some(percent));
        view! {
            <td class="num" class:is-worse=is_worse title=time.clone()>
                {format::duration_or_none(length)}
            </td>
        }
    };
    view! {
        {quantile(50, now.p50_nano)}
        {quantile(95, now.p95_nano)}
        <td class="num was">{was}</td>
        <td class="types-spark"><Sparkline values=steps tone label="p95 over time" /></td>
        {quantile(99, now.p99_nano)}
    }
}

#[component]
fn TypeLine(
    row: TypeRow,
    buckets: TimeBuckets,
    range: TimeRange,
    most: f64,
    none: &'static str,
    time: RequestState<TransactionTypeList>,
    report: Option<Arc<ChangeReport>>,
) -> impl IntoView {
    let address = addresses::transaction_type(
        &row.transaction_type.service,
        &row.transaction_type.operation,
        range,
    );
    let go = use_navigation();
    let row_address = address.clone();
    view! {
        <tr class="row-link" on:click=move |_| go(&row_address, History::Push)>
            {name_cells(&row, report.as_deref(), address)}
            {call_cells(&row, buckets, (most, none))}
            {duration_cells(&row, buckets, none)}
            <td class="types-strip" class:is-stale=move || time.pending()>
                {time_cell(row.time, time)}
            </td>
        </tr>
    }
}

/// The parts of the time, or that they are loading, or the reason why they are unknown.
fn time_cell(
    shares: Option<Vec<TimeShare>>,
    time: RequestState<TransactionTypeList>,
) -> impl IntoView {
    let part =
        |one: &TimeShare| StripPart::of_operation(&one.service, &one.operation, one.critical_share);
    let parts = shares.map(|shares| shares.iter().map(part).collect::<Vec<_>>());
    move || {
        if let Some(error) = time.error() {
            return view! { <span class="mute" title=error.title()>"not known"</span> }.into_any();
        }
        match parts.clone() {
            Some(parts) => view! { <TimeStrip parts noun="operation" /> }.into_any(),
            None if time.pending() => view! { <span class="types-ghost"></span> }.into_any(),
            None => view! { <span class="mute">"–"</span> }.into_any(),
        }
    }
}

/// The field that opens the transaction of an id.
#[component]
fn FindTransaction() -> impl IntoView {
    let text = RwSignal::new(String::new());
    let go = use_navigation();
    let find = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let tid = text.get_untracked();
        if !tid.trim().is_empty() {
            go(&addresses::transaction(&tid), History::Push);
        }
    };
    view! {
        <form class="find-transaction" role="search" on:submit=find>
            <input
                class="input"
                type="search"
                aria-label="Transaction id: a trace id or the value of a transaction key"
                placeholder="Transaction id, as A-34838"
                maxlength="4096"
                autocomplete="off"
                spellcheck="false"
                prop:value=move || text.get()
                on:input=move |event| text.set(event_target_value(&event))
            />
            <button class="button" type="submit">"Look up"</button>
        </form>
    }
}

#[cfg(test)]
mod tests;
