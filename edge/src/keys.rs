//! API keys: hashed at rest, compared in constant time, each with scopes and a rate.
//!
//! A key is 192 random bits, so a plain SHA-256 is enough at rest: there is nothing to guess.

use crate::bind::is_loopback;
use crate::{Problem, Scope, Scopes};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::{HeaderMap, Uri, header};
use rand::RngCore as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

/// A key as it stands in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// Whose it is; named in errors, logs and metrics.
    pub name: String,
    /// SHA-256 of the key, in hex. The key itself is stored nowhere.
    pub sha256: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Requests per second on average; no limit if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<NonZeroU32>,
    /// Requests at once, after a pause; as many as `rate` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<NonZeroU32>,
}

impl KeyConfig {
    /// The configuration of this key, without a rate.
    pub fn new(name: &str, key: &str, scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self {
            name: name.to_owned(),
            sha256: to_hex(&Sha256::digest(key)),
            scopes: scopes.into_iter().collect(),
            rate: None,
            burst: None,
        }
    }
}

/// A fault in the configuration of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// Without a name there is nothing to call it in errors.
    #[error("key {0}: name is empty")]
    Nameless(usize),
    /// Two keys of one name.
    #[error("key `{0}`: the name is used twice")]
    SameName(String),
    /// Two names for one key.
    #[error("key `{0}`: its sha256 is that of another key too")]
    SameHash(String),
    /// The hash is none.
    #[error("key `{name}`: sha256 must be 64 hex digits, not {length} characters; `killfeed key new` prints it")]
    Hash {
        /// The key's name.
        name: String,
        /// Characters found.
        length: usize,
    },
    /// It may do nothing.
    #[error("key `{0}`: scopes is empty; give one or more of ingest, server, query, personal, admin")]
    NoScopes(String),
    /// A burst belongs to a rate.
    #[error("key `{0}`: burst without rate")]
    BurstAlone(String),
}

/// A key just made.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The key itself: shown once, kept by whoever asked.
    pub secret: String,
    /// What goes into the configuration.
    pub config: KeyConfig,
}

impl NewKey {
    /// A random key: `kf_` and 48 hex digits.
    pub fn random(name: &str, scopes: impl IntoIterator<Item = Scope>) -> Self {
        let mut bits = [0_u8; 24];
        rand::rng().fill_bytes(&mut bits);
        let secret = format!("kf_{}", to_hex(&bits));
        Self { config: KeyConfig::new(name, &secret, scopes), secret }
    }
}

/// Whom a request speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Name of the key; `loopback` where none is configured.
    pub name: Arc<str>,
    /// What it may do.
    pub scopes: Scopes,
}

impl Principal {
    /// Whether it may do this.
    pub const fn has(&self, scope: Scope) -> bool {
        self.scopes.has(scope)
    }
}

/// The keys that are configured. Cheap to clone; clones share the rates.
#[derive(Debug, Clone)]
pub struct Keys(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    keys: Vec<Key>,
    loopback: Principal,
}

#[derive(Debug)]
struct Key {
    hash: [u8; 32],
    principal: Principal,
    limiter: Option<DefaultDirectRateLimiter>,
}

impl Keys {
    /// No key: whoever reaches the address may do everything, so it must be loopback
    /// ([`crate::check_bind`]). Requests that a web page made a browser send are refused.
    pub fn none() -> Self {
        let loopback = Principal { name: Arc::from("loopback"), scopes: Scopes::ALL };
        Self(Arc::new(Inner { keys: Vec::new(), loopback }))
    }

