//! The clauses, operators and casts of a query, by their names in the vocabulary.

use super::{Grammar, Kind, NUMBERS, PARTS, TEXTS, TIMES, VOCABULARY};

/// The part of a statement that contains a clause.
pub(super) enum Form {
    /// A value of a row.
    Value(String),
    /// A value of a group.
    Aggregate(String),
    /// A condition of WHERE.
    Condition(String),
    /// Everything after SELECT.
    Selection(String),
    /// A whole statement.
    Statement(String),
}

impl Grammar {
    /// Returns the part with this clause, or `None` when the grammar lacks it.
    pub(super) fn form(&mut self, clause: &str) -> Option<Form> {
        if let Some(value) = self.operator(clause) {
            return Some(Form::Value(value));
        }
        if let Some(value) = self.predicate(clause).or_else(|| self.special(clause)) {
            return Some(Form::Value(value));
        }
        if let Some(value) = self.over(clause) {
            return Some(Form::Value(value));
        }
        if let Some(value) = self.call_clause(clause) {
            return Some(Form::Aggregate(value));
        }
        if let Some(selection) = self.selection(clause) {
            return Some(Form::Selection(selection));
        }
        match clause {
            "EXISTS" => {
                let not = self.one(&["", "NOT "]);
                let inner = "SELECT 1 FROM logs AS l WHERE l.service = a.service";
                Some(Form::Condition(format!("{not}EXISTS ({inner})")))
            }
            "IN (SELECT)" => {
                let (column, not) = (self.column(Kind::Text), self.one(&["", "NOT "]));
                Some(Form::Condition(format!("{column} {not}IN (SELECT service FROM red)")))
            }
            _ => self.whole(clause).map(Form::Statement),
        }
    }

    /// Returns an operator between two values or before one.
    fn operator(&mut self, name: &str) -> Option<String> {
        let kind = match name {
            "AND" | "OR" | "NOT" => Kind::Truth,
            "=" | "<>" | "<" | "<=" | ">" | ">=" => {
                self.one(&[Kind::Text, Kind::Number, Kind::Time, Kind::Truth])
            }
            "+" | "-" => self.one(&[Kind::Number, Kind::Number, Kind::Time]),
            "*" | "/" | "%" | "&" | "|" | "#" | "<<" | ">>" | "^" | "+ x" | "- x" => Kind::Number,
            "||" | "~" | "~*" | "!~" | "!~*" => Kind::Text,
            _ => return None,
        };
        let left = self.value(kind);
        Some(match name {
            "NOT" => format!("(NOT {left})"),
            "+ x" => format!("(+ {left})"),
            "- x" => format!("(- {left})"),
            "~" | "~*" | "!~" | "!~*" => {
                format!("({left} {name} {})", self.one(&["'a.*b'", "'(a*)*b'", "'x{1000}'", "'('"]))
            }
            _ => format!("({left} {name} {})", self.value(kind)),
        })
    }

    /// Returns an expression that is true or false.
    fn predicate(&mut self, clause: &str) -> Option<String> {
        let kind = self.one(&[Kind::Text, Kind::Number, Kind::Time]);
        let not = self.one(&["", "NOT "]);
        Some(match clause {
            "IS NULL" | "IS NOT NULL" => format!("({} {clause})", self.value(kind)),
            "IS TRUE" | "IS NOT TRUE" | "IS FALSE" | "IS NOT FALSE" | "IS UNKNOWN"
            | "IS NOT UNKNOWN" => format!("({} {clause})", self.value(Kind::Truth)),
            "IS DISTINCT FROM" | "IS NOT DISTINCT FROM" => {
                format!("({} {clause} {})", self.value(kind), self.value(kind))
            }
            "BETWEEN" => {
                let (value, low) = (self.value(kind), self.value(kind));
                format!("({value} {not}BETWEEN {low} AND {})", self.value(kind))
            }
            "IN" => {
                let (value, first) = (self.value(kind), self.value(kind));
                format!("({value} {not}IN ({first}, {}))", self.value(kind))
            }
            "LIKE" | "ILIKE" => {
                format!("({} {not}{clause} {})", self.value(Kind::Text), self.one(&TEXTS))
            }
            "ESCAPE" => {
                let (like, escape) = (self.one(&["LIKE", "ILIKE"]), self.one(&["'!'", "'\\'"]));
                format!("({} {not}{like} '%a!_b%' ESCAPE {escape})", self.value(Kind::Text))
            }
            "ANY (list)" | "ALL (list)" => {
                let (quantifier, list) = (&clause[..3], self.lists());
                let operator = self.one(&["=", "<>", "<", "<=", ">", ">="]);
                format!("({} {operator} {quantifier} ({list}))", self.value(Kind::Text))
            }
            _ => return None,
        })
    }

