//! Statuses of errors: the one table of HTTP's, and gRPC's with the same delays.

use ::http::StatusCode;
use tidings_query::{ErrorKind, QueryError};
use tonic::{Code, Status};

use crate::rpc_status::{rpc_retry_status, rpc_status};

/// Returns the HTTP status of a kind and the value of `Retry-After`.
pub(crate) const fn status_of(kind: ErrorKind) -> (StatusCode, Option<&'static str>) {
    match kind {
        ErrorKind::Invalid => (StatusCode::BAD_REQUEST, None),
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, None),
        ErrorKind::TooLarge => (StatusCode::UNPROCESSABLE_ENTITY, None),
        ErrorKind::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, Some("1")),
        ErrorKind::TimedOut => (StatusCode::GATEWAY_TIMEOUT, None),
        ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, Some("5")),
        ErrorKind::Failed => (StatusCode::INTERNAL_SERVER_ERROR, None),
    }
}

/// Returns the gRPC status of an error; errors of the server are logged.
pub(crate) fn query_status(error: QueryError) -> Status {
    let code = match error.kind() {
        ErrorKind::Invalid => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::TooLarge => Code::ResourceExhausted,
        ErrorKind::TimedOut => Code::DeadlineExceeded,
        ErrorKind::Overloaded | ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::Failed => {
            tracing::error!(%error, "query failed");
            Code::Internal
        }
    };
    let (_, retry_seconds) = status_of(error.kind());
    match retry_seconds.and_then(|seconds| seconds.parse().ok()) {
        Some(seconds) => rpc_retry_status(code, error.public_message(), seconds),
        None => rpc_status(code, error.public_message()),
    }
}

#[cfg(test)]
mod tests {
    use tidings_query::QueryError;
    use tonic::Code;

    use super::{query_status, status_of};

    #[test]
    fn an_error_that_a_retry_may_mend_has_a_delay_in_both_protocols() {
        for (error, http, code, is_delayed) in [
            (QueryError::Overloaded { waiting: 1 }, 503, Code::Unavailable, true),
            (QueryError::Cancelled, 503, Code::Unavailable, true),
            (QueryError::LongAnswer { bytes_max: 1 }, 422, Code::ResourceExhausted, false),
            (QueryError::Defect { reason: "x".to_owned() }, 500, Code::Internal, false),
        ] {
            let (status, retry_after) = status_of(error.kind());
            assert_eq!((status.as_u16(), retry_after.is_some()), (http, is_delayed), "{error}");
            let status = query_status(error);
            assert_eq!((status.code(), status.details().is_empty()), (code, !is_delayed));
        }
    }
}
