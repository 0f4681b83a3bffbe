//! Spans and events of `tracing` as OTLP's spans and log records.
//!
//! A span of `tracing` without a parent is the root of a tree. The tree is kept or dropped as a
//! whole when its root ends. It is kept when one of its spans failed (`error.type`), when a warning
//! was written in it, when it took longer than `own-telemetry-slow-millis`, and, for requests to
//! the HTTP address, when everything is kept. Fields that begin with `otel.` are not attributes:
//! `otel.name`, `otel.kind`, `otel.status_message`, `otel.traceparent` (the parent in another
//! process) and `otel.waits` (the span waits for a change, so its duration does not count).

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use tidings_proto::{
    UnixNanos,
    otlp::{AnyValue, KeyValue, LogRecord, Severity, Span, SpanKind, Status, StatusCode, Value},
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
    subscriber::Interest,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, Filter},
    registry::{LookupSpan, SpanRef},
};

use super::{Cause, OwnTelemetry};
use crate::settings::OwnRecords;

/// Maximum number of spans of a tree that are kept.
const TREE_SPANS_MAX: usize = 64;
/// Maximum number of attributes of a record.
const ATTRIBUTES_MAX: usize = 32;
/// Maximum bytes of a text.
const TEXT_BYTES_MAX: usize = 2048;
/// The module whose log lines are about storing own records.
const OWN_MODULE: &str = "tidings::own_telemetry";

/// Makes own records of the spans and events of the program.
#[derive(Debug, Clone)]
pub(crate) struct SpanLayer(Arc<OwnTelemetry>);

/// A span that has not ended.
#[derive(Debug)]
struct OpenSpan {
    span: Span,
    begun: Instant,
    /// End of the last work in the span.
    left: Instant,
    /// The spans below it that have ended.
    finished: Vec<Span>,
    is_failed: bool,
    is_notable: bool,
    waits: bool,
    status_message: String,
}

impl SpanLayer {
    pub(crate) fn new(own: Arc<OwnTelemetry>) -> Self {
        Self(own)
    }

    fn lowest_level(&self) -> Level {
        match self.0.settings.records {
            OwnRecords::All => Level::INFO,
            OwnRecords::Errors | OwnRecords::Off => Level::WARN,
        }
    }

    fn is_wanted(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        let is_ours = target.starts_with("tidings");
        if metadata.is_span() {
            return is_ours;
        }
        let lowest = if is_ours { self.lowest_level() } else { Level::WARN };
        *metadata.level() <= lowest && target != OWN_MODULE
    }

    fn open<'a, S: Subscriber + for<'l> LookupSpan<'l>>(
        &self,
        attributes: &Attributes<'_>,
        parent: Option<&SpanRef<'a, S>>,
    ) -> OpenSpan {
        let metadata = attributes.metadata();
        let begun = self.0.clock.instant();
        let mut open = OpenSpan {
            span: Span {
                span_id: fastrand::u64(1..).to_be_bytes().to_vec(),
                name: metadata.name().to_owned(),
                kind: SpanKind::Internal as i32,
                start_time_unix_nano: self.0.clock.now().0,
                ..Span::default()
            },
            begun,
            left: begun,
            finished: Vec::new(),
            is_failed: false,
            is_notable: false,
            waits: false,
            status_message: String::new(),
        };
        attributes.record(&mut open);
        let extensions = parent.map(SpanRef::extensions);
        let parent = extensions.as_ref().and_then(|extensions| extensions.get::<OpenSpan>());
        if let Some(parent) = parent {
            open.span.trace_id.clone_from(&parent.span.trace_id);
            open.span.parent_span_id.clone_from(&parent.span.span_id);
        } else if open.span.trace_id.is_empty() {
            open.span.trace_id = fastrand::u128(1..).to_be_bytes().to_vec();
        }
        open
    }

    /// Keeps or drops a tree whose root has ended.
    fn end_tree(&self, root: OpenSpan, cause: Cause, is_question: bool) {
        let settings = &self.0.settings;
        let took = root.left.saturating_duration_since(root.begun);
        let is_slow = !root.waits && took >= Duration::from_millis(settings.slow_millis);
        let is_kept = is_question && settings.records == OwnRecords::All;
        if root.is_failed || root.is_notable || is_slow || is_kept {
            let (span, mut finished) = root.ended();
            finished.push(span);
            self.0.push_spans(finished, cause);
        }
    }
}

impl OpenSpan {
    /// Ends the span. Returns it and the spans below it.
    fn ended(mut self) -> (Span, Vec<Span>) {
        let took = self.left.saturating_duration_since(self.begun).as_nanos();
        let took = u64::try_from(took).unwrap_or(u64::MAX);
        self.span.end_time_unix_nano = self.span.start_time_unix_nano.saturating_add(took);
        if self.is_failed {
            let code = StatusCode::Error as i32;
            self.span.status = Some(Status { message: self.status_message, code });
        }
        (self.span, self.finished)
    }

