//! Turns a query and an input schema into a function from batch to batch, answering exactly as
//! Spark does; what is not known to be answered the same is refused with the reason.
//!
//! [`FlowQuery`] is that function; [`Decoder`] turns messages into its input, [`encode_rows`]
//! its output into messages; [`answer`] evaluates a single statement without a table, [`explain`] shows what a query is.
//!
//! The way of a query: `syntax` (text to tree), `bind` (tree to typed expressions, each node with
//! Spark's meaning or refused), `cast` and `functions` (those meanings), DataFusion (evaluation).

mod answer;
mod bind;
mod carry;
mod cast;
mod error;
mod explain;
mod flow;
mod functions;
mod java_regex;
mod java_time;
mod json;
mod operation;
mod plan;
mod query;
mod syntax;
mod types;

pub use answer::{Answer, answer};
pub use carry::{carry, carry_past_filters};
pub use cast::cell_text;
pub use error::{ErrorKind, SqlError};
pub use explain::{Explanation, Step, explain};
pub use flow::{FlowQuery, Transformed};
pub use functions::{FunctionNote, RefusalNote, answered_functions, refused_functions};
pub use json::{Decoded, Decoder, FROM_JSON, encode_rows, is_writable};
pub use query::{QueryError, TableQuery, TableReader};
pub use syntax::has_text_keys;
pub use types::{parse_schema, schema_ddl, simple_string, type_ddl};
