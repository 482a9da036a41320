//! What expressions give: operators, functions, nulls, what is missing, and cells of every type.

use super::*;

fn text(of: &str) -> Value {
    Value::text(of)
}

fn check(event: &str, cases: &[(&str, Value)]) {
    for (expression, expected) in cases {
        assert_eq!(value(expression, event), *expected, "{expression}");
    }
}

fn truths(event: &str, yes: &[&str], no: &[&str]) {
    for expression in yes {
        assert_eq!(value(expression, event), Value::Bool(true), "{expression}");
    }
    for expression in no {
        assert_eq!(value(expression, event), Value::Bool(false), "{expression}");
    }
}

#[test]
fn operators_compute() {
    check(
        r#"{"n":3,"p":"1.10","d":2.50,"s":"ab","t":"2026-01-01T00:00:00Z"}"#,
        &[
            ("1 + 2 * 3 - 4 / 2 % 3", Value::Int(5)),
            ("-event.n", Value::Int(-3)),
            ("event.n + event.n", Value::Int(6)),
            ("event.d * event.n", decimal("7.50")),
            ("decimal('1.10') + event.p", decimal("2.20")),
            ("decimal(event.p) * event.n", decimal("3.30")),
            ("1.5 + 2.0", Value::Float(3.5)),
            ("'x' + event.s", text("xab")),
            ("event.s + event.s", text("abab")),
            ("[1] + [2]", Value::List(vec![Value::Int(1), Value::Int(2)])),
            ("event.n > 2 ? 'many' : 'few'", text("many")),
            ("timestamp(event.t) + duration('1h')", Value::Timestamp(1_767_229_200_000)),
            ("timestamp(event.t) - timestamp('2025-12-31T23:59:59Z') == duration('1s')", Value::Bool(true)),
        ],
    );
}

#[test]
fn comparisons_follow_types() {
    truths(
        r#"{"n":3,"f":3.0,"p":"1.10","s":"ab","t":"1970-01-01T00:00:01Z","z":null,"o":{"a":[1]},"q":{"a":[1.0]}}"#,
        &[
            "event.n == 3",
            "event.n == event.f",
            "event.s == 'ab'",
            "event.s != 3",
            "decimal('1.1') == event.p",
            "decimal('1.10') == decimal('1.1')",
            "new.updatedAt == event.t",
            "new.updatedAt <= event.t",
            "event.o == event.q",
            "'B' < 'a'",
            "'é' > 'z'",
            "event.z == null",
            "new.note == null",
            "row.status == OPEN",
            "OPEN == row.status",
            "3 in [1, event.n]",
            "event.s in ['ab']",
            "'a' in event.o",
            "1 in event.o.a",
            "new.total == money(decimal('26.1'), 'EUR')",
        ],
        &[
            "event.n == '3'",
            "null in [null]",
            "new.note in ['a']",
            "new.note == 'a'",
            "event.z in [1]",
            "'b' in event.o",
            "event.n < 3",
            "[1] == [2]",
        ],
    );
}

#[test]
fn the_side_that_decides_decides_whatever_the_other_is() {
    truths(
        "{}",
        &["true || event.a", "event.a || true", "event.a == 1 || true", "[0, 1].exists(x, 1 / x == 1)"],
        &["false && event.a", "event.a && false", "[0, 1].all(x, 1 / x == 2)"],
    );
    assert_eq!(reason("event.a || false", &Expected::Condition, "{}"), "event.a is missing");
    assert_eq!(reason("event.a && true", &Expected::Any, "{}"), "event.a is missing");
}

#[test]
fn lists_and_maps_are_gone_through() {
    check(
        r#"{"l":[{"n":1},{"n":2},{"n":3}],"m":{"a":1,"b":2},"e":[],"t":["x","y"]}"#,
        &[
            ("event.l.map(x, x.n).sum()", Value::Int(6)),
            ("event.l.filter(x, x.n > 1).map(x, x.n * 2)", Value::List(vec![Value::Int(4), Value::Int(6)])),
            ("event.l.map(x, x.n > 1, x.n).size()", Value::Int(2)),
            ("event.l.all(x, x.n > 0)", Value::Bool(true)),
            ("event.l.exists_one(x, x.n == 2)", Value::Bool(true)),
            ("event.l.map(x, x.n).max()", Value::Int(3)),
            ("event.l.map(x, int(x.n)).min().orValue(0)", Value::Int(1)),
            ("event.e.min()", Value::Null),
            ("event.e.map(x, decimal(x.n)).sum()", decimal("0")),
            ("event.l[1].n", Value::Int(2)),
            ("event.m['a']", Value::Int(1)),
            ("event.m[?'z'].orValue(7)", Value::Int(7)),
            ("event.m.keys()", Value::List(vec![text("a"), text("b")])),
            ("event.m.values().sum()", Value::Int(3)),
            ("event.t.join('-')", text("x-y")),
            ("new.lines['p1'].quantity", Value::Int(2)),
            ("new.lines[?'p9'].?quantity.orValue(0)", Value::Int(0)),
            ("new.lines.keys()", Value::List(vec![text("p1"), text("p2")])),
            ("new.lines.map(k, k + '!')", Value::List(vec![text("p1!"), text("p2!")])),
            ("new.lines.size()", Value::Int(2)),
            ("event.l.map(x, event.l.map(y, x.n * y.n).sum()).sum()", Value::Int(36)),
        ],
    );
}