    /// Returns a list column where the view has one.
    fn lists(&mut self) -> String {
        let columns = &VOCABULARY.views[self.view].1;
        let list = columns.iter().find(|(_, kind)| *kind == "list");
        list.map_or_else(|| self.column(Kind::Any), |(name, _)| format!("a.{name}"))
    }

    /// Returns an expression with a syntax of its own.
    fn special(&mut self, clause: &str) -> Option<String> {
        Some(match clause {
            "CASE" => {
                let (condition, then) = (self.condition(), self.value(Kind::Any));
                format!("CASE WHEN {condition} THEN {then} ELSE {} END", self.value(Kind::Any))
            }
            "CASE x" => {
                let (value, when) = (self.value(Kind::Text), self.value(Kind::Text));
                format!("CASE {value} WHEN {when} THEN {} END", self.value(Kind::Any))
            }
            "(SELECT)" => {
                let inner =
                    self.one(&["max(service) FROM red", "count(*) FROM logs", "service FROM red"]);
                format!("(SELECT {inner})")
            }
            "x['key']" => {
                let map = self.one(&["a.attributes", "a.resource", "a.service"]);
                format!("{map}[{}]", self.one(&["'http.route'", "''", "1", "1:2"]))
            }
            "TYPE 'text'" => {
                let to = self.one(VOCABULARY.types);
                format!("{} {}", self.spelt(to), self.one(&TEXTS))
            }
            "INTERVAL" => self.one(&TIMES[6..9]).to_owned(),
            "AT TIME ZONE" => {
                let zone = self.one(&["Asia/Kolkata", "UTC", "+01:30", "Mars"]);
                format!("({} AT TIME ZONE '{zone}')", self.value(Kind::Time))
            }
            "EXTRACT" => {
                format!("EXTRACT({} FROM {})", self.one(&PARTS), self.value(Kind::Time))
            }
            "SUBSTRING" => {
                let (text, from) = (self.value(Kind::Text), self.one(&NUMBERS));
                format!("SUBSTRING({text} FROM {from} FOR {})", self.one(&NUMBERS))
            }
            "TRIM" => {
                let side = self.one(&["BOTH", "LEADING", "TRAILING"]);
                format!("TRIM({side} {} FROM {})", self.one(&TEXTS), self.value(Kind::Text))
            }
            "POSITION" => {
                format!("POSITION({} IN {})", self.one(&TEXTS), self.value(Kind::Text))
            }
            "f(name => x)" => {
                format!(
                    "substr(str => {}, start_pos => {})",
                    self.value(Kind::Text),
                    self.one(&NUMBERS)
                )
            }
            "CEIL" | "FLOOR" => format!("{clause}({})", self.value(Kind::Number)),
            _ => return None,
        })
    }

    /// Returns a window function call with the clause.
    fn over(&mut self, clause: &str) -> Option<String> {
        let (part, by) = (self.column(Kind::Any), self.column(Kind::Any));
        let unit = self.one(&["ROWS", "RANGE", "GROUPS"]);
        let rows = self.one(&["0", "1", "1000", "1000000000"]);
        let window = match clause {
            "OVER ()" => String::new(),
            "PARTITION BY" => format!("PARTITION BY {part}"),
            "OVER (ORDER BY)" => format!("ORDER BY {by}"),
            "ROWS" | "RANGE" | "GROUPS" => {
                format!("ORDER BY {by} {clause} BETWEEN {rows} PRECEDING AND {rows} FOLLOWING")
            }
            "UNBOUNDED PRECEDING" | "n PRECEDING" | "CURRENT ROW" => {
                let bound = clause.replace('n', rows);
                format!("PARTITION BY {part} ORDER BY {by} {unit} {bound}")
            }
            "n FOLLOWING" | "UNBOUNDED FOLLOWING" => {
                let bound = clause.replace('n', rows);
                format!("ORDER BY {by} {unit} BETWEEN CURRENT ROW AND {bound}")
            }
            "IGNORE NULLS" | "RESPECT NULLS" => {
                let (name, value) =
                    (self.one(&["lag", "lead", "first_value"]), self.value(Kind::Any));
                return Some(format!("{name}({value}) {clause} OVER (ORDER BY {by})"));
            }
            _ => return None,
        };
        let call =
            self.one(&["count(*)", "row_number()", "max(a.service)", "sum(a.duration_nanos)"]);
        Some(format!("{call} OVER ({window})"))
    }

