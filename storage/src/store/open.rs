//! Opens a data directory: takes the lock, opens the tables, replays the log, starts the writer.
//!
//! Replay reads the log once, one record at a time. For each table, it skips the records that the
//! last commit covers. It flushes rows on the way, so a log larger than memory can be replayed.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use object_store::ObjectStore;
use tidings_disk::{
    Disk, DiskLock, ExposedFiles, Mistake, SharedDisk, make_private, move_durably, parent,
    paths::{OWN_NAMES, Paths},
    read_all, write_durably,
};
use tidings_files::{
    StorageError,
    blocking::{blocking, random},
    error::failed,
    memory::{self, Chunk},
    metrics::StoreMetrics,
    table_store::{self, SharedTables},
};
use tidings_index::Indexes;
use tidings_proto::{Signal, UnixNanos};
use tidings_runtime::{Clock, Supervision};
use tidings_wal::{
    LogExtent, Position, Replay, ReplayEnd, Segments, Wal, WalMonitor, WalRecord, WalSettings,
};
use tokio::sync::watch;

use super::{
    MemoryBounds, Recovery, StoreInner, StoreShared, TableDamage, background, convert,
    erase::ErasureBoard, flush::Tables, format, maintenance_steps::MaintenanceState, pin::PinBoard,
    state::VisibleState,
};
use crate::{
    StoreSettings,
    table_change::{CommitReason, TableChange},
    tables::{OpenedTable, TelemetryTable},
};

/// Number of small chunks that are concatenated while replaying.
const REPLAY_RUN: usize = 64;
/// Bytes of log that replay reads between two flushes. A flush takes several times the memory of
/// its rows, and the next portion is read during it.
const STRETCH_BYTES: u64 = 16 << 20;
/// Maximum attempts to take the lock, with pauses in between.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn open(
    disk: SharedDisk,
    objects: Option<Arc<dyn ObjectStore>>,
    mut settings: StoreSettings,
    clock: Arc<dyn Clock>,
) -> Result<(Arc<StoreInner>, Recovery), StorageError> {
    settings.data_dir =
        std::path::absolute(&settings.data_dir).map_err(failed("resolve", &settings.data_dir))?;
    let paths = Paths::new(&settings.data_dir);
    let lock = lock(&disk, &paths, clock.as_ref()).await?;
    let (at, reserve) = (&settings.tables, settings.disk_reserve_bytes);
    let tables_at = table_store::open(&disk, &paths, at, reserve, clock.as_ref(), objects).await?;
    let (extent, [mut spans, mut logs]) =
        open_tables(&disk, &paths, &tables_at, settings.recover).await?;
    let maintenance = MaintenanceState::new(spans.newest.max(logs.newest), clock.as_ref());
    let damaged =
        TableDamage { spans: spans.table.damage().is_some(), logs: logs.table.damage().is_some() };
    let pins = PinBoard::open(&disk, &paths).await?;
    let mut alarms = alarms_of(&spans.table, &logs.table, &pins);
    let mut recovery = Recovery::default();
    for opened in [&mut spans, &mut logs] {
        recovery.quarantined.append(&mut opened.quarantined);
        alarms.extend(repair_position(opened, settings.recover, clock.now()).await?);
    }
    let is_position_ignored = disk.makes(Mistake::IgnorePosition);
    let covered = if is_position_ignored { [0; 2] } else { [spans.covered, logs.covered] };
    let covered_max = spans.covered.max(logs.covered);
    let (state, recover) = (VisibleState::new(spans.files, logs.files), settings.recover);
    tidings_data_file::set_metadata_bytes_max(settings.metadata_memory_bytes_max);
    let shared = shared(&disk, damaged, state, settings, clock);
    let replay = start_replay(&disk, &paths, &tables_at, covered, recover).await?;
    let mut tables = Tables { spans: spans.table, logs: logs.table, covered: 0, covered_before: 0 };
    let end =
        replay_all(&disk, &paths, &shared, &mut tables, replay, covered, &mut recovery).await?;
    alarms.extend(set_aside_alarms(&recovery));

    let committed = committed(&tables, &extent);
    let segments = Arc::new(Segments::new(paths.wal(), Arc::clone(&disk), end.sealed, committed));
    let position = Position {
        durable: end.last.max(covered_max),
        next: end.used.max(end.last).max(covered_max) + 1,
    };
    let (supervision, metrics) = (Supervision::default(), measured(&recovery));
    let monitor = WalMonitor {
        supervision: supervision.clone(),
        metrics: Arc::clone(&metrics.log),
        clock: Arc::clone(&shared.clock),
    };
    let wal = start_wal(&disk, &paths, &shared, segments, position, monitor).await?;
    let (stop, stopped) = watch::channel(false);
    let inner = Arc::new(StoreInner {
        shared,
        wal: Arc::new(wal),
        tables: tokio::sync::Mutex::new(tables),
        maintenance: tokio::sync::Mutex::new(maintenance),
        pins,
        erasures: ErasureBoard::default(),
        tables_at,
        disk,
        paths,
        alarms,
        quarantined_files: recovery.quarantined.len() as u64,
        pending_bytes: AtomicU64::new(0),
        waiting: Mutex::new(None),
        flush_failure: Mutex::new(None),
        closed: AtomicBool::new(false),
        broken: AtomicBool::new(false),
        supervision,
        metrics,
        stop,
        tasks: Mutex::new(Vec::new()),
        lock: Mutex::new(Some(lock)),
    });
    inner.keep_tasks(background::start(&inner, &stopped));
    Ok((inner, recovery))
}

