//! What a test does in a deployment's keyspace beside Kinora.

use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;

use crate::deployment::{Deployment, USER};

/// A session of its own.
pub async fn session(deployment: &Deployment) -> Session {
    let node = &deployment.cassandra().nodes[0];
    SessionBuilder::new().known_node(node).user(USER, USER).build().await.expect("the node answers")
}

/// Runs a statement.
pub async fn run(session: &Session, statement: &str) {
    session.query_unpaged(statement, ()).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// The first column of every row of an answer.
pub async fn texts(session: &Session, statement: &str) -> Vec<String> {
    let answer = session.query_unpaged(statement, ()).await;
    let answer = answer.unwrap_or_else(|error| panic!("{statement}: {error}"));
    let rows = answer.into_rows_result().expect("it has rows");
    rows.rows::<(String,)>().expect("it is text").map(|row| row.expect("it can be read").0).collect()
}

/// The only text of an answer.
pub async fn text(session: &Session, statement: &str) -> String {
    let mut found = texts(session, statement).await;
    assert_eq!(found.len(), 1, "{statement}");
    found.remove(0)
}

/// Everything that lies in the keyspace, as lines of text.
pub async fn contents(session: &Session, keyspace: &str) -> Vec<String> {
    let tables = format!("SELECT table_name FROM system_schema.tables WHERE keyspace_name = '{keyspace}'");
    let mut lines = Vec::new();
    for table in texts(session, &tables).await {
        let rows = texts(session, &format!("SELECT JSON * FROM {keyspace}.\"{table}\"")).await;
        lines.push(table.clone());
        lines.extend(rows.into_iter().map(|row| format!("{table}: {row}")));
    }
    lines.sort_unstable();
    lines
}
