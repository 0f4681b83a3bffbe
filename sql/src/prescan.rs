//! Looks at a query's words before anything is parsed: what is too long, too deep or a chain too
//! long would overflow the stack of whoever walks it.
//!
//! Owns the bounds on text and tokens. Knows nothing of what the words mean.

use datafusion::sql::sqlparser::{
    dialect::PostgreSqlDialect,
    keywords::Keyword,
    tokenizer::{Location, Token, TokenWithSpan, Tokenizer, TokenizerError, Word},
};

use crate::{
    SqlError,
    error::Place,
    limits::{NESTING_MAX, OPERATORS_MAX, QUERY_BYTES_MAX, SET_OPERATIONS_MAX, TOKENS_MAX},
};

/// The tokens of a text that is worth parsing.
pub(crate) fn tokens(text: &str) -> Result<Vec<TokenWithSpan>, SqlError> {
    let too_complex = |what, got, max| SqlError::TooComplex { what, got, max, place: None };
    if text.len() > QUERY_BYTES_MAX {
        return Err(too_complex("bytes", text.len(), QUERY_BYTES_MAX));
    }
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().map_err(
        |TokenizerError { message, location }| {
            SqlError::syntax(lower_first(&message)).at(place(location))
        },
    )?;
    let mut count = Count::default();
    for token in &tokens {
        count.add(&token.token).map_err(|error| error.at(place(token.span.start)))?;
    }
    Ok(tokens)
}

/// The words of the parser's library without their capital.
pub(crate) fn lower_first(words: &str) -> String {
    let mut signs = words.chars();
    signs.next().into_iter().flat_map(char::to_lowercase).chain(signs).collect()
}

/// Where the parser says it is.
pub(crate) fn place(location: Location) -> Option<Place> {
    let Location { line, column } = location;
    (line > 0).then_some(Place { line, column })
}

#[derive(Debug, Default)]
struct Count {
    tokens: usize,
    open: usize,
    operators: usize,
    set_operations: usize,
}

impl Count {
    fn add(&mut self, token: &Token) -> Result<(), SqlError> {
        match token {
            Token::Whitespace(_) | Token::EOF => return Ok(()),
            Token::LParen | Token::LBracket | Token::LBrace => self.open += 1,
            Token::RParen | Token::RBracket | Token::RBrace => {
                self.open = self.open.saturating_sub(1);
            }
            Token::Placeholder(_) => {
                let hint = "write the value into the query";
                return Err(SqlError::not_allowed("a placeholder", hint));
            }
            Token::Word(word) if word.quote_style.is_none() => self.add_word(word),
            // A sign between two things, whatever it does: lists, names and ends apart.
            Token::Word(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::NationalStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::Comma
            | Token::Period
            | Token::SemiColon => {}
            _ => self.operators += 1,
        }
        self.tokens += 1;
        for (what, got, max) in [
            ("words and signs", self.tokens, TOKENS_MAX),
            ("brackets within each other", self.open, NESTING_MAX),
            ("operators", self.operators, OPERATORS_MAX),
            ("unions, intersections and differences", self.set_operations, SET_OPERATIONS_MAX),
        ] {
            if got > max {
                return Err(SqlError::TooComplex { what, got, max, place: None });
            }
        }
        Ok(())
    }

    fn add_word(&mut self, word: &Word) {
        match word.keyword {
            Keyword::AND
            | Keyword::OR
            | Keyword::NOT
            | Keyword::XOR
            | Keyword::IS
            | Keyword::LIKE
            | Keyword::ILIKE
            | Keyword::BETWEEN
            | Keyword::IN
            | Keyword::AT
            | Keyword::COLLATE
            | Keyword::WHEN
            | Keyword::JOIN => self.operators += 1,
            Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::MINUS => {
                self.set_operations += 1;
            }
            Keyword::CASE => self.open += 1,
            Keyword::END => self.open = self.open.saturating_sub(1),
            _ => {}
        }
    }
}
