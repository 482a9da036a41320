//! `kinora plan` and `kinora apply` on a real node, and what a store says of tables that are missing, or other than they were.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use kinora::config::{Cassandra, Secret, Tls};
use kinora::engine;
use kinora::store::Store;
use kinora::store::cassandra::CassandraStore;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use serde_json::Value as Json;

fn shop() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a command on the shop, with a keyspace.
fn kinora(settings: &Cassandra, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kinora"))
        .args(arguments)
        .arg("--project")
        .arg(shop())
        .env("KINORA_CASSANDRA__NODES", settings.nodes.join(","))
        .env("KINORA_CASSANDRA__KEYSPACE", &settings.keyspace)
        .env("KINORA_CASSANDRA__CONNECT", "60s")
        .output()
        .expect("kinora can be started")
}

#[track_caller]
fn says(output: &Output, code: i32, parts: &[&str]) -> String {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = format!("{out}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{said}");
    for part in parts {
        assert!(said.contains(part), "it does not say `{part}`:\n{said}");
    }
    out
}

/// Settings with a keyspace that is not there, and a session beside.
async fn fresh(name: &str) -> Option<(Cassandra, Session)> {
    let settings = super::cluster::settings().await?;
    let settings = Cassandra { keyspace: format!("{}_{name}", settings.keyspace), ..settings };
    let session =
        SessionBuilder::new().known_node(&settings.nodes[0]).build().await.expect("the node answers");
    run(&session, &format!("DROP KEYSPACE IF EXISTS {}", settings.keyspace)).await;
    Some((settings, session))
}

