//! The address of a client that is behind reverse proxies.
//!
//! A proxy appends the address of its client to `X-Forwarded-For`. Clients can forge the entries
//! before that. Reading therefore starts at the end of the list and stops at the first address that
//! is not a trusted proxy. `Forwarded` is not read, because most proxies pass it on as the client
//! sent it.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

/// The header with the addresses through which a request went, the last one at the end.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Networks of proxies that are trusted to name the addresses of their clients. None by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Parses networks, such as `10.0.0.0/8`, and single addresses.
    ///
    /// # Errors
    /// The text that is malformed or is the network of all addresses, with which any client could
    /// claim any address.
    pub fn read(texts: &[String]) -> Result<Self, String> {
        let network = |text: &String| {
            let address = || text.parse().map(|address: IpAddr| address.to_canonical().into());
            let network = text.parse().or_else(|_| address());
            match network.map_err(|_| {
                format!("`{text}` is not a network or an address, as 10.0.0.0/8 and fd00::1 are")
            })? {
                all if IpNet::prefix_len(&all) == 0 => {
                    Err(format!("`{text}` has every address: any client could name another"))
                }
                network => Ok(network),
            }
        };
        texts.iter().map(network).collect::<Result<_, _>>().map(Self)
    }

    /// Returns the address of the client, behind trusted proxies. It is `peer`, unless that is a
    /// trusted proxy. A malformed address ends the list, and the proxy that wrote it counts as the
    /// client.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let lists = headers.get_all(FORWARDED_FOR).iter().rev();
        let hops = lists.flat_map(|list| list.as_bytes().rsplit(|byte| *byte == b','));
        let mut client = peer.to_canonical();
        for hop in hops {
            let Some(next) = self.contains(client).then(|| address(hop)).flatten() else { break };
            client = next;
        }
        client
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Parses an address with or without a port; an IPv6 address with or without brackets.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let hop = str::from_utf8(hop).ok()?.trim();
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse().or_else(|_| hop.parse().map(|with_port: SocketAddr| with_port.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use http::{HeaderMap, HeaderValue};

    use super::{FORWARDED_FOR, TrustedProxies};

    fn proxies(networks: &[&str]) -> TrustedProxies {
        let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
        TrustedProxies::read(&networks).unwrap()
    }

    fn client(proxies: &TrustedProxies, peer: &str, lists: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for list in lists {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(list).unwrap());
        }
        proxies.client(peer.parse::<IpAddr>().unwrap(), &headers).to_string()
    }

    #[test]
    fn the_last_address_that_is_not_a_proxy_is_the_client() {
        let proxies = proxies(&["10.0.0.0/8", "fd00::/8", "192.0.2.7", "::1"]);
        let cases: [(&str, &[&[u8]], &str); 22] = [
            // Without the header, or if the peer is not a proxy, the peer is the client.
            ("10.0.0.1", &[], "10.0.0.1"),
            ("203.0.113.9", &[b"198.51.100.1"], "203.0.113.9"),
            ("192.0.2.8", &[b"198.51.100.1"], "192.0.2.8"),
            ("fc00::1", &[b"198.51.100.1"], "fc00::1"),
            // One hop, several hops, several headers. The client wrote the entries before its own
            // address.
            ("10.0.0.1", &[b"198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &[b"198.51.100.1, 10.9.9.9 ,\t192.0.2.7"], "198.51.100.1"),
            ("10.0.0.1", &[b"198.51.100.1, 203.0.113.9, 10.9.9.9"], "203.0.113.9"),
            ("10.0.0.1", &[b"198.51.100.1", b"203.0.113.9", b"10.9.9.9"], "203.0.113.9"),
            ("10.0.0.1", &[b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            // IPv6, ports, brackets, and IPv4 mapped to IPv6.
            ("::1", &[b"2001:db8::1"], "2001:db8::1"),
            ("fd00::5", &[b"[2001:db8::1]"], "2001:db8::1"),
            ("fd00::5", &[b"[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", &[b"198.51.100.1:4711"], "198.51.100.1"),
            ("::ffff:10.0.0.1", &[b"::ffff:198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &[b"2001:db8::1, ::ffff:10.1.1.1"], "2001:db8::1"),
            // A malformed entry ends the list.
            ("10.0.0.1", &[b""], "10.0.0.1"),
            ("10.0.0.1", &[b"198.51.100.1,"], "10.0.0.1"),
            ("10.0.0.1", &[b"198.51.100.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", &[b"198.51.100.1, _hidden, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &[b"198.51.100.1, \xff\xfe"], "10.0.0.1"),
            ("10.0.0.1", &[b"198.51.100.1, 198.51.100.300"], "10.0.0.1"),
            ("10.0.0.1", &[b"198.51.100.1, [fe80::1%eth0]"], "10.0.0.1"),
        ];
        for (peer, lists, expected) in cases {
            assert_eq!(client(&proxies, peer, lists), expected, "{peer} {lists:?}");
        }
    }

    #[test]
    fn without_trusted_proxies_every_peer_is_the_client() {
        for peer in ["127.0.0.1", "::1", "10.0.0.1"] {
            assert_eq!(client(&TrustedProxies::default(), peer, &[b"198.51.100.1"]), peer);
        }
    }

    #[test]
    fn a_list_of_thousands_of_proxies_is_read_to_its_end() {
        let proxies = proxies(&["10.0.0.0/8"]);
        let list = ["203.0.113.9".to_owned(), "10.1.2.3,".repeat(8_000)].join(",");
        let list = list.trim_end_matches(',').as_bytes();
        assert_eq!(client(&proxies, "10.0.0.1", &[list]), "203.0.113.9");
    }

    #[test]
    fn malformed_networks_and_networks_of_all_addresses_are_refused() {
        for wrong in ["", "proxy", "10.0.0.0/33", "10.0.0/8", "10.0.0.1:80", "0.0.0.0/0", "::/0"] {
            let refused = TrustedProxies::read(&[wrong.to_owned()]).unwrap_err();
            assert!(refused.starts_with(&format!("`{wrong}`")), "{refused}");
        }
        assert_eq!(proxies(&["192.0.2.7"]), proxies(&["192.0.2.7/32"]));
        assert_eq!(proxies(&["::ffff:192.0.2.7"]), proxies(&["192.0.2.7/32"]));
    }
}
