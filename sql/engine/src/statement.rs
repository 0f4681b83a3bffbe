//! Parses a query and refuses text that is not one query over the views, before anything is
//! planned.
//!
//! Refuses elements that `clauses` does not list, by name and position. `naming` names the answer's
//! columns. The engine's plan for the statement is checked again in `plan`.

mod clauses;
mod naming;

use std::{collections::HashMap, ops::ControlFlow};

use datafusion::sql::sqlparser::{
    ast::{
        DescribeAlias, Expr, GroupByExpr, Ident, LimitClause, ObjectName, Query, Select,
        SelectFlavor, SetExpr, Spanned, Statement, TableFactor, Value, Visit, Visitor,
    },
    dialect::PostgreSqlDialect,
    parser::{Parser, ParserError},
    tokenizer::TokenWithSpan,
};
use tidings_sql::{
    Parameter, QueryPosition, SqlError,
    limits::{NESTING_MAX, RELATIONS_MAX},
    views::{CATALOG, FUNCTIONS, SCHEMA, VIEWS},
};

use crate::{
    error::unknown,
    parameters,
    prescan::{self, Placeholders, Prescanned, prescan},
};

const ONE_QUERY: &str = "ask one query that begins with SELECT, WITH, VALUES or EXPLAIN";
const VIEWS_ONLY: &str = "read the views spans, logs, traces, red and edges, or tree(), ancestors(), descendants() and \
     matching_logs()";
const PLAIN: &str = "ask with what docs/sql.md lists";

pub(crate) use clauses::{CASTS, CLAUSES, TYPES};
pub use clauses::{CastPair, Elements};

/// Values of placeholders.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Values<'a> {
    /// These values, one for each placeholder.
    Given(&'a [Parameter]),
    /// Not known yet: the query can be described but not run.
    Later,
}

/// Reads the text of a query as a worker does before it plans it, for a fuzz target. Returns true
/// when the query may be planned.
#[must_use]
pub fn may_be_planned(text: &str) -> bool {
    let given = parse(text, Values::Given(&[])).is_ok();
    parse(text, Values::Later).is_ok() || given
}

/// Parses the text if it is a query that may be planned. Returns the query and its placeholders.
pub(crate) fn parse(text: &str, values: Values<'_>) -> Result<(Statement, Placeholders), SqlError> {
    let Prescanned { tokens, placeholders } = prescan(text)?;
    if let Values::Given(values) = values {
        match (values.len(), placeholders.count) {
            (given, wanted) if given == wanted => {}
            (0, _) => {
                let hint = "write the value into the query, or give one over Flight SQL";
                let refused = SqlError::not_allowed("a placeholder", hint);
                return Err(refused.at(placeholders.first));
            }
            (given, wanted) => {
                let reason = format!("{given} values are given for {wanted} placeholders");
                return Err(SqlError::parameter("query", reason));
            }
        }
    }
    let mut statement = one_statement(tokens)?;
    check(&statement)?;
    if let Values::Given(values) = values {
        parameters::bind(&mut statement, values)?;
    }
    naming::name(&mut statement)?;
    Ok((statement, placeholders))
}

/// Returns the elements of a query that may be planned.
///
/// # Errors
/// Fails if the text is no query that may be planned.
pub fn elements(text: &str) -> Result<Elements, SqlError> {
    check(&one_statement(prescan(text)?.tokens)?)
}

fn one_statement(tokens: Vec<TokenWithSpan>) -> Result<Statement, SqlError> {
    let mut parser = Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(2 * NESTING_MAX)
        .with_tokens_with_locations(tokens);
    let statements = parser.parse_statements().map_err(|error| match error {
        ParserError::TokenizerError(reason) | ParserError::ParserError(reason) => misread(&reason),
        ParserError::RecursionLimitExceeded => SqlError::TooComplex {
            what: "queries and brackets within each other".into(),
            got: 2 * NESTING_MAX + 1,
            max: 2 * NESTING_MAX,
            place: None,
        },
    })?;
    let mut statements = statements.into_iter();
    let statement = statements.next().ok_or_else(|| SqlError::syntax("there is no query"))?;
    match statements.next() {
        None => Ok(statement),
        Some(second) => {
            let refused = SqlError::not_allowed("a second statement", ONE_QUERY);
            Err(refused.at(place(&second)))
        }
    }
}

