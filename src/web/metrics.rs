//! `/metrics`: the counts of the process, for Prometheus and other readers of its text.
//!
//! One table ([`metrics_table::METRICS`]) has the name, the labels, the meaning and the source of
//! every number. `docs/metrics.md` is its copy for people, and a test compares both. The numbers
//! belong to the parts of the process: nothing is counted here, and a request costs no more than
//! reading them.

mod exposition;
mod metrics_table;
mod otlp_form;
mod push;
mod queries;

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::State,
    http::{HeaderMap, HeaderValue, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tidings_access::{Caller, TenantName};
use tidings_audit::AuditLog;
use tidings_collector::Collector;
use tidings_sql::SqlService;
use tidings_storage::{Store, TimeCounts};

pub(super) use metrics_table::resident_bytes;
pub(crate) use otlp_form::own_resource;
pub(crate) use push::{MetricsPush, PushCounts};
pub(crate) use queries::QueryTimes;
pub(super) use queries::{measure, name_origin};

use super::{listen::WebListening, problem::without_parameters, status::wrong_method};
use crate::{health::Health, own_telemetry::OwnTelemetry};
#[cfg(test)]
use metrics_table::METRICS;
use metrics_table::OF_STORES;

/// The sources of the metrics.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    /// The tenant of these routes. Only the default tenant's show metrics of the process.
    pub(crate) tenant: TenantName,
    pub(crate) store: Store,
    pub(crate) collector: Arc<Collector>,
    pub(crate) audit: Arc<AuditLog>,
    pub(crate) web: Arc<WebListening>,
    pub(crate) health: Health,
    pub(crate) queries: Arc<QueryTimes>,
    /// The service for queries in SQL; `None` where they are switched off.
    pub(crate) sql: Option<SqlService>,
    /// The memory budget: the setting `memory`, or the measured one.
    pub(crate) memory_budget: Option<u64>,
    /// The server's own traces and log lines; `None` where they are not kept.
    pub(crate) own: Option<Arc<OwnTelemetry>>,
    /// Counts of requests that send metrics to a collector.
    pub(crate) pushes: Arc<PushCounts>,
    /// Start of the process, in seconds since 1970.
    pub(crate) started_seconds: f64,
}

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MetricKind {
    /// Only grows; its name ends in `_total`.
    Counter,
    Gauge,
    Histogram,
}

/// A number with the values of its labels.
#[derive(Debug)]
struct Sample {
    labels: Vec<String>,
    value: SampleValue,
}

#[derive(Debug)]
enum SampleValue {
    Count(u64),
    Number(f64),
    Times(TimeCounts),
}

/// One metric.
struct MetricDescription {
    /// Its name, without `_total`.
    name: &'static str,
    kind: MetricKind,
    labels: &'static [&'static str],
    /// Its meaning, with the unit; the last column of its line in the document.
    help: &'static str,
    read: fn(&Measured) -> Vec<Sample>,
}

/// The metrics that a caller may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MetricScope {
    /// All metrics, sums over tenants included.
    Process,
    /// Metrics of one tenant's store.
    Store,
}

impl MetricScope {
    fn contains(self, metric: &MetricDescription) -> bool {
        self == Self::Process || OF_STORES.contains(&metric.name)
    }
}

impl Measured {
    /// Returns the metrics that a request may see. Metrics of the process show the work of all
    /// tenants, so they are for keys that reach every tenant, and for everybody where no keys are
    /// required.
    fn scope(&self, caller: Option<&Caller>) -> MetricScope {
        let reaches_all =
            caller.is_none_or(|caller| self.health.all_others(|tenant| caller.may_use(tenant)));
        match self.tenant.is_default() && reaches_all {
            true => MetricScope::Process,
            false => MetricScope::Store,
        }
    }
}

impl Sample {
    fn new<const N: usize>(labels: [&str; N], value: SampleValue) -> Self {
        Self { labels: labels.map(str::to_owned).to_vec(), value }
    }

    fn count<const N: usize>(labels: [&str; N], count: u64) -> Self {
        Self::new(labels, SampleValue::Count(count))
    }
}

/// Builds the route.
pub(super) fn routes(measured: Measured) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(wrong_method)
        .with_state(measured)
}

async fn metrics(
    State(measured): State<Measured>,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    if let Err(refusal) = without_parameters(&uri) {
        return refusal.into_response();
    }
    let form = exposition::ExpositionForm::wanted(&headers);
    let scope = measured.scope(caller.as_deref());
    let text = exposition::write(&measured, scope, form);
    let kind = HeaderValue::from_static(form.media_type());
    let never_kept = HeaderValue::from_static("no-store");
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, never_kept)], text).into_response()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::{METRICS, MetricKind, MetricScope, OF_STORES};

    #[test]
    fn the_page_on_metrics_has_every_metric_as_the_code_does() {
        const FILE: &str = "docs/metrics.md";
        /// Environment variable with which the test writes the rows of the page.
        const WRITE: &str = "TIDINGS_WRITE_METRICS";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
        let page = fs::read_to_string(&path).unwrap();
        let table = page.find("| Metric | Type |").unwrap();
        let begin = table + page[table..].match_indices('\n').nth(1).unwrap().0 + 1;
        let end = page[begin..].find("\n\n").map_or(page.len(), |length| begin + length + 1);
        let expected = METRICS.iter().map(|metric| {
            let suffix = if metric.kind == MetricKind::Counter { "_total" } else { "" };
            let kind = format!("{:?}", metric.kind).to_lowercase();
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let (name, labels) = (metric.name, labels.join(", "));
            format!("| `{name}{suffix}` | {kind} | {labels} | {} |", metric.help)
        });
        let expected: String = expected.map(|row| row + "\n").collect();
        if std::env::var_os(WRITE).is_some() {
            let page = [&page[..begin], &expected, &page[end..]].concat();
            #[expect(clippy::disallowed_methods, reason = "a file of the sources, not of a store")]
            fs::write(&path, page).unwrap();
            return;
        }
        assert_eq!(
            &page[begin..end],
            expected,
            "{WRITE}=1 cargo test --bin tidings page_on_metrics writes the rows of {FILE}"
        );
    }

    #[test]
    fn a_tenant_sees_what_is_of_its_store() {
        let seen = METRICS.iter().filter(|metric| MetricScope::Store.contains(metric));
        assert_eq!(seen.map(|metric| metric.name).collect::<Vec<_>>(), OF_STORES);
        assert!(METRICS.iter().all(|metric| MetricScope::Process.contains(metric)));
    }

    #[test]
    fn names_are_unique_and_say_their_unit() {
        let names: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            let (name, kind) = (metric.name, metric.kind);
            assert!(name.starts_with("tidings_") && !name.ends_with("_total"), "{name}");
            assert!(kind != MetricKind::Histogram || name.ends_with("_seconds"), "{name}");
            assert!(!metric.help.contains(['\n', '|', '\\']), "{name}");
        }
    }
}