/// Opens both tables with the extent of the log.
async fn open_tables(
    disk: &SharedDisk,
    paths: &Paths,
    tables_at: &SharedTables,
    recover: bool,
) -> Result<(LogExtent, [OpenedTable; 2]), StorageError> {
    let (disk, folder, quarantine) = (Arc::clone(disk), paths.wal(), paths.quarantine());
    let extent = blocking(move || Ok(LogExtent::read(&disk, folder))).await?;
    let open = |signal| TelemetryTable::open(tables_at, &quarantine, signal, (&extent, recover));
    let tables = [open(Signal::Spans).await?, open(Signal::Logs).await?];
    Ok((extent, tables))
}

/// Returns the highest known flushed position of each table. A damaged table's lost rows stay lost
/// until its commits are restored.
fn committed(tables: &Tables, extent: &LogExtent) -> [u64; 2] {
    [&tables.spans, &tables.logs].map(|table| match table.damage() {
        Some(_) => table.covered().max(extent.covered(table.signal())),
        None => table.covered(),
    })
}

/// Creates the metrics of a store with the results of its recovery.
fn measured(recovery: &Recovery) -> Arc<StoreMetrics> {
    let metrics = Arc::<StoreMetrics>::default();
    metrics.torn_bytes.store(recovery.torn_bytes, Ordering::Relaxed);
    metrics.quarantined_files.store(recovery.quarantined.len() as u64, Ordering::Relaxed);
    metrics
}

fn set_aside_alarms(recovery: &Recovery) -> impl Iterator<Item = String> {
    recovery.quarantined.iter().map(|path| format!("{}: damaged and set aside", path.display()))
}

/// Returns the part of a store that its background tasks share.
fn shared(
    disk: &SharedDisk,
    damaged: TableDamage,
    state: VisibleState,
    settings: StoreSettings,
    clock: Arc<dyn Clock>,
) -> Arc<StoreShared> {
    let index_bytes_max = usize::try_from(settings.index_memory_bytes_max).unwrap_or(usize::MAX);
    Arc::new(StoreShared {
        damaged,
        state,
        indexes: Arc::new(Indexes::new(index_bytes_max)),
        disk: Arc::clone(disk),
        flush_wanted: tokio::sync::Notify::new(),
        memory_refused: AtomicBool::new(false),
        merge_wanted: tokio::sync::Notify::new(),
        clock,
        memory: MemoryBounds::new(settings.memory()),
        settings,
    })
}

/// During recovery, commits the proven position in place of a damaged one. Returns the warning
/// about it.
async fn repair_position(
    opened: &mut OpenedTable,
    recover: bool,
    now: UnixNanos,
) -> Result<Option<String>, StorageError> {
    let Some(damage) = &opened.position_damage else { return Ok(None) };
    let (path, reason) = (damage.path.clone(), damage.to_string());
    if !recover {
        return Err(StorageError::NeedsRecovery { path, reason });
    }
    let proven = damage.proven;
    tracing::error!(path = %path.display(), position = damage.found, proven,
        "a table's position in the write-ahead log is damaged; the log is read from where commits \
         and data files prove that the table has it, and rows may come twice");
    if opened.table.damage().is_none() {
        let (added, removed) = (Vec::new(), Vec::new());
        opened
            .table
            .replace(TableChange { why: CommitReason::Compaction, added, removed }, now)
            .await?;
    }
    Ok(Some(format!("{}: {reason}", path.display())))
}

