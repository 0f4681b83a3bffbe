//! The two signals.

/// One of the two signals, each of which has a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Spans of traces.
    Spans,
    /// Log records.
    Logs,
}

impl Signal {
    /// Returns the name of the table.
    #[must_use]
    pub fn table(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::Logs => "logs",
        }
    }
}
