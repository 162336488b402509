//! The tree of a query.

use std::ops::Range;

use arrow::datatypes::DataType;

/// An expression and its place in the text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expr {
    pub(crate) kind: Kind,
    pub(crate) span: Range<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Literal(Literal),
    /// A column, or a column and fields in it: which part is what is decided by the scope.
    Name(Vec<String>),
    /// `*` or `t.*`.
    Star(Vec<String>),
    Call {
        /// In lower case.
        name: String,
        args: Vec<Expr>,
        distinct: bool,
    },
    Unary(Unary, Box<Expr>),
    Binary(Binary, Box<Expr>, Box<Expr>),
    /// A test, negated or not.
    Predicate(Box<Expr>, Predicate, bool),
    Case {
        operand: Option<Box<Expr>>,
        branches: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
    Cast(Box<Expr>, DataType, CastKind),
    /// `expr.name`.
    Field(Box<Expr>, String),
    /// `expr[index]`.
    Index(Box<Expr>, Box<Expr>),
    /// `x -> body`, `(x, y) -> body`.
    Lambda(Vec<String>, Box<Expr>),
    /// `expr AS name`, in `struct(…)`.
    Named(Box<Expr>, String),
    /// `INTERVAL …`: months, or microseconds with whether they are whole days.
    Interval(Interval),
    /// What has been taken out and is computed before the rest, by its place; the grammar has none.
    Taken(usize),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Null,
    Boolean(bool),
    String(String),
    Tinyint(i8),
    Smallint(i16),
    Int(i32),
    Bigint(i64),
    Float(f32),
    Double(f64),
    Decimal {
        unscaled: i128,
        precision: u8,
        scale: i8,
    },
    Binary(Vec<u8>),
    /// `DATE '…'`, still as text.
    Date(String),
    /// `TIMESTAMP '…'`, still as text.
    Timestamp(String),
}

