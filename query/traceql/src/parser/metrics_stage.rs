//! Functions over time, and operations on their series.

use super::{
    Parser,
    terms::{Term, TermKind, number_of},
};
use crate::{
    TraceqlError,
    lexer::TokenKind,
    operator::Operator,
    syntax::{Expression, Measure, MeasureForm, Metrics, Stage, Static, Step},
};

/// Maximum number of attributes to group series by.
const BY_MAX: usize = 5;
/// Maximum number of quantiles in a query.
const QUANTILES_MAX: usize = 20;
/// Default and maximum number of values that `compare` shows of an attribute.
const COMPARE_TOP: usize = 10;
const COMPARE_TOP_MAX: usize = 1000;

impl Parser<'_> {
    /// Parses the metrics function that comes next, if there is one.
    pub(super) fn metrics_function(
        &mut self,
        pipeline: &[Stage],
    ) -> Result<Option<Metrics>, TraceqlError> {
        let Some(form) = self.peek_word().and_then(Measure::form) else { return Ok(None) };
        self.advance();
        self.expect(&TokenKind::OpenParenthesis, "(")?;
        let measure = match form {
            MeasureForm::Bare(measure) => measure(),
            MeasureForm::OfField(measure) => measure(self.field()?),
            MeasureForm::Quantiles => self.quantiles()?,
            MeasureForm::Compare => self.compare()?,
        };
        self.expect(&TokenKind::CloseParenthesis, ")")?;
        let mut by = Vec::new();
        if self.peek_word() == Some("by") {
            if matches!(measure, Measure::Compare { .. }) {
                return self.fail("`compare()` goes by every attribute; it takes no `by`");
            }
            self.advance();
            let start = self.start();
            by = self.field_list()?;
            if by.len() > BY_MAX {
                return self.fail_at(start, format!("series go by at most {BY_MAX} attributes"));
            }
        }
        Ok(Some(Metrics::Spans { pipeline: pipeline.to_vec(), measure, by }))
    }

    fn quantiles(&mut self) -> Result<Measure, TraceqlError> {
        let field = self.field()?;
        let mut quantiles = Vec::new();
        while self.eat(&TokenKind::Comma) {
            quantiles.push(self.quantile()?);
        }
        if quantiles.len() > QUANTILES_MAX {
            return self.fail(format!("at most {QUANTILES_MAX} quantiles at once"));
        }
        if quantiles.is_empty() {
            return self.fail("a quantile is missing: `quantile_over_time(duration, 0.9)`");
        }
        Ok(Measure::QuantileOverTime(field, quantiles))
    }

    fn quantile(&mut self) -> Result<f64, TraceqlError> {
        let start = self.start();
        let number = match self.peek() {
            TokenKind::Int(_) | TokenKind::Float(_) => number_of(&self.literal()?),
            _ => return self.fail("a quantile is a number from 0 to 1"),
        };
        if (0.0..=1.0).contains(&number) {
            Ok(number)
        } else {
            self.fail_at(start, "a quantile is a number from 0 to 1")
        }
    }

    fn compare(&mut self) -> Result<Measure, TraceqlError> {
        if self.peek() != &TokenKind::OpenBrace {
            return self.fail("`compare` needs the spans to compare with the rest: `{ … }`");
        }
        let (selection, _): (Expression, u32) = self.filter()?;
        let mut numbers = Vec::new();
        let start = self.start();
        while self.eat(&TokenKind::Comma) {
            match self.peek() {
                TokenKind::Int(number) => numbers.push(*number),
                _ => return self.fail("an integer was expected"),
            }
            self.advance();
        }
        let top = numbers.first().map_or(Some(COMPARE_TOP), |top| usize::try_from(*top).ok());
        let top = top.filter(|top| (1..=COMPARE_TOP_MAX).contains(top));
        let Some(top) = top else {
            let message = format!("`compare` shows from 1 to {COMPARE_TOP_MAX} values");
            return self.fail_at(start, message);
        };
        let (start, end) = match numbers.as_slice() {
            [] | [_] | [_, 0, 0] => (0, 0),
            [_, start, end] if 0 < *start && start < end => (*start, *end),
            _ => {
                let form =
                    "`compare({ … }, values, start, end)`, the times in nanoseconds since 1970";
                return self.fail_at(start, format!("expected {form}"));
            }
        };
        Ok(Measure::Compare { selection, top, start, end })
    }

    /// Parses the stages after a metric: `| topk(n)`, `> 10`.
    pub(super) fn later_stages(
        &mut self,
        metrics: Metrics,
        start: usize,
        depth: u32,
    ) -> Result<Term, TraceqlError> {
        let mut metrics = metrics;
        loop {
            let at = self.start();
            if let Some(operator) = self.peek_operator() {
                if !operator.is_comparison() {
                    let message =
                        "arithmetic with metrics needs parentheses: `({} | rate()) * 100`";
                    return self.fail_at(at, message);
                }
                self.advance();
                // Arithmetic binds more strongly than comparisons (2).
                let number = self.expression(2)?;
                let TermKind::Static(number) = number.form else {
                    return self.fail_at(number.start, "a metric is compared with a number");
                };
                metrics = self.with_number(operator, at, metrics, &number, false)?;
            } else if self.eat(&TokenKind::Pipe) {
                metrics = self.top(metrics)?;
            } else {
                // A chain adds one level of depth, however many steps it has.
                let depth = depth + u32::from(matches!(metrics, Metrics::Chain(..)));
                self.check_depth(self.depth + depth)?;
                return Ok(Term { form: TermKind::Metrics(metrics), start, depth });
            }
        }
    }

    fn top(&mut self, of: Metrics) -> Result<Metrics, TraceqlError> {
        let start = self.start();
        let largest = match self.peek_word() {
            Some("topk") => true,
            Some("bottomk") => false,
            _ => return self.fail("only `topk(n)` and `bottomk(n)` can follow a metric"),
        };
        self.refuse_compare(&of, start)?;
        self.advance();
        self.expect(&TokenKind::OpenParenthesis, "(")?;
        let limit = match self.peek() {
            TokenKind::Int(limit) => usize::try_from(*limit).ok().filter(|limit| *limit > 0),
            _ => None,
        };
        let Some(limit) = limit else { return self.fail("a number above 0 was expected") };
        self.advance();
        self.expect(&TokenKind::CloseParenthesis, ")")?;
        self.chained(start, of, Step::Top { limit, largest })
    }

    pub(super) fn of_metrics(
        &self,
        operator: Operator,
        at: usize,
        left: Metrics,
        right: Metrics,
    ) -> Result<Metrics, TraceqlError> {
        use Operator::{Add, Div, Mul, Sub};
        self.refuse_compare(&left, at)?;
        self.refuse_compare(&right, at)?;
        if matches!(operator, Add | Sub | Mul | Div) {
            return self.chained(at, left, Step::Joined(operator, right));
        }
        self.fail_at(at, format!("`{operator}` cannot stand between metrics; + - * / can"))
    }

    /// Combines a metric with a constant.
    pub(super) fn with_number(
        &self,
        operator: Operator,
        at: usize,
        of: Metrics,
        number: &Static,
        left: bool,
    ) -> Result<Metrics, TraceqlError> {
        use Operator::{Add, Div, Mul, Sub};
        self.refuse_compare(&of, at)?;
        match (operator, number) {
            (Add | Sub | Mul | Div, Static::Int(_) | Static::Float(_)) => {
                let number = number_of(number);
                self.chained(at, of, Step::Number { operator, number, left })
            }
            (Add | Sub | Mul | Div, _) => {
                self.fail_at(at, "a metric can be computed with numbers only, not with durations")
            }
            _ if operator.is_comparison() && !left => {
                // Metrics of durations are in seconds.
                #[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
                let seconds = |nanos: i64| nanos as f64 / 1e9;
                let number = match number {
                    Static::Duration(nanos) => seconds(*nanos),
                    other => number_of(other),
                };
                self.chained(at, of, Step::Compare(operator, number))
            }
            _ if operator.is_comparison() => {
                self.fail_at(at, "the number stands on the right of a comparison with a metric")
            }
            _ => {
                self.fail_at(at, format!("`{operator}` cannot stand beside a metric; + - * / can"))
            }
        }
    }

    /// Appends a step to the metric. A chain is one list, whatever its length.
    fn chained(&self, at: usize, of: Metrics, step: Step) -> Result<Metrics, TraceqlError> {
        let (first, mut steps) = match of {
            Metrics::Chain(first, steps) => (first, steps),
            first => (Box::new(first), Vec::new()),
        };
        self.check_terms(at, steps.len())?;
        steps.push(step);
        Ok(Metrics::Chain(first, steps))
    }

    fn refuse_compare(&self, metrics: &Metrics, at: usize) -> Result<(), TraceqlError> {
        let spans = matches!(metrics, Metrics::Spans { measure: Measure::Compare { .. }, .. });
        if spans {
            return self.fail_at(at, "nothing can follow `compare()`");
        }
        Ok(())
    }
}
