//! Reasons for refusing a request, and the table from reasons to HTTP and gRPC statuses.
//!
//! The rule of the table: a transient reason is 503 / `UNAVAILABLE` with a delay, because OTLP's
//! clients drop a request that is answered with 500 / `INTERNAL`. A permanent reason is never a
//! retryable status, because clients would repeat the request without end. Does not own the form of
//! a refusal, which each receiver writes.

use std::fmt::Write as _;

use http::StatusCode;
use prost::Message;
use serde_json::json;
use tidings_access::{AccessError, without_keys};
use tidings_proto::{
    DecodeError,
    otlp::{Any, BadRequest, Code, FieldViolation, ProtoDuration, RetryInfo, RpcStatus},
};
use tidings_storage::{ErrorKind, StorageError};

use crate::guard::ForeignRequest;

/// Maximum characters of a message for a client or for the status page.
const MESSAGE_CHARS_MAX: usize = 1000;
/// Stands for parts of a message that are left out.
const LEFT_OUT: char = '…';

/// The reason that a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    /// The body does not have the format of its content type.
    Malformed,
    /// gRPC's framing or the compression of a message is malformed.
    Framing,
    /// A unary call with no message or several.
    Cardinality,
    /// The body is larger than a limit, after decompression.
    TooLarge,
    /// The path and headers are too long.
    HeadTooLarge,
    /// The receiver does not support the content type.
    MediaType,
    /// The compression is not supported.
    Encoding,
    /// The path does not allow the method.
    Method,
    /// The path is unknown.
    UnknownPath,
    /// The signal or format is known, but not stored.
    NotStored,
    /// The `Host` is not a name of this server, which may be DNS rebinding.
    Host,
    /// A page of another origin or site sent the request.
    Origin,
    /// The client did not use TLS, or the handshake failed.
    Handshake,
    /// The request has no key, or an unknown, revoked or expired one.
    Unauthenticated,
    /// The issuer of the token cannot be reached now.
    Issuer,
    /// The key does not allow the request.
    Forbidden,
    /// The key has used up a limit of bytes or requests.
    Rate,
    /// The head or the body arrived too slowly.
    SlowBody,
    /// The client disconnected before the end of the body.
    Disconnected,
    /// The client's own deadline has passed.
    Deadline,
    /// Too many requests or bytes are in progress.
    Busy,
    /// The disk or the log is full.
    StorageFull,
    /// The disk failed, or the store accepts no records now.
    StorageUnavailable,
    /// The server is shutting down.
    ShuttingDown,
    /// The handler panicked, which is a bug.
    Panic,
}

impl Reason {
    /// Every reason, in the order of [`Reason::index`].
    pub(crate) const ALL: [Self; 25] = [
        Self::Malformed,
        Self::Framing,
        Self::Cardinality,
        Self::TooLarge,
        Self::HeadTooLarge,
        Self::MediaType,
        Self::Encoding,
        Self::Method,
        Self::UnknownPath,
        Self::NotStored,
        Self::Host,
        Self::Origin,
        Self::Handshake,
        Self::Unauthenticated,
        Self::Issuer,
        Self::Forbidden,
        Self::Rate,
        Self::SlowBody,
        Self::Disconnected,
        Self::Deadline,
        Self::Busy,
        Self::StorageFull,
        Self::StorageUnavailable,
        Self::ShuttingDown,
        Self::Panic,
    ];

