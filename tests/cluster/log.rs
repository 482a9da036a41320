//! Logs as no projection likes them: events appended twice, a thousand in one millisecond, records that are gone, a topic that
//! is another.
//!
//! `KINORA_CLUSTER_REPEATED` says how many events there are of which one in five comes twice; `KINORA_SEED_BASE` draws others.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use kinora::config;
use kinora::event::TopicPartition;
use kinora::source::Source as _;
use kinora::source::kafka::Kafka;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Map, Value as Json, json};

use crate::cql;
use crate::deployment::{Deployment, Model};
use crate::load::{Draws, Log};
use crate::oracle::Sent;
use crate::{compare, number, seed};

/// Accounts that know the ids of their last events.
const ACCOUNTS: &str = r#"
type Query { account(id: ID!): Account @read }
type Account @key(fields: "id")
  @table(name: "accounts", partition: "id")
  @table(name: "accounts_of", partition: "owner", clustering: "id", fields: "count") {
  id: ID!
  owner: ID!
  count: Int!
  total: Int!
  recent: [String!]! @column(as: LIST, max: 50, hidden: true)
}
"#;
const ADDED: &str = "
projection: accounts
into: Account
from: { topic: TOPIC, format: json, type: event.type, recordKey: event.account, id: event.id, remember: recent }
key: { id: event.account }
unknown: stop
events:
  Added: { upsert: { owner: event.owner, count: row.?count.orValue(0) + 1, total: row.?total.orValue(0) + event.amount } }
";
/// Events after which one is appended again at the latest: fewer than an account remembers.
const APART_MAX: usize = 40;

