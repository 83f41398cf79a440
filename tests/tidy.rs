//! Rules of style that a machine can check.

use crate::support::repository;
use std::path::{Path, PathBuf};

/// Lines that a file may have: one idea fits.
const LINES_MAX: usize = 500;
/// Words of work left over; split, so that this file doesn't find itself.
const LEFT_OVERS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_source_says_what_it_is_for_and_is_short_and_finished() {
    let mut files = Vec::new();
    sources(repository(), &mut files);
    assert!(files.len() > 50, "only {} sources found", files.len());
    let mut faults = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(repository()).unwrap().display().to_string();
        if !text.starts_with("//!") {
            faults.push(format!("{name}: does not open with //!"));
        }
        if text.lines().count() > LINES_MAX {
            faults.push(format!("{name}: {} lines, the limit is {LINES_MAX}", text.lines().count()));
        }
        for (number, line) in text.lines().enumerate() {
            if LEFT_OVERS.iter().any(|word| line.contains(word)) {
                faults.push(format!("{name}:{}: unfinished: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