    /// Returns the label for counters, the HTTP status and the gRPC code.
    fn row(self) -> (&'static str, StatusCode, Code) {
        use StatusCode as Http;
        match self {
            Self::Malformed => ("malformed", Http::BAD_REQUEST, Code::InvalidArgument),
            Self::Framing => ("framing", Http::BAD_REQUEST, Code::Internal),
            Self::Cardinality => ("cardinality", Http::BAD_REQUEST, Code::Unimplemented),
            Self::TooLarge => ("too_large", Http::PAYLOAD_TOO_LARGE, Code::ResourceExhausted),
            Self::HeadTooLarge => {
                ("head_too_large", Http::REQUEST_HEADER_FIELDS_TOO_LARGE, Code::ResourceExhausted)
            }
            Self::MediaType => ("media_type", Http::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument),
            Self::Encoding => ("encoding", Http::UNSUPPORTED_MEDIA_TYPE, Code::Unimplemented),
            Self::Method => ("method", Http::METHOD_NOT_ALLOWED, Code::Unimplemented),
            Self::UnknownPath => ("unknown_path", Http::NOT_FOUND, Code::Unimplemented),
            Self::NotStored => ("not_stored", Http::NOT_FOUND, Code::Unimplemented),
            Self::Host => ("host", Http::MISDIRECTED_REQUEST, Code::PermissionDenied),
            Self::Origin => ("origin", Http::FORBIDDEN, Code::PermissionDenied),
            Self::Handshake => ("handshake", Http::BAD_REQUEST, Code::InvalidArgument),
            Self::Unauthenticated => ("unauthenticated", Http::UNAUTHORIZED, Code::Unauthenticated),
            Self::Issuer => ("issuer", Http::SERVICE_UNAVAILABLE, Code::Unavailable),
            Self::Forbidden => ("forbidden", Http::FORBIDDEN, Code::PermissionDenied),
            Self::Rate => ("rate", Http::TOO_MANY_REQUESTS, Code::ResourceExhausted),
            Self::SlowBody => ("slow_body", Http::REQUEST_TIMEOUT, Code::DeadlineExceeded),
            Self::Disconnected => ("disconnected", Http::BAD_REQUEST, Code::Cancelled),
            Self::Deadline => ("deadline", Http::GATEWAY_TIMEOUT, Code::DeadlineExceeded),
            Self::Busy => ("busy", Http::SERVICE_UNAVAILABLE, Code::Unavailable),
            Self::StorageFull => ("storage_full", Http::SERVICE_UNAVAILABLE, Code::Unavailable),
            Self::StorageUnavailable => {
                ("storage_unavailable", Http::SERVICE_UNAVAILABLE, Code::Unavailable)
            }
            Self::ShuttingDown => ("shutting_down", Http::SERVICE_UNAVAILABLE, Code::Unavailable),
            Self::Panic => ("panic", Http::SERVICE_UNAVAILABLE, Code::Unavailable),
        }
    }

    /// Returns its label among the counters.
    pub(crate) fn label(self) -> &'static str {
        self.row().0
    }

    /// Returns its index in [`Reason::ALL`].
    pub(crate) fn index(self) -> usize {
        Self::ALL.iter().position(|&reason| reason == self).unwrap_or_default()
    }

    pub(crate) fn http(self) -> StatusCode {
        self.row().1
    }

    pub(crate) fn grpc(self) -> Code {
        self.row().2
    }

    /// Returns whether the same request may succeed later.
    pub(crate) fn is_transient(self) -> bool {
        self.grpc() == Code::Unavailable || self == Self::Rate
    }
}

/// The refusal of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    /// The fault and the correct form, for people. Has no control characters.
    pub(crate) message: String,
    /// The path of the field in the request, if it is known.
    pub(crate) field: Option<String>,
    /// Seconds before a retry. Set for every transient reason before the response is written.
    pub(crate) retry_seconds: Option<u32>,
}

impl Refusal {
    /// Makes a refusal. Parts of the request that the message quotes are escaped and cut, and keys
    /// in them removed.
    pub(crate) fn new(reason: Reason, message: impl AsRef<str>) -> Self {
        // Keys are removed before the message is cut, because a cut key is not recognised.
        let message = printable(&without_keys(message.as_ref().to_owned()));
        Self { reason, message, field: None, retry_seconds: None }
    }

    /// Makes the refusal of a request of a foreign page or host.
    pub(crate) fn foreign(foreign: &ForeignRequest) -> Self {
        let reason = match foreign {
            ForeignRequest::Host(_) => Reason::Host,
            ForeignRequest::Origin | ForeignRequest::Site => Reason::Origin,
        };
        Self::new(reason, foreign.to_string())
    }

    /// Returns the message for the log and for the status. Values that it quotes from a malformed
    /// body are left out, because they can be secrets that were not redacted.
    pub(crate) fn recorded_message(&self) -> String {
        match self.reason {
            Reason::Malformed => without_values(&self.message),
            _ => self.message.clone(),
        }
    }

    /// Returns the refusal as `google.rpc.Status`, OTLP's form of errors.
    pub(crate) fn status(&self) -> RpcStatus {
        let mut details = Vec::new();
        if self.reason == Reason::Malformed {
            let violation = FieldViolation {
                field: self.field.clone().unwrap_or_default(),
                description: self.message.clone(),
            };
            details.push(any("BadRequest", &BadRequest { field_violations: vec![violation] }));
        }
        if let Some(seconds) = self.retry_seconds {
            let delay = ProtoDuration { seconds: seconds.into(), nanos: 0 };
            details.push(any("RetryInfo", &RetryInfo { retry_delay: Some(delay) }));
        }
        RpcStatus { code: self.reason.grpc() as i32, message: self.message.clone(), details }
    }

