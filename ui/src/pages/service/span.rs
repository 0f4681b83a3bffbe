//! The time that the tables of a service count: from its change on, or the whole range.
//!
//! Owns the choice in the address (`span=whole`, `span=since`), the wait for the report of changes,
//! and the words of both times. Does not own the requests: panels ask it for an analysis.

use std::time::Duration;

use leptos::prelude::*;
use tidings_proto::{
    DurationNanos, UnixNanos,
    api::{ChangeReport, ChangedGroup},
};

use crate::{
    api::analysis::Analysis,
    browser,
    components::{Segment, Segments},
    format,
    links::{SINCE_CHANGE, SPAN_PARAM},
    page_time::PageTime,
    request_state::RequestState,
    url::{History, TimeRange, use_edit_query, use_query},
};

/// Value of the parameter for the whole range. In a range that moves with the clock, the time since
/// the change is the default and not in the address. In any other range, the whole range is.
const WHOLE: &str = "whole";
/// Maximum time that tables wait for the report of changes. Grey rows that become the right numbers
/// move once. Numbers of the whole range that others replace would be read and then move. A report
/// that takes longer replaces the numbers of the whole range: a page has its rows within a second
/// (docs/benchmarks.md), and tables need a part of it for their own requests.
const REPORT_WAIT: Duration = Duration::from_millis(500);

/// The counted time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TableSpan {
    /// Unknown until the report of changes arrives.
    Awaited,
    /// The range of the page.
    Whole,
    /// From the change on.
    Since(UnixNanos),
}

/// The time that tables count, and the choice of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct TableTime {
    time: PageTime,
    /// Length of the range of the page, if it moves with the clock.
    length: Memo<Option<DurationNanos>>,
    /// Begin of the change, where it is known: the reader has the choice.
    offered: Memo<Option<UnixNanos>>,
    span: Memo<TableSpan>,
}

impl TableTime {
    /// Follows the address and the report. `begin` is that of the service's change.
    pub(super) fn follow(
        time: PageTime,
        report: RequestState<ChangeReport>,
        begin: Memo<Option<UnixNanos>>,
    ) -> Self {
        let query = use_query();
        let range = Memo::new(move |_| query.with(TimeRange::read));
        let length = Memo::new(move |_| length_of(range.get()));
        let is_param = move |value: &str| query.with(|query| query.get(SPAN_PARAM) == Some(value));
        let is_whole = Memo::new(move |_| is_param(WHOLE));
        let is_since = Memo::new(move |_| is_param(SINCE_CHANGE));
        let is_overdue = browser::use_elapsed(REPORT_WAIT);
        let offered = Memo::new(move |_| offered(range.get(), begin.get(), time.now()));
        let span = Memo::new(move |_| {
            let counts_whole = is_whole.get() || (!is_since.get() && length.get().is_none());
            span_of(counts_whole, offered.get(), report.loading() && !is_overdue.get())
        });
        Self { time, length, offered, span }
    }

    /// Returns an analysis of the counted time, or `None` while it is unknown.
    pub(super) fn analysis(self) -> Option<Analysis> {
        match self.span.get() {
            TableSpan::Awaited => None,
            TableSpan::Whole => Some(self.time.analysis()),
            TableSpan::Since(begin) => Some(self.time.analysis_since(begin)),
        }
    }

    /// Reports whether tables count the whole range.
    pub(super) fn is_whole(self) -> bool {
        self.span.get() == TableSpan::Whole
    }

    /// Returns the counted time in words: `since 14:01`, `in the whole hour`. Empty where the reader
    /// has no choice.
    pub(super) fn words(self) -> String {
        match (self.span.get(), self.offered.get()) {
            (TableSpan::Since(begin), _) => {
                format!("since {}", browser::local_minute(begin, browser::now()))
            }
            (TableSpan::Whole, Some(_)) => format!("in the whole {}", self.range_word()),
            _ => String::new(),
        }
    }

    /// Returns words with those of the counted time after them.
    pub(super) fn after(self, words: &str) -> String {
        format!("{words} {}", self.words()).trim().to_owned()
    }

    /// Returns [`Self::words`] as a signal, for the notes of panels.
    pub(super) fn note(self) -> Signal<String> {
        Signal::derive(move || self.words())
    }

    fn range_word(self) -> String {
        self.length.get().map_or_else(|| "range".to_owned(), format::range_word)
    }

    /// The choice of the counted time, for services with a change.
    pub(super) fn control(self) -> impl IntoView {
        let edit = use_edit_query();
        let segments = Memo::new(move |_| {
            let Some(begin) = self.offered.get() else { return Vec::new() };
            let minute = browser::local_minute(begin, browser::now());
            vec![
                Segment::new(SINCE_CHANGE, format!("Since {minute}")),
                Segment::new(WHOLE, format!("Whole {}", self.range_word())),
            ]
        });
        let chosen =
            Memo::new(move |_| if self.is_whole() { WHOLE } else { SINCE_CHANGE }.to_owned());
        let choose = Callback::new(move |which: &'static str| {
            let default = default_span(self.length.get_untracked());
            edit(History::Replace, &|query| {
                query.set(SPAN_PARAM, (which != default).then_some(which));
            });
        });
        view! {
            <Show when=move || segments.with(|segments| !segments.is_empty())>
                <Segments label="Time that tables count" segments chosen on_choose=choose />
            </Show>
        }
    }
}

