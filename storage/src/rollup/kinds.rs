//! Kinds of transactions, added up by minute beside every data file of spans, and a summary of each
//! of its traces.
//!
//! A transaction is a trace; its kind is the service and operation of its entry. A file's rollups
//! count the entries of its traces as if nothing else were known of them, as those of the calls
//! between services do ([`super::graph`]): traces in two places are put together from their rows,
//! what files have counted of them is taken away, and what the whole trace says is added. The
//! summaries say of which kind a trace is, in which minute it began and about how long it took, in
//! the order of the index's runs of traces, which is that of a hash of their ids: so a sample by
//! that hash, and the traces of some minutes, are found without reading rows.
//!
//! `entries` says what the transactions of a trace are, for rollups and for rows. `build` adds them
//! up while a file is written, `section` is their place in the index, `rolled` a file that answers,
//! `tally` the answer, of the kinds that `told` says, `sample` picks the traces that are looked at closely, of
//! which `look` reads rows. `joint` finds out what two files say together.

mod build;
mod calls;
mod entries;
mod joint;
mod look;
mod rolled;
mod sample;
mod section;
mod tally;
mod told;

pub use calls::{KindCalls, ListedKind, OtherKinds};
pub use entries::{KindKey, Transactions, transaction_place};
pub use sample::WantedTraces;
pub use tally::{KindAnswer, KindBounds};

pub(super) use build::COLUMNS;
pub(crate) use build::KindBuilder;
pub(super) use joint::entries;
pub(crate) use section::KindSection;

#[cfg(test)]
mod tests;
