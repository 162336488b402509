//! The functions that are answered: one table ([`table::FUNCTIONS`]), each entry with where its
//! meaning comes from. To add one, write it in the file of its group and put its line into the table.

mod array_items;
mod arrays;
mod bits;
mod compare;
mod conditional;
mod dates;
pub(crate) mod decimal;
mod digest;
mod encode;
mod fdlibm;
mod format;
mod hash;
mod json;
mod lambdas;
mod letters;
mod lists;
mod maps;
mod math;
mod moments;
mod nested;
mod order;
mod pattern;
mod refused;
mod rounding;
mod rows;
mod search;
mod sets;
mod table;
mod text;
mod types;

use std::ops::Range;

use arrow::datatypes::DataType;

pub(crate) use dates::{date_add, date_sub, days_plus_months};
pub(crate) use lambdas::Lambda;
pub(crate) use nested::{index, named_fields};
pub(crate) use order::{compare_values, is_orderable};
pub(crate) use pattern::rlike;
pub(crate) use table::{FUNCTIONS, LAMBDAS};
pub(crate) use text::{concat, lower};

use crate::bind::Bind;
use crate::bind::coerce;
use crate::error::SqlError;
use crate::operation::{Bound, Kernel, apply};
use crate::types::simple_string;

/// What the manual says of a function.
#[derive(Debug, Clone, Copy)]
pub struct FunctionNote {
    /// Its name in Spark.
    pub name: &'static str,
    /// Functions of one kind stand together.
    pub group: &'static str,
    /// Where its meaning comes from.
    pub source: &'static str,
}

/// Why the manual says that a function is refused.
#[derive(Debug, Clone, Copy)]
pub struct RefusalNote {
    /// Its name in Spark.
    pub name: &'static str,
    /// The reason.
    pub why: &'static str,
    /// What to write instead.
    pub instead: &'static str,
}

/// Every function that is answered, in the manual's order.
pub fn answered_functions() -> Vec<FunctionNote> {
    let note = |f: &Function| FunctionNote { name: f.name, group: f.group, source: f.source };
    FUNCTIONS.iter().map(note).collect()
}

/// Every function that is refused by name.
pub fn refused_functions() -> Vec<RefusalNote> {
    let note = |r: &refused::Refused| RefusalNote { name: r.name, why: r.why, instead: r.instead };
    refused::REFUSED.iter().map(note).collect()
}

/// A function by its name.
pub(crate) struct Function {
    pub(crate) name: &'static str,
    /// Functions of one kind stand together.
    pub(crate) group: &'static str,
    /// Where its meaning comes from.
    pub(crate) source: &'static str,
    pub(crate) bind: fn(Call) -> Bind,
}

/// A call with its arguments bound.
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) args: Vec<Bound>,
    /// Arguments that are functions, by their places; in `args` a null stands for each.
    pub(crate) lambdas: Vec<Option<Lambda>>,
    pub(crate) spans: Vec<Range<usize>>,
    pub(crate) span: Range<usize>,
}

/// The function of that name (in lower case).
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// What to say of a name that is not in the table.
pub(crate) fn unknown(name: &str, span: Range<usize>) -> SqlError {
    if let Some(refused) = refused::REFUSED.iter().find(|refused| refused.name == name) {
        let message = format!("the function {name} is not answered natively: {}", refused.why);
        return SqlError::unsupported(message, span).help(refused.instead);
    }
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
    pub(crate) fn new(
        name: &'static str,
        args: Vec<Bound>,
        spans: Vec<Range<usize>>,
        span: Range<usize>,
    ) -> Self {
        Self { name, args, lambdas: Vec::new(), spans, span }
    }

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
