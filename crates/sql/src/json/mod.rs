//! Messages to columns and back, as Spark's `from_json` and `to_json` do it.
//!
//! A message is readable when Spark's `from_json` with the declared schema, mode PERMISSIVE and
//! [`FROM_JSON`] would not mark it corrupt, and nothing but white space follows its value.

mod column;
mod decode;
mod encode;
mod read;
mod scan;

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

pub use decode::{Decoded, Decoder};
pub use encode::encode_rows;
pub(crate) use encode::to_base64;
pub(crate) use read::base64;