    fn add(&mut self, key: &'static str, value: impl Into<AnyValue>) {
        self.is_failed |= key == "error.type";
        push(&mut self.span.attributes, key, value);
    }

    /// Takes a text for a field of the span; returns false when it is an attribute.
    fn take_field(&mut self, key: &str, text: &str) -> bool {
        match key {
            "otel.name" => self.span.name = cut(text),
            "otel.kind" if text == SpanKind::Server.word() => {
                self.span.kind = SpanKind::Server as i32;
            }
            "otel.kind" => {}
            "otel.status_message" => self.status_message = cut(text),
            "otel.traceparent" => {
                if let Some((trace_id, parent)) = traceparent(text) {
                    (self.span.trace_id, self.span.parent_span_id) = (trace_id, parent);
                }
            }
            _ => return false,
        }
        true
    }
}

fn push(attributes: &mut Vec<KeyValue>, key: &str, value: impl Into<AnyValue>) {
    if let Some(attribute) = attributes.iter_mut().find(|attribute| attribute.key == key) {
        attribute.value = Some(value.into());
    } else if attributes.len() < ATTRIBUTES_MAX {
        attributes.push(KeyValue::new(key, value));
    }
}

/// Returns the beginning of a text, within its bound.
fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()
}

/// Returns the ids of a [`traceparent`](https://www.w3.org/TR/trace-context/#traceparent-header)
/// whose trace is sampled.
fn traceparent(text: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut parts = text.trim().split('-');
    let [version, trace, span, flags] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    let trace: tidings_proto::TraceId = trace.parse().ok()?;
    let span: tidings_proto::SpanId = span.parse().ok()?;
    let is_sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
    let is_known = version.len() == 2 && version != "ff" && is_sampled;
    is_known.then(|| (trace.as_bytes().to_vec(), span.as_bytes().to_vec()))
}

fn cause(target: &str) -> Cause {
    // Most lines of libraries are about the store: its tables, or an object store.
    let is_of_requests = target.starts_with("tidings") && !target.starts_with("tidings_storage");
    if is_of_requests { Cause::Request } else { Cause::Storage }
}

