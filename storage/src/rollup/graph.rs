//! Calls between services, added up by minute beside every data file of spans.
//!
//! What calls what only whole traces tell, and a trace can be in several files and in memory. So
//! a file's rollups count the calls of its traces as if nothing else were known of them. When they
//! are asked, the traces that are in two places, or that the question cuts in two, are put together
//! from their rows: what the file has counted of them is taken away, and what the whole trace says
//! is added. All others, nearly all, are not looked at.
//!
//! `calls` says what the calls of a trace are, for rollups and for rows; `key` by what they are
//! counted, `peers` what was called that sends no spans. `build` adds them up while a file is
//! written, `section` is their place in the index, `rows` reads spans, `pool` puts traces together,
//! `tally` answers, `joint` finds out what two files say together. A question of which too much would have to be read as rows is not answered
//! there. `chosen` answers for some traces, all from rows.

mod build;
mod calls;
mod chosen;
mod joint;
mod key;
mod names;
mod peers;
mod pool;
mod rolled;
mod rows;
mod section;
mod tally;

pub use calls::{GraphCall, GraphPart, GraphSpan, graph_calls, without_silence};
pub use chosen::GraphChoice;
pub use key::GraphKey;
pub use peers::Peer;
pub use tally::{GraphBounds, GraphTallied};

pub(super) use build::COLUMNS;
pub(crate) use build::GraphBuilder;
pub(super) use joint::change;
pub(super) use names::Names;
pub(crate) use rows::PeerKeys;
pub(crate) use section::GraphSection;

#[cfg(test)]
mod tests;
