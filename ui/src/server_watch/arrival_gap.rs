//! The end of arrivals: how long no sender has sent anything, for the pages and the live switch. A
//! page of logs speaks of log records, and others of spans.
//!
//! It is computed from the status of the server. Pages that have the server's own sentence about
//! the end of traffic leave this one out. After a restart of the server no gap is known until the
//! first arrival.

use leptos::prelude::*;
use tidings_proto::{DurationNanos, UnixNanos, api::SignalCounts};

use super::use_server;
use crate::{
    browser, format,
    url::{TimeRange, use_query},
};

/// A shorter gap may be that of exporters, which send in batches.
const GAP_MIN_NANOS: u64 = 60_000_000_000;

/// A kind of records that arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrivals {
    /// Spans, or log records where no span came at all.
    Spans,
    /// Log records.
    Logs,
}

/// The time since the last arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArrivalGap {
    /// The kind of the missing records.
    missing: Arrivals,
    /// The last arrival of them.
    since: UnixNanos,
    /// The last arrival of any record, unless some arrive.
    nothing_since: Option<UnixNanos>,
    /// The moment that it is of.
    now: UnixNanos,
}

impl ArrivalGap {
    /// Returns the gap of a kind of records at a moment, or `None` while these arrive and before the
    /// first of them. `seen` has the last arrivals that this browser observed, by its own clock: a
    /// wrong clock does not report a gap while records arrive.
    pub(super) fn at(
        now: UnixNanos,
        arrivals: Arrivals,
        (spans, logs): (SignalCounts, SignalCounts),
        seen: (Option<UnixNanos>, Option<UnixNanos>),
    ) -> Option<Self> {
        let last = |counts: SignalCounts, seen: Option<UnixNanos>| {
            let received = counts.last_received_unix_nano?;
            Some(seen.map_or(received, |seen| seen.max(received)))
        };
        let (spans, logs) = (last(spans, seen.0), last(logs, seen.1));
        let is_over = |time: UnixNanos| now.since(time).0 >= GAP_MIN_NANOS;
        let of_logs = logs.map(|since| (Arrivals::Logs, since));
        let (missing, since) = match arrivals {
            Arrivals::Spans => spans.map(|since| (Arrivals::Spans, since)).or(of_logs),
            Arrivals::Logs => of_logs,
        }?;
        let nothing_since = spans.max(logs).filter(|time| is_over(*time));
        is_over(since).then_some(Self { missing, since, nothing_since, now })
    }

    /// Returns the gap as a sentence: `No spans arrived since 20:43 (2 min)`. `moment` writes a
    /// time.
    fn text(self, moment: impl Fn(UnixNanos) -> String) -> String {
        let Self { missing, since, nothing_since, now } = self;
        let (missing, others) = match missing {
            Arrivals::Spans => ("spans", "Log records"),
            Arrivals::Logs => ("log records", "Spans"),
        };
        let rest = match nothing_since {
            None => format!(". {others} still arrive."),
            Some(_) => String::new(),
        };
        format!(
            "No {missing} arrived since {} ({}){rest}",
            moment(since),
            format::rough_length(now.since(since))
        )
    }

    /// Returns the gap as a sentence with the time of the browser's clock: its second, so that no
    /// listed record is later, or its minute when that is hours ago.
    #[must_use]
    pub fn sentence(self) -> String {
        const HOUR: DurationNanos = DurationNanos(3_600_000_000_000);
        let is_recent = self.now.since(self.since) < HOUR;
        let write = if is_recent { browser::local_second } else { browser::local_minute };
        self.text(|time| write(time, self.now))
    }

    /// Reports whether some records still arrive.
    #[must_use]
    pub fn has_arrivals(self) -> bool {
        self.nothing_since.is_none()
    }

    /// Returns the words of the live switch, as `no data for 2 min`. `None` while some records
    /// arrive.
    pub(crate) fn live_text(self) -> Option<String> {
        let since = self.nothing_since?;
        Some(format!("no data for {}", format::rough_length(self.now.since(since))))
    }
}

