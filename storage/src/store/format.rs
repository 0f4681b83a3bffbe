//! Format of a data directory, so that an older program refuses a newer one's directory.
//!
//! The file `<data-dir>/format` contains it. Format 2 is the log of `docs/formats/wal.md` and the
//! tables of `docs/formats/tables.md`. Format 1 has no columns of attributes, so a program of
//! format 1 would read rows of format 2 without those values. A directory without the file has
//! format 1.

use std::{io, path::Path};

use tidings_disk::{Disk, paths::Paths, read_all, replace_durably};
use tidings_files::{StorageError, error::failed};

/// The newest format this program reads, and the one it writes.
pub(crate) const FORMAT: u32 = 2;
const WORDS: &str = "tidings data directory, format ";
/// Content of the format file until a restore has ended. Every program refuses the directory.
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
        tidings_wal::check_formats(disk, &paths.wal())?;
    }
    Ok(())
}

/// Records the current format in a new directory, and in one of an older format before anything of
/// this format is written. An older format stays where nothing can be written.
pub(super) fn record(disk: &dyn Disk, paths: &Paths) -> Result<(), StorageError> {
    let found = recorded(disk, &paths.format())?;
    if found.is_some_and(|found| found >= FORMAT) {
        return Ok(());
    }
    match write(disk, paths, FORMAT) {
        Err(StorageError::Io { source, .. })
            if found.is_some() && source.kind() == io::ErrorKind::ReadOnlyFilesystem =>
        {
            Ok(())
        }
        replaced => replaced,
    }
}

/// Makes every program refuse the directory until [`write`].
pub(crate) fn begin_restore(disk: &dyn Disk, paths: &Paths) -> Result<(), StorageError> {
    let path = paths.format();
    replace_durably(disk, &path, RESTORING.as_bytes()).map_err(failed("write", &path))
}

/// Records that the directory is complete and has this format.
pub(crate) fn write(disk: &dyn Disk, paths: &Paths, format: u32) -> Result<(), StorageError> {
    let path = paths.format();
    let text = format!("{WORDS}{format}\n");
    replace_durably(disk, &path, text.as_bytes()).map_err(failed("write", &path))
}

/// Returns the recorded format, or `None` without the file.
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

#[cfg(test)]
mod tests {
    use std::fs;

    use tidings_disk::{RealDisk, paths::Paths};

    use super::{FORMAT, WORDS, check, record, write};

    #[test]
    fn an_older_directory_gets_the_number_and_a_newer_one_keeps_its_own() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path());
        for (before, after) in [(None, FORMAT), (Some(1), FORMAT), (Some(FORMAT + 1), FORMAT + 1)] {
            if let Some(before) = before {
                write(&RealDisk, &paths, before).unwrap();
            }
            record(&RealDisk, &paths).unwrap();
            let text = fs::read_to_string(paths.format()).unwrap();
            assert_eq!(text, format!("{WORDS}{after}\n"));
            assert_eq!(check(&RealDisk, &paths).is_ok(), after == FORMAT);
        }
    }
}
