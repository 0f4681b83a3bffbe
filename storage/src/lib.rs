//! Stores spans and logs: durable when acknowledged, queryable at once, columnar at rest.
//!
//! Owns the memtable, the Delta tables, what the log's records mean, and when data files are written,
//! merged and removed. Below it are the log (`tidings_wal`), columns and their rows
//! (`tidings_columns`), data files (`tidings_data_file`), their indexes and rollups
//! (`tidings_index`, `tidings_rollup`) and the view that queries read (`tidings_snapshot`). Contains
//! no HTTP, and no wire format other than OTLP's bytes.
//!
//! ```text
//! append: OTLP request ─► wal (fsync) ─► columns ─► memtable ─► flush ─► data files + Delta commit
//! read:   Snapshot = memtable ∪ data files, consistent ─► scan ─► SpanRows / LogRows
//! ```

mod backup;
mod check;
#[doc(hidden)]
pub mod fuzzed_files;
mod maintenance;
mod pins;
mod settings;
mod store;
mod table_change;
mod tables;
mod text_portions;

pub use tidings_columns::{
    AttributeTexts, LogRows, Projection, Scalar, SpanRows, conversion::json_text,
    schema::is_sender_key,
};
pub use tidings_data_file::{
    RowsNeeded, Scan, ScanStats, ScanWatch, metadata_bytes, metadata_reads,
};
pub use tidings_disk::{CheckSummary, Finding};
pub use tidings_files::{
    CacheReads, ErrorKind, LineFile, LockedFile, ObjectAddress, ObjectStoreSettings, StorageError,
    StoreMeasurements, TablesAt, read_regular,
};
pub use tidings_index::{
    AttributeFilter, AttributeOwner, ConditionNumber, FuzzyWord, Glyph, LogColumn, LogCondition,
    LogExpression, LogFilter, Needle, Nesting, NumberBound, Phrase, SpanFilter, TextBound,
    TextPattern, TextPredicate, TimeRange, ValuePredicate, Wildcard, WildcardScope,
};
pub use tidings_rollup::{
    Call, CallCounts, CallKey, Calls, CutServices, DeduplicationSet, Durations,
    ExceptionAttributes, ExceptionKey, FORM_WILDCARD, FormBounds, FormRecords, FormSummary,
    FormTable, FormWriter, GraphCall, GraphKey, GraphPart, GraphSpan, KeptForms, LATENCY_BOUNDS,
    Latency, ListedTransactionType, LogCountBucket, OtherTransactionTypes, Peer, RollupBucket,
    SampleSpec, TransactionTypeBounds, TransactionTypeCalls, TransactionTypeKey, Transactions,
    graph_calls, split_at_gaps, transaction_position,
};
pub use tidings_runtime::{
    Clock, Supervision, SystemClock, TIME_BOUNDS, TaskHealth, TaskState, TimeCounts, TimeHistogram,
};
pub use tidings_snapshot::{
    AggregationWatch, CallAccumulator, CallAccumulatorFactory, CallAggregate, CallBounds,
    CountVisit, CountedForms, CountedLogs, ExceptionBounds, ExceptionGroups, ExceptionSums,
    GraphAggregate, GraphBounds, GraphChoice, GraphDetail, LastException, Snapshot,
    TransactionTypeAnswer,
};

pub use backup::{
    BackupContent, BackupId, BackupLocation, BackupMonitor, BackupReport, BackupSource,
    ListedBackup, RestoreReport, VerifyReport, back_up, list_backups, restore_backup,
    verify_backup,
};
pub use check::check;
pub use maintenance::{ClockGuard, DeferredRewrites, Retention, RetentionCondition, RetentionRule};
pub use pins::{PIN_NOTE_CHARS_MAX, PINS_MAX, Pin};
pub use settings::{StoreMemory, StoreSettings};
pub use store::{
    ConvertedBatch, ERASURES_MAX, Erasure, ErasureRecord, ErasureReport, ErasureState,
    MaintenanceReport, Recovery, Store, StoreCounts, StoreUsage, TableUsage, TelemetryBatch,
};
pub use text_portions::text_portions;
