//! Errors over gRPC: the one table from [`ErrorKind`] to code.

use tidings_proto::otlp::Code;
use tidings_query::grpc::GrpcStatus;

use crate::{ErrorKind, SqlError};

impl From<SqlError> for GrpcStatus {
    fn from(error: SqlError) -> Self {
        let code = match error.kind() {
            ErrorKind::Invalid | ErrorKind::Forbidden | ErrorKind::MediaType => {
                Code::InvalidArgument
            }
            ErrorKind::Off => Code::PermissionDenied,
            ErrorKind::TooLarge | ErrorKind::Ended => Code::ResourceExhausted,
            ErrorKind::TimedOut => Code::DeadlineExceeded,
            ErrorKind::Overloaded => Code::Unavailable,
            ErrorKind::Unavailable => {
                tracing::warn!(%error, "a query was not answered");
                Code::Unavailable
            }
            ErrorKind::Failed => {
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
