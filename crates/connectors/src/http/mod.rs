//! An HTTP API as a source: one request, or one every so often, page after page, each answer's
//! records handed on as the bytes they are.

mod auth;
mod fetch;
mod incremental;
mod paging;
mod placeholders;
mod rate;
mod records;
mod retry;
mod source;

use std::collections::BTreeMap;

use async_trait::async_trait;
use millstream_core::settings::{self, Period, WhenEmpty};
use millstream_core::{Error, Result, Scope, Source, SourceKind, SourcePlan};
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use auth::{Auth, Basic, Credentials, NameAndSecret, Oauth2};
pub use incremental::Incremental;
pub use paging::{ByCursor, ByLink, ByOffset, ByPage, LinkPlace, Paging};
pub use rate::Rate;

/// Records out of the JSON that an API answers.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    /// The address, like `https://randomuser.me/api/`. Here, in parameters, headers and body,
    /// `{since}`, `{interval.start}` and `{interval.end}` stand for values of the run. A name and a
    /// password in it, `https://NAME:PASSWORD@host/`, are what `auth: { basic: … }` says.
    pub http: String,
    /// Who asks: `bearer`, `basic`, `header`, `query` or `oauth2`. Sent to no other host that an
    /// answer redirects to.
    #[serde(default)]
    pub auth: Option<Auth>,
    /// Parameters behind the `?`.
    #[serde(default)]
    pub query: BTreeMap<String, Parameter>,
    /// Headers of every request. Their values are secrets: they are shown nowhere, and not sent
    /// to another host that an answer redirects to.
    #[serde(default)]
    #[schemars(extend("x-secret" = true))]
    pub headers: BTreeMap<String, String>,
    /// What is sent along as JSON; the request is a POST then. Where an answer redirects it to another
    /// host (307, 308), that is an error: it may hold secrets.
    #[serde(default)]
    pub body: Option<Value>,
    /// Where the records are in an answer, as a JSONPath (RFC 9535), like `$.results`: where it
    /// selects one array, that array's elements. Default `$`, the whole answer.
    #[serde(default = "root")]
    pub records: String,
    /// How the answer is divided into pages; without it there is one.
    #[serde(default)]
    pub paging: Option<Paging>,
    /// More pages than this are a mistake of somebody's. Default 10000.
    #[serde(default = "ten_thousand")]
    #[schemars(range(min = 1))]
    pub max_pages: u64,
    /// Asks only for what is new since the last run.
    #[serde(default)]
    pub incremental: Option<Incremental>,
    /// At most so many requests in a second, a minute or an hour: `5/s`, `100/m`, `1000/h`; those that
    /// are repeated or redirected count, too. By default there is no limit.
    #[serde(default)]
    pub rate: Option<Rate>,
    /// What a record looks like, in Spark's DDL form: `id STRING, n INT`.
    pub schema: String,
    /// Asks again and again, so much time between the beginnings of two requests. Without it
    /// there is one request.
    #[serde(default)]
    pub every: Option<Period>,
    /// With `every`: how long after the first request another may begin; without it for ever.
    #[serde(default, rename = "for")]
    pub duration: Option<Period>,
    /// With `every`: at most so many requests.
    #[serde(default)]
    pub times: Option<u64>,
    /// How long connecting may take, and how long an answer may make no progress. Default 30s.
    #[serde(default = "thirty_seconds")]
    pub timeout: Period,
    /// How often a request that failed is repeated, after 0.5 s, 1 s, 2 s and so on up to 30 s, or
    /// when the server says (`Retry-After`), but 15 minutes later at most. Default 8.
    #[serde(default = "eight")]
    pub retries: u32,
    /// The largest answer that is taken, in MiB, 4095 at most. Default 64.
    #[serde(default = "sixty_four")]
    pub max_response_mib: u32,
    /// A file with certificates (PEM) to trust beside the system's.
    #[serde(default)]
    pub ca: Option<String>,
    /// What a run without a single record is: `fail` or `ok`. Default `fail`; where `incremental` it is `ok`.
    #[serde(default)]
    pub when_empty: WhenEmpty,
}

fn root() -> String {
    "$".to_owned()
}

fn thirty_seconds() -> Period {
    Period(std::time::Duration::from_secs(30))
}

fn eight() -> u32 {
    8
}

/// What a batch of records has room for.
const MAX_RESPONSE_MIB_MAX: u32 = 4095;

fn ten_thousand() -> u64 {
    10_000
}

fn sixty_four() -> u32 {
    64
}

/// A parameter's value: a text, a number or a boolean.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Parameter {
    /// `name: text`
    Text(String),
    /// `results: 10`
    Number(serde_json::Number),
    /// `full: true`
    Boolean(bool),
}

impl std::fmt::Display for Parameter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
            Self::Boolean(value) => value.fmt(f),
        }
    }
}

/// The kind `http`.
#[derive(Debug, Clone, Copy)]
pub struct HttpKind;

#[async_trait]
impl SourceKind for HttpKind {
    fn name(&self) -> &'static str {
        "http"
    }

    fn settings(&self) -> Schema {
        schema_for!(HttpSettings)
    }

    fn plan(&self, settings: &Value) -> Result<SourcePlan> {
        let settings: HttpSettings = settings::read(settings)?;
        let url = fetch::parse_url(&settings.http).map_err(|e| e.at("http"))?;
        settings.check()?;
        let used = settings.placeholders();
        Ok(SourcePlan {
            address: fetch::shown(&url),
            topic: None,
            schema: Some(settings.schema),
            nulls_ignored: false,
            empty_run_fails: settings.when_empty == WhenEmpty::Fail && settings.incremental.is_none(),
            is_dated: settings.incremental.is_some(),
            has_cursor: settings.incremental.is_some(),
            needs_interval: used.iter().any(|name| name.starts_with("interval.")),
            is_endless: settings.every.is_some() && settings.duration.is_none() && settings.times.is_none(),
        })
    }

    async fn open(&self, settings: &Value, scope: &Scope) -> Result<Box<dyn Source>> {
        Ok(Box::new(source::HttpSource::open(settings::read(settings)?, scope).await?))
    }
}

