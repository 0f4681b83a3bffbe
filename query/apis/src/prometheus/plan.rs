//! The times at which each selector is read. They are planned before anything is read, so that one
//! scan is enough.

use std::collections::BTreeSet;

use tidings_promql::{
    Aggregate, Aggregation, Expression, FunctionCall, Grouping, Selector, TimeModifier,
    labels::Matcher,
};

use super::{EvaluationTimes, PromqlError, multiples, step_of};

/// Interval of the samples of series that are not counted exactly between two times.
pub(super) const SAMPLED_EVERY_MS: i64 = 15_000;
/// Maximum number of times for one selector.
const TIMES_MAX: usize = 100_000;
/// Maximum number of times for all selectors of a query.
const TIMES_OF_ALL_MAX: usize = 2_000_000;

/// Data to read for one selector.
#[derive(Debug)]
pub(super) struct SelectorPlan {
    /// The matchers of its labels.
    pub(super) matchers: Vec<Matcher>,
    /// Start time of its counters.
    pub(super) origin_ms: i64,
    /// Times between which calls are counted.
    pub(super) bounds_ms: BTreeSet<i64>,
    /// Labels that its series are aggregated by, when they have no other use.
    pub(super) pre_aggregation: Option<Grouping>,
}

/// Reports whether the function counts the calls in a range exactly.
pub(super) fn is_exact(name: &str) -> bool {
    matches!(name, "rate" | "increase" | "delta")
}

/// Returns the plans of the query's selectors, by their ids.
pub(super) fn plan(
    root: &Expression,
    asked: &EvaluationTimes,
) -> Result<Vec<SelectorPlan>, PromqlError> {
    // Counters that are read as they are count from before the longest range of the query. So a
    // series with calls in a range also exists outside of it.
    let before_ms = asked.lookback_ms.saturating_add(longest_range(root));
    let mut walk = SelectorPlanner {
        asked: *asked,
        before_ms,
        pre_aggregation: None,
        times: 0,
        planned: Vec::new(),
    };
    walk.visit(root, &asked.times().collect::<Vec<i64>>())?;
    walk.planned.sort_by_key(|(id, _)| *id);
    Ok(walk.planned.into_iter().map(|(_, planned)| planned).collect())
}

struct SelectorPlanner {
    asked: EvaluationTimes,
    /// Time in milliseconds by which counters begin before the first evaluated time.
    before_ms: i64,
    /// Labels that the next visited expression is aggregated by.
    pre_aggregation: Option<Grouping>,
    /// Number of planned times.
    times: usize,
    planned: Vec<(usize, SelectorPlan)>,
}

/// The longest range of the query.
fn longest_range(of: &Expression) -> i64 {
    match of {
        Expression::Number(_) | Expression::Text(_) | Expression::Select(_) => 0,
        Expression::Range { range_ms, .. } => *range_ms,
        Expression::Subquery(subquery) => subquery.range_ms.max(longest_range(&subquery.inner)),
        Expression::Negated(inner) => longest_range(inner),
        Expression::Chain(first, links) => {
            let links = links.iter().map(|link| longest_range(&link.right));
            links.fold(longest_range(first), i64::max)
        }
        Expression::Aggregate(aggregate) => longest_range(&aggregate.of),
        Expression::Call(call) => call.arguments.iter().map(longest_range).max().unwrap_or(0),
    }
}

impl SelectorPlanner {
    /// Plans an expression that is evaluated at these ascending times.
    fn visit(&mut self, of: &Expression, times: &[i64]) -> Result<(), PromqlError> {
        match of {
            Expression::Number(_) | Expression::Text(_) => Ok(()),
            Expression::Select(selector) => {
                let at = self.moments(selector.moment, times);
                let origin = at.first().map_or(0, |first| first - self.before_ms);
                self.keep(selector, origin, at.into_iter().chain([origin]).collect())
            }
            Expression::Range { selector, range_ms } => {
                let at = self.moments(selector.moment, times);
                let origin =
                    at.first().map_or(0, |first| first - range_ms - self.asked.lookback_ms);
                let mut bounds: BTreeSet<i64> =
                    in_ranges(&at, *range_ms, SAMPLED_EVERY_MS)?.into_iter().collect();
                bounds.insert(origin);
                self.keep(selector, origin, bounds)
            }
            Expression::Subquery(subquery) => {
                let at = self.moments(subquery.moment, times);
                let inner = in_ranges(&at, subquery.range_ms, step_of(subquery))?;
                self.visit(&subquery.inner, &inner)
            }
            Expression::Negated(inner) => self.visit(inner, times),
            Expression::Chain(first, links) => {
                self.visit(first, times)?;
                links.iter().try_for_each(|link| self.visit(&link.right, times))
            }
            Expression::Aggregate(aggregate) => {
                if let Some(parameter) = &aggregate.parameter {
                    self.visit(parameter, times)?;
                }
                self.pre_aggregation =
                    is_pre_aggregated(aggregate).then(|| aggregate.grouping.clone());
                self.visit(&aggregate.of, times)
            }
            Expression::Call(call) => self.call(call, times),
        }
    }

