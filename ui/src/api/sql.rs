//! SQL requests, and their answers as files.

use serde::Serialize;
use tidings_proto::api::SqlResult;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::Blob;

use super::{ApiError, Request, failure, read};

/// Number of rows that the page requests: the maximum that the server returns.
pub const ROW_LIMIT: u32 = 100_000;

#[derive(Serialize)]
struct SqlQueryBody<'a> {
    query: &'a str,
    limit: u32,
}

/// Returns the request for the rows of a query.
#[must_use]
pub fn sql(query: &str, limit: u32) -> Request<SqlResult> {
    Request::post("/sql", &SqlQueryBody { query, limit })
}

/// Runs a query and returns its rows as a file of the format that `accept` names.
pub async fn download(query: &str, limit: u32, accept: &str) -> Result<Blob, ApiError> {
    let request: Request<SqlResult> = sql(query, limit);
    let response = request.fetch(accept, None).await?;
    let failed = |error: JsValue| failure(&error);
    if !response.ok() {
        let text = JsFuture::from(response.text().map_err(failed)?).await.map_err(failed)?;
        let refused = read::<SqlResult>(response.status(), &text.as_string().unwrap_or_default());
        return Err(refused.err().unwrap_or(ApiError::Status(response.status())));
    }
    let blob = JsFuture::from(response.blob().map_err(failed)?).await.map_err(failed)?;
    blob.dyn_into().map_err(|_| ApiError::Unreadable("not a file".to_owned()))
}
