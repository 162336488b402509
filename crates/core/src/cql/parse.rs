//! Reads `CREATE TABLE` (and of `CREATE KEYSPACE` the name) as Cassandra's grammar has it.
//! It does not read queries, and properties behind `WITH` are handed on unread.

use std::ops::Range;

use super::lexer::{ParseError, Parsed, Token, tokens};
use super::{Column, Key, Table, name};

/// Reads one or more statements, of which exactly one creates the table `keyspace.name`.
pub fn parse(text: &str, keyspace: &str, name: &str) -> Parsed<Table> {
    let mut parser = Parser::new(text)?;
    let mut table: Option<Table> = None;
    let mut statements = Vec::new();
    while parser.peek() != &Token::End {
        if parser.symbol(';') {
            continue;
        }
        let start = parser.span().start;
        parser.expect_word("CREATE")?;
        if parser.word("TABLE") || parser.word("COLUMNFAMILY") {
            let span = parser.span();
            let created = parser.table(keyspace)?;
            if table.replace(created).is_some() {
                return Err(ParseError {
                    message: "two CREATE TABLE statements; a flow fills one table".into(),
                    span,
                });
            }
        } else if parser.word("KEYSPACE") {
            parser.keyspace(keyspace)?;
        } else {
            let message =
                "expected CREATE TABLE or CREATE KEYSPACE; other statements are not run from here".into();
            return Err(ParseError { message, span: parser.span() });
        }
        parser.skip_to_end_of_statement();
        statements.push(text[start..parser.previous_end()].trim().to_owned());
    }
    let Some(mut table) = table else {
        let message = format!("no CREATE TABLE {keyspace}.{name} (…) in here");
        return Err(ParseError { message, span: 0..text.len() });
    };
    if (table.keyspace.as_str(), table.name.as_str()) != (keyspace, name) {
        let message = format!(
            "this creates {table}, the flow writes to {keyspace}.{name}; name the same table in both places"
        );
        return Err(ParseError { message, span: 0..text.len() });
    }
    table.statements = statements;
    Ok(table)
}

