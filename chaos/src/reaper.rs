//! Ends what this program started if it ends without doing so itself: killed, or by Ctrl-C.

use anyhow::Context as _;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Waits for the end of `$0`, then kills the processes named in the folder `$1`/pids that still work in that
/// folder, waits until Kafka and the store, which have their own watchers, are gone, and deletes it.
const WATCH: &str = r#"
while kill -0 "$0" 2>/dev/null; do sleep 0.5; done
cd /
for file in "$1"/pids/*; do
  pid=${file##*/}
  [ "$(readlink "/proc/$pid/cwd")" != "$1" ] || kill -KILL "$pid"
done
for _ in $(seq 60); do [ -e "$1/kafka" ] || [ -e "$1/s3" ] || break; sleep 0.5; done
rm -rf "$1"
"#;

/// Watches over the processes of this folder.
pub(crate) fn watch_over(dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir.join("pids")).with_context(|| dir.display().to_string())?;
    let mut command = Command::new("bash");
    command.args(["-c", WATCH, &std::process::id().to_string()]).arg(dir);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Apart from the terminal's group: Ctrl-C is for this program alone.
    command.process_group(0).spawn().context("bash doesn't start")?;
    Ok(())
}

/// Starts a process that is watched over; what it says goes to `logs/<name>`.
pub(crate) fn spawn(dir: &Path, name: &str, command: &mut Command) -> anyhow::Result<Child> {
    let logs = dir.join("logs");
    std::fs::create_dir_all(&logs)?;
    let log = File::options().create(true).append(true).open(logs.join(name))?;
    command.current_dir(dir).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let child = command.spawn().with_context(|| format!("{name} doesn't start"))?;
    File::create(dir.join("pids").join(child.id().to_string()))?;
    Ok(child)
}

/// Kills it, whatever state it is in.
pub(crate) fn end(dir: &Path, child: &mut Child) {
    // Both fail only if it has ended already.
    let _ = child.kill();
    let _ = child.wait();
    gone(dir, child.id());
}

/// It has ended: nobody needs to watch.
pub(crate) fn gone(dir: &Path, pid: u32) {
    let _ = std::fs::remove_file(dir.join("pids").join(pid.to_string()));
}
