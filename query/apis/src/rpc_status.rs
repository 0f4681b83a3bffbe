//! Statuses of calls of gRPC, with bounded messages.

use axum::response::Response;
use prost::Message;
use tidings_grpc::cut_message;
use tidings_proto::otlp::{Any, ProtoDuration, RetryInfo, RpcStatus};
use tonic::{Code, Status};

/// Status with a message for people, which is cut at 1 KiB.
#[must_use]
pub fn rpc_status(code: Code, message: impl Into<String>) -> Status {
    Status::new(code, cut_message(message.into()))
}

/// Status of a call that may succeed later. Its details have the delay, as `google.rpc.RetryInfo`.
#[must_use]
pub fn rpc_retry_status(code: Code, message: impl Into<String>, seconds: u32) -> Status {
    let message = cut_message(message.into());
    let delay = ProtoDuration { seconds: seconds.into(), nanos: 0 };
    let retry = RetryInfo { retry_delay: Some(delay) };
    let type_url = "type.googleapis.com/google.rpc.RetryInfo".to_owned();
    let details = vec![Any { type_url, value: retry.encode_to_vec() }];
    let status = RpcStatus { code: i32::from(code), message: message.clone(), details };
    Status::with_details(code, message, status.encode_to_vec().into())
}

/// Cuts the message of a response that is a status alone, as [`rpc_status`] does. Messages of tonic
/// can repeat what a client sent.
#[must_use]
pub fn with_cut_status(mut response: Response) -> Response {
    let Some(status) = response.extensions().get::<Status>() else { return response };
    let cut = rpc_status(status.code(), status.message());
    if cut.message() != status.message() {
        // The message is encoded for headers, so that this does not fail.
        let _ = cut.add_header(response.headers_mut());
    }
    response
}

#[cfg(test)]
mod tests {
    use ::http::HeaderMap;
    use axum::body::Body;
    use prost::Message;
    use tidings_proto::otlp::{RetryInfo, RpcStatus};
    use tonic::{Code, Status};

    use super::{rpc_retry_status, rpc_status, with_cut_status};

    fn headers(status: &Status) -> HeaderMap {
        let mut headers = HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        headers
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let long = format!("a{}", "é".repeat(1 << 20));
        let headers = headers(&rpc_retry_status(Code::Unavailable, long, 1));
        let message = headers["grpc-message"].to_str().unwrap();
        assert!(message.starts_with("a%C3%A9"), "{message}");
        assert!(message.ends_with("%C3%A9%E2%80%A6"), "{message}");
        assert_eq!(message.len(), 1 + 511 * 6 + 9);
        assert!(headers["grpc-status-details-bin"].len() < 2_000);
    }

    #[test]
    fn the_status_of_a_response_is_cut_and_its_other_headers_stay() {
        let mut status = Status::new(Code::Unimplemented, "x".repeat(1 << 20));
        status.metadata_mut().insert("grpc-accept-encoding", "gzip".parse().unwrap());
        let cut = with_cut_status(status.into_http::<Body>());
        assert_eq!(cut.headers()["grpc-message"].len(), (1 << 10) + "%E2%80%A6".len());
        assert_eq!(cut.headers()["grpc-status"], "12");
        assert_eq!(cut.headers()["grpc-accept-encoding"], "gzip");
    }

    #[test]
    fn only_a_status_with_a_delay_has_details() {
        let plain = rpc_status(Code::Unavailable, "full");
        let sent = headers(&plain);
        assert_eq!(
            (&sent["grpc-status"], &sent["grpc-message"]),
            (&"14".parse().unwrap(), &"full".parse().unwrap())
        );
        assert!(!sent.contains_key("grpc-status-details-bin"));
        let later = rpc_retry_status(Code::Unavailable, "full", 7);
        let details = RpcStatus::decode(later.details()).unwrap();
        assert_eq!((details.code, details.message.as_str()), (14, "full"));
        let retry = RetryInfo::decode(details.details[0].value.as_slice()).unwrap();
        assert_eq!(retry.retry_delay.unwrap().seconds, 7);
    }
}
