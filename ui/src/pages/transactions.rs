//! Transactions: the transaction types, how they do and how they did in the window before.
//!
//! Owns the two questions (the window and the one before), the pairing of their rows by name, and
//! the order of the table. All numbers are the API's.

use std::{cmp::Ordering, collections::HashMap, sync::Arc};

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos,
    api::{CallsInStep, TransactionKind, TransactionKindList},
};

use crate::{
    addresses,
    api::analysis,
    components::{
        Panel, SortHead, SortOrder, SparkTone, Sparkline, StripPart, TimeStrip, use_sort,
    },
    drawings::slots::Slots,
    figures, format,
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
        let analysis = window.analysis_before()?.with("limit", LISTED);
        Some(analysis::transaction_types(&analysis))
    });
    let order = use_sort("-change");
    let query = use_query();
    let service = Memo::new(move |_| {
        query.with(|query| query.get("service").filter(|name| !name.is_empty()).map(str::to_owned))
    });
    let range = Memo::new(move |_| window.get().range());
    let draw = move |list: Arc<TransactionKindList>| {
        view! { <TypeTable list before order range service /> }
    };
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
                <p class="sentence">{move || sentence(now, before, range.get())}</p>
            </div>
            <Panel
                title="Types"
                note=Signal::derive(move || {
                    format!("beside {}", window.get().before_words())
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
    if !list.searched.complete {
        reasons.push("Not everything in this time was read: choose a shorter time.".to_owned());
    }
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
    (!reasons.is_empty()).then(|| reasons.join(" "))
}

/// A type now and before.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TypeRow {
    pub(super) now: TransactionKind,
    pub(super) before: Option<TransactionKind>,
}

impl TypeRow {
    fn failed(kind: &TransactionKind) -> f64 {
        figures::ratio(kind.error_count, kind.count)
    }

    /// Factor of the p95 against before.
    fn slowdown(&self) -> Option<f64> {
        let before = self.before.as_ref()?.duration.p95_nano.0;
        (before > 0).then(|| self.now.duration.p95_nano.0 as f64 / before as f64)
    }

    /// By how much more of the calls fail than before.
    fn more_failed(&self) -> Option<f64> {
        Some(Self::failed(&self.now) - Self::failed(self.before.as_ref()?))
    }

    /// The measure of *by change*: a doubled p95 counts as much as 20 % more failures.
    fn change(&self) -> f64 {
        let slower = self.slowdown().map_or(0.0, |times| times.max(1e-3).log2());
        let failing = self.more_failed().map_or(0.0, |more| more * 5.0);
        slower.max(0.0) + failing.max(0.0)
    }
}

