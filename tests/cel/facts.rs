//! Facts of the language, each with the value or the words that it must give: what the public data proves where it is at
//! hand, and what only this language has.

use kinora::expr::{Slot, Type, Val};

use crate::values::{Failed, evaluate, record};

const EVENT: &str = r#"{"n":3,"f":2.5,"s":"ab","z":null,"t":"2026-03-05T14:07:09.250Z","l":[{"k":"a","n":1},{"k":"b","n":2}],"big":9223372036854775807,"neg":-1}"#;

/// The value of an expression as text, or why it has none.
fn told(text: &str) -> String {
    let event = sonic_rs::from_str(EVENT).expect("the event is JSON");
    let record = record("t", 0, 7);
    let names = [("event".to_owned(), Type::Dyn), ("record".to_owned(), Type::LogRecord)];
    let frame = [Slot::Json(&event), Slot::Json(&record)];
    match evaluate(text, &names, &frame, |value| format!("{value:?}")) {
        Ok(value) => value,
        Err(Failed::Run(why)) => format!("rejects: {why}"),
        Err(Failed::Check(faults)) => format!("{} {}", faults[0].code, faults[0].message),
    }
}

fn check(cases: &[(&str, &str)]) {
    let wrong: Vec<_> = cases
        .iter()
        .map(|(text, wanted)| (text, wanted, told(text)))
        .filter(|(_, wanted, found)| found != *wanted)
        .map(|(text, wanted, found)| format!("{text}\n   gives {found}\n  wanted {wanted}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether an expression is true.
fn holds(cases: &[&str]) {
    check(&cases.iter().map(|text| (*text, "Bool(true)")).collect::<Vec<_>>());
}

#[test]
fn integers_are_exact_or_reject_and_floats_follow_ieee_754() {
    check(&[
        ("9223372036854775807 + 1", "rejects: 9223372036854775807 + 1 is out of range"),
        ("-9223372036854775807 - 2", "rejects: -9223372036854775807 - 2 is out of range"),
        ("event.big * 2", "rejects: 9223372036854775807 * 2 is out of range"),
        ("1 / (event.n - 3)", "rejects: 1 / 0 divides by zero"),
        ("1u - 2u", "rejects: 1 - 2 is out of range"),
        ("5u % (uint(event.n) - 3u)", "rejects: 5 % 0 divides by zero"),
        ("1 + 1u", "E007 `+` cannot take Int and Uint"),
        ("-5u", "E007 `-` takes a number, found Uint"),
        ("uint(event.neg)", "rejects: event.neg is -1, expected an integer of 64 bits that is not negative"),
        ("int(1e20)", "E015 1e20 is 100000000000000000000, expected an integer of 64 bits"),
        ("-7 / 2", "Int(-3)"),
        ("-7 % 2", "Int(-1)"),
        ("1.0 / 0.0", "Float(inf)"),
        ("-(0.0)", "Float(-0.0)"),
        ("0.0 / 0.0", "Float(NaN)"),
    ]);
    holds(&[
        "0.0 / 0.0 != 0.0 / 0.0",
        "!(0.0 / 0.0 < 1.0) && !(0.0 / 0.0 >= 1.0)",
        "-(0.0) == 0.0",
        "event.f < 3 && event.f > 2u && event.n == 3.0 && event.n == 3u",
        "dyn(1) == 1u && dyn(1u) == 1.0 && dyn(2) in [1.0, 2.0]",
        "double('NaN') != double('NaN') && double('-Infinity') < 0.0",
        "string(1.5) + string(2u) + string(true) == '1.52true'",
        "0x10 == 16 && 0xffu == 255u && 1e3 == 1000.0",
    ]);
}

#[test]
fn the_side_that_decides_decides() {
    holds(&[
        "event.x == 1 || true",
        "true || 1 / 0 == 1",
        "!(1 / 0 == 1 && false)",
        "[1, 2, 0].exists(x, 4 / x == 2)",
        "[0, 1].exists(x, 4 / x == 4)",
        "![1, 0].all(x, 4 / x == 5)",
        "(1 / 0 == 1 ? true : true) || true",
    ]);
    check(&[
        ("event.x == 1 || false", "rejects: event.x is missing"),
        ("[0, 1].all(x, 4 / x == 4)", "rejects: 4 / 0 divides by zero"),
        ("[0, 1].exists_one(x, 4 / x == 4)", "rejects: 4 / 0 divides by zero"),
        ("1 && true", "E009 expected Boolean, found Int"),
    ]);
}

#[test]
fn lists_maps_and_walks() {
    holds(&[
        "{'a': 1, 'b': 2} == {'b': 2, 'a': 1} && {'a': 1} != {'a': 2}",
        "{'a': {'b': 1}}.a.b == 1 && {'a': 1}['a'] == 1 && {1: 'x'}[1] == 'x' && {true: 1}[true] == 1",
        "'a' in {'a': 1} && !('b' in {'a': 1}) && {'a': 1}.size() == 1",
        "has({'a': null}.a) && !has({'a': null}.b)",
        "event.l.transformMapEntry(i, x, {x.k: x.n}) == {'a': 1, 'b': 2}",
        "event.l.transformList(i, x, i > 0, x.n) == [2]",
        "{'a': 1, 'b': 2}.transformMap(k, v, v > 1, k + '!') == {'b': 'b!'}",
        "{'a': 1, 'b': 2}.all(k, v, k < 'c' && v < 3) && {'a': 1}.exists(k, k == 'a')",
        "[[1], [2]].map(x, x.map(y, y + 1)) == [[2], [3]]",
        "dyn([1, 'a', 2.5])[1] == 'a' && dyn({'a': 1, 2: 'b'})[2] == 'b'",
        "{'a': 1, 'b': 'x'}.b == 'x'",
        "cel.bind(x, event.n, [x, x + 1].map(y, x * y)) == [9, 12]",
        "[duration('1s'), duration('2s')].sum() == duration('3s') && [1u, 2u].sum() == 3u",
    ]);
    check(&[
        ("[1, 2][5]", "rejects: [1, 2][5]: there is no element 5"),
        ("[1, 2][-1]", "rejects: [1, 2][-1]: there is no element -1"),
        ("{'a': 1}.b", "rejects: {'a': 1}.b: there is no element \"b\""),
        ("{'a': 1, 'a': 2}", "E015 the key 'a' stands twice in one map"),
        ("{event.s: 1, 'ab': 2}", "rejects: the key \"ab\" comes twice in one map"),
        ("{event.z: 1}", "rejects: null is not a number or text"),
        ("{1.5: 1}", "E007 a key of a map is Boolean, Int or String, found Float"),
        ("[1, 'a']", "E007 a list holds Int and String"),
        ("{1: 'a', 'b': 'c'}", "E007 the keys of a map are Int and String"),
        ("[?1]", "E007 `?` takes an optional, found Int"),
        ("[1].transformMapEntry(i, x, x)", "E007 expected a map, such as `{key: value}`, found Int"),
        ("math.greatest([])", "rejects: [] has no elements, of which one would be given"),
    ]);
}

#[test]
fn optionals_say_what_is_missing() {
    holds(&[
        "optional.none() == optional.none() && optional.of(1) != optional.none() && optional.of(1) == optional.of(1)",
        "optional.of(null).hasValue() && !optional.ofNonZeroValue(null).hasValue()",
        "[?event.?s, ?event.?q, 'c'] == ['ab', 'c']",
        "{?'a': event.?s, ?'b': event.?q} == {'a': 'ab'}",
        "event.?q.optMap(x, x + '!').orValue('none') == 'none'",
        "event.?l[0].?k.orValue('') == 'a' && event.?l[7].?k.orValue('') == ''",
        "event.?q.or(optional.of('x')).value() == 'x'",
        "has(event.l) && !has(event.?q.r)",
        "optional.of([1, 2])[?1].value() == 2",
    ]);
    check(&[
        ("event.?q.value()", "rejects: event.?q holds no value"),
        ("event.n.value()", "E007 `value()` takes an optional, found a value of the event"),
        ("optional.of(1).or(2)", "E007 `or(…)` takes an optional, found Int"),
        ("optional.of(1).or(optional.of('a'))", "E007 `or` takes optional Int, found optional String"),
        ("optional.of(1).optFlatMap(x, x + 1)", "E007 `optFlatMap(…)` takes an optional, found Int"),
        ("optional.of(1) == 1", "E008 `optional.of(1)` may be missing, which a comparison cannot take"),
    ]);
}

#[test]
fn texts_count_characters_and_patterns_are_bounded() {
    holds(&[
        "'é€a'.charAt(1) == '€' && 'é€a'.indexOf('a') == 2 && 'é€a'.substring(1, 2) == '€'",
        "'abc'.matches('b') && !'abc'.matches('^b') && 'aé'.matches('^.{2}$')",
        "'%s|%5d'.size() == 6",
        "'%d %s %x %.2f %e'.format([1, true, 255, 2.0, 1500.0]) == '1 true ff 2.00 1.500000e+03'",
        "'%s'.format([{'b': [1, 'x'], 'a': null}]) == '{a: null, b: [1, x]}'",
        "b'a' + b'\\xff' == b'a\\xff' && bytes('é') == b'\\xc3\\xa9' && string(b'ab') == 'ab'",
    ]);
    check(&[
        ("'abc'.charAt(4)", "rejects: 'abc' has 3 characters: there is no place 4 in it"),
        ("'abc'.substring(2, 1)", "rejects: a part of 'abc' would end before it begins"),
        ("event.n.trim()", "rejects: event.n is 3, expected a string"),
        ("1.trim()", "E007 expected a String, found Int"),
        ("'a'.indexOf(1)", "E007 expected a String, found Int"),
        ("'a'.charAt('b')", "E007 expected Int, found String"),
        ("'a'.trim(1)", "E006 `trim` is called on a value with one argument"),
        ("'%d'.format(['a'])", "rejects: the value of `%d` is \"a\", expected an integer"),
        ("'%d'.format([])", "rejects: '%d' has more places than there are values"),
        ("'%q'.format([1])", "rejects: `%q` is no place for a value"),
        (
            "'a'.matches(event.s)",
            "E015 the pattern of `matches` is written out, because it is read when definitions are checked",
        ),
        ("'a'.matches('(')", "E015 this is no regular expression: unclosed group"),
        ("'a'.matches('(a)\\\\1')", "E015 this is no regular expression: backreferences are not supported"),
        (
            "'a'.matches('(a{1,500}){1,500}')",
            "E013 this regular expression takes more than 262144 bytes to run",
        ),
        (
            "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'.replace('', 'y').replace('', 'yyyyyyyyyyyyyyyy').size()",
            "Int(1121)",
        ),
        ("string(b'\\xff')", "E015 b'\\xff' holds bytes that are not text"),
    ]);
}

#[test]
fn times_have_parts_zones_and_bounds() {
    holds(&[
        "event.t.getHours('+01:00') == 15 && event.t.getHours('America/St_Johns') == 10",
        "timestamp('2026-07-01T00:00:00Z').getHours('Europe/Paris') == 2",
        "timestamp(event.t) - duration('7m9250ms') == timestamp('2026-03-05T14:00:00Z')",
        "string(duration('-90m')) == '-5400s' && string(duration('1250ms')) == '1.25s'",
        "string(timestamp(event.t)) == '2026-03-05T14:07:09.25Z' && int(timestamp(0)) == 0",
        "week(date('2026-03-02')) == date('2026-03-02') && week(date('2026-03-01')) == date('2026-02-23')",
        "year(date('1969-12-31')) == date('1969-01-01') && month(event.t) == date('2026-03-01')",
    ]);
    check(&[
        ("event.t.getHours('Mars/Olympus')", "E015 there is no time zone \"Mars/Olympus\""),
        (
            "event.t.getHours(event.s)",
            "rejects: the time zone is \"ab\", expected an offset such as \"+01:00\" or a name such as \"Europe/Paris\"",
        ),
        ("1.5.getHours()", "E007 expected DateTime or Duration, found Float"),
        (
            "timestamp('9999-12-30T00:00:00Z') + duration('48h')",
            "rejects: 9999-12-30T00:00:00.000Z + 172800s is out of range",
        ),
        (
            "timestamp('0000-01-01T00:00:00Z')",
            "E015 '0000-01-01T00:00:00Z' is \"0000-01-01T00:00:00Z\", expected a time with offset such as \"2026-01-01T00:00:00.000Z\"",
        ),
        ("duration('1ns')", "E015 '1ns' is \"1ns\", expected a duration such as \"1h30m\""),
    ]);
}

#[test]
fn ids_come_from_the_record_and_types_are_values() {
    holds(&[
        "record.topic == 't' && record.partition == 0 && record.offset == 7 && type(record) == map",
        "uuid(record) == uuid(record) && uuid(record, 'a') != uuid(record)",
        "type(1) == int && type(1u) == uint && type(1.5) == double && type('a') == string && type(b'') == bytes",
        "type([]) == list && type({}) == map && type(null) == null_type && type(type(1)) == type",
        "type(timestamp(0)) == google.protobuf.Timestamp && type(decimal('1')) == decimal",
        "type(event.n) == int && type(event.f) == decimal && type(event.l) == list && type(event) == map",
        "hash('a', 4) == hash('a', 4) && hash('a', 1) == 0",
    ]);
    check(&[
        // Stored: this must never change.
        ("string(uuid(record))", "Text(\"dbe29594-4e99-8823-a808-d8bea0392ced\")"),
        ("hash('o1', 1000)", "Int(118)"),
        ("position.topic", "E003 there is no name `position` here"),
        ("uuid(position)", "E003 there is no name `position` here"),
        ("uuid(event, 'a')", "E007 expected `record`, found a value of the event"),
        ("string(record)", "E007 expected what string can read, found a record"),
        ("uuid(record, 1)", "E007 expected a String, found Int"),
        ("hash('a', 0)", "rejects: 'a' cannot be divided into 0 shares"),
    ]);
}

#[test]
fn what_costs_too_much_while_it_runs_is_rejected() {
    let list = |count: usize| format!("[{}]", vec!["1"; count].join(","));
    let event = format!(r#"{{"l":{},"t":"{}"}}"#, list(4_000), "x".repeat(3 << 20));
    let event = sonic_rs::from_str(&event).expect("the event is JSON");
    let names = [("event".to_owned(), Type::Dyn)];
    let told = |text: &str| match evaluate(text, &names, &[Slot::Json(&event)], |value| {
        matches!(value, Val::Bool(true))
    }) {
        Ok(truth) => truth.to_string(),
        Err(failed) => format!("{failed:?}"),
    };
    assert_eq!(told("event.l.map(x, event.l[0]).size() == 4000"), "true");
    for text in [
        "event.l.map(x, event.l.map(y, x)).size() > 0",
        "event.l.map(x, event.t.contains('y')).size() > 0",
        "event.l.map(x, event.t.matches('y')).size() > 0",
        "cel.bind(v, event.l.map(x, x), event.l.all(x, x in v))",
        "cel.bind(m, event.l.transformMap(i, x, x), event.l.transformList(i, x, m[i]).size() > 0)",
    ] {
        assert_eq!(told(text), "Run(\"this takes more than 10000000 steps\")", "{text}");
    }
    assert_eq!(
        told("cel.bind(a, event.t + event.t, cel.bind(b, a + a, (b + b).size())) > 0"),
        "Run(\"a text would have more than 16777216 bytes\")"
    );
    assert_eq!(
        told("event.t.replace('x', 'yyyyyyyy').size() > 0"),
        "Run(\"event.t would become a text of more than 16777216 bytes\")"
    );
}

#[test]
fn what_may_cost_too_much_is_refused() {
    let nested = |list: &str, depth: usize| {
        let open: String = (0..depth).map(|level| format!("{list}.map(x{level}, ")).collect();
        format!("{open}1{}.size()", ")".repeat(depth))
    };
    assert_eq!(told(&nested("event.l", 3)), "Int(2)");
    assert!(
        told(&nested("event.l", 4)).starts_with("E013 this may take about"),
        "{}",
        told(&nested("event.l", 4))
    );
    assert_eq!(told(&nested("[1, 2, 3]", 8)), "Int(3)");
    let grown = |times: usize| {
        format!(
            "cel.bind(a0, event.s, {}a{times}.size(){}",
            (0..times)
                .map(|step| format!("cel.bind(a{}, a{step}.replace('', a{step}), ", step + 1))
                .collect::<String>(),
            ")".repeat(times + 1)
        )
    };
    assert!(told(&grown(1)).starts_with("Int("), "{}", told(&grown(1)));
    assert!(told(&grown(2)).starts_with("E013 this may take"), "{}", told(&grown(2)));
    let long = "cel.bind(a, 'xxxxxxxxxxxxxxxx', a.replace('', a))";
    assert!(matches!(evaluate(long, &[], &[], |value| matches!(value, Val::Text(_))), Ok(true)));
}