/// What an API answers, whole, for whoever has still to learn where its records are; null where it answers nothing.
pub async fn answer(settings: HttpSettings) -> Result<Value> {
    let values = placeholders::Values::default();
    let answer = fetch::Fetcher::whole(settings)?.fetch(&paging::Page::Plain, &values, 0).await?;
    let text = answer.records.iter().find_map(|record| record.value).unwrap_or(b"null");
    serde_json::from_slice(text).map_err(|e| Error::ours(format!("JSON that was read before: {e}")))
}

impl HttpSettings {
    /// Everything that the types alone do not say.
    fn check(&self) -> Result<()> {
        let records = records::Path::parse(&self.records, "records")?;
        if let (true, Some(Paging::Page(_) | Paging::Offset(_))) = (records.filters(), &self.paging) {
            return Err(Error::user(
                "a page of which the filter leaves nothing would look like the one behind the last",
            )
            .help("take the whole array here, and filter with WHERE in `sql`")
            .at("records"));
        }
        let alone = [("for", self.duration.is_some()), ("times", self.times.is_some())];
        if let Some((name, _)) = alone.into_iter().find(|(_, set)| *set && self.every.is_none()) {
            return Err(Error::user(format!("`{name}` bounds the requests of `every`, which is missing"))
                .help("write every: 1s")
                .at(name));
        }
        if self.max_response_mib > MAX_RESPONSE_MIB_MAX {
            return Err(Error::user(format!("an answer has {MAX_RESPONSE_MIB_MAX} MiB at most"))
                .help("ask for less at once, with `paging`")
                .at("max_response_mib"));
        }
        if let Some(Paging::Cursor(by)) = &self.paging {
            records::Path::parse(&by.cursor, "cursor").map_err(|e| e.at("paging"))?;
        }
        let param = match &self.paging {
            Some(Paging::Page(by)) => Some(&by.param),
            Some(Paging::Offset(by)) => Some(&by.param),
            Some(Paging::Cursor(by)) => by.param.as_ref(),
            Some(Paging::Link(_)) | None => None,
        };
        if let Some(param) = param.filter(|param| self.query.contains_key(*param)) {
            return Err(Error::user(format!("`{param}` is set by `paging` already"))
                .help("take it out of query")
                .at("query"));
        }
        self.check_auth()?;
        self.check_placeholders()
    }

    /// Who asks, as `auth` or the address itself says it.
    fn who_asks(&self) -> Result<Option<Auth>> {
        let url = fetch::parse_url(&self.http).map_err(|e| e.at("http"))?;
        match (self.auth.clone(), Auth::in_address(&url)) {
            (Some(_), Some(_)) => Err(Error::user("the address says who asks, and `auth` says it, too")
                .help("take the name and the password out of the address, or `auth` away")
                .at("auth")),
            (auth, in_address) => Ok(auth.or(in_address)),
        }
    }

    fn check_auth(&self) -> Result<()> {
        let Some(auth) = self.who_asks()? else { return Ok(()) };
        if let Auth::Oauth2(settings) = &auth {
            let place = |e: Error| e.at("token_url").at("oauth2").at("auth");
            fetch::parse_url(&settings.token_url).map_err(place)?;
        }
        let by = if self.auth.is_some() { "auth" } else { "http" };
        let taken = auth::header_name(&auth);
        match self.headers.keys().find(|name| taken.is_some_and(|taken| taken.eq_ignore_ascii_case(name))) {
            None => Ok(()),
            Some(name) => Err(Error::user(format!("the header `{name}` is set by `{by}` already"))
                .help("take one of them away")
                .at("headers")),
        }
    }

    fn check_placeholders(&self) -> Result<()> {
        for (place, text) in self.texts() {
            if let Some(name) = placeholders::unknown(&text).filter(|_| place != "body") {
                return Err(Error::user(format!("{{{name}}} is nothing that a run knows"))
                    .help("{since}, {interval.start} and {interval.end} are")
                    .at(place));
            }
        }
        let asks = self.placeholders().contains(&"since");
        match &self.incremental {
            None if asks => Err(Error::user("nothing says what {since} is")
                .help("write incremental: { field: $.updated_at, initial: \"2024-01-01T00:00:00Z\" }")
                .at("http")),
            Some(_) if !asks => Err(Error::user("`incremental` is set, but the request asks for everything")
                .help("write {since} where the API takes it, like query: { updated_after: \"{since}\" }")
                .at("incremental")),
            Some(incremental) => incremental::Watermark::new(incremental).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Every text that may hold a value of the run, and the setting that it stands in.
    fn texts(&self) -> Vec<(&'static str, String)> {
        let mut texts = vec![("http", self.http.clone())];
        texts.extend(self.query.values().map(|value| ("query", value.to_string())));
        texts.extend(self.headers.values().map(|value| ("headers", value.clone())));
        texts.extend(self.body.iter().map(|body| ("body", body.to_string())));
        texts
    }

    fn placeholders(&self) -> Vec<&'static str> {
        self.texts().iter().flat_map(|(_, text)| placeholders::used(text)).collect()
    }
}
