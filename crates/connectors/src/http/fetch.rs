//! One answer, after as many requests as it takes: time-outs, retries, redirects, a size cap.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use millstream_core::{Arrivals, Error, Record, Records, Result, now_ms};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{
    HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LINK, LOCATION, RETRY_AFTER,
};
use reqwest::{Client, Response, StatusCode, Url};

use super::auth::{Authenticator, anonymous, is_trusted, without_user};
use super::paging::{Held, Page, Paging};
use super::placeholders::Values;
use super::rate::Limiter;
use super::records::Path;
use super::{HttpSettings, retry};

const REDIRECTS_MAX: usize = 10;
const USER_AGENT: &str = concat!("millstream/", env!("CARGO_PKG_VERSION"));

/// Why a request gave no records.
pub(super) struct Failure {
    message: String,
    /// Repeating it may help, …
    again: bool,
    /// … not before so long.
    after: Option<Duration>,
}

impl Failure {
    pub(super) fn passing(message: impl Into<String>) -> Self {
        Self { message: message.into(), again: true, after: None }
    }

    pub(super) fn lasting(message: impl Into<String>) -> Self {
        Self { message: message.into(), again: false, after: None }
    }

    /// No answer came; to a request that cannot even be built none ever will.
    pub(super) fn unanswered(message: impl Into<String>, error: &reqwest::Error) -> Self {
        Self { message: message.into(), again: !error.is_builder(), after: None }
    }
}

/// What an answer holds.
pub(super) struct Answer {
    pub(super) records: Records,
    pub(super) held: Held,
}

/// Reads and checks an address.
pub(super) fn parse_url(text: &str) -> Result<Url> {
    let wrong = |why: &str| {
        Error::user(format!("`{}` is no address of an API: {why}", without_user(text)))
            .help("write https://host/path")
    };
    let url = Url::parse(text).map_err(|e| wrong(&e.to_string()))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(wrong("it does not begin with http:// or https://")),
    }
}

/// The address without what may be secret in it.
pub(super) fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

/// One request with everything put in but who asks.
struct Request {
    url: Url,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
}

/// Fetches answers of one API.
pub(super) struct Fetcher {
    client: Client,
    auth: Authenticator,
    limiter: Limiter,
    records: Path,
    /// Where an answer says what the next page is.
    cursor: Option<Path>,
    arrivals: Arrivals,
    settings: HttpSettings,
}

impl Fetcher {
    pub(super) fn new(settings: HttpSettings) -> Result<Self> {
        let timeout = settings.timeout.0;
        let mut builder = Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(timeout)
            .read_timeout(timeout)
            // Redirects are followed here, so that headers stay with the host they are for.
            .redirect(reqwest::redirect::Policy::none());
        if let Some(path) = &settings.ca {
            builder = builder.tls_certs_merge(certificates(path)?);
        }
        let client = builder.build().map_err(|e| Error::ours(format!("no HTTP client: {e}")))?;
        let cursor = match &settings.paging {
            Some(Paging::Cursor(by)) => Some(Path::parse(&by.cursor, "cursor")?),
            _ => None,
        };
        Ok(Self {
            client,
            auth: Authenticator::new(settings.who_asks()?),
            limiter: Limiter::new(settings.rate),
            records: Path::parse(&settings.records, "records")?,
            cursor,
            arrivals: Arrivals::default(),
            settings,
        })
    }

    /// As [`Fetcher::new`], for answers that are taken whole.
    pub(super) fn whole(settings: HttpSettings) -> Result<Self> {
        Ok(Self { records: Path::whole(), ..Self::new(settings)? })
    }

    /// The address with `values` and the parameters put in.
    pub(super) fn url(&self, values: &Values) -> Result<Url> {
        let encode = |value: &str| utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
        let mut url = anonymous(parse_url(&values.fill(&self.settings.http, encode)?)?);
        if !self.settings.query.is_empty() {
            let mut pairs = url.query_pairs_mut();
            for (name, value) in &self.settings.query {
                pairs.append_pair(name, &values.fill(&value.to_string(), str::to_owned)?);
            }
        }
        Ok(url)
    }

