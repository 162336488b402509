//! The HTTP source page after page: who asks, where the next page is, what is new since last time.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::future::join_all;
use millstream_connectors::http::HttpKind;
use millstream_core::{Checkpoint, Commit, Cursors, Error, Result, RunValues, Scope, SourceKind};
use serde_json::{Value, json};
use support::{TestServer, answer, ok};

fn settings(url: &str, more: &Value) -> Value {
    let mut settings = json!({
        "http": url, "records": "$.items", "schema": "n INT", "timeout": "30s", "retries": 2,
    });
    settings.as_object_mut().expect("settings").extend(more.as_object().expect("settings").clone());
    settings
}

/// All records of a source that ends, in texts.
async fn all(url: &str, more: Value) -> Result<Vec<String>> {
    read(url, &more, &Scope::default()).await
}

async fn read(url: &str, more: &Value, scope: &Scope) -> Result<Vec<String>> {
    let settings = settings(url, more);
    HttpKind.plan(&settings)?;
    let mut source = HttpKind.open(&settings, scope).await?;
    let mut texts = Vec::new();
    while let Some(records) = source.next().await? {
        let values = records.iter().filter_map(|record| record.value);
        texts.extend(values.map(|value| String::from_utf8_lossy(value).into_owned()));
        source.commit(&Checkpoint::default(), Commit::Now).await?;
    }
    Ok(texts)
}

