//! Terms at the root of a query: spansets, numbers about them, and metrics.
//!
//! Owns the combinations of terms that an operator allows.

use super::Parser;
use crate::{
    TraceqlError,
    lexer::TokenKind,
    normal_form::normal_form,
    operator::Operator,
    syntax::{Fold, Join, Metrics, Relation, Scalar, Side, Spansets, Stage, Static},
    types::Type,
};

/// A term at the root of a query.
pub(super) struct Term {
    pub(super) form: TermKind,
    /// Index of its first byte.
    pub(super) start: usize,
    pub(super) depth: u32,
}

/// Type of a term.
pub(super) enum TermKind {
    Static(Static),
    Scalar(Scalar),
    Spansets(Spansets),
    /// A comparison of scalars that is not in parentheses.
    Compare(Stage),
    Stages(Vec<Stage>),
    Metrics(Metrics),
}

impl TermKind {
    pub(super) fn description(&self) -> &'static str {
        match self {
            Self::Static(_) => "a constant",
            Self::Scalar(_) => "a number",
            Self::Spansets(_) | Self::Stages(_) => "a spanset",
            Self::Compare(_) => "a comparison of numbers",
            Self::Metrics(_) => "a metric",
        }
    }

    /// Reports whether the operator extends the chain and does not nest it.
    fn is_chained_by(&self, operator: Operator) -> bool {
        match self {
            Self::Spansets(Spansets::Joined(..)) => true,
            Self::Scalar(Scalar::Arithmetic(..)) => operator.is_arithmetic(),
            Self::Metrics(Metrics::Chain(..)) => true,
            _ => false,
        }
    }

    /// Returns a suggestion for the error message.
    pub(super) fn suggestion(&self) -> &'static str {
        match self {
            Self::Scalar(_) => ": compare it, as in `{} | count() > 1`",
            Self::Static(_) => ": spans are selected in braces, as in `{ duration > 1s }`",
            Self::Metrics(_) => ": only one metric can be at the end of a pipeline",
            _ => "",
        }
    }
}

/// Returns how strongly the operator binds its operands.
fn binding_power(operator: Operator) -> Option<u8> {
    use Operator::{Add, And, Div, Mod, Mul, Not, Or, Pow, Regex, Sub};
    Some(match operator {
        And | Or => 1,
        Add | Sub => 3,
        Mul | Div | Mod => 4,
        Pow => 5,
        Not | Regex => return None,
        _ => 2,
    })
}

