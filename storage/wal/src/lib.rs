//! Write-ahead log: checksummed and synced before data is acknowledged.
//!
//! Owns the segment files under `wal/` and their format (`docs/formats/wal.md`). One thread writes
//! ([`Wal`]), and one pass reads when the store opens ([`Replay`]). Does not own the meaning of a
//! payload, the decision to drop a segment (the flush knows the flushed position), or the memtable.
//! Durable records go to the memtable in the order of sequences.

mod blocks;
mod error;
mod pinned;
mod reader;
mod record;
mod replay;
mod segments;
#[cfg(test)]
mod tests;
mod unreadable;
mod wal_check;
mod writer;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    thread::JoinHandle,
};

use bytes::Bytes;
use tidings_disk::SharedDisk;
use tidings_proto::{Signal, UnixNanos};
use tidings_runtime::{Clock, Supervision, TimeHistogram};
use tokio::sync::{mpsc, oneshot};

use self::writer::{Command, WriteRefusal, Writer};
pub use self::{
    error::WalError,
    pinned::{PinnedLog, PinnedSegment, pin},
    reader::{SegmentPart, SegmentReader},
    record::{PAYLOAD_MAX, RECORDS_START, SegmentHeader, WalRecord},
    replay::{Replay, ReplayEnd},
    segments::{Sealed, Segments},
    wal_check::{LogExtent, SegmentCheck, check, check_formats},
    writer::Position,
};

/// Name of the writing thread among the store's tasks.
const THREAD: &str = "log writer";

/// The bounds of the log.
#[derive(Debug, Clone, Copy)]
pub struct WalSettings {
    /// A segment is closed at this size.
    pub segment_bytes: u64,
    /// Maximum bytes of the log.
    pub bytes_max: u64,
    /// Bytes of the disk that stay free.
    pub disk_reserve: u64,
    /// Returns an unpredictable number for a new segment.
    pub salt: fn() -> u64,
}

/// The observers of the writing thread: supervision, metrics and their clock.
#[derive(Debug, Clone)]
pub struct WalMonitor {
    /// The list of tasks, which gets the writing thread.
    pub supervision: Supervision,
    /// The counters.
    pub metrics: Arc<WalMetrics>,
    /// The clock that measures syncs.
    pub clock: Arc<dyn Clock>,
}

/// Counters of the writing thread.
#[derive(Debug, Default)]
pub struct WalMetrics {
    /// Syncs of the log that records waited for.
    pub syncs: TimeHistogram,
    /// Records written to the log.
    pub records: AtomicU64,
    /// Bytes of these records.
    pub bytes: AtomicU64,
}

/// A record to write, with the value that becomes visible once it is durable.
pub struct WalEntry<T> {
    /// Signal of the payload.
    pub signal: Signal,
    /// Time at which it was received.
    pub received: UnixNanos,
    /// OTLP's protobuf bytes.
    pub payload: Bytes,
    /// The value that becomes visible.
    pub value: T,
    /// Receives the result when the record is durable and visible, or refused.
    pub reply: oneshot::Sender<Result<(), WalError>>,
}

impl<T> fmt::Debug for WalEntry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { signal, received, payload, .. } = self;
        let mut shown = f.debug_struct("WalEntry");
        shown.field("signal", signal).field("received", received).field("bytes", &payload.len());
        shown.finish_non_exhaustive()
    }
}

/// Outcome of the last write: `None` after a success.
#[derive(Debug, Default)]
struct WalHealth(Mutex<Option<WriteRefusal>>);

impl WalHealth {
    fn recovered(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn failed(&self, refusal: WriteRefusal) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
    }

    fn check(&self) -> Result<(), WalError> {
        let refusal = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refusal.as_ref().map_or(Ok(()), |refusal| Err(refusal.to_error()))
    }
}

/// The writing side of the log.
pub struct Wal<T> {
    /// Queue to the writer. Taken when the log closes.
    commands: Mutex<Option<mpsc::Sender<Command<T>>>>,
    /// The writing thread, which returns true if it ended without a panic.
    thread: Mutex<Option<JoinHandle<bool>>>,
    segments: Arc<Segments>,
    health: Arc<WalHealth>,
}

impl<T> fmt::Debug for Wal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wal").field("segments", &self.segments).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Wal<T> {
    /// Opens a new segment after the existing ones and starts the writer thread. It calls `publish`
    /// with durable records before it answers. Its panic is a failure of the process. A full or
    /// broken disk does not prevent the start: stored data can be read, and appends are refused
    /// meanwhile. Blocks.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        disk: SharedDisk,
        folder: PathBuf,
        settings: WalSettings,
        segments: Arc<Segments>,
        position: Position,
        monitor: WalMonitor,
        publish: impl FnMut(Vec<(u64, T)>) + Send + 'static,
    ) -> Result<Self, WalError> {
        let kept = Arc::clone(&segments);
        let supervision = monitor.supervision.clone();
        let mut writer =
            Writer::new(disk, folder.clone(), settings, segments, position, monitor, publish);
        writer.start();
        let health = Arc::clone(&writer.health);
        let (sender, receiver) = mpsc::channel(writer::BATCH_ENTRIES);
        let thread = std::thread::Builder::new()
            .name("tidings-wal".to_owned())
            .spawn(move || supervision.essential_thread(THREAD, || writer.run(receiver)))
            .map_err(error::failed("start the writer of", &folder))?;
        Ok(Self {
            commands: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
            segments: kept,
            health,
        })
    }

    /// Passes a record to the writer, whose reply comes through the entry. Waits when the queue is
    /// full.
    ///
    /// # Errors
    /// `Closed` after [`Self::close`], `WriterStopped` when the thread has ended.
    pub async fn append(&self, entry: WalEntry<T>) -> Result<(), WalError> {
        self.send(Command::Append(entry)).await
    }

    /// Closes the open segment, so that it can be dropped after a flush.
    ///
    /// # Errors
    /// The errors of [`Self::append`], and those of the disk.
    pub async fn rotate(&self) -> Result<(), WalError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Rotate(reply)).await?;
        answer.await.map_err(|_| WalError::WriterStopped)?
    }

    /// Checks that the writer is alive and its last write succeeded.
    ///
    /// # Errors
    /// The reason why the last write was refused. `Closed` or `WriterStopped` without a writer.
    pub fn check(&self) -> Result<(), WalError> {
        let sender = self.sender()?;
        if sender.is_closed() {
            return Err(WalError::WriterStopped);
        }
        self.health.check()
    }

    /// Returns the closed segments.
    pub fn segments(&self) -> &Segments {
        &self.segments
    }

    /// Returns the number of commands that the writer has not taken yet.
    pub fn queued(&self) -> usize {
        self.sender().map_or(0, |sender| sender.max_capacity() - sender.capacity())
    }

    /// Refuses further records.
    pub fn refuse(&self) {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Refuses further records, writes the accepted ones, and ends the thread. Blocks.
    ///
    /// # Errors
    /// `WriterStopped` when the thread panicked.
    pub fn close(&self) -> Result<(), WalError> {
        self.refuse();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        match thread.map(JoinHandle::join) {
            None | Some(Ok(true)) => Ok(()),
            Some(Ok(false) | Err(_)) => Err(WalError::WriterStopped),
        }
    }

    async fn send(&self, command: Command<T>) -> Result<(), WalError> {
        let sender = self.sender()?;
        sender.send(command).await.map_err(|_| WalError::WriterStopped)
    }

    fn sender(&self) -> Result<mpsc::Sender<Command<T>>, WalError> {
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        commands.clone().ok_or(WalError::Closed)
    }
}
