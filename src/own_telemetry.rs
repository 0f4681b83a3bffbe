//! The server's own traces and log lines, stored with all others as service `tidings`.
//!
//! ```text
//! spans and events of `tracing` ─► SpanLayer ─► pending (bounded) ─► writer ─► store of `default`
//! ```
//!
//! Owns which records are kept, how many wait and when they are stored. No other work waits for it:
//! records that do not fit are dropped and counted. Does not own which work is a span: the parts of
//! the program define that.
//!
//! Storing own records makes no more of them:
//! - They go to the store and not through a receiver, which has spans.
//! - Records of the store's work (flushes, merges, its log lines) cause no batch by themselves.
//!   They go along after a request of somebody else since the last batch, so an idle server writes
//!   nothing, however slow its flushes are.
//! - There is at most one batch each [`INTERVAL`]. A batch that the store refuses is dropped, and
//!   the next one comes after [`REST`].

mod span_layer;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tidings_collector::{Redactor, prepare_logs, prepare_traces};
use tidings_proto::otlp::{
    ExportLogsServiceRequest, ExportTraceServiceRequest, InstrumentationScope, LogRecord, Resource,
    ResourceLogs, ResourceSpans, ScopeLogs, ScopeSpans, Span,
};
use tidings_storage::{Clock, StorageError, Store, TelemetryBatch};
use tokio::sync::Notify;

pub(crate) use span_layer::{OwnFilter, SpanLayer};

use crate::{VERSION, settings::OwnTelemetrySettings};

/// The shortest time between two batches.
const INTERVAL: Duration = Duration::from_secs(2);
/// The time after a batch that the store refused.
const REST: Duration = Duration::from_secs(30);
/// Spans, and as many log records, that may wait.
const PENDING_MAX: usize = 1000;

/// Origin of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// A request, or an action of the process itself.
    Request,
    /// The store's work, which may be for own records.
    Storage,
}

/// Records that wait to be stored.
#[derive(Debug, Default)]
struct PendingRecords {
    spans: Vec<Span>,
    logs: Vec<LogRecord>,
    /// True when one of them comes from a request.
    is_wanted: bool,
}

/// The server's own traces and log lines.
#[derive(Debug)]
pub(crate) struct OwnTelemetry {
    settings: OwnTelemetrySettings,
    clock: Arc<dyn Clock>,
    pending: Mutex<PendingRecords>,
    arrived: Notify,
    stored: AtomicU64,
    dropped: AtomicU64,
}

/// Destination of own records.
#[derive(Debug)]
pub(crate) struct OwnDestination {
    pub(crate) store: Store,
    pub(crate) redactor: Redactor,
    /// Distinguishes this process from others.
    pub(crate) resource: Resource,
}

impl OwnTelemetry {
    /// Creates it; `None` where no own records are kept.
    pub(crate) fn new(settings: OwnTelemetrySettings, clock: Arc<dyn Clock>) -> Option<Arc<Self>> {
        if !settings.is_on() {
            return None;
        }
        Some(Arc::new(Self {
            settings,
            clock,
            pending: Mutex::default(),
            arrived: Notify::new(),
            stored: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }))
    }

    /// Returns how many records were stored and dropped.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 2] {
        [("stored", self.stored.load(Relaxed)), ("dropped", self.dropped.load(Relaxed))]
    }

    fn pending(&self) -> MutexGuard<'_, PendingRecords> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the spans of a tree, all of them or none.
    fn push_spans(&self, spans: Vec<Span>, cause: Cause) {
        let mut pending = self.pending();
        if pending.spans.len() + spans.len() > PENDING_MAX {
            self.dropped.fetch_add(spans.len() as u64, Relaxed);
            return;
        }
        pending.spans.extend(spans);
        self.wake(&mut pending, cause);
    }

    /// Adds a log record.
    fn push_log(&self, record: LogRecord, cause: Cause) {
        let mut pending = self.pending();
        if pending.logs.len() >= PENDING_MAX {
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        pending.logs.push(record);
        self.wake(&mut pending, cause);
    }

    fn wake(&self, pending: &mut PendingRecords, cause: Cause) {
        pending.is_wanted |= cause == Cause::Request;
        self.arrived.notify_one();
    }

    /// Stores what arrives, until the process ends.
    pub(crate) async fn run(self: Arc<Self>, destination: Arc<OwnDestination>) {
        // Records in the log after the last batch. A greater number means that others wrote some.
        let mut written = destination.written();
        let mut is_refused = false;
        loop {
            self.arrived.notified().await;
            self.clock.sleep(INTERVAL).await;
            // A write by others also releases the records that wait.
            let (spans, logs) = loop {
                match self.take(destination.written() != written) {
                    Some(taken) => break taken,
                    None => tokio::select! {
                        () = self.arrived.notified() => self.clock.sleep(INTERVAL).await,
                        () = self.clock.sleep(REST) => {}
                    },
                }
            };
            let count = (spans.len() + logs.len()) as u64;
            let stored = destination.append(spans, logs).await;
            written = destination.written();
            match stored {
                Ok(()) => {
                    self.stored.fetch_add(count, Relaxed);
                    if std::mem::take(&mut is_refused) {
                        tracing::info!("the server's own traces and log lines are stored again");
                    }
                }
                Err(error) => {
                    self.dropped.fetch_add(count, Relaxed);
                    if !std::mem::replace(&mut is_refused, true) {
                        tracing::warn!(%error, "the server's own traces and log lines are dropped");
                    }
                    self.clock.sleep(REST).await;
                }
            }
        }
    }

    /// Takes the waiting records when they are due.
    fn take(&self, others_wrote: bool) -> Option<(Vec<Span>, Vec<LogRecord>)> {
        let mut pending = self.pending();
        if !pending.is_wanted && !others_wrote {
            return None;
        }
        let PendingRecords { spans, logs, .. } = std::mem::take(&mut *pending);
        Some((spans, logs))
    }
}

