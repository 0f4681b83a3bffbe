//! Operators, and their signs.

use std::fmt;

/// Operators between or before operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "`Display` has the signs")]
pub enum Operator {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Equal,
    NotEqual,
    /// `=~`.
    Regex,
    /// `!~`; between spansets, not siblings.
    NotRegex,
    /// `>`; between spansets, children.
    Greater,
    GreaterEqual,
    /// `<`; between spansets, parents.
    Less,
    LessEqual,
    And,
    Or,
    Not,
    Descendant,
    Ancestor,
    Sibling,
    NotChild,
    NotParent,
    NotDescendant,
    NotAncestor,
    UnionChild,
    UnionParent,
    UnionDescendant,
    UnionAncestor,
    UnionSibling,
}

impl Operator {
    /// Reports whether the result is a number.
    pub(crate) fn is_arithmetic(self) -> bool {
        use Operator::{Add, Div, Mod, Mul, Pow, Sub};
        matches!(self, Add | Sub | Mul | Div | Mod | Pow)
    }

    /// Reports whether this compares two numbers.
    pub(crate) fn is_comparison(self) -> bool {
        use Operator::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
        matches!(self, Equal | NotEqual | Greater | GreaterEqual | Less | LessEqual)
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::And => "&&",
            Self::Or => "||",
            Self::Not => "!",
            Self::Descendant => ">>",
            Self::Ancestor => "<<",
            Self::Sibling => "~",
            Self::NotChild => "!>",
            Self::NotParent => "!<",
            Self::NotDescendant => "!>>",
            Self::NotAncestor => "!<<",
            Self::UnionChild => "&>",
            Self::UnionParent => "&<",
            Self::UnionDescendant => "&>>",
            Self::UnionAncestor => "&<<",
            Self::UnionSibling => "&~",
        })
    }
}
