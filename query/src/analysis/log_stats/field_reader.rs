//! The value of a field of log records, by row.

use std::collections::HashMap;

use tidings_log_query::LogField;
use tidings_proto::{json_field::json_field, otlp::KeyValue};
use tidings_storage::{AttributeOwner, LogColumn, LogCountBucket, LogRows, Projection};
use xxhash_rust::xxh3::xxh3_128;

use crate::log_reader::severity_name;

/// Maximum number of characters of a value; a longer one is cut.
const VALUE_CHARS_MAX: usize = 1_000;
/// Maximum number of resources and scopes whose values are cached.
const SENDERS_MAX: usize = 4_096;

/// Reads a field.
#[derive(Debug)]
pub(super) struct FieldReader {
    field: LogField,
    senders: SenderValues,
}

impl FieldReader {
    pub(super) fn new(field: LogField) -> Self {
        Self { field, senders: HashMap::new() }
    }

    /// The columns that reading the field needs.
    pub(super) fn detail(&self) -> Projection {
        match &self.field {
            LogField::Column(LogColumn::EventName | LogColumn::ScopeName)
            | LogField::Attribute(AttributeOwner::Scope, _) => Projection::Full,
            LogField::Attribute(..) | LogField::Named(_) => Projection::Attributes,
            _ => Projection::Facts,
        }
    }

    /// Returns true if data files count their records by the field.
    pub(super) fn is_counted(&self) -> bool {
        matches!(self.field, LogField::Severity | LogField::Column(LogColumn::Service))
    }

    /// The value that the records of a bucket have, in the form of [`Self::text`].
    pub(super) fn text_of_bucket(&self, bucket: &LogCountBucket) -> Option<String> {
        match &self.field {
            LogField::Severity => non_empty(severity_name(bucket.severity_number)),
            LogField::Column(LogColumn::Service) => non_empty(&bucket.service),
            _ => None,
        }
    }

    /// Returns the value as text; `None` when the record has no value, an array, a map or bytes.
    pub(super) fn text(&mut self, rows: &LogRows, row: usize) -> Option<String> {
        match &self.field {
            LogField::Body => non_empty(rows.text(row)),
            LogField::Severity => non_empty(severity_name(rows.severity_number(row))),
            LogField::Trace => rows.trace_id(row).map(|id| id.to_string()),
            LogField::Span => rows.span_id(row).map(|id| id.to_string()),
            LogField::Column(LogColumn::Service) => non_empty(rows.service(row)),
            LogField::Column(LogColumn::SeverityText) => non_empty(rows.severity_text(row)),
            LogField::Column(LogColumn::EventName) => non_empty(&rows.log_record(row).event_name),
            LogField::Column(LogColumn::ScopeName) => {
                rows.scope(row).and_then(|scope| non_empty(&scope.name))
            }
            LogField::BodyField(path) => of_body(rows, row, path),
            LogField::Named(keys) => {
                // The first key is the name itself; only labels have more.
                let key = keys.first()?;
                of_any_owner(&mut self.senders, rows, row, key).or_else(|| of_body(rows, row, key))
            }
            LogField::Attribute(owner, key) => match owner {
                AttributeOwner::Record => attribute(rows, row, key),
                AttributeOwner::Any => of_any_owner(&mut self.senders, rows, row, key),
                AttributeOwner::Resource => of_resource(&mut self.senders, rows, row, key),
                AttributeOwner::Scope => of_scope(&mut self.senders, rows, row, key),
            },
        }
    }
}

/// Values of resources or scopes, by a hash of their stored texts.
type SenderValues = HashMap<u128, Option<String>>;

/// Returns the attribute of the record, or else of its resource.
fn of_any_owner(
    senders: &mut SenderValues,
    rows: &LogRows,
    row: usize,
    key: &str,
) -> Option<String> {
    attribute(rows, row, key).or_else(|| of_resource(senders, rows, row, key))
}

fn of_resource(
    senders: &mut SenderValues,
    rows: &LogRows,
    row: usize,
    key: &str,
) -> Option<String> {
    let attributes = || rows.resource(row).map(|resource| resource.attributes);
    of_sender(senders, rows.resource_key(row), key, attributes)
}

fn of_scope(senders: &mut SenderValues, rows: &LogRows, row: usize, key: &str) -> Option<String> {
    let attributes = || rows.scope(row).map(|scope| scope.attributes);
    of_sender(senders, rows.scope_key(row), key, attributes)
}

/// Returns the scalar at a path of a structured message.
fn of_body(rows: &LogRows, row: usize, path: &str) -> Option<String> {
    let value = json_field(rows.text(row), path)?.value?;
    value.form().is_scalar().then(|| cut(&value.to_text()))
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| cut(text))
}

fn cut(text: &str) -> String {
    text.chars().take(VALUE_CHARS_MAX).collect()
}

fn attribute(rows: &LogRows, row: usize, key: &str) -> Option<String> {
    let mut found = None;
    rows.each_scalar(row, |name, value| {
        if name == key && found.is_none() {
            found = Some(cut(&value.to_text()));
        }
    });
    found
}

fn of_sender(
    senders: &mut SenderValues,
    stored: &str,
    key: &str,
    attributes: impl FnOnce() -> Option<Vec<KeyValue>>,
) -> Option<String> {
    let hash = xxh3_128(stored.as_bytes());
    if let Some(known) = senders.get(&hash) {
        return known.clone();
    }
    let attributes = attributes().unwrap_or_default();
    let found = attributes.iter().find(|attribute| attribute.key == key);
    let scalar = found.and_then(KeyValue::value).filter(|value| value.form().is_scalar());
    let value = scalar.map(|value| cut(&value.to_text()));
    if senders.len() >= SENDERS_MAX {
        senders.clear();
    }
    senders.insert(hash, value.clone());
    value
}