/// The line of a page about the end of spans, on a range that ends now. It is left out where
/// `is_reported` says that the page has it otherwise.
pub fn arrival_gap_line(is_reported: impl Fn() -> bool + Send + Sync + 'static) -> impl IntoView {
    gap_line(Arrivals::Spans, is_reported)
}

/// The line of a page about the end of log records, on a range that ends now.
pub fn log_gap_line() -> impl IntoView {
    gap_line(Arrivals::Logs, || false)
}

fn gap_line(
    arrivals: Arrivals,
    is_reported: impl Fn() -> bool + Send + Sync + 'static,
) -> impl IntoView {
    let (server, query) = (use_server(), use_query());
    let words = Memo::new(move |_| {
        let gap = server.gap_of(arrivals)?;
        let ends_now = query.with(|query| TimeRange::read(query).is_open_ended());
        let is_shown = ends_now && !is_reported();
        is_shown.then(|| gap.sentence())
    });
    move || {
        words.get().map(|words| {
            view! { <p class="arrival-gap" role="status">{words}</p> }
        })
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{UnixNanos, api::SignalCounts};

    use super::{ArrivalGap, Arrivals};

    fn at(second: u64) -> UnixNanos {
        UnixNanos(second * 1_000_000_000)
    }

    fn last(second: Option<u64>) -> SignalCounts {
        SignalCounts { last_received_unix_nano: second.map(at), ..SignalCounts::default() }
    }

    fn moment(time: UnixNanos) -> String {
        format!("{} s", time.0 / 1_000_000_000)
    }

    /// Returns the line and the words of the live switch, at second 1,000.
    fn words(
        spans: Option<u64>,
        logs: Option<u64>,
        seen: Option<u64>,
    ) -> Option<(String, Option<String>)> {
        let counts = (last(spans), last(logs));
        let gap = ArrivalGap::at(at(1_000), Arrivals::Spans, counts, (seen.map(at), None))?;
        Some((gap.text(moment), gap.live_text()))
    }

    #[test]
    fn a_page_of_logs_speaks_of_log_records() {
        let line = |spans: Option<u64>, logs: Option<u64>| {
            let counts = (last(spans), last(logs));
            let gap = ArrivalGap::at(at(1_000), Arrivals::Logs, counts, (None, None));
            gap.map(|gap| gap.text(moment))
        };
        let both = line(Some(400), Some(880));
        assert_eq!(both.as_deref(), Some("No log records arrived since 880 s (2 min)"));
        let spans_arrive = line(Some(990), Some(880));
        let expected = "No log records arrived since 880 s (2 min). Spans still arrive.";
        assert_eq!(spans_arrive.as_deref(), Some(expected));
        assert_eq!(line(Some(400), Some(990)), None, "log records arrive");
        assert_eq!(line(Some(400), None), None, "there never were any");
    }

    #[test]
    fn a_minute_without_spans_is_a_gap() {
        assert_eq!(words(Some(941), None, None), None);
        let text = |words: &str| words.to_owned();
        assert_eq!(
            words(Some(940), None, None),
            Some((text("No spans arrived since 940 s (1 min)"), Some(text("no data for 1 min"))))
        );
        assert_eq!(
            words(Some(400), Some(700), None),
            Some((text("No spans arrived since 400 s (10 min)"), Some(text("no data for 5 min"))))
        );
        assert_eq!(
            words(Some(400), Some(990), None),
            Some((text("No spans arrived since 400 s (10 min). Log records still arrive."), None))
        );
    }

    #[test]
    fn a_server_without_arrivals_has_no_gap_and_one_of_logs_misses_logs() {
        assert_eq!(words(None, None, None), None);
        assert_eq!(words(None, Some(990), None), None);
        let (line, _) = words(None, Some(800), None).unwrap();
        assert_eq!(line, "No log records arrived since 800 s (3 min)");
        assert_eq!(words(Some(990), Some(100), None), None, "spans arrive");
    }

    #[test]
    fn spans_that_the_browser_sees_arriving_are_no_gap_although_its_clock_is_wrong() {
        assert_eq!(words(Some(100), None, Some(998)), None);
        assert!(words(Some(100), None, Some(900)).is_some());
    }
}
