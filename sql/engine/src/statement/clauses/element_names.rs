//! Names of clauses, operators and types: the lists of those that a query may use, and the names of
//! all parts of a syntax tree, listed or not.

use datafusion::sql::sqlparser::ast::{
    CeilFloorKind, DataType, DateTimeField, Expr, NullTreatment, SetOperator, SetQuantifier,
    TimezoneInfo, UnaryOperator, WildcardAdditionalOptions,
};

/// Clauses, forms of expressions and operators that a query may use.
pub(crate) const CLAUSES: &[&str] = &[
    // Of a query.
    "EXPLAIN",
    "WITH",
    "VALUES",
    "ORDER BY",
    "ASC",
    "DESC",
    "NULLS FIRST",
    "NULLS LAST",
    "LIMIT",
    "OFFSET",
    "UNION",
    "UNION ALL",
    "UNION BY NAME",
    "UNION ALL BY NAME",
    "INTERSECT",
    "INTERSECT ALL",
    "EXCEPT",
    "EXCEPT ALL",
    // Of a SELECT.
    "SELECT *",
    "SELECT a.*",
    "DISTINCT",
    "DISTINCT ON",
    "WHERE",
    "GROUP BY",
    "HAVING",
    "WINDOW",
    "QUALIFY",
    // Of FROM.
    "FROM a, b",
    "FROM (SELECT)",
    "FROM (a JOIN b)",
    "FROM f()",
    "JOIN",
    "LEFT JOIN",
    "RIGHT JOIN",
    "FULL JOIN",
    "CROSS JOIN",
    "LEFT SEMI JOIN",
    "RIGHT SEMI JOIN",
    "LEFT ANTI JOIN",
    "RIGHT ANTI JOIN",
    "ON",
    "USING",
    "NATURAL",
    // Of a call.
    "f(*)",
    "f(a.*)",
    "f(name => x)",
    "f(ALL x)",
    "f(DISTINCT x)",
    "f(x ORDER BY y)",
    "FILTER",
    "WITHIN GROUP",
    "IGNORE NULLS",
    "RESPECT NULLS",
    // Of a window.
    "OVER ()",
    "OVER w",
    "PARTITION BY",
    "OVER (ORDER BY)",
    "ROWS",
    "RANGE",
    "GROUPS",
    "UNBOUNDED PRECEDING",
    "n PRECEDING",
    "CURRENT ROW",
    "n FOLLOWING",
    "UNBOUNDED FOLLOWING",
    // Conditions.
    "IS NULL",
    "IS NOT NULL",
    "IS TRUE",
    "IS NOT TRUE",
    "IS FALSE",
    "IS NOT FALSE",
    "IS UNKNOWN",
    "IS NOT UNKNOWN",
    "IS DISTINCT FROM",
    "IS NOT DISTINCT FROM",
    "IN",
    "IN (SELECT)",
    "EXISTS",
    "BETWEEN",
    "LIKE",
    "ILIKE",
    "ESCAPE",
    "ANY (list)",
    "ALL (list)",
    "NOT",
    // Values.
    "CASE",
    "CASE x",
    "(SELECT)",
    "x['key']",
    "TYPE 'text'",
    "INTERVAL",
    "AT TIME ZONE",
    "EXTRACT",
    "SUBSTRING",
    "TRIM",
    "POSITION",
    "CEIL",
    "FLOOR",
    "+ x",
    "- x",
    // Operators between two values.
    "AND",
    "OR",
    "=",
    "<>",
    "<",
    "<=",
    ">",
    ">=",
    "+",
    "-",
    "*",
    "/",
    "%",
    "||",
    "~",
    "~*",
    "!~",
    "!~*",
    "&",
    "|",
    "#",
    "<<",
    ">>",
    "^",
];

/// Forms of a cast.
pub(crate) const CASTS: &[&str] = &["CAST", "TRY_CAST", "::"];

/// Types that a value may be cast to.
pub(crate) const TYPES: &[&str] = &[
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INT",
    "BIGINT",
    "TINYINT UNSIGNED",
    "SMALLINT UNSIGNED",
    "INT UNSIGNED",
    "BIGINT UNSIGNED",
    "REAL",
    "DOUBLE",
    "DECIMAL",
    "TEXT",
    "BYTEA",
    "DATE",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMP WITH TIME ZONE",
    "INTERVAL",
];

/// Returns the name of the operation, listed or not.
pub(super) fn set_operation(operator: SetOperator, quantifier: SetQuantifier) -> String {
    match quantifier {
        SetQuantifier::None | SetQuantifier::Distinct => operator.to_string(),
        SetQuantifier::DistinctByName => format!("{operator} BY NAME"),
        SetQuantifier::All | SetQuantifier::ByName | SetQuantifier::AllByName => {
            format!("{operator} {quantifier}")
        }
    }
}

/// Reports whether a `*` stands for all columns, without exceptions.
pub(super) fn is_plain(options: &WildcardAdditionalOptions) -> bool {
    options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
        && options.opt_alias.is_none()
}

