//! Data files in folders, their scans, and indexes of earlier programs, for tests.

#![allow(clippy::unwrap_used, reason = "tests alone call it")]
#![expect(clippy::disallowed_methods, reason = "tests make files")]

use std::{fs, ops::ControlFlow, path::Path, sync::Arc};

use tidings_columns::{LogRows, Projection, SpanRows};
use tidings_disk::paths::index_path;
use tidings_files::{StorageError, table_file::DataFile};
use tidings_index::{Indexes, LogFilter, SpanFilter, filter::Matcher};

use crate::{EncodedFile, ScanStats, TableView, scan::Progress};

/// Writes data files with their indexes, as a table stores them.
pub fn stored(table: &Path, encoded: Vec<EncodedFile>) -> Vec<Arc<DataFile>> {
    encoded
        .into_iter()
        .map(|file| {
            let folder = table.join(format!("hour={}", file.hour));
            fs::create_dir_all(&folder).unwrap();
            let number = fs::read_dir(&folder).unwrap().count();
            let path = folder.join(format!("{number}.parquet"));
            let index = index_path(&path);
            fs::create_dir_all(index.parent().unwrap()).unwrap();
            fs::write(&path, &file.bytes).unwrap();
            fs::write(index, &file.index).unwrap();
            let (min, max) = (file.stats.start_min, file.stats.start_max);
            let bytes = file.bytes.len() as u64;
            Arc::new(DataFile::new(path, file.hour, file.rows, bytes, min, max))
        })
        .collect()
}

/// Returns the index as an older release wrote it: without terms of the texts of arrays, and with
/// filters of 8 bits for each trace. Only the parts that a reader looks at are changed.
pub fn of_earlier(index: &[u8]) -> bytes::Bytes {
    const ALL_TERMS_BEFORE: u32 = 10;
    const ALL_TERMS: u32 = 20;
    const FILTER_BEFORE: u32 = 1;
    const FILTER: u32 = 17;
    let number = |at: usize| u32::from_le_bytes(index[at..at + 4].try_into().unwrap());
    let end = usize::try_from(number(12)).unwrap();
    let (mut at, mut head) = (32, index[..32].to_vec());
    while at < end - 4 {
        let start = at + 8;
        at = start + usize::try_from(number(start - 4)).unwrap();
        let (kind, section) = match (number(start - 8), &index[start..at]) {
            (ALL_TERMS, section) => (ALL_TERMS_BEFORE, section.to_vec()),
            (FILTER, section) => {
                let (fixed, cells) = section.split_at(16);
                let low = cells.iter().step_by(2);
                (FILTER_BEFORE, fixed.iter().chain(low).copied().collect())
            }
            (kind, section) => (kind, section.to_vec()),
        };
        head.extend(kind.to_le_bytes());
        head.extend(u32::try_from(section.len()).unwrap().to_le_bytes());
        head.extend(section);
    }
    let length = u32::try_from(head.len() + 4).unwrap();
    head[12..16].copy_from_slice(&length.to_le_bytes());
    let crc = crc32c::crc32c(&head);
    head.extend(crc.to_le_bytes());
    assert!(head != index[..end], "there is something in it that changed");
    head.extend(&index[end..]);
    head.into()
}

/// Passes the spans of a view that match to `visit`, of all columns.
///
/// # Errors
/// When a data file is missing or damaged.
pub fn scan_spans(
    view: &TableView,
    indexes: &Indexes,
    filter: &SpanFilter,
    mut visit: impl FnMut(&SpanRows),
) -> Result<ScanStats, StorageError> {
    let progress = Progress::new(u64::MAX, Arc::default());
    view.scan(indexes, Matcher::spans(filter), Projection::Full, progress, &mut |batch| {
        visit(&SpanRows::from_batch(batch)?);
        Ok(ControlFlow::Continue(()))
    })
}

/// Passes the log records of a view that match to `visit`, of all columns.
///
/// # Errors
/// When a data file is missing or damaged.
pub fn scan_logs(
    view: &TableView,
    indexes: &Indexes,
    filter: &LogFilter,
    mut visit: impl FnMut(&LogRows),
) -> Result<ScanStats, StorageError> {
    let progress = Progress::new(u64::MAX, Arc::default());
    view.scan(indexes, Matcher::logs(filter), Projection::Full, progress, &mut |batch| {
        visit(&LogRows::from_batch(batch)?);
        Ok(ControlFlow::Continue(()))
    })
}
