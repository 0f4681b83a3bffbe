//! The queries: path, target page and expected answer of each.
//!
//! The UI's pages have a target of 300 ms. Counting queries cover all spans that were sent, or a
//! known part. An answer that reports itself partial is marked so and its counts are not checked.

mod languages;

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value as Json;

use super::answers::{
    TraceConditions, field, is_cut, of_services, services, sum, transaction_types, within,
};
use crate::{Plan, SentTrace, client::encoded, facts::Facts};

/// One question, in one or more wordings that are asked in turn.
pub(super) struct BenchQuery<'a> {
    pub(super) name: &'static str,
    /// Latency target, as printed in the report.
    pub(super) target: &'static str,
    pub(super) paths: Vec<String>,
    /// True if the answer's counts hold only when the answer is complete.
    pub(super) counts: bool,
    /// Checks an answer, given the number of the wording.
    pub(super) check: AnswerCheck<'a>,
}

type AnswerCheck<'a> = Box<dyn Fn(usize, &Json) -> Result<()> + 'a>;

/// Targets of numbers over all spans, from rollups and from rows.
const FROM_SUMS: &str = "50 ms; 10 ms";
const FROM_ROWS: &str = "2.5 s; 0.8 s";
const PAGE: &str = "300 ms, for a page";
const EXPLAIN: &str = "1 s; 300 ms, for a page";
/// Number of spans that are explained; as many are compared with them.
const EXPLAINED: u64 = 200_000;
const COMPARED: usize = 100;
const TRACES: usize = 100;
/// Number of moments that lists end at.
const MOMENTS: u64 = 24;

/// Data that was sent, in the terms of queries.
pub(super) struct Asked<'a> {
    plan: &'a Plan<'a>,
    facts: Facts,
    sizes: HashMap<[u8; 16], u32>,
    /// Window in which all spans begin; its ends are no round times.
    window: String,
    begin_unix_nanos: u64,
    end_unix_nanos: u64,
    /// Number of spans that were sent twice.
    repeated: u64,
    /// Root operation of most traces.
    transaction_type: String,
    /// A stretch in the middle with two times [`EXPLAINED`] spans, about, and the half of it.
    stretch: String,
    half: String,
    in_stretch: u64,
    compared: [String; 2],
}

impl<'a> Asked<'a> {
    /// Asks for names and counts that the questions need.
    pub(super) fn new(plan: &'a Plan<'a>, ask: impl Fn(&str) -> Result<Json>) -> Result<Self> {
        let facts = plan.facts();
        let (begin, end) = plan.bounds_unix_nanos();
        let (service, operation) =
            facts.most_frequent_transaction_type().context("nothing was sent")?;
        let transaction_type =
            format!("service={}&operation={}", encoded(service), encoded(operation));
        let share = EXPLAINED as u128 * u128::from(end - begin) / u128::from(plan.spans);
        let half = u64::try_from(share).unwrap_or(u64::MAX).min((end - begin) / 2);
        let middle = begin + (end - begin) / 2;
        let stretch = format!("start={}&end={}", middle - half, middle + half);
        let in_stretch =
            sum(&ask(&format!("/api/v1/red?{stretch}&limit=1000"))?["groups"], "count")?;
        let ids = |more: &str| -> Result<String> {
            let path = format!("/api/v1/traces?{transaction_type}&limit={COMPARED}{more}");
            let answer = ask(&path)?;
            let traces = answer["traces"].as_array().context("no traces")?;
            let ids: Vec<_> = traces.iter().filter_map(|trace| trace["traceId"].as_str()).collect();
            ensure!(!ids.is_empty(), "{path} has nothing");
            Ok(ids.join(","))
        };
        let compared = [ids("")?, ids(&format!("&end={}", middle))?];
        Ok(Self {
            plan,
            sizes: plan.sizes(),
            window: format!("start={begin}&end={end}"),
            begin_unix_nanos: begin,
            end_unix_nanos: end,
            repeated: plan.spans_sent() - plan.spans,
            transaction_type,
            stretch,
            half: format!("selectStart={middle}"),
            in_stretch,
            compared,
            facts,
        })
    }

