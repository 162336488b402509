//! Tables as Cassandra knows them: types, definitions, and values checked against their type.
//! Both table stores, the embedded one and Cassandra, stand on this.

mod cells;
pub mod collection;
mod data_type;
mod description;
mod duration;
mod lexer;
pub mod live;
mod name;
mod order;
mod parse;
mod partition_key;
mod read;
mod row;
mod types;
mod value;

pub use cells::{Cells, Misfit};
pub use description::{describe, described};
pub use duration::Duration;
pub use lexer::ParseError;
pub use live::{LiveColumn, LiveTable, Migration};
pub use name::{is_reserved, quoted};
pub use parse::parse;
pub use partition_key::PartitionKey;
pub use read::{RowsBuilder, schema_of};
pub use row::{KEY_BYTES_MAX, KEY_PART_BYTES, RowReader};
pub use types::{Column, Key, Table, Type};
pub use value::Value;
