//! `killfeed sql` as a shell on a terminal, and with statements on standard input.

use crate::readers::python;
use crate::support::{Home, KILLFEED, PATIENCE, Server, event, repository, text, wait};
use serde_json::json;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

const PROMPT: &str = "killfeed> ";
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const UP: &str = "\x1b[A";

/// A shell on a terminal.
struct Shell {
    child: Child,
    keys: ChildStdin,
    shown: Receiver<Vec<u8>>,
    /// All that it showed.
    bytes: Vec<u8>,
    /// How much of its text was looked at.
    seen: usize,
}

impl Shell {
    fn start(server: &Server, history: &Path) -> Self {
        let mut child = Command::new(python())
            .arg(repository().join("tests/readers/terminal.py"))
            .args(["100", KILLFEED, "sql"])
            .env("KILLFEED_URL", &server.url)
            .env("KILLFEED_HISTORY", history)
            .env("TERM", "xterm-256color")
            .env_remove("KILLFEED_KEY")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (to, shown) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = screen.read(&mut bytes) {
                if to.send(bytes[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, keys, shown, bytes: Vec::new(), seen: 0 }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits until it shows this, behind what was waited for before.
    fn sees(&mut self, words: &str) {
        let begun = Instant::now();
        loop {
            let text = anstream::adapter::strip_bytes(&self.bytes).into_vec();
            let new = String::from_utf8_lossy(&text[self.seen..]).into_owned();
            if let Some(at) = new.find(words) {
                self.seen += at + words.len();
                return;
            }
            let left = PATIENCE.saturating_sub(begun.elapsed());
            let Ok(bytes) = self.shown.recv_timeout(left) else { panic!("{words:?} is not in {new:?}") };
            self.bytes.extend(bytes);
        }
    }

    /// Presses keys and Enter, waits for each of the words in turn, and for the next prompt.
    fn asks(&mut self, line: &str, words: &[&str]) {
        self.press(&format!("{line}\r"));
        words.iter().for_each(|words| self.sees(words));
        self.sees(PROMPT);
    }

    fn code(mut self) -> Option<i32> {
        wait(&mut self.child).code()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn with_messages(home: &Home, args: &[&str]) -> Server {
    let server = home.up(args);
    let messages: Vec<_> =
        (0..3).map(|n| event("chat.message", &format!("c{n}"), &json!({ "mood": "calm", "n": n }))).collect();
    server.accept(&messages).await;
    server.flush().await;
    server
}

/// Waits until a query runs.
async fn is_asked(server: &Server) {
    let begun = Instant::now();
    loop {
        let metrics = server.http.get(format!("{}/metrics", server.url)).send().await.unwrap().text().await.unwrap();
        if metrics.lines().any(|line| line == "killfeed_queries_running 1") {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "no query runs");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_shell_answers_completes_and_goes_on_after_errors() {
    let home = Home::new();
    let server = with_messages(&home, &[]).await;
    let history = home.path("state/history");
    let mut shell = Shell::start(&server, &history);
    shell.sees(r"\? for help");
    shell.sees(PROMPT);
    shell.asks("SELECT 40 + 2 AS answer;", &["answer", "42", "1 row"]);

    // A statement of several lines, and two in one.
    shell.press("SELECT 20\r");
    shell.sees("-> ");
    shell.asks("+ 3 AS n;", &["23", "1 row"]);
    shell.asks("SELECT 50 + 1 AS a; SELECT 60 + 1 AS b;", &["51", "1 row", "61", "1 row"]);

    // Tab, for a table and for a column by an alias.
    shell.press("SELECT count(*) + 70 AS messages FROM chat_me\t");
    shell.sees("FROM chat_message ");
    shell.asks(";", &["73", "1 row"]);
    shell.press("SELECT n + 80 AS n FROM chat_message c WHERE c.n = 2 AND c.mo\t");
    shell.sees("c.mood ");
    shell.asks("= 'calm';", &["82", "1 row"]);

    shell.asks(r"\x", &["each row in lines of its own"]);
    shell.asks("SELECT 'gg' || 'wp' AS word;", &["-[ row 1 ]", "word  ggwp", "1 row"]);
    shell.asks(r"\x off", &["each row in a line"]);
    shell.asks(r"\timing", &["timing is on"]);
    shell.asks(r"\d chat_message", &["mood", "text", "rows", "time: ", "ms"]);
    shell.asks(r"\timing off", &["timing is off"]);
    shell.asks(r"\dt", &["chat_message", "rows"]);
    shell.asks(r"\format csv", &["format: csv"]);
    shell.asks("SELECT 90 + 1 AS a, 92 + 1 AS b;", &["a,b", "91,93"]);
    shell.asks(r"\format table", &["format: table"]);
    shell.asks(r"\?", &["Ctrl-R"]);

    // What fails is said, and the session goes on.
    shell.asks("SELECT mod FROM chat_message;", &["error: ", "no column \"mod\""]);
    shell.asks(r"\nothing", &["error: ", "there is no command"]);
    shell.press("SELECT gar");
    shell.sees("SELECT gar");
    shell.press(CTRL_C);
    shell.sees(PROMPT);
    shell.asks("SELECT 100 + 1 AS a;", &["101", "1 row"]);
    let answer = home.path("answer.csv");
    shell.asks(&format!(r"\o {}", answer.display()), &[]);
    shell.asks("SELECT 'in the file' AS place;", &["1 row"]);
    assert_eq!(std::fs::read_to_string(&answer).unwrap(), "place\nin the file\n");
    server.kill();
    shell.asks("SELECT 1;", &["error: cannot reach http://127.0.0.1:"]);
    shell.press(CTRL_D);
    assert_eq!(shell.code(), Some(0));

    let kept = std::fs::read_to_string(&history).unwrap();
    assert!(kept.starts_with("SELECT 40 + 2 AS answer;\nSELECT 20<\\n>+ 3 AS n;\n"), "{kept}");
    assert!(kept.ends_with("SELECT 1;\n") && kept.contains("\n\\timing\n") && !kept.contains("gar"), "{kept}");
    assert_eq!(history.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn ctrl_c_stops_the_query_and_not_the_shell() {
    let home = Home::new();
    // One that went on would keep the next from its turn.
    let server = with_messages(&home, &["--query-concurrency", "1", "--query-time", "1h"]).await;
    let history = home.path("history");
    let mut shell = Shell::start(&server, &history);
    shell.sees(PROMPT);
    shell.press("SELECT count(*) FROM generate_series(1, 100000000000) a;\r");
    is_asked(&server).await;
    shell.press(CTRL_C);
    shell.sees("cancelled");
    shell.sees(PROMPT);
    shell.asks("SELECT 40 + 2 AS answer;", &["42", "1 row"]);
    shell.asks(r"SELECT value FROM generate_series(1, 20000);", &["the first 10000 rows only"]);
    shell.press("\\q\r");
    assert_eq!(shell.code(), Some(0));

    // The next one knows what was typed.
    let mut shell = Shell::start(&server, &history);
    shell.sees(PROMPT);
    shell.press(&format!("{UP}{UP}{UP}"));
    shell.sees("SELECT 40 + 2 AS answer;");
    shell.press(CTRL_C);
    shell.sees(PROMPT);
    shell.press(CTRL_D);
    assert_eq!(shell.code(), Some(0));
}

/// What comes of these statements on standard input.
fn piped(server: &Server, args: &[&str], statements: &str) -> Output {
    let mut child = pipe(server, args);
    child.stdin.take().unwrap().write_all(statements.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn pipe(server: &Server, args: &[&str]) -> Child {
    let mut command = Command::new(KILLFEED);
    command.arg("sql").args(args).env("KILLFEED_URL", &server.url).env_remove("KILLFEED_KEY");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[tokio::test]
async fn statements_of_standard_input_run_in_turn_up_to_the_first_that_fails() {
    let home = Home::new();
    let server = home.up(&[]);
    let statements = "SELECT 1 AS a; -- one; two\nSELECT ';' AS b\n;\n\\format csv\n/* ; */ SELECT $$x;$$ AS c";
    let answers = "{\"a\":1}\n{\"b\":\";\"}\nc\nx;\n";
    for args in [&["--format", "ndjson"][..], &["-", "--format", "ndjson"]] {
        let output = piped(&server, args, statements);
        assert!(output.status.success(), "{}", text(&output));
        assert_eq!(String::from_utf8_lossy(&output.stdout), answers, "{}", text(&output));
    }

    let output = piped(&server, &["--format", "ndjson"], "SELECT 1 AS a;\n\n SELECT\nb;\nSELECT 2 AS c;\n");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "{\"a\":1}\n");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.starts_with("error: in the statement at line 3: ") && said.lines().count() == 1, "{said}");

    for (statements, code, words) in [
        ("", 2, "there is no statement"),
        (" -- nothing\n;", 2, "there is no statement"),
        ("SELECT 1;\n\\quit now\n", 2, "line 2: \\quit takes nothing"),
        ("SELECT 'open;\n", 1, "line 1: "),
        ("\\q\nSELECT nothing;", 0, ""),
    ] {
        let output = piped(&server, &[], statements);
        assert_eq!(output.status.code(), Some(code), "{statements:?}: {}", text(&output));
        assert!(String::from_utf8_lossy(&output.stderr).contains(words), "{statements:?}: {}", text(&output));
    }
    // The same of an argument, with the same code and words.
    let (nothing, code) = (piped(&server, &[], "").stderr, Some(2));
    for argument in ["", " ", ";", "-- nothing"] {
        // Even if there is something to read.
        let output = piped(&server, &["--", argument], "SELECT 1;");
        assert_eq!((output.status.code(), &output.stderr), (code, &nothing), "{argument:?}: {}", text(&output));
    }
    // Each is asked as soon as it is whole.
    let mut child = pipe(&server, &["--format", "ndjson"]);
    let (mut keys, mut answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()).lines());
    for n in 1..3 {
        writeln!(keys, "SELECT {n}\n AS n;").unwrap();
        assert_eq!(answers.next().unwrap().unwrap(), format!("{{\"n\":{n}}}"));
    }
    drop(keys);
    assert!(wait(&mut child).success());
}
