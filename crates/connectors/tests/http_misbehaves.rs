//! The HTTP source against servers that misbehave, each in its own way.

#![allow(clippy::print_stdout, reason = "what was skipped is said aloud")]

mod support;

use millstream_connectors::http::HttpKind;
use millstream_connectors::random_user::{Options, Server};
use millstream_core::{Error, Scope, SourceKind};
use serde_json::{Value, json};
use support::{Reply, TestServer, answer, ok};
use tokio::net::{TcpListener, TcpStream};

/// Longer than an answer that comes takes on the slowest machine …
const PATIENCE: &str = "60s";
/// … and what is waited for one that does not.
const UNTIL_STALLED: &str = "3s";

/// The records of one request, as texts.
async fn fetch(url: &str, more: Value) -> Result<Vec<String>, Error> {
    let mut settings = json!({
        "http": url, "records": "$.results", "schema": "a INT", "timeout": PATIENCE, "retries": 1,
    });
    settings.as_object_mut().expect("settings").extend(more.as_object().expect("settings").clone());
    let mut source = HttpKind.open(&settings, &Scope::default()).await?;
    let records = source.next().await?.expect("a first answer");
    let texts =
        records.iter().map(|record| String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned());
    Ok(texts.collect())
}

const GOOD: &str = r#"{"results": [{"a": 1.0}, {"a":2}]}"#;