    /// Returns an aggregate call with the clause.
    fn call_clause(&mut self, clause: &str) -> Option<String> {
        let value = self.value(Kind::Number);
        Some(match clause {
            "f(*)" => "count(*)".to_owned(),
            "f(a.*)" => "count(a.*)".to_owned(),
            "f(ALL x)" => format!("{}(ALL {value})", self.one(&["count", "sum", "avg"])),
            "f(DISTINCT x)" => format!("{}(DISTINCT {value})", self.one(&["count", "sum", "max"])),
            "f(x ORDER BY y)" => {
                let (name, by) = (self.one(&["first_value", "last_value"]), self.value(Kind::Any));
                format!("{name}({value} ORDER BY {by} DESC)")
            }
            "FILTER" => format!("sum({value}) FILTER (WHERE {})", self.condition()),
            "WITHIN GROUP" => {
                let name = self.one(&["approx_percentile_cont", "percentile_cont"]);
                format!("{name}(0.9) WITHIN GROUP (ORDER BY {value} DESC)")
            }
            _ => return None,
        })
    }

    /// Returns the text after SELECT, with the clause.
    fn selection(&mut self, clause: &str) -> Option<String> {
        let view = VOCABULARY.views[self.view].0;
        if let Some(joined) = self.joined(clause) {
            let filter = if self.chance(30) {
                format!(" WHERE {}", self.condition())
            } else {
                String::new()
            };
            return Some(format!("count(*) AS c0 FROM {joined}{filter}"));
        }
        let (first, second) = (self.column(Kind::Any), self.column(Kind::Any));
        Some(match clause {
            "SELECT *" => format!("* FROM {view} AS a"),
            "SELECT a.*" => format!("a.* FROM {view} AS a"),
            "DISTINCT" => format!("DISTINCT {first} AS c0 FROM {view} AS a"),
            "DISTINCT ON" => {
                format!("DISTINCT ON ({first}) {second} AS c0 FROM {view} AS a ORDER BY {first}")
            }
            "WHERE" => format!("{first} AS c0 FROM {view} AS a WHERE {}", self.condition()),
            "GROUP BY" => {
                format!(
                    "{first} AS c0, {} AS c1 FROM {view} AS a GROUP BY {first}",
                    self.aggregate()
                )
            }
            "HAVING" => {
                let having = format!("{} IS NOT NULL", self.aggregate());
                format!("{first} AS c0 FROM {view} AS a GROUP BY {first} HAVING {having}")
            }
            "WINDOW" | "OVER w" => {
                let window = format!("PARTITION BY {first} ORDER BY {second}");
                format!(
                    "rank() OVER w AS c0, count(*) OVER w AS c1 FROM {view} AS a WINDOW w AS ({window})"
                )
            }
            "QUALIFY" => {
                let rank = format!("row_number() OVER (PARTITION BY {first} ORDER BY {second})");
                format!("{first} AS c0 FROM {view} AS a QUALIFY {rank} < 3")
            }
            "ORDER BY" | "ASC" | "DESC" | "NULLS FIRST" | "NULLS LAST" => {
                let way = if clause == "ORDER BY" { "" } else { clause };
                let by = self.value(Kind::Any);
                format!("{first} AS c0 FROM {view} AS a ORDER BY {by} {way}, c0 {way}")
            }
            "LIMIT" | "OFFSET" => {
                let count = self.one(&["0", "1", "100000", "20000000", "1000000000000", "1 + 1"]);
                format!("{first} AS c0 FROM {view} AS a ORDER BY {second} {clause} {count}")
            }
            _ => return None,
        })
    }

