//! The store: appends, snapshots, flushes, recovery.
//!
//! Connects the write-ahead log, the memtable and the Delta tables, and owns the order between
//! them. A batch is converted to columns (`convert`). The log's thread writes and syncs it, and
//! makes its rows visible (`state`) before the append returns. A flush (`flush`, driven by
//! `background`) moves rows from the memtable to the tables. `open` restores this state, and
//! `erase` removes rows permanently.
//!
//! Does not own the implementation of the three parts: see `tidings_wal`, `tidings_files::memory`
//! and `tables`.

mod background;
mod convert;
mod corrections;
mod erase;
mod flush;
pub(crate) mod format;
mod maintenance_steps;
mod open;
mod pin;
mod quarantine;
mod reindex;
mod retire;
mod scrub;
#[cfg(test)]
mod simulation;
mod state;
mod sweep;
#[cfg(test)]
pub(crate) mod tests;
mod usage;

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use object_store::ObjectStore;
use tidings_disk::{DiskLock, RealDisk, SharedDisk, paths::Paths};
use tidings_files::{
    StorageError,
    blocking::blocking,
    memory::Chunk,
    metrics::{StoreMeasurements, StoreMetrics},
    table_store::SharedTables,
};
use tidings_index::Indexes;
use tidings_proto::{
    Signal,
    otlp::{ExportLogsServiceRequest, ExportTraceServiceRequest},
};
use tidings_runtime::{Clock, Supervision, panic_text};
use tidings_snapshot::Snapshot;
use tidings_wal::{Wal, WalEntry};
use tokio::{
    sync::{Notify, oneshot, watch},
    task::JoinHandle,
};

use self::{
    erase::ErasureBoard, flush::Tables, maintenance_steps::MaintenanceState, pin::PinBoard,
    state::VisibleState,
};
use crate::{StoreMemory, StoreSettings, maintenance::DeferredRewrites};

pub(crate) use self::open::lock_existing;
pub use self::{
    convert::ConvertedBatch,
    erase::{ERASURES_MAX, Erasure, ErasureRecord, ErasureReport, ErasureState},
    maintenance_steps::MaintenanceReport,
    usage::{StoreUsage, TableUsage},
};

/// A checked and normalised export request, which the log stores and the rows are made from.
#[derive(Debug, Clone, PartialEq)]
pub enum TelemetryBatch {
    /// Spans, as the protobuf encoding of an `ExportTraceServiceRequest`. This form is the cheapest
    /// to store.
    EncodedTraces(Bytes),
    /// Log records, as the protobuf encoding of an `ExportLogsServiceRequest`.
    EncodedLogs(Bytes),
    /// Spans.
    Traces {
        /// The spans.
        request: ExportTraceServiceRequest,
        /// The request's protobuf encoding, when the sender's bytes were accepted unchanged.
        bytes: Option<Bytes>,
    },
    /// Log records.
    Logs {
        /// The records.
        request: ExportLogsServiceRequest,
        /// The request's protobuf encoding, when the sender's bytes were accepted unchanged.
        bytes: Option<Bytes>,
    },
    /// Either signal with its rows: the result of [`Store::convert`].
    Converted(ConvertedBatch),
}

/// Findings of opening a data directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Number of log records replayed into the memtable.
    pub replayed_records: u64,
    /// Bytes of a torn tail that were cut off the log.
    pub torn_bytes: u64,
    /// Damaged files that were quarantined.
    pub quarantined: Vec<PathBuf>,
}

/// Size of the store's contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreCounts {
    /// Number of spans, in memory and in files.
    pub spans: u64,
    /// Number of log records, in memory and in files.
    pub log_records: u64,
    /// Bytes of the memtable.
    pub memory_bytes: u64,
    /// Bytes of the write-ahead log.
    pub wal_bytes: u64,
    /// Number of data files of both tables.
    pub data_files: u64,
}

/// A handle to the store, shared by its clones. If the last one is dropped without
/// [`Store::close`], nothing is flushed, and the log keeps the records that the tables lack.
#[derive(Debug, Clone)]
pub struct Store {
    owner: Arc<Owner>,
}

