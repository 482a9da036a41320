//! How tables lie in Cassandra and in partitions: `prefix`, `@udt(name:)` and `options`.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::both::{Both, project, upserting};
use crate::support::seeds;

const SCHEMA: &str = r#"
type Query {
  t(id: ID!): T @read
  letters(org: ID!, start: String!, first: Int, after: String): TConnection! @read
  within(org: ID!, start: String!, name: String @arg(op: PREFIX)): [T!]! @read(page: 100)
  named(org: ID!, name: String!): [T!]! @read
  any(org: ID!, names: [String!]! @arg(column: "name", op: IN)): [T!]! @read(page: 100)
}
type T @key(fields: "id")
  @table(name: "t", partition: "id", options: "gc_grace_seconds = 3600")
  @table(name: "t_by_letters", partition: "org, prefix(name, 2) AS start", clustering: "name DESC, id", rows: 1000,
         options: "compaction={'class':'LeveledCompactionStrategy','sstable_size_in_mb':160} and COMMENT = 'it''s by letters'") {
  id: ID!
  org: ID!
  name: String!
  size: Size
}
type Size @udt(name: "TSize") { width: Int! }
"#;

#[tokio::test]
async fn rows_lie_by_the_first_letters_of_their_names_and_move_with_them() {
    for seed in seeds(5) {
        println!("seed {seed}");
        let random = &mut fastrand::Rng::with_seed(seed);
        let mut both = Both::start(SCHEMA, &upserting(&["org", "name", "size"])).await;
        let mut rows: BTreeMap<String, (String, String)> = BTreeMap::new();
        let mut events = Vec::new();
        for _ in 0..60 {
            let (id, org) = (format!("t{}", random.u8(0..12)), format!("o{}", random.u8(0..2)));
            let letters = random.usize(0..4);
            let name: String = (0..letters).map(|_| ['a', 'é', '😀'][random.usize(0..3)]).collect();
            events.push(json!({ "type": "Set", "id": id, "org": org, "name": name, "size": { "width": 1 } }));
            rows.insert(id, (org, name));
        }
        both.publish(&events).await;
        // In the table's order: by name, the largest first, then by id.
        let expected = |holds: &dyn Fn(&str, &str) -> bool| -> Json {
            let found = rows.iter().filter(|(_, (org, name))| holds(org, name));
            let mut found: Vec<(&str, &str)> =
                found.map(|(id, (_, name))| (name.as_str(), id.as_str())).collect();
            found.sort_by(|a, b| b.0.cmp(a.0).then(a.1.cmp(b.1)));
            found.into_iter().map(|(_, id)| json!({ "id": id })).collect()
        };
        let first_two = |text: &str| text.chars().take(2).collect::<String>();
        for start in ["", "a", "aa", "aé", "éa", "😀😀", "aaé", "x"] {
            let query = format!(
                "{{ letters(org: \"o1\", start: {start:?}, first: 50) {{ nodes {{ id }} }}
                    within(org: \"o1\", start: {start:?}, name: {start:?}) {{ id }} named(org: \"o1\", name: {start:?}) {{ id }}
                    any(org: \"o1\", names: [{start:?}, \"éé\"]) {{ id }} }}"
            );
            let found = both.data(&query).await;
            let with_letters = expected(&|org, name| org == "o1" && first_two(name) == first_two(start));
            let beginning = expected(&|org, name| {
                org == "o1" && first_two(name) == first_two(start) && name.starts_with(start)
            });
            let named = expected(&|org, name| org == "o1" && name == start);
            let any = expected(&|org, name| org == "o1" && (name == start || name == "éé"));
            assert_eq!(found["letters"]["nodes"], with_letters, "seed {seed}, {start:?}");
            assert_eq!(found["within"], beginning, "seed {seed}, {start:?}");
            assert_eq!(found["named"], named, "seed {seed}, {start:?}");
            assert_eq!(found["any"], any, "seed {seed}, {start:?}");
        }
        both.end().await;
    }
}

#[test]
fn explain_shows_the_cql_of_prefixes_names_and_options() {
    let project = project(SCHEMA, &upserting(&["org", "name", "size"]));
    project.run(&["check", "--explain"]).says(
        0,
        &[
            "partition   org, prefix(name, 2) AS start",
            "option      gc_grace_seconds = 3600 (in Cassandra)",
            "partition   org = $org, start = prefix($start, 2)",
            "partition   org = $org, start = prefix($name, 2)",
            "CREATE TYPE t_size (\n  width int\n);",
            "size frozen<t_size>",
            "PRIMARY KEY (id)\n) WITH gc_grace_seconds = 3600;",
            "PRIMARY KEY ((org, start), name, id)\n) WITH CLUSTERING ORDER BY (name DESC, id ASC)
  AND compaction = {'class': 'LeveledCompactionStrategy', 'sstable_size_in_mb': 160}
  AND comment = 'it''s by letters';",
        ],
    );
}
