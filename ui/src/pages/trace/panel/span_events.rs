//! Events of a span, exceptions first, and its log records.

use leptos::prelude::*;
use tidings_proto::{SpanId, UnixNanos, otlp::Event};

use super::{
    super::{
        bar::SeverityTone,
        lines::{severity_class, severity_word},
        page_signals::PageSignals,
    },
    span_attributes::{plain_attributes, value_view},
};
use crate::{browser, format};

/// OTel's name for the event that records an exception.
const EXCEPTION: &str = "exception";
/// Number of lines of a stack trace that are initially shown.
const STACK_LINES: usize = 3;

/// Returns the events that are exceptions, or the others, with their positions among all events of
/// the span.
fn numbered(events: &[Event], are_exceptions: bool) -> Vec<(usize, Event)> {
    let all = events.iter().enumerate();
    all.filter(|(_, event)| (event.name == EXCEPTION) == are_exceptions)
        .map(|(position, event)| (position, event.clone()))
        .collect()
}

/// Returns the id of an event's element.
fn event_id(position: usize) -> String {
    format!("span-event-{position}")
}

/// Focuses the requested event, once it is drawn.
pub(super) fn focus_shown_event(page: PageSignals, drawn: SpanId) {
    Effect::new(move |_| {
        let shown = page.shown_event.get().filter(|shown| shown.span.id == drawn);
        if shown.is_some() && page.reached_event.get() != shown {
            shown.iter().for_each(|shown| browser::focus(&event_id(shown.position as usize)));
            page.reached_event.set(shown);
        }
    });
}

/// The exceptions: type, message, and the stack trace folded to its first lines.
pub(super) fn exceptions(page: PageSignals, events: &[Event]) -> Option<impl IntoView + use<>> {
    let exceptions = numbered(events, true);
    if exceptions.is_empty() {
        return None;
    }
    let one = move |(position, event): (usize, Event)| {
        let field = |key: &str| text(&event, key);
        let (kind, message) = (field("exception.type"), field("exception.message"));
        let title = match (kind.is_empty(), message.is_empty()) {
            (false, false) => format!("{kind}: {message}"),
            (true, true) => "exception".to_owned(),
            _ => format!("{kind}{message}"),
        };
        let (first, rest) = split_stack(&field("exception.stacktrace"), &title);
        let rest = (!rest.is_empty()).then(|| {
            let more = format::counted(rest.lines().count() as u64, "more line");
            view! {
                <details>
                    <summary>{more}</summary>
                    <pre>{rest}</pre>
                </details>
            }
        });
        view! {
            <div class="exception" id=event_id(position) tabindex="-1">
                <p class="exception-title">
                    <bdi>{title}</bdi>
                </p>
                <p class="faint mono">{at(page, event.time_unix_nano)}</p>
                {(!first.is_empty()).then(|| view! { <pre>{first}</pre> })}
                {rest}
            </div>
        }
    };
    Some(view! {
        <section>
            <h3>"Exception"</h3>
            {exceptions.into_iter().map(one).collect_view()}
        </section>
    })
}

/// The events that are not exceptions.
pub(super) fn events(page: PageSignals, events: &[Event]) -> Option<impl IntoView + use<>> {
    let events = numbered(events, false);
    if events.is_empty() {
        return None;
    }
    let count = events.len();
    let one = move |(position, event): (usize, Event)| {
        let attributes = plain_attributes(&event.attributes);
        view! {
            <div class="event" id=event_id(position) tabindex="-1">
                <p>
                    <span class="faint mono">{at(page, event.time_unix_nano)}</span>
                    " "
                    <bdi>{event.name}</bdi>
                </p>
                {attributes}
            </div>
        }
    };
    Some(view! {
        <section>
            <h3>"Events " <span class="faint">{count}</span></h3>
            {events.into_iter().map(one).collect_view()}
        </section>
    })
}

fn at(page: PageSignals, time_unix_nano: u64) -> String {
    let start = page.model.with_untracked(|model| model.summary.start_unix_nano);
    let nanos = i128::from(time_unix_nano) - i128::from(start.0);
    if UnixNanos(time_unix_nano) == UnixNanos::default() {
        return String::new();
    }
    format::offset(i64::try_from(nanos).unwrap_or(i64::MAX))
}

fn text(event: &Event, key: &str) -> String {
    let attribute = event.attributes.iter().find(|attribute| attribute.key == key);
    attribute.and_then(|attribute| attribute.value.as_ref()).map(format::value).unwrap_or_default()
}

/// Splits a stack trace into its first lines and the others, without a first line that only repeats
/// `title`.
fn split_stack(stack: &str, title: &str) -> (String, String) {
    let mut lines = stack.lines().peekable();
    if lines.peek().is_some_and(|line| !title.is_empty() && line.trim() == title) {
        lines.next();
    }
    let first: Vec<_> = lines.by_ref().take(STACK_LINES).map(str::trim_end).collect();
    let rest: Vec<_> = lines.map(str::trim_end).collect();
    (first.join("\n"), rest.join("\n"))
}

/// Maximum number of records that are drawn. The Logs tab has them all.
const RECORDS_MAX: usize = 200;

/// The records, oldest first, and the number of records below. Empty when there are none.
pub(super) fn records(page: PageSignals) -> impl IntoView {
    move || {
        let row = page.selected.get()?;
        let logs = page.logs.get();
        let here = logs.of_row(row);
        let below = page.model.with(|model| logs.count_below(model, row));
        if here.is_empty() && below == 0 {
            return None;
        }
        let counts = match (here.len(), below) {
            (here, 0) => format!("{here} here"),
            (here, below) => format!("{here} here, {below} below"),
        };
        let lines = here.iter().take(RECORDS_MAX).filter_map(|&log| logs.get(log)).map(|record| {
            let severity = severity_class(SeverityTone::from_number(record.severity_number));
            view! {
                <li class=format!("span-record {severity}")>
                    <span class="faint">{format::offset(logs.offset(record))}</span>
                    <span class="trace-severity">
                        {severity_word(&record.severity, &record.severity_text)}
                    </span>
                    <span class="span-record-text">
                        {value_view(record.text.clone())}
                    </span>
                </li>
            }
        });
        let more = here.len().checked_sub(RECORDS_MAX + 1).map(|more| {
            let words = format!("{} more in the Logs tab", format::count(more as u64 + 1));
            view! { <p class="faint">{words}</p> }
        });
        Some(view! {
            <section>
                <h3>"Logs " <span class="faint">{counts}</span></h3>
                <ul class="span-records">{lines.collect_view()}</ul>
                {more}
            </section>
        })
    }
}

#[cfg(test)]
mod tests {
    use super::split_stack;

    #[test]
    fn a_stack_is_folded_after_its_first_lines_and_does_not_repeat_the_title() {
        let (first, rest) = split_stack("E: no\n  at a\n  at b\n  at c\n  at d\n", "E: no");
        assert_eq!((first.as_str(), rest.as_str()), ("  at a\n  at b\n  at c", "  at d"));
        assert_eq!(split_stack("at a", "E: no"), ("at a".to_owned(), String::new()));
        assert_eq!(split_stack("", "E"), (String::new(), String::new()));
    }
}
