//! Parser of tokens to a tree, with type checks.
//!
//! `terms` parses the root of a query (spansets, scalars, metrics), `fields` the content of braces,
//! `metrics` the functions over time. One grammar covers them all. Each term has a type, and
//! combining terms of incompatible types is an error.

mod fields;
mod metrics_stage;
mod terms;

use tidings_pattern::Patterns;

use super::{
    DEPTH_MAX, TERMS_MAX, TraceqlError,
    lexer::{Token, TokenKind, tokens},
    normal_form::normal_form,
    operator::Operator,
    suggest::did_you_mean,
    syntax::{Measure, Query, Root, Scalar, Spansets, Stage, Static, function_words},
};
use terms::{Term, TermKind};

/// Parses a query. Compiling its patterns takes time, so this runs on a blocking thread.
///
/// # Errors
/// Names the position at which the text is not a query, and the expected syntax.
pub fn parse(text: &str) -> Result<Query, TraceqlError> {
    parse_with(text, &mut Patterns::default())
}

/// Parses as [`parse`] does, with compiled patterns and the remaining memory for further ones.
///
/// # Errors
/// The same as those of [`parse`].
pub fn parse_with(text: &str, patterns: &mut Patterns) -> Result<Query, TraceqlError> {
    let mut parser = Parser { text, tokens: tokens(text)?, at: 0, depth: 0, patterns };
    if parser.peek() == &TokenKind::End {
        return parser.fail("a query is missing; `{}` finds every span");
    }
    let term = parser.pipeline(false)?;
    let root = parser.root(term)?;
    let mut hints = Vec::new();
    while parser.peek_word() == Some("with") {
        parser.hints(&mut hints)?;
    }
    match parser.peek() {
        TokenKind::End => Ok(Query { root, hints }),
        _ => parser
            .fail(format!("the query should end here, but {} follows", parser.describe_next())),
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    depth: u32,
    patterns: &'a mut Patterns,
}

impl Parser<'_> {
    fn peek(&self) -> &TokenKind {
        &self.tokens[self.at].kind
    }

    fn peek_word(&self) -> Option<&str> {
        match self.peek() {
            TokenKind::Word(word) => Some(word),
            _ => None,
        }
    }

    fn peek_operator(&self) -> Option<Operator> {
        match self.peek() {
            TokenKind::Operator(operator) => Some(*operator),
            _ => None,
        }
    }

    /// Returns the position at which the next token begins.
    fn start(&self) -> usize {
        self.tokens[self.at].start
    }

    fn advance(&mut self) -> TokenKind {
        let kind = self.tokens[self.at].kind.clone();
        // The position never moves past the end token.
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        kind
    }

    fn eat(&mut self, kind: &TokenKind) -> bool {
        let fits = self.peek() == kind;
        if fits {
            self.advance();
        }
        fits
    }

    fn expect(&mut self, kind: &TokenKind, sign: &str) -> Result<(), TraceqlError> {
        if self.eat(kind) {
            return Ok(());
        }
        self.fail(format!("`{sign}` was expected, but {} follows", self.describe_next()))
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, TraceqlError> {
        self.fail_at(self.start(), message)
    }

    fn fail_at<T>(&self, byte: usize, message: impl Into<String>) -> Result<T, TraceqlError> {
        Err(TraceqlError::at(self.text, byte, message))
    }

    /// Describes the next token for error messages.
    fn describe_next(&self) -> String {
        const SHOWN_CHARS: usize = 40;
        let token = &self.tokens[self.at];
        if token.kind == TokenKind::End {
            return "the end of the query".to_owned();
        }
        let text = &self.text[token.start..token.end];
        let cut = if text.chars().count() > SHOWN_CHARS { "…" } else { "" };
        format!("`{}{cut}`", text.chars().take(SHOWN_CHARS).collect::<String>())
    }

    /// Parses a nested element and counts its depth.
    fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, TraceqlError>,
    ) -> Result<T, TraceqlError> {
        self.check_depth(self.depth + 1)?;
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn check_depth(&self, depth: u32) -> Result<(), TraceqlError> {
        if depth <= DEPTH_MAX {
            return Ok(());
        }
        self.fail(format!("expressions nest at most {DEPTH_MAX} deep"))
    }

    /// Checks that the chain may have another element after `behind` further ones.
    fn check_terms(&self, at: usize, behind: usize) -> Result<(), TraceqlError> {
        if behind + 2 <= TERMS_MAX {
            return Ok(());
        }
        self.fail_at(at, format!("more than {TERMS_MAX} terms in a row"))
    }

    /// Parses a whole pipeline, up to the end, a closing parenthesis or hints. The caller checks
    /// its type, because a scalar may stand alone in parentheses.
    fn pipeline(&mut self, wrapped: bool) -> Result<Term, TraceqlError> {
        let start = self.start();
        let first = self.first_stage()?;
        let (form, depth) = (first.form, first.depth);
        let mut stages = match form {
            TermKind::Metrics(metrics) => return self.later_stages(metrics, start, depth),
            TermKind::Stages(stages) => stages,
            TermKind::Spansets(spansets) if self.peek() == &TokenKind::Pipe => {
                vec![Stage::Spansets(spansets)]
            }
            TermKind::Compare(stage) => vec![stage],
            form if self.peek() == &TokenKind::Pipe => {
                let found = form.description();
                return self.fail_at(start, format!("a pipeline cannot begin with {found}"));
            }
            form => return Ok(Term { form, start, depth }),
        };
        let mut depth = depth;
        while self.eat(&TokenKind::Pipe) {
            if let Some(metrics) = self.metrics_function(&stages)? {
                return self.later_stages(metrics, start, depth + 1);
            }
            let (start_of_stage, stage) = (self.start(), self.stage()?);
            depth = depth.max(stage.depth) + 1;
            self.check_depth(self.depth + stage.depth)?;
            match stage.form {
                TermKind::Spansets(spansets) => stages.push(Stage::Spansets(spansets)),
                TermKind::Stages(more) => stages.extend(more),
                TermKind::Compare(stage) => stages.push(stage),
                TermKind::Scalar(scalar)
                    if wrapped && self.peek() == &TokenKind::CloseParenthesis =>
                {
                    let form = TermKind::Scalar(Scalar::Pipeline(stages, Box::new(scalar)));
                    return Ok(Term { form, start, depth: stage.depth + 1 });
                }
                form @ (TermKind::Scalar(_) | TermKind::Static(_) | TermKind::Metrics(_)) => {
                    let message = format!(
                        "{} cannot stand alone here{}",
                        form.description(),
                        form.suggestion()
                    );
                    return self.fail_at(start_of_stage, message);
                }
            }
        }
        Ok(Term { form: TermKind::Stages(stages), start, depth })
    }

    fn first_stage(&mut self) -> Result<Term, TraceqlError> {
        let start = self.start();
        match self.peek_word() {
            Some("coalesce") => {
                self.fail("`coalesce()` needs spansets before it: `{} | coalesce()`")
            }
            Some(word @ ("topk" | "bottomk")) => {
                let message =
                    format!("`{word}` needs metrics before it: `{{}} | rate() | {word}(5)`");
                self.fail(message)
            }
            Some(word) if Measure::form(word).is_some() => {
                self.fail_at(start, format!("`{word}` needs spans before it: `{{}} | {word}(…)`"))
            }
            _ => self.stage(),
        }
    }

    /// Parses one stage that is not a metrics function.
    fn stage(&mut self) -> Result<Term, TraceqlError> {
        let start = self.start();
        let stage = match self.peek_word() {
            Some("by") => self.by()?,
            Some("select") => self.select()?,
            Some("coalesce") => {
                self.advance();
                self.expect(&TokenKind::OpenParenthesis, "(")?;
                self.expect(&TokenKind::CloseParenthesis, ")")?;
                Stage::Coalesce
            }
            Some("topk" | "bottomk") => {
                return self.fail("this needs metrics before it, such as `| rate()`");
            }
            _ => return self.expression(0),
        };
        Ok(Term { form: TermKind::Stages(vec![stage]), start, depth: 1 })
    }

    fn by(&mut self) -> Result<Stage, TraceqlError> {
        self.advance();
        self.expect(&TokenKind::OpenParenthesis, "(")?;
        let of = self.field_expression(0)?;
        self.expect(&TokenKind::CloseParenthesis, ")")?;
        if !of.reads_span {
            return self.fail_at(of.start, "`by` needs something that differs between spans");
        }
        let label = format!("by({})", normal_form(&of.expression));
        Ok(Stage::By { of: of.expression, label })
    }

    fn select(&mut self) -> Result<Stage, TraceqlError> {
        self.advance();
        Ok(Stage::Select(self.field_list()?))
    }

    fn root(&self, term: Term) -> Result<Root, TraceqlError> {
        match term.form {
            TermKind::Spansets(Spansets::Pipeline(stages)) | TermKind::Stages(stages) => {
                Ok(Root::Search(stages))
            }
            TermKind::Spansets(spansets) => Ok(Root::Search(vec![Stage::Spansets(spansets)])),
            TermKind::Compare(stage) => Ok(Root::Search(vec![stage])),
            TermKind::Metrics(metrics) => Ok(Root::Metrics(metrics)),
            form @ (TermKind::Scalar(_) | TermKind::Static(_)) => {
                let message =
                    format!("{} is not a query by itself{}", form.description(), form.suggestion());
                self.fail_at(term.start, message)
            }
        }
    }

    /// Parses `with(name=value, …)`.
    fn hints(&mut self, hints: &mut Vec<(String, Static)>) -> Result<(), TraceqlError> {
        self.advance();
        self.expect(&TokenKind::OpenParenthesis, "(")?;
        loop {
            let TokenKind::Word(name) = self.peek().clone() else {
                return self
                    .fail(format!("a hint's name was expected, not {}", self.describe_next()));
            };
            self.advance();
            self.expect(&TokenKind::Operator(Operator::Equal), "=")?;
            hints.push((name, self.literal()?));
            if !self.eat(&TokenKind::Comma) {
                return self.expect(&TokenKind::CloseParenthesis, ")");
            }
        }
    }

    /// Error for a word that has no meaning in this position.
    fn unknown_word<T>(&self, word: &str) -> Result<T, TraceqlError> {
        if matches!(
            self.tokens.get(self.at + 1),
            Some(Token { kind: TokenKind::OpenParenthesis, .. })
        ) {
            let guess = did_you_mean(word, function_words());
            return self.fail(format!("unknown function `{word}`{guess}"));
        }
        if function_words().any(|known| known == word) {
            return self.fail(format!("`{word}` is a function: `(` is missing after it"));
        }
        self.fail(format!("`{word}` has no meaning here; spans are selected in braces: `{{ … }}`"))
    }
}
