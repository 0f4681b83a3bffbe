//! Terms with and, or, not and parentheses between them.
//!
//! Reads the text from left to right without a list of tokens, because a colon, a bracket or a
//! slash has different meanings in a value and in a word. `term_syntax` reads the terms between the
//! operators.

use tidings_pattern::Patterns;
use tidings_storage::LogExpression;

use super::{
    DEPTH_MAX, LogQueryError, PATTERNS_BYTES_MAX, TERMS_MAX, TEXT_BYTES_MAX,
    fields::{LogField, TermValue},
};

/// Parses a query. Compiling its patterns takes time, so this runs on a blocking thread.
///
/// # Errors
/// Names the character at which the text is not a query, and the expected syntax.
pub fn parse(text: &str) -> Result<LogExpression, LogQueryError> {
    if text.len() > TEXT_BYTES_MAX {
        let message =
            format!("a query has at most {TEXT_BYTES_MAX} bytes; this has {}", text.len());
        return Err(LogQueryError::at(text, 0, message));
    }
    let patterns = Patterns::within(PATTERNS_BYTES_MAX);
    let mut parser = LogQueryParser {
        text,
        at: 0,
        depth: 0,
        terms: 0,
        patterns,
        has_selector: false,
        is_in_pipe: false,
    };
    let expression = parser.alternatives(None)?;
    parser.skip_blanks();
    match parser.peek() {
        None => Ok(expression),
        Some(_) => parser.fail("this `)` closes nothing; put it in double quotes to look for it"),
    }
}

/// An operator between terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BooleanOperator {
    And,
    Or,
    Not,
}

impl BooleanOperator {
    fn named(word: &str) -> Option<Self> {
        let names = [("and", Self::And), ("or", Self::Or), ("not", Self::Not)];
        names.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, of)| of)
    }
}

/// The text, and the position of the parser.
pub(super) struct LogQueryParser<'a> {
    pub(super) text: &'a str,
    /// Index of the byte that is read next.
    pub(super) at: usize,
    depth: usize,
    terms: usize,
    pub(super) patterns: Patterns,
    /// True after a stream selector.
    pub(super) has_selector: bool,
    /// True in a comparison behind a pipe, where a word ends at a comma or a pipe.
    pub(super) is_in_pipe: bool,
}