/// Translates the parser's message, which has its position at the end.
fn misread(reason: &str) -> SqlError {
    let (words, place) = match reason.rsplit_once(" at Line: ") {
        Some((words, place)) => {
            let place = place.split_once(", Column: ").and_then(|(line, column)| {
                Some(QueryPosition { line: line.parse().ok()?, column: column.parse().ok()? })
            });
            (words, place)
        }
        None => (reason, None),
    };
    let words = words.trim_start_matches("sql parser error: ");
    let words = match words.strip_prefix("Expected: ").and_then(|rest| rest.split_once(", found: "))
    {
        Some((expected, "EOF")) => format!("expected {expected}, and the query ends"),
        Some((expected, found)) => format!("expected {expected}, and found {found}"),
        None => prescan::lower_first(words),
    };
    SqlError::syntax(words.chars().take(500).collect::<String>()).at(place)
}

/// Refuses elements that are not on the lists.
fn check(statement: &Statement) -> Result<Elements, SqlError> {
    let query = match statement {
        Statement::Query(query) => query,
        Statement::Explain {
            describe_alias: DescribeAlias::Explain,
            analyze: false,
            verbose: false,
            query_plan: false,
            estimate: false,
            statement,
            format: None,
            options: None,
        } => match statement.as_ref() {
            Statement::Query(query) => query,
            other => return Err(refused_statement(other)),
        },
        Statement::Explain { .. } => {
            let hint = "EXPLAIN without ANALYZE or any option says how a query would be answered";
            return Err(SqlError::not_allowed("this form of EXPLAIN", hint).at(place(statement)));
        }
        other => return Err(refused_statement(other)),
    };
    let names = common_tables(query)?;
    let mut allowed = Allowed { names, depth: 0, elements: Elements::default() };
    let visited = match statement {
        Statement::Explain { .. } => allowed.elements.clause("EXPLAIN", query.as_ref()),
        _ => ControlFlow::Continue(()),
    };
    let visited = match visited {
        ControlFlow::Continue(()) => walk(query, &mut allowed),
        ControlFlow::Break(refused) => ControlFlow::Break(refused),
    };
    match visited {
        ControlFlow::Continue(()) => Ok(allowed.elements),
        ControlFlow::Break(refused) => Err(refused),
    }
}

fn refused_statement(statement: &Statement) -> SqlError {
    // The kind of a statement is its first word.
    let text = statement.to_string();
    let words: Vec<&str> = text
        .split(|sign: char| !sign.is_ascii_alphabetic())
        .take_while(|word| !word.is_empty() && word.chars().all(|sign| sign.is_ascii_uppercase()))
        .take(2)
        .collect();
    let what = if words.is_empty() { "this statement".to_owned() } else { words.join(" ") };
    SqlError::not_allowed(what, ONE_QUERY).at(place(statement))
}

fn place(of: &impl Spanned) -> Option<QueryPosition> {
    prescan::place(of.span().start)
}

/// Returns the common table expressions by name, each with the number of views that it reads after
/// the expressions in it are inserted. Refuses a query that reads too many.
fn common_tables(query: &Query) -> Result<HashMap<String, usize>, SqlError> {
    let mut weights: HashMap<String, usize> = HashMap::new();
    if let Some(with) = &query.with {
        if with.recursive {
            let hint = "tree(), ancestors() and descendants() walk traces";
            return Err(SqlError::not_allowed("WITH RECURSIVE", hint).at(place(with)));
        }
        for table in &with.cte_tables {
            let weight = weight(table.query.as_ref(), &weights).max(1);
            bounded(weight)?;
            weights.insert(name_of(&table.alias.name), weight);
        }
    }
    let body = Query { with: None, ..query.clone() };
    bounded(weight(&body, &weights))?;
    Ok(weights)
}

fn bounded(got: usize) -> Result<(), SqlError> {
    if got <= RELATIONS_MAX {
        return Ok(());
    }
    let what = "views to read, common table expressions put in their places";
    Err(SqlError::TooComplex { what: what.into(), got, max: RELATIONS_MAX, place: None })
}

fn weight(query: &Query, weights: &HashMap<String, usize>) -> usize {
    let mut relations = Relations { weights, sum: 0 };
    let flow = walk(query, &mut relations);
    debug_assert!(flow.is_continue());
    relations.sum
}