/// Returns the name of a treatment of nulls.
pub(super) fn nulls(treatment: NullTreatment) -> &'static str {
    match treatment {
        NullTreatment::IgnoreNulls => "IGNORE NULLS",
        NullTreatment::RespectNulls => "RESPECT NULLS",
    }
}

/// Returns the name of a form that is true or false.
pub(super) fn condition(expr: &Expr) -> Option<&'static str> {
    let is_query = |right: &Expr| matches!(right, Expr::Subquery(_));
    Some(match expr {
        Expr::IsNull(_) => "IS NULL",
        Expr::IsNotNull(_) => "IS NOT NULL",
        Expr::IsTrue(_) => "IS TRUE",
        Expr::IsNotTrue(_) => "IS NOT TRUE",
        Expr::IsFalse(_) => "IS FALSE",
        Expr::IsNotFalse(_) => "IS NOT FALSE",
        Expr::IsUnknown(_) => "IS UNKNOWN",
        Expr::IsNotUnknown(_) => "IS NOT UNKNOWN",
        Expr::IsDistinctFrom(..) => "IS DISTINCT FROM",
        Expr::IsNotDistinctFrom(..) => "IS NOT DISTINCT FROM",
        Expr::InList { .. } => "IN",
        Expr::InSubquery { .. } => "IN (SELECT)",
        Expr::Exists { .. } => "EXISTS",
        Expr::Between { .. } => "BETWEEN",
        Expr::Like { any: false, .. } => "LIKE",
        Expr::ILike { any: false, .. } => "ILIKE",
        Expr::SimilarTo { .. } => "SIMILAR TO",
        Expr::AnyOp { right, .. } if !is_query(right) => "ANY (list)",
        Expr::AllOp { right, .. } if !is_query(right) => "ALL (list)",
        Expr::UnaryOp { op: UnaryOperator::Not, .. } => "NOT",
        _ => return None,
    })
}

/// Returns the name of a form with a value of any type.
pub(super) fn value(expr: &Expr) -> Option<&'static str> {
    let is_whole = |field: &CeilFloorKind| {
        matches!(field, CeilFloorKind::DateTimeField(DateTimeField::NoDateTime))
    };
    Some(match expr {
        Expr::Case { operand: None, .. } => "CASE",
        Expr::Case { .. } => "CASE x",
        Expr::Subquery(_) => "(SELECT)",
        Expr::CompoundFieldAccess { .. } => "x['key']",
        Expr::Interval(_) => "INTERVAL",
        Expr::AtTimeZone { .. } => "AT TIME ZONE",
        Expr::Extract { .. } => "EXTRACT",
        Expr::Substring { .. } => "SUBSTRING",
        Expr::Trim { .. } => "TRIM",
        Expr::Position { .. } => "POSITION",
        Expr::Ceil { field, .. } if is_whole(field) => "CEIL",
        Expr::Floor { field, .. } if is_whole(field) => "FLOOR",
        Expr::UnaryOp { op: UnaryOperator::Plus, .. } => "+ x",
        Expr::UnaryOp { op: UnaryOperator::Minus, .. } => "- x",
        _ => return None,
    })
}

/// Returns the name of a type, as the lists have it.
pub(super) fn type_name(data_type: &DataType) -> Option<&'static str> {
    let has_zone =
        |zone: &TimezoneInfo| matches!(zone, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone);
    Some(match data_type {
        DataType::Boolean | DataType::Bool => "BOOLEAN",
        DataType::TinyInt(_) => "TINYINT",
        DataType::SmallInt(_) | DataType::Int2(_) => "SMALLINT",
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => "INT",
        DataType::BigInt(_) | DataType::Int8(_) => "BIGINT",
        DataType::TinyIntUnsigned(_) => "TINYINT UNSIGNED",
        DataType::SmallIntUnsigned(_) | DataType::Int2Unsigned(_) => "SMALLINT UNSIGNED",
        DataType::IntUnsigned(_) | DataType::IntegerUnsigned(_) | DataType::Int4Unsigned(_) => {
            "INT UNSIGNED"
        }
        DataType::BigIntUnsigned(_) | DataType::Int8Unsigned(_) => "BIGINT UNSIGNED",
        DataType::Float(_) | DataType::Real | DataType::Float4 => "REAL",
        DataType::Double(_) | DataType::DoublePrecision | DataType::Float8 => "DOUBLE",
        DataType::Numeric(_) | DataType::Decimal(_) => "DECIMAL",
        DataType::Varchar(_) | DataType::Char(_) | DataType::Text | DataType::String(_) => "TEXT",
        DataType::Bytea => "BYTEA",
        DataType::Date => "DATE",
        DataType::Time(None, zone) if !has_zone(zone) => "TIME",
        DataType::Timestamp(_, zone) if has_zone(zone) => "TIMESTAMP WITH TIME ZONE",
        DataType::Timestamp(..) => "TIMESTAMP",
        DataType::Interval { .. } => "INTERVAL",
        _ => return None,
    })
}
