//! Column types and the shape of a table.

use std::fmt;

use arrow::datatypes::DataType;

/// The types of CQL, without those that writing twice would double (`counter`, a list that is not
/// frozen) and those that no query gives (`vector`, tuples, types of users).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
    /// Months, days and nanoseconds, as text.
    Duration,
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
    /// `frozen<list<…>>`: values in their order, replaced as a whole.
    List(Box<Type>),
    /// `set<…>`: each value once.
    Set {
        /// Of what.
        element: Box<Type>,
        /// Whether it is one cell, replaced as a whole; else each element is a cell.
        is_frozen: bool,
    },
    /// `map<…, …>`: a value for each key.
    Map {
        /// Of what the keys are.
        key: Box<Type>,
        /// Of what the values are.
        value: Box<Type>,
        /// Whether it is one cell, replaced as a whole; else each entry is a cell.
        is_frozen: bool,
    },
}

static NAMES: [(&str, Type); 20] = [
    ("ascii", Type::Ascii),
    ("bigint", Type::Bigint),
    ("blob", Type::Blob),
    ("boolean", Type::Boolean),
    ("date", Type::Date),
    ("decimal", Type::Decimal),
    ("double", Type::Double),
    ("duration", Type::Duration),
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
    /// The scalar type of that name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, found)| found.clone())
    }

    /// The names of the scalar types, for suggestions.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// Whether it is a list, a set or a map.
    pub fn is_collection(&self) -> bool {
        matches!(self, Self::List(_) | Self::Set { .. } | Self::Map { .. })
    }

    /// Whether a column of it is a cell for each element, so that two writes of the same time are
    /// merged element by element.
    pub fn is_multi_cell(&self) -> bool {
        matches!(self, Self::Set { is_frozen: false, .. } | Self::Map { is_frozen: false, .. })
    }

    /// Whether its values have an order, without which they are no part of a primary key or of a set, and no
    /// key of a map.
    pub fn has_order(&self) -> bool {
        match self {
            Self::Duration => false,
            Self::List(element) | Self::Set { element, .. } => element.has_order(),
            Self::Map { key, value, .. } => key.has_order() && value.has_order(),
            _ => true,
        }
    }

    /// How many bytes Cassandra stores of each of its values; none where it is not always as many.
    pub fn value_bytes(&self) -> Option<usize> {
        match self {
            Self::Boolean | Self::Tinyint => Some(1),
            Self::Smallint => Some(2),
            Self::Date | Self::Float | Self::Int => Some(4),
            Self::Bigint | Self::Double | Self::Time | Self::Timestamp => Some(8),
            Self::Timeuuid | Self::Uuid => Some(16),
            _ => None,
        }
    }

    /// Whether a column of the query's type can be stored in a column of this type; single
    /// values may still be refused (`bad-value`).
    pub fn takes(&self, from: &DataType) -> bool {
        use DataType as D;
        let integer = matches!(from, D::Int8 | D::Int16 | D::Int32 | D::Int64);
        match self {
            Self::Ascii | Self::Duration | Self::Inet | Self::Text | Self::Timeuuid | Self::Uuid => {
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
            Self::List(element) | Self::Set { element, .. } => {
                matches!(from, D::List(item) if element.takes(item.data_type()))
            }
            Self::Map { key, value, .. } => {
                let D::Map(entries, _) = from else { return false };
                let D::Struct(entry) = entries.data_type() else { return false };
                matches!(&entry[..], [k, v] if key.takes(k.data_type()) && value.takes(v.data_type()))
            }
        }
    }

    /// The Spark type that [`Type::takes`] as it is, for advice.
    pub fn wants(&self) -> String {
        let name = match self {
            Self::Ascii | Self::Duration | Self::Inet | Self::Text | Self::Timeuuid | Self::Uuid => "STRING",
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
            Self::List(element) | Self::Set { element, .. } => return format!("ARRAY<{}>", element.wants()),
            Self::Map { key, value, .. } => return format!("MAP<{}, {}>", key.wants(), value.wants()),
        };
        name.to_owned()
    }
}

impl fmt::Display for Type {
    /// As Cassandra writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(element) => write!(f, "frozen<list<{element}>>"),
            Self::Set { element, is_frozen: true } => write!(f, "frozen<set<{element}>>"),
            Self::Set { element, is_frozen: false } => write!(f, "set<{element}>"),
            Self::Map { key, value, is_frozen: true } => write!(f, "frozen<map<{key}, {value}>>"),
            Self::Map { key, value, is_frozen: false } => write!(f, "map<{key}, {value}>"),
            scalar => {
                let (name, _) =
                    NAMES.iter().find(|(_, known)| known == scalar).expect("every scalar type has a name");
                f.write_str(name)
            }
        }
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

impl Key {
    /// How a sentence about the length of its columns begins.
    pub fn has(self) -> &'static str {
        match self {
            Self::Partition => "the partition key has",
            Self::Clustering => "the clustering columns have",
        }
    }
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