/// Adds up the weights of the relations that a query names.
struct Relations<'a> {
    weights: &'a HashMap<String, usize>,
    sum: usize,
}

impl PartVisitor for Relations<'_> {
    fn pre_visit_relation(&mut self, relation: &ObjectName) -> Flow {
        let known = single(relation).and_then(|name| self.weights.get(&name_of(name)));
        self.sum = self.sum.saturating_add(known.copied().unwrap_or(1));
        ControlFlow::Continue(())
    }
}

/// A visitor of the parts of a parsed text. Each function is called for one kind of part.
pub(crate) trait PartVisitor {
    /// Called before the parts of a query.
    fn pre_visit_query(&mut self, _query: &Query) -> Flow {
        ControlFlow::Continue(())
    }

    /// Called after the parts of a query.
    fn post_visit_query(&mut self, _query: &Query) -> Flow {
        ControlFlow::Continue(())
    }

    /// Called before the parts of a `SELECT`.
    fn pre_visit_select(&mut self, _select: &Select) -> Flow {
        ControlFlow::Continue(())
    }

    /// Called for the name of a relation.
    fn pre_visit_relation(&mut self, _relation: &ObjectName) -> Flow {
        ControlFlow::Continue(())
    }

    /// Called before the parts of an element of `FROM`.
    fn pre_visit_table_factor(&mut self, _factor: &TableFactor) -> Flow {
        ControlFlow::Continue(())
    }

    /// Called before the parts of an expression.
    fn pre_visit_expr(&mut self, _expr: &Expr) -> Flow {
        ControlFlow::Continue(())
    }
}

/// Visits the parts of a parsed text. The parser's walk is compiled for each type of its visitors,
/// with some 300 KB each time; all of ours share one.
pub(crate) fn walk(parsed: &impl Visit, visitor: &mut dyn PartVisitor) -> Flow {
    parsed.visit(&mut ForwardingVisitor(visitor))
}

/// Forwards the parser's calls.
struct ForwardingVisitor<'a>(&'a mut dyn PartVisitor);

