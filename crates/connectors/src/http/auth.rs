//! How a request says who asks. Tokens of OAuth2 are fetched, kept and renewed here; nothing of
//! it is sent to another host than the API's.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::header::AUTHORIZATION;
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use super::fetch::{Failure, read_body, reason};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Auth {
    /// A token: `Authorization: Bearer …`.
    #[schemars(extend("x-secret" = true))]
    Bearer(String),
    /// A name and a password.
    Basic(Basic),
    /// A header with a secret, as API keys often are.
    Header(NameAndSecret),
    /// A parameter with a secret behind the `?`.
    Query(NameAndSecret),
    /// OAuth2 with client credentials: a token is fetched, and renewed before it ends or when the
    /// API no longer takes it.
    Oauth2(Oauth2),
}

/// A name and a password.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    /// The name.
    pub user: String,
    /// The password.
    #[schemars(extend("x-secret" = true))]
    pub password: String,
}

/// Where a secret goes, and the secret.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NameAndSecret {
    /// The name of the header or parameter, like `X-Api-Key`.
    pub name: String,
    /// The secret.
    #[schemars(extend("x-secret" = true))]
    pub value: String,
}

/// OAuth2 with client credentials (RFC 6749, section 4.4).
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Oauth2 {
    /// Where tokens are given out.
    pub token_url: String,
    /// Who asks for one.
    pub client_id: String,
    /// The secret that goes with it.
    #[schemars(extend("x-secret" = true))]
    pub client_secret: String,
    /// What the token is to allow, words with spaces between.
    #[serde(default)]
    pub scope: Option<String>,
    /// Where name and secret are sent: in the `header` (Basic), or in the `body`, which some
    /// servers want. Default `header`.
    #[serde(default)]
    pub credentials: Credentials,
}

/// Where name and secret of a client are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Credentials {
    /// `Authorization: Basic …`, which every server takes.
    #[default]
    Header,
    /// `client_id=…&client_secret=…`.
    Body,
}

impl Auth {
    /// What an address says itself: `https://name:password@host/`.
    pub(super) fn in_address(url: &Url) -> Option<Self> {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (user, password) = (decoded(url.username()), decoded(url.password().unwrap_or_default()));
        (!user.is_empty() || !password.is_empty()).then_some(Self::Basic(Basic { user, password }))
    }
}

/// The address without a name and a password: an [`Authenticator`] says to whom they are told.
pub(super) fn anonymous(mut url: Url) -> Url {
    // An address of HTTP has a host, and so a place for both.
    url.set_username("").ok();
    url.set_password(None).ok();
    url
}

/// What may be no address at all, without the name and the password that stand in it.
pub(super) fn without_user(text: &str) -> String {
    let Some((before, host)) = text.rsplit_once('@') else { return text.to_owned() };
    match before.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://***@{host}"),
        None => format!("***@{host}"),
    }
}

/// A token is renewed so long before it ends.
const RENEW_BEFORE: Duration = Duration::from_secs(30);
/// No token is larger.
const TOKEN_MIB_MAX: u32 = 1;

/// A token and when to renew it.
struct Token {
    text: String,
    renew_at: Option<Instant>,
}

/// Adds to requests who asks.
pub(super) struct Authenticator {
    auth: Option<Auth>,
    token: Option<Token>,
}

impl Authenticator {
    pub(super) fn new(auth: Option<Auth>) -> Self {
        Self { auth, token: None }
    }

    /// Adds the parameter that is a secret, in the place of one of its name: an API may repeat it in the address of its
    /// next page.
    pub(super) fn sign_url(&self, url: &mut Url) {
        let Some(Auth::Query(secret)) = &self.auth else { return };
        if url.query_pairs().any(|(name, _)| name == secret.name) {
            let others: Vec<_> = url
                .query_pairs()
                .filter(|(name, _)| *name != secret.name)
                .map(|(n, v)| (n.into_owned(), v.into_owned()))
                .collect();
            url.query_pairs_mut().clear().extend_pairs(others);
        }
        url.query_pairs_mut().append_pair(&secret.name, &secret.value);
    }

