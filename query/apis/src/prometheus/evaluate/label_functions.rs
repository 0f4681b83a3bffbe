//! `label_replace` and `label_join`.
//!
//! The length of a value is checked before the value is built, so one that is too long takes no
//! memory. Owns the references in a replacement: `$1`, `${name}` and `$$`, as the `regex` crate
//! expands them.

use regex::{Captures, Regex};
use tidings_promql::{Expression, labels::Labels};
use tidings_query::QueryError;

use super::{Evaluator, SeriesSample, check_distinct, label_budget::check_value_length};
use crate::prometheus::PromqlError;

/// Maximum number of groups in a pattern of `label_replace`. To find groups in a long value, the
/// engine holds the position of each group for each state of the pattern: with 5,000 groups, 1.5
/// GB.
const GROUPS_MAX: usize = 16;

/// Evaluates `label_replace(vector, to, replacement, from, pattern)`.
pub(super) fn replaced(
    evaluator: &Evaluator<'_>,
    given: &[Expression],
    time: i64,
) -> Result<Vec<SeriesSample>, PromqlError> {
    let text = |place: usize| evaluator.text(&given[place], time);
    let (to, replacement, from, pattern) = (text(1)?, text(2)?, text(3)?, text(4)?);
    let label = TargetLabel::new(evaluator, "label_replace", to)?;
    let pattern = evaluator.pattern(&pattern).ok_or_else(|| {
        PromqlError::Execution(format!("invalid regular expression in label_replace(): {pattern}"))
    })?;
    if pattern.captures_len() > 1 + GROUPS_MAX {
        let reason = format!("a pattern of label_replace() has at most {GROUPS_MAX} groups");
        return Err(QueryError::parameter("query", reason).into());
    }
    let parts = parts(&replacement, &pattern);
    let mut samples = evaluator.vector(&given[0], time)?;
    for sample in &mut samples {
        evaluator.check()?;
        let Some(groups) = pattern.captures(sample.labels.get(&from)) else { continue };
        let texts = parts.iter().map(|part| part.text(&groups));
        sample.labels = label.set(&sample.labels, texts)?;
    }
    check_distinct(samples)
}

/// Evaluates `label_join(vector, to, separator, from, …)`.
pub(super) fn joined(
    evaluator: &Evaluator<'_>,
    given: &[Expression],
    time: i64,
) -> Result<Vec<SeriesSample>, PromqlError> {
    let text = |place: usize| evaluator.text(&given[place], time);
    let (to, separator) = (text(1)?, text(2)?);
    let label = TargetLabel::new(evaluator, "label_join", to)?;
    let from: Vec<String> = (3..given.len()).map(text).collect::<Result<_, _>>()?;
    let mut samples = evaluator.vector(&given[0], time)?;
    for sample in &mut samples {
        evaluator.check()?;
        let labels = &sample.labels;
        let texts = from.iter().enumerate().flat_map(|(place, name)| {
            let before = if place == 0 { "" } else { separator.as_str() };
            [before, labels.get(name)]
        });
        sample.labels = label.set(labels, texts)?;
    }
    check_distinct(samples)
}

/// The label that a function sets.
struct TargetLabel<'e> {
    evaluator: &'e Evaluator<'e>,
    function: &'static str,
    name: String,
}

impl<'e> TargetLabel<'e> {
    fn new(
        evaluator: &'e Evaluator<'e>,
        function: &'static str,
        name: String,
    ) -> Result<Self, PromqlError> {
        let mut characters = name.chars();
        let begins = characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if begins && characters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Ok(Self { evaluator, function, name });
        }
        let message = "invalid destination label name in label function";
        Err(PromqlError::Execution(format!("{message}: {name}")))
    }

    /// Returns the labels with this label set to the concatenated texts.
    fn set<'v>(
        &self,
        labels: &Labels,
        texts: impl Iterator<Item = &'v str> + Clone,
    ) -> Result<Labels, PromqlError> {
        let bytes = texts.clone().fold(0_usize, |bytes, text| bytes.saturating_add(text.len()));
        check_value_length(self.function, bytes)?;
        self.evaluator.hold_label(labels, &self.name, bytes)?;
        let mut value = String::with_capacity(bytes);
        value.extend(texts);
        Ok(labels.with(&self.name, &value))
    }
}

/// A part of a replacement.
enum ReplacementPart<'r> {
    Text(&'r str),
    /// The text of the group with this number.
    Group(usize),
}

impl<'r> ReplacementPart<'r> {
    fn text(&self, groups: &Captures<'r>) -> &'r str {
        match self {
            Self::Text(text) => text,
            Self::Group(number) => groups.get(*number).map_or("", |group| group.as_str()),
        }
    }
}

/// Parses a replacement. References to groups that the pattern does not have are left out.
fn parts<'r>(replacement: &'r str, pattern: &Regex) -> Vec<ReplacementPart<'r>> {
    let (mut parts, mut rest) = (Vec::new(), replacement);
    while let Some((text, after)) = rest.split_once('$') {
        parts.push(ReplacementPart::Text(text));
        if let Some((name, more)) = reference(after) {
            parts.extend(group_number(name, pattern).map(ReplacementPart::Group));
            rest = more;
        } else {
            // `$$` stands for one `$`, and so does a `$` without a reference.
            parts.push(ReplacementPart::Text("$"));
            rest = after.strip_prefix('$').unwrap_or(after);
        }
    }
    parts.push(ReplacementPart::Text(rest));
    parts
}

/// Parses the name or number after a `$`. Returns it with the text after it.
fn reference(after: &str) -> Option<(&str, &str)> {
    if let Some(braced) = after.strip_prefix('{') {
        return braced.split_once('}');
    }
    let is_end = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let end = after.find(is_end).unwrap_or(after.len());
    (end > 0).then(|| after.split_at(end))
}

fn group_number(name: &str, pattern: &Regex) -> Option<usize> {
    let named = || pattern.capture_names().position(|known| known == Some(name));
    name.parse().ok().or_else(named)
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::parts;

    #[test]
    fn replacements_say_what_the_engine_expands() {
        let pattern = Regex::new("(?P<first>a+)(b+)(c)?").unwrap();
        let groups = pattern.captures("xaabbb").unwrap();
        for replacement in [
            "",
            "x",
            "$0",
            "$1-$2",
            "<$3>",
            "$4",
            "${1}0",
            "$10",
            "$1_",
            "$first",
            "${first}y",
            "$firsty",
            "$$1",
            "$$$1",
            "$1$$$2",
            "$",
            "a$",
            "$-",
            "$$",
            "${",
            "${2",
            "${}",
            "${ 1}",
            "${$1}",
            "é$1é",
            "$é1",
            "$18446744073709551616",
            "$1$1$2$2",
        ] {
            let mut expected = String::new();
            groups.expand(replacement, &mut expected);
            let parts = parts(replacement, &pattern);
            let found: String = parts.iter().map(|part| part.text(&groups)).collect();
            assert_eq!(found, expected, "{replacement}");
        }
    }
}
