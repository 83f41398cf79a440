//! The directory of schema files, `<type>/<version>.json`: read, and read again on change.
//!
//! A file that can't be used never takes another one down: it is named in a [`Problem`], and what it
//! last said goes on to hold, if it ever said something valid. A version that is not compatible with
//! the one before it is left out likewise.

use super::declared::{self, Fault};
use super::{Registry, Schema, compat};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// The largest schema file, in bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why a file, or a part of the directory, counts for nothing. Shows as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// JSON pointer into it, or line and column; empty for the file as a whole.
    pub place: String,
    /// Which rule is broken.
    pub rule: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.place.is_empty() { "/" } else { &self.place };
        write!(f, "{}: {place}: {}", self.file.display(), self.rule.replace('\n', " "))
    }
}

/// A file as it was when it was last looked at.
type Mark = (SystemTime, u64);

/// The files of one type, and what they say, by version.
type Versions<'a> = BTreeMap<i32, (&'a PathBuf, Arc<Schema>)>;

/// A directory of schemas, and what it said the last time.
#[derive(Debug)]
pub struct Directory {
    dir: PathBuf,
    marks: BTreeMap<PathBuf, Mark>,
    good: BTreeMap<PathBuf, Arc<Schema>>,
}

impl Directory {
    /// Nothing is read yet.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), marks: BTreeMap::new(), good: BTreeMap::new() }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Reads all of it. A directory that isn't there is an empty one.
    pub fn reload(&mut self) -> (Registry, Vec<Problem>) {
        let mut problems = Vec::new();
        let files = self.scan(&mut problems);
        self.good.retain(|file, _| files.iter().any(|(found, _)| found == file));
        for (file, _) in &files {
            match read_file(file) {
                Ok(schema) => match self.good.get(file).map(|before| compat::refusals(before, &schema)) {
                    Some(refusals) if !refusals.is_empty() => {
                        problems.extend(refusals.into_iter().map(|change| rewritten(file, change)));
                    }
                    _ => drop(self.good.insert(file.clone(), Arc::new(schema))),
                },
                Err(mut found) => {
                    if self.good.contains_key(file) {
                        found
                            .iter_mut()
                            .for_each(|problem| problem.rule.push_str(" (the last valid content still holds)"));
                    }
                    problems.append(&mut found);
                }
            }
        }
        self.marks = files.into_iter().collect();
        (self.registry(&mut problems), problems)
    }

    /// Reads all of it if a file came, went, or has another time or size than before.
    pub fn reload_if_changed(&mut self) -> Option<(Registry, Vec<Problem>)> {
        let files = self.scan(&mut Vec::new());
        let same =
            files.len() == self.marks.len() && files.iter().all(|(file, mark)| self.marks.get(file) == Some(mark));
        (!same).then(|| self.reload())
    }

    /// The files that look like schemas, in order of type and version.
    fn scan(&self, problems: &mut Vec<Problem>) -> Vec<(PathBuf, Mark)> {
        let mut files = Vec::new();
        for entry in list(&self.dir, problems) {
            if entry.is_dir() {
                files.extend(list(&entry, problems).into_iter().filter(|file| is_schema_file(file)));
            } else if is_schema_file(&entry) {
                problems.push(whole(&entry, "lies outside a type's directory: schemas are <type>/<version>.json"));
            }
        }
        let mark = |file: PathBuf| {
            let mark = fs::metadata(&file).map(|meta| (meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), meta.len()));
            mark.map_or_else(|_| (file.clone(), (SystemTime::UNIX_EPOCH, 0)), |mark| (file.clone(), mark))
        };
        files.into_iter().map(mark).collect()
    }

    /// What is valid, less the versions that are not compatible with the ones before them.
    fn registry(&self, problems: &mut Vec<Problem>) -> Registry {
        let mut by_type: BTreeMap<Arc<str>, Versions<'_>> = BTreeMap::new();
        for (file, schema) in &self.good {
            let versions = by_type.entry(schema.event_type.clone()).or_default();
            versions.insert(schema.version, (file, schema.clone()));
        }
        let mut kept = Vec::new();
        for versions in by_type.into_values() {
            let mut before: Option<Arc<Schema>> = None;
            for (file, schema) in versions.into_values() {
                let refusals = before.as_ref().map(|before| compat::refusals(before, &schema)).unwrap_or_default();
                if refusals.is_empty() {
                    kept.push((*schema).clone());
                    before = Some(schema);
                    continue;
                }
                let version = before.as_ref().map_or(0, |before| before.version);
                problems.extend(refusals.into_iter().map(|change| Problem {
                    file: file.clone(),
                    place: change.place,
                    rule: format!("not compatible with version {version}: {}", change.what),
                }));
            }
        }
        Registry::of(kept)
    }
}

