//! Pins traces, so that retention keeps them, and unpins them.
//!
//! A pin is durable when the call returns. From then on no commit of retention removes rows of the
//! trace. Such a commit and a change of the pins exclude each other ([`PinLock`]). If retention
//! prepared a commit before the pin and it affects the trace, the commit is discarded. The pinned
//! traces in a file are looked up when the file is due, and cached.

use std::{
    collections::{BTreeSet, HashMap},
    ops::ControlFlow,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use tidings_columns::Projection;
use tidings_data_file::{Scan, TableView};
use tidings_disk::{SharedDisk, paths::Paths};
use tidings_files::{StorageError, blocking::blocking, table_file::DataFile};
use tidings_index::{LogFilter, SpanFilter};
use tidings_proto::{Signal, TraceId};
use tidings_snapshot::Snapshot;

use super::StoreInner;
use crate::{
    Pin,
    pins::{PIN_NOTE_CHARS_MAX, PINS_MAX, Pins},
};

const ALL: Scan = Scan { detail: Projection::Facts, rows_max: u64::MAX };

/// The pins of a store.
#[derive(Debug)]
pub(super) struct PinBoard {
    /// The pins, or `None` when they are unknown because the file is damaged.
    pins: Mutex<Option<Arc<Pins>>>,
    pub(super) turn: tokio::sync::Mutex<PinLock>,
    /// Damage of the pins file.
    pub(super) damage: Option<String>,
}

/// State of the lock that is held while pins change, and while retention commits.
#[derive(Debug, Default)]
pub(super) struct PinLock {
    /// True if a retention commit is in doubt. The rows that it removes must then not be taken for
    /// stored ones.
    pub(super) in_doubt: bool,
}

impl PinBoard {
    /// Reads the pins.
    pub(super) async fn open(disk: &SharedDisk, paths: &Paths) -> Result<Self, StorageError> {
        let (disk, path) = (Arc::clone(disk), paths.pins());
        let (pins, damage) = match blocking(move || Pins::read(disk.as_ref(), &path)).await {
            Ok(pins) => (Some(Arc::new(pins)), None),
            Err(error @ StorageError::Corrupt { .. }) => {
                (None, Some(format!("{error}; retention deletes nothing")))
            }
            Err(error) => return Err(error),
        };
        Ok(Self { pins: Mutex::new(pins), turn: tokio::sync::Mutex::default(), damage })
    }

    /// Returns the pins, or `None` when they are unknown.
    pub(super) fn pins(&self) -> Option<Arc<Pins>> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, pins: Pins) {
        *self.pins.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(pins));
    }
}

/// Pinned traces in each file that was searched for them.
#[derive(Debug, Default)]
pub(super) struct PinnedFiles {
    pins: Arc<Pins>,
    by_file: HashMap<PathBuf, Vec<TraceId>>,
}

impl PinnedFiles {
    /// Drops entries of removed files, or all entries when the pins have changed.
    pub(super) fn renew(&mut self, pins: &Arc<Pins>, files: &[(Signal, Vec<Arc<DataFile>>)]) {
        if *self.pins != **pins {
            // A changed note causes an unnecessary search, which is cheap.
            *self = Self { pins: Arc::clone(pins), by_file: HashMap::new() };
        }
        let count: usize = files.iter().map(|(_, files)| files.len()).sum();
        if self.by_file.len() > count {
            let there: BTreeSet<_> =
                files.iter().flat_map(|(_, files)| files.iter().map(|file| &file.path)).collect();
            self.by_file.retain(|path, _| there.contains(path));
        }
    }

    /// Returns the pinned traces in a file, or `None` when it was not searched yet.
    pub(super) fn pins_of(&self, file: &DataFile) -> Option<&[TraceId]> {
        if self.pins.len() == 0 {
            return Some(&[]);
        }
        self.by_file.get(&file.path).map(Vec::as_slice)
    }

    pub(super) fn note(&mut self, file: &DataFile, traces: Vec<TraceId>) {
        self.by_file.insert(file.path.clone(), traces);
    }
}

impl super::Store {
    /// Pins a trace: retention keeps all of its spans and log records, later ones included, until
    /// [`Self::unpin`]. Returns the pin, and true if it is new; pinning again changes the note.
    /// Durable when it returns.
    ///
    /// The errors are `UnknownTrace` when no rows of the trace are stored, `TooManyPins` and
    /// `LongNote` beyond the bounds, and `Corrupt` while the pins are unknown.
    pub async fn pin(&self, trace: TraceId, note: String) -> Result<(Pin, bool), StorageError> {
        let inner = Arc::clone(&self.owner.0);
        to_end(async move { inner.pin(trace, note).await }).await
    }

    /// Unpins a trace, durably. Returns true if it was pinned. Its age counts again from now on.
    ///
    /// # Errors
    /// `Corrupt` while the pins are unknown.
    pub async fn unpin(&self, trace: TraceId) -> Result<bool, StorageError> {
        let inner = Arc::clone(&self.owner.0);
        to_end(async move { inner.unpin(trace).await }).await
    }

    /// Returns the pinned traces, latest pin first, at most [`PINS_MAX`].
    ///
    /// # Errors
    /// `Corrupt` while the pins are unknown.
    pub fn pins(&self) -> Result<Vec<Pin>, StorageError> {
        Ok(self.owner.0.pinned()?.newest_first())
    }
}

