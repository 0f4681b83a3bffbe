//! The status of the server, which the shell requests every two seconds for all pages.
//!
//! Owns the last answer, its time, and a short history of the counters, from which rates are
//! computed. Pages draw it, and none of them requests it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use leptos::prelude::*;
use tidings_proto::{UnixNanos, api::ServerStatus};

use crate::{
    api::{self, ApiError},
    browser,
    request_state::RequestState,
};

mod arrival_gap;

use arrival_gap::Arrivals;

pub use arrival_gap::{ArrivalGap, arrival_gap_line, log_gap_line};

const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// Time after which a server that has not answered counts as one that does not answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// Number of samples that are kept: four minutes.
const SAMPLES_MAX: usize = 120;
/// Number of samples of a rate: about ten seconds.
const RATE_SAMPLES: usize = 5;

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CounterSample {
    /// The time of the answer.
    pub time: UnixNanos,
    /// Spans received since the start.
    pub spans: u64,
    /// Log records received since the start.
    pub logs: u64,
    /// Requests refused since the start, and records that were refused individually.
    pub refused: u64,
}

/// Spans and log records per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ArrivalRates {
    /// Spans per second.
    pub spans: f64,
    /// Log records per second.
    pub logs: f64,
    /// Refusals within the history.
    pub refused: u64,
}

/// The status of the server; provided by the shell.
#[derive(Debug, Clone, Copy)]
pub struct ServerWatch {
    answer: RequestState<ServerStatus>,
    samples: RwSignal<VecDeque<CounterSample>>,
    answered: RwSignal<Option<UnixNanos>>,
}

impl ServerWatch {
    /// Starts the requests.
    pub(crate) fn provide() -> Self {
        let watch = Self {
            answer: RequestState::with_deadline(|| Some(api::status()), DEADLINE),
            samples: RwSignal::new(VecDeque::new()),
            answered: RwSignal::new(None),
        };
        let answer = watch.answer.signal();
        Effect::new(move |_| {
            if let Some(status) = answer.get() {
                let now = browser::now();
                watch.answered.set(Some(now));
                watch.samples.update(|samples| push_sample(samples, sample(&status, now)));
            }
        });
        let again = move || {
            if browser::is_page_visible() {
                watch.answer.refresh_when_idle();
            }
        };
        if let Ok(timer) = set_interval_with_handle(again, POLL_INTERVAL) {
            on_cleanup(move || timer.clear());
        }
        provide_context(watch);
        watch
    }

    /// Returns the last answer.
    #[must_use]
    pub fn status(self) -> Option<Arc<ServerStatus>> {
        self.answer.value()
    }

    /// Returns the request, for panels that draw its states.
    #[must_use]
    pub fn request_state(self) -> RequestState<ServerStatus> {
        self.answer
    }

    /// Returns the moment of the last answer of a server that does not answer, or `None` while it
    /// answers.
    #[must_use]
    pub fn silent_since(self) -> Option<UnixNanos> {
        let is_silent = matches!(self.answer.error(), Some(ApiError::Unreachable));
        is_silent.then(|| self.answered.get().unwrap_or(UnixNanos(0)))
    }

    /// Returns the time since the last arrivals at the last answer. `None` while spans arrive, before
    /// the first record, and while the server does not answer.
    #[must_use]
    pub fn arrival_gap(self) -> Option<ArrivalGap> {
        self.gap_of(Arrivals::Spans)
    }

    /// Returns the time since the last arrivals of a kind of records, as [`Self::arrival_gap`].
    #[must_use]
    fn gap_of(self, arrivals: Arrivals) -> Option<ArrivalGap> {
        let now = self.answered.get()?;
        if self.silent_since().is_some() {
            return None;
        }
        let status = self.status()?;
        let seen = self.samples.with(|samples| {
            (last_rise(samples, |sample| sample.spans), last_rise(samples, |sample| sample.logs))
        });
        ArrivalGap::at(now, arrivals, (status.spans, status.logs), seen)
    }

    /// Reports whether the server requires a key from this browser.
    #[must_use]
    pub fn needs_key(self) -> bool {
        self.answer.error().is_some_and(|error| error.needs_key())
    }

    /// Sends the request now, in place of one that has no answer yet.
    pub fn refresh(self) {
        self.answer.refresh();
    }

    /// Returns the history of the counters, oldest first.
    #[must_use]
    pub fn samples(self) -> Vec<CounterSample> {
        self.samples.with(|samples| samples.iter().copied().collect())
    }

    /// Returns the rates of the last ten seconds, or `None` before the second answer.
    #[must_use]
    pub fn rates(self) -> Option<ArrivalRates> {
        self.samples.with(rates)
    }
}

