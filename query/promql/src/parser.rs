//! Parser of tokens to a tree, with type checks.
//!
//! Owns precedence, the grammar, and the depth of trees.

mod selectors;

use tidings_pattern::Patterns;

use super::{
    DEPTH_MAX, SyntaxError, TERMS_MAX, TEXT_BYTES_MAX,
    lexer::{Token, TokenKind, tokens},
    syntax::{
        Aggregate, Aggregation, ChainLink, Expression, FUNCTIONS, FunctionCall, Grouping, ManySide,
        Matching, Operator, ValueType,
    },
};

/// Parses a query. Compiling its patterns takes time, so this runs on a blocking thread.
///
/// # Errors
/// Names the position at which the text is not a query.
pub fn parse(text: &str) -> Result<Expression, SyntaxError> {
    parse_with(text, &mut Patterns::default())
}

/// Parses as [`parse`] does, with compiled patterns and the remaining memory for further ones.
///
/// # Errors
/// Names the position at which the text is not a query.
pub fn parse_with(text: &str, patterns: &mut Patterns) -> Result<Expression, SyntaxError> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("the query is longer than {TEXT_BYTES_MAX} bytes");
        return Err(SyntaxError::at(text, 0, message));
    }
    let mut parser =
        Parser { text, tokens: tokens(text)?, at: 0, depth: 0, selectors: 0, patterns };
    if *parser.peek() == TokenKind::End {
        return Err(parser.fail("no expression found in input"));
    }
    let root = parser.expression(0)?;
    match parser.peek() {
        TokenKind::End => Ok(root.0),
        _ => Err(parser.unexpected("")),
    }
}

/// An expression with its depth.
type ParsedExpression = (Expression, usize);

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Token>,
    at: usize,
    /// Number of open expressions.
    depth: usize,
    /// Number of selectors so far.
    selectors: usize,
    patterns: &'t mut Patterns,
}

