//! Addresses of pages about one subject, with the time range of the page that links to them.
//!
//! Only this module knows the parameters of other pages.

use leptos::prelude::*;
use tidings_proto::{TraceId, api::ChangedGroup};

use crate::{
    addresses, api,
    url::{HeatmapBox, TimeRange, UrlQuery, use_query},
};

/// Parameter of a service's page: the time that its tables count.
pub const SPAN_PARAM: &str = "span";
/// Its value for the time since the service's change.
pub const SINCE_CHANGE: &str = "since";

/// Addresses within a time range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Links {
    range: TimeRange,
}

impl Links {
    /// Links within this range.
    #[must_use]
    pub fn within(range: TimeRange) -> Self {
        Self { range }
    }

    fn on(self, path: &str, mut query: UrlQuery) -> String {
        self.range.write(&mut query);
        query.on(path)
    }

    /// Returns the address of a page without further parameters.
    #[must_use]
    pub fn page(self, path: &str) -> String {
        self.on(path, UrlQuery::default())
    }

    /// Returns the address of a service's page. A service without a name has no page and links to
    /// the list of services.
    #[must_use]
    pub fn service(self, name: &str) -> String {
        addresses::service(name, self.range)
    }

    /// Returns the address of a service's page whose tables count from the service's change on, as
    /// its row does. A range that moves with the clock has that by default.
    #[must_use]
    pub fn service_since_change(self, name: &str) -> String {
        if name.is_empty() || matches!(self.range, TimeRange::Last { .. }) {
            return self.service(name);
        }
        let mut query = UrlQuery::default();
        query.push(SPAN_PARAM, SINCE_CHANGE);
        addresses::service_with(name, query, self.range)
    }

    /// Returns the address of a service's page that has the numbers of its row in a report of
    /// changes.
    #[must_use]
    pub fn service_of_row(self, group: &ChangedGroup) -> String {
        if group.since.is_some() {
            self.service_since_change(&group.service)
        } else {
            self.service(&group.service)
        }
    }

    /// Returns the address of an operation of a service.
    #[must_use]
    pub fn operation(self, service: &str, operation: &str) -> String {
        let mut query = UrlQuery::default();
        query.push("operation", operation);
        addresses::service_with(service, query, self.range)
    }

    /// Returns the address of a transaction type.
    #[must_use]
    pub fn transaction_type(self, service: &str, operation: &str) -> String {
        addresses::transaction_type(service, operation, self.range)
    }

    /// Returns the address of Explore with these filters, except those without a value.
    #[must_use]
    pub fn explore(self, filters: &[(&str, &str)]) -> String {
        self.on("/explore", filtered(filters))
    }

    /// Returns the address of Explore with these filters and a box of the heatmap in place of the
    /// range.
    #[must_use]
    pub fn explore_box(filters: &[(&str, &str)], chosen: HeatmapBox) -> String {
        let mut query = filtered(filters);
        query.push("min", format!("{}ns", chosen.shortest.0));
        query.push("max", format!("{}ns", chosen.longest.0));
        let between = TimeRange::Between {
            from_unix_ms: chosen.from.0 / 1_000_000,
            to_unix_ms: chosen.to.0.div_ceil(1_000_000),
        };
        Self::within(between).on("/explore", query)
    }

    /// Returns the address of Logs with these filters.
    #[must_use]
    pub fn logs(self, filters: &[(&str, &str)]) -> String {
        self.on("/logs", filtered(filters))
    }

    /// Returns the address of Errors with these filters.
    #[must_use]
    pub fn errors(self, filters: &[(&str, &str)]) -> String {
        self.on("/errors", filtered(filters))
    }

    /// Returns the address of the map around a service or an endpoint, with its numbers beside.
    #[must_use]
    pub fn map(self, focus: Option<&str>) -> String {
        let focus = focus.unwrap_or_default();
        self.on("/map", filtered(&[("focus", focus), ("node", focus)]))
    }

    /// Returns the address of a trace, which needs no time range.
    #[must_use]
    pub fn trace(self, trace: TraceId) -> String {
        api::trace_address(trace, None)
    }
}

fn filtered(filters: &[(&str, &str)]) -> UrlQuery {
    let mut query = UrlQuery::default();
    for (key, value) in filters.iter().filter(|(_, value)| !value.is_empty()) {
        query.push(key, value);
    }
    query
}

/// Returns the links within the range of this page.
#[must_use]
pub fn use_links() -> Memo<Links> {
    let query = use_query();
    Memo::new(move |_| Links::within(query.with(TimeRange::read)))
}

#[cfg(test)]
mod tests {
    use tidings_proto::{
        DurationNanos, UnixNanos,
        api::{ChangedGroup, GroupStats, StatsSince},
    };

    use super::{HeatmapBox, Links, TimeRange};

    #[test]
    fn a_box_becomes_a_range_and_limits_of_durations() {
        let chosen = HeatmapBox {
            from: UnixNanos(1_795_161_600_000_000_000),
            to: UnixNanos(1_795_161_660_000_000_000),
            shortest: DurationNanos(83_886_080),
            longest: DurationNanos(100_663_295),
        };
        let address = Links::explore_box(&[("service", "pay ment"), ("operation", "")], chosen);
        assert_eq!(
            address,
            "/explore?service=pay%20ment&min=83886080ns&max=100663295ns\
             &from=1795161600000&to=1795161660000"
        );
    }

    #[test]
    fn links_keep_the_range_and_escape_names() {
        let links = Links::within(TimeRange::Last { seconds: 900 });
        assert_eq!(links.service("a/b c"), "/services/a%2Fb%20c?range=15m");
        assert_eq!(links.service(""), "/services?range=15m");
        assert_eq!(
            links.transaction_type("web", "GET /cart/{user}"),
            "/transactions/web/GET%20%2Fcart%2F%7Buser%7D?range=15m"
        );
        assert_eq!(links.service("."), "/services/-?service=.&range=15m");
        assert_eq!(
            links.transaction_type("web", ".."),
            "/transactions/-/-?service=web&operation=..&range=15m"
        );
    }

    #[test]
    fn a_row_that_counts_from_its_change_leads_to_the_same_numbers() {
        let moving = Links::within(TimeRange::Last { seconds: 900 });
        assert_eq!(moving.service_since_change("pay"), "/services/pay?range=15m", "the default");
        let fixed = Links::within(TimeRange::Between { from_unix_ms: 1, to_unix_ms: 2 });
        assert_eq!(fixed.service_since_change("a/b"), "/services/a%2Fb?span=since&from=1&to=2");
        assert_eq!(fixed.service_since_change(""), "/services?from=1&to=2");
        let stats = GroupStats::default();
        let group = |since: Option<StatsSince>| {
            let group = serde_json::json!({
                "service": "pay", "now": stats, "since": since, "before": stats, "steps": [],
                "baselineSteps": [], "changes": [], "score": 1.0,
            });
            serde_json::from_value::<ChangedGroup>(group).unwrap()
        };
        let since = StatsSince { start_unix_nano: UnixNanos(7), stats: GroupStats::default() };
        let rows = [Some(since), None].map(|since| fixed.service_of_row(&group(since)));
        assert_eq!(rows, ["/services/pay?span=since&from=1&to=2", "/services/pay?from=1&to=2"]);
    }
}
