//! Scans of views in the server: a worker asks for rows, a blocking thread reads them.
//!
//! Owns the credits of a scan, by which a worker says how many batches it takes, and the budget of
//! the memory that a query's scans keep while reading. Each view owns what it reads; `conversation`
//! owns the way of batches to the worker.

mod budget;
mod credits;

use std::{fmt, ops::ControlFlow, sync::Arc};

use arrow_array::RecordBatch;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use tidings_storage::Snapshot;
use tokio::sync::mpsc::Sender;

use crate::{
    SqlError, frame, limits::BATCH_ROWS, meter::Meter, query_slots::QuerySlot, width::bytes_of,
};

pub(crate) use budget::Budget;
use budget::BudgetReservation;
pub(crate) use credits::Credits;
pub use credits::RowsSince;

/// Maximum bytes of a batch, unless it has a single row.
pub(crate) const BATCH_BYTES_MAX: usize = 4 << 20;

/// The snapshot that the scans of a query read. Only the server has it.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) snapshot: Snapshot,
    pub(crate) meter: Arc<Meter>,
    /// The query's slot, which stays taken as long as anything works for the query.
    pub(crate) slot: Arc<QuerySlot>,
}

/// A scan's rows in the store.
pub(crate) trait Source: fmt::Debug + Send + Sync {
    /// Describes the scan, for `EXPLAIN`.
    fn describe(&self) -> String;

    /// Reads the rows; blocks.
    fn read(&self, stored: &Stored, out: &mut RowOutput<'_>) -> Result<(), SqlError>;
}

/// The bytes of a frame for the worker, in the order in which they are written.
pub(crate) type FrameBytes = Vec<Vec<u8>>;

/// A scan's connection to the worker.
#[derive(Debug, Clone)]
pub(crate) struct ScanLink {
    pub(crate) scan: u32,
    pub(crate) credits: Arc<Credits>,
    pub(crate) frames: Sender<FrameBytes>,
    /// True when the worker may later need only rows since some time.
    pub(crate) narrows: bool,
}

/// Receives the rows of a scan.
pub(crate) struct RowOutput<'a> {
    link: &'a ScanLink,
    held: BudgetReservation,
    writer: BatchWriter,
    pub(crate) meter: &'a Meter,
}

impl<'a> RowOutput<'a> {
    pub(crate) fn new(link: &'a ScanLink, budget: &Arc<Budget>, meter: &'a Meter) -> Self {
        Self { link, held: BudgetReservation::new(budget), writer: BatchWriter::default(), meter }
    }

    /// Passes on rows; breaks when no more are needed. Waits until the worker has room for them.
    pub(crate) fn push_rows(&mut self, batch: &RecordBatch) -> Result<ControlFlow<()>, SqlError> {
        let mut waiting = vec![batch.clone()];
        while let Some(rows) = waiting.pop() {
            let count = rows.num_rows();
            if count > BATCH_ROWS || (count > 1 && bytes_of(&rows) > BATCH_BYTES_MAX) {
                let first = if count > BATCH_ROWS { BATCH_ROWS } else { count / 2 };
                waiting.extend([rows.slice(first, count - first), rows.slice(0, first)]);
            } else if self.send(&rows)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if self.narrows() {
            // The plan must see this batch before it asks for the next one.
            return Ok(self.link.credits.wait());
        }
        Ok(ControlFlow::Continue(()))
    }

    fn send(&mut self, rows: &RecordBatch) -> Result<ControlFlow<()>, SqlError> {
        self.meter.check()?;
        if self.link.credits.take().is_break() {
            return Ok(ControlFlow::Break(()));
        }
        let frame = self.writer.write(self.link.scan, rows)?;
        Ok(match self.link.frames.blocking_send(frame) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        })
    }

    /// Charges for memory that is kept while reading; `bytes` is the total now.
    pub(crate) fn keep(&mut self, bytes: usize) -> Result<(), SqlError> {
        self.held.resize(bytes)
    }

    /// Returns true when the plan may later need only rows since some time.
    pub(crate) fn narrows(&self) -> bool {
        self.link.narrows
    }

    /// Returns the rows that are needed now. Later calls never return more.
    pub(crate) fn since(&self) -> RowsSince {
        self.link.credits.since()
    }
}

/// Writes batches as Arrow's messages. No column of a view is dictionary-encoded.
struct BatchWriter {
    options: IpcWriteOptions,
    dictionaries: DictionaryTracker,
    context: IpcWriteContext,
}

impl Default for BatchWriter {
    fn default() -> Self {
        Self {
            options: IpcWriteOptions::default(),
            dictionaries: DictionaryTracker::new(false),
            context: IpcWriteContext::default(),
        }
    }
}

impl BatchWriter {
    fn write(&mut self, scan: u32, rows: &RecordBatch) -> Result<FrameBytes, SqlError> {
        let Self { options, dictionaries, context } = self;
        let (_, data) = IpcDataGenerator {}
            .encode(rows, dictionaries, options, context)
            .map_err(|error| SqlError::Defect { reason: error.to_string() })?;
        let head = frame::batch_head(scan, &data.ipc_message, &data.arrow_data)
            .map_err(|error| SqlError::Memory { reason: error.to_string() })?;
        Ok(vec![head, data.ipc_message, data.arrow_data])
    }
}
