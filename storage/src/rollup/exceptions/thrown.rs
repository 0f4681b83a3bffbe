//! What an exception says of itself, by OpenTelemetry's
//! [conventions](https://opentelemetry.io/docs/specs/semconv/exceptions/).

use tidings_proto::otlp::{Event, KeyValue, Value};

use super::stack;
use crate::Scalar;

const TYPE: &str = "exception.type";
const MESSAGE: &str = "exception.message";
const STACK: &str = "exception.stacktrace";
/// The name of an event that is one.
const EVENT: &str = "exception";

/// What an exception says; what it does not say is empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ExceptionSaid {
    /// `exception.type`.
    pub exception_type: String,
    /// `exception.message`.
    pub message: String,
    /// `exception.stacktrace`.
    pub stack_trace: String,
}

impl ExceptionSaid {
    /// What these attributes say.
    #[must_use]
    pub fn of(attributes: &[KeyValue]) -> Self {
        let said = |key: &str| {
            let attribute = attributes.iter().find(|attribute| attribute.key == key);
            attribute.and_then(KeyValue::value).and_then(text).unwrap_or_default()
        };
        Self { exception_type: said(TYPE), message: said(MESSAGE), stack_trace: said(STACK) }
    }

    /// What an event says, if it is an exception that says what was thrown.
    #[must_use]
    pub fn of_event(event: &Event) -> Option<Self> {
        let says = |attribute: &KeyValue| [TYPE, MESSAGE].contains(&attribute.key.as_str());
        let is_thrown = event.name == EVENT && event.attributes.iter().any(says);
        is_thrown.then(|| Self::of(&event.attributes))
    }

    /// What is the same in the stacks of all of its group.
    #[must_use]
    pub fn normalised_stack(&self) -> String {
        stack::normalised(&self.stack_trace, &self.exception_type, &self.message)
    }

    /// The hash of [`Self::normalised_stack`].
    #[must_use]
    pub fn stack_hash(&self) -> u128 {
        stack::hashed(&self.stack_trace, &self.exception_type, &self.message)
    }
}

fn text(value: &Value) -> Option<String> {
    let scalar = match value {
        Value::String(text) => Scalar::Text(text),
        Value::Bool(truth) => Scalar::Bool(*truth),
        Value::Int(number) => Scalar::Int(*number),
        Value::Double(number) => Scalar::Double(*number),
        Value::Array(_) | Value::Kvlist(_) | Value::Bytes(_) => return None,
    };
    Some(scalar.to_text().into_owned())
}
