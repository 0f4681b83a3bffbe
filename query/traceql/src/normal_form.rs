//! Expressions in Tempo's normal form, under which their values are shown.
//!
//! Operands that are neither a value nor a field are in parentheses, and texts are in backticks. A
//! part that reads no field of a span is computed. Clients of Tempo look for these names.

use super::{
    compiled::{Fields, Node},
    operator::Operator,
    runtime_value::{Value, apply},
    syntax::Expression,
};

/// Returns the expression in Tempo's normal form.
pub(super) fn normal_form(of: &Expression) -> String {
    match constant_value(of) {
        Some(value) => value_text(&value),
        None => expression_text(of),
    }
}

/// Recursive. The recursion is no deeper than the query, whose depth is bounded.
fn expression_text(of: &Expression) -> String {
    match of {
        Expression::Static(value) => value_text(&value.into()),
        Expression::Field(field) => field.to_string(),
        Expression::Negative(inner) => format!("-{}", operand_text(inner)),
        Expression::Not(inner) => format!("!{}", operand_text(inner)),
        Expression::Exists(inner, true) => format!("{} != nil", operand_text(inner)),
        Expression::Exists(inner, false) => format!("{} = nil", operand_text(inner)),
        Expression::All(all) => boolean_chain(Operator::And, all),
        Expression::Any(any) => boolean_chain(Operator::Or, any),
        Expression::Arithmetic(first, rest) => arithmetic(first, rest),
        Expression::Matches(inner, pattern, matches) => {
            let operator = if *matches { Operator::Regex } else { Operator::NotRegex };
            format!("{} {operator} `{pattern}`", operand_text(inner))
        }
        Expression::Binary(operator, left, right) => {
            format!("{} {operator} {}", operand_text(left), operand_text(right))
        }
    }
}

fn boolean_chain(operator: Operator, of: &[Expression]) -> String {
    let Some((first, rest)) = of.split_first() else { return String::new() };
    chain(operand_text(first), rest.iter().map(|next| (operator, next)))
}

fn arithmetic(first: &Expression, rest: &[(Operator, Expression)]) -> String {
    let mut rest = rest.iter();
    let mut head = constant_value(first);
    // A constant prefix of the chain is folded.
    while let Some(value) = &head
        && let Some((operator, next)) = rest.as_slice().first()
        && let Some(next) = constant_value(next)
    {
        head = Some(apply(*operator, value, &next));
        rest.next();
    }
    let head = head.map_or_else(|| operand_text(first), |value| value_text(&value));
    chain(head, rest.map(|(operator, next)| (*operator, next)))
}

/// Writes a chain with parentheses: the first two are an operand of the next.
fn chain<'e>(
    first: String,
    rest: impl ExactSizeIterator<Item = (Operator, &'e Expression)>,
) -> String {
    let inner = rest.len().saturating_sub(1);
    let mut text = "(".repeat(inner) + &first;
    for (place, (operator, next)) in rest.enumerate() {
        let end = if place < inner { ")" } else { "" };
        text += &format!(" {operator} {}{end}", operand_text(next));
    }
    text
}

fn operand_text(of: &Expression) -> String {
    match (of, constant_value(of)) {
        (_, Some(value)) => value_text(&value),
        (Expression::Field(field), None) => field.to_string(),
        (other, None) => format!("({})", expression_text(other)),
    }
}

/// Returns the value of an expression that reads no span.
fn constant_value(of: &Expression) -> Option<Value> {
    let mut fields = Fields::default();
    let node = Node::compile(of, &mut fields);
    fields.is_empty().then(|| node.value(&[]).into_owned())
}

fn value_text(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("`{text}`"),
        Value::Float(number) => float_text(*number),
        other => other.display_text(),
    }
}

/// Returns the shortest text that parses to the number and does not look like an integer.
fn float_text(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf.0" } else { "-Inf.0" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    // Beyond these exponents, Go's shortest form has an exponent of at least two digits.
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = number.to_string();
    if plain.contains('.') { plain } else { format!("{plain}.0") }
}

#[cfg(test)]
mod tests {
    use super::normal_form;
    use crate::{
        parse,
        syntax::{Query, Root, Stage},
    };

    #[test]
    fn groups_are_named_as_tempo_names_them() {
        let cases = [
            ("name", "name"),
            ("span:name", "name"),
            ("resource.service.name", "resource.service.name"),
            ("1 + .i", "1 + .i"),
            ("1+.i", "1 + .i"),
            ("1 + .i + 2", "(1 + .i) + 2"),
            ("1 + 2 + .i * 2 - 1", "(3 + (.i * 2)) - 1"),
            (".i + 1 + 2 + 3", "((.i + 1) + 2) + 3"),
            ("(.i + 1) * 2", "(.i + 1) * 2"),
            ("2 ^ .i ^ 2", "2 ^ (.i ^ 2)"),
            (".i + 2 * 3", ".i + 6"),
            ("2 * (.i + 3)", "2 * (.i + 3)"),
            ("- .i", "-.i"),
            ("-(.i - 1)", "-(.i - 1)"),
            (".i * -1", ".i * -1"),
            (".s = \"x y\"", ".s = `x y`"),
            (".s = `x`", ".s = `x`"),
            (".s != nil", ".s != nil"),
            (".s = nil", ".s = nil"),
            ("!(.b)", "!.b"),
            (".a && .b", ".a && .b"),
            (".a && .b && .c", "(.a && .b) && .c"),
            (".a && (.b || .c)", ".a && (.b || .c)"),
            (".s =~ \"a.*\"", ".s =~ `a.*`"),
            (".s !~ \"a.*\" || .b", "(.s !~ `a.*`) || .b"),
            ("duration > 1500ms", "duration > 1.5s"),
            ("duration > 90s", "duration > 1m30s"),
            (".f > 2.0", ".f > 2.0"),
            (".f > 1000000.0", ".f > 1e+06"),
            (".f > 0.00001", ".f > 1e-05"),
            ("status = error", "status = error"),
            (".b = true", ".b = true"),
            ("span.\"a b\" = 1", "span.\"a b\" = 1"),
        ];
        for (written, expected) in cases {
            let query = format!("{{}} | by({written})");
            let Query { root: Root::Search(stages), .. } = parse(&query).unwrap() else {
                panic!("{query} finds traces")
            };
            let [_, Stage::By { of, label }] = stages.as_slice() else { panic!("{query} groups") };
            assert_eq!(normal_form(of), expected, "{query}");
            assert_eq!(*label, format!("by({expected})"), "{query}");
        }
    }
}
