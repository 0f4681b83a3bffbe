//! Transactions: the transaction types, how they do and how they did in the window before.
//!
//! Owns the questions (the window, the one before, where the time goes, and what changed), the
//! pairing of their rows by name, and the order of the table. All numbers are the API's, and so is which type
//! changed most.

use std::{cmp::Ordering, collections::HashMap, sync::Arc};

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos,
    api::{
        BaselineState, CallsInStep, Change, ChangeKind, ChangeReport, ChangedGroup, TimeShare,
        TransactionKind, TransactionKindList,
    },
};

use crate::{
    addresses,
    api::analysis,
    asked::incomplete,
    browser,
    components::{
        ChangeBadge, Panel, ReportSentence, SortHead, SortOrder, SparkTone, Sparkline, StripPart,
        TimeStrip,
        change::{since, value_and_before},
        use_sort,
    },
    drawings::slots::Slots,
    figures, format,
    links::use_links,
    remote::Remote,
    shell::{crumb, set_crumbs},
    url::{Step, TimeRange, use_go, use_query},
    window::LiveWindow,
};

/// Types that are listed.
const LISTED: u32 = 200;

/// The page.
#[component]
#[must_use]
pub fn TransactionsPage() -> impl IntoView {
    set_crumbs(crumb("Transactions"));
    let window = LiveWindow::follow();
    let now = window
        .ask(|window| Some(analysis::transaction_types(&window.analysis().with("limit", LISTED))));
    let before = window.ask(|window| {
        let analysis = window.analysis_before()?.in_one_step().with("limit", LISTED);
        Some(analysis::transaction_types(&analysis))
    });
    let time = window.ask_slowly(|window| {
        let analysis = window.analysis().in_one_step().with("limit", LISTED);
        Some(analysis::time_of_types(&analysis))
    });
    let report = window.ask_slowly(|window| {
        let analysis = window.analysis().with("limit", LISTED);
        window.before().is_some().then(|| analysis::changes(&analysis))
    });
    let (order, links) = (use_sort("-change"), use_links());
    let query = use_query();
    let service = Memo::new(move |_| {
        query.with(|query| query.get("service").filter(|name| !name.is_empty()).map(str::to_owned))
    });
    let range = Memo::new(move |_| window.get().range());
    let draw = move |list: Arc<TransactionKindList>| {
        view! { <TypeTable list before time report order range service /> }
    };
    let sentence =
        move || report.value().map(|report| view! { <ReportSentence report links=links.get() /> });
    let note = move || {
        now.value().map(|list| format::counted(list.kind_count, "type")).unwrap_or_default()
    };
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
                {sentence}
            </div>
            <Panel
                title="Types"
                note=Signal::derive(move || {
                    format!("against {}", window.get().before_words())
                })
                remote=now
                is_empty=|list| list.kinds.is_empty()
                missing=missing
                empty="No transaction begins in this time. Look at a longer time, or connect a sender."
                rows=10
                draw=draw
            />
        </div>
    }
}

/// The words of an incomplete list.
fn missing(list: &TransactionKindList) -> Option<String> {
    let mut reasons = Vec::new();
    if list.sampled_one_in > 1 {
        reasons.push(format!(
            "Counts are estimates from every {}th transaction.",
            format::count(list.sampled_one_in)
        ));
    }
    if list.other_count > 0 {
        reasons.push(format!(
            "{} of types that are too rare to be told apart.",
            format::counted(list.other_count, "transaction")
        ));
    }
    let listed = list.kinds.len() as u64;
    if list.kind_count > listed {
        let count = format::count(listed);
        reasons.push(format!("Only the {count} most frequent types are listed."));
    }
    // Last: the link that reads the rest stands behind it.
    reasons.extend(incomplete(&list.searched));
    (!reasons.is_empty()).then(|| reasons.join(" "))
}

