//! Nesting depth of attribute values.
//!
//! prost refuses to decode more than 100 nested messages but encodes any number. So a value that
//! arrived in another form (JSON, a translation) could be written and never be read again. A
//! request whose [`ValueDepth::value_depth`] is at most [`VALUE_DEPTH_MAX`] always decodes again,
//! wherever its deep value is. The walk keeps its own stack and does not recurse.

use super::{
    AnyValue, ExportLogsServiceRequest, ExportTraceServiceRequest, InstrumentationScope, KeyValue,
    LogRecord, Resource, ResourceLogs, ResourceSpans, Span, ValueForm,
};

/// Maximum depth that is accepted. One level of a map takes three messages in protobuf, and an
/// event's attribute begins five messages down: 5 + 3 × 31 is below 100, and one level more is not.
pub const VALUE_DEPTH_MAX: usize = 32;

/// Something with attribute values.
pub trait ValueDepth {
    /// Returns the number of nested values on the deepest path: 0 without values, 1 when all are
    /// scalars.
    fn value_depth(&self) -> usize;
}

impl ValueDepth for AnyValue {
    fn value_depth(&self) -> usize {
        let mut deepest = 1;
        let mut left = vec![(self, 1)];
        while let Some((value, depth)) = left.pop() {
            deepest = deepest.max(depth);
            let Some(form) = value.form() else { continue };
            match form {
                ValueForm::List(values) => {
                    left.extend(values.iter().map(|value| (value, depth + 1)));
                }
                ValueForm::Map(entries) => {
                    let values = entries.iter().filter_map(|entry| entry.value.as_ref());
                    left.extend(values.map(|value| (value, depth + 1)));
                }
                ValueForm::Text(_)
                | ValueForm::Bool(_)
                | ValueForm::Int(_)
                | ValueForm::Double(_)
                | ValueForm::Bytes(_) => {}
            }
        }
        deepest
    }
}

impl ValueDepth for KeyValue {
    fn value_depth(&self) -> usize {
        // Nearly every attribute is a scalar and needs no stack.
        if self.value().is_none_or(|value| value.form().is_scalar()) {
            usize::from(self.value.is_some())
        } else {
            self.value.value_depth()
        }
    }
}

impl<T: ValueDepth> ValueDepth for [T] {
    fn value_depth(&self) -> usize {
        self.iter().map(ValueDepth::value_depth).max().unwrap_or(0)
    }
}

impl<T: ValueDepth> ValueDepth for Option<T> {
    fn value_depth(&self) -> usize {
        self.as_ref().map_or(0, ValueDepth::value_depth)
    }
}

impl ValueDepth for Resource {
    fn value_depth(&self) -> usize {
        self.attributes.value_depth()
    }
}

impl ValueDepth for InstrumentationScope {
    fn value_depth(&self) -> usize {
        self.attributes.value_depth()
    }
}

impl ValueDepth for Span {
    fn value_depth(&self) -> usize {
        let events = self.events.iter().map(|event| event.attributes.value_depth());
        let links = self.links.iter().map(|link| link.attributes.value_depth());
        events.chain(links).fold(self.attributes.value_depth(), usize::max)
    }
}

impl ValueDepth for LogRecord {
    fn value_depth(&self) -> usize {
        self.attributes.value_depth().max(self.body.value_depth())
    }
}

impl ValueDepth for ResourceSpans {
    fn value_depth(&self) -> usize {
        let scopes = self
            .scope_spans
            .iter()
            .map(|scope| scope.scope.value_depth().max(scope.spans.value_depth()));
        scopes.fold(self.resource.value_depth(), usize::max)
    }
}

impl ValueDepth for ResourceLogs {
    fn value_depth(&self) -> usize {
        let scopes = self
            .scope_logs
            .iter()
            .map(|scope| scope.scope.value_depth().max(scope.log_records.value_depth()));
        scopes.fold(self.resource.value_depth(), usize::max)
    }
}

impl ValueDepth for ExportTraceServiceRequest {
    fn value_depth(&self) -> usize {
        self.resource_spans.value_depth()
    }
}

impl ValueDepth for ExportLogsServiceRequest {
    fn value_depth(&self) -> usize {
        self.resource_logs.value_depth()
    }
}

#[cfg(test)]
mod tests;
