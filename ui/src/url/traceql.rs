//! Filters as a TraceQL query, and back where filters can express the query.
//!
//! Owns the subset of the language that filters can express: one spanset of conditions joined by
//! `&&`. Any other query is sent unchanged.

use tidings_proto::{
    DurationNanos,
    api::AttributeName,
    otlp::{SpanKind, StatusCode},
};

use super::{AttributeFilter, ParsedParam, TraceFilters, parse_duration};

#[cfg(test)]
mod tests;

const SERVICE: &str = "resource.service.name";

/// Returns the query that matches the same spans as these filters.
#[must_use]
pub fn write_traceql(filters: &TraceFilters) -> String {
    write_with(filters, attribute)
}

/// Same as [`write_traceql`] for the server alone. Filters compare the text of a value, and a
/// number may have been sent as a text.
#[must_use]
pub fn search_traceql(filters: &TraceFilters) -> String {
    write_with(filters, |filter, relation| match &filter.value {
        Some(value) => {
            let any = spellings(&attribute_name("", &filter.key), relation, value);
            if any.len() > 1 { format!("({})", any.join(" || ")) } else { any.concat() }
        }
        None => attribute(filter, relation),
    })
}

/// Narrows a query to its spans with this value of an attribute, or to the others.
#[must_use]
pub fn narrowed(query: &str, name: &AttributeName, value: &str, leave_out: bool) -> String {
    let condition = match (name.scope.as_str(), name.key.as_str()) {
        ("intrinsic", "service") => format!("{SERVICE} = {}", quoted(value)),
        ("intrinsic", "operation") => format!("name = {}", quoted(value)),
        // Status and kind have bare words as values.
        ("intrinsic", key) => format!("{key} = {value}"),
        (scope, key) => spellings(&attribute_name(scope, key), "=", value).join(" || "),
    };
    // `!=` would also exclude a span without the attribute.
    let condition = if leave_out { format!("!({condition})") } else { condition };
    format!("{query} | {{ {condition} }}")
}

/// Extends a query to select the values of these attributes and the status of each matching span.
#[must_use]
pub fn selecting(query: &str, columns: &[String]) -> String {
    let keys: String = columns.iter().map(|key| format!(", {}", attribute_name("", key))).collect();
    format!("{query} | select(status{keys})")
}

fn write_with(
    filters: &TraceFilters,
    attribute: impl Fn(&AttributeFilter, &'static str) -> String,
) -> String {
    let TraceFilters {
        service,
        operation,
        status,
        kind,
        duration_min,
        duration_max,
        attributes,
        without,
    } = filters;
    let text = |name: &str, value: &Option<String>| {
        value.as_ref().map(|value| format!("{name} = {}", quoted(value)))
    };
    let word = |name: &str, value: &Option<String>| {
        value.as_ref().map(|value| format!("{name} = {value}"))
    };
    let duration = |relation: &str, value: &Option<ParsedParam<DurationNanos>>| {
        let value = value.as_ref()?.text(|value| write_duration(*value));
        Some(format!("duration {relation} {value}"))
    };
    let fixed = [
        text(SERVICE, service),
        text("name", operation),
        word("status", status),
        word("kind", kind),
        duration(">=", duration_min),
        duration("<=", duration_max),
    ];
    let with = attributes.iter().map(|filter| attribute(filter, "="));
    let without = without.iter().map(|filter| attribute(filter, "!="));
    let all: Vec<String> = fixed.into_iter().flatten().chain(with).chain(without).collect();
    if all.is_empty() { "{ }".to_owned() } else { format!("{{ {} }}", all.join(" && ")) }
}

fn attribute(filter: &AttributeFilter, relation: &'static str) -> String {
    let key = attribute_name("", &filter.key);
    match &filter.value {
        Some(value) => format!("{key} {relation} {}", value_text(value)),
        // Selects any value, or none.
        None if relation == "=" => format!("{key} != nil"),
        None => format!("{key} = nil"),
    }
}

/// Returns an attribute of `span` or `resource`, or one without a scope for either.
fn attribute_name(scope: &str, key: &str) -> String {
    let is_plain = |sign: char| sign.is_alphanumeric() || matches!(sign, '.' | '_' | '-' | '/');
    let key = if key.chars().all(is_plain) { key.to_owned() } else { quoted(key) };
    format!("{scope}.{key}")
}

/// Returns conditions that compare an attribute with this value, sent as a text or as a number. One
/// of them must hold. A value of another type meets none.
fn spellings(key: &str, relation: &str, value: &str) -> Vec<String> {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|sign| sign.is_ascii_digit());
    let decimal = value.strip_prefix('-').unwrap_or(value).split_once('.');
    let is_number = value_text(value) == value
        || decimal.is_some_and(|(whole, part)| is_digits(whole) && is_digits(part));
    let number = is_number.then(|| format!("{key} {relation} {value}"));
    number.into_iter().chain([format!("{key} {relation} {}", quoted(value))]).collect()
}

/// Writes a value. Numbers and booleans are compared as such.
fn value_text(value: &str) -> String {
    let is_number = value.parse::<i64>().is_ok_and(|number| number.to_string() == value)
        || matches!(value, "true" | "false");
    if is_number { value.to_owned() } else { quoted(value) }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for sign in text.chars() {
        match sign {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            sign => quoted.push(sign),
        }
    }
    quoted.push('"');
    quoted
}

