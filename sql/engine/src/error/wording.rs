//! Rewrites the engine's messages for clients: without its kinds of errors, type names and
//! notation.
//!
//! A message that is not known here is passed on unchanged.

/// Prefixes of the engine's messages that name the kind of error.
const KINDS: [&str; 9] = [
    "Error during planning: ",
    "Schema error: ",
    "Execution error: ",
    "Internal error: ",
    "Cast error: ",
    "Parser error: ",
    "Compute error: ",
    "Invalid argument error: ",
    "Arithmetic overflow: ",
];

/// Type names of more than one word.
const LONG_TYPES: [(&str, &str); 9] = [
    (r#"Map("entries": non-null Struct("key": non-null Utf8, "value": Utf8), unsorted)"#, "map"),
    (r#"Timestamp(ns, "UTC")"#, "timestamp"),
    (r#"Timestamp(µs, "UTC")"#, "timestamp"),
    (r#"Timestamp(ms, "UTC")"#, "timestamp"),
    (r#"Timestamp(s, "UTC")"#, "timestamp"),
    ("Timestamp(ns)", "timestamp"),
    ("Timestamp(µs)", "timestamp"),
    ("Timestamp(ms)", "timestamp"),
    ("Timestamp(s)", "timestamp"),
];

const TYPES: [(&str, &str); 9] = [
    ("Utf8", "text"),
    ("LargeUtf8", "text"),
    ("Utf8View", "text"),
    ("Int64", "bigint"),
    ("UInt64", "bigint"),
    ("Int32", "integer"),
    ("Float64", "double"),
    ("Boolean", "boolean"),
    ("Date32", "date"),
];

/// Maximum characters of a message.
const CHARS_MAX: usize = 500;

/// Rewrites an engine message for the client.
pub(super) fn worded(message: &str) -> String {
    // The lines after the first are for developers of the engine.
    let line = bare(message.lines().next().unwrap_or_default());
    let said = rewritten(line).unwrap_or_else(|| {
        // Hints and syntax trees are for developers of the engine.
        let ends = [" { ", " Hint: "].iter().filter_map(|end| line.find(end));
        with_types(&line[..ends.min().unwrap_or(line.len())])
    });
    let said: String = said.trim_end_matches(['.', ' ']).chars().take(CHARS_MAX).collect();
    uncapped(&said)
}

/// Returns the first line, unchanged.
pub(super) fn first_line(reason: &str) -> String {
    reason.lines().next().unwrap_or_default().chars().take(CHARS_MAX).collect()
}

fn bare(mut words: &str) -> &str {
    while let Some(rest) = KINDS.iter().find_map(|kind| words.strip_prefix(kind)) {
        words = rest;
    }
    words
}

/// Rewrites frequent messages that are hard to read.
fn rewritten(line: &str) -> Option<String> {
    if let Some((_, reason)) = line.split_once("user-defined coercion failed with: ") {
        let (reason, _) = reason.split_once(". No function matches").unwrap_or((reason, ""));
        return Some(with_types(bare(reason)));
    }
    if let Some((name, reason)) = line.split_once("' failed to match any signature") {
        let name = name.strip_prefix("Function '")?;
        let (_, given) = reason.split_once("(DataType: ")?;
        let given = with_types(given.split_once(").").map_or(given, |(given, _)| given));
        return Some(format!("{name}() takes no {given}"));
    }
    if let Some((_, call)) =
        line.split_once("No function matches the given name and argument types '")
    {
        let (call, _) = call.split_once('\'')?;
        return Some(format!("there is no function {}", with_types(call)));
    }
    if line.starts_with("Column in SELECT must be in GROUP BY") {
        let column = line.split_once("column \"")?.1.split_once('"')?.0;
        return Some(format!("{column} must be in GROUP BY or in an aggregate function"));
    }
    if let Some(expr) = line.strip_prefix("Physical plan does not support logical expression ") {
        let reason = if expr.starts_with("Exists(") {
            "EXISTS is possible in WHERE only; in its place, compare (SELECT count(*) FROM …) with 0"
        } else if expr.starts_with("InSubquery(") {
            "IN with a query is possible in WHERE only; join the query in its place"
        } else {
            return None;
        };
        return Some(reason.to_owned());
    }
    if let Some(both) = line.strip_prefix("Projections require unique expression names but the ") {
        let (_, first) = both.split_once("expression \"")?;
        let (first, _) = first.split_once("\" at position ")?;
        let name = first.rsplit_once(" AS ").map_or(first, |(_, name)| name);
        let name = name.rsplit_once('.').map_or(name, |(_, name)| name);
        return Some(duplicate_column(&with_types(name)));
    }
    if line.starts_with("GetFieldAccess not supported") {
        let reason = "only attributes and resource have parts, which are named by a text, as in \
                      attributes['http.route']";
        return Some(reason.to_owned());
    }
    let parts = line.strip_prefix("could not parse compound identifier from [")?;
    let parts: Vec<&str> = parts.split('"').skip(1).step_by(2).collect();
    let (first, rest) = parts.split_first()?;
    let rest = rest.join(".");
    Some(format!("`{first}.{rest}` is no column; an attribute is named as in attributes['{rest}']"))
}

/// Returns the message for two columns with the same name.
pub(crate) fn duplicate_column(name: &str) -> String {
    format!("two columns are called `{name}`: give each a name of its own")
}

/// Replaces the engine's type names with those of the documentation, except in quoted text.
fn with_types(words: &str) -> String {
    let parts = words.split('\'').enumerate();
    let parts = parts.map(|(number, part)| match number % 2 {
        0 => {
            let part = LONG_TYPES
                .iter()
                .fold(part.to_owned(), |part, (theirs, ours)| part.replace(theirs, ours));
            replaced(&part)
        }
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("'")
}

fn replaced(part: &str) -> String {
    let is_end = |sign: char| !sign.is_ascii_alphanumeric();
    part.split_inclusive(is_end)
        .map(|word| {
            let (bare, end) = match word.char_indices().last().filter(|(_, sign)| is_end(*sign)) {
                Some((at, _)) => word.split_at(at),
                None => (word, ""),
            };
            let ours = TYPES.iter().find(|(theirs, _)| *theirs == bare).map(|(_, ours)| *ours);
            format!("{}{end}", ours.unwrap_or(bare))
        })
        .collect()
}

/// Returns the text without its initial capital, unless a name has it.
fn uncapped(words: &str) -> String {
    let first = words.split(|sign: char| !sign.is_alphanumeric()).next().unwrap_or_default();
    let mut signs = first.chars();
    let is_word = signs.next().is_some_and(char::is_uppercase)
        && first.chars().count() > 1
        && signs.all(char::is_lowercase);
    match is_word {
        true => first.to_lowercase() + &words[first.len()..],
        false => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::worded;

    #[test]
    fn messages_of_the_engine_are_rewritten() {
        for (theirs, ours) in [
            ("Error during planning: Plan is wrong.\nadvice", "plan is wrong"),
            ("DATE_BIN stride", "DATE_BIN stride"),
            ("LIMIT must be >= 0, '-1' was provided", "LIMIT must be >= 0, '-1' was provided"),
            ("Int64Array overflow", "Int64Array overflow"),
            (
                "Cannot coerce arithmetic expression Utf8 + Int64 to valid types",
                "cannot coerce arithmetic expression text + bigint to valid types",
            ),
            (
                "Cast error: Cannot cast string 'Utf8' to Int32",
                "cannot cast string 'Utf8' to integer",
            ),
            (
                "Execution error: Function 'f' user-defined coercion failed with: Error during \
                 planning: f takes no Utf8 as argument 1. No function matches the given name and \
                 argument types 'f(Utf8)'. You might need",
                "f takes no text as argument 1",
            ),
            (
                "Internal error: Function 'sum' failed to match any signature, errors: Error during \
                 planning: Function 'sum' requires Decimal, but received String (DataType: Utf8).,\
                 Error during planning: Function 'sum' requires",
                "sum() takes no text",
            ),
            (
                "Error during planning: Failed to coerce arguments. No function matches the given \
                 name and argument types 'left(Int64)'. You might need",
                "there is no function left(bigint)",
            ),
            (
                "Unsupported ast node in sqltorel: Collate { expr: Value }",
                "unsupported ast node in sqltorel: Collate",
            ),
            (
                "could not parse compound identifier from [\"attributes\", \"x\", \"y\"]",
                "`attributes.x.y` is no column; an attribute is named as in attributes['x.y']",
            ),
            ("", ""),
            ("É", "É"),
        ] {
            assert_eq!(worded(theirs), ours);
        }
    }
}
