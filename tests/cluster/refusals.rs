//! Settings that are wrong and clusters that are not as they should be: `project` and `serve` say what is wrong, with the
//! setting or the command that mends it, end with the code for it, and write nothing.

use scylla::client::session::Session;

use crate::cql;
use crate::deployment::{Deployment, shared};

/// What is wrong, with which environment, of which commands, and what is said.
struct Case {
    what: &'static str,
    environment: Vec<(&'static str, String)>,
    commands: &'static [&'static str],
    code: i32,
    said: Vec<String>,
}

const BOTH: &[&str] = &["project", "serve"];

/// A case.
fn case(
    what: &'static str,
    environment: &[(&'static str, &str)],
    commands: &'static [&'static str],
    code: i32,
    said: &[&str],
) -> Case {
    let environment = environment.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Case { what, environment, commands, code, said: said.iter().map(|part| (*part).to_owned()).collect() }
}

/// Runs each command of a case; nothing in the keyspace is other than before.
async fn refused(deployment: &Deployment, session: &Session, case: &Case) {
    let before = cql::contents(session, deployment.name()).await;
    for command in case.commands {
        let environment: Vec<(&str, &str)> =
            case.environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let ended = deployment.run(&[command, "--listen", "127.0.0.1:0"], &environment).await;
        let shown = format!("{}, {command} said: {}", case.what, ended.said);
        assert_eq!(ended.code, Some(case.code), "{shown}");
        // One fault, whatever else was logged: of settings it is counted.
        let is_fault = |line: &&str| line.starts_with("error: ") || *line == "1 error";
        assert_eq!(ended.said.lines().filter(is_fault).count(), 1, "{shown}");
        for part in &case.said {
            assert!(ended.said.contains(part), "it does not say {part:?}: {shown}");
        }
    }
    assert_eq!(cql::contents(session, deployment.name()).await, before, "{}", case.what);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_are_refused_by_name_and_nothing_is_written() {
    let Some(deployment) = Deployment::shop("settings").await else { return };
    let shared = shared("wrong settings").await.expect("they run");
    let session = cql::session(&deployment).await;
    let project: &[&str] = &["project"];
    let mut cases = vec![
        case(
            "no broker there",
            &[("KINORA_KAFKA__BROKERS", "127.0.0.1:1"), ("KINORA_KAFKA__TIMEOUT", "2s")],
            project,
            4,
            &["`kafka.brokers`", "does not answer"],
        ),
        case(
            "no broker named",
            &[("KINORA_KAFKA__BROKERS", "")],
            project,
            3,
            &["KINORA_KAFKA__BROKERS", "list of brokers"],
        ),
        case(
            "a host that nobody knows",
            &[("KINORA_KAFKA__BROKERS", "no.such.host.invalid:9092"), ("KINORA_KAFKA__TIMEOUT", "2s")],
            project,
            4,
            &["`kafka.brokers`"],
        ),
        case(
            "no node there",
            &[("KINORA_CASSANDRA__NODES", "127.0.0.1:1"), ("KINORA_CASSANDRA__CONNECT", "2s")],
            BOTH,
            4,
            &["127.0.0.1:1", "cassandra.nodes"],
        ),
        case("no node named", &[("KINORA_CASSANDRA__NODES", "")], BOTH, 3, &["KINORA_CASSANDRA__NODES"]),
        case(
            "no such keyspace",
            &[("KINORA_CASSANDRA__KEYSPACE", "nowhere")],
            BOTH,
            4,
            &["\"nowhere\"", "cassandra.keyspace", "CREATE KEYSPACE"],
        ),
    ];
    if std::env::var_os("KINORA_TEST_CASSANDRA").is_none() {
        let wrong = [("KINORA_CASSANDRA__PASSWORD", "wrong")];
        cases.push(case("a wrong password", &wrong, BOTH, 4, &["refuses us", "cassandra.password"]));
    }
    if let Some(kafka) = &shared.kafka {
        let (address, ca) = (kafka.with_login(), kafka.tls("ca.pem").display().to_string());
        let login = [
            ("KINORA_KAFKA__BROKERS", address.as_str()),
            ("KINORA_KAFKA__SECURITY", "sasl_ssl"),
            ("KINORA_KAFKA__CA", &ca),
            ("KINORA_KAFKA__USER", "alice"),
            ("KINORA_KAFKA__PASSWORD", "wrong"),
        ];
        cases.push(case(
            "a wrong login",
            &login,
            project,
            4,
            &["refused the login of \"alice\"", "`kafka.password`"],
        ));
    }
    for case in &cases {
        refused(&deployment, &session, case).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_that_are_other_than_the_definitions_need_are_refused_and_nothing_is_written() {
    let Some(deployment) = Deployment::shop("altered").await else { return };
    let (session, keyspace) = (cql::session(&deployment).await, deployment.name().to_owned());
    let projection = "projections/customers.yaml";
    let original = std::fs::read_to_string(deployment.path().join(projection)).expect("it can be read");

    let missing = format!("{keyspace}.nowhere");
    deployment.write(
        projection,
        &original.replace(&format!("topic: {keyspace}.customers"), &format!("topic: {missing}")),
    );
    refused(
        &deployment,
        &session,
        &case(
            "definitions of another version",
            &[],
            BOTH,
            3,
            &["was made by other definitions", "`kinora apply`"],
        ),
    )
    .await;
    deployment.write(projection, &original);

    let begun = |table: &str| format!("ALTER TABLE {keyspace}.{table}__g1");
    cql::run(&session, &format!("{} DROP email", begun("customers"))).await;
    let said = ["\"customers__g1\"", "has no column \"email\"", "altered by hand", "`kinora apply`"];
    refused(&deployment, &session, &case("a column that is gone", &[], BOTH, 4, &said)).await;
    cql::run(&session, &format!("{} ADD email text", begun("customers"))).await;

    cql::run(&session, &format!("DROP TABLE {keyspace}.products_by_sku__g1")).await;
    let said = ["\"products_by_sku__g1\" is missing", &keyspace, "`kinora apply`"];
    refused(&deployment, &session, &case("a table that is gone", &[], BOTH, 4, &said)).await;
}

/// The topic is asked for before anything is made or taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_missing_is_named_with_the_projection_that_reads_it() {
    let missing = |name: &str| {
        let mut model = crate::deployment::shop(name);
        model.topics.retain(|topic| !topic.ends_with(".orders"));
        model
    };
    let Some(deployment) = Deployment::of("missing", missing).await else { return };
    let session = cql::session(&deployment).await;
    let said =
        [&format!("topic \"{}.orders\" does not exist", deployment.name()), "`from.topic`", "\"orders\""];
    refused(&deployment, &session, &case("a topic that is missing", &[], &["project"], 4, &said)).await;
}