impl Parser<'_> {
    fn peek(&self) -> &TokenKind {
        &self.tokens[self.at].what
    }

    fn next(&mut self) -> TokenKind {
        let what = self.tokens[self.at].what.clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        what
    }

    fn fail(&self, message: impl Into<String>) -> SyntaxError {
        SyntaxError::at(self.text, self.tokens[self.at].at, message)
    }

    fn unexpected(&self, context: &str) -> SyntaxError {
        let what = match self.peek() {
            TokenKind::End => "end of input".to_owned(),
            TokenKind::Name(name) => format!("identifier {name:?}"),
            TokenKind::Number(number) => format!("number {number}"),
            TokenKind::Duration(_) => "duration".to_owned(),
            TokenKind::Text(text) => format!("string {text:?}"),
            TokenKind::Sign(sign) => format!("{sign:?}"),
        };
        self.fail(format!("unexpected {what}{context}"))
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), TokenKind::Sign(given) if *given == sign)
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let is = self.is_sign(sign);
        self.at += usize::from(is);
        is
    }

    fn expect_sign(&mut self, sign: &str, context: &str) -> Result<(), SyntaxError> {
        if self.take_sign(sign) {
            return Ok(());
        }
        Err(self.unexpected(&format!("{context}, expected {sign:?}")))
    }

    /// Reports whether the next word is this keyword, ignoring case.
    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), TokenKind::Name(name) if name.eq_ignore_ascii_case(word))
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is = self.is_word(word);
        self.at += usize::from(is);
        is
    }

    fn check_depth(&self, depth: usize) -> Result<(), SyntaxError> {
        if depth <= DEPTH_MAX {
            return Ok(());
        }
        Err(self.fail(format!("expressions nest at most {DEPTH_MAX} deep")))
    }

    /// Parses operands and the operators between them that bind at least this tightly.
    fn expression(&mut self, least: u8) -> Result<ParsedExpression, SyntaxError> {
        self.depth += 1;
        self.check_depth(self.depth)?;
        let (mut left, mut depth) = self.operand()?;
        while let Some(operator) = self.operator().filter(|next| next.precedence() >= least) {
            let at = self.at;
            self.at += 1;
            let as_bool = self.take_word("bool");
            let matching = self.matching()?;
            // Powers group to the right, all other operators to the left.
            let next = operator.precedence() + u8::from(operator != Operator::Power);
            let (right, right_depth) = self.expression(next)?;
            let link = ChainLink { operator, right, as_bool, matching };
            if let Some(reason) = operand_type_error(&left, &link) {
                let at = self.tokens[at].at;
                return Err(SyntaxError::at(self.text, at, reason));
            }
            // A chain of operators adds to the length and not to the depth.
            let (first, mut links) = match left {
                Expression::Chain(first, links) => (first, links),
                first => {
                    depth += 1;
                    (Box::new(first), Vec::new())
                }
            };
            depth = depth.max(right_depth + 1);
            self.check_depth(depth)?;
            if links.len() + 2 > TERMS_MAX {
                let reason = format!("more than {TERMS_MAX} terms in a row");
                return Err(SyntaxError::at(self.text, self.tokens[at].at, reason));
            }
            links.push(link);
            left = Expression::Chain(first, links);
        }
        self.depth -= 1;
        Ok((left, depth))
    }

    fn operator(&self) -> Option<Operator> {
        Some(match self.peek() {
            TokenKind::Sign("+") => Operator::Add,
            TokenKind::Sign("-") => Operator::Subtract,
            TokenKind::Sign("*") => Operator::Multiply,
            TokenKind::Sign("/") => Operator::Divide,
            TokenKind::Sign("%") => Operator::Modulo,
            TokenKind::Sign("^") => Operator::Power,
            TokenKind::Sign("==") => Operator::Equal,
            TokenKind::Sign("!=") => Operator::NotEqual,
            TokenKind::Sign("<") => Operator::Less,
            TokenKind::Sign("<=") => Operator::LessOrEqual,
            TokenKind::Sign(">") => Operator::Greater,
            TokenKind::Sign(">=") => Operator::GreaterOrEqual,
            TokenKind::Name(name) => match name.to_ascii_lowercase().as_str() {
                "and" => Operator::And,
                "or" => Operator::Or,
                "unless" => Operator::Unless,
                "atan2" => Operator::Atan2,
                _ => return None,
            },
            _ => return None,
        })
    }

    /// Parses `on (…)` or `ignoring (…)`, and `group_left (…)` or `group_right (…)` after it.
    fn matching(&mut self) -> Result<Matching, SyntaxError> {
        let labels = if self.take_word("on") {
            Grouping::By(self.label_list()?)
        } else if self.take_word("ignoring") {
            Grouping::Without(self.label_list()?)
        } else {
            return Ok(Matching::default());
        };
        let left = self.is_word("group_left");
        if !left && !self.is_word("group_right") {
            return Ok(Matching { labels, many: None });
        }
        self.at += 1;
        let include = if self.is_sign("(") { self.label_list()? } else { Vec::new() };
        let shared = |label: &&String| matches!(&labels, Grouping::By(on) if on.contains(label));
        if let Some(label) = include.iter().find(shared) {
            let message = format!("label {label:?} must not occur in ON and GROUP clause at once");
            return Err(self.fail(message));
        }
        Ok(Matching { labels, many: Some(ManySide { left, include }) })
    }

    fn label_list(&mut self) -> Result<Vec<String>, SyntaxError> {
        self.expect_sign("(", " in grouping opts")?;
        let mut labels = Vec::new();
        while !self.take_sign(")") {
            match self.next() {
                TokenKind::Name(label) | TokenKind::Text(label) => labels.push(label),
                _ => {
                    self.at -= 1;
                    return Err(self.unexpected(" in grouping opts, expected label"));
                }
            }
            if !self.is_sign(")") {
                self.expect_sign(",", " in grouping opts")?;
            }
        }
        Ok(labels)
    }

    /// Parses an operand with its sign before it and its range after it.
    fn operand(&mut self) -> Result<ParsedExpression, SyntaxError> {
        if self.take_sign("+") {
            return self.signed();
        }
        if self.take_sign("-") {
            let (inner, depth) = self.signed()?;
            self.check_depth(depth + 1)?;
            return Ok((Expression::Negated(Box::new(inner)), depth + 1));
        }
        let (inner, depth) = self.primary()?;
        self.suffixed(inner, depth)
    }

    /// Parses the operand of a sign. A sign binds like multiplication, so powers are parsed first.
    fn signed(&mut self) -> Result<ParsedExpression, SyntaxError> {
        let (inner, depth) = self.expression(Operator::Power.precedence())?;
        match inner.kind() {
            ValueType::Scalar | ValueType::Vector => Ok((inner, depth)),
            other => {
                let message = "unary expression only allowed on expressions of type scalar or \
                               instant vector, got";
                Err(self.fail(format!("{message} {:?}", other.words())))
            }
        }
    }

    fn primary(&mut self) -> Result<ParsedExpression, SyntaxError> {
        if self.is_sign("(") {
            self.at += 1;
            let (inner, depth) = self.expression(0)?;
            self.expect_sign(")", " in paren expression")?;
            return Ok((inner, depth));
        }
        if self.is_sign("{") {
            return Ok((self.selector(None)?, 1));
        }
        match self.peek().clone() {
            TokenKind::Number(number) => {
                self.at += 1;
                Ok((Expression::Number(number), 1))
            }
            TokenKind::Duration(millis) => {
                self.at += 1;
                Ok((Expression::Number(super::number::seconds(millis)), 1))
            }
            TokenKind::Text(text) => {
                self.at += 1;
                Ok((Expression::Text(text), 1))
            }
            TokenKind::Name(name) => {
                let aggregation = Aggregation::named(&name.to_ascii_lowercase());
                let follows = &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].what;
                let groups = matches!(follows, TokenKind::Name(word)
                    if word.eq_ignore_ascii_case("by") || word.eq_ignore_ascii_case("without"));
                match (aggregation, follows) {
                    (Some(how), TokenKind::Sign("(")) => self.aggregate(how),
                    (Some(how), _) if groups => self.aggregate(how),
                    (None, TokenKind::Sign("(")) => self.call(&name),
                    _ => {
                        self.at += 1;
                        Ok((self.selector(Some(name))?, 1))
                    }
                }
            }
            _ => Err(self.unexpected("")),
        }
    }

    /// Parses `sum by (…) (…)` or `sum (…) by (…)`.
    fn aggregate(&mut self, how: Aggregation) -> Result<ParsedExpression, SyntaxError> {
        let at = self.tokens[self.at].at;
        self.at += 1;
        let before = self.grouping()?;
        let (mut arguments, depth) = self.arguments(" in aggregation")?;
        let after = self.grouping()?;
        if before.is_some() && after.is_some() {
            return Err(self.fail("the labels to group by are said twice"));
        }
        let fail = |message: String| Err(SyntaxError::at(self.text, at, message));
        let wanted = 1 + usize::from(how.parameter().is_some());
        if arguments.len() != wanted {
            let given = arguments.len();
            let message = "wrong number of arguments for aggregate expression provided, expected";
            return fail(format!("{message} {wanted}, got {given}"));
        }
        let of = arguments.pop().expect("invariant: there is one at least");
        let parameter = arguments.pop();
        let kinds = [(Some(&of), Some(ValueType::Vector)), (parameter.as_ref(), how.parameter())];
        for (given, wanted) in kinds {
            if let (Some(given), Some(wanted)) = (given.map(Expression::kind), wanted)
                && given != wanted
            {
                let (wanted, given) = (wanted.words(), given.words());
                let message = format!("expected type {wanted} in aggregation expression");
                return fail(format!("{message}, got {given}"));
            }
        }
        let grouping = before.or(after).unwrap_or(Grouping::By(Vec::new()));
        let aggregate = Aggregate { how, parameter, of, grouping };
        Ok((Expression::Aggregate(Box::new(aggregate)), depth + 1))
    }

    fn grouping(&mut self) -> Result<Option<Grouping>, SyntaxError> {
        if self.take_word("by") {
            return Ok(Some(Grouping::By(self.label_list()?)));
        }
        if self.take_word("without") {
            return Ok(Some(Grouping::Without(self.label_list()?)));
        }
        Ok(None)
    }

    fn call(&mut self, name: &str) -> Result<ParsedExpression, SyntaxError> {
        let at = self.tokens[self.at].at;
        let fail = |message: String| Err(SyntaxError::at(self.text, at, message));
        let Some(function) = FUNCTIONS.iter().find(|known| known.name == name).copied() else {
            return fail(format!("unknown function with name {name:?}"));
        };
        self.at += 1;
        let (arguments, depth) = self.arguments(" in call to function")?;
        match function.refuses(&arguments) {
            Some(reason) => Err(SyntaxError::at(self.text, at, reason)),
            None => Ok((Expression::Call(FunctionCall { function, arguments }), depth + 1)),
        }
    }

    /// Parses `(…, …)`, and returns the depth of the deepest argument.
    fn arguments(&mut self, context: &str) -> Result<(Vec<Expression>, usize), SyntaxError> {
        self.expect_sign("(", context)?;
        let (mut arguments, mut deepest) = (Vec::new(), 0);
        while !self.take_sign(")") {
            let (argument, depth) = self.expression(0)?;
            arguments.push(argument);
            deepest = deepest.max(depth);
            if !self.is_sign(")") {
                self.expect_sign(",", context)?;
            }
        }
        self.check_depth(deepest + 1)?;
        Ok((arguments, deepest))
    }
}

