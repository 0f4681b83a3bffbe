//! Questions about log records: the path, target and expected answer of each, for the server and for
//! VictoriaLogs.
//!
//! A search of the server reads at most [`SEARCH_ROWS_MAX`] rows and says in `searched` that its answer
//! is partial. Lists and patterns of more records may be partial; counts come from data files and must
//! be complete.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value as Json;

use super::log_plan::{LISTED, LogFacts, LogPlan, PATTERN, PAYMENT, PHRASE, RecordSubset, WORD};
use crate::client::encoded;

/// Steps of the histogram.
const STEP_MINUTES: u64 = 30;
/// Rows that a search of the server reads, unless it is configured otherwise (`search-rows-max`).
const SEARCH_ROWS_MAX: u64 = 20_000_000;

/// A question.
pub(super) struct LogQuestion {
    pub(super) name: &'static str,
    pub(super) target: &'static str,
    pub(super) path: String,
    /// Number of records that were sent.
    records: u64,
    expected: Expected,
    /// The path of VictoriaLogs; `None` if it cannot be asked.
    pub(super) victoria: Option<String>,
}

/// Extent of an answer that was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerExtent {
    /// All records were considered.
    Whole,
    /// The server read this number of rows and says that there are more.
    Partial { rows: u64 },
}

/// Content that an answer must have.
enum Expected {
    /// Times and bodies of log records, the newest first.
    Listed(Vec<(u64, String)>),
    /// Counts by severity, whatever the step.
    Severities(BTreeMap<String, u64>),
    /// Counts by service and severity.
    Groups(BTreeMap<(String, String), u64>),
    /// All records, counted.
    Counted(u64),
}

impl LogQuestion {
    /// Checks an answer of the server and returns its extent.
    ///
    /// # Errors
    /// When it is not what was sent, or is partial where it must be complete.
    pub(super) fn check(&self, answer: &[u8]) -> Result<AnswerExtent> {
        let answer: Json = serde_json::from_slice(answer)?;
        let partial_rows = partial_rows(&answer)?;
        match &self.expected {
            Expected::Listed(sent) => self.check_list(&answer, sent, partial_rows),
            Expected::Severities(sent) => {
                self.ensure_complete(partial_rows)?;
                let steps = answer["steps"].as_array().context("no steps")?;
                let found = sent.keys().map(|severity| {
                    let counts = steps.iter().filter_map(|step| step[severity].as_u64());
                    (severity.clone(), counts.sum())
                });
                self.compare(&found.collect(), sent)
            }
            Expected::Groups(sent) => {
                self.ensure_complete(partial_rows)?;
                let groups = answer["groups"].as_array().context("no groups")?;
                let found = groups.iter().map(|group| {
                    let [service, severity] = [0, 1].map(|at| text(&group["values"][at]));
                    Some(((service?, severity?), group["count"].as_u64()?))
                });
                self.compare(&found.collect::<Option<_>>().context("no group")?, sent)
            }
            Expected::Counted(sent) => self.check_patterns(&answer, *sent, partial_rows),
        }
    }

    /// Checks a list. A partial one has some of the newest records, in their order.
    fn check_list(
        &self,
        answer: &Json,
        sent: &[(u64, String)],
        partial_rows: Option<u64>,
    ) -> Result<AnswerExtent> {
        let logs = answer["logs"].as_array().context("no list of logs")?;
        let time = |log: &Json| log["timeUnixNano"].as_str().and_then(|it| it.parse().ok());
        let record = |log: &Json| Some((time(log)?, log["text"].as_str()?.to_owned()));
        let found: Option<Vec<(u64, String)>> = logs.iter().map(record).collect();
        let found = found.context("no time or text")?;
        match partial_rows {
            // A search that ends once it has its page says that it is partial and misses nothing.
            Some(rows) if found.len() < sent.len() => {
                let mut left = sent.iter();
                let were_sent = found.iter().all(|record| left.any(|other| other == record));
                ensure!(were_sent, "{}: {found:?}, sent {sent:?}", self.name);
                self.accept_partial(rows)
            }
            _ => self.compare(&found.as_slice(), &sent),
        }
    }