impl Parser<'_> {
    /// Parses terms combined by operators that bind more strongly than `than`.
    pub(super) fn expression(&mut self, than: u8) -> Result<Term, TraceqlError> {
        self.nested(|parser| {
            let mut left = parser.term()?;
            while let Some(operator) = parser.peek_operator() {
                let Some(binding_power) = binding_power(operator) else {
                    return parser.fail(format!("`{operator}` cannot stand here"));
                };
                if binding_power <= than {
                    break;
                }
                let at = parser.start();
                parser.advance();
                let right_than =
                    if operator == Operator::Pow { binding_power - 1 } else { binding_power };
                let right = parser.expression(right_than)?;
                let deeper = u32::from(!left.form.is_chained_by(operator));
                let (start, depth) = (left.start, (left.depth + deeper).max(right.depth + 1));
                parser.check_depth(parser.depth + depth)?;
                let form = parser.combine(operator, at, left, right)?;
                // Constants are folded at once.
                let depth = if matches!(form, TermKind::Static(_)) { 1 } else { depth };
                left = Term { form, start, depth };
            }
            Ok(left)
        })
    }

    fn term(&mut self) -> Result<Term, TraceqlError> {
        let start = self.start();
        match self.peek().clone() {
            TokenKind::OpenBrace => {
                let (filter, depth) = self.filter()?;
                Ok(Term { form: TermKind::Spansets(Spansets::Filter(filter)), start, depth })
            }
            TokenKind::OpenParenthesis => {
                self.advance();
                let inner = self.nested(|parser| parser.pipeline(true))?;
                self.expect(&TokenKind::CloseParenthesis, ")")?;
                let form = match inner.form {
                    TermKind::Stages(stages) => TermKind::Spansets(Spansets::Pipeline(stages)),
                    TermKind::Compare(stage) => TermKind::Spansets(Spansets::Pipeline(vec![stage])),
                    form => form,
                };
                Ok(Term { form, start, depth: inner.depth + 1 })
            }
            TokenKind::Operator(Operator::Sub) => {
                self.advance();
                // A number must follow: `-` binds more strongly than any operator here.
                let inner = self.nested(Self::term)?;
                let TermKind::Static(value) = inner.form else {
                    return self.fail_at(
                        start,
                        format!("`-` cannot stand before {}", inner.form.description()),
                    );
                };
                let form = TermKind::Static(self.negate_constant(value, start)?);
                Ok(Term { form, start, depth: 1 })
            }
            TokenKind::Int(_) | TokenKind::Float(_) | TokenKind::Duration(_) => {
                Ok(Term { form: TermKind::Static(self.literal()?), start, depth: 1 })
            }
            TokenKind::Word(word) => match Fold::from_word(&word) {
                Some(fold) => self.aggregate(fold),
                None => self.unknown_word(&word),
            },
            TokenKind::ScopedWord(..) | TokenKind::Attribute { .. } => {
                self.fail("fields of spans stand in braces: `{ … }`")
            }
            _ => self.fail(format!("a query was expected, but {} follows", self.describe_next())),
        }
    }

    fn aggregate(&mut self, fold: Fold) -> Result<Term, TraceqlError> {
        let start = self.start();
        let TokenKind::Word(name) = self.advance() else { return self.fail("a name is missing") };
        self.expect(&TokenKind::OpenParenthesis, "(")?;
        let (of, depth, inner) = if fold == Fold::Count {
            (None, 1, String::new())
        } else {
            let of = self.field_expression(0)?;
            if of.value_type != Type::Dynamic && !of.value_type.is_numeric() {
                let message = format!("`{name}` needs a number, not {}", of.value_type);
                return self.fail_at(of.start, message);
            }
            if !of.reads_span {
                let message = format!("`{name}` needs something that differs between spans");
                return self.fail_at(of.start, message);
            }
            let inner = normal_form(&of.expression);
            (Some(of.expression), of.depth + 1, inner)
        };
        self.expect(&TokenKind::CloseParenthesis, ")")?;
        let label = format!("{name}({inner})");
        Ok(Term { form: TermKind::Scalar(Scalar::Aggregate { fold, of, label }), start, depth })
    }

    fn combine(
        &self,
        operator: Operator,
        at: usize,
        left: Term,
        right: Term,
    ) -> Result<TermKind, TraceqlError> {
        match (left.form, right.form) {
            (TermKind::Spansets(left), TermKind::Spansets(right)) => {
                self.spansets(operator, at, left, right).map(TermKind::Spansets)
            }
            (TermKind::Static(left), TermKind::Static(right)) => {
                self.fold_constants(operator, at, &left, &right)
            }
            (TermKind::Metrics(left), TermKind::Metrics(right)) => {
                self.of_metrics(operator, at, left, right).map(TermKind::Metrics)
            }
            (TermKind::Metrics(of), TermKind::Static(number)) => {
                self.with_number(operator, at, of, &number, false).map(TermKind::Metrics)
            }
            (TermKind::Static(number), TermKind::Metrics(of)) => {
                self.with_number(operator, at, of, &number, true).map(TermKind::Metrics)
            }
            (left, right) => {
                let shown = format!(
                    "`{operator}` cannot stand between {} and {}",
                    left.description(),
                    right.description()
                );
                match (scalar(left), scalar(right)) {
                    (Some(left), Some(right)) => self.scalars(operator, at, left, right),
                    _ => self.fail_at(at, shown),
                }
            }
        }
    }

    fn scalars(
        &self,
        operator: Operator,
        at: usize,
        left: Scalar,
        right: Scalar,
    ) -> Result<TermKind, TraceqlError> {
        if operator.is_arithmetic() {
            let (first, mut rest) = match left {
                Scalar::Arithmetic(first, rest) => (first, rest),
                first => (Box::new(first), Vec::new()),
            };
            self.check_terms(at, rest.len())?;
            rest.push((operator, right));
            return Ok(TermKind::Scalar(Scalar::Arithmetic(first, rest)));
        }
        if operator.is_comparison() {
            return Ok(TermKind::Compare(Stage::Compare(operator, left, right)));
        }
        self.fail_at(at, format!("`{operator}` cannot stand between numbers"))
    }

    fn spansets(
        &self,
        operator: Operator,
        at: usize,
        left: Spansets,
        right: Spansets,
    ) -> Result<Spansets, TraceqlError> {
        use Relation::{Ancestor, Child, Descendant, Parent, Sibling};
        use Side::{Both, NotRight, Right};
        let join = match operator {
            Operator::And => Join::And,
            Operator::Or => Join::Or,
            Operator::Greater => Join::Related(Child, Right),
            Operator::Less => Join::Related(Parent, Right),
            Operator::Descendant => Join::Related(Descendant, Right),
            Operator::Ancestor => Join::Related(Ancestor, Right),
            Operator::Sibling => Join::Related(Sibling, Right),
            Operator::NotChild => Join::Related(Child, NotRight),
            Operator::NotParent => Join::Related(Parent, NotRight),
            Operator::NotDescendant => Join::Related(Descendant, NotRight),
            Operator::NotAncestor => Join::Related(Ancestor, NotRight),
            Operator::NotRegex => Join::Related(Sibling, NotRight),
            Operator::UnionChild => Join::Related(Child, Both),
            Operator::UnionParent => Join::Related(Parent, Both),
            Operator::UnionDescendant => Join::Related(Descendant, Both),
            Operator::UnionAncestor => Join::Related(Ancestor, Both),
            Operator::UnionSibling => Join::Related(Sibling, Both),
            _ => {
                let known = "`&&`, `||`, `>`, `<`, `>>`, `<<` and `~` do";
                return self
                    .fail_at(at, format!("`{operator}` does not combine spansets; {known}"));
            }
        };
        let (first, mut rest) = match left {
            Spansets::Joined(first, rest) => (first, rest),
            first => (Box::new(first), Vec::new()),
        };
        self.check_terms(at, rest.len())?;
        rest.push((join, right));
        Ok(Spansets::Joined(first, rest))
    }

    /// Folds arithmetic of constants.
    fn fold_constants(
        &self,
        operator: Operator,
        at: usize,
        left: &Static,
        right: &Static,
    ) -> Result<TermKind, TraceqlError> {
        use Operator::{Add, Div, Mul, Sub};
        let wrong = |message: &str| self.fail_at(at, message);
        if !matches!(operator, Add | Sub | Mul | Div) {
            return wrong("constants alone are not a query; compare an aggregate or a metric");
        }
        let folded = match (left, right) {
            (Static::Int(left), Static::Int(right)) => match operator {
                Add => left.checked_add(*right),
                Sub => left.checked_sub(*right),
                Mul => left.checked_mul(*right),
                _ if *right == 0 => return wrong("division by zero"),
                _ => left.checked_div(*right),
            }
            .map(Static::Int),
            (Static::Duration(_), _) | (_, Static::Duration(_)) => {
                return wrong("durations cannot be computed with here; write the result");
            }
            (left, right) => {
                let (left, right) = (number_of(left), number_of(right));
                let value = match operator {
                    Add => left + right,
                    Sub => left - right,
                    Mul => left * right,
                    _ => left / right,
                };
                value.is_finite().then_some(Static::Float(value))
            }
        };
        match folded {
            Some(value) => Ok(TermKind::Static(value)),
            None => wrong("the result does not fit in 64 bits"),
        }
    }

    fn negate_constant(&self, value: Static, at: usize) -> Result<Static, TraceqlError> {
        let negated = match value {
            Static::Int(value) => value.checked_neg().map(Static::Int),
            Static::Duration(value) => value.checked_neg().map(Static::Duration),
            Static::Float(value) => Some(Static::Float(-value)),
            _ => None,
        };
        negated.map_or_else(|| self.fail_at(at, "this number cannot be negated"), Ok)
    }
}

/// Returns the number of a constant; NaN for anything else.
pub(super) fn number_of(value: &Static) -> f64 {
    match value {
        #[expect(clippy::cast_precision_loss, reason = "a float is what was asked for")]
        Static::Int(value) => *value as f64,
        Static::Float(value) => *value,
        _ => f64::NAN,
    }
}

fn scalar(form: TermKind) -> Option<Scalar> {
    match form {
        TermKind::Scalar(scalar) => Some(scalar),
        TermKind::Static(value) => Some(Scalar::Static(value)),
        _ => None,
    }
}
