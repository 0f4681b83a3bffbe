//! The consistent view of memory and files, and its answers from rollups.
//!
//! Owns the [`Snapshot`], and the aggregates of calls, graphs, transaction types, exceptions and log
//! records over a range ([`rollup_query`]). They come from rollups where these are complete, and
//! from rows elsewhere. Does not own the sections of rollups, which are `tidings_rollup`'s, or the
//! memtable.

pub mod rollup_query;
mod snapshot;

pub use rollup_query::{
    AggregationWatch, CallAccumulator, CallAccumulatorFactory, CallAggregate, CallBounds,
    CountVisit, CountedForms, CountedLogs, ExceptionBounds, ExceptionGroups, ExceptionSums,
    GraphAggregate, GraphBounds, GraphChoice, GraphDetail, LastException, TransactionTypeAnswer,
};
pub use snapshot::Snapshot;
