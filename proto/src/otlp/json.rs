//! OTLP/JSON: protobuf's JSON mapping with OTLP's exceptions.
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>
//!
//! Owns how each kind of field looks in JSON (`scalar.rs`), `AnyValue` (`any_value.rs`) and
//! `google.rpc` details (`status_json.rs`). Which field is of which kind stands at the fields, in
//! their `serde` attributes. Does not check that an id has the right length: a wrong one is refused
//! with its span when the request is normalised, not with the whole request.
//!
//! The rules, where OTLP or protobuf leave a choice or people expect another:
//! - Trace and span ids are hex in either case; other bytes are base64 (both alphabets, padding
//!   optional). A text that is not hex is no id: it is refused with its span, as a wrong length is.
//! - Integers are read as numbers or strings; 64-bit ones are written as strings. A number with a
//!   fraction or exponent counts when it is whole. Beyond the type's range is an error.
//! - Enums are integers only; a name is an error, because a wrong kind is worse than a refusal.
//! - Keys are lower camel case only; unknown keys, so also `snake_case`, are ignored at any depth.
//! - `null` is the field's default. A repeated key is an error, and so is an `AnyValue` with two
//!   values: which one was meant cannot be known.
//! - Defaults are left out when written, as protobuf does; an `AnyValue`'s value never is.
//! - A byte order mark before the document is skipped.
//! - Depth is bounded by `serde_json`'s recursion limit of 128, and that of what is ignored, which
//!   it does not bound, by [`check_depth`].

mod any_value;
mod scalar;
mod status_json;

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, SeqAccess, Visitor},
    forward_to_deserialize_any,
};

use super::Wire;
use crate::DecodeError;

pub(crate) use scalar::{
    any_integer, base64, boolean, double, enumeration, excerpt, hex, i64_text, int32, is_default,
    text, texts, u64_text, uint32,
};

/// Bytes in place of an id whose text is not hexadecimal. They are invalid for every id length.
pub const NOT_HEX: &[u8] = b"not hex";

/// Maximum depth of a document: the limit that `serde_json` has for fields that it does not ignore.
const DEPTH_MAX: usize = 128;

/// Maximum bytes of a path or a reason in an error.
const ERROR_BYTES_MAX: usize = 512;

/// Decodes a message from a JSON document.
///
/// # Errors
///
/// [`DecodeError::Json`] with the path to the wrong value: the sender must not try again.
pub fn decode_json<T: Wire>(bytes: &[u8]) -> Result<T, DecodeError> {
    from_slice(T::NAME, bytes).map(|Object(value)| value)
}

/// Encodes a message as a JSON document.
#[must_use]
pub fn encode_json<T: Wire>(message: &T) -> Vec<u8> {
    serde_json::to_vec(message)
        .expect("invariant: wire messages have text keys and write every value")
}

/// Decodes without tracking the path, which costs time on every field. Only when that fails, a
/// second pass finds the path.
pub(crate) fn from_slice<T: DeserializeOwned>(
    message: &'static str,
    bytes: &[u8],
) -> Result<T, DecodeError> {
    let document = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let wrong = |path: String, reason: String| DecodeError::Json {
        message,
        path: shortened(path),
        reason: shortened(reason),
    };
    if let Ok(value) = serde_json::from_slice(document) {
        return check_depth(document).map(|()| value).map_err(|at| {
            let reason = format!("nested deeper than {DEPTH_MAX} levels at byte {at}");
            wrong(".".to_owned(), reason)
        });
    }
    let mut json = serde_json::Deserializer::from_slice(document);
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| wrong(error.path().to_string(), error.inner().to_string()))?;
    json.end().map_err(|error| wrong(".".to_owned(), error.to_string()))?;
    Ok(value)
}

/// Checks that a valid document nests no deeper than [`DEPTH_MAX`]. The error is the byte offset of
/// the first deeper value.
fn check_depth(document: &[u8]) -> Result<(), usize> {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for (at, byte) in document.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(at);
                }
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Shortens a reason of `serde`, which quotes the client's text whole and may be as long as the
/// body. Both ends stay: one has the fault, the other the position.
fn shortened(text: String) -> String {
    if text.len() <= ERROR_BYTES_MAX {
        return text;
    }
    let head = text.floor_char_boundary(ERROR_BYTES_MAX / 2);
    let tail = text.ceil_char_boundary(text.len() - ERROR_BYTES_MAX / 4);
    format!("{}…{}", &text[..head], &text[tail..])
}

/// A message that must be a JSON object. `serde`'s derived code also accepts an array of the fields
/// in order, which no sender means.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(ObjectOnly(deserializer)).map(Object)
    }
}

struct ObjectOnly<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for ObjectOnly<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct enum identifier ignored_any
    }
}

/// Reads an optional message.
pub(crate) fn message<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::<Object<T>>::deserialize(deserializer)?.map(|Object(value)| value))
}

/// Reads a list of messages.
pub(crate) fn messages<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Messages<T>(std::marker::PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Messages<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of objects")
        }

        fn visit_unit<E>(self) -> Result<Vec<T>, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut values = Vec::new();
            while let Some(Object(value)) = seq.next_element()? {
                values.push(value);
            }
            Ok(values)
        }
    }

    deserializer.deserialize_any(Messages(std::marker::PhantomData))
}

#[cfg(test)]
mod tests;
