//! The requests for what changed, and for new versions of a service.

use tidings_proto::api::{ChangeReport, VersionChangeList};

use super::{Request, analysis::Analysis};

/// Returns the request for transactions and services ranked by how much they changed.
#[must_use]
pub fn changes(analysis: &Analysis) -> Request<ChangeReport> {
    Request::get("/changes", analysis.query())
}

/// Returns the request for the version changes of a service.
#[must_use]
pub fn deployments(analysis: &Analysis, service: &str) -> Request<VersionChangeList> {
    Request::get("/deployments", analysis.clone().with("service", service).query())
}