    /// Adds the header that is a secret.
    pub(super) fn sign(&self, request: RequestBuilder) -> RequestBuilder {
        match (&self.auth, &self.token) {
            (Some(Auth::Bearer(token)), _) => request.bearer_auth(token),
            (Some(Auth::Basic(basic)), _) => request.basic_auth(&basic.user, Some(&basic.password)),
            (Some(Auth::Header(secret)), _) => request.header(&secret.name, &secret.value),
            (Some(Auth::Oauth2(_)), Some(token)) => request.bearer_auth(&token.text),
            (Some(Auth::Query(_) | Auth::Oauth2(_)) | None, _) => request,
        }
    }

    /// Fetches a token where one is needed and there is none that is good for a while.
    pub(super) async fn prepare(&mut self, client: &Client) -> Result<(), Failure> {
        let Some(Auth::Oauth2(settings)) = &self.auth else { return Ok(()) };
        let is_good =
            self.token.as_ref().is_some_and(|token| token.renew_at.is_none_or(|at| Instant::now() < at));
        if !is_good {
            self.token = Some(fetch_token(client, settings).await?);
        }
        Ok(())
    }

    /// The API did not take it; true when another try with a new token is worth it.
    pub(super) fn refused(&mut self, status: StatusCode) -> bool {
        status == StatusCode::UNAUTHORIZED
            && matches!(self.auth, Some(Auth::Oauth2(_)))
            && self.token.take().is_some()
    }
}

/// What a token server answers (RFC 6749, section 5.1).
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    /// Seconds, which some servers write as a text.
    #[serde(default)]
    expires_in: Value,
}

impl TokenAnswer {
    /// How long the token is good, where that can be made sense of; otherwise until the API no longer takes it.
    fn lifetime(&self) -> Option<Duration> {
        let seconds = match &self.expires_in {
            Value::Number(number) => number.as_f64()?,
            Value::String(text) => text.trim().parse().ok()?,
            _ => return None,
        };
        Duration::try_from_secs_f64(seconds).ok().filter(|whole| !whole.is_zero())
    }
}

/// A request for a token (RFC 6749, section 4.4.2).
fn token_request(client: &Client, settings: &Oauth2) -> RequestBuilder {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    if let Some(scope) = &settings.scope {
        form.append_pair("scope", scope);
    }
    let mut request = client.post(&settings.token_url);
    match settings.credentials {
        Credentials::Header => {
            // Both are encoded as in a form before they are put together (section 2.3.1).
            let encoded =
                |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            request =
                request.basic_auth(encoded(&settings.client_id), Some(encoded(&settings.client_secret)));
        }
        Credentials::Body => {
            form.append_pair("client_id", &settings.client_id);
            form.append_pair("client_secret", &settings.client_secret);
        }
    }
    request.header("Content-Type", "application/x-www-form-urlencoded").body(form.finish())
}

async fn fetch_token(client: &Client, settings: &Oauth2) -> Result<Token, Failure> {
    let asked = Instant::now();
    let what = |why: String| format!("asking {} for a token: {why}", without_user(&settings.token_url));
    let failed = |e: reqwest::Error| Failure::unanswered(what(reason(&e)), &e);
    let response = token_request(client, settings).send().await.map_err(failed)?;
    let status = response.status();
    let body = read_body(response, TOKEN_MIB_MAX).await.map_err(failed)?;
    if !status.is_success() {
        let body = body.unwrap_or_default();
        let excerpt: String = String::from_utf8_lossy(&body).trim().chars().take(120).collect();
        let message = what(format!("the server answers {status}, it says {excerpt:?}"));
        let again = matches!(status.as_u16(), 408 | 429 | 500..=599);
        return Err(if again { Failure::passing(message) } else { Failure::lasting(message) });
    }
    let body = body.ok_or_else(|| {
        Failure::lasting(what(format!("the answer is larger than {TOKEN_MIB_MAX} MiB, as no token is")))
    })?;
    let answer: TokenAnswer = serde_json::from_slice(&body)
        .map_err(|_| Failure::passing(what("there is no access_token in the answer".to_owned())))?;
    let renew_after = answer.lifetime().map(|whole| whole.saturating_sub(RENEW_BEFORE.min(whole / 10)));
    let renew_at = renew_after.and_then(|after| asked.checked_add(after));
    Ok(Token { text: answer.access_token, renew_at })
}

