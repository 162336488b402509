//! Reads a column's type as CQL writes it, and refuses those that no message can fill, with the way
//! around.

use super::Type;
use super::lexer::{ParseError, Parsed, Token};
use super::parse::Parser;

/// How deep collections may lie in each other.
const NESTING_MAX: usize = 16;

/// What a type is for, which decides whether it must be frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Column,
    /// In a collection that is not frozen.
    Element,
    /// In something frozen: so is all that is in it.
    Frozen,
}

impl Type {
    /// The type that `text` writes in CQL; `None` where that is none of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parser = Parser::new(text).ok()?;
        let found = parser.column_type().ok()?;
        (*parser.peek() == Token::End).then_some(found)
    }
}

impl Parser<'_> {
    /// The type of a column.
    pub(super) fn column_type(&mut self) -> Parsed<Type> {
        self.type_in(Place::Column, 0)
    }

    fn type_in(&mut self, place: Place, depth: usize) -> Parsed<Type> {
        let span = self.span();
        let Token::Word(written) = self.peek().clone() else {
            return self.error(format!("expected a type, found {}", self.here()));
        };
        let wrong = |message: String| Err(ParseError { message, span: span.clone() });
        let name = written.to_ascii_lowercase();
        if !matches!(name.as_str(), "frozen" | "list" | "set" | "map") {
            let Some(scalar) = Type::from_name(&name) else { return wrong(no_such_type(&written)) };
            self.advance();
            return Ok(scalar);
        }
        if depth == NESTING_MAX {
            return wrong(format!("collections are at most {NESTING_MAX} deep"));
        }
        self.advance();
        self.expect_symbol('<')?;
        let is_frozen = place == Place::Frozen;
        let inside = if is_frozen || name == "frozen" { Place::Frozen } else { Place::Element };
        let first = self.type_in(inside, depth + 1)?;
        if matches!(name.as_str(), "set" | "map") && !first.has_order() {
            return wrong(format!("{first} has no order, which a {name} needs; store texts instead"));
        }
        let found = match name.as_str() {
            "frozen" if first.is_collection() => first,
            "frozen" => {
                return wrong(format!("frozen<{first}>: only a list, a set or a map can be frozen"));
            }
            "list" => Type::List(Box::new(first)),
            "set" => Type::Set { element: Box::new(first), is_frozen },
            _ => {
                self.expect_symbol(',')?;
                let value = Box::new(self.type_in(inside, depth + 1)?);
                Type::Map { key: Box::new(first), value, is_frozen }
            }
        };
        self.expect_symbol('>')?;
        match (&found, place) {
            (_, Place::Frozen) => Ok(found),
            _ if name == "frozen" => Ok(found),
            (Type::List(element), Place::Column) => wrong(format!(
                "list<{element}>: writing a message twice would double its elements; write frozen<list<{element}>>"
            )),
            (Type::List(_), Place::Element) => {
                wrong(format!("a collection in a collection must be frozen; write {found}"))
            }
            (_, Place::Element) => {
                wrong(format!("a collection in a collection must be frozen; write frozen<{found}>"))
            }
            (_, Place::Column) => Ok(found),
        }
    }
}

fn no_such_type(written: &str) -> String {
    match written.to_ascii_lowercase().as_str() {
        "counter" => "counter: writing a message twice would count it twice; count in a query instead".into(),
        "tuple" | "vector" => format!(
            "{written} is not supported; there are frozen<list<…>>, set<…> and map<…, …>, and JSON text with to_json"
        ),
        _ => format!(
            "`{written}` is no type (types of users are not supported); one of {}, frozen<list<…>>, set<…>, \
             map<…, …>, frozen<…>",
            Type::names().collect::<Vec<_>>().join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collections_are_read_and_written_as_cassandra_writes_them() {
        for (written, shown) in [
            ("SET<varchar>", "set<text>"),
            ("map< text , Int >", "map<text, int>"),
            ("frozen<list<set<int>>>", "frozen<list<frozen<set<int>>>>"),
            ("map<text, frozen<map<int, list<blob>>>>", "map<text, frozen<map<int, frozen<list<blob>>>>>"),
            ("frozen<frozen<set<uuid>>>", "frozen<set<uuid>>"),
            ("map<text, duration>", "map<text, duration>"),
        ] {
            let read = Type::parse(written).unwrap_or_else(|| panic!("{written} is a type"));
            assert_eq!(read.to_string(), shown);
            assert_eq!(Type::parse(shown), Some(read));
        }
    }

    #[test]
    fn what_cannot_be_written_twice_or_not_at_all_is_refused_with_the_way_around() {
        let deep = format!("frozen<{}int{}>", "list<".repeat(100_000), ">".repeat(100_000));
        for (written, message) in [
            ("list<text>", "write frozen<list<text>>"),
            ("map<text, list<int>>", "must be frozen; write frozen<list<int>>"),
            ("set<set<int>>", "must be frozen; write frozen<set<int>>"),
            ("frozen<int>", "only a list"),
            ("counter", "count it twice"),
            ("set<counter>", "count it twice"),
            ("set<duration>", "no order"),
            ("frozen<map<duration, int>>", "no order"),
            ("vector<float, 3>", "to_json"),
            ("frozen<tuple<int, int>>", "to_json"),
            ("address", "types of users"),
            ("set<int", "expected `>`"),
            ("map<int>", "expected `,`"),
            (deep.as_str(), "at most 16 deep"),
        ] {
            let error = Parser::new(written).and_then(|mut parser| parser.column_type()).expect_err(written);
            assert!(error.message.contains(message), "{error}");
        }
    }
}
