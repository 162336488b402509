//! From one page to the next. Only the decision is here, no request: it is told what a page held
//! and says where the next one is, and it never goes in a circle.

use std::collections::HashSet;

use reqwest::Url;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::auth::{anonymous, is_trusted, without_user};

/// How an API divides its answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Paging {
    /// `{ page: 1, param: page }`: pages are numbered; the first one that is empty ends it.
    Page(ByPage),
    /// `{ offset: 0, step: 100, param: offset }`: pages begin at a record; the first one that is
    /// empty ends it.
    Offset(ByOffset),
    /// `{ cursor: $.meta.next, param: page_token }`: each answer says where the next page begins.
    Cursor(ByCursor),
    /// `{ link: header }`: the header `Link` with `rel="next"` (RFC 8288) names the next page.
    Link(ByLink),
}

/// Numbered pages.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByPage {
    /// The number of the first page.
    pub page: u64,
    /// The parameter for the number.
    pub param: String,
}

/// Pages that begin at a record.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByOffset {
    /// The offset of the first record.
    pub offset: u64,
    /// Records from one page to the next.
    #[schemars(range(min = 1))]
    pub step: u64,
    /// The parameter for the offset.
    pub param: String,
}

/// Each answer says where the next page begins.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByCursor {
    /// Where in an answer it stands, as a JSONPath: a text or a number; nothing, null, false or an empty
    /// text there is the end.
    pub cursor: String,
    /// The parameter for it; without one the cursor is the next page's address.
    #[serde(default)]
    pub param: Option<String>,
}

/// The header names the next page.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByLink {
    /// Where the link is: `header`.
    pub link: LinkPlace,
}

/// Where a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LinkPlace {
    /// In the header `Link`.
    Header,
}

/// A page to ask for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Page {
    /// The address as it is set up.
    Plain,
    /// With this parameter beside it.
    Param(String, String),
    /// At this address, which an answer gave.
    At(Url),
}

/// What comes after a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// This one.
    Page(Page),
    /// Nothing: it was the last.
    End,
    /// There is more, but no way to it that is taken.
    Nowhere(String),
}

/// What a page held, as far as the way to the next one depends on it.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    /// There is no record in it, as in the page behind the last one.
    pub(super) is_empty: bool,
    /// The list that it holds has elements, of which no record is made.
    pub(super) is_unselected: bool,
    /// All that is said of it is that it is as it was.
    pub(super) is_unchanged: bool,
    /// Equal for equal records.
    pub(super) digest: u64,
    /// What stands at the cursor's path, as JSON.
    pub(super) cursor: Option<String>,
    /// The headers `Link`.
    pub(super) links: Vec<String>,
}

/// The pages of one answer, one after another.
#[derive(Debug, Clone)]
pub(super) struct Pager {
    paging: Option<Paging>,
    pages_max: u64,
    /// Where the page came from that is current, which links are relative to.
    base: Url,
    pages: u64,
    seen: HashSet<Page>,
    /// Of the first page and of the last one.
    digests: Option<(u64, u64)>,
}

impl Pager {
    pub(super) fn new(paging: Option<Paging>, pages_max: u64, base: Url) -> Self {
        Self { paging, pages_max, base, pages: 0, seen: HashSet::new(), digests: None }
    }

    /// The first page.
    pub(super) fn first(&mut self) -> Page {
        let page = match &self.paging {
            Some(Paging::Page(by)) => Page::Param(by.param.clone(), by.page.to_string()),
            Some(Paging::Offset(by)) => Page::Param(by.param.clone(), by.offset.to_string()),
            Some(Paging::Cursor(_) | Paging::Link(_)) | None => Page::Plain,
        };
        self.seen.insert(page.clone());
        page
    }

    /// What comes after a page that held this. An error says that the page repeats one before it, so
    /// that it counts for nothing.
    pub(super) fn after(&mut self, held: &Held) -> Result<Next, String> {
        self.pages += 1;
        let next = match &self.paging.clone() {
            None => None,
            Some(Paging::Page(by)) => self.numbered(held, &by.param, by.page, 1)?,
            Some(Paging::Offset(by)) => self.numbered(held, &by.param, by.offset, by.step)?,
            Some(Paging::Cursor(by)) => {
                let cursor = held.cursor.as_deref().map_or(Ok(None), |json| cursor_in(json, &by.cursor));
                cursor.transpose().map(|cursor| match (&by.param, cursor?) {
                    (Some(param), cursor) => Ok(Page::Param(param.clone(), cursor)),
                    (None, cursor) => self.joined(&cursor),
                })
            }
            Some(Paging::Link(_)) => {
                let target = held.links.iter().find_map(|link| next_link(link));
                target.map(|target| self.joined(&target))
            }
        };
        Ok(match next.map(|next| next.and_then(|page| self.enter(page))) {
            None if held.is_unchanged && self.pages > 1 => Next::Nowhere(format!(
                "page {} is 304 Not Modified, which does not say whether there is another one behind it; take the \
                 header away that asks for it",
                self.pages
            )),
            None => Next::End,
            Some(Ok(page)) => Next::Page(page),
            Some(Err(why)) => Next::Nowhere(why),
        })
    }