    /// Checks the number of records that are in patterns. A partial answer compares no pattern with
    /// the time before.
    fn check_patterns(
        &self,
        answer: &Json,
        sent: u64,
        partial_rows: Option<u64>,
    ) -> Result<AnswerExtent> {
        let count = answer["count"].as_u64().context("no count")?;
        let Some(rows) = partial_rows else { return self.compare(&count, &sent) };
        ensure!((1..=rows).contains(&count), "{}: {count} records in {rows} rows", self.name);
        let patterns = answer["patterns"].as_array().context("no patterns")?;
        let is_compared = patterns.iter().any(|pattern| pattern["isNew"] != false);
        ensure!(!is_compared, "{}: partial, and has new patterns", self.name);
        self.accept_partial(rows)
    }

    fn ensure_complete(&self, partial_rows: Option<u64>) -> Result<()> {
        ensure!(partial_rows.is_none(), "{}: partial after {partial_rows:?} rows", self.name);
        Ok(())
    }

    /// Accepts a partial answer where there are more records than a search reads rows.
    fn accept_partial(&self, rows: u64) -> Result<AnswerExtent> {
        let (name, records) = (self.name, self.records);
        ensure!(
            records > SEARCH_ROWS_MAX && rows < records,
            "{name}: partial after {rows} rows of {records} records"
        );
        Ok(AnswerExtent::Partial { rows })
    }

    /// Checks an answer of VictoriaLogs, which is never partial.
    ///
    /// # Errors
    /// When it is not what was sent.
    pub(super) fn check_victoria(&self, answer: &[u8]) -> Result<AnswerExtent> {
        let lines = answer.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let lines = lines.map(serde_json::from_slice).collect::<Result<Vec<Json>, _>>()?;
        match &self.expected {
            // Its answers have the newest records, in no order.
            Expected::Listed(sent) => {
                let mut sent: Vec<String> = sent.iter().map(|(_, body)| body.clone()).collect();
                let found: Option<Vec<String>> =
                    lines.iter().map(|line| text(&line["_msg"])).collect();
                let mut found = found.context("no message")?;
                sent.sort_unstable();
                found.sort_unstable();
                self.compare(&found, &sent)
            }
            Expected::Severities(sent) => {
                let hits = lines.first().and_then(|answer| answer["hits"].as_array());
                let found = hits.context("no hits")?.iter().map(|hit| {
                    Some((text(&hit["fields"]["severity_text"])?, hit["total"].as_u64()?))
                });
                self.compare(&found.collect::<Option<_>>().context("no total")?, sent)
            }
            Expected::Groups(sent) => {
                let found = lines.iter().map(|line| {
                    let group = (text(&line["service.name"])?, text(&line["severity_text"])?);
                    Some((group, line["records"].as_str()?.parse().ok()?))
                });
                self.compare(&found.collect::<Option<_>>().context("no group")?, sent)
            }
            Expected::Counted(_) => Ok(AnswerExtent::Whole),
        }
    }

    fn compare<T: PartialEq + std::fmt::Debug>(&self, found: &T, sent: &T) -> Result<AnswerExtent> {
        ensure!(found == sent, "{}: {found:?}, sent {sent:?}", self.name);
        Ok(AnswerExtent::Whole)
    }
}

/// Returns the number of rows read for an answer that says it is partial; `None` for a complete one.
fn partial_rows(answer: &Json) -> Result<Option<u64>> {
    let searched = &answer["searched"];
    match searched["complete"].as_bool().context("no `searched.complete`")? {
        true => Ok(None),
        false => searched["rows"].as_u64().context("no `searched.rows`").map(Some),
    }
}

