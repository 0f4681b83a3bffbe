//! The single thread that writes the log.
//!
//! The thread takes all waiting requests, writes them, syncs once, makes them visible, and answers
//! them. Concurrent requests thus share an fsync and wait for no timer. The order for each batch
//! is:
//!
//! 1. an open segment exists, and its file and its name are durable,
//! 2. the records are written and synced,
//! 3. they are published to the memtable, in the order of sequences,
//! 4. the waiting requests are answered.
//!
//! Publishing happens here and not in the task of the request, because a request may be cancelled
//! between 2 and 4. Durable records are therefore always visible.
//!
//! After a failed write or sync the segment is never written to again. Its successor's header
//! records where the log really ended, so the failed bytes cannot be read as records.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use tidings_disk::{Mistake, SharedDisk, paths::segment_name};
use tokio::sync::{mpsc, oneshot};

use super::{
    WalEntry, WalHealth, WalMonitor, WalSettings,
    blocks::Blocks,
    record::{RECORD_HEADER, RECORDS_START, SegmentHeader, WalRecord, payload_length},
    segments::{Sealed, Segments},
};
use crate::WalError;

/// Maximum bytes per sync, approximately, so that a burst of requests does not delay all of them.
const BATCH_BYTES: usize = 8 << 20;
/// Maximum number of requests per sync.
pub(super) const BATCH_ENTRIES: usize = 1024;
/// Maximum number of segment names that are skipped because other files have them.
const NAMES_TAKEN_MAX: u32 = 1000;

/// Request to the writer.
pub(super) enum Command<T> {
    Append(WalEntry<T>),
    /// Close the open segment, so that a flush can drop it.
    Rotate(oneshot::Sender<Result<(), WalError>>),
}

/// Reason why a batch was refused. It is converted to a [`WalError`] for each waiting request.
#[derive(Debug, Clone)]
pub(super) enum WriteRefusal {
    WalFull { bytes: u64, limit: u64 },
    DiskFull { free: u64, reserve: u64 },
    Io { action: &'static str, path: PathBuf, kind: io::ErrorKind, os: Option<i32>, text: String },
}

impl WriteRefusal {
    pub(super) fn io(action: &'static str, path: &std::path::Path, error: &io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_path_buf(),
            kind: error.kind(),
            os: error.raw_os_error(),
            text: error.to_string(),
        }
    }

    pub(super) fn to_error(&self) -> WalError {
        match self {
            Self::WalFull { bytes, limit } => WalError::WalFull { bytes: *bytes, limit: *limit },
            Self::DiskFull { free, reserve } => {
                WalError::DiskFull { free: *free, reserve: *reserve }
            }
            Self::Io { action, path, kind, os, text } => WalError::Io {
                action,
                path: path.clone(),
                source: os.map_or_else(
                    || io::Error::new(*kind, text.clone()),
                    io::Error::from_raw_os_error,
                ),
            },
        }
    }
}

struct Active {
    file: Blocks,
    path: PathBuf,
    bytes: u64,
    salt: u64,
    has_records: bool,
}

impl Active {
    /// Writes records and syncs them.
    fn write<T>(
        &mut self,
        first: u64,
        entries: &[WalEntry<T>],
        monitor: &WalMonitor,
    ) -> Result<(), WriteRefusal> {
        let mut append = || {
            for (sequence, entry) in (first..).zip(entries) {
                let record = WalRecord {
                    sequence,
                    received: entry.received,
                    signal: entry.signal,
                    payload: entry.payload.clone(),
                };
                let header = record.header(self.salt).ok_or(io::ErrorKind::FileTooLarge)?;
                self.file.append(&header)?;
                self.file.append(&record.payload)?;
            }
            self.file.flush()
        };
        append().map_err(|error| WriteRefusal::io("write", &self.path, &error))?;
        let begun = monitor.clock.instant();
        let synced = self.file.sync();
        let time = monitor.clock.instant().saturating_duration_since(begun);
        monitor.metrics.syncs.observe(time);
        synced.map_err(|error| WriteRefusal::io("sync", &self.path, &error))
    }
}

