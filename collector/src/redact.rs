//! Redaction: replaces secrets in telemetry before anything is written.
//!
//! Runs after decoding and normalising and before the sink, so that neither the write-ahead log nor
//! a table ever has the secret. Owns the rules ([`key_rules`], [`text`], [`url`], [`statement`]),
//! the walk over a decoded request and the count of replaced values. A protobuf request is examined
//! in its encoded form ([`crate::normalise`]); only one with a secret is decoded, changed and
//! encoded again.
//!
//! Every rule reads a text once. A text with a secret is searched again until no secret is found,
//! so redacting is idempotent.

mod key_rules;
mod statement;
mod text;
mod url;

use std::{
    ops::{ControlFlow, Range},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use tidings_proto::otlp::{
    AnyValue, InstrumentationScope, KeyValue, LogRecord, Span, Value, ValueForm, ValueFormMut,
};
use tidings_storage::TelemetryBatch;

pub(crate) use self::{key_rules::KeyRule, text::starts_statement};
use self::{key_rules::KeyRules, text::Secret};
use crate::weight_cache::WeightCache;

/// Replacement of a secret.
pub const MARKER: &str = "[REDACTED]";

/// Maximum number of searches of one text.
const PASSES_MAX: usize = 5;

/// Settings of redaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedactionSettings {
    /// True if secrets are replaced. Otherwise everything is stored unchanged.
    pub enabled: bool,
    /// Keys with secret values, in addition to the built-in ones: a whole key, or its last part
    /// after a dot.
    pub keys: Vec<String>,
}

impl Default for RedactionSettings {
    fn default() -> Self {
        Self { enabled: true, keys: Vec::new() }
    }
}

/// Replaces the secrets of requests and counts them.
#[derive(Debug)]
pub struct Redactor {
    /// The rules; `None` when everything is stored unchanged.
    keys: Option<KeyRules>,
    redacted: AtomicU64,
    /// Resources without secrets that can be stored unchanged.
    pub(crate) resources: WeightCache,
    /// Scopes without secrets that can be stored unchanged.
    pub(crate) scopes: WeightCache,
}

impl Default for Redactor {
    fn default() -> Self {
        Self::new(&RedactionSettings::default())
    }
}

impl Redactor {
    /// Makes a redactor with these settings.
    #[must_use]
    pub fn new(settings: &RedactionSettings) -> Self {
        Self {
            keys: settings.enabled.then(|| KeyRules::new(&settings.keys)),
            redacted: AtomicU64::new(0),
            resources: WeightCache::default(),
            scopes: WeightCache::default(),
        }
    }

    /// Returns the number of values with a secret since the start.
    #[must_use]
    pub fn redacted_values(&self) -> u64 {
        self.redacted.load(Relaxed)
    }

    /// Returns the rule for the values of an attribute with this key.
    #[inline]
    pub(crate) fn rule(&self, key: &[u8]) -> KeyRule {
        self.keys.as_ref().map_or(KeyRule::Text, |keys| keys.rule(key))
    }

    /// Returns whether any text of an encoded request may have a secret that is recognised by the
    /// text before it. If so, each text has to be examined. The caller applies the rules for
    /// attribute keys, and checks texts that begin like statements.
    pub(crate) fn may_hold_text_secret(&self, encoded: &[u8]) -> bool {
        self.keys.as_ref().is_some_and(|keys| {
            url::may_hold_secret(encoded, keys) || text::may_hold_secret(encoded, keys)
        })
    }

    /// Returns whether a text of an attribute has a secret.
    pub(crate) fn finds_in_text(&self, rule: KeyRule, text: &[u8]) -> bool {
        self.keys.as_ref().is_some_and(|keys| !secrets(rule, text, keys).is_empty())
    }

    /// Returns whether a value has a secret.
    pub(crate) fn finds_in_value(&self, rule: KeyRule, value: &AnyValue) -> bool {
        let Some(keys) = &self.keys else { return false };
        let mut open = vec![(rule, value)];
        while let Some((rule, value)) = open.pop() {
            let Some(value) = &value.value else { continue };
            match value.form() {
                ValueForm::List(values) => open.extend(values.iter().map(|one| (rule, one))),
                ValueForm::Map(entries) => {
                    if entries.iter().any(|entry| self.finds_in_key(entry.key.as_bytes())) {
                        return true;
                    }
                    open.extend(entries.iter().filter_map(|entry| {
                        Some((inner_rule(rule, keys, &entry.key), entry.value.as_ref()?))
                    }));
                }
                leaf => {
                    if redacted(rule, leaf, keys).is_some() {
                        return true;
                    }
                }
            }
        }
        false
    }

    /// Returns whether one of these attributes has a secret.
    pub(crate) fn finds_in_attributes(&self, attributes: &[KeyValue]) -> bool {
        attributes.iter().any(|attribute| {
            let rule = self.rule(attribute.key.as_bytes());
            attribute.value.as_ref().is_some_and(|value| self.finds_in_value(rule, value))
                || self.finds_in_key(attribute.key.as_bytes())
        })
    }

