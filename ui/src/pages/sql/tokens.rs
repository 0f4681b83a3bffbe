//! The words of SQL: views, keywords and functions, the tokens of a text, and the completions at
//! the caret.

/// A view and the meaning of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ViewName {
    /// Its name after FROM.
    pub(super) name: &'static str,
    /// Meaning of a row.
    pub(super) row: &'static str,
    /// The relation that its columns are requested of.
    pub(super) source: &'static str,
}

/// The views. The server gives their columns.
pub(super) const VIEWS: [ViewName; 7] = [
    ViewName { name: "spans", row: "a span", source: "spans" },
    ViewName { name: "logs", row: "a log record", source: "logs" },
    ViewName { name: "traces", row: "a trace", source: "traces" },
    ViewName { name: "red", row: "rates, by minute", source: "red" },
    ViewName { name: "edges", row: "who calls whom", source: "edges" },
    ViewName {
        name: "tree",
        row: "the spans of one trace",
        source: "tree('00000000000000000000000000000001')",
    },
    ViewName { name: "matching_logs", row: "a match", source: "matching_logs('severity:*')" },
];

const KEYWORDS: [&str; 52] = [
    "ALL",
    "AND",
    "AS",
    "ASC",
    "AT",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "CROSS",
    "DESC",
    "DISTINCT",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "EXTRACT",
    "FALSE",
    "FILTER",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "ILIKE",
    "IN",
    "INNER",
    "INTERSECT",
    "INTERVAL",
    "IS",
    "JOIN",
    "LEFT",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "NULLS",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OVER",
    "PARTITION",
    "SELECT",
    "THEN",
    "TRUE",
    "UNION",
    "VALUES",
    "WHEN",
    "WHERE",
    "WITH",
    "WITHIN",
];

/// The functions that `docs/sql.md` lists.
pub(super) const FUNCTIONS: &str = "ascii btrim character_length chr concat concat_ws contains \
    ends_with initcap left lower ltrim octet_length regexp_extract regexp_like replace reverse \
    right rtrim split_part starts_with substr to_hex upper abs acos asin atan atan2 cbrt ceil cos \
    degrees exp floor isnan iszero ln log log10 log2 nanvl pi power radians round signum sin sqrt \
    tan trunc current_date date_bin date_part date_trunc from_unixtime make_date now to_date \
    to_timestamp to_timestamp_micros to_timestamp_millis to_timestamp_nanos to_timestamp_seconds \
    to_unixtime arrow_typeof coalesce greatest least nullif nvl nvl2 trace_id span_id \
    attribute_value any_value approx_distinct approx_median approx_percentile_cont avg bool_and \
    bool_or corr count covar_pop covar_samp first_value last_value max median min percentile_cont \
    stddev stddev_pop sum var var_pop cume_dist dense_rank lag lead nth_value ntile percent_rank \
    rank row_number";

/// Kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SqlTokenKind {
    /// Whitespace, symbols and unknown names.
    Plain,
    Keyword,
    Function,
    Text,
    Number,
    Comment,
}

impl SqlTokenKind {
    /// Returns the class that it is drawn in.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Keyword => "sql-keyword",
            Self::Function => "sql-function",
            Self::Text => "sql-text",
            Self::Number => "sql-number",
            Self::Comment => "sql-comment",
        }
    }
}

/// A token of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SqlToken<'a> {
    pub(super) kind: SqlTokenKind,
    pub(super) text: &'a str,
}

/// Returns the tokens of a text, in order and without a gap.
pub(super) fn tokens(text: &str) -> Vec<SqlToken<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (kind, length) = next(rest, first);
        let (token, after) = rest.split_at(length.max(first.len_utf8()).min(rest.len()));
        tokens.push(SqlToken { kind, text: token });
        rest = after;
    }
    tokens
}

