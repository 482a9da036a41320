//! Every fault that `check` finds in an expression: its code, its words, its place.

use super::*;
use crate::testing::spoil;

/// Code, underlined text, message and advice of the first fault.
fn fault(text: &str, expected: &Expected) -> String {
    let faults = match compiled(text, expected) {
        Ok(compiled) => panic!("{text} compiles: {compiled:?}"),
        Err(faults) => faults,
    };
    let first = &faults[0];
    let span = first.span.expect("every fault has a place");
    let under = &text[span.start as usize..span.end as usize];
    let help = first.help.as_deref().unwrap_or("-");
    format!("{} `{under}` {} | {help}", first.code, first.message)
}

fn check(expected: &Expected, cases: &[(&str, &str)]) {
    for (text, words) in cases {
        assert_eq!(fault(text, expected), *words, "{text}");
    }
}

#[test]
fn unknown_names_fields_and_functions_say_the_nearest() {
    check(
        &Expected::Any,
        &[
            ("evnt.a", "E003 `evnt` there is no name `evnt` here | did you mean `event`?"),
            (
                "zzz",
                "E003 `zzz` there is no name `zzz` here | a field of the event is `event.zzz`; the names here are event, row, old, new",
            ),
            (
                "itemCount",
                "E003 `itemCount` there is no name `itemCount` here | did you mean `event.itemCount` or `row.itemCount`?",
            ),
            (
                "event.a == PAID",
                "E003 `PAID` there is no name `PAID` here | `PAID` is a value of an enum, but nothing here says which is meant; for text write `'PAID'`",
            ),
            ("row.status == PIAD", "E003 `PIAD` `CartStatus` has no value `PIAD` | did you mean `PAID`?"),
            (
                "row.status in [OPEN, GONE]",
                "E003 `GONE` `CartStatus` has no value `GONE` | its values are OPEN, PLACED, PAID, CHECKED_OUT",
            ),
            (
                "row.status == 'PAID'",
                "E007 `'PAID'` `\"PAID\"` is a String where a `CartStatus` is expected | write `PAID` without quotes",
            ),
            ("row.staus", "E004 `staus` `Cart` has no column `staus` | did you mean `status`?"),
            (
                "row.user",
                "E004 `user` `Cart` has no column `user` | `user` is another entity; what is stored of it is `userId`",
            ),
            (
                "new.status.x",
                "E004 `x` CartStatus has no field `x` | only the event, rows and value types have fields",
            ),
            (
                "new.lines.quantity",
                "E004 `quantity` map of CartLine by String has no field `quantity` | take an element with `[…]`, or go through it with `.map(x, …)`",
            ),
            ("decimel('1')", "E005 `decimel` there is no function `decimel` | did you mean `decimal(x)`?"),
            (
                "zzzzzz(1)",
                "E005 `zzzzzz` there is no function `zzzzzz` | docs/expressions.md lists the functions",
            ),
            (
                "math.cel(1.5)",
                "E005 `math.cel` there is no function `math.cel` | did you mean `math.ceil(x)`?",
            ),
            ("decimal(1, 2)", "E006 `decimal` `decimal` is called with 2 arguments | write `decimal(x)`"),
            (
                "event.l.sum(1)",
                "E006 `sum` `sum` is called on a value with one argument | write `list.sum()`",
            ),
            (
                "now()",
                "E012 `now` `now()` gives another value at each call, and a replay must give the same row | take it from the event, such as `event.at`",
            ),
        ],
    );
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    check(
        &Expected::Any,
        &[
            (
                "new.itemCount + 'x'",
                "E007 `new.itemCount + 'x'` `+` cannot take Int and String | make text of the other side with `string(x)`, or a number of the text with `int(x)` or `decimal(x)`",
            ),
            (
                "new.itemCount == 'x'",
                "E007 `new.itemCount == 'x'` Int is compared with String, which can never be equal | make text of the other side with `string(x)`, or a number of the text with `int(x)` or `decimal(x)`",
            ),
            (
                "new.currency < 1",
                "E007 `new.currency < 1` `<` cannot compare String with Int | make text of the other side with `string(x)`, or a number of the text with `int(x)` or `decimal(x)`",
            ),
            (
                "1 in ['a']",
                "E007 `1 in ['a']` Int can never be in [String] | make text of the other side with `string(x)`, or a number of the text with `int(x)` or `decimal(x)`",
            ),
            (
                "1 in 2",
                "E007 `2` `in` takes a list or a map, found Int | write a list: `x in [1, 2]`, or compare with `==`",
            ),
            (
                "[1, 'a']",
                "E007 `'a'` a list holds Int and String | its elements must be of one type; where anything may come, say `dyn(…)`",
            ),
            (
                "true ? 1 : 'a'",
                "E007 `1 : 'a'` the two sides of `? :` are Int and String | both must be of one type",
            ),
            (
                "!new.itemCount",
                "E009 `new.itemCount` expected Boolean, found Int | compare it with something, such as `x == 1` or `has(event.x)`",
            ),
            ("-new.currency", "E007 `new.currency` `-` takes a number, found String | -"),
            (
                "1 + 1.5",
                "E007 `1 + 1.5` `+` cannot take Int and Float | numbers of different types are not mixed: say `double(x)`",
            ),
            ("new.itemCount[0]", "E007 `new.itemCount` Int has no elements | -"),
            ("new.lines[1]", "E007 `1` expected String in `[…]`, found Int | -"),
            ("new.itemCount.map(x, x)", "E007 `new.itemCount` expected a list, found Int | -"),
            (
                "new.lines.values().sum()",
                "E007 `new.lines.values()` expected a list of numbers, found [CartLine] | docs/expressions.md says what each function takes",
            ),
            (
                "money('1', 'EUR')",
                "E007 `'1'` expected a Decimal as amount, found String | write `decimal('1')`",
            ),
        ],
    );
}

