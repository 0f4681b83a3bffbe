//! Orphan files: files in a table's folder that the table does not reference.
//!
//! An orphan was removed by a commit, or written for a commit that was never made, or is being
//! written by another program. Only orphans of the first kind can be deleted soon, and only if this
//! store wrote them.
//!
//! Listing folders in an object store takes time, and flushes continue meanwhile, so an orphan may
//! be a file that a commit has just added. The caller therefore checks again while no flush is
//! running ([`OrphanFile::belongs_to_any`]). Other orphans can never be added later, because file
//! names are unique.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    time::Duration,
};

use tidings_disk::paths::index_path;
use tidings_files::{
    StorageError,
    error::failed,
    table_store::{TableStore, partitions},
};
use tidings_proto::UnixNanos;

/// Age at which files without a commit are deleted. No writer takes longer from upload to commit.
const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3600);

/// A file that the table does not reference.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OrphanFile {
    pub(crate) path: PathBuf,
    /// The data file itself, or the one that this file is the index of.
    pub(crate) data_file: PathBuf,
    written: UnixNanos,
}

/// Lists the files in a table's folder that are neither one of these data files nor an index of
/// one.
///
/// # Errors
/// When a folder cannot be listed.
pub(crate) fn orphan_files(
    tables: &dyn TableStore,
    table: &Path,
    known: &HashSet<PathBuf>,
) -> Result<Vec<OrphanFile>, StorageError> {
    let known_indexes: HashSet<PathBuf> = known.iter().map(|path| index_path(path)).collect();
    let mut orphan_files = Vec::new();
    for folder in partitions(tables, table)? {
        find(
            tables,
            &folder,
            |path| (!known.contains(path)).then(|| path.to_owned()),
            &mut orphan_files,
        )?;
    }
    let indexes = table.join("_index");
    for folder in partitions(tables, &indexes)? {
        let hour = folder.file_name().unwrap_or_default();
        let of_index = |path: &Path| {
            let mut data_file = table.join(hour).join(path.file_stem()?);
            data_file.add_extension("parquet");
            (!known_indexes.contains(path)).then_some(data_file)
        };
        find(tables, &folder, of_index, &mut orphan_files)?;
    }
    Ok(orphan_files)
}

fn find(
    tables: &dyn TableStore,
    folder: &Path,
    data_file: impl Fn(&Path) -> Option<PathBuf>,
    orphan_files: &mut Vec<OrphanFile>,
) -> Result<(), StorageError> {
    let entries = tables.list(folder).map_err(failed("list", folder))?;
    for entry in entries.into_iter().filter(|entry| entry.is_file && is_ours(&entry.name)) {
        let path = folder.join(&entry.name);
        if let Some(data_file) = data_file(&path)
            && let Ok(written) = tables.written(&path)
        {
            orphan_files.push(OrphanFile { path, data_file, written });
        }
    }
    Ok(())
}

/// Returns true for names given by [`crate::tables::file_path`], their indexes, and unfinished
/// versions of both; false for files of other programs.
fn is_ours(name: &str) -> bool {
    let (name, unfinished) = name.split_once('#').unwrap_or((name, ""));
    let Some(stem) = name.strip_suffix(".parquet").or_else(|| name.strip_suffix(".index")) else {
        return false;
    };
    let mut parts = stem.rsplit('-');
    let nonce = parts.next().is_some_and(|part| part.len() == 16 && is_hex(part));
    let number = parts.next().is_some_and(|part| part.len() == 4 && is_digits(part));
    nonce && number && parts.next().is_some() && is_digits(unfinished)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

impl OrphanFile {
    /// Returns true if the orphan is one of these data files, or the index of one.
    pub(crate) fn belongs_to_any(&self, known: &HashSet<PathBuf>) -> bool {
        known.contains(&self.data_file)
            && (self.path == self.data_file || self.path == index_path(&self.data_file))
    }

    /// Returns true if the orphan may be deleted: long enough after the commit that removed it, or a
    /// day after an orphan was written.
    pub(crate) fn is_waste(
        &self,
        removed: &HashMap<PathBuf, UnixNanos>,
        removed_file_age: Duration,
        now: UnixNanos,
    ) -> bool {
        let (since, age) = match removed.get(&self.data_file) {
            Some(removed) => (*removed, removed_file_age),
            None => (self.written, ORPHAN_AGE),
        };
        let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        since.0.saturating_add(age) <= now.0
    }
}

#[cfg(test)]
mod tests {
    use super::is_ours;

    #[test]
    fn only_files_of_this_program_are_orphans() {
        let ours = crate::tables::file_path(7, "merged", 3);
        let ours = ours.rsplit('/').next().unwrap();
        let stem = ours.strip_suffix(".parquet").unwrap();
        for ending in ["", "#1234"] {
            assert!(is_ours(&format!("{ours}{ending}")));
            assert!(is_ours(&format!("{stem}.index{ending}")));
        }
        assert!(is_ours(&format!("{stem}.index#")));
        for name in ["a.json", "README", "_SUCCESS", "a.parquet", "-0000-.parquet"] {
            assert!(!is_ours(name), "{name}");
        }
        assert!(!is_ours(&format!("{ours}.crc")));
        assert!(!is_ours(&format!("{ours}#x")));
        let foreign = "part-00000-8f1c2a2e-3f6b-4c55-9d10-0d9a4c1f7b21-c000.snappy.parquet";
        assert!(!is_ours(foreign));
    }
}
