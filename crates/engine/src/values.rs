//! Values put into a file when it is loaded: `${VAR}`, `${VAR:-default}`, `${file:PATH}`,
//! `${secret:VAR}`; `$${` is a literal `${`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::diagnostic::Diagnostic;
use crate::document::{Kind, Node};
use crate::pipeline::Runner;

/// Where values come from.
#[derive(Debug, Clone, Default)]
pub struct Values {
    /// Variables by name.
    pub variables: BTreeMap<String, String>,
    /// The folder that `${file:…}` is looked up from.
    pub folder: PathBuf,
    /// What runs a flow this once instead of what the file says, by the flow's name.
    pub runners: BTreeMap<String, Runner>,
}

/// Texts that are shown nowhere.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    texts: Vec<String>,
}

/// What the crate `url` encodes in an address's path: the URL Standard's set but for `^`.
const IN_PATHS: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'?').add(b'`').add(b'{').add(b'}');

/// Shorter secrets are not masked: they would mask half of every text.
const SECRET_BYTES_MIN: usize = 4;

impl Secrets {
    /// Keeps `text` from being shown, also where it is part of an address.
    pub fn add(&mut self, text: &str) {
        let text = text.trim();
        self.add_as_written(text);
        self.add_as_written(&utf8_percent_encode(text, IN_PATHS).to_string());
    }

    fn add_as_written(&mut self, text: &str) {
        if text.len() >= SECRET_BYTES_MIN && !self.texts.iter().any(|known| known == text) {
            self.texts.push(text.to_owned());
            // The longest first, so that none is left in part.
            self.texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        }
    }

    /// Keeps from being shown what `others` does, also where it stands within JSON.
    pub fn add_all(&mut self, others: &Self) {
        for text in &others.texts {
            self.add(text);
            let quoted = serde_json::Value::from(text.as_str()).to_string();
            self.add(&quoted[1..quoted.len() - 1]);
        }
    }

    /// `text` with every secret in it replaced.
    pub fn mask(&self, text: &str) -> String {
        self.texts.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }

    /// `text` with every secret in it covered byte by byte, so that nothing behind it moves.
    pub(crate) fn cover(&self, text: &str) -> String {
        let covered = |secret: &str| -> String {
            secret.bytes().map(|byte| if byte == b'\n' { '\n' } else { '*' }).collect()
        };
        self.texts.iter().fold(text.to_owned(), |text, secret| text.replace(secret, &covered(secret)))
    }
}

impl Values {
    /// Variables of the process, and of a file with lines `NAME=value`, which come first.
    pub fn of_process(env_file: Option<&str>) -> Self {
        // What is no text may well be there for others.
        let texts = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let mut variables: BTreeMap<String, String> = texts.collect();
        for line in env_file.unwrap_or_default().lines() {
            let line = line.trim();
            if let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
                let value = value.trim();
                let quoted =
                    ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
                variables.insert(name.trim().to_owned(), quoted.unwrap_or(value).to_owned());
            }
        }
        Self { variables, ..Self::default() }
    }

    /// Puts values into every text of the tree.
    pub fn fill(&self, node: &mut Node, secrets: &mut Secrets, mistakes: &mut Vec<Diagnostic>) {
        match &mut node.kind {
            Kind::Scalar { text, .. } if text.contains("${") => match self.filled(text, secrets) {
                Ok(filled) => {
                    secrets_in_address(&filled).for_each(|secret| secrets.add(secret));
                    *text = filled;
                }
                Err((message, help)) => {
                    mistakes.push(Diagnostic::error(message, node.span.clone()).help(help));
                }
            },
            Kind::Scalar { text, .. } => {
                secrets_in_address(text).for_each(|secret| secrets.add(secret));
            }
            Kind::List(items) => items.iter_mut().for_each(|item| self.fill(item, secrets, mistakes)),
            Kind::Map(entries) => {
                entries.iter_mut().for_each(|(_, value)| self.fill(value, secrets, mistakes));
            }
        }
    }

    fn filled(&self, text: &str, secrets: &mut Secrets) -> Result<String, (String, String)> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                out.push_str(&rest[..at - 1]);
                out.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            out.push_str(&rest[..at]);
            let Some(end) = rest[at..].find('}') else {
                return Err(("this ${ is never closed".into(), "write $${ for a literal ${".into()));
            };
            out.push_str(&self.value(&rest[at + 2..at + end], secrets)?);
            rest = &rest[at + end + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }

    fn value(&self, name: &str, secrets: &mut Secrets) -> Result<String, (String, String)> {
        if let Some(path) = name.strip_prefix("file:") {
            let path = self.folder.join(path);
            let text = std::fs::read_to_string(&path).map_err(|e| {
                (format!("cannot read {}: {e}", path.display()), "is the file there?".to_owned())
            })?;
            secrets.add(&text);
            return Ok(text.trim_end().to_owned());
        }
        let (name, is_secret) = match name.strip_prefix("secret:") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let (name, default) = match name.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (name, None),
        };
        // As in a shell, `:-` also stands in for an empty value.
        let found = self.variables.get(name).filter(|value| !value.is_empty() || default.is_none());
        let value = found.map(String::as_str).or(default).ok_or_else(|| {
            (format!("the variable {name} is not set"), format!("set it, or write ${{{name}:-default}}"))
        })?;
        if is_secret {
            secrets.add(value);
            // An error names one broker of several, and of an address not the token that is behind it.
            value.split([',', ';']).for_each(|part| secrets.add(part.trim_end_matches('/')));
        }
        Ok(value.to_owned())
    }
}

