//! Queries that the counts of log records answer.
//!
//! `log_count_query` aggregates the counts by severity of a snapshot, and `log_form_query` those by
//! the form of the message. `count_plan` finds the minutes whose counts are valid. Rows are counted
//! for all other minutes, and for memory. An answer from counts equals the answer from rows.

mod count_plan;
mod log_count_query;
mod log_form_query;

pub use log_count_query::CountedLogs;
pub use log_form_query::CountedForms;

#[cfg(test)]
mod tests;