impl OwnDestination {
    /// Returns the number of records that the store's log got so far, from all senders.
    fn written(&self) -> u64 {
        self.store.measurements().log_records
    }

    /// Stores spans and log records. When one of the two fails, the one that was stored is not
    /// stored again.
    async fn append(&self, spans: Vec<Span>, logs: Vec<LogRecord>) -> Result<(), StorageError> {
        let scope = Some(InstrumentationScope {
            name: "tidings".to_owned(),
            version: VERSION.to_owned(),
            ..InstrumentationScope::default()
        });
        let resource = Some(self.resource.clone());
        let scope_spans = vec![ScopeSpans { scope: scope.clone(), spans, ..ScopeSpans::default() }];
        let of_spans =
            ResourceSpans { resource: resource.clone(), scope_spans, ..ResourceSpans::default() };
        let scope_logs = vec![ScopeLogs { scope, log_records: logs, ..ScopeLogs::default() }];
        let of_logs = ResourceLogs { resource, scope_logs, ..ResourceLogs::default() };
        let traces = ExportTraceServiceRequest { resource_spans: vec![of_spans] };
        let logs = ExportLogsServiceRequest { resource_logs: vec![of_logs] };
        let batches = [prepare_traces(traces, None).batch, prepare_logs(logs, None).batch];
        for batch in batches.into_iter().flatten() {
            self.append_batch(batch).await?;
        }
        Ok(())
    }

    async fn append_batch(&self, mut batch: TelemetryBatch) -> Result<(), StorageError> {
        self.redactor.redact(&mut batch);
        self.store.append(batch).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidings_proto::otlp::{LogRecord, Span};
    use tidings_storage::SystemClock;

    use super::{Cause, OwnTelemetry, PENDING_MAX};
    use crate::settings::{OwnRecords, OwnTelemetrySettings};

    fn own(records: OwnRecords) -> Option<Arc<OwnTelemetry>> {
        let settings = OwnTelemetrySettings { records, slow_millis: 1000 };
        OwnTelemetry::new(settings, Arc::new(SystemClock))
    }

    #[test]
    fn records_that_do_not_fit_are_dropped_and_counted() {
        assert!(own(OwnRecords::Off).is_none());
        let own = own(OwnRecords::All).unwrap();
        for _ in 0..PENDING_MAX + 3 {
            own.push_log(LogRecord::default(), Cause::Request);
        }
        own.push_spans(vec![Span::default(); PENDING_MAX - 1], Cause::Request);
        own.push_spans(vec![Span::default(); 2], Cause::Request);
        assert_eq!(own.counts(), [("stored", 0), ("dropped", 5)]);
        let (spans, logs) = own.take(false).unwrap();
        assert_eq!((spans.len(), logs.len()), (PENDING_MAX - 1, PENDING_MAX));
    }

    #[test]
    fn records_of_the_stores_work_wait_for_somebody_else() {
        let own = own(OwnRecords::Errors).unwrap();
        own.push_spans(vec![Span::default()], Cause::Storage);
        assert_eq!(own.take(false), None, "its own batch may be why there was a flush");
        assert!(own.take(true).is_some(), "others stored something");
        own.push_log(LogRecord::default(), Cause::Storage);
        own.push_spans(vec![Span::default()], Cause::Request);
        let (spans, logs) = own.take(false).unwrap();
        assert_eq!((spans.len(), logs.len()), (1, 1), "they go along");
        assert_eq!(own.take(false), None);
    }
}
