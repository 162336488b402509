//! `from_json`: texts in a column to structs. A value that is none of its field's type makes the
//! field null and leaves the others; a text that is no JSON makes all fields null.
//! Source: Spark's `JacksonParser` in mode PERMISSIVE with partial results.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;

use super::column::{Column, Values};
use super::read::{date, decimal, float, local_timestamp, timestamp};
use super::tree::{JavaText, Node, OF_FROM_JSON, first_value};
use crate::java_time::TimePattern;

/// How dates and times are written, where not in Spark's own way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Formats {
    pub(crate) timestamp: Option<TimePattern>,
    pub(crate) date: Option<TimePattern>,
}

/// Whether values of the type are read as Spark does.
pub(crate) fn is_readable(kind: &DataType) -> bool {
    match kind {
        DataType::Struct(fields) => fields.iter().all(|field| is_readable(field.data_type())),
        DataType::List(item) => is_readable(item.data_type()),
        // With other values than texts a mismatch breaks the map in Spark.
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => fields.iter().all(|field| *field.data_type() == DataType::Utf8),
            _ => false,
        },
        // Where base64 ends too early Jackson reads on behind the text's end.
        DataType::Null | DataType::Binary => false,
        _ => true,
    }
}

/// The structs of `kind` in the texts of a column.
pub(crate) fn from_texts(texts: &ArrayRef, kind: &DataType, formats: &Formats) -> ArrayRef {
    let mut column = Column::new(kind);
    for text in texts.as_string::<i32>() {
        match text.map(|text| first_value(text, OF_FROM_JSON)) {
            None | Some(Ok(None)) => column.push_null(),
            Some(Ok(Some(node @ Node::Object(_)))) => {
                let row = column.len();
                if push(&node, &mut column, formats).is_err() {
                    column.truncate(row);
                    column.push_null();
                }
            }
            Some(_) => push_nothing(&mut column),
        }
    }
    debug_assert_eq!(column.len(), texts.len());
    column.finish()
}

/// A struct whose fields are all null.
fn push_nothing(column: &mut Column) {
    if let Values::Struct { children, .. } = &mut column.values {
        children.iter_mut().for_each(Column::push_null);
    }
    column.push_valid();
}

struct Mismatch;

/// Adds a value as one row; where it is none of the column's type, the column has to be cut back.
fn push(node: &Node, column: &mut Column, formats: &Formats) -> Result<(), Mismatch> {
    if *node == Node::Null {
        column.push_null();
        return Ok(());
    }
    match (&mut column.values, &column.kind, node) {
        (Values::Bytes { bytes, ends }, DataType::Utf8, node) => {
            match node {
                Node::Text(text) => bytes.extend_from_slice(text.shown.as_bytes()),
                node => node.write(true, bytes),
            }
            ends.push(i32::try_from(bytes.len()).map_err(|_| Mismatch)?);
        }
        (Values::Boolean(values), _, Node::Boolean(value)) => values.push(*value),
        (Values::List { items, ends }, _, Node::Array(nodes)) => {
            nodes.iter().try_for_each(|node| push(node, items, formats))?;
            ends.push(items.len() as i32);
        }
        (Values::Map { entries, ends }, _, Node::Object(members)) => {
            let [keys, values] = entries;
            for (name, value) in members {
                push(&Node::Text(name.clone()), keys, formats)?;
                push(value, values, formats)?;
            }
            ends.push(keys.len() as i32);
        }
        (Values::Struct { fields, children, .. }, _, Node::Object(members)) => {
            for (field, child) in fields.iter().zip(children) {
                push_field(field.name(), members, child, formats);
            }
        }
        (values, kind, node) => push_scalar(values, kind, node, formats).ok_or(Mismatch)?,
    }
    column.push_valid();
    Ok(())
}

/// Of a name that comes several times the last value that fits its type counts.
fn push_field(name: &str, members: &[(JavaText, Node)], child: &mut Column, formats: &Formats) {
    let row = child.len();
    for (_, node) in members.iter().rev().filter(|(known, _)| known.is(name)) {
        if push(node, child, formats).is_ok() {
            return;
        }
        child.truncate(row);
    }
    child.push_null();
}

