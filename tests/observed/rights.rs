//! The rights that `docs/deploy.md` lists, on a node and a broker where nobody may do anything else: with just these, `apply`,
//! `publish`, `project` and `serve` do their work, and each is refused what is not its own.

use std::collections::BTreeMap;
use std::time::Instant;

use kinora::sample::{self, SampleEvent};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::NOW_MS;
use crate::deployment::Deployment;
use crate::kafka_server;
use crate::servers;

const USER: &str = "alice";
const PASSWORD: &str = "alice-secret";

const PLACED: &str = r#"
extend type Query { placed(currency: ID!): Placed @read }
type Placed @key(fields: "currency") @table(name: "placed", partition: "currency") {
  currency: ID!
  count: Int!
}
"#;
const COUNTED: &str = "
projection: placed
into: Placed
from: { topic: shop.orders, format: json, type: event.type, recordKey: event.orderId }
key: { currency: event.currency }
order: time
unknown: ignore
events:
  OrderPlaced: { upsert: { count: row.?count.orValue(0) + 1 } }
";

/// Reads of the shop's projections, and of that one.
const READS: &str = r#"{ __typename cart(id: "x") { id } order(id: "x") { id } product(id: "x") { id } customer(id: "x") { id } placed(currency: "EUR") { count } }"#;

/// What stands in code blocks of a language on the page, block by block.
fn blocks(language: &str) -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/deploy.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let fence = format!("```{language}\n");
    let parts = page.split(&fence).skip(1);
    parts.map(|part| part.split("```").next().expect("a block ends").to_owned()).collect()
}

/// A session as a role; waits for a node that has just begun.
async fn session(address: &str, (role, password): (&str, &str)) -> Session {
    let begun = Instant::now();
    loop {
        match SessionBuilder::new().known_node(address).user(role, password).build().await {
            Ok(session) => return session,
            Err(error) => assert!(begun.elapsed().as_secs() < 120, "{role} is not let in: {error}"),
        }
    }
}

/// An entry of `kafka-acls.sh`, as the page writes it: `--add --allow-principal … --operation … --topic …`.
#[derive(Debug)]
struct Allowed {
    resource: i8,
    name: String,
    pattern: i8,
    operations: Vec<i8>,
}

/// Reads the commands of the page.
fn allowed(block: &str) -> Vec<Allowed> {
    let joined = block.replace("\\\n", " ");
    let commands = joined.lines().filter(|line| line.contains("kafka-acls.sh"));
    commands
        .map(|command| {
            let words: Vec<&str> = command.split_whitespace().collect();
            let behind = |flag: &'static str| {
                let pairs = words.iter().zip(&words[1..]);
                pairs.filter(move |(word, _)| **word == flag).map(|(_, next)| *next)
            };
            let operation = |name| match name {
                "Read" => 3,
                "Write" => 4,
                "Create" => 5,
                "Describe" => 8,
                other => panic!("{other} is no operation that is known here"),
            };
            let (resource, name) = match (behind("--topic").next(), behind("--group").next()) {
                (Some(topic), None) => (2, topic),
                (None, Some(group)) => (3, group),
                other => panic!("{command}: {other:?}"),
            };
            let pattern = if behind("--resource-pattern-type").next() == Some("prefixed") { 4 } else { 3 };
            Allowed {
                resource,
                name: name.to_owned(),
                pattern,
                operations: behind("--operation").map(operation).collect(),
            }
        })
        .collect()
}

