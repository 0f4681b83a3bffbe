//! Evaluation of a pipeline over the spans of one trace.
//!
//! Owns the meaning of stages. A pipeline begins with one spanset that holds every span of the
//! trace; each stage transforms spansets to spansets. Spans are numbers of rows in the order of the
//! call tree. A spanset has each span once, in that order.

use std::collections::{BTreeSet, HashMap};

use tidings_traceql::{
    CompiledScalar, CompiledSpansets, CompiledStage, Fold, Join, Node, Operator, Value, apply,
};

use super::relations::{Check, CheckPacer, TreeShape};
use crate::QueryError;

/// The spans of a trace as rows of values.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) shape: TreeShape,
    /// Number of values in a row.
    pub(crate) width: usize,
    /// The values, row by row.
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

/// Some spans of a trace, and their common values.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Spanset {
    pub(crate) spans: Vec<u32>,
    /// The values that it was grouped by, and the aggregates that it was compared by.
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

/// Returns the spansets of the pipeline's result for the trace; none of them is empty. Calls
/// `check` at intervals, which may end the evaluation.
///
/// The error that `check` returns.
pub(crate) fn evaluate(
    stages: &[CompiledStage],
    table: &Table,
    check: Check<'_>,
) -> Result<Vec<Spanset>, QueryError> {
    let spans = u32::try_from(table.len()).unwrap_or(u32::MAX);
    let all = Spanset { spans: (0..spans).collect(), attributes: Vec::new() };
    let evaluation = Evaluation { table, check, pace: CheckPacer::new(check) };
    let mut spansets = evaluation.run(stages, vec![all])?;
    spansets.retain(|spanset| !spanset.spans.is_empty());
    Ok(spansets)
}

/// Returns the spans of all spansets, each once, in order.
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

/// State of the evaluation of one trace.
struct Evaluation<'a> {
    table: &'a Table,
    /// Called before each span and spanset, because a pattern may take seconds in a long text.
    check: Check<'a>,
    pace: CheckPacer<'a>,
}

