//! Keeps spans and logs: durable when acknowledged, queryable at once, columnar at rest.
//!
//! Owns the write-ahead log, the memory table, the Arrow schema, the Parquet data files and the
//! Delta tables. Speaks no HTTP and knows no wire format other than OTLP's bytes.
//!
//! ```text
//! append: OTLP request ─► wal (fsync) ─► columns ─► memory table ─► flush ─► data files + Delta commit
//! read:   Snapshot = memory table ∪ data files, consistent ─► scan ─► SpanRows / LogRows
//! ```

mod clock;
#[allow(dead_code, unused_imports, reason = "until the store uses it")]
mod columns;
#[allow(dead_code, unused_imports, reason = "until the store uses it")]
mod data_file;
mod disk;
mod error;
#[allow(dead_code, unused_imports, reason = "until the store uses it")]
mod filter;
#[allow(dead_code, unused_imports, reason = "until the store uses it")]
mod memory;
mod paths;
#[allow(dead_code, unused_imports, reason = "until the store uses it")]
mod rows;
#[cfg(test)]
mod samples;
mod scan;
#[allow(dead_code, unused_imports, reason = "until the store uses it")]
mod schema;
mod settings;
#[allow(dead_code, unused_imports, reason = "until the store uses it")]
mod snapshot;
mod store;
mod tables;
mod wal;

pub use clock::{Clock, SystemClock};
pub use error::{ErrorKind, StorageError};
pub use filter::{AttributeFilter, LogFilter, SpanFilter, TimeRange};
pub use rows::{LogRows, SpanRows};
pub use scan::{Detail, Scan, ScanStats};
pub use settings::StoreSettings;
pub use snapshot::Snapshot;
pub use store::{Recovery, Store, StoreCounts, TelemetryBatch};
