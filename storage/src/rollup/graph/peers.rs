//! What a call went to that left no span there.
//!
//! Owns the attributes that name it, in OpenTelemetry's semantic conventions, present and past:
//! [databases](https://opentelemetry.io/docs/specs/semconv/database/),
//! [messaging](https://opentelemetry.io/docs/specs/semconv/messaging/) and
//! [servers](https://opentelemetry.io/docs/specs/semconv/general/attributes/).

use tidings_proto::{api::NodeKind, otlp::SpanKind};

/// Something that was called and sends no spans.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
    /// The system that runs it, when the span says so.
    pub system: Option<String>,
}

const DATABASE_NAMES: [&str; 2] = ["db.namespace", "db.name"];
const DATABASE_SYSTEMS: [&str; 2] = ["db.system.name", "db.system"];
const QUEUE_NAMES: [&str; 3] =
    ["messaging.destination.name", "messaging.destination", "message_bus.destination"];
const QUEUE_SYSTEMS: [&str; 1] = ["messaging.system"];
const SERVERS: [&str; 8] = [
    "server.address",
    "net.peer.name",
    "http.host",
    "network.peer.address",
    "net.sock.peer.name",
    "net.peer.ip",
    "net.sock.peer.addr",
    "peer.address",
];
const URLS: [&str; 2] = ["url.full", "http.url"];
const SERVICE: &str = "peer.service";

impl Peer {
    /// The keys that are looked at.
    pub(super) fn keys() -> impl Iterator<Item = &'static str> {
        let of_databases = DATABASE_NAMES.into_iter().chain(DATABASE_SYSTEMS);
        let of_queues = QUEUE_NAMES.into_iter().chain(QUEUE_SYSTEMS);
        let of_servers = SERVERS.into_iter().chain(URLS);
        of_databases.chain(of_queues).chain(of_servers).chain([SERVICE])
    }

    /// The peer of a span of this kind, of whose attributes `text` gives the first with a key as
    /// text. `None` when they do not name it.
    pub fn of(kind: SpanKind, text: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let said =
            |keys: &[&str]| keys.iter().find_map(|key| text(key).filter(|text| !text.is_empty()));
        let service = said(&[SERVICE]);
        let database = said(&DATABASE_SYSTEMS);
        let is_message = matches!(kind, SpanKind::Producer | SpanKind::Consumer);
        if database.is_some() || said(&DATABASE_NAMES).is_some() {
            let name = service.or_else(|| said(&DATABASE_NAMES)).or_else(|| database.clone())?;
            return Some(Self { name, kind: NodeKind::Database, system: database });
        }
        let queue = said(&QUEUE_SYSTEMS);
        if queue.is_some() || is_message && said(&QUEUE_NAMES).is_some() {
            let name = said(&QUEUE_NAMES).or(service).or_else(|| queue.clone())?;
            return Some(Self { name, kind: NodeKind::Messaging, system: queue });
        }
        if kind == SpanKind::Consumer {
            return None;
        }
        let name = service.or_else(|| said(&SERVERS)).or_else(|| host_of(&said(&URLS)?))?;
        Some(Self { name, kind: NodeKind::External, system: None })
    }
}

/// The host of an address, without user, port and path.
fn host_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => host.split(':').next()?,
    };
    (!host.is_empty()).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use tidings_proto::{api::NodeKind, otlp::SpanKind};

    use super::Peer;

    #[test]
    fn a_peer_is_what_the_attributes_say_it_is() {
        use NodeKind::{Database, External, Messaging};
        for (kind, attributes, expected) in [
            (SpanKind::Client, &[("peer.service", "bank")][..], Some((External, "bank", None))),
            (
                SpanKind::Client,
                &[
                    ("db.system.name", "postgresql"),
                    ("db.namespace", "orders"),
                    ("server.address", "db-1"),
                ],
                Some((Database, "orders", Some("postgresql"))),
            ),
            (SpanKind::Client, &[("db.system", "redis")], Some((Database, "redis", Some("redis")))),
            (SpanKind::Client, &[("db.name", "old")], Some((Database, "old", None))),
            (
                SpanKind::Producer,
                &[("messaging.system", "kafka"), ("messaging.destination.name", "orders")],
                Some((Messaging, "orders", Some("kafka"))),
            ),
            (SpanKind::Consumer, &[("messaging.destination", "q")], Some((Messaging, "q", None))),
            (SpanKind::Consumer, &[("server.address", "a")], None),
            (
                SpanKind::Client,
                &[("server.address", "api.example")],
                Some((External, "api.example", None)),
            ),
            (
                SpanKind::Client,
                &[("url.full", "https://u:p@api.example:8443/x?y")],
                Some((External, "api.example", None)),
            ),
            (SpanKind::Client, &[("http.url", "http://[::1]:80/")], Some((External, "::1", None))),
            (SpanKind::Client, &[("http.url", "nonsense")], None),
            (SpanKind::Client, &[("peer.service", "")], None),
        ] {
            let text = |key: &str| {
                let found = attributes.iter().find(|(known, _)| *known == key);
                found.map(|(_, text)| (*text).to_owned())
            };
            let found = Peer::of(kind, text);
            let found =
                found.as_ref().map(|peer| (peer.kind, peer.name.as_str(), peer.system.as_deref()));
            assert_eq!(found, expected, "{attributes:?}");
        }
    }
}
