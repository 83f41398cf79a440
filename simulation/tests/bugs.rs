//! The planted bugs: each patch still applies to the sources as they are.

use std::path::Path;
use std::process::Command;

#[test]
fn every_planted_bug_can_be_planted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut patches = 0;
    for entry in std::fs::read_dir(root.join("simulation/bugs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "patch") {
            continue;
        }
        patches += 1;
        let dry = Command::new("patch")
            .args(["--dry-run", "--strip=1", "--fuzz=0", "--force", "--input"])
            .arg(&path)
            .current_dir(root)
            .output()
            .unwrap();
        assert!(dry.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&dry.stdout));
    }
    assert!(patches >= 6, "only {patches} bugs to plant");
}
