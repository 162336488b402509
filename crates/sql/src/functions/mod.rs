//! The functions that are answered: one table, each entry with where its meaning comes from.
//! To add one, write it in the file of its group and put its line into [`FUNCTIONS`].

mod conditional;
pub(crate) mod decimal;
mod nested;
mod text;
mod types;

use std::ops::Range;

use arrow::datatypes::DataType;

pub(crate) use nested::index;
pub(crate) use text::concat;

use crate::bind::Bind;
use crate::bind::coerce;
use crate::error::SqlError;
use crate::operation::{Bound, Kernel, apply};
use crate::types::simple_string;

/// A function by its name.
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) bind: fn(Call) -> Bind,
}

/// A call with its arguments bound.
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) args: Vec<Bound>,
    pub(crate) spans: Vec<Range<usize>>,
    pub(crate) span: Range<usize>,
}

macro_rules! functions {
    ($($name:literal => $bind:path,)*) => {
        &[$(Function { name: $name, bind: $bind }),*]
    };
}

/// Every function, by the name under which Spark knows it. Where no source is given in the
/// function's file, it is the description in Spark's function reference.
const FUNCTIONS: &[Function] = functions![
    "coalesce" => conditional::coalesce,
    "nvl" => conditional::nvl,
    "ifnull" => conditional::nvl,
    "nvl2" => conditional::nvl2,
    "nullif" => conditional::nullif,
    "if" => conditional::r#if,
    "isnull" => conditional::is_null,
    "isnotnull" => conditional::is_not_null,
    "equal_null" => conditional::equal_null,
    "concat" => text::concat,
    "concat_ws" => text::concat_ws,
    "lower" => text::lower,
    "lcase" => text::lower,
    "upper" => text::upper,
    "ucase" => text::upper,
    "length" => text::length,
    "len" => text::length,
    "char_length" => text::length,
    "character_length" => text::length,
    "octet_length" => text::octet_length,
    "bit_length" => text::bit_length,
    "trim" => text::trim,
    "btrim" => text::btrim,
    "ltrim" => text::ltrim,
    "rtrim" => text::rtrim,
    "reverse" => text::reverse,
    "repeat" => text::repeat,
    "replace" => text::replace,
    "substring" => text::substring,
    "substr" => text::substring,
    "left" => text::left,
    "right" => text::right,
    "startswith" => text::starts_with,
    "endswith" => text::ends_with,
    "contains" => text::contains,
    "instr" => text::instr,
    "locate" => text::locate,
    "position" => text::locate,
    "array" => nested::array,
    "struct" => nested::r#struct,
    "named_struct" => nested::named_struct,
    "boolean" => types::boolean,
    "tinyint" => types::tinyint,
    "smallint" => types::smallint,
    "int" => types::int,
    "bigint" => types::bigint,
    "float" => types::float,
    "double" => types::double,
    "decimal" => types::decimal,
    "string" => types::string,
    "binary" => types::binary,
    "date" => types::date,
    "timestamp" => types::timestamp,
    "typeof" => types::type_of,
];

/// The function of that name (in lower case).
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// What to say of a name that is not in the table.
pub(crate) fn unknown(name: &str, span: Range<usize>) -> SqlError {
    let near = FUNCTIONS.iter().map(|function| function.name).find(|known| is_near(known, name));
    let error = SqlError::unsupported(format!("the function {name} is not answered natively"), span);
    match near {
        Some(near) => {
            error.help(format!("did you mean {near}? Spark's own functions run with `runner: spark`"))
        }
        None => error.help("run the flow on Spark (`runner: spark`)"),
    }
}

/// Whether one letter more, less or other makes `a` to `b`.
fn is_near(a: &str, b: &str) -> bool {
    let common = |a: &mut dyn Iterator<Item = char>, b: &mut dyn Iterator<Item = char>| {
        a.zip(b).take_while(|(a, b)| a == b).count()
    };
    let front = common(&mut a.chars(), &mut b.chars());
    let longest = a.chars().count().max(b.chars().count());
    let back = common(&mut a.chars().rev(), &mut b.chars().rev()).min(longest - front.min(longest));
    longest > 3 && front + back + 1 >= longest
}

impl Call {
    /// Refuses a call with another number of arguments.
    pub(crate) fn arity(&self, counts: std::ops::RangeInclusive<usize>) -> Bind<()> {
        if counts.contains(&self.args.len()) {
            return Ok(());
        }
        let wanted = match (counts.start(), counts.end()) {
            (min, max) if min == max => format!("{min}"),
            (min, &usize::MAX) => format!("at least {min}"),
            (min, max) => format!("{min} to {max}"),
        };
        let message = format!("{} takes {wanted} argument(s), not {}", self.name, self.args.len());
        Err(SqlError::invalid(message, self.span.clone()))
    }

    /// Brings the argument at `at` to a type, as Spark does by itself.
    pub(crate) fn cast(&mut self, at: usize, kind: &DataType) -> Bind<()> {
        let arg = self.args[at].clone();
        self.args[at] = coerce::to(arg, kind, &self.spans[at])?;
        Ok(())
    }

    /// Brings all arguments to text.
    pub(crate) fn texts(&mut self) -> Bind<()> {
        (0..self.args.len()).try_for_each(|at| self.cast(at, &DataType::Utf8))
    }

    /// Applies `kernel` to the arguments.
    pub(crate) fn apply(self, returns: DataType, kernel: Kernel) -> Bind {
        let name = format!("{} -> {}", self.name, simple_string(&returns));
        apply(name, returns, kernel, self.args).map_err(crate::bind::failed(&self.span))
    }

    /// Refuses the call for these types.
    pub(crate) fn refuse(&self) -> SqlError {
        let kinds: Vec<_> = self.args.iter().map(|arg| simple_string(&arg.kind)).collect();
        let message = format!("{} is not answered natively for ({})", self.name, kinds.join(", "));
        SqlError::unsupported(message, self.span.clone())
    }
}