fn text(value: &Json) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// All questions, in the order of the table.
pub(super) fn questions(plan: &LogPlan, facts: &LogFacts) -> Vec<LogQuestion> {
    let (begin, end) = (plan.begin_unix_nanos, plan.end_unix_nanos());
    let window = format!("start={begin}&end={end}");
    // VictoriaLogs takes nanoseconds, too.
    let of_victoria = |path: &str, query: &str, more: &str| {
        format!("/select/logsql/{path}?query={}&{window}{more}", encoded(query))
    };
    let list = |name, target, subset: RecordSubset, ours: String, victoria: &str| LogQuestion {
        name,
        target,
        path: format!("/api/v1/logs?{window}&limit={LISTED}{ours}"),
        records: plan.records,
        expected: Expected::Listed(facts.newest.get(&subset).cloned().unwrap_or_default()),
        victoria: Some(of_victoria("query", victoria, &format!("&limit={LISTED}"))),
    };
    let count = |name, path: &str, expected, victoria| LogQuestion {
        name,
        target: "100 ms",
        path: format!("/api/v1/logs/{path}{window}"),
        records: plan.records,
        expected,
        victoria,
    };
    let q = |query: &str| format!("&q={}", encoded(query));
    let phrase = format!("\"{PHRASE}\"");
    let order = plan.order().unwrap_or_default();
    let (field, needle) = (format!("order.id:=\"{order}\""), plan.needle());
    let errors = format!("&service={PAYMENT}&severity=error");
    let victoria_errors = format!("{{\"service.name\"=\"{PAYMENT}\"}} severity_text:=\"error\"");
    let mut severities: BTreeMap<String, u64> = BTreeMap::new();
    let mut groups = BTreeMap::new();
    for ((service, severity), count) in &facts.groups {
        *severities.entry((*severity).to_owned()).or_default() += count;
        groups.insert(((*service).to_owned(), (*severity).to_owned()), *count);
    }
    let step = format!("&step={STEP_MINUTES}m");
    let hits = of_victoria("hits", "*", &format!("{step}&field=severity_text"));
    let stats = "* | stats by (\"service.name\", severity_text) count() records";
    vec![
        list("newest 100", "10 ms", RecordSubset::All, String::new(), "*"),
        list(
            "newest 100 errors of a service",
            "10 ms",
            RecordSubset::PaymentErrors,
            errors,
            &victoria_errors,
        ),
        list("newest 100 with a phrase", "10 ms", RecordSubset::Phrase, q(&phrase), &phrase),
        list("newest 100 with a word", "10 ms", RecordSubset::Word, q(WORD), WORD),
        list("those with a value in a field", "10 ms", RecordSubset::Order, q(&field), &field),
        list("the one with a word of its own", "5 ms", RecordSubset::Needle, q(&needle), &needle),
        list(
            "a regular expression over everything",
            "",
            RecordSubset::Pattern,
            q(&format!("/{PATTERN}/")),
            &format!("~\"{PATTERN}\""),
        ),
        count(
            "histogram by severity",
            &format!("histogram?step={STEP_MINUTES}m&"),
            Expected::Severities(severities),
            Some(hits),
        ),
        count(
            "counts by service and severity",
            "stats?by=service&by=severity&limit=100&",
            Expected::Groups(groups),
            Some(of_victoria("query", stats, "")),
        ),
        count("patterns", "patterns?", Expected::Counted(plan.records), None),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::{AnswerExtent, Expected, LogQuestion, SEARCH_ROWS_MAX};

    /// More records than a search reads.
    const MANY: u64 = 5 * SEARCH_ROWS_MAX;

    fn question(records: u64, expected: Expected) -> LogQuestion {
        LogQuestion {
            name: "n",
            target: "",
            path: String::new(),
            records,
            expected,
            victoria: None,
        }
    }

    fn record(time: u64, body: &str) -> (u64, String) {
        (time, body.to_owned())
    }

    /// The extent of an answer that was read in this many rows; `None` when it is refused.
    fn extent(
        question: &LogQuestion,
        mut answer: Json,
        (rows, complete): (u64, bool),
    ) -> Option<AnswerExtent> {
        answer["searched"] = json!({ "rows": rows, "complete": complete });
        question.check(answer.to_string().as_bytes()).ok()
    }

    #[test]
    fn a_record_too_few_or_another_one_is_not_what_was_sent() {
        let sent = vec![record(20, "b"), record(10, "a")];
        let question = question(2, Expected::Listed(sent));
        let searched = r#""searched":{"rows":2,"complete":true}"#;
        let ours = |list: &str| {
            question.check(format!("{{\"logs\":[{list}],{searched}}}").as_bytes()).is_ok()
        };
        let (a, b) = (r#"{"timeUnixNano":"10","text":"a"}"#, r#"{"timeUnixNano":"20","text":"b"}"#);
        assert!(ours(&format!("{b},{a}")));
        for wrong in [format!("{a},{b}"), b.to_owned(), format!("{b},{b}"), String::new()] {
            assert!(!ours(&wrong), "{wrong}");
        }
        let theirs = |lines: &str| question.check_victoria(lines.as_bytes()).is_ok();
        assert!(theirs("{\"_msg\":\"a\"}\n{\"_msg\":\"b\"}\n"));
        assert!(!theirs("{\"_msg\":\"a\"}\n{\"_msg\":\"c\"}\n") && !theirs(""));
    }

    #[test]
    fn patterns_of_a_part_are_accepted_where_the_row_budget_ends() {
        let partial = Some(AnswerExtent::Partial { rows: SEARCH_ROWS_MAX });
        let patterns =
            |count: u64, is_new: bool| json!({ "count": count, "patterns": [{ "isNew": is_new }] });
        let many = question(MANY, Expected::Counted(MANY));
        let read = (SEARCH_ROWS_MAX, false);
        assert_eq!(extent(&many, patterns(SEARCH_ROWS_MAX, false), read), partial);
        // Repeated records count once.
        assert_eq!(extent(&many, patterns(SEARCH_ROWS_MAX - 1, false), read), partial);
        let whole = Some(AnswerExtent::Whole);
        assert_eq!(extent(&many, patterns(MANY, false), (MANY, true)), whole);
        for (answer, searched) in [
            // More than was read, or nothing.
            (patterns(SEARCH_ROWS_MAX + 1, false), read),
            (patterns(0, false), read),
            // It compares with a time that was not read.
            (patterns(SEARCH_ROWS_MAX, true), read),
            // It says that it is complete, or that it read everything.
            (patterns(SEARCH_ROWS_MAX, false), (SEARCH_ROWS_MAX, true)),
            (patterns(SEARCH_ROWS_MAX, false), (MANY, false)),
        ] {
            assert_eq!(extent(&many, answer.clone(), searched), None, "{answer} {searched:?}");
        }
        // Records that fit into the budget are all counted.
        let few = question(1_000, Expected::Counted(1_000));
        assert_eq!(extent(&few, patterns(900, false), (900, false)), None);
        assert_eq!(extent(&few, patterns(1_000, true), (1_000, true)), whole);
        // An answer must say how much it is of.
        assert!(few.check(br#"{"count":1000,"patterns":[]}"#).is_err());
    }

    #[test]
    fn a_list_of_a_part_has_only_what_was_sent_in_its_order() {
        let sent = vec![record(30, "c"), record(20, "b"), record(10, "a")];
        let many = question(MANY, Expected::Listed(sent.clone()));
        let list = |times: &[u64]| {
            let one = |time: &u64| {
                let text = sent
                    .iter()
                    .find(|(sent, _)| sent == time)
                    .map_or("z", |(_, text)| text.as_str());
                json!({ "timeUnixNano": time.to_string(), "text": text })
            };
            json!({ "logs": times.iter().map(one).collect::<Vec<_>>() })
        };
        let read = (SEARCH_ROWS_MAX, false);
        let partial = Some(AnswerExtent::Partial { rows: SEARCH_ROWS_MAX });
        for times in [&[30_u64, 20][..], &[30, 10], &[]] {
            assert_eq!(extent(&many, list(times), read), partial, "{times:?}");
            assert_eq!(extent(&many, list(times), (MANY, true)), None, "{times:?}");
        }
        for times in [&[20_u64, 30][..], &[40], &[30, 30], &[30, 20, 40]] {
            assert_eq!(extent(&many, list(times), read), None, "{times:?}");
        }
        // The page is full: nothing is missing, though not everything was read.
        assert_eq!(extent(&many, list(&[30, 20, 10]), (500, false)), Some(AnswerExtent::Whole));
        let few = question(3, Expected::Listed(sent.clone()));
        assert_eq!(extent(&few, list(&[30]), (1, false)), None);
    }

    #[test]
    fn counts_of_a_part_fail_though_they_are_right() {
        let severities = Expected::Severities([("info".to_owned(), MANY)].into());
        let groups = Expected::Groups([(("shop".to_owned(), "info".to_owned()), MANY)].into());
        for (expected, answer) in [
            (severities, json!({ "steps": [{ "info": 1 }, { "info": MANY - 1 }] })),
            (groups, json!({ "groups": [{ "values": ["shop", "info"], "count": MANY }] })),
        ] {
            let question = question(MANY, expected);
            let whole = Some(AnswerExtent::Whole);
            assert_eq!(extent(&question, answer.clone(), (90, true)), whole);
            assert_eq!(extent(&question, answer, (SEARCH_ROWS_MAX, false)), None);
        }
    }
}
