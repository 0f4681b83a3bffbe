//! Addresses of the pages of a transaction type, a service, a transaction and sets of traces.
//!
//! An address keeps the reader's time range. A name may be any text, and a path segment cannot hold
//! every text: [`transaction_type`] and [`service`] put the other names in the query. An empty name
//! has no page. Its transactions are those of a query of Explore.

use tidings_proto::{DurationNanos, TraceId};

use crate::url::{
    AttributeFilter, ExploreState, ParsedParam, TimeRange, TraceFilters, UrlQuery, encode,
    traceql::write_traceql,
};

/// Path segment that stands for a name in the query.
const IN_QUERY: &str = "-";

/// Reports whether a path segment can hold a name. Browsers resolve segments of dots before they
/// decode slashes or after it, and routers decode percent signs twice.
fn fits_segment(name: &str) -> bool {
    let is_lost = |sign: char| matches!(sign, '%' | '\\') || sign.is_control();
    let is_dots = |part: &str| matches!(part, "." | "..");
    !name.is_empty() && name != IN_QUERY && !name.contains(is_lost) && !name.split('/').any(is_dots)
}

/// Returns the address of a transaction type's page. Without one of its names it is the address of
/// Explore with its spans.
#[must_use]
pub fn transaction_type(service: &str, operation: &str, range: TimeRange) -> String {
    if service.is_empty() || operation.is_empty() {
        return spans_of(service, operation, range);
    }
    let mut query = UrlQuery::default();
    let path = if fits_segment(service) && fits_segment(operation) {
        format!("/transactions/{}/{}", encode(service), encode(operation))
    } else {
        query.push("service", service);
        query.push("operation", operation);
        format!("/transactions/{IN_QUERY}/{IN_QUERY}")
    };
    range.write(&mut query);
    query.on(&path)
}

/// Returns the address of Explore with the spans of an operation. Filters cannot express an empty
/// name, so that a query does.
fn spans_of(service: &str, operation: &str, range: TimeRange) -> String {
    let filters = TraceFilters {
        service: Some(service.to_owned()),
        operation: Some(operation.to_owned()),
        ..TraceFilters::default()
    };
    let query = Some(write_traceql(&filters));
    ExploreState { range, query, ..ExploreState::default() }.write().on("/explore")
}

/// Reads the service and the operation from the address of a transaction type's page.
#[must_use]
pub fn read_transaction_type(
    service: String,
    operation: String,
    query: &UrlQuery,
) -> (String, String) {
    if service == IN_QUERY && operation == IN_QUERY {
        let text = |key| query.get(key).unwrap_or_default().to_owned();
        return (text("service"), text("operation"));
    }
    (service, operation)
}

/// Returns the address of a service's page. A service without a name has no page and has the
/// address of the list of services.
#[must_use]
pub fn service(name: &str, range: TimeRange) -> String {
    service_with(name, UrlQuery::default(), range)
}

/// Returns the address of a service's page with further parameters.
pub(crate) fn service_with(name: &str, mut query: UrlQuery, range: TimeRange) -> String {
    if name.is_empty() {
        return with_range("/services", range);
    }
    let path = if fits_segment(name) {
        format!("/services/{}", encode(name))
    } else {
        query.push("service", name);
        format!("/services/{IN_QUERY}")
    };
    range.write(&mut query);
    query.on(&path)
}

/// Reads the name from the address of a service's page.
#[must_use]
pub fn read_service(segment: String, query: &UrlQuery) -> String {
    match query.get("service").filter(|name| segment == IN_QUERY && !name.is_empty()) {
        Some(name) => name.to_owned(),
        None => segment,
    }
}

/// Returns the address of the transaction page of an id.
#[must_use]
pub fn transaction(tid: &str) -> String {
    format!("/tx/{}", encode(tid.trim()))
}

/// Returns the address of the comparison of two traces, or of one trace with the typical trace of
/// its type.
#[must_use]
pub fn compare(left: TraceId, right: Option<TraceId>) -> String {
    let right = right.map_or_else(|| "typical".to_owned(), |right| right.to_string());
    format!("/compare?left={left}&right={right}")
}

/// Returns the address of a page with this range.
#[must_use]
pub fn with_range(path: &str, range: TimeRange) -> String {
    let mut query = UrlQuery::default();
    range.write(&mut query);
    query.on(path)
}

/// Builder of an Explore address that lists traces, filter by filter.
#[derive(Debug, Clone, Default)]
pub struct TraceListLink(ExploreState);

