//! Kernels that compute row by row, out of cells of known types: null where any argument is.
//! What a function does with its cells is not decided here.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use datafusion::common::ScalarValue;

use super::Call;
use crate::bind::{Bind, failed};
use crate::operation::{Kernel, apply, on_arrays};
use crate::types;

/// A type whose cells functions read and make.
pub(super) trait Cell {
    type Ref<'a>;
    type Owned;
    fn kind() -> DataType;
    fn get(array: &ArrayRef, row: usize) -> Self::Ref<'_>;
    fn collect(cells: impl Iterator<Item = Option<Self::Owned>>) -> ArrayRef;
}

pub(super) struct Text;
pub(super) struct Bytes;

impl Cell for Text {
    type Ref<'a> = &'a str;
    type Owned = String;
    fn kind() -> DataType {
        DataType::Utf8
    }
    fn get(array: &ArrayRef, row: usize) -> &str {
        array.as_string::<i32>().value(row)
    }
    fn collect(cells: impl Iterator<Item = Option<String>>) -> ArrayRef {
        Arc::new(cells.collect::<StringArray>())
    }
}

impl Cell for Bytes {
    type Ref<'a> = &'a [u8];
    type Owned = Vec<u8>;
    fn kind() -> DataType {
        DataType::Binary
    }
    fn get(array: &ArrayRef, row: usize) -> &[u8] {
        array.as_binary::<i32>().value(row)
    }
    fn collect(cells: impl Iterator<Item = Option<Vec<u8>>>) -> ArrayRef {
        Arc::new(cells.collect::<BinaryArray>())
    }
}

macro_rules! plain_cells {
    ($($name:ident($native:ty) = $kind:expr, $get:expr, $collect:expr;)*) => {
        $(
            pub(super) struct $name;

            impl Cell for $name {
                type Ref<'a> = $native;
                type Owned = $native;
                fn kind() -> DataType {
                    $kind
                }
                fn get(array: &ArrayRef, row: usize) -> $native {
                    let get: fn(&ArrayRef, usize) -> $native = $get;
                    get(array, row)
                }
                fn collect(cells: impl Iterator<Item = Option<$native>>) -> ArrayRef {
                    Arc::new($collect(cells))
                }
            }
        )*
    };
}

plain_cells! {
    Flag(bool) = DataType::Boolean, |a, row| a.as_boolean().value(row), BooleanArray::from_iter;
    Int(i32) = DataType::Int32, |a, row| a.as_primitive::<Int32Type>().value(row), Int32Array::from_iter;
    Long(i64) = DataType::Int64, |a, row| a.as_primitive::<Int64Type>().value(row), Int64Array::from_iter;
    Double(f64) = DataType::Float64, |a, row| a.as_primitive::<Float64Type>().value(row), Float64Array::from_iter;
    Date(i32) = DataType::Date32, |a, row| a.as_primitive::<Date32Type>().value(row), Date32Array::from_iter;
    Moment(i64) = types::timestamp(), |a, row| a.as_primitive::<TimestampMicrosecondType>().value(row), moments;
    LocalMoment(i64) = DataType::Timestamp(TimeUnit::Microsecond, None),
        |a, row| a.as_primitive::<TimestampMicrosecondType>().value(row), TimestampMicrosecondArray::from_iter;
}

fn moments(cells: impl Iterator<Item = Option<i64>>) -> TimestampMicrosecondArray {
    cells.collect::<TimestampMicrosecondArray>().with_timezone("UTC")
}

pub(super) fn rows1<A: Cell, R: Cell>(
    compute: impl for<'a> Fn(A::Ref<'a>) -> Option<R::Owned> + Send + Sync + 'static,
) -> Kernel {
    on_arrays(move |args| {
        let a = &args[0];
        Ok(R::collect((0..a.len()).map(|row| if a.is_null(row) { None } else { compute(A::get(a, row)) })))
    })
}

pub(super) fn rows2<A: Cell, B: Cell, R: Cell>(
    compute: impl for<'a> Fn(A::Ref<'a>, B::Ref<'a>) -> Option<R::Owned> + Send + Sync + 'static,
) -> Kernel {
    on_arrays(move |args| {
        let (a, b) = (&args[0], &args[1]);
        Ok(R::collect((0..a.len()).map(|row| {
            if a.is_null(row) || b.is_null(row) {
                return None;
            }
            compute(A::get(a, row), B::get(b, row))
        })))
    })
}

pub(super) fn rows3<A: Cell, B: Cell, C: Cell, R: Cell>(
    compute: impl for<'a> Fn(A::Ref<'a>, B::Ref<'a>, C::Ref<'a>) -> Option<R::Owned> + Send + Sync + 'static,
) -> Kernel {
    on_arrays(move |args| {
        let (a, b, c) = (&args[0], &args[1], &args[2]);
        Ok(R::collect((0..a.len()).map(|row| {
            if a.is_null(row) || b.is_null(row) || c.is_null(row) {
                return None;
            }
            compute(A::get(a, row), B::get(b, row), C::get(c, row))
        })))
    })
}

/// A cell, or why the query stops.
pub(super) type Tried<R> = Result<Option<<R as Cell>::Owned>, ArrowError>;

