//! Tables as Cassandra knows them: types, definitions, and values checked against their type.
//! Both table stores, the embedded one and Cassandra, stand on this.

mod parse;
mod read;
mod row;
mod types;
mod value;

pub use parse::{ParseError, parse};
pub use read::{RowsBuilder, schema_of};
pub use row::RowReader;
pub use types::{Column, Key, Table, Type};
pub use value::{Cells, Value};