    fn call(&mut self, call: &FunctionCall, times: &[i64]) -> Result<(), PromqlError> {
        if let ([Expression::Range { selector, range_ms }], true) =
            (call.arguments.as_slice(), is_exact(call.function.name))
        {
            let at = self.moments(selector.moment, times);
            let lookback = self.asked.lookback_ms;
            let bounds: BTreeSet<i64> =
                at.iter().flat_map(|at| [*at, at - range_ms, at - range_ms - lookback]).collect();
            let origin = bounds.first().copied().unwrap_or(0);
            return self.keep(selector, origin, bounds);
        }
        call.arguments.iter().try_for_each(|argument| self.visit(argument, times))
    }

    fn moments(&self, moment: TimeModifier, times: &[i64]) -> Vec<i64> {
        let mut at: Vec<i64> = times.iter().map(|time| self.asked.moment(moment, *time)).collect();
        at.dedup();
        at
    }

    fn keep(
        &mut self,
        selector: &Selector,
        origin_ms: i64,
        bounds_ms: BTreeSet<i64>,
    ) -> Result<(), PromqlError> {
        self.times = self.times.saturating_add(bounds_ms.len());
        if bounds_ms.len() > TIMES_MAX || self.times > TIMES_OF_ALL_MAX {
            return Err(times_error());
        }
        let (matchers, pre_aggregation) = (selector.matchers.clone(), self.pre_aggregation.take());
        self.planned
            .push((selector.id, SelectorPlan { matchers, origin_ms, bounds_ms, pre_aggregation }));
        Ok(())
    }
}

/// Reports whether the aggregate is a sum over counters of one selector, or over ranges of them.
/// Such sums can be computed while rows are read.
fn is_pre_aggregated(aggregate: &Aggregate) -> bool {
    let is_sum = matches!(aggregate.how, Aggregation::Sum | Aggregation::Group);
    is_sum
        && match &aggregate.of {
            Expression::Select(_) => true,
            Expression::Call(call) => {
                let is_range = matches!(call.arguments.as_slice(), [Expression::Range { .. }]);
                is_range && is_exact(call.function.name)
            }
            _ => false,
        }
}

/// Returns the multiples of the step in the ranges that end at these ascending times.
fn in_ranges(ends: &[i64], range_ms: i64, step: i64) -> Result<Vec<i64>, PromqlError> {
    let mut found: Vec<i64> = Vec::new();
    for end in ends {
        let begin = end.saturating_sub(range_ms);
        let after = found.last().map_or(begin, |last| begin.max(*last));
        for time in multiples(after, *end, step) {
            if found.len() >= TIMES_MAX {
                return Err(times_error());
            }
            found.push(time);
        }
    }
    Ok(found)
}

fn times_error() -> PromqlError {
    PromqlError::Execution(format!(
        "the query looks at more than {TIMES_MAX} times for one selector, or {TIMES_OF_ALL_MAX} \
         for all; ask for larger steps or shorter ranges"
    ))
}

#[cfg(test)]
mod tests {
    use tidings_promql::parse;

    use super::{EvaluationTimes, Grouping, plan};

    /// Returns the grouping by which each selector's series are aggregated.
    fn pre_aggregation(query: &str) -> Vec<Option<Grouping>> {
        let asked =
            EvaluationTimes { start_ms: 0, end_ms: 60_000, step_ms: 10_000, lookback_ms: 1_000 };
        let planned = plan(&parse(query).unwrap(), &asked).unwrap();
        planned.into_iter().map(|selector| selector.pre_aggregation).collect()
    }

    #[test]
    fn the_times_of_all_selectors_are_bounded() {
        // Each selector has at least 20,000 times.
        let asked = EvaluationTimes {
            start_ms: 0,
            end_ms: 109_990_000,
            step_ms: 10_000,
            lookback_ms: 1_000,
        };
        let planned = |selectors: usize| {
            let query = vec!["rate(m[5m])"; selectors].join(" + ");
            plan(&parse(&query).unwrap(), &asked).map(|planned| planned.len())
        };
        assert_eq!(planned(20).unwrap(), 20);
        let refused = planned(110).unwrap_err().to_string();
        assert!(refused.contains("2000000 for all"), "{refused}");
    }

    #[test]
    fn sums_of_selectors_are_pre_aggregated() {
        let by = |label: &str| Some(Grouping::By(vec![label.to_owned()]));
        let all = Some(Grouping::By(Vec::new()));
        for (query, expected) in [
            ("sum by (a) (rate(m[5m])) / sum by (b) (m)", vec![by("a"), by("b")]),
            ("topk(3, group by (a) (increase(m[5m] offset 1m)))", vec![by("a")]),
            ("sum without (a) (m)", vec![Some(Grouping::Without(vec!["a".to_owned()]))]),
            ("max_over_time(sum(delta(m[5m]))[1h:1m])", vec![all]),
            ("sum by (a) (m) + m", vec![by("a"), None]),
            // Functions of single series cannot be computed from their sum.
            ("max by (a) (rate(m[5m]))", vec![None]),
            ("count(m)", vec![None]),
            ("sum by (a) (m > 2)", vec![None]),
            ("sum(irate(m[5m]))", vec![None]),
            ("sum(rate(sum by (a) (m)[5m:1m]))", vec![by("a")]),
            ("sum(max(m))", vec![None]),
        ] {
            assert_eq!(pre_aggregation(query), expected, "{query}");
        }
    }
}