/// Begins to read the log. A table with a position beyond the end of the log may belong to another
/// log. Its position would then skip acknowledged records of this one.
async fn start_replay(
    disk: &SharedDisk,
    paths: &Paths,
    tables_at: &SharedTables,
    covered: [u64; 2],
    recover: bool,
) -> Result<Replay, StorageError> {
    let (disk, paths) = (Arc::clone(disk), paths.clone());
    let folders = [Signal::Spans, Signal::Logs].map(|signal| tables_at.folder(signal.table()));
    blocking(move || {
        let mut replay = Replay::start(disk, paths, covered, recover)?;
        for (position, folder) in covered.into_iter().zip(folders) {
            if replay.reaches(position)? {
                continue;
            }
            let path = folder.join("_delta_log");
            if recover {
                tracing::error!(path = %path.display(), position,
                    "the write-ahead log ends before the table's position; the table is trusted, \
                     and the segments of the log are kept in the quarantine");
                replay.keep_all();
                continue;
            }
            let reason = format!(
                "the table says that it has the write-ahead log up to record {position}, and the \
                 log in {} ends before that: it has lost its end, or is not the log of this table",
                replay.folder().display()
            );
            return Err(StorageError::NeedsRecovery { path, reason });
        }
        Ok(replay)
    })
    .await
}

/// Flushes the readable part of the log to the tables, and moves segments with unreadable blocks
/// out of the log. The next start then needs no `recover`. Returns the new paths.
async fn leave_unreadable(
    disk: &SharedDisk,
    paths: &Paths,
    shared: &Arc<StoreShared>,
    tables: &mut Tables,
    end: &mut ReplayEnd,
) -> Result<Vec<PathBuf>, StorageError> {
    let unreadable = std::mem::take(&mut end.unreadable);
    if shared.damaged.any() {
        tracing::error!(
            segments = unreadable.len(),
            "unreadable segments stay in the log, because a damaged table cannot take their \
             records"
        );
        return Ok(Vec::new());
    }
    shared.flush_tables(tables).await?;
    end.sealed.retain(|segment| !unreadable.contains(&segment.path));
    let (disk, folder) = (Arc::clone(disk), paths.quarantine());
    blocking(move || {
        let moved = unreadable.into_iter().map(|path| {
            let moved = move_durably(disk.as_ref(), &path, &folder);
            let moved = moved.map_err(failed("move aside", &path))?;
            tracing::error!(segment = %path.display(), moved_to = %moved.display(),
                "a segment that cannot be read is set aside; all that could be read is in the tables");
            Ok(moved)
        });
        moved.collect()
    })
    .await
}

/// Returns the alarms for damaged tables and damaged pins.
fn alarms_of(spans: &TelemetryTable, logs: &TelemetryTable, pins: &PinBoard) -> Vec<String> {
    let damages = [spans.damage(), logs.damage()].into_iter().flatten();
    let alarms = damages.map(|damage| {
        let path = damage.path.display();
        format!("{path}: {}; its table may lack rows and is not written to", damage.reason)
    });
    alarms.chain(pins.damage.clone()).collect()
}

/// Takes the directory's lock, with retries. A killed process holds its lock until the system has
/// reclaimed its memory, and its supervisor may start a new process at once.
async fn lock(
    disk: &SharedDisk,
    paths: &Paths,
    clock: &dyn Clock,
) -> Result<DiskLock, StorageError> {
    for _ in 1..LOCK_TRIES {
        match try_lock(disk, paths).await {
            Err(StorageError::Locked { .. }) => clock.sleep(LOCK_PAUSE).await,
            taken => return taken,
        }
    }
    try_lock(disk, paths).await
}

