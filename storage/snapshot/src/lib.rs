//! The consistent view of memory and files, and its answers from rollups.
//!
//! Owns the snapshot ([`snapshot`]) and the aggregates of calls, graphs, transaction types,
//! exceptions and log records over a range, from rollups where whole hours allow it and from rows
//! elsewhere ([`rollup_query`]). Does not own the sections of rollups, which are
//! `tidings_rollup`'s, or the memtable.

pub mod rollup_query;
pub mod snapshot;

pub use rollup_query::{
    AggregationWatch, CallAccumulator, CallAccumulatorFactory, CallAggregate, CallBounds,
    CountVisit, CountedForms, CountedLogs, ExceptionBounds, ExceptionGroups, ExceptionSums,
    GraphAggregate, GraphBounds, GraphChoice, GraphDetail, LastException, TransactionTypeAnswer,
};
pub use snapshot::Snapshot;
