//! Every value as the text that Spark prints: `CAST(… AS STRING)`.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType,
};

use super::java_floating::{java_double, java_float};
use super::times;
use crate::operation::{Kernel, on_arrays};

pub(super) fn kernel(from: &DataType) -> Option<Kernel> {
    is_printable(from).then(|| {
        on_arrays(|args| {
            let formatter = Formatter::new(&args[0]);
            let mut texts = StringBuilder::with_capacity(args[0].len(), args[0].len() * 8);
            let mut text = String::new();
            for row in 0..args[0].len() {
                text.clear();
                if formatter.write(row, &mut text) { texts.append_value(&text) } else { texts.append_null() }
            }
            Ok(Arc::new(texts.finish()) as ArrayRef)
        })
    })
}

fn is_printable(kind: &DataType) -> bool {
    match kind {
        DataType::Boolean
        | DataType::Date32
        | DataType::Timestamp(..)
        | DataType::Utf8
        | DataType::Binary => true,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => true,
        DataType::Float32 | DataType::Float64 | DataType::Decimal128(..) | DataType::Null => true,
        DataType::List(element) => is_printable(element.data_type()),
        DataType::Map(entries, _) => is_printable(entries.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_printable(field.data_type())),
        _ => false,
    }
}

/// Writes the cells of a column as text.
pub(crate) struct Formatter<'a> {
    array: &'a ArrayRef,
    children: Vec<Formatter<'a>>,
}

impl<'a> Formatter<'a> {
    pub(crate) fn new(array: &'a ArrayRef) -> Self {
        let children = match array.data_type() {
            DataType::List(_) => vec![Self::new(array.as_list::<i32>().values())],
            DataType::Map(..) => vec![Self::new(array.as_map().keys()), Self::new(array.as_map().values())],
            DataType::Struct(_) => array.as_struct().columns().iter().map(Self::new).collect(),
            _ => Vec::new(),
        };
        Self { array, children }
    }

    /// Appends the cell of `row`; false, with nothing appended, for null.
    pub(crate) fn write(&self, row: usize, out: &mut String) -> bool {
        if self.array.is_null(row) || *self.array.data_type() == DataType::Null {
            return false;
        }
        match self.array.data_type() {
            DataType::Utf8 => out.push_str(self.array.as_string::<i32>().value(row)),
            DataType::Binary => {
                out.push_str(&String::from_utf8_lossy(self.array.as_binary::<i32>().value(row)))
            }
            DataType::Boolean => {
                out.push_str(if self.array.as_boolean().value(row) { "true" } else { "false" })
            }
            DataType::Int8 => write_number(out, self.array.as_primitive::<Int8Type>().value(row)),
            DataType::Int16 => write_number(out, self.array.as_primitive::<Int16Type>().value(row)),
            DataType::Int32 => write_number(out, self.array.as_primitive::<Int32Type>().value(row)),
            DataType::Int64 => write_number(out, self.array.as_primitive::<Int64Type>().value(row)),
            DataType::Float32 => java_float(self.array.as_primitive::<Float32Type>().value(row), out),
            DataType::Float64 => java_double(self.array.as_primitive::<Float64Type>().value(row), out),
            DataType::Decimal128(_, scale) => {
                big_decimal(self.array.as_primitive::<Decimal128Type>().value(row), *scale, out);
            }
            DataType::Date32 => {
                times::write_date(self.array.as_primitive::<Date32Type>().value(row).into(), out)
            }
            DataType::Timestamp(..) => {
                times::write_timestamp(self.array.as_primitive::<TimestampMicrosecondType>().value(row), out);
            }
            DataType::List(_) => self.write_list(row, out),
            DataType::Map(..) => self.write_map(row, out),
            DataType::Struct(_) => self.write_struct(row, out),
            _ => return false,
        }
        true
    }

    fn write_or_null(&self, row: usize, out: &mut String) {
        if !self.write(row, out) {
            out.push_str("null");
        }
    }

    fn write_list(&self, row: usize, out: &mut String) {
        let offsets = self.array.as_list::<i32>().value_offsets();
        out.push('[');
        for (at, item) in (offsets[row]..offsets[row + 1]).enumerate() {
            out.push_str(if at > 0 { ", " } else { "" });
            self.children[0].write_or_null(item as usize, out);
        }
        out.push(']');
    }

    fn write_map(&self, row: usize, out: &mut String) {
        let offsets = self.array.as_map().value_offsets();
        out.push('{');
        for (at, entry) in (offsets[row]..offsets[row + 1]).enumerate() {
            out.push_str(if at > 0 { ", " } else { "" });
            self.children[0].write_or_null(entry as usize, out);
            out.push_str(" -> ");
            self.children[1].write_or_null(entry as usize, out);
        }
        out.push('}');
    }

    fn write_struct(&self, row: usize, out: &mut String) {
        out.push('{');
        for (at, child) in self.children.iter().enumerate() {
            out.push_str(if at > 0 { ", " } else { "" });
            child.write_or_null(row, out);
        }
        out.push('}');
    }
}

fn write_number(out: &mut String, number: impl Into<i64>) {
    write!(out, "{}", number.into()).expect("writing to a text");
}

/// A DECIMAL as Java's `BigDecimal.toString` prints it.
pub(crate) fn big_decimal(unscaled: i128, scale: i8, out: &mut String) {
    let digits = unscaled.unsigned_abs().to_string();
    if unscaled < 0 {
        out.push('-');
    }
    let scale = scale.max(0) as usize;
    let adjusted = digits.len() as i32 - 1 - scale as i32;
    if adjusted < -6 {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        write!(out, "{first}{point}{rest}E{adjusted}").expect("writing to a text");
        return;
    }
    if scale == 0 {
        out.push_str(&digits);
        return;
    }
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    write!(out, "{whole}.{fraction}").expect("writing to a text");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_printed_as_java_does() {
        for (unscaled, scale, expected) in [
            (0, 2, "0.00"),
            (-5, 2, "-0.05"),
            (12345, 0, "12345"),
            (1, 7, "1E-7"),
            (12, 8, "1.2E-7"),
            (1, 6, "0.000001"),
        ] {
            let mut out = String::new();
            big_decimal(unscaled, scale, &mut out);
            assert_eq!(out, expected);
        }
    }
}
