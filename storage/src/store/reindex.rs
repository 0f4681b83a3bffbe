//! Makes indexes again that a scan found missing or damaged.
//!
//! One at a time, in the background. The data file may be removed meanwhile: its index is then
//! removed too.

use std::{io, path::Path, sync::Arc};

use tokio::{select, sync::watch};

use super::{Inner, blocking};
use crate::{
    StorageError,
    data_file::{self, DataFile},
    disk::{Disk, failed, parent, write_durably},
    paths::index_path,
    schema::Signal,
};

pub(super) async fn reindexer(inner: Arc<Inner>, mut stop: watch::Receiver<bool>) {
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
            let (disk, path) = (Arc::clone(&inner.disk), file.path.clone());
            match blocking(move || reindex(disk.as_ref(), signal, &file)).await {
                Ok(()) => indexes.forget(&path),
                // Until the store is opened again, or the file is asked for when what is known
                // of it is forgotten.
                Err(error) => tracing::error!(%error, "an index cannot be made again"),
            }
        }
    }
}

fn reindex(disk: &dyn Disk, signal: Signal, file: &DataFile) -> Result<(), StorageError> {
    let bytes = data_file::index_of(signal, file)?;
    let path = index_path(&file.path);
    replace(disk, &path, &bytes).map_err(failed("write", &path))?;
    match disk.open(&file.path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            disk.remove(&path).map_err(failed("remove", &path))
        }
        _ => Ok(()),
    }
}

/// Writes a file, durably, in the place of what may be there.
fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = parent(path)?;
    disk.create_folders(folder)?;
    let unfinished = path.with_extension("index#");
    match disk.remove(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    write_durably(disk, &unfinished, &[bytes])?;
    disk.rename(&unfinished, path)?;
    disk.sync_folder(folder)
}

#[cfg(test)]
mod tests;