/// Computes each row where no argument is null.
pub(super) fn try_rows<R: Cell>(
    args: &[ArrayRef],
    compute: impl Fn(usize) -> Tried<R>,
) -> datafusion::common::Result<ArrayRef> {
    let cell = |row| if args.iter().any(|arg| arg.is_null(row)) { Ok(None) } else { compute(row) };
    let cells = (0..args[0].len()).map(cell).collect::<Result<Vec<_>, _>>()?;
    Ok(R::collect(cells.into_iter()))
}

/// As [`rows1`], of what may stop the query.
pub(super) fn try_rows1<A: Cell, R: Cell>(
    compute: impl for<'a> Fn(A::Ref<'a>) -> Tried<R> + Send + Sync + 'static,
) -> Kernel {
    on_arrays(move |args| try_rows::<R>(args, |row| compute(A::get(&args[0], row))))
}

impl Call {
    /// A function of one argument.
    pub(super) fn one<A: Cell, R: Cell>(
        mut self,
        compute: impl for<'a> Fn(A::Ref<'a>) -> Option<R::Owned> + Send + Sync + 'static,
    ) -> Bind {
        self.arity(1..=1)?;
        self.cast(0, &A::kind())?;
        self.apply(R::kind(), rows1::<A, R>(compute))
    }

    /// A function of two arguments.
    pub(super) fn two<A: Cell, B: Cell, R: Cell>(
        mut self,
        compute: impl for<'a> Fn(A::Ref<'a>, B::Ref<'a>) -> Option<R::Owned> + Send + Sync + 'static,
    ) -> Bind {
        self.arity(2..=2)?;
        self.cast(0, &A::kind())?;
        self.cast(1, &B::kind())?;
        self.apply(R::kind(), rows2::<A, B, R>(compute))
    }

    /// A function of three arguments.
    pub(super) fn three<A: Cell, B: Cell, C: Cell, R: Cell>(
        mut self,
        compute: impl for<'a> Fn(A::Ref<'a>, B::Ref<'a>, C::Ref<'a>) -> Option<R::Owned> + Send + Sync + 'static,
    ) -> Bind {
        self.arity(3..=3)?;
        self.cast(0, &A::kind())?;
        self.cast(1, &B::kind())?;
        self.cast(2, &C::kind())?;
        self.apply(R::kind(), rows3::<A, B, C, R>(compute))
    }

    /// As [`Call::two`], of what may stop the query.
    pub(super) fn try_two<A: Cell, B: Cell, R: Cell>(
        mut self,
        compute: impl for<'a> Fn(A::Ref<'a>, B::Ref<'a>) -> Tried<R> + Send + Sync + 'static,
    ) -> Bind {
        self.arity(2..=2)?;
        self.cast(0, &A::kind())?;
        self.cast(1, &B::kind())?;
        let kernel = on_arrays(move |args| {
            let (a, b) = (&args[0], &args[1]);
            try_rows::<R>(args, |row| compute(A::get(a, row), B::get(b, row)))
        });
        self.apply(R::kind(), kernel)
    }

    /// As [`Call::three`], of what may stop the query.
    pub(super) fn try_three<A: Cell, B: Cell, C: Cell, R: Cell>(
        mut self,
        compute: impl for<'a> Fn(A::Ref<'a>, B::Ref<'a>, C::Ref<'a>) -> Tried<R> + Send + Sync + 'static,
    ) -> Bind {
        self.arity(3..=3)?;
        self.cast(0, &A::kind())?;
        self.cast(1, &B::kind())?;
        self.cast(2, &C::kind())?;
        let kernel = on_arrays(move |args| {
            let (a, b, c) = (&args[0], &args[1], &args[2]);
            try_rows::<R>(args, |row| compute(A::get(a, row), B::get(b, row), C::get(c, row)))
        });
        self.apply(R::kind(), kernel)
    }

    /// As [`Call::apply`], for a kernel made from more than the arguments: `name` says of what.
    pub(super) fn apply_as(self, name: String, returns: DataType, kernel: Kernel) -> Bind {
        apply(name, returns, kernel, self.args).map_err(failed(&self.span))
    }

    /// The text at `at`, which has to be the same for every row; `None` where it is null.
    pub(super) fn constant_text(&self, at: usize, what: &str) -> Bind<Option<String>> {
        let arg = &self.args[at];
        match arg.constant() {
            Some(ScalarValue::Utf8(text)) => Ok(text.clone()),
            Some(value) if value.is_null() => Ok(None),
            _ => Err(self.not_constant(at, what)),
        }
    }

    /// The whole number at `at`, which has to be the same for every row; `None` where it is null.
    pub(super) fn constant_int(&mut self, at: usize, what: &str) -> Bind<Option<i32>> {
        self.cast(at, &DataType::Int32)?;
        match self.args[at].constant() {
            Some(ScalarValue::Int32(number)) => Ok(*number),
            _ => Err(self.not_constant(at, what)),
        }
    }

    pub(super) fn not_constant(&self, at: usize, what: &str) -> crate::error::SqlError {
        let message = format!("{} is answered only where {what} is a constant", self.name);
        crate::error::SqlError::unsupported(message, self.spans[at].clone())
            .help("run the flow on Spark (`runner: spark`)")
    }

    /// Refuses a call over columns, where a value may stop Spark's whole query.
    pub(super) fn only_constants(&self, why: &str, instead: &str) -> Bind<()> {
        if self.args.iter().all(|arg| arg.constant().is_some()) {
            return Ok(());
        }
        let message = format!("{} of columns: {why} stops Spark's query", self.name);
        Err(crate::error::SqlError::unsupported(message, self.span.clone()).help(instead))
    }
}
