//! Which columns a query sees, and how a name finds one: letter case makes no difference, a dot
//! leads into a struct.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, make_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use datafusion::common::{Column as PlanColumn, ScalarValue};
use datafusion::logical_expr::Expr;

use super::size::StepsLeft;
use super::{Bind, failed};
use crate::error::SqlError;
use crate::operation::{Bound, apply, on_arrays};
use crate::syntax::{self, Kind};
use crate::types::simple_string;

/// A column that a query sees.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) value: Bound,
}

/// The columns of the one relation that a query reads; of a function with `->` its parameters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    /// The relation's name or alias.
    pub(crate) relation: Option<String>,
    pub(crate) columns: Rc<[Column]>,
    /// What has been taken out of a grouped query's expressions, instead of columns.
    taken: Rc<[Bound]>,
    /// Where the function stands.
    around: Option<Around>,
    steps_left: StepsLeft,
}

/// What a function sees beside its parameters.
#[derive(Debug, Clone)]
struct Around {
    scope: Rc<Scope>,
    /// What the function takes from there: whole look-ups, so that of a wide struct only the field is repeated
    /// for each item.
    captured: Rc<RefCell<Vec<Bound>>>,
}

impl Column {
    /// A column that plans know as `internal`.
    fn internal(name: &str, internal: &str, kind: DataType) -> Self {
        Self { name: name.to_owned(), value: Bound::new(internal_column(internal), kind) }
    }
}

/// The expression of the column that plans know by that name.
fn internal_column(name: &str) -> Expr {
    Expr::Column(PlanColumn::new_unqualified(name))
}

impl Scope {
    /// The columns of `schema`, under names that are unique whatever the schema calls them
    /// ([`internal_name`]).
    pub(crate) fn of_schema(relation: Option<String>, schema: &Schema) -> Self {
        let fields = schema.fields().iter().enumerate();
        let columns = fields
            .map(|(at, field)| Column::internal(field.name(), &internal_name(at), field.data_type().clone()));
        Self { relation, columns: columns.collect(), ..Self::default() }
    }

    /// The columns of a query in FROM.
    pub(crate) fn of_columns(relation: Option<String>, columns: Vec<Column>) -> Self {
        Self { relation, columns: columns.into(), ..Self::default() }
    }

    /// What is left of a query behind its grouping: no column, but what has been taken out of its expressions.
    pub(crate) fn of_taken(taken: Vec<Bound>) -> Self {
        Self { taken: taken.into(), ..Self::default() }
    }

    /// The same relation with other columns.
    pub(crate) fn with_columns(&self, columns: Vec<Column>) -> Self {
        Self { taken: self.taken.clone(), ..Self::of_columns(self.relation.clone(), columns) }
    }

    /// Whether the query is grouped.
    pub(crate) fn is_grouped(&self) -> bool {
        !self.taken.is_empty()
    }

    /// What stands for [`Kind::Taken`].
    pub(super) fn taken(&self, at: usize) -> Bound {
        self.taken[at].clone()
    }

    /// The parameters of a function that stands in `around`.
    pub(crate) fn of_function(around: Self, parameters: &[(String, DataType)]) -> Self {
        let columns = parameters
            .iter()
            .enumerate()
            .map(|(at, (name, kind))| Column::internal(name, &parameter_name(at), kind.clone()));
        Self {
            relation: None,
            columns: columns.collect(),
            taken: Rc::default(),
            steps_left: around.steps_left.clone(),
            around: Some(Around { scope: Rc::new(around), captured: Rc::default() }),
        }
    }

    /// What plans know of a function: its parameters, and behind them what it has taken from around it.
    pub(crate) fn function_inputs(&self) -> (Schema, Vec<Bound>) {
        let captured =
            self.around.as_ref().map(|around| around.captured.borrow().clone()).unwrap_or_default();
        let own = self.columns.iter().enumerate().map(|(at, column)| (parameter_name(at), &column.value));
        let taken = captured.iter().enumerate().map(|(at, value)| (captured_name(at), value));
        let fields = own.chain(taken).map(|(name, value)| Field::new(name, value.kind.clone(), true));
        (Schema::new(fields.collect::<Vec<_>>()), captured)
    }

    /// Where a function takes `expr` from as a whole: a look-up that asks for none of its parameters. All else is
    /// computed in the function, and so only where that asks for it.
    pub(super) fn around_of(&self, expr: &syntax::Expr) -> Option<&Self> {
        let around = self.around.as_ref()?;
        if !matches!(expr.kind, Kind::Name(_) | Kind::Taken(_) | Kind::Field(..) | Kind::Index(..)) {
            return None;
        }
        let mut is_own = false;
        expr.visit(&mut |part| {
            if let Kind::Name(parts) = &part.kind {
                is_own |= parts.first().is_some_and(|name| self.has(name));
            }
        });
        if is_own { None } else { Some(around.scope.as_ref()) }
    }

    /// A value from around a function as the function sees it: a column, if rows differ in it.
    pub(super) fn captured(&self, value: Bound) -> Bound {
        let Some(around) = self.around.as_ref().filter(|_| value.constant().is_none()) else { return value };
        let mut captured = around.captured.borrow_mut();
        let at = captured.iter().position(|known| known.expr == value.expr).unwrap_or(captured.len());
        let name = captured_name(at);
        let kind = value.kind.clone();
        if at == captured.len() {
            captured.push(value);
        }
        Bound::new(internal_column(&name), kind)
    }

    /// All columns of the relation, also where a function looks at them.
    pub(super) fn all_columns(&self) -> Vec<Column> {
        match &self.around {
            None => self.columns.to_vec(),
            Some(around) => {
                let columns = around.scope.all_columns().into_iter();
                columns.map(|column| Column { value: self.captured(column.value), ..column }).collect()
            }
        }
    }

    /// Counts the steps of a value that stands in the query; refuses it where the query becomes too large.
    pub(crate) fn take_steps(&self, value: &Bound, span: &Range<usize>) -> Bind<()> {
        self.steps_left.take(value, span)
    }

    /// Whether `name` is the relation's.
    pub(crate) fn is_relation(&self, name: &str) -> bool {
        self.relation.as_ref().is_some_and(|relation| relation.eq_ignore_ascii_case(name))
    }

    /// The column, or the field in a column, that `parts` name.
    pub(crate) fn resolve(&self, parts: &[String], span: Range<usize>) -> Bind {
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

    /// Whether there is a column of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|known| same_name(&known.name, name))
    }

    fn no_such_column(&self, name: &str, span: Range<usize>) -> SqlError {
        let names: Vec<_> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let error = SqlError::invalid(format!("there is no column `{name}`"), span);
        if self.is_grouped() {
            return error
                .help("behind GROUP BY there is what it names, and aggregates like max(…) of the rest");
        }
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

/// The name under which the parameter at `index` of a function is known to its plan.
fn parameter_name(index: usize) -> String {
    format!("p{index}")
}

/// The name under which a function's plan knows what it has taken from around it.
fn captured_name(index: usize) -> String {
    format!("t{index}")
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
