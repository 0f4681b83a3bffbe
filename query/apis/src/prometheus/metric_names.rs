//! The available metrics: their names and labels, and their names in Tempo's metrics generator and
//! its dashboards.
//!
//! The bounds of the histograms' buckets are those of storage, which counts by them. They are the
//! bounds of Tempo's span metrics. The eight bounds of its service graphs begin at 100 ms, which is
//! too coarse for most calls.

use std::sync::Arc;

use tidings_promql::labels::{Labels, NAME};
use tidings_storage::{Durations, LATENCY_BOUNDS};

/// Number of columns for durations: count, sum, and one cumulative count for each bound.
const DURATION_WIDTH: usize = 2 + LATENCY_BOUNDS.len();

/// Families of metrics: counts of spans, and of calls between services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Family {
    /// Spans by service, name, kind and status.
    Spans,
    /// Calls between services by caller and callee.
    Calls,
}

/// Index of the number of calls, among a group's numbers.
pub(super) const COUNT: usize = 0;
/// Index of the number of failed calls.
pub(super) const FAILED: usize = 1;
/// First column of the callee's durations.
pub(super) const CALLED: usize = 2;
/// First column of the caller's durations.
pub(super) const CALLING: usize = 2 + DURATION_WIDTH;

/// Set of the numbers that are stored for each group of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Columns(u64);

impl Default for Columns {
    /// Stores only the count of calls, which decides whether a series exists.
    fn default() -> Self {
        Self(1 << COUNT)
    }
}

impl Columns {
    /// Adds the columns that a metric needs.
    pub(super) fn add(&mut self, metric: &Metric) {
        match metric.shape {
            MetricColumns::Counter(place) | MetricColumns::Count(place) => self.0 |= 1 << place,
            MetricColumns::Sum(from) => self.0 |= 1 << (from + 1),
            MetricColumns::Buckets(from) => {
                let bounds = from + 2..from + DURATION_WIDTH;
                bounds.chain([from]).for_each(|place| self.0 |= 1 << place);
            }
        }
    }

    /// Number of columns.
    pub(super) fn width(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Returns the column of a number by its index in the family; `None` when it is not stored.
    pub(super) fn column(self, place: usize) -> Option<usize> {
        let before = self.0 & ((1 << place) - 1);
        (self.0 >> place & 1 > 0).then_some(before.count_ones() as usize)
    }

    /// Reports whether any duration column is stored. `from` is the first duration column.
    pub(super) fn has_durations(self, from: usize) -> bool {
        self.0 >> from & ((1 << DURATION_WIDTH) - 1) > 0
    }

    /// Adds to one of the numbers, if it is stored.
    pub(super) fn count(self, numbers: &mut [u64], place: usize, more: u64) {
        if let Some(number) = self.column(place).and_then(|column| numbers.get_mut(column)) {
            *number = number.saturating_add(more);
        }
    }

    /// Adds durations to the stored columns of durations that begin at `from`.
    pub(super) fn add_durations(self, numbers: &mut [u64], from: usize, durations: &Durations) {
        self.count(numbers, from, durations.count);
        self.count(numbers, from + 1, u64::try_from(durations.sum).unwrap_or(u64::MAX));
        if self.column(from + 2).is_some() {
            for (place, up_to) in (from + 2..).zip(durations.up_to_bounds) {
                self.count(numbers, place, up_to);
            }
        }
    }
}

/// Columns of its family that a metric reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MetricColumns {
    Counter(usize),
    Count(usize),
    Sum(usize),
    Buckets(usize),
}

/// A metric.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metric {
    /// Name of the metric.
    pub(crate) name: &'static str,
    /// Prometheus' type of the metric.
    pub(crate) kind: &'static str,
    /// Help text.
    pub(crate) help: &'static str,
    pub(super) family: Family,
    shape: MetricColumns,
}

