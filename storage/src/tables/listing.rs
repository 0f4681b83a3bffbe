//! Reads through delta-rs which files a table has.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use deltalake_core::{logstore::LogStoreRef, table::state::DeltaTableState};
use serde_json::Value;
use tidings_proto::UnixNanos;

use super::{commit::RECEIVED, from_millis};
use crate::{
    StorageError,
    data_file::DataFile,
    schema::{HOUR, Signal},
    table_store::DataFileStore,
};

/// Reads a table's log. In a task of its own: some damage makes the reader panic.
pub(super) async fn load(log_store: &LogStoreRef) -> Result<DeltaTableState, StorageError> {
    let store = Arc::clone(log_store);
    let loading = tokio::spawn(async move { DeltaTableState::try_new(store.as_ref(), None).await });
    match loading.await {
        Ok(loaded) => Ok(loaded?),
        Err(error) => Err(StorageError::Corrupt {
            path: PathBuf::from(log_store.root_url().path()),
            reason: format!("reading its log panicked: {error}"),
        }),
    }
}

pub(super) fn listed_files(
    (signal, folder): (Signal, &Path),
    state: &DeltaTableState,
    home: &DataFileStore,
) -> Result<Vec<Arc<DataFile>>, StorageError> {
    let mut files = Vec::new();
    for view in state.log_data().iter() {
        let path = folder.join(view.path().as_ref());
        let listed = || {
            let partition = view.partition_values_map();
            let size = u64::try_from(view.size()).ok()?;
            let hour = partition.get(HOUR)?.as_deref()?;
            let committed = from_millis(view.modification_time());
            listed_file(signal, path.clone(), hour, &view.stats()?, size, committed)
        };
        let file = listed().ok_or_else(|| StorageError::Corrupt {
            path: path.clone(),
            reason: "its entry in the table's log lacks hour or statistics".to_owned(),
        })?;
        files.push(Arc::new(DataFile { home: home.clone(), ..file }));
    }
    Ok(files)
}

/// A data file as the table's log describes it.
pub(super) fn listed_file(
    signal: Signal,
    path: PathBuf,
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
    let file = DataFile::new(path, hour.parse().ok()?, rows, size, min, max);
    // Files of earlier versions do not say; their rows came in before they were committed.
    let received_max = nanos("maxValues", RECEIVED).unwrap_or(committed);
    Some(DataFile { received_max, ..file })
}