    /// Returns [`Refusal::status`] in protobuf's JSON form.
    pub(crate) fn status_json(&self) -> String {
        let mut details = Vec::new();
        if self.reason == Reason::Malformed {
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [{
                    "field": self.field.as_deref().unwrap_or_default(),
                    "description": self.message,
                }],
            }));
        }
        if let Some(seconds) = self.retry_seconds {
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": format!("{seconds}s"),
            }));
        }
        let mut status = json!({"code": self.reason.grpc() as i32, "message": self.message});
        if !details.is_empty() {
            status["details"] = details.into();
        }
        status.to_string()
    }
}

fn any(name: &str, message: &impl Message) -> Any {
    Any {
        type_url: format!("type.googleapis.com/google.rpc.{name}"),
        value: message.encode_to_vec(),
    }
}

/// Returns a decoder's message without texts and numbers of the body. A message that was cut may
/// lack a closing quote, so everything from the first quote to the last is left out.
fn without_values(message: &str) -> String {
    let mut kept = match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last => {
            format!("{}{LEFT_OUT}{}", &message[..=first], &message[last..])
        }
        (Some(only), _) => format!("{}{LEFT_OUT}", &message[..=only]),
        _ => message.to_owned(),
    };
    for number in ["integer `", "floating point `"] {
        let Some((before, rest)) = kept.split_once(number) else { continue };
        let behind = rest.find('`').map_or("", |end| &rest[end..]);
        kept = format!("{before}{number}{LEFT_OUT}{behind}");
    }
    kept
}

/// Returns a text with control characters escaped, cut to the length of a message.
pub(crate) fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len().min(MESSAGE_CHARS_MAX));
    for (count, character) in text.chars().enumerate() {
        if count == MESSAGE_CHARS_MAX {
            clean.push('…');
            break;
        }
        // Directional marks reorder the text around them, so they are escaped, too.
        let reorders = matches!(character, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || reorders {
            let _ = write!(clean, "\\u{{{:x}}}", u32::from(character));
        } else {
            clean.push(character);
        }
    }
    clean
}

impl From<AccessError> for Refusal {
    fn from(error: AccessError) -> Self {
        let reason = match (error.is_unauthenticated(), error.may_pass()) {
            (true, _) => Reason::Unauthenticated,
            (false, true) => Reason::Issuer,
            (false, false) if error.wait_seconds().is_some() => Reason::Rate,
            (false, false) => Reason::Forbidden,
        };
        Self { retry_seconds: error.wait_seconds(), ..Self::new(reason, error.to_string()) }
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        let mut refusal = Self::new(Reason::Malformed, error.to_string());
        if let DecodeError::Json { path, .. } = &error {
            refusal.field = Some(printable(path));
        }
        refusal
    }
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        Self::of_storage(&error)
    }
}