/// A constant interval; Spark knows two kinds that do not mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interval {
    Months(i32),
    /// `days` says that no unit is below a day, so that a date stays a date.
    Micros {
        micros: i64,
        days: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CastKind {
    Cast,
    TryCast,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unary {
    Not,
    Minus,
    Plus,
    BitNot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    Or,
    And,
    Equal,
    EqualNullSafe,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    BitOr,
    BitXor,
    BitAnd,
    Add,
    Subtract,
    Concat,
    Multiply,
    Divide,
    Modulo,
    IntegerDivide,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Predicate {
    IsNull,
    IsBoolean(bool),
    IsUnknown,
    IsDistinctFrom(Box<Expr>),
    Between(Box<Expr>, Box<Expr>),
    In(Vec<Expr>),
    Like { pattern: Box<Expr>, escape: Option<char>, ignore_case: bool },
    Rlike(Box<Expr>),
}

/// `name: type` of a struct or a schema.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: DataType,
    pub(crate) nullable: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Query {
    /// `WITH name AS (query)`, in order.
    pub(crate) with: Vec<(String, Query)>,
    pub(crate) select: Select,
    pub(crate) order_by: Vec<Order>,
    pub(crate) limit: Option<u64>,
    pub(crate) offset: Option<u64>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Select {
    pub(crate) distinct: Option<Range<usize>>,
    /// Where the list of items begins.
    pub(crate) items_start: usize,
    pub(crate) items: Vec<Item>,
    pub(crate) from: Option<Relation>,
    pub(crate) filter: Option<Expr>,
    /// Where all of the filter stands, its outer parentheses included.
    pub(crate) filter_span: Range<usize>,
    pub(crate) group_by: Vec<Expr>,
    pub(crate) having: Option<Expr>,
    pub(crate) span: Range<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    pub(crate) expr: Expr,
    pub(crate) alias: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Relation {
    Named { name: Vec<String>, alias: Option<String>, span: Range<usize> },
    Subquery { query: Box<Query>, alias: Option<String> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Ascending,
    Descending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nulls {
    First,
    Last,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order {
    pub(crate) expr: Expr,
    pub(crate) direction: Direction,
    pub(crate) nulls: Nulls,
}

impl Query {
    /// What of it, subqueries aside, looks at more than one record, and where that stands.
    pub(crate) fn more_than_one_record(&self) -> Option<(&'static str, Range<usize>)> {
        let select = &self.select;
        let grouping = || select.group_by.first().or(select.having.as_ref());
        let distinct = select.distinct.clone().map(|span| ("DISTINCT", span));
        distinct
            .or_else(|| grouping().map(|expr| ("grouping", expr.span.clone())))
            .or_else(|| self.order_by.first().map(|order| ("ORDER BY", order.expr.span.clone())))
            .or_else(|| {
                (self.limit.is_some() || self.offset.is_some()).then(|| ("LIMIT", select.span.clone()))
            })
    }
}

impl Expr {
    /// Calls `see` with this expression and all in it.
    pub(crate) fn visit(&self, see: &mut impl FnMut(&Self)) {
        see(self);
        // Mapping gives every child once; the copies are dropped.
        self.map_children(&mut |child| {
            child.visit_dyn(see);
            child.clone()
        });
    }

    fn visit_dyn(&self, see: &mut dyn FnMut(&Self)) {
        see(self);
        self.map_children(&mut |child| {
            child.visit_dyn(see);
            child.clone()
        });
    }

    /// The expression with each direct part replaced.
    pub(crate) fn map_children(&self, map: &mut dyn FnMut(&Self) -> Self) -> Self {
        let kind = match &self.kind {
            Kind::Literal(_) | Kind::Name(_) | Kind::Star(_) | Kind::Interval(_) | Kind::Taken(_) => {
                self.kind.clone()
            }
            Kind::Call { name, args, distinct } => {
                Kind::Call { name: name.clone(), args: args.iter().map(map).collect(), distinct: *distinct }
            }
            Kind::Unary(operator, operand) => Kind::Unary(*operator, Box::new(map(operand))),
            Kind::Binary(operator, left, right) => {
                Kind::Binary(*operator, Box::new(map(left)), Box::new(map(right)))
            }
            Kind::Predicate(value, test, negated) => {
                Kind::Predicate(Box::new(map(value)), test.map_children(map), *negated)
            }
            Kind::Case { operand, branches, otherwise } => Kind::Case {
                operand: operand.as_ref().map(|operand| Box::new(map(operand))),
                branches: branches.iter().map(|(when, then)| (map(when), map(then))).collect(),
                otherwise: otherwise.as_ref().map(|otherwise| Box::new(map(otherwise))),
            },
            Kind::Cast(value, kind, cast) => Kind::Cast(Box::new(map(value)), kind.clone(), *cast),
            Kind::Field(value, name) => Kind::Field(Box::new(map(value)), name.clone()),
            Kind::Index(value, index) => Kind::Index(Box::new(map(value)), Box::new(map(index))),
            Kind::Lambda(names, body) => Kind::Lambda(names.clone(), Box::new(map(body))),
            Kind::Named(value, name) => Kind::Named(Box::new(map(value)), name.clone()),
        };
        Self { kind, span: self.span.clone() }
    }

    /// Whether both are written alike, wherever they stand.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        fn placeless(expr: &Expr) -> Expr {
            Expr { span: 0..0, ..expr.map_children(&mut placeless) }
        }
        placeless(self) == placeless(other)
    }
}

impl Predicate {
    fn map_children(&self, map: &mut dyn FnMut(&Expr) -> Expr) -> Self {
        match self {
            Self::IsNull | Self::IsBoolean(_) | Self::IsUnknown => self.clone(),
            Self::IsDistinctFrom(other) => Self::IsDistinctFrom(Box::new(map(other))),
            Self::Between(low, high) => Self::Between(Box::new(map(low)), Box::new(map(high))),
            Self::In(values) => Self::In(values.iter().map(map).collect()),
            Self::Like { pattern, escape, ignore_case } => {
                Self::Like { pattern: Box::new(map(pattern)), escape: *escape, ignore_case: *ignore_case }
            }
            Self::Rlike(pattern) => Self::Rlike(Box::new(map(pattern))),
        }
    }
}
