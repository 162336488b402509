//! Reads `CREATE TABLE` (and passes `CREATE KEYSPACE` through) as Cassandra's grammar has it.
//! It does not read queries, and properties behind `WITH` are handed on unread.

use std::fmt;
use std::ops::Range;

use super::{Column, Key, Table, Type};

/// Why a `create:` text cannot be used, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// What is wrong and what to write instead.
    pub message: String,
    /// The bytes of the text that are meant.
    pub span: Range<usize>,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Quoted(String),
    Literal,
    Symbol(char),
    End,
}

type Parsed<T> = Result<T, ParseError>;

/// Reads one or more statements, of which exactly one creates the table `keyspace.name`.
pub fn parse(text: &str, keyspace: &str, name: &str) -> Parsed<Table> {
    let mut parser = Parser { text, tokens: tokens(text)?, at: 0 };
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
        } else if !parser.word("KEYSPACE") {
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

fn tokens(text: &str) -> Parsed<Vec<(Token, Range<usize>)>> {
    let mut found = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        let rest = &text[at..];
        if byte.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        if rest.starts_with("--") || rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        if rest.starts_with("/*") {
            at += rest.find("*/").map_or(rest.len(), |end| end + 2);
            continue;
        }
        let token = match byte {
            b'"' | b'\'' => {
                let (content, length) = quoted(rest, byte as char).ok_or_else(|| ParseError {
                    message: format!("this {} is never closed", byte as char),
                    span: start..text.len(),
                })?;
                at += length;
                if byte == b'"' { Token::Quoted(content) } else { Token::Literal }
            }
            _ if byte.is_ascii_alphanumeric() || byte == b'_' => {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                at += end;
                Token::Word(rest[..end].to_owned())
            }
            _ => {
                let symbol = rest.chars().next().expect("not at the end");
                at += symbol.len_utf8();
                Token::Symbol(symbol)
            }
        };
        found.push((token, start..at));
    }
    found.push((Token::End, text.len()..text.len()));
    Ok(found)
}

/// The content of a quoted text at the start of `rest` (a doubled quote is one) and its length.
fn quoted(rest: &str, quote: char) -> Option<(String, usize)> {
    let mut content = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            content.push(c);
        } else if chars.next_if(|(_, next)| *next == quote).is_some() {
            content.push(quote);
        } else {
            return Some((content, at + 1));
        }
    }
    None
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(Token, Range<usize>)>,
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn span(&self) -> Range<usize> {
        self.tokens[self.at].1.clone()
    }

    fn previous_end(&self) -> usize {
        self.at.checked_sub(1).map_or(0, |before| self.tokens[before].1.end)
    }

    fn advance(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    fn symbol(&mut self, symbol: char) -> bool {
        let found = *self.peek() == Token::Symbol(symbol);
        if found {
            self.advance();
        }
        found
    }

    fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Word(here) if here.eq_ignore_ascii_case(word));
        if found {
            self.advance();
        }
        found
    }

    fn error<T>(&self, message: impl Into<String>) -> Parsed<T> {
        Err(ParseError { message: message.into(), span: self.span() })
    }

    fn here(&self) -> String {
        match self.peek() {
            Token::End => "the end".into(),
            _ => format!("`{}`", &self.text[self.span()]),
        }
    }

    fn expect_word(&mut self, word: &str) -> Parsed<()> {
        if self.word(word) { Ok(()) } else { self.error(format!("expected {word}, found {}", self.here())) }
    }

    fn expect_symbol(&mut self, symbol: char) -> Parsed<()> {
        if self.symbol(symbol) {
            Ok(())
        } else {
            self.error(format!("expected `{symbol}`, found {}", self.here()))
        }
    }

    /// A name: lower case unless quoted.
    fn name(&mut self) -> Parsed<String> {
        let name = match self.peek() {
            Token::Word(word) if !word.starts_with(|c: char| c.is_ascii_digit()) => word.to_ascii_lowercase(),
            Token::Quoted(name) => name.clone(),
            _ => return self.error(format!("expected a name, found {}", self.here())),
        };
        self.advance();
        Ok(name)
    }

    fn table(&mut self, keyspace: &str) -> Parsed<Table> {
        if self.word("IF") {
            self.expect_word("NOT")?;
            self.expect_word("EXISTS")?;
        }
        let mut name = self.name()?;
        let mut in_keyspace = keyspace.to_owned();
        if self.symbol('.') {
            in_keyspace = std::mem::replace(&mut name, self.name()?);
        }
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
        let name = self.name()?;
        let span = self.span();
        let written = match self.peek() {
            Token::Word(word) => word.clone(),
            _ => return self.error(format!("expected the type of {name}, found {}", self.here())),
        };
        let Some(kind) = Type::from_name(&written) else {
            return Err(ParseError { message: no_such_type(&written), span });
        };
        self.advance();
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
                parts.push((self.name()?, Key::Partition));
                if !self.symbol(',') {
                    break;
                }
            }
            self.expect_symbol(')')?;
        } else {
            parts.push((self.name()?, Key::Partition));
        }
        while self.symbol(',') {
            parts.push((self.name()?, Key::Clustering));
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

fn no_such_type(written: &str) -> String {
    match written.to_ascii_lowercase().as_str() {
        "counter" => "counter: writing a message twice would count it twice; count in a query instead".into(),
        "duration" => "duration: Spark has no such value; store seconds as bigint".into(),
        "list" | "set" | "map" | "frozen" | "tuple" | "vector" => {
            format!("{written}: collections are not supported yet; store JSON text with to_json")
        }
        _ => format!("`{written}` is no type; one of {}", Type::names().collect::<Vec<_>>().join(", ")),
    }
}

fn key_first(mut columns: Vec<Column>, key: &[(String, Key)]) -> Result<Vec<Column>, String> {
    let mut ordered = Vec::with_capacity(columns.len());
    for (name, part) in key {
        let Some(at) = columns.iter().position(|column| column.name == *name) else {
            return Err(format!("PRIMARY KEY names {name}, which is no column (or twice in the key)"));
        };
        ordered.push(Column { key: Some(*part), ..columns.remove(at) });
    }
    ordered.append(&mut columns);
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_table_with_its_keyspace() {
        let text = "CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1};\n\
                    CREATE TABLE IF NOT EXISTS k.t (v varchar, \"Day\" date, id UUID, -- a comment; with one\n\
                    PRIMARY KEY ((id), \"Day\")) WITH CLUSTERING ORDER BY (\"Day\" DESC);";
        let table = parse(text, "k", "t").expect("a table");
        let columns: Vec<_> = table.columns.iter().map(|c| (c.name.as_str(), c.kind, c.key)).collect();
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
    fn says_what_is_wrong_and_where() {
        for (text, message, at) in [
            ("CREATE TABLE k.t (id uid PRIMARY KEY)", "`uid` is no type", "uid"),
            ("CREATE TABLE k.t (id uuid)", "no PRIMARY KEY", ")"),
            ("CREATE TABLE k.t (id uuid, PRIMARY KEY (x))", "names x", ")"),
            ("CREATE TABLE k.t (id uuid PRIMARY KEY, n counter)", "count it twice", "counter"),
            (
                "CREATE TABLE k.u (id uuid PRIMARY KEY)",
                "this creates k.u",
                "CREATE TABLE k.u (id uuid PRIMARY KEY)",
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