#[test]
fn decimals_stay_exact() {
    check(
        &Expected::Any,
        &[
            (
                "new.total.amount * 1.1",
                "E010 `1.1` `1.1` is a floating number beside a decimal, and would not be exact | write `decimal('1.1')`",
            ),
            (
                "new.total.amount == 1.10",
                "E010 `1.10` `1.10` is a floating number beside a decimal, and would not be exact | write `decimal('1.10')`",
            ),
            (
                "decimal(1.5)",
                "E010 `1.5` `1.5` is a floating number beside a decimal, and would not be exact | write `decimal('1.5')`",
            ),
            (
                "new.total.amount / 3",
                "E011 `new.total.amount / 3` `/` on decimals has no exact answer | say how to round: `div(new.total.amount, 3, 2, 'HALF_UP')`",
            ),
            (
                "div(event.a, 3, event.s, 'UP')",
                "E015 `event.s` the scale is how many digits stand after the point: a number from 0 to 38, written out | -",
            ),
            (
                "div(event.a, 3, 39, 'UP')",
                "E015 `39` the scale is how many digits stand after the point: a number from 0 to 38, written out | -",
            ),
            (
                "decimal('1,5')",
                "E015 `'1,5'` '1,5' is \"1,5\", expected a decimal number of at most 38 digits such as \"12.50\" | -",
            ),
        ],
    );
    let text = "div(event.a, 3, 2, 'NEAR')";
    assert!(
        fault(text, &Expected::Any)
            .starts_with("E015 `'NEAR'` the rounding is one of 'HALF_UP', 'HALF_EVEN',")
    );
    let text = fault("1.5", &cell_of(Scalar::Decimal));
    assert_eq!(
        text,
        "E010 `1.5` `1.5` is a floating number beside a decimal, and would not be exact | write `decimal('1.5')`"
    );
}

#[test]
fn what_may_be_null_is_unwrapped_first() {
    check(
        &Expected::Any,
        &[
            (
                "row.itemCount + 1",
                "E008 `row.itemCount` `row.itemCount` may be null, which `+` cannot take | say what then: `row.itemCount.orValue(0)`",
            ),
            (
                "row.itemCount < 1",
                "E008 `row.itemCount` `row.itemCount` may be null, which `<` cannot take | say what then: `row.itemCount.orValue(0)`",
            ),
            (
                "event.?n + 1",
                "E008 `event.?n` `event.?n` may be missing, which `+` cannot take | say what then: `event.?n.orValue(…)`",
            ),
            (
                "event.?n == 1",
                "E008 `event.?n` `event.?n` may be missing, which a comparison cannot take | say what then: `event.?n.orValue(…)`",
            ),
            (
                "new.note.size()",
                "E008 `new.note` `new.note` may be null, which size cannot take | say what then: `new.note.orValue('')`",
            ),
            (
                "row.lines['p1']",
                "E008 `row.lines` `row.lines` may be null, which `[…]` cannot take | write `[?…]`, and say with `.orValue(…)` what is meant where it is null",
            ),
            ("new.note.orValue(0)", "E007 `0` `new.note` is String, but its default is Int | -"),
        ],
    );
}

