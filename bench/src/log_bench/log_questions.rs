//! Questions about log records: the path, target and expected answer of each, for the server and for
//! VictoriaLogs.

use anyhow::{Context, Result, ensure};
use serde_json::Value as Json;

use super::log_plan::{LogFacts, LogPlan, PAYMENT, PHRASE, WORD};
use crate::client::encoded;

/// Records of a list.
const LISTED: u64 = 100;

/// A question.
pub(super) struct LogQuestion {
    pub(super) name: &'static str,
    pub(super) target: &'static str,
    pub(super) path: String,
    /// The number that the answer must have, and where: lines of a list, or a count.
    expected: Expected,
    /// The path of VictoriaLogs, and the number of lines in its answer; `None` if it cannot be asked.
    pub(super) victoria: Option<(String, u64)>,
}

/// A number that an answer must have.
enum Expected {
    /// Log records in a list.
    Listed(u64),
    /// All records, counted.
    Counted(u64),
}

impl LogQuestion {
    /// Checks an answer of the server.
    ///
    /// # Errors
    /// When it has another number than was sent.
    pub(super) fn check(&self, answer: &Json) -> Result<()> {
        let (found, sent) = match self.expected {
            Expected::Listed(sent) => {
                (answer["logs"].as_array().context("no list of logs")?.len() as u64, sent)
            }
            Expected::Counted(sent) => (answer["count"].as_u64().context("no count")?, sent),
        };
        ensure!(found == sent, "{}: {found}, sent {sent}", self.name);
        Ok(())
    }
}

/// All questions, in the order of the table.
pub(super) fn questions(plan: &LogPlan, facts: &LogFacts) -> Vec<LogQuestion> {
    let (begin, end) = (plan.begin_unix_nanos, plan.end_unix_nanos());
    let window = format!("start={begin}&end={end}");
    // VictoriaLogs takes nanoseconds, too.
    let of_victoria = |query: &str, more: &str| {
        format!("/select/logsql/query?query={}&start={begin}&end={end}{more}", encoded(query))
    };
    let list = |name, target, ours: String, victoria: String, there: u64| {
        let lines = there.min(LISTED);
        LogQuestion {
            name,
            target,
            path: format!("/api/v1/logs?{window}&limit={LISTED}{ours}"),
            expected: Expected::Listed(lines),
            victoria: Some((of_victoria(&victoria, &format!("&limit={LISTED}")), lines)),
        }
    };
    let count = |name, target, path: &str, victoria: Option<(&str, u64)>| LogQuestion {
        name,
        target,
        path: format!("/api/v1/logs/{path}{window}"),
        expected: Expected::Counted(plan.records),
        victoria: victoria.map(|(query, lines)| (of_victoria(query, ""), lines)),
    };
    let q = |query: &str| format!("&q={}", encoded(query));
    let phrase = format!("\"{PHRASE}\"");
    let order = plan.order().unwrap_or_default();
    let (field, needle) = (format!("order.id:=\"{order}\""), plan.needle());
    let errors = format!("&service={PAYMENT}&severity=error");
    let victoria_errors = format!("{{\"service.name\"=\"{PAYMENT}\"}} severity_text:=\"error\"");
    let groups = facts.groups.len() as u64;
    vec![
        list("newest 100", "10 ms", String::new(), "*".to_owned(), plan.records),
        list(
            "newest 100 errors of a service",
            "10 ms",
            errors,
            victoria_errors,
            facts.payment_errors,
        ),
        list("newest 100 with a phrase", "10 ms", q(&phrase), phrase.clone(), facts.phrases),
        list("newest 100 with a word", "10 ms", q(WORD), WORD.to_owned(), facts.words),
        list("those with a value in a field", "10 ms", q(&field), field.clone(), facts.of_order),
        list("the one with a word of its own", "5 ms", q(&needle), needle.clone(), 1),
        list(
            "newest 100 by a regular expression",
            "",
            q("/refund of [0-9]+/"),
            "~\"refund of [0-9]+\"".to_owned(),
            facts.refunds,
        ),
        count("histogram", "100 ms", "histogram?", None),
        count(
            "counts by service and severity",
            "100 ms",
            "stats?by=service&by=severity&limit=100&",
            Some(("* | stats by (\"service.name\", severity_text) count() records", groups)),
        ),
        count("patterns", "100 ms", "patterns?", None),
    ]
}
