//! What stands in deploy/ names only metrics that exist, and pages that exist. `make deploy-check` holds it
//! against its schemas.

use crate::metrics::{Documented, documented};
use crate::support::repository;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Labels that the scrape adds.
const OF_THE_SCRAPE: [&str; 3] = ["job", "instance", "namespace"];

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true if path.ends_with("dev") => {}
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

/// Words of a text that are a metric of ours, each with the labels that are asked of it.
fn metrics_in(text: &str) -> Vec<(String, BTreeSet<String>)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| is_word(c)) {
        rest = &rest[at..];
        let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        rest = behind;
        if !(word.starts_with("killfeed_") || word.starts_with("process_")) {
            continue;
        }
        // As PromQL has it, in YAML or, with its quotes escaped, in JSON.
        let asked = behind.strip_prefix('{').and_then(|asked| asked.split_once('}')).map_or("", |(asked, _)| asked);
        let labels = asked.split(',').filter_map(|label| Some(label.split(['=', '!']).next()?.trim().to_owned()));
        found.push((word.to_owned(), labels.filter(|label| !label.is_empty()).collect()));
    }
    found
}

/// The metric that a series belongs to.
fn metric<'a>(all: &'a BTreeMap<String, Documented>, series: &str) -> Option<&'a Documented> {
    let parts = ["_bucket", "_sum", "_count"];
    let histogram =
        parts.iter().find_map(|part| all.get(series.strip_suffix(part)?).filter(|of| of.kind == "histogram"));
    all.get(series).filter(|of| of.kind != "histogram").or(histogram)
}

#[test]
fn dashboards_rules_and_the_chart_name_metrics_that_exist() {
    let all = documented();
    let mut paths = Vec::new();
    files(&repository().join("deploy"), &mut paths);
    let mut seen = BTreeSet::new();
    let mut faults = Vec::new();
    for path in paths {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        for (series, labels) in metrics_in(&text) {
            let Some(of) = metric(&all, &series) else {
                faults.push(format!("{}: {series} is no metric", path.display()));
                continue;
            };
            let unknown =
                labels.iter().find(|label| !of.labels.contains(*label) && !OF_THE_SCRAPE.contains(&label.as_str()));
            if let Some(label) = unknown {
                faults.push(format!("{}: {series} has no label {label}", path.display()));
            }
            seen.insert(series);
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen.len() > 50, "only {seen:?}");
}

#[test]
fn each_alert_has_its_page_and_each_page_stands_in_the_index() {
    let root = repository();
    let rules = std::fs::read_to_string(root.join("deploy/prometheus/alerts.yaml")).unwrap();
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() >= 20, "only {} alerts", alerts.len());
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        let url = alert.lines().find_map(|line| line.trim().strip_prefix("runbook_url: "));
        let page = url.unwrap_or_else(|| panic!("{name} has no runbook_url"));
        assert!(page.starts_with("docs/runbook/") && root.join(page).is_file(), "{name}: {page} is not there");
        let text = std::fs::read_to_string(root.join(page)).unwrap();
        assert!(text.contains(&format!("`{name}`")), "{page} does not name the alert {name}");
    }
    let index = std::fs::read_to_string(root.join("docs/runbook/README.md")).unwrap();
    for entry in std::fs::read_dir(root.join("docs/runbook")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name == "README.md" || index.contains(&format!("({name})")), "{name} is not in the index");
    }
}

#[test]
fn a_metric_is_found_with_its_labels() {
    let found = metrics_in("sum(rate(killfeed_x_bucket{part=\"log\", job!=\"a\"}[5m])) + killfeed-process + process_y");
    let labels = |of: &[&str]| of.iter().map(|label| (*label).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(found, [("killfeed_x_bucket".into(), labels(&["job", "part"])), ("process_y".into(), labels(&[]))]);
}
