//! Zipkin v2 spans, in JSON and protobuf, translated to OTLP and from it.
//!
//! Owns Zipkin's two encodings (v2 JSON here, `protobuf.rs`), which both give the [`Span`]s of
//! Zipkin's schema, the translation of those to OTLP (`to_otlp.rs`), and the translation back
//! (`from_otlp.rs`, `write.rs`). The v1 formats are only recognised, to name them in an error.
//! Assembly, and not this module, joins the two halves of a shared span: both halves have the same
//! id, and [`SHARED`] marks them.
//!
//! The parser of JSON is more lenient than Zipkin. It accepts ids in either case and of 1 to 32 digits,
//! integers as strings, `null` for absent, and tags that are numbers, booleans or structures (kept as
//! their text). An invalid address is kept as a tag, where Zipkin drops it. An invalid id or time
//! refuses the whole list with its path, as in Zipkin.
//!
//! <https://github.com/openzipkin/zipkin-api>, and OpenTelemetry's mapping,
//! <https://opentelemetry.io/docs/specs/otel/trace/sdk_exporters/zipkin/>.

mod from_otlp;
mod protobuf;
mod to_otlp;
mod write;

use std::{
    borrow::Cow,
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::{
    DecodeError,
    otlp::{
        SpanKind,
        json::{self, Object, boolean, excerpt, hex, messages, text},
    },
};

pub use from_otlp::{from_otlp, span_from_otlp};
pub use protobuf::{Annotation, Endpoint, Kind, Span, Tag, decode_protobuf};
pub use to_otlp::{DEBUG, RejectedSpan, SHARED, to_otlp};

const TRACE_ID_DIGITS: usize = 32;
const SPAN_ID_DIGITS: usize = 16;

/// Decodes the spans of a JSON list, in order; an empty body is an empty list.
///
/// # Errors
///
/// [`DecodeError::Format`], in Zipkin's words, when this is JSON v1 or no list.
/// [`DecodeError::Json`] with the path when a value is wrong. The answer is 400 for both.
pub fn decode_json(bytes: &[u8]) -> Result<Vec<Span>, DecodeError> {
    let body = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes).trim_ascii();
    match body.first() {
        None => return Ok(Vec::new()),
        Some(b'[') => {}
        Some(&first) => return Err(unexpected(described(first, bytes))),
    }
    match json::from_slice::<SpanList>("Zipkin v2 list", body) {
        Ok(list) => list.into_spans(),
        // An error about v2 would mislead a sender of v1.
        Err(_) if is_v1(body) => Err(unexpected("JSON_V1")),
        Err(error) => Err(error),
    }
}

/// Returns true if any span has a field that exists only in v1, even when the list is invalid
/// otherwise.
fn is_v1(body: &[u8]) -> bool {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct V1Keys {
        #[serde(alias = "binary_annotations", rename = "binaryAnnotations")]
        binary_annotations: Option<IgnoredAny>,
    }

    serde_json::from_slice::<Vec<Object<V1Keys>>>(body)
        .is_ok_and(|spans| spans.iter().any(|Object(keys)| keys.binary_annotations.is_some()))
}

fn unexpected(received: &str) -> DecodeError {
    DecodeError::Format {
        reason: format!("Expected a JSON_V2 encoded list, but received: {received}"),
    }
}

/// Describes a body by its first bytes, in Zipkin's terms where it has one.
fn described(first: u8, bytes: &[u8]) -> &'static str {
    match (first, bytes) {
        (b'{', _) => "one JSON object",
        // White space of JSON begins these formats, so they are recognised untrimmed.
        (_, [0x0a, ..]) => "PROTO3",
        (_, [0x0c, ..]) => "THRIFT",
        (_, [0x1f, 0x8b, ..]) => "compressed bytes without a Content-Encoding",
        _ if serde_json::from_slice::<IgnoredAny>(bytes).is_ok() => "one JSON value",
        _ => "something that is not JSON",
    }
}

