//! Names and texts as Spark SQL takes them, whatever is in them.

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