#[test]
fn what_does_not_fit_its_place_says_both_types() {
    check(
        &cell_of(Scalar::Int),
        &[
            ("new.currency", "E009 `new.currency` expected Int, found String | write `int(…)`"),
            ("'x'", "E009 `'x'` expected Int, found String | write `int(…)`"),
            (
                "null",
                "E009 `null` expected Int, found null | the column is declared `!`: it must hold a value",
            ),
            ("new.total", "E009 `new.total` expected Int, found Money | -"),
            ("5u", "E009 `5u` expected Int, found Uint | write `int(…)`"),
            (
                "int",
                "E003 `int` there is no name `int` here | a field of the event is `event.int`; the names here are event, row, old, new",
            ),
        ],
    );
    check(
        &cell_of(Scalar::DateTime),
        &[("'2026'", "E009 `'2026'` expected DateTime, found String | write `timestamp(…)`")],
    );
    check(
        &cell_of(Scalar::String),
        &[("new.itemCount", "E009 `new.itemCount` expected String, found Int | write `string(…)`")],
    );
    check(
        &Expected::Condition,
        &[(
            "new.itemCount",
            "E009 `new.itemCount` expected Boolean, found Int | compare it with something, such as `x == 1`",
        )],
    );
    check(&Expected::List, &[("new.itemCount", "E009 `new.itemCount` expected a list, found Int | -")]);
    check(
        &Expected::Text,
        &[("new.total", "E009 `new.total` expected String, found Money | write `string(…)`")],
    );
    check(&Expected::Int, &[("'1'", "E009 `'1'` expected Int, found String | -")]);
    let status = Expected::Cell { ty: ColumnType::Enum(STATUS), nullable: false };
    check(&status, &[("OPNE", "E003 `OPNE` `CartStatus` has no value `OPNE` | did you mean `OPEN`?")]);
    let total = Expected::Cell { ty: ColumnType::Record(LINE), nullable: false };
    check(
        &total,
        &[(
            "money(event.a, 'EUR')",
            "E009 `money(event.a, 'EUR')` expected CartLine, found money(amount, currency) | -",
        )],
    );
}

#[test]
fn walks_through_lists_are_bounded_and_named() {
    let nested = |depth: usize| {
        let open: String = (0..depth).map(|level| format!("event.l.map(x{level}, ")).collect();
        format!("{open}1{}", ")".repeat(depth))
    };
    assert!(compiled(&nested(3), &Expected::Any).is_ok());
    assert!(fault(&nested(4), &Expected::Any).ends_with(
        "this may take about 200000000 steps; at most 10000000 are allowed | lists and texts of the event are counted with 100 elements; walks inside each other multiply: make the inner list when the event is produced"
    ));
    check(
        &Expected::Any,
        &[
            (
                "event.l.map(event, 1)",
                "E015 `event` `event` is taken already | choose another name for the element",
            ),
            (
                "event.l.map(x.y, 1)",
                "E015 `x.y` expected a name for the element | write `list.map(x, x.field)`",
            ),
            ("has(event)", "E015 `event` `has` takes a field, such as `has(event.reason)` | -"),
        ],
    );
}

#[test]
fn text_that_is_not_an_expression_is_refused() {
    check(
        &Expected::Any,
        &[
            ("", "E001 `` an expression is expected, but the text is empty | -"),
            ("A{b: 1}", "E014 `{b: 1}` message literals cannot be used in this language | -"),
        ],
    );
    assert!(fault("event.a ==", &Expected::Any).starts_with("E001 "));
}