/// A type now and before, and what the comparison of both says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TypeRow {
    pub(super) now: TransactionKind,
    pub(super) before: Option<TransactionKind>,
    pub(super) changed: Option<ChangedGroup>,
    /// Where its time goes; `None` until that is known.
    pub(super) time: Option<Vec<TimeShare>>,
}

impl TypeRow {
    fn failed(kind: &TransactionKind) -> f64 {
        figures::ratio(kind.error_count, kind.count)
    }

    /// The weight of its changes.
    fn score(&self) -> f64 {
        self.changed.as_ref().map_or(0.0, |group| group.score)
    }

    /// Its change of one aspect, for durations of one quantile.
    fn change(&self, kind: ChangeKind, quantile: Option<u8>) -> Option<&Change> {
        let changes = self.changed.iter().flat_map(|group| &group.changes);
        let mut changes = changes.filter(|change| change.kind == kind);
        changes.find(|change| quantile.is_none() || change.quantile == quantile)
    }
}

/// Rows of both windows, of their comparison and of where the time goes, paired by name.
pub(super) fn paired(
    now: &[TransactionKind],
    before: &[TransactionKind],
    time: &[TransactionKind],
    changed: &[ChangedGroup],
) -> Vec<TypeRow> {
    fn name(kind: &TransactionKind) -> (&str, &str) {
        (&kind.service, &kind.operation)
    }
    fn by_name(kinds: &[TransactionKind]) -> HashMap<(&str, &str), &TransactionKind> {
        kinds.iter().map(|kind| (name(kind), kind)).collect()
    }
    let (earlier, time) = (by_name(before), by_name(time));
    let groups: HashMap<_, _> = changed
        .iter()
        .filter_map(|group| Some(((&*group.service, group.operation.as_deref()?), group)))
        .collect();
    let pair = |kind: &TransactionKind| TypeRow {
        before: earlier.get(&name(kind)).copied().cloned(),
        changed: groups.get(&name(kind)).copied().cloned(),
        time: time.get(&name(kind)).map(|kind| kind.where_time_goes.clone()),
        now: kind.clone(),
    };
    now.iter().map(pair).collect()
}

/// Puts rows in the order of a column; equals stay in order of frequency.
fn sort(rows: &mut [TypeRow], order: &SortOrder) {
    let key = |row: &TypeRow| -> f64 {
        let kind = &row.now;
        match order.column.as_str() {
            "rate" => kind.rate_per_second,
            "failed" => TypeRow::failed(kind),
            "p50" => kind.duration.p50_nano.0 as f64,
            "p95" => kind.duration.p95_nano.0 as f64,
            "p99" => kind.duration.p99_nano.0 as f64,
            _ => row.score(),
        }
    };
    rows.sort_by(|left, right| {
        let by_count = right.now.count.cmp(&left.now.count);
        let chosen = if order.column == "name" {
            let name = |row: &TypeRow| (row.now.operation.clone(), row.now.service.clone());
            order.compare(name(left), name(right))
        } else {
            order.compare(key(left), key(right))
        };
        if chosen == Ordering::Equal { by_count } else { chosen }
    });
}

