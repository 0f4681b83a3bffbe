//! Sends a plan: as fast as the server answers, or at a pace.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::Result;
use futures::future::join_all;

use crate::{
    Plan,
    client::{Client, Otlp, SenderSecurity},
    latency_samples::Latencies,
    machine,
};

/// Number of connections and pace of a load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoadRate {
    /// Requests under way at a time, each on a connection of its own.
    pub(crate) connections: usize,
    /// Spans per second; `None` for as fast as the server answers.
    pub(crate) spans_per_second: Option<f64>,
    /// Time after which nothing more is sent.
    pub(crate) longest: Duration,
}

/// Result of sending a plan.
#[derive(Debug, Clone, Default)]
pub(crate) struct LoadResult {
    pub(crate) spans: u64,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) refusals: u64,
    /// Times from when a request was due until it was acknowledged.
    pub(crate) acknowledged: Latencies,
    /// True if everything was sent before the time limit.
    pub(crate) complete: bool,
}

impl LoadResult {
    pub(crate) fn spans_per_second(&self) -> f64 {
        self.spans as f64 / self.seconds.max(0.001)
    }
}

/// Requests to send, in order.
pub(crate) trait RequestSource {
    /// Returns the body of a request and the number of spans or log records in it; `None` after the
    /// last.
    fn request(&self, index: usize) -> Option<(Vec<u8>, u64)>;
}

impl RequestSource for Plan<'_> {
    fn request(&self, index: usize) -> Option<(Vec<u8>, u64)> {
        let send = self.sends.get(index)?;
        Some((self.body(send), send.spans))
    }
}

/// State that the connections share.
struct Course<'a> {
    plan: &'a dyn RequestSource,
    pace: LoadRate,
    begin: Instant,
    next: AtomicUsize,
    /// Number of spans in the requests that connections have taken so far.
    given: AtomicU64,
}

/// Sends the requests of the plan in order, over several connections.
pub(crate) async fn send(
    plan: &dyn RequestSource,
    otlp: &Otlp,
    pace: LoadRate,
) -> Result<LoadResult> {
    send_as(&SenderSecurity::default(), plan, otlp, pace).await
}

/// Sends as [`send`] does, with the credentials of a sender.
pub(crate) async fn send_as(
    sender: &SenderSecurity,
    plan: &dyn RequestSource,
    otlp: &Otlp,
    pace: LoadRate,
) -> Result<LoadResult> {
    let course = Course {
        plan,
        pace,
        begin: machine::now(),
        next: AtomicUsize::new(0),
        given: AtomicU64::new(0),
    };
    let connections = (0..pace.connections.max(1)).map(|_| connection(&course, sender, otlp));
    let mut total = LoadResult { complete: true, ..LoadResult::default() };
    for sent in join_all(connections).await {
        let sent = sent?;
        total.spans += sent.spans;
        total.bytes += sent.bytes;
        total.refusals += sent.refusals;
        total.acknowledged.extend(sent.acknowledged);
        total.complete &= sent.complete;
    }
    total.seconds = course.begin.elapsed().as_secs_f64();
    Ok(total)
}

async fn connection(
    course: &Course<'_>,
    sender: &SenderSecurity,
    otlp: &Otlp,
) -> Result<LoadResult> {
    let client = Client::with_security(sender)?;
    let mut sent = LoadResult { complete: true, ..LoadResult::default() };
    while let Some((body, count)) = course.plan.request(course.next.fetch_add(1, Relaxed)) {
        if course.begin.elapsed() > course.pace.longest {
            sent.complete = false;
            break;
        }
        sent.bytes += body.len() as u64;
        let before = course.given.fetch_add(count, Relaxed);
        let mut late = Duration::ZERO;
        if let Some(rate) = course.pace.spans_per_second {
            let due = Duration::from_secs_f64(before as f64 / rate);
            let elapsed = course.begin.elapsed();
            machine::wait(due.saturating_sub(elapsed)).await;
            late = elapsed.saturating_sub(due);
        }
        let acknowledged = client.export(otlp, body).await?;
        sent.spans += count;
        sent.refusals += acknowledged.refusals;
        sent.acknowledged.add(late + acknowledged.took);
    }
    Ok(sent)
}
