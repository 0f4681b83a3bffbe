//! Request headers of gRPC calls: the content type and the deadline.

use std::{fmt, time::Duration};

use http::{HeaderMap, HeaderName, header};

/// Encoding of the messages whose compressed flag is set.
pub const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
/// Encodings that the server accepts.
pub const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// Maximum number of digits of a timeout.
const TIMEOUT_DIGITS_MAX: usize = 8;

/// A malformed value of `grpc-timeout`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeoutError(String);

impl fmt::Display for TimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "grpc-timeout {} is not valid", self.0)
    }
}

impl std::error::Error for TimeoutError {}

/// Returns whether the request's content type is gRPC with protobuf.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    ["application/grpc", "application/grpc+proto"]
        .iter()
        .any(|ours| ours.eq_ignore_ascii_case(kind))
}

/// Parses `grpc-timeout`; `None` when the header is absent.
///
/// # Errors
/// When the value is not a number of at most eight digits followed by one of gRPC's units.
pub fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, TimeoutError> {
    let Some(value) = headers.get(GRPC_TIMEOUT) else { return Ok(None) };
    let parse = || {
        let (digits, unit) = value.to_str().ok()?.split_at_checked(value.len().checked_sub(1)?)?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        if digits.len() > TIMEOUT_DIGITS_MAX || !is_number {
            return None;
        }
        let count: u64 = digits.parse().ok()?;
        Some(match unit {
            "H" => Duration::from_secs(count * 3600),
            "M" => Duration::from_secs(count * 60),
            "S" => Duration::from_secs(count),
            "m" => Duration::from_millis(count),
            "u" => Duration::from_micros(count),
            "n" => Duration::from_nanos(count),
            _ => return None,
        })
    };
    parse().map(Some).ok_or_else(|| TimeoutError(format!("{value:?}")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, HeaderValue, header};

    use super::{GRPC_TIMEOUT, is_grpc, timeout};

    #[test]
    fn timeouts_need_a_unit_and_have_at_most_eight_digits() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(GRPC_TIMEOUT, HeaderValue::from_str(value).unwrap());
            timeout(&headers)
        };
        assert_eq!(timeout(&HeaderMap::new()), Ok(None));
        for (value, expected) in [
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("10S", Duration::from_secs(10)),
            ("99999999m", Duration::from_millis(99_999_999)),
            ("5u", Duration::from_micros(5)),
            ("7n", Duration::from_nanos(7)),
        ] {
            assert_eq!(of(value), Ok(Some(expected)), "{value}");
        }
        for value in ["", "S", "5", "5s", "-5S", "123456789S", "1 S", "+1S"] {
            assert!(of(value).unwrap_err().to_string().contains("grpc-timeout"), "{value}");
        }
    }

    #[test]
    fn only_content_types_of_grpc_with_protobuf_are_grpc() {
        let of = |kind: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(kind).unwrap());
            is_grpc(&headers)
        };
        for kind in ["application/grpc", "application/grpc+proto", "Application/gRPC; a=b"] {
            assert!(of(kind), "{kind}");
        }
        for kind in ["", "application/grpc-web", "application/grpc+json", "application/json"] {
            assert!(!of(kind), "{kind}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }
}