impl TraceListLink {
    /// Selects all traces of a range.
    #[must_use]
    pub fn within(range: TimeRange) -> Self {
        Self(ExploreState { range, ..ExploreState::default() })
    }

    /// Keeps only traces with a span of this service.
    #[must_use]
    pub fn of_service(self, service: &str) -> Self {
        self.filtered(|filters| filters.service = non_empty(service))
    }

    /// Keeps only traces with a span of this operation.
    #[must_use]
    pub fn of_operation(self, operation: &str) -> Self {
        self.filtered(|filters| filters.operation = non_empty(operation))
    }

    /// Keeps only traces in which that span failed.
    #[must_use]
    pub fn failed(self) -> Self {
        self.filtered(|filters| filters.status = Some("error".to_owned()))
    }

    /// Keeps only traces in which that span took at least this long.
    #[must_use]
    pub fn with_min_duration(self, nanos: DurationNanos) -> Self {
        self.filtered(|filters| filters.duration_min = Some(ParsedParam::Read(nanos)))
    }

    /// Keeps only traces in which that span has this attribute.
    #[must_use]
    pub fn with_attribute(self, key: &str, value: Option<&str>) -> Self {
        let filter = AttributeFilter { key: key.to_owned(), value: value.map(str::to_owned) };
        self.filtered(|filters| filters.attributes.push(filter))
    }

    /// Keeps only traces in which that span has this value of an attribute, as an explanation names
    /// it. `None` when filters cannot express it.
    #[must_use]
    pub fn with_value(self, scope: &str, key: &str, value: Option<&str>) -> Option<Self> {
        let value = value?;
        match (scope, key) {
            ("intrinsic", "service") => Some(self.of_service(value)),
            ("intrinsic", "operation" | "name") => Some(self.of_operation(value)),
            ("intrinsic", "status") => {
                Some(self.filtered(|filters| filters.status = non_empty(&value.to_lowercase())))
            }
            ("intrinsic", "kind") => {
                Some(self.filtered(|filters| filters.kind = non_empty(&value.to_lowercase())))
            }
            ("intrinsic", _) => None,
            // A range of numbers is not a value of an attribute.
            _ if value.contains("..") => None,
            _ => Some(self.with_attribute(key, Some(value))),
        }
    }

    /// Returns the address, with a TraceQL query, of traces in which that span has another value of
    /// an attribute. `None` when TraceQL cannot express it.
    #[must_use]
    pub fn address_without_value(
        &self,
        scope: &str,
        key: &str,
        value: Option<&str>,
    ) -> Option<String> {
        let field = match scope {
            "resource" | "span" => format!("{scope}.{}", traceql_key(key)?),
            _ => return None,
        };
        let filters = &self.0.filters;
        let mut conditions = Vec::new();
        let text = |name: &str, value: &String| format!("{name} = {}", traceql_text(value));
        conditions
            .extend(filters.service.as_ref().map(|value| text("resource.service.name", value)));
        conditions.extend(filters.operation.as_ref().map(|value| text("name", value)));
        conditions.extend(filters.status.as_ref().map(|status| format!("status = {status}")));
        let nanos =
            filters.duration_min.as_ref().map(|given| given.text(|nanos| format!("{}ns", nanos.0)));
        conditions.extend(nanos.map(|nanos| format!("duration >= {nanos}")));
        conditions.push(match value {
            Some(value) => format!("!({field} = {})", traceql_text(value)),
            None => format!("{field} != nil"),
        });
        let mut query = UrlQuery::default();
        query.push("q", format!("{{ {} }}", conditions.join(" && ")));
        self.0.range.write(&mut query);
        Some(query.on("/explore"))
    }

    /// Returns the address.
    #[must_use]
    pub fn address(&self) -> String {
        self.0.write().on("/explore")
    }

    fn filtered(mut self, change: impl FnOnce(&mut TraceFilters)) -> Self {
        change(&mut self.0.filters);
        self
    }
}