/// Returns the value of the parameter that is not in the address. In a range of two moments or of
/// everything stored, tables count from a change only by choice, or by the link of a row that does.
fn default_span(length: Option<DurationNanos>) -> &'static str {
    if length.is_some() { SINCE_CHANGE } else { WHOLE }
}

/// Returns the length of a range that moves with the clock.
fn length_of(range: TimeRange) -> Option<DurationNanos> {
    match range {
        TimeRange::Last { seconds } => Some(DurationNanos(seconds.saturating_mul(1_000_000_000))),
        TimeRange::Between { .. } | TimeRange::All => None,
    }
}

/// Returns the begin from which tables can count: that of the numbers of the service's row on
/// Services. After a change to no calls, there is nothing to count.
pub(super) fn begin_of(group: &ChangedGroup) -> Option<UnixNanos> {
    let since = group.since.as_ref().filter(|since| since.stats.count > 0);
    since.map(|since| since.start_unix_nano)
}

/// Returns the begin of a change that lies in the range. A report of the previous range can name
/// another.
fn offered(range: TimeRange, begin: Option<UnixNanos>, now: UnixNanos) -> Option<UnixNanos> {
    let (start, end) = range.bounds(now);
    let end = end.unwrap_or(now);
    begin.filter(|begin| start.is_none_or(|start| start < *begin) && *begin < end)
}

/// Returns the counted time. `counts_whole` is set where that is the whole range by choice or by
/// default.
fn span_of(counts_whole: bool, offered: Option<UnixNanos>, is_awaited: bool) -> TableSpan {
    match offered {
        _ if counts_whole => TableSpan::Whole,
        Some(begin) => TableSpan::Since(begin),
        None if is_awaited => TableSpan::Awaited,
        None => TableSpan::Whole,
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{
        DurationNanos, UnixNanos,
        api::{ChangedGroup, GroupStats, StatsSince},
    };

    use super::{
        SINCE_CHANGE, TableSpan, TimeRange, WHOLE, begin_of, default_span, length_of, offered,
        span_of,
    };

    const HOUR: DurationNanos = DurationNanos(3_600_000_000_000);
    const NOW: UnixNanos = UnixNanos(10 * HOUR.0);

    #[test]
    fn a_changed_service_is_counted_from_its_change_on_unless_the_address_says_otherwise() {
        let begin = UnixNanos(5);
        assert_eq!(span_of(false, Some(begin), false), TableSpan::Since(begin));
        assert_eq!(span_of(true, Some(begin), false), TableSpan::Whole);
        assert_eq!(span_of(false, None, false), TableSpan::Whole, "nothing changed");
    }

    #[test]
    fn the_time_since_a_change_is_the_default_of_ranges_that_move_only() {
        let defaults = [TimeRange::default(), TimeRange::All].map(length_of).map(default_span);
        assert_eq!(defaults, [SINCE_CHANGE, WHOLE]);
    }

    #[test]
    fn tables_wait_for_the_report_only_where_it_can_change_their_time() {
        assert_eq!(span_of(false, None, true), TableSpan::Awaited);
        assert_eq!(span_of(true, None, true), TableSpan::Whole);
    }

    #[test]
    fn only_a_range_that_contains_the_change_is_offered_with_it() {
        let hour = TimeRange::default();
        assert_eq!(length_of(hour), Some(HOUR));
        let milliseconds = |time: u64| time / 1_000_000;
        let fixed = TimeRange::Between {
            from_unix_ms: milliseconds(NOW.0 - HOUR.0),
            to_unix_ms: milliseconds(NOW.0),
        };
        assert_eq!([length_of(fixed), length_of(TimeRange::All)], [None, None]);
        let inside = UnixNanos(NOW.0 - HOUR.0 / 2);
        for range in [hour, fixed, TimeRange::All] {
            assert_eq!(offered(range, Some(inside), NOW), Some(inside), "{range:?}");
            assert_eq!(offered(range, Some(UnixNanos(NOW.0 + 1)), NOW), None, "{range:?}");
            assert_eq!(offered(range, None, NOW), None, "{range:?}");
        }
        let earlier = Some(UnixNanos(NOW.0 - 2 * HOUR.0));
        assert_eq!([hour, fixed].map(|range| offered(range, earlier, NOW)), [None, None]);
    }

    #[test]
    fn tables_count_from_the_begin_of_the_row_on_services_with_calls_since() {
        let group = |count: Option<u64>| {
            let stats = GroupStats::default();
            let since = count.map(|count| StatsSince {
                start_unix_nano: UnixNanos(7),
                stats: GroupStats { count, ..GroupStats::default() },
            });
            let group = serde_json::json!({
                "service": "pay", "now": stats, "since": since, "before": stats, "steps": [],
                "baselineSteps": [], "changes": [], "score": 1.0,
            });
            serde_json::from_value::<ChangedGroup>(group).unwrap()
        };
        assert_eq!(begin_of(&group(Some(3))), Some(UnixNanos(7)));
        assert_eq!(begin_of(&group(Some(0))), None, "a change to no calls");
        assert_eq!(begin_of(&group(None)), None, "its numbers are of the whole range");
    }
}