/// Allows a user something: a request `CreateAcls`, version 1, as Kafka's protocol has it.
async fn allow(broker: &str, allowed: &Allowed) {
    let text = |out: &mut Vec<u8>, text: &str| {
        out.extend_from_slice(&i16::try_from(text.len()).expect("short").to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    };
    let mut request = Vec::new();
    request.extend_from_slice(&30_i16.to_be_bytes());
    request.extend_from_slice(&1_i16.to_be_bytes());
    request.extend_from_slice(&7_i32.to_be_bytes());
    text(&mut request, "test");
    request.extend_from_slice(&i32::try_from(allowed.operations.len()).expect("few").to_be_bytes());
    for operation in &allowed.operations {
        request.push(allowed.resource as u8);
        text(&mut request, &allowed.name);
        request.push(allowed.pattern as u8);
        text(&mut request, &format!("User:{USER}"));
        text(&mut request, "*");
        request.extend_from_slice(&[*operation as u8, 3]);
    }
    let mut stream = TcpStream::connect(broker).await.expect("the broker answers");
    stream.write_all(&u32::try_from(request.len()).expect("short").to_be_bytes()).await.expect("written");
    stream.write_all(&request).await.expect("written");
    let mut answer = vec![0; stream.read_u32().await.expect("an answer") as usize];
    stream.read_exact(&mut answer).await.expect("a whole answer");
    // Correlation, throttle, count of results; then of each a code and a text.
    let code = i16::from_be_bytes([answer[12], answer[13]]);
    assert_eq!(code, 0, "{allowed:?}: {}", String::from_utf8_lossy(&answer));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_works_with_the_rights_that_the_page_lists_and_no_others() {
    if kafka_server::left_out("rights of project and serve") {
        return;
    }
    let kafka = Box::leak(Box::new(kafka_server::Server::start_with_rights()));
    let cassandra = servers::start_cassandra(&[("CASSANDRA_AUTH", "1")]);
    let admin = session(&cassandra.address, ("cassandra", "cassandra")).await;
    let statements = blocks("cql").concat();
    let statements = statements.replace("'dc1': 3", "'datacenter1': 1");
    for statement in statements.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
        admin.query_unpaged(statement, ()).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    let mut deployment = Deployment::on(&kafka.with_login(), &cassandra.address, "kinora");
    let ca = kafka.tls("ca.pem").display().to_string();
    for (command, role) in [
        ("apply", "kinora_deploy"),
        ("project", "kinora_project"),
        ("serve", "kinora_serve"),
        ("publish", ""),
    ] {
        let mut variables = vec![
            ("KINORA_CASSANDRA__USER", role.to_owned()),
            ("KINORA_CASSANDRA__PASSWORD", "a secret".to_owned()),
        ];
        if command != "serve" {
            variables.extend([
                ("KINORA_KAFKA__SECURITY", "sasl_ssl".to_owned()),
                ("KINORA_KAFKA__MECHANISM", "SCRAM-SHA-256".to_owned()),
                ("KINORA_KAFKA__USER", USER.to_owned()),
                ("KINORA_KAFKA__PASSWORD", PASSWORD.to_owned()),
                ("KINORA_KAFKA__CA", ca.clone()),
            ]);
        }
        if command == "publish" {
            variables.retain(|(name, _)| name.starts_with("KINORA_KAFKA"));
        }
        deployment.variables.insert(command, variables);
    }
    // Many orders, in several partitions, are of one currency: this goes through an internal topic.
    deployment.write("schema/placed.graphql", PLACED);
    deployment.write("projections/placed.yaml", COUNTED);
    deployment.query = READS;
    let [producers, project, internal] =
        &blocks("sh").into_iter().filter(|block| block.contains("kafka-acls.sh")).collect::<Vec<_>>()[..]
    else {
        panic!("the page lists the rights of producers, those of `project`, and those for internal topics")
    };
    let refused = deployment.try_run(&["apply"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("kinora.kinora.g1.placed"), "{said}");
    for one in allowed(internal) {
        allow(&kafka.address(), &one).await;
    }
    deployment.run(&["apply"]);
    let events: Vec<SampleEvent> = sample::shop(5, 500, NOW_MS).collect();
    let mut read_after = BTreeMap::new();
    for one in allowed(producers) {
        allow(&kafka.address(), &one).await;
    }
    deployment.publish(&events, &mut read_after);

    // Not allowed yet: it may not read.
    let refused = deployment.try_run(&["project", "--listen", "127.0.0.1:0"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("grant"), "{said}");
    for one in allowed(project) {
        allow(&kafka.address(), &one).await;
    }
    let folding = deployment.project();
    let serving = deployment.serve();
    serving.wait_until_read(&read_after).await;
    folding.ends_well().await;
    serving.ends_well().await;

    let deploys = session(&cassandra.address, ("kinora_deploy", "a secret")).await;
    let settings = "SELECT value FROM system_views.settings WHERE name = 'commitlog_sync'";
    deploys.query_unpaged(settings, ()).await.expect("it may look how nodes sync");
    let reader = session(&cassandra.address, ("kinora_serve", "a secret")).await;
    for (role, session, statement) in [
        ("kinora_serve", &reader, "INSERT INTO kinora.kinora_manifest (name) VALUES ('x')"),
        ("kinora_serve", &reader, "DROP KEYSPACE kinora"),
        (
            "kinora_project",
            &session(&cassandra.address, ("kinora_project", "a secret")).await,
            "CREATE TABLE kinora.x (a int PRIMARY KEY)",
        ),
    ] {
        let error = session.query_unpaged(statement, ()).await.expect_err("it may not").to_string();
        assert!(error.contains("has no") || error.contains("nauthorized"), "{role}: {statement}: {error}");
    }
}