/// Quotes a text as TraceQL does.
#[must_use]
pub fn traceql_text(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Writes an attribute's key as TraceQL does. It is quoted when it has characters other than those
/// of a word.
fn traceql_key(key: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    if key.is_empty() {
        return None;
    }
    Some(if key.chars().all(plain) { key.to_owned() } else { traceql_text(key) })
}

fn non_empty(name: &str) -> Option<String> {
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use tidings_proto::DurationNanos;

    use super::{
        TraceListLink, read_service, read_transaction_type, service, service_with, transaction_type,
    };
    use crate::url::{TimeRange, UrlQuery};

    const HOSTILE: [&str; 16] = [
        "POST /checkout",
        ".",
        "..",
        "-",
        "50 % off",
        "a/b?c=d&e#f",
        "ü\u{0}",
        "/",
        "//",
        "/..",
        "../..",
        "a/./b",
        "\u{0}/..",
        "%00%2f..",
        "..\\",
        "...",
    ];

    /// Returns the names in a path, as a router decodes them, and checks that no browser changes the
    /// path.
    fn names(path: &str) -> Vec<String> {
        let name = |segment: &str| {
            let plain = segment.to_ascii_lowercase().replace("%2e", ".");
            assert!(!matches!(plain.as_str(), "" | "." | ".."), "{path}");
            assert!(!plain.contains("%25") && !plain.contains("%00"), "{path}");
            UrlQuery::parse(&format!("n={segment}")).get("n").unwrap_or_default().to_owned()
        };
        path.trim_start_matches('/').split('/').skip(1).map(name).collect()
    }

    fn round_trip(service: &str, operation: &str) {
        let address = transaction_type(service, operation, TimeRange::All);
        let (path, query) = address.split_once('?').unwrap();
        let [first, second]: [String; 2] = names(path).try_into().unwrap();
        let read = read_transaction_type(first, second, &UrlQuery::parse(query));
        assert_eq!(read, (service.to_owned(), operation.to_owned()), "{address}");
    }

    #[test]
    fn every_name_has_an_address() {
        for name in HOSTILE {
            round_trip("web", name);
            round_trip(name, "GET /");
            let address = service(name, TimeRange::All);
            let (path, query) = address.split_once('?').unwrap();
            let [segment]: [String; 1] = names(path).try_into().unwrap();
            assert_eq!(read_service(segment, &UrlQuery::parse(query)), name, "{address}");
        }
        assert_eq!(
            transaction_type("web", "POST /checkout", TimeRange::default()),
            "/transactions/web/POST%20%2Fcheckout"
        );
        assert_eq!(service("a/b c", TimeRange::default()), "/services/a%2Fb%20c");
        let mut query = UrlQuery::default();
        query.push("operation", "GET /");
        let address = service_with("..", query, TimeRange::default());
        assert_eq!(address, "/services/-?operation=GET%20%2F&service=..");
    }

    #[test]
    fn an_operation_without_a_name_is_a_query_of_explore() {
        let query = |service: &str, operation: &str| {
            let address = transaction_type(service, operation, TimeRange::default());
            let query = UrlQuery::parse(address.strip_prefix("/explore?").unwrap());
            query.get("q").unwrap().to_owned()
        };
        assert_eq!(query("web", ""), r#"{ resource.service.name = "web" && name = "" }"#);
        assert_eq!(query("", "GET /"), r#"{ resource.service.name = "" && name = "GET /" }"#);
        assert_eq!(service("", TimeRange::All), "/services?range=all");
    }

    #[test]
    fn filters_of_traces_are_those_of_explore() {
        let traces = TraceListLink::within(TimeRange::All)
            .of_service("web")
            .of_operation("")
            .failed()
            .with_min_duration(DurationNanos(1_500_000_000))
            .with_attribute("order.id", Some("A-1"));
        let address = "/explore?service=web&status=error&min=1500ms&attr=order.id%3DA-1&range=all";
        assert_eq!(traces.address(), address);
    }

    #[test]
    fn a_value_can_be_kept_or_left_out() {
        let traces = TraceListLink::within(TimeRange::default()).of_service("web \"a\"");
        let only = traces.clone().with_value("resource", "host.name", Some("h1")).unwrap();
        assert_eq!(only.address(), "/explore?service=web%20%22a%22&attr=host.name%3Dh1");
        let failed = traces.clone().with_value("intrinsic", "status", Some("ERROR")).unwrap();
        assert!(failed.address().contains("status=error"), "{}", failed.address());
        assert!(traces.clone().with_value("span", "size", Some("512..1023")).is_none());
        let without = traces.address_without_value("span", "a b", Some("x\\y")).unwrap();
        let query = UrlQuery::parse(without.split_once('?').unwrap().1);
        let expected = r#"{ resource.service.name = "web \"a\"" && !(span."a b" = "x\\y") }"#;
        assert_eq!(query.get("q"), Some(expected));
        assert_eq!(traces.address_without_value("intrinsic", "kind", Some("server")), None);
    }
}