/// Every metric.
pub(crate) const METRICS: [Metric; 12] = {
    use Family::{Calls, Spans};
    use MetricColumns::{Buckets, Count, Counter, Sum};
    const LATENCY: &str = "How long spans took, in seconds";
    const SERVED: &str = "How long calls took as the called saw them, in seconds";
    const WAITED: &str = "How long calls took as their callers saw them, in seconds";
    [
        counter("traces_spanmetrics_calls_total", "Spans", Spans, Counter(COUNT)),
        histogram("traces_spanmetrics_latency_bucket", LATENCY, Spans, Buckets(CALLED)),
        histogram("traces_spanmetrics_latency_sum", LATENCY, Spans, Sum(CALLED)),
        histogram("traces_spanmetrics_latency_count", LATENCY, Spans, Count(CALLED)),
        counter(
            "traces_service_graph_request_total",
            "Calls of one service by another",
            Calls,
            Counter(COUNT),
        ),
        counter(
            "traces_service_graph_request_failed_total",
            "Calls of one service by another that failed",
            Calls,
            Counter(FAILED),
        ),
        histogram(
            "traces_service_graph_request_server_seconds_bucket",
            SERVED,
            Calls,
            Buckets(CALLED),
        ),
        histogram("traces_service_graph_request_server_seconds_sum", SERVED, Calls, Sum(CALLED)),
        histogram(
            "traces_service_graph_request_server_seconds_count",
            SERVED,
            Calls,
            Count(CALLED),
        ),
        histogram(
            "traces_service_graph_request_client_seconds_bucket",
            WAITED,
            Calls,
            Buckets(CALLING),
        ),
        histogram("traces_service_graph_request_client_seconds_sum", WAITED, Calls, Sum(CALLING)),
        histogram(
            "traces_service_graph_request_client_seconds_count",
            WAITED,
            Calls,
            Count(CALLING),
        ),
    ]
};

const fn counter(
    name: &'static str,
    help: &'static str,
    family: Family,
    shape: MetricColumns,
) -> Metric {
    Metric { name, kind: "counter", help, family, shape }
}

const fn histogram(
    name: &'static str,
    help: &'static str,
    family: Family,
    shape: MetricColumns,
) -> Metric {
    Metric { name, kind: "histogram", help, family, shape }
}

/// The number of a group that a series shows, and its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MetricField {
    pub(super) place: usize,
    /// True when the number is in nanoseconds, which are shown in seconds.
    pub(super) is_nanos: bool,
}

impl Metric {
    /// Returns the name that the type and the help belong to: that of the histogram and not of its
    /// parts.
    pub(crate) fn described(&self) -> &'static str {
        match self.shape {
            MetricColumns::Counter(_) => self.name,
            MetricColumns::Buckets(_) => self.name.trim_end_matches("_bucket"),
            MetricColumns::Sum(_) => self.name.trim_end_matches("_sum"),
            MetricColumns::Count(_) => self.name.trim_end_matches("_count"),
        }
    }

    /// Returns the names of the labels of its series, including the metric's name and the bounds of
    /// buckets.
    pub(super) fn label_names(&self) -> Vec<&'static str> {
        let mut names: Vec<&str> = match self.family {
            Family::Spans => vec!["service", "span_kind", "span_name", "status_code"],
            Family::Calls => vec!["client", "connection_type", "server"],
        };
        names.push(NAME);
        if matches!(self.shape, MetricColumns::Buckets(_)) {
            names.push(LE);
        }
        names
    }

    /// Returns the series of a group with these labels, each with its number.
    pub(super) fn series(&self, group: &Labels) -> Vec<(Labels, MetricField)> {
        let named = group.with(NAME, self.name);
        let plain = |place| MetricField { place, is_nanos: false };
        match self.shape {
            MetricColumns::Counter(place) | MetricColumns::Count(place) => {
                vec![(named, plain(place))]
            }
            MetricColumns::Sum(from) => {
                vec![(named, MetricField { place: from + 1, is_nanos: true })]
            }
            MetricColumns::Buckets(from) => {
                let buckets = (from + 2..).take(LATENCY_BOUNDS.len()).chain([from]);
                let bounds = bound_texts();
                let series = buckets.zip(bounds.iter());
                series.map(|(place, le)| (named.with(LE, le), plain(place))).collect()
            }
        }
    }
}

/// The label that holds a bucket's bound.
pub(super) const LE: &str = "le";

/// Returns the bounds of the buckets in seconds, in the form of the label `le`.
pub(super) fn bound_texts() -> Vec<Arc<str>> {
    #[expect(clippy::cast_precision_loss, reason = "bounds are whole milliseconds")]
    let bounds =
        LATENCY_BOUNDS.iter().map(|nanos| ((nanos.0 / 1_000_000) as f64 / 1e3).to_string());
    bounds.map(Arc::from).chain(["+Inf".into()]).collect()
}