    /// Returns whether the key of an attribute has a secret itself.
    fn finds_in_key(&self, key: &[u8]) -> bool {
        self.finds_in_text(KeyRule::Text, key)
    }

    /// Returns a database statement without its secrets.
    #[must_use]
    pub fn redact_statement(&self, text: &str) -> String {
        let replaced = self.keys.as_ref().and_then(|keys| replaced(KeyRule::Statement, text, keys));
        replaced.unwrap_or_else(|| text.to_owned())
    }

    /// Returns a text of a request, such as the value of a parameter, without the secrets that are
    /// found in any text or in a statement.
    #[must_use]
    pub fn redact_text(&self, text: &str) -> String {
        let replaced = self.keys.as_ref().and_then(|keys| replaced(KeyRule::Text, text, keys));
        self.redact_statement(&replaced.unwrap_or_else(|| text.to_owned()))
    }

    /// Replaces the secrets of a decoded batch and drops the sender's bytes, even if there was no
    /// secret. An encoded batch has no secrets, because it was examined when it was accepted.
    /// Returns the number of texts with a secret.
    pub fn redact(&self, batch: &mut TelemetryBatch) -> u64 {
        let Some(keys) = &self.keys else { return 0 };
        let mut redaction = Redaction { keys, count: 0 };
        let bytes = match batch {
            TelemetryBatch::Traces { request, bytes } => {
                for of in &mut request.resource_spans {
                    redaction.attributes(of.resource.as_mut().map(|of| &mut of.attributes));
                    redaction.text(&mut of.schema_url);
                    for scoped in &mut of.scope_spans {
                        redaction.scope(scoped.scope.as_mut());
                        redaction.text(&mut scoped.schema_url);
                        scoped.spans.iter_mut().for_each(|span| redaction.span(span));
                    }
                }
                bytes
            }
            TelemetryBatch::Logs { request, bytes } => {
                for of in &mut request.resource_logs {
                    redaction.attributes(of.resource.as_mut().map(|of| &mut of.attributes));
                    redaction.text(&mut of.schema_url);
                    for scoped in &mut of.scope_logs {
                        redaction.scope(scoped.scope.as_mut());
                        redaction.text(&mut scoped.schema_url);
                        scoped.log_records.iter_mut().for_each(|record| redaction.record(record));
                    }
                }
                bytes
            }
            TelemetryBatch::EncodedTraces(_)
            | TelemetryBatch::EncodedLogs(_)
            | TelemetryBatch::Converted(_) => return 0,
        };
        // The sender's bytes can have fields that the decoder does not return: unknown fields, and
        // repeated ones.
        *bytes = None;
        if redaction.count > 0 {
            self.redacted.fetch_add(redaction.count, Relaxed);
        }
        redaction.count
    }
}

/// A walk over the records of one request.
struct Redaction<'a> {
    keys: &'a KeyRules,
    count: u64,
}

impl Redaction<'_> {
    fn scope(&mut self, scope: Option<&mut InstrumentationScope>) {
        let Some(scope) = scope else { return };
        self.text(&mut scope.name);
        self.text(&mut scope.version);
        self.attributes(Some(&mut scope.attributes));
    }

    fn span(&mut self, span: &mut Span) {
        self.text(&mut span.name);
        self.text(&mut span.trace_state);
        self.attributes(Some(&mut span.attributes));
        if let Some(status) = &mut span.status {
            self.text(&mut status.message);
        }
        for event in &mut span.events {
            self.text(&mut event.name);
            self.attributes(Some(&mut event.attributes));
        }
        for link in &mut span.links {
            self.text(&mut link.trace_state);
            self.attributes(Some(&mut link.attributes));
        }
    }

    fn record(&mut self, record: &mut LogRecord) {
        if let Some(body) = &mut record.body {
            self.value(KeyRule::Text, body);
        }
        self.text(&mut record.severity_text);
        self.text(&mut record.event_name);
        self.attributes(Some(&mut record.attributes));
    }

    fn attributes(&mut self, attributes: Option<&mut Vec<KeyValue>>) {
        for attribute in attributes.into_iter().flatten() {
            if let Some(value) = &mut attribute.value {
                self.value(self.keys.rule(attribute.key.as_bytes()), value);
            }
            self.text(&mut attribute.key);
        }
    }

    fn value(&mut self, rule: KeyRule, value: &mut AnyValue) {
        let mut open = vec![(rule, value)];
        while let Some((rule, value)) = open.pop() {
            let Some(value) = &mut value.value else { continue };
            match value.form_mut() {
                ValueFormMut::List(values) => {
                    open.extend(values.iter_mut().map(|one| (rule, one)));
                }
                ValueFormMut::Map(entries) => {
                    for entry in entries {
                        let rule = inner_rule(rule, self.keys, &entry.key);
                        self.text(&mut entry.key);
                        open.extend(entry.value.as_mut().map(|value| (rule, value)));
                    }
                }
                ValueFormMut::Single(leaf) => {
                    if let Some(replacement) = redacted(rule, leaf.form(), self.keys) {
                        *leaf = replacement;
                        self.count += 1;
                    }
                }
            }
        }
    }

    fn text(&mut self, text: &mut String) {
        if let Some(replaced) = replaced(KeyRule::Text, text, self.keys) {
            *text = replaced;
            self.count += 1;
        }
    }
}