/// Reads words one after the other.
pub(super) struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(Token, Range<usize>)>,
    at: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Parsed<Self> {
        Ok(Self { text, tokens: tokens(text)?, at: 0 })
    }

    pub(super) fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.tokens[self.at].1.clone()
    }

    fn previous_end(&self) -> usize {
        self.at.checked_sub(1).map_or(0, |before| self.tokens[before].1.end)
    }

    pub(super) fn advance(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    pub(super) fn symbol(&mut self, symbol: char) -> bool {
        let found = *self.peek() == Token::Symbol(symbol);
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Word(here) if here.eq_ignore_ascii_case(word));
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn error<T>(&self, message: impl Into<String>) -> Parsed<T> {
        Err(ParseError { message: message.into(), span: self.span() })
    }

    pub(super) fn here(&self) -> String {
        match self.peek() {
            Token::End => "the end".into(),
            _ => format!("`{}`", &self.text[self.span()]),
        }
    }

    fn expect_word(&mut self, word: &str) -> Parsed<()> {
        if self.word(word) { Ok(()) } else { self.error(format!("expected {word}, found {}", self.here())) }
    }

    pub(super) fn expect_symbol(&mut self, symbol: char) -> Parsed<()> {
        if self.symbol(symbol) {
            Ok(())
        } else {
            self.error(format!("expected `{symbol}`, found {}", self.here()))
        }
    }

    /// A name: lower case unless quoted.
    pub(super) fn name(&mut self) -> Parsed<String> {
        let name = match self.peek() {
            Token::Word(word) if !word.starts_with(|c: char| c.is_ascii_digit()) => word.to_ascii_lowercase(),
            Token::Quoted(name) => name.clone(),
            _ => return self.error(format!("expected a name, found {}", self.here())),
        };
        self.advance();
        Ok(name)
    }

    /// A name in a statement that Cassandra runs: its own words only in quotes.
    fn given_name(&mut self) -> Parsed<String> {
        match self.peek() {
            Token::Word(word) => match name::refusal(word) {
                Some(message) => self.error(message),
                None => self.name(),
            },
            _ => self.name(),
        }
    }

    fn if_not_exists(&mut self) -> Parsed<()> {
        if self.word("IF") {
            self.expect_word("NOT")?;
            self.expect_word("EXISTS")?;
        }
        Ok(())
    }

    /// The keyspace that is made can only be the table's: where a statement makes one, nobody else does.
    fn keyspace(&mut self, keyspace: &str) -> Parsed<()> {
        self.if_not_exists()?;
        let span = self.span();
        let name = self.given_name()?;
        if name == keyspace {
            return Ok(());
        }
        let message = format!("this makes the keyspace {name}, and the table is in {keyspace}");
        Err(ParseError { message, span })
    }

    fn table(&mut self, keyspace: &str) -> Parsed<Table> {
        self.if_not_exists()?;
        let span = self.span();
        let in_keyspace = self.given_name()?;
        if !self.symbol('.') {
            // Cassandra would not know where to put it: the statement is run as it is, without a USE before it.
            let message = format!("its keyspace is missing: write {keyspace}.{}", &self.text[span.clone()]);
            return Err(ParseError { message, span });
        }
        let name = self.given_name()?;
        self.expect_symbol('(')?;
        let mut columns: Vec<Column> = Vec::new();
        let mut key: Option<Vec<(String, Key)>> = None;
        loop {
            let span = self.span();
            if self.word("PRIMARY") {
                self.expect_word("KEY")?;
                let parts = self.primary_key()?;
                if key.replace(parts).is_some() {
                    return Err(ParseError { message: "a second PRIMARY KEY".into(), span });
                }
            } else {
                let (column, is_key) = self.column()?;
                if columns.iter().any(|known| known.name == column.name) {
                    return Err(ParseError { message: format!("a second column {}", column.name), span });
                }
                if is_key && key.replace(vec![(column.name.clone(), Key::Partition)]).is_some() {
                    return Err(ParseError { message: "a second PRIMARY KEY".into(), span });
                }
                columns.push(column);
            }
            if !self.symbol(',') {
                break;
            }
        }
        let end = self.span();
        self.expect_symbol(')')?;
        let Some(key) = key else {
            return Err(ParseError {
                message: "no PRIMARY KEY; write it behind a column's type".into(),
                span: end,
            });
        };
        let columns = key_first(columns, &key).map_err(|message| ParseError { message, span: end })?;
        Ok(Table { keyspace: in_keyspace, name, columns, statements: Vec::new() })
    }

    fn column(&mut self) -> Parsed<(Column, bool)> {
        let name = self.given_name()?;
        let kind = self.column_type()?;
        let span = self.span();
        if self.word("STATIC") {
            return Err(ParseError { message: format!("{name}: static columns are not supported"), span });
        }
        let is_key = self.word("PRIMARY");
        if is_key {
            self.expect_word("KEY")?;
        }
        Ok((Column { name, kind, key: None }, is_key))
    }

    /// `(a, b)` or `((a, b), c)`.
    fn primary_key(&mut self) -> Parsed<Vec<(String, Key)>> {
        self.expect_symbol('(')?;
        let mut parts = Vec::new();
        if self.symbol('(') {
            loop {
                parts.push((self.given_name()?, Key::Partition));
                if !self.symbol(',') {
                    break;
                }
            }
            self.expect_symbol(')')?;
        } else {
            parts.push((self.given_name()?, Key::Partition));
        }
        while self.symbol(',') {
            parts.push((self.given_name()?, Key::Clustering));
        }
        self.expect_symbol(')')?;
        Ok(parts)
    }

    fn skip_to_end_of_statement(&mut self) {
        while !matches!(self.peek(), Token::End | Token::Symbol(';')) {
            self.advance();
        }
    }
}

