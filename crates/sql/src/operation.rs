//! One step of an expression with Spark's meaning, as DataFusion calls it.
//! What the step does is a [`Kernel`]; which steps a query needs is decided by `bind`.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// Computes a column (or a constant, where all arguments are) from the arguments.
pub(crate) type Kernel = Arc<dyn Fn(&[ColumnarValue], usize) -> Result<ColumnarValue> + Send + Sync>;

/// A value of the query whose type is known.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    pub(crate) expr: Expr,
    pub(crate) kind: DataType,
    /// Whether the query has it as a literal: of `60` Spark knows the digits, of `24 * 60` only the type.
    pub(crate) is_literal: bool,
}

impl Bound {
    pub(crate) fn new(expr: Expr, kind: DataType) -> Self {
        Self { expr, kind, is_literal: false }
    }

    /// A value that is the same for every row.
    pub(crate) fn literal(value: ScalarValue) -> Self {
        let kind = value.data_type();
        Self::new(Expr::Literal(value, None), kind)
    }

    pub(crate) fn null(kind: &DataType) -> Self {
        let value = ScalarValue::try_new_null(kind).expect("every type of ours has a null");
        Self::new(Expr::Literal(value, None), kind.clone())
    }

    /// The value, where it is the same for every row.
    pub(crate) fn constant(&self) -> Option<&ScalarValue> {
        match &self.expr {
            Expr::Literal(value, _) => Some(value),
            _ => None,
        }
    }

    /// The text, where it is the same for every row and not null.
    pub(crate) fn constant_text(&self) -> Option<&str> {
        self.constant()?.try_as_str().flatten()
    }

    pub(crate) fn is_null_constant(&self) -> bool {
        self.constant().is_some_and(ScalarValue::is_null)
    }
}

/// A function that DataFusion can call: two with the same name and type are the same, so the
/// name carries everything that the kernel was made from.
struct Operation {
    name: String,
    returns: DataType,
    signature: Signature,
    kernel: Kernel,
    /// How many steps the kernel takes that no expression shows.
    hidden_steps: usize,
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for Operation {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.returns == other.returns
    }
}

impl Eq for Operation {}

impl Hash for Operation {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Operation {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        (self.kernel)(&args.args, args.number_rows)
    }
}

/// Applies `kernel` to `args`; at once, where all of them are constants.
pub(crate) fn apply(
    name: impl Into<String>,
    returns: DataType,
    kernel: Kernel,
    args: Vec<Bound>,
) -> Result<Bound> {
    apply_hiding(0, name, returns, kernel, args)
}

/// As [`apply`], of a kernel that takes so many steps of its own.
pub(crate) fn apply_hiding(
    hidden_steps: usize,
    name: impl Into<String>,
    returns: DataType,
    kernel: Kernel,
    args: Vec<Bound>,
) -> Result<Bound> {
    let constants: Option<Vec<_>> =
        args.iter().map(|arg| arg.constant().cloned().map(ColumnarValue::Scalar)).collect();
    if let Some(constants) = constants {
        let value = match kernel(&constants, 1)? {
            ColumnarValue::Scalar(value) => value,
            ColumnarValue::Array(array) => ScalarValue::try_from_array(&array, 0)?,
        };
        return Ok(Bound::new(Expr::Literal(value, None), returns));
    }
    let signature = Signature::any(args.len(), Volatility::Immutable);
    let operation =
        Operation { name: name.into(), returns: returns.clone(), signature, kernel, hidden_steps };
    let args = args.into_iter().map(|arg| arg.expr).collect();
    Ok(Bound::new(ScalarUDF::from(operation).call(args), returns))
}

/// How many steps a function takes that its expression does not show.
pub(crate) fn hidden_steps(function: &ScalarUDF) -> usize {
    function.inner().downcast_ref::<Operation>().map_or(0, |operation| operation.hidden_steps)
}

/// A kernel that works on whole columns: constants are made columns of one row, or, beside
/// columns, of as many rows as those have.
pub(crate) fn on_arrays(compute: impl Fn(&[ArrayRef]) -> Result<ArrayRef> + Send + Sync + 'static) -> Kernel {
    Arc::new(move |args, rows| {
        let constant = args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { rows };
        let arrays = args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let result = compute(&arrays)?;
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    })
}

/// A column of texts, or the one text of all rows.
pub(crate) enum Texts {
    Column(StringArray),
    Constant(Option<String>),
}

impl Texts {
    pub(crate) fn new(value: &ColumnarValue) -> Self {
        match value {
            ColumnarValue::Array(array) => Self::Column(array.as_string::<i32>().clone()),
            ColumnarValue::Scalar(value) => Self::Constant(value.try_as_str().flatten().map(str::to_owned)),
        }
    }

    pub(crate) fn get(&self, row: usize) -> Option<&str> {
        match self {
            Self::Column(array) => array.is_valid(row).then(|| array.value(row)),
            Self::Constant(text) => text.as_deref(),
        }
    }
}
