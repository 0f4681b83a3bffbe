//! Attributes that the subject's transactions have and those that they are compared with lack.
//! Transactions since a moment are compared with the baseline of the page, as its facts are.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::{UnixNanos, api::Explanation};

use super::{
    TypePage, UNDECIDED,
    call_trees::without_begin,
    moment::{self, SINCE},
    when_changed,
};
use crate::{
    addresses::TraceListLink,
    api::analysis::{self, Analysis},
    browser,
    components::{DifferenceList, Panel, WatchedRequest, explanation_missing},
    format,
    window::Window,
};

/// The panel.
pub(super) fn differences(page: TypePage) -> impl IntoView {
    let explanation = page.window.request_slowly(move |window| {
        let selected = selected(page, window)?;
        let analysis = page.name.with(|name| name.filter(selected)).with("limit", 8);
        Some(analysis::explain(&analysis))
    });
    let moment = move || page.moment.get().filter(|_| page.basis.get() == SINCE);
    let has_baseline = move || has_baseline(page);
    when_changed(
        move || (page.basis.get(), page.name.get(), moment(), has_baseline()),
        move || {
            explanation.clear();
        },
    );
    let draw = move |explanation: Arc<Explanation>| {
        let traces = page.name.with(|name| {
            TraceListLink::within(page.window.get().range())
                .of_service(&name.service)
                .of_operation(&name.operation)
        });
        let traces = match page.basis.get() {
            "failed" => traces.failed(),
            _ => traces,
        };
        let since = moment().map(|moment| local_minute(page.window.get(), moment));
        let counts = (explanation.selected_count, explanation.rest_count);
        let words = counts_text(counts, page.basis.get(), since.as_deref(), has_baseline());
        let words = format!("{words}{}.", no_baseline_words(page));
        view! {
            <p class="panel-words mute">{words}</p>
            <DifferenceList
                differences=explanation.differences.clone()
                traces
                rest=rest_words(page.basis.get(), has_baseline())
            />
        }
    };
    view! {
        <Panel
            title=Signal::derive(move || title(page))
            note=Signal::derive(move || {
                let time = moment::reference_time(page);
                time.map_or_else(String::new, |time| format!("beside {time}"))
            })
            state=explanation
            needs=vec![
                page.watched_measures(),
                WatchedRequest::new("The time before is not known", page.before)
                    .only_while(move || lacks_baseline_count(page)),
            ]
            instead=Signal::derive(move || without_begin(page))
            is_empty=|explanation| explanation.differences.is_empty()
            missing=explanation_missing
            empty=Signal::derive(move || {
                let rest = rest_words(page.basis.get(), has_baseline());
                format!("No attribute sets them apart from {rest}{}.", no_baseline_words(page))
            })
            draw=draw
        />
    }
}

/// Returns the query for the subject's transactions and those that they are compared with.
fn selected(page: TypePage, window: Window) -> Option<Analysis> {
    let analysis = match page.basis.get() {
        "failed" => window.analysis().with("selectStatus", "error"),
        SINCE => {
            let parts = moment::parts(window, page.moment.get())?;
            since_moment(window, parts, page.has_baseline.get()?)
        }
        "before" => {
            let ((start, middle), (_, end)) = (window.before()?, window.bounds()?);
            Analysis::between(start, end).with("selectStart", middle.0)
        }
        UNDECIDED => return None,
        _ => window.analysis().with("selectMinDuration", page.slow_from()?.0),
    };
    Some(analysis)
}

/// Returns the title of the panel.
fn title(page: TypePage) -> String {
    let words = match page.basis.get() {
        "failed" => "What the failed ones have in common",
        "before" => "What is different from before",
        SINCE => match page.moment.get() {
            Some(moment) => {
                let window = page.window.slow_signal().get();
                return format!("What is different since {}", local_minute(window, moment));
            }
            None => "What is different since then",
        },
        UNDECIDED => "What is different",
        _ => "What the slow ones have in common",
    };
    words.to_owned()
}

