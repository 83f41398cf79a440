//! The C ABI as C sees it: the header, and the example built and run.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failed test is a panic")]

#[path = "../../tests/proxy.rs"]
#[expect(dead_code, reason = "only what reads a request is needed here")]
mod proxy;

use proxy::read_request;
use serde_json::{Value, json};
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The committed header is what the sources say. `KILLFEED_HEADER=write` writes it anew.
#[test]
fn the_header_is_up_to_date() {
    let config = cbindgen::Config::from_file(here("cbindgen.toml")).unwrap();
    let bindings = cbindgen::Builder::new()
        .with_config(config)
        .with_src(here("src/lib.rs"))
        .with_src(here("src/config.rs"))
        .generate()
        .unwrap();
    let mut header = Vec::new();
    bindings.write(&mut header);
    let path = here("include/killfeed.h");
    if std::env::var("KILLFEED_HEADER").is_ok_and(|wish| wish == "write") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &header).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap();
    assert_eq!(String::from_utf8(header).unwrap(), committed, "run with KILLFEED_HEADER=write, and commit it");
}

/// Every function says what it asks of memory or takes none.
#[test]
fn every_function_that_takes_text_or_memory_says_whose_it_is() {
    let header = std::fs::read_to_string(here("include/killfeed.h")).unwrap();
    let mut comment = String::new();
    let mut functions = 0;
    for line in header.lines() {
        if let Some(text) = line.trim().strip_prefix("//") {
            comment.push_str(text);
            comment.push('\n');
            continue;
        }
        if line.contains(" kf_") || line.contains("*kf_") {
            functions += 1;
            assert!(comment.contains("# Safety"), "{line} says nothing of its pointers");
            let takes = line.contains("char *") || line.contains("KfStats *") || line.contains("_free");
            assert!(
                !takes || comment.contains("Memory:") || line.contains("set_number"),
                "{line} does not say whose memory is whose"
            );
        }
        comment.clear();
    }
    assert!(functions >= 15, "only {functions} functions found");
}

/// The static library that cargo made beside this test.
fn library() -> PathBuf {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let dirs = [deps.clone(), deps.parent().unwrap().to_owned()];
    let files = dirs.iter().flat_map(|dir| std::fs::read_dir(dir).unwrap()).map(|entry| entry.unwrap().path());
    let ours = files.filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("libkillfeed_c") && name.ends_with(".a")
    });
    ours.max_by_key(|path| path.metadata().unwrap().modified().unwrap()).expect("no static library was built")
}

fn succeeds(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = || String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, said());
    output
}

/// A server that takes everything: its URL, and what it took.
fn server() -> (String, Arc<Mutex<Vec<Value>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let taken = Arc::new(Mutex::new(Vec::new()));
    let shared = taken.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let taken = shared.clone();
            std::thread::spawn(move || {
                while let Ok((head, body)) = read_request(&mut stream) {
                    let body = if head.contains("content-encoding: zstd") {
                        zstd::decode_all(&body[..]).unwrap()
                    } else {
                        body
                    };
                    let events: Vec<Value> = body
                        .split(|byte| *byte == b'\n')
                        .filter_map(|line| serde_json::from_slice(line).ok())
                        .collect();
                    let results = vec![json!({"status": 202, "durability": "all"}); events.len()];
                    taken.lock().unwrap().extend(events);
                    let answer = json!({ "results": results }).to_string();
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
                    if stream.write_all(head.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (url, taken)
}

#[test]
fn the_example_is_c_and_cxx_and_runs_without_a_fault_of_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (source, program) = (here("examples/match.c"), dir.path().join("match"));
    let strict = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];
    let include = format!("-I{}", here("include").display());
    // As C++ the header is read the way that an engine does.
    if Command::new("c++").arg("--version").output().is_ok() {
        succeeds(Command::new("c++").args(["-x", "c++", "-fsyntax-only", &include]).arg(here("include/killfeed.h")));
    }
    succeeds(
        Command::new("cc")
            .args(["-std=c11", "-g", &include])
            .args(strict)
            .arg(source)
            .arg(library())
            .arg("-o")
            .arg(&program)
            .args(["-lpthread", "-ldl", "-lm"]),
    );
    let (url, taken) = server();
    let run = |name: &str, command: &mut Command| {
        let output = succeeds(command.arg(&url).arg(dir.path().join(name)));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "sent 105, delivered 103, pending 0\n");
    };
    run("plain", &mut Command::new(&program));
    if Command::new("valgrind").arg("--version").output().is_ok() {
        let checks = ["--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite"];
        run("checked", Command::new("valgrind").args(checks).arg(&program));
    }
    let taken = taken.lock().unwrap();
    let kills: Vec<_> = taken.iter().filter(|event| event["type"] == "match.kill").take(100).collect();
    for (kill, event) in kills.iter().enumerate() {
        assert_eq!(event["data"], json!({"victim": format!("player-{}", kill % 9), "kill": kill, "build": "1.2.3"}));
        assert_eq!((&event["region"], &event["gameid"]), (&json!("euw"), &json!("game-1")));
    }
    assert_eq!(kills.len(), 100);
}