fn key_first(mut columns: Vec<Column>, key: &[(String, Key)]) -> Result<Vec<Column>, String> {
    let mut ordered = Vec::with_capacity(columns.len());
    for (name, part) in key {
        let Some(at) = columns.iter().position(|column| column.name == *name) else {
            return Err(format!("PRIMARY KEY names {name}, which is no column (or twice in the key)"));
        };
        if !columns[at].kind.has_order() {
            return Err(format!(
                "{name} is {}, which has no order: it can be no part of a PRIMARY KEY",
                columns[at].kind
            ));
        }
        if columns[at].kind.is_multi_cell() {
            let kind = &columns[at].kind;
            return Err(format!("{name} is part of the key and must be frozen: write frozen<{kind}>"));
        }
        ordered.push(Column { key: Some(*part), ..columns.remove(at) });
    }
    ordered.append(&mut columns);
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cql::Type;

    #[test]
    fn reads_a_table_with_its_keyspace() {
        let text = "CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1};\n\
                    CREATE TABLE IF NOT EXISTS k.t (v varchar, \"Day\" date, id UUID, -- a comment; with one\n\
                    PRIMARY KEY ((id), \"Day\")) WITH CLUSTERING ORDER BY (\"Day\" DESC);";
        let table = parse(text, "k", "t").expect("a table");
        let columns: Vec<_> =
            table.columns.iter().map(|c| (c.name.as_str(), c.kind.clone(), c.key)).collect();
        assert_eq!(
            columns,
            [
                ("id", Type::Uuid, Some(Key::Partition)),
                ("Day", Type::Date, Some(Key::Clustering)),
                ("v", Type::Text, None)
            ]
        );
        assert_eq!(table.statements.len(), 2);
        assert!(table.statements[0].ends_with('}'));
    }

    #[test]
    fn words_of_cql_are_names_in_quotes_and_others_as_they_are() {
        let text = "CREATE TABLE \"use\".\"view\" (\"order\" uuid, key int, \"_n\" int, PRIMARY KEY (\"order\", key))";
        let table = parse(text, "use", "view").expect("a table");
        let names: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["order", "key", "_n"]);
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        for (text, message, at) in [
            ("CREATE TABLE k.t (id uid PRIMARY KEY)", "`uid` is no type", "uid"),
            ("CREATE TABLE k.t (id uuid)", "no PRIMARY KEY", ")"),
            ("CREATE TABLE k.t (id uuid, PRIMARY KEY (x))", "names x", ")"),
            ("CREATE TABLE k.t (id uuid PRIMARY KEY, n counter)", "count it twice", "counter"),
            ("CREATE TABLE k.t (id duration PRIMARY KEY)", "has no order", ")"),
            ("CREATE TABLE k.t (id uuid, s set<int>, PRIMARY KEY (id, s))", "write frozen<set<int>>", ")"),
            (
                "CREATE TABLE k.u (id uuid PRIMARY KEY)",
                "this creates k.u",
                "CREATE TABLE k.u (id uuid PRIMARY KEY)",
            ),
            ("CREATE TABLE k.t (id uuid PRIMARY KEY, Order int)", "in quotes, \"order\"", "Order"),
            ("CREATE TABLE k.t (token uuid PRIMARY KEY)", "`token` is a word of CQL", "token"),
            ("CREATE TABLE k.t (id uuid, \"to\" int, PRIMARY KEY (id, to))", "in quotes, \"to\"", "to"),
            ("CREATE TABLE k.t (id uuid PRIMARY KEY, _n int)", "in quotes, \"_n\"", "_n"),
            ("CREATE TABLE k.view (id uuid PRIMARY KEY)", "in quotes, \"view\"", "view"),
            ("CREATE TABLE t (id uuid PRIMARY KEY)", "write k.t", "t"),
            ("CREATE TABLE IF NOT EXISTS \"T\" (id uuid PRIMARY KEY)", "write k.\"T\"", "\"T\""),
            (
                "CREATE KEYSPACE IF NOT EXISTS other WITH x = 1; CREATE TABLE k.t (id uuid PRIMARY KEY)",
                "makes the keyspace other, and the table is in k",
                "other",
            ),
            ("DROP TABLE k.t", "expected CREATE", "DROP"),
            ("CREATE TABLE k.t (id 'x", "never closed", "'x"),
            ("", "no CREATE TABLE", ""),
        ] {
            let error = parse(text, "k", "t").expect_err(text);
            assert!(error.message.contains(message), "{text}: {error}");
            assert_eq!(&text[error.span], at, "{text}");
        }
    }
}
