//! Writes new files from old ones.
//!
//! The outputs are written under their final names. They are not read before a commit names them.
//! Without a commit they are orphans.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tidings_data_file::{Choice, FileWriter, Merge, MergeLimits, WrittenFile};
use tidings_disk::{AppendFile, paths::index_path};
use tidings_files::{
    StorageError,
    error::failed,
    table_file::DataFile,
    table_store::{self, DataFileStore, SharedTables},
};
use tidings_index::ChecksumBuilder;
use tidings_proto::Signal;

use super::{
    merge_policy::FILE_BYTES,
    retention::{thinned_for, thinned_prefix},
};
use crate::tables::file_path;

/// Name prefix of a file from which no rows were removed.
const MERGED: &str = "merged";

/// Returns true if the file was written by a merge or a rewrite, judging by its name.
pub(super) fn is_rewritten(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(MERGED)) || thinned_for(path).is_some()
}

/// Number of portions that are copied between two pauses, which takes some tens of milliseconds.
const PORTIONS: usize = 4;

/// A running rewrite.
pub(crate) struct Rewrite {
    tables: SharedTables,
    signal: Signal,
    folder: PathBuf,
    hour: i64,
    prefix: String,
    /// Bytes that must stay free on the disk.
    leave: u64,
    merge: Merge,
    output: Option<RewriteOutput>,
    written: Vec<Arc<DataFile>>,
}

struct RewriteOutput {
    path: PathBuf,
    writer: FileWriter<Sink>,
}

impl Rewrite {
    /// Starts a rewrite of the chosen rows of these files, which are of one hour. `mark` records
    /// the retention rules. At least `leave` bytes stay free on the disk. `limits` bound the memory.
    ///
    /// # Errors
    /// When an input is missing or damaged.
    pub(crate) fn open(
        tables: SharedTables,
        signal: Signal,
        inputs: &[Arc<DataFile>],
        choice: Option<Choice>,
        mark: Option<u64>,
        leave: u64,
        limits: MergeLimits,
    ) -> Result<Self, StorageError> {
        Ok(Self {
            signal,
            folder: tables.folder(signal.table()),
            tables,
            hour: inputs.first().map_or(0, |file| file.hour),
            prefix: mark.map_or(MERGED.to_owned(), thinned_prefix),
            leave,
            merge: Merge::open(signal, inputs, choice, limits)?,
            output: None,
            written: Vec::new(),
        })
    }

    /// Performs a part of the work. Returns true if all is done and durable.
    ///
    /// # Errors
    /// When an input is damaged or the disk has no room for more. The written files are deleted
    /// then.
    pub(crate) fn advance(&mut self) -> Result<bool, StorageError> {
        let done = self.check_room().and_then(|()| self.copy());
        if done.is_err() {
            self.discard();
        }
        done
    }

    /// Checks the free space again, because other tasks write meanwhile and the size of indexes was
    /// estimated.
    fn check_room(&self) -> Result<(), StorageError> {
        // If free space cannot be measured, a write fails on a full disk.
        match self.tables.make_room(self.leave) {
            Ok(free) if free < self.leave => {
                Err(StorageError::DiskFull { free, reserve: self.leave })
            }
            _ => Ok(()),
        }
    }

    fn copy(&mut self) -> Result<bool, StorageError> {
        for _ in 0..PORTIONS {
            let Some(rows) = self.merge.next_rows()? else {
                self.end_output()?;
                return Ok(true);
            };
            let full = self.output.as_ref().is_some_and(|open| open.writer.bytes() >= FILE_BYTES);
            if full {
                self.end_output()?;
            }
            if self.output.is_none() {
                self.output = Some(self.start_output()?);
            }
            if let Some(output) = &mut self.output {
                output.writer.push(&rows)?;
            }
        }
        Ok(false)
    }

    /// Returns the new files, when all is done.
    pub(crate) fn files(&self) -> &[Arc<DataFile>] {
        &self.written
    }

    /// Deletes the written files. A file that cannot be deleted is only waste.
    pub(crate) fn discard(&mut self) {
        let open = self.output.take().map(|output| output.path);
        let written = std::mem::take(&mut self.written);
        for path in written.iter().map(|file| file.path.clone()).chain(open) {
            self.remove(&path);
        }
    }

    fn start_output(&self) -> Result<RewriteOutput, StorageError> {
        let path = self.folder.join(file_path(self.hour, &self.prefix, self.written.len()));
        let file = self.tables.create(&path).map_err(failed("create", &path))?;
        let sink = Sink { file, checksum_builder: ChecksumBuilder::default() };
        let (traces, columns) = (self.merge.traces(), self.merge.columns());
        let writer = FileWriter::new(self.signal, sink, traces, columns)?;
        Ok(RewriteOutput { path, writer })
    }

    fn end_output(&mut self) -> Result<(), StorageError> {
        let Some(output) = self.output.take() else { return Ok(()) };
        let path = output.path;
        let ended = (|| {
            let (mut sink, WrittenFile { rows, stats, index }) = output.writer.finish()?;
            sink.file.sync().map_err(failed("sync", &path))?;
            let sums = sink.checksum_builder.finish();
            let (index, index_path) = (index.finish(&sums), index_path(&path));
            let written = table_store::write(self.tables.as_ref(), &index_path, &index);
            written.map_err(failed("write", &index_path))?;
            let (min, max) = (stats.start_min, stats.start_max);
            let file = DataFile::new(path.clone(), self.hour, rows, sums.bytes(), min, max);
            let home = DataFileStore::new(&self.tables);
            Ok(DataFile { received_max: stats.received_max, home, ..file })
        })();
        match ended {
            Ok(file) => self.written.push(Arc::new(file)),
            Err(error) => {
                self.remove(&path);
                return Err(error);
            }
        }
        Ok(())
    }

    fn remove(&self, data_file: &Path) {
        let _ = self.tables.remove(data_file);
        let _ = self.tables.remove(&index_path(data_file));
    }
}

impl fmt::Debug for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rewrite").field("merge", &self.merge).finish_non_exhaustive()
    }
}

/// A file that computes checksums of the bytes written to it.
struct Sink {
    file: Box<dyn AppendFile>,
    checksum_builder: ChecksumBuilder,
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The caller retries an interrupted write for ever. An append must not be retried, because
        // a part of it may be in the file.
        self.file.append(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => io::Error::other(error),
            _ => error,
        })?;
        self.checksum_builder.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use tidings_disk::AppendFile;

    use super::{ChecksumBuilder, Sink};

    struct Interrupted;

    impl AppendFile for Interrupted {
        fn append(&mut self, _: &[u8]) -> io::Result<()> {
            Err(io::ErrorKind::Interrupted.into())
        }

        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_write_that_was_interrupted_is_not_tried_again() {
        let mut sink =
            Sink { file: Box::new(Interrupted), checksum_builder: ChecksumBuilder::default() };
        let failed = sink.write(b"rows").unwrap_err();
        assert_ne!(failed.kind(), io::ErrorKind::Interrupted);
        sink.write_all(b"rows").unwrap_err();
    }
}
