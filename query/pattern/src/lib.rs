//! Patterns: regular expressions in linear time, within bounds.
//!
//! Compiling a pattern takes milliseconds, so a query is parsed on the blocking thread that runs
//! it. Each pattern is compiled once, and the patterns of a query share a bound.
//!
//! Owns the differences between Go's expressions, which TraceQL and PromQL have, and those of the
//! engine here, the texts that every match of a pattern contains, and the position that an error in
//! a text has. Does not know a language of queries, or what a pattern is matched with.

mod texts;
mod translate;

use std::{collections::HashMap, fmt};

use thiserror::Error;

pub use self::texts::{TEXT_CHARS_MIN, texts_within};

/// Error in a pattern.
#[derive(Debug, Error)]
pub enum PatternError {
    /// The engine refuses the pattern.
    #[error("{}", .0.to_string().lines().last().unwrap_or_default().trim())]
    Engine(#[from] regex::Error),
    /// The text is not a pattern.
    #[error("{}", .0.to_string().lines().last().unwrap_or_default().trim())]
    Syntax(#[from] Box<regex_syntax::Error>),
    /// The patterns of one query exceed their common bound.
    #[error("the patterns of one query need more than {} MiB together", bytes_max >> 20)]
    Together {
        /// Maximum number of bytes.
        bytes_max: usize,
    },
    /// A repetition directly follows another repetition.
    #[error("`{0}` repeats a repetition")]
    Nested(String),
    /// A part is repeated more often than Go allows.
    #[error("`{0}` repeats more than {max} times", max = translate::REPEATS_MAX)]
    Repeats(String),
}

/// Maximum memory of a pattern, in bytes; a larger one is refused.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// First size limit tried when a pattern is compiled, in bytes; each retry has four times as much.
const PATTERN_BYTES_MIN: usize = 16 << 10;
/// Size of the cache of the lazy automaton for each direction, in bytes.
const MATCHING_BYTES: usize = 512 << 10;
/// Maximum memory of the patterns of one query together, in bytes.
const PATTERNS_BYTES_MAX: usize = 64 << 20;
/// Maximum depth to which the groups of a pattern nest.
const PATTERN_DEPTH_MAX: u32 = 50;

/// Text put around a pattern to anchor it.
const BEFORE: &str = "^(?s:";
const AFTER: &str = ")$";

/// A pattern that must match the whole text. `.` matches line breaks too.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// Source text of the pattern.
    text: String,
    /// Compiled form of the pattern.
    pub regex: regex::Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Compiler of the patterns of one query.
#[derive(Debug)]
pub struct Patterns {
    known: HashMap<String, Pattern>,
    bytes_max: usize,
    left: usize,
    /// True when the groups of a match are read. Other patterns have no capture groups.
    keeps_groups: bool,
}

impl Default for Patterns {
    fn default() -> Self {
        Self::within(PATTERNS_BYTES_MAX)
    }
}

impl Patterns {
    /// Creates a compiler whose patterns together need at most this much memory.
    #[must_use]
    pub fn within(bytes_max: usize) -> Self {
        Self { known: HashMap::new(), bytes_max, left: bytes_max, keeps_groups: false }
    }

    /// Creates a compiler of patterns whose groups are read.
    #[must_use]
    pub fn with_groups() -> Self {
        Self { keeps_groups: true, ..Self::default() }
    }

    /// Creates a compiler for texts without patterns.
    #[must_use]
    pub fn none() -> Self {
        Self::within(0)
    }

    /// Returns the compiled pattern of a text.
    ///
    /// # Errors
    /// Describes the fault of the pattern, or the bound that it exceeds.
    pub fn compile(&mut self, text: &str) -> Result<Pattern, PatternError> {
        if let Some(known) = self.known.get(text) {
            return Ok(known.clone());
        }
        let pattern = self.compile_wrapped(BEFORE, text, AFTER)?;
        self.known.insert(text.to_owned(), pattern.clone());
        Ok(pattern)
    }

    /// Compiles a pattern that may match anywhere. It is not cached, unlike those of
    /// [`Self::compile`].
    ///
    /// # Errors
    /// The same as those of [`Self::compile`].
    pub fn compile_unanchored(&mut self, text: &str) -> Result<Pattern, PatternError> {
        self.compile_wrapped("(?s:", text, ")")
    }

    fn compile_wrapped(
        &mut self,
        before: &str,
        text: &str,
        after: &str,
    ) -> Result<Pattern, PatternError> {
        let translated = translate::translate(text, true)?;
        if self.left == 0 {
            return Err(self.memory_error());
        }
        // The pattern is checked alone first: the parentheses around it could complete an invalid
        // one.
        let mut alone = regex_syntax::ParserBuilder::new();
        alone.nest_limit(PATTERN_DEPTH_MAX).build().parse(&translated).map_err(Box::new)?;
        let whole = match self.keeps_groups {
            true => translated,
            false => translate::translate(text, false)?,
        };
        let regex = self.compile_anchored(&format!("{before}{whole}{after}"))?;
        Ok(Pattern { text: text.to_owned(), regex })
    }

    /// Compiles the anchored pattern. A pattern that is too large is charged to the bound, too,
    /// because the attempt took as long.
    fn compile_anchored(&mut self, whole: &str) -> Result<regex::Regex, PatternError> {
        let mut bytes = PATTERN_BYTES_MIN;
        loop {
            // Each direction has its own cache.
            let needed = 2 * (bytes + MATCHING_BYTES);
            self.left = self.left.checked_sub(needed).ok_or_else(|| self.memory_error())?;
            let built = regex::RegexBuilder::new(whole)
                .size_limit(bytes)
                .dfa_size_limit(MATCHING_BYTES)
                .nest_limit(PATTERN_DEPTH_MAX + 2)
                .build();
            match built {
                Err(regex::Error::CompiledTooBig(_)) if bytes < PATTERN_BYTES_MAX => {
                    self.left += needed;
                    bytes *= 4;
                }
                built => return Ok(built?),
            }
        }
    }

    fn memory_error(&self) -> PatternError {
        PatternError::Together { bytes_max: self.bytes_max }
    }
}

/// Returns the only texts that match a compiled pattern, if it is an alternation of plain texts:
/// `a|b`.
#[must_use]
pub fn literals(pattern: &str) -> Option<Vec<String>> {
    let pattern = pattern.strip_prefix(BEFORE)?.strip_suffix(AFTER)?;
    let is_plain =
        !pattern.contains(['\\', '.', '+', '*', '?', '(', ')', '[', ']', '{', '}', '^', '$']);
    is_plain.then(|| pattern.split('|').map(str::to_owned).collect())
}

/// Returns the line and the column of a byte of a text. Both are counted from 1, and columns are in
/// characters. A byte behind the text, or within a character, is at the end of the text.
#[must_use]
pub fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let last_line = before.rsplit('\n').next().unwrap_or(before);
    (before.matches('\n').count() + 1, last_line.chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::{PatternError, Patterns, line_and_column, literals};

    #[test]
    fn positions_are_counted_in_lines_and_characters() {
        let text = "é\nab\n";
        let positions = [0, 2, 3, 5, 6, 7, 1].map(|byte| line_and_column(text, byte));
        assert_eq!(positions, [(1, 1), (1, 2), (2, 1), (2, 3), (3, 1), (3, 1), (3, 1)]);
        assert_eq!(line_and_column("", 0), (1, 1));
    }

    #[test]
    fn groups_that_nobody_reads_have_no_places() {
        let text = "(a+)(?P<n>b)(?<m>c|d)(?:e)(?i:F)((g)\\(h[(])?";
        let groups = |pattern: Result<super::Pattern, PatternError>| {
            let regex = pattern.unwrap().regex;
            let matches = ["aabdef", "abcefg(h("].map(|text| regex.is_match(text));
            assert!(matches == [true, true] && !regex.is_match("abefg"), "{regex}");
            regex.captures_len() - 1
        };
        assert_eq!(groups(Patterns::default().compile(text)), 0);
        assert_eq!(groups(Patterns::with_groups().compile(text)), 5);
        for wrong in
            ["(?P<n>a)(?P<n>b)", "(?P<>a)", "(?<=a)b", "(?<!a)b", "(a", "a)", "(*a)", "(?P<n"]
        {
            assert!(Patterns::default().compile(wrong).is_err(), "{wrong}");
        }
    }

    fn pattern_of(text: &str) -> Result<regex::Regex, PatternError> {
        Patterns::default().compile(text).map(|pattern| pattern.regex)
    }

    #[test]
    fn patterns_are_read_as_go_reads_them() {
        // Patterns that Go's regexp accepts, each with a text that matches whole and one that does
        // not.
        let taken = [
            (r"\Qa.b*\E", "a.b*", "axb"),
            (r"\Qa.b", "a.b", "axb"),
            (r"x\Q\Ey", "xy", "x"),
            (r"\Qa|b\E+", "a|bb", "a|b|b"),
            (r"\\Q", r"\Q", "Q"),
            ("a{", "a{", "a"),
            ("a{,3}", "a{,3}", "aa"),
            ("a{2}b{x}", "aab{x}", "ab"),
            ("a{1000}", &"a".repeat(1000), "a"),
            ("(a{10}){100}", &"a".repeat(1000), "a"),
            ("a+?b*?c??", "aabc", "c"),
            ("[*+?]*", "+*?", "a"),
            ("[]a]+", "]a", "b"),
            ("[[]x", "[x", "x"),
            ("[a&&b]+", "a&b", "c"),
            ("[[:digit:]_]+", "1_2", "a"),
            ("[^[]", "a", "["),
            (r"\*\*", "**", "*"),
            ("(?:a|b)+(?i)C", "abc", "ac b"),
            (r"\x{41}\pL", "Ab", "A1"),
        ];
        for (pattern, fits, other) in taken {
            let made = pattern_of(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert!(made.is_match(fits) && !made.is_match(other), "{pattern}");
        }
        let nested = "repeats a repetition";
        let often = "repeats more than 1000 times";
        let refused = [
            ("l**", nested),
            ("l*+", nested),
            ("l???", nested),
            ("l{2}{3}", nested),
            ("(a+)*{2}", nested),
            ("l{1001}", often),
            ("l{5,1001}", often),
            ("l{1001,}", often),
            ("l{99999999999999999999}", often),
            ("(a{100}){11}", often),
            ("((a{2,10}b){10}c){11}", often),
            ("l{3,2}", "repeats more than"),
            ("*a", ""),
            ("a|*", ""),
            ("(", ""),
            ("[a", ""),
            (r"\", ""),
            ("é)", ""),
        ];
        for (pattern, reason) in refused {
            let error = pattern_of(pattern).err().map(|error| error.to_string());
            assert!(
                error.as_ref().is_some_and(|error| error.contains(reason)),
                "{pattern}: {error:?}"
            );
        }
    }

    #[test]
    fn patterns_of_one_query_have_a_bound_and_each_takes_room_once() {
        let mut patterns = Patterns::within(8 << 20);
        let large = |n: usize| format!("{n}\\w{{20}}");
        for _ in 0..100 {
            patterns.compile(&large(0)).unwrap();
        }
        let made = (1..100).take_while(|n| patterns.compile(&large(*n)).is_ok()).count();
        assert!((1..10).contains(&made), "{made}");
        let error = patterns.compile(&large(99)).unwrap_err().to_string();
        assert_eq!(error, "the patterns of one query need more than 8 MiB together");
        patterns.compile(&large(0)).unwrap();
        assert!(Patterns::none().compile("a").is_err());
    }

    #[test]
    fn a_pattern_that_is_refused_takes_room_as_well() {
        let mut patterns = Patterns::within(8 << 20);
        let huge = |n: usize| format!("{n}\\w{{900}}");
        let errors: Vec<String> =
            (0..4).map(|n| patterns.compile(&huge(n)).unwrap_err().to_string()).collect();
        assert!(errors[0].contains("size limit"), "{errors:?}");
        assert!(errors[3].contains("together"), "{errors:?}");
    }

    #[test]
    fn a_pattern_of_texts_is_their_list() {
        let of = |pattern: &str| literals(pattern_of(pattern).unwrap().as_str());
        assert_eq!(of("shop"), Some(vec!["shop".to_owned()]));
        assert_eq!(of("shop|pay-2"), Some(vec!["shop".to_owned(), "pay-2".to_owned()]));
        for pattern in ["sh.p", "shops?", "(a|b)", "a{2}", r"\d", "^a", "[ab]"] {
            assert_eq!(of(pattern), None, "{pattern}");
        }
    }
}
