//! Columns that say who sent a row: resource, scope and what is promoted from them.

use std::sync::Arc;

use arrow_array::ArrayRef;
use base64::{Engine, engine::general_purpose::STANDARD};
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};
use tidings_proto::otlp::{InstrumentationScope, KeyValue, Resource, Value};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{WordBuilder, words};
use crate::schema::PROMOTED;

/// Marks stored text that is protobuf in base64 and not JSON, which begins with a brace.
const PROTOBUF: &str = "protobuf:";

/// A message as text: OTLP/JSON, or protobuf in base64 when JSON would not bring it back exactly.
fn store<M: Message + Serialize + DeserializeOwned + Default>(message: &M, bytes: &[u8]) -> String {
    if let Ok(text) = serde_json::to_string(message)
        && serde_json::from_str::<M>(&text).is_ok_and(|read| read.encode_to_vec() == bytes)
    {
        return text;
    }
    format!("{PROTOBUF}{}", STANDARD.encode(bytes))
}

/// The message of a stored text; the default one when the text is none of ours.
pub(crate) fn load<M: Message + DeserializeOwned + Default>(text: &str) -> M {
    match text.strip_prefix(PROTOBUF) {
        Some(encoded) => {
            let bytes = STANDARD.decode(encoded).unwrap_or_default();
            M::decode(bytes.as_slice()).unwrap_or_default()
        }
        None => serde_json::from_str(text).unwrap_or_default(),
    }
}

/// What all rows of one resource share.
#[derive(Debug)]
pub(super) struct Sender<'a> {
    text: Option<String>,
    schema_url: &'a str,
    service: String,
    promoted: [Option<String>; PROMOTED.len()],
    hash: u64,
}

impl<'a> Sender<'a> {
    pub(super) fn new(resource: Option<&Resource>, schema_url: &'a str) -> Self {
        let bytes = resource.map(Message::encode_to_vec);
        let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
        Self {
            text: resource.zip(bytes.as_deref()).map(|(resource, bytes)| store(resource, bytes)),
            schema_url,
            service: promote(attributes, &["service.name"]).unwrap_or_default(),
            promoted: PROMOTED.map(|(_, keys)| promote(attributes, keys)),
            hash: hash(0, bytes.as_deref(), schema_url),
        }
    }
}

/// What all rows of one scope share.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    text: Option<String>,
    schema_url: &'a str,
    /// A hash of sender and scope: the seed of the rows' hashes.
    pub(super) hash: u64,
}

impl<'a> Scope<'a> {
    pub(super) fn new(
        sender: &Sender<'_>,
        scope: Option<&InstrumentationScope>,
        schema_url: &'a str,
    ) -> Self {
        let bytes = scope.map(Message::encode_to_vec);
        Self {
            text: scope.zip(bytes.as_deref()).map(|(scope, bytes)| store(scope, bytes)),
            schema_url,
            hash: hash(sender.hash, bytes.as_deref(), schema_url),
        }
    }
}

fn hash(seed: u64, bytes: Option<&[u8]>, schema_url: &str) -> u64 {
    let seed = match bytes {
        Some(bytes) => xxh3_64_with_seed(bytes, seed),
        None => seed.wrapping_add(1),
    };
    xxh3_64_with_seed(schema_url.as_bytes(), seed)
}

/// The first of these attributes that has a plain value, as text.
fn promote(attributes: &[KeyValue], keys: &[&str]) -> Option<String> {
    keys.iter().find_map(|key| {
        let attribute = attributes.iter().find(|attribute| attribute.key == *key)?;
        Some(match attribute.value()? {
            Value::String(text) => text.clone(),
            Value::Int(number) => number.to_string(),
            Value::Double(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            Value::Array(_) | Value::Kvlist(_) | Value::Bytes(_) => return None,
        })
    })
}

/// Builds the columns.
pub(super) struct SenderBuilder {
    service: WordBuilder,
    resource: WordBuilder,
    resource_schema_url: WordBuilder,
    scope: WordBuilder,
    scope_schema_url: WordBuilder,
    promoted: [WordBuilder; PROMOTED.len()],
}

/// The columns.
#[derive(Debug)]
pub(super) struct SenderColumns {
    pub(super) service: ArrayRef,
    pub(super) resource: ArrayRef,
    pub(super) resource_schema_url: ArrayRef,
    pub(super) scope: ArrayRef,
    pub(super) scope_schema_url: ArrayRef,
    pub(super) promoted: [ArrayRef; PROMOTED.len()],
}

impl SenderBuilder {
    pub(super) fn new(rows: usize) -> Self {
        Self {
            service: words(rows),
            resource: words(rows),
            resource_schema_url: words(rows),
            scope: words(rows),
            scope_schema_url: words(rows),
            promoted: std::array::from_fn(|_| words(rows)),
        }
    }

    /// Appends as many rows of this sender and scope.
    pub(super) fn append(&mut self, sender: &Sender<'_>, scope: &Scope<'_>, rows: usize) {
        if rows == 0 {
            return;
        }
        self.service.append_values(&sender.service, rows);
        append(&mut self.resource, sender.text.as_deref(), rows);
        self.resource_schema_url.append_values(sender.schema_url, rows);
        append(&mut self.scope, scope.text.as_deref(), rows);
        self.scope_schema_url.append_values(scope.schema_url, rows);
        for (column, value) in self.promoted.iter_mut().zip(&sender.promoted) {
            append(column, value.as_deref(), rows);
        }
    }

    pub(super) fn finish(mut self) -> SenderColumns {
        SenderColumns {
            service: Arc::new(self.service.finish()),
            resource: Arc::new(self.resource.finish()),
            resource_schema_url: Arc::new(self.resource_schema_url.finish()),
            scope: Arc::new(self.scope.finish()),
            scope_schema_url: Arc::new(self.scope_schema_url.finish()),
            promoted: self.promoted.map(|mut column| Arc::new(column.finish()) as ArrayRef),
        }
    }
}

fn append(column: &mut WordBuilder, value: Option<&str>, rows: usize) {
    match value {
        Some(text) => column.append_values(text, rows),
        None => column.append_nulls(rows),
    }
}
