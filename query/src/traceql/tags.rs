//! Completion of queries: attribute names and values.
//!
//! Owns the choice of the spans that supply them: those that match a query's conditions, newest
//! first within the row budget. An unfinished query is read leniently.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    hash::{BuildHasher as _, RandomState},
    ops::ControlFlow,
};

use tidings_pattern::Patterns;
use tidings_proto::otlp::StatusCode;
use tidings_storage::{Projection, Scan, TimeRange};
use tidings_traceql::{
    Expression, Field, Fields, INTRINSICS, Intrinsic, Join, Name, Operator, Query, Root, Scope,
    Spansets, Stage, Static, Value, compile, parse_incomplete, parse_with,
};

use super::{
    candidates::Candidates,
    read::{detail, needs_tree},
    spanset_search::each_candidate,
};
use crate::{
    QueryError,
    execution::Reader,
    query_limits::{OFFERED_BYTES_MAX, check_tags},
};

/// Maximum number of the newest rows read for names, because names need whole rows.
const NAME_ROWS_MAX: u64 = 100_000;
/// Maximum number of distinct names or values.
const KEPT_MAX: usize = 10_000;

/// Selection of names or values.
#[derive(Debug, Clone, Default)]
pub struct TagSearch {
    /// Query that selects the spans; may be unfinished.
    pub query: String,
    /// Range in which the spans start.
    pub start: TimeRange,
    /// Maximum number of names or values.
    pub limit: usize,
}