#[component]
fn TypeTable(
    list: Arc<TransactionKindList>,
    before: Remote<TransactionKindList>,
    time: Remote<TransactionKindList>,
    report: Remote<ChangeReport>,
    order: Memo<SortOrder>,
    range: Memo<TimeRange>,
    service: Memo<Option<String>>,
) -> impl IntoView {
    let slots = Slots::of_window(&list.window);
    let rows = move || {
        let (before, of_time, report) = (before.value(), time.value(), report.value());
        fn kinds(list: &Option<Arc<TransactionKindList>>) -> &[TransactionKind] {
            list.as_ref().map_or(&[], |list| &list.kinds)
        }
        let compared = report.filter(|report| report.baseline.state != BaselineState::Empty);
        let changed = compared.as_ref().map(|report| report.transactions.as_slice());
        let (before, of_time) = (kinds(&before), kinds(&of_time));
        let mut rows = paired(&list.kinds, before, of_time, changed.unwrap_or_default());
        let most = rows.iter().map(|row| row.now.rate_per_second).fold(0.0, f64::max);
        if let Some(service) = service.get() {
            rows.retain(|row| row.now.service == service);
        }
        order.with(|order| sort(&mut rows, order));
        rows.into_iter()
            .map(|row| view! { <TypeLine row slots range=range.get() most time /> })
            .collect_view()
    };
    view! {
        <table class="table types" aria-label="Transaction types">
            <thead>
                <tr>
                    <SortHead column="name" label="Transaction" order />
                    <SortHead column="change" label="Change" order numeric=true />
                    <SortHead column="rate" label="Calls" order numeric=true />
                    <th scope="col" class="num wide">"was"</th>
                    <th scope="col" class="wide"><span class="hidden">"Calls over time"</span></th>
                    <SortHead column="failed" label="Failed" order numeric=true />
                    <th scope="col" class="num">"was"</th>
                    <th scope="col" class="wide"><span class="hidden">"Failures over time"</span></th>
                    <SortHead column="p50" label="p50" order numeric=true />
                    <SortHead column="p95" label="p95" order numeric=true />
                    <th scope="col" class="num">"was"</th>
                    <th scope="col" class="types-spark"><span class="hidden">"p95 over time"</span></th>
                    <SortHead column="p99" label="p99" order numeric=true />
                    <th scope="col" class="types-strip">"Where the time goes"</th>
                </tr>
            </thead>
            // The order may hang on what changed: until it is known, rows can still move.
            <tbody class:is-stale=move || before.pending() || report.loading()>{rows}</tbody>
        </table>
    }
}

/// A number of a row, and that of the time before. All numbers of a row are of one time: a median
/// since a change may be longer than the p95 of the whole. The title says what changed since when.
struct RowNumber {
    now: String,
    was: String,
    is_worse: bool,
    title: String,
}

impl RowNumber {
    fn new(now: String, was: Option<String>, change: Option<&Change>, quantile: u8) -> Self {
        let was = was.unwrap_or_else(|| "–".to_owned());
        let Some(change) = change else {
            return Self { now, was, is_worse: false, title: String::new() };
        };
        let (since_then, until_then) = value_and_before(change, quantile);
        let title = format!(
            "{since_then}{}, it was {until_then}; {now} in all this time",
            since(change, browser::now())
        );
        Self { now, was, is_worse: change.is_worse, title }
    }
}

/// The name of a type, and what changed of it.
fn name_cells(row: &TypeRow, address: String) -> impl IntoView + use<> {
    let name = format::operation(&row.now.operation).to_owned();
    let change = match row.changed.clone() {
        Some(ChangedGroup { sentence, service, operation, only_feels, .. }) => {
            view! { <ChangeBadge sentence service operation only_feels /> }.into_any()
        }
        None => view! { <span class="mute">"–"</span> }.into_any(),
    };
    view! {
        <td class="grow">
            <a class="type-name" href=address title=name.clone()>{name.clone()}</a>
            " "
            <span class="mute">{format::service(&row.now.service).to_owned()}</span>
        </td>
        <td class="types-change">{change}</td>
    }
}

/// Calls and failures, with what they were and over time. Rates have the unit of the greatest.
fn call_cells(row: &TypeRow, slots: Slots, most: f64) -> impl IntoView + use<> {
    let (kind, before) = (&row.now, row.before.as_ref());
    let begin = |step: &CallsInStep| step.start_unix_nano;
    let calls = slots.rates(&kind.steps, begin, |step| step.count);
    let share = |step: &CallsInStep| Some(figures::ratio(step.error_count, step.count));
    let failures = slots.measures(&kind.steps, begin, share, Some(0.0));
    let failed = TypeRow::failed(kind);
    let failed_number = RowNumber::new(
        figures::share(failed),
        before.map(|kind| figures::share(TypeRow::failed(kind))),
        row.change(ChangeKind::Errors, None),
        0,
    );
    let tone = if failed > 0.0 { SparkTone::Error } else { SparkTone::Plain };
    let rate = |kind: &TransactionKind| figures::rate_beside(kind.rate_per_second, most);
    view! {
        <td class="num">{rate(kind)}</td>
        <td class="num was wide">{before.map_or_else(|| "–".to_owned(), rate)}</td>
        <td class="wide"><Sparkline values=calls label="Calls over time" /></td>
        <td class="num" class:is-worse=failed_number.is_worse title=failed_number.title>
            {failed_number.now}
        </td>
        <td class="num was">{failed_number.was}</td>
        <td class="wide">
            <Sparkline values=failures max=1.0_f64.min(failed.max(0.02) * 4.0) tone label="Share of failures over time" />
        </td>
    }
}

