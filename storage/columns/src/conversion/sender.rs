//! Columns about the sender of a row: resource, scope and the attributes promoted from them.
//!
//! The same few resources and scopes come with every request. Their column values are therefore
//! computed once and cached by their bytes.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use arrow_schema::ArrowError;
use base64::{Engine, engine::general_purpose::STANDARD};
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};
use tidings_proto::otlp::{
    InstrumentationScope, KeyValue, Resource,
    view::{NonCanonical, Repeated, ResourceView, ScopeView},
};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{NamedColumn, buffers::GroupedWords};
use crate::schema::{PROMOTED, SERVICE_NAME};

/// Prefix of a stored text that is protobuf in base64. JSON begins with a brace.
const PROTOBUF: &str = "protobuf:";

/// Encodes a message as text: OTLP/JSON, or protobuf in base64 when JSON would lose something.
fn store<M: Message + Serialize + DeserializeOwned + Default>(message: &M, bytes: &[u8]) -> String {
    if let Ok(text) = serde_json::to_string(message)
        && serde_json::from_str::<M>(&text).is_ok_and(|read| read.encode_to_vec() == bytes)
    {
        return text;
    }
    format!("{PROTOBUF}{}", STANDARD.encode(bytes))
}

/// Decodes the message of a stored text. A text in neither encoding gives the default message.
pub fn load<M: Message + DeserializeOwned + Default>(text: &str) -> M {
    match text.strip_prefix(PROTOBUF) {
        Some(encoded) => {
            let bytes = STANDARD.decode(encoded).unwrap_or_default();
            M::decode(bytes.as_slice()).unwrap_or_default()
        }
        None => serde_json::from_str(text).unwrap_or_default(),
    }
}

/// Column values of a resource or a scope.
#[derive(Debug, Default)]
struct SenderValues {
    /// Encoding as it was sent.
    sent: Vec<u8>,
    text: Option<String>,
    /// Canonical encoding.
    bytes: Option<Vec<u8>>,
    service: String,
    promoted: [Option<String>; PROMOTED.len()],
}

/// Maximum number of resources, and of scopes, in the cache.
const REMEMBERED_MAX: usize = 4096;
/// Maximum size of a cached resource or scope. Larger ones are computed each time.
const REMEMBERED_BYTES_MAX: usize = 16 << 10;

/// Cache of column values, by the hash of the bytes that were sent. Of two with one hash, the later
/// one is cached.
#[derive(Debug, Default)]
struct SenderCache(Mutex<HashMap<u64, Arc<SenderValues>>>);

static RESOURCES: LazyLock<SenderCache> = LazyLock::new(SenderCache::default);
static SCOPES: LazyLock<SenderCache> = LazyLock::new(SenderCache::default);

impl SenderCache {
    fn get(
        &self,
        encoded: Option<&[u8]>,
        work_out: impl FnOnce(&[u8]) -> Result<SenderValues, NonCanonical>,
    ) -> Result<Arc<SenderValues>, NonCanonical> {
        let Some(encoded) = encoded else { return Ok(Arc::default()) };
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = xxh3_64(encoded);
        if let Some(known) = lock().get(&key)
            && known.sent == encoded
        {
            return Ok(Arc::clone(known));
        }
        let known = Arc::new(work_out(encoded)?);
        if encoded.len() <= REMEMBERED_BYTES_MAX {
            let mut memo = lock();
            if memo.len() >= REMEMBERED_MAX {
                // Active senders are soon cached again.
                memo.clear();
            }
            memo.insert(key, Arc::clone(&known));
        }
        Ok(known)
    }
}

fn resource(encoded: &[u8]) -> Result<SenderValues, NonCanonical> {
    let resource = Resource::decode(encoded).map_err(|_| NonCanonical)?;
    let bytes = resource.encode_to_vec();
    Ok(SenderValues {
        sent: encoded.to_vec(),
        text: Some(store(&resource, &bytes)),
        bytes: Some(bytes),
        service: promote(&resource.attributes, &[SERVICE_NAME]).unwrap_or_default(),
        promoted: PROMOTED.map(|(_, keys, _)| promote(&resource.attributes, keys)),
    })
}

