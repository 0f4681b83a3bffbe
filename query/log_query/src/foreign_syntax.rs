//! Syntax of Lucene, `LogsQL` and `LogQL` that would otherwise be words.
//!
//! Parses the short forms with an equivalent here: `_exists_:name`, `_stream:{…}`,
//! `field:in(…)` and `field:range(…)`. Refuses the others, and names what to write instead.

use tidings_storage::LogExpression;

use super::{
    LogQueryError,
    fields::{LogField, TermValue},
    parser::{LogQueryParser, one_or},
    term_syntax::{Word, bound},
};

/// Functions of `LogsQL` and `LogQL`, with the form to write instead.
const FUNCTIONS: [(&[&str], &str); 11] = [
    (&["i"], "words and phrases ignore letter case: write the text alone"),
    (&["seq"], "write a regular expression as `/first.*second/`"),
    (&["re"], "write a regular expression as `/pattern/`"),
    (&["exact", "equals_common_case"], "write `field:=\"value\"`"),
    (&["contains_all"], "write `(one AND other)`"),
    (&["contains_any", "contains_common_case"], "write `(one OR other)`"),
    (&["ipv4_range", "ipv6_range"], "write a part of the address as `10.0.*`"),
    (&["string_range"], "write a range as `field:[a TO b}`"),
    (&["len_range"], "write a regular expression as `/^.{5,10}$/`"),
    (&["eq_field", "le_field", "lt_field"], "a field is compared with a value only"),
    (AGGREGATIONS, "`/api/v1/logs/stats` groups and counts the records of a query"),
];

/// Functions of metric queries.
const AGGREGATIONS: &[&str] = &[
    "absent_over_time",
    "approx_topk",
    "avg",
    "avg_over_time",
    "bottomk",
    "bytes_over_time",
    "bytes_rate",
    "count",
    "count_over_time",
    "first_over_time",
    "last_over_time",
    "max",
    "max_over_time",
    "min",
    "min_over_time",
    "quantile_over_time",
    "rate",
    "rate_counter",
    "stddev",
    "stddev_over_time",
    "stdvar",
    "stdvar_over_time",
    "sum",
    "sum_over_time",
    "topk",
];

/// Names of the time of a record in `LogsQL` and in Elasticsearch.
const TIME_FIELDS: [&str; 2] = ["_time", "@timestamp"];