#[test]
fn functions_convert() {
    check(
        r#"{"n":3,"p":"1.10","s":" Ab ","t":"2026-01-31T23:00:00-02:00","u":"67e55044-10b1-426f-9247-bb680e5fe0c8"}"#,
        &[
            ("int('42')", Value::Int(42)),
            ("int(decimal('3.00'))", Value::Int(3)),
            ("int(2.9)", Value::Int(2)),
            ("double(event.n)", Value::Float(3.0)),
            ("string(event.n) + string(decimal('1.50'))", text("31.50")),
            ("string(timestamp(event.t))", text("2026-02-01T01:00:00Z")),
            ("date(timestamp(event.t)) == date('2026-02-01')", Value::Bool(true)),
            ("string(uuid(event.u))", text("67e55044-10b1-426f-9247-bb680e5fe0c8")),
            ("div(10, 3, 2, 'HALF_UP')", decimal("3.33")),
            ("round(decimal('2.5'), 0, 'HALF_EVEN')", decimal("2")),
            ("size('€uro')", Value::Int(4)),
            ("event.s.trim().lowerAscii()", text("ab")),
            (
                "event.s.contains('Ab') && event.s.startsWith(' ') && event.s.endsWith('b ')",
                Value::Bool(true),
            ),
            ("'a,b'.split(',')", Value::List(vec![text("a"), text("b")])),
            ("'a-b'.replace('-', '+')", text("a+b")),
            ("string(new.status)", text("OPEN")),
            ("has(event.n) && !has(event.z) && has(row.status) && !has(row.note)", Value::Bool(true)),
            ("event.?z.hasValue()", Value::Bool(false)),
            ("event.?z.?y.orValue('none')", text("none")),
            ("event.?z.y.orValue('none')", text("none")),
            ("new.lines[?'p9'].name.orValue('none')", text("none")),
            ("row.note.orValue('none')", text("none")),
        ],
    );
}

