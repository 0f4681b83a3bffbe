//! The terms between the operators: words, quoted texts, regular expressions and fields.

use std::ops::Bound;

use tidings_pattern::{PatternError, texts_within};
use tidings_storage::{Glyph, LogExpression, TextPattern};

use super::{
    LogQueryError,
    fields::{LogField, TermValue},
    parser::{LogQueryParser, one_or},
};

/// Signs of comparisons, the longest first.
const COMPARISONS: [(&str, ComparisonSign); 9] = [
    (">=", ComparisonSign::AtLeast),
    ("<=", ComparisonSign::AtMost),
    ("=~", ComparisonSign::Pattern { negated: false }),
    ("!~", ComparisonSign::Pattern { negated: true }),
    ("!=", ComparisonSign::Equal { negated: true }),
    ("==", ComparisonSign::Equal { negated: false }),
    ("=", ComparisonSign::Equal { negated: false }),
    (">", ComparisonSign::Above),
    ("<", ComparisonSign::Below),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ComparisonSign {
    Equal { negated: bool },
    Pattern { negated: bool },
    AtLeast,
    AtMost,
    Above,
    Below,
}

/// The characters of a word, each with true when it was escaped by a backslash.
#[derive(Debug, Default)]
pub(super) struct Word(pub(super) Vec<(char, bool)>);

impl Word {
    pub(super) fn text(&self) -> String {
        self.0.iter().map(|(c, _)| *c).collect()
    }

    /// Returns true if the word is valid as an unquoted field name.
    pub(super) fn is_name(&self) -> bool {
        let begins = self.0.first().is_some_and(|(c, _)| c.is_alphabetic() || "_@".contains(*c));
        begins && self.0.iter().all(|(c, is_escaped)| *c != '*' || *is_escaped)
    }

    pub(super) fn is_wildcard(glyph: &(char, bool)) -> bool {
        *glyph == ('*', false)
    }

    /// Converts the word to the value of a term.
    pub(super) fn value(self) -> TermValue {
        let glyphs = &self.0;
        let wildcards = glyphs.iter().filter(|glyph| Self::is_wildcard(glyph)).count();
        if wildcards > 0 && wildcards == glyphs.len() {
            return TermValue::Anything;
        }
        if wildcards > 0 {
            let is_last = glyphs.last().is_some_and(Self::is_wildcard);
            let before = glyphs.len().checked_sub(2).and_then(|at| glyphs.get(at));
            let after_token = before.is_some_and(|(c, _)| c.is_alphanumeric() || *c == '_');
            if wildcards == 1 && is_last && after_token {
                let text = self.text();
                return TermValue::Prefix(text.strip_suffix('*').unwrap_or_default().to_owned());
            }
            let glyph = |glyph: &(char, bool)| match glyph {
                ('*', false) => Glyph::Many,
                (c, _) => Glyph::Char(*c),
            };
            return TermValue::Wildcard(glyphs.iter().map(glyph).collect());
        }
        let (edits, length) = match glyphs.as_slice() {
            [.., ('~', false), (digit @ '0'..='9', false)] => (digit.to_digit(10), 2),
            // The default number of edits is Lucene's.
            [.., ('~', false)] => (Some(2), 1),
            _ => (None, 0),
        };
        let text: String = glyphs[..glyphs.len() - length].iter().map(|(c, _)| *c).collect();
        match edits.filter(|_| !text.is_empty()) {
            Some(0) => TermValue::Text(text),
            Some(edits) => TermValue::Fuzzy(text, edits as usize),
            None => TermValue::Text(self.text()),
        }
    }
}

impl LogQueryParser<'_> {
    /// Parses a term outside of a field's value.
    pub(super) fn term(&mut self) -> Result<LogExpression, LogQueryError> {
        let start = self.at;
        self.refuse_time_and_range()?;
        if let Some(selector) = self.selector()? {
            return Ok(selector);
        }
        if let Some(filter) = self.line_filter()? {
            return Ok(filter);
        }
        if matches!(self.peek(), Some('"' | '`')) {
            let name = self.quoted()?;
            return match self.field_follows() {
                true => {
                    self.refuse_time_field(start, &name)?;
                    self.value_of(start, &LogField::of_name(&name))
                }
                false => {
                    let value = self.after_quoted(name)?;
                    self.condition(start, &LogField::Body, value)
                }
            };
        }
        if let Some(pattern) = self.slashed()? {
            return self.condition(start, &LogField::Body, TermValue::Pattern(pattern));
        }
        let word = self.word(true)?;
        if word.is_name() {
            let name = word.text();
            let field = LogField::of_name(&name);
            if self.field_follows() {
                return match name.as_str() {
                    "_exists_" => self.existence(start),
                    "_stream" => self.stream(),
                    _ => self.value_of(start, &field),
                };
            }
            if let Some(comparison) = self.comparison(&field) {
                return self.compared(start, &field, comparison);
            }
            if let Some(equality) = self.equality_after(&word, self.at) {
                return self.equal_or_text(start, word, equality);
            }
        }
        if word.0.is_empty() {
            return self.fail(format!("a term was expected, not {}", self.describe_next()));
        }
        self.refuse_foreign_word(start, &word, false)?;
        match word.value() {
            // A single `*` matches every record, whatever its body.
            TermValue::Anything => Ok(LogExpression::All(Vec::new())),
            value => self.condition(start, &LogField::Body, value),
        }
    }

    /// Parses a term inside the value of a field.
    pub(super) fn value(&mut self, field: &LogField) -> Result<LogExpression, LogQueryError> {
        let start = self.at;
        match self.peek() {
            Some('"' | '`') => {
                let text = self.quoted()?;
                let value = self.after_quoted(text)?;
                return self.condition(start, field, value);
            }
            Some('[' | '{') => return self.range(field),
            Some('~') => {
                self.at += 1;
                self.skip_blanks();
                return self.compared(start, field, ComparisonSign::Pattern { negated: false });
            }
            _ => {}
        }
        let known = COMPARISONS.iter().find(|(sign, _)| self.rest().starts_with(sign));
        if let Some((sign, comparison)) = known {
            self.at += sign.len();
            return self.compared(start, field, *comparison);
        }
        if let Some(pattern) = self.slashed()? {
            return self.condition(start, field, TermValue::Pattern(pattern));
        }
        if let Some(condition) = self.value_function(field)? {
            return Ok(condition);
        }
        let word = self.word(false)?;
        if word.0.is_empty() {
            return self.fail(format!("a value was expected, not {}", self.describe_next()));
        }
        self.refuse_foreign_word(start, &word, true)?;
        self.condition(start, field, word.value())
    }

    /// Parses the value after the colon of a field.
    fn value_of(&mut self, start: usize, field: &LogField) -> Result<LogExpression, LogQueryError> {
        self.skip_blanks();
        match self.peek() {
            None | Some(')') => {
                let name = self.text[start..self.at].trim_end();
                self.fail(format!(
                    "a value was expected after `{name}`; put the text in double quotes to look \
                     for it as it is"
                ))
            }
            Some('(') => self.parenthesised(Some(field)),
            Some('!') if !self.rest().starts_with("!=") && !self.rest().starts_with("!~") => {
                self.at += 1;
                let value = self.value(field)?;
                Ok(LogExpression::Not(Box::new(value)))
            }
            Some(_) => self.value(field),
        }
    }

    /// Consumes the colon after the name of a field. The colon of `http://` does not end a name.
    fn field_follows(&mut self) -> bool {
        let before = self.at;
        self.skip_blanks();
        let is_field = self.rest().starts_with(':') && !self.rest().starts_with("://");
        self.at = if is_field { self.at + 1 } else { before };
        is_field
    }

    /// Parses characters up to white space, a parenthesis or a quote. A field name also ends at a
    /// colon or a comparison.
    pub(super) fn word(&mut self, may_be_name: bool) -> Result<Word, LogQueryError> {
        let mut word = Word::default();
        while let Some(next) = self.peek() {
            let ends_in_pipe = self.is_in_pipe && matches!(next, ',' | '|');
            if next.is_whitespace() || ends_in_pipe || matches!(next, '(' | ')' | '"') {
                break;
            }
            if may_be_name && word.is_name() && self.ends_name(&word) {
                break;
            }
            self.at += next.len_utf8();
            if next == '\\' {
                let Some(escaped) = self.peek() else {
                    return self.fail("a character was expected after `\\`, but the query ends");
                };
                self.at += escaped.len_utf8();
                word.0.push((escaped, true));
            } else {
                word.0.push((next, false));
            }
        }
        Ok(word)
    }

    /// Returns true if the word is a name and a field's syntax follows.
    fn ends_name(&self, word: &Word) -> bool {
        let rest = self.rest();
        if rest.starts_with(':') {
            return !rest.starts_with("://");
        }
        rest.starts_with(['=', '!', '<', '>'])
            && (self.comparison_at(self.at, &LogField::of_name(&word.text())).is_some()
                || self.equality_after(word, self.at).is_some())
    }

    /// Consumes a comparison if one follows.
    pub(super) fn comparison(&mut self, field: &LogField) -> Option<ComparisonSign> {
        let (comparison, end) = self.comparison_at(self.at, field)?;
        self.at = end;
        Some(comparison)
    }

    /// Returns the comparison after `at` and its end. `a > b` is a text. A comparison has a quoted
    /// text, a severity or, with an order, a number. `equality` reads `a=b`.
    fn comparison_at(&self, at: usize, field: &LogField) -> Option<(ComparisonSign, usize)> {
        let blanks = |text: &str| text.len() - text.trim_start().len();
        let start = at + blanks(&self.text[at..]);
        let rest = &self.text[start..];
        let (sign, comparison) = COMPARISONS.iter().find(|(sign, _)| rest.starts_with(sign))?;
        let after = &rest[sign.len()..];
        let value = after.trim_start();
        let is_quoted = value.starts_with(['"', '`']);
        let is_ordered =
            !matches!(comparison, ComparisonSign::Equal { .. } | ComparisonSign::Pattern { .. });
        let is_number = value.starts_with(|c: char| c.is_ascii_digit())
            || value.starts_with('-') && value[1..].starts_with(|c: char| c.is_ascii_digit());
        let is_value = is_quoted || is_ordered && (is_number || *field == LogField::Severity);
        let end = start + sign.len() + blanks(after);
        (is_value && !value.is_empty()).then_some((*comparison, end))
    }

    /// Returns true if the name of a field and a comparison follow.
    pub(super) fn is_comparison(&self) -> bool {
        let rest = self.rest();
        let end = rest.find(|c: char| c.is_whitespace() || "=!<>\"()".contains(c));
        let end = end.unwrap_or(rest.len());
        let is_name = rest.starts_with(|c: char| c.is_alphabetic() || "_@".contains(c));
        is_name && self.comparison_at(self.at + end, &LogField::of_name(&rest[..end])).is_some()
    }

    /// Parses the value after a comparison.
    pub(super) fn compared(
        &mut self,
        start: usize,
        field: &LogField,
        comparison: ComparisonSign,
    ) -> Result<LogExpression, LogQueryError> {
        self.skip_blanks();
        let at = self.at;
        let is_quoted = matches!(self.peek(), Some('"' | '`'));
        if !is_quoted && matches!(comparison, ComparisonSign::Pattern { .. }) {
            return self.fail("a regular expression in double quotes was expected");
        }
        let (text, is_prefix) = self.compared_text(is_quoted)?;
        let (value, negated) = match comparison {
            ComparisonSign::Equal { negated } => match (is_prefix, text.is_empty()) {
                (false, true) => return self.empty(start, field, negated),
                (false, false) => (TermValue::Whole(text), negated),
                (true, false) => (TermValue::WholePrefix(text), negated),
                (true, true) => (TermValue::Anything, negated),
            },
            _ if is_prefix => {
                return self
                    .fail_at(at, "`*` follows a text that is equal, or stands after a colon");
            }
            ComparisonSign::Pattern { negated } => {
                (TermValue::Pattern(self.pattern(at, &text)?), negated)
            }
            ComparisonSign::AtLeast => {
                (TermValue::Range(Bound::Included(text), Bound::Unbounded), false)
            }
            ComparisonSign::AtMost => {
                (TermValue::Range(Bound::Unbounded, Bound::Included(text)), false)
            }
            ComparisonSign::Above => {
                (TermValue::Range(Bound::Excluded(text), Bound::Unbounded), false)
            }
            ComparisonSign::Below => {
                (TermValue::Range(Bound::Unbounded, Bound::Excluded(text)), false)
            }
        };
        let condition = self.condition(start, field, value)?;
        Ok(if negated { LogExpression::Not(Box::new(condition)) } else { condition })
    }

    /// Returns the condition of a comparison with an empty text: the field is absent or empty. Loki
    /// and `LogsQL` do not tell these apart.
    fn empty(
        &mut self,
        start: usize,
        field: &LogField,
        negated: bool,
    ) -> Result<LogExpression, LogQueryError> {
        let is_there = self.condition(start, field, TermValue::Anything)?;
        let is_absent = LogExpression::Not(Box::new(is_there));
        // Ids and severities are never empty.
        let is_empty = field.condition(TermValue::Whole(String::new())).ok();
        let condition =
            one_or([is_absent].into_iter().chain(is_empty).collect(), LogExpression::Any);
        Ok(if negated { LogExpression::Not(Box::new(condition)) } else { condition })
    }

    /// Parses a compared text, with true for a `*` at its end.
    fn compared_text(&mut self, is_quoted: bool) -> Result<(String, bool), LogQueryError> {
        if is_quoted {
            return Ok((self.quoted()?, self.eat("*")));
        }
        let mut word = self.word(false)?;
        let is_prefix = word.0.pop_if(|glyph| Word::is_wildcard(glyph)).is_some();
        match word.0.is_empty() && !is_prefix {
            true => self.fail(format!("a value was expected, not {}", self.describe_next())),
            false => Ok((word.text(), is_prefix)),
        }
    }

    /// Parses a range: `[a TO b]`, `{a TO b}`. `*` is an open end, and a brace excludes its end.
    fn range(&mut self, field: &LogField) -> Result<LogExpression, LogQueryError> {
        let start = self.at;
        let low_included = self.peek() == Some('[');
        self.at += 1;
        let low = bound(self.end_of_range("")?, low_included);
        self.skip_blanks();
        let after = self.rest().get(2..).unwrap_or_default();
        let is_to = self.rest().get(..2).is_some_and(|word| word.eq_ignore_ascii_case("to"));
        let ends = |c: char| c.is_whitespace() || "[]{}\"`".contains(c);
        if !is_to || !(after.is_empty() || after.starts_with(ends)) {
            return self.fail_range(start, "`TO`");
        }
        self.at += 2;
        let high = self.end_of_range("")?;
        self.skip_blanks();
        let high = match self.peek() {
            Some(']') => bound(high, true),
            Some('}') => bound(high, false),
            _ => return self.fail_range(start, "`]` or `}`"),
        };
        self.at += 1;
        self.condition(start, field, TermValue::Range(low, high))
    }

    /// Fails in a range that begins at `start`. A colon or a comma is JSON's.
    fn fail_range<T>(&self, start: usize, expected: &str) -> Result<T, LogQueryError> {
        if self.rest().starts_with([':', ',']) {
            return self.fail_at(
                start,
                "a bracket begins a range as `[10 TO 20]`; put JSON in backticks to look for it",
            );
        }
        let next = self.describe_next();
        self.fail(format!("{expected} was expected, not {next}; a range is `[10 TO 20]`"))
    }

    /// Parses an end of a range, which also ends at one of `signs`; `None` for `*`.
    pub(super) fn end_of_range(&mut self, signs: &str) -> Result<Option<String>, LogQueryError> {
        self.skip_blanks();
        if matches!(self.peek(), Some('"' | '`')) {
            return self.quoted().map(Some);
        }
        let text = self.text_until(&["[]{}()\"", signs].concat());
        if text.is_empty() {
            let next = self.describe_next();
            let message =
                format!("an end of the range was expected, not {next}; a range is `[10 TO 20]`");
            return self.fail(message);
        }
        Ok((text != "*").then(|| text.to_owned()))
    }

    /// Parses a text in double quotes, where `\"` and `\\` are escapes, or in backticks, which have
    /// no escapes.
    pub(super) fn quoted(&mut self) -> Result<String, LogQueryError> {
        let start = self.at;
        let raw = self.peek() == Some('`');
        self.at += 1;
        let mut text = String::new();
        while let Some(next) = self.peek() {
            self.at += next.len_utf8();
            match next {
                '`' if raw => return Ok(text),
                '"' if !raw => return Ok(text),
                '\\' if !raw && self.rest().starts_with(['"', '\\']) => {
                    text.extend(self.peek());
                    self.at += 1;
                }
                other => text.push(other),
            }
        }
        self.fail_at(start, "this text does not end: the closing quote is missing")
    }

    /// Parses the suffix directly after a quoted text.
    fn after_quoted(&mut self, text: String) -> Result<TermValue, LogQueryError> {
        if text.is_empty() {
            return self.fail("there is nothing between the quotes");
        }
        if self.eat("*") {
            return Ok(TermValue::Prefix(text));
        }
        if self.rest().starts_with('~') {
            return self.fail("`~` follows a word; a phrase in quotes is looked for as it is");
        }
        self.refuse_boost_here()?;
        Ok(TermValue::Text(text))
    }

    /// Parses `/…/` when nothing, white space or a parenthesis follows. `/api/cart` is a text.
    fn slashed(&mut self) -> Result<Option<TextPattern>, LogQueryError> {
        let Some(body) = self.rest().strip_prefix('/') else { return Ok(None) };
        let mut is_escaped = false;
        let end = body.find(|c: char| {
            let is_end = c == '/' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            is_end
        });
        let Some(end) = end.filter(|end| *end > 0) else { return Ok(None) };
        let after = body[end + 1..].chars().next();
        if !after.is_none_or(|c| c.is_whitespace() || matches!(c, '(' | ')')) {
            return Ok(None);
        }
        let pattern = self.pattern(self.at, &body[..end].replace("\\/", "/"))?;
        self.at += end + 2;
        Ok(Some(pattern))
    }

    /// Compiles a pattern whose slash or quote is at `at`.
    fn pattern(&mut self, at: usize, text: &str) -> Result<TextPattern, LogQueryError> {
        match self.patterns.compile_unanchored(text) {
            Ok(pattern) => {
                let literals = texts_within(pattern.regex.as_str()).unwrap_or_default();
                Ok(TextPattern::new(pattern.regex, literals))
            }
            Err(error) => {
                // Escapes before the fault move it: then the error is at the slash or the quote.
                let is_verbatim = self.text[at + 1..].starts_with(text);
                let fault = fault_offset(&error, text).filter(|_| is_verbatim);
                let at = fault.map_or(at, |offset| at + 1 + offset);
                self.fail_at(at, format!("this is not a regular expression: {error}"))
            }
        }
    }

    /// Parses Loki's line filters: `|= "text"`, `!= "text"`, `|~ "pattern"`, `!~ "pattern"`.
    fn line_filter(&mut self) -> Result<Option<LogExpression>, LogQueryError> {
        const SIGNS: [(&str, bool, bool); 4] =
            [("|=", false, false), ("!=", false, true), ("|~", true, false), ("!~", true, true)];
        let start = self.at;
        let known = SIGNS.iter().find(|(sign, ..)| self.rest().starts_with(sign));
        let Some((sign, is_pattern, negated)) = known else { return Ok(None) };
        if !self.rest()[sign.len()..].trim_start().starts_with(['"', '`']) {
            return Ok(None);
        }
        self.at += sign.len();
        self.skip_blanks();
        let at = self.at;
        let text = self.quoted()?;
        let value = match is_pattern {
            true => TermValue::Pattern(self.pattern(at, &text)?),
            false => TermValue::Contains(text),
        };
        let filter = self.condition(start, &LogField::Body, value)?;
        Ok(Some(if *negated { LogExpression::Not(Box::new(filter)) } else { filter }))
    }

    /// Parses Loki's stream selector: `{service_name="shop", env=~"prod|test"}`.
    pub(super) fn selector(&mut self) -> Result<Option<LogExpression>, LogQueryError> {
        let start = self.at;
        if !self.eat("{") {
            return Ok(None);
        }
        self.skip_blanks();
        if !self.is_comparison() {
            self.at = start;
            return Ok(None);
        }
        let mut parts = Vec::new();
        loop {
            self.skip_blanks();
            let start = self.at;
            if !self.is_comparison() {
                let next = self.describe_next();
                return self
                    .fail(format!("a comparison as `name=\"value\"` was expected, not {next}"));
            }
            let field = LogField::of_label(&self.word(true)?.text());
            let Some(comparison) = self.comparison(&field) else {
                return self.fail("a comparison was expected");
            };
            parts.push(self.compared(start, &field, comparison)?);
            self.skip_blanks();
            if self.eat("}") {
                self.has_selector = true;
                return Ok(Some(LogExpression::All(parts)));
            }
            if !self.eat(",") {
                let next = self.describe_next();
                return self.fail(format!("`,` or `}}` was expected, not {next}"));
            }
        }
    }
}

/// Returns an end of a range.
pub(super) fn bound(text: Option<String>, is_included: bool) -> Bound<String> {
    match text {
        None => Bound::Unbounded,
        Some(text) if is_included => Bound::Included(text),
        Some(text) => Bound::Excluded(text),
    }
}

/// Returns the byte of a pattern at which its fault is, if the engine read the pattern as written.
fn fault_offset(error: &PatternError, pattern: &str) -> Option<usize> {
    let PatternError::Syntax(error) = error else { return None };
    let (read, span) = match &**error {
        regex_syntax::Error::Parse(error) => (error.pattern(), error.span()),
        regex_syntax::Error::Translate(error) => (error.pattern(), error.span()),
        _ => return None,
    };
    (read == pattern).then_some(span.start.offset)
}