fn next(rest: &str, first: char) -> (SqlTokenKind, usize) {
    let until = |end: fn(char) -> bool| rest.find(end).unwrap_or(rest.len());
    let closed = |quote: char| {
        let body = &rest[quote.len_utf8()..];
        body.find(quote).map_or(rest.len(), |end| end + 2 * quote.len_utf8())
    };
    match first {
        '\'' => (SqlTokenKind::Text, closed('\'')),
        '"' => (SqlTokenKind::Plain, closed('"')),
        '-' if rest.starts_with("--") => (SqlTokenKind::Comment, until(|c| c == '\n')),
        '/' if rest.starts_with("/*") => {
            (SqlTokenKind::Comment, rest.find("*/").map_or(rest.len(), |end| end + 2))
        }
        '0'..='9' => (SqlTokenKind::Number, until(|c| !(c.is_ascii_alphanumeric() || c == '.'))),
        _ if is_word(first) => {
            let length = until(|c| !is_word(c));
            let word = &rest[..length];
            let is_called = rest[length..].trim_start().starts_with('(');
            let kind = if KEYWORDS.iter().any(|known| known.eq_ignore_ascii_case(word)) {
                SqlTokenKind::Keyword
            } else if is_called {
                SqlTokenKind::Function
            } else {
                SqlTokenKind::Plain
            };
            (kind, length)
        }
        _ => (
            SqlTokenKind::Plain,
            until(|c| is_word(c) || c.is_ascii_digit() || "'\"-/".contains(c)),
        ),
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Text before the caret that asks for a completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CompletionContext {
    /// A name with this prefix.
    Name(String),
    /// An attribute key with this prefix, within `attributes['…`.
    Attribute(String),
}

impl CompletionContext {
    /// Returns the characters before the caret that a completion replaces.
    pub(super) fn typed(&self) -> &str {
        match self {
            Self::Name(begin) | Self::Attribute(begin) => begin,
        }
    }
}

/// Returns the completion context at the end of this text, or `None` within a literal or a comment.
pub(super) fn completion_context(before: &str) -> Option<CompletionContext> {
    let tokens = tokens(before);
    let last = tokens.last()?;
    match last.kind {
        SqlTokenKind::Comment | SqlTokenKind::Number => None,
        SqlTokenKind::Text => {
            let is_open = last.text.len() == 1 || !last.text.ends_with('\'');
            let head = &before[..before.len() - last.text.len()];
            let head = head.trim_end();
            let is_key = ["attributes[", "resource["].iter().any(|map| head.ends_with(map));
            (is_open && is_key).then(|| CompletionContext::Attribute(last.text[1..].to_owned()))
        }
        _ if last.text.chars().all(is_word) => Some(CompletionContext::Name(last.text.to_owned())),
        _ => None,
    }
}

/// A completion and its kind in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Completion {
    pub(super) text: String,
    pub(super) hint: String,
}

/// Returns completions of a name: columns first, then views, functions and keywords, at most
/// `most`.
pub(super) fn name_completions(
    begin: &str,
    columns: &[(String, String)],
    most: usize,
) -> Vec<Completion> {
    let lower = begin.to_lowercase();
    let fits = |name: &str| name.to_lowercase().starts_with(&lower) && name != begin;
    let mut found: Vec<Completion> = Vec::new();
    let mut add = |text: String, hint: &str| {
        if fits(&text) && !found.iter().any(|known| known.text == text) {
            found.push(Completion { text, hint: hint.to_owned() });
        }
    };
    for (name, hint) in columns {
        add(name.clone(), hint);
    }
    for view in VIEWS {
        add(view.name.to_owned(), view.row);
    }
    for function in FUNCTIONS.split_whitespace() {
        add(format!("{function}("), "function");
    }
    for keyword in KEYWORDS {
        add(keyword.to_owned(), "");
    }
    found.truncate(most);
    found
}

/// Returns line and column in the words of a problem: `… (line 3, column 2)`, both from 1.
pub(super) fn error_position(detail: &str) -> Option<(usize, usize)> {
    let (_, place) = detail.rsplit_once("(line ")?;
    let (line, column) = place.split_once(", column ")?;
    let column = column.trim_end_matches(|c: char| !c.is_ascii_digit());
    Some((line.parse().ok()?, column.parse().ok()?))
        .filter(|(line, column)| *line > 0 && *column > 0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::{
        CompletionContext, FUNCTIONS, SqlTokenKind, VIEWS, completion_context, error_position,
        name_completions, tokens,
    };

    #[test]
    fn words_texts_and_comments_are_distinguished() {
        let text = "SELECT count(*), 'it''s' FROM spans -- all\nWHERE x >= 1e6";
        let of = |kind: SqlTokenKind| -> Vec<&str> {
            tokens(text)
                .into_iter()
                .filter(|token| token.kind == kind)
                .map(|token| token.text)
                .collect()
        };
        assert_eq!(of(SqlTokenKind::Keyword), ["SELECT", "FROM", "WHERE"]);
        assert_eq!(of(SqlTokenKind::Function), ["count"]);
        assert_eq!(of(SqlTokenKind::Text).concat(), "'it''s'");
        assert_eq!(of(SqlTokenKind::Number), ["1e6"]);
        assert_eq!(of(SqlTokenKind::Comment), ["-- all"]);
    }

    proptest! {
        #[test]
        fn tokens_leave_nothing_out(text in "\\PC{0,60}|[-'\"/*a0( \n]{0,60}") {
            let whole: String = tokens(&text).iter().map(|token| token.text).collect();
            prop_assert_eq!(whole, text);
        }
    }

    #[test]
    fn the_caret_wants_a_name_or_a_key() {
        let name = |text: &str| Some(CompletionContext::Name(text.to_owned()));
        let key = |text: &str| Some(CompletionContext::Attribute(text.to_owned()));
        let cases = [
            ("SELECT dur", name("dur")),
            ("SELECT attributes['http.r", key("http.r")),
            ("SELECT resource['", key("")),
            ("SELECT service = 'pay", None),
            ("SELECT attributes['a'", None),
            ("SELECT 1", None),
            ("-- comm", None),
            ("SELECT ", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(completion_context(text), expected, "{text}");
        }
    }

    #[test]
    fn columns_come_before_functions_and_keywords() {
        let columns = [("service".to_owned(), "text".to_owned())];
        let texts = |begin: &str| -> Vec<String> {
            name_completions(begin, &columns, 4).into_iter().map(|found| found.text).collect()
        };
        assert_eq!(texts("SE"), ["service", "SELECT"]);
        assert_eq!(texts("sp"), ["spans", "split_part(", "span_id("]);
        assert!(texts("service").is_empty());
    }

    #[test]
    fn functions_and_views_are_those_of_the_documentation() {
        let documentation = include_str!("../../../../docs/sql.md");
        let listed: BTreeSet<&str> = documentation
            .lines()
            .filter(|line| line.starts_with("- Of a "))
            .flat_map(|line| line.split('`').skip(1).step_by(2))
            .flat_map(str::split_whitespace)
            .filter(|word| {
                word.len() > 1
                    && word
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            })
            .collect();
        let known: BTreeSet<&str> = FUNCTIONS.split_whitespace().collect();
        assert_eq!(known, listed);
        for view in VIEWS {
            let named = [format!("**`{}`**", view.name), format!("**`{}(", view.name)];
            assert!(named.iter().any(|name| documentation.contains(name)), "{}", view.name);
        }
    }

    #[test]
    fn the_place_of_a_mistake_is_read_from_its_words() {
        assert_eq!(
            error_position("there is no column `a (line 9)` (line 3, column 2)"),
            Some((3, 2))
        );
        for wrong in ["", "the query ends", "(line 0, column 2)", "(line x, column 2)"] {
            assert_eq!(error_position(wrong), None, "{wrong}");
        }
    }
}
