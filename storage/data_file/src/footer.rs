//! Cache of decoded metadata of data files within a memory budget, and columns that files lack.

use std::{
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
use quick_cache::{Weighter, unsync::Cache};
use tidings_columns::schema::{self, SignalSchema};
use tidings_files::{StorageError, error::failed, metrics::CacheReads, table_store::FetchFailure};
use tidings_proto::Signal;

use super::attributes::FileAttributes;

/// Cache of the process. Files never change once they have their name, so all readers can share
/// decoded metadata. The cache is empty until a store sets its size.
static FOOTERS: LazyLock<Mutex<Footers>> = LazyLock::new(|| Mutex::new(Footers::new(0)));

/// Approximate memory of a column in Arrow's schema and in structures that readers derive from it.
const FIELD_BYTES: usize = 400;

/// Number of files whose metadata is expected to fill the budget. The cache remembers the paths of
/// half as many evicted files, and metadata that is read again stays longer.
const FILES_EXPECTED: usize = 4096;

/// Metadata of a file and its attribute columns.
pub(super) type FileFooter = (ArrowReaderMetadata, Arc<FileAttributes>);

#[derive(Debug)]
struct CachedFooter {
    footer: FileFooter,
    bytes: u64,
}

#[derive(Debug)]
struct FooterBytes;

impl Weighter<PathBuf, CachedFooter> for FooterBytes {
    fn weight(&self, _path: &PathBuf, cached: &CachedFooter) -> u64 {
        cached.bytes
    }
}

/// Cache that evicts entries read once before entries read repeatedly. An entry that takes nearly
/// the whole budget is not cached and evicts nothing.
#[derive(Debug)]
struct Footers {
    by_path: Cache<PathBuf, CachedFooter, FooterBytes>,
    reads: CacheReads,
}

impl Footers {
    fn new(bytes_max: u64) -> Self {
        let by_path = Cache::with_weighter(FILES_EXPECTED, bytes_max, FooterBytes);
        Self { by_path, reads: CacheReads::default() }
    }

    fn get(&mut self, path: &Path) -> Option<FileFooter> {
        let cached = self.by_path.get(path);
        self.reads.count(cached.is_some());
        cached.map(|cached| cached.footer.clone())
    }

    fn keep(&mut self, path: &Path, footer: FileFooter) {
        let fields = footer.0.parquet_schema().num_columns() * FIELD_BYTES;
        let bytes = footer.0.metadata().memory_size() + footer.1.memory_size() + fields;
        self.by_path.insert(path.to_owned(), CachedFooter { footer, bytes: bytes as u64 });
    }
}

/// Sets the memory budget of the metadata of all files, in bytes.
pub fn set_metadata_bytes_max(bytes_max: u64) {
    FOOTERS.lock().unwrap_or_else(PoisonError::into_inner).by_path.set_capacity(bytes_max);
}

/// Returns the bytes of cached file metadata, of all stores of the process.
#[must_use]
pub fn metadata_bytes() -> u64 {
    FOOTERS.lock().unwrap_or_else(PoisonError::into_inner).by_path.weight()
}

/// Returns the number of metadata lookups that hit and that missed the cache.
#[must_use]
pub fn metadata_reads() -> CacheReads {
    FOOTERS.lock().unwrap_or_else(PoisonError::into_inner).reads
}

/// Returns the metadata of an open file.
pub(super) fn footer<T: ChunkReader>(
    signal: Signal,
    path: &Path,
    file: &T,
) -> Result<ArrowReaderMetadata, StorageError> {
    file_footer(signal, path, file).map(|(footer, _)| footer)
}

/// Returns the metadata of an open file and its attribute columns.
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

/// Returns the row columns that a file lacks because it was written by an older release.
pub(super) fn absent_fields(signal: Signal, footer: &ArrowReaderMetadata) -> Vec<FieldRef> {
    let found = footer.schema();
    let absent = signal.optional_fields().filter(|field| found.index_of(field.name()).is_err());
    absent.map(Arc::new).collect()
}

/// Adds these columns to the rows, with nulls.
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

/// Runs a step of decoding. Any fault of the file, even a panic of the decoder, becomes an error
/// that names the file. A read error is not reported as damage.
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
                // zstd reports bytes that it cannot decompress as an I/O error.
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

#[cfg(test)]
mod tests {
    use arrow_schema::DataType;
    use bytes::Bytes;
    use parquet::arrow::ArrowWriter;

    use super::{
        Arc, ArrowReaderMetadata, ArrowReaderOptions, Field, FileAttributes, FileFooter, Footers,
        Path, PathBuf, Schema,
    };

    fn footer(columns: usize) -> FileFooter {
        let field = |n: usize| Field::new(format!("column {n}"), DataType::Int64, false);
        let schema = Arc::new(Schema::new((0..columns).map(field).collect::<Vec<_>>()));
        let mut bytes = Vec::new();
        ArrowWriter::try_new(&mut bytes, schema, None).unwrap().close().unwrap();
        let options = ArrowReaderOptions::new();
        let metadata = ArrowReaderMetadata::load(&Bytes::from(bytes), options).unwrap();
        let attributes = Arc::new(FileAttributes::new(&metadata));
        (metadata, attributes)
    }

    fn path(number: usize) -> PathBuf {
        PathBuf::from(format!("{number}.parquet"))
    }

    #[test]
    fn metadata_never_takes_more_than_its_bound_whatever_the_bound_becomes() {
        let footer = footer(3);
        let mut footers = Footers::new(1 << 30);
        footers.keep(&path(0), footer.clone());
        let one = footers.by_path.weight();
        let mut footers = Footers::new(0);
        let mut paths = (0..).map(path);
        for files in [0, 10, 3, 0, 40] {
            footers.by_path.set_capacity(files * one);
            assert!(footers.by_path.weight() <= files * one, "{files}");
            for path in paths.by_ref().take(200) {
                footers.keep(&path, footer.clone());
                assert!(footers.by_path.weight() <= files * one, "{files}");
                assert_eq!(footers.get(&path).is_some(), files > 0, "{files}");
            }
            assert!(footers.by_path.weight() * 2 >= files * one, "{files}");
        }
        assert_eq!((footers.reads.hits, footers.reads.misses), (600, 400));
    }

    #[test]
    fn metadata_that_does_not_fit_evicts_nothing() {
        let (small, large) = (footer(1), footer(1_000));
        let mut footers = Footers::new(1 << 30);
        footers.keep(&path(0), large.clone());
        let mut footers = Footers::new(footers.by_path.weight() - 1);
        for number in 0..3 {
            footers.keep(&path(number), small.clone());
        }
        footers.keep(Path::new("large.parquet"), large);
        assert!(footers.get(Path::new("large.parquet")).is_none());
        assert!((0..3).all(|number| footers.get(&path(number)).is_some()));
    }
}
