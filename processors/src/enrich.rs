//! From an address to a country, a city, a network and a kind of connection, as headers.
//!
//! Databases are MaxMind's (City, Country, Enterprise, ISP, ASN, Connection-Type) or any other with
//! fields of the same names; each field comes from the first database, in the order given, that
//! knows it. They are looked at again and again: a file may be absent, may come later, may change.
//! One that can't be read leaves the one before in place, with a warning.

use crate::address;
use crate::config::AddressPolicy;
use bytes::Bytes;
use events::headers::{self, HeadersBuilder};
use hashbrown::HashMap;
use maxminddb::Reader;
use parking_lot::RwLock;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

/// Databases that hold nothing of what we look for.
const USELESS_TYPES: [&str; 3] = ["Anonymous-IP", "Domain", "DensityIncome"];

/// What killfeed takes from a database's record. All of it is optional.
#[derive(serde::Deserialize)]
struct Found<'a> {
    #[serde(borrow)]
    country: Option<Country<'a>>,
    #[serde(borrow)]
    city: Option<City<'a>>,
    autonomous_system_number: Option<u32>,
    autonomous_system_organization: Option<&'a str>,
    isp: Option<&'a str>,
    connection_type: Option<&'a str>,
    #[serde(borrow)]
    traits: Option<Traits<'a>>,
}

#[derive(serde::Deserialize)]
struct Country<'a> {
    iso_code: Option<&'a str>,
}

#[derive(serde::Deserialize)]
struct City<'a> {
    #[serde(borrow)]
    names: Option<Names<'a>>,
}

#[derive(serde::Deserialize)]
struct Names<'a> {
    en: Option<&'a str>,
}

/// Where the Enterprise database has them.
#[derive(serde::Deserialize)]
struct Traits<'a> {
    autonomous_system_number: Option<u32>,
    autonomous_system_organization: Option<&'a str>,
    isp: Option<&'a str>,
    connection_type: Option<&'a str>,
}

/// What all databases together say of one address.
#[derive(Default)]
struct Place<'a> {
    country: Option<&'a str>,
    city: Option<&'a str>,
    asn: Option<u32>,
    organization: Option<&'a str>,
    isp: Option<&'a str>,
    connection: Option<&'a str>,
}

/// One file, as it was last seen.
#[derive(Debug, Clone)]
struct Source {
    path: PathBuf,
    stamp: Option<(SystemTime, u64)>,
    reader: Option<Arc<Reader<Vec<u8>>>>,
}

/// The databases, shared by all workers and looked after by one.
#[derive(Debug, Clone)]
pub struct Databases(Arc<RwLock<Arc<Vec<Source>>>>);

impl Databases {
    /// Of these files, as they stand now.
    pub fn open(paths: &[PathBuf]) -> Self {
        let sources = paths.iter().map(|path| Source { path: path.clone(), stamp: None, reader: None });
        let databases = Self(Arc::new(RwLock::new(Arc::new(sources.collect()))));
        databases.refresh();
        databases
    }

    /// Reads the files that have changed. Says whether anything did.
    pub fn refresh(&self) -> bool {
        let before = self.0.read().clone();
        let after: Vec<_> = before.iter().map(Source::refreshed).collect();
        let changed = before.iter().zip(&after).any(|(before, after)| before.stamp != after.stamp);
        if changed {
            *self.0.write() = Arc::new(after);
        }
        changed
    }
}

impl Source {
    fn refreshed(&self) -> Self {
        let path = self.path.display();
        let stamp = std::fs::metadata(&self.path).and_then(|meta| Ok((meta.modified()?, meta.len()))).ok();
        let mut source = self.clone();
        if stamp == self.stamp {
            return source;
        }
        source.stamp = stamp;
        if stamp.is_none() {
            tracing::warn!(%path, "geo database is gone; the one read before stays in use");
            return source;
        }
        match Reader::open_readfile(&self.path) {
            Ok(reader) => {
                let kind = reader.metadata().database_type.clone();
                if USELESS_TYPES.iter().any(|useless| kind.contains(useless)) {
                    tracing::warn!(%path, kind, "geo database has nothing that killfeed looks up; it is not used");
                } else {
                    tracing::info!(%path, kind, "geo database read");
                    source.reader = Some(Arc::new(reader));
                }
            }
            Err(error) => {
                metrics::counter!("killfeed_process_geoip_broken_total").increment(1);
                tracing::warn!(%path, %error, "geo database can't be read; the one read before, if any, stays in use");
            }
        }
        source
    }

