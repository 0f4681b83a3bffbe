//! Questions in languages: TraceQL metrics and PromQL as dashboards ask them, and SQL.

use anyhow::{Context, Result, ensure};
use serde_json::Value as Json;

use super::{
    super::answers::{samples, services, sum, within},
    Asked, BenchQuery, counting, encoded,
};

/// Of a dashboard's series.
const STEP_SECONDS: u64 = 300;

impl Asked<'_> {
    /// Queries that Grafana's dashboards send to the Tempo and Prometheus APIs.
    pub(super) fn dashboards(&self) -> Vec<BenchQuery<'_>> {
        let name = self.facts.services_by_spans().first().copied().unwrap_or_default();
        let seconds = (self.begin_unix_nanos / 1_000_000_000, self.end_unix_nanos / 1_000_000_000);
        let tempo = |query: &str| {
            let (start, end) = (seconds.0, seconds.1 + 1);
            let query = encoded(query);
            format!("/tempo/api/metrics/query_range?q={query}&start={start}&end={end}&step=5m")
        };
        let range = |query: &str| {
            let start = seconds.0 / STEP_SECONDS * STEP_SECONDS + STEP_SECONDS;
            let end = (seconds.1 / STEP_SECONDS + 1) * STEP_SECONDS;
            let query = encoded(query);
            let asked = format!("query={query}&start={start}&end={end}&step={STEP_SECONDS}");
            format!("/prometheus/api/v1/query_range?{asked}")
        };
        let failing = format!("{{ resource.service.name = \"{name}\" && status = error }}");
        vec![
            counting(
                "TraceQL metrics: rate of a service's failures",
                "",
                tempo(&format!("{failing} | rate() by (name)")),
                |_| Ok(()),
            ),
            counting("TraceQL metrics: rate of everything", "", tempo("{} | rate()"), |_| Ok(())),
            counting(
                "PromQL: calls by service",
                "",
                range("sum by (service) (increase(traces_spanmetrics_calls_total[5m]))"),
                |answer| {
                    let sent = self.plan.spans as f64;
                    let most = sent + self.repeated as f64;
                    let found = samples(answer)?;
                    ensure!(sent <= found && found <= most, "{found} spans, sent {sent}");
                    Ok(())
                },
            ),
            counting(
                "PromQL: p95 by service",
                "",
                range(
                    "histogram_quantile(0.95, sum by (le, service) \
                     (rate(traces_spanmetrics_latency_bucket[5m])))",
                ),
                |_| Ok(()),
            ),
            counting(
                "PromQL: calls between services",
                "",
                range("sum by (client, server) (rate(traces_service_graph_request_total[5m]))"),
                |_| Ok(()),
            ),
        ]
    }

    pub(super) fn sql(&self) -> Vec<BenchQuery<'_>> {
        let name = self.facts.services_by_spans().first().copied().unwrap_or_default();
        let spans = self.facts.services.get(name).map_or(0, |calls| calls.spans);
        let sql = |query: &str| format!("/api/v1/sql?query={}", encoded(query));
        let of_service = format!(
            "SELECT kind, count(*) AS spans, avg(duration_nanos) AS mean FROM spans \
             WHERE service = '{name}' GROUP BY kind"
        );
        vec![
            counting(
                "SQL: sums of the view of sums",
                "",
                sql(
                    "SELECT service, sum(calls) AS calls, sum(errors) AS errors FROM red GROUP BY service",
                ),
                |answer| {
                    let rows = named(answer)?;
                    services(&rows, ["service", "calls", "errors"], &self.facts, self.repeated)
                },
            ),
            counting("SQL: sums of a service's spans", "", sql(&of_service), move |answer| {
                let found = sum(&named(answer)?, "spans")?;
                within("spans", found, spans, spans + self.repeated)
            }),
        ]
    }
}

/// The rows of a SQL answer by the names of their columns.
fn named(answer: &Json) -> Result<Json> {
    let columns = answer["columns"].as_array().context("no columns")?;
    let rows = answer["rows"].as_array().context("no rows")?;
    let named = rows.iter().map(|row| {
        let cells = columns.iter().zip(row.as_array().into_iter().flatten());
        let cell = |(column, value): (&Json, &Json)| {
            (column["name"].as_str().unwrap_or_default().to_owned(), value.clone())
        };
        Json::Object(cells.map(cell).collect())
    });
    Ok(named.collect())
}