/// Returns the rule for an entry of a map: that of its own key, if there is one, or else that of
/// the map.
fn inner_rule(outer: KeyRule, keys: &KeyRules, key: &str) -> KeyRule {
    match (outer, keys.rule(key.as_bytes())) {
        (KeyRule::Secret, _) => KeyRule::Secret,
        (outer, KeyRule::Text) => outer,
        (_, inner) => inner,
    }
}

/// Returns the replacement of a value that has a secret. A boolean stays, because it reveals at
/// most that a secret exists.
fn redacted(rule: KeyRule, value: ValueForm<'_>, keys: &KeyRules) -> Option<Value> {
    let is_secret = rule == KeyRule::Secret;
    match value {
        ValueForm::Text(text) => replaced(rule, text, keys).map(Value::String),
        ValueForm::Bytes(bytes) if is_secret => {
            (!is_redacted(bytes)).then(|| Value::Bytes(MARKER.into()))
        }
        // Some collectors send the lines of files as bytes.
        ValueForm::Bytes(bytes) => {
            let text = str::from_utf8(bytes).ok()?;
            replaced(rule, text, keys).map(|text| Value::Bytes(text.into()))
        }
        ValueForm::Int(_) | ValueForm::Double(_) => {
            is_secret.then(|| Value::String(MARKER.to_owned()))
        }
        ValueForm::Bool(_) | ValueForm::List(_) | ValueForm::Map(_) => None,
    }
}

/// Returns a text without its secrets, if it has one. A marker can make the text beside it look
/// like a secret, so the search is repeated until it finds none. A text in which it still finds one
/// after [`PASSES_MAX`] searches is replaced as a whole.
fn replaced(rule: KeyRule, text: &str, keys: &KeyRules) -> Option<String> {
    let mut replaced = None;
    for _ in 0..PASSES_MAX {
        let text = replaced.as_deref().unwrap_or(text);
        let secrets = secrets(rule, text.as_bytes(), keys);
        if secrets.is_empty() {
            return replaced;
        }
        replaced = Some(replace(text, secrets));
    }
    Some(MARKER.to_owned())
}

/// Returns the parts of a text that are secret.
fn secrets(rule: KeyRule, text: &[u8], keys: &KeyRules) -> Vec<Secret> {
    let mut secrets = Vec::new();
    match rule {
        KeyRule::Secret => {
            if !is_redacted(text) {
                secrets.push((0..text.len()).into());
            }
            return secrets;
        }
        KeyRule::Statement => {
            statement::search(text, keys, |range| secrets.push(range.into()));
            text::search_schemes(text, |secret| secrets.push(secret));
        }
        KeyRule::Parameters => text::search_schemes(text, |secret| secrets.push(secret)),
        KeyRule::Text => text::search(text, keys, |secret| secrets.push(secret)),
    }
    let found = |range: Range<usize>| {
        secrets.push(range.into());
        ControlFlow::Continue(())
    };
    let _always_to_the_end = match rule {
        KeyRule::Parameters => url::search_parameters(text, keys, found),
        _ => url::search(text, keys, found),
    };
    secrets
}

/// Replaces these parts of a text. Parts that overlap or touch share one marker.
fn replace(text: &str, mut secrets: Vec<Secret>) -> String {
    secrets.sort_unstable_by_key(|secret| secret.range.start);
    let mut replaced = String::with_capacity(text.len() + MARKER.len());
    let mut end = 0;
    let mut open = secrets.into_iter().peekable();
    while let Some(Secret { mut range, mut needs_quotes }) = open.next() {
        while let Some(next) = open.next_if(|next| next.range.start <= range.end) {
            range.end = range.end.max(next.range.end);
            needs_quotes |= next.needs_quotes;
        }
        replaced.push_str(text.get(end..range.start).unwrap_or_default());
        let quote = if needs_quotes { "\"" } else { "" };
        replaced.extend([quote, MARKER, quote]);
        end = range.end;
    }
    replaced.push_str(text.get(end..).unwrap_or_default());
    replaced
}

/// Returns whether a secret was replaced here or by the sender, is masked, or is empty.
fn is_redacted(secret: &[u8]) -> bool {
    secret.starts_with(MARKER.as_bytes())
        || secret == b"REDACTED"
        || secret.iter().all(|byte| matches!(byte, b'*' | b'?' | b' '))
}

#[cfg(test)]
mod tests;
