//! What is left of a client's address, once it has been looked up.

use crate::config::AddressPolicy;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address that an attribute's value stands for; with or without a port.
pub fn parse(value: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let address = text.parse::<IpAddr>().or_else(|_| text.parse::<std::net::SocketAddr>().map(|socket| socket.ip()));
    address.ok().map(|address| address.to_canonical())
}

/// The value that stays in `ce_clientaddress`, if any does. What is no address never stays.
pub fn remainder(policy: AddressPolicy, address: Option<IpAddr>) -> Option<IpAddr> {
    match (policy, address?) {
        (AddressPolicy::Drop, _) => None,
        (AddressPolicy::Truncate, IpAddr::V4(address)) => {
            let [a, b, c, _] = address.octets();
            Some(Ipv4Addr::new(a, b, c, 0).into())
        }
        (AddressPolicy::Truncate, IpAddr::V6(address)) => {
            let [a, b, c, ..] = address.segments();
            Some(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_network_stays_and_only_where_asked() {
        let cases = [
            ("203.0.113.77", Some("203.0.113.0")),
            ("203.0.113.77:4711", Some("203.0.113.0")),
            ("::ffff:203.0.113.77", Some("203.0.113.0")),
            ("2001:db8:12:3456:789a::1", Some("2001:db8:12::")),
            ("[2001:db8:12::1]:80", Some("2001:db8:12::")),
            ("somewhere", None),
            ("", None),
            ("\u{ff}", None),
        ];
        for (value, left) in cases {
            let address = parse(value.as_bytes());
            let truncated = remainder(AddressPolicy::Truncate, address).map(|address| address.to_string());
            assert_eq!(truncated.as_deref(), left, "{value}");
            assert_eq!(remainder(AddressPolicy::Drop, address), None, "{value}");
        }
    }
}