/// Returns the names of attributes by scope, without the names of intrinsics.
///
/// # Errors
/// The errors of [`Reader::spans`].
pub fn names(
    reader: &Reader,
    search: &TagSearch,
    scopes: &[Scope],
) -> Result<BTreeMap<Scope, BTreeSet<String>>, QueryError> {
    let mut fields = Fields::default();
    let stages = compile(&parse_incomplete(&search.query), &mut fields);
    let candidates = Candidates::from_stages(&stages, &fields, search.start);
    let mut names: BTreeMap<Scope, BTreeSet<String>> = BTreeMap::new();
    // Senders are identified by hash, because a resource has up to 64 KiB.
    let (hasher, mut senders) = (RandomState::new(), HashSet::new());
    let narrow = [Scope::Span, Scope::Resource];
    let all_narrow = scopes.iter().all(|scope| narrow.contains(scope));
    let wanted = if all_narrow { Projection::Attributes } else { Projection::Full };
    let mut row_reader = super::read::RowReader::new(&fields);
    let mut values = Vec::new();
    for filter in &candidates.filters {
        let rows_max = reader.settings.search_rows_max.min(NAME_ROWS_MAX);
        let scan = Scan { detail: detail(&fields).max(wanted), rows_max };
        reader.spans(filter, scan, |rows| {
            for row in 0..rows.len() {
                reader.check_cancelled()?;
                values.clear();
                row_reader.read(rows, row, &mut values);
                if !candidates.may_hold(&values) {
                    continue;
                }
                let mut add = |scope: Scope, keys: &mut dyn Iterator<Item = String>| {
                    if scopes.contains(&scope) {
                        let known = names.entry(scope).or_default();
                        let room = KEPT_MAX.saturating_sub(known.len());
                        let is_offered =
                            |key: &String| (1..=OFFERED_BYTES_MAX).contains(&key.len());
                        known.extend(keys.filter(is_offered).take(room));
                    }
                };
                add(Scope::Span, &mut rows.attributes(row).into_iter().map(|each| each.key));
                for (scope, key) in [
                    (Scope::Resource, rows.resource_key(row)),
                    (Scope::Instrumentation, rows.scope_key(row)),
                ] {
                    // Many spans share a sender, so each is read once.
                    let sender = hasher.hash_one((scope.word(), key));
                    if senders.len() < KEPT_MAX && senders.insert(sender) {
                        let attributes = match scope {
                            Scope::Resource => rows.resource(row).unwrap_or_default().attributes,
                            _ => rows.scope(row).unwrap_or_default().attributes,
                        };
                        add(scope, &mut attributes.into_iter().map(|each| each.key));
                    }
                }
                if !all_narrow {
                    let of_events = rows.events(row).into_iter().flat_map(|event| event.attributes);
                    add(Scope::Event, &mut of_events.map(|each| each.key));
                    let of_links = rows.links(row).into_iter().flat_map(|link| link.attributes);
                    add(Scope::Link, &mut of_links.map(|each| each.key));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    for names in names.values_mut() {
        while names.len() > search.limit {
            names.pop_last();
        }
    }
    Ok(names)
}

/// Returns the names of intrinsics in the spelling of queries.
#[must_use]
pub fn intrinsics() -> Vec<&'static str> {
    let all = INTRINSICS.iter().filter(|(intrinsic, ..)| {
        !matches!(
            intrinsic,
            Intrinsic::Parent
                | Intrinsic::NestedSetLeft
                | Intrinsic::NestedSetRight
                | Intrinsic::NestedSetParent
        )
    });
    let names = all.flat_map(|(_, shown, other)| [*shown, *other]);
    names.filter(|name| !name.is_empty() && *name != "childCount").collect()
}

/// Parses the name of a field in the spelling of queries: `.a`, `span.a`, `name`.
#[must_use]
pub fn field_named(name: &str) -> Option<Field> {
    let parsed = parse_with(&format!("{{}} | select({name})"), &mut Patterns::none());
    if let Ok(Query { root: Root::Search(stages), hints }) = parsed
        && let [_, Stage::Select(fields)] = stages.as_slice()
        && let ([field], []) = (fields.as_slice(), hints.as_slice())
    {
        return Some(field.clone());
    }
    None
}

/// Returns the values of a field, the most frequent first, and true when these are all.
///
/// # Errors
/// The errors of [`Reader::spans`].
pub fn values(
    reader: &Reader,
    search: &TagSearch,
    field: &Field,
) -> Result<Vec<Value>, QueryError> {
    let (field, of_roots) = match field.name {
        Name::Intrinsic(Intrinsic::RootName) => (Field::intrinsic(Intrinsic::Name), true),
        Name::Intrinsic(Intrinsic::RootService) => {
            (Field::attribute(Scope::Resource, "service.name"), true)
        }
        _ => (field.clone(), false),
    };
    if needs_tree(&field) {
        return Ok(Vec::new());
    }
    let mut stages = parse_incomplete(&search.query);
    let exists = |field: &Field, exists| {
        let of = Box::new(Expression::Field(field.clone()));
        Stage::Spansets(Spansets::Filter(Expression::Exists(of, exists)))
    };
    stages.push(exists(&field, true));
    if of_roots {
        stages.push(exists(&Field::intrinsic(Intrinsic::Parent), false));
    }
    let mut fields = Fields::default();
    let stages = compile(&stages, &mut fields);
    let candidates = Candidates::from_stages(&stages, &fields, search.start);
    let column = fields.number(&field);
    let mut counts: BTreeMap<String, (u64, Value)> = BTreeMap::new();
    each_candidate(reader, &candidates, &fields, |_, _, row| {
        let singles = match &row[column] {
            Value::Many(many) => many.to_vec(),
            single => vec![single.clone()],
        };
        for value in singles {
            let mut key = String::new();
            value.key(&mut key);
            if let Some((count, _)) = counts.get_mut(&key) {
                *count += 1;
            } else if counts.len() < KEPT_MAX && key.len() <= OFFERED_BYTES_MAX && !value.is_nil() {
                counts.insert(key, (1, value));
            }
        }
    })?;
    let mut values: Vec<(u64, Value)> = counts.into_values().collect();
    values.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    Ok(values.into_iter().take(search.limit).map(|(_, value)| value).collect())
}

/// Returns the stages of Tempo's older search. Some span of the trace has each tag: its value
/// contains the text, ignoring letter case. The duration of the whole trace is between these
/// bounds.
///
/// # Errors
/// `Parameter` when there are too many tags, or a value is too long for a pattern.
pub fn of_tags(
    tags: &[(String, String)],
    min_nanos: Option<i64>,
    max_nanos: Option<i64>,
) -> Result<Vec<Stage>, QueryError> {
    check_tags(tags.len())?;
    let mut patterns = Patterns::default();
    let mut stages: Vec<Stage> = Vec::new();
    let filters = tags.iter().map(|(key, value)| of_tag(key, value, &mut patterns));
    let filters: Vec<Spansets> =
        filters.map(|one| one.map(Spansets::Filter)).collect::<Result<_, _>>()?;
    let mut filters = filters.into_iter();
    if let Some(first) = filters.next() {
        let rest: Vec<(Join, Spansets)> = filters.map(|next| (Join::And, next)).collect();
        let is_one = rest.is_empty();
        let all = if is_one { first } else { Spansets::Joined(Box::new(first), rest) };
        stages.push(Stage::Spansets(all));
    }
    let bounds = [(Operator::GreaterEqual, min_nanos), (Operator::LessEqual, max_nanos)];
    for (operator, nanos) in bounds {
        let Some(nanos) = nanos else { continue };
        let duration = Expression::Field(Field::intrinsic(Intrinsic::TraceDuration));
        let bound = Expression::Static(Static::Duration(nanos));
        let bounded = Expression::Binary(operator, Box::new(duration), Box::new(bound));
        stages.push(Stage::Spansets(Spansets::Filter(bounded)));
    }
    if stages.is_empty() {
        stages.push(Stage::Spansets(Spansets::Filter(Expression::Static(Static::Bool(true)))));
    }
    Ok(stages)
}

fn of_tag(key: &str, value: &str, patterns: &mut Patterns) -> Result<Expression, QueryError> {
    let field = |intrinsic| Expression::Field(Field::intrinsic(intrinsic));
    let equals = |of: Expression, value: Static| {
        Expression::Binary(Operator::Equal, Box::new(of), Box::new(Expression::Static(value)))
    };
    let status = match (key, value) {
        ("error", "true") => Some(StatusCode::Error),
        ("status.code", word) => StatusCode::from_word(word),
        _ => None,
    };
    if let Some(status) = status {
        return Ok(equals(field(Intrinsic::Status), Static::Status(status)));
    }
    let of = match key {
        "name" => field(Intrinsic::Name),
        "root.name" => field(Intrinsic::RootName),
        "root.service.name" => field(Intrinsic::RootService),
        _ => Expression::Field(Field::attribute(Scope::Any, key)),
    };
    let pattern = patterns.compile(&format!("(?i).*{}.*", regex::escape(value)));
    let pattern =
        pattern.map_err(|error| QueryError::parameter("tags", format!("invalid tags: {error}")))?;
    let mut any = vec![Expression::Matches(Box::new(of.clone()), pattern, true)];
    if let Ok(number) = value.parse() {
        any.push(equals(of.clone(), Static::Int(number)));
    }
    if let Ok(number) = value.parse::<f64>() {
        any.push(equals(of.clone(), Static::Float(number)));
    }
    if let Ok(truth) = value.parse() {
        any.push(equals(of, Static::Bool(truth)));
    }
    Ok(Expression::Any(any))
}
