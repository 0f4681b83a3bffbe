//! Expressions over one span.

use tidings_pattern::PatternError;
use tidings_proto::otlp::{Severity, SpanKind, StatusCode};

use super::Parser;
use crate::{
    TraceqlError,
    lexer::TokenKind,
    operator::Operator,
    suggest::did_you_mean,
    syntax::{Expression, Field, INTRINSICS, Intrinsic, Name, Scope, Static},
    types::Type,
};

/// An expression with its static properties.
pub(super) struct Operand {
    pub(super) expression: Expression,
    pub(super) value_type: Type,
    /// True when the value can differ between spans.
    pub(super) reads_span: bool,
    pub(super) depth: u32,
    /// Index of its first byte in the text.
    pub(super) start: usize,
}

/// Constants with names that are neither statuses nor kinds.
const CONSTANTS: [(&str, Static); 5] = [
    ("true", Static::Bool(true)),
    ("false", Static::Bool(false)),
    ("nil", Static::Nil),
    ("minInt", Static::Int(i64::MIN)),
    ("maxInt", Static::Int(i64::MAX)),
];

/// Lists the words that are values.
fn value_words() -> impl Iterator<Item = (&'static str, Static)> {
    let statuses = StatusCode::ALL.into_iter().map(|code| (code.word(), Static::Status(code)));
    let kinds = SpanKind::ALL.into_iter().map(|kind| (kind.word(), Static::Kind(kind)));
    CONSTANTS.into_iter().chain(statuses).chain(kinds)
}

fn value_of(word: &str) -> Option<Static> {
    value_words().find(|(known, _)| *known == word).map(|(_, value)| value)
}

/// Returns how strongly the operator binds its operands. `!` binds like 4 and `-` before a value
/// like 3.
fn binding_power(operator: Operator) -> Option<u8> {
    use Operator::{Add, And, Div, Mod, Mul, NotRegex, Or, Pow, Regex, Sub};
    Some(match operator {
        And | Or => 1,
        Regex | NotRegex => 2,
        Add | Sub => 3,
        Mul | Div | Mod => 5,
        Pow => 6,
        _ if operator.is_comparison() => 2,
        _ => return None,
    })
}

