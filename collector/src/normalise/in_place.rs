//! Checks an encoded request without decoding it. Most requests need no change, and decoding one
//! into structs costs more than storing it.
//!
//! Accepts exactly the requests that [`super::prepare_traces`], [`super::prepare_logs`] and a
//! [`Redactor`] would leave unchanged. All others, and any non-canonical encoding, are left to
//! them. Owns the walk over the bytes. Does not own the rules.

use bytes::Bytes;
use prost::Message;
use tidings_proto::{
    SpanId, TraceId,
    otlp::{
        AnyValue, ExportLogsServiceRequest, ExportTraceServiceRequest, InstrumentationScope,
        Resource, VALUE_DEPTH_MAX, ValueDepth,
        view::{
            AnyView, KeyValueView, LogRecordView, NonCanonical, Repeated, RequestView, SpanView,
            View,
        },
    },
};
use tidings_storage::TelemetryBatch;

use super::{
    ATTRIBUTES_MAX, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, OutcomeCounts, Prepared, Signal, check_id,
    check_link, check_resource, check_scope, check_time,
};
use crate::{
    redact::{KeyRule, Redactor, starts_statement},
    weight_estimate::{self, OtlpMessage},
};

/// A request that can be stored as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct InPlace {
    /// Batch to store, with every record of the request.
    pub prepared: Prepared,
    /// Estimated memory of its rows, in bytes.
    pub weight: usize,
}

/// Bytes of the columns of a row, without texts and attributes.
const ROW_BYTES: usize = 400;
/// Bytes of the columns of an attribute, an event or a link, without texts.
const ENTRY_BYTES: usize = 64;
/// Size of the cache of keys that were examined.
const KNOWN_KEYS: usize = 64;

