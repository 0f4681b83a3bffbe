//! `AnyValue`: an object with at most one key, named after the value's type.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor},
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
            if matches!(key, Key::Unknown) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = map.next_value_seed(OneValue(key))?;
            if value.is_some() && found.is_some() {
                return Err(A::Error::custom("an AnyValue has more than one value"));
            }
            found = value.or(found);
        }
        Ok(AnyValue { value: found })
    }
}

/// The value after a key; `null` counts as an absent key.
struct OneValue(Key);

impl<'de> DeserializeSeed<'de> for OneValue {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for OneValue {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<Self::Value, D::Error> {
        Ok(Some(match self.0 {
            Key::String => Value::String(scalar::text(value)?),
            Key::Bool => Value::Bool(scalar::boolean(value)?),
            Key::Int => Value::Int(scalar::i64_text::deserialize(value)?),
            Key::Double => Value::Double(scalar::double::deserialize(value)?),
            Key::Array => Value::Array(Object::deserialize(value)?.0),
            Key::Kvlist => Value::Kvlist(Object::deserialize(value)?.0),
            Key::Bytes => Value::Bytes(scalar::base64::deserialize(value)?),
            Key::Unknown => return Ok(None),
        }))
    }
}
