//! Drives maintenance beside appends and flushes.
//!
//! Work runs in steps, one piece at a time. Between two steps it waits while a flush is due, and
//! stops when the store stops. A rewrite holds no lock, and its commit takes the tables' lock as a
//! flush does. Old and new files are swapped at one moment, so that every snapshot sees each row
//! once. Earlier snapshots continue with the old files, which are deleted after a while, when no
//! snapshot reads them any more.

use std::{
    collections::HashSet,
    fmt, io,
    ops::Range,
    path::PathBuf,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use parquet::errors::ParquetError;
use rustix::io::Errno;
use tidings_data_file::{Choice, MergeLimits, merge_bytes_min};
use tidings_disk::{Mistake, paths::index_path, ranges::portions};
use tidings_files::{ErrorKind, StorageError, blocking::blocking, table_file::DataFile};
use tidings_proto::{Signal, UnixNanos};
use tidings_runtime::Clock;
use tracing::field::Empty;

use super::{
    StoreInner,
    background::as_span,
    corrections::{self, CorrectionState},
    pin::PinnedFiles,
    retire,
};
use crate::{
    maintenance::{
        ClockGuard, DeferredRewrites, DiskSpace, ExpiredFiles, MergeJob, MergePace, RetentionStep,
        Rewrite, common_mark, due, plan, reserved_bytes,
    },
    pins::Pins,
    table_change::{CommitReason, TableChange},
};

/// Delay before checking again whether a flush has finished.
const YIELD: Duration = Duration::from_millis(50);
/// Maximum number of these delays, ten seconds in total. Maintenance then continues, because a
/// flush that always fails must not keep it from freeing space.
const YIELDS_MAX: u32 = 200;

/// Result of maintenance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MaintenanceReport {
    /// Number of files whose rows were merged into other files.
    pub merged_files: u64,
    /// Bytes of these files.
    pub merged_bytes: u64,
    /// Number of files that replaced others.
    pub written_files: u64,
    /// Bytes of these files.
    pub written_bytes: u64,
    /// Number of files with rows that are no longer kept. Their remaining rows are in other files.
    pub retired_files: u64,
    /// Number of files deleted from the disk.
    pub deleted_files: u64,
    /// Unreadable files. They stay as they are, and maintenance of other files continues.
    pub damaged_files: Vec<PathBuf>,
    /// Readable files that could not be rewritten. They stay, and maintenance of other files
    /// continues.
    pub stuck_files: Vec<PathBuf>,
    /// Work that waits for disk space.
    pub waiting: Option<DeferredRewrites>,
}

impl fmt::Display for MaintenanceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "merged   {} files ({} bytes)", self.merged_files, self.merged_bytes)?;
        writeln!(f, "retired  {} files", self.retired_files)?;
        writeln!(f, "written  {} files ({} bytes)", self.written_files, self.written_bytes)?;
        write!(f, "deleted  {} files", self.deleted_files)
    }
}

/// State that maintenance keeps between runs.
#[derive(Debug)]
pub(super) struct MaintenanceState {
    clock: ClockGuard,
    pub(super) swept: Option<Instant>,
    /// Unreadable files, excluded from maintenance until the store is opened again.
    damaged: HashSet<PathBuf>,
    /// Files that could not be rewritten. They are not rewritten until the store is opened again,
    /// but are deleted when they are old.
    stuck: HashSet<PathBuf>,
    /// Pinned traces in each file.
    places: PinnedFiles,
    /// Files with precomputed corrections for split traces.
    corrections: CorrectionState,
    pub(super) report: MaintenanceReport,
}

impl MaintenanceState {
    pub(super) fn new(newest: Option<UnixNanos>, clock: &dyn Clock) -> Self {
        let guard = ClockGuard::new(newest, clock.now(), ClockGuard::passing(clock));
        Self {
            clock: guard,
            swept: None,
            damaged: HashSet::new(),
            stuck: HashSet::new(),
            places: PinnedFiles::default(),
            corrections: CorrectionState::default(),
            report: MaintenanceReport::default(),
        }
    }

    fn damaged(&mut self) -> &mut HashSet<PathBuf> {
        &mut self.damaged
    }

    fn stuck(&mut self) -> &mut HashSet<PathBuf> {
        &mut self.stuck
    }

    fn count(&mut self, change: &TableChange) {
        let report = &mut self.report;
        let bytes = |files: &[Arc<DataFile>]| files.iter().map(|file| file.bytes).sum::<u64>();
        if change.why == CommitReason::Compaction {
            report.merged_files += change.removed.len() as u64;
            report.merged_bytes += bytes(&change.removed);
        } else {
            report.retired_files += change.removed.len() as u64;
        }
        report.written_files += change.added.len() as u64;
        report.written_bytes += bytes(&change.added);
    }
}

