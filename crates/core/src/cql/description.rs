//! A table's columns in one line, as the embedded store remembers them: `id uuid partition key, n int`.

use super::lexer::Token;
use super::parse::Parser;
use super::{Column, Key, quoted};

/// The columns in one line.
pub fn describe(columns: &[Column]) -> String {
    let columns = columns.iter().map(|column| {
        let key = match column.key {
            Some(Key::Partition) => " partition key",
            Some(Key::Clustering) => " clustering key",
            None => "",
        };
        let name = match is_plain(&column.name) {
            true => column.name.clone(),
            false => quoted(&column.name),
        };
        format!("{name} {}{key}", column.kind)
    });
    columns.collect::<Vec<_>>().join(", ")
}

/// The columns that a line describes; `None` where it is none of ours.
pub fn described(line: &str) -> Option<Vec<Column>> {
    let mut parser = Parser::new(line).ok()?;
    let mut columns = Vec::new();
    loop {
        let name = parser.name().ok()?;
        let kind = parser.column_type().ok()?;
        let key = match (parser.word("partition"), parser.word("clustering")) {
            (true, _) => Some(Key::Partition),
            (_, true) => Some(Key::Clustering),
            _ => None,
        };
        if key.is_some() && !parser.word("key") {
            return None;
        }
        columns.push(Column { name, kind, key });
        if !parser.symbol(',') {
            return (*parser.peek() == Token::End).then_some(columns);
        }
    }
}

/// Whether CQL reads the name as it is.
fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cql::parse;

    #[test]
    fn columns_come_back_whatever_their_names_are() {
        let create = "CREATE TABLE k.t (id uuid, \"partition\" text, \"a, b\" map<text, frozen<set<int>>>, \
                      \"Q\"\"\" frozen<list<text>>, PRIMARY KEY ((id), \"partition\"))";
        let table = parse(create, "k", "t").expect("parses");
        let line = describe(&table.columns);
        assert!(line.starts_with("id uuid partition key, partition text clustering key, "), "{line}");
        assert_eq!(described(&line), Some(table.columns));
        assert_eq!(described("id"), None);
        assert_eq!(described("id uuid partition"), None);
    }
}