#[test]
fn what_is_missing_leaves_a_path_and_faults_an_expression() {
    let string = cell_of(Scalar::String);
    assert_eq!(run("event.a", &string, "{}"), Ok(None));
    assert_eq!(run("event.a.b", &string, r#"{"a":{}}"#), Ok(None));
    assert_eq!(run("event.l[2]", &string, r#"{"l":["x"]}"#), Ok(None));
    assert_eq!(run("event.?a", &string, "{}"), Ok(None));
    let nullable = Expected::Cell { ty: ColumnType::Scalar(Scalar::String), nullable: true };
    assert_eq!(run("optional.none()", &nullable, "{}"), Ok(None));
    assert_eq!(run("has(event.a) ? optional.of('x') : optional.none()", &nullable, "{}"), Ok(None));
    assert_eq!(run("event.?a.or(optional.of('x'))", &nullable, "{}"), Ok(Some(text("x"))));
    assert_eq!(run("event.?a.b.c", &string, r#"{"a":{}}"#), Ok(None));
    let event = r#"{"a":null,"s":"x","n":1.5}"#;
    for (expression, words) in [
        ("event.b + 1", "event.b is missing"),
        ("event.a.b", "event.a.b cannot be read: null has no fields"),
        ("event.s.b", "event.s.b cannot be read: \"x\" has no fields"),
        ("event.n + 1", "event.n is 1.5, expected an integer"),
        (
            "decimal(event.s) + 1",
            "event.s is \"x\", expected a decimal number of at most 38 digits such as \"12.50\"",
        ),
        ("event.s > 1", "event.s is \"x\", expected a number"),
        ("1 / (event.?z.orValue(0))", "1 / 0 divides by zero"),
        ("9223372036854775807 + event.?z.orValue(1)", "9223372036854775807 + 1 is out of range"),
        ("new.lines['p9'].quantity", "new.lines['p9']: there is no element \"p9\""),
        ("event.s.map(x, x)", "event.s is \"x\", expected a list"),
        ("event.a.size()", "event.a is null, which has no size"),
    ] {
        assert_eq!(reason(expression, &Expected::Any, event), words, "{expression}");
    }
}

#[test]
fn cells_hold_what_their_column_can() {
    let max = i64::from(i32::MAX);
    let event = format!(
        r#"{{"i":{max},"i1":{},"l":9223372036854775807,"l1":9223372036854775808,"f":1.5,"s":"x","n":null,"b":true,
            "d":"12.50","dn":0.30,"t":"1970-01-01T00:00:00.001Z","day":"1970-01-02","time":"00:00:01","u":"67e55044-10b1-426f-9247-bb680e5fe0c8",
            "b64":"AQI=","ls":"12"}}"#,
        max + 1
    );
    let fits: &[(&str, Scalar, Value)] = &[
        ("i", Scalar::Int, Value::Int(max)),
        ("l", Scalar::Long, Value::Int(i64::MAX)),
        ("ls", Scalar::BigInt, Value::Int(12)),
        ("f", Scalar::Float, Value::Float(1.5)),
        ("i", Scalar::Id, Value::text(max.to_string())),
        ("s", Scalar::Id, text("x")),
        ("s", Scalar::String, text("x")),
        ("b", Scalar::Boolean, Value::Bool(true)),
        ("d", Scalar::Decimal, decimal("12.50")),
        ("dn", Scalar::Decimal, decimal("0.30")),
        ("t", Scalar::DateTime, Value::Timestamp(1)),
        ("day", Scalar::LocalDate, Value::Date(1)),
        ("time", Scalar::LocalTime, Value::Time(1_000_000_000)),
        ("b64", Scalar::Bytes, Value::Bytes([1, 2].into())),
    ];
    for (field, scalar, expected) in fits {
        let found = run(&format!("event.{field}"), &cell_of(*scalar), &event);
        assert_eq!(found, Ok(Some(expected.clone())), "{field} {scalar:?}");
    }
    let misfits: &[(&str, Scalar, &str)] = &[
        ("i1", Scalar::Int, "event.i1 is 2147483648, expected an integer of 32 bits"),
        ("l1", Scalar::Long, "event.l1 is 9223372036854775808, expected an integer of 64 bits"),
        ("f", Scalar::Int, "event.f is 1.5, expected an integer of 32 bits"),
        ("i", Scalar::String, "event.i is 2147483647, expected a string"),
        (
            "s",
            Scalar::Decimal,
            "event.s is \"x\", expected a decimal number of at most 38 digits such as \"12.50\"",
        ),
        ("n", Scalar::String, "event.n is null, expected a string"),
        (
            "day",
            Scalar::DateTime,
            "event.day is \"1970-01-02\", expected a time with offset such as \"2026-01-01T00:00:00.000Z\"",
        ),
        ("s", Scalar::Boolean, "event.s is \"x\", expected a Boolean"),
        ("s", Scalar::Uuid, "event.s is \"x\", expected a UUID"),
        ("s", Scalar::Bytes, "event.s is \"x\", expected base64 text with padding"),
        (
            "t",
            Scalar::LocalDate,
            "event.t is \"1970-01-01T00:00:00.001Z\", expected a date such as \"2026-01-31\"",
        ),
        (
            "t",
            Scalar::LocalTime,
            "event.t is \"1970-01-01T00:00:00.001Z\", expected a time of day such as \"13:45:30\"",
        ),
        ("s", Scalar::Float, "event.s is \"x\", expected a finite number"),
    ];
    for (field, scalar, words) in misfits {
        assert_eq!(reason(&format!("event.{field}"), &cell_of(*scalar), &event), *words);
    }
}

#[test]
fn decimals_of_too_many_digits_are_refused_not_rounded() {
    let event = |digits: usize| format!(r#"{{"d":{}, "s":"{}"}}"#, "9".repeat(digits), "9".repeat(digits));
    for field in ["event.d", "event.s", "decimal(event.s)"] {
        assert!(run(field, &cell_of(Scalar::Decimal), &event(38)).is_ok(), "{field}");
        let words = reason(field, &cell_of(Scalar::Decimal), &event(39));
        assert!(words.contains("expected a decimal number of at most 38 digits"), "{words}");
    }
    let words = reason("decimal(event.d) * 10", &cell_of(Scalar::Decimal), &event(38));
    assert!(words.ends_with("has more than 38 digits"), "{words}");
}

#[test]
fn enums_records_and_collections_come_from_json() {
    let cell = |ty: ColumnType| Expected::Cell { ty, nullable: false };
    let status = cell(ColumnType::Enum(STATUS));
    assert_eq!(run("event.s", &status, r#"{"s":"PAID"}"#), Ok(Some(text("PAID"))));
    assert_eq!(
        reason("event.s", &status, r#"{"s":"GONE"}"#),
        "event.s is \"GONE\", expected one of CartStatus: OPEN, PLACED, PAID, CHECKED_OUT"
    );
    let money = cell(ColumnType::Record(MONEY));
    let made = Value::Record(vec![decimal("1.5"), text("EUR")]);
    assert_eq!(run("event", &money, r#"{"currency":"EUR","amount":1.5}"#), Ok(Some(made)));
    assert_eq!(
        reason("event", &money, r#"{"amount":"x"}"#),
        "event.amount is \"x\", expected a decimal number of at most 38 digits such as \"12.50\""
    );
    assert_eq!(reason("event", &money, r#"{"amount":"1"}"#), "event.currency is missing, expected a string");
    let set = cell(ColumnType::Set(Box::new(ColumnType::Scalar(Scalar::Int))));
    assert_eq!(
        run("event.l", &set, r#"{"l":[3,1,3]}"#),
        Ok(Some(Value::Set(vec![Value::Int(1), Value::Int(3)])))
    );
    assert_eq!(
        reason("event.l", &set, r#"{"l":[3,"x"]}"#),
        "event.l[1] is \"x\", expected an integer of 32 bits"
    );
    assert_eq!(
        reason("event.l", &set, r#"{"l":[null]}"#),
        "event.l[0] is null, expected an integer of 32 bits"
    );
    let list = cell(ColumnType::List(Box::new(ColumnType::Scalar(Scalar::String))));
    assert_eq!(run("['a', 'b']", &list, "{}"), Ok(Some(Value::List(vec![text("a"), text("b")]))));
    let lines = cell(ColumnType::Map { key: ColumnId(3), record: LINE });
    let line = |id: &str| {
        format!(
            r#"{{"name":"L","quantity":1,"unitPrice":{{"amount":"1","currency":"E"}},"productId":"{id}"}}"#
        )
    };
    let found =
        run("event.l", &lines, &format!(r#"{{"l":[{},{}]}}"#, line("p2"), line("p1"))).unwrap().unwrap();
    let Value::Map(pairs) = found else { panic!("{found:?}") };
    assert_eq!(pairs.iter().map(|pair| pair.0.clone()).collect::<Vec<_>>(), [text("p1"), text("p2")]);
    assert_eq!(
        reason("event.l", &lines, &format!(r#"{{"l":[{},{}]}}"#, line("p1"), line("p1"))),
        "event.l holds two CartLine of key \"p1\"; a key may come once"
    );
    assert_eq!(run("new.lines", &lines, "{}"), Ok(Some(cart()[5].clone())));
}

#[test]
fn long_values_are_cut_in_messages() {
    let event = format!(r#"{{"s":"{}"}}"#, "x".repeat(10_000));
    let words = reason("event.s", &cell_of(Scalar::Int), &event);
    assert!(words.len() < 160 && words.contains("xxx…, expected"), "{words}");
}

#[test]
fn no_json_makes_a_conversion_panic() {
    let scalars = [
        Scalar::Boolean,
        Scalar::Int,
        Scalar::Long,
        Scalar::BigInt,
        Scalar::Float,
        Scalar::String,
        Scalar::Id,
        Scalar::Decimal,
        Scalar::DateTime,
        Scalar::LocalDate,
        Scalar::LocalTime,
        Scalar::Uuid,
        Scalar::Bytes,
    ];
    let nines = "9".repeat(400);
    let numbers = ["0", "-0", "1e400", "-1e-400", "1e38", "0.1e-76", "-9223372036854775808", "1E+2", &nines];
    let texts = [
        "",
        "-",
        "€",
        "9999-12-31",
        "-009999-01-01",
        "0000-00-00",
        "9999-12-31T23:59:59.999999999Z",
        "-009999-01-01T00:00:00Z",
        "2026-01-01T00:00:00+25:59",
        "24:00",
        "23:59:60",
        "00:00:00.9999999999",
        "====",
        "AQ",
        "1e-9999999999999999999",
        "67e55044-10b1-426f-9247",
        "\u{0}",
        "10€0-01-01",
        "2026-01-01T00:00:00[UTC]",
    ];
    let others = ["null", "true", "[]", "{}", "[[]]", "[null]", r#"{"a":{}}"#];
    let quoted = texts.map(|text| sonic_rs::to_string(text).unwrap());
    let all = numbers.into_iter().chain(quoted.iter().map(String::as_str)).chain(others);
    for found in all {
        let event = format!(r#"{{"a":{found}}}"#);
        for scalar in scalars {
            for expression in ["event.a", "[event.a][0]"] {
                if let Err(fault) = run(expression, &cell_of(scalar), &event) {
                    assert!(fault.0.starts_with(expression), "{}", fault.0);
                }
            }
        }
        for function in
            ["timestamp", "date", "time", "duration", "uuid", "base64", "decimal", "int", "double", "string"]
        {
            let _ = run(&format!("{function}(event.a)"), &Expected::Any, &event);
        }
        for expression in
            ["-event.a", "event.a + event.a", "event.a * event.a", "event.a == event.a", "event.a < event.a"]
        {
            let _ = run(expression, &Expected::Any, &event);
        }
    }
}