/// Stops the background tasks when the last clone of the store is dropped.
struct Owner(Arc<StoreInner>);

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Owner").field(&self.0.paths.root()).finish()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.stop.send_replace(true);
        self.0.wal.refuse();
    }
}

struct StoreInner {
    shared: Arc<StoreShared>,
    wal: Arc<Wal<Arc<Chunk>>>,
    tables: tokio::sync::Mutex<Tables>,
    /// Held by the running maintenance step.
    maintenance: tokio::sync::Mutex<MaintenanceState>,
    pins: PinBoard,
    erasures: ErasureBoard,
    tables_at: SharedTables,
    disk: SharedDisk,
    paths: Paths,
    alarms: Vec<String>,
    /// Number of damaged files that were quarantined when the store opened.
    quarantined_files: u64,
    /// Bytes of batches that are being appended to the log and the memtable.
    pending_bytes: AtomicU64,
    closed: AtomicBool,
    /// Maintenance work for which the last run found no disk space.
    waiting: Mutex<Option<DeferredRewrites>>,
    /// Error of the last flush, unless it succeeded.
    flush_failure: Mutex<Option<String>>,
    /// True after a flush panicked. The state that it left is not used any more.
    broken: AtomicBool,
    supervision: Supervision,
    metrics: Arc<StoreMetrics>,
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    lock: Mutex<Option<DiskLock>>,
}

/// The tables with a damaged commit. They are read and not written.
#[derive(Debug, Clone, Copy, Default)]
struct TableDamage {
    spans: bool,
    logs: bool,
}

impl TableDamage {
    fn contains(self, signal: Signal) -> bool {
        match signal {
            Signal::Spans => self.spans,
            Signal::Logs => self.logs,
        }
    }

    fn any(self) -> bool {
        self.spans || self.logs
    }
}

/// State that the log's thread shares with the store.
struct StoreShared {
    damaged: TableDamage,
    state: VisibleState,
    indexes: Arc<Indexes>,
    disk: SharedDisk,
    flush_wanted: Notify,
    /// True if a request was refused since the last flush because memory is full. The request may
    /// be larger than the remaining memory.
    memory_refused: AtomicBool,
    merge_wanted: Notify,
    clock: Arc<dyn Clock>,
    settings: StoreSettings,
    memory: MemoryBounds,
}

/// Bounds of the memtable, which can change.
struct MemoryBounds {
    flush_bytes: AtomicU64,
    bytes_max: AtomicU64,
}

impl MemoryBounds {
    fn new(memory: StoreMemory) -> Self {
        let (flush_bytes, bytes_max) = (memory.flush_bytes.into(), memory.bytes_max.into());
        Self { flush_bytes, bytes_max }
    }

    /// Returns the size of the memtable in bytes at which it is flushed.
    fn flush_bytes(&self) -> u64 {
        self.flush_bytes.load(Ordering::Relaxed)
    }

    /// Returns the size of the memtable in bytes at which appends are refused.
    fn bytes_max(&self) -> u64 {
        self.bytes_max.load(Ordering::Relaxed)
    }
}

impl Store {
    /// Opens or creates the data directory: takes its lock, repairs a torn tail, and replays the
    /// log.
    ///
    /// # Errors
    /// `Locked` when another process holds it, `Corrupt` or `Format` when it cannot be read safely.
    pub async fn open(
        settings: StoreSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Recovery), StorageError> {
        Self::open_on(Arc::new(RealDisk), settings, clock).await
    }

    pub(crate) async fn open_on(
        disk: SharedDisk,
        settings: StoreSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Recovery), StorageError> {
        Self::open_at(disk, None, settings, clock).await
    }

    /// Like [`Self::open`], but requests for tables in an object store go to this one.
    pub(crate) async fn open_at(
        disk: SharedDisk,
        objects: Option<Arc<dyn ObjectStore>>,
        settings: StoreSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Recovery), StorageError> {
        let (inner, recovery) = Box::pin(open::open(disk, objects, settings, clock)).await?;
        Ok((Self { owner: Arc::new(Owner(inner)) }, recovery))
    }

