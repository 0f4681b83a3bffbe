//! Lenient parsing of queries that are still being typed.
//!
//! An unfinished condition counts as true, so that its neighbours keep their meaning. Only the
//! first selector is read, because names and values are completed inside it.

use tidings_pattern::Patterns;

use super::{
    lexer::{Token, TokenKind, readable_tokens},
    operator::Operator,
    parser::parse_with,
    syntax::{Query, Root, Spansets, Stage},
};

/// Maximum depth of parentheses that are parsed leniently. The content of deeper ones must be
/// complete.
const LEVELS_MAX: u32 = 16;
const TRUE: &str = "true";

/// Returns the stages of a query that is one selector, or of the first selector of any other text.
#[must_use]
pub fn parse_incomplete(query: &str) -> Vec<Stage> {
    let patterns = &mut Patterns::default();
    if let Some(stages) = parse_stages(query, patterns)
        && let [Stage::Spansets(Spansets::Filter(_))] = stages.as_slice()
    {
        return stages;
    }
    let tokens = readable_tokens(query);
    let Some((Token { kind: TokenKind::OpenBrace, .. }, inner)) = tokens.split_first() else {
        return Vec::new();
    };
    let is_end = |token: &Token| token.kind == TokenKind::CloseBrace;
    let inner = &inner[..inner.iter().position(is_end).unwrap_or(inner.len())];
    let completed = complete_conditions(query, inner, 0, patterns);
    parse_stages(&format!("{{{completed}}}"), patterns).unwrap_or_default()
}

fn parse_stages(query: &str, patterns: &mut Patterns) -> Option<Vec<Stage>> {
    match parse_with(query, patterns) {
        Ok(Query { root: Root::Search(stages), .. }) => Some(stages),
        _ => None,
    }
}

/// Returns the conditions of these tokens of the text, with `true` in place of unfinished ones.
fn complete_conditions(
    text: &str,
    tokens: &[Token],
    level: u32,
    patterns: &mut Patterns,
) -> String {
    let (mut completed, mut depth, mut from) = (String::new(), 0_u32, 0);
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenKind::OpenParenthesis => depth += 1,
            TokenKind::CloseParenthesis => depth = depth.saturating_sub(1),
            TokenKind::Operator(Operator::And | Operator::Or) if depth == 0 => {
                completed.push_str(&complete_condition(text, &tokens[from..at], level, patterns));
                completed.push_str(text.get(token.start..token.end).unwrap_or_default());
                from = at + 1;
            }
            _ => {}
        }
    }
    completed.push_str(&complete_condition(text, &tokens[from..], level, patterns));
    completed
}

fn complete_condition(text: &str, tokens: &[Token], level: u32, patterns: &mut Patterns) -> String {
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { return TRUE.into() };
    let written = text.get(first.start..last.end).unwrap_or_default();
    if parse_stages(&format!("{{{written}}}"), patterns).is_some() {
        return format!(" {written} ");
    }
    match inside_parentheses(tokens) {
        Some(inner) if level < LEVELS_MAX => {
            format!("({})", complete_conditions(text, inner, level + 1, patterns))
        }
        _ => TRUE.into(),
    }
}

/// Returns the tokens inside the outermost parentheses; the closing one may be missing.
fn inside_parentheses(tokens: &[Token]) -> Option<&[Token]> {
    let (first, rest) = tokens.split_first()?;
    if first.kind != TokenKind::OpenParenthesis {
        return None;
    }
    let mut depth = 1_u32;
    for (at, token) in rest.iter().enumerate() {
        match token.kind {
            TokenKind::OpenParenthesis => depth += 1,
            TokenKind::CloseParenthesis => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return (at + 1 == rest.len()).then_some(&rest[..at]);
        }
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::{Patterns, parse_incomplete};

    fn check(query: &str, means: &str) {
        let expected = if means.is_empty() {
            Vec::new()
        } else {
            super::parse_stages(means, &mut Patterns::default()).unwrap()
        };
        assert_eq!(format!("{:?}", parse_incomplete(query)), format!("{expected:?}"), "{query}");
    }

    #[test]
    fn unfinished_conditions_are_true_and_the_others_keep_their_meaning() {
        for (query, means) in [
            ("{ .shop = 7 }", "{ .shop = 7 }"),
            ("{ .shop = }", "{ true }"),
            ("{ .shop = 7 && .floor >=", "{ .shop = 7 && true }"),
            ("{ .shop = && .floor > 2 }", "{ true && .floor > 2 }"),
            ("{ .shop = 7 && }", "{ .shop = 7 && true }"),
            ("{ .shop = 7 && name }", "{ .shop = 7 && true }"),
            ("{ .shop = 7 || .floor = }", "{ .shop = 7 || true }"),
            ("{ (.shop = ) && kind = server }", "{ (true) && kind = server }"),
            (
                "{ (.shop = 7 && (.floor = )) && kind = server }",
                "{ (.shop = 7 && (true)) && kind = server }",
            ),
            ("{ (.shop = 7 && .floor =", "{ (.shop = 7 && true) }"),
            ("{ .shop = (.floor + 2) && .desk = }", "{ .shop = (.floor + 2) && true }"),
            ("{ .shop = 7 && .note = \"half a", "{ .shop = 7 && true }"),
            // Signs in quotes are text.
            (
                "{ span.http.route = \"/users/{id}\" && .shop = }",
                "{ span.http.route = \"/users/{id}\" && true }",
            ),
            ("{ name = \"a && b\" && .shop = }", "{ name = \"a && b\" && true }"),
            ("{ span.\"on floor\" = 3 && .shop = }", "{ span.\"on floor\" = 3 && true }"),
            // The text after the first selector is not about the completed span.
            ("{ .shop = 7 && .floor = } >> { .desk = 1 }", "{ .shop = 7 && true }"),
            ("{ .shop = 7 } | rate() by (.floor", "{ .shop = 7 }"),
            ("", ""),
            ("shop", ""),
            ("&&", ""),
        ] {
            check(query, means);
        }
    }

    #[test]
    fn deep_parentheses_end() {
        let deep = format!("{{ {}.shop = }}", "(".repeat(90));
        assert_eq!(parse_incomplete(&deep).len(), 1);
        let deeper = format!("{{ {}.shop = }}", "(".repeat(10_000));
        assert_eq!(parse_incomplete(&deeper).len(), 1);
    }
}
