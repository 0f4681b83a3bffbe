//! Attributes of an exception, by OpenTelemetry's
//! [conventions](https://opentelemetry.io/docs/specs/semconv/exceptions/).

use tidings_proto::otlp::{Event, KeyValue, Value};

use super::stack;

const TYPE: &str = "exception.type";
const MESSAGE: &str = "exception.message";
const STACK: &str = "exception.stacktrace";
/// Name of the events that record an exception.
const EVENT: &str = "exception";

/// Attributes of an exception; missing ones are empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ExceptionAttributes {
    /// `exception.type`.
    pub exception_type: String,
    /// `exception.message`.
    pub message: String,
    /// `exception.stacktrace`.
    pub stack_trace: String,
}

impl ExceptionAttributes {
    /// Extracts the exception from these attributes. Of several attributes with one key, the first
    /// counts. A list or a map counts as missing.
    #[must_use]
    pub fn from_attributes(attributes: &[KeyValue]) -> Self {
        let said = |key: &str| {
            let attribute = attributes.iter().find(|attribute| attribute.key == key);
            attribute.and_then(KeyValue::value).and_then(text).unwrap_or_default()
        };
        Self { exception_type: said(TYPE), message: said(MESSAGE), stack_trace: said(STACK) }
    }

    /// Extracts the exception of an event, if it is one and has a type or a message.
    #[must_use]
    pub fn from_event(event: &Event) -> Option<Self> {
        let says = |attribute: &KeyValue| [TYPE, MESSAGE].contains(&attribute.key.as_str());
        let is_thrown = event.name == EVENT && event.attributes.iter().any(says);
        is_thrown.then(|| Self::from_attributes(&event.attributes))
    }

    /// Returns the part of the stack trace that is equal for all exceptions of a group.
    #[must_use]
    pub fn normalised_stack(&self) -> String {
        stack::normalised(&self.stack_trace, &self.exception_type, &self.message)
    }

    /// Returns the hash of [`Self::normalised_stack`].
    #[must_use]
    pub fn stack_hash(&self) -> u128 {
        stack::hashed(&self.stack_trace, &self.exception_type, &self.message)
    }
}

fn text(value: &Value) -> Option<String> {
    Some(value.scalar_text()?.into_owned())
}
