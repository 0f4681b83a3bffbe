//! What a call went to that left no span there.
//!
//! Owns the attributes that name it, in OpenTelemetry's semantic conventions, present and past:
//! [databases](https://opentelemetry.io/docs/specs/semconv/database/),
//! [messaging](https://opentelemetry.io/docs/specs/semconv/messaging/) and
//! [servers](https://opentelemetry.io/docs/specs/semconv/general/attributes/).

use std::{
    collections::{BTreeSet, HashMap},
    ops::ControlFlow,
};

use tidings_proto::{
    api::NodeKind,
    otlp::{KeyValue, SpanKind},
};
use tidings_storage::{Detail, Scan, SpanFilter};

use super::Open;
use crate::{QueryError, execution::Reader, names::value_text};

/// Something that was called and sends no spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) name: String,
    pub(super) kind: NodeKind,
    pub(super) system: Option<String>,
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

/// The peers of these spans, by content hash, as far as their attributes name them.
pub(super) fn read(
    reader: &Reader,
    filter: &SpanFilter,
    open: &HashMap<u64, Open>,
) -> Result<HashMap<u64, Peer>, QueryError> {
    let kinds: BTreeSet<i32> = open.values().map(|open| i32::from(open.kind)).collect();
    let mut peers = HashMap::new();
    for kind in [SpanKind::Client, SpanKind::Producer, SpanKind::Consumer] {
        if !kinds.contains(&i32::from(kind)) {
            continue;
        }
        let filter = SpanFilter { kind: Some(kind), ..filter.clone() };
        let scan = Scan { detail: Detail::Attributes, rows_max: u64::MAX };
        reader.spans(&filter, scan, |rows| {
            for row in 0..rows.len() {
                let content_hash = rows.content_hash(row);
                if open.contains_key(&content_hash)
                    && let Some(peer) = peer(&rows.attributes(row), kind)
                {
                    peers.insert(content_hash, peer);
                }
            }
            let all = peers.len() >= open.len();
            Ok(if all { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
    }
    Ok(peers)
}

fn peer(attributes: &[KeyValue], kind: SpanKind) -> Option<Peer> {
    let said = |keys: &[&str]| {
        keys.iter().find_map(|key| {
            let attribute = attributes.iter().find(|attribute| attribute.key == *key)?;
            attribute.value().and_then(value_text).filter(|text| !text.is_empty())
        })
    };
    let service = said(&["peer.service"]);
    let database = said(&DATABASE_SYSTEMS);
    let queue = said(&QUEUE_SYSTEMS);
    let is_message = matches!(kind, SpanKind::Producer | SpanKind::Consumer);
    if database.is_some() || said(&DATABASE_NAMES).is_some() {
        let name = service.or_else(|| said(&DATABASE_NAMES)).or_else(|| database.clone())?;
        return Some(Peer { name, kind: NodeKind::Database, system: database });
    }
    if queue.is_some() || is_message && said(&QUEUE_NAMES).is_some() {
        let name = said(&QUEUE_NAMES).or(service).or_else(|| queue.clone())?;
        return Some(Peer { name, kind: NodeKind::Messaging, system: queue });
    }
    if kind == SpanKind::Consumer {
        return None;
    }
    let name = service.or_else(|| said(&SERVERS)).or_else(|| host_of(&said(&URLS)?))?;
    Some(Peer { name, kind: NodeKind::External, system: None })
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
    use tidings_proto::{
        api::NodeKind,
        otlp::{KeyValue, SpanKind},
    };

    use super::peer;

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
            let attributes: Vec<KeyValue> =
                attributes.iter().map(|(key, value)| KeyValue::new(*key, *value)).collect();
            let found = peer(&attributes, kind);
            let found =
                found.as_ref().map(|peer| (peer.kind, peer.name.as_str(), peer.system.as_deref()));
            assert_eq!(found, expected, "{attributes:?}");
        }
    }
}
