//! Configurations that a start is refused for: every role says all that is wrong with one, at once.

use crate::support::{Home, KILLFEED};
use std::net::TcpListener;
use std::process::Command;

const ROLES: [&str; 5] = ["up", "ingest", "process", "sink", "query"];

/// What a start says that must be refused: the lines of errors.
fn refused(role: &str, args: &[&str], variables: &[(&str, &str)]) -> Vec<String> {
    let mut command = Command::new(KILLFEED);
    let output = command.arg(role).args(args).envs(variables.iter().copied()).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    said.lines().map(|line| line.strip_prefix("error: ").unwrap_or_else(|| panic!("{line}")).to_owned()).collect()
}

fn assert_named(found: &[String], parts: &[&str]) {
    for part in parts {
        assert!(found.iter().any(|fault| fault.contains(part)), "{part} in {found:#?}");
    }
    assert_eq!(found.len(), parts.len(), "{found:#?}");
}

#[test]
fn every_role_names_all_options_that_are_no_option_or_have_no_such_value() {
    let line =
        ["--log", "kafka://a", "--kafka-prefix", "a/b", "--kafka-property", "none", "--retention", "0s", "--colour"];
    for role in ROLES {
        let found = refused(role, &line, &[("KILLFEED_PARTITIONS", "0")]);
        assert_named(
            &found,
            &["--log", "--kafka-prefix", "--kafka-property", "--retention", "--colour", "KILLFEED_PARTITIONS"],
        );
    }
}

#[test]
fn every_role_names_all_that_does_not_fit_together_or_this_machine() {
    let home = Home::new();
    let file = home.write("file", "");
    let schemas = home.write("schemas/match.ended/1.json", "{").parent().unwrap().parent().unwrap().to_owned();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let (file, schemas) = (file.to_str().unwrap(), schemas.to_str().unwrap());
    let machine = ["--listen", &listen, "--data-dir", file, "--schemas", schemas, "--store", file];
    let kafka = [
        &machine[..],
        &["--log", "kafka://127.0.0.1:1", "--log-size-limit", "1GiB"],
        &["--kafka-property", "no.such=1", "--kafka-property", "socket.timeout.ms=soon"],
        &["--kafka-property", "sasl.password=secret", "--kafka-property", "acks=secret-too"],
    ]
    .concat();
    let embedded = [&machine[..], &["--single-node", "--kafka-prefix", "a-", "--kafka-property", "a=b"]].concat();
    for role in ROLES {
        let found = refused(role, &kafka, &[]);
        let of_client = ["--kafka-property no.such", "--kafka-property socket.timeout.ms", "--kafka-property acks"];
        let of_machine = ["cannot listen", "data directory", "match.ended/1", "name a directory with --store"];
        assert_named(&found, &[&of_client[..], &of_machine, &["--log-size-limit is for"]].concat());
        assert!(!found.concat().contains("secret"), "values may be secret: {found:#?}");
        let found = refused(role, &embedded, &[]);
        assert_named(&found, &[&of_machine[..], &["--single-node", "--kafka-prefix", "--kafka-property"]].concat());
    }
}
