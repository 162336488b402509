//! From the grammar's tree to expressions whose types are known and whose meaning is Spark's.
//! Every node is either bound here with that meaning or refused by name: nothing reaches
//! DataFusion's own coercions.

pub(crate) mod coerce;
mod intervals;
mod operators;
mod scope;
mod size;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::{Expr, Operator};

pub(crate) use operators::{binary, decimal_pmod, has_floats, like, normalised, unary, with_one_zero};
pub(crate) use scope::{Column, Scope, field, internal_name};
pub(crate) use size::{check_copies, steps};

use crate::cast;
use crate::error::SqlError;
use crate::functions::{self, Call, Lambda};
use crate::operation::Bound;
use crate::syntax::{self, CastKind, Kind, Literal, Predicate, Unary};
use crate::types::{nullable, simple_string};

pub(crate) type Bind<T = Bound> = Result<T, SqlError>;

/// Binds an expression in `scope`.
pub(crate) fn bind(expr: &syntax::Expr, scope: &Scope) -> Bind {
    let bound = match scope.around_of(expr) {
        Some(around) => scope.captured(bind(expr, around)?),
        None => bind_here(expr, scope)?,
    };
    scope.take_steps(&bound, &expr.span)?;
    Ok(Bound { is_literal: matches!(expr.kind, Kind::Literal(_)), ..bound })
}

fn bind_here(expr: &syntax::Expr, scope: &Scope) -> Bind {
    let span = || expr.span.clone();
    match &expr.kind {
        Kind::Literal(literal) => bind_literal(literal, expr),
        Kind::Name(parts) => scope.resolve(parts, span()).map_err(|error| match parts.as_slice() {
            [name] if !scope.has(name) && is_called_bare(name) => {
                functions::unknown(&name.to_lowercase(), span())
            }
            _ => error,
        }),
        Kind::Star(_) => Err(SqlError::invalid("`*` stands only in a SELECT list and in count(*)", span())),
        Kind::Call { name, args, distinct } => {
            if *distinct {
                return Err(SqlError::unsupported("DISTINCT in a call", span()));
            }
            bind_call(name, args, scope, expr)
        }
        Kind::Unary(operator, operand) => bind_unary(*operator, operand, scope, expr),
        Kind::Binary(operator @ (syntax::Binary::Add | syntax::Binary::Subtract), moment, shift)
            if let Kind::Interval(interval) = shift.kind =>
        {
            let moment = bind(moment, scope)?;
            intervals::shifted(moment, interval, *operator == syntax::Binary::Subtract, span())
        }
        Kind::Binary(syntax::Binary::Add, shift, moment) if let Kind::Interval(interval) = shift.kind => {
            intervals::shifted(bind(moment, scope)?, interval, false, span())
        }
        Kind::Binary(operator @ (syntax::Binary::And | syntax::Binary::Or), left, right) => {
            let (left, right) = (bind_condition(left, scope)?, bind_condition(right, scope)?);
            operators::binary(*operator, left, right, span())
        }
        Kind::Binary(operator, left, right) => {
            let (left, right) = (bind(left, scope)?, bind(right, scope)?);
            operators::binary(*operator, left, right, span())
        }
        Kind::Predicate(value, test, negated) => bind_predicate(value, test, *negated, scope, expr),
        Kind::Case { operand, branches, otherwise } => {
            bind_case(operand.as_deref(), branches, otherwise.as_deref(), scope, expr)
        }
        Kind::Cast(value, kind, cast) => {
            if nullable(kind) != *kind {
                let error = SqlError::unsupported("NOT NULL in the type of a CAST is not answered", span());
                return Err(error.help("leave NOT NULL out"));
            }
            if *cast == CastKind::TryCast {
                return cast::tried(bind(value, scope)?, kind, span());
            }
            let value = bind(value, scope)?;
            cast::explicit(value, kind, span())
        }
        Kind::Field(value, name) => {
            let value = bind(value, scope)?;
            field(value, name, span())
        }
        Kind::Index(value, index) => {
            let (value, index) = (bind(value, scope)?, bind(index, scope)?);
            functions::index(value, index, span())
        }
        Kind::Named(value, _) => bind(value, scope),
        Kind::Taken(at) => Ok(scope.taken(*at)),
        Kind::Interval(_) => {
            let error =
                SqlError::unsupported("an interval that is not beside + or - and a date or time", span());
            Err(error.help("write it behind + or -, as in at + INTERVAL 1 HOUR"))
        }
        Kind::Lambda(..) => {
            Err(SqlError::invalid("a function with -> stands only where a function takes one", span()))
        }
    }
}

