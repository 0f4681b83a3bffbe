//! Which format a data directory has, so that an older program leaves a newer one's alone.
//!
//! `<data-dir>/format` says it. Format 1 is the log of `docs/formats/wal.md` and the tables of
//! `docs/formats/tables.md`; a directory without the file is of format 1 too.

use std::{io, path::Path};

use crate::{
    StorageError,
    disk::{Disk, failed, read_all, replace_durably, write_durably},
    paths::Paths,
    wal,
};

/// The newest format this program reads, and the one it writes.
pub(crate) const FORMAT: u32 = 1;
const WORDS: &str = "tidings data directory, format ";
/// In the place of the format, until a restore has ended: every program refuses the directory.
const RESTORING: &str = "tidings data directory, being restored from a backup\n";

/// Refuses a directory of a newer format. Writes nothing.
pub(crate) fn check(disk: &dyn Disk, paths: &Paths) -> Result<(), StorageError> {
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

/// Makes every program refuse the directory until [`end_restore`].
pub(crate) fn begin_restore(disk: &dyn Disk, paths: &Paths) -> Result<(), StorageError> {
    let path = paths.format();
    replace_durably(disk, &path, RESTORING.as_bytes()).map_err(failed("write", &path))
}

/// Says that everything of this format is there.
pub(crate) fn end_restore(disk: &dyn Disk, paths: &Paths, format: u32) -> Result<(), StorageError> {
    let path = paths.format();
    let text = format!("{WORDS}{format}\n");
    replace_durably(disk, &path, text.as_bytes()).map_err(failed("write", &path))
}

/// Returns the recorded format; `None` without the file.
pub(crate) fn recorded(disk: &dyn Disk, path: &Path) -> Result<Option<u32>, StorageError> {
    let bytes = match read_all(disk, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(failed("read", path))?,
    };
    let text = str::from_utf8(&bytes).ok();
    let number = text.and_then(|text| text.strip_prefix(WORDS)?.trim_end().parse().ok());
    let reason = || match text {
        Some(RESTORING) => {
            "a restore into this directory did not end; remove all that is in it and restore again"
                .to_owned()
        }
        _ => format!(
            "it does not say a format; if this program wrote the directory last, write the line \
             `{WORDS}{FORMAT}` into it"
        ),
    };
    let unknown = || StorageError::UnknownFormat { path: path.to_owned(), reason: reason() };
    number.map(Some).ok_or_else(unknown)
}
