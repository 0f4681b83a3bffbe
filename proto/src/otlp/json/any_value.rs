//! `AnyValue`: an object with at most one key, named after the value's type.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};

use super::{Object, scalar};
use crate::otlp::{AnyValue, Value};

#[derive(Clone, Copy, Deserialize)]
#[serde(field_identifier)]
enum Key {
    #[serde(rename = "stringValue")]
    String,
    #[serde(rename = "boolValue")]
    Bool,
    #[serde(rename = "intValue")]
    Int,
    #[serde(rename = "doubleValue")]
    Double,
    #[serde(rename = "arrayValue")]
    Array,
    #[serde(rename = "kvlistValue")]
    Kvlist,
    #[serde(rename = "bytesValue")]
    Bytes,
    #[serde(other)]
    Unknown,
}

impl<'de> Deserialize<'de> for AnyValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AnyValueVisitor)
    }
}

struct AnyValueVisitor;

impl<'de> Visitor<'de> for AnyValueVisitor {
    type Value = AnyValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with one of the keys stringValue, boolValue, intValue, ...")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AnyValue, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<Key>()? {
            let value = value(key, &mut map)?;
            if value.is_some() && found.is_some() {
                return Err(A::Error::custom("an AnyValue has more than one value"));
            }
            found = value.or(found);
        }
        Ok(AnyValue { value: found })
    }
}

/// Reads the value after a key; `null` counts as an absent key.
fn value<'de, A: MapAccess<'de>>(key: Key, map: &mut A) -> Result<Option<Value>, A::Error> {
    Ok(match key {
        Key::String => {
            map.next_value::<Option<StringJson>>()?.map(|StringJson(text)| Value::String(text))
        }
        Key::Bool => {
            map.next_value::<Option<BoolJson>>()?.map(|BoolJson(truth)| Value::Bool(truth))
        }
        Key::Int => map.next_value::<Option<IntJson>>()?.map(|IntJson(number)| Value::Int(number)),
        Key::Double => {
            map.next_value::<Option<DoubleJson>>()?.map(|DoubleJson(one)| Value::Double(one))
        }
        Key::Array => map.next_value::<Option<Object<_>>>()?.map(|Object(list)| Value::Array(list)),
        Key::Kvlist => map.next_value::<Option<Object<_>>>()?.map(|Object(map)| Value::Kvlist(map)),
        Key::Bytes => {
            map.next_value::<Option<BytesJson>>()?.map(|BytesJson(bytes)| Value::Bytes(bytes))
        }
        Key::Unknown => {
            map.next_value::<IgnoredAny>()?;
            None
        }
    })
}

#[derive(Deserialize)]
struct StringJson(#[serde(deserialize_with = "scalar::text")] String);

#[derive(Deserialize)]
struct BoolJson(#[serde(deserialize_with = "scalar::boolean")] bool);

#[derive(Deserialize)]
struct IntJson(#[serde(deserialize_with = "scalar::i64_text::deserialize")] i64);

#[derive(Deserialize)]
struct DoubleJson(#[serde(deserialize_with = "scalar::double::deserialize")] f64);

#[derive(Deserialize)]
struct BytesJson(#[serde(deserialize_with = "scalar::base64::deserialize")] Vec<u8>);
