//! Addresses of pages that are about something: a transaction type, a service, some traces.
//!
//! The range that the reader looks at goes along. Names are any text, so a path cannot hold all of
//! them: those it cannot hold (empty, `.`, `..`, or with a percent sign, which routers decode
//! twice) stand in the query instead.

use tidings_proto::{DurationNanos, TraceId};

use crate::url::{
    AttributeFilter, ExploreState, ParsedParam, TimeRange, TraceFilters, UrlQuery, encode,
};

/// Stands in a path for a name that the query has.
const IN_QUERY: &str = "-";

/// Where a transaction type is shown.
#[must_use]
pub fn transaction_type(service: &str, operation: &str, range: TimeRange) -> String {
    let mut query = UrlQuery::default();
    let fits = |name: &str| !matches!(name, "" | "." | ".." | IN_QUERY) && !name.contains('%');
    let path = if fits(service) && fits(operation) {
        format!("/transactions/{}/{}", encode(service), encode(operation))
    } else {
        query.push("service", service);
        query.push("operation", operation);
        format!("/transactions/{IN_QUERY}/{IN_QUERY}")
    };
    range.write(&mut query);
    query.on(&path)
}

/// The service and operation of the address of a transaction type.
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

/// Where a service is shown.
#[must_use]
pub fn service(name: &str, range: TimeRange) -> String {
    ranged(&format!("/services/{}", encode(name)), range)
}

/// Where everything that belongs to an id is shown.
#[must_use]
pub fn transaction(tid: &str) -> String {
    format!("/tx/{}", encode(tid.trim()))
}

/// Where two traces, or one and what is typical of its type, are compared.
#[must_use]
pub fn compare(left: TraceId, right: Option<TraceId>) -> String {
    let right = right.map_or_else(|| "typical".to_owned(), |right| right.to_string());
    format!("/compare?left={left}&right={right}")
}

/// A page with this range.
#[must_use]
pub fn ranged(path: &str, range: TimeRange) -> String {
    let mut query = UrlQuery::default();
    range.write(&mut query);
    query.on(path)
}

/// Traces to be listed in Explore, as filters are added.
#[derive(Debug, Clone, Default)]
pub struct TraceLink(ExploreState);

impl TraceLink {
    /// All traces of a range.
    #[must_use]
    pub fn within(range: TimeRange) -> Self {
        Self(ExploreState { range, ..ExploreState::default() })
    }

    /// Only those with a span of this service.
    #[must_use]
    pub fn of_service(self, service: &str) -> Self {
        self.filtered(|filters| filters.service = named(service))
    }

    /// Only those with a span of this operation.
    #[must_use]
    pub fn of_operation(self, operation: &str) -> Self {
        self.filtered(|filters| filters.operation = named(operation))
    }

    /// Only those of which that span failed.
    #[must_use]
    pub fn failed(self) -> Self {
        self.filtered(|filters| filters.status = Some("error".to_owned()))
    }

    /// Only those of which that span took at least so long.
    #[must_use]
    pub fn lasting(self, nanos: DurationNanos) -> Self {
        self.filtered(|filters| filters.duration_min = Some(ParsedParam::Read(nanos)))
    }

    /// Only those of which that span has this attribute.
    #[must_use]
    pub fn with_attribute(self, key: &str, value: Option<&str>) -> Self {
        let filter = AttributeFilter { key: key.to_owned(), value: value.map(str::to_owned) };
        self.filtered(|filters| filters.attributes.push(filter))
    }

    /// Only those of which that span has this value of an attribute, as an explanation names it;
    /// `None` where filters cannot say so.
    #[must_use]
    pub fn having(self, scope: &str, key: &str, value: Option<&str>) -> Option<Self> {
        let value = value?;
        match (scope, key) {
            ("intrinsic", "service") => Some(self.of_service(value)),
            ("intrinsic", "operation" | "name") => Some(self.of_operation(value)),
            ("intrinsic", "status") => {
                Some(self.filtered(|filters| filters.status = named(&value.to_lowercase())))
            }
            ("intrinsic", "kind") => {
                Some(self.filtered(|filters| filters.kind = named(&value.to_lowercase())))
            }
            ("intrinsic", _) => None,
            // A range of numbers is no value that an attribute has.
            _ if value.contains("..") => None,
            _ => Some(self.with_attribute(key, Some(value))),
        }
    }