impl Visit for OpenSpan {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), Value::Double(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), Value::Int(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), Value::Int(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        match field.name() {
            "otel.waits" => self.waits = value,
            name => self.add(name, Value::Bool(value)),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if !self.take_field(field.name(), value) && !value.is_empty() {
            self.add(field.name(), Value::String(cut(value)));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// Fields of an event.
#[derive(Debug, Default)]
struct EventFields {
    message: String,
    attributes: Vec<KeyValue>,
}

impl Visit for EventFields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        push(&mut self.attributes, field.name(), Value::Int(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        push(&mut self.attributes, field.name(), Value::Int(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        push(&mut self.attributes, field.name(), Value::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = cut(value),
            name => push(&mut self.attributes, name, Value::String(cut(value))),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SpanLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let open = self.open(attributes, span.parent().as_ref());
        span.extensions_mut().insert(open);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<OpenSpan>() {
            values.record(open);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut fields = EventFields::default();
        event.record(&mut fields);
        push(&mut fields.attributes, "code.namespace", Value::String(metadata.target().to_owned()));
        let severity = match *metadata.level() {
            Level::ERROR => Severity::Error,
            Level::WARN => Severity::Warn,
            _ => Severity::Info,
        };
        let UnixNanos(now) = self.0.clock.now();
        let mut record = LogRecord {
            time_unix_nano: now,
            observed_time_unix_nano: now,
            severity_number: severity.first_number(),
            severity_text: metadata.level().to_string(),
            body: Some(Value::String(fields.message).into()),
            attributes: fields.attributes,
            ..LogRecord::default()
        };
        if let Some(span) = context.event_span(event)
            && let Some(open) = span.extensions_mut().get_mut::<OpenSpan>()
        {
            open.is_notable |= *metadata.level() <= Level::WARN;
            record.trace_id.clone_from(&open.span.trace_id);
            record.span_id.clone_from(&open.span.span_id);
        }
        self.0.push_log(record, cause(metadata.target()));
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<OpenSpan>() {
            open.left = self.0.clock.instant();
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(open) = span.extensions_mut().remove::<OpenSpan>() else { return };
        let Some(parent) = span.parent() else {
            let target = span.metadata().target();
            return self.end_tree(open, cause(target), is_question(target));
        };
        let mut extensions = parent.extensions_mut();
        let Some(parent) = extensions.get_mut::<OpenSpan>() else { return };
        parent.is_notable |= open.is_notable || open.is_failed;
        let (span, finished) = open.ended();
        let room = TREE_SPANS_MAX.saturating_sub(parent.finished.len());
        parent.finished.extend(finished.into_iter().chain([span]).take(room));
    }
}

/// Reports whether the root of a tree is a request to the HTTP address, and not work for others.
fn is_question(target: &str) -> bool {
    target.starts_with("tidings::")
}

/// Lets through the spans and events that a [`SpanLayer`] uses; all others cost nothing.
#[derive(Debug, Clone)]
pub(crate) struct OwnFilter(pub(crate) SpanLayer);

impl<S> Filter<S> for OwnFilter {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.0.is_wanted(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.0.is_wanted(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // Spans have a level below that of log lines, so that log lines do not show them.
        Some(LevelFilter::DEBUG)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidings_proto::otlp::{LogRecord, Span, SpanKind, StatusCode};
    use tidings_storage::SystemClock;
    use tracing_subscriber::{Layer, Registry, layer::SubscriberExt};

    use super::{OwnFilter, SpanLayer, traceparent};
    use crate::{
        own_telemetry::OwnTelemetry,
        settings::{OwnRecords, OwnTelemetrySettings},
    };

    /// Runs the work and returns its records.
    fn records(records: OwnRecords, work: impl FnOnce()) -> (Vec<Span>, Vec<LogRecord>) {
        let settings = OwnTelemetrySettings { records, slow_millis: 60_000 };
        let own = OwnTelemetry::new(settings, Arc::new(SystemClock)).unwrap();
        let layer = SpanLayer::new(Arc::clone(&own));
        let filter = OwnFilter(layer.clone());
        tracing::subscriber::with_default(
            Registry::default().with(layer.with_filter(filter)),
            work,
        );
        own.take(true).unwrap_or_default()
    }

    #[test]
    fn a_tree_with_a_failure_is_kept_with_its_logs() {
        let (spans, logs) = records(OwnRecords::Errors, || {
            tracing::debug_span!("fine").in_scope(|| tracing::info!("said"));
            let root = tracing::debug_span!(
                "question",
                otel.name = "GET /x",
                otel.kind = "server",
                http.response.status_code = tracing::field::Empty
            );
            root.in_scope(|| {
                tracing::debug_span!("below").in_scope(|| {
                    tracing::warn!(rows = 3_u64, "odd");
                    tracing::debug_span!("last", "error.type" = "Timeout").in_scope(|| ());
                });
            });
            root.record("http.response.status_code", 500_u64);
        });
        let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names, ["last", "below", "GET /x"]);
        assert_eq!(spans[2].kind, SpanKind::Server as i32);
        assert_eq!(spans[0].status.as_ref().unwrap().code, StatusCode::Error as i32);
        assert_eq!(spans[1].status, None, "a failure below it is not its own");
        for (span, parent) in [(0, 1), (1, 2)] {
            assert_eq!(spans[span].parent_span_id, spans[parent].span_id);
            assert_eq!(spans[span].trace_id, spans[parent].trace_id);
        }
        assert!(spans[2].parent_span_id.is_empty());
        assert_eq!(spans[2].attributes[0].key, "http.response.status_code");
        assert_eq!(logs.len(), 1, "info is not kept");
        assert_eq!(logs[0].trace_id, spans[1].trace_id);
        assert_eq!(logs[0].span_id, spans[1].span_id);
        assert_eq!((logs[0].severity_number, logs[0].severity_text.as_str()), (13, "WARN"));
    }

    #[test]
    fn everything_is_every_question_and_every_line() {
        let work = || {
            tracing::debug_span!("question").in_scope(|| tracing::info!("said"));
            tracing::debug_span!(target: "tidings_storage::store", "flush").in_scope(|| ());
            tracing::debug_span!(target: "h2", "frame").in_scope(|| ());
            tracing::info!(target: "deltalake_core", "noise");
            tracing::warn!(target: "tidings::own_telemetry", "of itself");
        };
        let (spans, logs) = records(OwnRecords::All, work);
        assert_eq!((spans.len(), logs.len()), (1, 1));
        assert_eq!(logs[0].trace_id, spans[0].trace_id);
        let (spans, logs) = records(OwnRecords::Errors, work);
        assert_eq!((spans.len(), logs.len()), (0, 0));
    }

    #[test]
    fn texts_are_bounded() {
        let long = "ä".repeat(3000);
        let (spans, _) = records(OwnRecords::All, || {
            tracing::debug_span!("question", path = %long).in_scope(|| ());
        });
        let size = prost::Message::encoded_len(&spans[0]);
        assert!(size < 2200, "{size}");
    }

    #[test]
    fn a_sampled_parent_is_taken_and_a_wrong_one_is_not() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let (trace, span) = traceparent(good).unwrap();
        assert_eq!((trace.len(), span.len(), span[0]), (16, 8, 0xb7));
        for wrong in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b71-01",
        ] {
            assert_eq!(traceparent(wrong), None, "{wrong}");
        }
    }
}
