//! Column types and the shape of a table.

use std::fmt;

use arrow::datatypes::DataType;

/// The scalar types of CQL, without `counter` (writing one twice doubles it) and `duration`
/// (Spark has no such value).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// Text of ASCII characters only.
    Ascii,
    /// 64 bits.
    Bigint,
    /// Bytes.
    Blob,
    /// True or false.
    Boolean,
    /// A day.
    Date,
    /// A decimal number of any length.
    Decimal,
    /// A 64-bit floating-point number.
    Double,
    /// A 32-bit floating-point number.
    Float,
    /// An IPv4 or IPv6 address.
    Inet,
    /// 32 bits.
    Int,
    /// 16 bits.
    Smallint,
    /// UTF-8.
    Text,
    /// Nanoseconds since midnight.
    Time,
    /// Milliseconds since 1970.
    Timestamp,
    /// A UUID of version 1.
    Timeuuid,
    /// 8 bits.
    Tinyint,
    /// A UUID.
    Uuid,
    /// An integer of any length.
    Varint,
}

const NAMES: [(&str, Type); 19] = [
    ("ascii", Type::Ascii),
    ("bigint", Type::Bigint),
    ("blob", Type::Blob),
    ("boolean", Type::Boolean),
    ("date", Type::Date),
    ("decimal", Type::Decimal),
    ("double", Type::Double),
    ("float", Type::Float),
    ("inet", Type::Inet),
    ("int", Type::Int),
    ("smallint", Type::Smallint),
    ("text", Type::Text),
    ("time", Type::Time),
    ("timestamp", Type::Timestamp),
    ("timeuuid", Type::Timeuuid),
    ("tinyint", Type::Tinyint),
    ("uuid", Type::Uuid),
    ("varint", Type::Varint),
    // The other name of text comes last, so that printing finds `text` first.
    ("varchar", Type::Text),
];

impl Type {
    /// The type of that name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, found)| found)
    }

    /// All names, for suggestions.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().map(|(name, _)| name)
    }

    /// Whether a column of the query's type can be stored in a column of this type; single
    /// values may still be refused (`bad-value`).
    pub fn takes(self, from: &DataType) -> bool {
        use DataType as D;
        let integer = matches!(from, D::Int8 | D::Int16 | D::Int32 | D::Int64);
        match self {
            Self::Ascii | Self::Text | Self::Inet | Self::Timeuuid | Self::Uuid => {
                matches!(from, D::Utf8 | D::LargeUtf8 | D::Utf8View)
            }
            Self::Bigint | Self::Int | Self::Smallint | Self::Tinyint => integer,
            Self::Blob => matches!(from, D::Binary | D::LargeBinary | D::BinaryView),
            Self::Boolean => *from == D::Boolean,
            Self::Date => *from == D::Date32,
            Self::Decimal => integer || matches!(from, D::Decimal128(..)),
            Self::Double => matches!(from, D::Float32 | D::Float64),
            Self::Float => *from == D::Float32,
            Self::Time => *from == D::Int64,
            Self::Timestamp => matches!(from, D::Timestamp(..)),
            Self::Varint => integer || matches!(from, D::Decimal128(_, 0)),
        }
    }

    /// The Spark type that [`Type::takes`] as it is, for advice.
    pub fn wants(self) -> &'static str {
        match self {
            Self::Ascii | Self::Text | Self::Inet | Self::Timeuuid | Self::Uuid => "STRING",
            Self::Bigint | Self::Time | Self::Varint => "BIGINT",
            Self::Int => "INT",
            Self::Smallint => "SMALLINT",
            Self::Tinyint => "TINYINT",
            Self::Blob => "BINARY",
            Self::Boolean => "BOOLEAN",
            Self::Date => "DATE",
            Self::Decimal => "DECIMAL",
            Self::Double => "DOUBLE",
            Self::Float => "FLOAT",
            Self::Timestamp => "TIMESTAMP",
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = NAMES.iter().find(|(_, known)| known == self).expect("every type has a name");
        f.write_str(name)
    }
}

/// What part of the primary key a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Decides on which nodes the row lives.
    Partition,
    /// Orders the rows of a partition.
    Clustering,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name as Cassandra stores it: lower case unless it was quoted.
    pub name: String,
    /// Its type.
    pub kind: Type,
    /// Its place in the primary key.
    pub key: Option<Key>,
}

/// A table and the statements that make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The keyspace.
    pub keyspace: String,
    /// The name in the keyspace.
    pub name: String,
    /// All columns; those of the primary key stand first, in its order.
    pub columns: Vec<Column>,
    /// The statements as the user wrote them; none where the table belongs to somebody else.
    pub statements: Vec<String>,
}

impl Table {
    /// The columns of the primary key, in its order.
    pub fn key(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.key.is_some())
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.keyspace, self.name)
    }
}
