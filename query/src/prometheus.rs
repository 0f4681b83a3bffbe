//! [PromQL](https://prometheus.io/docs/prometheus/latest/querying/basics/) over the metrics that
//! dashboards expect of traces: calls by service and operation, calls between services.
//!
//! ```text
//! text ─► lexer ─► parser ─► syntax ─► plan (which metrics, at which times) ─► counted (one scan)
//!                                                                     └─► evaluate, time by time
//! ```
//!
//! Nothing is kept for it: counters are counted from the stored spans when they are asked for, so
//! `increase` and `rate` are exact where Prometheus extrapolates between what it scraped. Owns the
//! language and the metrics; what a call is, is [`crate::analysis`]'s, and HTTP is not here.

mod error;
mod evaluate;
mod labels;
mod lexer;
pub(crate) mod metrics;
mod number;
mod parser;
mod plan;
pub(crate) mod query;
pub(crate) mod series;
mod series_data;
mod syntax;

pub(crate) use error::PromqlError;
pub(crate) use labels::Labels;
pub(crate) use number::{duration_of, millis, number_text, seconds};
pub(crate) use parser::{parse, parse_with};
use syntax::Selector;
pub(crate) use syntax::{Expression, ValueType};

#[cfg(test)]
mod tests;
