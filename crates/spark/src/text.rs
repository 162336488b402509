//! Names and texts as Spark SQL takes them, whatever is in them, and the digest of a text.

use sha2::{Digest, Sha256};

/// A name in backticks.
pub(crate) fn name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text in quotes, its backslashes as they are.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The options of a function as a map.
pub(crate) fn options<'a>(options: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let entries = options.into_iter().map(|(key, value)| format!("{}, {}", literal(key), literal(value)));
    format!("map({})", entries.collect::<Vec<_>>().join(", "))
}

/// The SHA-256 of a text, in hexadecimal digits.
pub(crate) fn digest(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_ends_it() {
        assert_eq!(literal(r"it's \ x"), r"'it\'s \\ x'");
        assert_eq!(name("a`b"), "`a``b`");
        assert_eq!(options([("a", "1"), ("b", "'")]), r"map('a', '1', 'b', '\'')");
    }
}
