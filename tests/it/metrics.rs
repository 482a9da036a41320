//! `/metrics` of `kinora dev`: what it folds and answers is counted, under names of the closed list, in a form that scrapers
//! take.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use kinora::observe::list::{ALL, Kind};

use crate::exposition::{Family, Scrape};
use crate::support::{Dev, Project, until, written};

const JSON: (&str, &str) = ("content-type", "application/json");

async fn scrape(dev: &Dev<'_>) -> Scrape {
    let reply = dev.get("/metrics").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let content_type = reply.header("content-type").expect("it has a type");
    assert_eq!(content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = reply.text();
    Scrape::read(&text).unwrap_or_else(|reason| panic!("{reason}\n{text}"))
}

#[tokio::test]
async fn what_dev_folds_and_answers_is_counted() {
    let project = Project::notes();
    project.write("kinora.toml", "[serve.limits]\ndepth = 3\n");
    let dev = Dev::start(&project).await.ready().await;
    let before = scrape(&dev).await;
    assert_eq!(before.sum("kinora_events_total", &[]), 0.0);
    assert_eq!(before.sum("kinora_generation", &[]), 1.0);

    let mut events: Vec<Json> =
        (0..500).map(|number| written(&format!("n{}", number % 50), &number.to_string())).collect();
    // Its type is not known, so its key is parked.
    events.push(json!({ "type": "NoteBurnt", "id": "n1" }));
    let position = dev.publish("notes", &events).await;
    assert!(dev.text("n2", &position).await.is_some());
    let refused = dev.post("/graphql", &[JSON], "{\"query\":\"{ note(id: 1) { nothing } }\"}").await;
    let refused: Json = serde_json::from_slice(&refused.body).expect("JSON");
    let errors = refused["errors"].as_array().expect("it is refused").len();
    dev.post("/graphql", &[JSON], "{\"query\":\"{ a { b { c { d } } } }\"}").await;
    dev.post("/graphql", &[JSON], "{\"query\":\"{ __typename }\"}").await;
    let stale = [JSON, ("x-read-after", "notes:0@99999"), ("x-read-wait", "1ms;on-timeout=stale")];
    dev.post("/graphql", &stale, "{\"query\":\"{ note(id: 1) { text } }\"}").await;
    let entities = json!({
        "query": "query($of: [_Any!]!) { _entities(representations: $of) { ... on Note { text } } }",
        "variables": { "of": [{ "__typename": "Note", "id": "n3" }, { "__typename": "Note", "id": "n4" }] },
    });
    dev.post("/graphql", &[JSON], &entities.to_string()).await;
    assert_eq!(dev.get("/nowhere").await.status, 404);

    let seen = until("all is folded and counted", async || {
        let seen = scrape(&dev).await;
        (seen.sum("kinora_records_total", &[("projection", "notes"), ("topic", "notes")]) == 501.0)
            .then_some(seen)
    });
    let seen = seen.await;
    let notes = [("projection", "notes")];
    assert_eq!(seen.sum("kinora_events_total", &notes), 501.0);
    let bytes: usize =
        events.iter().map(|event| event.to_string().len() + event["id"].as_str().unwrap().len()).sum();
    assert_eq!(seen.sum("kinora_record_bytes_total", &notes), bytes as f64);
    let rows = seen.sum("kinora_rows_written_total", &[("projection", "notes"), ("table", "notes")]);
    assert!((50.0..=500.0).contains(&rows), "each row once in each batch that has events of it: {rows}");
    let batches = seen.sum("kinora_batch_duration_seconds_count", &notes);
    assert!(
        batches >= 1.0 && batches == seen.sum("kinora_commit_duration_seconds_count", &notes),
        "{batches}"
    );
    assert_eq!(seen.sum("kinora_position", &notes), 501.0);
    assert_eq!(seen.sum("kinora_log_end", &notes), 501.0);
    assert_eq!(seen.sum("kinora_lag_events", &notes) + seen.sum("kinora_lag_seconds", &notes), 0.0);
    assert_eq!(seen.sum("kinora_partitions", &notes), 4.0);
    assert_eq!(seen.sum("kinora_projection_state", &[("state", "running")]), 1.0);
    assert_eq!(seen.sum("kinora_projection_state", &[]), 1.0, "it is in one state");
    assert_eq!(seen.sum("kinora_parked_keys", &notes), 1.0);
    assert_eq!(seen.sum("kinora_budget_bytes", &[]), f64::from(128 << 20));

    let operations = |kind| seen.sum("kinora_operation_duration_seconds_count", &[("kind", kind)]);
    assert_eq!(["query", "entities", "introspection", "refused"].map(operations), [2.0, 1.0, 1.0, 2.0]);
    assert_eq!(seen.sum("kinora_errors_total", &[("code", "LIMIT_EXCEEDED")]), 1.0);
    // Those of an operation, and one of a path.
    assert_eq!(
        seen.sum("kinora_errors_total", &[("code", "BAD_USER_INPUT")]),
        errors as f64 + 1.0,
        "{refused}"
    );
    assert_eq!(seen.sum("kinora_limits_hit_total", &[("limit", "serve.limits.depth")]), 1.0);
    assert_eq!(seen.sum("kinora_limits_hit_total", &[]), 1.0);
    assert_eq!(seen.sum("kinora_reads_total", &[("table", "notes")]), 3.0);
    assert_eq!(seen.sum("kinora_rows_read_total", &[("table", "notes")]), 3.0, "two entities and a note");
    assert_eq!(seen.sum("kinora_freshness_waits_total", &[("outcome", "reached")]), 1.0);
    assert_eq!(seen.sum("kinora_freshness_waits_total", &[("outcome", "missed")]), 1.0);
    assert_eq!(seen.sum("kinora_requests_total", &[("route", "/graphql")]), 6.0);
    assert_eq!(seen.sum("kinora_requests_total", &[("route", "other"), ("status", "4xx")]), 1.0);
    assert!(seen.sum("kinora_connections", &[]) >= 1.0, "whoever asks is connected");
    assert_only_listed(&seen);
}

/// Whatever clients say, no label has it.
#[tokio::test]
async fn labels_have_nothing_of_what_clients_and_events_say() {
    let project = Project::notes();
    let dev = Dev::start(&project).await.ready().await;
    let event = json!({ "type": "canary", "id": "canary", "text": "canary" });
    let position = dev.publish("canary-topic", std::slice::from_ref(&event)).await;
    assert!(position.starts_with("canary-topic:"));
    let position = dev.publish("notes", &[event]).await;
    dev.text("canary", &position).await;
    dev.get("/canary/canary").await;
    dev.get("/topics/canary?canary=1").await;
    let query = json!({ "query": "query canary { canary: note(id: \"canary\") { canary: text canary } }" });
    dev.post("/graphql", &[JSON, ("x-canary", "canary")], &query.to_string()).await;
    let text = dev.get("/metrics").await.text();
    assert!(text.contains("kinora_parked_keys{projection=\"notes\"} 1"), "{text}");
    assert!(!text.contains("canary"), "{text}");
}

/// A scrape has no metric, no label and no help that the closed list does not have.
pub fn assert_only_listed(seen: &Scrape) {
    for family in &seen.families {
        let listed =
            ALL.iter().find(|one| one.name.strip_suffix("_total").unwrap_or(one.name) == family.name);
        let listed = listed.unwrap_or_else(|| panic!("{} is not in the list", family.name));
        let kind = match listed.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        assert_eq!((family.kind.as_str(), family.help.as_str()), (kind, &*format!("{}.", listed.help)));
        assert_eq!(labels(family), listed.labels.iter().copied().collect(), "{}", family.name);
    }
}

fn labels(family: &Family) -> BTreeSet<&str> {
    let samples = family.samples.iter().flat_map(|sample| sample.labels.keys());
    samples.map(String::as_str).filter(|label| *label != "le").collect()
}

/// What the page of alerts asks for is there, under labels that it has.
#[test]
fn alerts_ask_for_metrics_of_the_list() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/deploy.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let alerts: Vec<&str> = page.lines().filter(|line| line.contains("expr: '")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in alerts {
        let word = |c: char| !c.is_ascii_alphanumeric() && c != '_';
        let (_, expression) = alert.split_once("expr: '").expect("it has one");
        let mut found = 0;
        for name in expression.split(word).filter(|name| name.starts_with("kinora_")) {
            let plain = name.strip_suffix("_bucket").unwrap_or(name);
            let listed =
                ALL.iter().find(|one| one.name == plain).unwrap_or_else(|| panic!("{name}: {alert}"));
            assert_eq!(listed.kind == Kind::Histogram, name != plain, "{alert}");
            let labels = expression.split(name).nth(1).and_then(|rest| rest.strip_prefix('{'));
            for label in
                labels.and_then(|labels| labels.split('}').next()).into_iter().flat_map(|all| all.split(','))
            {
                let label = label.split(['=', '~', '!']).next().unwrap_or_default();
                assert!(listed.labels.contains(&label), "{name} has no label {label:?}: {alert}");
            }
            found += 1;
        }
        assert!(found > 0, "{alert}");
    }
}

#[test]
fn the_page_lists_what_the_code_lists() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/observe.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let line = |line: &str| {
        let cells: Vec<String> = line.split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let [_, name, kind, labels, says, _] = &cells[..] else { return None };
        let is_metric = name.starts_with("kinora_") || name.starts_with("process_");
        is_metric.then(|| [name, kind, labels, says].map(String::clone))
    };
    let written: Vec<[String; 4]> = page.lines().filter_map(line).collect();
    let listed: Vec<[String; 4]> = ALL
        .iter()
        .map(|one| {
            let kind = format!("{:?}", one.kind).to_lowercase();
            [one.name.to_owned(), kind, one.labels.join(", "), one.help.to_owned()]
        })
        .collect();
    assert_eq!(written, listed);
}
