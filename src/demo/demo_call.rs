//! A transaction as a tree of calls, before it has ids and times.

use tidings_proto::otlp::{KeyValue, SpanKind, Value};

/// A call that becomes one span.
#[derive(Debug, Clone)]
pub(crate) struct DemoCall {
    pub(crate) service: &'static str,
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    /// Its own work before its children, in microseconds.
    pub(crate) before_us: u64,
    /// Its own work after them.
    pub(crate) after_us: u64,
    pub(crate) children: Vec<Child>,
    pub(crate) attributes: Vec<KeyValue>,
    pub(crate) failure: Option<Failure>,
    pub(crate) lines: Vec<DemoLogLine>,
}

/// A child call and its start.
#[derive(Debug, Clone)]
pub(crate) struct Child {
    pub(crate) call: DemoCall,
    pub(crate) start: ChildStart,
}

/// Start of a child call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChildStart {
    /// After the child before it.
    Next,
    /// Together with the child before it.
    Alongside,
    /// This many microseconds after its parent began; the parent does not wait for it.
    Later(u64),
}

/// An error with its exception.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) kind: &'static str,
    pub(crate) message: String,
}

/// A log line of a call, at this share (in percent) of its duration.
#[derive(Debug, Clone)]
pub(crate) struct DemoLogLine {
    pub(crate) at_percent: u64,
    pub(crate) severity: i32,
    pub(crate) text: String,
}

impl DemoCall {
    /// Work of one service.
    pub(crate) fn new(
        service: &'static str,
        name: impl Into<String>,
        kind: SpanKind,
        us: u64,
    ) -> Self {
        Self {
            service,
            name: name.into(),
            kind,
            before_us: us / 2,
            after_us: us - us / 2,
            children: Vec::new(),
            attributes: Vec::new(),
            failure: None,
            lines: Vec::new(),
        }
    }

    /// Adds a child that runs after the ones before.
    pub(crate) fn then(mut self, call: Self) -> Self {
        self.children.push(Child { call, start: ChildStart::Next });
        self
    }

    /// Adds a child that runs together with the one before.
    pub(crate) fn alongside(mut self, call: Self) -> Self {
        self.children.push(Child { call, start: ChildStart::Alongside });
        self
    }

    /// Adds a child that nobody waits for.
    pub(crate) fn later(mut self, delay_us: u64, call: Self) -> Self {
        self.children.push(Child { call, start: ChildStart::Later(delay_us) });
        self
    }

    /// Adds an attribute.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.attributes.push(KeyValue::new(key, tidings_proto::otlp::AnyValue::from(value.into())));
        self
    }

    /// Adds a log line.
    pub(crate) fn says(mut self, at_percent: u64, severity: i32, text: impl Into<String>) -> Self {
        self.lines.push(DemoLogLine { at_percent, severity, text: text.into() });
        self
    }

    /// Makes it fail.
    pub(crate) fn fails(mut self, kind: &'static str, message: impl Into<String>) -> Self {
        self.failure = Some(Failure { kind, message: message.into() });
        self
    }
}
