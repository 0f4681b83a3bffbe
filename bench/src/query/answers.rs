//! Reads answers and checks them against the spans that were sent.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value as Json;

use crate::{corpus::hex, facts::Facts};

/// Paths at which the APIs tell how many rows they read.
const ROWS: [&str; 3] = ["/searched/rows", "/read/rows", "/metrics/inspectedSpans"];

/// Returns the number of rows read, if the answer has it.
pub(super) fn rows_read(answer: &Json) -> Option<u64> {
    ROWS.iter().find_map(|place| answer.pointer(place).and_then(number))
}

/// Returns true if the answer is complete. Answers that are never partial have no field for it.
pub(super) fn is_of_everything(answer: &Json) -> bool {
    let complete = answer.pointer("/searched/complete").or(answer.get("complete"));
    complete.is_none_or(|complete| complete == true)
        && answer["sampledOneIn"].as_u64().is_none_or(|one_in| one_in == 1)
        && answer["status"] != "PARTIAL"
        && answer.get("warnings").is_none()
}

/// Returns true if the answer lists only some of the groups; their sum is below the total then.
pub(super) fn is_cut(answer: &Json) -> bool {
    let listed = answer["groups"].as_array().map(|groups| groups.len() as u64);
    listed.is_some_and(|listed| answer["groupCount"].as_u64() > Some(listed))
}

/// Reads a number, or a text of one: numbers of 64 bits are texts in some APIs.
fn number(json: &Json) -> Option<u64> {
    json.as_u64().or_else(|| json.as_str()?.parse().ok())
}

/// Adds up a number of every element of a list.
pub(super) fn sum(list: &Json, name: &str) -> Result<u64> {
    let list = list.as_array().context("a list is missing")?;
    list.iter().map(|of| number(&of[name]).with_context(|| format!("{name} is missing"))).sum()
}

/// Reads the number with this name.
pub(super) fn field(answer: &Json, name: &str) -> Result<u64> {
    number(&answer[name]).with_context(|| format!("{name} is missing"))
}

/// Adds up the calls from services to services and external peers in a service graph.
pub(super) fn of_services(graph: &Json) -> Result<u64> {
    let kind = |place: &Json| {
        let place = place.as_u64().and_then(|place| usize::try_from(place).ok());
        place.map(|place| graph["nodes"][place]["kind"].as_str().unwrap_or_default())
    };
    let edges = graph["edges"].as_array().context("no edges")?;
    let called = edges.iter().filter(|edge| {
        kind(&edge["from"]) == Some("service")
            && matches!(kind(&edge["to"]), Some("service" | "external"))
    });
    called.map(|edge| field(edge, "callCount")).sum()
}

/// Adds up all samples of a Prometheus matrix.
pub(super) fn samples(answer: &Json) -> Result<f64> {
    let series = answer.pointer("/data/result").and_then(Json::as_array).context("no series")?;
    let values = series.iter().filter_map(|series| series["values"].as_array()).flatten();
    let texts = values.map(|value| value[1].as_str().context("a sample is no text"));
    texts.map(|text| Ok(text?.parse::<f64>()?)).sum()
}

/// Fails when a number is not in this range.
pub(super) fn within(what: &str, found: u64, least: u64, most: u64) -> Result<()> {
    ensure!((least..=most).contains(&found), "{found} {what}, but {least} to {most} were sent");
    Ok(())
}

/// Conditions that the traces of a list must meet.
#[derive(Debug, Clone, Default)]
pub(super) struct TraceConditions {
    /// Minimum number of traces.
    pub(super) least: usize,
    pub(super) service: Option<String>,
    pub(super) failed: bool,
    pub(super) longer_than_nanos: u64,
}

impl TraceConditions {
    /// Fails when the list has another trace, or one with other spans than were sent.
    pub(super) fn check(&self, answer: &Json, sizes: &HashMap<[u8; 16], u32>) -> Result<()> {
        let traces = answer["traces"].as_array().context("no list of traces")?;
        ensure!(traces.len() >= self.least, "{} traces only", traces.len());
        for trace in traces {
            let id = trace["traceId"].as_str().unwrap_or_default();
            let sent = sizes.get(&id_of(id)?).copied();
            let found = number(&trace["spanCount"]);
            ensure!(found == sent.map(u64::from), "{id} has {found:?} spans, sent {sent:?}");
            if let Some(service) = &self.service {
                let mut services = trace["services"].as_array().into_iter().flatten();
                let there = services.any(|of| of["service"] == service.as_str());
                ensure!(there, "{id} has no {service}");
            }
            let failed = number(&trace["errorCount"]).unwrap_or(0) > 0;
            ensure!(failed || !self.failed, "{id} did not fail");
            let took = number(&trace["durationNano"]).unwrap_or(0);
            ensure!(took >= self.longer_than_nanos, "{id} took {took} ns");
        }
        Ok(())
    }
}

fn id_of(text: &str) -> Result<[u8; 16]> {
    let number = u128::from_str_radix(text, 16).with_context(|| format!("`{text}` is no id"))?;
    ensure!(hex(&number.to_be_bytes()) == text, "`{text}` is no trace id");
    Ok(number.to_be_bytes())
}

/// Fails unless every transaction type has as many traces as entered there.
pub(super) fn transaction_types(answer: &Json, facts: &Facts) -> Result<()> {
    let transaction_types =
        answer["transactionTypes"].as_array().context("no list of transaction types")?;
    ensure!(
        field(answer, "transactionTypeCount")? == facts.transaction_types.len() as u64,
        "other transaction types"
    );
    for transaction_type in transaction_types {
        let name = |name: &str| transaction_type[name].as_str().unwrap_or_default().to_owned();
        let place = (name("service"), name("operation"));
        let (found, sent) =
            (field(transaction_type, "count")?, facts.transaction_types.get(&place).copied());
        ensure!(Some(found) == sent, "{found} traces enter at {place:?}, sent {sent:?}");
    }
    Ok(())
}

/// Fails unless every service has as many spans, and as many that failed, as were sent; `repeated`
/// says how many more there may be because they came twice.
pub(super) fn services(
    groups: &Json,
    names: [&str; 3],
    facts: &Facts,
    repeated: u64,
) -> Result<()> {
    let groups = groups.as_array().context("no groups")?;
    ensure!(groups.len() == facts.services.len(), "{} services", groups.len());
    let [service, spans, failed] = names;
    for group in groups {
        let name = group[service].as_str().unwrap_or_default();
        let Some(sent) = facts.services.get(name) else { bail!("nobody is called `{name}`") };
        within(name, field(group, spans)?, sent.spans, sent.spans + repeated)?;
        within(name, field(group, failed)?, sent.failed, sent.failed + repeated)?;
    }
    Ok(())
}