/// Returns the query for transactions since a moment, compared with the baseline of the page, or
/// with those of the window until the moment.
fn since_moment(
    window: Window,
    (start, moment, end): (UnixNanos, UnixNanos, UnixNanos),
    has_baseline: bool,
) -> Analysis {
    match window.before().filter(|_| has_baseline) {
        Some((from, to)) => {
            Analysis::between(moment, end).with("baselineStart", from.0).with("baselineEnd", to.0)
        }
        None => Analysis::between(start, end).with("selectStart", moment.0),
    }
}

/// Reports whether transactions since a moment are compared with the baseline of the page.
fn has_baseline(page: TypePage) -> bool {
    page.basis.get() == SINCE && page.has_baseline.get() == Some(true)
}

/// Reports whether transactions since a moment need the number of those before, which is not known.
fn lacks_baseline_count(page: TypePage) -> bool {
    page.basis.get() == SINCE && page.baseline_count().is_none()
}

fn local_minute(window: Window, time: UnixNanos) -> String {
    browser::local_minute(time, window.now())
}

/// Returns the words for a baseline of too few, after those for the reference. One whose request
/// failed has a note instead.
fn no_baseline_words(page: TypePage) -> &'static str {
    match (page.basis.get(), page.has_baseline.get()) {
        (SINCE, Some(false)) if !lacks_baseline_count(page) => {
            "; there are too few in the time before"
        }
        _ => "",
    }
}

/// Returns the numbers of the selected and of the other transactions in words. Those of two times
/// are not added: `120 since 14:01 against 3,600 before`.
fn counts_text(
    (selected, rest): (u64, u64),
    basis: &str,
    since: Option<&str>,
    has_baseline: bool,
) -> String {
    let (count, others) = (format::count(selected), format::count(rest));
    match (basis, since) {
        ("before", _) => format!("{count} now against {others} before"),
        (SINCE, Some(since)) if has_baseline => {
            format!("{count} since {since} against {others} before")
        }
        _ => {
            let all = format::count(selected.saturating_add(rest));
            format!("{count} of {all} against {}", rest_words(basis, has_baseline))
        }
    }
}

/// Returns the words for the transactions that the subject's are compared with.
fn rest_words(basis: &str, has_baseline: bool) -> &'static str {
    match basis {
        "before" => "those before",
        SINCE if has_baseline => "those before",
        SINCE => "those until then",
        "failed" => "those that did not fail",
        _ => "the rest",
    }
}

#[cfg(test)]
mod tests {
    use super::{Analysis, SINCE, UnixNanos, Window, counts_text, rest_words, since_moment};
    use crate::url::TimeRange;

    const HOUR: u64 = 3_600_000_000_000;

    #[test]
    fn the_words_name_the_compared_transactions() {
        assert_eq!(rest_words("before", false), "those before");
        assert_eq!(rest_words(SINCE, true), "those before");
        assert_eq!(rest_words(SINCE, false), "those until then");
        assert_eq!(rest_words("failed", false), "those that did not fail");
        assert_eq!(rest_words("slow", false), "the rest");
    }

    #[test]
    fn transactions_of_two_times_are_not_added() {
        let text = |basis: &str, has_baseline: bool| {
            counts_text((120, 3_600), basis, Some("14:01"), has_baseline)
        };
        assert_eq!(text(SINCE, true), "120 since 14:01 against 3,600 before");
        assert_eq!(text("before", false), "120 now against 3,600 before");
        assert_eq!(text(SINCE, false), "120 of 3,720 against those until then");
        assert_eq!(text("failed", false), "120 of 3,720 against those that did not fail");
    }

    #[test]
    fn transactions_since_a_moment_are_compared_with_the_baseline_where_there_is_one() {
        let (start, since, now) = (2 * HOUR, 2 * HOUR + HOUR / 2, 3 * HOUR);
        let parts = (UnixNanos(start), UnixNanos(since), UnixNanos(now));
        let hour = Window::new(TimeRange::Last { seconds: 3_600 }, UnixNanos(now));
        let with_baseline = Analysis::between(UnixNanos(since), UnixNanos(now))
            .with("baselineStart", HOUR)
            .with("baselineEnd", start);
        assert_eq!(since_moment(hour, parts, true), with_baseline);
        let without =
            Analysis::between(UnixNanos(start), UnixNanos(now)).with("selectStart", since);
        assert_eq!(since_moment(hour, parts, false), without);
    }
}