async fn run(session: &Session, statement: &str) {
    session.query_unpaged(statement, ()).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

async fn make_keyspace(session: &Session, keyspace: &str) {
    let replication = "{'class': 'NetworkTopologyStrategy', 'datacenter1': 1}";
    run(session, &format!("CREATE KEYSPACE {keyspace} WITH replication = {replication}")).await;
}

#[tokio::test]
async fn plan_prints_what_apply_runs_and_both_find_nothing_to_do_afterwards() {
    let Some((settings, session)) = fresh("planned").await else { return };
    let keyspace = &settings.keyspace;
    says(
        &kinora(&settings, &["plan"]),
        4,
        &[
            &format!("there is no keyspace {keyspace:?}"),
            &format!("CREATE KEYSPACE {keyspace} WITH replication"),
        ],
    );
    make_keyspace(&session, keyspace).await;
    let planned = says(&kinora(&settings, &["plan", "--format", "json"]), 0, &[]);
    let planned: Json = serde_json::from_str(&planned).expect("is JSON");
    let statements = planned["statements"].as_array().expect("is a list").clone();
    assert_eq!((&planned["generation"], &planned["active"]), (&Json::from(1), &Json::Null));
    assert!(statements.iter().any(|statement| {
        statement
            .as_str()
            .is_some_and(|text| text.starts_with(&format!("CREATE TABLE {keyspace}.orders__g1 (")))
    }));
    // Nothing was written.
    let same = says(&kinora(&settings, &["plan", "--format", "json"]), 0, &[]);
    assert_eq!(serde_json::from_str::<Json>(&same).expect("is JSON"), planned);
    let applied = says(&kinora(&settings, &["apply", "--format", "json"]), 0, &[]);
    let applied: Json = serde_json::from_str(&applied).expect("is JSON");
    let sorted = |list: &Json| {
        let mut texts: Vec<String> = list
            .as_array()
            .expect("is a list")
            .iter()
            .map(|text| text.as_str().expect("is text").to_owned())
            .collect();
        texts.sort();
        texts
    };
    assert_eq!(sorted(&applied["statements"]), sorted(&planned["statements"]));
    assert_eq!(applied["active"], Json::from(1));
    let nothing = "-- generation 1 has all that these definitions need";
    says(&kinora(&settings, &["plan"]), 0, &[nothing]);
    says(&kinora(&settings, &["apply"]), 0, &[nothing]);
}

#[tokio::test]
async fn what_was_altered_by_hand_is_named_with_what_should_be_there() {
    let Some((settings, session)) = fresh("altered").await else { return };
    make_keyspace(&session, &settings.keyspace).await;
    let definitions = engine::load(shop(), &Default::default()).expect("the shop can be read").definitions;
    let definitions = definitions.expect("the shop passes every check");
    let connect =
        async || CassandraStore::connect(&settings, Arc::clone(&definitions.model)).await.expect("connects");
    let store = connect().await;
    let open = async || match connect().await.open(1, &definitions.plan).await {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    let missing = open().await;
    assert!(missing.starts_with("table \"kinora_manifest\" is missing in keyspace"), "{missing}");
    assert!(missing.ends_with("`kinora apply` makes what these definitions need"), "{missing}");
    store.apply(1, &definitions.plan).await.expect("applies");
    assert_eq!(open().await, "");
    let keyspace = &settings.keyspace;
    run(&session, &format!("ALTER TABLE {keyspace}.orders__g1 DROP number")).await;
    let without = open().await;
    assert!(
        without
            .starts_with("table \"orders__g1\" has no column \"number\", where these definitions need text"),
        "{without}"
    );
    run(&session, &format!("DROP TABLE {keyspace}.orders__g1")).await;
    run(&session, &format!("CREATE TABLE {keyspace}.orders__g1 (id int PRIMARY KEY)")).await;
    let other = open().await;
    let expected = "table \"orders__g1\" has column \"id\" as int in place 1 of the partition, where these definitions need text in \
                    place 1 of the partition: it was altered by hand";
    assert!(other.starts_with(expected), "{other}");
    assert_eq!(store.apply(1, &definitions.plan).await.expect_err("is refused").to_string(), other);
    run(&session, &format!("DROP TABLE {keyspace}.carts__g1")).await;
    run(&session, &format!("DROP TABLE {keyspace}.orders__g1")).await;
    let gone = open().await;
    assert!(gone.contains("is missing in keyspace") && gone.contains("and 1 more"), "{gone}");
}

#[tokio::test]
async fn a_table_of_the_engines_own_gets_the_column_that_an_earlier_version_did_not_have() {
    let Some((settings, session)) = fresh("earlier").await else { return };
    make_keyspace(&session, &settings.keyspace).await;
    let (model, plan) = super::types::planned();
    let connect = async || CassandraStore::connect(&settings, Arc::clone(&model)).await.expect("connects");
    connect().await.apply(1, &plan).await.expect("applies");
    let keyspace = &settings.keyspace;
    run(&session, &format!("ALTER TABLE {keyspace}.kinora_progress DROP relayed")).await;
    let refused = connect().await.open(1, &plan).await.err().expect("is refused").to_string();
    assert_eq!(
        refused,
        format!(
            "column \"relayed\" of table \"kinora_progress\" is missing in keyspace \"{keyspace}\": `kinora apply` makes what these \
             definitions need"
        )
    );
    let statement = format!("ALTER TABLE {keyspace}.kinora_progress ADD relayed text;");
    let store = connect().await;
    assert_eq!(store.pending(1, &plan).await.expect("answers"), [statement.as_str()]);
    assert_eq!(store.apply(1, &plan).await.expect("applies"), [statement.as_str()]);
    store.open(1, &plan).await.expect("all of it is there");
}

#[tokio::test]
async fn eight_that_apply_at_once_make_each_table_once() {
    let Some((settings, session)) = fresh("at_once").await else { return };
    make_keyspace(&session, &settings.keyspace).await;
    let (model, plan) = super::types::planned();
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (settings, model, plan) = (settings.clone(), Arc::clone(&model), Arc::clone(&plan));
        all.spawn(async move {
            let store = CassandraStore::connect(&settings, model).await.expect("connects");
            store.apply(1, &plan).await.expect("applies").len()
        });
    }
    let run: Vec<usize> = all.join_all().await;
    // The lease's own table may be asked for by several; everything else is made by one.
    let all = run.iter().max().copied().unwrap_or_default();
    assert!(run.iter().sum::<usize>() < all + 8, "{run:?}");
    let store = CassandraStore::connect(&settings, model).await.expect("connects");
    store.open(1, &plan).await.expect("all of it is there");
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_named_with_its_setting() {
    if super::cluster::settings().await.is_none() {
        return;
    }
    let settings = Cassandra {
        nodes: vec!["127.0.0.1:1".to_owned()],
        connect: std::time::Duration::from_secs(2),
        ..Cassandra::default()
    };
    says(&kinora(&settings, &["apply"]), 4, &["Cassandra at 127.0.0.1:1", "cassandra."]);
    let none = Command::new(env!("CARGO_BIN_EXE_kinora")).args(["plan", "--project"]).arg(shop()).output();
    says(&none.expect("kinora can be started"), 4, &["no Cassandra is named: set cassandra.nodes"]);
}

/// A key of a node's own, and the certificate that a client trusts it by.
fn certificate(directory: &Path) {
    let keytool = |arguments: &[&str]| {
        let done = Command::new("keytool").args(arguments).current_dir(directory).output();
        let done = done.expect("keytool comes with Java");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    };
    let store = ["-keystore", "node.p12", "-storetype", "PKCS12", "-storepass", "kinora", "-alias", "node"];
    let pair =
        ["-genkeypair", "-keyalg", "EC", "-dname", "CN=node", "-ext", "san=ip:127.0.0.1", "-validity", "2"];
    keytool(&[&pair[..], &store].concat());
    keytool(&[&["-exportcert", "-rfc", "-file", "ca.pem"][..], &store].concat());
}

#[tokio::test]
async fn a_node_that_wants_a_password_and_encrypts_lets_in_who_has_both() {
    if !super::cluster::servers::wants_real() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    certificate(directory.path());
    let tls = directory.path().to_str().expect("a temporary path is text");
    let server = super::cluster::servers::start_cassandra(&[("CASSANDRA_AUTH", "1"), ("CASSANDRA_TLS", tls)]);
    let (model, _) = super::types::planned();
    let settings = |password: &str| Cassandra {
        nodes: vec![server.address.clone()],
        user: Some("cassandra".to_owned()),
        password: Some(Secret(password.as_bytes().to_vec())),
        tls: Tls { ca: Some(directory.path().join("ca.pem")), ..Tls::default() },
        connect: std::time::Duration::from_secs(60),
        ..Cassandra::default()
    };
    let connect = async |settings: Cassandra| CassandraStore::connect(&settings, Arc::clone(&model)).await;
    // The first role is made some moments after the node answers.
    let start = std::time::Instant::now();
    while let Err(error) = connect(settings("cassandra")).await {
        assert!(start.elapsed().as_secs() < 120, "is not let in: {error}");
    }
    let wrong = connect(settings("wrong")).await.expect_err("is refused").to_string();
    assert!(wrong.contains("cassandra.password"), "{wrong}");
    assert!(!wrong.contains("\"wrong\""), "{wrong}");
    let plain = Cassandra {
        tls: Tls::default(),
        connect: std::time::Duration::from_secs(5),
        ..settings("cassandra")
    };
    connect(plain).await.expect_err("it does not answer who does not encrypt");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_sync_now_and_then_are_named() {
    let Some((settings, _)) = fresh("synced").await else { return };
    let model = Arc::new(super::cluster::model(Vec::new()));
    let store = CassandraStore::connect(&settings, model).await.expect("connects");
    // The nodes of these tests are as Cassandra comes.
    assert_eq!(store.unsynced_nodes().await, settings.nodes);
}