    fn look_up<'a>(&'a self, address: IpAddr, place: &mut Place<'a>) {
        let Some(reader) = &self.reader else { return };
        let Ok(found) = reader.lookup(address).and_then(|found| found.decode::<Found<'_>>()) else { return };
        let Some(found) = found else { return };
        let traits = found.traits.as_ref();
        place.country = place.country.or(found.country.and_then(|country| country.iso_code));
        place.city = place.city.or(found.city.and_then(|city| city.names).and_then(|names| names.en));
        place.asn = place.asn.or(found.autonomous_system_number).or(traits.and_then(|t| t.autonomous_system_number));
        place.organization = place
            .organization
            .or(found.autonomous_system_organization)
            .or(traits.and_then(|t| t.autonomous_system_organization));
        place.isp = place.isp.or(found.isp).or(traits.and_then(|t| t.isp));
        place.connection = place.connection.or(found.connection_type).or(traits.and_then(|t| t.connection_type));
    }
}

/// Looks addresses up, and remembers what it found, as packed headers: one per worker.
///
/// What is remembered is bounded by two generations: when the young one is full it becomes the old
/// one, and what is asked for again moves over.
#[derive(Debug)]
pub struct Enricher {
    databases: Databases,
    current: Arc<Vec<Source>>,
    policy: AddressPolicy,
    addresses_max: usize,
    young: HashMap<Box<[u8]>, Bytes>,
    old: HashMap<Box<[u8]>, Bytes>,
    builder: HeadersBuilder,
}

impl Enricher {
    /// Over `databases`, remembering at most `addresses_max` addresses.
    pub fn new(databases: Databases, policy: AddressPolicy, addresses_max: usize) -> Self {
        let current = databases.0.read().clone();
        let builder = HeadersBuilder::default();
        Self { databases, current, policy, addresses_max, young: HashMap::new(), old: HashMap::new(), builder }
    }

    /// Takes up databases that changed since. To be called once a batch.
    pub fn follow(&mut self) {
        let current = self.databases.0.read().clone();
        if !Arc::ptr_eq(&current, &self.current) {
            self.current = current;
            self.young.clear();
            self.old.clear();
        }
    }

    /// The packed headers that stand for this `clientaddress`: what is known of it, and what is
    /// left of itself.
    #[inline]
    pub fn headers_for(&mut self, client_address: &[u8]) -> &[u8] {
        if !self.young.contains_key(client_address) {
            self.remember(client_address);
        }
        self.young.get(client_address).map_or(&[], |packed| packed)
    }

    /// Addresses remembered at the moment.
    pub fn remembered(&self) -> usize {
        self.young.len() + self.old.len()
    }

    #[cold]
    fn remember(&mut self, client_address: &[u8]) {
        let known = self.old.get(client_address).cloned();
        let packed = known.unwrap_or_else(|| self.look_up(client_address));
        if self.young.len() >= (self.addresses_max / 2).max(1) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(client_address.into(), packed);
    }

    fn look_up(&mut self, client_address: &[u8]) -> Bytes {
        let address = address::parse(client_address);
        let mut place = Place::default();
        if let Some(address) = address {
            self.current.iter().for_each(|source| source.look_up(address, &mut place));
        }
        let mut text = |name, value: Option<&str>| {
            if let Some(value) = value {
                self.builder.push(name, value.as_bytes());
            }
        };
        text(headers::GEO_COUNTRY, place.country);
        text(headers::GEO_CITY, place.city);
        text(headers::GEO_ASN, place.asn.map(|asn| asn.to_string()).as_deref());
        text(headers::GEO_ISP, place.isp.or(place.organization));
        text(headers::GEO_CONNECTION, place.connection);
        let remainder = address::remainder(self.policy, address).map(|address| address.to_string());
        text(headers::CLIENTADDRESS, remainder.as_deref());
        Bytes::copy_from_slice(self.builder.split().packed())
    }
}
