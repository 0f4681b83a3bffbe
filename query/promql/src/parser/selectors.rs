//! Selectors, and the suffixes of an expression: a range, an offset, a time.

use tidings_pattern::PatternError;

use super::{ParsedExpression, Parser};
use crate::{
    SyntaxError,
    labels::{Matcher, MatcherTest, NAME},
    lexer::TokenKind,
    number::{millis, seconds},
    syntax::{AtModifier, Expression, Selector, Subquery, TimeModifier, ValueType},
};

impl Parser<'_> {
    /// Parses a metric's labels in braces, after the name if there was one.
    pub(super) fn selector(&mut self, name: Option<String>) -> Result<Expression, SyntaxError> {
        let named =
            |name: String| Matcher { name: NAME.to_owned(), test: MatcherTest::Equal(name) };
        let is_named = name.is_some();
        let mut matchers: Vec<Matcher> = name.map(named).into_iter().collect();
        if self.take_sign("{") {
            while !self.take_sign("}") {
                let matcher = self.matcher()?;
                if is_named && matcher.name == NAME {
                    return Err(self.fail("metric name must not be set twice"));
                }
                matchers.push(matcher);
                if !self.is_sign("}") {
                    self.expect_sign(",", " in label matching")?;
                }
            }
        }
        if matchers.iter().all(|matcher| matcher.matches("")) {
            let message = "vector selector must contain at least one non-empty matcher";
            return Err(self.fail(message));
        }
        let id = self.selectors;
        self.selectors += 1;
        Ok(Expression::Select(Selector { id, matchers, moment: TimeModifier::default() }))
    }

    fn matcher(&mut self) -> Result<Matcher, SyntaxError> {
        let (name, quoted) = match self.peek().clone() {
            TokenKind::Name(name) => (name, false),
            TokenKind::Text(name) => (name, true),
            _ => return Err(self.unexpected(" in label matching, expected identifier or \"}\"")),
        };
        self.at += 1;
        let sign = match self.peek() {
            TokenKind::Sign(sign @ ("=" | "!=" | "=~" | "!~")) => *sign,
            // A quoted text without an operator is the metric's name.
            _ if quoted && (self.is_sign(",") || self.is_sign("}")) => {
                return Ok(Matcher { name: NAME.to_owned(), test: MatcherTest::Equal(name) });
            }
            _ => {
                return Err(self.unexpected(" in label matching, expected label matching operator"));
            }
        };
        self.at += 1;
        let TokenKind::Text(value) = self.peek().clone() else {
            return Err(self.unexpected(" in label matching, expected string"));
        };
        let test = match sign {
            "=" => MatcherTest::Equal(value),
            "!=" => MatcherTest::NotEqual(value),
            "=~" => MatcherTest::Like(self.pattern(&value)?),
            _ => MatcherTest::NotLike(self.pattern(&value)?),
        };
        self.at += 1;
        Ok(Matcher { name, test })
    }

    fn pattern(&mut self, text: &str) -> Result<regex::Regex, SyntaxError> {
        self.patterns.compile(text).map(|pattern| pattern.regex).map_err(|error| match error {
            PatternError::Together { .. } => self.fail(error.to_string()),
            _ => self.fail(format!("{text:?} is no regular expression")),
        })
    }

    /// Parses the suffixes of an expression.
    pub(super) fn suffixed(
        &mut self,
        mut inner: Expression,
        mut depth: usize,
    ) -> Result<ParsedExpression, SyntaxError> {
        loop {
            if self.take_sign("[") {
                inner = self.ranged(inner)?;
                depth += 1;
                self.check_depth(depth)?;
            } else if self.take_word("offset") {
                let minus = self.take_sign("-");
                let given = self.duration()?;
                let offset_ms = if minus { -given } else { given };
                let moment = self.moment(&mut inner, "offset")?;
                // Prometheus treats an offset of zero as no offset.
                if moment.offset_ms != 0 {
                    return Err(self.fail("offset may not be set multiple times"));
                }
                moment.offset_ms = offset_ms;
            } else if self.take_sign("@") {
                let at = self.at_time()?;
                if self.moment(&mut inner, "@")?.at.replace(at).is_some() {
                    return Err(self.fail("@ <timestamp> may not be set multiple times"));
                }
            } else {
                return Ok((inner, depth));
            }
        }
    }

    fn duration(&mut self) -> Result<i64, SyntaxError> {
        let given = match self.peek() {
            TokenKind::Duration(millis) => Some(*millis),
            TokenKind::Number(number) => millis(*number),
            _ => None,
        };
        let given = given.ok_or_else(|| self.unexpected(", expected duration"))?;
        self.at += 1;
        Ok(given)
    }

    fn at_time(&mut self) -> Result<AtModifier, SyntaxError> {
        let minus = self.take_sign("-");
        let at = match self.peek().clone() {
            TokenKind::Number(number) => {
                let number = if minus { -number } else { number };
                millis(number).map(AtModifier::Time)
            }
            TokenKind::Name(name) if !minus => match name.as_str() {
                "start" => Some(AtModifier::Start),
                "end" => Some(AtModifier::End),
                _ => None,
            },
            _ => None,
        };
        let at = at.ok_or_else(|| self.unexpected(", expected timestamp"))?;
        self.at += 1;
        if !matches!(at, AtModifier::Time(_)) {
            self.expect_sign("(", " in @")?;
            self.expect_sign(")", " in @")?;
        }
        Ok(at)
    }

    /// Returns the moment that `offset` or `@` modifies.
    fn moment<'e>(
        &self,
        inner: &'e mut Expression,
        word: &str,
    ) -> Result<&'e mut TimeModifier, SyntaxError> {
        match inner {
            Expression::Select(selector) | Expression::Range { selector, .. } => {
                Ok(&mut selector.moment)
            }
            Expression::Subquery(subquery) => Ok(&mut subquery.moment),
            _ => Err(self.fail(format!(
                "{word} modifier must be preceded by an instant vector selector or range vector \
                 selector or a subquery"
            ))),
        }
    }

    fn ranged(&mut self, inner: Expression) -> Result<Expression, SyntaxError> {
        let range_ms = self.duration()?;
        if range_ms <= 0 {
            return Err(self.fail("duration must be greater than 0"));
        }
        if self.take_sign(":") {
            let step_ms = if self.is_sign("]") { None } else { Some(self.duration()?) };
            self.expect_sign("]", " in subquery")?;
            if step_ms.is_some_and(|step| step <= 0) {
                return Err(self.fail("duration must be greater than 0"));
            }
            if inner.kind() != ValueType::Vector {
                let given = inner.kind().words();
                let message = "subquery is only allowed on instant vector, got";
                return Err(self.fail(format!("{message} {given} instead")));
            }
            let moment = TimeModifier::default();
            let subquery = Subquery { inner, range_ms, step_ms, moment };
            return Ok(Expression::Subquery(Box::new(subquery)));
        }
        self.expect_sign("]", " in range")?;
        match inner {
            Expression::Select(selector) if selector.moment == TimeModifier::default() => {
                Ok(Expression::Range { selector, range_ms })
            }
            Expression::Select(_) => {
                Err(self.fail("no offset and no @ modifiers allowed before range"))
            }
            _ => {
                let range = seconds(range_ms);
                let message = "ranges only allowed for vector selectors";
                Err(self.fail(format!("{message}; a subquery is `[{range}s:1m]`")))
            }
        }
    }
}
