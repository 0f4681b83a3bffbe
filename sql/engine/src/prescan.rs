//! Checks a query's tokens before parsing. A text that is too long or too deeply nested, or a chain
//! that is too long, would overflow the stack of a recursive function.
//!
//! Owns the bounds on text and tokens. Does not interpret the words.

use datafusion::sql::sqlparser::{
    dialect::PostgreSqlDialect,
    keywords::Keyword,
    tokenizer::{Location, Token, TokenWithSpan, Tokenizer, TokenizerError, Word},
};
use tidings_sql::{
    QueryPosition, SqlError,
    limits::{
        NESTING_MAX, OPERATORS_MAX, PLACEHOLDERS_MAX, SET_OPERATIONS_MAX, TOKENS_MAX, check_length,
    },
};

/// The tokens of a text that is within the bounds.
#[derive(Debug)]
pub(crate) struct Prescanned {
    pub(crate) tokens: Vec<TokenWithSpan>,
    pub(crate) placeholders: Placeholders,
}

/// The placeholders of a text.
#[derive(Debug, Default)]
pub(crate) struct Placeholders {
    /// Number of values that they take.
    pub(crate) count: usize,
    /// Position of the first one.
    pub(crate) first: Option<QueryPosition>,
    /// Placeholders in `LIMIT` and `OFFSET`.
    pub(crate) of_rows: Vec<usize>,
    /// True for `?` placeholders, which take one value after the other.
    is_counted: bool,
}

/// Returns the tokens of a text that is within the bounds. Placeholders that are `?` become `$1`,
/// `$2`, ….
pub(crate) fn prescan(text: &str) -> Result<Prescanned, SqlError> {
    check_length(text)?;
    let mut tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().map_err(
        |TokenizerError { message, location }| {
            SqlError::syntax(lower_first(&message)).at(place(location))
        },
    )?;
    let (mut count, mut placeholders) = (Count::default(), Placeholders::default());
    let mut is_of_rows = false;
    for token in &mut tokens {
        let here = place(token.span.start);
        let number = placeholders.number(&mut token.token, here).map_err(|error| error.at(here))?;
        placeholders.of_rows.extend(number.filter(|_| is_of_rows));
        count.add(&token.token).map_err(|error| error.at(here))?;
        match &token.token {
            Token::Whitespace(_) => {}
            Token::Word(word) => {
                is_of_rows = matches!(word.keyword, Keyword::LIMIT | Keyword::OFFSET);
            }
            _ => is_of_rows = false,
        }
    }
    Ok(Prescanned { tokens, placeholders })
}

impl Placeholders {
    /// Numbers the token if it is a placeholder.
    fn number(
        &mut self,
        token: &mut Token,
        here: Option<QueryPosition>,
    ) -> Result<Option<usize>, SqlError> {
        let (number, is_counted) = match token {
            Token::Question => (self.count + 1, true),
            Token::Placeholder(name) => {
                let number = name.strip_prefix('$').and_then(|number| number.parse().ok());
                let hint = "write ?, or $1, $2, …, or the value itself";
                let number = number.filter(|number| *number > 0);
                (number.ok_or_else(|| SqlError::not_allowed("this placeholder", hint))?, false)
            }
            _ => return Ok(None),
        };
        if self.first.is_some() && self.is_counted != is_counted {
            return Err(SqlError::syntax("placeholders are either all ? or all $1, $2, …"));
        }
        if number > PLACEHOLDERS_MAX {
            let what = "placeholders";
            let (got, max) = (number, PLACEHOLDERS_MAX);
            return Err(SqlError::TooComplex { what: what.into(), got, max, place: None });
        }
        *token = Token::Placeholder(format!("${number}"));
        self.count = self.count.max(number);
        self.first = self.first.or(here);
        self.is_counted = is_counted;
        Ok(Some(number))
    }
}

/// Returns a message of the parser's library without its capital.
pub(crate) fn lower_first(words: &str) -> String {
    let mut signs = words.chars();
    signs.next().into_iter().flat_map(char::to_lowercase).chain(signs).collect()
}

/// Returns the position that the parser reports.
pub(crate) fn place(location: Location) -> Option<QueryPosition> {
    let Location { line, column } = location;
    (line > 0).then_some(QueryPosition { line, column })
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
            Token::Word(word) if word.quote_style.is_none() => self.add_word(word),
            // A sign between two operands counts, whatever its meaning; signs of lists, names and
            // ends do not.
            Token::Word(_)
            | Token::Placeholder(_)
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
                return Err(SqlError::TooComplex { what: what.into(), got, max, place: None });
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
