//! The grammar, shown by where the brackets are.

use super::ast::{Binary, Expr, Kind, Literal, Predicate, Unary};
use super::parser::{parse_fields, parse_query};

/// The expression with all its brackets.
fn shape(expr: &Expr) -> String {
    match &expr.kind {
        Kind::Literal(Literal::Int(number)) => number.to_string(),
        Kind::Literal(literal) => format!("{literal:?}"),
        Kind::Name(parts) => parts.join("."),
        Kind::Unary(Unary::Not, operand) => format!("NOT({})", shape(operand)),
        Kind::Unary(operator, operand) => format!("{operator:?}({})", shape(operand)),
        Kind::Binary(operator, left, right) => {
            let symbol = match operator {
                Binary::Or => "OR",
                Binary::And => "AND",
                Binary::Equal => "=",
                Binary::Less => "<",
                Binary::Add => "+",
                Binary::Subtract => "-",
                Binary::Multiply => "*",
                Binary::IntegerDivide => "DIV",
                Binary::BitOr => "|",
                Binary::BitXor => "^",
                Binary::BitAnd => "&",
                Binary::Concat => "||",
                other => return format!("{other:?}({}, {})", shape(left), shape(right)),
            };
            format!("({} {symbol} {})", shape(left), shape(right))
        }
        Kind::Predicate(value, Predicate::IsNull, false) => format!("ISNULL({})", shape(value)),
        Kind::Predicate(value, Predicate::Between(low, high), negated) => {
            format!("BETWEEN{}({}, {}, {})", u8::from(*negated), shape(value), shape(low), shape(high))
        }
        Kind::Call { name, args, .. } => {
            format!("{name}({})", args.iter().map(shape).collect::<Vec<_>>().join(", "))
        }
        Kind::Field(value, name) => format!("{}->{name}", shape(value)),
        Kind::Index(value, index) => format!("{}[{}]", shape(value), shape(index)),
        other => format!("{other:?}"),
    }
}

fn parsed(text: &str) -> String {
    let query = parse_query(&format!("SELECT {text}")).unwrap_or_else(|e| panic!("{text}: {e}"));
    shape(&query.select.items[0].expr)
}

fn refused(text: &str) -> String {
    parse_query(text).expect_err(text).to_string()
}

#[test]
fn operators_bind_as_in_spark() {
    for (text, expected) in [
        ("1 + 2 * 3", "(1 + (2 * 3))"),
        ("7 DIV 2 * 3", "((7 DIV 2) * 3)"),
        ("a = b IS NULL", "ISNULL((a = b))"),
        ("NOT a = b AND c", "(NOT((a = b)) AND c)"),
        ("a OR b AND c", "(a OR (b AND c))"),
        ("1 | 2 ^ 3 & 4 + 5", "(1 | (2 ^ (3 & (4 + 5))))"),
        ("a || b || c", "((a || b) || c)"),
        ("a BETWEEN 1 AND 2 AND b", "(BETWEEN0(a, 1, 2) AND b)"),
        ("a NOT BETWEEN 1 AND 2", "BETWEEN1(a, 1, 2)"),
        ("- 2", "-2"),
        ("1 - -2", "(1 - -2)"),
        ("-a.b", "Minus(a.b)"),
        ("f(x).b[0].c", "f(x)->b[0]->c"),
        ("user.id || current_date", "(user.id || current_date)"),
        ("trim(BOTH 'x' FROM y)", "btrim(y, String(\"x\"))"),
        ("POSITION('b' IN s)", "position(String(\"b\"), s)"),
    ] {
        assert_eq!(parsed(text), expected, "{text}");
    }
}

#[test]
fn literals_have_sparks_types() {
    for (text, expected) in [
        ("2147483648", "Bigint(2147483648)"),
        ("-2147483648", "-2147483648"),
        ("2L", "Bigint(2)"),
        ("1Y", "Tinyint(1)"),
        ("1.50", "Decimal { unscaled: 150, precision: 3, scale: 2 }"),
        (".5", "Decimal { unscaled: 5, precision: 1, scale: 1 }"),
        ("0.01", "Decimal { unscaled: 1, precision: 2, scale: 2 }"),
        ("1e3", "Double(1000.0)"),
        ("0e5BD", "Decimal { unscaled: 0, precision: 6, scale: 0 }"),
        ("1.5D", "Double(1.5)"),
        ("9223372036854775808", "Decimal { unscaled: 9223372036854775808, precision: 19, scale: 0 }"),
        (r"'a\tb\u0041\'\\\%'", "String(\"a\\tbA'\\\\\\\\%\")"),
        ("'a' \"b\"", "String(\"ab\")"),
        (r"r'a\n'", "String(\"a\\\\n\")"),
        (r"'\ud83d\ude00 \uD83D\U0000DE00 \U0001F600'", "String(\"😀 😀 😀\")"),
        (r"'\u00 \u12x4 \08'", "String(\"u00 u12x4 \\08\")"),
        ("X'1ff'", "Binary([1, 255])"),
    ] {
        assert_eq!(parsed(text), expected, "{text}");
    }
}

#[test]
fn types_nest() {
    let fields =
        parse_fields("s STRUCT<a: ARRAY<MAP<STRING, ARRAY<INT>>>, b DECIMAL(4,2)>").expect("a schema");
    assert_eq!(
        crate::types::simple_string(&fields[0].kind),
        "struct<a:array<map<string,array<int>>>,b:decimal(4,2)>"
    );
}