/// A parameter of a request's address.
fn param(request: &str, name: &str) -> Option<String> {
    let target = request.split_whitespace().nth(1)?;
    let url = url::Url::parse("http://host").ok()?.join(target).ok()?;
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn header(request: &str, name: &str) -> Option<String> {
    let lines = request.lines().skip(1).filter_map(|line| line.split_once(": "));
    lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
}

/// Seven records in pages of three, with the record numbers as they are.
fn page(from: usize) -> String {
    let items: Vec<_> = (from..7).take(3).map(|n| json!({"n": n})).collect();
    let next = if from + 3 < 7 { json!(format!("c{}", from + 3)) } else { Value::Null };
    json!({"items": items, "meta": {"next": next}}).to_string()
}

fn seven() -> Vec<String> {
    (0..7).map(|n| json!({"n": n}).to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_paging_gives_every_record_once_through_failures() {
    // At the same time, because each waits a few times.
    let kinds = [
        (json!({"page": 1, "param": "p"}), 4),
        (json!({"offset": 0, "step": 3, "param": "p"}), 4),
        (json!({"cursor": "$.meta.next", "param": "p"}), 3),
        (json!({"link": "header"}), 3),
    ];
    let each = kinds.map(|(paging, requests)| async move {
        let count = Arc::new(AtomicUsize::new(0));
        let by_page = paging.get("page").is_some();
        let server = TestServer::answering(move |request| {
            // Every second request goes wrong.
            if count.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
                return answer("503 Service Unavailable", "", b"");
            }
            let asked = param(request, "p").unwrap_or_default();
            let number: usize = asked.trim_start_matches('c').parse().unwrap_or(0);
            let from = if by_page { (number - 1) * 3 } else { number };
            let link = match from + 3 < 7 {
                true => format!("Link: </users?p={}>; rel=\"next\"\r\n", from + 3),
                false => String::new(),
            };
            answer("200 OK", &link, page(from).as_bytes())
        })
        .await;
        let records = all(&server.url, json!({"paging": paging})).await;
        assert_eq!(records.unwrap_or_else(|e| panic!("{paging}: {e}")), seven(), "{paging}");
        assert_eq!(server.count(), requests * 2 - 1, "{paging}");
    });
    join_all(each).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_beyond_ascii_is_followed() {
    let server = TestServer::answering(|request| match param(request, "q") {
        None => answer("200 OK", "Link: </users?q=bücher>; rel=next\r\n", page(3).as_bytes()),
        Some(_) => ok(&page(6)),
    })
    .await;
    let records = all(&server.url, json!({"paging": {"link": "header"}})).await.expect("records");
    assert_eq!(records, seven()[3..]);
    assert_eq!(param(&server.request(1), "q").as_deref(), Some("bücher"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_whose_elements_hold_no_record_is_not_the_last() {
    let server = TestServer::answering(|request| {
        let users = match param(request, "p").as_deref() {
            Some("1") => json!([{"id": 1, "orders": [{"n": 0}]}]),
            Some("2") => json!([{"id": 2, "orders": []}]),
            Some("3") => json!([{"id": 3}]),
            Some("4") => json!([{"id": 4, "orders": [{"n": 1}, {"n": 2}]}]),
            _ => json!([]),
        };
        ok(&json!({"users": users}).to_string())
    })
    .await;
    let more = json!({"records": "$.users[*].orders[*]", "paging": {"page": 1, "param": "p"}});
    assert_eq!(all(&server.url, more).await.expect("records"), seven()[..3]);
    assert_eq!(server.count(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_was_not_modified_is_not_the_last() {
    let server = TestServer::answering(|request| match param(request, "p").as_deref() {
        Some("2") => answer("304 Not Modified", "", b""),
        Some("3") => ok(&page(3)),
        _ => ok(&page(0)),
    })
    .await;
    let more = json!({
        "paging": {"page": 1, "param": "p"},
        "headers": {"If-Modified-Since": "Sun, 06 Nov 1994 08:49:37 GMT"},
    });
    let error = all(&server.url, more).await.expect_err("what is behind it is unknown");
    assert!(error.message.contains("page 2 is 304 Not Modified"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_not_the_last_page() {
    let server = TestServer::answering(|request| match param(request, "p").as_deref() {
        Some("1") => ok(&page(0)),
        _ => ok(r#"{"error": "rate limited"}"#),
    })
    .await;
    let more = json!({"records": "$.items[*]", "paging": {"page": 1, "param": "p"}, "retries": 0});
    let error = all(&server.url, more).await.expect_err("an error");
    assert!(error.message.contains("nothing at $.items"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn paging_that_does_not_end_is_an_error() {
    let same = TestServer::answering(|_| ok(&page(0))).await;
    let error = all(&same.url, json!({"paging": {"page": 1, "param": "p"}})).await.expect_err("the same");
    assert!(error.message.contains("does the API know the parameter `p`?"), "{error}");
    let error = all(&same.url, json!({"paging": {"cursor": "$.meta.next", "param": "p"}})).await;
    assert!(error.expect_err("a circle").message.contains("already read"));
    let count = AtomicUsize::new(0);
    let endless = TestServer::answering(move |_| {
        let n = count.fetch_add(1, Ordering::Relaxed);
        ok(&json!({"items": [{"n": n}], "meta": {"next": n + 1}}).to_string())
    })
    .await;
    let paging = json!({"paging": {"cursor": "$.meta.next", "param": "p"}, "max_pages": 5});
    let error = all(&endless.url, paging).await.expect_err("endless");
    assert!(error.message.contains("more than 5 pages"), "{error}");
    assert_eq!(endless.count(), 5);
    // What came before the end is handed on all the same.
    let settings =
        settings(&endless.url, &json!({"paging": {"cursor": "$.meta.next", "param": "p"}, "max_pages": 2}));
    let mut source = HttpKind.open(&settings, &Scope::default()).await.expect("opens");
    let mut pages = 0;
    while let Ok(Some(records)) = source.next().await {
        pages += records.len();
    }
    assert_eq!(pages, 2);
    let away = TestServer::answering(|_| {
        answer("200 OK", "Link: <http://evil.example/>; rel=next\r\n", page(0).as_bytes())
    })
    .await;
    let error = all(&away.url, json!({"paging": {"link": "header"}})).await.expect_err("another host");
    assert!(error.message.contains("another host"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_say_who_asks() {
    let server = TestServer::answering(|_| ok(&page(6))).await;
    for (auth, name, value) in [
        (json!({"bearer": "t0ken"}), "authorization", "Bearer t0ken"),
        (json!({"basic": {"user": "me", "password": "pass"}}), "authorization", "Basic bWU6cGFzcw=="),
        (json!({"header": {"name": "X-Api-Key", "value": "k3y"}}), "x-api-key", "k3y"),
    ] {
        all(&server.url, json!({"auth": auth})).await.expect("records");
        assert_eq!(header(&server.request(server.count() - 1), name).as_deref(), Some(value));
    }
    let auth = json!({"auth": {"query": {"name": "key", "value": "k&y"}}, "query": {"q": 1}});
    all(&server.url, auth).await.expect("records");
    assert_eq!(param(&server.request(3), "key").as_deref(), Some("k&y"));
    assert_eq!(param(&server.request(3), "q").as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_may_stand_in_the_address() {
    let server = TestServer::answering(|request| {
        let headers = request.lines().filter_map(|line| line.split_once(": "));
        let said = headers.filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        if said.map(|(_, value)| value).collect::<Vec<_>>() != ["Basic bWU6cEBzcw=="] {
            return answer("401 Unauthorized", "", b"who are you");
        }
        let from: usize = param(request, "p").map_or(0, |p| p.parse().expect("a number"));
        let next = format!("http://{}/users?p={}", header(request, "host").expect("a host"), from + 3);
        let items: Vec<_> = (from..7).take(3).map(|n| json!({"n": n})).collect();
        let (next, link) = match from + 3 < 7 {
            true => (json!(next), format!("Link: <{next}>; rel=next\r\n")),
            false => (Value::Null, String::new()),
        };
        answer("200 OK", &link, json!({"items": items, "next": next}).to_string().as_bytes())
    })
    .await;
    let named = |url: &str| url.replace("://", "://me:p%40ss@");
    for paging in [
        json!({"cursor": "$.next"}),
        json!({"link": "header"}),
        json!({"offset": 0, "step": 3, "param": "p"}),
    ] {
        let records = all(&named(&server.url), json!({"paging": paging})).await;
        assert_eq!(records.unwrap_or_else(|e| panic!("{paging}: {e}")), seven(), "{paging}");
    }

    let other = TestServer::start(vec![ok(&page(6))]).await;
    let elsewhere = format!("Location: {}\r\n", other.url);
    let moved = answer("302 Found", "Location: /moved\r\n", b"");
    let server = TestServer::start(vec![moved, answer("302 Found", &elsewhere, b"")]).await;
    all(&named(&server.url), json!({})).await.expect("records");
    let said = [server.request(0), server.request(1), other.request(0)];
    let said = said.each_ref().map(|request| header(request, "authorization").is_some());
    assert_eq!(said, [true, true, false]);

    let lost = TestServer::start(vec![answer("404 Not Found", "", b"")]).await;
    let error = all(&named(&lost.url), json!({})).await.expect_err("nothing there");
    assert!(error.message.contains(&format!("GET {}: ", lost.url)), "{error}");
    let error = HttpKind.plan(&settings("http://me:hunt/er22@host/", &json!({}))).expect_err("no address");
    assert!(error.message.contains("`http://***@host/` is no address"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth2_tokens_are_kept_renewed_and_explained() {
    let tokens = Arc::new(AtomicUsize::new(0));
    let given = tokens.clone();
    let token_server = TestServer::answering(move |request| {
        assert_eq!(header(request, "authorization").as_deref(), Some("Basic YSUzQWI6cw=="), "a:b encoded");
        assert!(request.contains("grant_type=client_credentials&scope=read+all"), "{request}");
        let n = given.fetch_add(1, Ordering::Relaxed) + 1;
        ok(&json!({"access_token": format!("t{n}"), "token_type": "bearer", "expires_in": 3600}).to_string())
    })
    .await;
    let first_is_stale = Arc::new(AtomicUsize::new(0));
    let server = TestServer::answering(move |request| {
        let from = param(request, "p").map_or(0, |p| p.trim_start_matches('c').parse().unwrap_or(0));
        match header(request, "authorization").as_deref() {
            // The first token ends after one page.
            Some("Bearer t1") if first_is_stale.fetch_add(1, Ordering::Relaxed) == 0 => ok(&page(from)),
            Some("Bearer t2") => ok(&page(from)),
            _ => answer("401 Unauthorized", "", b"who are you"),
        }
    })
    .await;
    let oauth2 = |url: &str| {
        json!({
            "auth": {"oauth2": {"token_url": url, "client_id": "a:b", "client_secret": "s", "scope": "read all"}},
            "paging": {"cursor": "$.meta.next", "param": "p"},
        })
    };
    assert_eq!(all(&server.url, oauth2(&token_server.url)).await.expect("records"), seven());
    assert_eq!(tokens.load(Ordering::Relaxed), 2);
    assert_eq!(server.count(), 4);

    let refusing = TestServer::start(vec![answer("401 Unauthorized", "", b"invalid_client")]).await;
    let error = all(&server.url, oauth2(&refusing.url)).await.expect_err("no token");
    assert!(error.message.contains("for a token") && error.message.contains("invalid_client"), "{error}");
    assert_eq!(refusing.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_server_may_say_anything_of_when_its_token_ends() {
    let server = TestServer::answering(|request| {
        assert_eq!(header(request, "authorization").as_deref(), Some("Bearer t"));
        ok(&page(6))
    })
    .await;
    for expires_in in [json!("3599"), json!(3599.5), json!(-1), json!(u64::MAX), json!(1e19), json!("soon")] {
        let token = json!({"access_token": "t", "expires_in": expires_in}).to_string();
        let tokens = TestServer::start(vec![ok(&token)]).await;
        let oauth2 = json!({"token_url": tokens.url, "client_id": "a", "client_secret": "b"});
        let records = all(&server.url, json!({"auth": {"oauth2": oauth2}})).await;
        assert_eq!(records.unwrap_or_else(|e| panic!("{expires_in}: {e}")).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_end_is_refused_before_it_fills_the_memory() {
    let token = json!({"access_token": "t".repeat(2 << 20)}).to_string();
    let tokens = TestServer::start(vec![ok(&token)]).await;
    let oauth2 = json!({"token_url": tokens.url, "client_id": "a", "client_secret": "b"});
    let error = all("http://127.0.0.1:9/", json!({"auth": {"oauth2": oauth2}})).await.expect_err("too large");
    assert!(error.message.contains("larger than 1 MiB"), "{error}");
    assert_eq!(tokens.count(), 1);
}

/// Cursors in memory, with what they held from one save to the next.
#[derive(Debug, Default)]
struct Remembered {
    saved: Mutex<Vec<String>>,
}

#[async_trait]
impl Cursors for Remembered {
    async fn load(&self, _: &Scope) -> Result<Option<String>> {
        Ok(self.saved.lock().expect("not poisoned").last().cloned())
    }

    async fn save(&self, _: &Scope, cursor: &str) -> Result<()> {
        self.saved.lock().expect("not poisoned").push(cursor.to_owned());
        Ok(())
    }

    async fn clear(&self, _: &Scope) -> Result<()> {
        self.saved.lock().expect("not poisoned").clear();
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cursor_moves_only_after_a_whole_round() {
    let broken = Arc::new(AtomicUsize::new(1));
    let is_broken = broken.clone();
    let server = TestServer::answering(move |request| {
        let since: usize = param(request, "since").expect("asked from").parse().expect("a number");
        // The newest first: after the first page alone, the cursor would skip the others.
        match param(request, "p").as_deref() {
            None => {
                let items: Vec<_> = (since..9).rev().take(2).map(|n| json!({"n": n})).collect();
                ok(&json!({"items": items, "next": "2"}).to_string())
            }
            Some(_) if is_broken.load(Ordering::Relaxed) == 1 => answer("404 Not Found", "", b"gone"),
            Some(_) => {
                let items: Vec<_> = (since..9).rev().skip(2).map(|n| json!({"n": n})).collect();
                ok(&json!({"items": items, "next": null}).to_string())
            }
        }
    })
    .await;
    let more = json!({
        "query": {"since": "{since}"}, "paging": {"cursor": "$.next", "param": "p"},
        "incremental": {"field": "$.n", "initial": 5},
    });
    let cursors = Arc::new(Remembered::default());
    let scope = Scope { cursors: Some(cursors.clone()), ..Scope::default() };
    read(&server.url, &more, &scope).await.expect_err("the second page is gone");
    assert!(cursors.saved.lock().expect("not poisoned").is_empty());
    broken.store(0, Ordering::Relaxed);
    let numbers = |texts: Vec<String>| texts.iter().map(|text| text[5..6].to_owned()).collect::<String>();
    assert_eq!(numbers(read(&server.url, &more, &scope).await.expect("records")), "8765");
    assert_eq!(*cursors.saved.lock().expect("not poisoned"), ["8"]);
    assert_eq!(numbers(read(&server.url, &more, &scope).await.expect("records")), "8");
    // Told to begin earlier once: the cursor does not go back.
    let run = RunValues { since: Some("7".into()), interval: None };
    let told = Scope { run, ..scope.clone() };
    assert_eq!(numbers(read(&server.url, &more, &told).await.expect("records")), "87");
    assert_eq!(*cursors.saved.lock().expect("not poisoned"), ["8"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_place_of_a_cursor_moves_nothing() {
    let items = json!([{"n": 7}]);
    let body = |next: &Value| json!({"items": items, "meta": {"next": next}}).to_string();
    let unreadable = r#"{"items": [{"n": 7, "s": "\ud800"}], "meta": {"next": "c"}}"#;
    for (answer, path, said) in [
        (body(&json!({"after": "x"})), "$.meta.next", r#"at $.meta.next, where the next page's cursor"#),
        (body(&json!(["x"])), "$.meta.next", "like $.meta.next[0]"),
        (body(&json!(true)), "$.meta.next", "another page and not which"),
        (unreadable.to_owned(), "$['meta']['next']", "no JSON"),
    ] {
        let server = TestServer::answering(move |_| ok(&answer)).await;
        let more = json!({
            "query": {"since": "{since}"}, "paging": {"cursor": path, "param": "p"},
            "incremental": {"field": "$.n", "initial": 5}, "retries": 0,
        });
        let cursors = Arc::new(Remembered::default());
        let scope = Scope { cursors: Some(cursors.clone()), ..Scope::default() };
        let error = read(&server.url, &more, &scope).await.expect_err(said);
        assert!(error.message.contains(said) && !error.is_passing(), "{error}");
        assert_eq!(server.count(), 1, "{said}");
        assert!(cursors.saved.lock().expect("not poisoned").is_empty(), "{said}");
    }
    for end in [json!(null), json!(false), json!("")] {
        let answer = body(&end);
        let server = TestServer::answering(move |_| ok(&answer)).await;
        let paging = json!({"paging": {"cursor": "$.meta.next", "param": "p"}});
        assert_eq!(all(&server.url, paging).await.expect("records").len(), 1, "{end}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_interval_of_a_run_reaches_the_request() {
    let server = TestServer::answering(|_| ok(&page(6))).await;
    let more = json!({
        "query": {"from": "{interval.start}"}, "headers": {"X-To": "{interval.end}"},
        "body": {"range": ["{interval.start}", "{interval.end}"], "n": 1},
    });
    let interval = ("2026-01-01T00:00:00+01:00".to_owned(), "2026-01-02".to_owned());
    let run = RunValues { interval: Some(interval), since: None };
    read(&server.url, &more, &Scope { run, ..Scope::default() }).await.expect("records");
    let request = server.request(0);
    assert!(request.starts_with("POST "), "{request}");
    assert_eq!(param(&request, "from").as_deref(), Some("2026-01-01T00:00:00+01:00"));
    assert_eq!(header(&request, "x-to").as_deref(), Some("2026-01-02"));
    assert!(request.ends_with(r#"{"range":["2026-01-01T00:00:00+01:00","2026-01-02"],"n":1}"#), "{request}");
    let plan = HttpKind.plan(&settings(&server.url, &more)).expect("a plan");
    assert!(plan.needs_interval);
    assert!(
        read(&server.url, &more, &Scope::default())
            .await
            .expect_err("no interval")
            .message
            .contains("interval")
    );
}

#[test]
fn settings_that_do_not_fit_together_are_refused() {
    for (more, said) in [
        (json!({"query": {"a": "{since}"}}), "nothing says what {since} is"),
        (json!({"query": {"a": "{sinze}"}}), "{sinze} is nothing that a run knows"),
        (json!({"incremental": {"field": "$.n", "initial": 1}}), "asks for everything"),
        (
            json!({"query": {"a": "{since}"}, "incremental": {"field": "$.n", "initial": 1, "overlap": "1m"}}),
            "`overlap` goes with times",
        ),
        (json!({"query": {"a": "{since}"}, "incremental": {"field": "n", "initial": 1}}), "is no JSONPath"),
        (json!({"query": {"p": 1}, "paging": {"page": 1, "param": "p"}}), "`p` is set by `paging`"),
        (json!({"paging": {"cursor": "next"}}), "is no JSONPath"),
        (json!({"max_response_mib": 4096}), "an answer has 4095 MiB at most"),
        (
            json!({"records": "$.x[?@.a == 1]", "paging": {"page": 1, "param": "p"}}),
            "of which the filter leaves nothing",
        ),
        (
            json!({"headers": {"Authorization": "x"}, "auth": {"bearer": "t"}}),
            "`Authorization` is set by `auth`",
        ),
        (
            json!({"http": "http://me:pass@localhost/", "auth": {"bearer": "t"}}),
            "the address says who asks, and `auth` says it, too",
        ),
        (
            json!({"http": "http://me:pass@localhost/", "headers": {"authorization": "x"}}),
            "`authorization` is set by `http`",
        ),
        (
            json!({"auth": {"oauth2": {"token_url": "x", "client_id": "a", "client_secret": "b"}}}),
            "is no address of an API",
        ),
    ] {
        let error: Error = HttpKind.plan(&settings("http://localhost/", &more)).expect_err(said);
        assert!(error.message.contains(said), "{said}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_asked_for_no_faster_than_allowed() {
    let server = TestServer::answering(|request| {
        let from = param(request, "p").map_or(0, |p| p.trim_start_matches('c').parse().unwrap_or(0));
        ok(&page(from))
    })
    .await;
    let began = std::time::Instant::now();
    let more = json!({"rate": "5/s", "paging": {"cursor": "$.meta.next", "param": "p"}});
    assert_eq!(all(&server.url, more).await.expect("records").len(), 7);
    // Three requests are two waits.
    assert!(began.elapsed().as_millis() >= 400, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_a_redirect_leads_to_count_too() {
    let moved = |to: &str| answer("302 Found", &format!("Location: {to}\r\n"), b"");
    let server = TestServer::start(vec![moved("/a"), moved("/b"), ok(&page(6))]).await;
    let began = std::time::Instant::now();
    all(&server.url, json!({"rate": "5/s"})).await.expect("records");
    // Three requests are two waits.
    assert!(began.elapsed().as_millis() >= 400, "{:?}", began.elapsed());
}
