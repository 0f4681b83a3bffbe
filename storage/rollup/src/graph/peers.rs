//! Uninstrumented peers: targets of calls without spans of their own.
//!
//! Owns the attributes that name peers, in present and past versions of OpenTelemetry's semantic
//! conventions: [databases](https://opentelemetry.io/docs/specs/semconv/database/),
//! [messaging](https://opentelemetry.io/docs/specs/semconv/messaging/) and
//! [servers](https://opentelemetry.io/docs/specs/semconv/general/attributes/).

use std::{borrow::Cow, ops::Range};

use tidings_proto::{api::NodeKind, otlp::SpanKind};

/// Called endpoint that sends no spans.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// Name of the peer.
    pub name: String,
    /// Kind of the peer.
    pub kind: NodeKind,
    /// System that runs the peer, if the span names it.
    pub system: Option<String>,
}

/// Peer with borrowed names.
#[derive(Debug)]
pub struct BorrowedPeer<'a> {
    /// Name of the peer.
    pub name: Cow<'a, str>,
    /// Kind of the peer.
    pub kind: NodeKind,
    /// System that runs the peer, if the span names it.
    pub system: Option<Cow<'a, str>>,
}

/// Keys of attributes that can name a peer.
pub const KEYS: [&str; 19] = [
    "db.namespace",
    "db.name",
    "db.system.name",
    "db.system",
    "messaging.destination.name",
    "messaging.destination",
    "message_bus.destination",
    "messaging.system",
    "server.address",
    "net.peer.name",
    "http.host",
    "network.peer.address",
    "net.sock.peer.name",
    "net.peer.ip",
    "net.sock.peer.addr",
    "peer.address",
    "url.full",
    "http.url",
    "peer.service",
];
/// Ranges of [`KEYS`] that name each kind of peer, preferred keys first.
const DATABASE_NAMES: Range<usize> = 0..2;
const DATABASE_SYSTEMS: Range<usize> = 2..4;
const QUEUE_NAMES: Range<usize> = 4..7;
const QUEUE_SYSTEMS: Range<usize> = 7..8;
const SERVERS: Range<usize> = 8..16;
const URLS: Range<usize> = 16..18;
const SERVICE: Range<usize> = 18..19;

impl Peer {
    /// Returns the peer of a span of this kind. `text` returns the first attribute with a key as
    /// text. `None` when the attributes name no peer.
    pub fn from_attributes(kind: SpanKind, text: impl Fn(&str) -> Option<String>) -> Option<Self> {
        BorrowedPeer::from_attributes(kind, |key| text(KEYS[key]).map(Cow::Owned))
            .map(BorrowedPeer::into_owned)
    }

    /// Returns the peer with borrowed names.
    pub fn borrowed(&self) -> BorrowedPeer<'_> {
        let system = self.system.as_deref().map(Cow::Borrowed);
        BorrowedPeer { name: Cow::Borrowed(&self.name), kind: self.kind, system }
    }
}

impl<'a> BorrowedPeer<'a> {
    /// Like [`Peer::from_attributes`], with keys given by their index in [`KEYS`].
    pub fn from_attributes(
        kind: SpanKind,
        text: impl Fn(usize) -> Option<Cow<'a, str>>,
    ) -> Option<Self> {
        let said =
            |mut keys: Range<usize>| keys.find_map(|key| text(key).filter(|text| !text.is_empty()));
        let service = said(SERVICE);
        let database = said(DATABASE_SYSTEMS);
        let is_message = matches!(kind, SpanKind::Producer | SpanKind::Consumer);
        if database.is_some() || said(DATABASE_NAMES).is_some() {
            // The server has precedence, as in Tempo, because databases of one name run on many
            // servers.
            let name = service.or_else(|| said(SERVERS)).or_else(|| said(DATABASE_NAMES));
            let name = name.or_else(|| database.clone())?;
            return Some(Self { name, kind: NodeKind::Database, system: database });
        }
        let queue = said(QUEUE_SYSTEMS);
        if queue.is_some() || is_message && said(QUEUE_NAMES).is_some() {
            let name = said(QUEUE_NAMES).or(service).or_else(|| queue.clone())?;
            return Some(Self { name, kind: NodeKind::Messaging, system: queue });
        }
        if kind == SpanKind::Consumer {
            return None;
        }
        let host = || said(URLS).and_then(|url| host_of(&url).map(str::to_owned));
        let name = service.or_else(|| said(SERVERS)).or_else(|| host().map(Cow::Owned))?;
        Some(Self { name, kind: NodeKind::External, system: None })
    }

    /// Returns the peer with owned names.
    pub fn into_owned(self) -> Peer {
        let Self { name, kind, system } = self;
        Peer { name: name.into_owned(), kind, system: system.map(Cow::into_owned) }
    }
}

/// Returns the host of an address, without user, port and path.
fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => host.split(':').next()?,
    };
    (!host.is_empty()).then_some(host)
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
                Some((Database, "db-1", Some("postgresql"))),
            ),
            (SpanKind::Client, &[("db.system", "redis")], Some((Database, "redis", Some("redis")))),
            (SpanKind::Client, &[("db.name", "old")], Some((Database, "old", None))),
            (
                SpanKind::Client,
                &[("db.system", "mysql"), ("db.namespace", "shop"), ("db.name", "old")],
                Some((Database, "shop", Some("mysql"))),
            ),
            (
                SpanKind::Client,
                &[("db.name", "shop"), ("server.address", "db-1"), ("peer.service", "stock")],
                Some((Database, "stock", None)),
            ),
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
            let found = Peer::from_attributes(kind, text);
            let found =
                found.as_ref().map(|peer| (peer.kind, peer.name.as_str(), peer.system.as_deref()));
            assert_eq!(found, expected, "{attributes:?}");
        }
    }
}
