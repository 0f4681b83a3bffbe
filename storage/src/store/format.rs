//! Which format a data directory has, so that an older program leaves a newer one's alone.
//!
//! `<data-dir>/format` says it. Format 1 is the log of `docs/formats/wal.md` and the tables of
//! `docs/formats/tables.md`; a directory without the file is of format 1 too.

use std::{io, path::Path};

use crate::{
    StorageError,
    disk::{Disk, failed, read_all, write_durably},
    paths::Paths,
    wal,
};

/// The newest format this program reads, and the one it writes.
const FORMAT: u32 = 1;
const WORDS: &str = "tidings data directory, format ";

/// Refuses a directory of a newer format. Writes nothing.
pub(super) fn check(disk: &dyn Disk, paths: &Paths) -> Result<(), StorageError> {
    let path = paths.format();
    if let Some(found) = recorded(disk, &path)?
        && found > FORMAT
    {
        return Err(StorageError::Format { path, found, supported: FORMAT });
    }
    if disk.is_folder(&paths.wal()) {
        wal::check_formats(disk, &paths.wal())?;
    }
    Ok(())
}

/// Says in the directory which format it has, once.
pub(super) fn record(disk: &dyn Disk, paths: &Paths) -> Result<(), StorageError> {
    let path = paths.format();
    if recorded(disk, &path)?.is_some() {
        return Ok(());
    }
    let unfinished = path.with_extension("new");
    let written = (|| {
        match disk.remove(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        write_durably(disk, &unfinished, &[format!("{WORDS}{FORMAT}\n").as_bytes()])?;
        disk.rename(&unfinished, &path)?;
        disk.sync_folder(paths.root())
    })();
    written.map_err(failed("write", &path))
}

/// Returns the recorded format; `None` without the file.
fn recorded(disk: &dyn Disk, path: &Path) -> Result<Option<u32>, StorageError> {
    let bytes = match read_all(disk, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(failed("read", path))?,
    };
    let text = str::from_utf8(&bytes).ok();
    let number = text.and_then(|text| text.strip_prefix(WORDS)?.trim_end().parse().ok());
    number.map(Some).ok_or_else(|| StorageError::Corrupt {
        path: path.to_owned(),
        reason: "it does not say a format".to_owned(),
    })
}
