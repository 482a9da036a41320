//! Accounts that count, add up and move between owners, and what they must come to: a fold of the log of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use kinora::engine::{self, Embedded, EmbeddedSettings, dump};
use kinora::event::TopicPartition;
use kinora::source::Source;
use kinora::source::broker::Broker;
use kinora::store::embedded::{Durability, EmbeddedStore};
use serde_json::{Map, Value as Json, json};

pub const TOPIC: &str = "accounts";

const SCHEMA: &str = r#"
type Query {
  account(id: ID!): Account @read
  accountsOf(owner: ID!, first: Int, after: String): AccountConnection! @read
}
type Account
  @key(fields: "id")
  @table(name: "accounts", partition: "id")
  @table(name: "accounts_of", partition: "owner", clustering: "id") {
  id: ID!
  owner: ID!
  count: Int!
  total: BigInt!
  last: Int!
}
scalar BigInt
"#;

const PROJECTION: &str = r#"
projection: accounts
into: Account
from: { topic: accounts, format: json, type: event.type, recordKey: event.id }
key: { id: event.id }
unknown: stop
events:
  Added:
    upsert:
      owner: event.owner
      count: row.?count.orValue(0) + 1
      total: row.?total.orValue(0) + event.amount
      last: event.n
"#;

/// Writes the project's files.
pub fn write_project(directory: &Path) {
    for (name, text) in [("schema/accounts.graphql", SCHEMA), ("projections/accounts.yaml", PROJECTION)] {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().expect("it lies in one")).expect("a folder can be made");
        std::fs::write(path, text).expect("a file can be written");
    }
}

/// The `n`th event of an account; `mark` tells attempts to publish it apart.
pub fn added(id: &str, n: u64, mark: &str) -> Json {
    let amount = i64::try_from(n * 7919 % 1_000).expect("it is small") - 500;
    let value = json!({ "type": "Added", "id": id, "n": n, "amount": amount, "owner": format!("w{}", n % 5), "mark": mark });
    json!({ "key": id, "value": value })
}

/// An account as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    pub owner: String,
    pub count: u64,
    pub total: i64,
    pub last: u64,
}

/// What the data of a process that has ended hold.
pub struct Found {
    /// Marks of all records, by position.
    pub log: BTreeMap<String, String>,
    /// What the log comes to.
    pub expected: BTreeMap<String, Account>,
    /// Rows of the base table and of the copy, by id.
    pub rows: [BTreeMap<String, Account>; 2],
}

impl Found {
    /// Whether every row is what the log comes to, in both tables.
    #[track_caller]
    pub fn check_rows(&self) {
        for rows in &self.rows {
            for (id, account) in &self.expected {
                assert_eq!(rows.get(id), Some(account), "{id}");
            }
            assert_eq!(rows.len(), self.expected.len());
        }
    }
}

/// Reads log and rows, after what is missing was folded.
pub async fn read(project: &Path, data: &Path) -> Found {
    let broker = Arc::new(Broker::open(&data.join("log")).expect("the log opens"));
    let (log, expected) = read_log(&broker).await;
    let store = EmbeddedStore::open(&data.join("store"), Durability::default()).expect("the store opens");
    let loaded = engine::load(project, &Default::default()).expect("the files can be read");
    let definitions = loaded.definitions.expect("they are valid");
    let engine = Embedded::idle(broker, Arc::new(store), EmbeddedSettings::new("a key for cursors"));
    engine.take_over(Arc::clone(&definitions)).await.expect("it answers");
    engine.catch_up().await.expect("it catches up");
    let serving = engine.serving().expect("it answers");
    let mut rows = [BTreeMap::new(), BTreeMap::new()];
    for (of, name) in rows.iter_mut().zip(["accounts", "accounts_of"]) {
        let table = definitions.plan.tables.iter().find(|table| table.name == name).expect("it is there");
        let found =
            dump::rows(&definitions.model, &definitions.plan, serving.tables.as_ref(), table.id).await;
        for row in found.expect("they can be read") {
            let id = row["id"].as_str().expect("it is text").to_owned();
            assert!(of.insert(id, account(&row)).is_none(), "two rows of {row:?}");
        }
    }
    engine.shut_down().await;
    Found { log, expected, rows }
}

/// All marks, and the fold of all events, without the engine.
async fn read_log(broker: &Broker) -> (BTreeMap<String, String>, BTreeMap<String, Account>) {
    let topic = broker.topic(TOPIC).await.expect("it answers").expect("it is there");
    let (mut marks, mut accounts) = (BTreeMap::new(), BTreeMap::<String, Account>::new());
    for (number, info) in (0..).zip(&topic.partitions) {
        let at = TopicPartition { topic: TOPIC.into(), partition: number };
        let mut reader = broker.read(&[(at, info.start)]).await.expect("it can be read");
        let mut next = info.start;
        while next < info.end {
            let fetched = reader.next(1 << 20).await.expect("it can be read");
            for record in fetched.records {
                let value = record.value.expect("it has a value");
                let event: Json = serde_json::from_slice(&value).expect("it is JSON");
                let text = |name: &str| event[name].as_str().expect("it is text").to_owned();
                marks.insert(format!("{TOPIC}:{number}@{}", record.offset), text("mark"));
                let account = accounts.entry(text("id")).or_default();
                account.owner = text("owner");
                account.count += 1;
                account.total += event["amount"].as_i64().expect("it is a number");
                account.last = event["n"].as_u64().expect("it is a number");
            }
            next = fetched.next;
        }
    }
    (marks, accounts)
}

fn account(row: &Map<String, Json>) -> Account {
    let number = |name: &str| row[name].as_u64().expect("it is a number");
    Account {
        owner: row["owner"].as_str().expect("it is text").to_owned(),
        count: number("count"),
        total: row["total"].as_str().and_then(|text| text.parse().ok()).expect("it is a number"),
        last: number("last"),
    }
}
