//! Facts of the spans to send, counted while they are generated. Answers are checked against them.

use std::collections::BTreeMap;

/// Numbers of different spans; those that come twice count once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) traces: u64,
    pub(crate) total: SpanCounts,
    pub(crate) services: BTreeMap<String, SpanCounts>,
    /// Number of traces by root operation: service and operation.
    pub(crate) transaction_types: BTreeMap<(String, String), u64>,
    /// Calls of services by services, also those of which only the caller sends a span, if they are
    /// no messages.
    pub(crate) called: u64,
    /// Calls of the cache.
    pub(crate) cached: u64,
}

/// Number of spans and of failed spans.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SpanCounts {
    pub(crate) spans: u64,
    pub(crate) failed: u64,
}

impl SpanCounts {
    pub(crate) fn add(&mut self, other: Self, times: u64) {
        self.spans += other.spans * times;
        self.failed += other.failed * times;
    }
}

impl Facts {
    /// Adds what another number of spans says, as often as it is sent.
    pub(crate) fn add(&mut self, other: &Self, times: u64) {
        self.traces += other.traces * times;
        self.total.add(other.total, times);
        for (name, calls) in &other.services {
            self.services.entry(name.clone()).or_default().add(*calls, times);
        }
        for (transaction_type, traces) in &other.transaction_types {
            *self.transaction_types.entry(transaction_type.clone()).or_default() += traces * times;
        }
        self.called += other.called * times;
        self.cached += other.cached * times;
    }

    /// The names of the services, those with most spans first.
    pub(crate) fn services_by_spans(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.services.iter().collect();
        names.sort_by(|one, other| other.1.spans.cmp(&one.1.spans).then(one.0.cmp(other.0)));
        names.into_iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The service and operation at which most traces enter.
    pub(crate) fn most_frequent_transaction_type(&self) -> Option<&(String, String)> {
        self.transaction_types
            .iter()
            .max_by_key(|(transaction_type, traces)| (**traces, *transaction_type))
            .map(|(transaction_type, _)| transaction_type)
    }
}
