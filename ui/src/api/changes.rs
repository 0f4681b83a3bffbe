//! The request for what changed, and for the numbers that stand in for it.

use tidings_proto::api::ChangeReport;

use super::{Request, analysis::Analysis};

/// Returns the request for transactions and services ranked by how much they changed.
#[must_use]
pub fn changes(analysis: &Analysis) -> Request<ChangeReport> {
    Request::get("/changes", analysis.query())
}
