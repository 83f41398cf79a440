//! A MaxMind database of the generator's own address ranges, so that a pipeline can be tried whole
//! without a licensed one.
//!
//! One file carries what MaxMind sells as four: each record has the fields of City, ISP, ASN and
//! Connection-Type side by side, under the names that they have there. Its `database_type` is
//! [`DATABASE_TYPE`]; a reader should take from any database the fields that it finds.

use crate::Error;
use crate::world::Network;
use maxminddb_writer::Database;
use maxminddb_writer::metadata::IpVersion;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

/// What the database calls itself.
pub(crate) const DATABASE_TYPE: &str = "killfeed-generated-City-ISP-ASN-Connection";

#[derive(Serialize)]
struct Record {
    country: Country,
    city: City,
    autonomous_system_number: u32,
    autonomous_system_organization: &'static str,
    isp: &'static str,
    organization: &'static str,
    connection_type: &'static str,
}

#[derive(Serialize)]
struct Country {
    iso_code: &'static str,
}

#[derive(Serialize)]
struct City {
    names: BTreeMap<&'static str, &'static str>,
}

/// Writes the database to `path`, over what may be there.
///
/// It knows every generated address but those of 192.0.2.0/24, which stand for the addresses that
/// no database knows. The bytes are the same each time.
///
/// # Errors
/// [`Error::Geoip`] if the file can't be written.
pub fn write_geoip(path: impl AsRef<Path>) -> Result<(), Error> {
    let path = path.as_ref();
    let failed = |reason: String| Error::Geoip { path: path.display().to_string(), reason };
    let database = database().map_err(|error| failed(error.to_string()))?;
    let bytes = database.write_to(Vec::new()).map_err(|error| failed(error.to_string()))?;
    // A reader that watches the file must never see half of it.
    let beside = path.with_extension("mmdb.part");
    let written = std::fs::File::create(&beside).and_then(|mut file| {
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    });
    written.map_err(|error| failed(error.to_string()))
}

fn database() -> Result<Database, maxminddb_writer::Error> {
    let mut database = Database::default();
    database.metadata.ip_version = IpVersion::V6;
    database.metadata.database_type = DATABASE_TYPE.to_owned();
    database.metadata.languages = vec!["en".to_owned()];
    database.metadata.binary_format_major_version = 2;
    database.metadata.build_epoch = 1_767_571_200;
    database.metadata.description =
        HashMap::from([("en".to_owned(), "Address ranges of generated players".to_owned())]);
    for network in Network::all() {
        let provider = network.provider();
        let &(city, country, _) = network.city();
        let data = database.insert_value(Record {
            country: Country { iso_code: country },
            city: City { names: BTreeMap::from([("en", city)]) },
            autonomous_system_number: provider.asn,
            autonomous_system_organization: provider.name,
            isp: provider.name,
            organization: provider.name,
            connection_type: provider.connection,
        })?;
        // In a tree for IPv6 an IPv4 address stands below ::/96.
        database.insert_node(path(u128::from(u32::from(network.v4())), 96 + 24), data);
        database.insert_node(path(u128::from(network.v6()), 48), data);
    }
    Ok(database)
}

/// The first `length` bits of an address, highest first.
fn path(address: u128, length: u32) -> impl Iterator<Item = bool> {
    (0..length).map(move |bit| address >> (127 - bit) & 1 == 1)
}
