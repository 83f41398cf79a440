//! `killfeed send` against a server that answers what the test tells it: when it tries again, how
//! long it waits, what it says at the end.

use crate::support::{Home, KILLFEED, event, text};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What the server does with one connection's request.
#[derive(Clone)]
enum Act {
    /// Answers each line by its status, and these headers.
    Results(u16, &'static [(u16, bool)], &'static str),
    /// Answers with a problem of this status, and these headers.
    Problem(u16, &'static str),
    /// Closes without a word.
    HangUp,
}

/// One request as it came: when, and its lines.
type Seen = (Instant, Vec<String>);

/// Takes one request per act, each on a connection of its own.
fn play(listener: TcpListener, acts: Vec<Act>) -> std::thread::JoinHandle<Vec<Seen>> {
    std::thread::spawn(move || acts.into_iter().map(|act| one(&listener.accept().unwrap().0, &act)).collect())
}

fn one(stream: &TcpStream, act: &Act) -> Seen {
    let at = Instant::now();
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let lines: Vec<String> = String::from_utf8(body).unwrap().lines().map(Into::into).collect();
    let (status, headers, body) = match act {
        Act::HangUp => return (at, lines),
        Act::Problem(status, headers) => (status, headers, json!({ "status": status, "detail": "as told" })),
        Act::Results(status, results, headers) => {
            assert_eq!(results.len(), lines.len(), "{lines:?}");
            let results: Vec<Value> = results
                .iter()
                .map(|(status, retry)| json!({ "id": "x", "status": status, "retry": retry, "error": "as told" }))
                .collect();
            (status, headers, json!({ "results": results }))
        }
    };
    let body = body.to_string();
    let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    let mut stream = stream;
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).unwrap();
    (at, lines)
}

fn lines(home: &Home, count: usize) -> std::path::PathBuf {
    let lines: String = (0..count).map(|n| format!("{}\n", event("t", &format!("e{n}"), &json!({})))).collect();
    home.write("lines.ndjson", &lines)
}

fn send(address: SocketAddr, file: &std::path::Path, more: &[&str]) -> (Output, Value) {
    let mut command = Command::new(KILLFEED);
    command
        .args(["send", "--json", "--compression", "none", "--url", &format!("http://{address}")])
        .arg(file)
        .args(more);
    let output = command.env_remove("KILLFEED_KEY").output().unwrap();
    let summary = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
    (output, summary)
}

fn counts(summary: &Value) -> [u64; 5] {
    ["sent", "accepted", "refused", "retried", "unanswered"].map(|name| summary[name].as_u64().unwrap())
}

#[test]
fn what_may_be_sent_again_is_sent_first_and_when_the_server_says() {
    let home = Home::new();
    let file = lines(&home, 4);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let after_1s = "retry-after: 1\r\n";
    let server = play(
        listener,
        vec![
            Act::Problem(503, after_1s),
            // The second waits for another try, the third is refused for good.
            Act::Results(200, &[(202, false), (503, true), (400, false)], after_1s),
            Act::HangUp,
            Act::Results(202, &[(202, false)], ""),
            Act::Problem(429, after_1s),
            Act::Results(202, &[(202, false)], ""),
        ],
    );
    let (output, summary) = send(address, &file, &["--batch", "3"]);
    let seen = server.join().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    // Retried: three and three (503, hang-up counts one), one answered so, one hung up, one 429.
    assert_eq!(counts(&summary), [4, 3, 1, 6, 0], "{summary}");
    assert_eq!(summary["refusals"], json!([{ "line": 3, "id": "x", "status": 400, "error": "as told" }]));
    assert!(text(&output).contains("error: 1 of 4 events were refused"), "{}", text(&output));
    let ids = |place: usize| -> Vec<String> {
        let id = |line: &String| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
        seen[place].1.iter().map(id).collect()
    };
    let expected: [&[&str]; 6] = [&["e0", "e1", "e2"], &["e0", "e1", "e2"], &["e1"], &["e1"], &["e3"], &["e3"]];
    for (place, expected) in expected.iter().enumerate() {
        assert_eq!(ids(place), *expected, "request {place}");
    }
    for waited in [1, 2, 5] {
        let pause = seen[waited].0 - seen[waited - 1].0;
        assert!(pause >= Duration::from_secs(1), "request {waited} came after {pause:?}, before Retry-After");
    }
}

