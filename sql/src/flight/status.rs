//! Errors over gRPC: the one table from [`SqlErrorKind`] to code.

use tidings_proto::otlp::Code;
use tidings_query::grpc::GrpcStatus;

use crate::{SqlError, SqlErrorKind};

impl From<SqlError> for GrpcStatus {
    fn from(error: SqlError) -> Self {
        let code = match error.kind() {
            SqlErrorKind::Invalid | SqlErrorKind::Forbidden | SqlErrorKind::MediaType => {
                Code::InvalidArgument
            }
            SqlErrorKind::Off => Code::PermissionDenied,
            SqlErrorKind::TooLarge | SqlErrorKind::Ended => Code::ResourceExhausted,
            SqlErrorKind::TimedOut => Code::DeadlineExceeded,
            SqlErrorKind::Overloaded => Code::Unavailable,
            SqlErrorKind::Unavailable => {
                tracing::warn!(%error, "a query was not answered");
                Code::Unavailable
            }
            SqlErrorKind::Failed => {
                tracing::error!(%error, "a query failed");
                Code::Internal
            }
        };
        Self::new(code, error.to_string())
    }
}

/// The answer to what Flight has and this server has not.
pub(super) fn not_here(what: &str, hint: &str) -> GrpcStatus {
    let what: String = what.chars().take(100).collect();
    GrpcStatus::new(Code::Unimplemented, format!("{what} is not possible here: {hint}"))
}