impl LogQueryParser<'_> {
    /// Parses the field after Lucene's `_exists_:`.
    pub(super) fn existence(&mut self, start: usize) -> Result<LogExpression, LogQueryError> {
        self.skip_blanks();
        let name = match self.peek() {
            Some('"' | '`') => self.quoted()?,
            _ => self.word(false)?.text(),
        };
        if name.is_empty() {
            let next = self.describe_next();
            return self.fail(format!("the name of a field was expected, not {next}"));
        }
        self.condition(start, &LogField::of_name(&name), TermValue::Anything)
    }

    /// Parses the selector after `_stream:`.
    pub(super) fn stream(&mut self) -> Result<LogExpression, LogQueryError> {
        self.skip_blanks();
        if let Some(selector) = self.selector()? {
            return Ok(selector);
        }
        let next = self.describe_next();
        self.fail(format!("a selector as `{{service_name=\"shop\"}}` was expected, not {next}"))
    }

    /// Parses `in(a, "b c")` or `range(1, 2]` as the value of a field.
    pub(super) fn value_function(
        &mut self,
        field: &LogField,
    ) -> Result<Option<LogExpression>, LogQueryError> {
        let start = self.at;
        if self.eat("in(") {
            return self.list(field).map(Some);
        }
        let is_range = self.eat("range(") || self.eat("range[");
        if !is_range {
            return Ok(None);
        }
        let low_included = self.text[..self.at].ends_with('[');
        let low = bound(self.end_of_numbers(&["-inf"])?, low_included);
        self.skip_blanks();
        if !self.eat(",") {
            let next = self.describe_next();
            return self.fail(format!("`,` was expected, not {next}; a range is `range(10, 20]`"));
        }
        let high = self.end_of_numbers(&["inf", "+inf"])?;
        self.skip_blanks();
        let high_included = self.peek() == Some(']');
        if !high_included && self.peek() != Some(')') {
            let next = self.describe_next();
            return self.fail(format!("`)` or `]` was expected, not {next}"));
        }
        self.at += 1;
        let range = TermValue::Range(low, bound(high, high_included));
        self.condition(start, field, range).map(Some)
    }

    /// Parses an end of a range of numbers; `None` for an infinite one, which has one of these
    /// forms.
    fn end_of_numbers(&mut self, infinite: &[&str]) -> Result<Option<String>, LogQueryError> {
        let is_infinite =
            |text: &String| infinite.iter().any(|form| text.eq_ignore_ascii_case(form));
        Ok(self.end_of_range(",")?.filter(|text| !is_infinite(text)))
    }

    /// Parses exact values with commas between them, up to the closing parenthesis.
    fn list(&mut self, field: &LogField) -> Result<LogExpression, LogQueryError> {
        let mut parts = Vec::new();
        loop {
            self.skip_blanks();
            let start = self.at;
            let is_quoted = matches!(self.peek(), Some('"' | '`'));
            let text = if is_quoted { self.quoted()? } else { self.text_until(",()\"").to_owned() };
            if text.is_empty() && !is_quoted {
                return self.fail(format!("a value was expected, not {}", self.describe_next()));
            }
            parts.push(self.condition(start, field, TermValue::Whole(text))?);
            self.skip_blanks();
            if self.eat(")") {
                return Ok(one_or(parts, LogExpression::Any));
            }
            if !self.eat(",") {
                let next = self.describe_next();
                return self.fail(format!("`,` or `)` was expected, not {next}"));
            }
        }
    }

    /// Refuses conditions on the time of a record, and a range as `[5m]` behind a selector.
    pub(super) fn refuse_time_and_range(&self) -> Result<(), LogQueryError> {
        for name in TIME_FIELDS {
            let after = self.rest().strip_prefix(name).map_or("", str::trim_start);
            if after.starts_with([':', '=', '<', '>']) || after.starts_with("!=") {
                self.refuse_time_field(self.at, name)?;
            }
        }
        if self.has_selector && is_range_of_time(self.rest()) {
            return self.fail(
                "a query has no range of time: `start` and `end` of the request choose it; put \
                 the brackets in double quotes to look for them",
            );
        }
        Ok(())
    }

    /// Refuses a field that is the time of a record.
    pub(super) fn refuse_time_field(&self, start: usize, name: &str) -> Result<(), LogQueryError> {
        if !TIME_FIELDS.contains(&name) {
            return Ok(());
        }
        self.fail_at(
            start,
            format!(
                "`{name}` is no field: `start` and `end` of the request choose the time; an \
                 attribute of this name is `attribute.{name}`"
            ),
        )
    }

    /// Refuses a word that is a function or has a boost. `is_value` is true after the colon of a
    /// field.
    pub(super) fn refuse_foreign_word(
        &self,
        start: usize,
        word: &Word,
        is_value: bool,
    ) -> Result<(), LogQueryError> {
        self.refuse_function(start, &word.text(), is_value)?;
        self.refuse_suffix(word)
    }

    /// Refuses a function: its name was written at `start`, and a parenthesis follows. Texts of
    /// messages have such names, too, as `count(*)`. So it is one only as the value of a field, or
    /// with a quote or a selector as its first argument.
    fn refuse_function(
        &self,
        start: usize,
        text: &str,
        is_value: bool,
    ) -> Result<(), LogQueryError> {
        let argument = self.rest().strip_prefix('(').map(str::trim_start);
        let is_argument = |argument: &str| is_value || argument.starts_with(['"', '`', '{']);
        let is_called = argument.is_some_and(is_argument) && self.text[start..self.at] == *text;
        let known = FUNCTIONS.iter().find(|(names, _)| names.contains(&text));
        let Some((_, instead)) = known.filter(|_| is_called) else { return Ok(()) };
        self.fail_at(
            start,
            format!(
                "`{text}(` is a function of another language: {instead}; put the text in double \
                 quotes to look for it"
            ),
        )
    }

    /// Refuses a word that ends with a boost or a similarity: `word^2`, `word~0.8`.
    fn refuse_suffix(&self, word: &Word) -> Result<(), LogQueryError> {
        let Some(sign_at) = word.0.iter().rposition(|glyph| matches!(glyph, ('^' | '~', false)))
        else {
            return Ok(());
        };
        let (before, suffix) = word.0.split_at(sign_at);
        // Others are texts, as `10^6` and the version `pkg~1.2.3`.
        let is_word = before.iter().all(|(c, _)| c.is_alphabetic());
        let number: String = suffix[1..].iter().map(|(c, _)| *c).collect();
        let is_number = number.starts_with(|c: char| c.is_ascii_digit())
            && suffix[1..].iter().all(|(_, is_escaped)| !is_escaped)
            && number.parse::<f64>().is_ok();
        if before.is_empty() || !is_word || !is_number {
            return Ok(());
        }
        // The suffix is ASCII without escapes.
        let at = self.at - suffix.len();
        match suffix[0].0 {
            '^' => self.refuse_boost(at),
            _ if number.starts_with("0.") || number == "1.0" => self.fail_at(
                at,
                "`~` takes a number of edits, 1 or 2, and no similarity: write `word~1`; put the \
                 text in double quotes to look for it",
            ),
            _ => Ok(()),
        }
    }

    /// Refuses a boost directly after a quote or a parenthesis.
    pub(super) fn refuse_boost_here(&self) -> Result<(), LogQueryError> {
        let number = self.rest().strip_prefix('^').unwrap_or_default();
        match number.starts_with(|c: char| c.is_ascii_digit()) {
            true => self.refuse_boost(self.at),
            false => Ok(()),
        }
    }

    fn refuse_boost(&self, at: usize) -> Result<(), LogQueryError> {
        self.fail_at(
            at,
            "a term has no boost, because records are sorted by time: leave `^` and the number \
             out, or put the text in double quotes to look for it",
        )
    }
}

/// Returns true if the text begins with a range of `LogQL`: `[5m]`, `[1h30m:1m]`, `[$__range]`.
fn is_range_of_time(text: &str) -> bool {
    let inside = text.strip_prefix('[').and_then(|text| text.split_once(']'));
    let Some((inside, _)) = inside else { return false };
    let has_unit = inside.ends_with(|c: char| "smhdwy".contains(c));
    let is_duration = inside.starts_with(|c: char| c.is_ascii_digit())
        && has_unit
        && inside.chars().all(|c| c.is_ascii_alphanumeric() || ".:".contains(c));
    is_duration || inside.starts_with("$__")
}
