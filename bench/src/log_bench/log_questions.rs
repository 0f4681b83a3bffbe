//! Questions about log records: the path, target and expected answer of each, for the server and for
//! VictoriaLogs.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value as Json;

use super::log_plan::{LISTED, LogFacts, LogPlan, PATTERN, PAYMENT, PHRASE, RecordSubset, WORD};
use crate::client::encoded;

/// Steps of the histogram.
const STEP_MINUTES: u64 = 30;

/// A question.
pub(super) struct LogQuestion {
    pub(super) name: &'static str,
    pub(super) target: &'static str,
    pub(super) path: String,
    expected: Expected,
    /// The path of VictoriaLogs; `None` if it cannot be asked.
    pub(super) victoria: Option<String>,
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
    /// Checks an answer of the server.
    ///
    /// # Errors
    /// When it is not what was sent.
    pub(super) fn check(&self, answer: &[u8]) -> Result<()> {
        let answer: Json = serde_json::from_slice(answer)?;
        match &self.expected {
            Expected::Listed(sent) => {
                let logs = answer["logs"].as_array().context("no list of logs")?;
                let time = |log: &Json| log["timeUnixNano"].as_str().and_then(|it| it.parse().ok());
                let record = |log: &Json| Some((time(log)?, log["text"].as_str()?.to_owned()));
                let found: Option<Vec<(u64, String)>> = logs.iter().map(record).collect();
                self.compare(&found.context("no time or text")?, sent)
            }
            Expected::Severities(sent) => {
                let steps = answer["steps"].as_array().context("no steps")?;
                let found = sent.keys().map(|severity| {
                    let counts = steps.iter().filter_map(|step| step[severity].as_u64());
                    (severity.clone(), counts.sum())
                });
                self.compare(&found.collect(), sent)
            }
            Expected::Groups(sent) => {
                let groups = answer["groups"].as_array().context("no groups")?;
                let found = groups.iter().map(|group| {
                    let [service, severity] = [0, 1].map(|at| text(&group["values"][at]));
                    Some(((service?, severity?), group["count"].as_u64()?))
                });
                self.compare(&found.collect::<Option<_>>().context("no group")?, sent)
            }
            Expected::Counted(sent) => {
                self.compare(&answer["count"].as_u64().context("no count")?, sent)
            }
        }
    }

    /// Checks an answer of VictoriaLogs.
    ///
    /// # Errors
    /// When it is not what was sent.
    pub(super) fn check_victoria(&self, answer: &[u8]) -> Result<()> {
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
            Expected::Counted(_) => Ok(()),
        }
    }

    fn compare<T: PartialEq + std::fmt::Debug>(&self, found: &T, sent: &T) -> Result<()> {
        ensure!(found == sent, "{}: {found:?}, sent {sent:?}", self.name);
        Ok(())
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
        expected: Expected::Listed(facts.newest.get(&subset).cloned().unwrap_or_default()),
        victoria: Some(of_victoria("query", victoria, &format!("&limit={LISTED}"))),
    };
    let count = |name, path: &str, expected, victoria| LogQuestion {
        name,
        target: "100 ms",
        path: format!("/api/v1/logs/{path}{window}"),
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
    use super::{Expected, LogQuestion};

    #[test]
    fn a_record_too_few_or_another_one_is_not_what_was_sent() {
        let record = |time: u64, body: &str| (time, body.to_owned());
        let sent = vec![record(20, "b"), record(10, "a")];
        let expected = Expected::Listed(sent);
        let question =
            LogQuestion { name: "n", target: "", path: String::new(), expected, victoria: None };
        let ours = |list: &str| question.check(format!("{{\"logs\":[{list}]}}").as_bytes()).is_ok();
        let (a, b) = (r#"{"timeUnixNano":"10","text":"a"}"#, r#"{"timeUnixNano":"20","text":"b"}"#);
        assert!(ours(&format!("{b},{a}")));
        for wrong in [format!("{a},{b}"), b.to_owned(), format!("{b},{b}"), String::new()] {
            assert!(!ours(&wrong), "{wrong}");
        }
        let theirs = |lines: &str| question.check_victoria(lines.as_bytes()).is_ok();
        assert!(theirs("{\"_msg\":\"a\"}\n{\"_msg\":\"b\"}\n"));
        assert!(!theirs("{\"_msg\":\"a\"}\n{\"_msg\":\"c\"}\n") && !theirs(""));
    }
}
