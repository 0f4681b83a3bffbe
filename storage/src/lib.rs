//! Stores spans and logs: durable when acknowledged, queryable at once, columnar at rest.
//!
//! Owns the memtable, the Parquet data files and the Delta tables, and what the log's records mean.
//! The log itself is `tidings_wal`, the columns and their rows are `tidings_columns`, the disk is
//! `tidings_disk`. Contains no HTTP, and no wire format other than OTLP's bytes.
//!
//! ```text
//! append: OTLP request ─► wal (fsync) ─► columns ─► memtable ─► flush ─► data files + Delta commit
//! read:   Snapshot = memtable ∪ data files, consistent ─► scan ─► SpanRows / LogRows
//! ```

mod backup;
mod blocking;
mod check;
mod comparison;
mod damage;
mod data_file;
mod error;
mod filter;
#[doc(hidden)]
pub mod fuzzed_files;
mod index;
mod index_bytes;
mod line_file;
mod locked_file;
mod maintenance;
mod memory;
mod metrics;
mod pins;
mod rollup;
mod rollup_query;
#[cfg(test)]
mod samples;
mod scan;
mod settings;
mod snapshot;
mod store;
mod table_change;
mod table_file;
mod table_store;
mod tables;
mod text_portions;

pub use backup::{
    BackupContent, BackupId, BackupLocation, BackupMonitor, BackupReport, BackupSource,
    ListedBackup, RestoreReport, VerifyReport, back_up, list_backups, restore_backup,
    verify_backup,
};
pub use check::check;
pub use data_file::{metadata_bytes, metadata_reads};
pub use error::{ErrorKind, StorageError};
pub use filter::{
    AttributeFilter, AttributeOwner, ConditionNumber, FuzzyWord, Glyph, LogColumn, LogCondition,
    LogExpression, LogFilter, Needle, Nesting, NumberBound, Phrase, SpanFilter, TextBound,
    TextPattern, TextPredicate, TimeRange, ValuePredicate, Wildcard, WildcardScope,
};
pub use line_file::LineFile;
pub use locked_file::{LockedFile, read_regular};
pub use maintenance::{ClockGuard, DeferredRewrites, Retention, RetentionCondition, RetentionRule};
pub use metrics::{CacheReads, StoreMeasurements};
pub use pins::{PIN_NOTE_CHARS_MAX, PINS_MAX, Pin};
pub use rollup::{
    Call, CallCounts, CallKey, Calls, CutServices, DeduplicationSet, Durations,
    ExceptionAttributes, ExceptionKey, FORM_WILDCARD, FormBounds, FormRecords, FormSummary,
    FormTable, FormWriter, GraphCall, GraphKey, GraphPart, GraphSpan, KeptForms, KindBounds,
    KindCalls, KindKey, LATENCY_BOUNDS, Latency, ListedKind, LogCountBucket, OtherKinds, Peer,
    RollupBucket, SampleSpec, Transactions, graph_calls, split_at_gaps, transaction_position,
};
pub use rollup_query::{
    AggregationWatch, CallAccumulator, CallAccumulatorFactory, CallAggregate, CallBounds,
    CountVisit, CountedForms, CountedLogs, ExceptionBounds, ExceptionGroups, ExceptionSums,
    GraphAggregate, GraphBounds, GraphChoice, GraphDetail, KindAnswer, LastException,
};
pub use scan::{RowsNeeded, Scan, ScanStats, ScanWatch};
pub use settings::{StoreMemory, StoreSettings};
pub use snapshot::Snapshot;
pub use store::{
    ConvertedBatch, ERASURES_MAX, Erasure, ErasureRecord, ErasureReport, ErasureState,
    MaintenanceReport, Recovery, Store, StoreCounts, StoreUsage, TableUsage, TelemetryBatch,
};
pub use table_store::{ObjectAddress, ObjectStoreSettings, TablesAt};
pub use text_portions::text_portions;
pub use tidings_columns::{
    AttributeTexts, LogRows, Projection, Scalar, SpanRows, conversion::json_text,
    schema::is_sender_key,
};
pub use tidings_disk::{CheckSummary, Finding};
pub use tidings_runtime::{
    Clock, Supervision, SystemClock, TIME_BOUNDS, TaskHealth, TaskState, TimeCounts, TimeHistogram,
};
