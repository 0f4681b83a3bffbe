//! Splits a text into tokens, as Tempo's lexer does.
//!
//! Owns the rules of names: after a scope and a dot, everything up to a space, a bracket, a comma
//! or an operator other than `+ - * / %` belongs to the attribute's name; parts in double quotes
//! may hold anything.

mod literals;

use super::{
    DEPTH_MAX, TEXT_BYTES_MAX, TraceqlError,
    operator::Operator,
    syntax::{Scope, is_of_a_name},
};

/// Kinds of tokens.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind {
    OpenBrace,
    CloseBrace,
    OpenParenthesis,
    CloseParenthesis,
    Comma,
    Pipe,
    Operator(Operator),
    /// A word without a scope.
    Word(String),
    /// `span:name`: the scope before the colon, the word after it.
    ScopedWord(String, String),
    /// `.name`, `span.name`, `parent.resource.name`.
    Attribute {
        scope: Scope,
        parent: bool,
        name: String,
    },
    Text(String),
    Int(i64),
    Float(f64),
    /// A duration in nanoseconds.
    Duration(i64),
    /// The end of the text.
    End,
}

/// A token and its position in the text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    /// Index of its first byte.
    pub(super) start: usize,
    /// Index of the byte after its last.
    pub(super) end: usize,
}

/// Operators, the longest first, so that the first match is right.
const OPERATORS: [(&str, Operator); 34] = [
    ("!>>", Operator::NotDescendant),
    ("!<<", Operator::NotAncestor),
    ("&>>", Operator::UnionDescendant),
    ("&<<", Operator::UnionAncestor),
    ("!=", Operator::NotEqual),
    ("=~", Operator::Regex),
    ("!~", Operator::NotRegex),
    (">=", Operator::GreaterEqual),
    ("<=", Operator::LessEqual),
    ("&&", Operator::And),
    ("||", Operator::Or),
    (">>", Operator::Descendant),
    ("<<", Operator::Ancestor),
    ("!>", Operator::NotChild),
    ("!<", Operator::NotParent),
    ("&>", Operator::UnionChild),
    ("&<", Operator::UnionParent),
    ("&~", Operator::UnionSibling),
    ("=", Operator::Equal),
    (">", Operator::Greater),
    ("<", Operator::Less),
    ("~", Operator::Sibling),
    ("!", Operator::Not),
    ("+", Operator::Add),
    ("-", Operator::Sub),
    ("*", Operator::Mul),
    ("/", Operator::Div),
    ("%", Operator::Mod),
    ("^", Operator::Pow),
    // Spellings of other languages, for a better error.
    ("&", Operator::And),
    ("≠", Operator::NotEqual),
    ("≥", Operator::GreaterEqual),
    ("≤", Operator::LessEqual),
    ("¬", Operator::Not),
];

/// Number of [`OPERATORS`] that are valid in TraceQL.
const OPERATORS_VALID: usize = 29;

/// Returns the tokens of a text; the last one is [`TokenKind::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, TraceqlError> {
    let mut tokens = Vec::new();
    each_token(text, |token| tokens.push(token))?;
    Ok(tokens)
}

/// Returns the tokens of a text up to the first invalid one.
pub(super) fn readable_tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    // The error of the rest is ignored.
    let _ = each_token(text, |token| tokens.push(token));
    tokens.retain(|token| token.kind != TokenKind::End);
    tokens
}