/// A walk over the bytes, which ends at the first part that would be changed.
struct CanonicalWalk<'r> {
    records: u64,
    weight: usize,
    redactor: &'r Redactor,
    /// True if the request may have a secret, so that each text is examined.
    judges_texts: bool,
    /// Attribute keys that can be stored, with the rules for their values. The records of a request
    /// have few keys. Some of its bytes select the cell of a key.
    known_keys: [Option<(&'r [u8], KeyRule)>; KNOWN_KEYS],
}

/// Returns the request in these bytes, if it can be stored unchanged.
#[must_use]
pub fn accept_in_place(signal: Signal, bytes: &Bytes, redactor: &Redactor) -> Option<InPlace> {
    let judges_texts = redactor.may_hold_text_secret(bytes);
    let known_keys = [None; KNOWN_KEYS];
    let weight = bytes.len();
    let mut walk = CanonicalWalk { records: 0, weight, redactor, judges_texts, known_keys };
    let (walked, batch): (_, fn(Bytes) -> TelemetryBatch) = match signal {
        Signal::Traces => (walk.request(bytes, CanonicalWalk::span), TelemetryBatch::EncodedTraces),
        Signal::Logs => {
            (walk.request(bytes, CanonicalWalk::log_record), TelemetryBatch::EncodedLogs)
        }
    };
    walked.ok()?;
    if judges_texts && !has_only_known_fields(signal, bytes) {
        return None;
    }
    let prepared = Prepared {
        signal,
        batch: (walk.records > 0).then(|| batch(bytes.clone())),
        accepted: walk.records,
        rejected: 0,
        message: String::new(),
    };
    Some(InPlace { prepared, weight: walk.weight })
}

/// Returns whether a request has only fields that its decoder keeps. The walk examines only those.
fn has_only_known_fields(signal: Signal, bytes: &Bytes) -> bool {
    let decoded_bytes = match signal {
        Signal::Traces => {
            ExportTraceServiceRequest::decode(bytes.clone()).map(|of| of.encoded_len())
        }
        Signal::Logs => ExportLogsServiceRequest::decode(bytes.clone()).map(|of| of.encoded_len()),
    };
    decoded_bytes.is_ok_and(|decoded| decoded == bytes.len())
}

/// Fails when `holds` is false, which means that the bytes cannot be stored unchanged.
fn demand(holds: bool) -> Result<(), NonCanonical> {
    if holds { Ok(()) } else { Err(NonCanonical) }
}

fn is_text(bytes: &[u8]) -> Result<(), NonCanonical> {
    // Most texts are short and ASCII, for which the first check is three times as fast.
    demand(bytes.is_ascii() || std::str::from_utf8(bytes).is_ok())
}

/// Checks that a resource can be stored unchanged and returns its weight in bytes.
fn resource(encoded: &[u8], redactor: &Redactor) -> Result<usize, NonCanonical> {
    let mut resource = Resource::decode(encoded).map_err(|_| NonCanonical)?;
    let mut counts = OutcomeCounts::new(Signal::Traces);
    demand(check_resource(Some(&mut resource), &mut counts).is_none())?;
    demand(!counts.changed())?;
    demand(!redactor.finds_in_attributes(&resource.attributes))?;
    Ok(weight_estimate::protobuf(encoded, OtlpMessage::Resource))
}

/// Checks that a scope can be stored unchanged and returns its weight in bytes.
fn scope(encoded: &[u8], redactor: &Redactor) -> Result<usize, NonCanonical> {
    let mut scope = InstrumentationScope::decode(encoded).map_err(|_| NonCanonical)?;
    let mut counts = OutcomeCounts::new(Signal::Traces);
    demand(check_scope(Some(&mut scope), &mut counts).is_none())?;
    demand(!counts.changed())?;
    demand(!redactor.finds_in_attributes(&scope.attributes))?;
    let texts = [&scope.name, &scope.version];
    let is_secret = |text: &&String| redactor.finds_in_text(KeyRule::Text, text.as_bytes());
    demand(!texts.iter().any(is_secret))?;
    Ok(weight_estimate::protobuf(encoded, OtlpMessage::Scope))
}

/// Returns the cell of a key in the cache.
fn key_cell(key: &[u8]) -> usize {
    let middle = key.get(key.len() / 2).copied().unwrap_or_default();
    let last = key.last().copied().unwrap_or_default();
    (key.len() + 5 * usize::from(middle) + 11 * usize::from(last)) % KNOWN_KEYS
}

impl<'r> CanonicalWalk<'r> {
    fn request<R: View<'r>>(
        &mut self,
        bytes: &'r [u8],
        check: fn(&mut Self, R) -> Result<(), NonCanonical>,
    ) -> Result<(), NonCanonical> {
        let redactor = self.redactor;
        for of in RequestView::<R>::read(bytes)?.resources.iter() {
            let of = of?;
            self.name(of.schema_url)?;
            if let Some(encoded) = of.resource {
                let check = |encoded: &[u8]| resource(encoded, redactor);
                let weight = redactor.resources.weight(encoded, check)?;
                self.weight = self.weight.saturating_add(weight);
            }
            for scoped in of.scopes.iter() {
                let scoped = scoped?;
                self.name(scoped.schema_url)?;
                if let Some(encoded) = scoped.scope {
                    let check = |encoded: &[u8]| scope(encoded, redactor);
                    let weight = redactor.scopes.weight(encoded, check)?;
                    self.weight = self.weight.saturating_add(weight);
                }
                for record in scoped.records.iter() {
                    self.records += 1;
                    self.weight = self.weight.saturating_add(ROW_BYTES);
                    check(self, record?)?;
                }
            }
        }
        Ok(())
    }

    fn span(&mut self, span: SpanView<'r>) -> Result<(), NonCanonical> {
        let good_ids = check_id(span.trace_id, TraceId::LEN).is_ok()
            && check_id(span.span_id, SpanId::LEN).is_ok();
        demand(good_ids)?;
        optional_id(span.parent_span_id, SpanId::LEN)?;
        time(span.start_time_unix_nano)?;
        time(span.end_time_unix_nano)?;
        self.name(span.name)?;
        self.name(span.trace_state)?;
        let message = span.status.map_or(&[][..], |status| status.message);
        demand(message.len() <= MESSAGE_BYTES_MAX)?;
        self.text(message)?;
        self.attributes(span.attributes)?;
        for event in span.events.iter() {
            let event = event?;
            self.entry();
            time(event.time_unix_nano)?;
            self.name(event.name)?;
            self.attributes(event.attributes)?;
        }
        for link in span.links.iter() {
            let link = link?;
            self.entry();
            demand(check_link(link.trace_id, link.span_id).is_ok())?;
            self.name(link.trace_state)?;
            self.attributes(link.attributes)?;
        }
        Ok(())
    }

    fn log_record(&mut self, record: LogRecordView<'r>) -> Result<(), NonCanonical> {
        optional_id(record.trace_id, TraceId::LEN)?;
        optional_id(record.span_id, SpanId::LEN)?;
        time(record.time_unix_nano)?;
        time(record.observed_time_unix_nano)?;
        self.name(record.severity_text)?;
        self.name(record.event_name)?;
        self.value(KeyRule::Text, record.body)?;
        self.attributes(record.attributes)
    }

    fn attributes(
        &mut self,
        attributes: Repeated<'r, KeyValueView<'r>>,
    ) -> Result<(), NonCanonical> {
        demand(attributes.len() <= ATTRIBUTES_MAX)?;
        for attribute in attributes.iter() {
            let attribute = attribute?;
            self.entry();
            let rule = self.key(attribute.key)?;
            self.value(rule, attribute.value)?;
        }
        Ok(())
    }

    /// Checks the key of an attribute and returns the rule for the value.
    fn key(&mut self, key: &'r [u8]) -> Result<KeyRule, NonCanonical> {
        let cell = key_cell(key);
        if let Some(Some((known, rule))) = self.known_keys.get(cell)
            && *known == key
        {
            return Ok(*rule);
        }
        self.name(key)?;
        let rule = self.redactor.rule(key);
        if let Some(place) = self.known_keys.get_mut(cell) {
            *place = Some((key, rule));
        }
        Ok(rule)
    }

    fn name(&self, name: &[u8]) -> Result<(), NonCanonical> {
        demand(name.len() <= NAME_BYTES_MAX)?;
        self.text(name)
    }

    /// Checks a text for secrets, if the request may have any. Most requests do not, and their
    /// texts are not searched one by one.
    fn text(&self, text: &[u8]) -> Result<(), NonCanonical> {
        is_text(text)?;
        let is_judged = self.judges_texts || starts_statement(text);
        demand(!is_judged || !self.redactor.finds_in_text(KeyRule::Text, text))
    }

    fn value(&mut self, rule: KeyRule, value: Option<AnyView<'_>>) -> Result<(), NonCanonical> {
        match value {
            Some(AnyView::String(text)) if rule == KeyRule::Text => self.text(text),
            Some(AnyView::String(text)) => {
                is_text(text)?;
                demand(!self.redactor.finds_in_text(rule, text))
            }
            Some(AnyView::Int(_) | AnyView::Double(_)) => demand(rule != KeyRule::Secret),
            Some(AnyView::Nested(encoded)) => {
                self.weight = self
                    .weight
                    .saturating_add(weight_estimate::protobuf(encoded, OtlpMessage::AnyValue));
                let value = AnyValue::decode(encoded).map_err(|_| NonCanonical)?;
                demand(value.value_depth() <= VALUE_DEPTH_MAX)?;
                demand(!self.redactor.finds_in_value(rule, &value))
            }
            _ => Ok(()),
        }
    }

    fn entry(&mut self) {
        self.weight = self.weight.saturating_add(ENTRY_BYTES);
    }
}

/// Checks an id that may be empty. An all-zero one fails, because it would be repaired.
fn optional_id(id: &[u8], length: usize) -> Result<(), NonCanonical> {
    demand(id.is_empty() || check_id(id, length).is_ok())
}

fn time(unix_nanos: u64) -> Result<(), NonCanonical> {
    demand(check_time(unix_nanos, "time").is_ok())
}