/// Returns the bytes of the records.
fn size_of_entries<T>(entries: &[WalEntry<T>]) -> u64 {
    entries.iter().map(|entry| (entry.payload.len() + RECORD_HEADER) as u64).sum()
}

/// The state of the writing thread.
pub(super) struct Writer<T, P> {
    pub(super) disk: SharedDisk,
    pub(super) folder: PathBuf,
    pub(super) settings: WalSettings,
    pub(super) segments: Arc<Segments>,
    pub(super) health: Arc<WalHealth>,
    pub(super) publish: P,
    position: Position,
    monitor: WalMonitor,
    active: Option<Active>,
    marker: std::marker::PhantomData<fn(T)>,
}

/// End of the log.
#[derive(Debug, Clone, Copy)]
pub struct Position {
    /// Last durable sequence.
    pub durable: u64,
    /// Next sequence to assign.
    pub next: u64,
}

impl<T, P: FnMut(Vec<(u64, T)>)> Writer<T, P> {
    pub(super) fn new(
        disk: SharedDisk,
        folder: PathBuf,
        settings: WalSettings,
        segments: Arc<Segments>,
        position: Position,
        monitor: WalMonitor,
        publish: P,
    ) -> Self {
        Self {
            disk,
            folder,
            settings,
            segments,
            health: Arc::default(),
            publish,
            position,
            monitor,
            active: None,
            marker: std::marker::PhantomData,
        }
    }

    /// Opens the first segment, which cuts off a torn tail before it.
    pub(super) fn start(&mut self) {
        if let Err(refusal) = self.open_segment() {
            tracing::error!(error = %refusal.to_error(),
                "the write-ahead log cannot be written; appends are refused until it can");
            self.health.failed(refusal);
        }
    }

    /// Processes commands until all senders are dropped.
    pub(super) fn run(mut self, mut commands: mpsc::Receiver<Command<T>>) {
        let mut received = Vec::new();
        while commands.blocking_recv_many(&mut received, BATCH_ENTRIES) > 0 {
            let mut entries = Vec::new();
            let mut bytes = 0;
            for command in received.drain(..) {
                match command {
                    Command::Append(entry) => {
                        bytes += entry.payload.len() + RECORD_HEADER;
                        entries.push(entry);
                        if bytes >= BATCH_BYTES {
                            self.append(std::mem::take(&mut entries));
                            bytes = 0;
                        }
                    }
                    Command::Rotate(reply) => {
                        self.append(std::mem::take(&mut entries));
                        bytes = 0;
                        let rotated = self.rotate().map_err(|refusal| refusal.to_error());
                        // The caller may no longer wait.
                        let _ = reply.send(rotated);
                    }
                }
            }
            self.append(entries);
        }
        self.seal();
    }

    fn append(&mut self, entries: Vec<WalEntry<T>>) {
        if entries.is_empty() {
            return;
        }
        match self.write(&entries) {
            Ok(last) => {
                self.health.recovered();
                let first = self.position.next;
                self.position = Position { durable: last, next: last + 1 };
                let (values, replies): (Vec<_>, Vec<_>) =
                    entries.into_iter().map(|entry| (entry.value, entry.reply)).unzip();
                (self.publish)((first..).zip(values).collect());
                for reply in replies {
                    // A cancelled request is stored nevertheless.
                    let _ = reply.send(Ok(()));
                }
            }
            Err(refusal) => {
                tracing::error!(error = %refusal.to_error(), requests = entries.len(),
                    "the write-ahead log refused a batch");
                self.health.failed(refusal.clone());
                let acknowledges = self.disk.makes(Mistake::AcknowledgeRefused);
                let publishes = self.disk.makes(Mistake::PublishRefused);
                for entry in entries {
                    if publishes {
                        (self.publish)(vec![(self.position.durable, entry.value)]);
                    }
                    let answer = if acknowledges { Ok(()) } else { Err(refusal.to_error()) };
                    let _ = entry.reply.send(answer);
                }
            }
        }
    }

