//! Tables as Cassandra knows them: types, definitions, and values checked against their type.
//! Both table stores, the embedded one and Cassandra, stand on this.

mod parse;
mod types;
mod value;

pub use parse::{ParseError, parse};
pub use types::{Column, Key, Table, Type};
pub use value::{Cells, Value};
