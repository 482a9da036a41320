//! Good inputs, taken from this repository: what ships, what the documentation shows, what other tests expect.
//!
//! Parts of an input are separated by a zero byte; what the parts are is said where `targets` reads them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use kinora::sample;
use kinora::schema::ColumnId;
use kinora::source::NewRecord;
use kinora::source::broker::{Broker, BrokerSettings};
use kinora::value::Value;
use kinora::value::row::encode_row;

use crate::projects::{self, name, root, sorted, text};
use crate::served;

const NOW_MS: i64 = 1_760_000_000_000;

/// Schemas: the shop's, of the documentation, and those of golden files, most of which have a fault.
pub fn schemas() -> Vec<Vec<u8>> {
    let mut found = fenced("docs/schema.md", "graphql");
    for page in sorted(&root().join("docs/lint")) {
        found.extend(fenced(&format!("docs/lint/{}", name(&page)), "graphql"));
    }
    for folder in sorted(&root().join("tests/golden/schema")) {
        let files =
            sorted(&folder).into_iter().filter(|path| path.extension().is_some_and(|it| it == "graphql"));
        found.extend(files.map(|path| text(&path).into_bytes()));
    }
    for project in projects::all() {
        let files = project.files.iter().filter(|(path, _)| path.starts_with("schema/"));
        found.extend(files.map(|(_, text)| text.clone().into_bytes()));
    }
    found
}

/// The number of a project, and one of its projections.
pub fn projections() -> Vec<Vec<u8>> {
    let mut found = files_of_projects(|path| {
        path.ends_with(".yaml") && !path.ends_with(".cases.yaml") && !path.contains("defaults")
    });
    for folder in sorted(&root().join("tests/golden/projection")) {
        let files =
            sorted(&folder).into_iter().filter(|path| path.extension().is_some_and(|it| it == "yaml"));
        found.extend(files.map(|path| format!("0\0{}", text(&path)).into_bytes()));
    }
    found
}

/// The number of a project, and its defaults.
pub fn defaults() -> Vec<Vec<u8>> {
    files_of_projects(|path| path.ends_with("/defaults.yaml"))
}

/// The number of a project, and a schema of its events.
pub fn event_schemas() -> Vec<Vec<u8>> {
    files_of_projects(|path| path.contains(".schema."))
}

/// Files of cases, with the number of their project.
pub fn cases() -> Vec<Vec<u8>> {
    files_of_projects(|path| path.ends_with(".cases.yaml"))
}

/// Expressions, each with an event that it reads.
pub fn expressions() -> Vec<Vec<u8>> {
    const EVENT: &str = r#"{"n":3,"m":-7,"z":0,"s":"ab€","e":"","b":true,"l":[3,0,-2],"w":["x","yz",""],"o":{"a":null,"d":"12.50"},"at":"2026-01-01T10:00:00.5+02:00","u":"5d5c4a52-6f0e-1c8e-9d57-0c2a6b8f1e11"}"#;
    let page = text(&root().join("docs/expressions.md"));
    let mut found: Vec<String> = page.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let written = [
        "event.l.map(x, x * 2).filter(x, x > 0).exists(x, x == event.n)",
        "event.w.all(w, size(w) < 3) ? event.s + string(event.n) : event.?e.orValue('none')",
        "{'a': event.n, 'b': [1, 2.5, 3u]}['a']",
        "duration('1h30m') + timestamp(event.at) - timestamp('2026-01-01T00:00:00Z') > duration('0s')",
        "div(decimal(event.o.d), 3, 2, 'HALF_EVEN')",
        "event.s.matches('^[a-z]+(€|\\\\d)$') && event.s.substring(0, 1) in ['a', 'b']",
        "row.lines.map(k, row.lines[k].quantity).sum()",
        "event.l.transformList(i, v, v * i)[0] % event.n",
        "'%s has %d'.format([event.s, event.n])",
        "b'\\xff' + bytes(event.s) == base64.decode('AQID')",
        "cel.bind(x, event.n, x * x - -x)",
        "has(event.o.a) && event.o[?'a'].hasValue()",
    ];
    found.extend(written.map(str::to_owned));
    for project in projects::all() {
        for (_, text) in project.files.iter().filter(|(path, _)| path.starts_with("projections/")) {
            let lines = text.lines().filter_map(|line| line.split_once(": "));
            found.extend(lines.map(|(_, value)| value.trim().trim_matches('\'').to_owned()));
        }
    }
    found.retain(|text| !text.is_empty() && text.len() < 400);
    found.sort();
    found.dedup();
    found.into_iter().map(|text| format!("{text}\0{EVENT}").into_bytes()).collect()
}