fn scope(encoded: &[u8]) -> Result<SenderValues, NonCanonical> {
    let scope = InstrumentationScope::decode(encoded).map_err(|_| NonCanonical)?;
    let bytes = scope.encode_to_vec();
    Ok(SenderValues {
        sent: encoded.to_vec(),
        text: Some(store(&scope, &bytes)),
        bytes: Some(bytes),
        ..SenderValues::default()
    })
}

/// The records of one resource and scope, with the values that they share.
#[derive(Debug)]
pub(super) struct ScopeRecords<'a, R> {
    resource: Arc<SenderValues>,
    resource_schema_url: &'a [u8],
    scope: Arc<SenderValues>,
    scope_schema_url: &'a [u8],
    /// Hash of resource and scope, which seeds the hashes of the records.
    pub(super) hash: u64,
    pub(super) records: Repeated<'a, R>,
}

/// Returns the groups of a request that have records, in order.
pub(super) fn groups<'a, R>(
    resources: Repeated<'a, ResourceView<'a, R>>,
) -> Result<Vec<ScopeRecords<'a, R>>, NonCanonical> {
    let mut groups = Vec::with_capacity(resources.len());
    for of in resources.iter() {
        let of: ResourceView<'a, R> = of?;
        let known = RESOURCES.get(of.resource, resource)?;
        let of_resource = hash(0, known.bytes.as_deref(), of.schema_url);
        for scoped in of.scopes.iter() {
            let scoped: ScopeView<'a, R> = scoped?;
            let known_scope = SCOPES.get(scoped.scope, scope)?;
            if scoped.records.is_empty() {
                continue;
            }
            groups.push(ScopeRecords {
                resource: Arc::clone(&known),
                resource_schema_url: of.schema_url,
                hash: hash(of_resource, known_scope.bytes.as_deref(), scoped.schema_url),
                scope: known_scope,
                scope_schema_url: scoped.schema_url,
                records: scoped.records,
            });
        }
    }
    Ok(groups)
}

fn hash(seed: u64, bytes: Option<&[u8]>, schema_url: &[u8]) -> u64 {
    let seed = match bytes {
        Some(bytes) => xxh3_64_with_seed(bytes, seed),
        None => seed.wrapping_add(1),
    };
    xxh3_64_with_seed(schema_url, seed)
}

/// Returns the first of these attributes that has a scalar value, as text.
fn promote(attributes: &[KeyValue], keys: &[&str]) -> Option<String> {
    keys.iter().find_map(|key| {
        let attribute = attributes.iter().find(|attribute| attribute.key == *key)?;
        Some(attribute.value()?.scalar_text()?.into_owned())
    })
}

/// Columns of the sender in `schema::table_columns`, in its order.
#[derive(Debug)]
pub(super) struct SenderColumns {
    pub(super) service: [NamedColumn; 1],
    pub(super) origin: Vec<NamedColumn>,
}

/// Builds the columns for the rows of these groups.
pub(super) fn columns<'a, R>(
    groups: &'a [ScopeRecords<'a, R>],
) -> Result<SenderColumns, ArrowError> {
    let mut grouped = GroupedWords::new(groups.iter().map(|group| group.records.len()).collect());
    let mut words = |text: &dyn Fn(&'a ScopeRecords<'a, R>) -> Option<&'a [u8]>| {
        grouped.column(groups.iter().map(text))
    };
    let mut origin: Vec<NamedColumn> = vec![
        ("resource", words(&|of| of.resource.text.as_deref().map(str::as_bytes))?),
        ("resource_schema_url", words(&|of| Some(of.resource_schema_url))?),
        ("scope", words(&|of| of.scope.text.as_deref().map(str::as_bytes))?),
        ("scope_schema_url", words(&|of| Some(of.scope_schema_url))?),
    ];
    for (at, (name, ..)) in PROMOTED.into_iter().enumerate() {
        let column = words(&|of| of.resource.promoted[at].as_deref().map(str::as_bytes))?;
        origin.push((name, column));
    }
    let service = words(&|of| Some(of.resource.service.as_bytes()))?;
    Ok(SenderColumns { service: [("service", service)], origin })
}