    /// Writes and syncs. Returns the last assigned sequence.
    fn write(&mut self, entries: &[WalEntry<T>]) -> Result<u64, WriteRefusal> {
        if entries.iter().any(|entry| payload_length(&entry.payload).is_none()) {
            let error = io::ErrorKind::FileTooLarge.into();
            return Err(WriteRefusal::io("write", &self.folder, &error));
        }
        let bytes = size_of_entries(entries);
        self.check_room(bytes)?;
        let full = self.settings.segment_bytes;
        if self.active.as_ref().is_some_and(|active| active.has_records && active.bytes >= full) {
            self.seal();
        }
        if self.active.is_none() {
            self.open_segment()?;
        }
        let Some(active) = &mut self.active else {
            let error = io::Error::other("no open segment");
            return Err(WriteRefusal::io("open", &self.folder, &error));
        };
        let first = self.position.next;
        let last = first + entries.len() as u64 - 1;
        let written = active.write(first, entries, &self.monitor);
        active.bytes += bytes;
        self.segments.grew(bytes);
        match written {
            Ok(()) => {
                active.has_records = true;
                let metrics = &self.monitor.metrics;
                metrics.records.fetch_add(entries.len() as u64, Relaxed);
                metrics.bytes.fetch_add(bytes, Relaxed);
                Ok(last)
            }
            Err(refusal) => {
                // The state of these bytes on the disk stays unknown. They count as written, their
                // sequences are not assigned again, and the next segment's header excludes them
                // from the log.
                self.position.next = last + 1;
                self.seal();
                Err(refusal)
            }
        }
    }

    fn check_room(&self, wanted: u64) -> Result<(), WriteRefusal> {
        let (bytes, limit) = (self.segments.bytes(), self.settings.bytes_max);
        if bytes.saturating_add(wanted) > limit {
            return Err(WriteRefusal::WalFull { bytes, limit });
        }
        let free = self
            .disk
            .free_bytes(&self.folder)
            .map_err(|error| WriteRefusal::io("measure", &self.folder, &error))?;
        let reserve = self.settings.disk_reserve;
        if free < reserve.saturating_add(wanted) {
            return Err(WriteRefusal::DiskFull { free, reserve });
        }
        Ok(())
    }

    /// Closes the open segment if it has records, and opens a new one.
    fn rotate(&mut self) -> Result<(), WriteRefusal> {
        if self.active.as_ref().is_some_and(|active| active.has_records) {
            self.seal();
        }
        if self.active.is_none() {
            self.open_segment()?;
        }
        self.health.recovered();
        Ok(())
    }

    fn seal(&mut self) {
        if let Some(active) = self.active.take() {
            let last = self.position.durable;
            self.segments.seal(Sealed { path: active.path, last, bytes: active.bytes });
        }
    }

    fn open_segment(&mut self) -> Result<(), WriteRefusal> {
        let mut first = self.position.next;
        let mut tries = 0;
        let (path, mut file) = loop {
            let path = self.folder.join(segment_name(first));
            match self.disk.create_in_blocks(&path) {
                Ok(file) => break (path, Blocks::new(file)),
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists && tries < NAMES_TAKEN_MAX =>
                {
                    tries += 1;
                    first += 1;
                }
                Err(error) => return Err(WriteRefusal::io("create", &path, &error)),
            }
        };
        let salt = (self.settings.salt)();
        let covered = self.segments.covered();
        let header = SegmentHeader { first, prior_end: self.position.durable, salt, covered };
        let ready = file
            .append(&header.encode())
            .and_then(|()| file.flush())
            .and_then(|()| file.sync())
            .and_then(|()| self.disk.sync_folder(&self.folder));
        if let Err(error) = ready {
            // The result is ignored, because a segment without records has no effect.
            let _ = self.disk.remove(&path);
            return Err(WriteRefusal::io("create", &path, &error));
        }
        self.position.next = first;
        self.segments.grew(RECORDS_START);
        self.active = Some(Active { file, path, bytes: RECORDS_START, salt, has_records: false });
        Ok(())
    }
}