    /// The keys of a configuration; the same as [`Self::none`] if it has none.
    ///
    /// # Errors
    /// Every fault of the configuration.
    pub fn from_config(configs: &[KeyConfig]) -> Result<Self, Vec<KeyFault>> {
        let mut faults = Vec::new();
        let mut names = BTreeSet::new();
        let mut hashes = BTreeSet::new();
        let mut keys = Vec::new();
        for (place, config) in configs.iter().enumerate() {
            let name = &config.name;
            if name.is_empty() {
                faults.push(KeyFault::Nameless(place + 1));
            } else if !names.insert(name) {
                faults.push(KeyFault::SameName(name.clone()));
            }
            if config.scopes.is_empty() {
                faults.push(KeyFault::NoScopes(name.clone()));
            }
            if config.burst.is_some() && config.rate.is_none() {
                faults.push(KeyFault::BurstAlone(name.clone()));
            }
            let Some(hash) = from_hex(&config.sha256) else {
                faults.push(KeyFault::Hash { name: name.clone(), length: config.sha256.chars().count() });
                continue;
            };
            if !hashes.insert(hash) {
                faults.push(KeyFault::SameHash(name.clone()));
            }
            let limiter = config
                .rate
                .map(|rate| RateLimiter::direct(Quota::per_second(rate).allow_burst(config.burst.unwrap_or(rate))));
            let scopes = config.scopes.iter().copied().collect();
            keys.push(Key { hash, principal: Principal { name: name.as_str().into(), scopes }, limiter });
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let Self(none) = Self::none();
        Ok(Self(Arc::new(Inner { keys, loopback: none.loopback.clone() })))
    }

    /// Whether none is configured.
    pub fn is_none(&self) -> bool {
        self.0.keys.is_empty()
    }

    /// Whom a request with these headers speaks for, if it may do `scope`. The key is read from
    /// `Authorization: Bearer KEY`, else from `x-api-key`. Takes one request off the key's rate.
    ///
    /// # Errors
    /// 401 for no key or an unknown one, 403 if it lacks the scope, 429 with `Retry-After` past its rate.
    pub fn authorize(&self, headers: &HeaderMap, scope: Scope) -> Result<Principal, Problem> {
        self.decide(headers, scope).inspect_err(count_refused)
    }

    fn decide(&self, headers: &HeaderMap, scope: Scope) -> Result<Principal, Problem> {
        if self.is_none() {
            refuse_foreign_pages(headers)?;
            return Ok(self.0.loopback.clone());
        }
        Self::admit(self.find(presented(headers)?)?, scope)
    }

    /// Whom a connection speaks for that shows this key, or none where none is configured, by a protocol other
    /// than HTTP. Takes one request off the key's rate.
    ///
    /// # Errors
    /// As [`Self::authorize`].
    pub fn authorize_key(&self, key: &str, scope: Scope) -> Result<Principal, Problem> {
        let found = match self.is_none() {
            true => Ok(self.0.loopback.clone()),
            false => self.find(key).and_then(|key| Self::admit(key, scope)),
        };
        found.inspect_err(count_refused)
    }

    /// The same for a holder who showed the key before, and was remembered since: whether the key is still
    /// configured, may do `scope`, and is within its rate.
    ///
    /// # Errors
    /// As [`Self::authorize`].
    pub fn again(&self, principal: &Principal, scope: Scope) -> Result<(), Problem> {
        let key = self.0.keys.iter().find(|key| key.principal == *principal);
        let admitted =
            key.ok_or_else(|| Problem::unauthorized("unknown API key")).and_then(|key| Self::admit(key, scope));
        admitted.map(drop).inspect_err(count_refused)
    }

    fn admit(key: &Key, scope: Scope) -> Result<Principal, Problem> {
        if let Some(limiter) = &key.limiter
            && let Err(not_until) = limiter.check()
        {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            let detail = format!("key `{}` is over its rate", key.principal.name);
            return Err(Problem::too_many_requests(detail, wait));
        }
        if !key.principal.has(scope) {
            let Principal { name, scopes } = &key.principal;
            return Err(Problem::forbidden(format!("key `{name}` has no scope `{scope}`: it has {scopes}")));
        }
        Ok(key.principal.clone())
    }

    /// Looks at every key, whichever matches, so that the time taken tells nothing.
    fn find(&self, presented: &str) -> Result<&Key, Problem> {
        let hash: [u8; 32] = Sha256::digest(presented).into();
        let mut found = 0_u64;
        let mut known = Choice::from(0);
        for (place, key) in (0_u64..).zip(&self.0.keys) {
            let same = key.hash.ct_eq(&hash);
            found.conditional_assign(&place, same);
            known |= same;
        }
        let key = usize::try_from(found).ok().and_then(|place| self.0.keys.get(place));
        key.filter(|_| known.into()).ok_or_else(|| Problem::unauthorized("unknown API key"))
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self::none()
    }
}

fn count_refused(problem: &Problem) {
    metrics::counter!("killfeed_edge_refused_requests_total", "status" => problem.status.as_u16().to_string())
        .increment(1);
}

/// The key that a request shows.
fn presented(headers: &HeaderMap) -> Result<&str, Problem> {
    const HOW: &str = "send it as `Authorization: Bearer KEY` or `x-api-key: KEY`";
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let bearer = value.to_str().ok().and_then(|value| value.split_once(' '));
        return match bearer {
            Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => Ok(key.trim()),
            _ => Err(Problem::unauthorized(format!("the Authorization header holds no API key; {HOW}"))),
        };
    }
    match headers.get("x-api-key").map(|value| value.to_str()) {
        Some(Ok(key)) => Ok(key.trim()),
        _ => Err(Problem::unauthorized(format!("no API key; {HOW}"))),
    }
}

