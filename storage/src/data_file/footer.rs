//! Decoded metadata of data files, kept for the files read last, and the columns that files lack.

use std::{
    collections::HashMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use arrow_array::{RecordBatch, new_null_array};
use arrow_schema::{ArrowError, Field, FieldRef, Schema};
use parquet::{
    arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions},
    errors::ParquetError,
    file::{metadata::PageIndexPolicy, reader::ChunkReader},
};

use super::attributes::FileAttributes;
use crate::{
    StorageError,
    disk::failed,
    metrics::CacheReads,
    schema::{self, Signal},
    table_store::FetchFailure,
};

/// One for the process: files never change once they have their name, so whoever reads one may
/// use what another has decoded. It keeps nothing before a store says how much.
static FOOTERS: LazyLock<Mutex<Footers>> = LazyLock::new(Mutex::default);

/// About what a column takes in Arrow's schema and in what readers derive from it.
const FIELD_BYTES: usize = 400;

#[derive(Debug, Default)]
struct Footers {
    by_path: HashMap<PathBuf, CachedFooter>,
    bytes: usize,
    bytes_max: usize,
    uses: u64,
    reads: CacheReads,
}

/// The metadata of a file, and the columns of attributes that it has.
pub(super) type FileFooter = (ArrowReaderMetadata, Arc<FileAttributes>);

#[derive(Debug)]
struct CachedFooter {
    footer: FileFooter,
    bytes: usize,
    last_use: u64,
}

impl Footers {
    fn get(&mut self, path: &Path) -> Option<FileFooter> {
        self.uses += 1;
        let kept = self.by_path.get_mut(path);
        self.reads.count(kept.is_some());
        let kept = kept?;
        kept.last_use = self.uses;
        Some(kept.footer.clone())
    }

    fn keep(&mut self, path: &Path, footer: FileFooter) {
        let fields = footer.0.parquet_schema().num_columns() * FIELD_BYTES;
        let bytes = footer.0.metadata().memory_size() + footer.1.memory_size() + fields;
        self.uses += 1;
        let kept = CachedFooter { footer, bytes, last_use: self.uses };
        self.bytes += bytes;
        if let Some(replaced) = self.by_path.insert(path.to_owned(), kept) {
            self.bytes -= replaced.bytes;
        }
        self.shrink();
    }

    /// Drops what was read longest ago until the rest fits.
    fn shrink(&mut self) {
        while self.bytes > self.bytes_max {
            let oldest = self.by_path.iter().min_by_key(|(_, kept)| kept.last_use);
            let Some(oldest) = oldest.map(|(path, _)| path.clone()) else { break };
            self.bytes -= self.by_path.remove(&oldest).map_or(0, |kept| kept.bytes);
        }
    }
}

/// From now on the metadata of all files together takes at most so many bytes.
pub(crate) fn set_metadata_bytes_max(bytes_max: u64) {
    let mut footers = FOOTERS.lock().unwrap_or_else(PoisonError::into_inner);
    footers.bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    footers.shrink();
}

/// Returns the bytes of the metadata of files, of every store of the process, that is in memory.
#[must_use]
pub fn metadata_bytes() -> u64 {
    FOOTERS.lock().unwrap_or_else(PoisonError::into_inner).bytes as u64
}

/// Returns how often metadata was wanted that was in memory, and that was not.
#[must_use]
pub fn metadata_reads() -> CacheReads {
    FOOTERS.lock().unwrap_or_else(PoisonError::into_inner).reads
}

/// The metadata of an open file.
pub(super) fn footer<T: ChunkReader>(
    signal: Signal,
    path: &Path,
    file: &T,
) -> Result<ArrowReaderMetadata, StorageError> {
    file_footer(signal, path, file).map(|(footer, _)| footer)
}

/// The metadata of an open file and its columns of attributes.
pub(super) fn file_footer<T: ChunkReader>(
    signal: Signal,
    path: &Path,
    file: &T,
) -> Result<FileFooter, StorageError> {
    let kept = FOOTERS.lock().unwrap_or_else(PoisonError::into_inner).get(path);
    if let Some(footer) = kept {
        return Ok(footer);
    }
    let footer = guarded(path, || load(signal, path, file))?;
    FOOTERS.lock().unwrap_or_else(PoisonError::into_inner).keep(path, footer.clone());
    Ok(footer)
}

fn load<T: ChunkReader>(signal: Signal, path: &Path, file: &T) -> Result<FileFooter, StorageError> {
    let options = ArrowReaderOptions::new()
        .with_skip_arrow_metadata(true)
        .with_page_index_policy(PageIndexPolicy::Optional);
    let plain = ArrowReaderMetadata::load(file, options.clone())?;
    let found = plain.schema();
    if let Some(name) = signal.required_columns().find(|name| found.index_of(name).is_err()) {
        let reason = format!("it has no column {name}");
        return Err(StorageError::Corrupt { path: path.to_owned(), reason });
    }
    let attributes = FileAttributes::new(&plain);
    let coded = attributes.coded_texts(&plain);
    let fields = found.fields().iter().map(|field| match signal.read_field(field.name()) {
        Some(read) => Arc::new(read.with_nullable(field.is_nullable())),
        None if coded.contains(field.name().as_str()) => {
            Arc::new(Field::clone(field).with_data_type(schema::word()))
        }
        None => Arc::clone(field),
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let footer = Arc::clone(plain.metadata());
    let footer = ArrowReaderMetadata::try_new(footer, options.with_schema(schema))?;
    Ok((footer, Arc::new(attributes)))
}

/// The columns of rows that a file lacks, because a version wrote it that did not have them.
pub(super) fn absent_fields(signal: Signal, footer: &ArrowReaderMetadata) -> Vec<FieldRef> {
    let found = footer.schema();
    let absent = signal.optional_fields().filter(|field| found.index_of(field.name()).is_err());
    absent.map(Arc::new).collect()
}

/// The rows with these columns, too, which are null.
pub(super) fn with_nulls(
    batch: RecordBatch,
    absent: &[FieldRef],
) -> Result<RecordBatch, ArrowError> {
    if absent.is_empty() {
        return Ok(batch);
    }
    let nulls = absent.iter().map(|field| new_null_array(field.data_type(), batch.num_rows()));
    let columns = batch.columns().iter().cloned().chain(nulls).collect();
    let fields: Vec<FieldRef> = batch.schema_ref().fields().iter().chain(absent).cloned().collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// Runs a step of decoding. Any fault of the file, a panic of the decoder included, becomes an
/// error that names the file. A read error is not reported as damage.
pub(super) fn guarded<T>(
    path: &Path,
    step: impl FnOnce() -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    let damaged = |reason| StorageError::Corrupt { path: path.to_owned(), reason };
    match catch_unwind(AssertUnwindSafe(step)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(StorageError::Parquet(ParquetError::External(error)))) => {
            let source = error.downcast::<io::Error>().map(|error| FetchFailure::source_of(*error));
            match source {
                Ok(Ok(source)) => Err(failed("read", path)(source)),
                // What cannot be decompressed, as zstd says it.
                Ok(Err(error)) => Err(damaged(error.to_string())),
                Err(error) => Err(damaged(error.to_string())),
            }
        }
        Ok(Err(StorageError::Parquet(error))) => Err(damaged(error.to_string())),
        Ok(Err(StorageError::Arrow(error))) => Err(damaged(error.to_string())),
        Ok(Err(error)) => Err(error),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(damaged(format!("decoding panicked: {}", text.unwrap_or("no reason given"))))
        }
    }
}
