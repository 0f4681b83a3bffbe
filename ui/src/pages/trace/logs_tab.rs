//! Every log record of the trace in order of time, each with a link to its span. Records of spans
//! that match the find text are marked, those of other spans are pale. The height of a record
//! depends on its text, so records are drawn from the first one down to the scroll position.

use leptos::{html, prelude::*};
use tidings_proto::api::{CorrelatedBy, LogCorrelation, LogView, TotalRelation};

use super::{
    bar::SeverityTone,
    lines::{severity_class, severity_word},
    logs_index::LogIndex,
    page_signals::{IdentityArc, PageSignals},
};
use crate::{
    colour,
    components::{EmptyState, ErrorState, LoadingRows, MessageLine, PartialNote},
    format,
    links::Links,
    url::TimeRange,
};

/// Number of records that are drawn at first, and of those that are added near their end.
const DRAWN_STEP: usize = 100;
/// Distance to the end of the drawn records at which more are drawn, in pixels.
const NEAR_PX: i32 = 1_500;

/// The list with its loading, empty and error states.
pub(crate) fn logs_tab(page: PageSignals) -> impl IntoView {
    let retry = Callback::new(move |()| page.records.refresh());
    move || {
        if page.records.loading() {
            return view! { <LoadingRows count=10 /> }.into_any();
        }
        let is_kept = page.records.value().is_some();
        let failed = page.records.error().map(|error| {
            view! { <ErrorState name="The log records" is_kept error on_retry=retry /> }
        });
        let failed = failed.into_any();
        if !is_kept {
            return failed;
        }
        let logs = page.logs.get();
        if logs.all().is_empty() {
            return view! {
                <div class="trace-pane">
                    {failed}
                    <EmptyState title="This trace has no log records">
                        <p>
                            "Records belong to a trace when they have its id: as OpenTelemetry's log "
                            "appenders send it, in a field, or in their text."
                        </p>
                    </EmptyState>
                </div>
            }
            .into_any();
        }
        list(page, logs, failed).into_any()
    }
}

fn list(page: PageSignals, logs: IdentityArc<LogIndex>, failed: AnyView) -> impl IntoView {
    let pane = NodeRef::<html::Div>::new();
    let drawn = RwSignal::new(DRAWN_STEP);
    let all = logs.all().len();
    let draw_more = move || {
        let near = pane.get_untracked().is_some_and(|pane| {
            pane.scroll_top() + pane.client_height() > pane.scroll_height() - NEAR_PX
        });
        if near && drawn.get_untracked() < all {
            drawn.update(|drawn| *drawn += DRAWN_STEP);
        }
    };
    let partial = partial(page, all);
    let numbers = move || (0..all.min(drawn.get())).collect::<Vec<_>>();
    let record = move |number: usize| {
        let record = logs.all().get(number)?;
        let log = u32::try_from(number).ok()?;
        Some(line(page, record, logs.row(log), logs.offset(record)))
    };
    view! {
        <div class="trace-pane" node_ref=pane on:scroll=move |_| draw_more()>
            {failed} {partial} <ol class="trace-logs">
                <For each=numbers key=|number| *number let(number)>
                    {record(number)}
                </For>
            </ol>
        </div>
    }
}

fn partial(page: PageSignals, drawn: usize) -> Option<impl IntoView> {
    let total = page.records.value()?.total;
    let all = total.relation == TotalRelation::Exact && total.value <= drawn as u64;
    (!all).then(|| {
        let words = format!(
            "The newest {} of {}. ",
            format::count(drawn as u64),
            format::total(total, "record")
        );
        let id = page.id.to_string();
        let href = Links::within(TimeRange::All).logs(&[("trace", &id)]);
        view! {
            <PartialNote>
                {words} <a class="link" href=href>"Read the others on the Logs page"</a>
            </PartialNote>
        }
    })
}

/// Returns the words for how a record without a span belongs to the trace.
fn without_span(record: &LogView) -> String {
    match &record.correlation {
        None => "of no span here".to_owned(),
        Some(LogCorrelation { by: CorrelatedBy::Field, key: Some(key), .. }) => {
            format!("trace id in {key}")
        }
        Some(LogCorrelation { by: CorrelatedBy::Field, .. }) => "trace id in a field".to_owned(),
        Some(LogCorrelation { by: CorrelatedBy::Text, .. }) => "trace id in the text".to_owned(),
    }
}

fn line(
    page: PageSignals,
    record: &LogView,
    row: Option<u32>,
    offset: i64,
) -> impl IntoView + use<> {
    let severity = severity_class(SeverityTone::from_number(record.severity_number));
    let span = match row {
        Some(row) => {
            let name = page.model.with_untracked(|model| model.operation(row).to_owned());
            view! {
                <button class="link trace-log-span" type="button" on:click=move |_| page.go_to(row)>
                    <bdi>{name}</bdi>
                </button>
            }
            .into_any()
        }
        None => {
            view! { <span class="faint trace-log-span">{without_span(record)}</span> }.into_any()
        }
    };
    // A record without a span is no match, and not pale either: its text may have the words.
    let is_found = row.map(|row| page.finds(row));
    let is_missed = row.map(|row| page.misses(vec![row]));
    view! {
        <li
            class=format!("trace-log {severity}")
            class:is-found=move || is_found.as_ref().is_some_and(|is_found| is_found())
            class:is-missed=move || is_missed.as_ref().is_some_and(|is_missed| is_missed())
        >
            <span class="faint number">{format::offset(offset)}</span>
            <span class="trace-severity">
                {severity_word(&record.severity, &record.severity_text)}
            </span>
            <span class="trace-log-service" style=("--hue", colour::hue_value(&record.service))>
                <span class="dot" aria-hidden="true"></span>
                <bdi>{record.service.clone()}</bdi>
            </span>
            <bdi class="trace-log-text">
                <MessageLine message=record.text.clone() />
            </bdi>
            {span}
        </li>
    }
}
