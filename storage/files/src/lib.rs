//! Files of the tables, on a local disk or in an object store.
//!
//! Owns the one error of all storage ([`error`]), reports of damage ([`damage`]), the stores that
//! hold files of tables ([`table_store`]), the names of these files ([`table_file`]), files to which
//! lines are appended ([`LineFile`]) or that are changed under a lock ([`LockedFile`]), chunks of
//! the memtable ([`memory`]), blocking work ([`blocking`]) and the store's counters ([`metrics`]).
//! Does not own the content of a data file.
//!
//! The feature `samples` adds an object store whose requests fail. Only tests have it.

pub mod blocking;
pub mod damage;
pub mod error;
mod line_file;
mod locked_file;
pub mod memory;
pub mod metrics;
pub mod table_file;
pub mod table_store;

pub use error::{ErrorKind, StorageError};
pub use line_file::LineFile;
pub use locked_file::{LockedFile, read_regular};
pub use metrics::{CacheReads, StoreMeasurements};
pub use table_store::{ObjectAddress, ObjectStoreSettings, TablesAt};