fn each_token(text: &str, mut give: impl FnMut(Token)) -> Result<(), TraceqlError> {
    if text.len() > TEXT_BYTES_MAX {
        let message =
            format!("a query has at most {TEXT_BYTES_MAX} bytes; this has {}", text.len());
        return Err(TraceqlError::at(text, 0, message));
    }
    let mut lexer = Lexer { text, at: 0 };
    let mut depth = 0_u32;
    loop {
        lexer.skip_blanks()?;
        let start = lexer.at;
        let kind = lexer.next()?;
        match kind {
            TokenKind::OpenBrace | TokenKind::OpenParenthesis => depth += 1,
            TokenKind::CloseBrace | TokenKind::CloseParenthesis => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            let message = format!("brackets nest at most {DEPTH_MAX} deep");
            return Err(TraceqlError::at(text, start, message));
        }
        let last = kind == TokenKind::End;
        give(Token { kind, start, end: lexer.at });
        if last {
            return Ok(());
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T, TraceqlError> {
        Err(TraceqlError::at(self.text, self.at, message))
    }

    /// Skips blanks and comments.
    fn skip_blanks(&mut self) -> Result<(), TraceqlError> {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with("//") {
                self.at += trimmed.find('\n').unwrap_or(trimmed.len());
            } else if let Some(comment) = trimmed.strip_prefix("/*") {
                match comment.find("*/") {
                    Some(end) => self.at += end + 4,
                    None => return self.error("this comment does not end: `*/` is missing"),
                }
            } else {
                return Ok(());
            }
        }
    }

    fn next(&mut self) -> Result<TokenKind, TraceqlError> {
        let Some(first) = self.peek() else { return Ok(TokenKind::End) };
        let digit_follows =
            self.rest()[first.len_utf8()..].starts_with(|c: char| c.is_ascii_digit());
        match first {
            '{' => Ok(self.single(TokenKind::OpenBrace)),
            '}' => Ok(self.single(TokenKind::CloseBrace)),
            '(' => Ok(self.single(TokenKind::OpenParenthesis)),
            ')' => Ok(self.single(TokenKind::CloseParenthesis)),
            ',' => Ok(self.single(TokenKind::Comma)),
            '"' => self.quoted(),
            '`' => self.raw(),
            '.' if !digit_follows => self.attribute(Scope::Any, false, 1),
            '.' | '0'..='9' => self.number(),
            '_' => Ok(self.word()),
            first if first.is_alphabetic() => self.name(),
            _ => self.operator(),
        }
    }

    fn single(&mut self, kind: TokenKind) -> TokenKind {
        self.at += 1;
        kind
    }

    fn operator(&mut self) -> Result<TokenKind, TraceqlError> {
        let rest = self.rest();
        let known = OPERATORS.iter().position(|(sign, _)| rest.starts_with(sign));
        match known.map(|at| (at, OPERATORS[at])) {
            Some((at, (sign, operator))) if at < OPERATORS_VALID => {
                self.at += sign.len();
                Ok(TokenKind::Operator(operator))
            }
            Some((_, (sign, meant))) => {
                self.error(format!("`{sign}` is not an operator: did you mean `{meant}`?"))
            }
            None if rest.starts_with('|') => Ok(self.single(TokenKind::Pipe)),
            None if rest.starts_with('\'') => self.error("text is written in double quotes"),
            None => {
                let other = self.peek().unwrap_or_default();
                self.error(format!("`{}` has no meaning here", other.escape_default()))
            }
        }
    }

    fn word(&mut self) -> TokenKind {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        self.at += end;
        TokenKind::Word(rest[..end].to_owned())
    }

    /// Reads a word, or the attribute or intrinsic whose scope the word is.
    fn name(&mut self) -> Result<TokenKind, TraceqlError> {
        let TokenKind::Word(word) = self.word() else { return self.error("a word was expected") };
        match self.peek() {
            Some('.') if word == "parent" => {
                let inner = [Scope::Resource, Scope::Span].into_iter();
                let inner = inner.map(|scope| (scope, format!(".{}.", scope.word())));
                let inner = inner.into_iter().find(|(_, prefix)| self.rest().starts_with(prefix));
                match inner {
                    Some((scope, prefix)) => self.attribute(scope, true, prefix.len()),
                    None => self.attribute(Scope::Any, true, 1),
                }
            }
            Some('.') => match Scope::parse(&word) {
                Some(scope) => self.attribute(scope, false, 1),
                None => Ok(TokenKind::Word(word)),
            },
            Some(':') => {
                self.at += 1;
                self.skip_blanks()?;
                if !self.peek().is_some_and(char::is_alphabetic) {
                    return self
                        .error(format!("the name of an intrinsic is missing after `{word}:`"));
                }
                match self.word() {
                    TokenKind::Word(name) => Ok(TokenKind::ScopedWord(word, name)),
                    other => Ok(other),
                }
            }
            _ => Ok(TokenKind::Word(word)),
        }
    }

    /// Reads the name of an attribute, `skip` bytes from here.
    fn attribute(
        &mut self,
        scope: Scope,
        parent: bool,
        skip: usize,
    ) -> Result<TokenKind, TraceqlError> {
        self.at += skip;
        let mut name = String::new();
        while let Some(next) = self.peek().filter(|next| is_of_a_name(*next)) {
            self.at += next.len_utf8();
            if next == '"' {
                self.quoted_name(&mut name)?;
            } else {
                name.push(next);
            }
        }
        if name.is_empty() {
            return self.error("the name of an attribute is missing after the dot");
        }
        Ok(TokenKind::Attribute { scope, parent, name })
    }

    /// Reads the rest of a quoted part of a name; only `\"` and `\\` are escapes.
    fn quoted_name(&mut self, name: &mut String) -> Result<(), TraceqlError> {
        let start = self.at;
        let rest = self.rest();
        let mut chars = rest.char_indices();
        while let Some((at, next)) = chars.next() {
            match next {
                '"' => {
                    self.at += at + 1;
                    return Ok(());
                }
                '\\' => match chars.next() {
                    Some((_, escaped @ ('"' | '\\'))) => name.push(escaped),
                    _ => {
                        self.at = start + at;
                        return self.error("in a quoted name only `\\\"` and `\\\\` are escapes");
                    }
                },
                other => name.push(other),
            }
        }
        self.error("this quoted name does not end: `\"` is missing")
    }
}