/// The number of one of the shop's topics, and an event.
pub fn events() -> Vec<Vec<u8>> {
    let topic = |name| sample::SHOP_TOPICS.iter().position(|topic| *topic == name).expect("it is there");
    let events = sample::shop(1, 400, NOW_MS);
    events.map(|event| format!("{}\0{}", topic(event.topic), event.value).into_bytes()).collect()
}

/// The number of a scalar, and a JSON value.
pub fn spellings() -> Vec<Vec<u8>> {
    let keys = projects::KEYS.iter().enumerate();
    keys.map(|(at, (_, value))| format!("{at}\0{value}").into_bytes()).collect()
}

/// Operations, with variables.
pub fn operations() -> Vec<Vec<u8>> {
    let mut found = vec![format!("{}\0{{}}", sample::SHOP_QUERY)];
    found.extend(served::OPERATIONS.map(|(query, variables)| format!("{query}\0{variables}")));
    for project in &projects::all()[..1] {
        for case in &project.definitions.cases {
            found.extend(case.query.iter().map(|query| format!("{}\0{{}}", query.text)));
        }
    }
    found.into_iter().map(String::into_bytes).collect()
}

/// The bytes of cursors that the shop gave out, each before the number of the list it comes from.
pub fn cursors() -> Vec<Vec<u8>> {
    let shop = served::shop();
    let mut found = Vec::new();
    for (number, list) in (0_u8..).zip(served::LISTS) {
        for cursor in shop.cursors(list) {
            let bytes = URL_SAFE_NO_PAD.decode(cursor).expect("a cursor is base64url");
            found.extend([0, 1].map(|signed| [&[number, signed], &bytes[..]].concat()));
        }
    }
    found
}

/// `x-read-after` and `x-read-wait`.
pub fn freshness() -> Vec<Vec<u8>> {
    let values = [
        "shop.orders:3@17\x00500ms",
        "a:0@1, b.c-d_e:1023@18446744073709551615,a:1@0\x002s;on-timeout=fail",
        "notes:4294967295@0\x0030s; on-timeout=stale",
    ];
    values.map(|value| value.as_bytes().to_vec()).into()
}

/// `kinora.toml`, and lines of the environment.
pub fn settings() -> Vec<Vec<u8>> {
    let all = "[serve]\nlisten = \"127.0.0.1:4000\"\ncursor_secrets = [\"0123456789abcdef\"]\nintrospection = false\n\
        deadline = \"5s\"\ndrain = \"0s\"\nconcurrent = 512\n[serve.limits]\nbody = \"1MiB\"\nrecord = \"10MiB\"\n\
        publish = \"64MiB\"\ntokens = 10_000\ndepth = 20\naliases = 100\nroot_fields = 50\ndirectives = 50\n\
        representations = 1000\ncached_operations = 1\n[topics.\"shop.orders\"]\npartitions = 4\n[dev]\nsample = \"shop\"\n\
        data = \".kinora\"\n[parking]\nmax_keys = 0\n[project]\nbatch = \"16MiB\"\n[lint]\nL03 = \"off\"\n\
        \0KINORA_SERVE__LISTEN=[::1]:0\nKINORA_SERVE__LIMITS__DEPTH=3\nKINORA_PARKING__MAX_KEYS=10\nKINORA_LINT__L04=error\n";
    let ours =
        format!("{}\0KINORA_SERVE__CURSOR_SECRETS=abcdefghijklmnop\n", text(&root().join("kinora.toml")));
    [all, &ours].map(|text| text.as_bytes().to_vec()).into()
}

/// Lines of the publish format.
pub fn lines() -> Vec<Vec<u8>> {
    let lines = [
        r#"{"key":"o1","value":{"type":"A","n":1.50},"headers":{"h":"v"},"timestamp":"2026-11-21T10:00:00+01:00"}"#,
        r#"{"topic":"shop.orders","key":null,"value":null,"timestamp":1760000000000}"#,
        r#"{"key":"\u00e9\n","valueBase64":"AQID/w=="}"#,
        r#"{"value":[1,{"a":"\ud83d\ude00"},null,true]}"#,
    ];
    let mut found: Vec<String> = lines.map(str::to_owned).into();
    found.push(lines.join("\n"));
    found.into_iter().map(String::into_bytes).collect()
}

