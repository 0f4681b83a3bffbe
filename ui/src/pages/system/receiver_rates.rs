//! Requests per second of each receiver over time, from the answers since the page opened.
//!
//! Owns a bounded history of the rates that the status has. Each rate is the API's, of the minute
//! before its answer. Owns no request: the shell asks for the status.

use std::collections::{BTreeMap, VecDeque};

use leptos::prelude::*;
use tidings_proto::{UnixNanos, api::ReceiverStatus};

use super::{CHART_READINGS_MIN, SECONDS_PER_MINUTE, rate};
use crate::{
    browser,
    components::{Sparkline, receiver_text},
    server_watch::ServerWatch,
};

/// Time after which a reading is dropped: four minutes, as in the chart above.
const KEPT_NANOS: u64 = 240_000_000_000;
/// Maximum number of readings of a receiver, also while the clock goes back.
const READINGS_MAX: usize = 120;
/// Time without an answer from which a line has a gap. Answers come every two seconds.
const GAP_NANOS: u64 = 7_000_000_000;

/// Time of an answer, and the requests of the minute before it. `None` is a time without answers.
type Reading = (UnixNanos, Option<u64>);

/// Requests of the minute before each answer, by name and address of the receiver.
#[derive(Debug, Default)]
struct RateHistory {
    /// Readings, oldest first.
    readings: BTreeMap<(String, String), VecDeque<Reading>>,
    answered: Option<UnixNanos>,
}

impl RateHistory {
    /// Adds the rates of an answer, after a gap where the answer before it is long ago.
    fn push(&mut self, receivers: &[ReceiverStatus], now: UnixNanos) {
        let has_gap = self.answered.is_some_and(|before| now.since(before).0 > GAP_NANOS);
        self.answered = Some(now);
        for receiver in receivers {
            let key = (receiver.name.clone(), receiver.address.clone());
            let readings = self.readings.entry(key).or_default();
            let is_old = |(time, _): &Reading| now.since(*time).0 > KEPT_NANOS;
            while readings.front().is_some_and(is_old) {
                readings.pop_front();
            }
            if has_gap && !readings.is_empty() {
                readings.push_back((now, None));
            }
            readings.push_back((now, Some(receiver.accepted_last_minute)));
            while readings.len() > READINGS_MAX {
                readings.pop_front();
            }
        }
    }

    /// Returns the requests per second of a receiver, oldest first. `None` where there are too few
    /// for a line, and where none of them is above zero.
    fn line(&self, receiver: &ReceiverStatus) -> Option<Vec<Option<f64>>> {
        let key = (receiver.name.clone(), receiver.address.clone());
        let readings = self.readings.get(&key)?;
        let has_any = readings.iter().any(|(_, requests)| requests.is_some_and(|one| one > 0));
        let per_second = |requests: u64| requests as f64 / SECONDS_PER_MINUTE as f64;
        (has_any && readings.len() >= CHART_READINGS_MIN)
            .then(|| readings.iter().map(|(_, reading)| reading.map(per_second)).collect())
    }
}

/// A sparkline of each receiver that got requests while the page was open.
pub(super) fn receiver_rates(server: ServerWatch) -> impl IntoView {
    let history = RwSignal::new(RateHistory::default());
    let answer = server.request_state().signal();
    Effect::new(move |_| {
        if let Some(status) = answer.get() {
            history.update(|history| history.push(&status.receivers, browser::now()));
        }
    });
    let item = move |receiver: &ReceiverStatus| {
        let values = history.with(|history| history.line(receiver))?;
        let name = receiver_text(&receiver.name);
        let label = format!("Requests a second of {name} since this page opened");
        Some(view! {
            <li class="receiver-rate">
                <span>{name}</span>
                <Sparkline values label />
                <span class="num">{rate(receiver.accepted_last_minute)}</span>
            </li>
        })
    };
    move || {
        let status = server.status()?;
        let items: Vec<_> = status.receivers.iter().filter_map(item).collect();
        (!items.is_empty()).then(|| {
            view! {
                <div class="receiver-rates">
                    <h3>
                        "Requests/s by receiver "
                        <span class="mute">
                            "mean of a minute, since this page opened, at most 4 min"
                        </span>
                    </h3>
                    <ul aria-label="Requests a second by receiver">{items}</ul>
                </div>
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{UnixNanos, api::ReceiverStatus};

    use super::{READINGS_MAX, RateHistory};

    fn receiver(requests: u64) -> ReceiverStatus {
        ReceiverStatus {
            name: "otlp/grpc".to_owned(),
            address: "127.0.0.1:4317".to_owned(),
            tls: false,
            accepted_requests: requests,
            refused_requests: 0,
            accepted_last_minute: requests,
            refused_last_minute: 0,
            received_bytes: 0,
            bytes_last_minute: 0,
            refusals: Vec::new(),
        }
    }

    fn at(second: u64) -> UnixNanos {
        UnixNanos(second * 1_000_000_000)
    }

    #[test]
    fn a_receiver_with_requests_has_a_line_with_a_gap_where_a_reading_is_missing() {
        let mut history = RateHistory::default();
        for (second, requests) in [(0, 60), (2, 120)] {
            history.push(&[receiver(requests)], at(second));
        }
        assert_eq!(history.line(&receiver(0)), None, "two readings are no line");
        history.push(&[receiver(180)], at(60));
        let line = [Some(1.0), Some(2.0), None, Some(3.0)];
        assert_eq!(history.line(&receiver(0)), Some(line.to_vec()));
        let other = ReceiverStatus { address: "127.0.0.1:4318".to_owned(), ..receiver(0) };
        assert_eq!(history.line(&other), None);
    }

    #[test]
    fn readings_from_before_a_long_sleep_are_dropped() {
        let mut history = RateHistory::default();
        for second in [0, 2, 4, 600, 602] {
            history.push(&[receiver(60)], at(second));
        }
        assert_eq!(history.line(&receiver(0)), None, "two are left");
        history.push(&[receiver(120)], at(604));
        let line = [Some(1.0), Some(1.0), Some(2.0)];
        assert_eq!(history.line(&receiver(0)), Some(line.to_vec()));
    }

    #[test]
    fn a_receiver_without_requests_has_no_line_and_the_history_is_bounded() {
        let mut history = RateHistory::default();
        for second in 0..1_000 {
            history.push(&[receiver(0)], at(second * 2));
        }
        assert_eq!(history.line(&receiver(0)), None);
        history.push(&[receiver(6)], at(2_000));
        let line = history.line(&receiver(0)).unwrap();
        assert_eq!((line.len(), line.last()), (READINGS_MAX, Some(&Some(0.1))));
    }
}
