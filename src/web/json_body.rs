//! JSON bodies of requests that change something: they are small, must arrive in time, and have a
//! type.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tidings_apis::ProblemResponse;
use tidings_storage::Clock;

use super::problem::InvalidParameter;

/// Maximum bytes of a body: a note of the largest size in which JSON escapes every character, and
/// the fields around it.
pub(super) const BODY_BYTES_MAX: usize = 8 << 10;
/// Time in which a body must arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const JSON: &str = "application/json";

/// Reason why a body is refused.
#[derive(Debug)]
pub(super) enum BodyRefusal {
    /// It has more bytes than this.
    TooLong(usize),
    TooSlow,
    MediaType,
    Malformed(String),
}

/// Reads a body; `None` when it is empty.
///
/// # Errors
/// Fails if it is too long, too slow, not JSON, or not of this type.
pub(super) async fn read_json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
    clock: &dyn Clock,
) -> Result<Option<T>, BodyRefusal> {
    let read = Limited::new(body, bytes_max).collect();
    let bytes = tokio::select! {
        read = read => read.map_err(|error| match error.is::<LengthLimitError>() {
            true => BodyRefusal::TooLong(bytes_max),
            false => BodyRefusal::Malformed("it broke off".to_owned()),
        })?.to_bytes(),
        () = clock.sleep(BODY_TIMEOUT) => return Err(BodyRefusal::TooSlow),
    };
    if bytes.is_empty() {
        return Ok(None);
    }
    let given = headers.get(header::CONTENT_TYPE).and_then(|given| given.to_str().ok());
    let given = given.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !given.eq_ignore_ascii_case(JSON) {
        return Err(BodyRefusal::MediaType);
    }
    let malformed = |error: serde_json::Error| BodyRefusal::Malformed(error.to_string());
    serde_json::from_slice(&bytes).map_err(malformed)
}

impl IntoResponse for BodyRefusal {
    fn into_response(self) -> Response {
        match self {
            Self::TooLong(bytes_max) => {
                let detail = format!("a body has at most {bytes_max} bytes here");
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                ProblemResponse::new(status, "too-large", "the body is too large", detail)
                    .into_response()
            }
            Self::TooSlow => {
                let detail = format!("it did not arrive within {} s", BODY_TIMEOUT.as_secs());
                let status = StatusCode::REQUEST_TIMEOUT;
                ProblemResponse::new(status, "timed-out", "the body took too long", detail)
                    .into_response()
            }
            Self::MediaType => {
                let detail = format!("send the body as {JSON}");
                let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                ProblemResponse::new(
                    status,
                    "media-type",
                    "the body has a form that is not known",
                    detail,
                )
                .into_response()
            }
            Self::Malformed(detail) => InvalidParameter::new("body", detail).into_response(),
        }
    }
}
