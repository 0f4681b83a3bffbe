//! Writing of the audit log.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tidings_proto::{UnixNanos, api::AuditEvent};
use tidings_storage::{Clock, LineFile, StorageError};
use tokio::task::spawn_blocking;

use crate::{
    day::Day,
    folded::{FoldedEvents, without_author},
};

/// Time between two rounds that write folded events and reads.
const ROUND: Duration = Duration::from_secs(1);
/// Reads that wait for a round; those beyond are folded.
const READS_MAX: usize = 10_000;
/// Size of a day's file from which denied requests stand in one line a round.
const DAY_BYTES_MAX: u64 = 64 << 20;
/// The longest text of an event.
const TEXT_CHARS_MAX: usize = 500;

/// The settings of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSettings {
    /// Folder of its files.
    pub folder: PathBuf,
    /// Age at which a day's file is deleted; `None`: never.
    pub age: Option<Duration>,
    /// Set when reads are recorded, too.
    pub has_reads: bool,
}

/// A fault of the audit log.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The disk failed or is full.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// An event cannot be written as JSON.
    #[error("an event of the audit log cannot be written: {0}")]
    Encoding(#[from] serde_json::Error),
}

/// Counts since the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AuditCounts {
    /// Lines that were written.
    pub written: u64,
    /// Lines that could not be written.
    pub failed: u64,
}

/// The audit log of a server.
#[derive(Debug)]
pub struct AuditLog {
    settings: AuditSettings,
    clock: Arc<dyn Clock>,
    file: Mutex<Option<DayFile>>,
    waiting: Mutex<WaitingEvents>,
    written: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug)]
struct DayFile {
    day: Day,
    file: LineFile,
    bytes: u64,
}

#[derive(Debug, Default)]
struct WaitingEvents {
    folded: FoldedEvents,
    reads: VecDeque<AuditEvent>,
}

impl AuditLog {
    /// Opens the file of today and deletes those that are too old. Blocks.
    ///
    /// # Errors
    /// `Storage` when the folder cannot be written to.
    pub fn open(settings: AuditSettings, clock: Arc<dyn Clock>) -> Result<Self, AuditError> {
        let log = Self {
            settings,
            clock,
            file: Mutex::default(),
            waiting: Mutex::default(),
            written: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        };
        drop(log.day_file(log.clock.now())?);
        Ok(log)
    }

    /// Records an event; durable when this returns. A fault is logged and counted.
    pub async fn record(self: &Arc<Self>, event: AuditEvent) {
        let log = Arc::clone(self);
        let written = spawn_blocking(move || log.write(vec![cut(event)])).await;
        if let Err(ended) = written {
            self.report(1, &ended.to_string());
        }
    }

    /// Counts an event that anybody can cause, such as a denied request: equal ones become one line
    /// a minute. It is written within about a second, so a crash may lose it.
    pub fn count(&self, event: AuditEvent) {
        self.waiting().folded.add(cut(event));
    }

    /// Adds a read, where reads are recorded. It is written within about a second.
    pub fn read(&self, event: AuditEvent) {
        if !self.has_reads() {
            return;
        }
        let mut waiting = self.waiting();
        match waiting.reads.len() < READS_MAX {
            true => waiting.reads.push_back(cut(event)),
            false => waiting.folded.add(cut(event)),
        }
    }

    /// Writes what was counted, each second, for ever.
    pub async fn follow(self: Arc<Self>) {
        loop {
            self.clock.sleep(ROUND).await;
            let log = Arc::clone(&self);
            let _ = spawn_blocking(move || log.write_waiting(false)).await;
        }
    }

    /// Writes all that waits. Blocks.
    pub fn close(&self) {
        self.write_waiting(true);
    }

    /// Returns whether reads are recorded.
    #[must_use]
    pub fn has_reads(&self) -> bool {
        self.settings.has_reads
    }