/// Requests: method and path, headers, body.
pub fn requests() -> Vec<Vec<u8>> {
    let body = served::OPERATIONS.map(|(query, variables)| {
        format!("{{\"query\":{},\"variables\":{variables}}}", serde_json::Value::from(query))
    });
    let mut found = vec![
        "GET /graphql?query=%7B__typename%7D&variables=%7B%7D\0accept: application/graphql-response+json;q=0.9, */*\0".to_owned(),
        "GET /\0accept: text/html\0".to_owned(),
        "GET /admin/parked/o1\0authorization: Bearer x\0".to_owned(),
        "GET /status.json\0\0".to_owned(),
        "GET /graphiql/a%2e%2e\0accept-encoding: gzip;q=0, br\0".to_owned(),
        "OPTIONS /graphql\0origin: http://a\0".to_owned(),
    ];
    let json =
        "content-type: application/json; charset=utf-8\nx-read-after: shop.orders:0@1\nx-read-wait: 0ms";
    found.extend(body.map(|body| format!("POST /graphql\0{json}\0{body}")));
    for line in lines() {
        let line = String::from_utf8(line).expect("it is text");
        found.push(format!("POST /topics/shop.orders\0content-type: application/x-ndjson\0{line}"));
        found.push(format!("POST /topics/a%20b\0content-type: application/json\0{line}"));
    }
    found.into_iter().map(String::into_bytes).collect()
}

/// A segment of the log, as a broker wrote it, behind a byte that says whether its checksums are made anew.
pub fn segments() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be built");
    let settings = BrokerSettings { sync: false, ..Default::default() };
    let broker = Broker::open_with(folder.path(), settings).expect("the log opens");
    broker.create_topic("t", 1).expect("a topic can be made");
    for write in [1, 3, 2] {
        let record = |n: usize| NewRecord {
            key: (n != 1).then(|| Bytes::from(format!("k{n}"))),
            value: (n != 2).then(|| Bytes::from_static(b"{\"a\":1}")),
            headers: vec![("h".to_owned(), Bytes::from_static(b"v")); n],
            ..NewRecord::default()
        };
        runtime.block_on(broker.append("t", (0..write).map(record).collect())).expect("it can be written");
    }
    let segment = std::fs::read(served::segment(folder.path())).expect("there is a segment");
    [0, 1].map(|anew| [&[anew], &segment[..]].concat()).into()
}

/// The bytes of stored rows.
pub fn stored() -> Vec<Vec<u8>> {
    let record = Value::Record(vec![Value::Int(1), Value::Null, Value::text("x")]);
    let cells = [
        Value::text("o1"),
        Value::Bool(true),
        Value::Int(-300),
        Value::Float(1.5),
        Value::Decimal("12.50".parse().expect("a decimal")),
        Value::Timestamp(NOW_MS),
        Value::List(vec![record.clone(), Value::Null]),
        record,
    ];
    let columns: Vec<ColumnId> = (0..8).map(ColumnId).collect();
    vec![encode_row(7, true, &cells, &columns), encode_row(u64::MAX >> 1, false, &[], &[])]
}

/// Events of which a read model is proposed.
pub fn samples() -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    for topic in sample::SHOP_TOPICS {
        let events = sample::shop(3, 400, NOW_MS).filter(|event| event.topic == topic).take(8);
        found.push(events.map(|event| event.value).collect::<Vec<_>>().join("\n").into_bytes());
    }
    found.push(
        br#"{"data":{"id":1,"tags":["a"],"at":"2026-01-01T10:00:00Z"},"kind":"a","v":1.5,"b":null}"#.to_vec(),
    );
    found
}

/// The files of all projects for whose path it holds, each behind its project's number.
fn files_of_projects(holds: impl Fn(&str) -> bool) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for (number, project) in projects::all().iter().enumerate() {
        let files = project.files.iter().filter(|(path, _)| holds(path));
        found.extend(files.map(|(_, text)| format!("{number}\0{text}").into_bytes()));
    }
    found
}

/// The fenced blocks of a page in one language.
fn fenced(page: &str, language: &str) -> Vec<Vec<u8>> {
    let text = text(&root().join(page));
    let fence = format!("```{language}\n");
    let blocks = text.split(&fence).skip(1);
    blocks.filter_map(|block| Some(block.split_once("```")?.0.as_bytes().to_vec())).collect()
}
