//! The scans of a query, each on a blocking thread.
//!
//! Owns their number and their end: all scans end with the query. The columns that a worker
//! requests are checked against the view before anything is read.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{sync::mpsc, task::spawn_blocking};

use crate::{
    SqlError, SqlLimits, frame,
    limits::RELATIONS_MAX,
    message::{ScanRequest, ServerMessage},
    meter::CancelOnDrop,
    scan::{Budget, Credits, FrameBytes, RowOutput, RowsSince, ScanLink, Source, Stored},
};

/// Maximum scans of one query. A plan may read a view more often than the query names it.
const SCANS_MAX: usize = 4 * RELATIONS_MAX;

/// The scans of a query; they end when this is dropped.
pub(super) struct Scans {
    stored: Stored,
    frames: mpsc::Sender<FrameBytes>,
    budget: Arc<Budget>,
    begun: usize,
    credits: HashMap<u32, Arc<Credits>>,
    /// The first error of a scan.
    failure: Arc<Mutex<Option<SqlError>>>,
    _cancel: CancelOnDrop,
}

impl Scans {
    pub(super) fn new(stored: Stored, frames: mpsc::Sender<FrameBytes>) -> Self {
        let budget = Budget::new(stored.meter.limits.memory_bytes_max);
        let cancel = CancelOnDrop(Arc::clone(&stored.meter));
        let (credits, failure) = (HashMap::new(), Arc::default());
        Self { stored, frames, budget, begun: 0, credits, failure, _cancel: cancel }
    }

    pub(super) fn limits(&self) -> SqlLimits {
        self.stored.meter.limits
    }

    /// Begins a scan. The error is the reason why no valid query requests it.
    pub(super) fn open(&mut self, request: ScanRequest) -> Result<(), String> {
        self.begun += 1;
        if self.begun > SCANS_MAX {
            return Err(format!("more than {SCANS_MAX} scans"));
        }
        if request.schema().is_none() {
            return Err(format!("columns that a view has not: {:?}", request.columns));
        }
        let ScanRequest { scan, relation, columns, conditions, narrows } = request;
        let credits = Arc::new(Credits::new(narrows));
        if self.credits.insert(scan, Arc::clone(&credits)).is_some() {
            return Err(format!("scan {scan} twice"));
        }
        let source = relation.source(columns, &conditions);
        let link = ScanLink { scan, credits, frames: self.frames.clone(), narrows };
        let (stored, budget) = (self.stored.clone(), Arc::clone(&self.budget));
        let failure = Arc::clone(&self.failure);
        tokio::spawn(async move {
            let frames = link.frames.clone();
            let read = spawn_blocking(move || read(source.as_ref(), &stored, &budget, &link));
            let ended = read.await.unwrap_or_else(|lost| {
                tracing::error!(error = %lost, "a scan for a query in SQL panicked");
                Err(SqlError::Defect { reason: "a view could not be read".to_owned() })
            });
            let failed = ended.is_err();
            if let Err(error) = ended {
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
            if let Ok(frame) = frame::message(&ServerMessage::ScanEnd { scan, failed }) {
                // Sending fails when the worker has ended.
                drop(frames.send(vec![frame]).await);
            }
        });
        Ok(())
    }

    /// Requests another batch. The error is the reason why no valid query requests it.
    pub(super) fn credit(&mut self, scan: u32, since: RowsSince) -> Result<(), String> {
        match self.credits.get(&scan) {
            Some(credits) if credits.add(since).is_break() => {
                Err(format!("scan {scan} gives more than there is room for"))
            }
            Some(_) => Ok(()),
            None => Err(format!("scan {scan} was not begun")),
        }
    }

    /// Stops the scan: no more of its rows are needed.
    pub(super) fn stop(&mut self, scan: u32) {
        if let Some(credits) = self.credits.get(&scan) {
            credits.stop();
        }
    }

    /// Returns the first error of a scan.
    pub(super) fn failure(&mut self) -> Option<SqlError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Scans {
    fn drop(&mut self) {
        self.credits.values().for_each(|credits| credits.stop());
    }
}

fn read(
    source: &dyn Source,
    stored: &Stored,
    budget: &Arc<Budget>,
    link: &ScanLink,
) -> Result<(), SqlError> {
    source.read(stored, &mut RowOutput::new(link, budget, &stored.meter))
}
