//! The end of all traffic within a window.
//!
//! Silence is an end when it is much longer than any silence before it, and when at the usual rate
//! several transactions would have come. Rates of the window are then those up to the end: otherwise
//! every service would seem to have lost calls. Owns the test; the caller reads the last span.

use std::collections::BTreeSet;

use tidings_proto::{
    UnixNanos,
    api::{ServiceEnd, TrafficEnd},
};
use tidings_storage::{LogFilter, SpanFilter, TimeRange};

use super::{MINUTE, sampled::Sides, services::ServiceCalls, statistics::float};
use crate::{
    QueryError,
    analysis::transaction_types::RootOperations,
    analysis::window::Window,
    execution::Reader,
    name_search::{latest_log, latest_span},
};

/// A shorter silence may be that of exporters, which send in batches.
const SILENCE_MIN: u64 = MINUTE;
/// At the usual rate, so many transactions would have come.
const EXPECTED_MIN: f64 = 10.0;
/// Fewer transactions than this do not make a usual rate.
const TRANSACTIONS_MIN: u64 = 20;
/// The silence is longer than the longest one before it by this factor.
const GAP_FACTOR: u64 = 2;
/// Services that are listed.
const SERVICES_MAX: usize = 50;

/// The last span up to the end of the window, and the end of what can have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LastSpan {
    /// Start of the span.
    pub start: UnixNanos,
    /// End of the window, or now where that is earlier.
    pub until: UnixNanos,
}

impl LastSpan {
    /// Reads the last span of the baseline and the window.
    pub(super) fn read(
        reader: &Reader,
        windows: Sides<Window>,
    ) -> Result<Option<Self>, QueryError> {
        let [before, _] = windows.before.times();
        let [_, end] = windows.now.times();
        let range = TimeRange { start: Some(before), end: Some(end) };
        let last = latest_span(reader, SpanFilter { start: range, ..SpanFilter::default() })?;
        Ok(last.map(|start| Self { start, until: end.min(reader.now) }))
    }

    fn silence(self) -> u64 {
        self.until.since(self.start).0
    }

    /// The moment up to which spans came, where at least one whole step after it has none.
    pub(super) fn candidate(self, window: Window) -> Option<UnixNanos> {
        let step = window.step().0;
        let empty_from = window.step_of(self.start).0.saturating_add(step);
        let is_step_empty = empty_from.saturating_add(step) <= self.until.0;
        let is_candidate = is_step_empty && self.silence() >= SILENCE_MIN;
        is_candidate.then(|| UnixNanos(self.start.0.saturating_add(1)))
    }
}

/// The traffic before an end.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct UsualTraffic {
    /// Number of transactions.
    transactions: u64,
    /// Nanoseconds from the first span to the last.
    length: u64,
    /// Nanoseconds of the longest run of steps without a span.
    gap_max: u64,
}

impl UsualTraffic {
    fn new(roots: &Sides<RootOperations>, calls: Sides<&ServiceCalls>, step: u64) -> Self {
        let mut usual = Self::default();
        for (roots, calls) in [(&roots.before, calls.before), (&roots.now, calls.now)] {
            let listed: u64 = roots.listed.iter().map(|root| root.calls.count).sum();
            usual.transactions += (listed + roots.other_count) * roots.sampled_one_in;
            usual.add_steps(&calls.step_starts(), step);
        }
        usual
    }

    fn add_steps(&mut self, starts: &BTreeSet<UnixNanos>, step: u64) {
        if let (Some(first), Some(last)) = (starts.first(), starts.last()) {
            self.length += last.since(*first).0 + step;
        }
        for (one, next) in starts.iter().zip(starts.iter().skip(1)) {
            self.gap_max = self.gap_max.max(next.since(*one).0.saturating_sub(step));
        }
    }

    fn per_nanosecond(self) -> f64 {
        if self.length == 0 { 0.0 } else { float(self.transactions) / float(self.length) }
    }

    /// A silence of this length, in nanoseconds, ends such traffic.
    fn is_ended_by(self, silence: u64) -> bool {
        self.transactions >= TRANSACTIONS_MIN
            && self.per_nanosecond() * float(silence) >= EXPECTED_MIN
            && silence > self.gap_max.saturating_mul(GAP_FACTOR)
    }
}

/// The end of all traffic; `None` while it goes on, or where it is not known to be unusual.
pub(super) fn traffic_end(
    reader: &Reader,
    last: LastSpan,
    window: Window,
    roots: &Sides<RootOperations>,
    calls: Sides<&ServiceCalls>,
) -> Result<Option<TrafficEnd>, QueryError> {
    let usual = UsualTraffic::new(roots, calls, window.step().0);
    if last.candidate(window).is_none() || !usual.is_ended_by(last.silence()) {
        return Ok(None);
    }
    let after = TimeRange { start: Some(last.start), end: Some(last.until) };
    let log = latest_log(reader, LogFilter { time: after, ..LogFilter::default() })?;
    let step = window.step().0;
    let mut services = calls.now.last_steps();
    for (service, end) in calls.before.last_steps() {
        services.entry(service).or_insert(end);
    }
    let mut services: Vec<ServiceEnd> = services
        .into_iter()
        .map(|(service, start)| ServiceEnd {
            service,
            last_seen_unix_nano: UnixNanos(start.0.saturating_add(step).min(last.start.0)),
        })
        .collect();
    let service_count = services.len() as u64;
    services.sort_by(|a, b| {
        a.last_seen_unix_nano.cmp(&b.last_seen_unix_nano).then_with(|| a.service.cmp(&b.service))
    });
    services.truncate(SERVICES_MAX);
    Ok(Some(TrafficEnd {
        since_unix_nano: last.start,
        rate_per_second: usual.per_nanosecond() * 1e9,
        service_count,
        services,
        last_log_unix_nano: log.filter(|log| log.since(last.start).0 >= SILENCE_MIN),
        refusals: Vec::new(),
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tidings_proto::UnixNanos;

    use super::{MINUTE, UsualTraffic};

    fn usual(transactions: u64, minutes: &[u64]) -> UsualTraffic {
        let starts: BTreeSet<UnixNanos> =
            minutes.iter().map(|minute| UnixNanos(minute * MINUTE)).collect();
        let mut usual = UsualTraffic { transactions, ..UsualTraffic::default() };
        usual.add_steps(&starts, MINUTE);
        usual
    }

    #[test]
    fn steady_traffic_ends_when_ten_transactions_are_missing() {
        let steady: Vec<u64> = (0..60).collect();
        let steady = usual(300, &steady);
        assert!(!steady.is_ended_by(MINUTE));
        assert!(steady.is_ended_by(2 * MINUTE));
    }

    #[test]
    fn a_job_of_every_ten_minutes_ends_after_two_of_its_pauses() {
        let job = usual(6_000, &[0, 10, 20, 30, 40, 50]);
        assert!(!job.is_ended_by(18 * MINUTE));
        assert!(job.is_ended_by(19 * MINUTE));
    }

    #[test]
    fn little_traffic_has_no_end() {
        let steady: Vec<u64> = (0..60).collect();
        assert!(!usual(19, &steady).is_ended_by(600 * MINUTE));
        assert!(!usual(0, &[]).is_ended_by(600 * MINUTE));
    }
}
