//! Writing of the audit log.

use std::{
    collections::{HashMap, VecDeque},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tidings_proto::{
    UnixNanos,
    api::{AuditActor, AuditEvent},
};
use tidings_storage::{Clock, ClockGuard, LineFile, StorageError};
use tokio::task::spawn_blocking;

use crate::{
    day::Day,
    folded::{FoldedEvents, without_object},
};

/// Interval between two rounds, which write folded events and reads.
const ROUND: Duration = Duration::from_secs(1);
/// Maximum number of reads that wait for a round; further ones are folded.
const READS_MAX: usize = 10_000;
/// Bytes that one author, or all callers without a key together, may add to the file of a day. From
/// then on its denied requests and reads are folded into one line a round.
const AUTHOR_BYTES_MAX: u64 = 32 << 20;
/// Maximum number of authors whose bytes are counted separately; further ones are counted together.
const AUTHORS_MAX: usize = 1_024;
/// Maximum characters of a text in an event.
const TEXT_CHARS_MAX: usize = 500;
/// Characters that are kept at the end of a text that is cut.
const END_CHARS: usize = 150;

/// The settings of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSettings {
    /// The folder of the files.
    pub folder: PathBuf,
    /// Age at which the file of a day is deleted; `None` keeps it.
    pub age: Option<Duration>,
    /// True if reads are recorded, too.
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
    /// Keeps files from being deleted by age while the clock is not trusted.
    clock_guard: Mutex<ClockGuard>,
    waiting: Mutex<WaitingEvents>,
    written: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug)]
struct DayFile {
    day: Day,
    file: LineFile,
    /// Bytes that each author has written since the file was opened.
    author_bytes: HashMap<AuditActor, u64>,
}

impl DayFile {
    fn add_bytes(&mut self, author: AuditActor, bytes: usize) {
        let is_counted = self.author_bytes.contains_key(&author);
        let is_own = is_counted || self.author_bytes.len() < AUTHORS_MAX;
        let author = if is_own { author } else { AuditActor::SERVER };
        *self.author_bytes.entry(author).or_default() += bytes as u64;
    }

    /// Returns whether this author has used up its bytes of the file.
    fn is_full_for(&self, author: &AuditActor) -> bool {
        let bytes = self.author_bytes.get(author).or_else(|| {
            let others = self.author_bytes.get(&AuditActor::SERVER);
            others.filter(|_| self.author_bytes.len() >= AUTHORS_MAX)
        });
        bytes.is_some_and(|bytes| *bytes > AUTHOR_BYTES_MAX)
    }
}

#[derive(Debug, Default)]
struct WaitingEvents {
    folded: FoldedEvents,
    reads: VecDeque<AuditEvent>,
}

impl AuditLog {
    /// Opens the file of today and deletes files that are too old. Blocks.
    ///
    /// # Errors
    /// `Storage` when the folder cannot be written.
    pub fn open(settings: AuditSettings, clock: Arc<dyn Clock>) -> Result<Self, AuditError> {
        // The file of today is left out, because a wrong clock may have begun it.
        let today = Day::from(clock.now());
        let newest = Day::list(&settings.folder)?.into_iter().find(|day| *day < today);
        let newest = newest.map(Day::start);
        let instant = ClockGuard::passing(clock.as_ref());
        let clock_guard = Mutex::new(ClockGuard::new(newest, clock.now(), instant));
        let log = Self {
            settings,
            clock,
            clock_guard,
            file: Mutex::default(),
            waiting: Mutex::default(),
            written: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        };
        match log.day_file(log.clock.now()) {
            Err(AuditError::Storage(StorageError::Io { source, path, .. }))
                if source.kind() == io::ErrorKind::ReadOnlyFilesystem =>
            {
                // A file system that becomes read-only later is treated alike. There is nothing to
                // record but reads.
                log.report(0, &format!("{}: {source}", path.display()));
            }
            opened => drop(opened?),
        }
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

    /// Counts an event that anybody can cause, such as a denied request. Equal events become one
    /// line a minute. The first is written within about a second, so a crash may lose it.
    pub fn count(&self, event: AuditEvent) {
        self.waiting().folded.add(cut(event));
    }

    /// Records a read, if reads are recorded. It is written within about a second.
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

    /// Writes the events that are due, every second, without end.
    pub async fn follow(self: Arc<Self>) {
        loop {
            self.clock.sleep(ROUND).await;
            let log = Arc::clone(&self);
            let _ = spawn_blocking(move || log.write_waiting(false)).await;
        }
    }

    /// Writes all events that are waiting. Blocks.
    pub fn close(&self) {
        self.write_waiting(true);
    }

    /// Returns whether reads are recorded.
    #[must_use]
    pub fn has_reads(&self) -> bool {
        self.settings.has_reads
    }

    /// Returns the folder of the files.
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
        // The clock is checked in each round, so that no jump is missed.
        let _ = self.believes_clock(now);
        let mut events: Vec<AuditEvent> = {
            let mut waiting = self.waiting();
            let folded = waiting.folded.take_due(now, is_end);
            let reads: Vec<AuditEvent> = waiting.reads.drain(..).collect();
            drop(waiting);
            self.without_floods(reads).into_iter().chain(self.without_floods(folded)).collect()
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
            let line = serde_json::to_string(&event)?;
            if !lines.is_empty() {
                lines.push('\n');
            }
            lines.push_str(&line);
            day.add_bytes(event.actor, line.len());
        }
        let written = day.file.append(&lines).and_then(|_| day.file.sync());
        if written.is_err() {
            // The state of the file is unknown after a failed write or sync, so the next event
            // opens it again.
            *open = None;
        }
        Ok(written?)
    }

