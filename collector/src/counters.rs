//! Counters of each receiver, for the status page and for metrics; and rate-limited log lines about
//! refusals.
//!
//! No payload is kept: messages of refusals are kept without the values that they quote.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tidings_proto::{
    UnixNanos,
    api::{RefusalStatus, SignalCounts},
};

use crate::refusal::{Reason, Refusal};

/// Minimum time between two log lines for one receiver and reason.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Counts of one receiver.
#[derive(Debug, Default)]
pub(crate) struct ReceiverCounters {
    accepted: AtomicU64,
    accepted_lately: LastMinute,
    refused_lately: LastMinute,
    /// Bytes of bodies before decompression, including refused requests.
    body_bytes: AtomicU64,
    body_bytes_lately: LastMinute,
    refused: [LoggedCounter; Reason::ALL.len()],
    /// The last refusal by the index of its reason.
    last_refusals: Mutex<BTreeMap<usize, LastRefusal>>,
    /// Connections that could not be accepted.
    accept_errors: LoggedCounter,
}

/// The message, the sender and the time of a refusal.
#[derive(Debug)]
struct LastRefusal {
    message: String,
    sender: String,
    time: UnixNanos,
}

/// Count of requests or bytes in the last minute, with a slot for each second. Concurrent additions
/// at the start of a second may be lost here; the counts since the start are exact.
#[derive(Debug)]
struct LastMinute([SecondSlot; SECONDS]);

/// Count of one second.
#[derive(Debug, Default)]
struct SecondSlot {
    second: AtomicU64,
    count: AtomicU64,
}

/// Seconds in a minute, which is the number of slots.
const SECONDS: usize = 60;

impl Default for LastMinute {
    fn default() -> Self {
        Self(std::array::from_fn(|_| SecondSlot::default()))
    }
}

impl LastMinute {
    fn add(&self, count: u64, now: UnixNanos) {
        let second = now.0 / nanos(Duration::from_secs(1));
        let at = usize::try_from(second % SECONDS as u64).unwrap_or(0);
        let Some(slot) = self.0.get(at) else { return };
        if slot.second.swap(second, Relaxed) != second {
            slot.count.store(0, Relaxed);
        }
        slot.count.fetch_add(count, Relaxed);
    }

    fn count(&self, now: UnixNanos) -> u64 {
        let second = now.0 / nanos(Duration::from_secs(1));
        let is_recent = |slot: &&SecondSlot| {
            let age = second.checked_sub(slot.second.load(Relaxed));
            age.is_some_and(|age| age < SECONDS as u64)
        };
        self.0.iter().filter(is_recent).map(|slot| slot.count.load(Relaxed)).sum()
    }
}

/// A count, with its value and the time at the last log line.
#[derive(Debug, Default)]
struct LoggedCounter {
    count: AtomicU64,
    logged_count: AtomicU64,
    logged_unix_nanos: AtomicU64,
}

