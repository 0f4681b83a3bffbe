//! `name=value` and `name!=value` without quotes, and the comparisons after Loki's pipes.
//!
//! Bodies in the form of logfmt have `name=value` as text, so `=` finds the field or the text. In a
//! pipe it is about the field only. Owns the signs before an unquoted value; `term_syntax` reads
//! comparisons with a quoted text or a number.

use tidings_storage::LogExpression;

use super::{
    LogQueryError,
    fields::{LogField, TermValue},
    parser::{LogQueryParser, one_or},
    term_syntax::Word,
};

/// Parsers of JSON in pipes of Loki and of VictoriaLogs.
const JSON_PARSERS: [&str; 2] = ["json", "unpack_json"];

/// Sign of an equality before a value without quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnquotedEquality {
    sign: &'static str,
    /// Index of the first byte of the value.
    value_at: usize,
    /// True when the sign has white space on both sides or on none.
    is_balanced: bool,
}

impl UnquotedEquality {
    /// Returns the condition, negated for `!=`.
    fn apply(self, condition: LogExpression) -> LogExpression {
        match self.sign {
            "!=" => LogExpression::Not(Box::new(condition)),
            _ => condition,
        }
    }
}

impl LogQueryParser<'_> {
    /// Returns the equality at `at`, after `name`. `a=>b`, `a= b` and `http://a/?b=c` are texts.
    pub(super) fn equality_after(&self, name: &Word, at: usize) -> Option<UnquotedEquality> {
        let is_plain = |(c, is_escaped): &(char, bool)| {
            *is_escaped || c.is_alphanumeric() || "_.-@/".contains(*c)
        };
        let equality = self.equality_at(at)?;
        (equality.is_balanced && name.0.iter().all(is_plain)).then_some(equality)
    }

    fn equality_at(&self, at: usize) -> Option<UnquotedEquality> {
        const SIGNS: [&str; 3] = ["==", "!=", "="];
        let rest = &self.text[at..];
        let from_sign = rest.trim_start();
        let sign = SIGNS.into_iter().find(|sign| from_sign.starts_with(sign))?;
        let after = &from_sign[sign.len()..];
        let value = after.trim_start();
        let is_balanced = (from_sign.len() < rest.len()) == (value.len() < after.len());
        let is_value =
            value.starts_with(|c: char| c.is_alphanumeric() || "_-+./*@#$%\\".contains(c));
        let value_at = self.text.len() - value.len();
        is_value.then_some(UnquotedEquality { sign, value_at, is_balanced })
    }

    /// Parses the value of an equality. `=` is about the field or the text as typed, `!=` about the
    /// field.
    pub(super) fn equal_or_text(
        &mut self,
        start: usize,
        name: Word,
        equality: UnquotedEquality,
    ) -> Result<LogExpression, LogQueryError> {
        let field = LogField::of_name(&name.text());
        self.at = equality.value_at;
        let value = self.word(false)?;
        let has_wildcard = value.0.iter().any(Word::is_wildcard);
        let mut typed = name;
        typed.0.extend(equality.sign.chars().map(|c| (c, false)));
        typed.0.extend(&value.0);
        let (value, typed) = if has_wildcard {
            (value.value(), typed.value())
        } else {
            // In `user=7, order=8` the comma is no part of the value.
            let mut value = value;
            while matches!(value.0.last(), Some((',' | ';', false))) {
                value.0.pop();
            }
            (TermValue::Whole(value.text()), TermValue::Text(typed.text()))
        };
        self.count_terms(start, field.keys_count())?;
        let equals = field.condition(value);
        if equality.sign == "!=" {
            let equals = equals.or_else(|message| {
                let term = &self.text[start..self.at];
                let hint = format!("{message}; put `{term}` in double quotes to look for the text");
                self.fail_at(start, hint)
            })?;
            return Ok(equality.apply(equals));
        }
        let text = LogField::Body.condition(typed).or_else(|why| self.fail_at(start, why))?;
        // A value that the field cannot have, as in `level=loud`, is text only.
        Ok(one_or(equals.into_iter().chain([text]).collect(), LogExpression::Any))
    }

    /// Parses a pipe of Loki with comparisons: `{app="shop"} | level="error", status!=500`. A parser
    /// of JSON is no condition: fields of JSON are read without it.
    pub(super) fn pipe(&mut self) -> Result<Option<LogExpression>, LogQueryError> {
        let start = self.at;
        if self.rest().starts_with("|=") || self.rest().starts_with("|~") || !self.eat("|") {
            return Ok(None);
        }
        self.skip_blanks();
        if self.json_parser() {
            return Ok(Some(LogExpression::All(Vec::new())));
        }
        let mut parts = Vec::new();
        loop {
            self.skip_blanks();
            let Some(part) = self.piped_comparison()? else {
                return self.fail_at(
                    start,
                    "a query has no pipes: after `|` only `json` or a comparison as `level=\"error\"` \
                     is understood; put `|` in double quotes to look for it",
                );
            };
            parts.push(part);
            self.skip_blanks();
            if !self.eat(",") {
                return Ok(Some(one_or(parts, LogExpression::All)));
            }
        }
    }

    /// Consumes the name of a parser of JSON, if a pipe or the end follows.
    fn json_parser(&mut self) -> bool {
        let rest = self.rest();
        let after = JSON_PARSERS.iter().find_map(|name| rest.strip_prefix(name));
        let Some(after) = after.map(str::trim_start) else { return false };
        let is_parser = after.is_empty() || after.starts_with(['|', '!', ')']);
        if is_parser {
            self.at = self.text.len() - after.len();
        }
        is_parser
    }

    /// Parses a comparison of a field only.
    fn piped_comparison(&mut self) -> Result<Option<LogExpression>, LogQueryError> {
        let start = self.at;
        let name = self.word(true)?;
        if !name.is_name() {
            return Ok(None);
        }
        let field = LogField::of_label(&name.text());
        if let Some(comparison) = self.comparison(&field) {
            self.is_in_pipe = true;
            let compared = self.compared(start, &field, comparison);
            self.is_in_pipe = false;
            return compared.map(Some);
        }
        let Some(equality) = self.equality_at(self.at) else { return Ok(None) };
        self.at = equality.value_at;
        let text = self.text_until("()|,\"").to_owned();
        let equals = self.condition(start, &field, TermValue::Whole(text))?;
        Ok(Some(equality.apply(equals)))
    }
}