impl StoreInner {
    /// Performs one maintenance step that is due. Returns true if there was one.
    pub(super) async fn run_maintenance_step(&self, pace: MergePace) -> Result<bool, StorageError> {
        let mut maintenance = self.maintenance.lock().await;
        let clock = &self.shared.clock;
        let is_trusted =
            maintenance.clock.is_trusted(clock.now(), ClockGuard::passing(clock.as_ref()))
                || self.disk.makes(Mistake::BelieveClock);
        let mut tables = Vec::new();
        for signal in [Signal::Spans, Signal::Logs] {
            if self.shared.damaged.contains(signal) {
                continue;
            }
            self.resolve_in_doubt(signal).await?;
            if let Err(error) = self.write_checkpoint(signal).await {
                tracing::error!(table = signal.table(), %error, "a checkpoint could not be made");
            }
            let mut files = self.shared.state.files(signal);
            files.retain(|file| !maintenance.damaged.contains(&file.path));
            let mut turn = self.tables.lock().await;
            let table = turn.table_mut(signal);
            files.retain(|file| !table.is_removed_elsewhere(file));
            drop(turn);
            if self.disk.makes(Mistake::AgeByTime) {
                let received_max = UnixNanos(0);
                let unsaid = |file: &Arc<DataFile>| DataFile { received_max, ..(**file).clone() };
                files = files.iter().map(unsaid).map(Arc::new).collect();
            }
            tables.push((signal, files));
        }
        // A file that a damaged table does not name may still belong to it.
        let deletes = is_trusted && !self.shared.damaged.any();
        // Deletion comes first, because other work may be due for hours and would fill the disk
        // meanwhile. A failed deletion does not prevent other work.
        let deleted = match deletes {
            true => self.delete_removed(&mut maintenance).await,
            false => Ok(()),
        };
        let deleted = deleted.and(self.delete_erased(&mut maintenance).await);
        let mut room = self.disk_space().await?;
        let spans = tables.iter().find(|(signal, _)| *signal == Signal::Spans);
        let stays = |file: &&Arc<DataFile>| corrections::is_final(file, pace, clock.now());
        let stay = spans.iter().flat_map(|(_, files)| files).filter(stays);
        let stay: Vec<_> = stay.cloned().collect();
        if self.retain(&mut maintenance, &tables, is_trusted, &mut room).await?
            || self.merge(&mut maintenance, tables, pace, &mut room).await?
            || self
                .precompute_corrections(&mut maintenance.corrections, &stay, pace, &mut room)
                .await?
        {
            return Ok(true);
        }
        self.set_deferred_rewrites(room.waiting());
        let before = maintenance.report.deleted_files;
        if deletes {
            self.sweep_all(&mut maintenance, pace).await?;
        }
        let has_made_room = maintenance.report.deleted_files > before;
        deleted.map(|()| room.waiting().is_some() && has_made_room)
    }

    /// Returns the disk space for new files. Unmeasurable space counts as enough, because writing
    /// fails when the disk is full.
    pub(super) async fn disk_space(&self) -> Result<DiskSpace, StorageError> {
        let tables = Arc::clone(&self.tables_at);
        let reserve = self.shared.settings.disk_reserve_bytes;
        blocking(move || {
            let free = tables.free_bytes().unwrap_or(u64::MAX);
            Ok(DiskSpace::new(free, reserve, !tables.is_local()))
        })
        .await
    }

    /// Logs once when work begins to wait for disk space, and once when none waits any more.
    fn set_deferred_rewrites(&self, waiting: Option<DeferredRewrites>) {
        let mut known = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match (&waiting, &*known) {
            (Some(waiting), None) => tracing::warn!("{waiting}"),
            (None, Some(_)) => tracing::info!("the disk has room for maintenance again"),
            _ => {}
        }
        *known = waiting;
    }