/// Whether `url` may be told what is for `api`: it is the same host and port, or the same host over HTTPS instead of
/// HTTP, each on its usual port. Never the other way round, which everybody on the way could read.
pub(super) fn is_trusted(url: &Url, api: &Url) -> bool {
    let is_safer = (api.scheme(), url.scheme()) == ("http", "https");
    let is_same_host = api.host() == url.host() && api.port().is_none() && url.port().is_none();
    url.origin() == api.origin() || (is_safer && is_same_host)
}

/// The name of the header that a credential goes into, which `headers:` must not set too.
pub(super) fn header_name(auth: &Auth) -> Option<&str> {
    match auth {
        Auth::Bearer(_) | Auth::Basic(_) | Auth::Oauth2(_) => Some(AUTHORIZATION.as_str()),
        Auth::Header(secret) => Some(&secret.name),
        Auth::Query(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn how_long_a_token_is_good_is_read_in_every_form_or_not_at_all() {
        for (expires_in, seconds) in [
            (json!(3600), Some(3600.0)),
            (json!(3599.5), Some(3599.5)),
            (json!(" 3599 "), Some(3599.0)),
            (json!(0), None),
            (json!(-1), None),
            (json!(1e300), None),
            (json!("inf"), None),
            (json!("soon"), None),
            (json!([3600]), None),
            (Value::Null, None),
        ] {
            let answer = TokenAnswer { access_token: "t".into(), expires_in: expires_in.clone() };
            assert_eq!(answer.lifetime(), seconds.map(Duration::from_secs_f64), "{expires_in}");
        }
        let silent: TokenAnswer = serde_json::from_value(json!({"access_token": "t"})).expect("an answer");
        assert_eq!(silent.lifetime(), None);
    }

    #[test]
    fn an_address_may_say_who_asks() {
        for (address, found) in [
            ("https://me:p%40ss@api.example/a", Some(("me", "p@ss"))),
            ("https://t0ken@api.example/a", Some(("t0ken", ""))),
            ("https://:pass@api.example/a", Some(("", "pass"))),
            ("https://api.example/a:b@c", None),
        ] {
            let url = Url::parse(address).expect(address);
            let basic = |(user, password): (&str, &str)| {
                Auth::Basic(Basic { user: user.to_owned(), password: password.to_owned() })
            };
            assert_eq!(Auth::in_address(&url), found.map(basic), "{address}");
            assert_eq!(Auth::in_address(&anonymous(url)), None, "{address}");
        }
        for (text, shown) in [
            ("https://me:pa/ss?@api.example/a", "https://***@api.example/a"),
            ("me:p@ss@api.example", "***@api.example"),
            ("https://api.example/a", "https://api.example/a"),
        ] {
            assert_eq!(without_user(text), shown);
        }
    }

    #[test]
    fn secrets_go_to_the_api_or_to_the_same_host_over_https() {
        for (api, url, trusted) in [
            ("http://api.example/a", "http://api.example/b", true),
            ("http://api.example/a", "https://api.example/b", true),
            ("https://api.example/a", "http://api.example/a", false),
            ("http://api.example/a", "https://other.example/a", false),
            ("http://api.example:8080/a", "https://api.example/a", false),
            ("http://api.example/a", "https://api.example:8443/a", false),
            ("http://api.example/a", "http://api.example:8080/a", false),
        ] {
            let parsed = |text: &str| Url::parse(text).expect(text);
            assert_eq!(is_trusted(&parsed(url), &parsed(api)), trusted, "{api} {url}");
        }
    }
}