/// Whether Spark takes a name that is no column's for a call: `current_date`.
fn is_called_bare(name: &str) -> bool {
    let calls = ["current_date", "current_time", "current_timestamp", "current_user", "session_user", "user"];
    calls.iter().any(|call| call.eq_ignore_ascii_case(name))
}

/// Binds an expression that must be a condition.
pub(crate) fn bind_condition(expr: &syntax::Expr, scope: &Scope) -> Bind {
    condition(bind(expr, scope)?, &expr.span)
}

/// Refuses what is no condition; NULL is one.
pub(crate) fn condition(value: Bound, span: &std::ops::Range<usize>) -> Bind {
    match value.kind {
        DataType::Boolean => Ok(value),
        DataType::Null => Ok(Bound::null(&DataType::Boolean)),
        ref other => {
            let message = format!("a condition is true or false, this is {}", simple_string(other));
            Err(SqlError::invalid(message, span.clone()))
        }
    }
}

fn bind_literal(literal: &Literal, expr: &syntax::Expr) -> Bind {
    let value = match literal {
        Literal::Null => ScalarValue::Null,
        Literal::Boolean(value) => ScalarValue::Boolean(Some(*value)),
        Literal::String(text) => ScalarValue::Utf8(Some(text.clone())),
        Literal::Tinyint(number) => ScalarValue::Int8(Some(*number)),
        Literal::Smallint(number) => ScalarValue::Int16(Some(*number)),
        Literal::Int(number) => ScalarValue::Int32(Some(*number)),
        Literal::Bigint(number) => ScalarValue::Int64(Some(*number)),
        Literal::Float(number) => ScalarValue::Float32(Some(*number)),
        Literal::Double(number) => ScalarValue::Float64(Some(*number)),
        Literal::Decimal { unscaled, precision, scale } => {
            ScalarValue::Decimal128(Some(*unscaled), *precision, *scale)
        }
        Literal::Binary(bytes) => ScalarValue::Binary(Some(bytes.clone())),
        Literal::Date(text) | Literal::Timestamp(text) => {
            let kind = match literal {
                Literal::Date(_) => DataType::Date32,
                _ => crate::types::timestamp(),
            };
            let text = Bound::literal(ScalarValue::Utf8(Some(text.clone())));
            let bound = cast::explicit(text, &kind, expr.span.clone())?;
            if bound.is_null_constant() {
                let message = format!("this is no {}", simple_string(&kind));
                return Err(SqlError::invalid(message, expr.span.clone()));
            }
            return Ok(bound);
        }
    };
    Ok(Bound::literal(value))
}

fn bind_call(name: &str, args: &[syntax::Expr], scope: &Scope, expr: &syntax::Expr) -> Bind {
    let Some(function) = functions::find(name) else {
        return Err(functions::unknown(name, expr.span.clone()));
    };
    if name == "struct" {
        return bind_struct(args, scope, expr);
    }
    let mut bound = Vec::new();
    let mut lambdas = Vec::new();
    for arg in args {
        let lambda = match &arg.kind {
            Kind::Lambda(names, body) if function.group == functions::LAMBDAS => Some(Lambda {
                names: names.clone(),
                body: (**body).clone(),
                scope: scope.clone(),
                span: arg.span.clone(),
            }),
            _ => None,
        };
        // A function has no value of its own.
        bound.push(if lambda.is_some() { Bound::null(&DataType::Null) } else { bind(arg, scope)? });
        lambdas.push(lambda);
    }
    let spans = args.iter().map(|arg| arg.span.clone()).collect();
    let call = Call { lambdas, ..Call::new(function.name, bound, spans, expr.span.clone()) };
    (function.bind)(call)
}

