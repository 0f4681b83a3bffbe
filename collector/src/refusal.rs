//! Why a request is refused, and the one table from reasons to HTTP and gRPC statuses.
//!
//! The rule behind the table: trouble that may pass is 503 / `UNAVAILABLE` with a delay, because
//! OTLP's clients throw away what is answered with 500 / `INTERNAL`; trouble that will not pass
//! is never one of the retryable statuses, because they would send it again for ever. How a
//! refusal is written is each receiver's business.

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

/// The longest explanation sent to a client or kept for the status page.
const MESSAGE_CHARS_MAX: usize = 1000;
/// Stands for what is not kept of a message.
const LEFT_OUT: char = '…';

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    /// The body is not what its content type says.
    Malformed,
    /// gRPC's framing or a message's compression is broken.
    Framing,
    /// More messages, or fewer, than the one of a unary call.
    Cardinality,
    /// Larger than a limit, after decompression.
    TooLarge,
    /// A path and headers that are too long.
    HeadTooLarge,
    /// A content type no receiver of this listener reads.
    MediaType,
    /// A compression that is not read here.
    Encoding,
    /// Not the method of this path.
    Method,
    /// A path of nothing.
    UnknownPath,
    /// A signal or format that is known but not stored.
    NotStored,
    /// The `Host` is not a name of this server: a page may have rebound its own name to us.
    Host,
    /// A page of another origin or site sent the request.
    Origin,
    /// No TLS where it is needed, or a handshake that failed.
    Handshake,
    /// No key where one is needed, or one that is not known or has ended.
    Unauthenticated,
    /// A token whose issuer cannot be asked now.
    Issuer,
    /// A key that does not allow what the request asks for.
    Forbidden,
    /// A key that has used up a limit of bytes or requests.
    Rate,
    /// The head or the body came too slowly.
    SlowBody,
    /// The client broke off.
    Disconnected,
    /// The client's own deadline has passed.
    Deadline,
    /// Too many requests or bytes under way.
    Busy,
    /// No room on the disk or in the log.
    StorageFull,
    /// The disk failed or the store cannot take anything now.
    StorageUnavailable,
    /// The server is shutting down.
    ShuttingDown,
    /// A bug: the handler panicked.
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

    /// The table: a label for counters, the HTTP status, the gRPC code.
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

    /// Its name among the counters.
    pub(crate) fn label(self) -> &'static str {
        self.row().0
    }

    /// Where it stands in [`Reason::ALL`].
    pub(crate) fn index(self) -> usize {
        Self::ALL.iter().position(|&reason| reason == self).unwrap_or_default()
    }

    pub(crate) fn http(self) -> StatusCode {
        self.row().1
    }

    pub(crate) fn grpc(self) -> Code {
        self.row().2
    }

    /// Reports whether the same request may succeed later.
    pub(crate) fn is_transient(self) -> bool {
        self.grpc() == Code::Unavailable || self == Self::Rate
    }
}

/// A refusal on its way to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    /// Fault and right form, in words. Never holds control characters.
    pub(crate) message: String,
    /// Where in the request, when that is known.
    pub(crate) field: Option<String>,
    /// When to try again; set for every transient reason before the answer is written.
    pub(crate) retry_seconds: Option<u32>,
}

impl Refusal {
    /// A refusal; what the message quotes of the request is escaped and cut here, and has no keys.
    pub(crate) fn new(reason: Reason, message: impl AsRef<str>) -> Self {
        // First: a key that was cut has no form.
        let message = printable(&without_keys(message.as_ref().to_owned()));
        Self { reason, message, field: None, retry_seconds: None }
    }

    /// The refusal of a request that comes from somewhere else.
    pub(crate) fn foreign(foreign: &ForeignRequest) -> Self {
        let reason = match foreign {
            ForeignRequest::Host(_) => Reason::Host,
            ForeignRequest::Origin | ForeignRequest::Site => Reason::Origin,
        };
        Self::new(reason, foreign.to_string())
    }

    /// Returns the message for the log and for the status. What the message of a malformed body
    /// quotes of it is left out: it can be a secret, and redaction has not seen it.
    pub(crate) fn recorded_message(&self) -> String {
        match self.reason {
            Reason::Malformed => without_values(&self.message),
            _ => self.message.clone(),
        }
    }

    /// `google.rpc.Status`: OTLP's form of every refusal.
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

    /// [`Refusal::status`] in protobuf's JSON form.
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

/// Returns a decoder's message without the texts and numbers of the body. A message that was cut may
/// have lost a quotation mark, so all from the first one to the last is left out.
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

/// The text without control characters and not longer than a message may be.
pub(crate) fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len().min(MESSAGE_CHARS_MAX));
    for (count, character) in text.chars().enumerate() {
        if count == MESSAGE_CHARS_MAX {
            clean.push('…');
            break;
        }
        // Directional marks reorder the text around them, so they are shown like controls.
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
    /// The refusal that an error of the store causes.
    pub(crate) fn of_storage(error: &StorageError) -> Self {
        match error.kind() {
            ErrorKind::Invalid => Self::new(Reason::Malformed, error.to_string()),
            ErrorKind::Full => Self::new(Reason::StorageFull, error.to_string()),
            ErrorKind::Closed => Self::new(Reason::ShuttingDown, error.to_string()),
            // Damage on our side is not the sender's fault: its records must not be thrown away.
            // The text may name files, so it stays in the log.
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
    fn a_reason_stands_where_its_index_says() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index, "{reason:?}");
        }
    }

    /// A row for each, in their order, with what the table here says.
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
            // What only gRPC knows has no status of HTTP: its answers have 200 there.
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
                // OTLP retries RESOURCE_EXHAUSTED only with RetryInfo, which it always has.
                assert!(reason.is_transient() && retried_http, "{reason:?}");
            } else if reason.is_transient() {
                assert_eq!(reason.http(), StatusCode::SERVICE_UNAVAILABLE, "{reason:?}");
            } else {
                // Only gRPC has client deadlines, where the status is HTTP's 200.
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
    fn a_key_in_what_is_quoted_is_left_out() {
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
    fn values_of_a_body_are_told_to_its_sender_alone() {
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
    fn bad_data_has_a_bad_request_detail() {
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
