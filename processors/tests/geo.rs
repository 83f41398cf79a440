//! Geography, with databases made here: which field comes from where, and what happens when files
//! come, change, break and go.

use maxminddb_writer::Database;
use maxminddb_writer::metadata::IpVersion;
use maxminddb_writer::paths::IpAddrWithMask;
use processors::AddressPolicy;
use processors::enrich::{Databases, Enricher};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

type Names = BTreeMap<&'static str, &'static str>;

#[derive(Serialize)]
struct City {
    country: Names,
    city: BTreeMap<&'static str, Names>,
}

#[derive(Serialize)]
struct Isp {
    autonomous_system_number: u32,
    autonomous_system_organization: &'static str,
    isp: &'static str,
}

#[derive(Serialize)]
struct Asn {
    autonomous_system_number: u32,
    autonomous_system_organization: &'static str,
}

#[derive(Serialize)]
struct Connection {
    connection_type: &'static str,
}

#[derive(Serialize)]
struct Generated {
    country: Names,
    city: BTreeMap<&'static str, Names>,
    autonomous_system_number: u32,
    autonomous_system_organization: &'static str,
    isp: &'static str,
    connection_type: &'static str,
}

fn write(path: &Path, kind: &str, network: &str, record: impl Serialize) {
    let mut database = Database::default();
    database.metadata.ip_version = if network.contains(':') { IpVersion::V6 } else { IpVersion::V4 };
    database.metadata.database_type = kind.into();
    database.metadata.binary_format_major_version = 2;
    let data = database.insert_value(record).unwrap();
    database.insert_node(network.parse::<IpAddrWithMask>().unwrap(), data);
    let before = std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    std::fs::write(path, database.write_to(Vec::new()).unwrap()).unwrap();
    // So that a change within the clock's resolution is seen.
    let stamp = before.map_or(SystemTime::now(), |before| before + Duration::from_secs(1));
    std::fs::File::options().write(true).open(path).unwrap().set_modified(stamp).unwrap();
}

fn city(country: &'static str, city: &'static str) -> City {
    City { country: [("iso_code", country)].into(), city: [("names", [("en", city), ("de", "?")].into())].into() }
}

fn looked_up(enricher: &mut Enricher, address: &str) -> String {
    enricher.follow();
    let packed = bytes::Bytes::copy_from_slice(enricher.headers_for(address.as_bytes()));
    let headers = events::Headers::from_packed(packed).unwrap();
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().to_owned();
    let each = headers.iter().map(|(name, value)| format!("{}={}", text(name).replace("kf_", ""), text(value)));
    each.collect::<Vec<_>>().join(" ")
}

#[test]
fn each_field_comes_from_the_first_file_that_knows_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    write(&path("city"), "GeoIP2-City", "203.0.113.0/24", city("DE", "Köln"));
    write(
        &path("isp"),
        "GeoIP2-ISP",
        "203.0.113.0/25",
        Isp { autonomous_system_number: 64_500, autonomous_system_organization: "Org", isp: "Isp" },
    );
    let asn = Asn { autonomous_system_number: 64_501, autonomous_system_organization: "Other" };
    write(&path("asn"), "GeoLite2-ASN", "203.0.113.0/24", asn);
    let cellular = Connection { connection_type: "Cellular" };
    write(&path("connection"), "GeoIP2-Connection-Type", "203.0.113.0/24", cellular);
    write(&path("domain"), "GeoIP2-Domain", "203.0.113.0/24", city("XX", "Never"));
    let files = ["domain", "city", "isp", "asn", "connection", "absent"].map(path);
    let mut enricher = Enricher::new(Databases::open(&files), AddressPolicy::Drop, 100);
    let cases = [
        ("203.0.113.7", "country=DE city=Köln asn=64500 isp=Isp connection=Cellular"),
        ("::ffff:203.0.113.7", "country=DE city=Köln asn=64500 isp=Isp connection=Cellular"),
        ("203.0.113.200", "country=DE city=Köln asn=64501 isp=Other connection=Cellular"),
        ("198.51.100.1", ""),
        ("2001:db8::1", ""),
        ("no address", ""),
    ];
    for (address, expected) in cases {
        assert_eq!(looked_up(&mut enricher, address), expected, "{address}");
    }
}

#[test]
fn one_file_may_have_it_all_for_both_kinds_of_address() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("all.mmdb");
    let City { country, city } = city("JP", "Osaka");
    let record = Generated {
        country,
        city,
        autonomous_system_number: 64_502,
        autonomous_system_organization: "Org",
        isp: "Isp",
        connection_type: "Cable/DSL",
    };
    write(&path, "killfeed-generated-City-ISP-ASN-Connection", "2001:db8::/32", record);
    let mut enricher = Enricher::new(Databases::open(&[path]), AddressPolicy::Truncate, 100);
    let expected = "country=JP city=Osaka asn=64502 isp=Isp connection=Cable/DSL ce_clientaddress=2001:db8:1::";
    assert_eq!(looked_up(&mut enricher, "2001:db8:1:2::3"), expected);
    assert_eq!(looked_up(&mut enricher, "192.0.2.9"), "ce_clientaddress=192.0.2.0");
}

#[test]
fn a_file_may_come_late_change_break_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("city.mmdb");
    let databases = Databases::open(std::slice::from_ref(&path));
    let mut enricher = Enricher::new(databases.clone(), AddressPolicy::Drop, 100);
    assert_eq!(looked_up(&mut enricher, "203.0.113.7"), "");

    write(&path, "GeoIP2-City", "203.0.113.0/24", city("DE", "Bonn"));
    assert_eq!(looked_up(&mut enricher, "203.0.113.7"), "", "not looked at yet");
    assert!(databases.refresh());
    assert_eq!(looked_up(&mut enricher, "203.0.113.7"), "country=DE city=Bonn");
    assert!(!databases.refresh());

    write(&path, "GeoIP2-City", "203.0.113.0/24", city("FR", "Lille"));
    assert!(databases.refresh());
    assert_eq!(looked_up(&mut enricher, "203.0.113.7"), "country=FR city=Lille");

    std::fs::write(&path, "broken").unwrap();
    assert!(databases.refresh());
    assert_eq!(looked_up(&mut enricher, "203.0.113.7"), "country=FR city=Lille", "the old one stays");
    std::fs::remove_file(&path).unwrap();
    assert!(databases.refresh());
    assert_eq!(looked_up(&mut enricher, "203.0.113.7"), "country=FR city=Lille", "the old one stays");

    write(&path, "GeoIP2-City", "203.0.113.0/24", city("IT", "Como"));
    assert!(databases.refresh());
    assert_eq!(looked_up(&mut enricher, "203.0.113.7"), "country=IT city=Como");
}

#[test]
fn what_is_remembered_is_bounded_and_never_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("city.mmdb");
    write(&path, "GeoIP2-City", "203.0.113.0/25", city("DE", "Bonn"));
    let mut enricher = Enricher::new(Databases::open(&[path]), AddressPolicy::Drop, 8);
    for round in 0..3 {
        for last in 0..=255 {
            let expected = if last < 128 { "country=DE city=Bonn" } else { "" };
            assert_eq!(looked_up(&mut enricher, &format!("203.0.113.{last}")), expected, "round {round}");
            assert!(enricher.remembered() <= 8);
        }
    }
}