    /// The address of those of which that span has another value of an attribute, in TraceQL;
    /// `None` where it cannot be said.
    #[must_use]
    pub fn lacking(&self, scope: &str, key: &str, value: Option<&str>) -> Option<String> {
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

    /// The address.
    #[must_use]
    pub fn address(&self) -> String {
        self.0.write().on("/explore")
    }

    fn filtered(mut self, change: impl FnOnce(&mut TraceFilters)) -> Self {
        change(&mut self.0.filters);
        self
    }
}

/// A text as TraceQL writes it.
#[must_use]
pub fn traceql_text(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// An attribute's key as TraceQL writes it, quoted where it has other signs than words.
fn traceql_key(key: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    if key.is_empty() {
        return None;
    }
    Some(if key.chars().all(plain) { key.to_owned() } else { traceql_text(key) })
}

fn named(name: &str) -> Option<String> {
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use tidings_proto::DurationNanos;

    use super::{TraceLink, read_transaction_type, transaction_type};
    use crate::url::{TimeRange, UrlQuery};

    fn round_trip(service: &str, operation: &str) {
        let address = transaction_type(service, operation, TimeRange::All);
        let (path, query) = address.split_once('?').unwrap();
        let mut names = path.strip_prefix("/transactions/").unwrap().split('/');
        let mut name = || UrlQuery::parse(&format!("n={}", names.next().unwrap()));
        let text = |query: &UrlQuery| query.get("n").unwrap_or_default().to_owned();
        let (first, second) = (text(&name()), text(&name()));
        let read = read_transaction_type(first, second, &UrlQuery::parse(query));
        assert_eq!(read, (service.to_owned(), operation.to_owned()), "{address}");
    }

    #[test]
    fn every_name_has_an_address() {
        for name in ["POST /checkout", "", ".", "..", "-", "50 % off", "a/b?c=d&e#f", "ü\u{0}"] {
            round_trip("web", name);
            round_trip(name, "GET /");
        }
        assert_eq!(
            transaction_type("web", "POST /checkout", TimeRange::default()),
            "/transactions/web/POST%20%2Fcheckout"
        );
    }

    #[test]
    fn filters_of_traces_are_those_of_explore() {
        let traces = TraceLink::within(TimeRange::All)
            .of_service("web")
            .of_operation("")
            .failed()
            .lasting(DurationNanos(1_500_000_000))
            .with_attribute("order.id", Some("A-1"));
        let address = "/explore?service=web&status=error&min=1500ms&attr=order.id%3DA-1&range=all";
        assert_eq!(traces.address(), address);
    }

    #[test]
    fn a_value_can_be_kept_or_left_out() {
        let traces = TraceLink::within(TimeRange::default()).of_service("web \"a\"");
        let only = traces.clone().having("resource", "host.name", Some("h1")).unwrap();
        assert_eq!(only.address(), "/explore?service=web%20%22a%22&attr=host.name%3Dh1");
        let failed = traces.clone().having("intrinsic", "status", Some("ERROR")).unwrap();
        assert!(failed.address().contains("status=error"), "{}", failed.address());
        assert!(traces.clone().having("span", "size", Some("512..1023")).is_none());
        let without = traces.lacking("span", "a b", Some("x\\y")).unwrap();
        let query = UrlQuery::parse(without.split_once('?').unwrap().1);
        let expected = r#"{ resource.service.name = "web \"a\"" && !(span."a b" = "x\\y") }"#;
        assert_eq!(query.get("q"), Some(expected));
        assert_eq!(traces.lacking("intrinsic", "kind", Some("server")), None);
    }
}
