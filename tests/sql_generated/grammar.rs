//! Random queries from everything that a query may use.
//!
//! Each statement has a subject: a function, a cast of one type to another, or a clause. The
//! subjects take turns, so that a round of statements has all of them. The rest of a statement is
//! random. Types match more often than not. The vocabulary comes from the lists that queries are
//! checked against.

mod forms;

use std::sync::LazyLock;

use fastrand::Rng;
use tidings_sql_engine::{Vocabulary, vocabulary};

use forms::Form;

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(vocabulary);

const TEXTS: [&str; 16] = [
    "''",
    "'a'",
    "'shop'",
    "'/r/1'",
    "'server'",
    "'%a_b%'",
    "'1'",
    "'1.5'",
    "'NaN'",
    "'true'",
    "'2026-11-20'",
    "'2026-11-20T08:00:00Z'",
    "'day'",
    "'Europe/Berlin'",
    "'ß🦀'",
    "'00000000000000000000000000000001'",
];

const NUMBERS: [&str; 16] = [
    "0",
    "1",
    "-1",
    "2",
    "7",
    "1000",
    "0.5",
    "-0.5",
    "1.5",
    "1e308",
    "9223372036854775807",
    "-9223372036854775808",
    "1000000000000",
    "1000000000000000",
    "CAST('NaN' AS DOUBLE)",
    "4294967296",
];

const TIMES: [&str; 10] = [
    "now()",
    "current_date",
    "DATE '2026-11-20'",
    "TIMESTAMP '2026-11-20T08:00:00'",
    "TIMESTAMP '1677-09-22T00:00:00'",
    "TIMESTAMP '2262-04-11T23:00:00'",
    "INTERVAL '1 day'",
    "INTERVAL '1 month'",
    "INTERVAL '178956970 years'",
    "to_timestamp(0)",
];

const PARTS: [&str; 12] = [
    "year",
    "month",
    "day",
    "hour",
    "minute",
    "second",
    "epoch",
    "dow",
    "week",
    "millisecond",
    "microsecond",
    "nanosecond",
];

/// The kind of a value, as far as functions distinguish it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Time,
    Truth,
    Any,
}

const KINDS: [Kind; 5] = [Kind::Text, Kind::Number, Kind::Time, Kind::Truth, Kind::Any];

impl Kind {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "text" => Self::Text,
            "bigint" | "integer" | "double" => Self::Number,
            "timestamp" => Self::Time,
            "boolean" => Self::Truth,
            _ => return None,
        })
    }
}