    /// Stores a batch. It is durable, and visible to new snapshots, when this returns. Concurrent
    /// appends share one fsync. A batch without rows costs nothing. If the returned future is
    /// dropped early, the batch is stored completely or not at all.
    ///
    /// # Errors
    /// Nothing of the batch is stored then. All kinds but `Invalid` may succeed on a retry.
    pub async fn append(&self, batch: TelemetryBatch) -> Result<(), StorageError> {
        self.check_capacity()?;
        let inner = &self.owner.0;
        let received = inner.shared.clock.now();
        let converted = convert::convert(batch, received).await?;
        let ConvertedBatch { signal, received, payload, chunk: Some(chunk) } = converted else {
            return Ok(());
        };
        let bytes = chunk.bytes() + payload.len() as u64;
        inner.check_memory(bytes)?;
        let _pending = PendingAppend::new(&inner.pending_bytes, bytes);
        let (reply, answer) = oneshot::channel();
        let entry = WalEntry { signal, received, payload, value: chunk, reply };
        inner.wal.append(entry).await?;
        answer.await.map_err(|_| StorageError::WriterStopped)??;
        Ok(())
    }

    /// Checks that memory has room for another append, which [`Self::append`] also does first.
    /// Cheap.
    ///
    /// # Errors
    /// The error an append would get.
    pub fn check_capacity(&self) -> Result<(), StorageError> {
        let inner = &self.owner.0;
        inner.check_open()?;
        inner.check_memory(0)
    }

    /// Sets the memory that the store may hold. If the memtable is larger, it is flushed, and
    /// appends are refused meanwhile.
    pub fn set_memory(&self, memory: StoreMemory) {
        let shared = &self.owner.0.shared;
        shared.memory.flush_bytes.store(memory.flush_bytes, Ordering::Relaxed);
        shared.memory.bytes_max.store(memory.bytes_max, Ordering::Relaxed);
        shared.indexes.set_bytes_max(usize::try_from(memory.index_bytes_max).unwrap_or(usize::MAX));
        if shared.state.memory_bytes() >= memory.flush_bytes {
            shared.flush_wanted.notify_one();
        }
    }

