//! Rebuilds indexes that a scan found missing or damaged.
//!
//! Runs in the background, one index at a time. If the data file is removed meanwhile, its index is
//! removed too.

use std::{io, sync::Arc};

use tidings_disk::paths::index_path;
use tidings_files::{
    StorageError, blocking::blocking, error::failed, table_file::DataFile, table_store::TableStore,
};
use tidings_proto::Signal;
use tokio::{select, sync::watch};

use super::StoreInner;

pub(super) async fn reindexer(inner: Arc<StoreInner>, mut stop: watch::Receiver<bool>) {
    let indexes = Arc::clone(&inner.shared.indexes);
    loop {
        select! {
            _ = stop.wait_for(|stopped| *stopped) => return,
            () = indexes.missed() => {}
        }
        while let Some((signal, file)) = indexes.next_missing() {
            if *stop.borrow() {
                return;
            }
            let (tables, path) = (Arc::clone(&inner.tables_at), file.path.clone());
            match blocking(move || reindex(tables.as_ref(), signal, &file)).await {
                Ok(()) => indexes.invalidate(&path),
                // It stays so until the store is opened again, or until the cached state of the
                // file is evicted and the file is read again.
                Err(error) => tracing::error!(%error, "an index was not rebuilt and stays as is"),
            }
        }
    }
}

fn reindex(tables: &dyn TableStore, signal: Signal, file: &DataFile) -> Result<(), StorageError> {
    let bytes = tidings_data_file::index_of(signal, file)?;
    let path = index_path(&file.path);
    tables.replace(&path, &bytes).map_err(failed("write", &path))?;
    match tables.written(&file.path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            tables.remove(&path).map_err(failed("remove", &path))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