fn accounts(name: &str) -> Model {
    let topic = format!("{name}.accounts");
    let files = vec![
        ("schema/accounts.graphql".to_owned(), ACCOUNTS.to_owned()),
        ("projections/accounts.yaml".to_owned(), ADDED.replace("TOPIC", &topic)),
    ];
    Model { files, topics: vec![topic], query: r#"{ __typename account(id: "x") { id } }"# }
}

/// Sums of the events, each once; and the events, of which one in five comes again.
fn added(topic: &str, count: usize, chance: &mut fastrand::Rng) -> (BTreeMap<String, Json>, Vec<Sent>) {
    let (mut sums, mut sent) = (BTreeMap::<String, Json>::new(), Vec::new());
    let mut again: Vec<(usize, Sent)> = Vec::new();
    for number in 0..count {
        let (account, amount) = (format!("a{}", chance.u8(..30)), chance.i32(-500..500));
        let owner = format!("o{}", chance.u8(..5));
        let event = json!({ "type": "Added", "id": format!("e{number}"), "account": account, "owner": owner, "amount": amount });
        let sum = sums.entry(account.clone()).or_insert_with(|| json!({ "count": 0, "total": 0 }));
        let plus = |name: &str, more: i32| json!(sum[name].as_i64().expect("a number") + i64::from(more));
        *sum = json!({ "id": account, "owner": owner, "count": plus("count", 1), "total": plus("total", amount) });
        let one = Sent { topic: topic.to_owned(), key: Some(account), value: Some(event.to_string().into()) };
        if chance.u8(..5) == 0 {
            again.push((number + chance.usize(..APART_MAX), one.clone()));
        }
        sent.push(one);
        let (due, later): (Vec<_>, Vec<_>) = again.into_iter().partition(|(at, _)| *at <= number);
        again = later;
        sent.extend(due.into_iter().map(|(_, one)| one));
    }
    sent.extend(again.into_iter().map(|(_, one)| one));
    (sums, sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_were_appended_twice_count_once() {
    let Some(deployment) = Deployment::of("repeated", accounts).await else { return };
    let (count, seed) = (number("KINORA_CLUSTER_REPEATED", 3_000), seed());
    let mut chance = fastrand::Rng::with_seed(seed);
    let (sums, sent) = added(&format!("{}.accounts", deployment.name()), count, &mut chance);
    println!("KINORA_SEED_BASE={seed} KINORA_CLUSTER_REPEATED={count}: {} records", sent.len());
    assert!(sent.len() * 10 > count * 11, "too few come twice");
    let mut folding = vec![deployment.project(), deployment.project()];
    let serving = deployment.serve();
    let mut log = Log::default();
    // One of both is killed while it folds, so that positions are delivered again too.
    for (round, part) in sent.chunks(sent.len().div_ceil(3)).enumerate() {
        let records = part.iter().map(|one| (one, one.value.as_deref().expect("it has a body"), None));
        log.append(&deployment.publisher, records).await;
        if round < 2 {
            folding[round].kill();
            folding[round] = deployment.project();
        }
    }
    serving.wait_until_read(&log.ends).await;
    let tables = deployment.tables().await;
    let [base, copy] = [
        deployment.rows(tables.as_ref(), "accounts").await,
        deployment.rows(tables.as_ref(), "accounts_of").await,
    ];
    assert_eq!((base.len(), copy.len()), (sums.len(), sums.len()));
    for (id, sum) in &sums {
        let of = |rows: &[Json], names: &[&str]| {
            let row = rows.iter().find(|row| row["id"] == **id).unwrap_or_else(|| panic!("{id} is missing"));
            names.iter().map(|name| row[*name].clone()).collect::<Vec<_>>()
        };
        let all = ["id", "owner", "count", "total"];
        assert_eq!(of(&base, &all), all.map(|name| sum[name].clone()), "{id}");
        assert_eq!(
            of(&copy, &all[..3]),
            all[..3].iter().map(|name| sum[*name].clone()).collect::<Vec<_>>(),
            "{id}"
        );
        let query = "query ($id: ID!) { account(id: $id) { id owner count total } }";
        let answer = serving.ask(query, &Map::from_iter([("id".to_owned(), json!(id))]), "").await;
        let shown = all.map(|name| answer["data"]["account"][name].clone());
        assert_eq!(shown, all.map(|name| sum[name].clone()), "{id}: {answer}");
    }
    for process in folding {
        process.ends_well().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_that_has_halted_is_named_again_when_its_process_is_told_to_end() {
    let Some(deployment) = Deployment::of("stopped", accounts).await else { return };
    let folding = deployment.project();
    let topic = format!("{}.accounts", deployment.name());
    let event = json!({ "type": "Closed", "id": "e0", "account": "a0" }).to_string();
    let closed = Sent { topic, key: Some("a0".to_owned()), value: Some(event.clone().into()) };
    let mut log = Log::default();
    log.append(&deployment.publisher, [(&closed, event.as_bytes(), None)].into_iter()).await;
    folding.wait_until_said(&["Projection halted."]).await;
    let ended = folding.told_to_end().await;
    assert_eq!(ended.code, Some(5), "{}", ended.said);
    let last = ended.said.lines().last().unwrap_or_default();
    assert!(last.contains("halted") && last.contains("`unknown: stop`"), "{last}");
}

/// A name for each update, the highest not the last.
fn renamed(number: usize) -> String {
    format!("name {:03}", number * 7 % 1_000)
}

/// What writes with the record's time, as plain sinks do: a few lines, for contrast.
async fn plain_sink(deployment: &Deployment, log: &Log, topic: &str) -> String {
    let (session, keyspace) = (cql::session(deployment).await, deployment.name());
    cql::run(&session, &format!("CREATE TABLE {keyspace}.plain (id text PRIMARY KEY, name text)")).await;
    let insert = format!("INSERT INTO {keyspace}.plain (id, name) VALUES (?, ?) USING TIMESTAMP ?");
    let insert = session.prepare(insert).await.expect("it is a statement");
    let kafka =
        Kafka::open(&config::load(deployment.path(), &[]).settings.kafka).expect("the settings are right");
    for (at, end) in &log.ends {
        let (_, number) = at.rsplit_once(':').expect("topic:partition");
        let at = TopicPartition { topic: topic.into(), partition: number.parse().expect("a number") };
        let (mut reader, mut next) = (kafka.read(&[(at, 0)]).await.expect("it can be read"), 0);
        while next <= *end {
            let fetched = reader.next(1 << 20).await.expect("it can be read");
            for record in &fetched.records {
                let event: Json =
                    serde_json::from_slice(record.value.as_deref().unwrap_or_default()).expect("JSON");
                let of = |name: &str| event[name].as_str().expect("text").to_owned();
                let written = (of("customerId"), of("name"), record.timestamp_ms * 1_000);
                session.execute_unpaged(&insert, written).await.expect("it is written");
            }
            next = fetched.next;
        }
    }
    cql::text(&session, &format!("SELECT name FROM {keyspace}.plain WHERE id = 'u1'")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_updates_of_one_key_in_one_millisecond_end_right_and_those_of_a_plain_sink_do_not() {
    // Of now: retention takes what is older.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let moment_ms = i64::try_from(since.as_millis()).expect("before the year 292 million");
    let Some(deployment) = Deployment::shop("moment").await else { return };
    let (folding, serving) = (deployment.project(), deployment.serve());
    let topic = format!("{}.customers", deployment.name());
    let event = |number: usize| {
        let kind = if number == 0 { "CustomerRegistered" } else { "CustomerRenamed" };
        let event = json!({ "type": kind, "v": 1, "at": "2026-01-01T00:00:00.000Z", "customerId": "u1",
            "name": renamed(number), "email": "a@example.org" });
        Sent { topic: topic.clone(), key: Some("u1".to_owned()), value: Some(event.to_string().into()) }
    };
    let sent: Vec<Sent> = (0..=1_000).map(event).collect();
    let mut log = Log::default();
    let records = sent.iter().map(|one| (one, one.value.as_deref().expect("it has a body"), Some(moment_ms)));
    log.append(&deployment.publisher, records).await;
    log.sent = sent;
    serving.wait_until_read(&log.ends).await;
    let tables = deployment.tables().await;
    let rows = deployment.rows(tables.as_ref(), "customers").await;
    assert_eq!((rows.len(), &rows[0]["name"]), (1, &json!(renamed(1_000))));
    let answer = serving.ask(r#"{ customer(id: "u1") { name } }"#, &Map::new(), "").await;
    assert_eq!(answer["data"]["customer"]["name"], renamed(1_000));
    let plain = plain_sink(&deployment, &log, &topic).await;
    assert_eq!(plain, "name 999", "of one time the highest value stays");
    assert_ne!(plain, renamed(1_000));
    folding.ends_well().await;
}

fn admin(deployment: &Deployment) -> AdminClient<DefaultClientContext> {
    let brokers = config::load(deployment.path(), &[]).settings.kafka.brokers.join(",");
    ClientConfig::new().set("bootstrap.servers", brokers).create().expect("the settings are right")
}

/// Makes a topic anew under its name.
async fn make_anew(deployment: &Deployment, topic: &str) {
    let (admin, options) = (admin(deployment), AdminOptions::new());
    admin.delete_topics(&[topic], &options).await.expect("it is asked for")[0]
        .as_ref()
        .expect("it is deleted");
    let begun = std::time::Instant::now();
    loop {
        let new = NewTopic::new(topic, 4, TopicReplication::Fixed(1));
        // A topic that is being deleted is there for a moment.
        match &admin.create_topics([&new], &options).await.expect("it is asked for")[0] {
            Ok(_) => return,
            Err(error) => assert!(begun.elapsed() < crate::process::AT_MOST, "{error:?}"),
        }
    }
}

/// What is stored of one projection: rows, and how far it is.
async fn stored_of(deployment: &Deployment, projection: &str, tables: &[&str]) -> Vec<String> {
    let stored = deployment.tables().await;
    let mut all = Vec::new();
    for table in tables {
        let mut rows: Vec<String> =
            deployment.rows(stored.as_ref(), table).await.iter().map(Json::to_string).collect();
        rows.sort_unstable();
        all.extend(rows);
    }
    let progress = stored.progress();
    let marks = progress.marks.iter().filter(|mark| &*mark.projection == projection);
    all.extend(marks.map(|mark| format!("{}:{}@{}", mark.at.topic, mark.at.partition, mark.next)));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_and_records_that_are_gone_halt_by_name_and_nothing_is_written() {
    const PRODUCTS: [&str; 3] = ["products", "products_by_sku", "products_by_category"];
    let Some(deployment) = Deployment::shop("gone").await else { return };
    let name = deployment.name();
    let (products, customers) = (format!("{name}.products"), format!("{name}.customers"));
    let (mut draws, mut log) = (Draws::new(&deployment, seed(), 50), Log::default());
    let (folding, serving) = (deployment.project(), deployment.serve());
    log.publish(&deployment.publisher, &mut draws, 600).await;
    compare::all(&deployment, &serving, &log).await;
    let (before, before_customers) = (
        stored_of(&deployment, "products", &PRODUCTS).await,
        stored_of(&deployment, "customers", &["customers"]).await,
    );
    assert!(!before.is_empty() && !before_customers.is_empty());

    // While it is folded: the loop finds another topic behind the name, or the group hands the partitions out anew, and what
    // is opened anew finds it.
    make_anew(&deployment, &products).await;
    let said = ["was created anew", "was deleted while it was read"];
    println!("it said: {}", folding.wait_until_said(&said).await);
    let ended = folding.told_to_end().await;
    // A loop that halted is no more once its partitions are handed over, and it may be told to end before they are opened anew.
    assert!([Some(5), Some(0)].contains(&ended.code), "{:?}: {}", ended.code, ended.said);
    assert_eq!(stored_of(&deployment, "products", &PRODUCTS).await, before);

    // Before it is folded.
    let ended = deployment.run(&["project", "--listen", "127.0.0.1:0"], &[]).await;
    assert_eq!(ended.code, Some(5), "{}", ended.said);
    let anew = format!("topic {products:?} was created anew");
    assert!(ended.said.contains(&anew) && ended.said.contains("rebuild the projection"), "{}", ended.said);
    assert_eq!(stored_of(&deployment, "products", &PRODUCTS).await, before);

    // Retention has taken what was never folded, of the projection that is opened first.
    let mut last = Log::default();
    last.publish(&deployment.publisher, &mut draws, 200).await;
    let mut gone = TopicPartitionList::new();
    for (at, end) in last.ends.iter().filter(|(at, _)| at.starts_with(&customers)) {
        let (_, number) = at.rsplit_once(':').expect("topic:partition");
        let end = Offset::Offset(i64::try_from(*end).expect("an offset") + 1);
        gone.add_partition_offset(&customers, number.parse().expect("a number"), end).expect("an offset");
    }
    assert!(gone.count() > 0, "no customers were published");
    admin(&deployment).delete_records(&gone, &AdminOptions::new()).await.expect("they are deleted");
    let ended = deployment.run(&["project", "--listen", "127.0.0.1:0"], &[]).await;
    assert_eq!(ended.code, Some(5), "{}", ended.said);
    assert!(ended.said.contains("the log has dropped events that were never folded"), "{}", ended.said);
    assert!(ended.said.contains(&format!("{customers}:")), "{}", ended.said);
    assert_eq!(stored_of(&deployment, "customers", &["customers"]).await, before_customers);
    serving.ends_well().await;
}
