//! The store: appends, snapshots, flushes, recovery.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use tidings_proto::otlp::{ExportLogsServiceRequest, ExportTraceServiceRequest};

use crate::{Clock, Snapshot, StorageError, StoreSettings};

/// One export request, checked and normalised: what the log keeps and the rows are made from.
#[derive(Debug, Clone, PartialEq)]
pub enum TelemetryBatch {
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
}

/// What opening a data directory found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Log records replayed into the memory table.
    pub replayed_records: u64,
    /// Bytes of a torn tail that were cut off.
    pub torn_bytes: u64,
    /// Damaged files that were set aside.
    pub quarantined: Vec<PathBuf>,
}

/// How much the store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreCounts {
    /// Spans, in memory and in files.
    pub spans: u64,
    /// Log records, in memory and in files.
    pub log_records: u64,
    /// Bytes of the memory table.
    pub memory_bytes: u64,
    /// Bytes of the write-ahead log.
    pub wal_bytes: u64,
    /// Data files of both tables.
    pub data_files: u64,
}

/// The store. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {}

#[expect(clippy::unimplemented, unused_variables, reason = "contract stage")]
impl Store {
    /// Opens or creates the data directory, takes its lock, repairs a torn tail, replays the log.
    ///
    /// # Errors
    /// `Locked` when another process has it, `Corrupt` or `Format` when it cannot be read safely.
    pub async fn open(
        settings: StoreSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Recovery), StorageError> {
        unimplemented!()
    }

    /// Stores a batch: on the disk and visible to new snapshots when it returns. Concurrent
    /// appends share one fsync.
    ///
    /// # Errors
    /// Nothing of the batch is stored then; all kinds but `Invalid` are worth another try.
    pub async fn append(&self, batch: TelemetryBatch) -> Result<(), StorageError> {
        unimplemented!()
    }

    /// A consistent view of memory and files. Cheap.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        unimplemented!()
    }

    /// Writes the memory table to the tables and drops the log behind it.
    ///
    /// # Errors
    /// Nothing is lost; the next flush tries again.
    pub async fn flush(&self) -> Result<(), StorageError> {
        unimplemented!()
    }

    /// Refuses new appends, finishes those under way, flushes, gives the directory free.
    ///
    /// # Errors
    /// When the last flush failed; the log still has everything.
    pub async fn close(&self) -> Result<(), StorageError> {
        unimplemented!()
    }

    /// How much the store holds.
    #[must_use]
    pub fn counts(&self) -> StoreCounts {
        unimplemented!()
    }

    /// Whether an append would be accepted now.
    ///
    /// # Errors
    /// The error an append would get.
    pub fn ready(&self) -> Result<(), StorageError> {
        unimplemented!()
    }
}
