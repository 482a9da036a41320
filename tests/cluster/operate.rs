//! Commands of an operator while processes fold: a key is parked by a bad event, listed, retried in vain and skipped, a
//! projection is paused and resumed, and `status` shows it, whoever works the partition.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::time::Instant;

use serde_json::{Value as Json, json};

use crate::deployment::Deployment;
use crate::process::AT_MOST;

/// What a command came to.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    #[track_caller]
    fn says(&self, code: i32, parts: &[&str]) -> &Ran {
        let said = format!("{}\n{}", self.out, self.err);
        assert_eq!(self.code, Some(code), "{said}");
        parts.iter().for_each(|part| assert!(said.contains(part), "it does not say `{part}`: {said}"));
        self
    }

    fn json(&self) -> Json {
        serde_json::from_str(&self.out).unwrap_or_else(|fault| panic!("{fault}: {}{}", self.out, self.err))
    }
}

fn run(deployment: &Deployment, arguments: &[&str]) -> Ran {
    let output = deployment.command(arguments, &[("USER", "ada")]).output().expect("kinora can be run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

fn publish(deployment: &Deployment, values: &[Json]) {
    let mut child = deployment
        .command(&["publish", &customers_of(deployment)], &[])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("kinora can be run");
    let mut lines = child.stdin.take().expect("it is piped");
    for value in values {
        writeln!(lines, "{}", json!({ "key": value["customerId"], "value": value })).expect("it reads");
    }
    drop(lines);
    assert!(child.wait().expect("it ends").success());
}

/// The topic.
fn customers_of(deployment: &Deployment) -> String {
    format!("{}.customers", deployment.name())
}

fn registered(name: Json) -> Json {
    let (at, id) = ("2026-01-01T00:00:00.000Z", "c-1");
    json!({ "type": "CustomerRegistered", "v": 1, "at": at, "customerId": id, "name": name, "email": "a@b.c" })
}

fn customers(deployment: &Deployment) -> Json {
    let status = run(deployment, &["status", "--format", "json"]).says(0, &[]).json();
    let all = status["projections"].as_array().expect("a list").clone();
    all.into_iter().find(|one| one["name"] == "customers").expect("the shop has it")
}

fn until(deployment: &Deployment, what: &str, is: impl Fn(&Json) -> bool) -> Json {
    let begun = Instant::now();
    loop {
        let found = customers(deployment);
        if is(&found) {
            return found;
        }
        assert!(begun.elapsed() < AT_MOST, "not within {AT_MOST:?}: {what}: {found}");
    }
}

const KEY: &str = r#"{"id":"c-1"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_and_steers_what_processes_do() {
    let Some(deployment) = Deployment::shop("operated").await else { return };
    let topic = customers_of(&deployment);
    run(&deployment, &["status"]).says(0, &["nobody works it: no `kinora project` runs", "nobody"]);
    let folding = [deployment.project(), deployment.project()];

    // The customer is there, then comes an event that cannot be applied, and one that waits behind it.
    publish(&deployment, &[registered(json!("Ada")), registered(json!(7)), registered(json!("Ida"))]);
    let found = until(&deployment, "all of it is folded, by somebody", |one| {
        let owned = |part: &Json| part["owner"]["process"].is_string();
        let all = one["partitions"].as_array().is_some_and(|parts| parts.iter().all(owned));
        all && one["lag_events"] == 0 && one["parked_keys"] == 1
    });
    let parts = found["partitions"].as_array().expect("a list");
    assert_eq!(parts.iter().filter_map(|part| part["parked_keys"].as_u64()).sum::<u64>(), 1, "{found}");
    assert!(parts.iter().all(|part| part["owner"]["epoch"].as_u64() >= Some(1)), "{found}");
    assert_eq!(found["state"], "running");
    run(&deployment, &["status"]).says(0, &["customers", &format!("{topic}:0"), "owner"]);

    let listed = run(&deployment, &["parked", "list", "--format", "json"]).says(0, &[]).json();
    assert_eq!((&listed[0]["key"], &listed[0]["waiting"]), (&json!(KEY), &json!(2)), "{listed}");
    run(&deployment, &["parked", "show", KEY]).says(0, &["2 events wait", "\"name\":7", "\"name\":\"Ida\""]);
    run(&deployment, &["parked", "retry", KEY]).says(1, &["2 events wait", "event.name"]);
    run(&deployment, &["parked", "skip-first", KEY]).says(0, &["1 event applied", "1 event skipped"]);
    run(&deployment, &["parked", "list"]).says(0, &["nothing is parked"]);
    run(&deployment, &["parked", "retry", KEY]).says(2, &["nothing is parked under"]);
    run(&deployment, &["parked", "list", "--projection", "x"]).says(2, &["there is no projection \"x\""]);
    let told = folding.iter().map(|process| process.said()).collect::<String>();
    let is_told = |line: &str| line.contains("skip-first") && line.contains("ada@");
    assert!(told.lines().any(is_told), "the owner's log does not say who asked for it: {told}");

    run(&deployment, &["pause", "x"]).says(2, &["there is no projection \"x\""]);
    run(&deployment, &["pause", "customers"]).says(0, &["customers is paused"]);
    run(&deployment, &["pause", "customers"]).says(0, &["paused already, by ada@"]);
    // Whoever folds it by then: partitions may change hands meanwhile.
    until(&deployment, "those who fold it heed the pause", |one| {
        let parts = one["partitions"].as_array().expect("a list");
        let heeds = |part: &Json| {
            let name = part["owner"]["process"].as_str().unwrap_or_default();
            let by = folding.iter().find(|process| name.ends_with(&format!(":{}", process.id())));
            by.is_some_and(|process| process.said().contains("Projection is paused"))
        };
        parts.iter().all(heeds)
    });
    publish(&deployment, &[registered(json!("Eda"))]);
    let found = until(&deployment, "the end has moved", |one| one["lag_events"] == 1);
    assert!(found["state"].as_str().is_some_and(|state| state.starts_with("paused by ada@")), "{found}");
    // The others go on, and those that take the paused one over heed it too.
    let [first, second] = folding;
    first.ends_well().await;
    second.ends_well().await;
    let third = deployment.project();
    until(&deployment, "the third has its place", |one| {
        let owned = |part: &Json| part["owner"]["process"].is_string();
        one["partitions"].as_array().is_some_and(|parts| parts.iter().all(owned)) && one["lag_events"] == 1
    });
    run(&deployment, &["resume", "customers"]).says(0, &["customers goes on"]);
    run(&deployment, &["resume", "customers"]).says(0, &["customers was not paused"]);
    until(&deployment, "it is folded", |one| one["lag_events"] == 0 && one["state"] == "running");

    let mut watch = deployment
        .command(&["status", "--watch", "--format", "json"], &[])
        .stdout(Stdio::piped())
        .spawn()
        .expect("kinora can be run");
    let mut lines = BufReader::new(watch.stdout.take().expect("it is piped")).lines();
    for _ in 0..2 {
        let line = lines.next().expect("it goes on").expect("it is text");
        let status: Json = serde_json::from_str(&line).expect("each look is a line of JSON");
        assert_eq!(status["generation"], 1, "{line}");
    }
    // Nobody reads it any more: it ends by itself.
    drop(lines);
    assert_eq!(watch.wait().expect("it ends").code(), Some(0));
    let tables = run(&deployment, &["status", "--tables", "--format", "json"]).says(0, &[]).json();
    let name = &tables["tables"][0]["name"];
    assert!(name.as_str().is_some_and(|name| name.ends_with("__g1")), "{tables}");
    run(&deployment, &["status", "--tables"]).says(0, &["Never write", "__live", "bookkeeping"]);

    // A bad event once more, and nobody is there.
    publish(&deployment, &[registered(json!(7))]);
    until(&deployment, "it is parked", |one| one["parked_keys"] == 1);
    third.ends_well().await;
    run(&deployment, &["parked", "drop", KEY])
        .says(4, &[&format!("nobody works {topic}:"), "nothing was done"]);
    run(&deployment, &["parked", "list"]).says(0, &[KEY]);
}
