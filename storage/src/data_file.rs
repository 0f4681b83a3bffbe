//! Parquet data files.

use std::{ops::ControlFlow, path::PathBuf};

use tidings_proto::UnixNanos;

use crate::{
    Detail, StorageError,
    filter::Matcher,
    snapshot::{Progress, Visit},
};

/// A data file that a snapshot reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataFile {
    /// Where it is; absolute.
    pub(crate) path: PathBuf,
    /// Its partition: hours since the epoch.
    pub(crate) hour: i64,
    /// How many rows it has.
    pub(crate) rows: u64,
    /// How long it is.
    pub(crate) bytes: u64,
    /// The earliest time of its rows.
    pub(crate) start_min: UnixNanos,
    /// The latest time of its rows.
    pub(crate) start_max: UnixNanos,
}

pub(crate) fn scan(
    _file: &DataFile,
    _matcher: &mut Matcher,
    _detail: Detail,
    _progress: &mut Progress,
    _visit: &mut Visit<'_>,
) -> Result<ControlFlow<()>, StorageError> {
    Ok(ControlFlow::Continue(()))
}