    /// Returns the folder of its files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.settings.folder
    }

    /// Returns the counts of lines.
    #[must_use]
    pub fn counts(&self) -> AuditCounts {
        AuditCounts { written: self.written.load(Relaxed), failed: self.failed.load(Relaxed) }
    }

    fn write_waiting(&self, is_end: bool) {
        let now = self.clock.now();
        let mut events: Vec<AuditEvent> = {
            let mut waiting = self.waiting();
            let mut folded = waiting.folded.take_due(now, is_end);
            if self.is_day_full() {
                folded = one_of(folded);
            }
            waiting.reads.drain(..).chain(folded).collect()
        };
        events.sort_by_key(|event| event.time_unix_nano);
        if !events.is_empty() {
            self.write(events);
        }
    }

    /// Writes events and makes them durable; a fault is logged and counted.
    fn write(&self, events: Vec<AuditEvent>) {
        let count = events.len() as u64;
        match self.try_write(events) {
            Ok(()) => {
                self.written.fetch_add(count, Relaxed);
            }
            Err(error) => self.report(count, &error.to_string()),
        }
    }

    fn try_write(&self, events: Vec<AuditEvent>) -> Result<(), AuditError> {
        let mut open = self.day_file(self.clock.now())?;
        let Some(day) = open.as_mut() else { return Ok(()) };
        let mut lines = String::new();
        for event in events {
            if !lines.is_empty() {
                lines.push('\n');
            }
            lines.push_str(&serde_json::to_string(&event)?);
        }
        let written = day.file.append(&lines).and_then(|bytes| {
            day.bytes += bytes;
            day.file.sync()
        });
        if written.is_err() {
            // Nothing is known of the file after a failed write or sync: the next event opens it.
            *open = None;
        }
        Ok(written?)
    }

    fn report(&self, count: u64, error: &str) {
        self.failed.fetch_add(count, Relaxed);
        tracing::error!(error, events = count, "the audit log cannot be written");
    }

    fn is_day_full(&self) -> bool {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.as_ref().is_some_and(|day| day.bytes > DAY_BYTES_MAX)
    }

    fn waiting(&self) -> MutexGuard<'_, WaitingEvents> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the file of the day, opened where it is not yet.
    fn day_file(&self, now: UnixNanos) -> Result<MutexGuard<'_, Option<DayFile>>, AuditError> {
        let day = Day::from(now);
        let mut open = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_none_or(|open| open.day != day) {
            let file = LineFile::open(&day.path(&self.settings.folder))?;
            let bytes = file.size()?;
            *open = Some(DayFile { day, file, bytes });
            if let Some(age) = self.settings.age
                && let Err(error) = delete_older(&self.settings.folder, age, now)
            {
                tracing::error!(%error, "old files of the audit log cannot be deleted");
            }
        }
        Ok(open)
    }
}

/// Appends an event to the audit log in a folder, from a command. Blocks.
///
/// # Errors
/// When it cannot be written.
pub fn append_once(folder: &Path, event: AuditEvent) -> Result<(), AuditError> {
    let mut file = LineFile::open(&Day::from(event.time_unix_nano).path(folder))?;
    file.append(&serde_json::to_string(&cut(event))?)?;
    Ok(file.sync()?)
}

/// Deletes the files of days that ended before this age.
fn delete_older(folder: &Path, age: Duration, now: UnixNanos) -> Result<(), StorageError> {
    let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
    let Some(end) = now.0.checked_sub(age) else { return Ok(()) };
    let first_kept = Day::from(UnixNanos(end));
    for day in Day::list(folder)?.into_iter().filter(|day| *day < first_kept) {
        LineFile::remove(&day.path(folder))?;
    }
    Ok(())
}

/// Folds events into one, of no author and address.
fn one_of(events: Vec<AuditEvent>) -> Vec<AuditEvent> {
    let count = events.iter().map(|event| event.count).sum();
    let detail = format!("the file of the day has more than {DAY_BYTES_MAX} bytes");
    let last = events.into_iter().last();
    let one = last.map(|last| AuditEvent { count, ..without_author(last, detail) });
    one.into_iter().collect()
}

/// Cuts texts that a client chose the length of.
fn cut(mut event: AuditEvent) -> AuditEvent {
    let AuditEvent { actor, source_address, object, detail, .. } = &mut event;
    let texts = [&mut actor.id, &mut actor.name, source_address, object, detail];
    for text in texts.into_iter().flatten() {
        if let Some((end, _)) = text.char_indices().nth(TEXT_CHARS_MAX) {
            text.truncate(end);
            text.push('…');
        }
    }
    event
}

#[cfg(test)]
mod tests;
