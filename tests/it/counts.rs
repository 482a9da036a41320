//! `totalCount`: the rows of a whole list, whichever page is answered, counted up to a bound.

use serde_json::{Value as Json, json};

use crate::both::{Both, project, upserting};

const SCHEMA: &str = r#"
scalar DateTime
type Query {
  t(id: ID!): T @read
  inOrg(org: ID!, from: DateTime @arg(column: "at", op: GTE), first: Int, after: String): TConnection!
    @read(table: "by_org", max: 5, count: CAPPED)
  recent(org: ID!, first: Int): TConnection! @read(table: "by_month", max: 5, count: CAPPED, lookback: "31d")
  anywhere(orgs: [ID!]! @arg(column: "org", op: IN), first: Int): TConnection!
    @read(table: "by_org", max: 5, count: CAPPED)
}
type T @key(fields: "id") @table(name: "t", partition: "id")
  @table(name: "by_org", partition: "org", clustering: "at", rows: 100)
  @table(name: "by_month", partition: "org, month(at)", clustering: "at DESC") {
  id: ID!  org: ID!  at: DateTime!
}
"#;

async fn start() -> Both {
    let mut both = Both::start(SCHEMA, &upserting(&["org", "at"])).await;
    let rows = [("four", 4), ("five", 5), ("six", 6)];
    for (org, count) in rows {
        let event = |at| json!({ "type": "Set", "id": format!("{org}{at}"), "org": org, "at": format!("2026-0{at}-01T00:00:00Z") });
        both.publish(&(1..=count).map(event).collect::<Vec<_>>()).await;
    }
    both
}

async fn total(both: &Both, read: &str) -> Json {
    let mut answer = both.data(&format!("{{ x: {read} {{ totalCount }} }}")).await;
    answer["x"]["totalCount"].take()
}

#[tokio::test]
async fn a_count_is_exact_up_to_the_largest_page_and_null_above() {
    let both = start().await;
    for (org, expected) in [("none", json!(0)), ("four", json!(4)), ("five", json!(5)), ("six", json!(null))]
    {
        assert_eq!(total(&both, &format!("inOrg(org: \"{org}\")")).await, expected, "{org}");
        assert_eq!(total(&both, &format!("inOrg(org: \"{org}\", first: 0)")).await, expected, "{org}");
    }
    let range = "inOrg(org: \"six\", from: \"2026-03-01T00:00:00Z\")";
    assert_eq!(total(&both, range).await, json!(4));
    assert_eq!(total(&both, "anywhere(orgs: [\"four\", \"none\"])").await, json!(4));
    assert_eq!(total(&both, "anywhere(orgs: [\"four\", \"five\"])").await, json!(null));
    assert_eq!(
        total(&both, "recent(org: \"six\")").await,
        json!(2),
        "of the last 31 days before the newest bucket"
    );
    both.end().await;
}

#[tokio::test]
async fn a_count_is_that_of_the_whole_list_on_every_page() {
    let both = start().await;
    let query =
        "{ inOrg(org: \"four\", first: 3) { totalCount nodes { id } pageInfo { endCursor hasNextPage } } }";
    let page = both.data(query).await["inOrg"].take();
    assert_eq!((&page["totalCount"], &page["pageInfo"]["hasNextPage"]), (&json!(4), &json!(true)));
    let cursor = page["pageInfo"]["endCursor"].as_str().expect("a cursor");
    let query = format!("{{ inOrg(org: \"four\", after: \"{cursor}\") {{ totalCount nodes {{ id }} }} }}");
    assert_eq!(both.data(&query).await["inOrg"], json!({ "totalCount": 4, "nodes": [{ "id": "four4" }] }));
    both.end().await;
}

#[test]
fn explain_and_sdl_show_the_count() {
    let project = project(SCHEMA, &upserting(&["org", "at"]));
    project.run(&["check", "--explain"]).says(
        0,
        &[
            "answers     pages of 5 rows, at most 5, counted up to 5",
            "reads       1 partition, once more for the count; cost 2",
        ],
    );
    project.run(&["sdl"]).says(0, &["pageInfo: PageInfo!\n  totalCount: Int\n"]);
}
