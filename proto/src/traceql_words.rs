//! Functions of a TraceQL query that finds traces: their names and descriptions, which the parser
//! and the UI's completion share.
//!
//! Owns one table of aggregates and one of stages. Does not own functions of metrics, which the UI
//! does not complete because its queries find traces; nor the syntax; nor what a function computes.

/// Function that aggregates numbers to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fold {
    /// Number of spans.
    Count,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The mean.
    Avg,
    /// The sum.
    Sum,
}

impl Fold {
    /// Aggregates with their functions.
    pub const FUNCTIONS: [(Self, SearchFunction); 5] = [
        (Self::Count, SearchFunction::new("count", "()", "spans of a trace")),
        (Self::Avg, SearchFunction::new("avg", "(", "of a number")),
        (Self::Max, SearchFunction::new("max", "(", "of a number")),
        (Self::Min, SearchFunction::new("min", "(", "of a number")),
        (Self::Sum, SearchFunction::new("sum", "(", "of a number")),
    ];

    /// Returns the aggregate of this name.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::FUNCTIONS.into_iter().find(|(_, known)| known.word == word).map(|(fold, _)| fold)
    }
}

/// Functions that are a stage of their own.
pub const STAGES: [SearchFunction; 3] = [
    SearchFunction::new("select", "(", "attributes to show"),
    SearchFunction::new("by", "(", "groups spans by a value"),
    SearchFunction::new("coalesce", "()", "joins groups again"),
];

/// Function of a query that finds traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchFunction {
    /// Its name, which a parenthesis follows.
    pub word: &'static str,
    /// `()` where nothing stands between the parentheses, else `(`.
    pub parentheses: &'static str,
    /// Description in a few words.
    pub hint: &'static str,
}

impl SearchFunction {
    const fn new(word: &'static str, parentheses: &'static str, hint: &'static str) -> Self {
        Self { word, parentheses, hint }
    }

    /// Lists every function.
    pub fn all() -> impl Iterator<Item = Self> {
        Fold::FUNCTIONS.into_iter().map(|(_, function)| function).chain(STAGES)
    }

    /// Returns its beginning in a query, as `avg(` or `count()`.
    #[must_use]
    pub fn opening(self) -> String {
        format!("{}{}", self.word, self.parentheses)
    }
}
