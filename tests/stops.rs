//! Starts that are refused, and stops that lose nothing.

use crate::support::{Home, KILLFEED, PATIENCE, event, text, wait};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_loses_nothing_and_ends_well() {
    let home = Home::new();
    let server = home.up(&[]);
    let acknowledged = Arc::new(AtomicU64::new(0));
    let (http, url, counted) = (server.http.clone(), server.url.clone(), acknowledged.clone());
    let sender = tokio::spawn(async move {
        for n in 0_u64.. {
            let body = format!("{}\n", event("drain.event", &format!("e{n}"), &json!({ "n": n })));
            let request = http.post(format!("{url}/v1/batch")).header("content-type", "application/x-ndjson");
            let Ok(response) = request.body(body).send().await else { return };
            let (status, answer) = (response.status(), response.json::<Value>().await);
            assert!(answer.is_ok(), "half an answer, status {status}");
            if status != 202 {
                assert_eq!(status, 503);
                return;
            }
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    while acknowledged.load(Ordering::SeqCst) < 100 {
        assert!(!sender.is_finished());
        tokio::task::yield_now().await;
    }
    server.signal(Signal::TERM);
    let status = tokio::task::spawn_blocking(move || server.wait()).await.unwrap();
    assert!(status.success(), "{status}\n{}", home.stderr());
    sender.await.unwrap();

    let server = home.up(&[]);
    server.flush().await;
    let rows = server.number("SELECT count(DISTINCT n) FROM drain_event").await;
    assert!(rows >= acknowledged.load(Ordering::SeqCst));
    assert_eq!(server.number("SELECT count(*) FROM drain_event").await, rows);
    let audit = server.balanced().await;
    assert!(audit["acknowledged"].as_u64().unwrap() >= acknowledged.load(Ordering::SeqCst), "{audit:#}");
}

/// A request that is half sent holds the drain up; a second signal ends that at once.
#[test]
fn a_second_sigterm_ends_a_drain_at_once() {
    let home = Home::new();
    let server = home.up(&["--drain-timeout", "60s"]);
    let mut half = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    half.write_all(b"POST /v1/batch HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhalf").unwrap();
    // Answered on another connection, so the half one was let in before.
    assert!(server.run(&["flush"]).status.success());
    server.signal(Signal::TERM);
    let start = std::time::Instant::now();
    while !home.stderr().contains("stopping: answering what is in flight") {
        assert!(start.elapsed() < PATIENCE, "{}", home.stderr());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    server.signal(Signal::TERM);
    let status = server.wait();
    assert!(start.elapsed().as_secs() < 8, "it went on draining for {:?}", start.elapsed());
    assert_eq!(status.code(), Some(1), "{status}");
    assert!(home.stderr().contains("error: stopped at once by a second signal"), "{}", home.stderr());
}

/// Runs a command that must end by itself; gives its exit code and stderr.
pub(crate) fn refused(mut command: Command) -> (Option<i32>, String) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let status = wait(&mut child);
    let output = child.wait_with_output().unwrap();
    let errors: Vec<String> = String::from_utf8_lossy(&output.stderr)
        .lines()
        .filter(|line| line.starts_with("error: "))
        .map(Into::into)
        .collect();
    (status.code(), errors.join("\n"))
}

#[test]
fn a_start_that_cannot_work_ends_with_one_line_that_says_why() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let file = home.write("file", "");
    let bad = home.write("bad.toml", "colour = 1\npartitions = 'many'\n");
    let torn = home.write("torn.toml", "listen = ");
    home.write("schemas/a.b/1.json", "{");
    let schemas = home.path("schemas");
    let command = |args: &[&str]| {
        let mut command = Command::new(KILLFEED);
        command.arg("up").args(args);
        if !args.contains(&"--data-dir") {
            command.arg("--data-dir").arg(home.path("fresh"));
        }
        command
    };
    let [file, bad, torn, schemas] = [&file, &bad, &torn, &schemas].map(|path| path.to_str().unwrap());
    // (arguments, lines on stderr, words in them)
    let cases: [(Vec<&str>, usize, &[&str]); 8] = [
        (
            vec!["--query-memory", "1GB", "--partitions=0", "--colour"],
            3,
            &["--query-memory", "--partitions", "--colour"],
        ),
        (vec!["--listen", &taken], 1, &["cannot listen on", &taken, "--listen"]),
        (vec!["--listen", "0.0.0.0:0"], 1, &["0.0.0.0:0", "no API key", "key new"]),
        (vec!["--listen", "127.0.0.1:0", "--data-dir", file], 1, &["data directory"]),
        (vec!["--config", bad], 2, &["colour", "partitions"]),
        (vec!["--config", torn], 1, &["line 1"]),
        (vec!["--config", "/nowhere/at-all.toml"], 1, &["/nowhere/at-all.toml"]),
        (vec!["--listen", "127.0.0.1:0", "--schemas", schemas], 1, &["a.b/1.json"]),
    ];
    for (args, lines, words) in cases {
        let (code, errors) = refused(command(&args));
        assert_eq!(code, Some(2), "{args:?}: {errors}");
        assert_eq!(errors.lines().count(), lines, "{args:?}: {errors}");
        assert!(words.iter().all(|word| errors.contains(word)), "{args:?}: {errors}");
    }
}

#[test]
fn a_data_directory_has_one_process_at_a_time() {
    let home = Home::new();
    let server = home.up(&[]);
    for role in ["up", "ingest", "query"] {
        let mut command = Command::new(KILLFEED);
        command.args([role, "--listen", "127.0.0.1:0", "--data-dir"]).arg(home.path("data"));
        let (code, errors) = refused(command);
        assert_eq!(code, Some(2), "{role}: {errors}");
        assert!(errors.lines().count() == 1 && errors.contains("another process"), "{role}: {errors}");
    }
    assert!(server.run(&["audit"]).status.success());
}

#[test]
fn a_client_without_a_server_says_so() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    for args in [&["sql", "SELECT 1"][..], &["audit"], &["flush"], &["report", "list"]] {
        let output = Command::new(KILLFEED).args(args).env("KILLFEED_URL", &url).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output).starts_with(&format!("error: cannot reach {url}")), "{}", text(&output));
    }
}