#[test]
fn all_faults_come_at_once_in_their_places() {
    let text = "evnt.a == 1 && row.staus == 2 || '€' + 1 == nothing()";
    let faults = compiled(text, &Expected::Condition).unwrap_err();
    let found: Vec<_> = faults
        .iter()
        .map(|fault| {
            let span = fault.span.unwrap();
            (fault.code, &text[span.start as usize..span.end as usize])
        })
        .collect();
    assert_eq!(found, [("E003", "evnt"), ("E004", "staus"), ("E007", "'€' + 1"), ("E005", "nothing")]);
}

#[test]
fn a_text_that_stands_otherwise_in_the_file_is_underlined_whole() {
    let model = model();
    let env = Env { model: &model, names: names(), shapes: Vec::new(), columns_of: None };
    // In quotes: two bytes longer in the file.
    let span = Span { start: 100, end: 100 + "evnt".len() as u32 + 2, ..SPAN };
    assert_eq!(compile("evnt", span, &env, &Expected::Any).unwrap_err()[0].span, Some(span));
    let span = Span { start: 100, end: 108, ..SPAN };
    let found = compile("1 + evnt", span, &env, &Expected::Any).unwrap_err()[0].span.unwrap();
    assert_eq!((found.start, found.end), (104, 108));
}

#[test]
fn the_deepest_expression_needs_less_than_half_a_usual_stack() {
    let compile_all = || {
        for (first, more) in [("event", ".b"), ("1", " + 1"), ("event.a", "[0]"), ("''", " + event.a")] {
            let text = format!("{first}{}", more.repeat(62));
            assert!(compiled(&text, &Expected::Any).is_ok(), "{text}");
        }
        let text = format!("{}1{}", "[".repeat(32), "]".repeat(32));
        let deepest = ok(&text, &Expected::Any);
        assert!(deepest.cell(&[]).is_ok());
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(compile_all).unwrap().join().unwrap();
}

#[test]
fn no_text_makes_the_reader_panic() {
    let parts = [
        "event",
        "row",
        ".",
        ".?",
        "[",
        "[?",
        "]",
        "(",
        ")",
        "a",
        "status",
        "OPEN",
        "1",
        "1.5",
        "'x'",
        "\"",
        "'",
        "+",
        "-",
        "*",
        "/",
        "%",
        "==",
        "!=",
        "<",
        ">=",
        "&&",
        "||",
        "!",
        "?",
        ":",
        ",",
        "in",
        "has",
        "map",
        "x",
        "orValue",
        "sum",
        "lines",
        "size",
        "decimal",
        "money",
        "null",
        "true",
        " ",
        "€",
        "\\",
        "\n",
        "//",
        "{",
        "}",
        "r'",
        "b'",
        "'''",
        "0x",
        "9223372036854775808",
        "`",
        "@",
        "exists",
        "div",
        "timestamp",
        "u",
    ];
    for seed in spoil::seeds() {
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..100 {
            let text: String = (0..random.usize(1..14)).map(|_| *random.choice(&parts).unwrap()).collect();
            let run = std::panic::catch_unwind(|| compile_and_run(&text));
            assert!(run.is_ok(), "seed {seed}: {text:?} panics");
        }
    }
}

#[test]
fn no_spoilt_expression_of_the_shop_makes_it_panic() {
    let files =
        [include_str!("../../../projections/carts.yaml"), include_str!("../../../projections/orders.yaml")];
    let values = files.iter().flat_map(|file| file.lines()).filter_map(|line| line.split_once(": "));
    let texts: Vec<&str> = values.map(|(_, value)| value.trim()).collect();
    assert!(texts.contains(&"old.?quantity.orValue(0) + event.quantity"), "{texts:?}");
    spoil::never_panics(&texts, compile_and_run);
}

/// Compiles a text for every kind of place, and runs what compiles.
fn compile_and_run(text: &str) {
    let places =
        [Expected::Any, Expected::Condition, Expected::Text, Expected::List, cell_of(Scalar::Decimal)];
    for expected in places {
        let Ok(compiled) = compiled(text, &expected) else { continue };
        let (event, cart) = (json(r#"{"a":1,"lines":[1,"x",null],"x":{"a":"1.5"}}"#), cart());
        let frame = [Slot::Json(&event), Slot::Record(None), Slot::Record(None), Slot::Record(Some(&cart))];
        let _ = (compiled.cell(&frame), compiled.holds(&frame), compiled.text(&frame).is_ok());
        let _ = compiled.list(&frame).is_ok();
    }
}