/// The subject of a statement.
#[derive(Debug, Clone, Copy)]
enum Subject {
    Scalar(&'static str),
    Aggregate(&'static str),
    Window(&'static str),
    Cast { form: &'static str, from: &'static str, to: &'static str },
    Clause(&'static str),
}

/// Subjects that are functions or clauses.
static NAMES: LazyLock<Vec<Subject>> = LazyLock::new(|| {
    let names = |names: &'static [String]| names.iter().map(String::as_str);
    let Vocabulary { scalars, aggregates, windows, clauses, .. } = &*VOCABULARY;
    let all = names(scalars).map(Subject::Scalar);
    let all = all.chain(names(aggregates).map(Subject::Aggregate));
    let all = all.chain(names(windows).map(Subject::Window));
    all.chain(clauses.iter().map(|clause| Subject::Clause(clause))).collect()
});

/// Subjects that are casts: each form between any two types.
static CASTS: LazyLock<Vec<Subject>> = LazyLock::new(|| {
    let Vocabulary { casts, types, .. } = &*VOCABULARY;
    let pairs = types.iter().flat_map(|from| types.iter().map(move |to| (*from, *to)));
    let all =
        pairs.flat_map(|(from, to)| casts.iter().map(move |form| Subject::Cast { form, from, to }));
    all.collect()
});

/// Generates one statement.
pub(crate) struct Grammar {
    rng: Rng,
    subject: Subject,
    /// The view with the alias `a`.
    view: usize,
    depth: usize,
}

impl Grammar {
    /// Returns the number of statements after which every subject was used.
    pub(crate) fn round() -> usize {
        2 * NAMES.len().max(CASTS.len())
    }

    /// Returns a generator of the statement with this number.
    pub(crate) fn new(seed: u64, place: usize) -> Self {
        // The many casts are the subject of every other statement.
        let subjects = if place.is_multiple_of(2) { &NAMES } else { &CASTS };
        let subject = subjects[place / 2 % subjects.len()];
        let rng = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ place as u64);
        Self { rng, subject, view: 0, depth: 0 }
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.usize(..of.len())]
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.u32(..100) < percent
    }

    pub(crate) fn statement(mut self) -> String {
        self.view = self.rng.usize(..VOCABULARY.views.len());
        match self.subject {
            Subject::Clause(clause) => match self.form(clause) {
                Some(form) => self.about(form),
                None => self.query(),
            },
            Subject::Cast { form, from, to } => {
                let cast = self.cast(form, from, to);
                self.about(Form::Value(cast))
            }
            _ => self.query(),
        }
    }

    /// Returns a statement that contains the form.
    fn about(&mut self, form: Form) -> String {
        let view = VOCABULARY.views[self.view].0;
        match form {
            Form::Value(value) => {
                let second = self.value(Kind::Any);
                format!("SELECT {value} AS c0, {second} AS c1 FROM {view} AS a")
            }
            Form::Aggregate(value) => {
                let key = self.column(Kind::Any);
                format!("SELECT {key} AS c0, {value} AS c1 FROM {view} AS a GROUP BY {key}")
            }
            Form::Condition(condition) => {
                format!("SELECT {} AS c0 FROM {view} AS a WHERE {condition}", self.value(Kind::Any))
            }
            Form::Selection(selection) => format!("SELECT {selection}"),
            Form::Statement(statement) => statement,
        }
    }

    /// Returns a query with optional clauses after its body.
    fn query(&mut self) -> String {
        let mut text = self.select();
        if self.chance(25) {
            let (by, way) = (self.rng.usize(1..=2), self.one(&["", " DESC", " DESC NULLS LAST"]));
            text += &format!(" ORDER BY {by}{way}");
        }
        if self.chance(30) {
            let limit = self.one(&["0", "1", "10", "1000", "20000000", "1000000000000"]);
            text += &format!(" LIMIT {limit}");
        }
        if self.chance(5) {
            text += &format!(" OFFSET {}", self.one(&["0", "1", "100", "1000000000000"]));
        }
        text
    }

    fn select(&mut self) -> String {
        let distinct = match (self.chance(10), self.chance(1)) {
            (_, true) => "DISTINCT ON (1) ",
            (true, _) => "DISTINCT ",
            _ => "",
        };
        let from = self.from();
        let has_window = matches!(self.subject, Subject::Window(_));
        let grouped =
            !has_window && (matches!(self.subject, Subject::Aggregate(_)) || self.chance(18));
        let filter = match self.chance(40) {
            true => format!(" WHERE {}", self.condition()),
            false => String::new(),
        };
        if !grouped {
            let (first, second) = (self.subject_value(), self.value(Kind::Any));
            return format!("SELECT {distinct}{first} AS c0, {second} AS c1 FROM {from}{filter}");
        }
        let (key, aggregate) = (self.column(Kind::Any), self.aggregate());
        let having = match self.chance(20) {
            true => format!(" HAVING count(*) > {}", self.one(&["0", "1", "100"])),
            false => String::new(),
        };
        match self.chance(30) {
            true => format!("SELECT {aggregate} AS c0, count(*) AS c1 FROM {from}{filter}{having}"),
            false => format!(
                "SELECT {distinct}{key} AS c0, {aggregate} AS c1 FROM {from}{filter} GROUP BY {key}{having}"
            ),
        }
    }

    fn from(&mut self) -> String {
        let view = VOCABULARY.views[self.view].0;
        let other =
            self.one(&["b.trace_id = a.trace_id", "b.service = a.service", "true", "1 = 0"]);
        match self.rng.u32(..100) {
            0..5 => format!("{view} AS a JOIN spans AS b ON {other}"),
            5..8 => format!("{view} AS a LEFT JOIN logs AS b ON {other}"),
            8..11 => format!("{view} AS a CROSS JOIN red AS b"),
            _ => format!("{view} AS a"),
        }
    }

    /// Returns a value that contains the statement's subject.
    fn subject_value(&mut self) -> String {
        match self.subject {
            Subject::Scalar(name) => self.call(name),
            Subject::Window(name) => self.window(name),
            _ => self.value(Kind::Any),
        }
    }

    fn aggregate(&mut self) -> String {
        let name = match self.subject {
            Subject::Aggregate(name) => name,
            _ => {
                let place = self.rng.usize(..VOCABULARY.aggregates.len());
                &VOCABULARY.aggregates[place]
            }
        };
        let distinct = if self.chance(15) { "DISTINCT " } else { "" };
        let filter = match self.chance(10) {
            true => format!(" FILTER (WHERE {})", self.condition()),
            false => String::new(),
        };
        if name.contains("percentile") && self.chance(80) {
            let share = self.one(&["0.5", "0.99", "0", "1", "2", "-1", "NULL", "'x'"]);
            let more = match self.chance(30) {
                true => format!(", {}", self.one(&NUMBERS)),
                false => String::new(),
            };
            let by = self.value(Kind::Number);
            return format!("{name}({share}{more}) WITHIN GROUP (ORDER BY {by}){filter}");
        }
        let kind = match name {
            "bool_and" | "bool_or" => Kind::Truth,
            "count" | "any_value" | "first_value" | "last_value" | "max" | "min" => Kind::Any,
            "approx_distinct" => Kind::Text,
            _ => Kind::Number,
        };
        let mut values = self.value(kind);
        if matches!(name, "corr" | "covar_pop" | "covar_samp") || self.chance(5) {
            values += &format!(", {}", self.value(kind));
        }
        format!("{name}({distinct}{values}){filter}")
    }

    fn window(&mut self, name: &str) -> String {
        let values = match name {
            "row_number" | "rank" | "dense_rank" | "percent_rank" | "cume_dist" => String::new(),
            "ntile" => self.one(&NUMBERS).to_owned(),
            "nth_value" | "lag" | "lead" => {
                format!("{}, {}", self.value(Kind::Any), self.one(&NUMBERS))
            }
            _ => self.value(Kind::Number),
        };
        let (part, by) = (self.column(Kind::Any), self.column(Kind::Any));
        let frame = self.one(&[
            "",
            "",
            " ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
            " ROWS BETWEEN 1000000000 PRECEDING AND 1000000000 FOLLOWING",
            " RANGE BETWEEN 1 PRECEDING AND 1 FOLLOWING",
            " GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW",
        ]);
        format!("{name}({values}) OVER (PARTITION BY {part} ORDER BY {by}{frame})")
    }

    /// Returns a call of a scalar function.
    fn call(&mut self, name: &str) -> String {
        let kind = match name {
            "date_bin" | "date_part" | "date_trunc" | "to_unixtime" => Kind::Time,
            "abs" | "acos" | "asin" | "atan" | "atan2" | "cbrt" | "ceil" | "cos" | "degrees"
            | "exp" | "floor" | "isnan" | "iszero" | "ln" | "log" | "log10" | "log2" | "nanvl"
            | "power" | "radians" | "round" | "signum" | "sin" | "sqrt" | "tan" | "trunc"
            | "chr" | "to_hex" | "make_date" | "from_unixtime" => Kind::Number,
            "coalesce" | "greatest" | "least" | "nullif" | "nvl" | "nvl2" | "arrow_typeof" => {
                self.one(&KINDS)
            }
            _ => Kind::Text,
        };
        let usual = match name {
            "pi" | "now" | "current_date" => 0,
            "atan2" | "contains" | "date_trunc" | "date_part" | "ends_with" | "left" | "right"
            | "nanvl" | "nullif" | "nvl" | "power" | "regexp_like" | "regexp_extract"
            | "starts_with" | "attribute_value" | "round" | "log" | "substr" => 2,
            "split_part" | "replace" | "make_date" | "nvl2" | "concat_ws" => 3,
            "coalesce" | "concat" | "greatest" | "least" | "date_bin" => self.rng.usize(1..4),
            _ => 1,
        };
        let count = if self.chance(10) { self.rng.usize(..5) } else { usual };
        let mut values: Vec<String> = (0..count).map(|_| self.value(kind)).collect();
        if self.chance(80) {
            match (name, values.as_mut_slice()) {
                ("date_trunc" | "date_part", [part, ..]) => {
                    *part = format!("'{}'", self.one(&PARTS));
                }
                ("date_bin", [stride, ..]) => {
                    *stride = self.one(&["INTERVAL '1 minute'", "INTERVAL '0 day'"]).to_owned();
                }
                ("left" | "right" | "substr" | "round", [_, number, ..])
                | ("split_part", [_, _, number, ..]) => *number = self.one(&NUMBERS).to_owned(),
                ("attribute_value", [map, ..]) => *map = "a.attributes".to_owned(),
                ("regexp_like" | "regexp_extract", [_, pattern, ..]) => {
                    *pattern = self.one(&["'a'", "'(a*)*b'", "'x{1000}{1000}'", "'('"]).to_owned();
                }
                _ => {}
            }
        }
        format!("{name}({})", values.join(", "))
    }

    fn column(&mut self, kind: Kind) -> String {
        let columns = &VOCABULARY.views[self.view].1;
        let fits: Vec<&str> = columns
            .iter()
            .filter(|(_, name)| match kind {
                Kind::Any => *name != "map" && *name != "list",
                _ => Kind::of(name) == Some(kind),
            })
            .map(|(name, _)| name.as_str())
            .collect();
        match fits.is_empty() || self.chance(2) {
            true => self.literal(),
            false => format!("a.{}", self.one(&fits)),
        }
    }

    fn literal(&mut self) -> String {
        let kind = self.one(&KINDS);
        self.literal_of(kind)
    }

    fn literal_of(&mut self, kind: Kind) -> String {
        match kind {
            Kind::Text => self.one(&TEXTS).to_owned(),
            Kind::Number => self.one(&NUMBERS).to_owned(),
            Kind::Time => self.one(&TIMES).to_owned(),
            Kind::Truth => self.one(&["true", "false", "NULL"]).to_owned(),
            Kind::Any => "NULL".to_owned(),
        }
    }

    /// Returns a value, usually of this kind.
    fn value(&mut self, kind: Kind) -> String {
        let kind = if self.chance(4) { self.one(&KINDS) } else { kind };
        if self.depth >= 3 || self.chance(60) {
            return if self.chance(70) { self.column(kind) } else { self.literal_of(kind) };
        }
        self.depth += 1;
        let text = self.compound(kind);
        self.depth -= 1;
        text
    }

    fn compound(&mut self, kind: Kind) -> String {
        let (left, right) = (self.value(kind), self.value(kind));
        match kind {
            Kind::Text => match self.rng.u32(..5) {
                0 => format!("({left} || {right})"),
                1 => format!("CAST({} AS TEXT)", self.value(Kind::Any)),
                2 => format!("upper({left})"),
                3 => "a.attributes['http.route']".to_owned(),
                _ => format!("coalesce({left}, {right})"),
            },
            Kind::Number => match self.rng.u32(..5) {
                0 => format!("({left} {} {right})", self.one(&["+", "-", "*", "/", "%"])),
                1 => format!("CAST({} AS {})", self.value(Kind::Text), self.one(VOCABULARY.types)),
                2 => format!("length({})", self.value(Kind::Text)),
                3 => format!("(- {left})"),
                _ => format!("EXTRACT({} FROM {})", self.one(&PARTS), self.value(Kind::Time)),
            },
            Kind::Time => match self.rng.u32(..3) {
                0 => format!("({left} {} {right})", self.one(&["+", "-"])),
                1 => format!("date_trunc('{}', {left})", self.one(&PARTS)),
                _ => format!("({left} AT TIME ZONE 'Asia/Kolkata')"),
            },
            Kind::Truth => self.condition(),
            Kind::Any if self.chance(50) => {
                let clause = self.one(VOCABULARY.clauses);
                match self.form(clause) {
                    Some(Form::Value(value)) => value,
                    _ => left,
                }
            }
            Kind::Any => {
                let count = VOCABULARY.scalars.len();
                let place = self.rng.usize(..count);
                self.call(&VOCABULARY.scalars[place])
            }
        }
    }

    fn condition(&mut self) -> String {
        let kind = self.one(&[Kind::Text, Kind::Number, Kind::Time]);
        self.depth += 1;
        let (left, right) = (self.value(kind), self.value(kind));
        let text = match self.rng.u32(..8) {
            0 => format!("({left} IS NOT NULL)"),
            1 => format!("({left} IN ({right}, {}))", self.value(kind)),
            2 => format!("({} LIKE {})", self.value(Kind::Text), self.one(&TEXTS)),
            3 => format!("({} ~ 'a.*b')", self.value(Kind::Text)),
            4 => format!("(NOT ({left} = {right}))"),
            5 => format!("({left} < {right} OR {right} < {left})"),
            _ => format!("({left} {} {right})", self.one(&["=", "<>", "<", "<=", ">", ">="])),
        };
        self.depth -= 1;
        text
    }
}
