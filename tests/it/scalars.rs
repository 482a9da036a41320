//! Every scalar from the event to the client: what is stored, the one form that is answered, and what is refused.

use serde_json::{Value as Json, json};

use crate::both::{Both, upserting};

const SCALARS: &str = r#"
scalar Byte  scalar Short  scalar Long  scalar BigInt  scalar Float32  scalar Decimal  scalar DateTime
scalar LocalDate  scalar LocalTime  scalar Duration  scalar UUID  scalar TimeUUID  scalar Base64String
scalar IP  scalar IPv4  scalar IPv6  scalar JSON  scalar Money
scalar Day @specifiedBy(url: "https://scalars.graphql.org/andimarek/local-date.html")
type Query {
  t(id: ID!): T @read
  byTime(u: ID!, first: Int, after: String): TConnection! @read(table: "by_time")
  byWorth(u: ID!, worth: Money!): [T!]! @read
}
type T @key(fields: "id")
  @table(name: "t", partition: "id")
  @table(name: "by_time", partition: "u", clustering: "timeuuid")
  @table(name: "by_worth", partition: "u", clustering: "worth") {
  id: ID!
  u: ID! @column(type: "uuid")
  byte: Byte  short: Short  int: Int  tiny: Int @column(type: "tinyint")  long: Long
  bigint: BigInt  varint: BigInt @column(type: "varint")
  float: Float  float32: Float32  real: Float @column(type: "float")
  decimal: Decimal  worth: Money! @column(type: "decimal")
  boolean: Boolean  string: String  ascii: String @column(type: "ascii")
  datetime: DateTime  date: LocalDate  day: Day  time: LocalTime  duration: Duration
  uuid: UUID  timeuuid: TimeUUID!  bytes: Base64String  ip: IP  ipv4: IPv4  ipv6: IPv6  json: JSON
  durations: [Duration!]! @column(max: 3)
}
"#;

const COLUMNS: [&str; 27] = [
    "u", "byte", "short", "int", "tiny", "long", "bigint", "varint", "float", "float32", "real", "decimal",
    "worth", "boolean", "string", "ascii", "datetime", "date", "day", "time", "duration", "uuid", "timeuuid",
    "bytes", "ip", "ipv4", "ipv6",
];

fn every_scalar(id: &str) -> Json {
    json!({
        "type": "Set", "id": id, "u": "A1A2A3A4-B1B2-41C2-91D2-D3D4D5D6D7D8", "byte": -128, "short": 32767,
        "int": 2147483647, "tiny": 127, "long": 9007199254740993_i64, "bigint": "-9223372036854775808",
        "varint": "12345678901234567890123456789012345678", "float": 0.1, "float32": 0.1, "real": 0.1,
        "decimal": "12.50", "worth": "3.10", "boolean": true, "string": "né", "ascii": "ne",
        "datetime": "2026-01-01T02:00:00+02:00", "date": "2026-02-28", "day": "2026-02-28", "time": "10:30:00",
        "duration": "P2WT90M", "uuid": "A1A2A3A4-B1B2-41C2-91D2-D3D4D5D6D7D8",
        "timeuuid": "A1A2A3A4-B1B2-11C2-91D2-D3D4D5D6D7D8", "bytes": "AQI=", "ip": "::ffff:10.0.0.1",
        "ipv4": "10.0.0.1", "ipv6": "2001:DB8::0:1", "json": { "b": [1.50, null], "a": {} }, "durations": ["PT1S"],
    })
}

fn scalars_projection() -> String {
    upserting(&[&COLUMNS[..], &["json", "durations"]].concat())
}

#[tokio::test]
async fn every_scalar_is_stored_and_answered_in_its_one_form() {
    let mut both = Both::start(SCALARS, &scalars_projection()).await;
    both.publish(&[every_scalar("a")]).await;
    let query = format!("{{ t(id: \"a\") {{ {} json durations }} }}", COLUMNS.join(" "));
    let expected = json!({
        "u": "a1a2a3a4-b1b2-41c2-91d2-d3d4d5d6d7d8", "byte": -128, "short": 32767, "int": 2147483647, "tiny": 127,
        "long": 9007199254740993_i64, "bigint": "-9223372036854775808",
        "varint": "12345678901234567890123456789012345678", "float": 0.1, "float32": 0.1, "real": 0.1,
        "decimal": "12.50", "worth": "3.10", "boolean": true, "string": "né", "ascii": "ne",
        "datetime": "2026-01-01T00:00:00.000Z", "date": "2026-02-28", "day": "2026-02-28",
        "time": "10:30:00.000000000", "duration": "P14DT1H30M", "uuid": "a1a2a3a4-b1b2-41c2-91d2-d3d4d5d6d7d8",
        "timeuuid": "a1a2a3a4-b1b2-11c2-91d2-d3d4d5d6d7d8", "bytes": "AQI=", "ip": "10.0.0.1", "ipv4": "10.0.0.1",
        "ipv6": "2001:db8::1", "json": { "b": [1.50, null], "a": {} }, "durations": ["PT1S"],
    });
    assert_eq!(both.data(&query).await["t"], expected);
    both.end().await;
}