#[test]
fn refusals_say_what_and_where() {
    for (text, expected) in [
        ("SELECT 1 +", "expected a value, the query ends here"),
        ("SELECT 'a", "never closed"),
        ("SELECT a FROM t JOIN u", "more than one table"),
        ("SELECT a::INT", "write CAST"),
        ("SELECT 'it''s'", "write \\'"),
        (r"SELECT '\ud83d'", "half of a character"),
        (r"SELECT '\ud83d\u0041'", "half of a character"),
        (r"SELECT '\ud83d' '\ude00'", "half of a character"),
        (r"SELECT '\ude00\ud83d'", "half of a character"),
        (r"SELECT '\U00110000'", "half of a character"),
        ("SELECT INTERVAL 1 MONTH 1 DAY", "months and days"),
        ("SELECT CAST(1 AS FOO)", "`FOO` is no type"),
        ("SELECT CAST(NULL AS STRUCT<>)", "STRUCT without fields"),
        ("SELECT CAST(NULL AS STRUCT< >)", "STRUCT without fields"),
        ("SELECT CAST(NULL AS STRUCT<a: INT,>)", "expected a name"),
        ("SELECT CAST(1 AS `INT`)", "a type without backticks"),
        ("SELECT 1 FROM t UNION SELECT 2", "UNION"),
    ] {
        assert!(refused(text).contains(expected), "{text}: {}", refused(text));
    }
    let deep = format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000));
    assert!(refused(&deep).contains("nested deeper"));
}

#[test]
fn keys_of_maps_in_a_schema_are_texts() {
    assert!(parse_fields("m MAP<STRING, ARRAY<MAP<STRING, INT>>>, n INT").is_ok());
    for (text, place) in [
        ("a INT, m MAP<DATE, INT>, b INT", "MAP<DATE, INT>"),
        ("m STRUCT<x: MAP<INT, STRING>> COMMENT 'c'", "STRUCT<x: MAP<INT, STRING>> COMMENT 'c'"),
        ("m ARRAY<MAP<STRING, MAP<INT, INT>>>", "ARRAY<MAP<STRING, MAP<INT, INT>>>"),
    ] {
        let error = parse_fields(text).expect_err(text);
        assert!(error.message.contains("keys of a MAP"), "{error}");
        assert_eq!(&text[error.span], place);
    }
}

/// How many levels an expression has.
fn levels(expr: &Expr) -> usize {
    let mut deepest = 0;
    expr.map_children(&mut |child| {
        deepest = deepest.max(levels(child));
        child.clone()
    });
    deepest + 1
}

#[test]
fn thousands_of_conditions_are_not_deep() {
    assert_eq!(parsed("a OR b OR c OR d"), "(((a OR b) OR c) OR d)");
    for word in ["OR", "AND"] {
        let names: Vec<_> = (0..2000).map(|at| format!("c{at}")).collect();
        let text = names.join(&format!(" {word} "));
        let query = parse_query(&format!("SELECT {text}")).expect(word);
        let expr = &query.select.items[0].expr;
        assert!(levels(expr) < 20, "{}", levels(expr));
        // The order is that of the text, and so is each place.
        assert_eq!(shape(expr).replace(['(', ')'], ""), text);
        assert_eq!(expr.span, 7..7 + text.len());
    }
}

#[test]
fn chains_of_operators_end_before_the_stack_does() {
    for (one, between) in
        [("1", " + "), ("a", " || "), ("2", " * "), ("a", " = "), ("1", " & "), ("1", " DIV "), ("1", " ^ ")]
    {
        let chain = |count| format!("SELECT {}", vec![one; count].join(between));
        assert!(parse_query(&chain(150)).is_ok(), "150 times {between}");
        assert!(refused(&chain(2000)).contains("deeper than"), "2000 times {between}");
    }
    for (before, inner, after) in [
        ("NOT ", "a", ""),
        ("! ", "a", ""),
        ("- ", "a", ""),
        ("~", "a", ""),
        ("f(", "a", ")"),
        ("CASE WHEN ", "a", " THEN 1 END"),
        ("POSITION(", "a", " IN b)"),
        ("", "a", "[0]"),
        ("", "f(a)", ".b"),
        // In brackets, too, the links of all chains count.
        ("(1 + ", "a", " + 1 + 1)"),
        ("(", "a", " IS NULL)"),
    ] {
        let nested = format!("SELECT {}{inner}{}", before.repeat(2000), after.repeat(2000));
        assert!(refused(&nested).contains("deeper than"), "{before}…{after}");
    }
    let mixed = format!("SELECT {}1{}", "(".repeat(20), ") + 1 + 1 + 1 * 2".repeat(20));
    assert!(parse_query(&mixed).is_ok());
    let mixed = format!("SELECT {}1{}", "(".repeat(100), " + 1 + 1)".repeat(100));
    assert!(refused(&mixed).contains("deeper than"));
}

#[test]
fn long_lists_are_not_deep() {
    let numbers = vec!["1"; 20_000].join(", ");
    for text in [
        format!("a IN ({numbers})"),
        format!("f({numbers})"),
        format!("CASE{} END", " WHEN a + 1 > 2 THEN b".repeat(2000)),
        format!("CASE a{} ELSE 1 END", " WHEN 1 THEN b || 'x'".repeat(2000)),
    ] {
        let query = parse_query(&format!("SELECT {text}")).expect("parses");
        assert!(levels(&query.select.items[0].expr) < 6);
    }
}
