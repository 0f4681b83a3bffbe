//! Tests that the dashboard and the alerts in `packaging/` use only existing metrics, in queries
//! that can be parsed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use crate::harness::{Server, http};

const DASHBOARD: &str = include_str!("../packaging/grafana/tidings.json");
const RULES: &str = include_str!("../packaging/prometheus/tidings.rules.yml");
const PAGE: &str = include_str!("../docs/metrics.md");

/// Returns the names of samples with their labels, from `docs/metrics.md`.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let (_, table) = PAGE.split_once("| Metric | Type |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut names = BTreeMap::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`');
        let labels = cells[3].split(',').map(|label| label.trim().trim_matches('`'));
        let mut labels: BTreeSet<String> =
            labels.filter(|label| !label.is_empty()).map(str::to_owned).collect();
        labels.insert("instance".to_owned());
        if cells[2] == "histogram" {
            for suffix in ["_count", "_sum"] {
                names.insert(format!("{name}{suffix}"), labels.clone());
            }
            labels.insert("le".to_owned());
            names.insert(format!("{name}_bucket"), labels);
        } else {
            names.insert(name.to_owned(), labels);
        }
    }
    names
}

/// Returns the queries of the panels, with values in place of Grafana's variables.
fn panels() -> Vec<String> {
    let dashboard: Json = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let queries = targets.map(|target| target["expr"].as_str().unwrap());
    queries.map(|text| text.replace("$__rate_interval", "5m").replace("$instance", ".*")).collect()
}

/// Returns the value of a rule's key, without quotes.
fn value<'a>(rule: &'a str, key: &str) -> Option<&'a str> {
    let line = rule.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": "))?;
    Some(line.strip_prefix('\'').and_then(|line| line.strip_suffix('\'')).unwrap_or(line))
}

/// Returns the queries of the alerts, by name.
fn alerts() -> BTreeMap<&'static str, &'static str> {
    let rules = RULES.split("- alert: ").skip(1);
    let alerts = rules.map(|rule| (rule.lines().next().unwrap(), value(rule, "expr").unwrap()));
    alerts.collect()
}

/// Returns the words of a query that are names of Tidings' metrics.
fn names(query: &str) -> Vec<&str> {
    let words = query.split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_');
    words.filter(|word| word.starts_with("tidings_")).collect()
}

/// Returns the labels that a query selects or groups by.
fn labels(query: &str) -> BTreeSet<&str> {
    let groups = query.split("by (").skip(1).filter_map(|rest| rest.split(')').next());
    let grouped = groups.flat_map(|labels| labels.split(','));
    let selectors = query.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let selected = selectors.flat_map(|pairs| pairs.split(',')).filter_map(|pair| {
        let end = pair.find(['=', '!'])?;
        pair.get(..end)
    });
    grouped.chain(selected).map(str::trim).collect()
}

#[test]
fn every_metric_and_label_that_is_asked_for_is_documented() {
    let documented = documented();
    assert!(documented.len() > 40, "{documented:?}");
    let mut drawn = BTreeSet::new();
    for query in panels().iter().map(String::as_str).chain(alerts().into_values()) {
        let names = names(query);
        assert!(!names.is_empty() || query.starts_with("up{"), "{query}");
        let mut known = BTreeSet::from(["job"]);
        for name in names {
            let labels = documented.get(name);
            let labels =
                labels.unwrap_or_else(|| panic!("{name} is not in docs/metrics.md: {query}"));
            known.extend(labels.iter().map(String::as_str));
            drawn.insert(name.to_owned());
        }
        let wrong: Vec<_> = labels(query).difference(&known).copied().collect();
        assert!(wrong.is_empty(), "{wrong:?} of {query}");
    }
    // A documented metric must be used by a panel or an alert, except for these two.
    let besides = ["tidings_log_records_total", "tidings_connections_accepted_total"];
    let undrawn: Vec<_> = documented
        .keys()
        .filter(|name| !name.ends_with("_sum") && !name.ends_with("_count"))
        .filter(|name| !drawn.contains(*name) && !besides.contains(&name.as_str()))
        .collect();
    assert!(undrawn.is_empty(), "neither drawn nor watched: {undrawn:?}");
}

#[test]
fn every_query_can_be_read() {
    let server = Server::start();
    for query in panels().iter().map(String::as_str).chain(alerts().into_values()) {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let body = format!("query={encoded}");
        let kind = "application/x-www-form-urlencoded";
        let answer = http::post(&server.http, "/prometheus/api/v1/query", kind, body);
        let said = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, 200, "{query}: {said}");
    }
}

#[test]
fn every_alert_says_what_is_wrong_and_what_to_do() {
    let alerts = alerts();
    assert_eq!(alerts.len(), RULES.matches("- alert: ").count(), "a name comes twice");
    for rule in RULES.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap();
        for key in ["expr", "for", "severity", "summary", "description"] {
            assert!(value(rule, key).is_some_and(|text| !text.is_empty()), "{name} has no {key}");
        }
        let severity = value(rule, "severity").unwrap();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity}");
    }
    let dashboard: Json = serde_json::from_str(DASHBOARD).unwrap();
    let ids = dashboard["panels"].as_array().unwrap().iter();
    let ids: BTreeSet<_> = ids.map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), dashboard["panels"].as_array().unwrap().len(), "an id comes twice");
}