/// Rows of both windows, paired by name.
pub(super) fn paired(now: &[TransactionKind], before: Option<&[TransactionKind]>) -> Vec<TypeRow> {
    let name = |kind: &TransactionKind| (kind.service.clone(), kind.operation.clone());
    let mut earlier: HashMap<_, _> =
        before.unwrap_or_default().iter().map(|kind| (name(kind), kind.clone())).collect();
    let pair =
        |kind: &TransactionKind| TypeRow { before: earlier.remove(&name(kind)), now: kind.clone() };
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
            _ => row.change(),
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

/// The type that changed most, in a sentence; how many are as before.
fn sentence(
    now: Remote<TransactionKindList>,
    before: Remote<TransactionKindList>,
    range: TimeRange,
) -> Option<AnyView> {
    let (now, before) = (now.value()?, before.value()?);
    let rows = paired(&now.kinds, Some(&before.kinds));
    let row = rows.into_iter().max_by(|left, right| left.change().total_cmp(&right.change()))?;
    let earlier = row.before.as_ref()?;
    let (failed, was_failed) = (TypeRow::failed(&row.now), TypeRow::failed(earlier));
    let slower = row.slowdown().filter(|times| *times >= 1.2).map(|times| {
        let (p95, was) = (row.now.duration.p95_nano, earlier.duration.p95_nano);
        format!("p95 {}, {} (it was {})", figures::times(times), p95, was)
    });
    let failing = (failed - was_failed >= 0.005).then(|| {
        format!("{} fail (it was {})", figures::share(failed), figures::share(was_failed))
    });
    let words: Vec<String> = slower.into_iter().chain(failing).collect();
    if words.is_empty() {
        return Some(view! { "All types are about as they were before." }.into_any());
    }
    let address = addresses::transaction_type(&row.now.service, &row.now.operation, range);
    let name = figures::cut(format::operation(&row.now.operation), 80);
    Some(
        view! {
            <a href=address>{name}</a>
            " of "
            {figures::cut(format::service(&row.now.service), 60)}
            " changed most: "
            {words.join("; ")}
            "."
        }
        .into_any(),
    )
}

#[component]
fn TypeTable(
    list: Arc<TransactionKindList>,
    before: Remote<TransactionKindList>,
    order: Memo<SortOrder>,
    range: Memo<TimeRange>,
    service: Memo<Option<String>>,
) -> impl IntoView {
    let slots = Slots::of_window(&list.window);
    let rows = move || {
        let before = before.value();
        let mut rows = paired(&list.kinds, before.as_ref().map(|list| list.kinds.as_slice()));
        if let Some(service) = service.get() {
            rows.retain(|row| row.now.service == service);
        }
        order.with(|order| sort(&mut rows, order));
        rows.into_iter()
            .map(|row| view! { <TypeLine row slots range=range.get() /> })
            .collect_view()
    };
    view! {
        <table class="table types" aria-label="Transaction types">
            <thead>
                <tr>
                    <SortHead column="name" label="Transaction" order />
                    <SortHead column="rate" label="Calls" order numeric=true />
                    <th scope="col" class="num wide">"was"</th>
                    <th scope="col" class="wide"><span class="hidden">"Calls over time"</span></th>
                    <SortHead column="failed" label="Failed" order numeric=true />
                    <th scope="col" class="num">"was"</th>
                    <th scope="col" class="wide"><span class="hidden">"Failures over time"</span></th>
                    <SortHead column="p50" label="p50" order numeric=true />
                    <SortHead column="p95" label="p95" order numeric=true />
                    <th scope="col" class="num">"was"</th>
                    <th scope="col"><span class="hidden">"p95 over time"</span></th>
                    <SortHead column="p99" label="p99" order numeric=true />
                    <SortHead column="change" label="Change" order numeric=true />
                    <th scope="col" class="types-strip">"Where the time goes"</th>
                </tr>
            </thead>
            // The order may hang on the window before: until it is known, rows can still move.
            <tbody class:is-stale=move || before.pending()>{rows}</tbody>
        </table>
    }
}

#[component]
fn TypeLine(row: TypeRow, slots: Slots, range: TimeRange) -> impl IntoView {
    let TypeRow { now: kind, before } = row.clone();
    let address = addresses::transaction_type(&kind.service, &kind.operation, range);
    let begin = |step: &CallsInStep| step.start_unix_nano;
    let calls = slots.rates(&kind.steps, begin, |step| step.count);
    let failures = slots.measures(
        &kind.steps,
        begin,
        |step| Some(figures::ratio(step.error_count, step.count)),
        Some(0.0),
    );
    let p95 = |step: &CallsInStep| Some(step.duration.p95_nano.0 as f64);
    let slow = slots.measures(&kind.steps, begin, p95, None);
    let failed = TypeRow::failed(&kind);
    let worse_failed = row.more_failed().is_some_and(|more| more >= 0.005);
    let slowdown = row.slowdown();
    let worse_slow = slowdown.is_some_and(|times| times >= 1.2);
    let was =
        |text: fn(&TransactionKind) -> String| before.as_ref().map_or_else(|| "–".to_owned(), text);
    let rate = kind.rate_per_second;
    let was_rate = before.as_ref().map(|kind| figures::rate_beside(kind.rate_per_second, rate));
    let was_rate = was_rate.unwrap_or_else(|| "–".to_owned());
    let nanos = |duration: DurationNanos| format::duration(duration);
    let parts = kind
        .where_time_goes
        .iter()
        .map(|one| StripPart::of_operation(&one.service, &one.operation, one.critical_share))
        .collect::<Vec<_>>();
    let failed_tone = if failed > 0.0 { SparkTone::Error } else { SparkTone::Plain };
    let slow_tone = if worse_slow { SparkTone::Accent } else { SparkTone::Plain };
    let go = use_go();
    let row_address = address.clone();
    let name = format::operation(&kind.operation).to_owned();
    view! {
        <tr class="row-link" on:click=move |_| go(&row_address, Step::New)>
            <td class="grow">
                <a class="type-name" href=address title=name.clone()>{name.clone()}</a>
                " "
                <span class="mute">{format::service(&kind.service).to_owned()}</span>
            </td>
            <td class="num">{figures::rate(rate)}</td>
            <td class="num was wide">{was_rate}</td>
            <td class="wide"><Sparkline values=calls label="Calls over time" /></td>
            <td class="num" class:is-worse=worse_failed>{figures::share(failed)}</td>
            <td class="num was">{was(|kind| figures::share(TypeRow::failed(kind)))}</td>
            <td class="wide">
                <Sparkline values=failures max=1.0_f64.min(failed.max(0.02) * 4.0) tone=failed_tone label="Share of failures over time" />
            </td>
            <td class="num">{nanos(kind.duration.p50_nano)}</td>
            <td class="num" class:is-worse=worse_slow>{nanos(kind.duration.p95_nano)}</td>
            <td class="num was">{was(|kind| format::duration(kind.duration.p95_nano))}</td>
            <td><Sparkline values=slow tone=slow_tone label="p95 over time" /></td>
            <td class="num">{nanos(kind.duration.p99_nano)}</td>
            <td class="num" class:is-worse=worse_slow class:was=!worse_slow>
                {slowdown.map_or_else(|| "new".to_owned(), figures::times)}
            </td>
            <td class="types-strip"><TimeStrip parts /></td>
        </tr>
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