impl Evaluation<'_> {
    fn run(
        &self,
        stages: &[CompiledStage],
        mut spansets: Vec<Spanset>,
    ) -> Result<Vec<Spanset>, QueryError> {
        for stage in stages {
            if let CompiledStage::Coalesce = stage {
                let spans = merged(&spansets);
                spansets = vec![Spanset { spans, attributes: Vec::new() }];
            }
            let mut next = Vec::new();
            for spanset in spansets {
                (self.check)()?;
                match stage {
                    CompiledStage::Spansets(of) => {
                        let selected = self.select(of, &spanset)?.into_iter();
                        next.extend(selected.filter(|spanset| !spanset.spans.is_empty()));
                    }
                    CompiledStage::Compare(operator, left, right) => {
                        next.extend(self.compare(*operator, left, right, spanset)?);
                    }
                    CompiledStage::By { of, label } => {
                        next.extend(self.group(of, label, spanset)?);
                    }
                    CompiledStage::Coalesce => next.push(spanset),
                }
            }
            spansets = next;
        }
        Ok(spansets)
    }

    fn select(&self, of: &CompiledSpansets, input: &Spanset) -> Result<Vec<Spanset>, QueryError> {
        (self.check)()?;
        let same = |spans: Vec<u32>| vec![Spanset { spans, attributes: input.attributes.clone() }];
        let side = |of: &CompiledSpansets| self.select(of, input).map(|found| merged(&found));
        Ok(match of {
            CompiledSpansets::Filter(Node::Value(Value::Bool(true))) => vec![input.clone()],
            CompiledSpansets::Filter(node) => {
                let mut spans = Vec::new();
                for span in &input.spans {
                    (self.check)()?;
                    if node.holds(self.table.row(*span)) {
                        spans.push(*span);
                    }
                }
                same(spans)
            }
            CompiledSpansets::Joined(first, rest) => {
                let mut left = side(first)?;
                for (join, next) in rest {
                    left = self.joined(*join, &left, &side(next)?)?;
                }
                same(left)
            }
            CompiledSpansets::Pipeline(stages) => self.run(stages, vec![input.clone()])?,
        })
    }

    /// Returns the spans of a join of these left and right operands.
    fn joined(&self, join: Join, left: &[u32], right: &[u32]) -> Result<Vec<u32>, QueryError> {
        match join {
            Join::And if left.is_empty() || right.is_empty() => Ok(Vec::new()),
            Join::And | Join::Or => self.pace.united(left, right),
            Join::Related(relation, side) => {
                self.table.shape.related((relation, side), left, right, &self.pace)
            }
        }
    }

    /// Returns the spanset when the comparison holds. A comparison of pipelines returns the spans
    /// of both.
    fn compare(
        &self,
        operator: Operator,
        left: &CompiledScalar,
        right: &CompiledScalar,
        mut spanset: Spanset,
    ) -> Result<Option<Spanset>, QueryError> {
        let mut counted = ComparedValues::default();
        let left = self.scalar(left, &spanset, &mut counted)?;
        let right = self.scalar(right, &spanset, &mut counted)?;
        if apply(operator, &left, &right) != Value::Bool(true) {
            return Ok(None);
        }
        for (label, value) in &counted.labels {
            spanset.set(label, value);
        }
        if counted.of_pipelines {
            spanset.spans = counted.spans.into_iter().collect();
        }
        Ok(Some(spanset))
    }

    fn scalar(
        &self,
        of: &CompiledScalar,
        input: &Spanset,
        counted: &mut ComparedValues,
    ) -> Result<Value, QueryError> {
        Ok(match of {
            CompiledScalar::Value(value) => value.clone(),
            CompiledScalar::Aggregate { fold, of, label } => {
                let value = self.aggregate(*fold, of.as_ref(), &input.spans)?;
                counted.labels.push((label.clone(), value.clone()));
                value
            }
            CompiledScalar::Pipeline(stages, inner) => {
                let spans = merged(&self.run(stages, vec![input.clone()])?);
                counted.of_pipelines = true;
                counted.spans.extend(&spans);
                // The aggregates are about different spans, which a label could not express.
                let spanset = Spanset { spans, attributes: Vec::new() };
                self.scalar(inner, &spanset, &mut ComparedValues::default())?
            }
            CompiledScalar::Arithmetic(first, rest) => {
                let mut value = self.scalar(first, input, counted)?;
                for (operator, next) in rest {
                    value = apply(*operator, &value, &self.scalar(next, input, counted)?);
                }
                value
            }
        })
    }

    /// Aggregates the numbers of these spans; values that are not numbers do not count.
    fn aggregate(&self, fold: Fold, of: Option<&Node>, spans: &[u32]) -> Result<Value, QueryError> {
        let Some(of) = of else {
            return Ok(Value::Int(i64::try_from(spans.len()).unwrap_or(i64::MAX)));
        };
        let pick = |operator: Operator, best: Value, next: Value| {
            if apply(operator, &next, &best) == Value::Bool(true) { next } else { best }
        };
        let (mut count, mut folded) = (0_i64, None);
        for span in spans {
            (self.check)()?;
            let next = of.value(self.table.row(*span)).into_owned();
            if next.number().is_none() {
                continue;
            }
            count += 1;
            folded = Some(match (folded, fold) {
                (None, _) => next,
                (Some(best), Fold::Min) => pick(Operator::Less, best, next),
                (Some(best), Fold::Max) => pick(Operator::Greater, best, next),
                (Some(sum), Fold::Sum | Fold::Avg | Fold::Count) => {
                    apply(Operator::Add, &sum, &next)
                }
            });
        }
        Ok(match (folded, fold) {
            (None, _) => Value::Nil,
            (Some(Value::Duration(sum)), Fold::Avg) => Value::Duration(sum / count.max(1)),
            (Some(sum), Fold::Avg) => {
                #[expect(clippy::cast_precision_loss, reason = "an average is a float")]
                let count = count as f64;
                apply(Operator::Div, &sum, &Value::Float(count))
            }
            (Some(value), _) => value,
        })
    }

    /// Returns one spanset for each value, in the order of their first spans.
    fn group(&self, of: &Node, label: &str, spanset: Spanset) -> Result<Vec<Spanset>, QueryError> {
        let mut groups: Vec<Spanset> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        for span in spanset.spans {
            (self.check)()?;
            let value = of.value(self.table.row(span));
            let mut key = String::new();
            value.key(&mut key);
            let group = *known.entry(key).or_insert_with(|| {
                let attributes = spanset.attributes.clone();
                let mut group = Spanset { spans: Vec::new(), attributes };
                group.set(label, &value);
                groups.push(group);
                groups.len() - 1
            });
            groups[group].spans.push(span);
        }
        Ok(groups)
    }
}

/// Values that a comparison read.
#[derive(Default)]
struct ComparedValues {
    labels: Vec<(String, Value)>,
    of_pipelines: bool,
    spans: BTreeSet<u32>,
}
