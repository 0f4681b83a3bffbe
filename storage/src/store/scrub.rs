//! Scrubbing: verifies all files on the disk periodically and slowly, to report damage while
//! another copy may exist.
//!
//! Verifies one file at a time, in the order of paths: closed segments of the log, data files and
//! their indexes, and at the end of a round the tables' commits. Pauses after every piece, so that
//! it reads at most `scrub_bytes_per_second`. Waits while a flush is due. The file `scrub` holds
//! the position, so that a restart continues the round. A damaged index is rebuilt, and nothing
//! else is repaired. Damage that a scrub or a query finds is an alarm until a later round finds the
//! file repaired, or until the file is removed.

use std::{
    collections::BTreeSet,
    io,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use serde_json::{Value, json};
use tidings_data_file::comparison::{FileComparison, Start, VerifyStep};
use tidings_disk::{Finding, read_all, write_durably};
use tidings_files::{
    StorageError, TablesAt, blocking::blocking, error::failed, table_file::DataFile,
};
use tidings_index::IndexState;
use tidings_proto::{Signal, UnixNanos};
use tidings_wal::{Sealed, SegmentCheck};
use tokio::{select, sync::watch};

use super::StoreInner;
use crate::tables;

/// Delay after the store was opened, when other work is more urgent.
const FIRST: Duration = Duration::from_secs(60);
/// Pause between the end of a round and the next one.
const REST: Duration = Duration::from_secs(24 * 3600);
/// Interval between checks for a due round.
const LOOK: Duration = Duration::from_secs(600);
/// Interval between writes of the position.
const NOTE: Duration = Duration::from_secs(60);
/// Delay before checking again whether a flush has finished.
const YIELD: Duration = Duration::from_millis(200);
/// Bytes of a segment that are read at once.
const SEGMENT_STEP: u64 = 1 << 20;

/// Position of scrubbing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct ScrubPosition {
    /// The file that was read last, relative to the data directory. Empty at the start of a round.
    after: String,
    /// When the last round ended.
    ended: UnixNanos,
}

/// A file to verify.
#[derive(Debug, Clone)]
enum ScrubItem {
    Segment(Sealed),
    Data(Signal, Arc<DataFile>),
}

impl ScrubItem {
    fn path(&self) -> &Path {
        match self {
            Self::Segment(segment) => &segment.path,
            Self::Data(_, file) => &file.path,
        }
    }
}

/// A file that is being verified.
enum Verification {
    Segment(SegmentCheck),
    Data(FileComparison, Arc<DataFile>),
    Whole(Arc<DataFile>),
    Done,
}

pub(super) async fn scrubber(inner: Arc<StoreInner>, mut stop: watch::Receiver<bool>) {
    if inner.shared.settings.scrub_bytes_per_second == 0 {
        return;
    }
    let mut wait = FIRST;
    loop {
        select! {
            _ = stop.wait_for(|stopped| *stopped) => return,
            () = inner.shared.clock.sleep(wait) => {}
        }
        wait = LOOK;
        select! {
            _ = stop.wait_for(|stopped| *stopped) => return,
            done = inner.scrub_if_due() => if let Err(error) = done {
                tracing::warn!(%error, next_try_in = ?wait, "files could not be verified");
            }
        }
    }
}

impl StoreInner {
    async fn scrub_if_due(&self) -> Result<(), StorageError> {
        let place = self.read_place().await?;
        let rested = self.shared.clock.now().0.saturating_sub(place.ended.0);
        let is_due = u128::from(rested) >= REST.as_nanos() || place.ended > self.shared.clock.now();
        if !place.after.is_empty() || is_due {
            self.scrub(place).await?;
        }
        Ok(())
    }