    /// Returns a consistent view of memory and files. Cheap.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let shared = &self.owner.0.shared;
        let TableDamage { spans, logs } = shared.damaged;
        let snapshot = shared.state.snapshot().indexed_by(Arc::clone(&shared.indexes));
        snapshot.with_missing_rows([spans, logs])
    }

    /// Writes the memtable to the tables and drops the log segments that are no longer needed.
    /// Continues when the returned future is dropped.
    ///
    /// # Errors
    /// Nothing is lost, and the next flush tries again.
    pub async fn flush(&self) -> Result<(), StorageError> {
        self.owner.0.check_open()?;
        self.owner.0.flush_to_end().await
    }

    /// Refuses new appends, finishes pending ones, flushes, and releases the directory. A second
    /// call does nothing.
    ///
    /// # Errors
    /// When the last flush failed. The log still has every record.
    pub async fn close(&self) -> Result<(), StorageError> {
        let inner = &self.owner.0;
        if inner.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let stopped = inner.stop_work().await;
        inner.end_erasures().await;
        // Waits for a change of the pins to end. No other one begins, because the store is closed.
        drop(inner.pins.turn.lock().await);
        let flushed = match inner.broken.load(Ordering::Acquire) {
            true => Err(StorageError::WriterStopped),
            false => inner.flush_to_end().await,
        };
        inner.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        stopped.and(flushed)
    }

    /// Performs all maintenance that is due, as if no more data arrived: merges files, applies
    /// retention and deletes unreferenced files. The background task merges less eagerly.
    /// `clock_is_right` confirms a clock that has jumped.
    ///
    /// # Errors
    /// Nothing is lost, and completed steps stay.
    pub async fn compact(&self, clock_is_right: bool) -> Result<MaintenanceReport, StorageError> {
        self.flush().await?;
        self.owner.0.run_maintenance(clock_is_right).await
    }

    /// Erases spans and log records permanently: from the tables, the disk and the log, pinned
    /// traces included. Rows that arrive meanwhile are erased or not. The erasure is incomplete
    /// while the report names files that are left or unreadable. As [`Self::begin_erasure`], and
    /// returns when it has ended.
    ///
    /// # Errors
    /// `Corrupt` with the commit's file when a table has a damaged one: nothing is erased then.
    /// Otherwise the erasure may be partial; a second call continues.
    pub async fn erase(&self, what: &Erasure) -> Result<ErasureReport, StorageError> {
        let (_, ended) = self.owner.0.begin_erasure(what.clone()).await?;
        ended.await.map_err(|_| StorageError::WriterStopped)?
    }

    /// Returns the size of the store's contents.
    #[must_use]
    pub fn counts(&self) -> StoreCounts {
        let inner = &self.owner.0;
        let totals = inner.shared.state.totals();
        StoreCounts {
            spans: totals.spans,
            log_records: totals.log_records,
            memory_bytes: totals.memory_bytes,
            wal_bytes: inner.wal.segments().bytes(),
            data_files: totals.data_files,
        }
    }

    /// Returns the number of erasures that have ended since the store was opened. What was read
    /// before one ended may have erased rows.
    #[must_use]
    pub fn ended_erasures(&self) -> u64 {
        self.owner.0.erasures.ended()
    }

    /// Returns counts and times of the store's work since it was opened.
    #[must_use]
    pub fn measurements(&self) -> StoreMeasurements {
        let inner = &self.owner.0;
        let (state, clock) = (&inner.shared.state, &inner.shared.clock);
        let age = state
            .oldest_unflushed()
            .map(|oldest| clock.instant().saturating_duration_since(oldest));
        let damaged_files = inner.tables_at.damaged_files().count() as u64;
        StoreMeasurements {
            commits: state.commits(),
            removed_files: state.removed_file_count(),
            unflushed_age: age.unwrap_or_default(),
            damaged_files: inner.quarantined_files + damaged_files,
            index_bytes: inner.shared.indexes.bytes() as u64,
            index_reads: inner.shared.indexes.reads(),
            ..inner.metrics.measurements()
        }
    }

    /// Returns one sentence for each condition that needs an operator: findings of opening, files
    /// found damaged since, and maintenance that waits for disk space. The store works. Answers
    /// from damaged files may lack rows and report that.
    #[must_use]
    pub fn alarms(&self) -> Vec<String> {
        let inner = &self.owner.0;
        let damaged = inner.tables_at.damaged_files().alarms();
        let waiting = inner.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = waiting.as_ref().map(ToString::to_string);
        inner.alarms.iter().cloned().chain(damaged).chain(waiting).collect()
    }

    /// Returns the bytes that are free on the disk of the log, and those below which appends are
    /// refused. `None` when the disk cannot be measured.
    #[must_use]
    pub fn disk_space(&self) -> Option<(u64, u64)> {
        let inner = &self.owner.0;
        let free = inner.disk.free_bytes(&inner.paths.wal()).ok()?;
        Some((free, inner.shared.settings.disk_reserve_bytes))
    }

    /// Returns the reason why rows in memory and in the log cannot be flushed to the tables. The
    /// flush is retried and nothing is lost. Appends are refused when memory or the log is full.
    #[must_use]
    pub fn flush_failure(&self) -> Option<String> {
        let flush_failure =
            self.owner.0.flush_failure.lock().unwrap_or_else(PoisonError::into_inner);
        flush_failure.as_ref().map(|why| format!("the tables cannot be written to: {why}"))
    }

    /// Checks that an append would be accepted now.
    ///
    /// # Errors
    /// The error an append would get.
    pub fn ready(&self) -> Result<(), StorageError> {
        let inner = &self.owner.0;
        inner.check_open()?;
        inner.wal.check()?;
        inner.check_memory(0)?;
        let settings = &inner.shared.settings;
        let (bytes, limit) = (inner.wal.segments().bytes(), settings.wal_bytes_max);
        if bytes >= limit {
            return Err(StorageError::WalFull { bytes, limit });
        }
        let folder = inner.paths.wal();
        let measured = inner.disk.free_bytes(&folder);
        let free = measured.map_err(tidings_files::error::failed("measure", &folder))?;
        let reserve = settings.disk_reserve_bytes;
        if free < reserve { Err(StorageError::DiskFull { free, reserve }) } else { Ok(()) }
    }

    /// Returns the state of the store's tasks and threads. When an essential one has failed, the
    /// process must end. All acknowledged records are in the log, and appends are refused.
    #[must_use]
    pub fn supervision(&self) -> &Supervision {
        &self.owner.0.supervision
    }

    /// Stops like a killed process, but cleanly enough to open the directory again at once.
    #[cfg(test)]
    pub(crate) async fn abandon(self) {
        let inner = &self.owner.0;
        inner.closed.store(true, Ordering::Release);
        let _ = inner.stop_work().await;
        inner.end_erasures().await;
        // Waits for a flush that another caller started.
        drop(inner.tables.lock().await);
        drop(inner.pins.turn.lock().await);
        inner.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl StoreInner {
    fn check_open(&self) -> Result<(), StorageError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StorageError::Closed);
        }
        if self.broken.load(Ordering::Acquire) {
            return Err(StorageError::WriterStopped);
        }
        Ok(())
    }

    fn check_memory(&self, more: u64) -> Result<(), StorageError> {
        let bytes = self.shared.state.memory_bytes() + self.pending_bytes.load(Ordering::Relaxed);
        let limit = self.shared.memory.bytes_max();
        if bytes.saturating_add(more) <= limit {
            return Ok(());
        }
        self.shared.memory_refused.store(true, Ordering::Relaxed);
        self.shared.flush_wanted.notify_one();
        Err(StorageError::MemoryFull { bytes, limit })
    }

    /// Flushes in a separate task, so that cancelling the caller cannot interrupt a flush.
    async fn flush_to_end(self: &Arc<Self>) -> Result<(), StorageError> {
        let inner = Arc::clone(self);
        let begun = self.shared.clock.instant();
        let (totals, empty) = (inner.shared.state.totals(), tracing::field::Empty);
        let span = tracing::debug_span!(
            "flush",
            tidings.memory_bytes = totals.memory_bytes,
            "error.type" = empty,
            otel.status_message = empty
        );
        let flush = background::as_span(span, async move { inner.flush().await });
        match tokio::spawn(flush).await {
            Ok(done) => {
                let time = self.shared.clock.instant().saturating_duration_since(begun);
                match &done {
                    Ok(()) => self.metrics.flushes.observe(time),
                    Err(_) => {
                        self.metrics.flush_failures.fetch_add(1, Ordering::Relaxed);
                    }
                }
                let why = done.as_ref().err().map(ToString::to_string);
                *self.flush_failure.lock().unwrap_or_else(PoisonError::into_inner) = why;
                done
            }
            Err(error) => match error.try_into_panic() {
                Ok(panic) => {
                    self.give_up(background::FLUSH, &panic_text(panic.as_ref()));
                    Err(StorageError::WriterStopped)
                }
                Err(_) => Err(StorageError::Closed),
            },
        }
    }

    /// Refuses further appends, because a task failed and left an inconsistent state.
    fn give_up(&self, task: &'static str, panic: &str) {
        self.broken.store(true, Ordering::Release);
        self.supervision.fail(task, panic);
    }

    fn keep_tasks(&self, tasks: Vec<JoinHandle<()>>) {
        *self.tasks.lock().unwrap_or_else(PoisonError::into_inner) = tasks;
    }

    /// Writes the accepted records, and ends the background tasks and the log's thread.
    async fn stop_work(&self) -> Result<(), StorageError> {
        self.stop.send_replace(true);
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            // A task that panicked has already stopped.
            let _ = task.await;
        }
        let wal = Arc::clone(&self.wal);
        blocking(move || Ok(wal.close()?)).await
    }
}

impl StoreShared {
    /// Makes durable chunks visible. Called by the log's thread, in order.
    fn publish(&self, chunks: Vec<(u64, Arc<Chunk>)>) {
        if self.state.publish(chunks, self.clock.instant()) {
            self.merge_wanted.notify_one();
        }
        if self.state.memory_bytes() >= self.memory.flush_bytes() {
            self.flush_wanted.notify_one();
        }
    }
}

/// Counts bytes of an append in progress until it is dropped.
struct PendingAppend<'a>(&'a AtomicU64, u64);

impl<'a> PendingAppend<'a> {
    fn new(total: &'a AtomicU64, bytes: u64) -> Self {
        total.fetch_add(bytes, Ordering::Relaxed);
        Self(total, bytes)
    }
}

impl Drop for PendingAppend<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}