    /// Returns the text after FROM, with the clause.
    fn joined(&mut self, clause: &str) -> Option<String> {
        let view = VOCABULARY.views[self.view].0;
        let other = self.one(&["spans", "logs", "red"]);
        let on = self.one(&["b.service = a.service", "b.kind = a.kind", "true", "1 = 0"]);
        Some(match clause {
            "FROM a, b" => format!("{view} AS a, {other} AS b"),
            "FROM (SELECT)" => format!("(SELECT * FROM {view} LIMIT 100) AS a"),
            "FROM (a JOIN b)" => {
                format!(
                    "{view} AS a LEFT JOIN (red AS b JOIN logs AS c ON c.service = b.service) ON {on}"
                )
            }
            "FROM f()" => {
                let name = self.one(&VOCABULARY.table_functions);
                let arguments = match name {
                    "tree" => "'00000000000000000000000000000001'",
                    "matching_logs" => "'payment severity:>=warn or not timeout'",
                    _ => "'00000000000000000000000000000001', '0000000000000001'",
                };
                format!("{name}({arguments}) AS a")
            }
            "ON" => format!("{view} AS a JOIN {other} AS b ON {on} AND {}", self.condition()),
            "USING" => format!("{view} AS a JOIN {other} AS b USING (service)"),
            "NATURAL" => format!("{view} AS a NATURAL JOIN {other} AS b"),
            "CROSS JOIN" => format!("{view} AS a CROSS JOIN {other} AS b"),
            join if join.ends_with("JOIN") => format!("{view} AS a {join} {other} AS b ON {on}"),
            _ => return None,
        })
    }

    /// Returns a whole statement with the clause.
    fn whole(&mut self, clause: &str) -> Option<String> {
        Some(match clause {
            "EXPLAIN" => format!("EXPLAIN {}", self.query()),
            "VALUES" => {
                let (a, b, c) = (self.literal(), self.literal(), self.literal());
                format!("VALUES ({a}, {b}), ({c}, NULL)")
            }
            "WITH" => {
                let inner = self.query();
                format!("WITH w AS ({inner}) SELECT * FROM w AS x, w AS y")
            }
            "UNION" | "UNION ALL" | "UNION BY NAME" | "UNION ALL BY NAME" | "INTERSECT"
            | "INTERSECT ALL" | "EXCEPT" | "EXCEPT ALL" => {
                let (left, right) = (self.select(), self.select());
                format!("{left} {clause} {right}")
            }
            _ => return None,
        })
    }

    /// Returns a cast of a value of one type to another.
    pub(super) fn cast(&mut self, form: &str, from: &str, to: &str) -> String {
        let kind = match from {
            "BOOLEAN" => Kind::Truth,
            "TEXT" | "BYTEA" => Kind::Text,
            "DATE" | "TIME" | "INTERVAL" => Kind::Time,
            _ if from.starts_with("TIMESTAMP") => Kind::Time,
            _ => Kind::Number,
        };
        // The operand is shallow, because a query that is refused for its operand does not test the
        // cast.
        self.depth += 2;
        let value = self.value(kind);
        self.depth -= 2;
        let (from, to) = (self.spelt(from), self.spelt(to));
        let value = format!("{}({value} AS {from})", self.one(&["CAST", "TRY_CAST"]));
        match form {
            "::" => format!("{value}::{to}"),
            _ => format!("{form}({value} AS {to})"),
        }
    }

    /// Returns one of the spellings of the type.
    fn spelt(&mut self, name: &str) -> String {
        let forms: &[&str] = match name {
            "DECIMAL" => &["DECIMAL", "DECIMAL(10, 2)", "DECIMAL(38, 0)", "NUMERIC(76, 10)"],
            "TIMESTAMP" => &["TIMESTAMP", "TIMESTAMP(0)", "TIMESTAMP(3)", "TIMESTAMP(6)"],
            "TEXT" => &["TEXT", "VARCHAR"],
            _ => return name.to_owned(),
        };
        self.one(forms).to_owned()
    }
}