    fn request(&self, page: &Page, values: &Values) -> Result<Request> {
        let mut url = match page {
            Page::At(url) => url.clone(),
            Page::Plain | Page::Param(..) => self.url(values)?,
        };
        if let Page::Param(name, value) = page {
            url.query_pairs_mut().append_pair(name, value);
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &self.settings.headers {
            let wrong = || Error::user(format!("`{name}` is no header, or its value is none")).at("headers");
            let value = values.fill(value, str::to_owned)?;
            let mut value = HeaderValue::from_str(&value).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?, value);
        }
        let body = match &self.settings.body {
            None => None,
            Some(body) => Some(values.fill_body(body)?.to_string().into_bytes()),
        };
        Ok(Request { url, headers, body })
    }

    /// A page's records, each as it stands there; their offsets go on from `offset`.
    pub(super) async fn fetch(&mut self, page: &Page, values: &Values, offset: i64) -> Result<Answer> {
        let request = self.request(page, values)?;
        let verb = if request.body.is_some() { "POST" } else { "GET" };
        let mut attempt = 0;
        loop {
            self.limiter.wait().await;
            let failure = match self.once(&request, offset).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let what = format!("{verb} {}: {}", shown(&request.url), failure.message);
            if !failure.again {
                return Err(Error::lasting(what));
            }
            if attempt >= self.settings.retries {
                let times = attempt + 1;
                return Err(Error::lasting(format!("{what} (tried {times} times)"))
                    .help("is the API well? `retries:` says how long it is tried"));
            }
            // `Retry-After: 0` is no leave to ask without a pause.
            let wait = retry::backoff(attempt, &mut rand::rng()).max(failure.after.unwrap_or_default());
            tracing::warn!("{what}; trying again in {:.1} s", wait.as_secs_f64());
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    async fn once(&mut self, request: &Request, offset: i64) -> Result<Answer, Failure> {
        self.auth.prepare(&self.client).await?;
        let mut response = self.follow(request).await?;
        if self.auth.refused(response.status()) {
            self.limiter.wait().await;
            self.auth.prepare(&self.client).await?;
            response = self.follow(request).await?;
        }
        let status = response.status();
        let is_nothing = says_nothing(status, &request.headers);
        if !status.is_success() && !is_nothing {
            return Err(self.refused(status, response).await);
        }
        let links = response.headers().get_all(LINK).iter().map(header_text).collect();
        let body = self.body(response).await?;
        // Bytes that are no UTF-8 are read as U+FFFD, as they would be by Spark.
        let text = String::from_utf8_lossy(&body);
        let found = match is_nothing {
            true => Vec::new(),
            false => self.records.select(&text).map_err(Failure::passing)?,
        };
        let bytes: usize = found.iter().map(|record| record.len()).sum();
        if bytes > Records::BYTES_MAX {
            return Err(Failure::lasting(
                "the records of an answer are more than 4 GiB; select less".to_owned(),
            ));
        }
        let cursor = match &self.cursor {
            Some(path) if !is_nothing => path.first(&text).map_err(Failure::passing)?.map(str::to_owned),
            _ => None,
        };
        let unselected = if found.is_empty() { self.records.unselected(&text) } else { None };
        let mut records = Records::default();
        let mut digest = DefaultHasher::new();
        unselected.hash(&mut digest);
        let came_ms = now_ms();
        for (offset, record) in (offset..).zip(&found) {
            record.hash(&mut digest);
            let timestamp = self.arrivals.timestamp(offset, came_ms);
            records.push(Record::of_value(record.as_bytes(), offset).at(timestamp));
        }
        let held = Held {
            is_empty: found.is_empty(),
            is_unselected: unselected.is_some(),
            is_unchanged: status == StatusCode::NOT_MODIFIED,
            digest: digest.finish(),
            cursor,
            links,
        };
        Ok(Answer { held, records })
    }

    /// Sends the request, and again to where the answer says.
    async fn follow(&mut self, request: &Request) -> Result<Response, Failure> {
        let mut url = request.url.clone();
        self.auth.sign_url(&mut url);
        let mut body = request.body.clone();
        for hop in 0..=REDIRECTS_MAX {
            if hop > 0 {
                self.limiter.wait().await;
            }
            let mut next = match &body {
                None => self.client.get(url.clone()),
                Some(body) => {
                    let post = self.client.post(url.clone()).body(body.clone());
                    post.header("Content-Type", "application/json")
                }
            };
            if is_trusted(&url, &request.url) {
                next = self.auth.sign(next.headers(request.headers.clone()));
            }
            // Everything but who asks has been checked before.
            let next = next.build().map_err(|e| {
                let why = reason(&e);
                Failure::lasting(format!("`auth` makes no header ({why}): has it a space or a line break?"))
            })?;
            let answered = self.client.execute(next).await;
            let response = answered.map_err(|e| Failure::unanswered(reason(&e), &e))?;
            if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED {
                return Ok(response);
            }
            let Some(location) = response.headers().get(LOCATION).map(header_text) else {
                return Ok(response);
            };
            let next = url.join(&location).map(anonymous).map_err(|_| {
                let location = without_user(&location);
                Failure::lasting(format!("redirects to `{location}`, which is no address"))
            })?;
            if !matches!(next.scheme(), "http" | "https")
                || (url.scheme() == "https" && next.scheme() == "http")
            {
                return Err(Failure::lasting(format!("redirects to {}, which is less safe", shown(&next))));
            }
            // Only these two say that the request stays what it is (RFC 9110, section 15.4).
            if !matches!(response.status().as_u16(), 307 | 308) {
                body = None;
            }
            if body.is_some() && !is_trusted(&next, &request.url) {
                return Err(Failure::lasting(format!(
                    "redirects to {}, another host, which is not to get the `body`; write that address as `http:` if \
                     it is meant",
                    shown(&next)
                )));
            }
            url = next;
        }
        Err(Failure::lasting(format!("redirects more than {REDIRECTS_MAX} times")))
    }

    async fn refused(&self, status: StatusCode, response: Response) -> Failure {
        let again = matches!(status.as_u16(), 408 | 429 | 500..=599);
        let after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| retry::retry_after(value.to_str().ok()?, SystemTime::now()));
        let excerpt = match self.body(response).await {
            Ok(body) => String::from_utf8_lossy(&body).trim().chars().take(120).collect(),
            Err(_) => String::new(),
        };
        let said = if excerpt.is_empty() { String::new() } else { format!(", it says {excerpt:?}") };
        Failure { message: format!("the server answers {status}{said}"), again, after }
    }

    async fn body(&self, response: Response) -> Result<Vec<u8>, Failure> {
        let mib = self.settings.max_response_mib;
        let body = read_body(response, mib).await;
        let body = body.map_err(|e| Failure::passing(format!("the answer breaks off: {}", reason(&e))))?;
        body.ok_or_else(|| {
            Failure::lasting(format!(
                "the answer is larger than {mib} MiB; ask for less at once, or raise max_response_mib"
            ))
        })
    }
}

/// Room that is made for what an answer says of its length. What is behind it has to come first.
const ANNOUNCED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The body of an answer; nothing where it is larger than `mib_max`.
pub(super) async fn read_body(response: Response, mib_max: u32) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let bytes_max = mib_max as usize * 1024 * 1024;
    let announced = response.content_length().unwrap_or(0).min(ANNOUNCED_BYTES_MAX) as usize;
    let mut body = Vec::with_capacity(announced.min(bytes_max));
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        if body.len() + chunk.len() > bytes_max {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// Whether an answer has no body because there are no records: nothing at all, or nothing new since what the headers of
/// the request name.
fn says_nothing(status: StatusCode, asked: &HeaderMap) -> bool {
    let is_conditional = asked.contains_key(IF_NONE_MATCH) || asked.contains_key(IF_MODIFIED_SINCE);
    status == StatusCode::NO_CONTENT || (status == StatusCode::NOT_MODIFIED && is_conditional)
}

/// A header's text. Addresses in it may have letters beyond ASCII, though they should not.
fn header_text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn certificates(path: &str) -> Result<Vec<reqwest::Certificate>> {
    let wrong = |why: String| Error::user(format!("cannot use the certificates in {path}: {why}")).at("ca");
    let pem = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
    let found = reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| wrong(reason(&e)))?;
    if found.is_empty() { Err(wrong("there is none in it".to_owned())) } else { Ok(found) }
}

/// The innermost cause, which says what really happened, without the address.
pub(super) fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
