//! `opentelemetry.proto.common.v1` and `opentelemetry.proto.resource.v1`.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ValueForm, ValueFormMut, json};

/// A value of one of OTLP's types; `None` is a present attribute without a value.
///
/// In JSON a value with two types set is an error, as a repeated key is.
#[derive(Clone, PartialEq, prost::Message, Serialize, ToSchema)]
#[serde(default)]
pub struct AnyValue {
    /// The value.
    #[prost(oneof = "Value", tags = "1, 2, 3, 4, 5, 6, 7")]
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub value: Option<Value>,
}

/// The types a value can have.
#[derive(Clone, PartialEq, prost::Oneof, Serialize, ToSchema)]
pub enum Value {
    /// UTF-8 text.
    #[prost(string, tag = "1")]
    #[serde(rename = "stringValue")]
    String(String),
    /// A truth value.
    #[prost(bool, tag = "2")]
    #[serde(rename = "boolValue")]
    Bool(bool),
    /// A signed 64-bit integer.
    #[prost(int64, tag = "3")]
    #[serde(rename = "intValue", serialize_with = "json::i64_text::serialize")]
    #[schema(value_type = String)]
    Int(i64),
    /// A 64-bit float.
    #[prost(double, tag = "4")]
    #[serde(rename = "doubleValue", serialize_with = "json::double::serialize")]
    Double(f64),
    /// A list of values.
    #[prost(message, tag = "5")]
    #[serde(rename = "arrayValue")]
    #[schema(no_recursion)]
    Array(ArrayValue),
    /// A map of values, in the sender's order.
    #[prost(message, tag = "6")]
    #[serde(rename = "kvlistValue")]
    #[schema(no_recursion)]
    Kvlist(KeyValueList),
    /// Raw bytes.
    #[prost(bytes = "vec", tag = "7")]
    #[serde(rename = "bytesValue", serialize_with = "json::base64::serialize")]
    #[schema(value_type = String)]
    Bytes(Vec<u8>),
}

impl Value {
    /// Tags of the types that are messages or bytes.
    pub(super) const NESTED_TAGS: RangeInclusive<u32> = 5..=7;

    /// Returns the name of its type for readers.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) => "string",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Double(_) => "double",
            Self::Array(_) => "array",
            Self::Kvlist(_) => "map",
            Self::Bytes(_) => "bytes",
        }
    }

    /// Returns the value by its form.
    #[must_use]
    pub fn form(&self) -> ValueForm<'_> {
        match self {
            Self::String(text) => ValueForm::Text(text),
            Self::Bool(truth) => ValueForm::Bool(*truth),
            Self::Int(number) => ValueForm::Int(*number),
            Self::Double(number) => ValueForm::Double(*number),
            Self::Array(array) => ValueForm::List(&array.values),
            Self::Kvlist(map) => ValueForm::Map(&map.values),
            Self::Bytes(bytes) => ValueForm::Bytes(bytes),
        }
    }

    /// Returns the parts of a list or a map, or the value itself, to be changed.
    pub fn form_mut(&mut self) -> ValueFormMut<'_> {
        match self {
            Self::Array(array) => ValueFormMut::List(&mut array.values),
            Self::Kvlist(map) => ValueFormMut::Map(&mut map.values),
            Self::String(_) | Self::Bool(_) | Self::Int(_) | Self::Double(_) | Self::Bytes(_) => {
                ValueFormMut::Single(self)
            }
        }
    }
}

/// A list of values.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ArrayValue {
    /// The elements.
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::messages", skip_serializing_if = "Vec::is_empty")]
    #[schema(no_recursion)]
    pub values: Vec<AnyValue>,
}

/// A map of values.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyValueList {
    /// The entries, in the sender's order.
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::messages", skip_serializing_if = "Vec::is_empty")]
    #[schema(no_recursion)]
    pub values: Vec<KeyValue>,
}

/// One attribute.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyValue {
    /// The attribute's name.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "json::text", skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// Its value.
    #[prost(message, optional, tag = "2")]
    #[serde(deserialize_with = "json::message", skip_serializing_if = "Option::is_none")]
    pub value: Option<AnyValue>,
}

/// The library that made the telemetry.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InstrumentationScope {
    /// The library's name.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "json::text", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its version.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "json::text", skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// More about it.
    #[prost(message, repeated, tag = "3")]
    #[serde(deserialize_with = "json::messages", skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<KeyValue>,
    /// Number of attributes the sender dropped.
    #[prost(uint32, tag = "4")]
    #[serde(deserialize_with = "json::uint32", skip_serializing_if = "json::is_default")]
    pub dropped_attributes_count: u32,
}

/// The service, process, host or pod that sent the telemetry.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Resource {
    /// Attributes that identify it (`service.name` and others).
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::messages", skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<KeyValue>,
    /// Number of attributes the sender dropped.
    #[prost(uint32, tag = "2")]
    #[serde(deserialize_with = "json::uint32", skip_serializing_if = "json::is_default")]
    pub dropped_attributes_count: u32,
    /// The entities that the attributes describe.
    #[prost(message, repeated, tag = "3")]
    #[serde(deserialize_with = "json::messages", skip_serializing_if = "Vec::is_empty")]
    pub entity_refs: Vec<EntityRef>,
}

/// Which attributes of a resource identify an entity.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EntityRef {
    /// The schema of the names.
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "json::text", skip_serializing_if = "String::is_empty")]
    pub schema_url: String,
    /// The entity's type, as `service`.
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "json::text", skip_serializing_if = "String::is_empty")]
    pub r#type: String,
    /// The attributes that identify it.
    #[prost(string, repeated, tag = "3")]
    #[serde(deserialize_with = "json::texts", skip_serializing_if = "Vec::is_empty")]
    pub id_keys: Vec<String>,
    /// The attributes that describe it.
    #[prost(string, repeated, tag = "4")]
    #[serde(deserialize_with = "json::texts", skip_serializing_if = "Vec::is_empty")]
    pub description_keys: Vec<String>,
}

impl KeyValue {
    /// Creates an attribute with this key and value.
    #[must_use]
    pub fn new(key: impl Into<String>, value: impl Into<AnyValue>) -> Self {
        Self { key: key.into(), value: Some(value.into()) }
    }

    /// Returns the value, if there is one.
    #[must_use]
    pub fn value(&self) -> Option<&Value> {
        self.value.as_ref()?.value.as_ref()
    }
}

impl From<Value> for AnyValue {
    fn from(value: Value) -> Self {
        Self { value: Some(value) }
    }
}

impl From<&str> for AnyValue {
    fn from(text: &str) -> Self {
        Value::String(text.to_owned()).into()
    }
}

impl From<String> for AnyValue {
    fn from(text: String) -> Self {
        Value::String(text).into()
    }
}

impl From<i64> for AnyValue {
    fn from(number: i64) -> Self {
        Value::Int(number).into()
    }
}

impl From<f64> for AnyValue {
    fn from(number: f64) -> Self {
        Value::Double(number).into()
    }
}

impl From<bool> for AnyValue {
    fn from(truth: bool) -> Self {
        Value::Bool(truth).into()
    }
}