#[test]
fn a_server_that_comes_back_gets_the_rest_and_one_that_does_not_is_given_up() {
    let home = Home::new();
    let file = lines(&home, 2);
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (output, summary) = send(address, &file, &["--retry-for", "300ms"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert_eq!((&summary["accepted"], &summary["unanswered"]), (&json!(0), &json!(2)), "{summary}");
    assert!(text(&output).contains("gave up after 300ms: "), "{}", text(&output));
    assert!(text(&output).contains("refused"), "{}", text(&output));
    assert_eq!(text(&output).matches("waiting for ").count(), 1, "{}", text(&output));

    let server = std::thread::spawn(move || {
        // Until here nobody listens.
        std::thread::sleep(Duration::from_millis(500));
        play(TcpListener::bind(address).unwrap(), vec![Act::Results(202, &[(202, false), (202, false)], "")])
            .join()
            .unwrap()
    });
    let (output, summary) = send(address, &file, &[]);
    server.join().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(counts(&summary)[..3], [2, 2, 0], "{summary}");
    assert!(summary["retried"].as_u64().unwrap() >= 2, "{summary}");
}

#[test]
fn a_request_that_is_too_much_is_halved_and_a_key_that_is_not_let_in_ends_it() {
    let home = Home::new();
    let file = lines(&home, 3);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = |count| Act::Results(202, &[(202, false), (202, false), (202, false)][..count], "");
    let server = play(listener, vec![Act::Problem(413, ""), Act::Problem(413, ""), accepted(1), accepted(1)]);
    let (output, summary) = send(address, &file, &[]);
    let seen = server.join().unwrap();
    assert_eq!(seen.iter().map(|(_, lines)| lines.len()).collect::<Vec<_>>(), [3, 1, 1, 1]);
    assert_eq!(counts(&summary), [3, 2, 1, 0, 0], "{summary}");
    assert_eq!((summary["refusals"][0]["line"].as_u64(), output.status.code()), (Some(1), Some(1)));

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = play(listener, vec![Act::Problem(401, "")]);
    let (output, summary) = send(address, &file, &[]);
    server.join().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert_eq!((&summary["accepted"], &summary["refused"]), (&json!(0), &json!(0)), "{summary}");
}

/// The first line that this command says on stderr. It is ended then.
fn first_word(args: &[&str]) -> String {
    let mut command = Command::new(KILLFEED);
    command.args(args).env_remove("KILLFEED_KEY").stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (to, said) = mpsc::channel();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    std::thread::spawn(move || {
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        to.send(line).unwrap();
    });
    let line = said.recv_timeout(Duration::from_secs(60));
    child.kill().unwrap();
    child.wait().unwrap();
    line.unwrap_or_else(|_| panic!("{args:?} says nothing for a minute"))
}

#[test]
fn whoever_waits_for_a_server_says_so_at_once_and_until_when() {
    let home = Home::new();
    let file = lines(&home, 2);
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{address}");
    for args in [
        &["send", file.to_str().unwrap(), "--url", &url, "--retry-for", "2h"][..],
        &["generate", "--games", "1", "--url", &url, "--retry-for", "2h"],
    ] {
        let line = first_word(args);
        assert!(line.starts_with(&format!("waiting for {url}: ")) && line.contains("refused"), "{line}");
        let until = line.split(" until ").nth(1).and_then(|rest| rest.split(' ').next()).expect(&line);
        let left = chrono::DateTime::parse_from_rfc3339(until).expect(&line).to_utc() - chrono::Utc::now();
        assert!((115..=120).contains(&left.num_minutes()), "{line}");
    }
}