impl StoreInner {
    /// Returns the pins, or `Corrupt` when they are unknown.
    pub(super) fn pinned(&self) -> Result<Arc<Pins>, StorageError> {
        self.pins.pins().ok_or_else(|| StorageError::Corrupt {
            path: self.paths.pins(),
            reason: "it does not say which traces are pinned".to_owned(),
        })
    }

    /// Pins a trace. Returns the pin, and true if it is new.
    pub(super) async fn pin(
        &self,
        trace: TraceId,
        note: String,
    ) -> Result<(Pin, bool), StorageError> {
        let chars = note.chars().count();
        if chars > PIN_NOTE_CHARS_MAX {
            return Err(StorageError::LongNote { chars, limit: PIN_NOTE_CHARS_MAX });
        }
        let mut turn = self.pins.turn.lock().await;
        self.check_open()?;
        let pins = self.pinned()?;
        if turn.in_doubt {
            for signal in [Signal::Spans, Signal::Logs] {
                self.resolve_in_doubt(signal).await?;
            }
            turn.in_doubt = false;
        }
        let known = pins.get(trace).map(|pin| pin.pinned);
        if known.is_none() {
            if pins.len() >= PINS_MAX {
                return Err(StorageError::TooManyPins { limit: PINS_MAX });
            }
            if !self.has_trace(trace).await? {
                return Err(StorageError::UnknownTrace { trace });
            }
        }
        let pinned = known.unwrap_or_else(|| self.shared.clock.now());
        let pin = Pin { trace_id: trace, pinned, note };
        self.change_pins(pins.with(pin.clone())).await?;
        Ok((pin, known.is_none()))
    }

    /// Unpins a trace. Returns true if it was pinned.
    pub(super) async fn unpin(&self, trace: TraceId) -> Result<bool, StorageError> {
        let _turn = self.pins.turn.lock().await;
        self.check_open()?;
        let pins = self.pinned()?;
        let was = pins.get(trace).is_some();
        if was {
            self.change_pins(pins.without(trace)).await?;
        }
        Ok(was)
    }

    /// Removes the pins of those traces that have no rows left, and returns these traces.
    pub(super) async fn unpin_erased(
        &self,
        traces: impl IntoIterator<Item = TraceId>,
    ) -> Result<Vec<TraceId>, StorageError> {
        let _turn = self.pins.turn.lock().await;
        let Some(mut pins) = self.pins.pins() else { return Ok(Vec::new()) };
        let mut gone = Vec::new();
        for trace in traces {
            // If the trace cannot be looked up, it may have rows.
            if pins.get(trace).is_some() && matches!(self.has_trace(trace).await, Ok(false)) {
                pins = Arc::new(pins.without(trace));
                gone.push(trace);
            }
        }
        if !gone.is_empty() {
            self.change_pins(Pins::clone(&pins)).await?;
        }
        Ok(gone)
    }

    /// Changes the pins. The caller must hold the lock.
    async fn change_pins(&self, pins: Pins) -> Result<(), StorageError> {
        let (disk, path): (SharedDisk, _) = (Arc::clone(&self.disk), self.paths.pins());
        let writing = pins.clone();
        blocking(move || writing.write(disk.as_ref(), &path)).await?;
        self.pins.set(pins);
        Ok(())
    }

    /// Returns true if a span or a log record of a trace is stored.
    pub(super) async fn has_trace(&self, trace: TraceId) -> Result<bool, StorageError> {
        let snapshot = self.shared.state.snapshot().indexed_by(Arc::clone(&self.shared.indexes));
        blocking(move || {
            let found = traces_in(&snapshot, &[trace], true)?;
            Ok(!found.is_empty())
        })
        .await
    }

    /// Returns which of these traces have rows in a file.
    pub(super) async fn traces_of(
        &self,
        signal: Signal,
        file: &Arc<DataFile>,
        traces: Vec<TraceId>,
    ) -> Result<Vec<TraceId>, StorageError> {
        let view = TableView { chunks: Vec::new(), files: vec![Arc::clone(file)] };
        let snapshot = match signal {
            Signal::Spans => Snapshot::new(view, TableView::default()),
            Signal::Logs => Snapshot::new(TableView::default(), view),
        };
        let snapshot = snapshot.indexed_by(Arc::clone(&self.shared.indexes));
        blocking(move || traces_in(&snapshot, &traces, false)).await
    }
}

/// Runs a change in a separate task, so that cancelling the caller cannot interrupt it.
async fn to_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, StorageError>> + Send + 'static,
) -> Result<T, StorageError> {
    match tokio::spawn(change).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(StorageError::Closed),
    }
}

/// Returns which of these traces have rows in a snapshot. With `one`, stops at the first.
fn traces_in(
    snapshot: &Snapshot,
    traces: &[TraceId],
    one: bool,
) -> Result<Vec<TraceId>, StorageError> {
    let mut found = BTreeSet::new();
    let wanted = if one { 1 } else { traces.len() };
    let spans = SpanFilter { trace_ids: Some(traces.to_vec()), ..SpanFilter::default() };
    snapshot.scan_spans(&spans, ALL, &mut |rows| {
        found.extend((0..rows.len()).map(|row| rows.trace_id(row)));
        if found.len() >= wanted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if found.len() < wanted {
        let logs = LogFilter { trace_ids: Some(traces.to_vec()), ..LogFilter::default() };
        snapshot.scan_logs(&logs, ALL, &mut |rows| {
            found.extend((0..rows.len()).filter_map(|row| rows.trace_id(row)));
            if found.len() >= wanted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
    }
    Ok(found.into_iter().collect())
}

#[cfg(test)]
mod tests;