/// Without keys, a page of any site could make the browser on this machine talk to us: refuses what
/// another origin sent, and hosts that only resolve to loopback (DNS rebinding).
fn refuse_foreign_pages(headers: &HeaderMap) -> Result<(), Problem> {
    let host = headers.get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    if let Some(host) = host
        && !names_loopback(host)
    {
        return Err(Problem::forbidden(format!(
            "no API key is configured, so only requests to a loopback host are answered, not to `{host}`"
        )));
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        let host = origin.parse::<Uri>().ok().and_then(|uri| uri.authority().map(ToString::to_string));
        if !host.is_some_and(|host| names_loopback(&host)) {
            return Err(Problem::forbidden(format!(
                "no API key is configured, so pages of `{origin}` may send no requests"
            )));
        }
    }
    Ok(())
}

/// Whether `host`, with or without a port, is `localhost` or a loopback address.
fn names_loopback(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return false;
    }
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(is_loopback)
}

fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 0xf)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        let pair = &text[2 * place..2 * place + 2];
        *byte = u8::from_str_radix(pair, 16).ok().filter(|_| !pair.starts_with('+'))?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_request_is_authorized_by_its_key_and_scope() {
        let keys = Keys::from_config(&[
            KeyConfig::new("client", "c", [Scope::Ingest]),
            KeyConfig::new("server", "s", [Scope::Server]),
            KeyConfig::new("analyst", "a", [Scope::Query, Scope::Personal]),
        ])
        .unwrap();
        // (headers, scope asked for, the key's name or the status)
        type Case = (&'static [(&'static str, &'static str)], Scope, Result<&'static str, u16>);
        let cases: [Case; 11] = [
            (&[("authorization", "Bearer c")], Scope::Ingest, Ok("client")),
            (&[("authorization", "bearer  c ")], Scope::Ingest, Ok("client")),
            (&[("x-api-key", "c")], Scope::Ingest, Ok("client")),
            (&[("x-api-key", "s")], Scope::Ingest, Ok("server")),
            (&[("x-api-key", "a")], Scope::Personal, Ok("analyst")),
            (&[("x-api-key", "c")], Scope::Query, Err(403)),
            (&[("x-api-key", "a")], Scope::Admin, Err(403)),
            (&[("x-api-key", "nobody's")], Scope::Ingest, Err(401)),
            (&[("authorization", "Basic c"), ("x-api-key", "c")], Scope::Ingest, Err(401)),
            (&[("x-api-key", "")], Scope::Ingest, Err(401)),
            (&[], Scope::Ingest, Err(401)),
        ];
        for (pairs, scope, expected) in cases {
            let found = keys.authorize(&headers(pairs), scope);
            let found = found.as_ref().map(|principal| &*principal.name).map_err(|problem| problem.status.as_u16());
            assert_eq!(found, expected, "{pairs:?} {scope}");
        }
    }

    #[test]
    fn past_its_rate_a_key_waits_and_others_do_not() {
        let rate = |config: KeyConfig| KeyConfig { rate: NonZeroU32::new(1), burst: NonZeroU32::new(3), ..config };
        let keys = Keys::from_config(&[
            rate(KeyConfig::new("slow", "slow", [Scope::Ingest])),
            KeyConfig::new("free", "free", [Scope::Ingest]),
        ])
        .unwrap();
        let ask = |key| keys.authorize(&headers(&[("x-api-key", key)]), Scope::Ingest);
        let answers: Vec<_> = (0..4).map(|_| ask("slow").map_err(|problem| problem.status.as_u16()).is_ok()).collect();
        assert_eq!(answers, [true, true, true, false]);
        let problem = ask("slow").unwrap_err();
        assert_eq!(problem.status.as_u16(), 429);
        let wait = problem.retry_after.unwrap();
        assert!(!wait.is_zero() && wait.as_secs() <= 1, "{wait:?}");
        assert!((0..100).all(|_| ask("free").is_ok()));
    }

    #[test]
    fn without_keys_all_is_allowed_but_from_foreign_pages() {
        let cases: [(&[(&'static str, &str)], bool); 11] = [
            (&[], true),
            (&[("host", "127.0.0.1:8080")], true),
            (&[("host", "localhost")], true),
            (&[("host", "[::1]:8080")], true),
            (&[("host", "[::1]")], true),
            (&[("host", "evil.example:8080")], false),
            (&[("host", "localhost.evil.example")], false),
            (&[("host", "localhost:evil")], false),
            (&[("host", "localhost:1"), ("origin", "http://localhost:3000")], true),
            (&[("host", "localhost:1"), ("origin", "https://evil.example")], false),
            (&[("host", "localhost:1"), ("origin", "null")], false),
        ];
        for (pairs, allowed) in cases {
            let found = Keys::none().authorize(&headers(pairs), Scope::Admin);
            assert_eq!(found.is_ok(), allowed, "{pairs:?}");
            if let Ok(principal) = found {
                assert!(Scope::ALL.iter().all(|scope| principal.has(*scope)));
            }
        }
    }

    #[test]
    fn who_showed_a_key_before_is_known_again_within_its_rate_and_scopes() {
        let slow = KeyConfig { rate: NonZeroU32::new(1), ..KeyConfig::new("slow", "slow", [Scope::Query]) };
        let keys = Keys::from_config(&[slow]).unwrap();
        let principal = keys.authorize(&headers(&[("x-api-key", "slow")]), Scope::Query).unwrap();
        assert_eq!(keys.again(&principal, Scope::Query).unwrap_err().status, 429);
        let keys = Keys::from_config(&[KeyConfig::new("slow", "slow", [Scope::Query])]).unwrap();
        assert_eq!(keys.again(&principal, Scope::Query), Ok(()));
        assert_eq!(keys.again(&principal, Scope::Admin).unwrap_err().status, 403);
        let others = Keys::from_config(&[KeyConfig::new("slow", "slow", [Scope::Ingest])]).unwrap();
        assert_eq!(others.again(&principal, Scope::Query).unwrap_err().status, 401);
    }

    #[test]
    fn every_fault_of_a_configuration_is_listed() {
        let good = KeyConfig::new("a", "1", [Scope::Query]);
        let faults = Keys::from_config(&[
            good.clone(),
            good.clone(),
            KeyConfig { name: String::new(), sha256: "12".into(), scopes: vec![], ..good.clone() },
            KeyConfig { burst: NonZeroU32::new(1), ..KeyConfig::new("b", "2", [Scope::Query]) },
            KeyConfig { sha256: "+".repeat(64), ..KeyConfig::new("c", "3", [Scope::Query]) },
        ])
        .unwrap_err();
        let expected = [
            KeyFault::SameName("a".into()),
            KeyFault::SameHash("a".into()),
            KeyFault::Nameless(3),
            KeyFault::NoScopes(String::new()),
            KeyFault::Hash { name: String::new(), length: 2 },
            KeyFault::BurstAlone("b".into()),
            KeyFault::Hash { name: "c".into(), length: 64 },
        ];
        assert_eq!(faults, expected);
    }

    #[test]
    fn a_new_key_opens_what_its_configuration_says_and_reads_back_from_toml() {
        let new = NewKey::random("bot", [Scope::Ingest]);
        assert_ne!(new.secret, NewKey::random("bot", [Scope::Ingest]).secret);
        assert_eq!(new.secret.len(), 51);
        let text = toml::to_string(&new.config).unwrap();
        assert!(!text.contains(&new.secret));
        let keys = Keys::from_config(&[toml::from_str(&text).unwrap()]).unwrap();
        assert!(keys.authorize(&headers(&[("x-api-key", &new.secret)]), Scope::Ingest).is_ok());
        assert!(toml::from_str::<KeyConfig>(&format!("{text}\ncolour = 1")).is_err());
    }
}
