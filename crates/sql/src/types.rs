//! Spark's types as Arrow types, and their names.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use crate::error::SqlError;
use crate::syntax;

/// Reads a schema in Spark's DDL form: `a INT, b STRUCT<c: STRING>`. `NOT NULL` in it promises nothing, as in Spark's
/// `from_json`: what a message lacks is null.
pub fn parse_schema(text: &str) -> Result<SchemaRef, SqlError> {
    let kind = parse_struct(text)?;
    distinct(&kind, 0..text.len())?;
    if has_void(&kind) {
        return Err(SqlError::unsupported("a field of type VOID is always null", 0..text.len())
            .help("leave it out, or write its type"));
    }
    let DataType::Struct(fields) = kind else { unreachable!("fields are a struct") };
    Ok(Arc::new(Schema::new(fields)))
}

fn parse_struct(text: &str) -> Result<DataType, SqlError> {
    let fields = syntax::parse_fields(text)?.into_iter();
    Ok(DataType::Struct(fields.map(|field| Field::new(field.name, nullable(&field.kind), true)).collect()))
}

/// Refuses fields of one name: of them Spark reads the last, if any.
fn distinct(kind: &DataType, span: Range<usize>) -> Result<(), SqlError> {
    match kind {
        DataType::List(part) | DataType::Map(part, _) => distinct(part.data_type(), span),
        DataType::Struct(fields) => fields.iter().enumerate().try_for_each(|(at, field)| {
            if fields[..at].iter().any(|before| before.name() == field.name()) {
                let message = format!("two fields are named `{}`", field.name());
                return Err(SqlError::unsupported(message, span.clone()).help("leave one of them out"));
            }
            distinct(field.data_type(), span.clone())
        }),
        _ => Ok(()),
    }
}

fn has_void(kind: &DataType) -> bool {
    match kind {
        DataType::Null => true,
        DataType::List(part) | DataType::Map(part, _) => has_void(part.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_void(field.data_type())),
        _ => false,
    }
}

/// Reads a type of what is read from JSON: fields as in a schema are a struct, and all of it may be null.
pub(crate) fn parse_type(text: &str) -> Result<DataType, SqlError> {
    let kind = match syntax::parse_data_type(text) {
        Ok(kind) => nullable(&kind),
        // The reading that came further is what was meant.
        Err(as_type) => parse_struct(text).map_err(|as_fields| {
            if as_fields.span.start > as_type.span.start { as_fields } else { as_type }
        })?,
    };
    distinct(&kind, 0..text.len())?;
    Ok(kind)
}

/// The type with every part of it nullable but the keys of maps.
pub(crate) fn nullable(kind: &DataType) -> DataType {
    match kind {
        DataType::List(item) => {
            DataType::List(Arc::new(Field::new(item.name(), nullable(item.data_type()), true)))
        }
        DataType::Struct(fields) => {
            let fields =
                fields.iter().map(|field| Field::new(field.name(), nullable(field.data_type()), true));
            DataType::Struct(fields.collect())
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(entry) => map_of(nullable(entry[0].data_type()), nullable(entry[1].data_type())),
            _ => kind.clone(),
        },
        other => other.clone(),
    }
}

/// Spark's name of a type, as `simpleString` gives it.
pub fn simple_string(kind: &DataType) -> String {
    match kind {
        DataType::Null => "void".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Int8 => "tinyint".into(),
        DataType::Int16 => "smallint".into(),
        DataType::Int32 => "int".into(),
        DataType::Int64 => "bigint".into(),
        DataType::Float32 => "float".into(),
        DataType::Float64 => "double".into(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Utf8 => "string".into(),
        DataType::Binary => "binary".into(),
        DataType::Date32 => "date".into(),
        DataType::Timestamp(_, Some(_)) => "timestamp".into(),
        DataType::Timestamp(_, None) => "timestamp_ntz".into(),
        DataType::List(item) => format!("array<{}>", simple_string(item.data_type())),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => {
                format!(
                    "map<{},{}>",
                    simple_string(fields[0].data_type()),
                    simple_string(fields[1].data_type())
                )
            }
            _ => "map".into(),
        },
        DataType::Struct(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|field| format!("{}:{}", field.name(), simple_string(field.data_type())))
                .collect();
            format!("struct<{}>", fields.join(","))
        }
        other => format!("{other}"),
    }
}

/// A schema in Spark's DDL form, each name in backticks.
pub fn schema_ddl(schema: &Schema) -> String {
    let fields = schema
        .fields()
        .iter()
        .map(|field| format!("{} {}", quoted(field.name()), type_ddl(field.data_type())));
    fields.collect::<Vec<_>>().join(", ")
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A type in Spark's DDL form, each name in backticks.
pub fn type_ddl(kind: &DataType) -> String {
    match kind {
        DataType::List(item) => format!("array<{}>", type_ddl(item.data_type())),
        DataType::Struct(fields) => {
            let fields = fields
                .iter()
                .map(|field| format!("{}: {}", quoted(field.name()), type_ddl(field.data_type())));
            format!("struct<{}>", fields.collect::<Vec<_>>().join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => {
                format!("map<{}, {}>", type_ddl(fields[0].data_type()), type_ddl(fields[1].data_type()))
            }
            _ => "map".into(),
        },
        other => simple_string(other),
    }
}

/// Spark's timestamp: microseconds, a moment on the time line.
pub(crate) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// A map type.
pub(crate) fn map_of(key: DataType, value: DataType) -> DataType {
    let entries = Fields::from(vec![Field::new("key", key, false), Field::new("value", value, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_written_as_it_is_read() {
        let text =
            "`a b` decimal(10,2), `s` struct<`x``y`: array<string>, `T`: timestamp>, `m` map<string, int>";
        assert_eq!(schema_ddl(&parse_schema(text).expect("a schema")), text);
    }

    #[test]
    fn what_no_message_is_read_into_is_refused() {
        for (text, why) in [
            ("a INT, b STRING, a STRING", "two fields are named `a`"),
            ("l ARRAY<STRUCT<k: INT, k: INT>>", "two fields are named `k`"),
            ("m MAP<STRING, STRUCT<k: INT, k: INT>>", "two fields are named `k`"),
            ("a INT, b VOID", "VOID"),
            ("a STRUCT<b: ARRAY<VOID>>", "VOID"),
            ("a: INT", "a colon stands only in a STRUCT"),
            ("a STRUCT<b: INT,>", "expected a name"),
            ("a INT,", "expected a name"),
            ("a `INT`", "a type without backticks"),
        ] {
            let error = parse_schema(text).expect_err(text);
            assert!(error.message.contains(why), "{text}: {error}");
        }
        for text in ["a INT, A INT", "s STRUCT<a INT, b: INT>, t STRUCT<a: INT>"] {
            assert!(parse_schema(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn nothing_is_promised_not_to_be_null() {
        let promised = "a INT NOT NULL, s STRUCT<x: INT NOT NULL, l: ARRAY<STRUCT<y: INT NOT NULL>>> NOT NULL, \
                        m MAP<STRING, STRUCT<z: INT NOT NULL>>";
        let plain = promised.replace(" NOT NULL", "");
        assert_eq!(parse_schema(promised), parse_schema(&plain));
        assert_eq!(parse_type(promised), parse_type(&plain));
        let kind = "STRUCT<m: MAP<STRING, STRUCT<z: INT NOT NULL>>>";
        assert_eq!(parse_type(kind), parse_type(&kind.replace(" NOT NULL", "")));
        assert!(parse_schema("a INT NOT").is_err());
    }
}
