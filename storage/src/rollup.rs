//! Calls added up by minute, beside every data file of spans.
//!
//! A data file's index has a section that says of every service, operation, kind and status how
//! many of the file's spans began in each minute, five minutes and half hour, how many failed, how
//! long they took and which stand for them. `build` adds them up while the file is written, with
//! `adder` and the numbers it met last in `recent`, `cells` is their bytes and `cell` those of one of them, `tally` answers from them, `repeats` finds the spans that two files
//! have, so that each counts once, and `hours` keeps what the files of an hour come to together. `latency` owns the rule of the buckets, `calls` what is kept of
//! calls.
//!
//! `graph` does the same for the calls of services by others, and `kinds` for the entries of traces.
//! What both count is known only of whole traces: `splits` finds those that two files have, `taken`
//! takes calls away again and `own_calls` says which, `covered` adds up what is left of a file's cells, over the stretches of
//! `totals`. `left_out` is the list of rows of which no cell knows. `builders` makes all of it in one
//! pass, and the list of exceptions in `exceptions`. `joint` says beforehand, for files that are not merged any
//! more, what their traces say together. `names` lists what was called, and counts it, without the rest.
//!
//! An answer from rollups is the answer from rows: what the rollups cannot tell (parts of a
//! minute, memory, files whose rollups are missing or damaged) is read as rows, and a span that is
//! in two places is taken away in one of them. Derived data only: `crate::index` makes it again.

mod adder;
mod build;
mod builders;
mod calls;
mod cell;
mod cells;
mod covered;
mod exceptions;
mod graph;
mod hours;
mod joint;
mod kinds;
mod latency;
mod left_out;
mod names;
mod own_calls;
mod recent;
mod repeats;
mod seen;
mod splits;
mod taken;
mod tally;
mod totals;
mod unanswered;

pub use calls::{Call, CallKey, Calls};
pub use cell::{Cell, Durations};
pub use exceptions::{
    ExceptionBounds, ExceptionKey, ExceptionSaid, ExceptionSums, ExceptionTallied, LastException,
};
pub use graph::{
    GraphBounds, GraphCall, GraphChoice, GraphKey, GraphPart, GraphSpan, GraphTallied, Peer,
    graph_calls, without_silence,
};
pub use kinds::{
    KindAnswer, KindBounds, KindCalls, KindKey, ListedKind, OtherKinds, Transactions, WantedTraces,
    transaction_place,
};
pub use latency::{LATENCY_BOUNDS, Latency};
pub use names::CountVisit;
pub use seen::Seen;
pub use tally::{Tallied, Tallies, Tally, TallyBounds, TallyWatch};

pub(crate) use builders::RollupBuilders;
pub(crate) use cells::Directory;
pub(crate) use exceptions::{ExceptionBuilder, ExceptionListing, ExceptionSection};
pub(crate) use graph::{GraphBuilder, GraphSection, PeerKeys};
pub(crate) use hours::Hours;
pub(crate) use joint::{JointBytes, JointSection, joined};
pub(crate) use kinds::{KindBuilder, KindSection};
pub(crate) use repeats::Repeats;
pub(crate) use splits::Splits;

const SECOND: u64 = 1_000_000_000;
/// How long the periods of each level are, shortest first; each divides the next, and the last
/// an hour.
const LEVELS: [u64; 3] = [60 * SECOND, 300 * SECOND, 1_800 * SECOND];
/// Spans of a trace that began after so long a silence are taken for a trace of their own: else
/// every minute of a question would have to be looked through for each trace.
const SILENCE: u64 = 3_600 * SECOND;

#[cfg(test)]
mod tests;