/// What of an address is shown nowhere: the password in `https://user:password@host/`, the token in
/// `sc://host/;token=…`.
fn secrets_in_address(text: &str) -> impl Iterator<Item = &str> {
    let token = text.split(';').skip(1).find_map(|part| part.strip_prefix("token="));
    password_in_url(text).into_iter().chain(token)
}

fn password_in_url(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, _) = authority.rsplit_once('@')?;
    user.split_once(':').map(|(_, password)| password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_put_in() {
        let mut values = Values::of_process(Some("# a comment\nTOKEN='s3cret'\nHOST=example.com\nEMPTY=\n"));
        values.folder = std::env::temp_dir();
        let mut secrets = Secrets::default();
        for (text, expected) in [
            ("https://${HOST}/x", Some("https://example.com/x")),
            ("${MISSING_ONE:-embedded}", Some("embedded")),
            ("${EMPTY:-x}${EMPTY}", Some("x")),
            ("$${HOST} ${secret:TOKEN}", Some("${HOST} s3cret")),
            ("${MISSING_ONE}", None),
            ("${HOST", None),
            ("${file:there-is-no-such-file}", None),
        ] {
            assert_eq!(values.filled(text, &mut secrets).ok().as_deref(), expected, "{text}");
        }
        assert_eq!(password_in_url("https://me:pass@word@host/x@y"), Some("pass@word"));
        assert_eq!(password_in_url("https://host/a:b@c"), None);
        let address = "sc://host:15002/;use_ssl=true;token=dG9rZW4=;user_id=me";
        assert_eq!(secrets_in_address(address).collect::<Vec<_>>(), ["dG9rZW4="]);
        assert_eq!(secrets.mask("Bearer s3cret at example.com"), "Bearer *** at example.com");
        secrets.add("a^b c/ç{}");
        assert_eq!(secrets.mask("https://example.com/a^b%20c/%C3%A7%7B%7D/x"), "https://example.com/***/x");
        secrets.add("töken\nof two lines");
        assert_eq!(secrets.cover("s3cret: töken\nof two lines."), "******: ******\n************.");
    }

    #[test]
    fn secrets_of_several_files_are_masked_as_one_also_within_json() {
        let (mut secrets, mut others) = (Secrets::default(), Secrets::default());
        secrets.add("abcd");
        others.add("abcdef");
        others.add("a \"quote\"\nand a line");
        secrets.add_all(&others);
        let text = r#"{"message":"a \"quote\"\nand a line","more":"abcdef abcd"}"#;
        assert_eq!(secrets.mask(text), r#"{"message":"***","more":"*** ***"}"#);
        assert_eq!(secrets.mask("of a \"quote\"\nand a line"), "of ***");
    }

    #[test]
    fn each_part_of_a_secret_address_is_a_secret() {
        let brokers = "BROKERS=kafka-1:9092, kafka-2:9092";
        let values = Values::of_process(Some(&format!("{brokers}\nSPARK=sc://spark:15002/;token=s3cret")));
        let mut secrets = Secrets::default();
        for text in ["${secret:BROKERS}", "${secret:SPARK}"] {
            values.filled(text, &mut secrets).expect("is filled");
        }
        for (text, shown) in [
            ("kafka-1:9092, kafka-2:9092", "***"),
            ("kafka-2:9092 does not answer", "*** does not answer"),
            ("sc://spark:15002 answers", "*** answers"),
        ] {
            assert_eq!(secrets.mask(text), shown);
        }
    }
}