/// A version that was in use says something else that can't follow it: events came by what it said.
fn rewritten(file: &Path, change: compat::Change) -> Problem {
    let rule = format!(
        "rewritten in place, not compatible with what it said before: {} (that still holds; a change needs a version of its own)",
        change.what
    );
    Problem { file: file.to_owned(), place: change.place, rule }
}

fn whole(file: &Path, rule: &str) -> Problem {
    Problem { file: file.to_owned(), place: String::new(), rule: rule.to_owned() }
}

/// What lies in a directory, hidden files aside, in order.
fn list(dir: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            problems.push(whole(dir, &format!("can't be listed: {error}")));
            return Vec::new();
        }
    };
    let is_hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| !is_hidden(path)).collect();
    paths.sort();
    paths
}

fn is_schema_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}

/// Reads one file: `<type>/<version>.json`.
///
/// # Errors
/// One problem per rule that it breaks.
pub fn read_file(file: &Path) -> Result<Schema, Vec<Problem>> {
    let problem = |rule: String| vec![whole(file, &rule)];
    let event_type = file.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let Some(event_type) = event_type else { return Err(problem("lies in no directory named for a type".to_owned())) };
    let version = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let version = match version.parse::<i32>() {
        Ok(number) if number >= 1 && number.to_string() == version => number,
        _ => return Err(problem(format!("is named {version:?}, which is no version: 1, 2, 3 and so on"))),
    };
    let size = fs::metadata(file).map(|meta| meta.len()).unwrap_or_default();
    if size > FILE_BYTES_MAX {
        return Err(problem(format!("has {size} bytes, over the limit of {FILE_BYTES_MAX}")));
    }
    let text = fs::read(file).map_err(|error| problem(format!("can't be read: {error}")))?;
    let document = serde_json::from_slice(&text).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        vec![Problem { file: file.to_owned(), place, rule: format!("is no JSON: {error}") }]
    })?;
    let named = |Fault { place, rule }: Fault| Problem { file: file.to_owned(), place, rule };
    declared::read(event_type, version, document).map_err(|faults| faults.into_iter().map(named).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Resolved;

    fn write(dir: &Path, file: &str, text: &str) {
        let path = dir.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn listed(registry: &Registry) -> Vec<String> {
        registry.iter().map(|schema| format!("{}/{}", schema.event_type, schema.version)).collect()
    }

    #[test]
    fn a_broken_file_is_named_in_one_line_and_takes_no_other_down() {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("good/1.json", r#"{"type":"object"}"#),
            ("good/2.json", "{"),
            ("bad.key/1.json", r#"{"x-killfeed":{"stream":"events","windw":1}}"#),
            ("bad.name/one.json", "{}"),
            ("bad.name/01.json", "{}"),
            ("bad.name/0.json", "{}"),
            ("loose.json", "{}"),
            (".git/1.json", "{"),
            ("good/notes.txt", "{"),
        ] {
            write(dir.path(), file, text);
        }
        let (registry, problems) = Registry::load(dir.path());
        assert_eq!(listed(&registry), ["good/1"]);
        let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
        for (file, word) in [
            ("good/2.json", "line 1 column 1"),
            ("bad.key/1.json", "/x-killfeed/windw"),
            ("bad.name/one.json", "no version"),
            ("bad.name/01.json", "no version"),
            ("bad.name/0.json", "no version"),
            ("loose.json", "<type>/<version>.json"),
        ] {
            assert!(shown.iter().any(|line| line.contains(file) && line.contains(word)), "{file}: {shown:#?}");
        }
        assert_eq!(shown.len(), 6, "{shown:#?}");
        assert!(shown.iter().all(|line| !line.contains('\n')));
        assert_eq!(Registry::load(&dir.path().join("nowhere")).1, []);
    }

    #[test]
    fn a_change_is_seen_and_a_file_that_breaks_keeps_its_last_valid_content() {
        let dir = tempfile::tempdir().unwrap();
        let mut directory = Directory::new(dir.path());
        write(dir.path(), "t/1.json", r#"{"x-killfeed":{"mode":"strict"}}"#);
        assert_eq!(listed(&directory.reload_if_changed().unwrap().0), ["t/1"]);
        assert!(directory.reload_if_changed().is_none());

        write(dir.path(), "t/1.json", "{ broken");
        let (registry, problems) = directory.reload_if_changed().unwrap();
        assert_eq!(registry.version("t", 1).unwrap().mode, crate::schema::Mode::Strict);
        assert!(problems[0].rule.contains("last valid content"), "{problems:?}");
        assert!(directory.reload_if_changed().is_none());

        write(dir.path(), "t/2.json", r#"{"title":"second","x-killfeed":{"mode":"strict"}}"#);
        let (registry, _) = directory.reload_if_changed().unwrap();
        assert_eq!(listed(&registry), ["t/1", "t/2"]);
        assert!(matches!(registry.resolve("t", Some("/t/1")), Resolved::Known(schema) if schema.version == 1));

        fs::remove_dir_all(dir.path().join("t")).unwrap();
        assert_eq!(listed(&directory.reload_if_changed().unwrap().0), Vec::<String>::new());
    }

    #[test]
    fn a_version_rewritten_in_place_holds_on_to_what_it_said_unless_the_change_is_compatible() {
        let dir = tempfile::tempdir().unwrap();
        let mut directory = Directory::new(dir.path());
        write(dir.path(), "t/1.json", r#"{"properties":{"a":{"type":"integer"}}}"#);
        directory.reload();
        write(dir.path(), "t/1.json", r#"{"properties":{"a":{"type":"string"}}}"#);
        for _ in 0..2 {
            let (registry, problems) = directory.reload();
            let [problem] = &problems[..] else { panic!("{problems:?}") };
            let line = problem.to_string();
            for word in
                ["t/1.json: /properties/a/type", "rewritten in place", "integer to string", "version of its own"]
            {
                assert!(line.contains(word), "{word}: {line}");
            }
            assert_eq!(registry.version("t", 1).unwrap().document["properties"]["a"]["type"], "integer");
        }
        let wider = r#"{"properties":{"a":{"type":"integer"},"b":{"type":"string"}}}"#;
        write(dir.path(), "t/1.json", wider);
        let (registry, problems) = directory.reload();
        assert_eq!(problems, []);
        assert_eq!(registry.version("t", 1).unwrap().document["properties"]["b"]["type"], "string");
    }

    #[test]
    fn a_version_that_breaks_the_one_before_is_left_out_and_the_next_is_held_against_the_last_that_counts() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "t/1.json", r#"{"properties":{"a":{"type":"integer"}}}"#);
        write(dir.path(), "t/2.json", r#"{"properties":{"a":{"type":"string"}}}"#);
        write(dir.path(), "t/3.json", r#"{"properties":{"a":{"type":"number"},"b":{"type":"string"}}}"#);
        let (registry, problems) = Registry::load(dir.path());
        assert_eq!(listed(&registry), ["t/1", "t/3"]);
        assert_eq!(problems.len(), 1);
        let line = problems[0].to_string();
        assert!(line.contains("t/2.json: /properties/a/type: not compatible with version 1"), "{line}");
    }
}