/// `struct(a, b.c, d AS e, m['k'], *)`: fields are named after columns, aliases and keys that are written out, else
/// after their place.
fn bind_struct(args: &[syntax::Expr], scope: &Scope, expr: &syntax::Expr) -> Bind {
    let mut fields: Vec<(Option<String>, Bound)> = Vec::new();
    for arg in args {
        match &arg.kind {
            Kind::Star(parts) if parts.is_empty() => {
                for column in scope.all_columns() {
                    scope.take_steps(&column.value, &arg.span)?;
                    fields.push((Some(column.name), column.value));
                }
            }
            Kind::Named(value, name) => fields.push((Some(name.clone()), bind(value, scope)?)),
            _ => fields.push((named_after(arg), bind(arg, scope)?)),
        }
    }
    functions::named_fields(fields, expr.span.clone())
}

/// The name of a struct's field that has no alias, where it is not its place.
pub(crate) fn named_after(expr: &syntax::Expr) -> Option<String> {
    match &expr.kind {
        Kind::Name(parts) => parts.last().cloned(),
        Kind::Field(_, name) => Some(name.clone()),
        Kind::Index(_, key) if let Kind::Literal(Literal::String(key)) = &key.kind => Some(key.clone()),
        _ => None,
    }
}

fn bind_unary(operator: Unary, operand: &syntax::Expr, scope: &Scope, expr: &syntax::Expr) -> Bind {
    match operator {
        Unary::Not => Ok(not(bind_condition(operand, scope)?)),
        _ => operators::unary(operator, bind(operand, scope)?, expr.span.clone()),
    }
}

/// `NOT value`: null stays null.
pub(crate) fn not(value: Bound) -> Bound {
    Bound::new(Expr::Not(Box::new(value.expr)), DataType::Boolean)
}

/// `left AND right`, both being conditions.
pub(crate) fn and(left: Bound, right: Bound) -> Bound {
    operators::joined(Operator::And, left, right)
}

fn bind_predicate(
    value: &syntax::Expr,
    test: &Predicate,
    negated: bool,
    scope: &Scope,
    expr: &syntax::Expr,
) -> Bind {
    let span = || expr.span.clone();
    let bound = bind(value, scope)?;
    let result = match test {
        Predicate::IsNull => Bound::new(Expr::IsNull(Box::new(bound.expr)), DataType::Boolean),
        Predicate::IsBoolean(wanted) => {
            let operand = Box::new(condition(bound, &value.span)?.expr);
            let expr = if *wanted { Expr::IsTrue(operand) } else { Expr::IsFalse(operand) };
            Bound::new(expr, DataType::Boolean)
        }
        Predicate::IsUnknown => {
            let operand = Box::new(condition(bound, &value.span)?.expr);
            Bound::new(Expr::IsNull(operand), DataType::Boolean)
        }
        Predicate::IsDistinctFrom(other) => {
            let same = operators::binary(syntax::Binary::EqualNullSafe, bound, bind(other, scope)?, span())?;
            not(same)
        }
        Predicate::Between(low, high) => {
            let low =
                operators::binary(syntax::Binary::GreaterEqual, bound.clone(), bind(low, scope)?, span())?;
            let high = operators::binary(syntax::Binary::LessEqual, bound, bind(high, scope)?, span())?;
            and(low, high)
        }
        Predicate::In(values) => {
            if !coerce::is_atomic(&bound.kind) {
                check_copies(&bound, values.len(), &value.span)?;
            }
            let values = values.iter().map(|value| bind(value, scope)).collect::<Bind<Vec<_>>>()?;
            operators::is_in(bound, values, span())?
        }
        Predicate::Like { pattern, escape, ignore_case } => {
            let pattern = bind(pattern, scope)?;
            operators::like(bound, &pattern, *escape, *ignore_case, span())?
        }
        Predicate::Rlike(pattern) => {
            let args = vec![bound, bind(pattern, scope)?];
            let spans = vec![value.span.clone(), pattern.span.clone()];
            functions::rlike(Call::new("rlike", args, spans, span()))?
        }
    };
    Ok(if negated { not(result) } else { result })
}