/// Returns the status of the server.
#[must_use]
pub fn use_server() -> ServerWatch {
    use_context().unwrap_or_else(|| ServerWatch {
        answer: RequestState::new(|| None),
        samples: RwSignal::new(VecDeque::new()),
        answered: RwSignal::new(None),
    })
}

fn sample(status: &ServerStatus, time: UnixNanos) -> CounterSample {
    let requests: u64 = status.receivers.iter().map(|receiver| receiver.refused_requests).sum();
    CounterSample {
        time,
        spans: status.spans.received,
        logs: status.logs.received,
        refused: requests + status.spans.rejected + status.logs.rejected,
    }
}

/// Adds a sample. Counters that decrease are those of a restarted server.
fn push_sample(samples: &mut VecDeque<CounterSample>, next: CounterSample) {
    let restarted =
        samples.back().is_some_and(|last| last.spans > next.spans || last.logs > next.logs);
    if restarted {
        samples.clear();
    }
    if samples.back().is_none_or(|last| last.time < next.time) {
        samples.push_back(next);
    }
    while samples.len() > SAMPLES_MAX {
        samples.pop_front();
    }
}

fn rates(samples: &VecDeque<CounterSample>) -> Option<ArrivalRates> {
    let last = samples.back()?;
    let first = samples.get(samples.len().saturating_sub(RATE_SAMPLES + 1))?;
    let seconds = last.time.since(first.time).0 as f64 / 1e9;
    let oldest = samples.front()?;
    (seconds > 0.0).then(|| ArrivalRates {
        spans: last.spans.saturating_sub(first.spans) as f64 / seconds,
        logs: last.logs.saturating_sub(first.logs) as f64 / seconds,
        refused: last.refused.saturating_sub(oldest.refused),
    })
}

/// Returns the time of the last answer with more records than the answer before it.
fn last_rise(
    samples: &VecDeque<CounterSample>,
    of: fn(&CounterSample) -> u64,
) -> Option<UnixNanos> {
    let mut pairs = samples.iter().zip(samples.iter().skip(1)).rev();
    pairs.find(|(one, next)| of(next) > of(one)).map(|(_, next)| next.time)
}

/// Returns the rates between adjacent samples, oldest first.
#[must_use]
pub fn rate_series(samples: &[CounterSample], of: fn(&CounterSample) -> u64) -> Vec<Option<f64>> {
    let rate = |pair: &[CounterSample]| {
        let seconds = pair[1].time.since(pair[0].time).0 as f64 / 1e9;
        (seconds > 0.0).then(|| of(&pair[1]).saturating_sub(of(&pair[0])) as f64 / seconds)
    };
    samples.windows(2).map(rate).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tidings_proto::UnixNanos;

    use super::{CounterSample, SAMPLES_MAX, last_rise, push_sample, rate_series, rates};

    fn sample(second: u64, spans: u64) -> CounterSample {
        CounterSample { time: UnixNanos(second * 1_000_000_000), spans, logs: 0, refused: second }
    }

    #[test]
    fn rates_are_of_the_last_seconds() {
        let mut samples = VecDeque::new();
        assert_eq!(rates(&samples), None);
        for second in 0..20 {
            push_sample(
                &mut samples,
                sample(second * 2, if second < 10 { 0 } else { (second - 9) * 100 }),
            );
        }
        let rates = rates(&samples).unwrap();
        assert!((rates.spans - 50.0).abs() < 1e-9, "{rates:?}");
        assert_eq!(rates.refused, 38);
        let all: Vec<_> = samples.into_iter().collect();
        assert_eq!(rate_series(&all, |sample| sample.spans)[18], Some(50.0));
    }

    #[test]
    fn the_last_rise_is_the_last_answer_with_more_records() {
        let spans = |sample: &CounterSample| sample.spans;
        let samples = [sample(1, 7), sample(3, 9), sample(5, 12), sample(7, 12)];
        assert_eq!(last_rise(&VecDeque::from(samples), spans), Some(samples[2].time));
        assert_eq!(last_rise(&VecDeque::from([samples[0]]), spans), None);
        assert_eq!(last_rise(&VecDeque::from([samples[2], samples[3]]), spans), None);
    }

    #[test]
    fn a_server_that_was_started_again_begins_a_new_history() {
        let mut samples = VecDeque::from([sample(1, 900), sample(2, 1_000)]);
        push_sample(&mut samples, sample(3, 10));
        assert_eq!(samples, [sample(3, 10)]);
        push_sample(&mut samples, sample(3, 10));
        assert_eq!(samples.len(), 1);
        for second in 4..1_000 {
            push_sample(&mut samples, sample(second, 10));
        }
        assert_eq!(samples.len(), SAMPLES_MAX);
    }
}
