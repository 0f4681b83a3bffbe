//! Lists the files of a table through delta-rs.

use std::{
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use deltalake_core::{logstore::LogStoreRef, table::state::DeltaTableState};
use serde_json::Value;
use tidings_columns::schema::{HOUR, SignalSchema};
use tidings_files::{
    StorageError,
    table_file::{DataFile, HOUR_NANOS, STATS_MAX},
    table_store::DataFileStore,
};
use tidings_proto::{Signal, UnixNanos};

use super::{commit::RECEIVED, from_millis};

/// Exclusive maximum of a file's rows and bytes, so that sums over files do not overflow.
const COUNT_MAX: u64 = 1 << 48;

/// Reads a table's log, up to a version if one is given. Runs in a separate task, because some
/// damage makes the reader panic.
pub(super) async fn load(
    log_store: &LogStoreRef,
    version: Option<u64>,
) -> Result<DeltaTableState, StorageError> {
    let store = Arc::clone(log_store);
    let loading =
        tokio::spawn(async move { DeltaTableState::try_new(store.as_ref(), version).await });
    match loading.await {
        Ok(loaded) => Ok(loaded?),
        Err(error) => Err(StorageError::Corrupt {
            path: PathBuf::from(log_store.root_url().path()),
            reason: format!("reading its log panicked: {error}"),
        }),
    }
}

/// Returns the files of a table, and `Corrupt` for each entry that cannot be a data file.
pub(super) fn listed_files(
    (signal, folder): (Signal, &Path),
    state: &DeltaTableState,
    home: &DataFileStore,
) -> Vec<Result<Arc<DataFile>, StorageError>> {
    let views = state.log_data();
    let files = views.iter().map(|view| {
        let name = view.path();
        let listed = || {
            let partition = view.partition_values_map();
            let size = u64::try_from(view.size()).ok()?;
            let hour = partition.get(HOUR)?.as_deref()?;
            let committed = from_millis(view.modification_time());
            listed_file((signal, folder), &name, hour, &view.stats()?, size, committed)
        };
        let file = listed().ok_or_else(|| StorageError::Corrupt {
            path: folder.join(name.as_ref()),
            reason: "its entry in the table's log is none that a data file can have".to_owned(),
        })?;
        Ok(Arc::new(DataFile { home: home.clone(), ..file }))
    });
    files.collect()
}

/// Converts an entry of the table's log to a data file. Returns `None` when it cannot be one.
pub(super) fn listed_file(
    (signal, folder): (Signal, &Path),
    name: &str,
    hour: &str,
    stats: &str,
    size: u64,
    committed: UnixNanos,
) -> Option<DataFile> {
    let stats: Value = serde_json::from_str(stats).ok()?;
    let nanos = |which: &str, column: &str| {
        let nanos = stats.get(which)?.get(column)?.as_i64()?;
        u64::try_from(nanos).ok().map(UnixNanos)
    };
    let rows = stats.get("numRecords")?.as_u64()?;
    let column = signal.time_column();
    let (min, max) = (nanos("minValues", column)?, nanos("maxValues", column)?);
    let hour: i64 = hour.parse().ok()?;
    let is_hour = u64::try_from(hour).is_ok_and(|hour| hour <= u64::MAX / HOUR_NANOS);
    if !is_hour || rows >= COUNT_MAX || size >= COUNT_MAX || min > max {
        return None;
    }
    let file = DataFile::new(inner_path(folder, name)?, hour, rows, size, min, max);
    // Files of earlier versions lack this value. Their rows were received before they were
    // committed.
    let received_max = nanos("maxValues", RECEIVED).unwrap_or(committed.min(STATS_MAX));
    Some(DataFile { received_max, ..file })
}

/// Returns a path in a table's folder, or `None` for a path outside of it or a URI.
fn inner_path(folder: &Path, name: &str) -> Option<PathBuf> {
    let is_uri = name.split('/').next().is_some_and(|first| first.contains(':'));
    if is_uri || name.contains('\0') {
        return None;
    }
    let mut parts = Path::new(name).components().peekable();
    let is_inside =
        parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)));
    is_inside.then(|| folder.join(name))
}

/// Decodes a path in a commit as Delta does: invalid UTF-8 is replaced.
pub(super) fn decoded_path(path: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(path.len()), path.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        let digit = |at: usize| behind.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.extend(u8::try_from(high << 4 | low));
                rest = behind.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