async fn try_lock(disk: &SharedDisk, paths: &Paths) -> Result<DiskLock, StorageError> {
    let (disk, paths) = (Arc::clone(disk), paths.clone());
    blocking(move || {
        let root = paths.root();
        format::check(disk.as_ref(), &paths)?;
        let was_empty = disk.list(root).is_ok_and(|entries| entries.is_empty());
        disk.create_folders(root).map_err(failed("create", root))?;
        let path = paths.lock();
        let lock = disk.lock(&path).map_err(failed("lock", &path))?;
        let lock = lock.ok_or(StorageError::Locked { path })?;
        for folder in [paths.wal(), paths.quarantine()] {
            disk.create_folders(&folder).map_err(failed("create", &folder))?;
        }
        close_to_others(root, was_empty);
        format::record(disk.as_ref(), &paths)?;
        Ok(lock)
    })
    .await
}

/// Removes other users' access to the directory, and logs what was accessible. In a directory that
/// was empty until now there was nothing to read.
fn close_to_others(root: &Path, was_empty: bool) {
    match make_private(root, &OWN_NAMES) {
        Ok(ExposedFiles { closed: 0, left: 0, .. }) => {}
        Ok(ExposedFiles { left: 0, .. }) if was_empty => {}
        Ok(ExposedFiles { closed, left, example }) => {
            let example = example.as_deref().map(|path| tracing::field::display(path.display()));
            tracing::warn!(
                data_dir = %root.display(), closed, left, example,
                "other users of this machine could read in the data directory; what is its own \
                 and belongs to this user is closed to them now"
            );
        }
        Err(error) => tracing::warn!(data_dir = %root.display(), %error,
            "the access rights of the data directory's files are not known"),
    }
}

/// Takes the lock of a directory that is only read. A directory that was never used has no lock.
pub(crate) fn lock_existing(
    disk: &dyn Disk,
    paths: &Paths,
) -> Result<Option<DiskLock>, StorageError> {
    format::check(disk, paths)?;
    let path = paths.lock();
    match disk.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed("open", &path))?,
    };
    let lock = disk.lock(&path).map_err(failed("lock", &path))?;
    lock.map(Some).ok_or(StorageError::Locked { path })
}

/// Chunks from a portion of the log.
struct ReplayPortion {
    replay: Replay,
    chunks: Vec<Arc<Chunk>>,
    through: u64,
    records: u64,
    unreadable: Vec<PathBuf>,
    ended: bool,
}

async fn replay_all(
    disk: &SharedDisk,
    paths: &Paths,
    shared: &Arc<StoreShared>,
    tables: &mut Tables,
    replay: Replay,
    covered: [u64; 2],
    recovery: &mut Recovery,
) -> Result<ReplayEnd, StorageError> {
    let bytes_max = shared.memory.flush_bytes().min(STRETCH_BYTES);
    let read = |replay| {
        let (disk, paths) = (Arc::clone(disk), paths.clone());
        blocking(move || read_stretch(&disk, &paths, replay, covered, bytes_max))
    };
    let mut stretch = read(replay).await?;
    loop {
        recovery.replayed_records += stretch.records;
        recovery.quarantined.extend(stretch.unreadable);
        let through = stretch.through;
        // Rows of a damaged table cannot be flushed. Those that do not fit in memory stay in the
        // log, and queries already report a partial result.
        let is_full = shared.state.memory_bytes() >= shared.memory.bytes_max();
        let has_room = |chunk: &Arc<Chunk>| !(is_full && shared.damaged.contains(chunk.signal()));
        let chunks = stretch.chunks.into_iter().filter(has_room).map(|chunk| (through, chunk));
        shared.state.publish(chunks, shared.clock.instant());
        // The visible position must not be higher, because the next flush claims to cover the log
        // up to it.
        shared.state.advance(through);
        if stretch.ended {
            let mut end = stretch.replay.finish();
            shared.state.advance(end.last.max(covered[0]).max(covered[1]));
            recovery.torn_bytes = end.torn_bytes;
            recovery.quarantined.append(&mut end.quarantined);
            if !end.unreadable.is_empty() {
                let moved = leave_unreadable(disk, paths, shared, tables, &mut end).await?;
                recovery.quarantined.extend(moved);
            }
            return Ok(end);
        }
        // The next portion is read during the flush, and published after it.
        let (next, flushed) = tokio::join!(read(stretch.replay), shared.flush_tables(tables));
        flushed?;
        stretch = next?;
    }
}