impl Refusal {
    /// Makes the refusal for an error of the store.
    pub(crate) fn of_storage(error: &StorageError) -> Self {
        match error.kind() {
            ErrorKind::Invalid => Self::new(Reason::Malformed, error.to_string()),
            ErrorKind::Full => Self::new(Reason::StorageFull, error.to_string()),
            ErrorKind::Closed => Self::new(Reason::ShuttingDown, error.to_string()),
            // The error is not the sender's fault, so the reason is transient and the sender keeps
            // its records. The text may name files, so it is only logged.
            ErrorKind::Unavailable | ErrorKind::Corrupt | ErrorKind::Locked => {
                tracing::error!(%error, "the store refused a batch");
                Self::new(Reason::StorageUnavailable, "the store cannot take records at present")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Reason, Refusal, printable};
    use http::StatusCode;
    use prost::Message;
    use tidings_proto::otlp::{BadRequest, Code};
    use tidings_storage::StorageError;

    #[test]
    fn the_index_of_a_reason_is_its_position_in_all() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index, "{reason:?}");
        }
    }

    /// The page has a row for each reason, in their order, with its label and statuses.
    #[test]
    fn the_page_on_receiving_has_every_reason() {
        const PAGE: &str = include_str!("../../docs/receiving.md");
        let (_, table) = PAGE.split_once("| Reason | HTTP | gRPC |").unwrap();
        let rows = table.lines().skip(2).take_while(|line| line.starts_with("| `"));
        let rows: Vec<Vec<&str>> = rows.map(|row| row.split(" | ").collect()).collect();
        assert_eq!(rows.len(), Reason::ALL.len());
        for (row, reason) in rows.into_iter().zip(Reason::ALL) {
            let [label, http, grpc, .., again] = row.as_slice() else { panic!("{row:?}") };
            assert_eq!(*label, format!("| `{}`", reason.label()));
            // Reasons that occur only in gRPC have no HTTP status, because gRPC responses have 200.
            let only_grpc = [Reason::Framing, Reason::Cardinality, Reason::Deadline];
            let status = reason.http().as_u16().to_string();
            assert_eq!(*http, if only_grpc.contains(&reason) { "-" } else { &status }, "{row:?}");
            let code = reason.grpc();
            let (name, number) = (format!("{code:?}").to_uppercase(), code as i32);
            let said = grpc.replace('_', "");
            assert!(said.starts_with(&format!("`{name}` ({number})")), "{row:?} is {code:?}");
            assert!(again.starts_with("yes") || !reason.is_transient(), "{row:?}");
        }
    }

    #[test]
    fn only_transient_reasons_have_statuses_that_clients_retry() {
        for reason in Reason::ALL {
            let retried_http = [429, 502, 503, 504].contains(&reason.http().as_u16());
            if reason == Reason::Rate {
                // OTLP's clients retry RESOURCE_EXHAUSTED only with RetryInfo, which this reason
                // always has.
                assert!(reason.is_transient() && retried_http, "{reason:?}");
            } else if reason.is_transient() {
                assert_eq!(reason.http(), StatusCode::SERVICE_UNAVAILABLE, "{reason:?}");
            } else {
                // Deadlines of clients occur only in gRPC, where the HTTP status is 200.
                assert!(!retried_http || reason == Reason::Deadline, "{reason:?}");
            }
            assert_ne!(reason.http(), StatusCode::INTERNAL_SERVER_ERROR, "{reason:?}");
            assert_ne!(reason.grpc(), Code::OutOfRange, "{reason:?}");
        }
    }

    #[test]
    fn every_kind_of_storage_error_is_transient() {
        let io = std::io::Error::other("boom");
        for error in [
            StorageError::WalFull { bytes: 2, limit: 1 },
            StorageError::DiskFull { free: 1, reserve: 2 },
            StorageError::Io { action: "sync", path: "/secret/wal".into(), source: io },
            StorageError::Closed,
            StorageError::Corrupt { path: "/secret/wal".into(), reason: "bits".into() },
        ] {
            let refusal = Refusal::from(error);
            assert!(refusal.reason.is_transient(), "{refusal:?}");
            assert!(!refusal.message.contains("secret"), "{refusal:?}");
        }
    }

    #[test]
    fn keys_in_quoted_text_are_removed() {
        let text = format!("content type tk_0123abcd_{} is not read", "0".repeat(48));
        let refusal = Refusal::new(Reason::Host, text);
        assert_eq!(refusal.message, "content type tk_0123abcd… is not read");
    }

    #[test]
    fn hostile_text_is_escaped_and_cut() {
        assert_eq!(printable("a\r\n\u{1b}[31mb\u{202e}"), "a\\u{d}\\u{a}\\u{1b}[31mb\\u{202e}");
        assert_eq!(printable(&"é".repeat(5000)).chars().count(), 1001);
    }

    #[test]
    fn values_of_a_body_are_reported_only_to_its_sender() {
        for (told, recorded) in [
            (
                r#"attributes[0].value: invalid type: string "hunter2", expected an object"#,
                r#"attributes[0].value: invalid type: string "…", expected an object"#,
            ),
            (r#"string "a\"hunter2", expected "b""#, r#"string "…""#),
            (r#"string "hunter2 … "#, r#"string "…"#),
            (
                "invalid type: integer `4711`, expected a string",
                "invalid type: integer `…`, expected a string",
            ),
            ("invalid type: floating point `4.5", "invalid type: floating point `…"),
            ("expected value at line 1 column 5", "expected value at line 1 column 5"),
        ] {
            let refusal = Refusal::new(Reason::Malformed, told);
            assert_eq!(
                (refusal.message.as_str(), refusal.recorded_message().as_str()),
                (told, recorded)
            );
        }
        let media_type = Refusal::new(Reason::MediaType, r#"no receiver for "text/plain""#);
        assert_eq!(media_type.recorded_message(), media_type.message);
    }

    #[test]
    fn malformed_requests_have_a_bad_request_detail() {
        let mut refusal = Refusal::new(Reason::Malformed, "no");
        refusal.field = Some("resourceSpans[0]".to_owned());
        let status = refusal.status();
        let detail = BadRequest::decode(status.details[0].value.as_slice()).unwrap();
        assert_eq!(detail.field_violations[0].field, "resourceSpans[0]");
        let json: serde_json::Value = serde_json::from_str(&refusal.status_json()).unwrap();
        assert_eq!(json["code"], 3);
        assert_eq!(json["details"][0]["fieldViolations"][0]["field"], "resourceSpans[0]");
    }
}