    /// Goes on to a page that was not read before.
    fn enter(&mut self, page: Page) -> Result<Page, String> {
        if self.pages >= self.pages_max {
            let pages_max = self.pages_max;
            return Err(format!("there are more than {pages_max} pages; raise max_pages if they are meant"));
        }
        if !self.seen.insert(page.clone()) {
            return Err(format!("page {} leads back to a page that was already read", self.pages));
        }
        if let Page::At(url) = &page {
            self.base = url.clone();
        }
        Ok(page)
    }

    fn numbered(
        &mut self,
        held: &Held,
        param: &str,
        first: u64,
        step: u64,
    ) -> Result<Option<Result<Page, String>>, String> {
        let is_repeated = self.digests.is_some_and(|(_, last)| held.digest == last);
        // Where lists go on without a record, like users without orders, the one that comes twice is the end.
        if held.is_empty && (!held.is_unselected || is_repeated) {
            return Ok(None);
        }
        // Some APIs answer the first, or the last, page to every number that they do not have.
        if !held.is_empty
            && let Some((first, last)) = self.digests
            && (held.digest == first || held.digest == last)
        {
            return Err(format!(
                "page {} holds the same records as one before: does the API know the parameter `{param}`?",
                self.pages
            ));
        }
        self.digests = Some((self.digests.map_or(held.digest, |(first, _)| first), held.digest));
        let number = self.pages.checked_mul(step).and_then(|passed| first.checked_add(passed));
        let number = number.ok_or_else(|| format!("the numbers of `{param}` have come to their end"));
        Ok(Some(number.map(|number| Page::Param(param.to_owned(), number.to_string()))))
    }

    /// An address in an answer, which must not lead to another host: credentials are not for it.
    fn joined(&self, target: &str) -> Result<Page, String> {
        let url = self
            .base
            .join(target)
            .map(anonymous)
            .map_err(|e| format!("the next page `{}` is no address: {e}", without_user(target)))?;
        match is_trusted(&url, &self.base) {
            true => Ok(Page::At(url)),
            false => Err(format!(
                "the next page is on {}, another host than the API",
                url.host_str().unwrap_or_default()
            )),
        }
    }
}

/// The cursor that an answer holds at `path`, as JSON; nothing where the pages end.
fn cursor_in(json: &str, path: &str) -> Result<Option<String>, String> {
    let (what, instead) = match json.chars().next() {
        None | Some('n' | 'f') => return Ok(None),
        Some('"') => match serde_json::from_str::<String>(json) {
            Ok(text) => return Ok(Some(text).filter(|text| !text.is_empty())),
            Err(_) => ("a text that is no Unicode", "it cannot be sent back".to_owned()),
        },
        Some('{') => ("an object", format!("write the path of a text or a number in it, like {path}.NAME")),
        Some('[') => {
            ("an array", format!("write the path of the text or number that is meant, like {path}[0]"))
        }
        Some('t') => (
            "true",
            "it says that there is another page and not which; where pages are numbered, write \
             paging: { page: 1, param: page }"
                .to_owned(),
        ),
        Some(_) => return Ok(Some(json.to_owned())),
    };
    let start: String = json.chars().take(60).collect();
    Err(format!("at {path}, where the next page's cursor should be, there is {what}, {start}: {instead}"))
}