/// Returns the type error of a binary operator, if there is one.
fn operand_type_error(left: &Expression, link: &ChainLink) -> Option<String> {
    let ChainLink { operator, right, as_bool, matching } = link;
    let kinds = [left.kind(), right.kind()];
    if let Some(other) =
        kinds.iter().find(|kind| !matches!(kind, ValueType::Scalar | ValueType::Vector))
    {
        let message = "binary expression must contain only scalar and instant vector types, got";
        return Some(format!("{message} {}", other.words()));
    }
    if *as_bool && !operator.compares() {
        return Some("bool modifier can only be used on comparison operators".to_owned());
    }
    if kinds == [ValueType::Scalar, ValueType::Scalar] && operator.compares() && !as_bool {
        return Some("comparisons between scalars must use BOOL modifier".to_owned());
    }
    if !kinds.contains(&ValueType::Scalar) {
        let grouped = operator.is_of_sets() && matching.many.is_some();
        return grouped.then(|| "no grouping allowed for set operations".to_owned());
    }
    if operator.is_of_sets() {
        return Some("set operators are not allowed in binary scalar expressions".to_owned());
    }
    let matched = matching.labels != Grouping::default() || matching.many.is_some();
    matched.then(|| "vector matching only allowed between instant vectors".to_owned())
}