impl LoggedCounter {
    /// Counts one occurrence. Returns the number of occurrences since the last log line when a line
    /// is due.
    fn add(&self, now: UnixNanos) -> Option<u64> {
        let count = self.count.fetch_add(1, Relaxed) + 1;
        let last = self.logged_unix_nanos.load(Relaxed);
        let due = last == 0 || now.since(UnixNanos(last)).0 >= nanos(LOG_INTERVAL);
        let ours =
            due && self.logged_unix_nanos.compare_exchange(last, now.0, Relaxed, Relaxed).is_ok();
        ours.then(|| count.saturating_sub(self.logged_count.swap(count, Relaxed)))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl ReceiverCounters {
    pub(crate) fn accept(&self, now: UnixNanos) {
        self.accepted.fetch_add(1, Relaxed);
        self.accepted_lately.add(1, now);
    }

    /// Counts bytes of a body that have arrived.
    pub(crate) fn receive(&self, bytes: usize, now: UnixNanos) {
        self.body_bytes.fetch_add(bytes as u64, Relaxed);
        self.body_bytes_lately.add(bytes as u64, now);
    }

    /// Counts a refusal, and logs it when a line is due.
    pub(crate) fn refuse(
        &self,
        receiver: &'static str,
        refusal: &Refusal,
        sender: &str,
        now: UnixNanos,
    ) {
        if let Some(times) = self.count(refusal, sender, now) {
            let (reason, detail) = (refusal.reason.label(), refusal.recorded_message());
            let detail = detail.as_str();
            tracing::warn!(receiver, reason, times, sender, detail, "request refused");
        }
    }

    /// Counts a refusal. Returns the number of occurrences since the last log line when a line is
    /// due.
    pub(crate) fn count(&self, refusal: &Refusal, sender: &str, now: UnixNanos) -> Option<u64> {
        let index = refusal.reason.index();
        let times = self.refused.get(index)?.add(now);
        self.refused_lately.add(1, now);
        let message = refusal.recorded_message();
        let last = LastRefusal { message, sender: sender.to_owned(), time: now };
        self.last_refusals.lock().unwrap_or_else(PoisonError::into_inner).insert(index, last);
        times
    }

    /// Counts a connection that could not be accepted.
    pub(crate) fn accept_error(
        &self,
        receiver: &'static str,
        error: &std::io::Error,
        now: UnixNanos,
    ) {
        if let Some(times) = self.accept_errors.add(now) {
            tracing::warn!(receiver, times, %error, "a connection could not be accepted");
        }
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Returns requests accepted, requests refused and bytes of bodies in the last minute.
    pub(crate) fn last_minute(&self, now: UnixNanos) -> [u64; 3] {
        [&self.accepted_lately, &self.refused_lately, &self.body_bytes_lately]
            .map(|lately| lately.count(now))
    }

    pub(crate) fn body_bytes(&self) -> u64 {
        self.body_bytes.load(Relaxed)
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.iter().map(|counter| counter.count.load(Relaxed)).sum()
    }

    /// Returns the refusals by reason, each with the last message and sender, latest first.
    pub(crate) fn refusals(&self) -> Vec<RefusalStatus> {
        let last_refusals = self.last_refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let status = |(index, last): (&usize, &LastRefusal)| {
            let (reason, counter) = (Reason::ALL.get(*index)?, self.refused.get(*index)?);
            Some(RefusalStatus {
                reason: reason.label().to_owned(),
                count: counter.count.load(Relaxed),
                message: last.message.clone(),
                sender: last.sender.clone(),
                last_unix_nano: last.time,
            })
        };
        let mut refusals: Vec<_> = last_refusals.iter().filter_map(status).collect();
        refusals.sort_by_key(|refusal| std::cmp::Reverse(refusal.last_unix_nano));
        refusals
    }

    /// Returns the counts of refusals by reason and of connections not accepted, above 0.
    pub(crate) fn by_reason(&self) -> Vec<(&'static str, u64)> {
        let reasons = Reason::ALL.iter().zip(&self.refused);
        reasons
            .map(|(reason, counter)| (reason.label(), counter.count.load(Relaxed)))
            .chain([("accept_error", self.accept_errors.count.load(Relaxed))])
            .filter(|&(_, count)| count > 0)
            .collect()
    }
}

/// Records of one signal, summed over all receivers.
#[derive(Debug, Default)]
pub(crate) struct SignalCounters {
    received: AtomicU64,
    rejected: AtomicU64,
    /// When records were last received; 0 before the first.
    last_unix_nanos: AtomicU64,
}

impl SignalCounters {
    pub(crate) fn add(&self, received: u64, rejected: u64, now: UnixNanos) {
        self.received.fetch_add(received, Relaxed);
        self.rejected.fetch_add(rejected, Relaxed);
        if received > 0 {
            self.last_unix_nanos.fetch_max(now.0, Relaxed);
        }
    }

    pub(crate) fn counts(&self) -> SignalCounts {
        let last = UnixNanos(self.last_unix_nanos.load(Relaxed));
        SignalCounts {
            last_received_unix_nano: (last.0 > 0).then_some(last),
            received: self.received.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            stored: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LastMinute, LoggedCounter, ReceiverCounters, SignalCounters};
    use crate::refusal::{Reason, Refusal};
    use tidings_proto::UnixNanos;

    #[test]
    fn many_refusals_are_logged_as_one_line_in_ten_seconds_with_their_count() {
        let counter = LoggedCounter::default();
        let second = 1_000_000_000;
        let lines: Vec<_> = (1..=25).filter_map(|at| counter.add(UnixNanos(at * second))).collect();
        assert_eq!(lines, [1, 10, 10]);
    }

    #[test]
    fn the_last_minute_leaves_out_older_counts() {
        let (minute, second) = (LastMinute::default(), 1_000_000_000);
        for at in 100..=170 {
            minute.add(1, UnixNanos(at * second));
        }
        minute.add(700, UnixNanos(170 * second + 5));
        let counts = [170, 171, 200, 229, 230].map(|at| minute.count(UnixNanos(at * second)));
        assert_eq!(counts, [760, 759, 730, 701, 0]);
    }

    #[test]
    fn the_last_arrival_is_that_of_accepted_records() {
        let counters = SignalCounters::default();
        counters.add(0, 3, UnixNanos(5));
        assert_eq!(counters.counts().last_received_unix_nano, None);
        counters.add(2, 0, UnixNanos(7));
        // Two requests may be counted in the other order.
        counters.add(1, 0, UnixNanos(6));
        counters.add(0, 1, UnixNanos(9));
        let counts = counters.counts();
        assert_eq!((counts.received, counts.rejected), (3, 4));
        assert_eq!(counts.last_received_unix_nano, Some(UnixNanos(7)));
    }

    #[test]
    fn refusals_are_counted_by_reason() {
        let counters = ReceiverCounters::default();
        counters.refuse("x", &Refusal::new(Reason::Busy, "busy"), "10.0.0.4", UnixNanos(1));
        counters.refuse(
            "x",
            &Refusal::new(Reason::Malformed, "bad\nline"),
            "10.0.0.5",
            UnixNanos(2),
        );
        counters.refuse("x", &Refusal::new(Reason::Busy, "still busy"), "10.0.0.6", UnixNanos(3));
        assert_eq!(counters.refused(), 3);
        assert_eq!(counters.by_reason(), [("malformed", 1), ("busy", 2)]);
        let refusals = counters.refusals();
        let seen: Vec<_> = refusals
            .iter()
            .map(|refusal| (refusal.reason.as_str(), refusal.count, refusal.sender.as_str()))
            .collect();
        assert_eq!(seen, [("busy", 2, "10.0.0.6"), ("malformed", 1, "10.0.0.5")]);
        assert_eq!((refusals[0].message.as_str(), refusals[0].last_unix_nano.0), ("still busy", 3));
    }
}
