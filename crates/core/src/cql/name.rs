//! Names as CQL takes them: which ones stand in quotes, and how. Whether a name means anything is for
//! others to know.

/// Words of CQL that are no names unless they are quoted, as Cassandra 5.0 lists them.
const RESERVED: [&str; 57] = [
    "add",
    "allow",
    "alter",
    "and",
    "apply",
    "asc",
    "authorize",
    "batch",
    "begin",
    "by",
    "columnfamily",
    "create",
    "delete",
    "desc",
    "describe",
    "drop",
    "entries",
    "execute",
    "from",
    "full",
    "grant",
    "if",
    "in",
    "index",
    "infinity",
    "insert",
    "into",
    "is",
    "keyspace",
    "limit",
    "materialized",
    "modify",
    "nan",
    "norecursive",
    "not",
    "null",
    "of",
    "on",
    "or",
    "order",
    "primary",
    "rename",
    "revoke",
    "schema",
    "select",
    "set",
    "table",
    "to",
    "token",
    "truncate",
    "unlogged",
    "update",
    "use",
    "using",
    "view",
    "where",
    "with",
];

/// A name as CQL takes it, whatever is in it.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Whether `word` is one of CQL's own, so that as a name it must be quoted.
pub fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word.to_ascii_lowercase().as_str())
}

/// Why Cassandra does not take an unquoted `word` as a name; `None` where it does.
pub(super) fn refusal(word: &str) -> Option<String> {
    let why = if is_reserved(word) {
        "is a word of CQL itself"
    } else if word.starts_with('_') {
        "begins with an underscore"
    } else {
        return None;
    };
    Some(format!("`{word}` {why}: as a name it stands in quotes, {}", quoted(&word.to_ascii_lowercase())))
}
