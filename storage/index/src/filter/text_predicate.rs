//! Predicates over one text: the body of a log record, or a text in an attribute.
//!
//! A token is a run of letters, digits and underscores. Words and phrases compare tokens without
//! letter case. A predicate returns the literals that a matching text must contain, so that the
//! n-gram signatures of a file can prune blocks.

mod tokens;
mod wildcard;

use regex::Regex;

use super::text::Needle;
use tokens::{is_token_char, literal_runs, same_token, starts_token, tokens, with_white_space};

pub use wildcard::{Glyph, Wildcard, WildcardScope};

/// A condition on one text.
#[derive(Debug, Clone, PartialEq)]
pub enum TextPredicate {
    /// The text contains these tokens in sequence.
    Phrase(Phrase),
    /// The text contains a token that nearly equals this word.
    Fuzzy(FuzzyWord),
    /// The text matches a word with `*` in it.
    Wildcard(Wildcard),
    /// The text contains a match of a regular expression.
    Pattern(TextPattern),
    /// The text contains this one. ASCII letter case is ignored.
    Contains(Needle),
    /// The text equals this one.
    Equals(String),
}

impl TextPredicate {
    /// Matches a text that contains `part`. ASCII letter case is ignored.
    #[must_use]
    pub fn contains(part: &str) -> Self {
        Self::Contains(Needle::new(part))
    }

    /// Returns true if the text matches.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Phrase(phrase) => phrase.is_in(text),
            Self::Fuzzy(word) => word.is_in(text),
            Self::Wildcard(wildcard) => wildcard.matches(text),
            Self::Pattern(pattern) => pattern.regex.is_match(text),
            Self::Contains(needle) => needle.is_in(text),
            Self::Equals(whole) => text == whole,
        }
    }

    /// Returns lists of literals. Every matching text contains all literals of at least one list,
    /// up to ASCII letter case. No lists mean that nothing is known.
    pub(crate) fn literals(&self) -> Vec<Vec<String>> {
        match self {
            Self::Phrase(phrase) => vec![phrase.literals()],
            Self::Fuzzy(_) => Vec::new(),
            Self::Wildcard(wildcard) => vec![wildcard.literals()],
            Self::Pattern(pattern) => {
                pattern.literals.iter().map(|literal| vec![literal.clone()]).collect()
            }
            Self::Contains(needle) => vec![vec![needle.text()]],
            Self::Equals(whole) => vec![vec![whole.clone()]],
        }
    }
}

/// A sequence of adjacent tokens, with any separators between them.
#[derive(Debug, Clone, PartialEq)]
pub struct Phrase {
    /// The tokens in lower case.
    tokens: Vec<String>,
    /// True if the last token is only a prefix.
    is_prefix: bool,
    /// Failure function: for each token, how many tokens before it are also the first ones.
    borders: Vec<usize>,
    /// A part of one of the tokens, which is faster to search for.
    needle: Option<Needle>,
}

impl Phrase {
    /// Splits a text into tokens. With `is_prefix`, the last one is a prefix. Returns `None` if it
    /// has no token.
    #[must_use]
    pub fn new(text: &str, is_prefix: bool) -> Option<Self> {
        let tokens: Vec<String> = tokens(text).map(tokens::folded).collect();
        if tokens.is_empty() {
            return None;
        }
        let runs = tokens.iter().flat_map(|token| literal_runs(token));
        let needle = runs.max_by_key(|run| run.len()).map(Needle::new);
        Some(Self { borders: borders(&tokens), tokens, is_prefix, needle })
    }

    fn literals(&self) -> Vec<String> {
        self.tokens.iter().flat_map(|token| literal_runs(token)).map(str::to_owned).collect()
    }

    /// Uses the algorithm of Knuth, Morris and Pratt, so that the time is linear in the number of
    /// tokens.
    fn is_in(&self, text: &str) -> bool {
        if self.needle.as_ref().is_some_and(|needle| !needle.is_in(text)) {
            return false;
        }
        let last = self.tokens.len() - 1;
        let mut met = 0;
        for token in tokens(&with_white_space(text)) {
            loop {
                let is_next = if self.is_prefix && met == last {
                    starts_token(&self.tokens[met], token)
                } else {
                    same_token(&self.tokens[met], token)
                };
                if is_next {
                    met += 1;
                    break;
                }
                if met == 0 {
                    break;
                }
                met = self.borders[met - 1];
            }
            if met > last {
                return true;
            }
        }
        false
    }
}

fn borders(tokens: &[String]) -> Vec<usize> {
    let mut borders = vec![0; tokens.len()];
    let mut length = 0;
    for at in 1..tokens.len() {
        while length > 0 && tokens[at] != tokens[length] {
            length = borders[length - 1];
        }
        length += usize::from(tokens[at] == tokens[length]);
        borders[at] = length;
    }
    borders
}

/// A token and the maximum number of edits to a matching token. An edit inserts, removes or
/// replaces a character, or exchanges two adjacent ones.
#[derive(Debug, Clone, PartialEq)]
pub struct FuzzyWord {
    /// The token in lower case.
    token: String,
    chars: usize,
    edits_max: usize,
}

impl FuzzyWord {
    /// Maximum number of edits.
    pub const EDITS_MAX: usize = 2;
    /// Maximum number of characters of the word.
    pub const CHARS_MAX: usize = 100;

    /// Returns `None` if the text is not one token of at most [`Self::CHARS_MAX`] characters, or
    /// there are more than [`Self::EDITS_MAX`] edits.
    #[must_use]
    pub fn new(text: &str, edits_max: usize) -> Option<Self> {
        let chars = text.chars().count();
        let is_token = !text.is_empty() && text.chars().all(is_token_char);
        let is_small = chars <= Self::CHARS_MAX && edits_max <= Self::EDITS_MAX;
        (is_token && is_small).then(|| Self { token: tokens::folded(text), chars, edits_max })
    }

    fn is_in(&self, text: &str) -> bool {
        tokens(&with_white_space(text)).any(|token| self.is_near(token))
    }

    fn is_near(&self, token: &str) -> bool {
        // A character has at most four bytes, so longer tokens need no counting.
        if token.len() > (self.chars + self.edits_max) * 4 {
            return false;
        }
        token.chars().count().abs_diff(self.chars) <= self.edits_max
            && strsim::osa_distance(&self.token, &tokens::folded(token)) <= self.edits_max
    }
}

/// A regular expression, which may match at any position of a text.
#[derive(Debug, Clone)]
pub struct TextPattern {
    regex: Regex,
    literals: Vec<String>,
}

impl TextPattern {
    /// Creates a pattern with the literals of which every match contains one, up to ASCII letter
    /// case. The list is empty if there are no such literals.
    #[must_use]
    pub fn new(regex: Regex, literals: Vec<String>) -> Self {
        Self { regex, literals }
    }
}

impl PartialEq for TextPattern {
    fn eq(&self, other: &Self) -> bool {
        self.regex.as_str() == other.regex.as_str()
    }
}

#[cfg(test)]
mod tests;