    /// All questions, in the order of the table.
    pub(super) fn questions(&self) -> Vec<BenchQuery<'_>> {
        let mut questions = self.searches();
        questions.extend(self.ranked());
        questions.extend(self.traceql());
        questions.extend(self.one_by_one());
        questions.extend(self.transactions());
        questions.extend(self.numbers());
        questions.extend(self.analyses());
        questions.extend(self.dashboards());
        questions.extend(self.sql());
        questions
    }

    fn searches(&self) -> Vec<BenchQuery<'_>> {
        let window = &self.window;
        let names = self.facts.services_by_spans();
        let some: Vec<String> = names.iter().step_by(8).map(|name| (*name).to_owned()).collect();
        let of_service = some
            .iter()
            .map(|name| format!("/api/v1/traces?service={}&{window}&limit=20", encoded(name)))
            .collect();
        let needles = self.plan.needles(10);
        let needles = needles
            .iter()
            .map(|needle| format!("/api/v1/traces?attribute={}", encoded(needle)))
            .collect();
        let search = |more: &str| vec![format!("/api/v1/traces?{more}&{window}&limit=20")];
        let frequent = names.iter().take(8);
        let services: Vec<_> = frequent.map(|name| format!("service={}", encoded(name))).collect();
        let failed = ["status=error".to_owned()];
        // The newest page of all has whichever trace is last: one of 10,000 spans, maybe.
        let up_to = |filters: &[String]| {
            let ends = self.moments().zip(filters.iter().cycle());
            ends.map(|(end, filter)| {
                format!(
                    "/api/v1/traces?{filter}&start={}&end={end}&limit=20",
                    self.begin_unix_nanos
                )
            })
            .collect()
        };
        vec![
            self.listing("newest 20 of a service", PAGE, of_service, move |place| {
                TraceConditions {
                    least: 1,
                    service: Some(some[place % some.len()].clone()),
                    ..TraceConditions::default()
                }
            }),
            self.listing("newest 20 that failed", PAGE, search("status=error"), |_| {
                TraceConditions { least: 1, failed: true, ..TraceConditions::default() }
            }),
            self.listing("newest 20 of a service up to a moment", PAGE, up_to(&services), one),
            self.listing("newest 20 that failed up to a moment", PAGE, up_to(&failed), |_| {
                TraceConditions { least: 1, failed: true, ..TraceConditions::default() }
            }),
            self.listing("the one with an attribute", PAGE, needles, one),
            self.listing(
                "newest 20 with an attribute that many have",
                PAGE,
                search("attribute=http.request.method%3DPOST"),
                one,
            ),
            self.listing(
                "newest 20 of an operation that took long",
                PAGE,
                search(&format!("{}&minDuration=200ms", self.transaction_type)),
                |_| TraceConditions {
                    longer_than_nanos: 200_000_000,
                    ..TraceConditions::default()
                },
            ),
        ]
    }

    /// Moments all over the second half of the window, at no round times: before them there is
    /// something of everything.
    fn moments(&self) -> impl Iterator<Item = u64> {
        let half = (self.end_unix_nanos - self.begin_unix_nanos) / 2;
        let middle = self.begin_unix_nanos + half;
        (1..=MOMENTS).map(move |number| middle + half / (40 * MOMENTS) * (40 * number - 1))
    }

    /// Lists in another order than by time.
    fn ranked(&self) -> Vec<BenchQuery<'_>> {
        let window = &self.window;
        let search = |more: &str| vec![format!("/api/v1/traces?{more}&{window}&limit=20")];
        let largest = self.sizes.values().max().copied().map_or(0, u64::from);
        vec![
            self.listing("the longest 20", PAGE, search("sort=duration"), one),
            self.listing(
                "the longest 20 that failed in a service",
                PAGE,
                search(&format!("sort=duration&status=error&{}", self.transaction_type)),
                |_| TraceConditions { failed: true, ..TraceConditions::default() },
            ),
            counting(
                "the 20 with most spans",
                PAGE,
                format!("/api/v1/traces?sort=spans&{window}&limit=20"),
                move |answer| {
                    let first = field(&answer["traces"][0], "spanCount")?;
                    within("spans of the largest", first, largest, largest)
                },
            ),
        ]
    }

    fn traceql(&self) -> Vec<BenchQuery<'_>> {
        let window = &self.window;
        let search =
            |query: &str| vec![format!("/api/v1/traces?q={}&{window}&limit=20", encoded(query))];
        let name = self.facts.services_by_spans().first().copied().unwrap_or_default();
        vec![
            self.listing(
                "TraceQL: newest 20 by a regular expression",
                PAGE,
                search(r#"{ span.url.path =~ "/api/v[0-9]/.*/0000.*[24680]/(get|list)" }"#),
                |_| TraceConditions::default(),
            ),
            self.listing(
                "TraceQL: newest 20 traces that took long",
                PAGE,
                search("{ trace:duration > 2s }"),
                |_| TraceConditions {
                    longer_than_nanos: 2_000_000_000,
                    ..TraceConditions::default()
                },
            ),
            self.listing(
                "TraceQL: newest 20 with a failed span below a service",
                PAGE,
                search(&format!(
                    "{{ resource.service.name = \"{name}\" }} >> {{ status = error }}"
                )),
                |_| TraceConditions { failed: true, ..TraceConditions::default() },
            ),
            self.listing(
                "TraceQL: newest 20 with more than 3 failed spans",
                PAGE,
                search("{ status = error } | count() > 3"),
                |_| TraceConditions { failed: true, ..TraceConditions::default() },
            ),
        ]
    }

    /// One trace, one transaction, and names to choose from.
    fn one_by_one(&self) -> Vec<BenchQuery<'_>> {
        let window = &self.window;
        let traces = self.plan.traces(TRACES);
        let all = |path: fn(&SentTrace) -> String| traces.iter().map(path).collect::<Vec<_>>();
        let skeletons = all(|trace| format!("/api/v1/traces/{}/skeleton", trace.id()));
        let transactions = all(|trace| format!("/api/v1/transactions/{}", trace.id()));
        let sizes: Vec<u64> = traces.iter().map(|trace| u64::from(trace.spans)).collect();
        let name = self.facts.services_by_spans().first().copied().unwrap_or_default();
        let operations = format!("/api/v1/operations?service={}&{window}", encoded(name));
        vec![
            BenchQuery {
                name: "one trace, as a page draws it",
                target: PAGE,
                paths: skeletons,
                counts: false,
                check: Box::new(move |place, answer| {
                    let found = field(&answer["summary"], "spanCount")?;
                    within("spans", found, sizes[place], sizes[place])
                }),
            },
            BenchQuery {
                name: "one transaction, hop by hop",
                target: PAGE,
                paths: transactions,
                counts: false,
                check: Box::new(|_, answer| {
                    let found = answer["traces"].as_array().map_or(0, Vec::len);
                    within("traces", found as u64, 1, 1)
                }),
            },
            BenchQuery {
                name: "names of services",
                target: PAGE,
                paths: vec![format!("/api/v1/services?{window}&limit=1000")],
                counts: false,
                check: Box::new(|_, answer| {
                    let found = answer["names"].as_array().map_or(0, Vec::len) as u64;
                    within("services", found, 1, self.facts.services.len() as u64)
                }),
            },
            counting("names of a service's operations", PAGE, operations, |answer| {
                let found = answer["names"].as_array().map_or(0, Vec::len);
                ensure!(found > 0, "no operations");
                Ok(())
            }),
            counting(
                "keys of attributes",
                PAGE,
                format!("/api/v1/attributes/keys?{window}"),
                |answer| {
                    let found = answer["keys"].as_array().map_or(0, Vec::len);
                    ensure!(found > 0, "no keys");
                    Ok(())
                },
            ),
        ]
    }

    fn transactions(&self) -> Vec<BenchQuery<'_>> {
        let (window, transaction_type) = (&self.window, &self.transaction_type);
        let whole = |answer: &Json| transaction_types(answer, &self.facts);
        vec![
            counting(
                "transaction types, where their time goes",
                PAGE,
                format!("/api/v1/transactions?{window}"),
                whole,
            ),
            counting(
                "critical path of a transaction type, added up",
                PAGE,
                format!("/api/v1/transactions?{transaction_type}&{window}"),
                move |answer| {
                    within("transaction types", field(answer, "transactionTypeCount")?, 1, 1)
                },
            ),
            counting(
                "the same, of the slowest in a hundred",
                PAGE,
                format!("/api/v1/transactions?{transaction_type}&above=p99&{window}"),
                move |answer| {
                    within("transaction types", field(answer, "transactionTypeCount")?, 1, 1)
                },
            ),
        ]
    }

    fn numbers(&self) -> Vec<BenchQuery<'_>> {
        let window = &self.window;
        let hours = 3_600_000_000_000;
        let round = format!(
            "start={}&end={}",
            self.begin_unix_nanos / hours * hours,
            self.end_unix_nanos.div_ceil(hours) * hours
        );
        let red = |more: &str| format!("/api/v1/red?limit=1000&{more}");
        let names = ["service", "count", "errorCount"];
        let groups = move |answer: &Json| {
            services(&answer["groups"], names, &self.facts, self.repeats(answer))
        };
        let all = |answer: &Json| self.all(answer, sum(&answer["groups"], "count")?);
        let cached = self.facts.cached;
        vec![
            counting("RED by service", PAGE, red(&format!("by=service&{window}")), groups),
            counting(
                "RED by service and operation",
                PAGE,
                red(&format!("by=service,operation&{window}")),
                all,
            ),
            counting(
                "the same, to whole hours",
                PAGE,
                red(&format!("by=service,operation&{round}")),
                all,
            ),
            counting(
                "p95 by service and operation over everything",
                FROM_SUMS,
                red(&format!("by=service,operation&step=24h&{round}")),
                all,
            ),
            counting(
                "p95 of spans with an attribute, from rows",
                FROM_ROWS,
                red(&format!("by=service&attribute=db.system.name%3Dredis&{window}")),
                move |answer| {
                    let found = sum(&answer["groups"], "count")?;
                    within("calls of the cache", found, cached, cached + self.repeats(answer))
                },
            ),
            counting("heatmap", PAGE, format!("/api/v1/heatmap?{window}"), |answer| {
                self.all(answer, field(answer, "count")?)
            }),
            counting(
                "heatmap of one operation",
                PAGE,
                format!("/api/v1/heatmap?{}&{window}", self.transaction_type),
                |_| Ok(()),
            ),
        ]
    }

    fn analyses(&self) -> Vec<BenchQuery<'_>> {
        let window = &self.window;
        let name = self.facts.services_by_spans().last().copied().unwrap_or_default();
        let [left, right] = &self.compared;
        let called = self.facts.called;
        let exceptions = format!("/api/v1/exceptions?{window}");
        vec![
            counting("service graph", PAGE, format!("/api/v1/graph?{window}"), move |answer| {
                let found = of_services(answer)?;
                within("calls between services", found, called, called + self.repeated)
            }),
            counting(
                "service graph of the traces of a service",
                PAGE,
                format!("/api/v1/graph?service={}&{window}", encoded(name)),
                |_| Ok(()),
            ),
            counting("exceptions", PAGE, exceptions, |answer| {
                let found = sum(&answer["groups"], "count")? + field(answer, "otherCount")?;
                let failed = self.facts.total.failed;
                let least = if is_cut(answer) { 1 } else { failed };
                within("exceptions", found, least, failed + self.repeated)
            }),
            counting(
                "explain 200,000 spans by 200,000 others",
                EXPLAIN,
                format!("/api/v1/explain?{}&{}", self.stretch, self.half),
                |answer| {
                    let found = field(answer, "selectedCount")? + field(answer, "restCount")?;
                    let apart = if self.repeats(answer) > 0 { self.repeated } else { 0 };
                    within("spans", found, self.in_stretch - apart, self.in_stretch + apart)
                },
            ),
            counting(
                "compare 100 traces with 100 others",
                PAGE,
                format!("/api/v1/compare?left={left}&right={right}"),
                |_| Ok(()),
            ),
            counting(
                "compare a trace with the typical one",
                PAGE,
                format!(
                    "/api/v1/compare?left={}&right=typical&{window}",
                    left.split(',').next().unwrap_or_default()
                ),
                |_| Ok(()),
            ),
        ]
    }

    /// Maximum number of spans that this answer may count twice.
    fn repeats(&self, answer: &Json) -> u64 {
        if answer["repeatsCounted"] == false { 0 } else { self.repeated }
    }

    /// Fails unless all spans are counted.
    fn all(&self, answer: &Json, found: u64) -> Result<()> {
        let (all, found) = (self.plan.spans, found + answer["otherCount"].as_u64().unwrap_or(0));
        let least = if is_cut(answer) { 1 } else { all };
        within("spans", found, least, all + self.repeats(answer))
    }

    fn listing(
        &self,
        name: &'static str,
        target: &'static str,
        paths: Vec<String>,
        like: impl Fn(usize) -> TraceConditions + 'static,
    ) -> BenchQuery<'_> {
        let check: AnswerCheck<'_> =
            Box::new(move |place, answer| like(place).check(answer, &self.sizes));
        BenchQuery { name, target, paths, counts: false, check }
    }
}

fn counting<'a>(
    name: &'static str,
    target: &'static str,
    path: String,
    check: impl Fn(&Json) -> Result<()> + 'a,
) -> BenchQuery<'a> {
    let check: AnswerCheck<'a> = Box::new(move |_, answer| check(answer));
    BenchQuery { name, target, paths: vec![path], counts: true, check }
}

/// Returns the condition that the answer has a trace, for any wording.
fn one(_place: usize) -> TraceConditions {
    TraceConditions { least: 1, ..TraceConditions::default() }
}
