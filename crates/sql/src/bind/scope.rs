//! Which columns a query sees, and how a name finds one: letter case makes no difference, a dot
//! leads into a struct.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, make_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use datafusion::common::{Column as PlanColumn, ScalarValue};
use datafusion::logical_expr::Expr;

use super::{Bind, failed};
use crate::error::SqlError;
use crate::operation::{Bound, apply, on_arrays};
use crate::types::simple_string;

/// A column that a query sees.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) value: Bound,
}

/// The columns of the one relation that a query reads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    /// The relation's name or alias.
    pub(crate) relation: Option<String>,
    pub(crate) columns: Vec<Column>,
    /// The parameters of the functions around, the innermost last.
    variables: Vec<Vec<Column>>,
    /// The columns that plans know by these names: the schema's and the parameters.
    leaves: Vec<Bound>,
}

impl Column {
    /// A column that plans know as `internal`.
    pub(crate) fn internal(name: &str, internal: String, kind: DataType) -> Self {
        Self { name: name.to_owned(), value: Bound { expr: internal_column(&internal), kind } }
    }
}

/// The expression of the column that plans know by that name.
pub(crate) fn internal_column(name: &str) -> Expr {
    Expr::Column(PlanColumn::new_unqualified(name))
}

impl Scope {
    /// The columns of `schema`, under names that are unique whatever the schema calls them
    /// ([`internal_name`]).
    pub(crate) fn of_schema(relation: Option<String>, schema: &Schema) -> Self {
        let fields = schema.fields().iter().enumerate();
        let columns: Vec<_> = fields
            .map(|(at, field)| Column::internal(field.name(), internal_name(at), field.data_type().clone()))
            .collect();
        let leaves = columns.iter().map(|column| column.value.clone()).collect();
        Self { relation, columns, variables: Vec::new(), leaves }
    }

    /// The columns of a query in FROM.
    pub(crate) fn of_columns(relation: Option<String>, columns: Vec<Column>) -> Self {
        Self { relation, columns, ..Self::default() }
    }

    /// With the columns of the schema that all others are computed from.
    #[must_use]
    pub(crate) fn over(mut self, schema: &Schema) -> Self {
        self.leaves = Self::of_schema(None, schema).leaves;
        self
    }

    /// With the parameters of one more function.
    pub(crate) fn with_variables(mut self, variables: Vec<Column>) -> Self {
        self.leaves.extend(variables.iter().map(|variable| variable.value.clone()));
        self.variables.push(variables);
        self
    }

    /// How many functions are around.
    pub(crate) fn depth(&self) -> usize {
        self.variables.len()
    }

    /// The column that plans know by that name.
    pub(crate) fn leaf(&self, name: &str) -> Option<Bound> {
        self.leaves.iter().find(|leaf| leaf.expr == internal_column(name)).cloned()
    }

    /// Whether `name` is the relation's.
    pub(crate) fn is_relation(&self, name: &str) -> bool {
        self.relation.as_ref().is_some_and(|relation| relation.eq_ignore_ascii_case(name))
    }

    /// The column, or the field in a column, that `parts` name.
    pub(crate) fn resolve(&self, parts: &[String], span: Range<usize>) -> Bind {
        if let [name, fields @ ..] = parts {
            let mut variables = self.variables.iter().rev().flatten();
            if let Some(variable) = variables.find(|variable| same_name(&variable.name, name)) {
                return fields
                    .iter()
                    .try_fold(variable.value.clone(), |value, name| field(value, name, span.clone()));
            }
        }
        let (column, fields) = match parts {
            [relation, name, fields @ ..] if self.is_relation(relation) && self.has(name) => (name, fields),
            [name, fields @ ..] => (name, fields),
            [] => return Err(SqlError::invalid("an empty name", span)),
        };
        let mut found = self.columns.iter().filter(|known| same_name(&known.name, column));
        let Some(first) = found.next() else { return Err(self.no_such_column(column, span)) };
        if found.next().is_some() {
            let message =
                format!("`{column}` could be more than one column: letter case makes no difference");
            return Err(SqlError::invalid(message, span));
        }
        fields.iter().try_fold(first.value.clone(), |value, name| field(value, name, span.clone()))
    }

    fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|known| same_name(&known.name, name))
    }

    fn no_such_column(&self, name: &str, span: Range<usize>) -> SqlError {
        let names: Vec<_> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let error = SqlError::invalid(format!("there is no column `{name}`"), span);
        match names.is_empty() {
            true => error.help("the query has no FROM; write FROM input"),
            false => error.help(format!("columns are {}", names.join(", "))),
        }
    }
}

/// The name under which the column at `index` of a schema is known to plans.
pub(crate) fn internal_name(index: usize) -> String {
    format!("c{index}")
}

/// Whether two names mean the same column.
pub(crate) fn same_name(a: &str, b: &str) -> bool {
    a == b || a.to_lowercase() == b.to_lowercase()
}

/// `value.name`.
pub(crate) fn field(value: Bound, name: &str, span: Range<usize>) -> Bind {
    let DataType::Struct(fields) = &value.kind else {
        if let DataType::List(item) = &value.kind
            && let DataType::Struct(fields) = item.data_type()
        {
            let (at, kind) = place(fields, name, &span)?;
            return field_of_items(value.clone(), at, kind, span);
        }
        if matches!(value.kind, DataType::Map(..)) {
            // `map.key` is `map['key']`.
            let key = Bound::literal(ScalarValue::Utf8(Some(name.to_owned())));
            return crate::functions::index(value, key, span);
        }
        let message = format!("`.{name}` needs a struct, this is {}", simple_string(&value.kind));
        return Err(SqlError::invalid(message, span));
    };
    let (at, kind) = place(fields, name, &span)?;
    let label = format!("field {at} of {}", simple_string(&value.kind));
    let kernel = on_arrays(move |args| Ok(child(&args[0], at)));
    apply(label, kind, kernel, vec![value]).map_err(failed(&span))
}

/// Where the field of that name stands, and its type.
fn place(fields: &Fields, name: &str, span: &Range<usize>) -> Bind<(usize, DataType)> {
    let mut found = fields.iter().enumerate().filter(|(_, field)| same_name(field.name(), name));
    let Some((at, field)) = found.next() else {
        let names: Vec<_> = fields.iter().map(|field| field.name().as_str()).collect();
        let error = SqlError::invalid(format!("there is no field `{name}`"), span.clone());
        return Err(error.help(format!("fields are {}", names.join(", "))));
    };
    if found.next().is_some() {
        return Err(SqlError::invalid(format!("`{name}` could be more than one field"), span.clone()));
    }
    Ok((at, field.data_type().clone()))
}

/// `array.name`: that field of every item.
fn field_of_items(value: Bound, at: usize, kind: DataType, span: Range<usize>) -> Bind {
    let item = Arc::new(Field::new("element", kind, true));
    let returns = DataType::List(item.clone());
    let label = format!("field {at} of the items of {}", simple_string(&value.kind));
    let kernel = on_arrays(move |args| {
        let list = args[0].as_list::<i32>();
        let values = child(list.values(), at);
        Ok(Arc::new(ListArray::new(item.clone(), list.offsets().clone(), values, list.nulls().cloned()))
            as ArrayRef)
    });
    apply(label, returns, kernel, vec![value]).map_err(failed(&span))
}

/// A struct column's child; null where the struct is.
fn child(array: &ArrayRef, at: usize) -> ArrayRef {
    let parent = array.as_struct();
    let child = parent.column(at);
    match parent.nulls() {
        None => child.clone(),
        Some(nulls) if nulls.null_count() == 0 => child.clone(),
        Some(nulls) => {
            let nulls = NullBuffer::union(Some(nulls), child.logical_nulls().as_ref());
            let data = child.to_data().into_builder().nulls(nulls);
            make_array(data.build().expect("only the nulls have changed"))
        }
    }
}
