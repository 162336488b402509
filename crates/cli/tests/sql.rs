//! `sql`: statements of people, at a terminal and through a pipe, and of programs.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use support::{millstream, stdout};

#[test]
fn statements_are_answered_line_by_line() {
    use std::io::Write;
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = millstream(folder.path())
        .arg("sql")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut input = child.stdin.take().expect("input");
    input.write_all(b"SELECT 1 + 1, NULL\n\nSELECT oops\n").expect("writes");
    drop(input);
    let answers = stdout(&child.wait_with_output().expect("ends"));
    let answers: Vec<&str> = answers.lines().collect();
    assert_eq!(answers[0], r#"{"types":["int","void"],"text":["2",null]}"#);
    assert!(answers[1].starts_with(r#"{"error":"#), "{}", answers[1]);
    assert_eq!(answers.len(), 2);
}

/// What `sql` answers to what is typed.
fn asked(folder: &Path, args: &[&str], statements: &str) -> (String, String) {
    use std::io::Write;
    let mut command = millstream(folder);
    command.arg("sql").args(args);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
    child.stdin.take().expect("input").write_all(statements.as_bytes()).expect("writes");
    let output = child.wait_with_output().expect("ends");
    assert!(output.status.success());
    (String::from_utf8(output.stdout).expect("text"), String::from_utf8(output.stderr).expect("text"))
}

#[test]
fn statements_for_people_end_with_a_semicolon_and_are_answered_by_tables() {
    let folder = tempfile::tempdir().expect("a folder");
    let (out, words) = asked(
        folder.path(),
        &["--format", "table"],
        "SELECT 'a;b' AS x, -- one\n  NULL;\nSELECT oops;\nSELECT 2",
    );
    assert_eq!(
        out,
        "+-----------+------+\n| x: string | void |\n+-----------+------+\n| a;b       | NULL |\n+-----------+------+\n\
         +-----+\n| int |\n+-----+\n| 2   |\n+-----+\n"
    );
    assert!(words.contains("there is no column `oops`") && words.contains("1 row(s)"), "{words}");
}

/// `sql` at a terminal of its own, that `script` makes.
#[cfg(target_os = "linux")]
struct Terminal {
    child: std::process::Child,
    shown: std::sync::mpsc::Receiver<u8>,
}

#[cfg(target_os = "linux")]
impl Terminal {
    fn open(folder: &Path) -> Self {
        use std::io::{BufReader, Read};
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command"])
            .arg(format!("stty rows 40 cols 100; {} sql", env!("CARGO_BIN_EXE_millstream")))
            .arg("/dev/null")
            .current_dir(folder)
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script, a part of every Debian, starts");
        let out = child.stdout.take().expect("output");
        let (send, shown) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            BufReader::new(out).bytes().map_while(Result::ok).try_for_each(|byte| send.send(byte))
        });
        Self { child, shown }
    }

    fn types(&mut self, keys: &str) {
        use std::io::Write;
        self.child.stdin.as_mut().expect("keys").write_all(keys.as_bytes()).expect("types");
    }

    /// Waits until `text` is shown.
    fn shows(&self, text: &str) {
        let mut seen = Vec::new();
        while !seen.ends_with(text.as_bytes()) {
            match self.shown.recv_timeout(std::time::Duration::from_secs(60)) {
                Ok(byte) => seen.push(byte),
                Err(_) => panic!("no {text:?} in {:?}", String::from_utf8_lossy(&seen)),
            }
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn at_a_terminal_lines_are_edited_completed_and_found_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut terminal = Terminal::open(folder.path());
    terminal.shows("sql> ");
    terminal.types("SELECT 1 +\r  41 AS answer;\r");
    terminal.shows("| 42 ");
    terminal.shows("sql> ");
    terminal.types("thrown away\u{3}");
    terminal.shows("sql> ");
    terminal.types("\u{1b}[A\r");
    terminal.shows("| 42 ");
    terminal.shows("sql> ");
    terminal.types("SELECT 'kept for later', md\t('x');\r");
    terminal.shows("| 9dd4e461268c8034f5c8564e155c67a6 ");
    terminal.shows("sql> ");
    terminal.types("\u{4}");
    assert!(terminal.child.wait().expect("ends").success());
}

#[test]
fn a_file_is_the_view_input_with_a_guessed_or_a_given_schema() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(
        folder.path().join("a.jsonl"),
        "{\"k\":\"x\",\"n\":1}\n{\"k\":\"y\",\"n\":2}\n{\"k\":\"x\",\"n\":3}\nbroken\n",
    )
    .expect("writes");
    let sums = "SELECT k, sum(n) AS s FROM input GROUP BY k ORDER BY k\nSELECT 1\nSELECT n FROM other\n";
    let (out, words) = asked(folder.path(), &["--input", "a.jsonl"], sums);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[0], r#"{"names":["k","s"],"types":["string","bigint"],"rows":[["x","4"],["y","2"]]}"#);
    assert_eq!(lines[1], r#"{"types":["int"],"text":["1"]}"#);
    assert!(lines[2].contains("there is no table `other` here"), "{}", lines[2]);
    assert!(words.contains("3 record(s), 1 unreadable; `k` string, `n` bigint"), "{words}");
    let (out, _) = asked(
        folder.path(),
        &["--input", "a.jsonl", "--schema", "n DECIMAL(4,1)"],
        "SELECT max(n) AS m FROM input",
    );
    assert_eq!(out, "{\"names\":[\"m\"],\"types\":[\"decimal(4,1)\"],\"rows\":[[\"3.0\"]]}\n");
    let explained = ["--input", "a.jsonl", "--explain", "--format", "table"];
    let (out, _) = asked(folder.path(), &explained, "SELECT upper(k) AS k FROM input;");
    assert_eq!(out, "k: string\n  upper: string  (UTF8String)\n    column k: string\n");
}