/// The target of `rel="next"` in a header `Link` (RFC 8288).
fn next_link(header: &str) -> Option<String> {
    let mut rest = header;
    loop {
        let start = rest.find('<')?;
        let end = start + rest[start..].find('>')?;
        let target = &rest[start + 1..end];
        // Parameters go on to the next comma outside quotes.
        let (mut in_quotes, mut is_escaped) = (false, false);
        let parameters = &rest[end + 1..];
        let stop = parameters.find(|c: char| {
            in_quotes ^= c == '"' && !is_escaped;
            is_escaped = c == '\\' && in_quotes && !is_escaped;
            c == ',' && !in_quotes
        });
        let parameters = &parameters[..stop.unwrap_or(parameters.len())];
        let is_next =
            parameters.split(';').filter_map(|parameter| parameter.split_once('=')).any(|(name, value)| {
                let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
                name.trim().eq_ignore_ascii_case("rel")
                    && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
            });
        if is_next {
            return Some(target.to_owned());
        }
        rest = &rest[end + 1 + stop?..];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn pager(paging: Paging, pages_max: u64) -> Pager {
        Pager::new(Some(paging), pages_max, Url::parse("https://api.example/items?x=1").expect("an address"))
    }

    fn held(records: usize, digest: u64) -> Held {
        Held { is_empty: records == 0, digest, ..Held::default() }
    }

    fn nowhere(next: Result<Next, String>) -> String {
        match next {
            Ok(Next::Nowhere(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_go_up_until_a_page_is_empty() {
        let by = ByOffset { offset: 10, step: 100, param: "offset".into() };
        let mut pages = pager(Paging::Offset(by), 9);
        assert_eq!(pages.first(), Page::Param("offset".into(), "10".into()));
        assert_eq!(pages.after(&held(100, 1)), Ok(Next::Page(Page::Param("offset".into(), "110".into()))));
        assert_eq!(pages.after(&held(5, 2)), Ok(Next::Page(Page::Param("offset".into(), "210".into()))));
        assert_eq!(pages.after(&held(0, 3)), Ok(Next::End));
    }

    #[test]
    fn a_page_of_which_no_record_is_made_is_the_last_only_when_it_comes_again() {
        let mut pages = pager(Paging::Page(ByPage { page: 1, param: "page".into() }), 9);
        let unselected = |digest: u64| Held { is_unselected: true, ..held(0, digest) };
        pages.first();
        for (held, goes_on) in
            [(held(2, 1), true), (unselected(2), true), (held(2, 3), true), (unselected(2), true)]
        {
            assert_eq!(matches!(pages.after(&held), Ok(Next::Page(_))), goes_on);
        }
        assert_eq!(pages.after(&unselected(2)), Ok(Next::End));
        // That the first page was one does not make it an answer to every number.
        let mut pages = pager(Paging::Page(ByPage { page: 1, param: "page".into() }), 9);
        pages.first();
        for held in [unselected(2), held(2, 1), unselected(2), held(2, 3)] {
            assert!(matches!(pages.after(&held), Ok(Next::Page(_))), "{held:?}");
        }
    }

    #[test]
    fn an_api_that_does_not_know_the_parameter_is_found_out() {
        let by = Paging::Page(ByPage { page: 1, param: "page".into() });
        let mut pages = pager(by.clone(), 9);
        pages.first();
        assert!(pages.after(&held(10, 7)).is_ok());
        assert!(pages.after(&held(10, 7)).expect_err("the same").contains("`page`"));
        let mut back_to_first = pager(by, 9);
        back_to_first.first();
        assert!(back_to_first.after(&held(10, 7)).is_ok());
        assert!(back_to_first.after(&held(10, 8)).is_ok());
        assert!(back_to_first.after(&held(10, 7)).is_err());
    }

    #[test]
    fn cursors_end_repeat_and_lead_away() {
        let mut pages = pager(Paging::Cursor(ByCursor { cursor: "$.n".into(), param: Some("t".into()) }), 9);
        let cursor = |text: &str| Held { cursor: Some(json!(text).to_string()), ..held(3, 1) };
        assert_eq!(pages.first(), Page::Plain);
        assert_eq!(pages.after(&cursor("a")), Ok(Next::Page(Page::Param("t".into(), "a".into()))));
        assert!(nowhere(pages.clone().after(&cursor("a"))).contains("already read"));
        assert_eq!(pages.clone().after(&cursor("")), Ok(Next::End));
        assert_eq!(pages.after(&held(3, 1)), Ok(Next::End));

        let mut addresses = pager(Paging::Cursor(ByCursor { cursor: "$.n".into(), param: None }), 9);
        addresses.first();
        let next = Url::parse("https://api.example/items?after=3").expect("an address");
        assert_eq!(addresses.after(&cursor("?after=3")), Ok(Next::Page(Page::At(next))));
        assert!(nowhere(addresses.after(&cursor("https://evil.example/"))).contains("another host"));
    }

    #[test]
    fn what_is_no_cursor_is_not_taken_for_the_end() {
        let mut pages = pager(Paging::Cursor(ByCursor { cursor: "$.n".into(), param: Some("t".into()) }), 9);
        pages.first();
        let json = |text: &str| Held { cursor: Some(text.to_owned()), ..held(3, 1) };
        for (text, said) in [
            (r#"{"after": "x"}"#, r#"an object, {"after": "x"}: write the path"#),
            ("{}", "like $.n.NAME"),
            ("[]", "like $.n[0]"),
            ("true", "paging: { page: 1, param: page }"),
            (r#""\ud800""#, "no Unicode"),
        ] {
            let why = nowhere(pages.clone().after(&json(text)));
            assert!(why.starts_with("at $.n, ") && why.contains(said), "{text}: {why}");
        }
        for text in ["null", "false", "\"\""] {
            assert_eq!(pages.clone().after(&json(text)), Ok(Next::End), "{text}");
        }
        assert_eq!(pages.after(&json("7.0")), Ok(Next::Page(Page::Param("t".into(), "7.0".into()))));
    }

    #[test]
    fn a_page_that_is_as_it_was_is_not_the_last_one() {
        let unchanged = Held { is_unchanged: true, ..held(0, 0) };
        let mut pages = pager(Paging::Page(ByPage { page: 1, param: "p".into() }), 9);
        pages.first();
        assert_eq!(pages.clone().after(&unchanged), Ok(Next::End));
        assert!(pages.after(&held(1, 1)).is_ok());
        assert!(nowhere(pages.after(&unchanged)).contains("page 2 is 304 Not Modified"));
    }

    #[test]
    fn the_next_page_may_be_on_https_and_not_go_back() {
        let by = Paging::Cursor(ByCursor { cursor: "$.n".into(), param: None });
        let mut pages = Pager::new(Some(by), 9, Url::parse("http://api.example/items").expect("an address"));
        let cursor = |text: &str| Held { cursor: Some(json!(text).to_string()), ..held(3, 1) };
        pages.first();
        let next = Url::parse("https://api.example/items?after=3").expect("an address");
        assert_eq!(pages.after(&cursor(next.as_str())), Ok(Next::Page(Page::At(next))));
        assert!(nowhere(pages.after(&cursor("http://api.example/items?after=6"))).contains("another host"));
    }

    #[test]
    fn links_are_read_as_they_are_written_in_the_wild() {
        for (header, target) in [
            (r#"<https://api.example/items?page=2>; rel="next""#, Some("https://api.example/items?page=2")),
            (r#"<a>; rel="prev", <b,c>; title="x, y"; rel=next"#, Some("b,c")),
            (r#"<a>; rel="last NEXT""#, Some("a")),
            (r#"<a>; title="\", <"; rel=prev, <b>; rel=next"#, Some("b")),
            (r#"<a>; rel="last""#, None),
            ("", None),
            ("<", None),
            ("<a>; rel", None),
        ] {
            assert_eq!(next_link(header).as_deref(), target, "{header}");
        }
    }

    #[test]
    fn nobody_pages_for_ever() {
        let mut pages = pager(Paging::Page(ByPage { page: 0, param: "p".into() }), 3);
        pages.first();
        assert!(pages.after(&held(1, 1)).is_ok());
        assert!(pages.after(&held(1, 2)).is_ok());
        assert!(nowhere(pages.after(&held(1, 3))).contains("more than 3 pages"));
    }

    fn any_paging() -> impl Strategy<Value = Paging> {
        let param = "[a-z]{0,3}";
        prop_oneof![
            (any::<u64>(), param).prop_map(|(page, param)| Paging::Page(ByPage { page, param })),
            (any::<u64>(), 1..u64::MAX, param).prop_map(|(offset, step, param)| Paging::Offset(ByOffset {
                offset,
                step,
                param
            })),
            proptest::option::of(param)
                .prop_map(|param| Paging::Cursor(ByCursor { cursor: "$.n".into(), param })),
            Just(Paging::Link(ByLink { link: LinkPlace::Header })),
        ]
    }

    proptest! {
        /// Whatever an API answers, paging ends, at the latest after as many pages as it may have,
        /// and never asks for the same page twice or leaves the host.
        #[test]
        fn paging_always_ends(
            paging in any_paging(),
            pages_max in 1_u64..20,
            answers in proptest::collection::vec(
                (0_usize..3, 0_u64..4, proptest::option::of("[a-z0-9:/?#@. ]{0,12}"), "[<>;,=\"a-z:/ ]{0,24}"),
                25,
            ),
        ) {
            let mut pages = pager(paging, pages_max);
            let mut asked = HashSet::from([pages.first()]);
            let mut count = 1;
            for (records, digest, cursor, link) in answers {
                let cursor = cursor.map(|text| json!(text).to_string());
                let held = Held { cursor, links: vec![link], ..held(records, digest) };
                let Ok(Next::Page(next)) = pages.after(&held) else { return Ok(()) };
                count += 1;
                prop_assert!(count <= pages_max);
                if let Page::At(url) = &next {
                    prop_assert_eq!(url.host_str(), Some("api.example"));
                }
                prop_assert!(asked.insert(next));
            }
            prop_assert!(false, "it goes on after {count} pages");
        }
    }
}
