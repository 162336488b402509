//! Types and the fields of schemas.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, Fields, TimeUnit};

use super::ast::Field;
use super::cursor::{Cursor, Parsed};
use super::lexer::Token;
use crate::error::SqlError;

impl Cursor {
    pub(super) fn data_type(&mut self) -> Parsed<DataType> {
        self.nested(Self::data_type_inner)
    }

    pub(super) fn data_type_inner(&mut self) -> Parsed<DataType> {
        let span = self.span();
        if matches!(self.peek(), Token::Quoted(_)) {
            return self.expected("a type without backticks");
        }
        let name = self.name()?.to_ascii_uppercase();
        Ok(match name.as_str() {
            "BOOLEAN" => DataType::Boolean,
            "TINYINT" | "BYTE" => DataType::Int8,
            "SMALLINT" | "SHORT" => DataType::Int16,
            "INT" | "INTEGER" => DataType::Int32,
            "BIGINT" | "LONG" => DataType::Int64,
            "FLOAT" | "REAL" => DataType::Float32,
            "DOUBLE" => DataType::Float64,
            "DATE" => DataType::Date32,
            "TIMESTAMP" | "TIMESTAMP_LTZ" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            "TIMESTAMP_NTZ" => DataType::Timestamp(TimeUnit::Microsecond, None),
            "STRING" => DataType::Utf8,
            "BINARY" => DataType::Binary,
            "VOID" => DataType::Null,
            "DECIMAL" | "DEC" | "NUMERIC" => self.decimal_type(span)?,
            "ARRAY" => {
                self.expect_symbol("<")?;
                let item = self.data_type()?;
                self.close_angle()?;
                DataType::List(Arc::new(ArrowField::new("element", item, true)))
            }
            "MAP" => {
                self.expect_symbol("<")?;
                let key = self.data_type()?;
                self.expect_symbol(",")?;
                let value = self.data_type()?;
                self.close_angle()?;
                crate::types::map_of(key, value)
            }
            "STRUCT" => self.struct_type(span)?,
            "CHAR" | "CHARACTER" | "VARCHAR" | "INTERVAL" | "VARIANT" => {
                return Err(SqlError::unsupported(format!("the type {name} is not answered natively"), span)
                    .help("STRING holds texts of every length"));
            }
            _ => {
                let known = "BOOLEAN, TINYINT, SMALLINT, INT, BIGINT, FLOAT, DOUBLE, DECIMAL, STRING, BINARY, DATE, \
                             TIMESTAMP, ARRAY, MAP and STRUCT";
                return Err(SqlError::invalid(format!("`{name}` is no type"), span)
                    .help(format!("types are {known}")));
            }
        })
    }

    pub(super) fn decimal_type(&mut self, span: Range<usize>) -> Parsed<DataType> {
        let (mut precision, mut scale) = (10, 0);
        if self.symbol("(") {
            precision = self.count()?;
            if self.symbol(",") {
                scale = self.count()?;
            }
            self.expect_symbol(")")?;
        }
        if precision == 0 || precision > 38 || scale > precision {
            let message = format!(
                "DECIMAL({precision},{scale}) does not exist: at most 38 digits, of which {scale} behind the point"
            );
            return Err(SqlError::invalid(message, span));
        }
        Ok(DataType::Decimal128(precision as u8, scale as i8))
    }

    pub(super) fn struct_type(&mut self, span: Range<usize>) -> Parsed<DataType> {
        let mut fields = Vec::new();
        // `<>` is how the lexer reads a struct without fields.
        if !self.symbol("<>") {
            self.expect_symbol("<")?;
            let mut goes_on = !self.is_symbol(0, ">");
            while goes_on {
                let field = self.field_in_struct()?;
                fields.push(ArrowField::new(field.name, field.kind, field.nullable));
                goes_on = self.symbol(",");
            }
            self.close_angle()?;
        }
        if fields.is_empty() {
            return Err(SqlError::unsupported("a STRUCT without fields is not answered natively", span)
                .help("name a field of it, or leave it out"));
        }
        Ok(DataType::Struct(Fields::from(fields)))
    }

    /// `a INT`, as it stands in a schema.
    pub(super) fn field(&mut self) -> Parsed<Field> {
        let name = self.name()?;
        if self.is_symbol(0, ":") {
            return self.expected("a type (a colon stands only in a STRUCT)");
        }
        self.type_of_field(name)
    }

    /// `a: INT` or `a INT`, as it stands in a STRUCT.
    fn field_in_struct(&mut self) -> Parsed<Field> {
        let name = self.name()?;
        self.symbol(":");
        self.type_of_field(name)
    }

    fn type_of_field(&mut self, name: String) -> Parsed<Field> {
        let kind = self.data_type()?;
        let nullable = !self.word("NOT");
        if !nullable {
            self.expect_word("NULL")?;
        }
        if self.word("COMMENT") {
            match self.peek() {
                Token::String(_) => self.advance(),
                _ => return self.expected("a text behind COMMENT"),
            }
        }
        Ok(Field { name, kind, nullable })
    }
}