/// A list of spans whose version, v1 or v2, is not checked yet.
pub(crate) struct SpanList(Vec<ZipkinSpanJson>);

impl SpanList {
    pub(crate) fn into_spans(self) -> Result<Vec<Span>, DecodeError> {
        if self.0.iter().any(ZipkinSpanJson::is_v1) {
            return Err(unexpected("JSON_V1"));
        }
        Ok(self.0.into_iter().map(ZipkinSpanJson::into_span).collect())
    }
}

impl<'de> Deserialize<'de> for SpanList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        messages(deserializer).map(Self)
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ZipkinSpanJson {
    #[serde(deserialize_with = "trace_id")]
    trace_id: Vec<u8>,
    #[serde(deserialize_with = "span_id")]
    parent_id: Vec<u8>,
    #[serde(deserialize_with = "span_id")]
    id: Vec<u8>,
    #[serde(deserialize_with = "kind")]
    kind: i32,
    #[serde(deserialize_with = "text")]
    name: String,
    #[serde(deserialize_with = "micros")]
    timestamp: u64,
    #[serde(deserialize_with = "micros")]
    duration: u64,
    #[serde(deserialize_with = "endpoint")]
    local_endpoint: Option<ReadEndpoint>,
    #[serde(deserialize_with = "endpoint")]
    remote_endpoint: Option<ReadEndpoint>,
    #[serde(deserialize_with = "messages")]
    annotations: Vec<AnnotationJson>,
    #[serde(deserialize_with = "tags")]
    tags: Vec<Tag>,
    #[serde(deserialize_with = "boolean")]
    debug: bool,
    #[serde(deserialize_with = "boolean")]
    shared: bool,
    /// Only v1 has these.
    #[serde(rename = "binaryAnnotations", deserialize_with = "is_there")]
    v1: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AnnotationJson {
    #[serde(deserialize_with = "micros")]
    timestamp: u64,
    #[serde(deserialize_with = "text")]
    value: String,
    /// Only v1 has this.
    #[serde(rename = "endpoint", deserialize_with = "is_there")]
    v1: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct EndpointJson {
    #[serde(deserialize_with = "text")]
    service_name: String,
    #[serde(deserialize_with = "text")]
    ipv4: String,
    #[serde(deserialize_with = "text")]
    ipv6: String,
    #[serde(deserialize_with = "json::int32")]
    port: i32,
}

impl ZipkinSpanJson {
    fn is_v1(&self) -> bool {
        self.v1 || self.annotations.iter().any(|annotation| annotation.v1)
    }

    fn into_span(self) -> Span {
        let annotations = self.annotations.into_iter();
        let mut tags = self.tags;
        let mut endpoint = |read: Option<ReadEndpoint>, key: &str| {
            let ReadEndpoint { endpoint, unread } = read?;
            // A text that is no address is kept as a tag.
            let unread = unread.into_iter().map(|value| Tag { key: key.to_owned(), value });
            tags.extend(unread);
            Some(endpoint)
        };
        let local_endpoint = endpoint(self.local_endpoint, "zipkin.local_endpoint.address");
        let remote_endpoint = endpoint(self.remote_endpoint, "zipkin.remote_endpoint.address");
        Span {
            trace_id: self.trace_id,
            parent_id: self.parent_id,
            id: self.id,
            kind: self.kind,
            name: self.name,
            timestamp: self.timestamp,
            duration: self.duration,
            local_endpoint,
            remote_endpoint,
            annotations: annotations
                .map(|AnnotationJson { timestamp, value, .. }| Annotation { timestamp, value })
                .collect(),
            tags,
            debug: self.debug,
            shared: self.shared,
        }
    }
}

fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<IgnoredAny>::deserialize(deserializer)?.is_some())
}