#[tokio::test]
async fn keys_of_other_scalars_are_read_by_what_is_stored_and_sorted_by_it() {
    let mut both = Both::start(SCALARS, &scalars_projection()).await;
    // In the order of their times, which is not that of their texts.
    let times = ["ffffffff-0000-1000-8000-000000000001", "00000000-0001-1000-8000-000000000001"];
    for (id, time) in ["b", "a"].into_iter().zip(times) {
        let mut event = every_scalar(id);
        event["timeuuid"] = json!(time);
        both.publish(&[event]).await;
    }
    let u = "A1A2A3A4-b1b2-41c2-91d2-D3D4D5D6D7D8";
    let query =
        format!("{{ byTime(u: \"{u}\") {{ nodes {{ id }} }} byWorth(u: \"{u}\", worth: \"3.1\") {{ id }} }}");
    let answer = both.data(&query).await;
    assert_eq!(answer["byTime"]["nodes"], json!([{ "id": "b" }, { "id": "a" }]));
    // 3.1 and 3.10 are two values, as a decimal's scale is part of it.
    assert_eq!(answer["byWorth"], json!([]));
    let query = format!("{{ byWorth(u: \"{u}\", worth: 3.10) {{ id }} }}");
    assert_eq!(both.data(&query).await["byWorth"].as_array().map(Vec::len), Some(2));
    let page = both.data(&format!("{{ byTime(u: \"{u}\", first: 1) {{ edges {{ cursor }} }} }}")).await;
    let cursor = page["byTime"]["edges"][0]["cursor"].as_str().expect("a cursor").to_owned();
    let query = format!("{{ byTime(u: \"{u}\", after: \"{cursor}\") {{ nodes {{ id timeuuid }} }} }}");
    assert_eq!(both.data(&query).await["byTime"]["nodes"], json!([{ "id": "a", "timeuuid": times[1] }]));
    both.end().await;
}

#[tokio::test]
async fn a_value_that_its_scalar_cannot_hold_is_rejected_with_what_it_takes() {
    for (column, value, reason) in [
        ("byte", json!(128), "event.byte is 128, expected an integer of 8 bits"),
        ("short", json!(-32769), "event.short is -32769, expected an integer of 16 bits"),
        ("tiny", json!(1.5), "event.tiny is 1.5, expected an integer of 8 bits"),
        ("varint", json!("1.5"), "event.varint is \"1.5\", expected an integer of at most 38 digits"),
        ("float32", json!(1e39), "event.float32 is 1e+39, expected a finite number of 32 bits"),
        ("ascii", json!("é"), "event.ascii is \"é\", expected a string of ASCII letters"),
        (
            "duration",
            json!("1d"),
            "event.duration is \"1d\", expected an ISO 8601 duration such as \"P1DT2H\"",
        ),
        (
            "timeuuid",
            json!("a1a2a3a4-b1b2-41c2-91d2-d3d4d5d6d7d8"),
            "event.timeuuid is \"a1a2a3a4-b1b2-41c2-91d2-d3d4d5d6d7d8\", expected a UUID of version 1",
        ),
        ("ip", json!("10.0.0.256"), "event.ip is \"10.0.0.256\", expected an IP address"),
        ("ipv4", json!("::1"), "event.ipv4 is \"::1\", expected an address of IPv4"),
        ("ipv6", json!("10.0.0.1"), "event.ipv6 is \"10.0.0.1\", expected an address of IPv6"),
        ("durations", json!(["PT1S", "x"]), "event.durations[1] is \"x\", expected an ISO 8601 duration"),
        (
            "durations",
            json!(["PT1S", "PT1S", "PT1S", "PT1S"]),
            "durations would have 4 elements, at most 3 are allowed",
        ),
    ] {
        let mut both = Both::start(SCALARS, &scalars_projection()).await;
        let mut event = every_scalar("a");
        event[column] = value;
        both.publish(&[event]).await;
        assert_eq!(both.data("{ t(id: \"a\") { id } }").await["t"], json!(null), "{column}");
        let parked = both.parked().await.expect("its key waits");
        assert!(parked.contains(reason), "{column}: {parked}");
        both.end().await;
    }
}