    fn report(&self, count: u64, error: &str) {
        self.failed.fetch_add(count, Relaxed);
        tracing::error!(error, events = count, "the audit log cannot be written");
    }

    /// Folds the events of each author that has used up its bytes of the day's file into one.
    fn without_floods(&self, events: Vec<AuditEvent>) -> Vec<AuditEvent> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(day) = file.as_ref() else { return events };
        let mut kept = Vec::new();
        let mut floods: HashMap<AuditActor, AuditEvent> = HashMap::new();
        for event in events {
            if !day.is_full_for(&event.actor) {
                kept.push(event);
                continue;
            }
            let detail = format!("more than {AUTHOR_BYTES_MAX} bytes of the day's file");
            let before = floods.get(&event.actor).map_or(0, |before| before.count);
            let one = AuditEvent { count: before + event.count, ..without_object(event, detail) };
            floods.insert(one.actor.clone(), one);
        }
        kept.extend(floods.into_values());
        kept
    }

    fn believes_clock(&self, now: UnixNanos) -> bool {
        let mut guard = self.clock_guard.lock().unwrap_or_else(PoisonError::into_inner);
        guard.is_trusted(now, ClockGuard::passing(self.clock.as_ref()))
    }

    fn waiting(&self) -> MutexGuard<'_, WaitingEvents> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the file of the day, and opens it if it is not open.
    fn day_file(&self, now: UnixNanos) -> Result<MutexGuard<'_, Option<DayFile>>, AuditError> {
        let day = Day::from(now);
        let mut open = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_none_or(|open| open.day != day) {
            let file = LineFile::open(&day.path(&self.settings.folder))?;
            *open = Some(DayFile { day, file, author_bytes: HashMap::new() });
            if let Some(age) = self.settings.age
                && self.believes_clock(now)
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

/// Cuts texts whose length a client chooses: their middle is replaced by the number of its
/// characters. Runs of whitespace become one space, so that padding takes no room.
fn cut(mut event: AuditEvent) -> AuditEvent {
    let AuditEvent { actor, source_address, object, detail, .. } = &mut event;
    let texts = [&mut actor.id, &mut actor.name, source_address, object, detail];
    for text in texts.into_iter().flatten() {
        let has_run = |pair: (char, char)| pair.0.is_whitespace() && pair.1.is_whitespace();
        if text.chars().zip(text.chars().skip(1)).any(has_run) {
            *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        let chars = text.chars().count();
        if chars > TEXT_CHARS_MAX {
            let begin: String = text.chars().take(TEXT_CHARS_MAX - END_CHARS).collect();
            let end: String = text.chars().skip(chars - END_CHARS).collect();
            *text = format!("{begin}…{} characters cut…{end}", chars - TEXT_CHARS_MAX);
        }
    }
    event
}

#[cfg(test)]
mod tests;