impl<'a> LogQueryParser<'a> {
    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Consumes and returns the characters up to white space or one of these signs.
    pub(super) fn text_until(&mut self, signs: &str) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| c.is_whitespace() || signs.contains(c));
        let text = &rest[..end.unwrap_or(rest.len())];
        self.at += text.len();
        text
    }

    /// Consumes this sign if it is next.
    pub(super) fn eat(&mut self, sign: &str) -> bool {
        let is_next = self.rest().starts_with(sign);
        if is_next {
            self.at += sign.len();
        }
        is_next
    }

    pub(super) fn fail<T>(&self, message: impl Into<String>) -> Result<T, LogQueryError> {
        self.fail_at(self.at, message)
    }

    pub(super) fn fail_at<T>(
        &self,
        byte: usize,
        message: impl Into<String>,
    ) -> Result<T, LogQueryError> {
        Err(LogQueryError::at(self.text, byte, message))
    }

    /// Describes the next characters for error messages.
    pub(super) fn describe_next(&self) -> String {
        const SHOWN_CHARS: usize = 40;
        let Some(next) = self.rest().split_whitespace().next() else {
            return "the end of the query".to_owned();
        };
        let cut = if next.chars().count() > SHOWN_CHARS { "…" } else { "" };
        format!("`{}{cut}`", next.chars().take(SHOWN_CHARS).collect::<String>())
    }

    /// Returns the next operator, and its length in bytes.
    fn operator(&self) -> Option<(BooleanOperator, usize)> {
        let rest = self.rest();
        if rest.starts_with("&&") {
            return Some((BooleanOperator::And, 2));
        }
        if rest.starts_with("||") {
            return Some((BooleanOperator::Or, 2));
        }
        let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let after = rest[end..].chars().next();
        let is_word = after.is_none_or(|c| c.is_whitespace() || matches!(c, '(' | ')' | '"'));
        BooleanOperator::named(&rest[..end]).filter(|_| is_word).map(|operator| (operator, end))
    }

    /// Parses terms with `or` between them, about `field` when it is given. Recursive for
    /// parentheses, up to [`DEPTH_MAX`].
    pub(super) fn alternatives(
        &mut self,
        field: Option<&LogField>,
    ) -> Result<LogExpression, LogQueryError> {
        let mut parts = vec![self.conjunction(field)?];
        loop {
            self.skip_blanks();
            match self.operator() {
                Some((BooleanOperator::Or, length)) => {
                    self.at += length;
                    parts.push(self.conjunction(field)?);
                }
                _ => break,
            }
        }
        Ok(one_or(parts, LogExpression::Any))
    }

    /// Parses terms with `and` or nothing between them.
    fn conjunction(&mut self, field: Option<&LogField>) -> Result<LogExpression, LogQueryError> {
        let mut parts = vec![self.negation(field)?];
        loop {
            self.skip_blanks();
            if matches!(self.peek(), None | Some(')')) {
                break;
            }
            match self.operator() {
                Some((BooleanOperator::Or, _)) => break,
                Some((BooleanOperator::And, length)) => self.at += length,
                _ if field.is_none() => {
                    if let Some(part) = self.pipe()? {
                        parts.push(part);
                        continue;
                    }
                }
                _ => {}
            }
            parts.push(self.negation(field)?);
        }
        // A conjunction without parts matches all records, so it disappears among other parts.
        let all = parts.into_iter().flat_map(|part| match part {
            LogExpression::All(parts) => parts,
            one => vec![one],
        });
        Ok(one_or(all.collect(), LogExpression::All))
    }

    /// Parses a term or a negated term.
    fn negation(&mut self, field: Option<&LogField>) -> Result<LogExpression, LogQueryError> {
        let mut is_negated = false;
        loop {
            self.skip_blanks();
            if let Some((BooleanOperator::Not, length)) = self.operator() {
                self.at += length;
            } else if self.is_sign_of_negation(field) {
                self.at += 1;
            } else {
                break;
            }
            is_negated = !is_negated;
        }
        let term = self.nested_or_term(field)?;
        Ok(if is_negated { LogExpression::Not(Box::new(term)) } else { term })
    }

    /// Reports whether `-` or `!` directly before a term negates it. In a value `-5` is a number.
    fn is_sign_of_negation(&self, field: Option<&LogField>) -> bool {
        let mut chars = self.rest().chars();
        let is_sign = match chars.next() {
            Some('!') => true,
            Some('-') => field.is_none(),
            _ => false,
        };
        let is_term = |c: char| c.is_alphanumeric() || "_@*\\\"`(/".contains(c);
        is_sign && chars.next().is_some_and(is_term)
    }

    fn nested_or_term(&mut self, field: Option<&LogField>) -> Result<LogExpression, LogQueryError> {
        if let Some((_, length)) = self.operator() {
            let sign = &self.rest()[..length];
            return self.fail(format!(
                "a term was expected, not `{sign}`; put it in double quotes to look for it"
            ));
        }
        match self.peek() {
            None => self.fail("a term was expected, but the query ends"),
            Some(')') => self.fail("a term was expected, not `)`"),
            Some('(') => self.parenthesised(field),
            Some(_) => match field {
                Some(field) => self.value(field),
                None => self.term(),
            },
        }
    }

    /// Parses terms in parentheses.
    pub(super) fn parenthesised(
        &mut self,
        field: Option<&LogField>,
    ) -> Result<LogExpression, LogQueryError> {
        if self.depth == DEPTH_MAX {
            return self.fail(format!("parentheses nest at most {DEPTH_MAX} deep"));
        }
        let start = self.at;
        self.at += 1;
        self.depth += 1;
        let inner = self.alternatives(field)?;
        self.depth -= 1;
        self.skip_blanks();
        if self.eat(")") {
            self.refuse_boost_here()?;
            return Ok(inner);
        }
        self.fail_at(start, "this `(` is not closed; put it in double quotes to look for it")
    }

    /// Returns the condition of a term that begins at `start`.
    pub(super) fn condition(
        &mut self,
        start: usize,
        field: &LogField,
        value: TermValue,
    ) -> Result<LogExpression, LogQueryError> {
        self.count_terms(start, field.keys_count())?;
        field.condition(value).or_else(|message| self.fail_at(start, message))
    }

    /// Counts terms. The first begins at `start`.
    pub(super) fn count_terms(&mut self, start: usize, count: usize) -> Result<(), LogQueryError> {
        self.terms += count;
        if self.terms > TERMS_MAX {
            return self.fail_at(start, format!("a query has at most {TERMS_MAX} terms"));
        }
        Ok(())
    }
}

/// Returns the only part, or joins the parts.
pub(super) fn one_or(
    mut parts: Vec<LogExpression>,
    join: fn(Vec<LogExpression>) -> LogExpression,
) -> LogExpression {
    match (parts.pop(), parts.is_empty()) {
        (Some(one), true) => one,
        (last, _) => {
            parts.extend(last);
            join(parts)
        }
    }
}