    /// Performs the most useful merge for which there is disk space. Returns true if there was one.
    async fn merge(
        &self,
        maintenance: &mut MaintenanceState,
        tables: Vec<(Signal, Vec<Arc<DataFile>>)>,
        pace: MergePace,
        room: &mut DiskSpace,
    ) -> Result<bool, StorageError> {
        let mut plans = Vec::new();
        for (signal, mut files) in tables {
            files.retain(|file| !maintenance.stuck.contains(&file.path));
            plans.push((signal, plan(signal, &files, self.shared.clock.now(), pace)));
        }
        let waiting = plans.iter().flat_map(|(_, jobs)| jobs).map(|job| job.files.len() as u64);
        self.metrics.backlog_files.store(waiting.sum(), Ordering::Relaxed);
        for (signal, jobs) in plans {
            for job in jobs {
                if !room.holds(CommitReason::Compaction, job.bytes()) {
                    room.wait(&job.files);
                    continue;
                }
                let files = job.files.clone();
                let span = tracing::debug_span!(
                    "merge",
                    tidings.table = signal.table(),
                    tidings.files = files.len(),
                    tidings.bytes = job.bytes(),
                    "error.type" = Empty,
                    otel.status_message = Empty
                );
                match as_span(span, self.merged(signal, job)).await {
                    Ok(change) => self.commit(maintenance, signal, change).await?,
                    Err(error) if is_full(&error) => {
                        room.defer_after_full_disk(&files);
                        continue;
                    }
                    Err(error) => leave(maintenance, &files, error, MaintenanceState::stuck)?,
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Performs one retention step for which there is disk space. Returns true if there was one.
    /// Always false while the pins are unknown.
    async fn retain(
        &self,
        maintenance: &mut MaintenanceState,
        tables: &[(Signal, Vec<Arc<DataFile>>)],
        is_trusted: bool,
        room: &mut DiskSpace,
    ) -> Result<bool, StorageError> {
        let Some(pins) = self.pins.pins() else { return Ok(false) };
        maintenance.places.renew(&pins, tables);
        let (retention, now) = (&self.shared.settings.retention, self.shared.clock.now());
        let ignored = self.disk.makes(Mistake::IgnorePins).then(Vec::new);
        let pinned = |file: &DataFile| {
            ignored.clone().or_else(|| maintenance.places.pins_of(file).map(<[_]>::to_vec))
        };
        loop {
            let retired: ExpiredFiles = match due(retention, tables, now, is_trusted, &pinned, room)
            {
                RetentionStep::Nothing => return Ok(false),
                RetentionStep::Retire(retired) => retired,
                RetentionStep::Look(files) => {
                    for (signal, file) in files {
                        match self.traces_of(signal, &file, pins.traces().collect()).await {
                            Ok(traces) => maintenance.places.note(&file, traces),
                            Err(error) => {
                                leave(maintenance, &[file], error, MaintenanceState::damaged)?
                            }
                        }
                    }
                    return Ok(true);
                }
            };
            let (signal, files) = (retired.signal, retired.files.clone());
            let span = tracing::debug_span!(
                "retire",
                tidings.table = signal.table(),
                tidings.files = files.len(),
                "error.type" = Empty,
                otel.status_message = Empty
            );
            match as_span(span, retire::retire(self, retired)).await {
                Ok(change) => self.commit_retention(maintenance, signal, change, &pins).await?,
                // A smaller rewrite may fit, and deleting whole files needs no space.
                Err(error) if is_full(&error) => {
                    room.defer_after_full_disk(&files);
                    continue;
                }
                Err(error) => leave(maintenance, &files, error, MaintenanceState::damaged)?,
            }
            return Ok(true);
        }
    }

    /// Commits a change of retention, unless it would remove rows of a trace that was pinned
    /// meanwhile.
    pub(super) async fn commit_retention(
        &self,
        maintenance: &mut MaintenanceState,
        signal: Signal,
        change: TableChange,
        known: &Pins,
    ) -> Result<(), StorageError> {
        let mut turn = self.pins.turn.lock().await;
        let pins = self.pinned()?;
        let new: Vec<_> = pins.traces().filter(|trace| known.get(*trace).is_none()).collect();
        for file in change.removed.iter().filter(|_| !new.is_empty()) {
            if !self.traces_of(signal, file, new.clone()).await?.is_empty() {
                let waste = change.added.iter().map(|file| &file.path);
                let waste = waste.flat_map(|path| [index_path(path), path.clone()]).collect();
                return self.remove(maintenance, waste).await;
            }
        }
        let done = self.commit(maintenance, signal, change).await;
        turn.in_doubt |= done.is_err();
        done
    }

    /// Performs all maintenance that is due if no more data arrives. Returns a report of the work
    /// since the last call.
    pub(super) async fn run_maintenance(
        &self,
        clock_is_right: bool,
    ) -> Result<MaintenanceReport, StorageError> {
        if clock_is_right {
            self.maintenance.lock().await.clock.confirm();
        }
        while Box::pin(self.run_maintenance_step(MergePace::Offline)).await? {}
        let waiting = *self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let report = std::mem::take(&mut self.maintenance.lock().await.report);
        Ok(MaintenanceReport { waiting, ..report })
    }

    async fn write_checkpoint(&self, signal: Signal) -> Result<(), StorageError> {
        let due = self.tables.lock().await.table_mut(signal).checkpoint();
        let Some(checkpoint) = due else { return Ok(()) };
        let version = Box::pin(checkpoint.write(self.shared.clock.now())).await?;
        self.tables.lock().await.table_mut(signal).checkpointed(version);
        Ok(())
    }

    async fn merged(&self, signal: Signal, job: MergeJob) -> Result<TableChange, StorageError> {
        let portions = self.memory_portions(signal, &job.files).await?;
        let job = job.narrowed(portions);
        let mark = common_mark(&job.files);
        let why = CommitReason::Compaction;
        let first = usize::from(self.disk.makes(Mistake::MergeWithoutFirst));
        let added = self.rewritten((why, signal), &job.files[first..], None, mark).await?;
        let (from, into) = (job.files.len(), added.len());
        tracing::debug!(table = signal.table(), job.hour, from, into, "files merged");
        let mut removed = job.files;
        if self.disk.makes(Mistake::KeepOneMerged) {
            removed.truncate(from - 1);
        }
        if self.disk.makes(Mistake::DeleteBeforeCommit) {
            let tables = Arc::clone(&self.tables_at);
            let gone: Vec<_> = removed.iter().map(|file| file.path.clone()).collect();
            blocking(move || {
                for path in &gone {
                    let _ = tables.remove(path);
                }
                Ok(())
            })
            .await?;
        }
        Ok(TableChange { why, added, removed })
    }

    /// Cuts files, in order, into portions that fit in memory together. A rewrite holds the
    /// dictionaries and the longest pages of every input.
    pub(super) async fn memory_portions(
        &self,
        signal: Signal,
        files: &[Arc<DataFile>],
    ) -> Result<Vec<Range<usize>>, StorageError> {
        let bytes_max = MergeLimits::within(self.shared.memory.flush_bytes()).bytes();
        let files = files.to_vec();
        blocking(move || {
            let bytes = |file: &Arc<DataFile>| {
                let bytes = merge_bytes_min(signal, file)?;
                Ok(usize::try_from(bytes).unwrap_or(usize::MAX))
            };
            let sizes: Vec<usize> = files.iter().map(bytes).collect::<Result<_, StorageError>>()?;
            Ok(portions(sizes, usize::MAX, bytes_max))
        })
        .await
    }

    /// Returns new files with the chosen rows of these files, which are of one hour and fit in
    /// memory together.
    pub(super) async fn rewritten(
        &self,
        (why, signal): (CommitReason, Signal),
        files: &[Arc<DataFile>],
        choice: Option<Choice>,
        mark: Option<u64>,
    ) -> Result<Vec<Arc<DataFile>>, StorageError> {
        let (tables, inputs) = (Arc::clone(&self.tables_at), files.to_vec());
        let leave = reserved_bytes(why, self.shared.settings.disk_reserve_bytes);
        let limits = MergeLimits::within(self.shared.memory.flush_bytes());
        let open = move || Rewrite::open(tables, signal, &inputs, choice, mark, leave, limits);
        let rewrite = blocking(open).await?;
        Ok(self.run(rewrite).await?.files().to_vec())
    }

    /// Runs a rewrite to its end, and pauses for more urgent work. One thread does all of it,
    /// because the allocator keeps freed memory per thread. Several threads in turn would hold
    /// three times the memory of one.
    async fn run(&self, mut rewrite: Rewrite) -> Result<Rewrite, StorageError> {
        let (give_turn, turns) = std::sync::mpsc::sync_channel(1);
        let (step_done, mut steps) = tokio::sync::mpsc::channel(1);
        let work = blocking(move || {
            for stopping in turns {
                if stopping {
                    rewrite.discard();
                    break;
                }
                if rewrite.advance()? {
                    return Ok(rewrite);
                }
                let _ = step_done.blocking_send(());
            }
            Err(StorageError::Closed)
        });
        tokio::pin!(work);
        loop {
            let mut yields = 0;
            while self.is_flush_pending() && !self.is_stopping() && yields < YIELDS_MAX {
                self.shared.clock.sleep(YIELD).await;
                yields += 1;
            }
            // A rewrite that has ended reports its result below.
            let _ = give_turn.send(self.is_stopping());
            tokio::select! {
                biased;
                done = &mut work => return done,
                Some(()) = steps.recv() => {}
            }
        }
    }

    /// Returns true if a flush is due soon or running. Maintenance yields the processors to it.
    pub(super) fn is_flush_pending(&self) -> bool {
        self.shared.is_flush_pending()
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Resolves an in-doubt commit, which may have changed the files already.
    pub(super) async fn resolve_in_doubt(&self, signal: Signal) -> Result<(), StorageError> {
        let mut tables = self.tables.lock().await;
        let _whole = WholeCommit(self);
        if let Some(settled) = tables.table_mut(signal).resolve_in_doubt().await? {
            self.shared.state.apply(signal, &settled, self.shared.clock.now());
        }
        Ok(())
    }

    /// Commits a change. Its removed files exist: only maintenance removes files, and in-doubt
    /// commits were resolved before the change was planned.
    pub(super) async fn commit(
        &self,
        maintenance: &mut MaintenanceState,
        signal: Signal,
        change: TableChange,
    ) -> Result<(), StorageError> {
        let now = self.shared.clock.now();
        let mut tables = self.tables.lock().await;
        let _whole = WholeCommit(self);
        let table = tables.table_mut(signal);
        if let Some(settled) = table.resolve_in_doubt().await? {
            self.shared.state.apply(signal, &settled, now);
        }
        let removed: Vec<_> = change.removed.iter().map(|file| index_path(&file.path)).collect();
        let change = table.replace(change, now).await?;
        self.shared.state.apply(signal, &change, now);
        self.shared.indexes.drop_missing(&removed);
        maintenance.count(&change);
        change.count_files(&self.metrics);
        Ok(())
    }
}

/// Guard of a commit of maintenance. After a panic inside it, the table's files and the visible
/// files may differ, so maintenance does not continue.
struct WholeCommit<'a>(&'a StoreInner);

impl Drop for WholeCommit<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.give_up("commit", "a commit of maintenance panicked");
        }
    }
}

/// Excludes a damaged file from maintenance. If the damaged file is unknown, all files of the job
/// are added to `others`. Only transient errors, such as a full disk, leave the files in
/// maintenance.
fn leave(
    maintenance: &mut MaintenanceState,
    files: &[Arc<DataFile>],
    error: StorageError,
    others: fn(&mut MaintenanceState) -> &mut HashSet<PathBuf>,
) -> Result<(), StorageError> {
    let unreadable = unreadable(&error).or_else(|| refused(&error, files));
    match unreadable.filter(|path| !maintenance.damaged.contains(*path)).cloned() {
        Some(path) => {
            tracing::error!(%error, "a data file cannot be read; maintenance skips it");
            maintenance.damaged.insert(path.clone());
            maintenance.report.damaged_files.push(path);
            Ok(())
        }
        None if passes(&error) => Err(error),
        None => {
            let paths: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
            tracing::error!(%error, ?paths, "data files cannot be rewritten; they stay unchanged");
            others(maintenance).extend(paths.iter().cloned());
            maintenance.report.stuck_files.extend(paths);
            Ok(())
        }
    }
}

/// Returns the file that the local disk refuses to read, if it is one of these.
fn refused<'a>(error: &'a StorageError, files: &[Arc<DataFile>]) -> Option<&'a PathBuf> {
    let StorageError::Io { path, source, .. } = error else { return None };
    let errno = source.raw_os_error().map(Errno::from_raw_os_error);
    let is_refused = matches!(errno, Some(Errno::IO | Errno::ACCESS | Errno::PERM));
    (is_refused && files.iter().any(|file| file.path == *path)).then_some(path)
}

/// Returns true if a retry may succeed.
fn passes(error: &StorageError) -> bool {
    match error {
        // An error of writing a new file is wrapped in an error of its encoder.
        StorageError::Parquet(ParquetError::External(source)) => source.is::<io::Error>(),
        error => error.kind() != ErrorKind::Corrupt && unreadable(error).is_none(),
    }
}

/// Returns true if the disk was full, according to the reserve or to the system, or if a file
/// reached the maximum size of the process.
fn is_full(error: &StorageError) -> bool {
    let source = match error {
        StorageError::DiskFull { .. } => return true,
        StorageError::Io { source, .. } => Some(source),
        StorageError::Parquet(ParquetError::External(source)) => source.downcast_ref(),
        _ => None,
    };
    let is_full = |kind| matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge);
    source.is_some_and(|source: &io::Error| is_full(source.kind()))
}

/// Returns the damaged or missing file, if that is the error.
pub(super) fn unreadable(error: &StorageError) -> Option<&PathBuf> {
    match error {
        StorageError::Corrupt { path, .. } => Some(path),
        StorageError::Io { path, source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Some(path)
        }
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests;