/// Writes a length of time in the shortest exact form of the language.
fn write_duration(duration: DurationNanos) -> String {
    let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns")];
    let fits = |(scale, _): &(u64, &str)| duration.0.is_multiple_of(*scale);
    let (scale, name) = units.into_iter().find(fits).unwrap_or((1, "ns"));
    format!("{}{name}", duration.0 / scale)
}

/// Returns the filters that match the same spans as this query, or `None` when filters cannot
/// express it.
#[must_use]
pub fn read_traceql(query: &str) -> Option<TraceFilters> {
    let inside = query.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut filters = TraceFilters::default();
    for condition in conditions(inside)? {
        read_condition(&condition, &mut filters)?;
    }
    Some(filters)
}

/// A part of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
enum TraceqlToken {
    Bare(String),
    Quoted(String),
    Relation(&'static str),
}

/// Parses the conditions between the braces. `None` for anything else.
fn conditions(text: &str) -> Option<Vec<Vec<TraceqlToken>>> {
    let mut all = Vec::new();
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("&&") {
            all.push(std::mem::take(&mut tokens));
            rest = after.trim_start();
            continue;
        }
        let relations = ["!=", ">=", "<=", "="];
        if let Some(relation) = relations.into_iter().find(|relation| rest.starts_with(relation)) {
            if rest[relation.len()..].starts_with('~') {
                return None;
            }
            tokens.push(TraceqlToken::Relation(relation));
            rest = rest[relation.len()..].trim_start();
            continue;
        }
        let (token, after) = if first == '"' { read_quoted(rest)? } else { read_bare(rest)? };
        tokens.push(token);
        rest = after.trim_start();
    }
    if !tokens.is_empty() || !all.is_empty() {
        all.push(tokens);
    }
    Some(all)
}

fn read_quoted(text: &str) -> Option<(TraceqlToken, &str)> {
    let mut value = String::new();
    let mut signs = text.char_indices().skip(1);
    while let Some((at, sign)) = signs.next() {
        match sign {
            '"' => return Some((TraceqlToken::Quoted(value), &text[at + 1..])),
            '\\' => value.push(match signs.next()?.1 {
                'n' => '\n',
                't' => '\t',
                sign @ ('"' | '\\') => sign,
                _ => return None,
            }),
            sign => value.push(sign),
        }
    }
    None
}

fn read_bare(text: &str) -> Option<(TraceqlToken, &str)> {
    let is_part = |sign: char| sign.is_alphanumeric() || matches!(sign, '.' | '_' | '-' | '/');
    let end = text.find(|sign: char| !is_part(sign)).unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    // This is a quoted key after its dot.
    if name == "." && after.starts_with('"') {
        let (token, after) = read_quoted(after)?;
        let TraceqlToken::Quoted(key) = token else { return None };
        return Some((TraceqlToken::Bare(format!(".{key}")), after));
    }
    (end > 0).then(|| (TraceqlToken::Bare(name.to_owned()), after))
}

fn read_condition(tokens: &[TraceqlToken], filters: &mut TraceFilters) -> Option<()> {
    let [TraceqlToken::Bare(name), TraceqlToken::Relation(relation), value] = tokens else {
        return None;
    };
    let one = |place: &mut Option<String>, value: String| {
        let is_free = place.is_none();
        *place = Some(value);
        is_free.then_some(())
    };
    match (name.as_str(), *relation, value) {
        (SERVICE | ".service.name", "=", TraceqlToken::Quoted(value)) => {
            one(&mut filters.service, value.clone())
        }
        ("name", "=", TraceqlToken::Quoted(value)) => one(&mut filters.operation, value.clone()),
        ("status", "=", TraceqlToken::Bare(value)) if StatusCode::from_word(value).is_some() => {
            one(&mut filters.status, value.clone())
        }
        ("kind", "=", TraceqlToken::Bare(value)) if SpanKind::from_word(value).is_some() => {
            one(&mut filters.kind, value.clone())
        }
        ("duration", ">=" | "<=", TraceqlToken::Bare(value)) => {
            let is_min = *relation == ">=";
            let place = if is_min { &mut filters.duration_min } else { &mut filters.duration_max };
            let is_free = place.is_none();
            // A bare number has no unit in the language.
            let has_unit = value.ends_with(|sign: char| sign.is_alphabetic());
            *place = Some(ParsedParam::Read(parse_duration(value).filter(|_| has_unit)?));
            is_free.then_some(())
        }
        (name, relation, value) => read_attribute(name, relation, value, filters),
    }
}

/// Parses a condition on an attribute of the span or its resource.
fn read_attribute(
    name: &str,
    relation: &str,
    value: &TraceqlToken,
    filters: &mut TraceFilters,
) -> Option<()> {
    let key = name.strip_prefix('.').filter(|key| !key.is_empty() && !key.contains('='))?;
    let (value, is_nil) = match value {
        TraceqlToken::Quoted(value) => (Some(value.clone()), false),
        TraceqlToken::Bare(value) if value == "nil" => (None, true),
        TraceqlToken::Bare(value) if value_text(value) == *value => (Some(value.clone()), false),
        _ => return None,
    };
    // `!= nil` means any value, `= nil` no value.
    let is_with = (relation == "=") != is_nil;
    let list = match relation {
        "=" | "!=" if is_with => &mut filters.attributes,
        "=" | "!=" => &mut filters.without,
        _ => return None,
    };
    list.push(AttributeFilter { key: key.to_owned(), value });
    Some(())
}
