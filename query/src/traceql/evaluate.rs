//! A pipeline over the spans of one trace.
//!
//! Owns the meaning of stages. A pipeline begins with one spanset that holds every span of the
//! trace; each stage makes spansets of spansets. Spans are numbers of rows in the order of the
//! call tree, and a spanset has each once, in that order.

use std::collections::{BTreeSet, HashMap};

use super::{
    compiled::{CompiledScalar, CompiledSpansets, CompiledStage, Node},
    relations::Shape,
    syntax::{Fold, Join, Operator},
    value::{Value, apply},
};

/// The spans of a trace as a query sees them.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) shape: Shape,
    /// How many values a row has.
    pub(crate) width: usize,
    /// Row by row.
    pub(crate) values: Vec<Value>,
}

impl Table {
    pub(crate) fn row(&self, span: u32) -> &[Value] {
        let start = span as usize * self.width;
        &self.values[start..start + self.width]
    }

    fn len(&self) -> usize {
        self.shape.parents.len()
    }
}

/// Some spans of a trace, and what is known of them together.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Spanset {
    pub(crate) spans: Vec<u32>,
    /// The values it was grouped by and the aggregates it was compared by.
    pub(crate) attributes: Vec<(String, Value)>,
}

impl Spanset {
    fn set(&mut self, label: &str, value: &Value) {
        match self.attributes.iter_mut().find(|(known, _)| known == label) {
            Some((_, known)) => *known = value.clone(),
            None => self.attributes.push((label.to_owned(), value.clone())),
        }
    }
}

/// The spansets that the pipeline makes of the trace; none of them is empty.
pub(crate) fn evaluate(stages: &[CompiledStage], table: &Table) -> Vec<Spanset> {
    let spans = u32::try_from(table.len()).unwrap_or(u32::MAX);
    let all = Spanset { spans: (0..spans).collect(), attributes: Vec::new() };
    let mut spansets = run(stages, table, vec![all]);
    spansets.retain(|spanset| !spanset.spans.is_empty());
    spansets
}

fn run(stages: &[CompiledStage], table: &Table, mut spansets: Vec<Spanset>) -> Vec<Spanset> {
    for stage in stages {
        spansets = match stage {
            CompiledStage::Spansets(of) => {
                let each = spansets.into_iter().flat_map(|spanset| select(of, table, &spanset));
                each.filter(|spanset| !spanset.spans.is_empty()).collect()
            }
            CompiledStage::Compare(operator, left, right) => {
                let each = spansets.into_iter();
                each.filter_map(|spanset| compare(*operator, left, right, table, spanset)).collect()
            }
            CompiledStage::By { of, label } => {
                spansets.into_iter().flat_map(|spanset| group(of, label, table, spanset)).collect()
            }
            CompiledStage::Coalesce => {
                vec![Spanset { spans: merged(&spansets), attributes: Vec::new() }]
            }
        };
    }
    spansets
}

/// The spans of all, each once, in order.
pub(crate) fn merged(spansets: &[Spanset]) -> Vec<u32> {
    match spansets {
        [] => Vec::new(),
        [only] => only.spans.clone(),
        several => {
            let mut spans: Vec<u32> = several.iter().flat_map(|one| one.spans.clone()).collect();
            spans.sort_unstable();
            spans.dedup();
            spans
        }
    }
}

fn select(of: &CompiledSpansets, table: &Table, input: &Spanset) -> Vec<Spanset> {
    let same = |spans: Vec<u32>| vec![Spanset { spans, attributes: input.attributes.clone() }];
    let side = |of: &CompiledSpansets| merged(&select(of, table, input));
    match of {
        CompiledSpansets::Filter(Node::Value(Value::Bool(true))) => vec![input.clone()],
        CompiledSpansets::Filter(node) => {
            let spans = input.spans.iter().copied();
            same(spans.filter(|span| node.holds(table.row(*span))).collect())
        }
        CompiledSpansets::Joined(first, rest) => {
            let from_left = |left, (join, next): &(Join, CompiledSpansets)| {
                joined(*join, left, side(next), table)
            };
            same(rest.iter().fold(side(first), from_left))
        }
        CompiledSpansets::Pipeline(stages) => run(stages, table, vec![input.clone()]),
    }
}

