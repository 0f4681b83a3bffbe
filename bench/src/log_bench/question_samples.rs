//! Samples of one question: latencies of a fixed number of asks, as a cell of the table.
//!
//! A question that one ask does not answer in time is not asked again, so that a measurement ends
//! whatever the number of records. The cell then says so and has no latencies.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::log_questions::AnswerExtent;
use crate::{
    bench_report::count,
    client::TimedAnswer,
    latency_samples::{Latencies, millis},
};

/// Statuses from here on say that the server could not answer: it ran out of time or memory.
const SERVER_ERROR: u16 = 500;

/// Number of asks of a question, and the time bound of each.
#[derive(Debug, Clone, Copy)]
pub(super) struct AskBounds {
    /// Number of asks after the first. The first one has a latency of its own in the cell.
    pub(super) repeats: usize,
    /// Maximum duration of an ask.
    pub(super) longest: Duration,
}

/// Asks by `get`, which returns `None` when no answer came in time, and returns the cell.
///
/// # Errors
/// When the server cannot be reached, refuses the question, or `check` refuses an answer.
pub(super) fn sample_question(
    bounds: AskBounds,
    mut get: impl FnMut() -> Result<Option<TimedAnswer>>,
    check: impl Fn(&[u8]) -> Result<AnswerExtent>,
) -> Result<String> {
    let (mut first, mut latencies) = (None, Latencies::default());
    let mut partial_rows: Option<u64> = None;
    for _ in 0..=bounds.repeats {
        let Some(got) = get()? else {
            return Ok(format!("no answer within {}", millis(bounds.longest)));
        };
        if got.status >= SERVER_ERROR {
            return Ok(format!("status {} after {}", got.status, millis(got.took)));
        }
        ensure!(got.status == 200, "{}: {}", got.status, String::from_utf8_lossy(&got.body));
        if let AnswerExtent::Partial { rows } = check(&got.body)? {
            partial_rows = partial_rows.max(Some(rows));
        }
        match first {
            None => first = Some(got.took),
            Some(_) => latencies.add(got.took),
        }
    }
    let first = millis(first.unwrap_or_default());
    let mut cell = format!("{latencies} (first {first}; {}×)", latencies.len());
    if let Some(rows) = partial_rows {
        cell.push_str(&format!(", partial: {} rows read", count(rows)));
    }
    Ok(cell)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anyhow::{Result, bail};

    use super::{AnswerExtent, AskBounds, TimedAnswer, sample_question};

    const BOUNDS: AskBounds = AskBounds { repeats: 3, longest: Duration::from_secs(60) };

    /// The cell of a question, by status and milliseconds of each answer; 0 for none in time. Also
    /// returns the number of asks.
    fn cell(answers: &[(u16, u64)], extents: &[AnswerExtent]) -> (Result<String>, usize) {
        let mut asks = 0;
        let get = || {
            let (status, millis) = answers[asks];
            asks += 1;
            let took = Duration::from_millis(millis);
            let body = vec![u8::try_from(asks - 1).unwrap()].into();
            Ok((status > 0).then_some(TimedAnswer { status, body, took }))
        };
        let check = |body: &[u8]| match extents.get(usize::from(body[0])) {
            Some(extent) => Ok(*extent),
            None => bail!("not what was sent"),
        };
        let cell = sample_question(BOUNDS, get, check);
        (cell, asks)
    }

    #[test]
    fn each_question_is_asked_the_same_number_of_times() {
        let answers = [(200, 900), (200, 10), (200, 30), (200, 20)];
        let (cell, asks) = cell(&answers, &[AnswerExtent::Whole; 4]);
        assert_eq!(cell.unwrap(), "20.0 ms / 30.0 ms (first 900 ms; 3×)");
        assert_eq!(asks, 4);
    }

    #[test]
    fn a_cell_says_that_an_answer_is_partial() {
        let partial = |rows| AnswerExtent::Partial { rows };
        let extents =
            [AnswerExtent::Whole, partial(20_000_000), partial(19_000_000), AnswerExtent::Whole];
        let (cell, _) = cell(&[(200, 10); 4], &extents);
        let expected = "10.0 ms / 10.0 ms (first 10.0 ms; 3×), partial: 20 M rows read";
        assert_eq!(cell.unwrap(), expected);
    }

    #[test]
    fn a_question_without_an_answer_in_time_is_not_asked_again() {
        for (last, expected) in
            [((0, 0), "no answer within 60000 ms"), ((504, 30_000), "status 504 after 30000 ms")]
        {
            let (cell, asks) = cell(&[(200, 10), last, (200, 10)], &[AnswerExtent::Whole; 3]);
            assert_eq!((cell.unwrap().as_str(), asks), (expected, 2));
        }
    }

    #[test]
    fn a_refused_question_and_a_wrong_answer_fail() {
        let (refused, asks) = cell(&[(400, 1)], &[AnswerExtent::Whole]);
        assert!(refused.unwrap_err().to_string().starts_with("400: "));
        assert_eq!(asks, 1);
        let (wrong, asks) = cell(&[(200, 1); 2], &[AnswerExtent::Whole]);
        assert_eq!((wrong.unwrap_err().to_string().as_str(), asks), ("not what was sent", 2));
    }
}