fn bind_case(
    operand: Option<&syntax::Expr>,
    branches: &[(syntax::Expr, syntax::Expr)],
    otherwise: Option<&syntax::Expr>,
    scope: &Scope,
    expr: &syntax::Expr,
) -> Bind {
    let span = || expr.span.clone();
    let operand = match operand {
        Some(operand) => {
            let bound = bind(operand, scope)?;
            check_copies(&bound, branches.len(), &operand.span)?;
            Some(bound)
        }
        None => None,
    };
    let mut conditions = Vec::new();
    let mut values = Vec::new();
    for (when, then) in branches {
        conditions.push(match &operand {
            None => bind_condition(when, scope)?,
            Some(operand) => operators::binary(
                syntax::Binary::Equal,
                operand.clone(),
                bind(when, scope)?,
                when.span.clone(),
            )?,
        });
        values.push(bind(then, scope)?);
    }
    if let Some(otherwise) = otherwise {
        values.push(bind(otherwise, scope)?);
    }
    let (kind, values) = coerce::all_alike(values, span())?;
    Ok(case(conditions, values, &kind))
}

/// `CASE` over conditions and values of one type; the last value may have no condition.
pub(crate) fn case(conditions: Vec<Bound>, values: Vec<Bound>, kind: &DataType) -> Bound {
    let otherwise = values.get(conditions.len()).cloned().unwrap_or_else(|| Bound::null(kind));
    let branches = conditions
        .into_iter()
        .zip(values)
        .map(|(condition, value)| (Box::new(condition.expr), Box::new(value.expr)))
        .collect();
    let expr = Expr::Case(Case::new(None, branches, Some(Box::new(otherwise.expr))));
    Bound::new(expr, kind.clone())
}

/// `left = right`.
pub(crate) fn equal(left: Bound, right: Bound, span: std::ops::Range<usize>) -> Bind {
    operators::binary(syntax::Binary::Equal, left, right, span)
}

/// `left <=> right`.
pub(crate) fn equal_null_safe(left: Bound, right: Bound, span: std::ops::Range<usize>) -> Bind {
    operators::binary(syntax::Binary::EqualNullSafe, left, right, span)
}

/// An error of a kernel while a constant is computed: a bug, but the user's query is where it is.
pub(crate) fn failed(
    span: &std::ops::Range<usize>,
) -> impl FnOnce(datafusion::common::DataFusionError) -> SqlError {
    let span = span.clone();
    move |error| SqlError::unsupported(format!("cannot be computed natively: {error}"), span)
}

#[cfg(test)]
mod tests {
    use crate::answer;

    #[test]
    fn a_field_has_the_name_of_its_key() {
        for (value, expected) in [
            ("struct(map('color', 'red')['color'])", r#"{"color":"red"}"#),
            ("struct(map('a', 1)['a'], array(5)[0], map(1, 2)[1])", r#"{"a":1,"col2":5,"col3":2}"#),
        ] {
            let answer = answer(&format!("SELECT to_json({value})")).expect(value);
            assert_eq!(answer.expect("a row").text[0].as_deref(), Some(expected), "{value}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused_in_its_place() {
        for sql in [
            "SELECT true AND 1",
            "SELECT 1 OR false OR true",
            "SELECT true AND NOT 1",
            "SELECT if(1, 2, 3)",
            "SELECT CASE WHEN 1 THEN 2 END",
            "SELECT 1 IS NOT TRUE",
        ] {
            let error = answer(sql).expect_err(sql);
            assert!(error.message.contains("a condition is true or false, this is int"), "{sql}: {error}");
            assert_eq!(&sql[error.span], "1", "{sql}");
        }
        let null = answer("SELECT NULL AND true, if(NULL, 1, 2)").expect("an answer").expect("a row");
        assert_eq!(null.text, [None, Some("2".to_owned())]);
    }
}