impl Parser<'_> {
    /// Parses `{ … }`, and returns its depth.
    pub(super) fn filter(&mut self) -> Result<(Expression, u32), TraceqlError> {
        self.expect(&TokenKind::OpenBrace, "{")?;
        if self.eat(&TokenKind::CloseBrace) {
            return Ok((Expression::Static(Static::Bool(true)), 1));
        }
        let condition = self.field_expression(0)?;
        self.expect(&TokenKind::CloseBrace, "}")?;
        if matches!(condition.value_type, Type::Bool | Type::Dynamic) {
            return Ok((condition.expression, condition.depth + 1));
        }
        let found = condition.value_type;
        self.fail_at(condition.start, format!("a condition is true or false; this is {found}"))
    }

    /// Parses values combined by operators that bind more strongly than `than`.
    pub(super) fn field_expression(&mut self, than: u8) -> Result<Operand, TraceqlError> {
        self.nested(|parser| {
            let mut left = parser.value()?;
            while let Some(operator) = parser.peek_operator() {
                let Some(binding_power) = binding_power(operator) else {
                    return parser.fail(format!("`{operator}` cannot stand between values"));
                };
                if binding_power <= than {
                    break;
                }
                let at = parser.start();
                parser.advance();
                let right_than =
                    if operator == Operator::Pow { binding_power - 1 } else { binding_power };
                if operator == Operator::Equal && parser.peek_operator() == Some(Operator::Equal) {
                    return parser.fail("one `=` compares; `==` is not an operator");
                }
                let right = match parser.severity_beside(&left, operator)? {
                    Some(severity) => severity,
                    None => parser.field_expression(right_than)?,
                };
                left = parser.binary(operator, at, left, right)?;
                parser.check_depth(parser.depth + left.depth)?;
            }
            Ok(left)
        })
    }

    fn value(&mut self) -> Result<Operand, TraceqlError> {
        let start = self.start();
        let (expression, value_type) = match self.peek().clone() {
            TokenKind::OpenParenthesis => {
                self.advance();
                let inner = self.field_expression(0)?;
                self.expect(&TokenKind::CloseParenthesis, ")")?;
                return Ok(Operand { start, ..inner });
            }
            TokenKind::Operator(Operator::Sub) => {
                self.advance();
                let inner = self.field_expression(4)?;
                return self.negative(inner, start);
            }
            TokenKind::Operator(Operator::Not) => {
                self.advance();
                let inner = self.field_expression(4)?;
                if !matches!(inner.value_type, Type::Bool | Type::Dynamic) {
                    let message = format!("`!` needs true or false, not {}", inner.value_type);
                    return self.fail_at(start, message);
                }
                let expression = Expression::Not(Box::new(inner.expression));
                let depth = inner.depth + 1;
                return Ok(Operand { expression, value_type: Type::Bool, depth, start, ..inner });
            }
            TokenKind::Attribute { .. } | TokenKind::ScopedWord(..) => self.read_field()?,
            TokenKind::Word(word) if value_of(&word).is_none() => self.read_field()?,
            _ => {
                let value = self.literal()?;
                let value_type = type_of(&value);
                (Expression::Static(value), value_type)
            }
        };
        let reads_span = matches!(expression, Expression::Field(_));
        Ok(Operand { expression, value_type, reads_span, depth: 1, start })
    }

    fn read_field(&mut self) -> Result<(Expression, Type), TraceqlError> {
        let field = self.field()?;
        let value_type = field.value_type();
        Ok((Expression::Field(field), value_type))
    }

    fn negative(&self, inner: Operand, start: usize) -> Result<Operand, TraceqlError> {
        if inner.value_type != Type::Dynamic && !inner.value_type.is_numeric() {
            let message = format!("`-` needs a number, not {}", inner.value_type);
            return self.fail_at(start, message);
        }
        let expression = Expression::Negative(Box::new(inner.expression));
        Ok(Operand { expression, depth: inner.depth + 1, start, ..inner })
    }

    /// Parses a severity name on the right of a comparison with a severity. Elsewhere these names
    /// have no meaning, and `error` is a status.
    fn severity_beside(
        &mut self,
        left: &Operand,
        operator: Operator,
    ) -> Result<Option<Operand>, TraceqlError> {
        if left.value_type != Type::Severity || !operator.is_comparison() {
            return Ok(None);
        }
        let start = self.start();
        let name = match self.peek() {
            TokenKind::Word(word) if word != "nil" && Intrinsic::parse(word).is_none() => word,
            TokenKind::Text(text) => text,
            _ => return Ok(None),
        };
        let severity = self.severity_named(&name.clone())?;
        self.advance();
        let expression = Expression::Static(Static::Severity(severity));
        let value_type = Type::Severity;
        Ok(Some(Operand { expression, value_type, reads_span: false, depth: 1, start }))
    }

    /// Returns the severity of this name; letter case is ignored.
    fn severity_named(&self, name: &str) -> Result<Severity, TraceqlError> {
        let is_named = |severity: &Severity| severity.word().eq_ignore_ascii_case(name);
        match Severity::ALL.into_iter().find(is_named) {
            Some(severity) => Ok(severity),
            None => {
                let [less_severe @ .., last] = Severity::ALL.map(Severity::word);
                let known = less_severe.join(", ");
                self.fail(format!("`{name}` is not a severity; these are: {known} and {last}"))
            }
        }
    }

    /// Parses a constant.
    pub(super) fn literal(&mut self) -> Result<Static, TraceqlError> {
        let value = match self.peek().clone() {
            TokenKind::Text(text) => Static::Text(text),
            TokenKind::Int(number) => Static::Int(number),
            TokenKind::Float(number) => Static::Float(number),
            TokenKind::Duration(nanos) => Static::Duration(nanos),
            TokenKind::Word(word) => match value_of(&word) {
                Some(value) => value,
                None => return self.fail(format!("`{word}` is not a value; text needs quotes")),
            },
            _ => {
                return self
                    .fail(format!("a value was expected, but {} follows", self.describe_next()));
            }
        };
        self.advance();
        Ok(value)
    }

    /// Parses an attribute or intrinsic.
    pub(super) fn field(&mut self) -> Result<Field, TraceqlError> {
        let field = match self.peek() {
            TokenKind::Attribute { scope, parent, name } => match Intrinsic::parse(name) {
                // `parent.duration` is the parent's duration; an attribute of that name needs a
                // scope.
                Some(intrinsic) if *parent && *scope == Scope::Any => {
                    Field { parent: true, name: Name::Intrinsic(intrinsic) }
                }
                _ => Field { parent: *parent, name: Name::Attribute(*scope, name.clone()) },
            },
            TokenKind::ScopedWord(scope, word) => {
                // An intrinsic is shown as `span:childCount`; `childCount` is its other spelling.
                match Intrinsic::parse(&format!("{scope}:{word}")) {
                    Some(intrinsic) => Field::intrinsic(intrinsic),
                    None => return self.unknown_intrinsic(&format!("{scope}:{word}")),
                }
            }
            TokenKind::Word(word) => match Intrinsic::parse(word) {
                Some(intrinsic) => Field::intrinsic(intrinsic),
                None => return self.unknown_intrinsic(&word.clone()),
            },
            _ => {
                return self
                    .fail(format!("a field was expected, but {} follows", self.describe_next()));
            }
        };
        self.advance();
        Ok(field)
    }

    /// Parses `(field, field, …)`.
    pub(super) fn field_list(&mut self) -> Result<Vec<Field>, TraceqlError> {
        self.expect(&TokenKind::OpenParenthesis, "(")?;
        let mut fields = vec![self.field()?];
        while self.eat(&TokenKind::Comma) {
            fields.push(self.field()?);
        }
        self.expect(&TokenKind::CloseParenthesis, ")")?;
        Ok(fields)
    }

    fn unknown_intrinsic<T>(&self, word: &str) -> Result<T, TraceqlError> {
        let names = INTRINSICS.iter().flat_map(|(_, shown, other)| [*shown, *other]);
        let values = value_words().map(|(word, _)| word);
        let guess = did_you_mean(word, names.filter(|name| !name.is_empty()).chain(values));
        if guess.is_empty() && !word.contains(':') {
            let cure = format!("attributes begin with a dot or a scope: `.{word}`, `span.{word}`");
            return self.fail(format!("unknown intrinsic `{word}`; {cure}"));
        }
        self.fail(format!("unknown intrinsic `{word}`{guess}"))
    }

    fn binary(
        &mut self,
        operator: Operator,
        at: usize,
        left: Operand,
        right: Operand,
    ) -> Result<Operand, TraceqlError> {
        let reads_span = left.reads_span || right.reads_span;
        // A chain is one list, whatever its length.
        let chained = match &left.expression {
            Expression::All(_) => operator == Operator::And,
            Expression::Any(_) => operator == Operator::Or,
            Expression::Arithmetic(..) => operator.is_arithmetic(),
            _ => false,
        };
        let depth = (left.depth + u32::from(!chained)).max(right.depth + 1);
        let start = left.start;
        let (left_type, right_type) = (left.value_type, right.value_type);
        let (expression, value_type) = if left_type == Type::Nil || right_type == Type::Nil {
            (self.existence(operator, at, left, right)?, Type::Bool)
        } else {
            // A regular expression matches the name of a severity.
            let is_of_name = left_type == Type::Severity
                && right_type == Type::Text
                && matches!(operator, Operator::Regex | Operator::NotRegex);
            let fits = (left_type.matches(right_type) || is_of_name)
                && left_type.allows(operator)
                && right_type.allows(operator);
            if !fits {
                let message =
                    format!("`{operator}` cannot stand between {left_type} and {right_type}");
                return self.fail_at(at, message);
            }
            let value_type = match operator {
                _ if !operator.is_arithmetic() => Type::Bool,
                _ if left_type == Type::Dynamic => right_type,
                _ => left_type,
            };
            (self.combined(operator, at, left, right)?, value_type)
        };
        Ok(Operand { expression, value_type, reads_span, depth, start })
    }

    fn combined(
        &mut self,
        operator: Operator,
        at: usize,
        left: Operand,
        right: Operand,
    ) -> Result<Expression, TraceqlError> {
        let (first, second) = (left.expression, right.expression);
        Ok(match (operator, first, second) {
            (Operator::And, Expression::All(mut all), second) => {
                all.push(second);
                Expression::All(all)
            }
            (Operator::And, first, second) => Expression::All(vec![first, second]),
            (Operator::Or, Expression::Any(mut any), second) => {
                any.push(second);
                Expression::Any(any)
            }
            (Operator::Or, first, second) => Expression::Any(vec![first, second]),
            (Operator::Regex | Operator::NotRegex, first, second) => {
                let Expression::Static(Static::Text(pattern)) = second else {
                    return self.fail_at(right.start, "a pattern is text in quotes");
                };
                let pattern = match self.patterns.compile(&pattern) {
                    Ok(pattern) => pattern,
                    Err(error @ PatternError::Together { .. }) => {
                        return self.fail_at(right.start, error.to_string());
                    }
                    Err(error) => {
                        let message = format!("this is not a pattern: {error}");
                        return self.fail_at(right.start, message);
                    }
                };
                Expression::Matches(Box::new(first), pattern, operator == Operator::Regex)
            }
            (operator, Expression::Arithmetic(first, mut rest), second)
                if operator.is_arithmetic() =>
            {
                self.check_terms(at, rest.len())?;
                rest.push((operator, second));
                Expression::Arithmetic(first, rest)
            }
            (operator, first, second) if operator.is_arithmetic() => {
                Expression::Arithmetic(Box::new(first), vec![(operator, second)])
            }
            (operator, first, second) => {
                Expression::Binary(operator, Box::new(first), Box::new(second))
            }
        })
    }

    /// Builds the tests `= nil` and `!= nil`.
    fn existence(
        &self,
        operator: Operator,
        at: usize,
        left: Operand,
        right: Operand,
    ) -> Result<Expression, TraceqlError> {
        let exists = match operator {
            Operator::Equal => false,
            Operator::NotEqual => true,
            _ => return self.fail_at(at, "nil can only be compared by `=` and `!=`"),
        };
        let of = if left.value_type == Type::Nil { right } else { left };
        match &of.expression {
            // Both sides are nil. Nothing equals nil, and nothing differs from it.
            Expression::Static(Static::Nil) => Ok(Expression::Static(Static::Bool(false))),
            Expression::Field(field) if !exists && is_always_set(field) => {
                self.fail_at(at, format!("{field} is never nil"))
            }
            _ => Ok(Expression::Exists(Box::new(of.expression), exists)),
        }
    }
}

/// Reports whether every span has a value for the field.
fn is_always_set(field: &Field) -> bool {
    match &field.name {
        _ if field.parent => false,
        Name::Intrinsic(intrinsic) => *intrinsic != Intrinsic::Parent && !intrinsic.is_of_logs(),
        Name::Attribute(scope, name) => *scope == Scope::Resource && name == "service.name",
    }
}

fn type_of(value: &Static) -> Type {
    match value {
        Static::Nil => Type::Nil,
        Static::Int(_) => Type::Int,
        Static::Float(_) => Type::Float,
        Static::Text(_) => Type::Text,
        Static::Bool(_) => Type::Bool,
        Static::Duration(_) => Type::Duration,
        Static::Status(_) => Type::Status,
        Static::Kind(_) => Type::Kind,
        Static::Severity(_) => Type::Severity,
    }
}