    /// Continues from a position to the end of the round.
    async fn scrub(&self, mut place: ScrubPosition) -> Result<(), StorageError> {
        let mut noted = self.shared.clock.instant();
        for name in self.names_after(&place.after) {
            if let Some(item) = self.item(&name) {
                let found = self.read_item(&item).await?;
                self.metrics.verified_files.fetch_add(1, Ordering::Relaxed);
                match found {
                    // Maintenance may have removed the file meanwhile.
                    Some(finding) if self.item(&name).is_some() => {
                        self.tables_at.damaged_files().note(&finding);
                    }
                    _ => self.tables_at.damaged_files().note_repair(item.path()),
                }
            }
            place.after = name;
            let now = self.shared.clock.instant();
            if now.saturating_duration_since(noted) >= NOTE {
                noted = now;
                self.write_place(&place).await?;
            }
        }
        self.scrub_commits().await?;
        let used = self.names_after("");
        self.tables_at.damaged_files().invalidate(|path| {
            !is_commit(path) && self.name(path).is_none_or(|name| !used.contains(&name))
        });
        let ended = self.shared.clock.now();
        self.write_place(&ScrubPosition { after: String::new(), ended }).await
    }

    /// Returns the names, relative to the data directory, of all files to verify after a position.
    fn names_after(&self, after: &str) -> BTreeSet<String> {
        let segments = self.wal.segments().sealed().into_iter().map(|segment| segment.path);
        let data = self.local_signals().flat_map(|signal| self.shared.state.files(signal));
        let paths = segments.chain(data.map(|file| file.path.clone()));
        let names = paths.filter_map(|path| self.name(&path));
        names.filter(|name| name.as_str() > after).collect()
    }

    /// Returns the tables in the data directory. Tables elsewhere would have to be downloaded, and
    /// their object store verifies them.
    fn local_signals(&self) -> impl Iterator<Item = Signal> {
        let are_here = self.shared.settings.tables == TablesAt::DataDirectory;
        [Signal::Spans, Signal::Logs].into_iter().filter(move |_| are_here)
    }

    /// Returns the file of this name, if it is still in use.
    fn item(&self, name: &str) -> Option<ScrubItem> {
        let is_it = |path: &Path| self.name(path).is_some_and(|other| other == name);
        let segment = self.wal.segments().sealed().into_iter().find(|one| is_it(&one.path));
        segment.map(ScrubItem::Segment).or_else(|| {
            [Signal::Spans, Signal::Logs].into_iter().find_map(|signal| {
                let files = self.shared.state.files(signal);
                let file = files.iter().find(|file| is_it(&file.path))?;
                // A copy is used, because a reference would delay the deletion of the file for as
                // long as scrubbing takes.
                Some(ScrubItem::Data(signal, Arc::new(DataFile::clone(file))))
            })
        })
    }

    fn name(&self, path: &Path) -> Option<String> {
        let name = path.strip_prefix(self.paths.root()).ok()?;
        Some(name.to_string_lossy().into_owned())
    }

    /// Verifies a file from end to end. Returns the damage, if any.
    async fn read_item(&self, item: &ScrubItem) -> Result<Option<Finding>, StorageError> {
        let (disk, starting) = (Arc::clone(&self.disk), item.clone());
        let indexes = Arc::clone(&self.shared.indexes);
        let start = move || {
            Ok(match starting {
                ScrubItem::Segment(segment) => SegmentCheck::open(disk.as_ref(), &segment)
                    .map(|open| open.map_or(Verification::Done, Verification::Segment)),
                ScrubItem::Data(signal, file) => match FileComparison::open(&file) {
                    Start::FileComparison(pieces) => Ok(Verification::Data(pieces, file)),
                    Start::NoSums(index) => {
                        if index == IndexState::Damaged {
                            tracing::error!(data_file = %file.path.display(),
                                "the index of a data file is damaged");
                        }
                        indexes.renew(signal, &file);
                        Ok(Verification::Whole(file))
                    }
                    Start::Wrong(finding) => Err(finding),
                },
            })
        };
        let mut reading = match blocking(start).await? {
            Ok(reading) => reading,
            Err(finding) => return Ok(Some(finding)),
        };
        loop {
            while self.is_flush_pending() {
                self.shared.clock.sleep(YIELD).await;
            }
            let (back, step) = blocking(move || Ok(step(reading))).await?;
            reading = back;
            match step {
                VerifyStep::Sound(bytes) => self.shared.clock.sleep(self.pause(bytes)).await,
                VerifyStep::End => return Ok(None),
                VerifyStep::Wrong(finding) => return Ok(Some(finding)),
            }
        }
    }