/// Reads microseconds; a negative value counts as unknown, as in Zipkin.
fn micros<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let value = json::any_integer(deserializer)?;
    u64::try_from(value.max(0)).map_err(|_| D::Error::custom("does not fit 64 bits"))
}

fn kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    let name = text(deserializer)?;
    if name.is_empty() {
        return Ok(Kind::Unspecified.into());
    }
    let kind = SpanKind::from_word_ignoring_case(&name).map(Kind::from_otlp);
    match kind.filter(|kind| *kind != Kind::Unspecified) {
        Some(kind) => Ok(kind.into()),
        None => Err(D::Error::custom(format!("{:?} is not a kind", excerpt(&name)))),
    }
}

fn trace_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    id(deserializer, TRACE_ID_DIGITS)
}

fn span_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    id(deserializer, SPAN_ID_DIGITS)
}

/// Reads the bytes of an id, whose leading zeros may be missing. A trace id of up to 16 digits
/// stays 8 bytes.
fn id<'de, D: Deserializer<'de>>(deserializer: D, digits_max: usize) -> Result<Vec<u8>, D::Error> {
    let text = text(deserializer)?;
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let wrong = |reason: String| D::Error::custom(format!("{:?}: {reason}", excerpt(&text)));
    if text.len() > digits_max {
        let length = text.len();
        return Err(wrong(format!("an id of at most {digits_max} hex digits, not {length}")));
    }
    let width = if text.len() > SPAN_ID_DIGITS { TRACE_ID_DIGITS } else { SPAN_ID_DIGITS };
    hex::decode(format!("{text:0>width$}").as_bytes())
        .map_err(|_| wrong("an id has hex digits only".to_owned()))
}

/// An endpoint, and a text in place of its address if that is invalid.
#[derive(Default)]
struct ReadEndpoint {
    endpoint: Endpoint,
    unread: Option<String>,
}

fn endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ReadEndpoint>, D::Error> {
    let Some(Object(json)) = Option::<Object<EndpointJson>>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let mut endpoint = Endpoint {
        service_name: json.service_name,
        ipv4: Vec::new(),
        ipv6: Vec::new(),
        port: json.port,
    };
    // Either kind of address may be in either field.
    let mut unread: Option<String> = None;
    for address in [json.ipv4, json.ipv6] {
        if let Ok(ip) = address.parse::<Ipv4Addr>() {
            endpoint.ipv4 = ip.octets().to_vec();
        } else if let Ok(ip) = address.parse::<Ipv6Addr>() {
            endpoint.ipv6 = ip.octets().to_vec();
        } else if !address.is_empty() {
            match &mut unread {
                Some(unread) => unread.extend([", ", address.as_str()]),
                None => unread = Some(address),
            }
        }
    }
    Ok(Some(ReadEndpoint { endpoint, unread }))
}

fn tags<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Tag>, D::Error> {
    struct Tags;

    impl<'de> Visitor<'de> for Tags {
        type Value = Vec<Tag>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of tags")
        }

        fn visit_unit<E>(self) -> Result<Vec<Tag>, E> {
            Ok(Vec::new())
        }

        /// Some reporters write a list of `{"key": …, "value": …}`, which is not v2.
        fn visit_seq<A: SeqAccess<'de>>(self, _seq: A) -> Result<Vec<Tag>, A::Error> {
            Err(A::Error::custom("tags are an object, not a list"))
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Tag>, A::Error> {
            let mut tags: Vec<Tag> = Vec::new();
            while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                let TagText(value) = map.next_value()?;
                tags.push(Tag { key: key.into_owned(), value });
            }
            Ok(tags)
        }
    }

    deserializer.deserialize_any(Tags)
}

/// A tag's value: text as it is, other values as their JSON.
struct TagText(String);

impl<'de> Deserialize<'de> for TagText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => text,
            serde_json::Value::Null => String::new(),
            other => other.to_string(),
        }))
    }
}

#[cfg(test)]
mod tests;
