//! A worker's connection to the server.
//!
//! Owns the scans that the plan has begun and not ended. Any thread writes, and one reads. The
//! reading thread never waits for the plan, because the server sends no more than was requested.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Write},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::{reader::read_record_batch, root_as_message};
use arrow_schema::SchemaRef;
use datafusion::error::Result as EngineResult;
use tidings_sql::{SqlError, frame, message::WorkerMessage};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::error::external;

/// Batches of a scan that may be on their way or wait for the plan.
const SCAN_BATCHES_MAX: usize = 4;

/// The connection.
#[derive(Debug)]
pub(crate) struct ServerLink {
    output: Mutex<File>,
    scans: Mutex<HashMap<u32, OpenScan>>,
    scan_next: AtomicU32,
}

/// A scan that has not ended.
#[derive(Debug)]
struct OpenScan {
    schema: SchemaRef,
    batches: Sender<EngineResult<RecordBatch>>,
}

fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

fn unreachable(error: &io::Error) -> SqlError {
    SqlError::Defect { reason: format!("the server is out of reach: {error}") }
}

impl ServerLink {
    pub(crate) fn new(output: File) -> Self {
        let (output, scans) = (Mutex::new(output), Mutex::default());
        Self { output, scans, scan_next: AtomicU32::new(0) }
    }

    fn scans(&self) -> MutexGuard<'_, HashMap<u32, OpenScan>> {
        self.scans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, parts: [&[u8]; 2]) -> io::Result<()> {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        parts.into_iter().try_for_each(|part| output.write_all(part))
    }

    /// Sends a message.
    pub(crate) fn send(&self, message: &WorkerMessage) -> Result<(), SqlError> {
        let frame = frame::message(message);
        frame.and_then(|frame| self.write([&frame, &[]])).map_err(|error| unreachable(&error))
    }

    /// Sends a part of the answer.
    pub(crate) fn send_parts(&self, bytes: &[u8]) -> Result<(), SqlError> {
        let sent = bytes.chunks(frame::MESSAGE_BYTES_MAX).try_for_each(|part| {
            let head = frame::part_head(part)?;
            self.write([&head, part])
        });
        sent.map_err(|error| unreachable(&error))
    }

    /// Registers a new scan, whose batches have these columns.
    pub(crate) fn register(&self, schema: SchemaRef) -> (u32, Receiver<EngineResult<RecordBatch>>) {
        let scan = self.scan_next.fetch_add(1, Ordering::Relaxed);
        let (batches, receiver) = channel(SCAN_BATCHES_MAX);
        self.scans().insert(scan, OpenScan { schema, batches });
        (scan, receiver)
    }

    /// Ends a scan from the plan's side: its rows are no longer needed.
    pub(crate) fn end_scan(&self, scan: u32) {
        if self.scans().remove(&scan).is_some() {
            // Sending fails only when the server has gone, which ends the process.
            drop(self.send(&WorkerMessage::Stop { scan }));
        }
    }

    /// Passes a batch to the plan.
    pub(crate) fn deliver(&self, scan: u32, header: &[u8], body: Vec<u8>) -> io::Result<()> {
        let scans = self.scans();
        let Some(open) = scans.get(&scan) else { return Ok(()) };
        let (schema, batches) = (SchemaRef::clone(&open.schema), open.batches.clone());
        drop(scans);
        let message = root_as_message(header).map_err(|error| invalid(error.to_string()))?;
        let batch = message.header_as_record_batch().ok_or_else(|| invalid("no rows"))?;
        let (body, none) = (Buffer::from_vec(body), HashMap::new());
        let rows = read_record_batch(&body, batch, schema, &none, None, &message.version())
            .map_err(|error| invalid(error.to_string()))?;
        match batches.try_send(Ok(rows)) {
            Err(tokio::sync::mpsc::error::TrySendError::Full(_)) => {
                Err(invalid("more rows than were asked for"))
            }
            _ => Ok(()),
        }
    }

    /// Ends a scan that has sent all its rows, or has failed.
    pub(crate) fn end(&self, scan: u32, failed: bool) -> io::Result<()> {
        let Some(open) = self.scans().remove(&scan) else { return Ok(()) };
        if failed && open.batches.try_send(Err(external(SqlError::Scan))).is_err() {
            return Err(invalid("more rows than were asked for"));
        }
        Ok(())
    }
}