/// The spans that the join makes of these on its left and these on its right.
fn joined(join: Join, left: Vec<u32>, right: Vec<u32>, table: &Table) -> Vec<u32> {
    match join {
        Join::And if left.is_empty() || right.is_empty() => Vec::new(),
        Join::And | Join::Or => union(left, right),
        Join::Related(relation, which) => {
            let marks = |spans: Vec<u32>| {
                let mut marks = vec![false; table.len()];
                for span in spans {
                    marks[span as usize] = true;
                }
                marks
            };
            let related = table.shape.related(relation, which, &marks(left), &marks(right));
            (0..).zip(related).filter_map(|(span, is)| is.then_some(span)).collect()
        }
    }
}

fn union(left: Vec<u32>, right: Vec<u32>) -> Vec<u32> {
    let set = |spans| Spanset { spans, attributes: Vec::new() };
    merged(&[set(left), set(right)])
}

/// The spanset, when the comparison holds. One of pipelines becomes their spans.
fn compare(
    operator: Operator,
    left: &CompiledScalar,
    right: &CompiledScalar,
    table: &Table,
    mut spanset: Spanset,
) -> Option<Spanset> {
    let mut counted = Counted::default();
    let left = scalar(left, table, &spanset, &mut counted);
    let right = scalar(right, table, &spanset, &mut counted);
    if apply(operator, &left, &right) != Value::Bool(true) {
        return None;
    }
    for (label, value) in &counted.labels {
        spanset.set(label, value);
    }
    if counted.of_pipelines {
        spanset.spans = counted.spans.into_iter().collect();
    }
    Some(spanset)
}

/// What a comparison looked at.
#[derive(Default)]
struct Counted {
    labels: Vec<(String, Value)>,
    of_pipelines: bool,
    spans: BTreeSet<u32>,
}

fn scalar(of: &CompiledScalar, table: &Table, input: &Spanset, counted: &mut Counted) -> Value {
    match of {
        CompiledScalar::Value(value) => value.clone(),
        CompiledScalar::Aggregate { fold, of, label } => {
            let value = aggregate(*fold, of.as_ref(), table, &input.spans);
            counted.labels.push((label.clone(), value.clone()));
            value
        }
        CompiledScalar::Pipeline(stages, inner) => {
            let spans = merged(&run(stages, table, vec![input.clone()]));
            counted.of_pipelines = true;
            counted.spans.extend(&spans);
            // Their aggregates are about different spans; a label would not say about which.
            let spanset = Spanset { spans, attributes: Vec::new() };
            scalar(inner, table, &spanset, &mut Counted::default())
        }
        CompiledScalar::Arithmetic(first, rest) => {
            let first = scalar(first, table, input, counted);
            rest.iter().fold(first, |value, (operator, next)| {
                apply(*operator, &value, &scalar(next, table, input, counted))
            })
        }
    }
}

/// One number of many; values that are no numbers do not count.
fn aggregate(fold: Fold, of: Option<&Node>, table: &Table, spans: &[u32]) -> Value {
    let Some(of) = of else {
        return Value::Int(i64::try_from(spans.len()).unwrap_or(i64::MAX));
    };
    let values = spans.iter().map(|span| of.value(table.row(*span)).into_owned());
    let numbers = values.filter(|value| value.number().is_some());
    let pick = |operator: Operator, best: Value, next: Value| {
        if apply(operator, &next, &best) == Value::Bool(true) { next } else { best }
    };
    let mut count = 0_i64;
    let counted = numbers.inspect(|_| count += 1);
    let folded = counted.reduce(|sum, next| match fold {
        Fold::Min => pick(Operator::Less, sum, next),
        Fold::Max => pick(Operator::Greater, sum, next),
        Fold::Sum | Fold::Avg | Fold::Count => apply(Operator::Add, &sum, &next),
    });
    match (folded, fold) {
        (None, _) => Value::Nil,
        (Some(Value::Duration(sum)), Fold::Avg) => Value::Duration(sum / count.max(1)),
        (Some(sum), Fold::Avg) => {
            #[expect(clippy::cast_precision_loss, reason = "an average is a float")]
            let count = count as f64;
            apply(Operator::Div, &sum, &Value::Float(count))
        }
        (Some(value), _) => value,
    }
}

/// One spanset for each value, in the order of their first spans.
fn group(of: &Node, label: &str, table: &Table, spanset: Spanset) -> Vec<Spanset> {
    let mut groups: Vec<Spanset> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for span in spanset.spans {
        let value = of.value(table.row(span));
        let mut key = String::new();
        value.key(&mut key);
        let group = *known.entry(key).or_insert_with(|| {
            let mut group = Spanset { spans: Vec::new(), attributes: spanset.attributes.clone() };
            group.set(label, &value);
            groups.push(group);
            groups.len() - 1
        });
        groups[group].spans.push(span);
    }
    groups
}
