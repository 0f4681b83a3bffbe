//! The status that ends a call.

use std::fmt::Write as _;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message;
use tidings_proto::otlp::{Any, Code, RpcStatus};

/// Maximum bytes of a status message; longer ones are cut. Messages are sent in headers, to which
/// no flow control applies, and can repeat what a client sent.
const MESSAGE_BYTES_MAX: usize = 1 << 10;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// A code, a message for people, and details for programs.
#[derive(Debug, Clone, PartialEq)]
pub struct GrpcStatus {
    code: Code,
    message: String,
    details: Vec<Any>,
}

impl GrpcStatus {
    /// A status with details.
    #[must_use]
    pub fn with_details(code: Code, RpcStatus { message, details, .. }: RpcStatus) -> Self {
        Self { code, message: cut_message(message), details }
    }

    /// Returns the trailers of a successful call.
    pub(crate) fn ok() -> HeaderMap {
        HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from(Code::Ok as i32))])
    }

    /// Returns the trailers of a call that ends with this status. They are its headers when the
    /// response has no messages.
    #[must_use]
    pub fn trailers(&self) -> HeaderMap {
        let mut trailers = HeaderMap::new();
        trailers.insert(GRPC_STATUS, HeaderValue::from(self.code as i32));
        let details = (!self.details.is_empty()).then(|| {
            let (message, details) = (self.message.clone(), self.details.clone());
            let status = RpcStatus { code: self.code as i32, message, details };
            (GRPC_DETAILS, STANDARD_NO_PAD.encode(status.encode_to_vec()))
        });
        let message = (GRPC_MESSAGE, percent_encoded(&self.message));
        for (name, value) in std::iter::once(message).chain(details) {
            if let Ok(value) = HeaderValue::try_from(value) {
                trailers.insert(name, value);
            }
        }
        trailers
    }
}

/// Cuts the message of a status at 1 KiB.
#[must_use]
pub fn cut_message(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        message.push('…');
        message.shrink_to_fit();
    }
    message
}

/// Encodes a text for `grpc-message`: printable ASCII as it is, every other UTF-8 byte as `%` and
/// two digits. Spaces at both ends are encoded too, because a field value of HTTP/2 has none there
/// ([RFC 9113, 8.2.1](https://www.rfc-editor.org/rfc/rfc9113#section-8.2.1)).
fn percent_encoded(text: &str) -> String {
    let begin = text.len() - text.trim_start_matches(' ').len();
    let inside = begin..text.trim_end_matches(' ').len();
    let mut encoded = String::with_capacity(text.len());
    for (at, byte) in text.bytes().enumerate() {
        let is_inner_space = byte == b' ' && inside.contains(&at);
        if is_inner_space || byte.is_ascii_graphic() && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use tidings_proto::otlp::{Any, Code, RpcStatus};

    use super::{GRPC_DETAILS, GRPC_MESSAGE, GRPC_STATUS, GrpcStatus, percent_encoded};

    fn unavailable(message: String, details: Vec<Any>) -> GrpcStatus {
        GrpcStatus::with_details(Code::Unavailable, RpcStatus { message, details, code: 0 })
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let long = format!("a{}", "é".repeat(1 << 20));
        let trailers = unavailable(long, vec![Any::default()]).trailers();
        let message = trailers[GRPC_MESSAGE].to_str().unwrap();
        assert!(message.starts_with("a%C3%A9"), "{message}");
        assert!(message.ends_with("%C3%A9%E2%80%A6"), "{message}");
        assert_eq!(message.len(), 1 + 511 * 6 + 9);
        assert!(trailers[GRPC_DETAILS].len() < 2_000);
    }

    #[test]
    fn messages_are_percent_encoded() {
        for (text, expected) in [
            ("50% é\n~", "50%25 %C3%A9%0A~"),
            ("a  b", "a  b"),
            (" is not possible", "%20is not possible"),
            ("  a b  ", "%20%20a b%20%20"),
            (" ", "%20"),
            ("  ", "%20%20"),
            ("", ""),
            ("\t\u{a0}", "%09%C2%A0"),
        ] {
            assert_eq!(percent_encoded(text), expected, "{text:?}");
        }
    }

    #[test]
    fn details_are_sent_where_there_are_some() {
        let trailers = unavailable("full".to_owned(), Vec::new()).trailers();
        assert_eq!(
            (&trailers[GRPC_STATUS], &trailers[GRPC_MESSAGE]),
            (&"14".parse().unwrap(), &"full".parse().unwrap())
        );
        assert!(!trailers.contains_key(GRPC_DETAILS));
        let trailers = unavailable("full".to_owned(), vec![Any::default()]).trailers();
        assert!(trailers.contains_key(GRPC_DETAILS));
        assert_eq!(GrpcStatus::ok()[GRPC_STATUS], "0");
    }
}
