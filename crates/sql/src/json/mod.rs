//! Messages to columns and back, as Spark's `from_json` and `to_json` do it.
//!
//! A message is readable when Spark's `from_json` with the declared schema, mode PERMISSIVE and
//! these options would not mark it corrupt, and nothing but white space follows its value:
//! `allowSingleQuotes`, `allowNonNumericNumbers`, `allowComments`, `allowUnquotedFieldNames`,
//! `allowNumericLeadingZeros`, `allowBackslashEscapingAnyCharacter` and
//! `allowUnquotedControlChars` all false.

mod column;
mod decode;
mod encode;
mod read;
mod scan;

pub use decode::{Decoded, Decoder};
pub use encode::encode_rows;
