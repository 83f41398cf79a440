//! Without keys, loopback only.

use crate::Keys;
use std::net::{IpAddr, SocketAddr};

/// Why an address may not be listened on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "refusing to listen on {0}: no API key is configured, so anyone who reaches it could send, read and erase; \
     make a key with `killfeed key new` and put it into the config file, or listen on a loopback address (127.0.0.1 or [::1])"
)]
pub struct BindRefused(pub SocketAddr);

/// Checks that `listen` may be listened on: any address with a key configured, only loopback without.
///
/// # Errors
/// [`BindRefused`], whose message says why and what to do.
pub fn check_bind(listen: SocketAddr, keys: &Keys) -> Result<(), BindRefused> {
    if keys.is_none() && !is_loopback(listen.ip()) { Err(BindRefused(listen)) } else { Ok(()) }
}

/// Whether only this machine reaches the address.
pub(crate) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KeyConfig, Scope};

    #[test]
    fn without_keys_only_loopback_is_allowed() {
        let with_key = Keys::from_config(&[KeyConfig::new("a", "secret", [Scope::Ingest])]).unwrap();
        // (address, allowed without keys); with a key, all are.
        let cases = [
            ("127.0.0.1:8080", true),
            ("127.9.9.9:8080", true),
            ("[::1]:8080", true),
            ("[::ffff:127.0.0.1]:8080", true),
            ("0.0.0.0:8080", false),
            ("[::]:8080", false),
            ("192.0.2.1:8080", false),
        ];
        for (address, allowed) in cases {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(check_bind(address, &Keys::none()).is_ok(), allowed, "{address}");
            assert_eq!(check_bind(address, &with_key), Ok(()));
        }
        let message = BindRefused("0.0.0.0:80".parse().unwrap()).to_string();
        assert!(message.starts_with("refusing to listen on 0.0.0.0:80: no API key is configured"), "{message}");
    }
}
