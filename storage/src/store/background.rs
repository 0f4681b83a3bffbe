//! Background tasks of the store: flushing, merging small chunks, rebuilding indexes, maintenance
//! and scrubbing. All end when the store stops. Flushing is essential, and the other tasks are
//! restarted when they panic.

use std::{
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::future::BoxFuture;
use tidings_files::{
    StorageError,
    blocking::{blocking, random},
    memory,
};
use tokio::{select, sync::watch, task::JoinHandle};
use tracing::{
    Instrument, Span,
    field::{Empty, debug, display},
};

use super::{StoreInner, reindex::reindexer, scrub::scrubber};
use crate::maintenance::MergePace;

/// Interval between checks of the memtable's age and the log's health.
const LOOK: Duration = Duration::from_secs(1);
/// Maximum wait after failed flushes.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Interval between checks for due maintenance.
pub(super) const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(10);
/// Maximum wait after failed maintenance.
const MAINTENANCE_WAIT_MAX: Duration = Duration::from_secs(15 * 60);

/// Name of the flushing task.
pub(super) const FLUSH: &str = "flush";

type BackgroundTask = fn(Arc<StoreInner>, watch::Receiver<bool>) -> BoxFuture<'static, ()>;

/// Tasks that are restarted when they panic.
const RESTARTING_TASKS: [(&str, BackgroundTask); 4] = [
    ("memory merge", |inner, stop| Box::pin(merger(inner, stop))),
    ("reindexing", |inner, stop| Box::pin(reindexer(inner, stop))),
    ("maintenance", |inner, stop| Box::pin(maintenance_loop(inner, stop))),
    ("scrubbing", |inner, stop| Box::pin(scrubber(inner, stop))),
];

/// Runs work in a tracing span, and records its error in the span.
pub(super) async fn as_span<T>(
    span: Span,
    work: impl Future<Output = Result<T, StorageError>>,
) -> Result<T, StorageError> {
    let done = work.instrument(span.clone()).await;
    if let Err(error) = &done {
        span.record("error.type", debug(error.kind()));
        span.record("otel.status_message", display(error));
    }
    done
}

pub(super) fn start(inner: &Arc<StoreInner>, stop: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
    let supervision = &inner.supervision;
    let flusher = flusher(Arc::clone(inner), stop.clone());
    let mut tasks = vec![supervision.spawn_essential(FLUSH, flusher)];
    for (name, task) in RESTARTING_TASKS {
        let (inner, stop, clock) = (Arc::clone(inner), stop.clone(), &inner.shared.clock);
        let clock = Arc::clone(clock);
        tasks.push(supervision.spawn_restarting(name, clock, stop.clone(), move || {
            task(Arc::clone(&inner), stop.clone())
        }));
    }
    tasks
}

async fn flusher(inner: Arc<StoreInner>, mut stop: watch::Receiver<bool>) {
    let mut wait = LOOK;
    loop {
        select! {
            _ = stop.wait_for(|stopped| *stopped) => return,
            () = inner.shared.clock.sleep(wait) => {}
            () = inner.shared.flush_wanted.notified(), if wait == LOOK => {}
        }
        if inner.wal.check().is_err() {
            // Appends cannot trigger this, because clients stop sending while the store is not
            // ready.
            let _ = inner.wal.rotate().await;
        }
        if !inner.flush_is_due() {
            continue;
        }
        match inner.flush_to_end().await {
            Ok(()) => wait = LOOK,
            Err(error) => {
                wait = (wait * 2).min(WAIT_MAX);
                // The wait is random, so that processes do not all retry at once when a shared
                // store is back.
                let sooner = wait.mul_f64(f64::from(random_byte()) / 1024.);
                wait = wait.saturating_sub(sooner).max(LOOK);
                tracing::error!(%error, next_try_in = ?wait, "a flush failed; nothing is lost");
            }
        }
    }
}

async fn merger(inner: Arc<StoreInner>, mut stop: watch::Receiver<bool>) {
    loop {
        select! {
            _ = stop.wait_for(|stopped| *stopped) => return,
            () = inner.shared.merge_wanted.notified() => {}
        }
        while let Some((signal, run)) = inner.shared.state.run() {
            let chunks = run.clone();
            match blocking(move || memory::merge(&chunks)).await {
                Ok(merged) => inner.shared.state.replace(signal, &run, Arc::new(merged)),
                Err(error) => {
                    tracing::error!(%error, "small memtable chunks could not be merged");
                    break;
                }
            }
        }
    }
}

async fn maintenance_loop(inner: Arc<StoreInner>, mut stop: watch::Receiver<bool>) {
    let mut wait = MAINTENANCE_INTERVAL;
    loop {
        select! {
            _ = stop.wait_for(|stopped| *stopped) => return,
            () = inner.shared.clock.sleep(wait) => {}
        }
        loop {
            let span = tracing::debug_span!(
                "maintenance",
                "error.type" = Empty,
                otel.status_message = Empty
            );
            let step = inner.run_maintenance_step(MergePace::Running);
            match Box::pin(as_span(span, step)).await {
                Ok(true) if !*stop.borrow() => wait = MAINTENANCE_INTERVAL,
                Ok(_) | Err(StorageError::Closed) => break,
                Err(error) => {
                    wait = (wait * 2).min(MAINTENANCE_WAIT_MAX);
                    tracing::error!(%error, next_try_in = ?wait, "maintenance failed; nothing is lost");
                    break;
                }
            }
        }
    }
}

fn random_byte() -> u8 {
    random().to_le_bytes()[0]
}

impl StoreInner {
    fn flush_is_due(&self) -> bool {
        let settings = &self.shared.settings;
        let state = &self.shared.state;
        if self.tables.try_lock().is_err() {
            return false; // One is under way.
        }
        let now = self.shared.clock.instant();
        let age = state.oldest().map(|oldest| now.saturating_duration_since(oldest));
        let is_refused = self.shared.memory_refused.swap(false, Ordering::Relaxed);
        state.has_unflushed() && !self.shared.damaged.any()
            || is_refused && state.memory_bytes() > 0
            || age.is_some_and(|age| age >= settings.memory_flush_age)
            || state.memory_bytes() >= self.shared.memory.flush_bytes()
            || self.wal.segments().bytes() > settings.wal_bytes_max / 2
    }
}