/// Quantiles of the duration, and the p95 over time.
fn duration_cells(row: &TypeRow, slots: Slots) -> impl IntoView + use<> {
    let (kind, before) = (&row.now, row.before.as_ref());
    let begin = |step: &CallsInStep| step.start_unix_nano;
    let p95_of = |step: &CallsInStep| Some(step.duration.p95_nano.0 as f64);
    let steps = slots.measures(&kind.steps, begin, p95_of, None);
    let number = |quantile: u8, now: DurationNanos, was: Option<DurationNanos>| {
        let change = row.change(ChangeKind::Latency, Some(quantile));
        RowNumber::new(format::duration(now), was.map(format::duration), change, quantile)
    };
    let p50 = number(50, kind.duration.p50_nano, None);
    let p95 = number(95, kind.duration.p95_nano, before.map(|kind| kind.duration.p95_nano));
    let is_worse = row.change(ChangeKind::Latency, None).is_some_and(|change| change.is_worse);
    let tone = if is_worse { SparkTone::Accent } else { SparkTone::Plain };
    view! {
        <td class="num" class:is-worse=p50.is_worse title=p50.title>{p50.now}</td>
        <td class="num" class:is-worse=p95.is_worse title=p95.title>{p95.now}</td>
        <td class="num was">{p95.was}</td>
        <td class="types-spark"><Sparkline values=steps tone label="p95 over time" /></td>
        <td class="num">{format::duration(kind.duration.p99_nano)}</td>
    }
}

#[component]
fn TypeLine(
    row: TypeRow,
    slots: Slots,
    range: TimeRange,
    most: f64,
    time: Remote<TransactionKindList>,
) -> impl IntoView {
    let address = addresses::transaction_type(&row.now.service, &row.now.operation, range);
    let go = use_go();
    let row_address = address.clone();
    view! {
        <tr class="row-link" on:click=move |_| go(&row_address, Step::New)>
            {name_cells(&row, address)}
            {call_cells(&row, slots, most)}
            {duration_cells(&row, slots)}
            <td class="types-strip" class:is-stale=move || time.pending()>
                {time_cell(row.time, time)}
            </td>
        </tr>
    }
}

/// Where the time goes: its parts, that they are still looked for, or why they are not known.
fn time_cell(shares: Option<Vec<TimeShare>>, time: Remote<TransactionKindList>) -> impl IntoView {
    let part =
        |one: &TimeShare| StripPart::of_operation(&one.service, &one.operation, one.critical_share);
    let parts = shares.map(|shares| shares.iter().map(part).collect::<Vec<_>>());
    move || {
        if let Some(error) = time.error() {
            return view! { <span class="mute" title=error.title()>"not known"</span> }.into_any();
        }
        match parts.clone() {
            Some(parts) => view! { <TimeStrip parts /> }.into_any(),
            None if time.pending() => view! { <span class="types-ghost"></span> }.into_any(),
            None => view! { <span class="mute">"–"</span> }.into_any(),
        }
    }
}

/// The field that leads to everything that belongs to an id.
#[component]
fn FindTransaction() -> impl IntoView {
    let text = RwSignal::new(String::new());
    let go = use_go();
    let find = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let tid = text.get_untracked();
        if !tid.trim().is_empty() {
            go(&addresses::transaction(&tid), Step::New);
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
