//! Requests in SQL, and the addresses of their answers in other forms.

use serde::Serialize;
use tidings_proto::api::SqlResult;

use super::Request;
use crate::url::Query;

/// Rows that the page asks for: the most that the server gives.
pub const ROW_LIMIT: u32 = 100_000;

#[derive(Serialize)]
struct Body<'a> {
    query: &'a str,
    limit: u32,
}

/// Returns the request for the rows of a query.
#[must_use]
pub fn sql(query: &str, limit: u32) -> Request<SqlResult> {
    Request::post("/sql", &Body { query, limit })
}

/// Returns the address that answers a query by GET, for links that download it.
#[must_use]
pub fn sql_address(query: &str) -> String {
    let mut parameters = Query::default();
    parameters.push("query", query);
    parameters.on("/api/v1/sql")
}