fn read_stretch(
    disk: &SharedDisk,
    paths: &Paths,
    mut replay: Replay,
    covered: [u64; 2],
    bytes_max: u64,
) -> Result<ReplayPortion, StorageError> {
    let mut small: [Vec<Arc<Chunk>>; 2] = [Vec::new(), Vec::new()];
    let mut stretch = (Vec::new(), 0, 0, Vec::new());
    let (chunks, through, records, unreadable) =
        (&mut stretch.0, &mut stretch.1, &mut stretch.2, &mut stretch.3);
    let mut bytes = 0;
    let ended = loop {
        if bytes >= bytes_max {
            break false;
        }
        let Some(record) = replay.next_record()? else { break true };
        *through = record.sequence;
        let table = usize::from(record.signal == Signal::Logs);
        let (Some(covered), Some(small)) = (covered.get(table), small.get_mut(table)) else {
            continue;
        };
        if record.sequence <= *covered {
            continue;
        }
        *records += 1;
        match convert::replay(&record) {
            Ok(None) => {}
            Ok(Some(chunk)) => {
                bytes += chunk.bytes();
                small.push(Arc::new(chunk));
                if small.len() >= REPLAY_RUN {
                    chunks.push(Arc::new(memory::merge(small)?));
                    small.clear();
                }
            }
            Err(error) => unreadable.push(set_aside(disk, paths, &record, &error)?),
        }
    };
    chunks.extend(small.into_iter().flatten());
    let (chunks, through, records, unreadable) = stretch;
    Ok(ReplayPortion { replay, chunks, through, records, unreadable, ended })
}

/// Saves the bytes of a record that this program cannot convert to rows.
fn set_aside(
    disk: &SharedDisk,
    paths: &Paths,
    record: &WalRecord,
    error: &StorageError,
) -> Result<PathBuf, StorageError> {
    let path = paths.quarantine().join(format!("record-{:020}.bin", record.sequence));
    tracing::error!(sequence = record.sequence, %error, kept = %path.display(),
        "a record of the log cannot be read, it is set aside");
    keep(disk.as_ref(), path, &record.payload)
}

/// Makes sure that this file has these bytes, durably. A process that died while writing may have
/// left part of them. A file with other bytes is renamed.
fn keep(disk: &dyn Disk, path: PathBuf, bytes: &[u8]) -> Result<PathBuf, StorageError> {
    let is_kept = || {
        let found = read_all(disk, &path)?;
        disk.sync_file(&path)?;
        disk.sync_folder(parent(&path)?)?;
        Ok(found == bytes)
    };
    match write_durably(disk, &path, &[bytes]) {
        Ok(()) => return Ok(path),
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failed("write", &path)(error));
        }
        Err(_) => {}
    }
    if is_kept().map_err(failed("read", &path))? {
        return Ok(path);
    }
    let moved = parent(&path).and_then(|folder| move_durably(disk, &path, folder));
    moved.map_err(failed("rename", &path))?;
    write_durably(disk, &path, &[bytes]).map_err(failed("write", &path))?;
    Ok(path)
}

async fn start_wal(
    disk: &SharedDisk,
    paths: &Paths,
    shared: &Arc<StoreShared>,
    segments: Arc<Segments>,
    position: Position,
    monitor: WalMonitor,
) -> Result<Wal<Arc<Chunk>>, StorageError> {
    let (disk, folder, shared) = (Arc::clone(disk), paths.wal(), Arc::clone(shared));
    let settings = WalSettings {
        segment_bytes: shared.settings.wal_segment_bytes,
        bytes_max: shared.settings.wal_bytes_max,
        disk_reserve: shared.settings.disk_reserve_bytes,
        salt: random,
    };
    blocking(move || {
        let publish = move |chunks| shared.publish(chunks);
        Ok(Wal::start(disk, folder, settings, segments, position, monitor, publish)?)
    })
    .await
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests leave files behind as a killed process does")]
mod tests {
    use tidings_disk::RealDisk;

    use super::keep;

    #[test]
    fn a_torn_copy_of_a_record_is_not_taken_for_it_and_stays() {
        for torn in ["", "the rec", "another record"] {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join("record.bin");
            std::fs::write(&path, torn).unwrap();
            for _ in 0..3 {
                assert_eq!(keep(&RealDisk, path.clone(), b"the record").unwrap(), path);
                assert_eq!(std::fs::read(&path).unwrap(), b"the record");
                assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 2);
                assert_eq!(std::fs::read(path.with_extension("bin.1")).unwrap(), torn.as_bytes());
            }
        }
    }
}
