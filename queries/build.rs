//! Lists the reports, so that the binary carries them: `reports/NAME.sql` becomes `("NAME", text)`.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=reports");
    let var = |name: &str| env::var(name).map_err(io::Error::other);
    let dir = Path::new(&var("CARGO_MANIFEST_DIR")?).join("reports");
    let mut names = Vec::new();
    if dir.is_dir() {
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "sql")
                && let Some(name) = path.file_stem().and_then(|stem| stem.to_str())
            {
                names.push(name.to_owned());
            }
        }
    }
    names.sort();
    let mut list = String::from("[\n");
    for name in names {
        // Not by its path here: the target folder may outlive this copy of the sources.
        let file = format!("/reports/{name}.sql");
        writeln!(list, "    ({name:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {file:?}))),")
            .map_err(io::Error::other)?;
    }
    list.push(']');
    fs::write(Path::new(&var("OUT_DIR")?).join("reports.rs"), list)
}