    /// Returns the time that reading this many bytes may take at the configured rate.
    fn pause(&self, bytes: u64) -> Duration {
        let rate = self.shared.settings.scrub_bytes_per_second.max(1);
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Verifies the tables' commits.
    async fn scrub_commits(&self) -> Result<(), StorageError> {
        for signal in self.local_signals() {
            if self.shared.damaged.contains(signal) {
                continue; // Known since the store was opened.
            }
            let (of_it, folder) =
                (Arc::clone(&self.tables_at), self.tables_at.folder(signal.table()));
            // While this lock is held, no commit is being written.
            let tables = self.tables.lock().await;
            let damage = blocking(move || tables::damage(of_it.as_ref(), signal)).await?;
            drop(tables);
            let still = damage.as_ref().map(|damage| damage.path.as_path());
            self.tables_at.damaged_files().invalidate(|path| {
                path.starts_with(&folder) && is_commit(path) && Some(path) != still
            });
            if let Some(damage) = &damage {
                self.tables_at.damaged_files().note(&Finding::new(&damage.path, damage.reason));
            }
        }
        Ok(())
    }

    async fn read_place(&self) -> Result<ScrubPosition, StorageError> {
        let (disk, path) = (Arc::clone(&self.disk), self.paths.scrub());
        blocking(move || match read_all(disk.as_ref(), &path) {
            // A damaged position is harmless, because a new round begins then.
            Ok(bytes) => Ok(ScrubPosition::decode(&bytes).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(ScrubPosition::default()),
            Err(error) => Err(failed("read", &path)(error)),
        })
        .await
    }

    async fn write_place(&self, place: &ScrubPosition) -> Result<(), StorageError> {
        let (disk, path, bytes) = (Arc::clone(&self.disk), self.paths.scrub(), place.encode());
        blocking(move || {
            let unfinished = path.with_extension("new");
            let written = (|| {
                match disk.remove(&unfinished) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                write_durably(disk.as_ref(), &unfinished, &[bytes.as_bytes()])?;
                disk.rename(&unfinished, &path)
            })();
            written.map_err(failed("write", &path))
        })
        .await
    }
}

fn is_commit(path: &Path) -> bool {
    path.parent().is_some_and(|folder| folder.ends_with("_delta_log"))
}

/// Verifies the next piece.
fn step(reading: Verification) -> (Verification, VerifyStep) {
    match reading {
        Verification::Segment(mut segment) => match segment.step(SEGMENT_STEP) {
            Ok(0) => (Verification::Done, VerifyStep::End),
            Ok(bytes) => (Verification::Segment(segment), VerifyStep::Sound(bytes)),
            Err(finding) => (Verification::Done, VerifyStep::Wrong(finding)),
        },
        Verification::Data(mut pieces, file) => {
            let step = pieces.step(&file);
            (Verification::Data(pieces, file), step)
        }
        Verification::Whole(file) => match tables::decoded(&file) {
            None => (Verification::Done, VerifyStep::Sound(file.bytes)),
            Some(what) => (Verification::Done, VerifyStep::Wrong(Finding::new(&file.path, what))),
        },
        Verification::Done => (Verification::Done, VerifyStep::End),
    }
}

impl ScrubPosition {
    fn encode(&self) -> String {
        json!({ "after": self.after, "ended_unix_nanos": self.ended.0 }).to_string()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let said: Value = serde_json::from_slice(bytes).ok()?;
        let after = said.get("after")?.as_str()?.to_owned();
        Some(Self { after, ended: UnixNanos(said.get("ended_unix_nanos")?.as_u64()?) })
    }
}

#[cfg(test)]
mod tests;