#[tokio::test]
async fn passing_failures_are_retried() {
    for (name, first) in [
        ("500", answer("500 Internal Server Error", "", b"oops")),
        ("503", answer("503 Service Unavailable", "", b"")),
        ("429", answer("429 Too Many Requests", "", b"{\"error\":\"slow down\"}")),
        ("408", answer("408 Request Timeout", "", b"")),
        ("reset", Reply::Reset),
        ("stall", Reply::Stall),
        ("cut body", Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"results\": [".to_vec())),
        ("HTML", answer("200 OK", "Content-Type: text/html\r\n", b"<html>maintenance</html>")),
        ("no records", ok(r#"{"error": "busy"}"#)),
        ("empty", ok("")),
        ("cut JSON", ok(r#"{"results": [{"a":1}"#)),
    ] {
        let server = TestServer::start(vec![first, ok(GOOD)]).await;
        let timeout = if name == "stall" { UNTIL_STALLED } else { PATIENCE };
        let records = fetch(&server.url, json!({"timeout": timeout})).await;
        let records = records.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(records, [r#"{"a": 1.0}"#, r#"{"a":2}"#], "{name}");
        assert_eq!(server.count(), 2, "{name}");
    }
}

#[tokio::test]
async fn spent_retries_are_an_error_that_says_what_came() {
    for (reply, said) in [
        (answer("503 Service Unavailable", "", b"down for lunch"), "down for lunch"),
        (answer("200 OK", "", b"<html>"), "<html>"),
        (ok(r#"{"other": 1}"#), "$.results"),
        (Reply::Reset, "GET http://127.0.0.1"),
        (Reply::Stall, "no answer in time"),
    ] {
        let timeout = if matches!(reply, Reply::Stall) { UNTIL_STALLED } else { PATIENCE };
        let server = TestServer::start(vec![reply]).await;
        let error = fetch(&server.url, json!({"timeout": timeout})).await.expect_err("no records");
        assert!(error.to_string().contains(said), "{said}: {error}");
        assert!(error.to_string().contains("tried 2 times"), "{error}");
        assert!(!error.is_passing());
        assert_eq!(server.count(), 2);
    }
}

#[tokio::test]
async fn what_will_not_change_is_not_retried() {
    for (status, body) in
        [("404 Not Found", "no such page"), ("401 Unauthorized", "who are you"), ("400 Bad Request", "")]
    {
        let server = TestServer::start(vec![answer(status, "", body.as_bytes())]).await;
        let error = fetch(&server.url, json!({"retries": 5})).await.expect_err("refused");
        assert!(error.message.contains(status), "{error}");
        assert_eq!(server.count(), 1);
    }
}

#[tokio::test]
async fn retry_after_is_obeyed() {
    let server =
        TestServer::start(vec![answer("429 Too Many Requests", "Retry-After: 2\r\n", b""), ok(GOOD)]).await;
    let began = std::time::Instant::now();
    fetch(&server.url, json!({})).await.expect("records");
    // Without the header the wait would be at most half a second.
    assert!(began.elapsed().as_secs_f64() > 1.9, "{:?}", began.elapsed());
}

#[tokio::test]
async fn retry_after_never_shortens_the_wait() {
    for when in ["0", "Sun, 06 Nov 1994 08:49:37 GMT"] {
        let refusal = answer("503 Service Unavailable", &format!("Retry-After: {when}\r\n"), b"");
        let server = TestServer::start(vec![refusal, ok(GOOD)]).await;
        let began = std::time::Instant::now();
        fetch(&server.url, json!({})).await.expect("records");
        // The first wait is a quarter of a second or longer.
        assert!(began.elapsed().as_secs_f64() > 0.24, "{when}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn an_answer_without_a_body_may_say_that_there_is_nothing() {
    let none = Vec::<String>::new();
    let empty = TestServer::start(vec![answer("204 No Content", "", b"")]).await;
    assert_eq!(fetch(&empty.url, json!({})).await.expect("no records"), none);
    assert_eq!(empty.count(), 1);

    // It redirects nowhere, whatever it names.
    let unchanged = answer("304 Not Modified", "Location: /elsewhere\r\n", b"");
    let server = TestServer::start(vec![unchanged]).await;
    for name in ["If-None-Match", "if-modified-since"] {
        let asked = json!({"headers": {name: "Sun, 06 Nov 1994 08:49:37 GMT"}});
        assert_eq!(fetch(&server.url, asked).await.expect("nothing new"), none, "{name}");
    }
    assert_eq!(server.count(), 2);
    // Who did not ask what is new has missed something.
    let error = fetch(&server.url, json!({})).await.expect_err("not modified since when?");
    assert!(error.message.contains("304"), "{error}");
}

#[tokio::test]
async fn a_request_that_cannot_be_made_is_not_tried_again() {
    let token = r#"{"access_token": "s3cret\nX: y"}"#;
    let tokens = TestServer::start(vec![ok(token)]).await;
    let server = TestServer::start(vec![ok(GOOD)]).await;
    for auth in [
        json!({"bearer": "s3cret\n"}),
        json!({"header": {"name": "X-Key", "value": "s3cret\r\n"}}),
        json!({"header": {"name": "X Key", "value": "s3cret"}}),
        json!({"oauth2": {"token_url": tokens.url, "client_id": "a", "client_secret": "b"}}),
    ] {
        let error = fetch(&server.url, json!({"auth": auth})).await.expect_err("no header");
        let message = error.to_string();
        assert!(message.contains("`auth` makes no header") && !message.contains("tried"), "{message}");
        assert!(!message.contains("s3cret"), "{message}");
    }
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn odd_but_readable_answers_are_taken() {
    let nothing = TestServer::start(vec![ok(r#"{"results": []}"#)]).await;
    assert_eq!(fetch(&nothing.url, json!({})).await.expect("an empty page"), Vec::<String>::new());
    let wrong_type =
        TestServer::start(vec![answer("200 OK", "Content-Type: image/png\r\n", GOOD.as_bytes())]).await;
    assert_eq!(fetch(&wrong_type.url, json!({})).await.expect("JSON all the same").len(), 2);
    let bytes = answer("200 OK", "", b"{\"results\": [{\"a\":\"\xff\"}, {\"a\": {\"b\": [1]}}]}");
    let invalid = TestServer::start(vec![bytes]).await;
    let records = fetch(&invalid.url, json!({})).await.expect("read as U+FFFD");
    assert_eq!(records, ["{\"a\":\"\u{fffd}\"}", r#"{"a": {"b": [1]}}"#]);
}

#[tokio::test]
async fn compressed_answers_are_unpacked() {
    let packed = gzip(GOOD.as_bytes());
    let server = TestServer::start(vec![answer("200 OK", "Content-Encoding: gzip\r\n", &packed)]).await;
    assert_eq!(fetch(&server.url, json!({})).await.expect("records").len(), 2);
    assert!(server.request(0).to_lowercase().contains("accept-encoding: gzip"));
    assert!(server.request(0).to_lowercase().contains("user-agent: millstream/"));
}

/// gzip without compressing: one stored block.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    let length = bytes.len() as u16;
    out.extend(length.to_le_bytes());
    out.extend((!length).to_le_bytes());
    out.extend(bytes);
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    out.extend((!crc).to_le_bytes());
    out.extend((bytes.len() as u32).to_le_bytes());
    out
}

#[tokio::test]
async fn a_huge_answer_is_refused_before_it_fills_the_memory() {
    let body = vec![b' '; 100 << 20];
    let server = TestServer::start(vec![answer("200 OK", "", &body)]).await;
    let error = fetch(&server.url, json!({})).await.expect_err("too large");
    assert!(error.message.contains("larger than 64 MiB"), "{error}");
    assert_eq!(server.count(), 1);
    // What is announced takes no room before it comes.
    let lie = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4000000000000\r\n\r\n[";
    let server = TestServer::start(vec![Reply::Bytes(lie.into())]).await;
    let more = json!({"max_response_mib": 4095, "retries": 0});
    let error = fetch(&server.url, more).await.expect_err("it breaks off");
    assert!(error.message.contains("breaks off"), "{error}");
}

#[tokio::test]
async fn deep_nesting_is_no_crash() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let server = TestServer::start(vec![ok(&format!(r#"{{"results": [{deep}, {{"a":1}}]}}"#))]).await;
    // It is one record, which will be unreadable, and the others are as they are.
    let records = fetch(&server.url, json!({})).await.expect("records");
    assert_eq!(records, [deep.as_str(), r#"{"a":1}"#]);
    // A path that is more than names needs the whole answer as a tree.
    let error = fetch(&server.url, json!({"records": "$['results'][*]"})).await.expect_err("too deep");
    assert!(error.message.contains("no JSON"), "{error}");
}

#[tokio::test]
async fn redirects_are_followed_without_giving_headers_away() {
    let other = TestServer::start(vec![ok(GOOD)]).await;
    let location = format!("Location: {}\r\n", other.url);
    let server = TestServer::start(vec![
        answer("302 Found", "Location: /moved\r\n", b""),
        answer("307 Temporary Redirect", &location, b""),
    ])
    .await;
    let headers = json!({"headers": {"X-Api-Key": "s3cret"}});
    assert_eq!(fetch(&server.url, headers.clone()).await.expect("records").len(), 2);
    assert!(server.request(0).contains("s3cret") && server.request(1).contains("s3cret"));
    assert!(server.request(1).starts_with("GET /moved "));
    assert!(!other.request(0).contains("s3cret"), "the other host got the key");

    let moved = answer("302 Found", "Location: /bücher\r\n", b"");
    let beyond_ascii = TestServer::start(vec![moved, ok(GOOD)]).await;
    assert_eq!(fetch(&beyond_ascii.url, headers.clone()).await.expect("records").len(), 2);
    assert!(beyond_ascii.request(1).starts_with("GET /b%C3%BCcher "));

    let round = TestServer::start(vec![answer("302 Found", "Location: /again\r\n", b"")]).await;
    let error = fetch(&round.url, headers).await.expect_err("a circle");
    assert!(error.message.contains("redirects more than 10 times"), "{error}");
}

#[tokio::test]
async fn a_body_is_redirected_to_no_other_host() {
    let other = TestServer::start(vec![ok(GOOD)]).await;
    let elsewhere = format!("Location: {}\r\n", other.url);
    let body = json!({"body": {"token": "s3cret"}});
    for status in ["307 Temporary Redirect", "308 Permanent Redirect"] {
        let server = TestServer::start(vec![answer(status, &elsewhere, b"")]).await;
        let error = fetch(&server.url, body.clone()).await.expect_err("another host");
        assert!(error.message.contains("another host, which is not to get the `body`"), "{error}");
        assert_eq!((server.count(), other.count()), (1, 0), "{status}");
    }
    let moved = answer("307 Temporary Redirect", "Location: /moved\r\n", b"");
    let server = TestServer::start(vec![moved, ok(GOOD)]).await;
    fetch(&server.url, body.clone()).await.expect("records");
    assert!(server.request(1).starts_with("POST /moved ") && server.request(1).contains("s3cret"));
    // What is to be looked up elsewhere is asked for without it.
    let server = TestServer::start(vec![answer("303 See Other", &elsewhere, b"")]).await;
    fetch(&server.url, body).await.expect("records");
    assert!(other.request(0).starts_with("GET ") && !other.request(0).contains("s3cret"));
}

#[tokio::test]
async fn the_built_in_api_keeps_the_real_ones_rules() {
    let server = Server::start(0, Options::default()).await.expect("starts");
    let users = async |query: Value| {
        let more = json!({"query": query, "records": "$.results"});
        let records = fetch(&server.url(), more).await.expect("users");
        records.iter().map(|text| serde_json::from_str::<Value>(text).expect("a user")).collect::<Vec<_>>()
    };
    assert_eq!(users(json!({"results": 5000})).await.len(), 5000);
    for results in [0, 5001] {
        assert_eq!(users(json!({"results": results})).await.len(), 1);
    }
    let seeded = users(json!({"seed": "abc", "results": 20})).await;
    assert_eq!(seeded, users(json!({"seed": "abc", "results": 20})).await);
    assert_ne!(seeded, users(json!({"seed": "abc", "results": 20, "page": 2})).await);
    let ids = |users: &[Value]| users.iter().map(|user| user["login"]["uuid"].clone()).collect::<Vec<_>>();
    let first = |users: Vec<Value>| ids(&users[..1]);
    assert_eq!(first(seeded), first(users(json!({"seed": "abc", "nat": "no"})).await));
    assert!(
        users(json!({"results": 50, "gender": "female"})).await.iter().all(|user| user["gender"] == "female")
    );
    assert!(
        users(json!({"results": 50, "nat": "no"}))
            .await
            .iter()
            .all(|user| { user["location"]["postcode"].as_str().is_some_and(|code| code.starts_with('0')) })
    );
    let fields = users(json!({"inc": "email,nat"})).await;
    assert_eq!(fields[0].as_object().expect("a user").len(), 2);
    assert!(users(json!({"exc": "login"})).await[0].get("login").is_none());

    let strict = Server::start(0, Options { limit: 3, ..Options::default() }).await.expect("starts");
    let error = fetch(&strict.url(), json!({"query": {"results": 4}, "retries": 0})).await.expect_err("429");
    assert!(error.message.contains("429") && error.message.contains("cowboy"), "{error}");
    let failing = Server::start(0, Options { fail: 1.0, ..Options::default() }).await.expect("starts");
    let error = fetch(&failing.url(), json!({"retries": 0})).await.expect_err("503");
    assert!(error.message.contains("503"), "{error}");
}

/// Ends the process when the test does.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn https_trusts_the_certificates_it_is_told_to_and_no_others() {
    use std::process::{Command, Stdio};
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name).to_str().expect("UTF-8").to_owned();
    let config = "[req]\nprompt = no\ndistinguished_name = dn\nx509_extensions = leaf\n[dn]\nCN = localhost\n\
                  [leaf]\nbasicConstraints = critical,CA:FALSE\nsubjectAltName = DNS:localhost\n";
    std::fs::write(dir.path().join("config"), config).expect("writes");
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-config", &path("config")])
        .args(["-keyout", &path("key"), "-out", &path("cert")])
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        println!("SKIPPED: openssl is not installed, so HTTPS was not tried");
        return;
    }
    std::fs::write(dir.path().join("users"), GOOD).expect("writes");
    let port =
        TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address").port();
    let server = Command::new("openssl")
        .args([
            "s_server",
            "-accept",
            &format!("127.0.0.1:{port}"),
            "-key",
            &path("key"),
            "-cert",
            &path("cert"),
            "-WWW",
        ])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _server = Ended(server.expect("openssl runs"));
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        tokio::task::yield_now().await;
    }
    let url = format!("https://localhost:{port}/users");
    let trusted = fetch(&url, json!({"ca": path("cert"), "retries": 3})).await;
    assert_eq!(trusted.expect("records").len(), 2);
    let stranger = fetch(&url, json!({"retries": 0})).await.expect_err("not trusted");
    assert!(stranger.message.to_lowercase().contains("certificate"), "{stranger}");
    let missing = fetch(&url, json!({"ca": path("nothing")})).await.expect_err("no file");
    assert!(missing.message.contains("cannot use the certificates"), "{missing}");
}
