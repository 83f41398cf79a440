//! Where a request came from.

use http::HeaderMap;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Which address counts as the client's: the connection's own, unless the connection comes from a
/// trusted proxy; then the rightmost hop of `X-Forwarded-For` that is no trusted proxy itself.
/// What stands left of it was written by whoever pleased.
#[derive(Debug, Clone, Default)]
pub struct ClientAddress {
    trusted: Arc<[IpNet]>,
}

impl ClientAddress {
    /// Believes proxies in these networks; none by default.
    pub fn new(trusted: impl IntoIterator<Item = IpNet>) -> Self {
        Self { trusted: trusted.into_iter().collect() }
    }

    /// The client's address of a request that came over a connection from `peer`. An IPv4 address
    /// written as IPv6 (`::ffff:192.0.2.1`) is given as IPv4.
    pub fn of(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.ip().to_canonical();
        if !self.trusts(client) {
            return client;
        }
        let lines: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
        for line in lines.into_iter().rev() {
            let Ok(line) = line.to_str() else { return client };
            for hop in line.rsplit(',') {
                let Some(hop) = parse_hop(hop.trim()) else { return client };
                client = hop;
                if !self.trusts(client) {
                    return client;
                }
            }
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }
}

/// An address, with or without a port: `192.0.2.1`, `192.0.2.1:443`, `::1`, `[::1]`, `[::1]:443`.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    let parsed = bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))?;
    Some(IpAddr::to_canonical(&parsed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarded_addresses_count_only_from_trusted_proxies() {
        let policy = ClientAddress::new(["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        // (peer, X-Forwarded-For lines, the client's address)
        let cases: [(&str, &[&str], &str); 13] = [
            ("192.0.2.9:1", &[], "192.0.2.9"),
            ("192.0.2.9:1", &["198.51.100.1"], "192.0.2.9"),
            ("10.0.0.1:1", &[], "10.0.0.1"),
            ("10.0.0.1:1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1:1", &["6.6.6.6, 198.51.100.1, 10.9.9.9"], "198.51.100.1"),
            ("10.0.0.1:1", &["6.6.6.6, 198.51.100.1", "10.9.9.9"], "198.51.100.1"),
            ("10.0.0.1:1", &["10.1.1.1,10.2.2.2"], "10.1.1.1"),
            ("10.0.0.1:1", &["198.51.100.1:443"], "198.51.100.1"),
            ("[fd00::1]:1", &["[2001:db8::7]:443"], "2001:db8::7"),
            ("[fd00::1]:1", &["[2001:db8::7]"], "2001:db8::7"),
            ("[::ffff:10.0.0.1]:1", &["::ffff:198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1:1", &["198.51.100.1, unknown"], "10.0.0.1"),
            ("10.0.0.1:1", &["198.51.100.1, nonsense, 10.9.9.9"], "10.9.9.9"),
        ];
        for (peer, lines, client) in cases {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            assert_eq!(policy.of(peer.parse().unwrap(), &headers).to_string(), client, "{peer} {lines:?}");
        }
    }
}
