//! Who may see and change what: on loopback everybody on this machine, elsewhere who has the token. A page
//! of somebody else that is open in the same browser may nothing, not even on loopback.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use millstream_core::{Error, Result};
use parking_lot::Mutex;
use subtle::ConstantTimeEq;

use crate::api::Problem;
use crate::page::Failed;
use crate::serve::App;

/// The cookie that stands for the token in a browser.
const COOKIE: &str = "millstream";
/// Wrong tokens in a minute before who sent them may not try any more.
const WRONG_MAX: usize = 10;
const WRONG_WITHIN_S: u32 = 60;
/// Addresses of which wrong tokens are remembered.
const WRONG_ADDRESSES_MAX: usize = 1_000;
/// Changes in ten seconds.
const CHANGES_MAX: usize = 100;
const CHANGES_WITHIN_S: u32 = 10;
/// A token that is shorter can be guessed.
const TOKEN_CHARS_MIN: usize = 16;

/// The token, where one is asked for.
#[derive(Clone, Default)]
pub struct Access {
    /// None: everybody who reaches us may do everything, which only loopback allows.
    pub token: Option<String>,
}

impl Access {
    /// Whether it goes with the address.
    pub(crate) fn check(&self, listen: SocketAddr) -> Result<()> {
        match &self.token {
            None if !listen.ip().is_loopback() => Err(Error::user(format!(
                "{listen} can be reached from other machines, so the page needs a token"
            ))
            .help("set MILLSTREAM_TOKEN, or name a file with --token-file; or listen on 127.0.0.1")),
            Some(token) if token.len() < TOKEN_CHARS_MIN => {
                Err(Error::user(format!("the token has fewer than {TOKEN_CHARS_MIN} characters"))
                    .help("make one with: openssl rand -hex 32"))
            }
            Some(token) if !token.bytes().all(is_carried) => {
                Err(Error::user("the token has characters that not every header carries, or no cookie")
                    .help("write ASCII without blanks, quotes, commas, semicolons and backslashes"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether headers carry it as it is, those with cookies, too (RFC 6265, section 4.1.1).
fn is_carried(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\",;\\".contains(&byte)
}

/// An address as one writes it in a browser.
pub fn shown(address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(Ipv4Addr::LOCALHOST) => format!("localhost:{}", address.port()),
        _ => address.to_string(),
    }
}

/// Decides for each request.
pub(crate) struct Guard {
    access: Access,
    /// Where a browser on this machine finds us; others give their own names for us.
    address: SocketAddr,
    /// By address, so that who guesses locks out only himself.
    wrong: Mutex<HashMap<IpAddr, Wrong>>,
    /// Of those who are let in: whoever is not keeps nobody from changing anything.
    changes: Mutex<Recent>,
}

/// A token as it came.
#[derive(Clone, Copy)]
pub(crate) enum Given<'a> {
    /// From somebody, or a program.
    Token(&'a str),
    /// From a browser, by itself.
    Cookie(&'a str),
}

/// The wrong tokens of an address.
struct Wrong {
    recent: Recent,
    /// The last cookies among them, hashed. A forgotten tab sends the same one again and again, which is no guess:
    /// whoever guesses sends another one each time.
    cookies: VecDeque<u64>,
}

impl Wrong {
    fn new() -> Self {
        Self { recent: Recent::new(WRONG_WITHIN_S, WRONG_MAX), cookies: VecDeque::new() }
    }

    fn note(&mut self, now: Instant, cookie: Option<u64>) {
        self.recent.note(now);
        self.cookies.extend(cookie);
        if self.cookies.len() > WRONG_MAX {
            self.cookies.pop_front();
        }
    }
}

/// When something happened of late.
struct Recent {
    within: Duration,
    count_max: usize,
    moments: VecDeque<Instant>,
}

impl Recent {
    fn new(within_s: u32, count_max: usize) -> Self {
        Self { within: Duration::from_secs(within_s.into()), count_max, moments: VecDeque::new() }
    }

    fn is_too_much(&mut self, now: Instant) -> bool {
        while self.moments.front().is_some_and(|moment| now.duration_since(*moment) > self.within) {
            self.moments.pop_front();
        }
        self.moments.len() >= self.count_max
    }

    fn is_over(&self, now: Instant) -> bool {
        self.moments.back().is_none_or(|moment| now.duration_since(*moment) > self.within)
    }

    fn note(&mut self, now: Instant) {
        self.moments.push_back(now);
    }
}

impl Guard {
    pub(crate) fn new(access: Access, address: SocketAddr) -> Self {
        Self {
            access,
            address,
            wrong: Mutex::default(),
            changes: Mutex::new(Recent::new(CHANGES_WITHIN_S, CHANGES_MAX)),
        }
    }

    /// Whether the token is the right one; too many wrong ones from there are an answer of their own.
    pub(crate) fn try_token(&self, peer: IpAddr, given: Given<'_>) -> Result<bool, Problem> {
        let Some(token) = &self.access.token else { return Ok(true) };
        let now = Instant::now();
        let refused = |why| Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, why).retry_after(WRONG_WITHIN_S));
        let mut wrong = self.wrong.lock();
        if wrong.get_mut(&peer).is_some_and(|wrong| wrong.recent.is_too_much(now)) {
            return refused("too many wrong tokens");
        }
        let (Given::Token(text) | Given::Cookie(text)) = given;
        if bool::from(text.as_bytes().ct_eq(token.as_bytes())) {
            return Ok(true);
        }
        let cookie = matches!(given, Given::Cookie(_)).then(|| wrong.hasher().hash_one(text));
        let is_known = |wrong: &Wrong| cookie.is_some_and(|cookie| wrong.cookies.contains(&cookie));
        if wrong.get(&peer).is_some_and(is_known) {
            return Ok(false);
        }
        if wrong.len() >= WRONG_ADDRESSES_MAX && !wrong.contains_key(&peer) {
            wrong.retain(|_, wrong| !wrong.recent.is_over(now));
            if wrong.len() >= WRONG_ADDRESSES_MAX {
                return refused("too many wrong tokens, from all over");
            }
        }
        wrong.entry(peer).or_insert_with(Wrong::new).note(now, cookie);
        Ok(false)
    }

    /// Counts a change, where there are not too many of late.
    fn count_change(&self) -> Result<(), Problem> {
        let (mut changes, now) = (self.changes.lock(), Instant::now());
        if changes.is_too_much(now) {
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many changes");
            return Err(problem.retry_after(CHANGES_WITHIN_S));
        }
        changes.note(now);
        Ok(())
    }

    /// On loopback the names of loopback are ours, and the address itself: any other name is one that somebody else has
    /// pointed here.
    fn is_our_name(&self, host: &str) -> bool {
        if !self.address.ip().is_loopback() {
            return true;
        }
        let own = match self.address.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
            _ => (host, Some(80)),
        };
        (matches!(name, "localhost" | "127.0.0.1" | "[::1]") || name == own)
            && port == Some(self.address.port())
    }

    fn check(&self, peer: IpAddr, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(header::HOST).unwrap_or_default();
        if !self.is_our_name(host) {
            let problem =
                Problem::new(StatusCode::MISDIRECTED_REQUEST, "this is not the host that was asked for");
            return Err(problem.detail(format!("ask {}", shown(self.address))));
        }
        let is_change = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        if is_change {
            let site = text(HeaderName::from_static("sec-fetch-site"));
            // Browsers that send the first need not be asked for the second, which may be `null`.
            let is_ours = match (site, text(header::ORIGIN)) {
                (Some(site), _) => matches!(site, "same-origin" | "none"),
                (None, Some(origin)) => origin.split_once("://").map(|(_, name)| name) == Some(host),
                (None, None) => true,
            };
            if !is_ours {
                return Err(Problem::new(
                    StatusCode::FORBIDDEN,
                    "a page of another site may change nothing here",
                ));
            }
        }
        let bearer = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let given = bearer.map(Given::Token).or_else(|| cookie(headers).map(Given::Cookie));
        let is_let_in = match given {
            Some(given) => self.try_token(peer, given)?,
            None => self.access.token.is_none(),
        };
        if !is_let_in {
            return Err(Problem::new(StatusCode::UNAUTHORIZED, "a token is needed")
                .detail("send it as `Authorization: Bearer TOKEN`, or sign in on the page"));
        }
        if is_change { self.count_change() } else { Ok(()) }
    }
}

/// A cookie with which a browser need not ask again. Our own addresses are plain HTTP; a proxy that adds TLS
/// may add `Secure`.
pub(crate) fn set_cookie(token: &str) -> String {
    format!("{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/; Max-Age=604800")
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
    cookies.split(';').find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// To where the token is asked for. A cookie that was of no use is taken back; where there was none, a link from
/// another site may have kept the browser from sending the right one.
fn to_sign_in(headers: &HeaderMap) -> Response {
    let taken_back = format!("{COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
    let cookie = cookie(headers).map(|_| [(header::SET_COOKIE, taken_back)]);
    (cookie, Redirect::to("/sign-in")).into_response()
}

/// Lets through who may.
pub(crate) async fn guard(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let is_sign_in = path == "/sign-in";
    let is_page = !path.starts_with("/api") && path != "/metrics";
    let checked = app.guard.check(peer.ip(), request.method(), request.headers());
    let Err(problem) = checked else { return next.run(request).await };
    match problem.status() {
        // The form is there for everybody; the token that comes with it is looked at there.
        StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS if is_sign_in => next.run(request).await,
        StatusCode::UNAUTHORIZED if is_page => to_sign_in(request.headers()),
        _ if is_page => Failed::from(problem).into_response(),
        _ => problem.into_response(),
    }
}

/// What goes with every answer: nothing of it runs scripts but our own, nobody frames it.
pub(crate) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    );
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    // Without a referrer a form of ours would come from nowhere.
    set(header::REFERRER_POLICY, "same-origin");
    set(header::CACHE_CONTROL, "no-store");
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::house::House;
    use crate::serve::Server;

    fn guard(token: Option<&str>, address: &str) -> Guard {
        let access = Access { token: token.map(str::to_owned) };
        Guard::new(access, address.parse().expect("an address"))
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().expect("a name"), value.parse::<HeaderValue>().expect("a value"))
        };
        pairs.iter().map(pair).collect()
    }

    fn status(guard: &Guard, method: Method, pairs: &[(&str, &str)]) -> u16 {
        status_of(guard, "192.0.2.7", method, pairs)
    }

    fn status_of(guard: &Guard, peer: &str, method: Method, pairs: &[(&str, &str)]) -> u16 {
        let checked = guard.check(peer.parse().expect("an address"), &method, &headers(pairs));
        checked.map_or_else(|problem| problem.status().as_u16(), |()| 200)
    }

    #[test]
    fn on_loopback_only_names_of_loopback_are_ours() {
        let guard = guard(None, "127.0.0.1:7070");
        for (host, expected) in [
            ("localhost:7070", 200),
            ("127.0.0.1:7070", 200),
            ("[::1]:7070", 200),
            ("localhost:80", 421),
            ("localhost", 421),
            ("rebound.example:7070", 421),
            ("localhost.rebound.example:7070", 421),
        ] {
            assert_eq!(status(&guard, Method::GET, &[("host", host)]), expected, "{host}");
        }
        assert_eq!(status(&guard, Method::GET, &[]), 421);
    }

    #[test]
    fn another_address_of_loopback_goes_by_itself() {
        for (address, name) in
            [("127.0.0.1:7070", "localhost:7070"), ("127.0.0.2:80", "127.0.0.2:80"), ("[::1]:1", "[::1]:1")]
        {
            assert_eq!(shown(address.parse().expect("an address")), name);
            assert_eq!(status(&guard(None, address), Method::GET, &[("host", name)]), 200);
        }
    }

    #[test]
    fn another_site_changes_nothing() {
        let guard = guard(None, "127.0.0.1:7070");
        let host = ("host", "localhost:7070");
        let post =
            |more: &[(&'static str, &'static str)]| status(&guard, Method::POST, &[&[host], more].concat());
        assert_eq!(post(&[]), 200);
        assert_eq!(post(&[("sec-fetch-site", "same-origin"), ("origin", "http://localhost:7070")]), 200);
        assert_eq!(post(&[("sec-fetch-site", "same-origin"), ("origin", "null")]), 200);
        assert_eq!(post(&[("sec-fetch-site", "cross-site")]), 403);
        assert_eq!(post(&[("sec-fetch-site", "same-site")]), 403);
        assert_eq!(post(&[("origin", "http://localhost:9999")]), 403);
        assert_eq!(post(&[("origin", "null")]), 403);
    }

    #[test]
    fn elsewhere_the_token_is_asked_for_and_cannot_be_guessed_for_long() {
        let token = "0123456789abcdef0123";
        let guard = guard(Some(token), "192.0.2.1:7070");
        let get = |pairs: &[(&str, &str)]| status(&guard, Method::GET, pairs);
        let bearer = format!("Bearer {token}");
        assert_eq!(get(&[]), 401);
        assert_eq!(get(&[("authorization", &bearer)]), 200);
        assert_eq!(get(&[("cookie", &format!("other=1; millstream={token}"))]), 200);
        for _ in 0..WRONG_MAX {
            assert_eq!(get(&[("authorization", "Bearer no")]), 401);
        }
        assert_eq!(get(&[("authorization", "Bearer no")]), 429);
        // Not even the right one helps then: whoever guesses does not learn when it was right.
        assert_eq!(get(&[("authorization", &bearer)]), 429);
        // Others are not locked out by that.
        assert_eq!(status_of(&guard, "192.0.2.8", Method::GET, &[("authorization", &bearer)]), 200);
        for guesser in 0..WRONG_ADDRESSES_MAX {
            let peer = format!("198.51.{}.{}", guesser / 250, guesser % 250);
            status_of(&guard, &peer, Method::GET, &[("authorization", "Bearer no")]);
        }
        assert_eq!(status_of(&guard, "192.0.2.8", Method::GET, &[("authorization", "Bearer no")]), 429);
        assert_eq!(status_of(&guard, "192.0.2.8", Method::GET, &[("authorization", &bearer)]), 200);
    }

    #[test]
    fn a_forgotten_tab_locks_nobody_out_and_cookies_cannot_be_guessed() {
        let token = "0123456789abcdef0123";
        let guard = guard(Some(token), "192.0.2.1:7070");
        let get = |pairs: &[(&str, &str)]| status(&guard, Method::GET, pairs);
        for _ in 0..3 * WRONG_MAX {
            assert_eq!(get(&[("cookie", "millstream=of-yesterday")]), 401);
        }
        assert_eq!(get(&[("authorization", &format!("Bearer {token}"))]), 200);
        for guess in 1..WRONG_MAX {
            assert_eq!(get(&[("cookie", &format!("millstream=guess-{guess}"))]), 401);
        }
        assert_eq!(get(&[("cookie", &format!("millstream={token}"))]), 429);
    }

    #[test]
    fn who_has_no_token_keeps_nobody_from_changing_anything() {
        let token = "0123456789abcdef0123";
        let guard = guard(Some(token), "192.0.2.1:7070");
        let post = |pairs: &[(&str, &str)]| status(&guard, Method::POST, pairs);
        let bearer = format!("Bearer {token}");
        for _ in 0..2 * CHANGES_MAX {
            assert_eq!(post(&[]), 401);
        }
        for _ in 0..CHANGES_MAX {
            assert_eq!(post(&[("authorization", &bearer)]), 200);
        }
        assert_eq!(post(&[("authorization", &bearer)]), 429);
    }

    /// What is answered to a browser with these cookies, as it comes.
    async fn answer(server: &Server, path: &str, cookies: &str) -> String {
        let address = server.address();
        let mut stream = TcpStream::connect(address).await.expect("connects");
        let host = format!("Host: localhost:{}", address.port());
        let request =
            format!("GET {path} HTTP/1.1\r\n{host}\r\nCookie: {cookies}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("is answered");
        answer
    }

    #[tokio::test]
    async fn a_stale_cookie_is_taken_back_and_the_form_is_always_there() {
        let access = Access { token: Some("0123456789abcdef0123".into()) };
        let listen = "127.0.0.1:0".parse().expect("an address");
        let server = Server::start(listen, access, House::default()).await.expect("starts");
        let stale = answer(&server, "/", "millstream=of-yesterday").await;
        assert!(stale.starts_with("HTTP/1.1 303") && stale.contains("set-cookie: millstream=;"), "{stale}");
        // A link from another site may be why the right one is not there.
        let without = answer(&server, "/", "other=1").await;
        assert!(without.starts_with("HTTP/1.1 303") && !without.contains("set-cookie"), "{without}");
        for guess in 1..WRONG_MAX {
            answer(&server, "/", &format!("millstream=guess-{guess}")).await;
        }
        let locked_out = answer(&server, "/", "millstream=guess").await;
        assert!(locked_out.starts_with("HTTP/1.1 429"), "{locked_out}");
        let form = answer(&server, "/sign-in", "millstream=guess").await;
        assert!(form.starts_with("HTTP/1.1 200"), "{form}");
        server.stop().await;
    }

    #[test]
    fn an_address_for_others_needs_a_token_that_is_long_and_can_be_sent() {
        let check = |token: Option<&str>, address: &str| {
            Access { token: token.map(str::to_owned) }.check(address.parse().expect("an address")).is_ok()
        };
        assert!(check(None, "127.0.0.1:0") && check(None, "[::1]:0"));
        assert!(!check(None, "0.0.0.0:0") && !check(None, "192.0.2.1:7070"));
        assert!(check(Some("0123456789abcdef"), "0.0.0.0:0"));
        assert!(!check(Some("short"), "0.0.0.0:0"));
        for odd in [' ', '"', ',', ';', '\\', '\n', 'é'] {
            let token = format!("0123456789abcdef{odd}0");
            assert!(!check(Some(&token), "0.0.0.0:0") && !check(Some(&token), "127.0.0.1:0"), "{odd:?}");
        }
        assert!(check(Some("!#$%&'()*+-./09:<=>?@AZ[]^_`az{|}~"), "0.0.0.0:0"));
    }
}
