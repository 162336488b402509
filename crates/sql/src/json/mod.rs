//! Messages to columns and back, as Spark's `from_json` and `to_json` do it.
//!
//! A message is readable when Spark's `from_json` with the declared schema, mode PERMISSIVE and
//! [`FROM_JSON`] would not mark it corrupt, and nothing but white space follows its value.

mod column;
mod decode;
mod encode;
mod path;
mod read;
mod scan;
mod tree;
mod values;

/// The options with which Spark's `from_json` reads a message as it is read here.
pub const FROM_JSON: &[(&str, &str)] = &[
    ("allowSingleQuotes", "false"),
    ("allowNonNumericNumbers", "false"),
    ("allowComments", "false"),
    ("allowUnquotedFieldNames", "false"),
    ("allowNumericLeadingZeros", "false"),
    ("allowBackslashEscapingAnyCharacter", "false"),
    ("allowUnquotedControlChars", "false"),
];

pub(crate) use decode::java_text;
pub use decode::{Decoded, Decoder};
pub use encode::{encode_rows, is_writable};
pub(crate) use encode::{to_base64, to_texts};
pub(crate) use path::Path;
pub(crate) use read::base64;
pub(crate) use tree::{JavaText, Node, OF_FROM_JSON, OF_PATHS, first_value};
pub(crate) use values::{Formats, from_texts, is_readable};