impl Visitor for ForwardingVisitor<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &Query) -> Flow {
        self.0.pre_visit_query(query)
    }

    fn post_visit_query(&mut self, query: &Query) -> Flow {
        self.0.post_visit_query(query)
    }

    fn pre_visit_select(&mut self, select: &Select) -> Flow {
        self.0.pre_visit_select(select)
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> Flow {
        self.0.pre_visit_relation(relation)
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Flow {
        self.0.pre_visit_table_factor(factor)
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> Flow {
        self.0.pre_visit_expr(expr)
    }
}

/// Returns the name as the engine compares it.
pub(crate) fn name_of(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}

/// Returns the name if it has one part.
fn single(name: &ObjectName) -> Option<&Ident> {
    match name.0.as_slice() {
        [part] => part.as_ident(),
        _ => None,
    }
}

/// Visits a statement and refuses elements that are not on the lists.
struct Allowed {
    names: HashMap<String, usize>,
    /// Depth of nested queries.
    depth: usize,
    elements: Elements,
}

/// Result of a visit; it ends with an error.
pub(crate) type Flow = ControlFlow<SqlError>;

fn refuse(what: impl Into<String>, hint: &'static str, at: &impl Spanned) -> Flow {
    ControlFlow::Break(SqlError::not_allowed(what, hint).at(place(at)))
}

impl PartVisitor for Allowed {
    fn pre_visit_query(&mut self, query: &Query) -> Flow {
        let Query { with, locks, for_clause, settings, format_clause, pipe_operators, .. } = query;
        if with.is_some() && self.depth > 0 {
            let hint = "name all common table expressions at the beginning";
            return refuse("WITH within a query", hint, query);
        }
        self.depth += 1;
        if !locks.is_empty() || for_clause.is_some() {
            return refuse("FOR", PLAIN, query);
        }
        if query.fetch.is_some() {
            return refuse("FETCH", "write LIMIT and the number of rows", query);
        }
        if settings.is_some() || format_clause.is_some() || !pipe_operators.is_empty() {
            return refuse("SETTINGS, FORMAT or |>", PLAIN, query);
        }
        let mut bodies = vec![query.body.as_ref()];
        while let Some(body) = bodies.pop() {
            match body {
                SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => {}
                SetExpr::SetOperation { left, right, .. } => bodies.extend([&**left, &**right]),
                SetExpr::Insert(_) => return refuse("INSERT", ONE_QUERY, body),
                SetExpr::Update(_) => return refuse("UPDATE", ONE_QUERY, body),
                SetExpr::Delete(_) => return refuse("DELETE", ONE_QUERY, body),
                SetExpr::Merge(_) => return refuse("MERGE", ONE_QUERY, body),
                SetExpr::Table(_) => return refuse("TABLE", "write SELECT * FROM", body),
            }
        }
        self.elements.query(query)
    }

    fn post_visit_query(&mut self, _: &Query) -> Flow {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> Flow {
        if select.into.is_some() {
            return refuse("SELECT INTO", ONE_QUERY, select);
        }
        let plain = select.select_modifiers.is_none()
            && select.exclude.is_none()
            && select.lateral_views.is_empty()
            && select.prewhere.is_none()
            && select.connect_by.is_empty()
            && select.cluster_by.is_empty()
            && select.distribute_by.is_empty()
            && select.sort_by.is_empty()
            && select.value_table_mode.is_none()
            && matches!(select.flavor, SelectFlavor::Standard);
        if !plain {
            return refuse("this form of SELECT", PLAIN, select);
        }
        match &select.group_by {
            GroupByExpr::Expressions(_, modifiers) if modifiers.is_empty() => {
                self.elements.select(select)
            }
            _ => refuse("this form of GROUP BY", "name what to group by", select),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> Flow {
        self.elements.expr(expr)
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Flow {
        self.elements.factor(factor)?;
        match factor {
            TableFactor::Table {
                name,
                args,
                with_hints,
                version: None,
                with_ordinality: false,
                partitions,
                json_path: None,
                sample: None,
                index_hints,
                ..
            } if with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty() => {
                self.check_relation(name, args.is_some(), factor)
            }
            TableFactor::Derived { lateral: false, sample: None, .. }
            | TableFactor::NestedJoin { .. } => ControlFlow::Continue(()),
            TableFactor::UNNEST { .. } => refuse("UNNEST", VIEWS_ONLY, factor),
            _ => refuse("this form of FROM", VIEWS_ONLY, factor),
        }
    }
}

impl Allowed {
    fn check_relation(&self, name: &ObjectName, is_call: bool, factor: &TableFactor) -> Flow {
        let parts: Option<Vec<String>> =
            name.0.iter().map(|part| part.as_ident().map(name_of)).collect();
        let parts: Vec<&str> = parts.iter().flatten().map(String::as_str).collect();
        let is_known = match parts.as_slice() {
            [known] if is_call => FUNCTIONS.contains(known),
            [known] => VIEWS.contains(known) || self.names.contains_key(*known),
            // Tools write names with the catalog and the schema that the catalog lists.
            [SCHEMA, known] | [CATALOG, SCHEMA, known] => !is_call && VIEWS.contains(known),
            _ => false,
        };
        if is_known {
            return ControlFlow::Continue(());
        }
        let (what, known) = match is_call {
            true => ("table function", FUNCTIONS.to_vec()),
            false => {
                let mut own: Vec<&str> = self.names.keys().map(String::as_str).collect();
                own.sort_unstable();
                ("table", VIEWS.iter().copied().chain(own).collect())
            }
        };
        let name = if parts.is_empty() { name.to_string() } else { parts.join(".") };
        ControlFlow::Break(unknown(what, &name, known, place(factor)))
    }
}

/// Lowers the limit of the query to one row more than its answer may have. That row shows that
/// there are more, and the engine reserves memory for the number in the limit. Limits inside the
/// query stay, because they do not bound the answer.
pub(crate) fn bound_limit(statement: &mut Statement, rows_max: usize) {
    let most = rows_max.saturating_add(1) as u64;
    let Statement::Query(query) = statement else { return };
    let Some(LimitClause::LimitOffset { limit: Some(Expr::Value(limit)), .. }) =
        &mut query.limit_clause
    else {
        return;
    };
    if let Value::Number(digits, _) = &mut limit.value
        && digits.parse::<u64>().is_ok_and(|number| number > most)
    {
        *digits = most.to_string();
    }
}
