//! The labels of a series, and the matchers of a selector.

use std::{collections::BTreeMap, fmt, sync::Arc};

use regex::Regex;

/// The label that holds a metric's name.
pub const NAME: &str = "__name__";

/// Labels in the order of their names; none is empty. Clones share them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Labels(Arc<[(Arc<str>, Arc<str>)]>);

impl Labels {
    /// Creates labels from pairs. The last value of a repeated name counts, and an empty value
    /// counts as missing.
    #[must_use]
    pub fn new(pairs: impl IntoIterator<Item = (Arc<str>, Arc<str>)>) -> Self {
        let mut pairs: BTreeMap<Arc<str>, Arc<str>> = pairs.into_iter().collect();
        pairs.retain(|_, value| !value.is_empty());
        Self(pairs.into_iter().collect())
    }

    /// Value of a label; empty when the series does not have it.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        let place = self.0.binary_search_by(|(known, _)| (**known).cmp(name));
        place.map_or("", |place| &self.0[place].1)
    }

    /// The labels.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Returns the labels for whose names `keep` is true.
    #[must_use]
    pub fn only(&self, keep: impl Fn(&str) -> bool) -> Self {
        if self.0.iter().all(|(name, _)| keep(name)) {
            return self.clone();
        }
        Self(self.0.iter().filter(|(name, _)| keep(name)).cloned().collect())
    }

    /// Returns the labels without the metric's name, as every computed series has them.
    #[must_use]
    pub fn unnamed(&self) -> Self {
        self.only(|name| name != NAME)
    }

    /// Returns the labels with this value of the named label.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        Self::new(self.0.iter().cloned().chain([(name.into(), value.into())]))
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (place, (name, value)) in self.iter().enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            write!(f, "{comma}{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

/// Condition on the value of one label.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// The label's name.
    pub name: String,
    /// Condition on the value; a missing label counts as empty.
    pub test: MatcherTest,
}

/// Condition on a text.
#[derive(Debug, Clone)]
pub enum MatcherTest {
    /// Exactly this text.
    Equal(String),
    /// Any other text.
    NotEqual(String),
    /// Any text that the whole pattern matches.
    Like(Regex),
    /// Any text that the whole pattern does not match.
    NotLike(Regex),
}

impl Matcher {
    /// Compares name, operator and operand of two matchers.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let same = match (&self.test, &other.test) {
            (MatcherTest::Equal(one), MatcherTest::Equal(other))
            | (MatcherTest::NotEqual(one), MatcherTest::NotEqual(other)) => one == other,
            (MatcherTest::Like(one), MatcherTest::Like(other))
            | (MatcherTest::NotLike(one), MatcherTest::NotLike(other)) => {
                one.as_str() == other.as_str()
            }
            _ => false,
        };
        self.name == other.name && same
    }

    /// Reports whether the value passes the test.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        match &self.test {
            MatcherTest::Equal(text) => text == value,
            MatcherTest::NotEqual(text) => text != value,
            MatcherTest::Like(pattern) => pattern.is_match(value),
            MatcherTest::NotLike(pattern) => !pattern.is_match(value),
        }
    }
}
