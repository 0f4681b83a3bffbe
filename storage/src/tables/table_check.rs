//! Verifies a table: its commits, its data files page by page, and their indexes.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tidings_data_file::comparison::{FileComparison, Start};
use tidings_disk::{Finding, Findings, paths::index_path};
use tidings_files::{
    StorageError, blocking::blocking, table_file::DataFile, table_store::SharedTables,
};
use tidings_index::IndexState;
use tidings_proto::Signal;
use tidings_wal::LogExtent;

use super::TelemetryTable;

/// Verifies a table. Returns its flushed position, unless damage hides it.
pub(crate) async fn check(
    tables: &SharedTables,
    signal: Signal,
    extent: &LogExtent,
    findings: &mut Findings<'_>,
) -> Result<Option<u64>, StorageError> {
    let log_folder = tables.folder(signal.table()).join("_delta_log");
    let opened = match TelemetryTable::peek(tables, signal, extent).await {
        Ok(Some(opened)) => opened,
        Ok(None) => {
            if !extent.has_lost_commits(signal, 0) {
                return Ok(Some(0));
            }
            let what = "it is missing, and the write-ahead log no longer has its rows";
            findings.add(Finding::new(&tables.folder(signal.table()), what));
            return Ok(None);
        }
        Err(error) => {
            // An error of Delta may end with a backtrace.
            let error = error.to_string();
            let error = error.lines().next().unwrap_or_default();
            let what = format!("the table's log cannot be read: {error}");
            findings.add(Finding::new(&log_folder, what));
            return Ok(None);
        }
    };
    findings.summary.commits += opened.commits;
    let is_known = opened.position_damage.is_none() && opened.table.damage().is_none();
    if let Some(damage) = opened.position_damage {
        findings.add(Finding::new(&damage.path, damage.to_string()));
    }
    if let Some(damage) = opened.table.damage() {
        findings.add(Finding::new(&damage.path, damage.reason));
    }
    for file in opened.files {
        let (of_it, file_of_it) = (Arc::clone(tables), Arc::clone(&file));
        let found = blocking(move || Ok(data_file(&of_it, signal, &file_of_it))).await?;
        findings.summary.data_files += 1;
        findings.summary.rows += file.rows;
        for finding in found {
            findings.add(finding);
        }
    }
    Ok(is_known.then_some(opened.covered))
}

/// Returns the findings for a data file and its index.
fn data_file(tables: &SharedTables, signal: Signal, file: &DataFile) -> Vec<Finding> {
    let wrong = |what: String| vec![Finding::new(&file.path, what)];
    let (compared, is_current, is_whole) = match FileComparison::open(file) {
        Start::Wrong(finding) => return vec![finding],
        Start::FileComparison(pieces) => (pieces.finish(file), true, true),
        Start::NoSums(found) => {
            (Ok(()), found != IndexState::Sound(None), found != IndexState::Damaged)
        }
    };
    if let Err(finding) = compared {
        return vec![finding];
    }
    if let Some(what) = decoded(file) {
        return wrong(what);
    }
    let path = index_path(&file.path);
    let found = tables.read(&path).map(|found| tidings_index::without_corrections(found.into()));
    match (found, tidings_data_file::index_of(signal, file)) {
        // Indexes of earlier programs have fewer sections.
        (Ok(found), Ok(made))
            if found == made && is_whole
                || !is_current
                || tidings_index::is_outdated(&found, &made) =>
        {
            Vec::new()
        }
        (Ok(_), Ok(_)) => vec![Finding::new(&path, "it is not what the data file makes")],
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => {
            vec![Finding::new(&path, "it is missing; it is made again when it is asked for")]
        }
        (Err(error), _) => vec![Finding::new(&path, format!("it cannot be read: {error}"))],
        (_, Err(error)) => wrong(error.to_string()),
    }
}

/// Decodes a data file from end to end. Returns the damage, if any.
pub(crate) fn decoded(file: &DataFile) -> Option<String> {
    // Damaged files can make decoders panic.
    match catch_unwind(AssertUnwindSafe(|| decode(file))) {
        Ok(Ok(rows)) if rows == file.rows => None,
        Ok(Ok(rows)) => Some(format!("it has {rows} rows and not {}", file.rows)),
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("decoding it panics".to_owned()),
    }
}

/// Reads every page of every column. Returns the number of rows.
fn decode(file: &DataFile) -> Result<u64, StorageError> {
    let opened = file.open().map_err(tidings_files::error::failed("open", &file.path))?;
    let mut rows = 0;
    for batch in ParquetRecordBatchReaderBuilder::try_new(opened)?.build()? {
        rows += batch?.num_rows() as u64;
    }
    Ok(rows)
}
