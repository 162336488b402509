//! One answer, after as many requests as it takes: time-outs, retries, redirects, a size cap.

use std::time::{Duration, SystemTime};

use futures::StreamExt;
use millstream_core::{Error, Result};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use serde_json_path::JsonPath;

use super::{HttpSettings, records, retry};

const REDIRECTS_MAX: usize = 10;
const USER_AGENT: &str = concat!("millstream/", env!("CARGO_PKG_VERSION"));

/// Why a request gave no records.
struct Failure {
    message: String,
    /// Repeating it may help, …
    again: bool,
    /// … not before so long.
    after: Option<Duration>,
}

impl Failure {
    fn passing(message: impl Into<String>) -> Self {
        Self { message: message.into(), again: true, after: None }
    }

    fn lasting(message: impl Into<String>) -> Self {
        Self { message: message.into(), again: false, after: None }
    }
}

/// Reads and checks the address, with its parameters.
pub(super) fn parse_url(settings: &HttpSettings) -> Result<Url> {
    let wrong = |why: &str| {
        Error::user(format!("`{}` is no address of an API: {why}", settings.http))
            .help("write https://host/path")
            .at("http")
    };
    let mut url = Url::parse(&settings.http).map_err(|e| wrong(&e.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it does not begin with http:// or https://"));
    }
    if !settings.query.is_empty() {
        let mut pairs = url.query_pairs_mut();
        for (name, value) in &settings.query {
            pairs.append_pair(name, &value.to_string());
        }
    }
    Ok(url)
}

/// The address without what may be secret in it.
pub(super) fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

/// Fetches answers of one API.
pub(super) struct Fetcher {
    client: Client,
    url: Url,
    headers: HeaderMap,
    path: JsonPath,
    settings: HttpSettings,
}

impl Fetcher {
    pub(super) fn new(settings: HttpSettings) -> Result<Self> {
        let url = parse_url(&settings)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &settings.headers {
            let wrong = || Error::user(format!("`{name}` is no header, or its value is none")).at("headers");
            let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?, value);
        }
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
        let path = records::parse_path(&settings.records)?;
        Ok(Self { client, url, headers, path, settings })
    }

    /// The records of one answer, each as it stands there.
    pub(super) async fn fetch(&self) -> Result<Vec<Vec<u8>>> {
        let mut attempt = 0;
        loop {
            let failure = match self.once().await {
                Ok(records) => return Ok(records),
                Err(failure) => failure,
            };
            let what = format!("GET {}: {}", shown(&self.url), failure.message);
            if !failure.again {
                return Err(Error::lasting(what));
            }
            if attempt >= self.settings.retries {
                let times = attempt + 1;
                return Err(Error::lasting(format!("{what} (tried {times} times)"))
                    .help("is the API well? `retries:` says how long it is tried"));
            }
            let wait = failure.after.unwrap_or_else(|| retry::backoff(attempt, &mut rand::rng()));
            tracing::warn!("{what}; trying again in {:.1} s", wait.as_secs_f64());
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    async fn once(&self) -> Result<Vec<Vec<u8>>, Failure> {
        let response = self.follow().await?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.refused(status, response).await);
        }
        let body = self.body(response).await?;
        // Bytes that are no UTF-8 are read as U+FFFD, as they would be by Spark.
        let text = String::from_utf8_lossy(&body);
        let found = records::select(&text, &self.path, &self.settings.records).map_err(Failure::passing)?;
        Ok(found.into_iter().map(|record| record.as_bytes().to_vec()).collect())
    }

    /// Sends the request, and again to where the answer says.
    async fn follow(&self) -> Result<Response, Failure> {
        let mut url = self.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let mut request = self.client.get(url.clone());
            if url.origin() == self.url.origin() {
                request = request.headers(self.headers.clone());
            }
            let response = request.send().await.map_err(|e| Failure::passing(reason(&e)))?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let Some(location) = response.headers().get(LOCATION).and_then(|value| value.to_str().ok())
            else {
                return Ok(response);
            };
            let next = url
                .join(location)
                .map_err(|_| Failure::lasting(format!("redirects to `{location}`, which is no address")))?;
            if !matches!(next.scheme(), "http" | "https")
                || (url.scheme() == "https" && next.scheme() == "http")
            {
                return Err(Failure::lasting(format!("redirects to {}, which is less safe", shown(&next))));
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
        let limit = self.settings.max_response_mib as usize * 1024 * 1024;
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk =
                chunk.map_err(|e| Failure::passing(format!("the answer breaks off: {}", reason(&e))))?;
            if body.len() + chunk.len() > limit {
                let mib = self.settings.max_response_mib;
                return Err(Failure::lasting(format!(
                    "the answer is larger than {mib} MiB; ask for less at once, or raise max_response_mib"
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

fn certificates(path: &str) -> Result<Vec<reqwest::Certificate>> {
    let wrong = |why: String| Error::user(format!("cannot use the certificates in {path}: {why}")).at("ca");
    let pem = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
    let found = reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| wrong(reason(&e)))?;
    if found.is_empty() { Err(wrong("there is none in it".to_owned())) } else { Ok(found) }
}

/// The innermost cause, which says what really happened, without the address.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