fn push_scalar(values: &mut Values, kind: &DataType, node: &Node, formats: &Formats) -> Option<()> {
    match (values, kind, node) {
        (Values::Int8(values), _, Node::Number(text, true)) => {
            // Jackson takes unsigned bytes, too, and Java makes them negative.
            values.push(text.parse::<i16>().ok().filter(|byte| (-128..=255).contains(byte))? as i8);
        }
        (Values::Int16(values), _, Node::Number(text, true)) => values.push(text.parse().ok()?),
        (Values::Int32(values), DataType::Int32, Node::Number(text, true)) => values.push(text.parse().ok()?),
        (Values::Int64(values), DataType::Int64, Node::Number(text, true)) => values.push(text.parse().ok()?),
        (Values::Float32(values), _, Node::Number(text, whole)) => values.push(float(text, *whole)?),
        (Values::Float64(values), _, Node::Number(text, _)) => values.push(text.parse().ok()?),
        (Values::Float32(values), _, node) => values.push(non_number(node)? as f32),
        (Values::Float64(values), _, node) => values.push(non_number(node)?),
        (Values::Decimal(values), DataType::Decimal128(precision, scale), Node::Number(text, _)) => {
            values.push(decimal(text, *precision, *scale)?);
        }
        (Values::Decimal(values), DataType::Decimal128(precision, scale), Node::Text(text)) => {
            values.push(decimal(&text.shown, *precision, *scale)?);
        }
        (Values::Int32(values), DataType::Date32, Node::Text(text)) if !text.shown.is_empty() => {
            values.push(match &formats.date {
                Some(pattern) => pattern.read_day(text.whole()?)?.try_into().ok()?,
                None => date(&text.shown)?,
            });
        }
        // `timestampFormat` is for times with a zone alone.
        (Values::Int64(values), DataType::Timestamp(_, None), Node::Text(text)) => {
            values.push(local_timestamp(&text.shown)?);
        }
        (Values::Int64(values), DataType::Timestamp(_, Some(_)), Node::Text(text))
            if !text.shown.is_empty() =>
        {
            values.push(match &formats.timestamp {
                Some(pattern) => pattern.read(text.whole()?).ok()??,
                None => timestamp(&text.shown)?,
            });
        }
        (Values::Int64(values), DataType::Timestamp(_, Some(_)), Node::Number(text, true)) => {
            values.push(text.parse::<i64>().ok()?.wrapping_mul(1_000_000));
        }
        _ => return None,
    }
    Some(())
}

fn non_number(node: &Node) -> Option<f64> {
    match node {
        Node::NonNumber(number) => Some(*number),
        Node::Text(text) => match text.shown.as_str() {
            "NaN" => Some(f64::NAN),
            "+INF" | "+Infinity" | "Infinity" => Some(f64::INFINITY),
            "-INF" | "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::answer;

    /// What `from_json` reads of the field `a`, as text.
    fn read(message: &str, kind: &str, options: &str) -> Option<String> {
        let sql = format!("SELECT from_json('{message}', 'a {kind}'{options}).a");
        answer(&sql).unwrap_or_else(|e| panic!("{sql}: {e}")).expect("a row").text[0].clone()
    }

    #[test]
    fn a_time_without_a_zone_is_a_text_without_one() {
        for (value, expected) in [
            ("\"2024-02-29T12:30:00\"", Some("2024-02-29 12:30:00")),
            ("\" 2024-02-29 \"", Some("2024-02-29 00:00:00")),
            ("\"2024-02-29T12:30:00+02:00\"", None),
            ("\"2024-02-29T12:30:00Z\"", None),
            ("\"2024-02-29 12:30:00 Europe/Paris\"", None),
            ("\"12:30\"", None),
            ("\"T12:30:00\"", None),
            ("\"2024-02-29T12:30:00GMT+02:00\"", None),
            ("\"\"", None),
            ("1700000000", None),
        ] {
            let message = format!("{{\"a\":{value}}}");
            for options in ["", ", map('timestampFormat', 'dd.MM.yyyy')"] {
                assert_eq!(
                    read(&message, "TIMESTAMP_NTZ", options).as_deref(),
                    expected,
                    "{message}{options}"
                );
            }
        }
        let moment = read("{\"a\":\"2024-02-29T12:30:00+02:00\"}", "TIMESTAMP", "");
        assert_eq!(moment.as_deref(), Some("2024-02-29 10:30:00"));
    }

    #[test]
    fn halves_of_characters_are_escaped_in_json() {
        for (value, kind, expected) in [
            (r#"{"k":"\\ud83d"}"#, "STRING", Some(r#"{"k":"\uD83D"}"#)),
            (r#"["\\ude00"]"#, "STRING", Some(r#"["\uDE00"]"#)),
            (r#""x\\ud83dy""#, "STRING", Some("x?y")),
            (r#"["x\\ud83dy"]"#, "ARRAY<STRING>", Some("[x?y]")),
        ] {
            assert_eq!(read(&format!("{{\"a\":{value}}}"), kind, "").as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn a_date_may_be_a_number_of_days() {
        for (value, expected) in [
            ("٣", Some("1970-01-04")),
            ("-999", Some("1967-04-08")),
            ("+5", Some("1970-01-06")),
            ("12345678", Some("+35771-04-27")),
            ("-00141427", Some("1582-10-15")),
            ("-00141428", Some("1582-10-04")),
            ("-00354221", Some("1000-03-01")),
            ("-00719164", Some("0001-01-01")),
            ("-12345678", Some("-31831-05-05")),
            ("2147483648", None),
            ("+", None),
            ("2024-01-01GMTGMT", Some("2024-01-01")),
        ] {
            assert_eq!(read(&format!("{{\"a\":\"{value}\"}}"), "DATE", "").as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn a_date_is_that_of_its_own_zone() {
        let format = ", map('dateFormat', \"yyyy-MM-dd'T'HH:mm:ssXXX\")";
        for text in ["2024-01-01T00:30:00+02:00", "2024-01-01T23:30:00-02:00", "2024-01-01T12:00:00Z"] {
            let date = read(&format!("{{\"a\":\"{text}\"}}"), "DATE", format);
            assert_eq!(date.as_deref(), Some("2024-01-01"), "{text}");
        }
    }
}
